//! Secrets of apps: encrypted at rest, and only readable by scripts.
//!
//! - [`key`]: the keys, in a file outside of the database
//! - `key_cache`: the keys in memory, read again when the file changes
//! - `cipher`: encryption and decryption of a secret
//! - `sealing`: the keys of `crypto::seal`
//!
//! Production has one set, and all previews share another: anyone who can push a preview can read its
//! secrets. [`Vault::set`] encrypts a value and stores it with a new deploy of every live revision that reads
//! it, in one transaction; [`Vault::of`] decrypts the secrets of an app for activation and for the check of a
//! push.

mod cipher;
pub mod key;
mod key_cache;
mod sealing;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use chrono::Utc;
use manifest_schema::name::SettingName;
use runtime::Secrets;
use store::{
    Actor, App, AppId, AuditAction, AuditEvent, DeployNumber, NewDeploy, SecretChange, Store, StoreError,
};
use tokio::sync::Mutex;
use uuid::Uuid;

pub use cipher::CipherError;
pub use key::{KeyError, KeyFile};
pub use sealing::{NodeKeys, SealingKeys};
pub use store::{EncryptedSecret, Environment};

use cipher::{AssociatedData, decrypt, encrypt};
use key::Keys;

/// The maximum length of a value in bytes: fits a PEM key.
pub const VALUE_BYTES_MAX: usize = 16 * 1024;

/// The maximum number of secrets of an app, for production and previews each.
const SECRETS_MAX: usize = 100;

/// Why secrets cannot be read or changed.
#[derive(Debug, thiserror::Error)]
pub enum SecretError {
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A key is missing.
    #[error(transparent)]
    Key(KeyError),
    /// A secret cannot be encrypted or decrypted.
    #[error(transparent)]
    Cipher(#[from] CipherError),
    /// The value is empty, too long, or contains NUL.
    #[error("a secret must be 1 to {VALUE_BYTES_MAX} bytes of UTF-8 without NUL")]
    Value,
    /// There are too many.
    #[error("an app has at most {SECRETS_MAX} secrets for production, and as many for previews")]
    TooMany,
}

/// Encrypts, stores and decrypts the secrets of apps. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Vault {
    store: Store,
    file: KeyFile,
    /// The id of this node in a cluster.
    node: Option<Uuid>,
    /// Locked while the file is written.
    write_lock: Arc<Mutex<()>>,
}

/// A secret without its value.
#[derive(Clone, Debug)]
pub struct ListedSecret {
    /// The stored secret.
    pub secret: EncryptedSecret,
    /// Whether it cannot be decrypted: the key is missing, or the row was modified.
    pub lost: bool,
}

/// The decrypted secrets of an app.
#[derive(Clone, Debug)]
pub struct AppSecrets {
    production: Result<Secrets, CipherError>,
    preview: Result<Secrets, CipherError>,
}

impl Default for AppSecrets {
    /// No secrets.
    fn default() -> Self {
        Self { production: Ok(Secrets::default()), preview: Ok(Secrets::default()) }
    }
}

impl AppSecrets {
    #[cfg(test)]
    pub(crate) fn of_both(production: Secrets, preview: Secrets) -> Self {
        Self { production: Ok(production), preview: Ok(preview) }
    }

    /// The secrets of an environment.
    ///
    /// # Errors
    /// A secret cannot be decrypted.
    pub fn of(&self, environment: Environment) -> Result<&Secrets, CipherError> {
        let secrets = match environment {
            Environment::Production => &self.production,
            Environment::Preview => &self.preview,
        };
        secrets.as_ref().map_err(Clone::clone)
    }
}

/// A newly created key.
#[derive(Clone, Debug)]
pub struct NewKey {
    /// The id of the key.
    pub id: String,
    /// The key file.
    pub file: PathBuf,
}

