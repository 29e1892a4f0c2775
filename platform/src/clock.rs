//! The time by which schedules run and old records are deleted, and whether it can be right.
//!
//! Nodes that share a PostgreSQL go by its clock: [`Clock::now`] is what the database said last and what has passed since
//! then, by a clock that nobody can set. Elsewhere it is the clock of this machine. That one is compared with the time that
//! has passed ([`Clock::look`]) whenever something wakes up anyway, so nothing polls.
//!
//! Schedules follow a clock that is set, whichever way. Deletion does not: see [`Clock::retention_now`].

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use chrono::{DateTime, TimeDelta, Utc};
use rustix::time::{ClockId, clock_gettime};
use store::{Store, StoreError};

/// A clock that differs by less from what it should show has not been set. Reading two clocks takes time as well.
const JUMP_MIN: TimeDelta = TimeDelta::seconds(2);

/// How far the clocks of this machine and of the database can be apart before the log says so.
const SKEW_WARN: TimeDelta = TimeDelta::seconds(5);

/// How far a clock can be ahead, of what it was or of the database's, before nothing is deleted by it.
const AHEAD_MAX: TimeDelta = TimeDelta::minutes(5);

/// A clock that nobody has set forward for so long is right.
const STEADY_MIN: TimeDelta = TimeDelta::days(7);

/// The clock of a node. Cheap to clone; all clones are one.
#[derive(Clone, Debug, Default)]
pub struct Clock(Arc<Mutex<State>>);

/// What [`Clock::status`] tells.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClockStatus {
    /// The last time the clock of this machine was set while the node was running.
    pub last_jump: Option<Jump>,
    /// How often it was set.
    pub jumps: u64,
    /// How far the clock of this machine is ahead of the database's, where that has one.
    pub skew: Option<TimeDelta>,
    /// Why nothing is deleted by age now; of a [`RetentionPaused::Gap`], as of when that was to be done last.
    pub retention_paused: Option<RetentionPaused>,
}

/// That the clock of this machine was set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Jump {
    /// What it showed afterwards.
    pub at: DateTime<Utc>,
    /// By how much: negative where it was set back.
    pub by: TimeDelta,
}

/// Why nothing is deleted by age.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RetentionPaused {
    /// The machine and the database disagree.
    #[error("the clock of this machine and that of the database are {} apart", span(*.0))]
    Skewed(TimeDelta),
    /// The clock was set forward.
    #[error("the clock of this machine was set forward by {}, and has not run for a week since", span(*.0))]
    SetForward(TimeDelta),
    /// The database says nothing of the time before this process.
    #[error("the database has no entry of the week before the last, and the node has not run for a week")]
    Gap,
}

#[derive(Debug)]
struct State {
    /// What the clock of this machine shows, minus the time since boot. It changes when that clock is set.
    offset: TimeDelta,
    /// The same of the database's clock, as of when it was asked last.
    database: Option<TimeDelta>,
    /// How often [`Clock::now`] has jumped.
    changes: u64,
    jumps: u64,
    last_jump: Option<Jump>,
    /// The offset that was right as far as anybody knew, and since when the present one has been there.
    trusted: TimeDelta,
    steady_since: TimeDelta,
    /// The time of the latest entry in the database at the start, where that was still to come by the clock.
    behind: Option<DateTime<Utc>>,
    skew_told: bool,
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
            behind: None,
            skew_told: false,
            paused: None,
        }
    }
}

impl Clock {
    /// The time: the database's where it has said it, else that of this machine.
    pub fn now(&self) -> DateTime<Utc> {
        self.state().now()
    }

    /// Takes notice of what has happened to the clock of this machine. Returns how often [`Clock::now`] has jumped up to now.
    pub fn look(&self) -> u64 {
        let mut state = self.state();
        state.look();
        state.changes
    }

    /// The database's clock shows `there`.
    pub fn database_says(&self, there: DateTime<Utc>) {
        let mut state = self.state();
        state.look();
        state.database_says(there);
    }

    /// The latest entry in the database is of `latest`.
    pub fn latest_entry(&self, latest: DateTime<Utc>) {
        let mut state = self.state();
        state.behind = Some(latest).filter(|latest| *latest > state.now());
    }

