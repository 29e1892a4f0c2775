//! What can go wrong with the store.

use std::path::PathBuf;
use std::time::Duration;

use manifest_schema::name::DomainName;

use crate::id::Oid;
use crate::record::Deploy;
use crate::secret::Environment;

/// The database failed an operation.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The database itself said so, or could not be asked.
    #[error("database: {0}")]
    Database(#[source] sqlx::Error),
    /// There is no room for what was to be written.
    #[error("the database's disk is full")]
    DiskFull,
    /// The database cannot read or write its files.
    #[error("the database's disk failed: {0}")]
    DiskFailed(#[source] sqlx::Error),
    /// The database, or the transaction, takes no writes: a standby, a setting, a disk that is mounted so.
    #[error("the database is read-only")]
    ReadOnly,
    /// It says nothing at all.
    #[error("the database did not answer within {} s", .0.as_secs())]
    Silent(Duration),
    /// The database went away while it was to commit, and did not come back in time to say whether it had.
    #[error("the database did not say whether it has committed")]
    OutcomeUnknown,
    /// Somebody else holds a lock.
    #[error("the database is busy: another session holds a lock that is needed here")]
    Locked,
    /// PostgreSQL has cancelled a statement.
    #[error(
        "the database cancelled a statement: it took longer than --database-statement-timeout, or an administrator cancelled it"
    )]
    Cancelled(#[source] sqlx::Error),
    /// All connections are in use.
    #[error(transparent)]
    PoolBusy(PoolBusyError),
    /// A row holds what this program never writes.
    #[error("the database holds a row that PiCloud did not write: {what}")]
    Corrupt {
        /// What is wrong with the row.
        what: String,
    },
    /// The app is not there any more.
    #[error("the app is not there any more")]
    NoApp,
    /// A ref was to point to an object that is neither stored nor part of the push.
    #[error("object {oid} is not stored, and ref {name} would point to it")]
    Dangling {
        /// The ref.
        name: String,
        /// The object.
        oid: Oid,
    },
}

impl StoreError {
    /// Whether the database could not be asked at all: later it may answer.
    pub fn is_unavailable(&self) -> bool {
        use sqlx::Error::{Io, PoolClosed, PoolTimedOut, Protocol, Tls, WorkerCrashed};
        match self {
            Self::Database(Io(_) | PoolClosed | PoolTimedOut | Protocol(_) | Tls(_) | WorkerCrashed) => true,
            Self::Database(error) => code(error)
                .is_some_and(|code| says_unavailable(&code) || says_busy(&code) || says_conflict(&code)),
            Self::DiskFull | Self::DiskFailed(_) | Self::ReadOnly => true,
            Self::Silent(_) | Self::OutcomeUnknown => true,
            Self::Locked | Self::Cancelled(_) | Self::PoolBusy(_) => true,
            Self::Corrupt { .. } | Self::Dangling { .. } | Self::NoApp => false,
        }
    }

