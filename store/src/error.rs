//! The errors of the store.

use std::path::PathBuf;
use std::time::Duration;

use manifest_schema::name::DomainName;

use crate::id::Oid;
use crate::model::Deploy;
use crate::secret::Environment;

/// An operation failed in the database.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The database reported an error, or could not be reached.
    #[error("database: {0}")]
    Database(#[source] sqlx::Error),
    /// The disk has no space for the write.
    #[error("the disk of the database is full")]
    DiskFull,
    /// The database cannot read or write its files.
    #[error("the disk of the database failed: {0}")]
    DiskFailed(#[source] sqlx::Error),
    /// The database or the transaction is read-only: a standby, a setting, or a read-only file system.
    #[error("the database is read-only")]
    ReadOnly,
    /// The database did not respond in time.
    #[error("the database did not respond within {} s", .0.as_secs())]
    Unresponsive(Duration),
    /// The connection was lost during COMMIT, and the outcome could not be determined in time.
    #[error("the database did not report whether the transaction was committed")]
    OutcomeUnknown,
    /// Another session holds a lock.
    #[error("the database is busy: another session holds a required lock")]
    Locked,
    /// PostgreSQL cancelled a statement.
    #[error(
        "the database cancelled a statement: it exceeded --database-statement-timeout, or an administrator cancelled it"
    )]
    Cancelled(#[source] sqlx::Error),
    /// All connections of the pool are in use.
    #[error(transparent)]
    PoolBusy(PoolBusyError),
    /// A row holds a value that PiCloud never writes.
    #[error("invalid row in the database: {what}")]
    Corrupt {
        /// What is wrong with the row.
        what: String,
    },
    /// The app does not exist any more.
    #[error("the app does not exist any more")]
    NoApp,
    /// A ref would point to an object that is neither stored nor part of the push.
    #[error("ref {name} would point to the missing object {oid}")]
    Dangling {
        /// The ref.
        name: String,
        /// The object.
        oid: Oid,
    },
}

impl StoreError {
    /// Whether the database is unavailable: a later attempt may succeed.
    pub fn is_unavailable(&self) -> bool {
        use sqlx::Error::{Io, PoolClosed, PoolTimedOut, Protocol, Tls, WorkerCrashed};
        match self {
            Self::Database(Io(_) | PoolClosed | PoolTimedOut | Protocol(_) | Tls(_) | WorkerCrashed) => true,
            Self::Database(error) => code(error).is_some_and(|code| {
                is_unavailable_code(&code) || is_busy_code(&code) || is_conflict_code(&code)
            }),
            Self::DiskFull | Self::DiskFailed(_) | Self::ReadOnly => true,
            Self::Unresponsive(_) | Self::OutcomeUnknown => true,
            Self::Locked | Self::Cancelled(_) | Self::PoolBusy(_) => true,
            Self::Corrupt { .. } | Self::Dangling { .. } | Self::NoApp => false,
        }
    }

