//! Maintenance: records runs of dead nodes as lost, and prunes old rows.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use store::{LostRun, RUN_PRUNE_BATCH, RunKey, RunOutcome, ScheduleId, StoreError};

use super::lease::LEASE_RENEWAL_INTERVAL;
use super::{LEASE, Scheduler};

/// How often leases are checked while schedules are enabled and nothing is due.
const LEASE_CHECK_INTERVAL: TimeDelta = TimeDelta::seconds(60);

/// The delay between two checks of an expired lease. After a database outage, living nodes renew theirs in
/// between.
const SECOND_CHECK_DELAY: Duration = LEASE_RENEWAL_INTERVAL.saturating_mul(2);

/// How often old rows are pruned; the first time this long after the start.
const PRUNE_INTERVAL: TimeDelta = TimeDelta::hours(1);

/// How long the state keeps which scheduled runs it has committed. Leases are checked right after a start, and rows are
/// pruned for the first time an hour later.
const RESULT_RETENTION: TimeDelta = TimeDelta::hours(1);

/// The times of the next maintenance.
#[derive(Debug, Default)]
pub(super) struct Maintenance(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    /// The last check of leases.
    last_check: Option<DateTime<Utc>>,
    /// The next check of leases, while runs are active.
    next_check: Option<DateTime<Utc>>,
    /// Whether a check is running.
    is_checking: bool,
    /// Since when a lease is known to have expired.
    expired_since: Option<DateTime<Utc>>,
    /// The next pruning.
    next_prune: Option<DateTime<Utc>>,
}

impl Maintenance {
    /// When maintenance is due, independent of due times.
    pub(super) fn next(&self, scheduled: bool) -> Option<DateTime<Utc>> {
        self.with(|state| {
            state.next_check.or_else(|| {
                state.last_check.filter(|_| scheduled).map(|last_check| last_check + LEASE_CHECK_INTERVAL)
            })
        })
    }

    /// Whether leases have to be checked now; marks the check as running.
    fn lease_check_due(&self, now: DateTime<Utc>, scheduled: bool) -> bool {
        self.with(|state| {
            if state.is_checking {
                return false;
            }
            // Times that far ahead are from before the clock was set back.
            let is_due = state
                .next_check
                .is_some_and(|next_check| next_check <= now || next_check > now + NEXT_CHECK_MAX);
            let is_overdue = match state.last_check {
                Some(last_check) => scheduled && (last_check > now || now - last_check >= LEASE_DELTA),
                None => true,
            };
            if is_due || (state.next_check.is_none() && is_overdue) {
                (state.last_check, state.next_check, state.is_checking) = (Some(now), None, true);
                return true;
            }
            false
        })
    }

    /// Whether a check is running.
    #[cfg(test)]
    pub(super) fn is_checking(&self) -> bool {
        self.with(|state| state.is_checking)
    }

    fn prune_due(&self, now: DateTime<Utc>) -> bool {
        self.with(|state| {
            let is_due = state.next_prune.is_some_and(|next_prune| next_prune <= now);
            if is_due || state.next_prune.is_none_or(|next_prune| next_prune > now + PRUNE_INTERVAL) {
                state.next_prune = Some(now + PRUNE_INTERVAL);
            }
            is_due
        })
    }

    fn with<T>(&self, work: impl FnOnce(&mut State) -> T) -> T {
        work(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// The maximum time until the next check.
const NEXT_CHECK_MAX: TimeDelta = TimeDelta::minutes(3);

const LEASE_DELTA: TimeDelta = TimeDelta::seconds(LEASE.as_secs().cast_signed());

impl Scheduler {
    /// Runs maintenance that is due; `scheduled`: any schedule is enabled.
    pub(super) fn run_maintenance(&self, now: DateTime<Utc>, scheduled: bool) {
        if self.0.maintenance.lease_check_due(now, scheduled) {
            let scheduler = self.clone();
            tokio::spawn(async move { scheduler.check_leases(now).await });
        }
        if self.0.maintenance.prune_due(now) {
            let scheduler = self.clone();
            tokio::spawn(async move {
                if let Err(error) = scheduler.prune_runs().await {
                    tracing::warn!(%error, "cannot prune schedule runs");
                }
            });
        }
    }

    /// Records runs with expired leases as lost, and plans the next check.
    async fn check_leases(&self, now: DateTime<Utc>) {
        let expired_since = self
            .0
            .maintenance
            .with(|state| state.expired_since)
            .filter(|expired_since| *expired_since <= now);
        let second = expired_since.is_some_and(|expired_since| {
            (now - expired_since).to_std().is_ok_and(|passed| passed >= SECOND_CHECK_DELAY)
        });
        let (expired_since, next_check) = match self.first_end(now, second).await {
            Ok(Some(end)) if end <= now => {
                (expired_since.filter(|_| !second).or(Some(now)), Some(now + SECOND_CHECK_DELAY))
            }
            Ok(Some(end)) => (None, Some(end)),
            Ok(None) => (None, None),
            Err(error) => {
                tracing::warn!(%error, "cannot check leases of runs, will retry");
                (None, Some(now + LEASE))
            }
        };
        self.0.maintenance.with(|state| {
            (state.expired_since, state.next_check, state.is_checking) = (expired_since, next_check, false)
        });
        self.arm();
    }

    /// The end of the first lease; before that records runs with expired leases as lost if `mark_lost`.
    async fn first_end(
        &self,
        now: DateTime<Utc>,
        mark_lost: bool,
    ) -> Result<Option<DateTime<Utc>>, StoreError> {
        if mark_lost {
            for run in self.0.store.mark_lost_runs(now).await? {
                let LostRun { run: RunKey { schedule, due_at, .. }, node, outcome } = run;
                let ScheduleId { app, branch, name } = schedule;
                match outcome {
                    RunOutcome::Lost => {
                        tracing::error!(app = %app.as_uuid(), branch, schedule = %name, due = %due_at, node, "run lost: its lease expired")
                    }
                    _ => {
                        tracing::warn!(app = %app.as_uuid(), branch, schedule = %name, due = %due_at, node, "run succeeded: what it changed is stored, but its lease expired")
                    }
                }
            }
        }
        self.0.store.next_lease_end(now).await
    }

    /// Prunes old rows in batches.
    async fn prune_runs(&self) -> Result<(), StoreError> {
        // Without a trusted time, only the number of rows applies.
        let now = self.0.clock.retention_now(&self.0.store).await?.unwrap_or_default();
        let before =
            TimeDelta::from_std(self.0.limits.keep_for).ok().and_then(|age| now.checked_sub_signed(age));
        let before = before.unwrap_or(DateTime::UNIX_EPOCH);
        for schedule in self.0.store.all_schedules().await? {
            let prune = || self.0.store.prune_runs(&schedule, self.0.limits.keep, before);
            while prune().await? >= u64::from(RUN_PRUNE_BATCH) {}
        }
        self.0.store.delete_stale_schedules().await?;
        // They are of use until the lease of their run has expired.
        self.0.store.prune_state(now - RESULT_RETENTION).await?;
        Ok(())
    }
}
