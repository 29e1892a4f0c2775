//! Encryption of secrets: XChaCha20-Poly1305 with a random nonce, with app, environment and name as
//! associated data.

use chacha20poly1305::aead::{Aead as _, KeyInit as _, Payload};
use chacha20poly1305::{XChaCha20Poly1305, XNonce};
use store::{AppId, Environment};

use super::key::{Key, Keys};

/// The size of a nonce in bytes, prepended to the ciphertext. It is large enough to be random.
const NONCE_BYTES: usize = 24;

/// Why a secret cannot be encrypted or decrypted.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CipherError {
    /// Its key is not in the key file.
    #[error(
        "secret {name} is encrypted with key {key}, which is not in this node's key file; restore that key, or set the \
         secret again"
    )]
    MissingKey {
        /// The secret.
        name: String,
        /// The id of the key.
        key: String,
    },
    /// The ciphertext was modified.
    #[error("secret {name} was modified in the database, or belongs to another app; set it again")]
    Tampered {
        /// The secret.
        name: String,
    },
    /// The OS provides no random bytes.
    #[error("cannot get random bytes from the OS: {0}")]
    Random(getrandom::Error),
}

/// The associated data of a secret, so that its row cannot be used as another secret.
#[derive(Clone, Copy)]
pub(super) struct AssociatedData<'a> {
    pub(super) app: AppId,
    pub(super) environment: Environment,
    pub(super) name: &'a str,
}

/// Encrypts a value.
pub(super) fn encrypt(key: &Key, of: AssociatedData<'_>, value: &str) -> Result<Vec<u8>, CipherError> {
    let mut nonce = [0; NONCE_BYTES];
    getrandom::fill(&mut nonce).map_err(CipherError::Random)?;
    let data = of.bytes();
    let payload = Payload { msg: value.as_bytes(), aad: &data };
    let ciphertext = cipher(key).encrypt(&XNonce::from(nonce), payload);
    // Only fails for values far beyond the maximum length.
    let ciphertext = ciphertext.map_err(|_| CipherError::Tampered { name: of.name.to_owned() })?;
    Ok([nonce.as_slice(), &ciphertext].concat())
}

/// Decrypts a value that was encrypted with the same associated data.
pub(super) fn decrypt(
    keys: &Keys,
    key: &str,
    of: AssociatedData<'_>,
    ciphertext: &[u8],
) -> Result<String, CipherError> {
    let tampered = || CipherError::Tampered { name: of.name.to_owned() };
    let missing = || CipherError::MissingKey { name: of.name.to_owned(), key: key.to_owned() };
    let key = keys.find(key).ok_or_else(missing)?;
    let (nonce, ciphertext) = ciphertext.split_first_chunk::<NONCE_BYTES>().ok_or_else(tampered)?;
    let data = of.bytes();
    let payload = Payload { msg: ciphertext, aad: &data };
    let value = cipher(key).decrypt(&XNonce::from(*nonce), payload).map_err(|_| tampered())?;
    String::from_utf8(value).map_err(|_| tampered())
}

fn cipher(key: &Key) -> XChaCha20Poly1305 {
    XChaCha20Poly1305::new(&key.0.into())
}

impl AssociatedData<'_> {
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

    fn of(app: u128, name: &str) -> AssociatedData<'_> {
        let app = AppId::from_uuid(Uuid::from_u128(app));
        AssociatedData { app, environment: Environment::Production, name }
    }

    fn keys(digits: &str) -> Keys {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("keys");
        std::fs::write(&path, digits).unwrap();
        KeyFile::External(path).read().unwrap()
    }

    #[test]
    fn secret_only_decrypts_with_its_associated_data() {
        let keys = keys(&"ab".repeat(32));
        let id = keys.first().id();
        let ciphertext = encrypt(keys.first(), of(1, "API_KEY"), "tangerine").unwrap();
        assert!(!ciphertext.windows(9).any(|part| part == b"tangerine"));
        assert_ne!(ciphertext, encrypt(keys.first(), of(1, "API_KEY"), "tangerine").unwrap());
        let decrypted = |data| decrypt(&keys, &id, data, &ciphertext);
        assert_eq!(decrypted(of(1, "API_KEY")), Ok("tangerine".to_owned()));
        let tampered = |name: &str| Err(CipherError::Tampered { name: name.to_owned() });
        assert_eq!(decrypted(of(2, "API_KEY")), tampered("API_KEY"));
        assert_eq!(decrypted(of(1, "OTHER")), tampered("OTHER"));
        let of_previews = AssociatedData { environment: Environment::Preview, ..of(1, "API_KEY") };
        assert_eq!(decrypted(of_previews), tampered("API_KEY"));
        let ciphertext = encrypt(keys.first(), of_previews, "clementine").unwrap();
        assert_eq!(decrypt(&keys, &id, of_previews, &ciphertext), Ok("clementine".to_owned()));
        assert_eq!(decrypt(&keys, &id, of(1, "API_KEY"), &ciphertext), tampered("API_KEY"));
        assert_eq!(decrypt(&keys, &id, of_previews, &ciphertext[..30]), tampered("API_KEY"));
        assert_eq!(decrypt(&keys, &id, of_previews, b""), tampered("API_KEY"));
    }

    #[test]
    fn error_names_missing_key() {
        let (old, new) = (keys(&"ab".repeat(32)), keys(&"cd".repeat(32)));
        let ciphertext = encrypt(old.first(), of(1, "API_KEY"), "tangerine").unwrap();
        let decrypted = decrypt(&new, &old.first().id(), of(1, "API_KEY"), &ciphertext);
        assert!(decrypted.unwrap_err().to_string().contains(&old.first().id()));
    }
}
