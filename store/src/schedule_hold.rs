//! The hold on the schedules of all apps: from a restore until somebody resumes them, none runs by the clock.

use chrono::{DateTime, Utc};

use crate::audit::Act;
use crate::error::StoreError;
use crate::schedule::{Left, NodeIdentity, ScheduleId, ScheduleState};
use crate::{Store, either};

/// That the schedules of all apps are held.
#[derive(Clone, Debug, PartialEq, Eq, sqlx::FromRow)]
pub struct ScheduleHold {
    /// Since when.
    pub since: DateTime<Utc>,
    /// By what.
    pub cause: String,
}

/// A schedule that goes on when the hold ends, and the due times that it has skipped until then.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ResumedSchedule {
    /// The schedule.
    pub schedule: ScheduleId,
    /// The due times, where there were any.
    pub skipped: Option<Left>,
}

impl Store {
    /// The hold on the schedules of all apps, while there is one.
    ///
    /// # Errors
    /// The database failed.
    pub async fn schedule_hold(&self) -> Result<Option<ScheduleHold>, StoreError> {
        either!(self, schedule_hold::schedule_hold())
    }

    /// The schedules of all branches whose schedules run by the clock, without those that are paused.
    ///
    /// # Errors
    /// The database failed.
    pub async fn schedules_by_the_clock(&self) -> Result<Vec<(ScheduleId, ScheduleState)>, StoreError> {
        either!(self, schedule_hold::schedules_by_the_clock())
    }

    /// Ends the hold at the time of `act`, with one row for the due times that each schedule has skipped. `false`: nothing
    /// was held.
    ///
    /// # Errors
    /// The database failed.
    pub async fn resume_all_schedules(
        &self,
        schedules: &[ResumedSchedule],
        node: &NodeIdentity,
        act: &Act,
    ) -> Result<bool, StoreError> {
        either!(self, schedule_hold::resume_all_schedules(schedules, node, act))
    }
}
