//! What PiCloud remembers: one [`Store`] over two databases, PostgreSQL and the embedded SQLite.
//!
//! The database is the single source of truth, and git objects are rows in it. Layout:
//!
//! - [`id`]: the names of rows
//! - [`record`]: what is read and written
//! - [`cluster`]: what nodes on one PostgreSQL tell each other
//! - [`schedule`]: the same of schedules and their runs
//! - [`audit`]: who did what
//! - [`status`]: what an operator has to look at
//! - [`collection`]: deletes what nothing holds any more
//! - [`disk`]: how many bytes an app takes
//! - [`certificate`]: the names of previews for which there are certificates
//! - [`domain`]: domains of apps' own, claimed and held
//! - [`lifecycle`]: apps that are stopped, renamed, deleted
//! - [`limits`]: what an app is granted of its own
//! - `token`, `secret`: tokens and secrets, as they are kept
//! - [`execution`]: the same of executions and what they logged
//! - [`error`]: what can go wrong
//! - `column`: our types as columns have them
//! - [`backup`]: everything in one file, and back
//! - `bases`: which objects are still to be read, once some are
//! - `portion`: how much of a push's objects is inserted at once
//! - `queries/`: the queries, one file a table's worth, each written once for both databases; `push` is the one transaction of
//!   a push
//! - `postgres/`, `sqlite/`: what differs; `connect` opens and migrates, `transaction` begins every transaction, `dialect` has
//!   the words and queries that the other database has not
//! - `migrations/`: the tables, in pairs with the same number
//!
//! A push travels whole through [`Store::push`]: all of it is committed, or nothing. Everything else reads, apart from
//! what is remembered of executions, of schedules and their runs, and what nodes say of themselves.

pub mod audit;
pub mod backup;
mod bases;
pub mod certificate;
pub mod cluster;
pub mod collection;
mod column;
pub mod disk;
pub mod domain;
pub mod error;
pub mod execution;
pub mod id;
pub mod lifecycle;
pub mod limits;
mod portion;
mod postgres;
pub mod record;
pub mod schedule;
mod schedule_hold;
pub mod scratch;
mod secret;
mod sqlite;
pub mod status;
mod token;

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use chrono::{DateTime, Utc};
use manifest_schema::name::AppName;

pub use audit::{AUDIT_PRUNED_AT_ONCE, Act, Actor, AuditAction, AuditRow};
pub use certificate::{CertificateGrant, CertificateLimits};
pub use cluster::Cluster;
pub use collection::{CollectionRoots, CollectionState, Deleted, ObjectName};
pub use domain::{Domain, DomainProof, HoldDomainError};
pub use error::{OpenError, PushError, StoreError};
pub use execution::{
    DELETED_AT_ONCE, ExecutionFilter, ExecutionRecord, FailureRecord, LineFilter, LineRecord, Loss,
    NewRecords, Numbered, Part, PlaceRecord, RecordKind,
};
pub use id::{AppId, DeployNumber, Oid};
pub use lifecycle::{DeletedApp, NameAppError, Renamed};
pub use limits::{AppLimit, AppLimits, LimitChanges};
pub use record::{
    App, Deploy, DeployFilter, Generation, Known, ListedDeploy, LiveBranch, NewDeploy, NewPush, NewRevision,
    Object, ObjectKind, Objects, PushLimits, PushReceipt, Ref, RefChange, Revision, Stored,
};
pub use schedule::{
    Action, Claim, DeclaredSchedule, DueTimes, Left, LostRun, NewRun, NodeIdentity, PRUNED_AT_ONCE, Paused,
    RunKey, RunOutcome, ScheduleId, ScheduleRun, ScheduleState,
};
pub use schedule_hold::{ResumedSchedule, ScheduleHold};
pub use secret::{Environment, SealedSecret, SecretChange, SecretReceipt};
pub use status::{DroppedRecords, FailingApp, FailingSchedule, LastBackup};
pub use token::Token;

