//! A bounded buffer of records that are not written yet. If it is full, records of the app with the most
//! pending bytes are dropped.

use std::cell::RefCell;

use store::{AppId, ExecutionRecord, LogRecord, NewRecords};

use super::fair_queue::{FairQueue, Queued};
use super::recorder::DropCounts;
use crate::memory::Account;

/// The maximum pending bytes of executions, routine and notable each, and of log lines.
const EXECUTIONS_BYTES_MAX: usize = 4 << 20;
const LINES_BYTES_MAX: usize = 16 << 20;

/// The size of a batch: on a single processor, requests wait less than a millisecond for it.
const BATCH_EXECUTIONS: usize = 64;
const BATCH_LINES: usize = 128;
const BATCH_BYTES: usize = 256 << 10;

/// Records that are not written yet.
#[derive(Debug)]
pub(super) struct RecordBuffer {
    routine: FairQueue<ExecutionRecord>,
    notable: FairQueue<ExecutionRecord>,
    lines: FairQueue<LogRecord>,
}

impl Default for RecordBuffer {
    fn default() -> Self {
        Self {
            routine: FairQueue::new(EXECUTIONS_BYTES_MAX),
            notable: FairQueue::new(EXECUTIONS_BYTES_MAX),
            lines: FairQueue::new(LINES_BYTES_MAX),
        }
    }
}

impl RecordBuffer {
    /// Whether the buffer is empty.
    pub(super) fn is_empty(&self) -> bool {
        self.routine.is_empty() && self.notable.is_empty() && self.lines.is_empty()
    }

    /// Whether there are records of an app.
    pub(super) fn has(&self, app: AppId) -> bool {
        self.routine.has(app) || self.notable.has(app) || self.lines.has(app)
    }

    /// Adds an execution to its app's account. Returns what was dropped for it.
    pub(super) fn add(&mut self, account: &Account, execution: ExecutionRecord) -> Vec<(AppId, DropCounts)> {
        let dropped = self.queue_for(&execution).push(account, execution);
        let drop_counts = DropCounts { executions: 1, lines: 0 };
        dropped.into_iter().map(|execution| (execution.app, drop_counts)).collect()
    }

    /// Adds a log line. Returns what was dropped for it.
    pub(super) fn add_line(&mut self, account: &Account, line: LogRecord) -> Vec<(AppId, DropCounts)> {
        let drop_counts = DropCounts { executions: 0, lines: 1 };
        self.lines.push(account, line).into_iter().map(|line| (line.app, drop_counts)).collect()
    }

    /// Takes the next batch, round-robin over apps, notable executions first. `admits` decides whether so
    /// many bytes of an app can be written now.
    pub(super) fn take(&mut self, admits: impl FnMut(AppId, usize) -> bool) -> NewRecords {
        let admits = RefCell::new(admits);
        let admits = |app, bytes| admits.borrow_mut()(app, bytes);
        let mut executions = self.notable.take(BATCH_EXECUTIONS, BATCH_BYTES, admits);
        executions.extend(self.routine.take(BATCH_EXECUTIONS - executions.len(), BATCH_BYTES, admits));
        let lines = self.lines.take(BATCH_LINES, BATCH_BYTES, admits);
        NewRecords { executions, logs: lines, dropped: Vec::new() }
    }

    /// Puts an unwritten batch back to the front, even if the buffer is full.
    pub(super) fn put_back(&mut self, records: NewRecords) {
        let (routine, notable) = records.executions.into_iter().partition(is_routine);
        self.routine.put_back(routine);
        self.notable.put_back(notable);
        self.lines.put_back(records.logs);
    }

    /// Releases the memory of batches that were taken and not put back.
    pub(super) fn release_taken(&mut self) {
        self.routine.release_taken();
        self.notable.release_taken();
        self.lines.release_taken();
    }

    fn queue_for(&mut self, execution: &ExecutionRecord) -> &mut FairQueue<ExecutionRecord> {
        if is_routine(execution) { &mut self.routine } else { &mut self.notable }
    }
}

