//! The clock for schedules and retention, and checks of its plausibility.
//!
//! Nodes that share a PostgreSQL use its clock: [`Clock::now`] is the last time reported by the database plus
//! the monotonic time since. Otherwise it is the system clock. The system clock is compared with the
//! monotonic clock ([`Clock::poll`]) whenever the node wakes up anyway, so nothing polls periodically.
//!
//! Schedules follow a clock that is set forward or back. Retention does not: see [`Clock::retention_now`].

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use chrono::{DateTime, TimeDelta, Utc};
use rustix::time::{ClockId, clock_gettime};
use store::{Store, StoreError};

/// Smaller deviations are not jumps, since reading two clocks takes time.
const JUMP_MIN: TimeDelta = TimeDelta::seconds(2);

/// The skew between system clock and database clock that is logged.
const SKEW_WARN: TimeDelta = TimeDelta::seconds(5);

/// The skew or forward jump that pauses retention.
const RETENTION_SKEW_MAX: TimeDelta = TimeDelta::minutes(5);

/// A clock that was not set forward for this long is trusted.
const STEADY_MIN: TimeDelta = TimeDelta::days(7);

/// The clock of a node. Cheap to clone; clones share their state.
#[derive(Clone, Debug, Default)]
pub struct Clock(Arc<Mutex<State>>);

/// The state of the clock, see [`Clock::status`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClockStatus {
    /// The last jump of the system clock while the node was running.
    pub last_jump: Option<Jump>,
    /// The number of jumps.
    pub jumps: u64,
    /// How far the system clock is ahead of the database's, if the database has one.
    pub skew: Option<TimeDelta>,
    /// Why retention is paused; [`RetentionPaused::Gap`] is as of the last attempt.
    pub retention_paused: Option<RetentionPaused>,
}

/// A jump of the system clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Jump {
    /// The time after the jump.
    pub at: DateTime<Utc>,
    /// The size; negative if it was set back.
    pub by: TimeDelta,
}

/// Why retention is paused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RetentionPaused {
    /// System clock and database clock disagree.
    #[error("the system clock and the database clock differ by {}", format_duration(*.0))]
    Skewed(TimeDelta),
    /// The clock was set forward.
    #[error("the system clock was set forward by {} less than a week ago", format_duration(*.0))]
    SetForward(TimeDelta),
    /// The database has no history from before this process.
    #[error("the database has no entry from the week before last, and the node has run for less than a week")]
    Gap,
}

#[derive(Debug)]
struct State {
    /// The system time minus the time since boot. It changes when the system clock is set.
    offset: TimeDelta,
    /// The same for the database clock, as of its last report.
    database: Option<TimeDelta>,
    /// The number of jumps of [`Clock::now`].
    changes: u64,
    jumps: u64,
    last_jump: Option<Jump>,
    /// The last trusted offset, and since when the current one has been in place.
    trusted: TimeDelta,
    steady_since: TimeDelta,
    /// The time of the latest database entry at start, if it was in the future.
    latest_future_entry: Option<DateTime<Utc>>,
    skew_logged: bool,
    paused: Option<RetentionPaused>,
}

impl Default for State {
    fn default() -> Self {
        let (boot, offset) = read();
        Self {
            offset,
            database: None,
            changes: 0,
            jumps: 0,
            last_jump: None,
            trusted: offset,
            steady_since: boot,
            latest_future_entry: None,
            skew_logged: false,
            paused: None,
        }
    }
}

impl Clock {
    /// The current time: the database's if known, else the system's.
    pub fn now(&self) -> DateTime<Utc> {
        self.state().now()
    }

    /// Checks the system clock for jumps. Returns the number of jumps of [`Clock::now`] so far.
    pub fn poll(&self) -> u64 {
        let mut state = self.state();
        state.poll();
        state.changes
    }

    /// Records that the database clock shows `time`.
    pub fn set_database_time(&self, time: DateTime<Utc>) {
        let mut state = self.state();
        state.poll();
        state.set_database_time(time);
    }

    /// Records the time of the latest entry in the database.
    pub fn latest_entry(&self, latest: DateTime<Utc>) {
        let mut state = self.state();
        state.latest_future_entry = Some(latest).filter(|latest| *latest > state.now());
    }

    /// The state of the clock.
    pub fn status(&self) -> ClockStatus {
        let mut state = self.state();
        state.poll();
        let gap = state.paused.filter(|paused| *paused == RetentionPaused::Gap);
        let retention_paused = state.distrust().or(gap);
        ClockStatus { last_jump: state.last_jump, jumps: state.jumps, skew: state.skew(), retention_paused }
    }