/// How long a push waits for others to the same app (in SQLite, for whoever writes) before it gives up.
const PUSH_WAIT_MAX: Duration = Duration::from_secs(10);

/// How long any statement in PostgreSQL waits for a lock that somebody else holds, unless it is one of a push.
const LOCK_WAIT_MAX: Duration = Duration::from_secs(5);

/// [`Store::objects`] reads no further once it has read so many bytes of streams.
pub const OBJECTS_BYTES_MAX: u64 = 2 << 20;

/// Where everything is kept.
#[derive(Clone, PartialEq, Eq)]
pub enum Location {
    /// A PostgreSQL database, by its URL.
    Postgres(String),
    /// A file of the embedded SQLite.
    Sqlite(PathBuf),
}

/// What a node takes of a PostgreSQL that others work with too.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pool {
    /// The most connections.
    pub connections: u32,
    /// How long a query waits for one of them.
    pub wait: Duration,
    /// How long one statement may take, and a transaction stand still. The largest push inserts within a fraction of it. A
    /// server that has not answered a few seconds later is taken for silent.
    pub statement: Duration,
}

impl Default for Pool {
    /// Three nodes fit into the hundred connections that a PostgreSQL has by itself, and half of them are left.
    fn default() -> Self {
        Self { connections: 16, wait: Duration::from_secs(5), statement: Duration::from_secs(20) }
    }
}

/// What a database knows of the time, whatever the clock of this machine says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KnownTime {
    /// What the clock of its server says.
    Clock(DateTime<Utc>),
    /// It has no clock of its own, and its latest entry is of this time.
    NotBefore(DateTime<Utc>),
    /// It has no clock and no entry.
    Nothing,
}

/// The URL holds a password, so it is not shown.
impl fmt::Debug for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Postgres(_) => f.write_str("Postgres(..)"),
            Self::Sqlite(path) => f.debug_tuple("Sqlite").field(path).finish(),
        }
    }
}

/// The database. Cheap to clone; all clones share the connections.
#[derive(Clone, Debug)]
pub struct Store(Backend);

#[derive(Clone, Debug)]
enum Backend {
    Postgres(Box<postgres::connections::Connections>),
    Sqlite(sqlite::Connections),
}

/// Runs the same function of whichever database it is.
macro_rules! either {
    ($store:expr, $room:ident::$function:ident ( $($argument:expr),* )) => {
        match &$store.0 {
            $crate::Backend::Postgres(connections) => {
                $crate::postgres::attempts::attempt!($crate::postgres::$room::$function(connections, $($argument),*))
            }
            $crate::Backend::Sqlite(connections) => {
                $crate::sqlite::$room::$function(connections, $($argument),*).await
            }
        }
    };
}
pub(crate) use either;

impl Store {
    /// Opens the database and brings its tables up to date.
    ///
    /// # Errors
    /// It cannot be reached or written, or its tables are those of a newer version or of another program.
    pub async fn open(location: &Location) -> Result<Self, OpenError> {
        Self::open_with(location, &Pool::default()).await
    }

    /// The same, with bounds for the connections to PostgreSQL. SQLite needs none.
    ///
    /// # Errors
    /// As for [`Store::open`].
    pub async fn open_with(location: &Location, pool: &Pool) -> Result<Self, OpenError> {
        Ok(Self(match location {
            Location::Postgres(url) => Backend::Postgres(Box::new(postgres::connect::open(url, pool).await?)),
            Location::Sqlite(path) => Backend::Sqlite(sqlite::connect::open(path).await?),
        }))
    }

    /// Closes all connections, letting what runs on them finish, as far as the database lets it.
    pub async fn close(&self) {
        match &self.0 {
            Backend::Postgres(connections) => connections.close().await,
            Backend::Sqlite(connections) => connections.close().await,
        }
    }

