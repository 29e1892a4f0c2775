//! Follows new records of all nodes.
//!
//! Records are numbered in order of visibility, so that a tail resumes after the last number without gaps.
//! The database is polled twice a second while somebody follows.

use std::time::Duration;

use store::{AppId, DroppedRecords, LogFilter, LogRange, LogRecord, Sequenced, Store, StoreError};
use tokio::time::{sleep, timeout};

use super::followers::{FollowError, Followers};
use crate::executor::Holder;
use crate::executor::evictable_slots::EvictablePermit;
use crate::memory::{Account, Purpose, Reservation};

/// The polling interval.
const POLL_INTERVAL: Duration = Duration::from_millis(500);

/// The timeout of a poll.
const POLL_TIMEOUT: Duration = Duration::from_secs(10);

/// The maximum lines, and approximate bytes, per poll.
const BATCH_LINES: u32 = 500;
const BATCH_BYTES: u64 = 256 << 10;

/// The maximum size of a line: message, data, and fixed fields.
const LINE_BYTES_MAX: u64 = 80 << 10;

/// The maximum drop records per poll.
const BATCH_DROPS: u32 = 100;

/// An event of a tail.
#[derive(Clone, Debug, PartialEq)]
pub enum TailEvent {
    /// A log line.
    Line(Sequenced<LogRecord>),
    /// Records of the app that a node dropped, possibly lines of this tail.
    Dropped(Sequenced<DroppedRecords>),
    /// The database is down: events pause until it is up.
    DatabaseDown,
    /// The database is up again; the missed events follow.
    DatabaseUp,
    /// The database was restored to an earlier state with this last number: later events are lost.
    DatabaseRestored(u64),
}

/// Follows the log lines of an app.
#[derive(Debug)]
pub struct Tail {
    store: Store,
    app: AppId,
    filter: LogFilter,
    /// The last number that was sent.
    position: u64,
    is_down: bool,
    account: Account,
    /// The memory of the last events, which the client can still use.
    memory: Option<Reservation>,
    permit: EvictablePermit,
}

impl Tail {
    /// Creates a tail from the given number on. Events count in the app's account until the next call.
    ///
    /// # Errors
    /// The limit of streams is reached.
    pub(crate) fn new(
        store: Store,
        followers: &Followers,
        holder: &Holder,
        account: Account,
        app: AppId,
        filter: LogFilter,
        position: u64,
    ) -> Result<Self, FollowError> {
        let permit = followers.follow(holder)?;
        Ok(Self { store, app, filter, position, is_down: false, account, memory: None, permit })
    }

    /// Waits for the next events, in order. `None`: the stream was evicted.
    pub async fn next(&mut self) -> Option<Vec<TailEvent>> {
        let evicted = self.permit.eviction_token();
        tokio::select! {
            events = self.poll_until_events() => Some(events),
            () = evicted.cancelled() => None,
        }
    }

    async fn poll_until_events(&mut self) -> Vec<TailEvent> {
        self.memory = None;
        loop {
            match timeout(POLL_TIMEOUT, self.poll())
                .await
                .unwrap_or(Err(StoreError::Unresponsive(POLL_TIMEOUT)))
            {
                Ok(mut events) => {
                    if std::mem::take(&mut self.is_down) {
                        events.insert(0, TailEvent::DatabaseUp);
                    }
                    if !events.is_empty() {
                        return events;
                    }
                }
                Err(error) => {
                    if !std::mem::replace(&mut self.is_down, true) {
                        tracing::warn!(%error, "database down; log streams wait");
                        return vec![TailEvent::DatabaseDown];
                    }
                }
            }
            sleep(POLL_INTERVAL).await;
        }
    }

