//! The rate limit of an app's schedules: runs per minute over all nodes, counted in the row of the app.
//!
//! After a rejected claim the schedule waits until the end of the minute without writing. Then one row
//! records all skipped due times of that minute.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use chrono::{DateTime, TimeDelta, Utc};
use manifest_schema::cron::Cron;
use manifest_schema::name::AppName;
use store::RunOutcome;

use super::misfire::{DueRun, due_times};

/// The apps whose limit was logged, with the end of the minute.
#[derive(Debug, Default)]
pub(super) struct LimitedApps(Mutex<HashMap<AppName, DateTime<Utc>>>);

impl LimitedApps {
    /// Whether the limit of an app was not logged yet for this minute.
    pub(super) fn is_new(&self, app: &AppName, until: DateTime<Utc>) -> bool {
        let mut logged = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        logged.retain(|_, other| *other == until);
        logged.insert(app.clone(), until).is_none()
    }
}

/// The due times before `until` that are skipped because of the limit.
pub(super) fn skipped(
    cron: &Cron,
    since: DateTime<Utc>,
    until: DateTime<Utc>,
    now: DateTime<Utc>,
    app: &AppName,
    runs_per_minute: u32,
) -> Option<DueRun> {
    let due = due_times(cron, since, (until - TimeDelta::seconds(1)).min(now))?;
    Some(DueRun { due, unrun: Some((RunOutcome::Skipped, limit_reason(app, runs_per_minute))) })
}

/// The reason of the limit.
pub(super) fn limit_reason(app: &AppName, runs_per_minute: u32) -> String {
    format!(
        "the schedules of the app reached their limit of {runs_per_minute} runs per minute; an admin can raise it with  \
         picloud apps limits {app} --schedule-runs-per-minute N"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limit_is_logged_once_per_minute() {
        let (apps, app) = (LimitedApps::default(), |name| AppName::new(name).unwrap());
        let minute = |minute| DateTime::UNIX_EPOCH + TimeDelta::minutes(minute);
        let logged = [("a", 1), ("a", 1), ("b", 1), ("a", 1), ("a", 2), ("a", 2), ("b", 2), ("a", 1)]
            .map(|(name, until)| apps.is_new(&app(name), minute(until)));
        assert_eq!(logged, [true, false, true, false, true, false, true, true]);
    }
}
