//! The database of PiCloud: one [`Store`] on PostgreSQL or the embedded SQLite.
//!
//! The database is the single source of truth; git objects are rows in it.
//!
//! # Layout
//!
//! - [`id`]: ids of rows
//! - [`model`]: apps, refs, objects, revisions, deploys and pushes
//! - [`cluster`]: nodes that share a PostgreSQL: heartbeats, notifications, applied generations
//! - [`schedule`], `schedule_hold`: schedules and their runs
//! - [`audit`]: the audit log
//! - [`status`]: what needs attention of the operator
//! - [`gc`]: garbage collection of deploys and objects
//! - [`disk`]: disk usage of apps
//! - [`certificate`]: certificate grants for previews
//! - [`domain`]: custom domains, claimed and verified
//! - [`lifecycle`]: stopping, renaming and deleting apps
//! - [`limits`]: limits of single apps
//! - `token`, `secret`: API tokens and encrypted secrets
//! - [`state`]: the state of apps; [`shared_state`]: how nodes read each other's commits
//! - [`execution`]: records of executions and their logs
//! - [`error`]: the errors
//! - `sql_types`: encoding and decoding of column values
//! - [`backup`]: backup and restore
//! - `delta_bases`: finds delta bases that are still to be read
//! - `batch`: cuts the objects of a push into batches
//! - `queries/`: the queries, one file for each table or two, each written once for both databases; `push` is the
//!   transaction of a push
//! - `postgres/`, `sqlite/`: the differences; `connect` opens the database, `migration` migrates it, `transaction`
//!   begins every transaction, `dialect` holds SQL that differs; `sqlite::state_file` is the file of the state
//! - `migrations/`: the schema, in pairs with the same number
//!
//! # Invariants
//!
//! - A push is one transaction, [`Store::push`]: all of it is committed, or nothing.
//! - A query exists once, for both databases, in `queries/`.
//! - Every transaction begins in `transaction`; a connection whose transaction did not end is closed.
//! - A change writes its audit event in its own transaction.
//! - A migration is never changed once it is released.

pub mod audit;
pub mod backup;
mod batch;
pub mod certificate;
pub mod cluster;
mod delta_bases;
pub mod disk;
pub mod domain;
pub mod error;
pub mod execution;
pub mod gc;
pub mod id;
pub mod lifecycle;
pub mod limits;
pub mod model;
mod postgres;
pub mod schedule;
mod schedule_hold;
pub mod scratch;
mod secret;
pub mod shared_state;
mod sql_types;
mod sqlite;
pub mod state;
pub mod status;
mod token;

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use chrono::{DateTime, Utc};
use manifest_schema::name::AppName;

pub use audit::{AUDIT_PRUNE_BATCH, Actor, AuditAction, AuditEvent, AuditRow};
pub use certificate::{CertificateGrant, CertificateLimits};
pub use cluster::Cluster;
pub use domain::{Domain, DomainProof, HoldDomainError};
pub use error::{OpenError, PushError, StoreError};
pub use execution::{
    DroppedRecords, ExecutionFilter, ExecutionRecord, FailureRecord, LocationRecord, LogFilter, LogRange,
    LogRecord, NewRecords, RECORD_DELETE_BATCH, RecordKind, Sequenced,
};
pub use gc::{Deleted, GcRoots, GcState, ObjectName};
pub use id::{AppId, CommitId, DeployNumber, NamespaceId, Oid};
pub use lifecycle::{DeletedApp, RenameAppError, RenamedApp};
pub use limits::{AppLimit, AppLimits, LimitChanges};
pub use model::{
    App, Deploy, DeployFilter, Generation, ListedDeploy, LiveBranch, NewDeploy, NewPush, NewRevision, Object,
    ObjectInfo, ObjectKind, ObjectScan, Objects, PushLimits, PushReceipt, Ref, RefChange, Revision,
};
pub use schedule::{
    Claim, ClaimAction, DeclaredSchedule, DueRange, LostRun, NewRun, NodeIdentity, Paused, RUN_PRUNE_BATCH,
    RunHistory, RunKey, RunOutcome, ScheduleId, ScheduleRun, ScheduleState, UnrunDueTimes,
};
pub use schedule_hold::{ResumedSchedule, ScheduleHold};
pub use secret::{EncryptedSecret, Environment, SecretChange, SecretReceipt};
pub use shared_state::{LoggedCommit, NamespaceLock, SharedState, StateChanges, StateHeads};
pub use state::{
    CommitError, ExpiredEntry, NamespaceCommit, NamespaceName, NamespaceRow, StateEntry, StateKeys,
    StatePosition, StateRange, StateRead, StateStore, StateValue,
};
pub use status::{DroppedRecordsSummary, FailingApp, FailingSchedule, LastBackup};
pub use token::Token;

