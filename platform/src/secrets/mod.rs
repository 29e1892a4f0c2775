//! Secrets of apps: encrypted at rest, written and never read back but by scripts.
//!
//! - [`key`]: the keys, in a file outside the database
//! - `sealed`: one secret, encrypted and decrypted
//!
//! Production has a set of them, and all previews have one: who can push a preview can read what it reads. [`Vault::set`] encrypts
//! a value and stores it with a new deploy of every live revision that reads it, in one transaction; [`Vault::of`] opens those of
//! an app for a revision that is about to be served, and for the check of what is pushed.

pub mod key;
mod sealed;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use chrono::Utc;
use manifest_schema::name::SettingName;
use runtime::Secrets;
use store::{Act, Actor, App, AppId, AuditAction, DeployNumber, NewDeploy, SecretChange, Store, StoreError};
use tokio::sync::Mutex;
use uuid::Uuid;

pub use key::{KeyError, KeyFile};
pub use sealed::SealError;
pub use store::{Environment, SealedSecret};

use key::Keys;
use sealed::{Bound, open, seal};

/// The longest value, in bytes: a key in PEM fits.
pub const VALUE_MAX: usize = 16 * 1024;

/// The most secrets of an app, for production and for previews each.
const SECRETS_MAX: usize = 100;

/// Why secrets cannot be had or changed.
#[derive(Debug, thiserror::Error)]
pub enum SecretError {
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// There is no key.
    #[error(transparent)]
    Key(KeyError),
    /// The key, or what is encrypted, is not the right one.
    #[error(transparent)]
    Seal(#[from] SealError),
    /// The value is empty, too long, or holds a NUL.
    #[error("a secret is 1 to {VALUE_MAX} bytes of UTF-8 without NUL")]
    Value,
    /// There are too many.
    #[error("an app has at most {SECRETS_MAX} secrets for production, and as many for previews")]
    TooMany,
}

/// Encrypts, keeps and opens the secrets of apps. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Vault {
    store: Store,
    file: KeyFile,
    /// The node, where others share the database.
    node: Option<Uuid>,
    /// Held while the file is written.
    writing: Arc<Mutex<()>>,
}

/// A secret, without its value.
#[derive(Clone, Debug)]
pub struct ListedSecret {
    /// The secret as it is kept.
    pub secret: SealedSecret,
    /// This node has no key that opens it, or it was changed in the database.
    pub lost: bool,
}

/// The secrets of an app, opened as far as they can be.
#[derive(Clone, Debug)]
pub struct AppSecrets {
    production: Result<Secrets, SealError>,
    preview: Result<Secrets, SealError>,
}

impl Default for AppSecrets {
    /// None.
    fn default() -> Self {
        Self { production: Ok(Secrets::default()), preview: Ok(Secrets::default()) }
    }
}

impl AppSecrets {
    #[cfg(test)]
    pub(crate) fn of_both(production: Secrets, preview: Secrets) -> Self {
        Self { production: Ok(production), preview: Ok(preview) }
    }

    /// Those of an environment.
    ///
    /// # Errors
    /// One of them cannot be opened.
    pub fn of(&self, environment: Environment) -> Result<&Secrets, SealError> {
        let secrets = match environment {
            Environment::Production => &self.production,
            Environment::Preview => &self.preview,
        };
        secrets.as_ref().map_err(Clone::clone)
    }
}

/// A key that encrypts from now on.
#[derive(Clone, Debug)]
pub struct NewKey {
    /// What it is known by.
    pub id: String,
    /// The file that it is in.
    pub file: PathBuf,
}

/// What setting or unsetting a secret has made.
#[derive(Clone, Debug)]
pub struct Changed {
    /// The app as it is now.
    pub app: App,
    /// Whether there was anything to be changed.
    pub changed: bool,
    /// The branches that were deployed anew.
    pub deploys: Vec<(String, DeployNumber)>,
}

impl Vault {
    /// The secrets in `store`, with the keys in `file`.
    pub fn new(store: Store, file: KeyFile, node: Option<Uuid>) -> Self {
        Self { store, file, node, writing: Arc::default() }
    }

    /// The secrets of an app, opened. Without any, no key is needed.
    ///
    /// # Errors
    /// The store failed, or there is no key.
    pub async fn of(&self, app: AppId) -> Result<AppSecrets, SecretError> {
        let sealed = self.store.secrets(app).await?;
        if sealed.is_empty() {
            return Ok(AppSecrets::default());
        }
        let keys = self.file.read().map_err(SecretError::Key)?;
        let of = |environment| {
            let secrets = sealed.iter().filter(|secret| secret.environment == environment);
            let opened = secrets.map(|secret| Ok((secret.name.clone(), opened(&keys, secret)?)));
            opened.collect::<Result<BTreeMap<_, _>, SealError>>().map(Secrets::new)
        };
        Ok(AppSecrets { production: of(Environment::Production), preview: of(Environment::Preview) })
    }

    /// The secrets of an app, without their values.
    ///
    /// # Errors
    /// The store failed.
    pub async fn list(&self, app: AppId) -> Result<Vec<ListedSecret>, StoreError> {
        let keys = self.file.read().ok();
        let is_open = |secret: &SealedSecret| keys.as_ref().is_some_and(|keys| opened(keys, secret).is_ok());
        let secrets = self.store.secrets(app).await?.into_iter();
        Ok(secrets.map(|secret| ListedSecret { lost: !is_open(&secret), secret }).collect())
    }

