//! Records of executions, their logs, and dropped records: written in batches, read and deleted.
//!
//! All records share one sequence across nodes. A number becomes visible only after all lower ones, so readers can
//! continue from the last number they saw without missing any.

use std::time::Duration;

use chrono::{DateTime, DurationRound as _, TimeDelta, Utc};
use manifest_schema::execution::{LogLevel, TriggerKind};
use uuid::Uuid;

use crate::error::StoreError;
use crate::id::{AppId, DeployNumber, Oid};
use crate::sql_types::{Id, Maybe, Microseconds, Named, Unsigned};
use crate::{Store, dispatch};

/// How many old records are deleted at once.
pub const RECORD_DELETE_BATCH: u32 = 5000;

/// Approximate size of a row in both databases without its texts: fixed columns and index entries.
const ROW_BYTES: usize = 200;

/// The interval of a retention bucket.
const BUCKET: TimeDelta = TimeDelta::seconds(10);

/// A run of a script.
#[derive(Clone, Debug, PartialEq, sqlx::FromRow)]
pub struct ExecutionRecord {
    /// Its id.
    #[sqlx(try_from = "Id")]
    pub id: Uuid,
    /// The request that caused it.
    #[sqlx(try_from = "Id")]
    pub request_id: Uuid,
    /// The app.
    pub app: AppId,
    /// The deploy.
    pub deploy: DeployNumber,
    /// The commit of the deploy.
    #[sqlx(rename = "commit_id")]
    pub commit: Oid,
    /// The path of the script in the repository.
    pub script: String,
    /// What triggered it.
    #[sqlx(try_from = "Named<TriggerKind>")]
    pub trigger: TriggerKind,
    /// Method and path, or the name of the function or the schedule.
    pub target: String,
    /// The name of the node.
    pub node: String,
    /// When it started.
    pub started_at: DateTime<Utc>,
    /// How long it took.
    #[sqlx(rename = "duration_us", try_from = "Microseconds")]
    pub duration: Duration,
    /// How many operations it executed.
    #[sqlx(try_from = "Unsigned<u64>")]
    pub operations: u64,
    /// The peak memory of the script.
    #[sqlx(try_from = "Unsigned<u64>")]
    pub memory_peak_bytes: u64,
    /// The HTTP status of the response; `None`: not an HTTP request.
    #[sqlx(try_from = "Maybe<Unsigned<u16>>")]
    pub status: Option<u16>,
    /// Why it failed, if it did.
    #[sqlx(flatten, try_from = "FailureColumns")]
    pub failure: Option<FailureRecord>,
    /// How many log lines were kept.
    #[sqlx(try_from = "Unsigned<u32>")]
    pub log_lines: u32,
    /// How many log lines were dropped.
    #[sqlx(try_from = "Unsigned<u64>")]
    pub log_lines_dropped: u64,
}

/// Why an execution failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FailureRecord {
    /// The kind of failure.
    pub kind: String,
    /// The message.
    pub message: String,
    /// Where in the source.
    pub location: Option<LocationRecord>,
}

#[derive(sqlx::FromRow)]
struct FailureColumns {
    failure: Option<String>,
    failure_message: Option<String>,
    failure_script: Option<String>,
    #[sqlx(try_from = "Maybe<Unsigned<u32>>")]
    failure_line: Option<u32>,
    #[sqlx(try_from = "Maybe<Unsigned<u32>>")]
    failure_column: Option<u32>,
}

impl From<FailureColumns> for Option<FailureRecord> {
    fn from(columns: FailureColumns) -> Self {
        let location = match (columns.failure_script, columns.failure_line, columns.failure_column) {
            (Some(script), Some(line), Some(column)) => Some(LocationRecord { script, line, column }),
            _ => None,
        };
        let message = columns.failure_message.unwrap_or_default();
        columns.failure.map(|kind| FailureRecord { kind, message, location })
    }
}

/// A location in a script. Line and column start at 1.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LocationRecord {
    /// The path of the script in the repository.
    pub script: String,
    /// The line.
    pub line: u32,
    /// The column in characters.
    pub column: u32,
}

/// A log line.
#[derive(Clone, Debug, PartialEq, Eq, sqlx::FromRow)]
pub struct LogRecord {
    /// The execution.
    #[sqlx(try_from = "Id")]
    pub execution: Uuid,
    /// The app.
    pub app: AppId,
    /// The path of the script.
    pub script: String,
    /// When it was written.
    pub at: DateTime<Utc>,
    /// The level.
    #[sqlx(try_from = "Named<LogLevel>")]
    pub level: LogLevel,
    /// The message.
    pub message: String,
    /// Structured data as JSON.
    pub data: Option<String>,
    /// The line of the script, starting at 1.
    #[sqlx(try_from = "Maybe<Unsigned<u32>>")]
    pub line: Option<u32>,
    /// Whether the line reports the failure of the execution.
    pub failure: bool,
}