    async fn poll(&mut self) -> Result<Vec<TailEvent>, StoreError> {
        // Read first: later records are sent by the next poll.
        let last = self.store.last_record_sequence().await?;
        if last < self.position {
            self.position = last;
            return Ok(vec![TailEvent::DatabaseRestored(last)]);
        }
        if last == self.position {
            return Ok(Vec::new());
        }
        // Without memory of the app, retry later.
        let bytes_max = BATCH_BYTES + LINE_BYTES_MAX;
        let Ok(mut memory) = self.account.try_reserve(Purpose::Responses, bytes_max) else {
            return Ok(Vec::new());
        };
        let (store, position) = (&self.store, LogRange::After(self.position));
        let lines = store.logs(self.app, &self.filter, position, BATCH_LINES, BATCH_BYTES).await?;
        let drops = store.dropped_records(self.app, self.position, BATCH_DROPS).await?;
        let bytes = lines.iter().map(|line| line.record.bytes() as u64).sum();
        memory.shrink_to(bytes);
        self.memory = Some(memory);
        let all_lines = lines.len() < BATCH_LINES as usize && bytes < BATCH_BYTES;
        let all_drops = drops.len() < BATCH_DROPS as usize;
        let limits = [
            lines.last().map(|line| line.sequence).filter(|_| !all_lines),
            drops.last().map(|dropped| dropped.sequence).filter(|_| !all_drops),
        ];
        self.position = limits.into_iter().flatten().min().unwrap_or(last);
        let mut events: Vec<(u64, TailEvent)> = Vec::with_capacity(lines.len() + drops.len());
        events.extend(lines.into_iter().map(|line| (line.sequence, TailEvent::Line(line))));
        events.extend(drops.into_iter().map(|dropped| (dropped.sequence, TailEvent::Dropped(dropped))));
        events.retain(|(sequence, _)| *sequence <= self.position);
        events.sort_by_key(|(sequence, _)| *sequence);
        Ok(events.into_iter().map(|(_, events)| events).collect())
    }
}

#[cfg(test)]
mod tests {
    use chrono::DateTime;
    use manifest_schema::execution::LogLevel;
    use store::{Location, NewRecords};
    use uuid::Uuid;

    use super::*;
    use crate::memory::MemoryBudget;

    fn line(app: AppId, bytes: usize) -> LogRecord {
        LogRecord {
            execution: Uuid::nil(),
            app,
            script: "a.rhai".to_owned(),
            at: DateTime::UNIX_EPOCH,
            level: LogLevel::Info,
            message: "x".repeat(bytes),
            data: None,
            line: None,
            failure: false,
        }
    }

    #[tokio::test]
    async fn tail_uses_little_memory_and_misses_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(&Location::Sqlite(folder.path().join("picloud.db"))).await.unwrap();
        let app = AppId::from_uuid(Uuid::from_u128(1));
        let lines = (0..200).map(|_| line(app, 8000)).collect();
        store
            .write_records(&NewRecords { logs: lines, ..NewRecords::default() }, DateTime::UNIX_EPOCH)
            .await
            .unwrap();
        let budget = MemoryBudget::new(8 << 20);
        let account = budget.account(app);
        let (followers, filter) = (Followers::default(), LogFilter::default());
        let holder = Holder::new(None, None, manifest_schema::name::AppName::new("app").unwrap());
        let mut tail = Tail::new(store, &followers, &holder, account.clone(), app, filter, 0).unwrap();
        let mut count = 0;
        while count < 200 {
            let events = tail.next().await.unwrap();
            assert!(events.len() < 40, "{} lines of 8 kB at once", events.len());
            let numbers = events.iter().map(|event| match event {
                TailEvent::Line(line) => line.sequence,
                other => panic!("{other:?}"),
            });
            assert!(numbers.eq(count + 1..=count + events.len() as u64));
            count += events.len() as u64;
            assert!(
                (8000 * events.len() as u64..400_000).contains(&account.used_bytes()),
                "{}",
                account.used_bytes()
            );
        }
        drop(tail);
        assert_eq!(budget.usage().used_bytes, 0);
    }
}
