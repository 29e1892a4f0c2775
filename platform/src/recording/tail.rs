//! Reads what is recorded as it comes in, whichever node it comes from.
//!
//! Records are numbered in the order in which they can be seen, so a tail reads on from the last number and misses nothing.
//! While somebody follows, the database is asked twice a second; nobody else pays for it.

use std::time::Duration;

use store::{AppId, LineFilter, LineRecord, Loss, Numbered, Part, Store, StoreError};
use tokio::time::{sleep, timeout};

use super::followers::{FollowError, Followers};
use crate::executor::Holder;
use crate::executor::places::Place;
use crate::memory::{Account, Purpose, Reservation};

/// How often is looked for more.
const LOOK: Duration = Duration::from_millis(500);

/// How long a look may take.
const LOOK_MAX: Duration = Duration::from_secs(10);

/// How many lines are read at once, and about how many bytes of them.
const LINES_AT_ONCE: u32 = 500;
const BYTES_AT_ONCE: u64 = 256 << 10;

/// The most that a line has: the longest message, the longest data, and what goes with them.
const LINE_BYTES_MAX: u64 = 80 << 10;

/// How many losses are read at once.
const LOSSES_AT_ONCE: u32 = 100;

/// What there is to tell.
#[derive(Clone, Debug, PartialEq)]
pub enum TailEvent {
    /// A line.
    Line(Numbered<LineRecord>),
    /// Records of the app that a node could not keep; lines that should be here can be among them.
    Lost(Numbered<Loss>),
    /// The database is away: nothing is heard until it is back.
    Away,
    /// It is back, and what came in meanwhile follows.
    Back,
    /// It was set back to an earlier time, at which this was the last number: what was sent beyond it is lost.
    SetBack(u64),
}

/// Follows the lines of an app.
#[derive(Debug)]
pub struct Tail {
    store: Store,
    app: AppId,
    filter: LineFilter,
    /// Everything up to this number was sent.
    from: u64,
    away: bool,
    account: Account,
    /// The memory of what was sent last, which the one who follows can still hold.
    held: Option<Reservation>,
    place: Place,
}

impl Tail {
    /// Follows from the number `from` on. What is sent is held of the app's account until the next is asked for.
    ///
    /// # Errors
    /// There is no place.
    pub(crate) fn new(
        store: Store,
        followers: &Followers,
        holder: &Holder,
        account: Account,
        app: AppId,
        filter: LineFilter,
        from: u64,
    ) -> Result<Self, FollowError> {
        let place = followers.follow(holder)?;
        Ok(Self { store, app, filter, from, away: false, account, held: None, place })
    }

    /// What is sent next, in its order; waits until there is something. `None`: it gave way to others who follow less.
    pub async fn next(&mut self) -> Option<Vec<TailEvent>> {
        let given_way = self.place.watch();
        tokio::select! {
            told = self.wait() => Some(told),
            () = given_way.cancelled() => None,
        }
    }

    async fn wait(&mut self) -> Vec<TailEvent> {
        self.held = None;
        loop {
            match timeout(LOOK_MAX, self.look()).await.unwrap_or(Err(StoreError::Silent(LOOK_MAX))) {
                Ok(mut told) => {
                    if std::mem::take(&mut self.away) {
                        told.insert(0, TailEvent::Back);
                    }
                    if !told.is_empty() {
                        return told;
                    }
                }
                Err(error) => {
                    if !std::mem::replace(&mut self.away, true) {
                        tracing::warn!(%error, "whoever follows logs has to wait");
                        return vec![TailEvent::Away];
                    }
                }
            }
            sleep(LOOK).await;
        }
    }

    async fn look(&mut self) -> Result<Vec<TailEvent>, StoreError> {
        // Asked first: what comes in after that is told the next time.
        let up_to = self.store.last_record().await?;
        if up_to < self.from {
            self.from = up_to;
            return Ok(vec![TailEvent::SetBack(up_to)]);
        }
        if up_to == self.from {
            return Ok(Vec::new());
        }
        // Where the app has no memory for what there is, it is told later.
        let bytes_max = BYTES_AT_ONCE + LINE_BYTES_MAX;
        let Ok(mut held) = self.account.try_reserve(Purpose::Responses, bytes_max) else {
            return Ok(Vec::new());
        };
        let (store, from) = (&self.store, Part::After(self.from));
        let lines = store.lines(self.app, &self.filter, from, LINES_AT_ONCE, BYTES_AT_ONCE).await?;
        let losses = store.losses(self.app, self.from, LOSSES_AT_ONCE).await?;
        let bytes = lines.iter().map(|line| line.record.bytes() as u64).sum();
        held.shrink_to(bytes);
        self.held = Some(held);
        let all_lines = lines.len() < LINES_AT_ONCE as usize && bytes < BYTES_AT_ONCE;
        let all_losses = losses.len() < LOSSES_AT_ONCE as usize;
        let ends = [
            lines.last().map(|line| line.number).filter(|_| !all_lines),
            losses.last().map(|loss| loss.number).filter(|_| !all_losses),
        ];
        self.from = ends.into_iter().flatten().min().unwrap_or(up_to);
        let mut told: Vec<(u64, TailEvent)> = Vec::with_capacity(lines.len() + losses.len());
        told.extend(lines.into_iter().map(|line| (line.number, TailEvent::Line(line))));
        told.extend(losses.into_iter().map(|loss| (loss.number, TailEvent::Lost(loss))));
        told.retain(|(number, _)| *number <= self.from);
        told.sort_by_key(|(number, _)| *number);
        Ok(told.into_iter().map(|(_, told)| told).collect())
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

    fn line(app: AppId, bytes: usize) -> LineRecord {
        LineRecord {
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
    async fn who_follows_holds_little_and_misses_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(&Location::Sqlite(folder.path().join("picloud.db"))).await.unwrap();
        let app = AppId::from_uuid(Uuid::from_u128(1));
        let lines = (0..200).map(|_| line(app, 8000)).collect();
        store
            .record_runs(&NewRecords { lines, ..NewRecords::default() }, DateTime::UNIX_EPOCH)
            .await
            .unwrap();
        let budget = MemoryBudget::new(8 << 20);
        let account = budget.account(app);
        let (followers, filter) = (Followers::default(), LineFilter::default());
        let holder = Holder::new(None, None, manifest_schema::name::AppName::new("app").unwrap());
        let mut tail = Tail::new(store, &followers, &holder, account.clone(), app, filter, 0).unwrap();
        let mut told = 0;
        while told < 200 {
            let some = tail.next().await.unwrap();
            assert!(some.len() < 40, "{} lines of 8 kB at once", some.len());
            let numbers = some.iter().map(|event| match event {
                TailEvent::Line(line) => line.number,
                other => panic!("{other:?}"),
            });
            assert!(numbers.eq(told + 1..=told + some.len() as u64));
            told += some.len() as u64;
            assert!(
                (8000 * some.len() as u64..400_000).contains(&account.used_bytes()),
                "{}",
                account.used_bytes()
            );
        }
        drop(tail);
        assert_eq!(budget.usage().used_bytes, 0);
    }
}