    /// The store error among the sources of an error.
    pub fn find_in<'e>(error: &'e (dyn std::error::Error + 'static)) -> Option<&'e Self> {
        std::iter::successors(Some(error), |error| error.source()).find_map(|error| error.downcast_ref())
    }

    /// The reason in a form that clients may see: details of the database are for its operator.
    pub fn public_reason(&self) -> String {
        let reason = match self {
            Self::Database(error) => match code(error).as_deref() {
                Some(code) if is_conflict_code(code) => "the database is busy: conflicting transactions",
                Some(code) if is_busy_code(code) => "the database is busy: another process is writing",
                Some("53300") => "the database accepts no more connections",
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
            && let Some(inner) = io.get_ref()
        {
            if let Some(UnresponsiveError { time }) = inner.downcast_ref() {
                return Self::Unresponsive(*time);
            }
            if let Some(busy) = inner.downcast_ref::<PoolBusyError>() {
                return Self::PoolBusy(*busy);
            }
        }
        if let sqlx::Error::ColumnDecode { index, source } = &error {
            return Self::Corrupt { what: format!("column {index}: {source}") };
        }
        match code(&error).as_deref() {
            Some(code) if is_full_code(code) => Self::DiskFull,
            Some(code) if is_io_error_code(code) => Self::DiskFailed(error),
            Some(code) if is_read_only_code(code) => Self::ReadOnly,
            Some("55P03") => Self::Locked,
            // query_canceled
            Some("57014") => Self::Cancelled(error),
            _ => Self::Database(error),
        }
    }
}

/// The server did not respond.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("no response within {} s", time.as_secs())]
pub(crate) struct UnresponsiveError {
    pub(crate) time: Duration,
}

/// No connection became free in time.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("all {connections} database connections of this node are in use")]
pub struct PoolBusyError {
    /// The size of the pool.
    pub(crate) connections: u32,
}

/// Whether a transaction was rolled back because it conflicted with another one: a retry may succeed.
pub(crate) trait Conflict {
    fn is_conflict(&self) -> bool;
}

impl Conflict for StoreError {
    fn is_conflict(&self) -> bool {
        match self {
            Self::Database(error) => code(error).is_some_and(|code| is_conflict_code(&code)),
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
fn is_conflict_code(code: &str) -> bool {
    matches!(code, "40001" | "40P01")
}

/// The error code: SQLSTATE in PostgreSQL, the extended result code in SQLite.
fn code(error: &sqlx::Error) -> Option<std::borrow::Cow<'_, str>> {
    error.as_database_error().and_then(|error| error.code())
}

/// PostgreSQL is shutting down, starting, recovering or out of connections: class 08, 57P and too_many_connections.
fn is_unavailable_code(code: &str) -> bool {
    code.len() == 5 && (code.starts_with("08") || code.starts_with("57P") || code == "53300")
}

/// lock_not_available in PostgreSQL; SQLITE_BUSY and its extended codes in SQLite.
fn is_busy_code(code: &str) -> bool {
    matches!(code, "55P03" | "5" | "261" | "517" | "773")
}

/// disk_full in PostgreSQL; SQLITE_FULL in SQLite.
fn is_full_code(code: &str) -> bool {
    matches!(code, "53100" | "13")
}

/// io_error in PostgreSQL; in SQLite SQLITE_IOERR and its extended codes, which share the lowest byte.
fn is_io_error_code(code: &str) -> bool {
    code == "58030" || code.len() < 5 && code.parse::<u32>().is_ok_and(|code| code & 0xff == 10)
}

/// read_only_sql_transaction in PostgreSQL; SQLITE_READONLY and its extended codes in SQLite.
fn is_read_only_code(code: &str) -> bool {
    code == "25006" || code.len() < 5 && code.parse::<u32>().is_ok_and(|code| code & 0xff == 8)
}

/// Whether the database responded and rejected the operation, so that its outcome is known.
pub(crate) fn is_rejection(error: &sqlx::Error) -> bool {
    code(error).is_some_and(|code| !is_unavailable_code(&code))
}

/// Whether another session or process holds the lock.
pub(crate) fn is_busy(error: &sqlx::Error) -> bool {
    code(error).is_some_and(|code| is_busy_code(&code))
}

/// Why a database cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The server cannot be reached, or rejects the connection.
    #[error("cannot reach the database; is it running, and is DATABASE_URL right?")]
    Unreachable(#[source] sqlx::Error),
    /// The URL has another scheme than PostgreSQL.
    #[error(
        "DATABASE_URL begins with {scheme}, but must begin with postgres://; without it PiCloud uses an SQLite file in --data-dir"
    )]
    Scheme {
        /// The scheme. The rest of the URL may hold a password.
        scheme: String,
    },
    /// The URL names a file.
    #[error("DATABASE_URL names a file, but must be a postgres:// URL")]
    Embedded,
    /// TLS failed: the certificate is not trusted, or missing.
    #[error(
        "TLS connection to the database failed; check sslmode and sslrootcert in DATABASE_URL and the server certificate"
    )]
    Untrusted(#[source] sqlx::Error),
    /// A connection pooler in transaction or statement mode.
    #[error(
        "DATABASE_URL points to a connection pooler that shares connections among transactions, but PiCloud needs session \
         pooling: set pool_mode = session for this database in PgBouncer, or connect to the server directly"
    )]
    Shared,
    /// The PostgreSQL version is not supported.
    #[error("the database is PostgreSQL {found}; PiCloud needs {oldest} or later")]
    TooOld {
        /// The major version of the server.
        found: u32,
        /// The oldest supported version.
        oldest: u32,
    },
    /// The SQLite file cannot be created or written.
    #[error("cannot write the database {}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What went wrong.
        source: std::io::Error,
    },
    /// SQLite cannot use the file.
    #[error(
        "cannot use the database {}; is it a PiCloud database, and is its directory writable?", path.display()
    )]
    Unusable {
        /// The file.
        path: PathBuf,
        /// The error of SQLite.
        source: sqlx::Error,
    },
    /// Another process uses the SQLite file.
    #[error(
        "the database {} is in use by {holder}; stop that process, or choose another --data-dir: several nodes need PostgreSQL",
        path.display()
    )]
    InUse {
        /// The file.
        path: PathBuf,
        /// The process that holds the lock.
        holder: String,
    },
    /// Nodes of an earlier version are running, which cannot use the new schema.
    #[error(
        "nodes of an earlier version are running: {nodes}; this version renames tables that they use, so it cannot start next \
         to them: stop these nodes, then start this version (nothing was changed)"
    )]
    OlderNodes {
        /// The nodes with their versions.
        nodes: String,
    },
    /// The schema is that of a newer version.
    #[error(
        "the database belongs to a newer PiCloud (schema {found}); install that version, or restore a backup"
    )]
    Newer {
        /// The version of a migration that is unknown to this binary.
        found: i64,
    },
    /// The database belongs to another program.
    #[error(
        "the database belongs to another program: it has a table {table}; give PiCloud a database of its own"
    )]
    Foreign {
        /// A table of the other program.
        table: String,
    },
    /// A migration failed.
    #[error("cannot migrate the database schema; does the database belong to another program?")]
    Migrate(#[source] sqlx::migrate::MigrateError),
}

