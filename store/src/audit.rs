//! The audit log: every change, who made it and from where.

use chrono::{DateTime, Utc};
use manifest_schema::name::AppName;
use uuid::Uuid;

use crate::error::StoreError;
use crate::id::DeployNumber;
use crate::model::App;
use crate::sql_types::{Id, Maybe, Named};
use crate::{Store, dispatch};

/// How many old events are deleted at once.
pub const AUDIT_PRUNE_BATCH: u32 = 1000;

/// Who makes a change, and from where.
#[derive(Clone, Debug, Default, PartialEq, Eq, sqlx::FromRow)]
pub struct Actor {
    /// The name in the audit log and in deploys.
    #[sqlx(rename = "actor")]
    pub name: String,
    /// The token that was used; `None`: the admin token.
    #[sqlx(try_from = "Maybe<Id>")]
    pub token: Option<Uuid>,
    /// The client address.
    pub address: Option<String>,
    /// The id of the request.
    #[sqlx(rename = "request_id", try_from = "Maybe<Id>")]
    pub request: Option<Uuid>,
}

impl Actor {
    /// An actor of whom only the name is known.
    pub fn named(name: &str) -> Self {
        Self { name: name.to_owned(), ..Self::default() }
    }
}

/// The kind of a change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AuditAction {
    /// A push created, updated or deleted a ref.
    Push,
    /// An app was created without a push.
    AppCreate,
    /// A setting of an app was changed.
    AppSetting,
    /// Old deploys and their unreachable objects were deleted.
    AppPrune,
    /// An app was renamed.
    AppRename,
    /// An app was stopped.
    AppStop,
    /// A stopped app was started.
    AppStart,
    /// An app was deleted.
    AppDelete,
    /// A deleted app was restored.
    AppUndelete,
    /// A deleted app was purged.
    AppPurge,
    /// A domain was verified for an app.
    DomainHold,
    /// An app released a domain.
    DomainRelease,
    /// A token was created.
    TokenCreate,
    /// A token was revoked.
    TokenRevoke,
    /// A schedule was paused.
    SchedulePause,
    /// A schedule was resumed.
    ScheduleResume,
    /// A schedule was run manually.
    ScheduleRun,
    /// A secret was set.
    SecretSet,
    /// A secret was unset.
    SecretUnset,
    /// Secrets were re-encrypted with another key.
    SecretRotate,
    /// A node started to encrypt with a new key.
    SecretNewKey,
    /// A value of the state was set.
    KvSet,
    /// A key of the state was deleted.
    KvDelete,
    /// Entries were imported into the state.
    KvImport,
}

impl AuditAction {
    const ALL: [Self; 24] = [
        Self::Push,
        Self::AppCreate,
        Self::AppSetting,
        Self::AppPrune,
        Self::AppRename,
        Self::AppStop,
        Self::AppStart,
        Self::AppDelete,
        Self::AppUndelete,
        Self::AppPurge,
        Self::DomainHold,
        Self::DomainRelease,
        Self::TokenCreate,
        Self::TokenRevoke,
        Self::SchedulePause,
        Self::ScheduleResume,
        Self::ScheduleRun,
        Self::SecretSet,
        Self::SecretUnset,
        Self::SecretRotate,
        Self::SecretNewKey,
        Self::KvSet,
        Self::KvDelete,
        Self::KvImport,
    ];

    /// The name in rows and in the API.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Push => "push",
            Self::AppCreate => "app.create",
            Self::AppSetting => "app.setting",
            Self::AppPrune => "app.prune",
            Self::AppRename => "app.rename",
            Self::AppStop => "app.stop",
            Self::AppStart => "app.start",
            Self::AppDelete => "app.delete",
            Self::AppUndelete => "app.undelete",
            Self::AppPurge => "app.purge",
            Self::DomainHold => "domain.hold",
            Self::DomainRelease => "domain.release",
            Self::TokenCreate => "token.create",
            Self::TokenRevoke => "token.revoke",
            Self::SchedulePause => "schedule.pause",
            Self::ScheduleResume => "schedule.resume",
            Self::ScheduleRun => "schedule.run",
            Self::SecretSet => "secret.set",
            Self::SecretUnset => "secret.unset",
            Self::SecretRotate => "secret.rotate",
            Self::SecretNewKey => "secret.new_key",
            Self::KvSet => "kv.set",
            Self::KvDelete => "kv.delete",
            Self::KvImport => "kv.import",
        }
    }

    /// Parses a name.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|action| action.as_str() == name)
    }
}