    /// The nodes that share the database; `None` where it can have only one.
    pub fn cluster(&self) -> Option<Cluster> {
        match &self.0 {
            Backend::Postgres(connections) => Some(Cluster(connections.as_ref().clone())),
            Backend::Sqlite(_) => None,
        }
    }

    /// Whether the database takes writes: writes a row, and commits it.
    ///
    /// # Errors
    /// It does not.
    pub async fn probe_write(&self) -> Result<(), StoreError> {
        either!(self, connect::probe_write())
    }

    /// What the database knows of the time by itself.
    ///
    /// # Errors
    /// The database failed.
    pub async fn time(&self) -> Result<KnownTime, StoreError> {
        either!(self, connect::time())
    }

    /// Whether the database has an entry from one to two weeks before `now`, or none that is older than that. Otherwise either
    /// nothing has happened for long, or the clock that shows `now` is far ahead.
    ///
    /// # Errors
    /// The database failed.
    pub async fn has_continuous_history(&self, now: DateTime<Utc>) -> Result<bool, StoreError> {
        either!(self, history::has_continuous_history(now))
    }

    /// How many connections to the database are open, and how many of them are idle. The embedded one has none to count.
    pub fn connections(&self) -> Option<(u32, u32)> {
        match &self.0 {
            Backend::Postgres(connections) => Some(connections.count()),
            Backend::Sqlite(_) => None,
        }
    }

    /// The app of that name.
    ///
    /// # Errors
    /// The database failed.
    pub async fn app(&self, name: &AppName) -> Result<Option<App>, StoreError> {
        either!(self, apps::app(name))
    }

    /// All apps, by name.
    ///
    /// # Errors
    /// The database failed.
    pub async fn apps(&self) -> Result<Vec<App>, StoreError> {
        either!(self, apps::apps())
    }

    /// An app's branches and tags, by name. Deploys are not among them.
    ///
    /// # Errors
    /// The database failed.
    pub async fn refs(&self, app: AppId) -> Result<Vec<Ref>, StoreError> {
        either!(self, refs::refs(app))
    }

    /// The commits whose parents were never sent.
    ///
    /// # Errors
    /// The database failed.
    pub async fn shallow(&self, app: AppId) -> Result<Vec<Oid>, StoreError> {
        either!(self, refs::shallow(app))
    }

    /// What is known of those of `oids` that are there, in any order.
    ///
    /// # Errors
    /// The database failed.
    pub async fn known(&self, app: AppId, oids: &[Oid]) -> Result<Vec<(Oid, Known)>, StoreError> {
        either!(self, objects::known(app, oids))
    }

    /// Those of the objects `oids` that are there, as they are stored, in any order. Some may be left out once more than
    /// [`OBJECTS_BYTES_MAX`] bytes of streams are read, never all of them: whoever misses one asks again.
    ///
    /// # Errors
    /// The database failed.
    pub async fn objects(&self, app: AppId, oids: &[Oid]) -> Result<Vec<Object>, StoreError> {
        either!(self, objects::objects(app, oids))
    }

    /// Those of the objects `oids` that are there and all that they build on: each once, in any order. Some are left out once
    /// `bytes_max` bytes of streams are read: who gets as many asks again with more.
    ///
    /// # Errors
    /// The database failed.
    pub async fn objects_and_bases(
        &self,
        app: AppId,
        oids: &[Oid],
        bytes_max: u64,
    ) -> Result<Vec<Object>, StoreError> {
        if oids.len() < bases::NEIGHBOURS_MIN {
            return either!(self, objects::chains(app, oids, bytes_max));
        }
        let mut objects = self.objects_up_to(app, oids, bytes_max).await?;
        let missing = bases::missing(&objects);
        let room = bytes_max.saturating_sub(bases::bytes(&objects));
        if !missing.is_empty() && room > 0 {
            let chains = either!(self, objects::chains(app, &missing, room))?;
            bases::add(&mut objects, chains);
        }
        Ok(objects)
    }

