//! Records of an app that were lost, until it is told.

use std::time::Duration;

use chrono::{DateTime, Utc};
use store::{AppId, Loss};
use tokio::time::Instant;

use super::recorder::Lost;
use super::records::now;

/// How often the losses of an app are told, at most. Where they go on it is less and less often, so that the rows stay few.
const TOLD_EVERY: Duration = Duration::from_secs(10);
const TOLD_EVERY_MAX: Duration = Duration::from_secs(600);

/// What of an app was lost and is not told yet.
#[derive(Debug)]
pub(super) struct Losses {
    lost: Lost,
    since: Option<DateTime<Utc>>,
    told: Option<Instant>,
    /// How long nothing is told after that.
    pause: Duration,
}

impl Losses {
    pub(super) fn new() -> Self {
        Self { lost: Lost::default(), since: None, told: None, pause: TOLD_EVERY }
    }

    pub(super) fn add(&mut self, lost: Lost) {
        if lost != Lost::default() {
            self.lost.executions += lost.executions;
            self.lost.lines += lost.lines;
            self.since.get_or_insert_with(now);
        }
    }

    /// Whether nothing is to be told.
    pub(super) fn is_empty(&self) -> bool {
        self.lost == Lost::default()
    }

    /// What is to be told of the app now, by the node of that name.
    pub(super) fn due(&self, app: AppId, node: &str, at: Instant) -> Option<Loss> {
        let is_due = self.told.is_none_or(|told| at.duration_since(told) >= self.pause);
        let since = self.since.filter(|_| is_due)?;
        let Lost { executions, lines } = self.lost;
        Some(Loss { app: Some(app), node: node.to_owned(), since, until: now(), executions, lines })
    }

    /// That was told.
    pub(super) fn told(&mut self, loss: &Loss, at: Instant) {
        self.lost.executions -= loss.executions;
        self.lost.lines -= loss.lines;
        self.since = (!self.is_empty()).then_some(loss.until);
        self.wait(at);
    }

    /// It cannot be told now.
    pub(super) fn wait(&mut self, at: Instant) {
        let goes_on = self.told.is_some_and(|told| at.duration_since(told) < self.pause * 2);
        self.pause = if goes_on { (self.pause * 2).min(TOLD_EVERY_MAX) } else { TOLD_EVERY };
        self.told = Some(at);
    }

    /// Whether it is as if nothing had ever been lost.
    pub(super) fn is_over(&self, at: Instant) -> bool {
        self.is_empty() && self.told.is_none_or(|told| at.duration_since(told) >= self.pause * 2)
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    #[test]
    fn losses_that_go_on_are_told_less_and_less_often_and_whole() {
        let app = AppId::from_uuid(Uuid::nil());
        let (start, mut losses, mut told, mut rows) = (Instant::now(), Losses::new(), 0, 0);
        for second in 0..3600 {
            let at = start + Duration::from_secs(second);
            losses.add(Lost { executions: 1, lines: 2 });
            if let Some(loss) = losses.due(app, "pi", at) {
                losses.add(Lost { executions: 5, lines: 0 });
                losses.told(&loss, at);
                assert_eq!(losses.lost, Lost { executions: 5, lines: 0 }, "it came in meanwhile");
                losses.lost = Lost::default();
                losses.since = None;
                (told, rows) = (told + loss.executions, rows + 1);
            }
        }
        assert!((3000..3600).contains(&told), "{told} were told");
        assert!((10..15).contains(&rows), "{rows} rows in an hour");
        let later = start + Duration::from_secs(2 * 3600);
        assert!(losses.is_over(later) || !losses.is_empty());
        losses.add(Lost { executions: 1, lines: 0 });
        let loss = losses.due(app, "pi", later).unwrap();
        losses.told(&loss, later);
        assert_eq!(losses.pause, TOLD_EVERY, "after a pause it is told soon again");
    }
}
