//! Misfires: which due times have passed since the last evaluation, and what to do about them.
//!
//! Only the clock, the row and the expression matter. Of several due times only the last one is considered,
//! and one row stands for all of them:
//!
//! - up to [`MISFIRE_THRESHOLD`] late, it runs;
//! - later, it is missed. With `catch_up = "once"` it still runs within the catch-up window; otherwise the
//!   row has the reason.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use manifest_schema::cron::Cron;
use manifest_schema::manifest::CatchUp;
use store::{DueRange, RunOutcome};

/// A run up to this late is not missed.
pub(super) const MISFIRE_THRESHOLD: TimeDelta = TimeDelta::seconds(60);

/// The maximum count of due times in one row; one more means "more".
pub(super) const COUNTED_MAX: u32 = 1000;

/// Up to this backward jump, schedules wait for the clock, however many due times that skips.
const BACKWARD_JUMP_WAIT_MIN: TimeDelta = TimeDelta::seconds(15);

/// Beyond this backward jump the clock was wrong before, and schedules do not wait.
const BACKWARD_JUMP_WAIT_MAX: TimeDelta = TimeDelta::hours(3);

/// Passed due times.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct DueRun {
    /// The due times.
    pub(super) due: DueRange,
    /// The outcome and reason if none is run; `None`: the last one runs.
    pub(super) unrun: Option<(RunOutcome, String)>,
}

/// The due run at `now` of a schedule evaluated up to `since`.
pub(super) fn due_run(
    cron: &Cron,
    catch_up: CatchUp,
    since: DateTime<Utc>,
    now: DateTime<Utc>,
    window: Duration,
) -> Option<DueRun> {
    let due = due_times(cron, since, now)?;
    let late = now - due.last;
    let missed = if late <= MISFIRE_THRESHOLD {
        None
    } else if catch_up == CatchUp::None {
        Some("missed, and catch_up is \"none\"".to_owned())
    } else if late.to_std().is_ok_and(|late| late > window) {
        Some(format!("missed by more than {} minutes", window.as_secs() / 60))
    } else {
        None
    };
    Some(DueRun { due, unrun: missed.map(|reason| (RunOutcome::Missed, reason)) })
}

/// The due times after `since` and up to `now`.
pub(super) fn due_times(cron: &Cron, since: DateTime<Utc>, now: DateTime<Utc>) -> Option<DueRange> {
    let first = cron.next_after(since).filter(|first| *first <= now)?;
    let last = cron.prev_or_at(now).filter(|last| *last >= first)?;
    let all = std::iter::successors(Some(first), |due| cron.next_after(*due).filter(|due| *due <= last));
    let count = all.take(COUNTED_MAX as usize + 1).count();
    Some(DueRange { first, last, count: u32::try_from(count).unwrap_or(u32::MAX) })
}

/// How far ahead of the clock `evaluated_until` can be after the clock was set back. The schedule waits until
/// the clock has caught up if that skips at most one due time, which already ran: a daily run does not
/// repeat. Otherwise it continues with the current clock.
pub(super) fn future_max(cron: &Cron, now: DateTime<Utc>) -> TimeDelta {
    let second = cron.next_after(now).and_then(|due| cron.next_after(due));
    second.map_or(BACKWARD_JUMP_WAIT_MAX, |second| {
        (second - now).clamp(BACKWARD_JUMP_WAIT_MIN, BACKWARD_JUMP_WAIT_MAX)
    })
}

/// The evaluation time, or now if it is too far in the future after the clock was set back.
pub(super) fn clamp_future(cron: &Cron, since: DateTime<Utc>, now: DateTime<Utc>) -> DateTime<Utc> {
    let is_ahead = since > now + BACKWARD_JUMP_WAIT_MIN;
    if is_ahead && since > now + future_max(cron, now) { now } else { since }
}

#[cfg(test)]
mod tests {
    use manifest_schema::zone::Zone;

    use super::*;

    const DAY: Duration = Duration::from_secs(24 * 60 * 60);

    fn at(text: &str) -> DateTime<Utc> {
        format!("2026-05-{text}Z").parse().unwrap()
    }

    fn cron(expression: &str) -> Cron {
        Cron::parse(expression, Zone::utc()).unwrap()
    }

    fn five(catch_up: CatchUp, since: &str, now: &str) -> Option<DueRun> {
        due_run(&cron("*/5 * * * *"), catch_up, at(since), at(now), DAY)
    }

    fn runs(first: &str, last: &str, count: u32) -> Option<DueRun> {
        Some(DueRun { due: DueRange { first: at(first), last: at(last), count }, unrun: None })
    }

    #[test]
    fn schedule_not_due_has_no_due_run() {
        assert_eq!(five(CatchUp::Once, "01T12:00:00", "01T12:04:59"), None);
        assert_eq!(five(CatchUp::Once, "01T12:05:00", "01T12:05:30"), None);
    }

    #[test]
    fn due_run_starts_within_misfire_threshold() {
        for catch_up in [CatchUp::Once, CatchUp::None] {
            for now in ["01T12:05:00", "01T12:06:00"] {
                assert_eq!(five(catch_up, "01T12:00:00", now), runs("01T12:05:00", "01T12:05:00", 1));
            }
        }
    }

    #[test]
    fn last_due_time_stands_for_all() {
        assert_eq!(five(CatchUp::None, "01T11:00:00", "01T12:05:30"), runs("01T11:05:00", "01T12:05:00", 13));
    }

    #[test]
    fn missed_run_is_caught_up_within_window() {
        assert_eq!(five(CatchUp::Once, "01T12:00:00", "01T12:08:00"), runs("01T12:05:00", "01T12:05:00", 1));
        let none = five(CatchUp::None, "01T12:00:00", "01T12:08:00").unwrap();
        assert_eq!(none.unrun.unwrap().1, "missed, and catch_up is \"none\"");
        let noon = cron("0 12 * * *");
        let late = |now| {
            due_run(&noon, CatchUp::Once, at("01T00:00:00"), at(now), Duration::from_secs(3600)).unwrap()
        };
        assert_eq!(late("01T13:00:00").unrun, None);
        assert_eq!(late("01T13:00:01").unrun.unwrap().1, "missed by more than 60 minutes");
    }

    #[test]
    fn due_times_are_counted_up_to_maximum() {
        let second = cron("* * * * * *");
        let now = at("01T00:00:00");
        let all = due_run(&second, CatchUp::Once, now - TimeDelta::days(365), now, DAY).unwrap();
        assert_eq!((all.due.last, all.due.count, all.unrun), (now, COUNTED_MAX + 1, None));
        let all = due_times(&second, now - TimeDelta::seconds(i64::from(COUNTED_MAX)), now).unwrap();
        assert_eq!(all.count, COUNTED_MAX);
    }

    #[test]
    fn backward_jump_repeats_run_only_to_avoid_standstill() {
        let now = at("01T11:00:00");
        let continues =
            |expression: &str, since: &str| clamp_future(&cron(expression), at(since), now) == now;
        for (expression, waits, repeats) in [
            ("* * * * * *", "01T11:00:15", "01T11:00:16"),
            ("*/5 * * * *", "01T11:10:00", "01T11:10:01"),
            ("0 * * * *", "01T13:00:00", "01T13:00:01"),
            ("0 3 * * *", "01T14:00:00", "01T14:00:01"),
            ("0 3 29 2 *", "01T14:00:00", "01T14:00:01"),
        ] {
            assert!(!continues(expression, waits), "{expression} repeats {waits}");
            assert!(continues(expression, repeats), "{expression} waits for {repeats}");
        }
    }
}
