//! Executions, what they logged, and what of it was lost: how it is written in batches, read and deleted.
//!
//! Records are numbered in the order in which they come in, whichever node writes them: nobody sees a number before all
//! lower ones. So a number is a place from which one can read on without missing anything.

use std::time::Duration;

use chrono::{DateTime, DurationRound as _, TimeDelta, Utc};
use manifest_schema::execution::{LogLevel, TriggerKind};
use uuid::Uuid;

use crate::column::{Id, Maybe, Microseconds, Named, Unsigned};
use crate::error::StoreError;
use crate::id::{AppId, DeployNumber, Oid};
use crate::{Store, either};

/// How many old records are deleted at once.
pub const DELETED_AT_ONCE: u32 = 5000;

/// What a row takes beside its texts: numbers, ids, and its places in the indexes. About, on both databases.
const ROW_BYTES: usize = 200;

/// For how long the bytes of records are counted together.
const PORTION: TimeDelta = TimeDelta::seconds(10);

/// One run of a script.
#[derive(Clone, Debug, PartialEq, sqlx::FromRow)]
pub struct ExecutionRecord {
    /// Its id.
    #[sqlx(try_from = "Id")]
    pub id: Uuid,
    /// The request that it is part of.
    #[sqlx(try_from = "Id")]
    pub request: Uuid,
    /// The app.
    pub app: AppId,
    /// The deploy that was live.
    pub deploy: DeployNumber,
    /// The commit of it.
    #[sqlx(rename = "commit_id")]
    pub commit: Oid,
    /// The script, as a path in the repository.
    pub script: String,
    /// What started it.
    #[sqlx(try_from = "Named<TriggerKind>")]
    pub trigger: TriggerKind,
    /// Method and path of the request, or the name of the function or the schedule.
    pub target: String,
    /// The name of the node that ran it.
    pub node: String,
    /// When it began.
    pub started_at: DateTime<Utc>,
    /// How long it took, to the microsecond.
    #[sqlx(rename = "duration_us", try_from = "Microseconds")]
    pub duration: Duration,
    /// How many operations it ran.
    #[sqlx(try_from = "Unsigned<u64>")]
    pub operations: u64,
    /// The most bytes that it held at once.
    #[sqlx(try_from = "Unsigned<u64>")]
    pub memory: u64,
    /// What HTTP was answered with; `None` for what is not HTTP.
    #[sqlx(try_from = "Maybe<Unsigned<u16>>")]
    pub status: Option<u16>,
    /// Why it has no answer of its own.
    #[sqlx(flatten, try_from = "FailureColumns")]
    pub failure: Option<FailureRecord>,
    /// How many lines it logged.
    #[sqlx(try_from = "Unsigned<u32>")]
    pub lines: u32,
    /// How many more it would have.
    #[sqlx(try_from = "Unsigned<u64>")]
    pub lines_dropped: u64,
}

/// Why an execution failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FailureRecord {
    /// The kind, by its name.
    pub kind: String,
    /// What happened.
    pub message: String,
    /// Where.
    pub place: Option<PlaceRecord>,
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
        let place = match (columns.failure_script, columns.failure_line, columns.failure_column) {
            (Some(script), Some(line), Some(column)) => Some(PlaceRecord { script, line, column }),
            _ => None,
        };
        let message = columns.failure_message.unwrap_or_default();
        columns.failure.map(|kind| FailureRecord { kind, message, place })
    }
}

/// A place in a script. Line and column are counted from 1.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlaceRecord {
    /// The script, as a path in the repository.
    pub script: String,
    /// The line.
    pub line: u32,
    /// The column, in characters.
    pub column: u32,
}

