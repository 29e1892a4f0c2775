//! Encrypted secrets.

use chrono::{DateTime, Utc};
use uuid::Uuid;

use crate::audit::AuditEvent;
use crate::error::StoreError;
use crate::id::{AppId, DeployNumber};
use crate::model::{App, NewDeploy};
use crate::{Store, dispatch};

/// The environment of a secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Environment {
    /// Production.
    Production,
    /// All previews.
    Preview,
}

impl Environment {
    /// All environments.
    pub const ALL: [Self; 2] = [Self::Production, Self::Preview];

    /// Its name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Production => "production",
            Self::Preview => "preview",
        }
    }

    /// Parses a name.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|environment| environment.as_str() == name)
    }

    /// The table of its secrets.
    pub(crate) fn table(self) -> &'static str {
        match self {
            Self::Production => "secrets",
            Self::Preview => "preview_secrets",
        }
    }
}

/// A secret of an app.
#[derive(Clone, PartialEq, Eq, sqlx::FromRow)]
pub struct EncryptedSecret {
    /// The app.
    pub app: AppId,
    /// Its environment.
    pub environment: Environment,
    /// Its name.
    pub name: String,
    /// The id of the encryption key.
    pub key_id: String,
    /// The encrypted value.
    pub ciphertext: Vec<u8>,
    /// When it was set.
    pub set_at: DateTime<Utc>,
    /// Who set it.
    pub set_by: String,
}

impl std::fmt::Debug for EncryptedSecret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "EncryptedSecret({}, {})", self.name, self.environment.as_str())
    }
}

/// A change of a secret.
#[derive(Clone, Debug)]
pub struct SecretChange<'a> {
    /// The app.
    pub app: &'a App,
    /// Whether the app is created. Nothing is changed if another app has its name by now.
    pub creates: bool,
    /// The name of the secret.
    pub name: &'a str,
    /// Its environment.
    pub environment: Environment,
    /// The new value; `None`: it is unset, unless the app changed since it was read.
    pub secret: Option<&'a EncryptedSecret>,
    /// The live revisions that read the secret, to be redeployed. Those whose branch has moved are left out.
    pub deploys: &'a [NewDeploy],
    /// The node that makes the change, which needs no notification.
    pub node: Option<Uuid>,
    /// The audit event.
    pub event: &'a AuditEvent,
}

/// The result of a change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SecretReceipt {
    /// The updated app.
    pub app: App,
    /// Whether anything was changed. Not if the secret was already unset, or the app is not the one that was read.
    pub changed: bool,
    /// The redeployed branches.
    pub deploys: Vec<(String, DeployNumber)>,
}

impl Store {
    /// The secrets of an app, by name and environment.
    ///
    /// # Errors
    /// The database failed.
    pub async fn secrets(&self, app: AppId) -> Result<Vec<EncryptedSecret>, StoreError> {
        dispatch!(self, secrets::secrets(app))
    }

    /// The secrets of all apps.
    ///
    /// # Errors
    /// The database failed.
    pub async fn all_secrets(&self) -> Result<Vec<EncryptedSecret>, StoreError> {
        dispatch!(self, secrets::all_secrets())
    }

    /// Sets or unsets a secret and redeploys what reads it, in one transaction that locks the app.
    ///
    /// # Errors
    /// The database failed.
    pub async fn change_secret(&self, change: &SecretChange<'_>) -> Result<SecretReceipt, StoreError> {
        dispatch!(self, secrets::change_secret(change))
    }

    /// Replaces the ciphertext of a secret after re-encryption. `false`: the secret was changed meanwhile.
    ///
    /// # Errors
    /// The database failed.
    pub async fn reencrypt_secret(
        &self,
        old: &EncryptedSecret,
        new: &EncryptedSecret,
    ) -> Result<bool, StoreError> {
        dispatch!(self, secrets::reencrypt_secret(old, new))
    }
}