    /// The time for retention; `None` while the clock is not trusted:
    ///
    /// - It differs from the database clock by minutes.
    /// - It was set forward while the node was running, and has neither been set back nor run for a week
    ///   since. If it was behind the latest entry at start and caught up, the jump was a correction.
    /// - The node has run for less than a week, and the database has older entries but none from the week
    ///   before last.
    ///
    /// # Errors
    /// The database failed.
    pub async fn retention_now(&self, store: &Store) -> Result<Option<DateTime<Utc>>, StoreError> {
        let (now, mut paused, is_steady) = {
            let mut state = self.state();
            state.poll();
            (state.now(), state.distrust(), state.is_steady())
        };
        if paused.is_none() && !is_steady && !store.has_continuous_history(now).await? {
            paused = Some(RetentionPaused::Gap);
        }
        let before = std::mem::replace(&mut self.state().paused, paused);
        match (before, paused) {
            (None, Some(reason)) => {
                tracing::warn!("retention paused; records, audit events and previews are kept: {reason}")
            }
            (Some(_), None) => tracing::info!("retention resumed"),
            _ => {}
        }
        Ok(paused.is_none().then_some(now))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn now(&self) -> DateTime<Utc> {
        let (boot, offset) = read();
        DateTime::UNIX_EPOCH + boot + self.database.unwrap_or(offset)
    }

    fn poll(&mut self) {
        let (boot, offset) = read();
        self.observe(boot, offset);
    }

    /// Handles a reading of the system clock.
    fn observe(&mut self, boot: TimeDelta, offset: TimeDelta) {
        let by = offset - self.offset;
        // Smaller deviations accumulate until they count as a jump.
        if by.abs() < JUMP_MIN {
            return;
        }
        self.offset = offset;
        let at = DateTime::UNIX_EPOCH + boot + offset;
        self.jumps += 1;
        self.last_jump = Some(Jump { at, by });
        if self.database.is_none() {
            self.changes += 1;
        }
        let direction = if by > TimeDelta::zero() { "forward" } else { "back" };
        tracing::warn!(
            "the system clock was set {direction} by {}, to {}",
            format_duration(by),
            at.format("%Y-%m-%dT%H:%M:%SZ")
        );
        if self.latest_future_entry.is_some_and(|latest| latest <= at) {
            (self.latest_future_entry, self.trusted) = (None, offset);
        }
        if by > TimeDelta::zero() {
            self.steady_since = boot;
        }
    }

    fn set_database_time(&mut self, time: DateTime<Utc>) {
        let (boot, _) = read();
        let database = time - DateTime::UNIX_EPOCH - boot;
        if self.database.is_none_or(|known| (database - known).abs() >= JUMP_MIN) {
            self.changes += 1;
        }
        self.database = Some(database);
        let skew = self.offset - database;
        let is_apart = skew.abs() > SKEW_WARN;
        if is_apart && !self.skew_logged {
            tracing::warn!(
                "the system clock is {} {} the database clock, which schedules follow; correct the wrong one",
                format_duration(skew),
                if skew > TimeDelta::zero() { "ahead of" } else { "behind" },
            );
        }
        self.skew_logged = is_apart;
    }

    fn skew(&self) -> Option<TimeDelta> {
        self.database.map(|database| self.offset - database)
    }

    /// Why the clock is not trusted for retention, as far as this process knows.
    fn distrust(&mut self) -> Option<RetentionPaused> {
        if self.is_steady() {
            self.trusted = self.offset;
        }
        let skew = self.skew().filter(|skew| skew.abs() > RETENTION_SKEW_MAX).map(RetentionPaused::Skewed);
        let ahead = self.offset - self.trusted;
        skew.or_else(|| (ahead > RETENTION_SKEW_MAX).then_some(RetentionPaused::SetForward(ahead)))
    }

    /// Whether the clock ran for long without being set forward.
    fn is_steady(&self) -> bool {
        read().0 - self.steady_since >= STEADY_MIN
    }
}

/// The time since boot, and the offset of the system clock from it.
fn read() -> (TimeDelta, TimeDelta) {
    let mut read = since_boot();
    loop {
        let shown = Utc::now() - DateTime::UNIX_EPOCH;
        let after = since_boot();
        // If interrupted between the two reads, read again.
        if after - read < JUMP_MIN / 2 {
            return (after, shown - after);
        }
        read = after;
    }
}

/// Includes the time while the machine is suspended.
fn since_boot() -> TimeDelta {
    let time = clock_gettime(ClockId::Boottime);
    TimeDelta::seconds(time.tv_sec) + TimeDelta::nanoseconds(time.tv_nsec)
}

/// Formats a duration without its sign in its two largest units, rounded to seconds.
pub fn format_duration(duration: TimeDelta) -> String {
    let seconds = (duration.abs() + TimeDelta::milliseconds(500)).num_seconds();
    let parts = [
        (seconds / 86_400, "d"),
        (seconds / 3600 % 24, "h"),
        (seconds / 60 % 60, "min"),
        (seconds % 60, "s"),
    ];
    let parts: Vec<_> = parts.into_iter().skip_while(|(number, _)| *number == 0).take(2).collect();
    match parts.is_empty() {
        true => "0 s".to_owned(),
        false => {
            parts.into_iter().map(|(number, unit)| format!("{number} {unit}")).collect::<Vec<_>>().join(" ")
        }
    }
}

#[cfg(test)]
mod tests {
    use store::Location;