/// One line of an execution's log.
#[derive(Clone, Debug, PartialEq, Eq, sqlx::FromRow)]
pub struct LineRecord {
    /// The execution.
    #[sqlx(try_from = "Id")]
    pub execution: Uuid,
    /// Its app.
    pub app: AppId,
    /// The script that was run.
    pub script: String,
    /// When it was written.
    pub at: DateTime<Utc>,
    /// How much it matters.
    #[sqlx(try_from = "Named<LogLevel>")]
    pub level: LogLevel,
    /// What it says.
    pub message: String,
    /// What the script gave with it, as JSON.
    pub data: Option<String>,
    /// The line of the script that wrote it, counted from 1.
    #[sqlx(try_from = "Maybe<Unsigned<u32>>")]
    pub line: Option<u32>,
    /// It tells the failure of the execution, and is none of the script's own.
    pub failure: bool,
}

/// Records of an app that a node could not keep.
#[derive(Clone, Debug, PartialEq, Eq, sqlx::FromRow)]
pub struct Loss {
    /// The app; `None` in rows of earlier versions, which counted those of all apps together.
    pub app: Option<AppId>,
    /// The name of the node.
    pub node: String,
    /// From when on …
    pub since: DateTime<Utc>,
    /// … until when.
    pub until: DateTime<Utc>,
    /// How many executions.
    #[sqlx(try_from = "Unsigned<u64>")]
    pub executions: u64,
    /// How many lines.
    #[sqlx(try_from = "Unsigned<u64>")]
    pub lines: u64,
}

/// Records that come in together. No text may hold NUL, which PostgreSQL cannot store.
#[derive(Clone, Debug, Default)]
pub struct NewRecords {
    /// Executions that have ended.
    pub executions: Vec<ExecutionRecord>,
    /// Lines, in their order.
    pub lines: Vec<LineRecord>,
    /// What was lost since the last time.
    pub losses: Vec<Loss>,
}

/// A record with its number.
#[derive(Clone, Debug, PartialEq, sqlx::FromRow)]
pub struct Numbered<T> {
    /// The number.
    #[sqlx(try_from = "Unsigned<u64>")]
    pub number: u64,
    /// The record.
    #[sqlx(flatten)]
    pub record: T,
}

/// Which executions are asked for.
#[derive(Clone, Debug, Default)]
pub struct ExecutionFilter {
    /// Those of deploys of this branch that are still known.
    pub branch: Option<String>,
    /// Those of this script.
    pub script: Option<String>,
    /// Those that this started.
    pub trigger: Option<TriggerKind>,
    /// Those that failed.
    pub failed: bool,
    /// Those with a lower number.
    pub before: Option<u64>,
}

/// Which lines are asked for.
#[derive(Clone, Debug, Default)]
pub struct LineFilter {
    /// Those of this script.
    pub script: Option<String>,
    /// Those of this level or a higher one.
    pub level: Option<LogLevel>,
    /// Those of this execution.
    pub execution: Option<Uuid>,
    /// Those written since then.
    pub since: Option<DateTime<Utc>>,
}

/// Which part of the lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// The latest ones.
    Latest,
    /// The first ones behind this number.
    After(u64),
    /// The latest ones with a lower number.
    Before(u64),
}

/// What is kept of a kind of records, and what is deleted.
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

    /// The bytes of a row of the table, as SQL: what [`ExecutionRecord::bytes`] and [`LineRecord::bytes`] say.
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
    /// About how many bytes of the database it takes.
    pub fn bytes(&self) -> usize {
        let failure = self.failure.as_ref().map_or(0, |failure| failure.message.len());
        ROW_BYTES + self.script.len() + self.target.len() + self.node.len() + failure
    }
}

impl LineRecord {
    /// About how many bytes of the database it takes.
    pub fn bytes(&self) -> usize {
        ROW_BYTES + self.script.len() + self.message.len() + self.data.as_ref().map_or(0, String::len)
    }
}

