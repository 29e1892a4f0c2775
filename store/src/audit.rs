//! Who did what: acts that change something, and the list of them.

use chrono::{DateTime, Utc};
use manifest_schema::name::AppName;
use uuid::Uuid;

use crate::column::{Id, Maybe, Named};
use crate::error::StoreError;
use crate::id::DeployNumber;
use crate::record::App;
use crate::{Store, either};

/// How many rows of the list are deleted at once at most.
pub const AUDIT_PRUNED_AT_ONCE: u32 = 1000;

/// Who changes something, and from where.
#[derive(Clone, Debug, Default, PartialEq, Eq, sqlx::FromRow)]
pub struct Actor {
    /// The name that the history keeps.
    #[sqlx(rename = "who")]
    pub name: String,
    /// The token that was used; `None`: the admin token.
    #[sqlx(try_from = "Maybe<Id>")]
    pub token: Option<Uuid>,
    /// The address that it was used from.
    pub address: Option<String>,
    /// The request that it came with.
    #[sqlx(rename = "request_id", try_from = "Maybe<Id>")]
    pub request: Option<Uuid>,
}

impl Actor {
    /// Somebody of whom the name is all that is known.
    pub fn named(name: &str) -> Self {
        Self { name: name.to_owned(), ..Self::default() }
    }
}

/// What kind of act something was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AuditAction {
    /// A ref was made, moved or deleted by a push.
    Push,
    /// An app was created by hand.
    AppCreate,
    /// A setting of an app was changed.
    AppSetting,
    /// Old deploys of an app were deleted, and what only they reach.
    AppPrune,
    /// An app has another name.
    AppRename,
    /// An app was stopped.
    AppStop,
    /// A stopped app was started.
    AppStart,
    /// An app was deleted.
    AppDelete,
    /// A deleted app was brought back.
    AppUndelete,
    /// Nothing is left of a deleted app.
    AppPurge,
    /// It was proven that a domain is an app's.
    DomainHold,
    /// An app has given up a domain.
    DomainRelease,
    /// A token was created.
    TokenCreate,
    /// A token was revoked.
    TokenRevoke,
    /// A schedule was paused.
    SchedulePause,
    /// A schedule was resumed.
    ScheduleResume,
    /// A schedule was run by hand.
    ScheduleRun,
    /// A secret was set.
    SecretSet,
    /// A secret was taken away.
    SecretUnset,
    /// Secrets were encrypted anew, with another key.
    SecretRotate,
    /// A node began to encrypt with a new key.
    SecretNewKey,
}

impl AuditAction {
    const ALL: [Self; 21] = [
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
    ];

    /// The action as rows and programs have it.
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
        }
    }

    /// The action of that name.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|action| action.as_str() == name)
    }
}

/// Something that was changed, by whom, when and from where.
#[derive(Clone, Debug, PartialEq, Eq, sqlx::FromRow)]
pub struct Act {
    /// Who.
    #[sqlx(flatten)]
    pub by: Actor,
    /// When.
    pub at: DateTime<Utc>,
    /// What kind of act it was.
    pub action: AuditAction,
    /// The app that it was about.
    #[sqlx(try_from = "Maybe<Named<AppName>>")]
    pub app: Option<AppName>,
    /// What was changed: a ref, a token, a schedule, a setting.
    pub subject: String,
    /// What it was before.
    #[sqlx(rename = "old_value")]
    pub old: Option<String>,
    /// What it is now.
    #[sqlx(rename = "new_value")]
    pub new: Option<String>,
    /// The deploy that was made by it.
    pub deploy: Option<DeployNumber>,
}

impl Act {
    /// An act upon `subject`, of this moment.
    pub fn new(by: &Actor, action: AuditAction, app: Option<&AppName>, subject: &str) -> Self {
        let (by, app, subject) = (by.clone(), app.cloned(), subject.to_owned());
        Self { by, at: Utc::now(), action, app, subject, old: None, new: None, deploy: None }
    }

    /// With what it was before and is now.
    pub fn changing(self, old: Option<String>, new: Option<String>) -> Self {
        Self { old, new, ..self }
    }

    /// That the production branch of an app is protected from now on, or not any more.
    pub(crate) fn of_protection(app: &AppName, protected: bool, by: &Actor) -> Self {
        Self::new(by, AuditAction::AppSetting, Some(app), "protected").switching(protected)
    }

    /// That the schedules of a preview are run by the clock from now on, or not any more.
    pub(crate) fn of_preview_schedules(app: &AppName, branch: &str, on: bool, by: &Actor) -> Self {
        Self::new(by, AuditAction::AppSetting, Some(app), &format!("schedules of {branch}")).switching(on)
    }

    fn switching(self, on: bool) -> Self {
        let word = |on| Some(if on { "on" } else { "off" }.to_owned());
        self.changing(word(!on), word(on))
    }
}

/// A row of the list.
#[derive(Clone, Debug, PartialEq, Eq, sqlx::FromRow)]
pub struct AuditRow {
    /// Its place in the list; later ones sort behind earlier ones.
    #[sqlx(try_from = "Id")]
    pub id: Uuid,
    /// What was done.
    #[sqlx(flatten)]
    pub act: Act,
}

impl Store {
    /// The latest acts, of one app or of all, the latest first: at most `most`, behind the row `before`.
    ///
    /// # Errors
    /// The database failed.
    pub async fn audit(
        &self,
        app: Option<&AppName>,
        before: Option<Uuid>,
        most: u32,
    ) -> Result<Vec<AuditRow>, StoreError> {
        either!(self, audit::audit(app, before, most))
    }

    /// Adds an act to the list that changes nothing in the database itself. All others are added by what changes something,
    /// in the same transaction.
    ///
    /// # Errors
    /// The database failed.
    pub async fn record(&self, act: &Act) -> Result<(), StoreError> {
        either!(self, audit::record(act))
    }

    /// Deletes acts from before that time, at most [`AUDIT_PRUNED_AT_ONCE`]. Returns how many it were.
    ///
    /// # Errors
    /// The database failed.
    pub async fn prune_audit(&self, before: DateTime<Utc>) -> Result<u64, StoreError> {
        either!(self, audit::prune_audit(before))
    }

    /// Creates an app without a push. `false`: it is there already.
    ///
    /// # Errors
    /// The database failed.
    pub async fn create_app(&self, name: &AppName, by: &Actor) -> Result<bool, StoreError> {
        either!(self, apps::create_app(name, by))
    }

    /// Lets the production branch of an app only go forward, or in any direction. `false`: that is so already.
    ///
    /// # Errors
    /// The database failed.
    pub async fn protect_app(&self, app: &App, protected: bool, by: &Actor) -> Result<bool, StoreError> {
        either!(self, apps::protect_app(app, protected, by))
    }
}
