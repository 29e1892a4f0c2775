//! Writes records into the database in batches, four times a second if there are any. While the database is
//! down, records wait in a bounded buffer; dropped ones are counted, and the counts are recorded once the
//! database is up.

use std::collections::{BTreeMap, HashMap};
use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, TimeDelta};
use manifest_schema::name::AppName;
use store::{AppId, NewRecords, RECORD_DELETE_BATCH, RecordKind, Store, StoreError};
use tokio::time::{Instant, sleep, sleep_until, timeout};

use super::buffer::RecordBuffer;
use super::dropped::UnreportedDrops;
use super::journal::JournalShare;
use super::recorder::{DropCounts, Entry, Inbox, Recorder};
use super::records::{self, now};
use super::token_bucket::{ByteRate, TokenBucket};
use crate::clock::Clock;
use crate::memory::Account;

/// The interval between batches.
const BATCH_INTERVAL: Duration = Duration::from_millis(250);

/// How many routine runs are recorded per interval; the queue absorbs bursts. More would delay requests at
/// full load and shorten the history.
const BATCH_ROUTINE_RUNS: usize = 128;

/// The pause between batches, which leaves the processor to requests.
const BATCH_PAUSE: Duration = Duration::from_millis(10);

/// The delay after a database error.
const RETRY_DELAY: Duration = Duration::from_secs(1);

/// The timeout for writing a batch.
const WRITE_TIMEOUT: Duration = Duration::from_secs(10);

/// The interval of retention, if no records were written.
const RETENTION_INTERVAL: Duration = Duration::from_secs(60 * 60);

/// Limits of records: retention, storage, and rates per app.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RecordLimits {
    /// The retention time.
    pub keep_for: Duration,
    /// The approximate storage limit of executions in bytes.
    pub executions_bytes: u64,
    /// The approximate storage limit of log lines in bytes.
    pub logs_bytes: u64,
    /// The write rate per app and node into the database.
    pub write_rate: ByteRate,
    /// The rate per app and node into the node's own log.
    pub journal_rate: ByteRate,
}

impl Default for RecordLimits {
    fn default() -> Self {
        Self {
            keep_for: Duration::from_secs(14 * 24 * 60 * 60),
            executions_bytes: 128 << 20,
            logs_bytes: 256 << 20,
            write_rate: ByteRate { bytes_per_second: 256 << 10 },
            journal_rate: ByteRate { bytes_per_second: 64 << 10 },
        }
    }
}

/// The record writer of a node.
#[derive(Debug)]
pub struct Writer {
    store: Store,
    inbox: Arc<Inbox>,
    node: String,
    limits: RecordLimits,
    clock: Clock,
    buffer: RecordBuffer,
    apps: HashMap<AppId, AppState>,
    /// When the inbox was last drained.
    drained_at: Instant,
    /// The bytes written since the last retention run.
    written: u64,
    retention_at: Instant,
    is_down: bool,
}

/// The state of an app with pending or recent records.
#[derive(Debug)]
struct AppState {
    name: AppName,
    journal: JournalShare,
    writes: TokenBucket,
    drops: UnreportedDrops,
}

impl Writer {
    /// Creates a writer for the named node, and its recorder.
    pub fn new(store: Store, node: String, limits: RecordLimits, clock: Clock) -> (Recorder, Self) {
        let (recorder, inbox) = Recorder::new();
        let writer = Self {
            store,
            inbox,
            node,
            limits,
            clock,
            buffer: RecordBuffer::default(),
            apps: HashMap::new(),
            drained_at: Instant::now(),
            written: 0,
            retention_at: Instant::now(),
            is_down: false,
        };
        (recorder, writer)
    }

    /// Writes until `stop` completes, then flushes the rest unless the database fails.
    pub async fn run(mut self, stop: impl Future<Output = ()>) {
        tokio::pin!(stop);
        loop {
            tokio::select! {
                () = &mut stop => break,
                () = self.has_work() => {}
            }
            tokio::select! {
                () = &mut stop => break,
                () = self.collect() => {}
            }
            self.step().await;
        }
        self.is_down = false;
        self.drain(usize::MAX);
        self.report_suppressed(true);
        self.write(Pace::Unlimited).await;
    }

    /// Waits for the next batch, and drains the inbox meanwhile.
    async fn collect(&mut self) {
        let until = Instant::now() + if self.is_down { RETRY_DELAY } else { BATCH_INTERVAL };
        while Instant::now() < until {
            sleep(BATCH_INTERVAL).await;
            self.drain(BATCH_ROUTINE_RUNS);
        }
    }

