//! Writes records into the database: a quarter of a second's at once, when there are any. While the database is away they
//! wait, in bounded number; what is beyond that is counted, and the count is a record of its own once the database is back.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use store::{DELETED_AT_ONCE, Loss, NewRecords, RecordKind, Store, StoreError};
use tokio::time::{Instant, sleep, sleep_until, timeout};

use super::buffer::RecordBuffer;
use super::journal;
use super::recorder::{Entry, Queued, Recorder};
use super::records::{self, now};
use crate::clock::Clock;

/// How long records are gathered before they are written.
const GATHER: Duration = Duration::from_millis(250);

/// How many plain runs are taken off their queue in that time; the queue holds a burst of some times as many. More a second would
/// keep requests waiting at full load, and make history short.
const PLAIN_AT_ONCE: usize = 128;

/// How long requests have the processor for themselves between two batches.
const BETWEEN: Duration = Duration::from_millis(10);

/// How long a database that failed is left alone.
const AGAIN: Duration = Duration::from_secs(1);

/// How long writing one batch may take.
const WRITE_MAX: Duration = Duration::from_secs(10);

/// How often a loss is told, at most.
const LOSS_EVERY: Duration = Duration::from_secs(10);

/// How often old records are deleted, even if none came in.
const DELETE_EVERY: Duration = Duration::from_secs(60 * 60);

/// How much is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RecordLimits {
    /// For how long records are kept.
    pub keep_for: Duration,
    /// About how many bytes of executions.
    pub executions_bytes: u64,
    /// About how many bytes of log lines.
    pub logs_bytes: u64,
}

impl Default for RecordLimits {
    fn default() -> Self {
        Self {
            keep_for: Duration::from_secs(14 * 24 * 60 * 60),
            executions_bytes: 128 << 20,
            logs_bytes: 256 << 20,
        }
    }
}

/// Writes what one node runs.
#[derive(Debug)]
pub struct Writer {
    store: Store,
    queued: Queued,
    node: String,
    limits: RecordLimits,
    clock: Clock,
    waiting: RecordBuffer,
    /// What was lost and is not told yet, and since when: executions and lines.
    lost: (u64, u64),
    lost_since: Option<DateTime<Utc>>,
    loss_told: Option<Instant>,
    /// How much was written since old records were deleted.
    written: u64,
    deleted: Instant,
    away: bool,
}

impl Writer {
    /// A writer for the node of that name, and where what it runs is handed in.
    pub fn new(store: Store, node: String, limits: RecordLimits, clock: Clock) -> (Recorder, Self) {
        let (recorder, queued) = Recorder::new();
        let writer = Self {
            store,
            queued,
            node,
            limits,
            clock,
            waiting: RecordBuffer::default(),
            lost: (0, 0),
            lost_since: None,
            loss_told: None,
            written: 0,
            deleted: Instant::now(),
            away: false,
        };
        (recorder, writer)
    }

    /// Writes until `stop` is done, and then what is left, as long as the database takes it.
    pub async fn run(mut self, stop: impl Future<Output = ()>) {
        tokio::pin!(stop);
        loop {
            tokio::select! {
                () = &mut stop => break,
                () = self.something() => {}
            }
            tokio::select! {
                () = &mut stop => break,
                () = self.gather() => {}
            }
            self.step().await;
        }
        self.away = false;
        self.drain(usize::MAX);
        self.write().await;
    }

    /// Waits for more, and takes it off the queues meanwhile where that is for long.
    async fn gather(&mut self) {
        let until = Instant::now() + if self.away { AGAIN } else { GATHER };
        while Instant::now() < until {
            sleep(GATHER).await;
            self.drain(PLAIN_AT_ONCE);
        }
    }

    /// Waits until there is something to do.
    async fn something(&mut self) {
        if !self.waiting.is_empty() || self.lost != (0, 0) {
            return;
        }
        let delete_at = self.deleted + DELETE_EVERY;
        tokio::select! {
            Some(ran) = self.queued.plain.recv() => self.keep(Entry::Run(ran)),
            Some(entry) = self.queued.telling.recv() => {
                self.queued.stats.free(entry.bytes());
                self.keep(entry);
            }
            () = sleep_until(delete_at) => {}
        }
    }

    async fn step(&mut self) {
        self.write().await;
        if !self.away {
            self.delete_old().await;
        }
    }

    /// Takes what is in the queues, of plain runs so many at the most, and says it in the node's log.
    fn drain(&mut self, plain_max: usize) {
        while let Ok(entry) = self.queued.telling.try_recv() {
            self.queued.stats.free(entry.bytes());
            self.keep(entry);
        }
        // Not more than were there when it began: under load there would be no end to it.
        for _ in 0..self.queued.plain.len().min(plain_max) {
            if let Ok(ran) = self.queued.plain.try_recv() {
                self.keep(Entry::Run(ran));
            }
        }
        let (executions, lines) = self.queued.stats.take_lost();
        self.lose(executions, lines);
    }

