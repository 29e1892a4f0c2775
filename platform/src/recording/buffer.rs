//! Records that have not been written yet, in bounded number: what there is no room for is lost, those first about which
//! there is nothing to tell.

use std::collections::VecDeque;

use store::{ExecutionRecord, LineRecord, NewRecords};

/// How many executions may wait of each kind, and how many lines.
const EXECUTIONS_MAX: usize = 8192;
const LINES_MAX: usize = 16_384;

/// How many bytes of lines may wait.
const BYTES_MAX: usize = 16 << 20;

/// How much is written at once: where there is one processor, requests wait meanwhile, and for less than a millisecond.
const EXECUTIONS_AT_ONCE: usize = 64;
const LINES_AT_ONCE: usize = 128;

/// Records that have not been written yet.
#[derive(Debug, Default)]
pub(super) struct RecordBuffer {
    plain: VecDeque<ExecutionRecord>,
    telling: VecDeque<ExecutionRecord>,
    lines: VecDeque<LineRecord>,
    line_bytes: usize,
}

impl RecordBuffer {
    /// Whether there is nothing to write.
    pub(super) fn is_empty(&self) -> bool {
        self.plain.is_empty() && self.telling.is_empty() && self.lines.is_empty()
    }

    /// Adds an execution. `false`: there is no room.
    pub(super) fn add(&mut self, execution: ExecutionRecord) -> bool {
        let tells = execution.failure.is_some() || execution.lines > 0;
        let queue = if tells { &mut self.telling } else { &mut self.plain };
        let room = queue.len() < EXECUTIONS_MAX;
        if room {
            queue.push_back(execution);
        }
        room
    }

    /// Adds a line. `false`: there is no room.
    pub(super) fn add_line(&mut self, line: LineRecord) -> bool {
        let bytes = line.bytes();
        let room = self.lines.len() < LINES_MAX && self.line_bytes + bytes <= BYTES_MAX;
        if room {
            self.line_bytes += bytes;
            self.lines.push_back(line);
        }
        room
    }

    /// Takes what is written next: first that about which there is something to tell.
    pub(super) fn take(&mut self) -> NewRecords {
        let telling = self.telling.len().min(EXECUTIONS_AT_ONCE);
        let mut executions: Vec<_> = self.telling.drain(..telling).collect();
        let plain = self.plain.len().min(EXECUTIONS_AT_ONCE - telling);
        executions.extend(self.plain.drain(..plain));
        let lines: Vec<_> = self.lines.drain(..self.lines.len().min(LINES_AT_ONCE)).collect();
        self.line_bytes -= lines.iter().map(LineRecord::bytes).sum::<usize>();
        NewRecords { executions, lines, loss: None }
    }

    /// Puts back what could not be written, in front, however little room there is.
    pub(super) fn put_back(&mut self, records: NewRecords) {
        for execution in records.executions.into_iter().rev() {
            let tells = execution.failure.is_some() || execution.lines > 0;
            let queue = if tells { &mut self.telling } else { &mut self.plain };
            queue.push_front(execution);
        }
        for line in records.lines.into_iter().rev() {
            self.line_bytes += line.bytes();
            self.lines.push_front(line);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use chrono::DateTime;
    use manifest_schema::execution::{LogLevel, TriggerKind};
    use store::{AppId, DeployNumber, Oid};
    use uuid::Uuid;

    use super::*;

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
        for id in 0..EXECUTIONS_MAX as u128 {
            assert!(waiting.add(execution(id, 0)));
        }
        assert!(!waiting.add(execution(1, 0)));
        assert!(waiting.add(execution(99_999, 1)));
        let first = ids(&waiting.take());
        assert_eq!((first.len(), &first[..3]), (EXECUTIONS_AT_ONCE, &[99_999, 0, 1][..]));
        assert!(waiting.add(execution(1, 0)), "there is room again");
    }

    #[test]
    fn what_is_put_back_comes_again_in_its_order() {
        let mut waiting = RecordBuffer::default();
        for id in 0..3 {
            waiting.add(execution(id, 0));
            waiting.add_line(line(id as usize));
        }
        let taken = waiting.take();
        assert!(waiting.is_empty());
        waiting.add(execution(3, 0));
        waiting.put_back(taken);
        let again = waiting.take();
        assert_eq!(ids(&again), [0, 1, 2, 3]);
        assert!(again.lines.is_sorted_by_key(|line| line.message.len()));
    }

    #[test]
    fn lines_are_bounded_in_bytes_and_number() {
        let mut waiting = RecordBuffer::default();
        let large = BYTES_MAX / 8;
        let room = (0..9).filter(|_| waiting.add_line(line(large))).count();
        assert_eq!(room, 7, "with what a row takes beside");
        while !waiting.is_empty() {
            waiting.take();
        }
        assert!(waiting.add_line(line(large)), "what was taken takes no room");
        let mut waiting = RecordBuffer::default();
        let room = (0..LINES_MAX + 1).filter(|_| waiting.add_line(line(0))).count();
        assert_eq!(room, LINES_MAX);
    }
}