    /// Waits for work.
    async fn has_work(&mut self) {
        let has_unreported = |app: &AppState| app.journal.has_unreported() || !app.drops.is_empty();
        if !self.buffer.is_empty() || self.apps.values().any(has_unreported) {
            return;
        }
        let delete_at = self.retention_at + RETENTION_INTERVAL;
        tokio::select! {
            () = self.inbox.arrived() => {}
            () = sleep_until(delete_at) => {}
        }
    }

    async fn step(&mut self) {
        self.report_suppressed(false);
        self.write(Pace::RateLimited).await;
        if !self.is_down {
            self.run_retention().await;
        }
        self.remove_idle_apps();
    }

    /// Drains the inbox, up to `routine_max` routine runs, and writes the node's log.
    fn drain(&mut self, routine_max: usize) {
        let mut taken = self.inbox.take(routine_max);
        let at = Instant::now();
        self.drained_at = at;
        while let Some((account, entry)) = taken.next() {
            self.buffer_entry(&account, entry, at);
        }
        for (app, name, drops) in taken.drops {
            self.app(app, &name, at).drops.add(drops);
        }
    }

    fn buffer_entry(&mut self, account: &Account, entry: Entry, at: Instant) {
        let revision = &entry.live().revision;
        let id = AppId::from_uuid(revision.app_id());
        let rate = self.limits.journal_rate;
        self.app(id, revision.app(), at).journal.write(&entry, rate, at);
        match entry {
            Entry::Line(line) => {
                let drops = self.buffer.add_line(account, records::line(line));
                self.count_drops(drops);
            }
            Entry::Run(run) => {
                let Some((execution, lines)) = records::records(run, &self.node) else { return };
                let drops = self.buffer.add(account, execution);
                self.count_drops(drops);
                for line in lines {
                    let drops = self.buffer.add_line(account, line);
                    self.count_drops(drops);
                }
            }
        }
    }

    /// The state of an app.
    fn app(&mut self, id: AppId, name: &AppName, at: Instant) -> &mut AppState {
        self.apps.entry(id).or_insert_with(|| AppState {
            name: name.clone(),
            journal: JournalShare::new(self.limits.journal_rate, at),
            writes: TokenBucket::new(self.limits.write_rate, at),
            drops: UnreportedDrops::new(),
        })
    }

    fn count_drops(&mut self, drops: Vec<(AppId, DropCounts)>) {
        for (app, drops) in drops {
            // The state exists while the app has buffered records.
            if let Some(app) = self.apps.get_mut(&app) {
                app.drops.add(drops);
            }
        }
    }

    /// Reports suppressed log lines, at most once per interval.
    fn report_suppressed(&mut self, at_once: bool) {
        let (rate, at) = (self.limits.journal_rate, Instant::now());
        for app in self.apps.values_mut() {
            app.journal.report_suppressed(&app.name, rate, at, at_once);
        }
    }

    /// Removes the state of apps without pending or recent records.
    fn remove_idle_apps(&mut self) {
        let (Self { apps, buffer, limits, .. }, at) = (self, Instant::now());
        apps.retain(|id, app| {
            buffer.has(*id)
                || !app.drops.is_idle(at)
                || !app.journal.is_idle(limits.journal_rate, at)
                || !app.writes.is_full(limits.write_rate, at)
        });
    }

    /// Writes buffered records at the given pace, until the database fails.
    async fn write(&mut self, pace: Pace) {
        loop {
            let records = self.next_batch(pace);
            if records.is_empty() {
                return;
            }
            match self.record(&records).await {
                Ok(()) => self.written(&records),
                Err(error) if error.is_unavailable() => return self.wait_for_database(&error, [records]),
                Err(error) => {
                    tracing::error!(%error, "the database rejected a batch of execution records");
                    if self.write_per_app(records).await.is_break() {
                        return;
                    }
                }
            }
            self.buffer.release_taken();
            if !self.buffer.is_empty() {
                self.while_draining(sleep(BATCH_PAUSE)).await;
            }
        }
    }

    /// Takes the next batch.
    fn next_batch(&mut self, pace: Pace) -> NewRecords {
        let (Self { apps, buffer, limits, node, .. }, at) = (self, Instant::now());
        let mut admits = |app: AppId, bytes: usize| match pace {
            Pace::Unlimited => true,
            Pace::RateLimited => {
                apps.get_mut(&app).is_none_or(|app| app.writes.take(limits.write_rate, bytes, at))
            }
        };
        let records = buffer.take(&mut admits);
        let drops = apps.iter().filter_map(|(id, app)| app.drops.due(*id, node, at)).collect();
        NewRecords { dropped: drops, ..records }
    }