/// How long a push waits for other pushes to the same app (in SQLite: for any writer).
const PUSH_LOCK_TIMEOUT: Duration = Duration::from_secs(10);

/// How long other statements in PostgreSQL wait for a lock.
const LOCK_TIMEOUT: Duration = Duration::from_secs(5);

/// [`Store::objects`] stops once it has read this many bytes of streams.
pub const OBJECTS_BYTES_MAX: u64 = 2 << 20;

/// Which database to open.
#[derive(Clone, PartialEq, Eq)]
pub enum Location {
    /// A PostgreSQL database, by URL.
    Postgres(String),
    /// An SQLite file.
    Sqlite(PathBuf),
}

/// Limits for the connections of a node to PostgreSQL.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PoolConfig {
    /// The maximum number of connections.
    pub max_connections: u32,
    /// How long a query waits for a free connection.
    pub acquire_timeout: Duration,
    /// The timeout of a statement, and of an idle transaction. The largest push inserts within a fraction of it. A
    /// server that does not respond some seconds after it is unresponsive.
    pub statement_timeout: Duration,
}

impl Default for PoolConfig {
    /// PostgreSQL allows a hundred connections by default: three nodes use half of them.
    fn default() -> Self {
        Self {
            max_connections: 16,
            acquire_timeout: Duration::from_secs(5),
            statement_timeout: Duration::from_secs(20),
        }
    }
}

/// The time according to the database, independent of the clock of this machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DatabaseTime {
    /// The clock of the server.
    Clock(DateTime<Utc>),
    /// A database without a clock: the time of its latest entry.
    NotBefore(DateTime<Utc>),
    /// A database without a clock and without entries.
    Unknown,
}

/// Hides the URL, which holds a password.
impl fmt::Debug for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Postgres(_) => f.write_str("Postgres(..)"),
            Self::Sqlite(path) => f.debug_tuple("Sqlite").field(path).finish(),
        }
    }
}

/// The database, and the state of apps, which SQLite has in a file of its own. Cheap to clone; clones share the
/// connections.
#[derive(Clone, Debug)]
pub struct Store(Backend, StateStore);

#[derive(Clone, Debug)]
enum Backend {
    Postgres(Box<postgres::connections::Connections>),
    Sqlite(sqlite::Connections),
}

/// Calls the function of the database in use, with retries in PostgreSQL.
macro_rules! dispatch {
    ($store:expr, $module:ident::$function:ident ( $($argument:expr),* )) => {
        match &$store.0 {
            $crate::Backend::Postgres(connections) => {
                $crate::postgres::attempts::retry!($crate::postgres::$module::$function(connections, $($argument),*))
            }
            $crate::Backend::Sqlite(connections) => {
                $crate::sqlite::$module::$function(connections, $($argument),*).await
            }
        }
    };
}
pub(crate) use dispatch;

impl Store {
    /// Opens and migrates the database.
    ///
    /// # Errors
    /// The database cannot be reached or written, belongs to a newer version or another program, or cannot be
    /// migrated.
    pub async fn open(location: &Location) -> Result<Self, OpenError> {
        Self::open_with(location, &PoolConfig::default()).await
    }

    /// Like [`Store::open`], with limits for the connections to PostgreSQL.
    ///
    /// # Errors
    /// As for [`Store::open`].
    pub async fn open_with(location: &Location, pool: &PoolConfig) -> Result<Self, OpenError> {
        let (backend, state) = match location {
            Location::Postgres(url) => {
                let backend = Backend::Postgres(Box::new(postgres::connect::open(url, pool).await?));
                (backend.clone(), backend)
            }
            Location::Sqlite(path) => {
                let connections = sqlite::connect::open(path).await?;
                let state = sqlite::state_file::open_next_to(&connections).await?;
                (Backend::Sqlite(connections), Backend::Sqlite(state))
            }
        };
        Ok(Self(backend, StateStore(state)))
    }