/// Records of an app that a node dropped.
#[derive(Clone, Debug, PartialEq, Eq, sqlx::FromRow)]
pub struct DroppedRecords {
    /// The app; `None`: written by an earlier version, which did not count per app.
    pub app: Option<AppId>,
    /// The name of the node.
    pub node: String,
    /// The first drop.
    pub since: DateTime<Utc>,
    /// The last drop.
    pub until: DateTime<Utc>,
    /// How many executions.
    #[sqlx(try_from = "Unsigned<u64>")]
    pub executions: u64,
    /// How many log lines.
    #[sqlx(try_from = "Unsigned<u64>")]
    pub log_lines: u64,
}

/// A batch of records. Texts must not contain NUL, which PostgreSQL cannot store.
#[derive(Clone, Debug, Default)]
pub struct NewRecords {
    /// Finished executions.
    pub executions: Vec<ExecutionRecord>,
    /// Log lines in order.
    pub logs: Vec<LogRecord>,
    /// Dropped records since the previous batch.
    pub dropped: Vec<DroppedRecords>,
}

/// A record with its sequence number.
#[derive(Clone, Debug, PartialEq, sqlx::FromRow)]
pub struct Sequenced<T> {
    /// The sequence number.
    #[sqlx(try_from = "Unsigned<u64>")]
    pub sequence: u64,
    /// The record.
    #[sqlx(flatten)]
    pub record: T,
}

/// Filters executions.
#[derive(Clone, Debug, Default)]
pub struct ExecutionFilter {
    /// Only those of existing deploys of this branch.
    pub branch: Option<String>,
    /// Only those of this script.
    pub script: Option<String>,
    /// Only those with this trigger.
    pub trigger: Option<TriggerKind>,
    /// Only failed ones.
    pub failed: bool,
    /// Only those with a lower sequence number.
    pub before: Option<u64>,
}

/// Filters log lines.
#[derive(Clone, Debug, Default)]
pub struct LogFilter {
    /// Only those of this script.
    pub script: Option<String>,
    /// Only those of this level or a higher one.
    pub level: Option<LogLevel>,
    /// Only those of this execution.
    pub execution: Option<Uuid>,
    /// Only those since this time.
    pub since: Option<DateTime<Utc>>,
}

/// Which log lines to read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogRange {
    /// The latest ones.
    Latest,
    /// The first ones after this sequence number.
    After(u64),
    /// The latest ones before this sequence number.
    Before(u64),
}

/// A kind of records with its own retention.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RecordKind {
    /// Executions.
    Executions,
    /// Log lines.
    Logs,
}

impl RecordKind {
    /// The table.
    pub(crate) fn table(self) -> &'static str {
        match self {
            Self::Executions => "executions",
            Self::Logs => "logs",
        }
    }

    /// The size of a row as SQL, equal to [`ExecutionRecord::bytes`] and [`LogRecord::bytes`].
    pub(crate) fn row_bytes(self) -> String {
        let texts = match self {
            Self::Executions => {
                "octet_length(script) + octet_length(target) + octet_length(node) + coalesce(octet_length(failure_message), 0)"
            }
            Self::Logs => "octet_length(script) + octet_length(message) + coalesce(octet_length(data), 0)",
        };
        format!("({ROW_BYTES} + {texts})")
    }
}

impl ExecutionRecord {
    /// Approximate size in the database.
    pub fn bytes(&self) -> usize {
        let failure = self.failure.as_ref().map_or(0, |failure| failure.message.len());
        ROW_BYTES + self.script.len() + self.target.len() + self.node.len() + failure
    }
}

impl LogRecord {
    /// Approximate size in the database.
    pub fn bytes(&self) -> usize {
        ROW_BYTES + self.script.len() + self.message.len() + self.data.as_ref().map_or(0, String::len)
    }
}

impl NewRecords {
    /// Whether the batch is empty.
    pub fn is_empty(&self) -> bool {
        self.count() == 0
    }

    /// The number of records, each of which gets a sequence number.
    pub(crate) fn count(&self) -> usize {
        self.executions.len() + self.logs.len() + self.dropped.len()
    }

