//! Reads what is recorded as it comes in, whichever node it comes from.
//!
//! Records are numbered in the order in which they can be seen, so a tail reads on from the last number and misses nothing.
//! While somebody follows, the database is asked twice a second; nobody else pays for it.

use std::time::Duration;

use store::{AppId, LineFilter, LineRecord, Loss, Numbered, Part, Store, StoreError};
use tokio::time::{sleep, timeout};

/// How often is looked for more.
const LOOK: Duration = Duration::from_millis(500);

/// How long a look may take.
const LOOK_MAX: Duration = Duration::from_secs(10);

/// How many lines are read at once.
const LINES_AT_ONCE: u32 = 500;

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
    /// It was set back to an earlier time, at which this was the last number: what was told beyond it is lost.
    SetBack(u64),
}

/// Follows the lines of an app.
#[derive(Debug)]
pub struct Tail {
    store: Store,
    app: AppId,
    filter: LineFilter,
    /// Everything up to this number was told.
    from: u64,
    away: bool,
}

impl Tail {
    /// Follows from behind the number `from`.
    pub fn new(store: Store, app: AppId, filter: LineFilter, from: u64) -> Self {
        Self { store, app, filter, from, away: false }
    }

    /// What is told next, in its order; waits until there is something.
    pub async fn next(&mut self) -> Vec<TailEvent> {
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
        let lines = self.store.lines(self.app, &self.filter, Part::After(self.from), LINES_AT_ONCE).await?;
        let losses = self.store.losses(self.app, self.from, LOSSES_AT_ONCE).await?;
        let full = |read: usize, limit: u32| read >= limit as usize;
        let ends = [
            full(lines.len(), LINES_AT_ONCE).then(|| lines.last().map(|line| line.number)).flatten(),
            full(losses.len(), LOSSES_AT_ONCE).then(|| losses.last().map(|loss| loss.number)).flatten(),
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