/// A change: what, by whom, when.
#[derive(Clone, Debug, PartialEq, Eq, sqlx::FromRow)]
pub struct AuditEvent {
    /// Who made it.
    #[sqlx(flatten)]
    pub by: Actor,
    /// When.
    pub at: DateTime<Utc>,
    /// The kind of the change.
    pub action: AuditAction,
    /// The app.
    #[sqlx(try_from = "Maybe<Named<AppName>>")]
    pub app: Option<AppName>,
    /// The changed ref, token, schedule or setting.
    pub subject: String,
    /// The value before.
    #[sqlx(rename = "old_value")]
    pub old: Option<String>,
    /// The value after.
    #[sqlx(rename = "new_value")]
    pub new: Option<String>,
    /// The deploy that it created.
    pub deploy: Option<DeployNumber>,
}

impl AuditEvent {
    /// An event of now.
    pub fn new(by: &Actor, action: AuditAction, app: Option<&AppName>, subject: &str) -> Self {
        let (by, app, subject) = (by.clone(), app.cloned(), subject.to_owned());
        Self { by, at: Utc::now(), action, app, subject, old: None, new: None, deploy: None }
    }

    /// Adds the values before and after.
    pub fn changing(self, old: Option<String>, new: Option<String>) -> Self {
        Self { old, new, ..self }
    }

    /// Branch protection of an app was switched on or off.
    pub(crate) fn protection_changed(app: &AppName, protected: bool, by: &Actor) -> Self {
        Self::new(by, AuditAction::AppSetting, Some(app), "protected").switching(protected)
    }

    /// The schedules of a preview were enabled or disabled.
    pub(crate) fn preview_schedules_changed(app: &AppName, branch: &str, on: bool, by: &Actor) -> Self {
        Self::new(by, AuditAction::AppSetting, Some(app), &format!("schedules of {branch}")).switching(on)
    }

    fn switching(self, on: bool) -> Self {
        let word = |on| Some(if on { "on" } else { "off" }.to_owned());
        self.changing(word(!on), word(on))
    }
}

/// A row of the audit log.
#[derive(Clone, Debug, PartialEq, Eq, sqlx::FromRow)]
pub struct AuditRow {
    /// UUIDv7: sorts by time.
    #[sqlx(try_from = "Id")]
    pub id: Uuid,
    /// The event.
    #[sqlx(flatten)]
    pub event: AuditEvent,
}

impl Store {
    /// The latest audit events, of one app or of all, latest first: at most `limit`, before the row `before`.
    ///
    /// # Errors
    /// The database failed.
    pub async fn audit_events(
        &self,
        app: Option<&AppName>,
        before: Option<Uuid>,
        limit: u32,
    ) -> Result<Vec<AuditRow>, StoreError> {
        dispatch!(self, audit::audit_events(app, before, limit))
    }

    /// Adds an event that changes nothing else in the database. Other events are added in the transaction of their
    /// change.
    ///
    /// # Errors
    /// The database failed.
    pub async fn record_audit(&self, event: &AuditEvent) -> Result<(), StoreError> {
        dispatch!(self, audit::record_audit(event))
    }

    /// Deletes events from before that time, at most [`AUDIT_PRUNE_BATCH`]. Returns how many were deleted.
    ///
    /// # Errors
    /// The database failed.
    pub async fn prune_audit(&self, before: DateTime<Utc>) -> Result<u64, StoreError> {
        dispatch!(self, audit::prune_audit(before))
    }

    /// Creates an app without a push. `false`: it already exists.
    ///
    /// # Errors
    /// The database failed.
    pub async fn create_app(&self, name: &AppName, by: &Actor) -> Result<bool, StoreError> {
        dispatch!(self, apps::create_app(name, by))
    }

    /// Switches branch protection of an app on or off. `false`: no change.
    ///
    /// # Errors
    /// The database failed.
    pub async fn protect_app(&self, app: &App, protected: bool, by: &Actor) -> Result<bool, StoreError> {
        dispatch!(self, apps::protect_app(app, protected, by))
    }
}