    /// Approximate size in the database of each kind that the batch contains.
    pub(crate) fn bytes(&self) -> Vec<(RecordKind, u64)> {
        let executions: usize = self.executions.iter().map(ExecutionRecord::bytes).sum();
        let lines: usize = self.logs.iter().map(LogRecord::bytes).sum();
        let kinds = [(RecordKind::Executions, executions as u64), (RecordKind::Logs, lines as u64)];
        kinds.into_iter().filter(|(_, bytes)| *bytes > 0).collect()
    }
}

/// The size limit for each app so that all of them stay within `bytes_max`: apps below the limit keep everything, the
/// others share the rest equally. `kept` holds the sizes in descending order.
pub(crate) fn fair_share(
    kept: impl ExactSizeIterator<Item = u64> + DoubleEndedIterator,
    bytes_max: u64,
) -> u64 {
    let (mut left, mut sharing) = (bytes_max, kept.len() as u64);
    for bytes in kept.rev() {
        let share = left / sharing;
        if bytes > share {
            return share;
        }
        left -= bytes;
        sharing -= 1;
    }
    u64::MAX
}

/// The start of the retention bucket of this time.
pub(crate) fn bucket(now: DateTime<Utc>) -> DateTime<Utc> {
    now.duration_trunc(BUCKET).unwrap_or(now)
}

impl Store {
    /// Writes a batch, all or nothing, without waiting for the disk: the latest batches can be lost in a power
    /// failure.
    ///
    /// # Errors
    /// The database failed.
    pub async fn write_records(&self, records: &NewRecords, now: DateTime<Utc>) -> Result<(), StoreError> {
        dispatch!(self, recording::write(records, now))
    }

    /// Deletes records of a kind from before a time, at most [`RECORD_DELETE_BATCH`]. Returns how many were deleted.
    ///
    /// # Errors
    /// The database failed.
    pub async fn delete_old_records(
        &self,
        kind: RecordKind,
        before: DateTime<Utc>,
    ) -> Result<u64, StoreError> {
        dispatch!(self, retention::delete_old(kind, before))
    }

    /// If records of a kind exceed `bytes_max`, deletes the oldest ones of the app with the most, at most
    /// [`RECORD_DELETE_BATCH`]. An app within an equal share loses nothing. Returns how many were deleted.
    ///
    /// # Errors
    /// The database failed.
    pub async fn delete_excess_records(&self, kind: RecordKind, bytes_max: u64) -> Result<u64, StoreError> {
        dispatch!(self, retention::delete_excess(kind, bytes_max))
    }

    /// Executions of an app, latest first.
    ///
    /// # Errors
    /// The database failed.
    pub async fn executions(
        &self,
        app: AppId,
        filter: &ExecutionFilter,
        limit: u32,
    ) -> Result<Vec<Sequenced<ExecutionRecord>>, StoreError> {
        dispatch!(self, executions::executions(app, filter, limit))
    }

    /// Finds an execution of an app.
    ///
    /// # Errors
    /// The database failed.
    pub async fn execution(&self, app: AppId, id: Uuid) -> Result<Option<ExecutionRecord>, StoreError> {
        dispatch!(self, executions::execution(app, id))
    }

    /// Log lines of an app in order: at most `limit`, and about `bytes_max` bytes, but at least one.
    ///
    /// # Errors
    /// The database failed.
    pub async fn logs(
        &self,
        app: AppId,
        filter: &LogFilter,
        part: LogRange,
        limit: u32,
        bytes_max: u64,
    ) -> Result<Vec<Sequenced<LogRecord>>, StoreError> {
        dispatch!(self, logs::logs(app, filter, part, limit, bytes_max))
    }

    /// Dropped records of an app after a sequence number, in order.
    ///
    /// # Errors
    /// The database failed.
    pub async fn dropped_records(
        &self,
        app: AppId,
        after: u64,
        limit: u32,
    ) -> Result<Vec<Sequenced<DroppedRecords>>, StoreError> {
        dispatch!(self, logs::dropped_records(app, after, limit))
    }

    /// The latest sequence number; 0 if there is none.
    ///
    /// # Errors
    /// The database failed.
    pub async fn last_record_sequence(&self) -> Result<u64, StoreError> {
        dispatch!(self, recording::last_record_sequence())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn apps_below_equal_share_keep_everything() {
        for (kept, bytes_max, share) in [
            (&[][..], 10, u64::MAX),
            (&[10], 10, u64::MAX),
            (&[11], 10, 10),
            (&[100, 90, 10], 150, 70),
            (&[100, 20, 10], 100, 70),
            (&[40, 40, 40], 100, 33),
            (&[3, 2, 1], 0, 0),
            (&[u64::MAX, u64::MAX], 9, 4),
        ] {
            assert_eq!(fair_share(kept.iter().copied(), bytes_max), share, "{kept:?} in {bytes_max}");
        }
    }
}
