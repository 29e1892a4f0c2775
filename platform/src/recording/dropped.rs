//! Dropped records of an app, until they are reported.

use std::time::Duration;

use chrono::{DateTime, Utc};
use store::{AppId, DroppedRecords};
use tokio::time::Instant;

use super::recorder::DropCounts;
use super::records::now;

/// The interval between reports of an app, doubled while records are being dropped, so that rows stay few.
const REPORT_INTERVAL: Duration = Duration::from_secs(10);
const REPORT_INTERVAL_MAX: Duration = Duration::from_secs(600);

/// The dropped records of an app that are not reported yet.
#[derive(Debug)]
pub(super) struct UnreportedDrops {
    counts: DropCounts,
    since: Option<DateTime<Utc>>,
    reported: Option<Instant>,
    /// The time until the next report.
    interval: Duration,
}

impl UnreportedDrops {
    pub(super) fn new() -> Self {
        Self { counts: DropCounts::default(), since: None, reported: None, interval: REPORT_INTERVAL }
    }

    pub(super) fn add(&mut self, counts: DropCounts) {
        if counts != DropCounts::default() {
            self.counts.executions += counts.executions;
            self.counts.lines += counts.lines;
            self.since.get_or_insert_with(now);
        }
    }

    /// Whether there is nothing to report.
    pub(super) fn is_empty(&self) -> bool {
        self.counts == DropCounts::default()
    }

    /// The report that is due now, by the named node.
    pub(super) fn due(&self, app: AppId, node: &str, at: Instant) -> Option<DroppedRecords> {
        let is_due = self.reported.is_none_or(|reported| at.duration_since(reported) >= self.interval);
        let since = self.since.filter(|_| is_due)?;
        let DropCounts { executions, lines } = self.counts;
        Some(DroppedRecords {
            app: Some(app),
            node: node.to_owned(),
            since,
            until: now(),
            executions,
            log_lines: lines,
        })
    }

    /// Subtracts a written report.
    pub(super) fn reported(&mut self, loss: &DroppedRecords, at: Instant) {
        self.counts.executions -= loss.executions;
        self.counts.lines -= loss.log_lines;
        self.since = (!self.is_empty()).then_some(loss.until);
        self.postpone(at);
    }

    /// Postpones the report.
    pub(super) fn postpone(&mut self, at: Instant) {
        let is_continuing =
            self.reported.is_some_and(|reported| at.duration_since(reported) < self.interval * 2);
        self.interval =
            if is_continuing { (self.interval * 2).min(REPORT_INTERVAL_MAX) } else { REPORT_INTERVAL };
        self.reported = Some(at);
    }

    /// Whether the state is back to the initial one.
    pub(super) fn is_idle(&self, at: Instant) -> bool {
        self.is_empty()
            && self.reported.is_none_or(|reported| at.duration_since(reported) >= self.interval * 2)
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    #[test]
    fn continuing_drops_are_reported_less_often_and_completely() {
        let app = AppId::from_uuid(Uuid::nil());
        let (start, mut drops, mut reported, mut rows) = (Instant::now(), UnreportedDrops::new(), 0, 0);
        for second in 0..3600 {
            let at = start + Duration::from_secs(second);
            drops.add(DropCounts { executions: 1, lines: 2 });
            if let Some(loss) = drops.due(app, "pi", at) {
                drops.add(DropCounts { executions: 5, lines: 0 });
                drops.reported(&loss, at);
                assert_eq!(drops.counts, DropCounts { executions: 5, lines: 0 }, "dropped meanwhile");
                drops.counts = DropCounts::default();
                drops.since = None;
                (reported, rows) = (reported + loss.executions, rows + 1);
            }
        }
        assert!((3000..3600).contains(&reported), "{reported} were reported");
        assert!((10..15).contains(&rows), "{rows} rows in an hour");
        let later = start + Duration::from_secs(2 * 3600);
        assert!(drops.is_idle(later) || !drops.is_empty());
        drops.add(DropCounts { executions: 1, lines: 0 });
        let loss = drops.due(app, "pi", later).unwrap();
        drops.reported(&loss, later);
        assert_eq!(drops.interval, REPORT_INTERVAL, "the interval is reset after a pause");
    }
}
