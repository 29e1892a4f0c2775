//! Lifecycle of apps: stopped, started, renamed, deleted, undeleted, purged.
//!
//! A deleted app keeps its row and everything that refers to its id, under a name that no app can have. Its name is
//! free at once, and a new app with that name inherits nothing. Its domains are free too; it gets them back if no
//! other app holds them by then. The scopes of its tokens stay with it.

use chrono::{DateTime, Utc};
use manifest_schema::name::{AppName, DomainName};
use uuid::Uuid;

use crate::audit::Actor;
use crate::error::{Conflict, PushError, StoreError};
use crate::id::AppId;
use crate::model::App;
use crate::sql_types::{Named, Unsigned};
use crate::{Store, dispatch};

/// How many rows of a deleted app one transaction deletes.
pub(crate) const PURGE_BATCH: u32 = 500;

/// A deleted app.
#[derive(Clone, Debug, PartialEq, Eq, sqlx::FromRow)]
pub struct DeletedApp {
    /// Its id.
    pub id: AppId,
    /// Its name before the deletion.
    #[sqlx(rename = "deleted_name", try_from = "Named<AppName>")]
    pub name: AppName,
    /// Its production branch.
    pub production_branch: String,
    /// When it was deleted.
    pub deleted_at: DateTime<Utc>,
    /// Who deleted it.
    pub deleted_by: String,
    /// Its disk usage in bytes.
    #[sqlx(try_from = "Unsigned<u64>")]
    pub disk_bytes: u64,
    /// Whether purging has started, so that it cannot be undeleted.
    pub purging: bool,
}

/// An app under its new name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RenamedApp {
    /// The app.
    pub app: App,
    /// Tokens that already had scopes for the new name.
    pub tokens: Vec<String>,
}

/// Why an app was not renamed or undeleted. Nothing was changed, unless the outcome is unknown.
#[derive(Debug, thiserror::Error)]
pub enum RenameAppError {
    /// The app does not exist, or is not deleted.
    #[error("app not found")]
    NotFound,
    /// Another app has the name.
    #[error("app {0} already exists")]
    Taken(AppName),
    /// Another app holds one of its domains.
    #[error("domain {0} belongs to another app")]
    DomainTaken(DomainName),
    /// The database failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Conflict for RenameAppError {
    fn is_conflict(&self) -> bool {
        matches!(self, Self::Store(error) if error.is_conflict())
    }
}

impl From<sqlx::Error> for RenameAppError {
    fn from(error: sqlx::Error) -> Self {
        Self::Store(error.into())
    }
}

impl From<PushError> for RenameAppError {
    fn from(error: PushError) -> Self {
        match error {
            PushError::DomainTaken { domain } => Self::DomainTaken(domain),
            error => Self::Store(error.into_store()),
        }
    }
}

impl Store {
    /// Stops or starts an app. Schedule runs that were due while it was stopped are skipped. Returns the updated app.
    ///
    /// # Errors
    /// The app does not exist any more, or the database failed. Nothing was changed.
    pub async fn stop_app(
        &self,
        app: &App,
        stopped: bool,
        node: Option<Uuid>,
        by: &Actor,
    ) -> Result<App, StoreError> {
        dispatch!(self, lifecycle::stop_app(app, stopped, node, by))
    }

    /// Renames an app, and the scopes of its tokens.
    ///
    /// # Errors
    /// The name is taken, the app does not exist any more, or the database failed.
    pub async fn rename_app(
        &self,
        app: &App,
        name: &AppName,
        node: Option<Uuid>,
        by: &Actor,
    ) -> Result<RenamedApp, RenameAppError> {
        dispatch!(self, lifecycle::rename_app(app, name, node, by))
    }

    /// Deletes an app. It can be undeleted until it is purged.
    ///
    /// # Errors
    /// The app does not exist any more, or the database failed. Nothing was changed.
    pub async fn delete_app(
        &self,
        app: &App,
        node: Option<Uuid>,
        by: &Actor,
    ) -> Result<DeletedApp, StoreError> {
        dispatch!(self, lifecycle::delete_app(app, node, by))
    }

    /// Undeletes an app under a name, with the domains that it held. `domains` are those in the manifest of
    /// production.
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
    ) -> Result<App, RenameAppError> {
        dispatch!(self, lifecycle::undelete_app(app, name, domains, node, by))
    }

    /// Deleted apps, latest first.
    ///
    /// # Errors
    /// The database failed.
    pub async fn deleted_apps(&self) -> Result<Vec<DeletedApp>, StoreError> {
        dispatch!(self, lifecycle::deleted_apps())
    }

    /// Purges a batch of a deleted app, and finally the app itself. Returns whether there is more.
    ///
    /// # Errors
    /// The database failed.
    pub async fn purge_app(&self, app: &DeletedApp, by: &Actor) -> Result<bool, StoreError> {
        // It cannot be undeleted any more.
        if dispatch!(self, lifecycle::is_purging(app))? && self.state().purge_app(app.id).await? {
            return Ok(true);
        }
        dispatch!(self, lifecycle::purge_app(app, by))
    }
}