/// Whether it succeeded and logged nothing.
fn is_routine(execution: &ExecutionRecord) -> bool {
    execution.failure.is_none() && execution.log_lines == 0
}

impl Queued for ExecutionRecord {
    fn app(&self) -> AppId {
        self.app
    }

    fn bytes(&self) -> usize {
        self.bytes()
    }
}

impl Queued for LogRecord {
    fn app(&self) -> AppId {
        self.app
    }

    fn bytes(&self) -> usize {
        self.bytes()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use chrono::DateTime;
    use manifest_schema::execution::{LogLevel, TriggerKind};
    use store::{DeployNumber, Oid};
    use uuid::Uuid;

    use super::*;
    use crate::memory::MemoryBudget;

    fn account() -> Account {
        MemoryBudget::unbounded().account(AppId::from_uuid(Uuid::nil()))
    }

    fn execution(id: u128, lines: u32) -> ExecutionRecord {
        ExecutionRecord {
            id: Uuid::from_u128(id),
            request_id: Uuid::nil(),
            app: AppId::from_uuid(Uuid::nil()),
            deploy: DeployNumber::new(1).unwrap(),
            commit: Oid::new([1; 20]),
            script: String::new(),
            trigger: TriggerKind::Http,
            target: String::new(),
            node: String::new(),
            started_at: DateTime::UNIX_EPOCH,
            duration: Duration::ZERO,
            operations: 0,
            memory_peak_bytes: 0,
            status: None,
            failure: None,
            log_lines: lines,
            log_lines_dropped: 0,
        }
    }

    fn line(bytes: usize) -> LogRecord {
        LogRecord {
            execution: Uuid::nil(),
            app: AppId::from_uuid(Uuid::nil()),
            script: String::new(),
            at: DateTime::UNIX_EPOCH,
            level: LogLevel::Info,
            message: "x".repeat(bytes),
            data: None,
            line: None,
            failure: false,
        }
    }

    fn ids(records: &NewRecords) -> Vec<u128> {
        records.executions.iter().map(|execution| execution.id.as_u128()).collect()
    }

    #[test]
    fn notable_executions_go_first_and_have_their_own_space() {
        let mut buffer = RecordBuffer::default();
        let account = account();
        let fit = EXECUTIONS_BYTES_MAX / execution(0, 0).bytes();
        assert!((0..fit as u128).all(|id| buffer.add(&account, execution(id, 0)).is_empty()));
        assert_eq!(buffer.add(&account, execution(1, 0))[0].1, DropCounts { executions: 1, lines: 0 });
        assert!(buffer.add(&account, execution(99_999, 1)).is_empty());
        let first = ids(&buffer.take(|_, _| true));
        assert_eq!((first.len(), &first[..3]), (BATCH_EXECUTIONS, &[99_999, 0, 1][..]));
        assert!(buffer.add(&account, execution(1, 0)).is_empty(), "there is space again");
    }

    #[test]
    fn batch_put_back_keeps_order() {
        let mut buffer = RecordBuffer::default();
        let account = account();
        for id in 0..3 {
            buffer.add(&account, execution(id, id as u32 % 2));
            buffer.add_line(&account, line(id as usize));
        }
        let taken = buffer.take(|_, _| true);
        assert!(buffer.is_empty());
        buffer.add(&account, execution(3, 1));
        buffer.put_back(taken);
        let again = buffer.take(|_, _| true);
        assert_eq!(ids(&again), [1, 3, 0, 2]);
        assert_eq!(again.logs.iter().map(|line| line.message.len()).collect::<Vec<_>>(), [0, 1, 2]);
    }

    #[test]
    fn batch_is_limited_in_bytes() {
        let mut buffer = RecordBuffer::default();
        let account = account();
        (0..20).for_each(|_| drop(buffer.add_line(&account, line(BATCH_BYTES / 4))));
        assert_eq!(buffer.take(|_, _| true).logs.len(), 4);
    }
}
