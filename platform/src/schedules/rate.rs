//! How often the schedules of an app can run: so many times a minute, over all nodes, as the row of the app counts.
//!
//! Where a claim is one too many, its schedule is left alone until the minute is over, and nothing is written. Then one row stands
//! for all due times of that minute that were not run.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use chrono::{DateTime, TimeDelta, Utc};
use manifest_schema::cron::Cron;
use manifest_schema::name::AppName;
use store::RunOutcome;

use super::owed::{Owed, due_times};

/// The apps of which the log says that they are limited, each with the end of the minute.
#[derive(Debug, Default)]
pub(super) struct LimitedApps(Mutex<HashMap<AppName, DateTime<Utc>>>);

impl LimitedApps {
    /// Whether nobody said yet that an app is limited until then.
    pub(super) fn is_news(&self, app: &AppName, until: DateTime<Utc>) -> bool {
        let mut said = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        said.retain(|_, other| *other == until);
        said.insert(app.clone(), until).is_none()
    }
}

/// The due times before `until` that are not run, since the app could run no more by then.
pub(super) fn skipped(
    cron: &Cron,
    since: DateTime<Utc>,
    until: DateTime<Utc>,
    now: DateTime<Utc>,
    app: &AppName,
    runs_per_minute: u32,
) -> Option<Owed> {
    let due = due_times(cron, since, (until - TimeDelta::seconds(1)).min(now))?;
    Some(Owed { due, left: Some((RunOutcome::Skipped, limited(app, runs_per_minute))) })
}

/// Why nothing more is run within a minute.
pub(super) fn limited(app: &AppName, runs_per_minute: u32) -> String {
    format!(
        "the app's schedules had begun {runs_per_minute} runs within the minute, as many as it is granted; an admin raises it with  \
         picloud apps limits {app} --schedule-runs N"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_app_is_said_to_be_limited_once_a_minute() {
        let (apps, app) = (LimitedApps::default(), |name| AppName::new(name).unwrap());
        let minute = |minute| DateTime::UNIX_EPOCH + TimeDelta::minutes(minute);
        let said = [("a", 1), ("a", 1), ("b", 1), ("a", 1), ("a", 2), ("a", 2), ("b", 2), ("a", 1)]
            .map(|(name, until)| apps.is_news(&app(name), minute(until)));
        assert_eq!(said, [true, false, true, false, true, false, true, true]);
    }
}