impl NewRecords {
    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.count() == 0
    }

    /// How many records there are, each of which gets a number.
    pub(crate) fn count(&self) -> usize {
        self.executions.len() + self.lines.len() + self.losses.len()
    }

    /// About how many bytes of the database each kind takes, of those that are there.
    pub(crate) fn bytes(&self) -> Vec<(RecordKind, u64)> {
        let executions: usize = self.executions.iter().map(ExecutionRecord::bytes).sum();
        let lines: usize = self.lines.iter().map(LineRecord::bytes).sum();
        let kinds = [(RecordKind::Executions, executions as u64), (RecordKind::Logs, lines as u64)];
        kinds.into_iter().filter(|(_, bytes)| *bytes > 0).collect()
    }
}

/// The most that each can keep so that all of them together keep `bytes_max`: those that keep less keep it all, and the others
/// have equal parts of the rest. `kept` is what each keeps, in descending order.
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

/// The portion that records of this moment belong to.
pub(crate) fn portion(now: DateTime<Utc>) -> DateTime<Utc> {
    now.duration_trunc(PORTION).unwrap_or(now)
}

impl Store {
    /// Writes records, all or none of them. They are not worth waiting for the disk: what was written last may be lost when the
    /// power is.
    ///
    /// # Errors
    /// The database failed.
    pub async fn record_runs(&self, records: &NewRecords, now: DateTime<Utc>) -> Result<(), StoreError> {
        either!(self, recording::record(records, now))
    }

    /// Deletes records of a kind that came in before a moment, at most [`DELETED_AT_ONCE`] of them. Gives back how many were
    /// deleted.
    ///
    /// # Errors
    /// The database failed.
    pub async fn delete_old_records(
        &self,
        kind: RecordKind,
        before: DateTime<Utc>,
    ) -> Result<u64, StoreError> {
        either!(self, retention::delete_old(kind, before))
    }

    /// Where there are more than about `bytes_max` bytes of a kind of records, deletes the oldest of the app that keeps most, at
    /// most [`DELETED_AT_ONCE`] of them. An app that keeps no more than an equal part loses nothing. Gives back how many were
    /// deleted.
    ///
    /// # Errors
    /// The database failed.
    pub async fn delete_surplus_records(&self, kind: RecordKind, bytes_max: u64) -> Result<u64, StoreError> {
        either!(self, retention::delete_surplus(kind, bytes_max))
    }

    /// Executions of an app, the latest first.
    ///
    /// # Errors
    /// The database failed.
    pub async fn executions(
        &self,
        app: AppId,
        filter: &ExecutionFilter,
        limit: u32,
    ) -> Result<Vec<Numbered<ExecutionRecord>>, StoreError> {
        either!(self, executions::executions(app, filter, limit))
    }

    /// One execution of an app.
    ///
    /// # Errors
    /// The database failed.
    pub async fn execution(&self, app: AppId, id: Uuid) -> Result<Option<ExecutionRecord>, StoreError> {
        either!(self, executions::execution(app, id))
    }

    /// Lines of an app, in their order: `limit` of them at most, and about `bytes_max` bytes, but at least one.
    ///
    /// # Errors
    /// The database failed.
    pub async fn lines(
        &self,
        app: AppId,
        filter: &LineFilter,
        part: Part,
        limit: u32,
        bytes_max: u64,
    ) -> Result<Vec<Numbered<LineRecord>>, StoreError> {
        either!(self, logs::lines(app, filter, part, limit, bytes_max))
    }

    /// What was lost of an app after a number, in its order.
    ///
    /// # Errors
    /// The database failed.
    pub async fn losses(
        &self,
        app: AppId,
        after: u64,
        limit: u32,
    ) -> Result<Vec<Numbered<Loss>>, StoreError> {
        either!(self, logs::losses(app, after, limit))
    }

    /// The latest number of a record; 0 where there is none yet.
    ///
    /// # Errors
    /// The database failed.
    pub async fn last_record(&self) -> Result<u64, StoreError> {
        either!(self, recording::last_record())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_keeps_less_than_an_equal_part_keeps_it_all() {
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