    /// Those of the objects `oids` that are there, asked for until none is left out or they have `bytes_max` bytes.
    async fn objects_up_to(
        &self,
        app: AppId,
        oids: &[Oid],
        bytes_max: u64,
    ) -> Result<Vec<Object>, StoreError> {
        let mut objects = self.objects(app, oids).await?;
        let mut bytes = bases::bytes(&objects);
        while bytes >= OBJECTS_BYTES_MAX && bases::bytes(&objects) < bytes_max {
            let more = self.objects(app, &bases::unread(oids, &objects)).await?;
            bytes = bases::bytes(&more);
            objects.extend(more);
        }
        Ok(objects)
    }

    /// The commits that are behind `after` in the order of their names, at most `most`, without what they build on. Fewer come once
    /// [`OBJECTS_BYTES_MAX`] bytes of streams are read; none come where there are no more.
    ///
    /// # Errors
    /// The database failed.
    pub async fn commits(
        &self,
        app: AppId,
        after: Option<Oid>,
        most: u32,
    ) -> Result<Vec<Object>, StoreError> {
        either!(self, objects::commits(app, after, most))
    }

    /// Some of the app's objects in the order in which they were stored, from `place` on (0: from the first), without those
    /// that are large: far less work than looking each up by its name, for whoever wants most of them. Where other apps
    /// stored meanwhile, or all is read, there are few or none. `None`: the database has no such order.
    ///
    /// # Errors
    /// The database failed.
    pub async fn stored(&self, app: AppId, place: u64) -> Result<Option<Stored>, StoreError> {
        either!(self, objects::stored(app, place))
    }

    /// The validated commit.
    ///
    /// # Errors
    /// The database failed.
    pub async fn revision(&self, app: AppId, commit: Oid) -> Result<Option<Revision>, StoreError> {
        either!(self, revisions::revision(app, commit))
    }

    /// Every branch of the app that points to a revision, with the latest deploy of the branch.
    ///
    /// # Errors
    /// The database failed.
    pub async fn live_of(&self, app: AppId) -> Result<Vec<LiveBranch>, StoreError> {
        either!(self, revisions::live_of(app))
    }

    /// All deploys of an app, oldest first.
    ///
    /// # Errors
    /// The database failed.
    pub async fn deploys(&self, app: AppId) -> Result<Vec<Deploy>, StoreError> {
        either!(self, deploys::deploys(app))
    }

    /// Deploys of an app, the latest first.
    ///
    /// # Errors
    /// The database failed.
    pub async fn latest_deploys(
        &self,
        app: AppId,
        filter: &DeployFilter,
        limit: u32,
    ) -> Result<Vec<ListedDeploy>, StoreError> {
        either!(self, deploys::latest_deploys(app, filter, limit))
    }

    /// The deploy of a branch before the first one that made `commit` live there.
    ///
    /// # Errors
    /// The database failed.
    pub async fn deploy_before(
        &self,
        app: AppId,
        branch: &str,
        commit: Oid,
    ) -> Result<Option<DeployNumber>, StoreError> {
        either!(self, deploys::deploy_before(app, branch, commit))
    }

    /// When a deploy was made.
    ///
    /// # Errors
    /// The database failed.
    pub async fn deployed_at(
        &self,
        app: AppId,
        number: DeployNumber,
    ) -> Result<Option<DateTime<Utc>>, StoreError> {
        either!(self, deploys::deployed_at(app, number))
    }

    /// Commits a push: app, refs, objects, revisions and deploys, all or nothing. Pushes to one app wait for each other.
    ///
    /// # Errors
    /// A ref was moved meanwhile, a domain is another app's, the app may not be created, another push holds the app for too long, an object cannot be
    /// read, or the database failed. Nothing was changed then, unless it is [`StoreError::OutcomeUnknown`].
    pub async fn push(&self, push: &NewPush<'_>) -> Result<PushReceipt, PushError> {
        either!(self, push::push(push))
    }
}
