//! The hold on the schedules of all apps, from a restore on: what is said of it, and its end.
//!
//! A claim is refused while the row is there, on every node; nothing else has to know of it. When the row goes, each node
//! goes on with the next due time of each schedule.

use std::collections::HashSet;
use std::sync::atomic::Ordering;

use crate::live::Live;
use manifest_schema::cron::Cron;
use manifest_schema::zone::zone_data;
use store::{
    Act, Actor, AuditAction, Left, ResumedSchedule, RunOutcome, ScheduleHold, ScheduleId, ScheduleState,
    StoreError,
};
use uuid::Uuid;

use super::Scheduler;
use super::owed::{believed, due_times};

/// What the audit list has for the schedules of all apps.
const ALL: &str = "all";

impl Scheduler {
    /// The hold on the schedules of all apps, while there is one.
    ///
    /// # Errors
    /// The store failed.
    pub async fn schedule_hold(&self) -> Result<Option<ScheduleHold>, StoreError> {
        self.0.store.schedule_hold().await
    }

    /// Resumes the schedules of all apps, on all nodes: of each one row says what was skipped, and it is due next from now
    /// on. Those that are paused stay so, and those that are not declared any more. Returns how many; `None`: they were not
    /// held.
    ///
    /// # Errors
    /// The store failed. They are held still then.
    pub async fn resume_all(&self, by: &Actor) -> Result<Option<usize>, StoreError> {
        let Some(hold) = self.schedule_hold().await? else { return Ok(None) };
        let now = self.now();
        let act = Act { at: now, ..Act::new(by, AuditAction::ScheduleResume, None, ALL) };
        let skipped = |state: &ScheduleState| {
            let cron = Cron::parse(&state.cron, zone_data().find(&state.timezone).0?).ok()?;
            let due = due_times(&cron, believed(&cron, state.reckoned_until, now), now)?;
            let since = hold.since.format("%Y-%m-%dT%H:%M:%SZ");
            let reason = format!("schedules were held since {since} by {}", hold.cause);
            Some(Left { due, outcome: RunOutcome::Skipped, reason })
        };
        let all = self.0.store.schedules_by_the_clock().await?;
        let live = self.0.table.scheduled();
        let branches: HashSet<_> = live.iter().map(|live| place(live)).collect();
        let declared: HashSet<_> = live
            .iter()
            .flat_map(|live| live.revision.manifest().schedules.iter().map(|one| (place(live), &one.name)))
            .collect();
        // Of a branch that this node cannot serve nobody knows here what it declares.
        let is_declared = |schedule: &ScheduleId| {
            let place = (schedule.app.as_uuid(), schedule.branch.as_str());
            !branches.contains(&place) || declared.contains(&(place, &schedule.name))
        };
        let resumed: Vec<_> = all
            .into_iter()
            .filter(|(schedule, _)| is_declared(schedule))
            .map(|(schedule, state)| ResumedSchedule { skipped: skipped(&state), schedule })
            .collect();
        if !self.0.store.resume_all_schedules(&resumed, &self.0.node, &act).await? {
            return Ok(None);
        }
        tracing::info!(schedules = resumed.len(), by = %by.name, "schedules are resumed");
        Ok(Some(resumed.len()))
    }

    /// Says it where a claim met the hold, and it was not said since that began.
    pub(super) fn say_held(&self) {
        if !self.0.said_held.swap(true, Ordering::Relaxed) {
            tracing::warn!("the schedules of all apps are held; resume them with  picloud resume --all");
        }
    }
}

/// The app and the branch, as the names of schedules are unique there.
fn place(live: &Live) -> (Uuid, &str) {
    (live.revision.app_id(), live.branch.name.as_str())
}

/// That schedules are held, by what, and the way out.
pub fn held(hold: &ScheduleHold) -> String {
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
    fn hold_names_its_cause_and_the_way_out() {
        let (since, cause) = (Utc::now(), "the restore of a backup".to_owned());
        let said = held(&ScheduleHold { since, cause });
        assert!(
            said.contains("by the restore of a backup; resume them with  picloud resume --all"),
            "{said}"
        );
    }
}
