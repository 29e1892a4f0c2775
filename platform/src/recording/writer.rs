//! Writes records into the database: a quarter of a second's at once, when there are any. While the database is away they
//! wait, in bounded number; what is beyond that is counted, and the count is a record of its own once the database is back.

use std::collections::{BTreeMap, HashMap};
use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, TimeDelta};
use manifest_schema::name::AppName;
use store::{AppId, DELETED_AT_ONCE, NewRecords, RecordKind, Store, StoreError};
use tokio::time::{Instant, sleep, sleep_until, timeout};

use super::buffer::RecordBuffer;
use super::journal::JournalShare;
use super::losses::Losses;
use super::recorder::{Entry, Inbox, Lost, Recorder};
use super::records::{self, now};
use super::token_bucket::{ByteRate, TokenBucket};
use crate::clock::Clock;
use crate::memory::Account;

/// How long records are gathered before they are written.
const GATHER: Duration = Duration::from_millis(250);

/// How many routine runs are taken off their queue in that time; the queue holds a burst of some times as many. More a second would
/// keep requests waiting at full load, and make history short.
const ROUTINE_AT_ONCE: usize = 128;

/// How long requests have the processor for themselves between two batches.
const BETWEEN: Duration = Duration::from_millis(10);

/// How long a database that failed is left alone.
const AGAIN: Duration = Duration::from_secs(1);

/// How long writing one batch can take.
const WRITE_MAX: Duration = Duration::from_secs(10);

/// How often old records are deleted, even if none came in.
const DELETE_EVERY: Duration = Duration::from_secs(60 * 60);

/// How much is kept, and how much of it can be of one app.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RecordLimits {
    /// For how long records are kept.
    pub keep_for: Duration,
    /// About how many bytes of executions.
    pub executions_bytes: u64,
    /// About how many bytes of log lines.
    pub logs_bytes: u64,
    /// How much of each app a node writes into the database.
    pub write_rate: ByteRate,
    /// How much of each app a node writes into its own log.
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

/// Writes what one node runs.
#[derive(Debug)]
pub struct Writer {
    store: Store,
    inbox: Arc<Inbox>,
    node: String,
    limits: RecordLimits,
    clock: Clock,
    waiting: RecordBuffer,
    apps: HashMap<AppId, AppState>,
    /// When the queues were emptied.
    drained: Instant,
    /// How much was written since old records were deleted.
    written: u64,
    deleted: Instant,
    away: bool,
}

/// What is remembered of an app while anything of it waits, or was written lately.
#[derive(Debug)]
struct AppState {
    name: AppName,
    journal: JournalShare,
    writes: TokenBucket,
    losses: Losses,
}

