//! What becomes of an app as a whole: stopped, started, renamed, deleted, brought back, and gone.
//!
//! A deleted app keeps its row and everything that hangs on its id, under a name that nobody can ask for. So its name is free at
//! once, and an app that is made under it inherits nothing. Its domains are free too, and are its own again if nobody else holds them by then; its tokens' scopes go with its id.

use chrono::{DateTime, Utc};
use manifest_schema::name::{AppName, DomainName};
use uuid::Uuid;

use crate::audit::Actor;
use crate::column::{Named, Unsigned};
use crate::error::{Conflict, PushError, StoreError};
use crate::id::AppId;
use crate::record::App;
use crate::{Store, either};

/// How many rows of a deleted app one transaction deletes.
pub(crate) const PURGED_AT_ONCE: u32 = 500;

/// A deleted app.
#[derive(Clone, Debug, PartialEq, Eq, sqlx::FromRow)]
pub struct DeletedApp {
    /// Its id.
    pub id: AppId,
    /// What it was called.
    #[sqlx(rename = "deleted_name", try_from = "Named<AppName>")]
    pub name: AppName,
    /// The branch that was served as the app itself.
    pub production_branch: String,
    /// When it was deleted.
    pub deleted_at: DateTime<Utc>,
    /// By whom.
    pub deleted_by: String,
    /// How many bytes of the disk it takes.
    #[sqlx(try_from = "Unsigned<u64>")]
    pub disk_bytes: u64,
    /// Whether some of it is gone already, so that it cannot be brought back.
    pub purging: bool,
}

/// An app under its new name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Renamed {
    /// The app.
    pub app: App,
    /// The tokens that had scopes for an app of the new name, before it had it.
    pub tokens: Vec<String>,
}

/// Why an app has not another name, or is not brought back. Nothing was changed, unless the store does not know.
#[derive(Debug, thiserror::Error)]
pub enum NameAppError {
    /// There is no such app, or it is not deleted.
    #[error("there is no such app")]
    NotThere,
    /// Another app has the name.
    #[error("there is an app {0} already")]
    Taken(AppName),
    /// Another app has a domain of it by now.
    #[error("another app has the domain {0} by now")]
    DomainTaken(DomainName),
    /// The database failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Conflict for NameAppError {
    fn is_conflict(&self) -> bool {
        matches!(self, Self::Store(error) if error.is_conflict())
    }
}

impl From<sqlx::Error> for NameAppError {
    fn from(error: sqlx::Error) -> Self {
        Self::Store(error.into())
    }
}

impl From<PushError> for NameAppError {
    fn from(error: PushError) -> Self {
        match error {
            PushError::DomainTaken { domain } => Self::DomainTaken(domain),
            error => Self::Store(error.into_store()),
        }
    }
}

impl Store {
    /// Stops an app, or starts it again; what its schedules would have run meanwhile is skipped. The app as it is then.
    ///
    /// # Errors
    /// The app is not there any more, or the database failed. Nothing was changed then.
    pub async fn stop_app(
        &self,
        app: &App,
        stopped: bool,
        node: Option<Uuid>,
        by: &Actor,
    ) -> Result<App, StoreError> {
        either!(self, lifecycle::stop_app(app, stopped, node, by))
    }

    /// Gives an app another name. Its tokens' scopes go along.
    ///
    /// # Errors
    /// The name is taken, the app is not there any more, or the database failed.
    pub async fn rename_app(
        &self,
        app: &App,
        name: &AppName,
        node: Option<Uuid>,
        by: &Actor,
    ) -> Result<Renamed, NameAppError> {
        either!(self, lifecycle::rename_app(app, name, node, by))
    }

    /// Deletes an app, which can be brought back until it is purged.
    ///
    /// # Errors
    /// The app is not there any more, or the database failed. Nothing was changed then.
    pub async fn delete_app(
        &self,
        app: &App,
        node: Option<Uuid>,
        by: &Actor,
    ) -> Result<DeletedApp, StoreError> {
        either!(self, lifecycle::delete_app(app, node, by))
    }

    /// Brings a deleted app back under a name, with the domains that it held. `domains` are those that what is live in production names.
    ///
    /// # Errors
    /// The name or a domain is taken, the app is not deleted, or the database failed.
    pub async fn undelete_app(
        &self,
        app: AppId,
        name: &AppName,
        domains: &[DomainName],
        node: Option<Uuid>,
        by: &Actor,
    ) -> Result<App, NameAppError> {
        either!(self, lifecycle::undelete_app(app, name, domains, node, by))
    }

    /// The apps that are deleted, the latest first.
    ///
    /// # Errors
    /// The database failed.
    pub async fn deleted_apps(&self) -> Result<Vec<DeletedApp>, StoreError> {
        either!(self, lifecycle::deleted_apps())
    }

    /// Deletes some of what is left of a deleted app, and in the end the app. Whether there is more.
    ///
    /// # Errors
    /// The database failed.
    pub async fn purge_app(&self, app: &DeletedApp, by: &Actor) -> Result<bool, StoreError> {
        either!(self, lifecycle::purge_app(app, by))
    }
}