/// Why a push was not committed. Nothing was changed, unless the outcome is unknown.
#[derive(Debug, thiserror::Error)]
pub enum PushError {
    /// The app does not exist, and the push is not allowed to create it.
    #[error("app not found")]
    UnknownApp,
    /// A ref is not at the expected commit, or conflicts with another ref: `a` and `a/b` cannot both exist.
    #[error("ref {name} was updated by another push")]
    RefMoved {
        /// The ref.
        name: String,
        /// The expected target.
        expected: Option<Oid>,
        /// The actual target, or that of the conflicting ref.
        found: Option<Oid>,
        /// The latest deploy of the branch.
        last_deploy: Option<Deploy>,
    },
    /// Another app holds the domain.
    #[error("domain {domain} belongs to another app")]
    DomainTaken {
        /// The domain.
        domain: DomainName,
    },
    /// Garbage collection deleted objects after the push was unpacked.
    #[error("garbage collection deleted objects of the app during the push")]
    ConcurrentGc,
    /// The app would exceed its limit of previews.
    #[error("the app has {previews} previews, which is its limit")]
    TooManyPreviews {
        /// The previews of the app.
        previews: usize,
    },
    /// The app would exceed its disk quota.
    #[error("the push needs {needed} bytes, but the app uses {used} of {limit} bytes")]
    TooLarge {
        /// Bytes that the app uses.
        used: u64,
        /// Bytes that the push needs.
        needed: u64,
        /// The quota in bytes.
        limit: u64,
    },
    /// A required secret was unset.
    #[error("{} secret {name} is not set", environment.as_str())]
    SecretUnset {
        /// Its name.
        name: String,
        /// Its environment.
        environment: Environment,
    },
    /// Another push locked the app for too long.
    #[error("timed out waiting for another push to the app")]
    Busy,
    /// An object of the push cannot be read.
    #[error("cannot read an object of the push")]
    Objects(#[source] std::io::Error),
    /// The database failed.
    #[error(transparent)]
    Store(StoreError),
}

impl PushError {
    /// Whether the push was rejected, as opposed to a failure of the database.
    pub(crate) fn is_rejection(&self) -> bool {
        !matches!(self, Self::Busy | Self::Store(_))
    }

    /// The store error for operations other than pushes.
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
