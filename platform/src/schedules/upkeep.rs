//! What is done now and then: runs of dead nodes are recorded as lost, old rows are deleted.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use store::{PRUNED_AT_ONCE, ScheduleId, StoreError};

use super::running::HEARTBEAT;
use super::{LEASE, Scheduler};

/// How often leases are looked at while something is scheduled and nothing is due.
const LOOK_EVERY: TimeDelta = TimeDelta::seconds(60);

/// A lease that is over is looked at twice, so long apart. Where the database was away, whoever is alive renews it meanwhile.
const SECOND_LOOK: Duration = HEARTBEAT.saturating_mul(2);

/// How often old rows are deleted; the first time so long after the start.
const PRUNE_EVERY: TimeDelta = TimeDelta::hours(1);

/// When what is to be done next.
#[derive(Debug, Default)]
pub(super) struct Upkeep(Mutex<Times>);

#[derive(Debug, Default)]
struct Times {
    /// When leases were looked at last.
    looked: Option<DateTime<Utc>>,
    /// When they are looked at next, where a run goes on.
    look: Option<DateTime<Utc>>,
    /// Whether they are just looked at.
    looking: bool,
    /// Since when a lease is known to be over.
    over: Option<DateTime<Utc>>,
    /// When rows are deleted next.
    prune: Option<DateTime<Utc>>,
}

impl Upkeep {
    /// When something is to be done, due times or not.
    pub(super) fn next(&self, scheduled: bool) -> Option<DateTime<Utc>> {
        self.with(|times| {
            times.look.or_else(|| times.looked.filter(|_| scheduled).map(|looked| looked + LOOK_EVERY))
        })
    }

    /// Whether leases are to be looked at, now that the node is awake. They are then taken to be looked at.
    fn take_look(&self, now: DateTime<Utc>, scheduled: bool) -> bool {
        self.with(|times| {
            if times.looking {
                return false;
            }
            // What is so far ahead is of before the clock was set back.
            let asked = times.look.is_some_and(|look| look <= now || look > now + LOOK_AHEAD_MAX);
            let long_ago = match times.looked {
                Some(looked) => scheduled && (looked > now || now - looked >= LEASE_DELTA),
                None => true,
            };
            if asked || (times.look.is_none() && long_ago) {
                (times.looked, times.look, times.looking) = (Some(now), None, true);
                return true;
            }
            false
        })
    }

    /// Whether leases are just looked at.
    #[cfg(test)]
    pub(super) fn is_looking(&self) -> bool {
        self.with(|times| times.looking)
    }

    fn take_prune(&self, now: DateTime<Utc>) -> bool {
        self.with(|times| {
            let now_it_is = times.prune.is_some_and(|prune| prune <= now);
            if now_it_is || times.prune.is_none_or(|prune| prune > now + PRUNE_EVERY) {
                times.prune = Some(now + PRUNE_EVERY);
            }
            now_it_is
        })
    }

    fn with<T>(&self, work: impl FnOnce(&mut Times) -> T) -> T {
        work(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// How far ahead leases are looked at next, at the most.
const LOOK_AHEAD_MAX: TimeDelta = TimeDelta::minutes(3);

const LEASE_DELTA: TimeDelta = TimeDelta::seconds(LEASE.as_secs().cast_signed());

impl Scheduler {
    /// Does what is to be done by now; more where anything is `scheduled`.
    pub(super) fn keep_up(&self, now: DateTime<Utc>, scheduled: bool) {
        if self.0.upkeep.take_look(now, scheduled) {
            let scheduler = self.clone();
            tokio::spawn(async move { scheduler.look_at_leases(now).await });
        }
        if self.0.upkeep.take_prune(now) {
            let scheduler = self.clone();
            tokio::spawn(async move {
                if let Err(error) = scheduler.prune().await {
                    tracing::warn!(%error, "old rows of schedules' runs are not deleted");
                }
            });
        }
    }

    /// Records runs as lost whose lease is over, and decides when to look again.
    async fn look_at_leases(&self, now: DateTime<Utc>) {
        let over = self.0.upkeep.with(|times| times.over).filter(|over| *over <= now);
        let second = over.is_some_and(|over| (now - over).to_std().is_ok_and(|passed| passed >= SECOND_LOOK));
        let (over, look) = match self.first_end(now, second).await {
            Ok(Some(end)) if end <= now => (over.filter(|_| !second).or(Some(now)), Some(now + SECOND_LOOK)),
            Ok(Some(end)) => (None, Some(end)),
            Ok(None) => (None, None),
            Err(error) => {
                tracing::warn!(%error, "cannot look for runs that were lost");
                (None, Some(now + LEASE))
            }
        };
        self.0.upkeep.with(|times| (times.over, times.look, times.looking) = (over, look, false));
        self.arm();
    }

    /// When the first lease ends, or has ended; after those are recorded as lost that have, if it is time to.
    async fn first_end(&self, now: DateTime<Utc>, lose: bool) -> Result<Option<DateTime<Utc>>, StoreError> {
        if lose {
            for run in self.0.store.lose_runs(now).await? {
                let ScheduleId { app, branch, name } = run.schedule;
                tracing::error!(app = %app.as_uuid(), branch, schedule = %name, due = %run.due, node = run.node, "lost");
            }
        }
        self.0.store.next_lease_end(now).await
    }

    /// Deletes old rows, some at a time.
    async fn prune(&self) -> Result<(), StoreError> {
        // Where nobody knows the time, only the number of rows counts.
        let now = self.0.clock.retention_now(&self.0.store).await?.unwrap_or_default();
        let before =
            TimeDelta::from_std(self.0.limits.keep_for).ok().and_then(|age| now.checked_sub_signed(age));
        let before = before.unwrap_or(DateTime::UNIX_EPOCH);
        for schedule in self.0.store.all_schedules().await? {
            let prune = || self.0.store.prune_runs(&schedule, self.0.limits.keep, before);
            while prune().await? >= u64::from(PRUNED_AT_ONCE) {}
        }
        self.0.store.forget_schedules().await?;
        Ok(())
    }
}
