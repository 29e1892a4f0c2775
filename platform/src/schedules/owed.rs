//! What a schedule owes: which due times have come since it was reckoned last, and what is done about them.
//!
//! Nothing but the clock, the row and the expression decides. Of several due times that have come, the last is looked at,
//! and one row stands for all of them:
//!
//! - up to [`GRACE`] late, it runs, late as it is;
//! - later than that it was missed. With `catch_up = "once"` it runs all the same, if it is not later than the window;
//!   else the row says why not.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use manifest_schema::cron::Cron;
use manifest_schema::manifest::CatchUp;
use store::{DueTimes, RunOutcome};

/// A run that is not later than this is late and was not missed.
pub(super) const GRACE: TimeDelta = TimeDelta::seconds(60);

/// Due times that one row stands for are counted up to here; one more says that they are more.
pub(super) const COUNTED_MAX: u32 = 1000;

/// A clock that is set back by no more than this is waited for, however many due times that leaves out.
const SET_BACK_MIN: TimeDelta = TimeDelta::seconds(15);

/// A clock that is set back by more than this was wrong, and nothing waits for it.
const SET_BACK_MAX: TimeDelta = TimeDelta::hours(3);

/// Due times that have come.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Owed {
    /// Which.
    pub(super) due: DueTimes,
    /// Why none of them is run, and what is recorded; `None`: the last one is run.
    pub(super) left: Option<(RunOutcome, String)>,
}

/// What is owed at `now` of a schedule that was reckoned up to `since`.
pub(super) fn owed(
    cron: &Cron,
    catch_up: CatchUp,
    since: DateTime<Utc>,
    now: DateTime<Utc>,
    window: Duration,
) -> Option<Owed> {
    let due = due_times(cron, since, now)?;
    let late = now - due.last;
    let missed = if late <= GRACE {
        None
    } else if catch_up == CatchUp::None {
        Some("it was not run in time, and catch_up is \"none\"".to_owned())
    } else if late.to_std().is_ok_and(|late| late > window) {
        Some(format!("it was not run within {} minutes", window.as_secs() / 60))
    } else {
        None
    };
    Some(Owed { due, left: missed.map(|reason| (RunOutcome::Missed, reason)) })
}

/// The due times after `since` and up to `now`.
pub(super) fn due_times(cron: &Cron, since: DateTime<Utc>, now: DateTime<Utc>) -> Option<DueTimes> {
    let first = cron.next_after(since).filter(|first| *first <= now)?;
    let last = cron.prev_or_at(now).filter(|last| *last >= first)?;
    let all = std::iter::successors(Some(first), |due| cron.next_after(*due).filter(|due| *due <= last));
    let count = all.take(COUNTED_MAX as usize + 1).count();
    Some(DueTimes { first, last, count: u32::try_from(count).unwrap_or(u32::MAX) })
}

/// How far ahead of the clock a schedule can be reckoned after the clock was set back. It waits until the clock has come that
/// far, as long as that leaves out one due time at most, which was run before: a daily run does not come twice. Where it
/// would stand still for longer, it goes on by the clock as it is now.
pub(super) fn reckoned_ahead_max(cron: &Cron, now: DateTime<Utc>) -> TimeDelta {
    let second = cron.next_after(now).and_then(|due| cron.next_after(due));
    second.map_or(SET_BACK_MAX, |second| (second - now).clamp(SET_BACK_MIN, SET_BACK_MAX))
}

/// Up to when a schedule is reckoned, unless that is of before the clock was set back.
pub(super) fn believed(cron: &Cron, since: DateTime<Utc>, now: DateTime<Utc>) -> DateTime<Utc> {
    let is_ahead = since > now + SET_BACK_MIN;
    if is_ahead && since > now + reckoned_ahead_max(cron, now) { now } else { since }
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

    fn five(catch_up: CatchUp, since: &str, now: &str) -> Option<Owed> {
        owed(&cron("*/5 * * * *"), catch_up, at(since), at(now), DAY)
    }

    fn runs(first: &str, last: &str, count: u32) -> Option<Owed> {
        Some(Owed { due: DueTimes { first: at(first), last: at(last), count }, left: None })
    }

    #[test]
    fn what_is_not_due_yet_is_not_owed() {
        assert_eq!(five(CatchUp::Once, "01T12:00:00", "01T12:04:59"), None);
        assert_eq!(five(CatchUp::Once, "01T12:05:00", "01T12:05:30"), None);
    }

    #[test]
    fn what_is_due_runs_and_a_little_late_it_runs_too() {
        for catch_up in [CatchUp::Once, CatchUp::None] {
            for now in ["01T12:05:00", "01T12:06:00"] {
                assert_eq!(five(catch_up, "01T12:00:00", now), runs("01T12:05:00", "01T12:05:00", 1));
            }
        }
    }

    #[test]
    fn of_several_the_last_runs_and_stands_for_all() {
        assert_eq!(five(CatchUp::None, "01T11:00:00", "01T12:05:30"), runs("01T11:05:00", "01T12:05:00", 13));
    }

    #[test]
    fn what_was_missed_is_caught_up_where_it_is_wanted_and_within_the_window() {
        assert_eq!(five(CatchUp::Once, "01T12:00:00", "01T12:08:00"), runs("01T12:05:00", "01T12:05:00", 1));
        let none = five(CatchUp::None, "01T12:00:00", "01T12:08:00").unwrap();
        assert_eq!(none.left.unwrap().1, "it was not run in time, and catch_up is \"none\"");
        let noon = cron("0 12 * * *");
        let late =
            |now| owed(&noon, CatchUp::Once, at("01T00:00:00"), at(now), Duration::from_secs(3600)).unwrap();
        assert_eq!(late("01T13:00:00").left, None);
        assert_eq!(late("01T13:00:01").left.unwrap().1, "it was not run within 60 minutes");
    }

    #[test]
    fn a_year_of_seconds_is_one_row_and_is_not_counted_to_its_end() {
        let second = cron("* * * * * *");
        let now = at("01T00:00:00");
        let all = owed(&second, CatchUp::Once, now - TimeDelta::days(365), now, DAY).unwrap();
        assert_eq!((all.due.last, all.due.count, all.left), (now, COUNTED_MAX + 1, None));
        let all = due_times(&second, now - TimeDelta::seconds(i64::from(COUNTED_MAX)), now).unwrap();
        assert_eq!(all.count, COUNTED_MAX);
    }

    #[test]
    fn a_clock_that_was_set_back_repeats_a_run_only_where_the_schedule_would_stand_still() {
        let now = at("01T11:00:00");
        let goes_on = |expression: &str, since: &str| believed(&cron(expression), at(since), now) == now;
        for (expression, waits, goes) in [
            ("* * * * * *", "01T11:00:15", "01T11:00:16"),
            ("*/5 * * * *", "01T11:10:00", "01T11:10:01"),
            ("0 * * * *", "01T13:00:00", "01T13:00:01"),
            ("0 3 * * *", "01T14:00:00", "01T14:00:01"),
            ("0 3 29 2 *", "01T14:00:00", "01T14:00:01"),
        ] {
            assert!(!goes_on(expression, waits), "{expression} repeats {waits}");
            assert!(goes_on(expression, goes), "{expression} waits for {goes}");
        }
    }
}