    /// Whether every secret of every app can be opened.
    ///
    /// # Errors
    /// The store failed, or one cannot.
    pub async fn check(&self) -> Result<(), SecretError> {
        let all = self.store.all_secrets().await?;
        if all.is_empty() {
            return Ok(());
        }
        let keys = self.file.read().map_err(SecretError::Key)?;
        all.iter().try_for_each(|secret| opened(&keys, secret).map(drop))?;
        Ok(())
    }

    /// Sets a secret, and creates the app where it `creates` it. `reads` are the live revisions that read it.
    ///
    /// # Errors
    /// The value breaks the rule, there is no key, or the store failed. Nothing was changed then.
    pub async fn set(
        &self,
        (app, creates): (&App, bool),
        (environment, name): (Environment, &SettingName),
        value: &str,
        reads: &[NewDeploy],
        by: &Actor,
    ) -> Result<Changed, SecretError> {
        if value.is_empty() || value.len() > VALUE_MAX || value.contains('\0') {
            return Err(SecretError::Value);
        }
        let mut there = self.store.secrets(app.id).await?;
        there.retain(|secret| secret.environment == environment);
        if there.len() >= SECRETS_MAX && there.iter().all(|secret| secret.name != name.as_str()) {
            return Err(SecretError::TooMany);
        }
        let keys = self.keys_to_write().await?;
        let secret = SealedSecret {
            app: app.id,
            environment,
            name: name.as_str().to_owned(),
            key: keys.first().id(),
            sealed: seal(keys.first(), Bound { app: app.id, environment, name: name.as_str() }, value)?,
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
        sealed: Option<&SealedSecret>,
        deploys: &[NewDeploy],
        by: &Actor,
    ) -> Result<Changed, SecretError> {
        let action = if sealed.is_some() { AuditAction::SecretSet } else { AuditAction::SecretUnset };
        let name = name.as_str();
        let act = match environment {
            Environment::Production => Act::new(by, action, Some(&app.name), name),
            Environment::Preview => Act::new(by, action, Some(&app.name), &format!("{name} (previews)")),
        };
        let node = self.node;
        let change = SecretChange { app, creates, name, environment, sealed, deploys, node, act: &act };
        let receipt = self.store.change_secret(&change).await?;
        Ok(Changed { app: receipt.app, changed: receipt.changed, deploys: receipt.deploys })
    }

    /// The keys, made now where there are neither keys nor secrets that an earlier one was needed for.
    async fn keys_to_write(&self) -> Result<Keys, SecretError> {
        match self.file.read() {
            Ok(keys) => Ok(keys),
            Err(KeyError::Missing(_)) => {
                let _writing = self.writing.lock().await;
                // A secret that was set at the same time may have made it.
                let keys = match self.file.read() {
                    Err(KeyError::Missing(_)) if self.store.all_secrets().await?.is_empty() => {
                        self.file.make()
                    }
                    keys => keys,
                };
                keys.map_err(SecretError::Key)
            }
            Err(error) => Err(SecretError::Key(error)),
        }
    }

    /// Puts a new key on top of this node's own file: it encrypts what is set from now on. The others stay.
    ///
    /// # Errors
    /// The operator keeps the file, it cannot be written, or the store failed. Nothing was changed then.
    pub async fn begin_new_key(&self, by: &Actor) -> Result<NewKey, SecretError> {
        let _writing = self.writing.lock().await;
        let prepared = self.file.prepare_new().map_err(SecretError::Key)?;
        let id = prepared.id.clone();
        self.store.record(&Act::new(by, AuditAction::SecretNewKey, None, &id)).await?;
        let file = prepared.put().map_err(SecretError::Key)?;
        tracing::warn!(key = %id, by = %by.name, "secrets are encrypted with a new key");
        Ok(NewKey { id, file })
    }

    /// Encrypts every secret with the first key of the file that is not yet. Returns how many it were.
    ///
    /// # Errors
    /// The store failed, or one of them cannot be opened. Those before it are encrypted anew, and all can still be opened.
    pub async fn rotate(&self, by: &Actor) -> Result<usize, SecretError> {
        let all = self.store.all_secrets().await?;
        if all.is_empty() {
            return Ok(0);
        }
        let keys = self.file.read().map_err(SecretError::Key)?;
        let first = keys.first();
        let mut resealed = 0;
        for old in all.iter().filter(|secret| secret.key != first.id()) {
            let value = opened(&keys, old)?;
            let sealed = seal(first, bound_of(old), &value)?;
            let new = SealedSecret { key: first.id(), sealed, ..old.clone() };
            resealed += usize::from(self.store.reseal_secret(old, &new).await?);
        }
        let act = Act::new(by, AuditAction::SecretRotate, None, &first.id());
        self.store.record(&act).await?;
        Ok(resealed)
    }
}

fn opened(keys: &Keys, secret: &SealedSecret) -> Result<String, SealError> {
    open(keys, &secret.key, bound_of(secret), &secret.sealed)
}

fn bound_of(secret: &SealedSecret) -> Bound<'_> {
    Bound { app: secret.app, environment: secret.environment, name: &secret.name }
}