    /// Closes all connections after their queries have finished, unless the server is unresponsive.
    pub async fn close(&self) {
        match &self.0 {
            Backend::Postgres(connections) => connections.close().await,
            Backend::Sqlite(connections) => {
                connections.close().await;
                self.1.close().await;
            }
        }
    }

    /// The state of apps.
    pub fn state(&self) -> StateStore {
        self.1.clone()
    }

    /// The nodes that share the database; `None` for SQLite, which has one node.
    pub fn cluster(&self) -> Option<Cluster> {
        match &self.0 {
            Backend::Postgres(connections) => Some(Cluster(connections.as_ref().clone())),
            Backend::Sqlite(_) => None,
        }
    }

    /// Checks that the database accepts writes: commits a row.
    ///
    /// # Errors
    /// The database failed, or is read-only.
    pub async fn probe_write(&self) -> Result<(), StoreError> {
        dispatch!(self, connect::probe_write())
    }

    /// The time according to the database.
    ///
    /// # Errors
    /// The database failed.
    pub async fn time(&self) -> Result<DatabaseTime, StoreError> {
        dispatch!(self, connect::time())
    }

    /// Whether the database has an entry from one to two weeks before `now`, or no older entry. Otherwise the
    /// database was unused for long, or `now` comes from a clock that is far ahead.
    ///
    /// # Errors
    /// The database failed.
    pub async fn has_continuous_history(&self, now: DateTime<Utc>) -> Result<bool, StoreError> {
        dispatch!(self, history::has_continuous_history(now))
    }

    /// Open and idle connections to PostgreSQL; `None` for SQLite.
    pub fn connections(&self) -> Option<(u32, u32)> {
        match &self.0 {
            Backend::Postgres(connections) => Some(connections.count()),
            Backend::Sqlite(_) => None,
        }
    }

    /// Finds an app by name.
    ///
    /// # Errors
    /// The database failed.
    pub async fn app(&self, name: &AppName) -> Result<Option<App>, StoreError> {
        dispatch!(self, apps::app(name))
    }

    /// All apps, sorted by name.
    ///
    /// # Errors
    /// The database failed.
    pub async fn apps(&self) -> Result<Vec<App>, StoreError> {
        dispatch!(self, apps::apps())
    }

    /// Branches and tags of an app, sorted by name, without `refs/deploys/`.
    ///
    /// # Errors
    /// The database failed.
    pub async fn refs(&self, app: AppId) -> Result<Vec<Ref>, StoreError> {
        dispatch!(self, refs::refs(app))
    }

    /// The shallow commits of an app: their parents were never pushed.
    ///
    /// # Errors
    /// The database failed.
    pub async fn shallow(&self, app: AppId) -> Result<Vec<Oid>, StoreError> {
        dispatch!(self, refs::shallow(app))
    }

    /// Type and delta depth of those of the objects that exist, in any order.
    ///
    /// # Errors
    /// The database failed.
    pub async fn object_info(&self, app: AppId, oids: &[Oid]) -> Result<Vec<(Oid, ObjectInfo)>, StoreError> {
        dispatch!(self, objects::object_info(app, oids))
    }

    /// Those of the objects that exist, as stored, in any order. Some are left out once more than
    /// [`OBJECTS_BYTES_MAX`] bytes of streams are read, never all: callers ask again for the missing ones.
    ///
    /// # Errors
    /// The database failed.
    pub async fn objects(&self, app: AppId, oids: &[Oid]) -> Result<Vec<Object>, StoreError> {
        dispatch!(self, objects::objects(app, oids))
    }

    /// Those of the objects that exist, with their delta chains: each object once, in any order. Some are left out
    /// once `bytes_max` bytes of streams are read.
    ///
    /// # Errors
    /// The database failed.
    pub async fn objects_and_bases(
        &self,
        app: AppId,
        oids: &[Oid],
        bytes_max: u64,
    ) -> Result<Vec<Object>, StoreError> {
        if oids.len() < delta_bases::BULK_READ_MIN {
            return dispatch!(self, objects::chains(app, oids, bytes_max));
        }
        let mut objects = self.objects_up_to(app, oids, bytes_max).await?;
        let missing = delta_bases::missing(&objects);
        let remaining = bytes_max.saturating_sub(delta_bases::bytes(&objects));
        if !missing.is_empty() && remaining > 0 {
            let chains = dispatch!(self, objects::chains(app, &missing, remaining))?;
            delta_bases::add(&mut objects, chains);
        }
        Ok(objects)
    }

