//! A secret as it is kept: XChaCha20-Poly1305 with a random nonce, bound to its app, its name, and for whom it is.

use chacha20poly1305::aead::{Aead as _, KeyInit as _, Payload};
use chacha20poly1305::{XChaCha20Poly1305, XNonce};
use store::{AppId, Environment};

use super::key::{Key, Keys};

/// The bytes of a nonce, which stands before the ciphertext. So many may be random.
const NONCE: usize = 24;

/// Why a secret cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SealError {
    /// It was encrypted with a key that is not in the file.
    #[error(
        "secret {name} is encrypted with the key {key}, which is not in this node's key file; put that key back, or set the \
         secret again"
    )]
    OtherKey {
        /// The secret.
        name: String,
        /// What the key is known by.
        key: String,
    },
    /// It is not what was encrypted.
    #[error("secret {name} was changed in the database, or belongs to another app; set it again")]
    Forged {
        /// The secret.
        name: String,
    },
    /// There are no random bytes.
    #[error("the system gives no random bytes: {0}")]
    Random(getrandom::Error),
}

/// What a secret is bound to, so that its row cannot be taken for that of another one.
#[derive(Clone, Copy)]
pub(super) struct Bound<'a> {
    pub(super) app: AppId,
    pub(super) environment: Environment,
    pub(super) name: &'a str,
}

/// Encrypts a value for one app, environment and name.
pub(super) fn seal(key: &Key, of: Bound<'_>, value: &str) -> Result<Vec<u8>, SealError> {
    let mut nonce = [0; NONCE];
    getrandom::fill(&mut nonce).map_err(SealError::Random)?;
    let bound = of.bytes();
    let payload = Payload { msg: value.as_bytes(), aad: &bound };
    let sealed = cipher(key).encrypt(&XNonce::from(nonce), payload);
    // It fails only for more bytes than a secret may have by far.
    let sealed = sealed.map_err(|_| SealError::Forged { name: of.name.to_owned() })?;
    Ok([nonce.as_slice(), &sealed].concat())
}

/// Decrypts what was sealed for that app, environment and name.
pub(super) fn open(keys: &Keys, key: &str, of: Bound<'_>, sealed: &[u8]) -> Result<String, SealError> {
    let forged = || SealError::Forged { name: of.name.to_owned() };
    let other = || SealError::OtherKey { name: of.name.to_owned(), key: key.to_owned() };
    let key = keys.named(key).ok_or_else(other)?;
    let (nonce, sealed) = sealed.split_first_chunk::<NONCE>().ok_or_else(forged)?;
    let bound = of.bytes();
    let payload = Payload { msg: sealed, aad: &bound };
    let value = cipher(key).decrypt(&XNonce::from(*nonce), payload).map_err(|_| forged())?;
    String::from_utf8(value).map_err(|_| forged())
}

fn cipher(key: &Key) -> XChaCha20Poly1305 {
    XChaCha20Poly1305::new(&key.0.into())
}

impl Bound<'_> {
    fn bytes(self) -> Vec<u8> {
        let kind = match self.environment {
            Environment::Production => b"PiCloud secret 1\0".as_slice(),
            Environment::Preview => b"PiCloud preview secret 1\0",
        };
        [kind, self.app.as_uuid().as_bytes(), self.name.as_bytes()].concat()
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::super::key::KeyFile;
    use super::*;

    fn of(app: u128, name: &str) -> Bound<'_> {
        let app = AppId::from_uuid(Uuid::from_u128(app));
        Bound { app, environment: Environment::Production, name }
    }

    fn keys(digits: &str) -> Keys {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("keys");
        std::fs::write(&path, digits).unwrap();
        KeyFile::Given(path).read().unwrap()
    }

    #[test]
    fn a_secret_opens_for_its_app_environment_and_name_alone() {
        let keys = keys(&"ab".repeat(32));
        let id = keys.first().id();
        let sealed = seal(keys.first(), of(1, "API_KEY"), "tangerine").unwrap();
        assert!(!sealed.windows(9).any(|part| part == b"tangerine"));
        assert_ne!(sealed, seal(keys.first(), of(1, "API_KEY"), "tangerine").unwrap());
        let opened = |bound| open(&keys, &id, bound, &sealed);
        assert_eq!(opened(of(1, "API_KEY")), Ok("tangerine".to_owned()));
        let forged = |name: &str| Err(SealError::Forged { name: name.to_owned() });
        assert_eq!(opened(of(2, "API_KEY")), forged("API_KEY"));
        assert_eq!(opened(of(1, "OTHER")), forged("OTHER"));
        let of_previews = Bound { environment: Environment::Preview, ..of(1, "API_KEY") };
        assert_eq!(opened(of_previews), forged("API_KEY"));
        let sealed = seal(keys.first(), of_previews, "clementine").unwrap();
        assert_eq!(open(&keys, &id, of_previews, &sealed), Ok("clementine".to_owned()));
        assert_eq!(open(&keys, &id, of(1, "API_KEY"), &sealed), forged("API_KEY"));
        assert_eq!(open(&keys, &id, of_previews, &sealed[..30]), forged("API_KEY"));
        assert_eq!(open(&keys, &id, of_previews, b""), forged("API_KEY"));
    }

    #[test]
    fn a_key_that_is_lost_is_named() {
        let (old, new) = (keys(&"ab".repeat(32)), keys(&"cd".repeat(32)));
        let sealed = seal(old.first(), of(1, "API_KEY"), "tangerine").unwrap();
        let opened = open(&new, &old.first().id(), of(1, "API_KEY"), &sealed);
        assert!(opened.unwrap_err().to_string().contains(&old.first().id()));
    }
}