/// The result of setting or unsetting a secret.
#[derive(Clone, Debug)]
pub struct Changed {
    /// The app as it is now.
    pub app: App,
    /// Whether anything changed.
    pub changed: bool,
    /// The new deploys, by branch.
    pub deploys: Vec<(String, DeployNumber)>,
}

impl Vault {
    /// Creates a vault for the secrets in `store`, with the keys in `file`.
    pub fn new(store: Store, file: KeyFile, node: Option<Uuid>) -> Self {
        Self { store, file, node, write_lock: Arc::default() }
    }

    /// Decrypts the secrets of an app. Without secrets, no key is needed.
    ///
    /// # Errors
    /// The store failed, or a key is missing.
    pub async fn of(&self, app: AppId) -> Result<AppSecrets, SecretError> {
        let sealed = self.store.secrets(app).await?;
        if sealed.is_empty() {
            return Ok(AppSecrets::default());
        }
        let keys = self.file.read().map_err(SecretError::Key)?;
        let of = |environment| {
            let secrets = sealed.iter().filter(|secret| secret.environment == environment);
            let decrypted = secrets.map(|secret| Ok((secret.name.clone(), decrypt_secret(&keys, secret)?)));
            decrypted.collect::<Result<BTreeMap<_, _>, CipherError>>().map(Secrets::new)
        };
        Ok(AppSecrets { production: of(Environment::Production), preview: of(Environment::Preview) })
    }

    /// Lists the secrets of an app without their values.
    ///
    /// # Errors
    /// The store failed.
    pub async fn list(&self, app: AppId) -> Result<Vec<ListedSecret>, StoreError> {
        let keys = self.file.read().ok();
        let is_readable =
            |secret: &EncryptedSecret| keys.as_ref().is_some_and(|keys| decrypt_secret(keys, secret).is_ok());
        let secrets = self.store.secrets(app).await?.into_iter();
        Ok(secrets.map(|secret| ListedSecret { lost: !is_readable(&secret), secret }).collect())
    }

    /// Checks that every secret of every app can be decrypted.
    ///
    /// # Errors
    /// The store failed, or a secret cannot be decrypted.
    pub async fn check(&self) -> Result<(), SecretError> {
        let all = self.store.all_secrets().await?;
        if all.is_empty() {
            return Ok(());
        }
        let keys = self.file.read().map_err(SecretError::Key)?;
        all.iter().try_for_each(|secret| decrypt_secret(&keys, secret).map(drop))?;
        Ok(())
    }

    /// Sets a secret, and creates the app if `creates`. `reads` are the live revisions that read it.
    ///
    /// # Errors
    /// The value is invalid, a key is missing, or the store failed. Nothing was changed.
    pub async fn set(
        &self,
        (app, creates): (&App, bool),
        (environment, name): (Environment, &SettingName),
        value: &str,
        reads: &[NewDeploy],
        by: &Actor,
    ) -> Result<Changed, SecretError> {
        if value.is_empty() || value.len() > VALUE_BYTES_MAX || value.contains('\0') {
            return Err(SecretError::Value);
        }
        let mut existing = self.store.secrets(app.id).await?;
        existing.retain(|secret| secret.environment == environment);
        if existing.len() >= SECRETS_MAX && existing.iter().all(|secret| secret.name != name.as_str()) {
            return Err(SecretError::TooMany);
        }
        let keys = self.keys_to_write().await?;
        let secret = EncryptedSecret {
            app: app.id,
            environment,
            name: name.as_str().to_owned(),
            key_id: keys.first().id(),
            ciphertext: encrypt(
                keys.first(),
                AssociatedData { app: app.id, environment, name: name.as_str() },
                value,
            )?,
            set_at: Utc::now(),
            set_by: by.name.clone(),
        };
        self.change((app, creates), (environment, name), Some(&secret), reads, by).await
    }

    /// Unsets a secret.
    ///
    /// # Errors
    /// The store failed.
    pub async fn unset(
        &self,
        app: &App,
        secret: (Environment, &SettingName),
        by: &Actor,
    ) -> Result<Changed, SecretError> {
        self.change((app, false), secret, None, &[], by).await
    }

