//! Records that have not been written yet, in bounded number: what there is no room for is lost, of the app of which most waits.

use std::cell::RefCell;

use store::{AppId, ExecutionRecord, LineRecord, NewRecords};

use super::fair_queue::{FairQueue, Waiting};
use super::recorder::Lost;
use crate::memory::Account;

/// How many bytes of executions can wait of each kind, and how many of lines.
const EXECUTIONS_BYTES_MAX: usize = 4 << 20;
const LINES_BYTES_MAX: usize = 16 << 20;

/// How much is written at once: where there is one processor, requests wait meanwhile, and for less than a millisecond.
const EXECUTIONS_AT_ONCE: usize = 64;
const LINES_AT_ONCE: usize = 128;
const BYTES_AT_ONCE: usize = 256 << 10;

/// Records that have not been written yet.
#[derive(Debug)]
pub(super) struct RecordBuffer {
    routine: FairQueue<ExecutionRecord>,
    notable: FairQueue<ExecutionRecord>,
    lines: FairQueue<LineRecord>,
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
    /// Whether there is nothing to write.
    pub(super) fn is_empty(&self) -> bool {
        self.routine.is_empty() && self.notable.is_empty() && self.lines.is_empty()
    }

    /// Whether there is anything to write of an app.
    pub(super) fn has(&self, app: AppId) -> bool {
        self.routine.has(app) || self.notable.has(app) || self.lines.has(app)
    }

    /// Adds an execution of the app whose account that is, and says what is lost for it.
    pub(super) fn add(&mut self, account: &Account, execution: ExecutionRecord) -> Vec<(AppId, Lost)> {
        let dropped = self.executions_like(&execution).push(account, execution);
        let lost = Lost { executions: 1, lines: 0 };
        dropped.into_iter().map(|execution| (execution.app, lost)).collect()
    }

    /// Adds a line, and says what is lost for it.
    pub(super) fn add_line(&mut self, account: &Account, line: LineRecord) -> Vec<(AppId, Lost)> {
        let lost = Lost { executions: 0, lines: 1 };
        self.lines.push(account, line).into_iter().map(|line| (line.app, lost)).collect()
    }

    /// Takes what is written next, of each app in its turn: first executions about which there is something to tell. `admits` is
    /// asked how many bytes of an app can be written now.
    pub(super) fn take(&mut self, admits: impl FnMut(AppId, usize) -> bool) -> NewRecords {
        let admits = RefCell::new(admits);
        let admits = |app, bytes| admits.borrow_mut()(app, bytes);
        let mut executions = self.notable.take(EXECUTIONS_AT_ONCE, BYTES_AT_ONCE, admits);
        executions.extend(self.routine.take(EXECUTIONS_AT_ONCE - executions.len(), BYTES_AT_ONCE, admits));
        let lines = self.lines.take(LINES_AT_ONCE, BYTES_AT_ONCE, admits);
        NewRecords { executions, lines, losses: Vec::new() }
    }

    /// Puts back what was taken and could not be written, in front, however little room there is.
    pub(super) fn put_back(&mut self, records: NewRecords) {
        let (routine, notable) = records.executions.into_iter().partition(is_routine);
        self.routine.put_back(routine);
        self.notable.put_back(notable);
        self.lines.put_back(records.lines);
    }

    /// What was taken, and not put back, is written or lost.
    pub(super) fn settle(&mut self) {
        self.routine.settle();
        self.notable.settle();
        self.lines.settle();
    }

    fn executions_like(&mut self, execution: &ExecutionRecord) -> &mut FairQueue<ExecutionRecord> {
        if is_routine(execution) { &mut self.routine } else { &mut self.notable }
    }
}

/// Whether it answered and logged nothing.
fn is_routine(execution: &ExecutionRecord) -> bool {
    execution.failure.is_none() && execution.lines == 0
}

impl Waiting for ExecutionRecord {
    fn app(&self) -> AppId {
        self.app
    }

    fn bytes(&self) -> usize {
        self.bytes()
    }
}

impl Waiting for LineRecord {
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
            request: Uuid::nil(),
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
            memory: 0,
            status: None,
            failure: None,
            lines,
            lines_dropped: 0,
        }
    }

    fn line(bytes: usize) -> LineRecord {
        LineRecord {
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
    fn what_has_something_to_tell_goes_first_and_finds_room_where_the_others_do_not() {
        let mut waiting = RecordBuffer::default();
        let account = account();
        let fit = EXECUTIONS_BYTES_MAX / execution(0, 0).bytes();
        assert!((0..fit as u128).all(|id| waiting.add(&account, execution(id, 0)).is_empty()));
        assert_eq!(waiting.add(&account, execution(1, 0))[0].1, Lost { executions: 1, lines: 0 });
        assert!(waiting.add(&account, execution(99_999, 1)).is_empty());
        let first = ids(&waiting.take(|_, _| true));
        assert_eq!((first.len(), &first[..3]), (EXECUTIONS_AT_ONCE, &[99_999, 0, 1][..]));
        assert!(waiting.add(&account, execution(1, 0)).is_empty(), "there is room again");
    }

    #[test]
    fn what_is_put_back_comes_again_in_its_order() {
        let mut waiting = RecordBuffer::default();
        let account = account();
        for id in 0..3 {
            waiting.add(&account, execution(id, id as u32 % 2));
            waiting.add_line(&account, line(id as usize));
        }
        let taken = waiting.take(|_, _| true);
        assert!(waiting.is_empty());
        waiting.add(&account, execution(3, 1));
        waiting.put_back(taken);
        let again = waiting.take(|_, _| true);
        assert_eq!(ids(&again), [1, 3, 0, 2]);
        assert_eq!(again.lines.iter().map(|line| line.message.len()).collect::<Vec<_>>(), [0, 1, 2]);
    }

    #[test]
    fn a_batch_is_bounded_in_bytes() {
        let mut waiting = RecordBuffer::default();
        let account = account();
        (0..20).for_each(|_| drop(waiting.add_line(&account, line(BYTES_AT_ONCE / 4))));
        assert_eq!(waiting.take(|_, _| true).lines.len(), 4);
    }
}