    /// What has happened to the clock.
    pub fn status(&self) -> ClockStatus {
        let mut state = self.state();
        state.look();
        let gap = state.paused.filter(|paused| *paused == RetentionPaused::Gap);
        let retention_paused = state.doubt().or(gap);
        ClockStatus { last_jump: state.last_jump, jumps: state.jumps, skew: state.skew(), retention_paused }
    }

    /// The time by which old records can be deleted; `None` while the clock cannot be right, or nobody knows whether it is:
    ///
    /// - It is minutes apart from the database's.
    /// - It was set forward while the node was running, and has neither been set back nor run for a week since. Where it was
    ///   behind the latest entry at the start, and is not any more, that has put it right.
    /// - The node has not run for a week, and the database has older entries, but none of the week before the last.
    ///
    /// # Errors
    /// The database failed.
    pub async fn retention_now(&self, store: &Store) -> Result<Option<DateTime<Utc>>, StoreError> {
        let (now, mut paused, is_steady) = {
            let mut state = self.state();
            state.look();
            (state.now(), state.doubt(), state.is_steady())
        };
        if paused.is_none() && !is_steady && !store.has_continuous_history(now).await? {
            paused = Some(RetentionPaused::Gap);
        }
        let before = std::mem::replace(&mut self.state().paused, paused);
        match (before, paused) {
            (None, Some(why)) => {
                tracing::warn!("old records, audit entries and previews are not deleted: {why}")
            }
            (Some(_), None) => tracing::info!("old records are deleted again"),
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

    fn look(&mut self) {
        let (boot, offset) = read();
        self.observe(boot, offset);
    }

    /// The clock of this machine was read.
    fn observe(&mut self, boot: TimeDelta, offset: TimeDelta) {
        let by = offset - self.offset;
        // What is less is kept in mind: many of them make a jump.
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
        let way = if by > TimeDelta::zero() { "forward" } else { "back" };
        tracing::warn!(
            "the clock of this machine was set {way} by {}, to {}",
            span(by),
            at.format("%Y-%m-%dT%H:%M:%SZ")
        );
        if self.behind.is_some_and(|latest| latest <= at) {
            (self.behind, self.trusted) = (None, offset);
        }
        if by > TimeDelta::zero() {
            self.steady_since = boot;
        }
    }

    fn database_says(&mut self, there: DateTime<Utc>) {
        let (boot, _) = read();
        let database = there - DateTime::UNIX_EPOCH - boot;
        if self.database.is_none_or(|known| (database - known).abs() >= JUMP_MIN) {
            self.changes += 1;
        }
        self.database = Some(database);
        let skew = self.offset - database;
        let is_apart = skew.abs() > SKEW_WARN;
        if is_apart && !self.skew_told {
            tracing::warn!(
                "the clock of this machine is {} {} that of the database, by which schedules run: set the one that is wrong",
                span(skew),
                if skew > TimeDelta::zero() { "ahead of" } else { "behind" },
            );
        }
        self.skew_told = is_apart;
    }

    fn skew(&self) -> Option<TimeDelta> {
        self.database.map(|database| self.offset - database)
    }

    /// Why the clock is not one to delete by, as far as this process knows.
    fn doubt(&mut self) -> Option<RetentionPaused> {
        if self.is_steady() {
            self.trusted = self.offset;
        }
        let skew = self.skew().filter(|skew| skew.abs() > AHEAD_MAX).map(RetentionPaused::Skewed);
        let ahead = self.offset - self.trusted;
        skew.or_else(|| (ahead > AHEAD_MAX).then_some(RetentionPaused::SetForward(ahead)))
    }

    /// Whether nobody has set the clock forward for long, while the node was running.
    fn is_steady(&self) -> bool {
        read().0 - self.steady_since >= STEADY_MIN
    }
}

/// The time since boot, and how far the clock of this machine is ahead of it.
fn read() -> (TimeDelta, TimeDelta) {
    let mut read = since_boot();
    loop {
        let shown = Utc::now() - DateTime::UNIX_EPOCH;
        let after = since_boot();
        // Whoever is interrupted between the two reads them again.
        if after - read < JUMP_MIN / 2 {
            return (after, shown - after);
        }
        read = after;
    }
}

/// It goes on while the machine is suspended.
fn since_boot() -> TimeDelta {
    let time = clock_gettime(ClockId::Boottime);
    TimeDelta::seconds(time.tv_sec) + TimeDelta::nanoseconds(time.tv_nsec)
}

/// A span of time to the second, without its sign, in the two largest units that it has.
pub fn span(span: TimeDelta) -> String {
    let seconds = (span.abs() + TimeDelta::milliseconds(500)).num_seconds();
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

    /// The clock of this machine is set by so much, `steady` after that it is looked at.
    fn set(clock: &Clock, by: TimeDelta, steady: TimeDelta) {
        let mut state = clock.state();
        let (boot, offset) = (read().0, state.offset);
        state.observe(boot - steady, offset + by);
    }

    fn doubt(clock: &Clock) -> Option<RetentionPaused> {
        clock.state().doubt()
    }

    #[test]
    fn a_clock_that_is_set_is_noticed_whichever_way_and_however_slowly() {
        let clock = Clock::default();
        let before = clock.look();
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
    fn beside_a_database_the_clock_of_the_machine_changes_nothing() {
        let clock = Clock::default();
        let there = Utc::now() - TimeDelta::seconds(200);
        clock.database_says(there);
        let known = clock.state().changes;
        set(&clock, TimeDelta::days(3650), TimeDelta::zero());
        assert!((clock.now() - there).abs() < TimeDelta::minutes(1));
        assert_eq!(clock.state().changes, known);
        // This one is looked at anew, and has not been set really.
        assert_eq!(clock.status().skew.map(|skew| (skew.num_seconds() + 5) / 10), Some(20));
        clock.database_says(there - TimeDelta::hours(5));
        assert_eq!(clock.state().changes, known + 1);
        assert!((clock.now() - (there - TimeDelta::hours(5))).abs() < TimeDelta::minutes(1));
    }

    #[test]
    fn nothing_is_deleted_by_a_clock_that_was_set_forward_until_it_is_right() {
        let clock = Clock::default();
        let years = TimeDelta::days(3650);
        set(&clock, years, TimeDelta::zero());
        assert_eq!(doubt(&clock), Some(RetentionPaused::SetForward(years)));
        set(&clock, -years, TimeDelta::zero());
        assert_eq!(doubt(&clock), None, "set back");
        set(&clock, years, TimeDelta::days(6));
        assert!(doubt(&clock).is_some());
        clock.state().steady_since -= TimeDelta::days(1);
        assert_eq!(doubt(&clock), None, "nobody has set it for a week");
        set(&clock, -years, TimeDelta::zero());
        assert_eq!(doubt(&clock), None, "a clock that is behind deletes nothing");
    }

    #[test]
    fn a_clock_that_was_behind_the_database_at_the_start_is_put_right() {
        let clock = Clock::default();
        clock.latest_entry(Utc::now() + TimeDelta::days(365));
        set(&clock, TimeDelta::days(364), TimeDelta::zero());
        assert!(doubt(&clock).is_some());
        set(&clock, TimeDelta::days(2), TimeDelta::zero());
        assert_eq!(doubt(&clock), None);
    }

    #[test]
    fn nothing_is_deleted_while_machine_and_database_disagree() {
        let clock = Clock::default();
        clock.database_says(Utc::now() + TimeDelta::hours(1));
        assert!(matches!(doubt(&clock), Some(RetentionPaused::Skewed(_))));
        clock.database_says(Utc::now() + TimeDelta::minutes(1));
        assert_eq!(doubt(&clock), None);
    }

    #[tokio::test]
    async fn a_young_database_is_one_to_delete_from() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(&Location::Sqlite(folder.path().join("picloud.db"))).await.unwrap();
        let clock = Clock::default();
        assert!(clock.retention_now(&store).await.unwrap().is_some());
        clock.database_says(Utc::now() + TimeDelta::days(3650));
        assert_eq!(clock.retention_now(&store).await.unwrap(), None);
        assert!(clock.status().retention_paused.is_some());
    }

    #[test]
    fn a_span_has_its_two_largest_units() {
        for (seconds, words) in
            [(0, "0 s"), (-5 * 3600, "5 h 0 min"), (90, "1 min 30 s"), (864_000, "10 d 0 h")]
        {
            assert_eq!(span(TimeDelta::seconds(seconds)), words);
        }
    }
}