    async fn change(
        &self,
        (app, creates): (&App, bool),
        (environment, name): (Environment, &SettingName),
        secret: Option<&EncryptedSecret>,
        deploys: &[NewDeploy],
        by: &Actor,
    ) -> Result<Changed, SecretError> {
        let action = if secret.is_some() { AuditAction::SecretSet } else { AuditAction::SecretUnset };
        let name = name.as_str();
        let event = match environment {
            Environment::Production => AuditEvent::new(by, action, Some(&app.name), name),
            Environment::Preview => {
                AuditEvent::new(by, action, Some(&app.name), &format!("{name} (previews)"))
            }
        };
        let node = self.node;
        let change = SecretChange { app, creates, name, environment, secret, deploys, node, event: &event };
        let receipt = self.store.change_secret(&change).await?;
        Ok(Changed { app: receipt.app, changed: receipt.changed, deploys: receipt.deploys })
    }

    /// Reads the keys, or creates the first one if there are no secrets yet.
    async fn keys_to_write(&self) -> Result<Keys, SecretError> {
        match self.file.read() {
            Ok(keys) => Ok(keys),
            Err(KeyError::Missing(_)) => {
                let _writing = self.write_lock.lock().await;
                // A concurrent call can have created it.
                let keys = match self.file.read() {
                    Err(KeyError::Missing(_)) if self.store.all_secrets().await?.is_empty() => {
                        self.file.create()
                    }
                    keys => keys,
                };
                keys.map_err(SecretError::Key)
            }
            Err(error) => Err(SecretError::Key(error)),
        }
    }

    /// Prepends a new key to the file managed by this node: it encrypts new values. The other keys stay.
    ///
    /// # Errors
    /// The file is external, it cannot be written, or the store failed. Nothing was changed.
    pub async fn begin_new_key(&self, by: &Actor) -> Result<NewKey, SecretError> {
        let _writing = self.write_lock.lock().await;
        let prepared = self.file.prepare_new().map_err(SecretError::Key)?;
        let id = prepared.id.clone();
        self.store.record_audit(&AuditEvent::new(by, AuditAction::SecretNewKey, None, &id)).await?;
        let file = prepared.commit().map_err(SecretError::Key)?;
        tracing::warn!(key = %id, by = %by.name, "created a new secret key");
        Ok(NewKey { id, file })
    }

    /// Encrypts all secrets with the first key. Returns the number of re-encrypted secrets.
    ///
    /// # Errors
    /// The store failed, or a secret cannot be decrypted. Earlier ones are re-encrypted, and all remain
    /// readable.
    pub async fn rotate(&self, by: &Actor) -> Result<usize, SecretError> {
        let all = self.store.all_secrets().await?;
        if all.is_empty() {
            return Ok(0);
        }
        let keys = self.file.read().map_err(SecretError::Key)?;
        let first = keys.first();
        let mut rotated = 0;
        for old in all.iter().filter(|secret| secret.key_id != first.id()) {
            let value = decrypt_secret(&keys, old)?;
            let ciphertext = encrypt(first, associated_data(old), &value)?;
            let new = EncryptedSecret { key_id: first.id(), ciphertext, ..old.clone() };
            rotated += usize::from(self.store.reencrypt_secret(old, &new).await?);
        }
        let event = AuditEvent::new(by, AuditAction::SecretRotate, None, &first.id());
        self.store.record_audit(&event).await?;
        Ok(rotated)
    }
}

fn decrypt_secret(keys: &Keys, secret: &EncryptedSecret) -> Result<String, CipherError> {
    decrypt(keys, &secret.key_id, associated_data(secret), &secret.ciphertext)
}

fn associated_data(secret: &EncryptedSecret) -> AssociatedData<'_> {
    AssociatedData { app: secret.app, environment: secret.environment, name: &secret.name }
}