    /// Those of the objects that exist, read until none is left out or `bytes_max` is reached.
    async fn objects_up_to(
        &self,
        app: AppId,
        oids: &[Oid],
        bytes_max: u64,
    ) -> Result<Vec<Object>, StoreError> {
        let mut objects = self.objects(app, oids).await?;
        let mut bytes = delta_bases::bytes(&objects);
        while bytes >= OBJECTS_BYTES_MAX && delta_bases::bytes(&objects) < bytes_max {
            let more = self.objects(app, &delta_bases::unread(oids, &objects)).await?;
            bytes = delta_bases::bytes(&more);
            objects.extend(more);
        }
        Ok(objects)
    }

    /// Commits after `after` in the order of their names, at most `limit`, without their delta bases. Fewer once
    /// [`OBJECTS_BYTES_MAX`] bytes of streams are read; none at the end.
    ///
    /// # Errors
    /// The database failed.
    pub async fn commits(
        &self,
        app: AppId,
        after: Option<Oid>,
        limit: u32,
    ) -> Result<Vec<Object>, StoreError> {
        dispatch!(self, objects::commits(app, after, limit))
    }

    /// Objects of the app in storage order, from `position` on (0: from the first), without large ones: much cheaper
    /// than one lookup per name when most objects are needed. Few or none where other apps stored objects in between,
    /// or at the end. `None`: the database has no storage order.
    ///
    /// # Errors
    /// The database failed.
    pub async fn scan_objects(&self, app: AppId, position: u64) -> Result<Option<ObjectScan>, StoreError> {
        dispatch!(self, objects::scan(app, position))
    }

    /// Finds a validated commit.
    ///
    /// # Errors
    /// The database failed.
    pub async fn revision(&self, app: AppId, commit: Oid) -> Result<Option<Revision>, StoreError> {
        dispatch!(self, revisions::revision(app, commit))
    }

    /// Every branch of the app that points to a revision, with its latest deploy.
    ///
    /// # Errors
    /// The database failed.
    pub async fn live_branches(&self, app: AppId) -> Result<Vec<LiveBranch>, StoreError> {
        dispatch!(self, revisions::live_branches(app))
    }

    /// All deploys of an app, oldest first.
    ///
    /// # Errors
    /// The database failed.
    pub async fn deploys(&self, app: AppId) -> Result<Vec<Deploy>, StoreError> {
        dispatch!(self, deploys::deploys(app))
    }

    /// Deploys of an app, latest first.
    ///
    /// # Errors
    /// The database failed.
    pub async fn latest_deploys(
        &self,
        app: AppId,
        filter: &DeployFilter,
        limit: u32,
    ) -> Result<Vec<ListedDeploy>, StoreError> {
        dispatch!(self, deploys::latest_deploys(app, filter, limit))
    }

    /// The deploy of a branch before the first deploy of `commit` there.
    ///
    /// # Errors
    /// The database failed.
    pub async fn deploy_before(
        &self,
        app: AppId,
        branch: &str,
        commit: Oid,
    ) -> Result<Option<DeployNumber>, StoreError> {
        dispatch!(self, deploys::deploy_before(app, branch, commit))
    }

    /// When a deploy was created.
    ///
    /// # Errors
    /// The database failed.
    pub async fn deployed_at(
        &self,
        app: AppId,
        number: DeployNumber,
    ) -> Result<Option<DateTime<Utc>>, StoreError> {
        dispatch!(self, deploys::deployed_at(app, number))
    }

    /// Commits a push: app, refs, objects, revisions and deploys, all or nothing. Pushes to one app are serialized.
    ///
    /// # Errors
    /// A ref was updated concurrently, a domain belongs to another app, the app may not be created, another push
    /// holds the lock for too long, an object cannot be read, or the database failed. Nothing was changed, except for
    /// [`StoreError::OutcomeUnknown`].
    pub async fn push(&self, push: &NewPush<'_>) -> Result<PushReceipt, PushError> {
        dispatch!(self, push::push(push))
    }
}
