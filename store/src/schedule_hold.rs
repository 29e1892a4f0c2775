//! The hold on all schedules: after a restore, no schedule runs until a user resumes them.

use chrono::{DateTime, Utc};

use crate::audit::AuditEvent;
use crate::error::StoreError;
use crate::schedule::{NodeIdentity, ScheduleId, ScheduleState, UnrunDueTimes};
use crate::{Store, dispatch};

/// The hold on the schedules of all apps.
#[derive(Clone, Debug, PartialEq, Eq, sqlx::FromRow)]
pub struct ScheduleHold {
    /// Since when.
    pub since: DateTime<Utc>,
    /// The cause.
    pub cause: String,
}

/// A schedule that is resumed with the hold, and its skipped due times.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ResumedSchedule {
    /// The schedule.
    pub schedule: ScheduleId,
    /// The skipped due times, if any.
    pub skipped: Option<UnrunDueTimes>,
}

impl Store {
    /// The hold on the schedules of all apps, if there is one.
    ///
    /// # Errors
    /// The database failed.
    pub async fn schedule_hold(&self) -> Result<Option<ScheduleHold>, StoreError> {
        dispatch!(self, schedule_hold::schedule_hold())
    }

    /// The enabled schedules of all branches that are not paused.
    ///
    /// # Errors
    /// The database failed.
    pub async fn active_schedules(&self) -> Result<Vec<(ScheduleId, ScheduleState)>, StoreError> {
        dispatch!(self, schedule_hold::active_schedules())
    }

    /// Ends the hold at the time of `event`, with one row for the skipped due times of each schedule. `false`: there
    /// was no hold.
    ///
    /// # Errors
    /// The database failed.
    pub async fn resume_all_schedules(
        &self,
        schedules: &[ResumedSchedule],
        node: &NodeIdentity,
        event: &AuditEvent,
    ) -> Result<bool, StoreError> {
        dispatch!(self, schedule_hold::resume_all_schedules(schedules, node, event))
    }
}