    /// The error of the store that is among the causes of another one.
    pub fn among<'e>(error: &'e (dyn std::error::Error + 'static)) -> Option<&'e Self> {
        std::iter::successors(Some(error), |error| error.source()).find_map(|error| error.downcast_ref())
    }

    /// Why the database cannot be asked, for anyone: what it said itself is for its operator.
    pub fn public_reason(&self) -> String {
        let reason = match self {
            Self::Database(error) => match code(error).as_deref() {
                Some(code) if says_conflict(code) => {
                    "the database is busy: other transactions were in the way"
                }
                Some(code) if says_busy(code) => "the database is busy: somebody else writes to it",
                Some("53300") => "the database takes no more connections",
                _ if self.is_unavailable() => "the database cannot be reached",
                _ => "the database failed",
            },
            Self::Corrupt { .. } | Self::Dangling { .. } => "the database failed",
            error => return error.to_string(),
        };
        reason.to_owned()
    }
}

impl From<sqlx::Error> for StoreError {
    fn from(error: sqlx::Error) -> Self {
        if let sqlx::Error::Io(io) = &error
            && let Some(ours) = io.get_ref()
        {
            if let Some(SilenceError { time }) = ours.downcast_ref() {
                return Self::Silent(*time);
            }
            if let Some(busy) = ours.downcast_ref::<PoolBusyError>() {
                return Self::PoolBusy(*busy);
            }
        }
        if let sqlx::Error::ColumnDecode { index, source } = &error {
            return Self::Corrupt { what: format!("column {index}: {source}") };
        }
        match code(&error).as_deref() {
            Some(code) if says_full(code) => Self::DiskFull,
            Some(code) if says_disk_failed(code) => Self::DiskFailed(error),
            Some(code) if says_read_only(code) => Self::ReadOnly,
            Some("55P03") => Self::Locked,
            // query_canceled
            Some("57014") => Self::Cancelled(error),
            _ => Self::Database(error),
        }
    }
}

/// The server did not answer.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("no answer within {} s", time.as_secs())]
pub(crate) struct SilenceError {
    pub(crate) time: Duration,
}

/// No connection came free in time.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("all {connections} connections of this node to the database are in use")]
pub struct PoolBusyError {
    /// How many there are.
    pub(crate) connections: u32,
}

/// Whether an error says that a transaction met another one, and was undone for it: the same again may succeed.
pub(crate) trait Conflict {
    fn is_conflict(&self) -> bool;
}

impl Conflict for StoreError {
    fn is_conflict(&self) -> bool {
        match self {
            Self::Database(error) => code(error).is_some_and(|code| says_conflict(&code)),
            _ => false,
        }
    }
}

impl Conflict for PushError {
    fn is_conflict(&self) -> bool {
        match self {
            Self::Store(error) => error.is_conflict(),
            _ => false,
        }
    }
}

/// serialization_failure and deadlock_detected in PostgreSQL.
fn says_conflict(code: &str) -> bool {
    matches!(code, "40001" | "40P01")
}

/// The database's own code of an error: five characters in PostgreSQL (SQLSTATE), a number in SQLite.
fn code(error: &sqlx::Error) -> Option<std::borrow::Cow<'_, str>> {
    error.as_database_error().and_then(|error| error.code())
}

/// PostgreSQL stops, starts, recovers, or lets nobody else in: its classes 08 (connection) and 57P, and
/// too_many_connections.
fn says_unavailable(code: &str) -> bool {
    code.len() == 5 && (code.starts_with("08") || code.starts_with("57P") || code == "53300")
}

/// Someone else holds the lock: lock_not_available in PostgreSQL, in SQLite SQLITE_BUSY and its extended codes.
fn says_busy(code: &str) -> bool {
    matches!(code, "55P03" | "5" | "261" | "517" | "773")
}

/// disk_full in PostgreSQL, in SQLite SQLITE_FULL.
fn says_full(code: &str) -> bool {
    matches!(code, "53100" | "13")
}

/// io_error in PostgreSQL. In SQLite SQLITE_IOERR and its extended codes, whose lowest byte is its own.
fn says_disk_failed(code: &str) -> bool {
    code == "58030" || code.len() < 5 && code.parse::<u32>().is_ok_and(|code| code & 0xff == 10)
}

/// read_only_sql_transaction in PostgreSQL. In SQLite SQLITE_READONLY and its extended codes.
fn says_read_only(code: &str) -> bool {
    code == "25006" || code.len() < 5 && code.parse::<u32>().is_ok_and(|code| code & 0xff == 8)
}

/// Whether the database has answered, and refused: it is there, and goes on without what was to be done.
pub(crate) fn is_refusal(error: &sqlx::Error) -> bool {
    code(error).is_some_and(|code| !says_unavailable(&code))
}

/// Whether someone else holds the lock.
pub(crate) fn is_busy(error: &sqlx::Error) -> bool {
    code(error).is_some_and(|code| says_busy(&code))
}