    use super::*;

    /// Sets the system clock by `by`; it is read `steady` later.
    fn set(clock: &Clock, by: TimeDelta, steady: TimeDelta) {
        let mut state = clock.state();
        let (boot, offset) = (read().0, state.offset);
        state.observe(boot - steady, offset + by);
    }

    fn distrust(clock: &Clock) -> Option<RetentionPaused> {
        clock.state().distrust()
    }

    #[test]
    fn clock_detects_jumps_in_both_directions() {
        let clock = Clock::default();
        let before = clock.poll();
        set(&clock, TimeDelta::milliseconds(1500), TimeDelta::zero());
        assert_eq!(clock.state().jumps, 0);
        set(&clock, TimeDelta::hours(-5), TimeDelta::zero());
        let state = clock.state();
        assert_eq!((state.jumps, state.changes), (1, before + 1));
        let jump = state.last_jump.unwrap();
        assert_eq!(jump.by, TimeDelta::hours(-5));
        assert!((jump.at - (Utc::now() - TimeDelta::hours(5))).abs() < TimeDelta::minutes(1), "{jump:?}");
    }

    #[test]
    fn database_clock_takes_precedence_over_system_clock() {
        let clock = Clock::default();
        let time = Utc::now() - TimeDelta::seconds(200);
        clock.set_database_time(time);
        let known = clock.state().changes;
        set(&clock, TimeDelta::days(3650), TimeDelta::zero());
        assert!((clock.now() - time).abs() < TimeDelta::minutes(1));
        assert_eq!(clock.state().changes, known);
        // The system clock is read again here; it was not really set.
        assert_eq!(clock.status().skew.map(|skew| (skew.num_seconds() + 5) / 10), Some(20));
        clock.set_database_time(time - TimeDelta::hours(5));
        assert_eq!(clock.state().changes, known + 1);
        assert!((clock.now() - (time - TimeDelta::hours(5))).abs() < TimeDelta::minutes(1));
    }

    #[test]
    fn retention_pauses_after_forward_jump_until_clock_is_trusted() {
        let clock = Clock::default();
        let years = TimeDelta::days(3650);
        set(&clock, years, TimeDelta::zero());
        assert_eq!(distrust(&clock), Some(RetentionPaused::SetForward(years)));
        set(&clock, -years, TimeDelta::zero());
        assert_eq!(distrust(&clock), None, "set back");
        set(&clock, years, TimeDelta::days(6));
        assert!(distrust(&clock).is_some());
        clock.state().steady_since -= TimeDelta::days(1);
        assert_eq!(distrust(&clock), None, "not set for a week");
        set(&clock, -years, TimeDelta::zero());
        assert_eq!(distrust(&clock), None, "a clock that is behind prunes nothing");
    }

    #[test]
    fn clock_behind_database_at_start_can_be_corrected() {
        let clock = Clock::default();
        clock.latest_entry(Utc::now() + TimeDelta::days(365));
        set(&clock, TimeDelta::days(364), TimeDelta::zero());
        assert!(distrust(&clock).is_some());
        set(&clock, TimeDelta::days(2), TimeDelta::zero());
        assert_eq!(distrust(&clock), None);
    }

    #[test]
    fn retention_pauses_while_clocks_disagree() {
        let clock = Clock::default();
        clock.set_database_time(Utc::now() + TimeDelta::hours(1));
        assert!(matches!(distrust(&clock), Some(RetentionPaused::Skewed(_))));
        clock.set_database_time(Utc::now() + TimeDelta::minutes(1));
        assert_eq!(distrust(&clock), None);
    }

    #[tokio::test]
    async fn new_database_allows_retention() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(&Location::Sqlite(folder.path().join("picloud.db"))).await.unwrap();
        let clock = Clock::default();
        assert!(clock.retention_now(&store).await.unwrap().is_some());
        clock.set_database_time(Utc::now() + TimeDelta::days(3650));
        assert_eq!(clock.retention_now(&store).await.unwrap(), None);
        assert!(clock.status().retention_paused.is_some());
    }

    #[test]
    fn duration_is_shown_in_its_two_largest_units() {
        for (seconds, text) in
            [(0, "0 s"), (-5 * 3600, "5 h 0 min"), (90, "1 min 30 s"), (864_000, "10 d 0 h")]
        {
            assert_eq!(format_duration(TimeDelta::seconds(seconds)), text);
        }
    }
}
