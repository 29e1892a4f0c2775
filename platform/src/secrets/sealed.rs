//! A secret as it is kept: XChaCha20-Poly1305 with a random nonce, bound to its app and its name.

use chacha20poly1305::aead::{Aead as _, KeyInit as _, Payload};
use chacha20poly1305::{XChaCha20Poly1305, XNonce};
use store::AppId;

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

/// Encrypts a value for one app and one name.
pub(super) fn seal(key: &Key, app: AppId, name: &str, value: &str) -> Result<Vec<u8>, SealError> {
    let mut nonce = [0; NONCE];
    getrandom::fill(&mut nonce).map_err(SealError::Random)?;
    let bound = bound_to(app, name);
    let payload = Payload { msg: value.as_bytes(), aad: &bound };
    let sealed = cipher(key).encrypt(&XNonce::from(nonce), payload);
    // It fails only for more bytes than a secret may have by far.
    let sealed = sealed.map_err(|_| SealError::Forged { name: name.to_owned() })?;
    Ok([nonce.as_slice(), &sealed].concat())
}

/// Decrypts what was sealed for that app and that name.
pub(super) fn open(
    keys: &Keys,
    key: &str,
    app: AppId,
    name: &str,
    sealed: &[u8],
) -> Result<String, SealError> {
    let forged = || SealError::Forged { name: name.to_owned() };
    let other = || SealError::OtherKey { name: name.to_owned(), key: key.to_owned() };
    let key = keys.named(key).ok_or_else(other)?;
    let (nonce, sealed) = sealed.split_first_chunk::<NONCE>().ok_or_else(forged)?;
    let bound = bound_to(app, name);
    let payload = Payload { msg: sealed, aad: &bound };
    let value = cipher(key).decrypt(&XNonce::from(*nonce), payload).map_err(|_| forged())?;
    String::from_utf8(value).map_err(|_| forged())
}

fn cipher(key: &Key) -> XChaCha20Poly1305 {
    XChaCha20Poly1305::new(&key.0.into())
}

/// So that a row cannot be taken for that of another app or another name.
fn bound_to(app: AppId, name: &str) -> Vec<u8> {
    [b"PiCloud secret 1\0".as_slice(), app.as_uuid().as_bytes(), name.as_bytes()].concat()
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::super::key::KeyFile;
    use super::*;

    fn app(number: u128) -> AppId {
        AppId::from_uuid(Uuid::from_u128(number))
    }

    fn keys(digits: &str) -> Keys {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("keys");
        std::fs::write(&path, digits).unwrap();
        KeyFile::Given(path).read().unwrap()
    }

    #[test]
    fn a_secret_opens_for_its_app_and_name_alone() {
        let keys = keys(&"ab".repeat(32));
        let id = keys.first().id();
        let sealed = seal(keys.first(), app(1), "API_KEY", "tangerine").unwrap();
        assert!(!sealed.windows(9).any(|part| part == b"tangerine"));
        assert_ne!(sealed, seal(keys.first(), app(1), "API_KEY", "tangerine").unwrap());
        assert_eq!(open(&keys, &id, app(1), "API_KEY", &sealed), Ok("tangerine".to_owned()));
        let forged = |name: &str| Err(SealError::Forged { name: name.to_owned() });
        assert_eq!(open(&keys, &id, app(2), "API_KEY", &sealed), forged("API_KEY"));
        assert_eq!(open(&keys, &id, app(1), "OTHER", &sealed), forged("OTHER"));
        assert_eq!(open(&keys, &id, app(1), "API_KEY", &sealed[..30]), forged("API_KEY"));
        assert_eq!(open(&keys, &id, app(1), "API_KEY", b""), forged("API_KEY"));
    }

    #[test]
    fn a_key_that_is_lost_is_named() {
        let (old, new) = (keys(&"ab".repeat(32)), keys(&"cd".repeat(32)));
        let sealed = seal(old.first(), app(1), "API_KEY", "tangerine").unwrap();
        let opened = open(&new, &old.first().id(), app(1), "API_KEY", &sealed);
        assert!(opened.unwrap_err().to_string().contains(&old.first().id()));
    }
}