    /// Writes the records of each app separately after the database rejected a batch, so that only rejected
    /// ones are lost.
    async fn write_per_app(&mut self, records: NewRecords) -> ControlFlow<()> {
        let mut parts = by_app(records).into_iter();
        while let Some((app, part)) = parts.next() {
            match self.record(&part).await {
                Ok(()) => self.written(&part),
                Err(error) if error.is_unavailable() => {
                    self.wait_for_database(&error, std::iter::once(part).chain(parts.map(|(_, part)| part)));
                    return ControlFlow::Break(());
                }
                Err(error) => {
                    let drops = DropCounts {
                        executions: part.executions.len() as u64,
                        lines: part.logs.len() as u64,
                    };
                    if let Some(state) = self.apps.get_mut(&app) {
                        tracing::error!(app = %state.name, %error, "execution records dropped: rejected by the database");
                        state.drops.add(drops);
                        state.drops.postpone(Instant::now());
                    }
                }
            }
        }
        ControlFlow::Continue(())
    }

    /// Puts an unwritten batch back until the database is up.
    fn wait_for_database(&mut self, error: &StoreError, records: impl IntoIterator<Item = NewRecords>) {
        if !std::mem::replace(&mut self.is_down, true) {
            tracing::warn!(%error, "database down; execution records are buffered");
        }
        records.into_iter().for_each(|records| self.buffer.put_back(records));
        self.buffer.release_taken();
    }

    /// Writes one batch.
    async fn record(&mut self, records: &NewRecords) -> Result<(), StoreError> {
        let store = self.store.clone();
        let writing = timeout(WRITE_TIMEOUT, store.write_records(records, now()));
        self.while_draining(writing).await.unwrap_or(Err(StoreError::Unresponsive(WRITE_TIMEOUT)))
    }

    /// Runs `work` and drains the inbox meanwhile.
    async fn while_draining<T>(&mut self, work: impl Future<Output = T>) -> T {
        tokio::pin!(work);
        loop {
            tokio::select! {
                done = &mut work => return done,
                () = sleep_until(self.drained_at + BATCH_INTERVAL) => self.drain(BATCH_ROUTINE_RUNS),
            }
        }
    }

    fn written(&mut self, records: &NewRecords) {
        if std::mem::take(&mut self.is_down) {
            tracing::info!("execution records are written again");
        }
        let executions: usize = records.executions.iter().map(store::ExecutionRecord::bytes).sum();
        let lines: usize = records.logs.iter().map(store::LogRecord::bytes).sum();
        self.written += (executions + lines) as u64;
        for dropped in &records.dropped {
            if let Some(app) = dropped.app.and_then(|app| self.apps.get_mut(&app)) {
                let name = &app.name;
                tracing::warn!(app = %name, dropped.executions, dropped.log_lines, "execution records dropped: the buffer was full");
                app.drops.reported(dropped, Instant::now());
            }
        }
    }

    /// Applies retention in batches, after enough new records or after an interval.
    async fn run_retention(&mut self) {
        let threshold = self.limits.executions_bytes.min(self.limits.logs_bytes) / 16;
        if self.written < threshold && self.retention_at.elapsed() < RETENTION_INTERVAL {
            return;
        }
        (self.written, self.retention_at) = (0, Instant::now());
        let store = self.store.clone();
        let now = match self.clock.retention_now(&store).await {
            // Without a trusted time, only the size limit applies.
            Ok(now) => now.unwrap_or_default(),
            Err(error) => return tracing::warn!(%error, "cannot prune execution records"),
        };
        let age = TimeDelta::from_std(self.limits.keep_for).ok();
        let before = age.and_then(|age| now.checked_sub_signed(age)).unwrap_or(DateTime::UNIX_EPOCH);
        let kinds = [
            (RecordKind::Executions, self.limits.executions_bytes),
            (RecordKind::Logs, self.limits.logs_bytes),
        ];
        let deleting = async {
            for (kind, bytes) in kinds {
                while store.delete_old_records(kind, before).await? >= u64::from(RECORD_DELETE_BATCH) {}
                while store.delete_excess_records(kind, bytes).await? > 0 {}
            }
            Ok::<_, StoreError>(())
        };
        if let Err(error) = self.while_draining(deleting).await {
            tracing::warn!(%error, "cannot prune execution records");
        }
    }
}

/// The pace of writing.
#[derive(Clone, Copy, Debug)]
enum Pace {
    RateLimited,
    /// At shutdown.
    Unlimited,
}

/// Splits records by app.
fn by_app(records: NewRecords) -> BTreeMap<AppId, NewRecords> {
    let mut parts = BTreeMap::<_, NewRecords>::new();
    for execution in records.executions {
        parts.entry(execution.app).or_default().executions.push(execution);
    }
    for line in records.logs {
        parts.entry(line.app).or_default().logs.push(line);
    }
    for dropped in records.dropped {
        if let Some(app) = dropped.app {
            parts.entry(app).or_default().dropped.push(dropped);
        }
    }
    parts
}