impl Writer {
    /// A writer for the node of that name, and where what it runs is handed in.
    pub fn new(store: Store, node: String, limits: RecordLimits, clock: Clock) -> (Recorder, Self) {
        let (recorder, inbox) = Recorder::new();
        let writer = Self {
            store,
            inbox,
            node,
            limits,
            clock,
            waiting: RecordBuffer::default(),
            apps: HashMap::new(),
            drained: Instant::now(),
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
        self.say_left_out(true);
        self.write(Pace::AtOnce).await;
    }

    /// Waits for more, and takes it off the queues meanwhile where that is for long.
    async fn gather(&mut self) {
        let until = Instant::now() + if self.away { AGAIN } else { GATHER };
        while Instant::now() < until {
            sleep(GATHER).await;
            self.drain(ROUTINE_AT_ONCE);
        }
    }

    /// Waits until there is something to do.
    async fn something(&mut self) {
        let is_owed = |app: &AppState| app.journal.owes() || !app.losses.is_empty();
        if !self.waiting.is_empty() || self.apps.values().any(is_owed) {
            return;
        }
        let delete_at = self.deleted + DELETE_EVERY;
        tokio::select! {
            () = self.inbox.arrived() => {}
            () = sleep_until(delete_at) => {}
        }
    }

    async fn step(&mut self) {
        self.say_left_out(false);
        self.write(Pace::Rated).await;
        if !self.away {
            self.delete_old().await;
        }
        self.forget_apps();
    }

    /// Takes what is in the queues, of routine runs so many at the most, and says it in the node's log.
    fn drain(&mut self, routine_max: usize) {
        let mut taken = self.inbox.take(routine_max);
        let at = Instant::now();
        self.drained = at;
        while let Some((account, entry)) = taken.next() {
            self.keep(&account, entry, at);
        }
        for (app, name, lost) in taken.lost {
            self.app(app, &name, at).losses.add(lost);
        }
    }

    fn keep(&mut self, account: &Account, entry: Entry, at: Instant) {
        let revision = &entry.live().revision;
        let id = AppId::from_uuid(revision.app_id());
        let rate = self.limits.journal_rate;
        self.app(id, revision.app(), at).journal.say(&entry, rate, at);
        match entry {
            Entry::Line(line) => {
                let lost = self.waiting.add_line(account, records::line(line));
                self.lose(lost);
            }
            Entry::Run(run) => {
                let Some((execution, lines)) = records::records(run, &self.node) else { return };
                let lost = self.waiting.add(account, execution);
                self.lose(lost);
                for line in lines {
                    let lost = self.waiting.add_line(account, line);
                    self.lose(lost);
                }
            }
        }
    }

    /// What is remembered of an app.
    fn app(&mut self, id: AppId, name: &AppName, at: Instant) -> &mut AppState {
        self.apps.entry(id).or_insert_with(|| AppState {
            name: name.clone(),
            journal: JournalShare::new(self.limits.journal_rate, at),
            writes: TokenBucket::new(self.limits.write_rate, at),
            losses: Losses::new(),
        })
    }

    fn lose(&mut self, lost: Vec<(AppId, Lost)>) {
        for (app, lost) in lost {
            // It is remembered while anything of it waits, and this did.
            if let Some(app) = self.apps.get_mut(&app) {
                app.losses.add(lost);
            }
        }
    }

    /// Says what the node's log leaves out, where it is time to.
    fn say_left_out(&mut self, at_once: bool) {
        let (rate, at) = (self.limits.journal_rate, Instant::now());
        for app in self.apps.values_mut() {
            app.journal.say_left_out(&app.name, rate, at, at_once);
        }
    }

    /// Forgets apps of which nothing waits and nothing was written lately.
    fn forget_apps(&mut self) {
        let (Self { apps, waiting, limits, .. }, at) = (self, Instant::now());
        apps.retain(|id, app| {
            waiting.has(*id)
                || !app.losses.is_over(at)
                || !app.journal.is_over(limits.journal_rate, at)
                || !app.writes.is_full(limits.write_rate, at)
        });
    }

    /// Writes what waits, as far as it can be written at that pace, unless the database fails.
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
                    tracing::error!(%error, "the database does not take records of executions");
                    if self.write_apart(records).await.is_break() {
                        return;
                    }
                }
            }
            self.waiting.settle();
            if !self.waiting.is_empty() {
                self.meanwhile(sleep(BETWEEN)).await;
            }
        }
    }

    /// What is written next.
    fn next_batch(&mut self, pace: Pace) -> NewRecords {
        let (Self { apps, waiting, limits, node, .. }, at) = (self, Instant::now());
        let mut admits = |app: AppId, bytes: usize| match pace {
            Pace::AtOnce => true,
            Pace::Rated => apps.get_mut(&app).is_none_or(|app| app.writes.take(limits.write_rate, bytes, at)),
        };
        let records = waiting.take(&mut admits);
        let losses = apps.iter().filter_map(|(id, app)| app.losses.due(*id, node, at)).collect();
        NewRecords { losses, ..records }
    }

    /// Writes the records of each app by themselves, after the database has refused all of them together: only those are lost that
    /// it refuses.
    async fn write_apart(&mut self, records: NewRecords) -> ControlFlow<()> {
        let mut parts = by_app(records).into_iter();
        while let Some((app, part)) = parts.next() {
            match self.record(&part).await {
                Ok(()) => self.written(&part),
                Err(error) if error.is_unavailable() => {
                    self.wait_for_database(&error, std::iter::once(part).chain(parts.map(|(_, part)| part)));
                    return ControlFlow::Break(());
                }
                Err(error) => {
                    let lost =
                        Lost { executions: part.executions.len() as u64, lines: part.lines.len() as u64 };
                    if let Some(state) = self.apps.get_mut(&app) {
                        tracing::error!(app = %state.name, %error, "records of executions are lost: the database does not take them");
                        state.losses.add(lost);
                        state.losses.wait(Instant::now());
                    }
                }
            }
        }
        ControlFlow::Continue(())
    }

    /// Puts back what could not be written, until the database is back.
    fn wait_for_database(&mut self, error: &StoreError, records: impl IntoIterator<Item = NewRecords>) {
        if !std::mem::replace(&mut self.away, true) {
            tracing::warn!(%error, "records of executions wait for the database");
        }
        records.into_iter().for_each(|records| self.waiting.put_back(records));
        self.waiting.settle();
    }

    /// Writes one batch.
    async fn record(&mut self, records: &NewRecords) -> Result<(), StoreError> {
        let store = self.store.clone();
        let writing = timeout(WRITE_MAX, store.record_runs(records, now()));
        self.meanwhile(writing).await.unwrap_or(Err(StoreError::Silent(WRITE_MAX)))
    }

    /// Does some work. However long it takes, the queues are emptied meanwhile.
    async fn meanwhile<T>(&mut self, work: impl Future<Output = T>) -> T {
        tokio::pin!(work);
        loop {
            tokio::select! {
                done = &mut work => return done,
                () = sleep_until(self.drained + GATHER) => self.drain(ROUTINE_AT_ONCE),
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
        for loss in &records.losses {
            if let Some(app) = loss.app.and_then(|app| self.apps.get_mut(&app)) {
                let name = &app.name;
                tracing::warn!(app = %name, loss.executions, loss.lines, "there was no room for records of executions");
                app.losses.told(loss, Instant::now());
            }
        }
    }

    /// Deletes what is too old or too much, some at a time, if enough came in or it was not done for long.
    async fn delete_old(&mut self) {
        let some = self.limits.executions_bytes.min(self.limits.logs_bytes) / 16;
        if self.written < some && self.deleted.elapsed() < DELETE_EVERY {
            return;
        }
        (self.written, self.deleted) = (0, Instant::now());
        let store = self.store.clone();
        let now = match self.clock.retention_now(&store).await {
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
        let deleting = async {
            for (kind, bytes) in kinds {
                while store.delete_old_records(kind, before).await? >= u64::from(DELETED_AT_ONCE) {}
                while store.delete_surplus_records(kind, bytes).await? > 0 {}
            }
            Ok::<_, StoreError>(())
        };
        if let Err(error) = self.meanwhile(deleting).await {
            tracing::warn!(%error, "old records of executions are not deleted");
        }
    }
}

/// Whether apps are kept to their rate.
#[derive(Clone, Copy, Debug)]
enum Pace {
    Rated,
    /// The node is about to stop.
    AtOnce,
}

/// The records of each app.
fn by_app(records: NewRecords) -> BTreeMap<AppId, NewRecords> {
    let mut parts = BTreeMap::<_, NewRecords>::new();
    for execution in records.executions {
        parts.entry(execution.app).or_default().executions.push(execution);
    }
    for line in records.lines {
        parts.entry(line.app).or_default().lines.push(line);
    }
    for loss in records.losses {
        if let Some(app) = loss.app {
            parts.entry(app).or_default().losses.push(loss);
        }
    }
    parts
}
