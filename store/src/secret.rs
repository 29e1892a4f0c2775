//! Secrets, as they are kept: encrypted.

use chrono::{DateTime, Utc};
use uuid::Uuid;

use crate::audit::Act;
use crate::error::StoreError;
use crate::id::{AppId, DeployNumber};
use crate::record::{App, NewDeploy};
use crate::{Store, either};

/// For whom a secret is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Environment {
    /// For production.
    Production,
    /// For all previews.
    Preview,
}

impl Environment {
    /// Both of them.
    pub const ALL: [Self; 2] = [Self::Production, Self::Preview];

    /// Its name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Production => "production",
            Self::Preview => "preview",
        }
    }

    /// The one of that name.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|environment| environment.as_str() == name)
    }

    /// The table that its secrets are in.
    pub(crate) fn table(self) -> &'static str {
        match self {
            Self::Production => "secrets",
            Self::Preview => "preview_secrets",
        }
    }
}

/// A secret of an app.
#[derive(Clone, PartialEq, Eq, sqlx::FromRow)]
pub struct SealedSecret {
    /// The app.
    pub app: AppId,
    /// For whom it is.
    pub environment: Environment,
    /// Its name.
    pub name: String,
    /// What the key is known by that it is encrypted with.
    pub key: String,
    /// Its value, encrypted.
    pub sealed: Vec<u8>,
    /// When it was set.
    pub set_at: DateTime<Utc>,
    /// By whom.
    pub set_by: String,
}

impl std::fmt::Debug for SealedSecret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "SealedSecret({}, {})", self.name, self.environment.as_str())
    }
}

/// A secret that is set or unset.
#[derive(Clone, Debug)]
pub struct SecretChange<'a> {
    /// The app.
    pub app: &'a App,
    /// Whether it is created with that. Where another one of its name is there by now, nothing is changed.
    pub creates: bool,
    /// The name.
    pub name: &'a str,
    /// For whom it is.
    pub environment: Environment,
    /// What it is set to; `None`: it is unset, unless the app was changed since it was read.
    pub sealed: Option<&'a SealedSecret>,
    /// The revisions that are live and read it, which are deployed anew. One whose branch points elsewhere by now is left out.
    pub deploys: &'a [NewDeploy],
    /// The node that does it, which need not hear of it from others.
    pub node: Option<Uuid>,
    /// What is done.
    pub act: &'a Act,
}

/// What came of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SecretReceipt {
    /// The app as it is now.
    pub app: App,
    /// Whether anything was changed. Nothing was where it was unset already, or the app is another one than was read.
    pub changed: bool,
    /// The branches that were deployed anew.
    pub deploys: Vec<(String, DeployNumber)>,
}

impl Store {
    /// The secrets of an app, by name and environment.
    ///
    /// # Errors
    /// The database failed.
    pub async fn secrets(&self, app: AppId) -> Result<Vec<SealedSecret>, StoreError> {
        either!(self, secrets::secrets(app))
    }

    /// The secrets of all apps.
    ///
    /// # Errors
    /// The database failed.
    pub async fn all_secrets(&self) -> Result<Vec<SealedSecret>, StoreError> {
        either!(self, secrets::all_secrets())
    }

    /// Sets or unsets a secret and deploys anew what reads it, in one transaction. Pushes to the app wait meanwhile.
    ///
    /// # Errors
    /// The database failed.
    pub async fn change_secret(&self, change: &SecretChange<'_>) -> Result<SecretReceipt, StoreError> {
        either!(self, secrets::change_secret(change))
    }

    /// Puts a secret that was encrypted anew in the place of what it was. `false`: that is not there any more.
    ///
    /// # Errors
    /// The database failed.
    pub async fn reseal_secret(&self, old: &SealedSecret, new: &SealedSecret) -> Result<bool, StoreError> {
        either!(self, secrets::reseal_secret(old, new))
    }
}