    fn keep(&mut self, entry: Entry) {
        journal::say(&entry);
        match entry {
            Entry::Line(line) => {
                if !self.waiting.add_line(records::line(line)) {
                    self.lose(0, 1);
                }
            }
            Entry::Run(ran) => {
                let Some((execution, lines)) = records::records(ran, &self.node) else { return };
                let lost = u64::from(!self.waiting.add(execution));
                let lines_lost =
                    lines.into_iter().filter_map(|line| (!self.waiting.add_line(line)).then_some(1));
                let lines_lost = lines_lost.sum();
                self.lose(lost, lines_lost);
            }
        }
    }

    fn lose(&mut self, executions: u64, lines: u64) {
        if executions + lines > 0 {
            self.lost = (self.lost.0 + executions, self.lost.1 + lines);
            self.lost_since.get_or_insert_with(now);
        }
    }

    /// Writes all that waits, unless the database fails.
    async fn write(&mut self) {
        while !self.waiting.is_empty() || self.loss_is_due() {
            let mut records = self.waiting.take();
            records.loss = self.loss_is_due().then(|| self.loss());
            match self.record(&records).await {
                Ok(()) => {
                    self.written(&records);
                    if !self.waiting.is_empty() {
                        sleep(BETWEEN).await;
                    }
                }
                Err(error) if error.is_unavailable() => {
                    if !std::mem::replace(&mut self.away, true) {
                        tracing::warn!(%error, "records of executions wait for the database");
                    }
                    self.waiting.put_back(records);
                    return;
                }
                Err(error) => {
                    tracing::error!(%error, "records of executions are lost: the database does not take them");
                    self.lose(records.executions.len() as u64, records.lines.len() as u64);
                    self.loss_told = Some(Instant::now());
                    return;
                }
            }
        }
    }

    /// Writes one batch. However long that takes, the queues are emptied meanwhile.
    async fn record(&mut self, records: &NewRecords) -> Result<(), StoreError> {
        let store = self.store.clone();
        let writing = timeout(WRITE_MAX, store.record_runs(records, now()));
        tokio::pin!(writing);
        loop {
            tokio::select! {
                written = &mut writing => return written.unwrap_or(Err(StoreError::Silent(WRITE_MAX))),
                () = sleep(GATHER) => self.drain(PLAIN_AT_ONCE),
            }
        }
    }

    fn written(&mut self, records: &NewRecords) {
        if std::mem::take(&mut self.away) {
            tracing::info!("records of executions are written again");
        }
        let executions: usize = records.executions.iter().map(store::ExecutionRecord::bytes).sum();
        let lines: usize = records.lines.iter().map(store::LineRecord::bytes).sum();
        self.written += (executions + lines) as u64;
        if let Some(loss) = &records.loss {
            tracing::warn!(loss.executions, loss.lines, "there was no room for records of executions");
            self.lost = (self.lost.0 - loss.executions, self.lost.1 - loss.lines);
            self.lost_since = (self.lost != (0, 0)).then(now);
            self.loss_told = Some(Instant::now());
        }
    }

    /// Whether there is a loss to tell, and the one before was told long enough ago.
    fn loss_is_due(&self) -> bool {
        self.lost != (0, 0) && self.loss_told.is_none_or(|told| told.elapsed() >= LOSS_EVERY)
    }

    fn loss(&self) -> Loss {
        let (until, (executions, lines)) = (now(), self.lost);
        Loss { node: self.node.clone(), since: self.lost_since.unwrap_or(until), until, executions, lines }
    }

    /// Deletes what is too old or too much, some at a time, if enough came in or it was not done for long.
    async fn delete_old(&mut self) {
        let some = self.limits.executions_bytes.min(self.limits.logs_bytes) / 16;
        if self.written < some && self.deleted.elapsed() < DELETE_EVERY {
            return;
        }
        (self.written, self.deleted) = (0, Instant::now());
        let now = match self.clock.retention_now(&self.store).await {
            // Where nobody knows the time, only the size counts.
            Ok(now) => now.unwrap_or_default(),
            Err(error) => return tracing::warn!(%error, "old records of executions are not deleted"),
        };
        let age = TimeDelta::from_std(self.limits.keep_for).ok();
        let before = age.and_then(|age| now.checked_sub_signed(age)).unwrap_or(DateTime::UNIX_EPOCH);
        let kinds = [
            (RecordKind::Executions, self.limits.executions_bytes),
            (RecordKind::Logs, self.limits.logs_bytes),
        ];
        for (kind, bytes) in kinds {
            loop {
                match self.store.delete_old_records(kind, before, bytes).await {
                    Ok(deleted) if deleted >= u64::from(DELETED_AT_ONCE) => {}
                    Ok(_) => break,
                    Err(error) => {
                        tracing::warn!(%error, "old records of executions are not deleted");
                        return;
                    }
                }
            }
        }
    }
}
