//! The hold on the schedules of all apps after a restore, and its release.
//!
//! Claims are rejected on every node while the row exists. After its removal each node continues with the
//! next due time of each schedule.

use std::collections::HashSet;
use std::sync::atomic::Ordering;

use crate::live::Live;
use manifest_schema::cron::Cron;
use manifest_schema::zone::zone_data;
use store::{
    Actor, AuditAction, AuditEvent, ResumedSchedule, RunOutcome, ScheduleHold, ScheduleId, ScheduleState,
    StoreError, UnrunDueTimes,
};
use uuid::Uuid;

use super::Scheduler;
use super::misfire::{clamp_future, due_times};

/// The subject in the audit log.
const AUDIT_SUBJECT: &str = "all";

impl Scheduler {
    /// The hold on the schedules of all apps, if any.
    ///
    /// # Errors
    /// The store failed.
    pub async fn schedule_hold(&self) -> Result<Option<ScheduleHold>, StoreError> {
        self.0.store.schedule_hold().await
    }

    /// Resumes the schedules of all apps on all nodes: one row each records the skipped due times. Paused
    /// schedules stay paused, undeclared ones are left out. Returns the number of schedules; `None`: they
    /// were not held.
    ///
    /// # Errors
    /// The store failed. They are still held.
    pub async fn resume_all(&self, by: &Actor) -> Result<Option<usize>, StoreError> {
        let Some(hold) = self.schedule_hold().await? else { return Ok(None) };
        let now = self.now();
        let event =
            AuditEvent { at: now, ..AuditEvent::new(by, AuditAction::ScheduleResume, None, AUDIT_SUBJECT) };
        let skipped = |state: &ScheduleState| {
            let cron = Cron::parse(&state.cron, zone_data().find(&state.timezone).0?).ok()?;
            let due = due_times(&cron, clamp_future(&cron, state.evaluated_until, now), now)?;
            let since = hold.since.format("%Y-%m-%dT%H:%M:%SZ");
            let reason = format!("schedules were held since {since} by {}", hold.cause);
            Some(UnrunDueTimes { due, outcome: RunOutcome::Skipped, reason })
        };
        let all = self.0.store.active_schedules().await?;
        let live = self.0.table.scheduled();
        let branches: HashSet<_> = live.iter().map(|live| branch_key(live)).collect();
        let declared: HashSet<_> = live
            .iter()
            .flat_map(|live| {
                live.revision.manifest().schedules.iter().map(|one| (branch_key(live), &one.name))
            })
            .collect();
        // The declarations of a branch that this node cannot serve are unknown here.
        let is_declared = |schedule: &ScheduleId| {
            let branch_key = (schedule.app.as_uuid(), schedule.branch.as_str());
            !branches.contains(&branch_key) || declared.contains(&(branch_key, &schedule.name))
        };
        let resumed: Vec<_> = all
            .into_iter()
            .filter(|(schedule, _)| is_declared(schedule))
            .map(|(schedule, state)| ResumedSchedule { skipped: skipped(&state), schedule })
            .collect();
        if !self.0.store.resume_all_schedules(&resumed, &self.0.node, &event).await? {
            return Ok(None);
        }
        tracing::info!(schedules = resumed.len(), by = %by.name, "schedules resumed");
        Ok(Some(resumed.len()))
    }

    /// Logs once that schedules are held.
    pub(super) fn log_hold(&self) {
        if !self.0.hold_logged.swap(true, Ordering::Relaxed) {
            tracing::warn!("the schedules of all apps are held; resume them with  picloud resume --all");
        }
    }
}

/// The scope in which names of schedules are unique.
fn branch_key(live: &Live) -> (Uuid, &str) {
    (live.revision.app_id(), live.branch.name.as_str())
}

/// The message that schedules are held, with the cause and a hint.
pub fn hold_message(hold: &ScheduleHold) -> String {
    format!(
        "the schedules of all apps are held since {} by {}; resume them with  picloud resume --all",
        hold.since.format("%Y-%m-%dT%H:%M:%SZ"),
        hold.cause
    )
}

#[cfg(test)]
mod tests {
    use chrono::Utc;

    use super::*;

    #[test]
    fn hold_message_has_cause_and_hint() {
        let (since, cause) = (Utc::now(), "the restore of a backup".to_owned());
        let message = hold_message(&ScheduleHold { since, cause });
        assert!(
            message.contains("by the restore of a backup; resume them with  picloud resume --all"),
            "{message}"
        );
    }
}