/// Why a database cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// It is not there, or does not let us in.
    #[error("cannot reach the database; is it running, and is DATABASE_URL right?")]
    Unreachable(#[source] sqlx::Error),
    /// Its URL is not one of PostgreSQL.
    #[error(
        "DATABASE_URL begins with {scheme}, and PiCloud works with PostgreSQL, or with an SQLite of its own"
    )]
    Scheme {
        /// What it begins with; nothing more of it is shown.
        scheme: String,
    },
    /// Its URL is that of a file.
    #[error("DATABASE_URL is for PostgreSQL, and names a file")]
    Embedded,
    /// It is there, and its certificate or the lack of one is not what its URL asks for.
    #[error(
        "the database is not the one that DATABASE_URL trusts; are sslmode and sslrootcert right, and is its certificate?"
    )]
    Untrusted(#[source] sqlx::Error),
    /// Something between us and the server hands out its connections for a transaction or a statement each.
    #[error(
        "DATABASE_URL leads to a connection pooler that shares connections among transactions, and PiCloud needs \
         connections of its own: set pool_mode = session in PgBouncer, for this database at least, or name the server itself"
    )]
    Shared,
    /// It is a PostgreSQL of long ago.
    #[error("the database is PostgreSQL {found}; PiCloud needs {oldest} or later")]
    TooOld {
        /// Its version.
        found: u32,
        /// The oldest version that will do.
        oldest: u32,
    },
    /// The embedded database's file cannot be made or written.
    #[error("cannot write the database {}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What went wrong.
        source: std::io::Error,
    },
    /// The embedded database's file is there, and SQLite cannot work with it.
    #[error(
        "cannot use the database {}; is it one of PiCloud, and can its folder be written?", path.display()
    )]
    Unusable {
        /// The file.
        path: PathBuf,
        /// What SQLite says.
        source: sqlx::Error,
    },
    /// Another process works with the embedded database.
    #[error(
        "the database {} is in use by {holder}; stop that one, or choose another --data-dir: several nodes share a PostgreSQL",
        path.display()
    )]
    InUse {
        /// The file.
        path: PathBuf,
        /// Who has it.
        holder: String,
    },
    /// A newer PiCloud has changed its tables.
    #[error(
        "the database is that of a newer PiCloud (schema {found}); install that version, or restore a backup"
    )]
    Newer {
        /// The version of a migration that this program does not have.
        found: i64,
    },
    /// Another program works with it.
    #[error(
        "the database belongs to another program, which has a table {table} in it; give PiCloud a database of its own"
    )]
    Foreign {
        /// The table that is not ours.
        table: String,
    },
    /// Its tables cannot be brought up to date.
    #[error("cannot bring the tables up to date; does the database belong to another program?")]
    Migrate(#[source] sqlx::migrate::MigrateError),
}

/// Why a push was not committed. Nothing was changed, unless the store does not know the outcome.
#[derive(Debug, thiserror::Error)]
pub enum PushError {
    /// There is no such app, and it may not be created.
    #[error("there is no such app")]
    UnknownApp,
    /// A ref is not where the pusher believed it to be, or another one has come in its way: `a` and `a/b` cannot both be.
    #[error("ref {name} was moved meanwhile")]
    RefMoved {
        /// The ref.
        name: String,
        /// Where the pusher believed it to be.
        expected: Option<Oid>,
        /// Where it is, or the one in its way.
        found: Option<Oid>,
        /// The latest deploy of the branch, by whoever moved it.
        last_deploy: Option<Deploy>,
    },
    /// Another app holds the domain.
    #[error("domain {domain} is another app's")]
    DomainTaken {
        /// The domain.
        domain: DomainName,
    },
    /// Objects on which it may build were deleted meanwhile.
    #[error("objects of the app were deleted meanwhile")]
    Collected,
    /// The app would have more previews than it can have.
    #[error("the app has {there} previews, and can have no more")]
    TooManyPreviews {
        /// How many it has.
        there: usize,
    },
    /// The app would take more of the disk than it can.
    #[error("the push takes {needed} bytes of the disk, and the app, which takes {used}, can take {most}")]
    TooLarge {
        /// How many bytes the app takes.
        used: u64,
        /// How many the push would take.
        needed: u64,
        /// How many the app can take.
        most: u64,
    },
    /// A secret that is needed is not set any more.
    #[error("secret {name} of {} is not set", environment.as_str())]
    SecretUnset {
        /// Its name.
        name: String,
        /// For whom it is.
        environment: Environment,
    },
    /// Another push holds the app for too long.
    #[error("another push to the app takes too long")]
    Busy,
    /// One of its objects cannot be read.
    #[error("an object of the push cannot be read")]
    Objects(#[source] std::io::Error),
    /// The database failed.
    #[error(transparent)]
    Store(StoreError),
}

impl PushError {
    /// Whether the push itself is the cause, and the database did all that it was asked for.
    pub(crate) fn is_refusal(&self) -> bool {
        !matches!(self, Self::Busy | Self::Store(_))
    }

    /// The same where it is no push that failed.
    pub(crate) fn into_store(self) -> StoreError {
        match self {
            Self::Store(error) => error,
            Self::UnknownApp => StoreError::NoApp,
            Self::Busy => StoreError::Locked,
            other => StoreError::Corrupt { what: other.to_string() },
        }
    }
}

impl From<StoreError> for PushError {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Database(error) if is_busy(&error) => Self::Busy,
            error => Self::Store(error),
        }
    }
}

impl From<sqlx::Error> for PushError {
    fn from(error: sqlx::Error) -> Self {
        StoreError::from(error).into()
    }
}
