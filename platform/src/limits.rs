//! What apps are granted: the operator's settings, which hold for every app, and the limits that an app has of its own.
//!
//! A push is checked against what the app is granted then. What was accepted before goes on within what is granted now: a
//! limit that is lowered applies from the next activation on, and breaks nothing.

use std::time::Duration;

use manifest_schema::limits::{Ceiling, Limits};
use manifest_schema::name::AppName;
use manifest_schema::units::{show_duration, show_size};
use store::App;

pub use store::{AppLimit, AppLimits};

/// What an app is granted, or every app that has no limits of its own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GrantedLimits {
    /// Bytes of the node's memory that the app can hold at once; `None`: half of the node's budget.
    pub memory_share: Option<u64>,
    /// Bytes that its repository can take in the database.
    pub disk: u64,
    /// How many previews can be live.
    pub previews: usize,
    /// How many executions a minute its schedules can start.
    pub schedule_runs: u32,
    /// What its manifest can ask for each execution.
    pub executions: Limits,
    /// How many schedules its manifest can declare.
    pub schedules: usize,
}

impl Default for GrantedLimits {
    fn default() -> Self {
        Self {
            memory_share: None,
            disk: 1 << 30,
            previews: 20,
            schedule_runs: Ceiling::DEFAULT.schedule_runs,
            executions: Ceiling::DEFAULT.executions,
            schedules: Ceiling::DEFAULT.schedules,
        }
    }
}

impl GrantedLimits {
    /// The same, but for the limits that an app has of its own.
    pub fn with(&self, own: &AppLimits) -> Self {
        let usual = &self.executions;
        let small =
            |own: Option<u64>, usual: u32| own.map_or(usual, |own| u32::try_from(own).unwrap_or(u32::MAX));
        let count = |own: Option<u64>, usual: usize| {
            own.map_or(usual, |own| usize::try_from(own).unwrap_or(usize::MAX))
        };
        Self {
            memory_share: own.memory_share.or(self.memory_share),
            disk: own.disk.unwrap_or(self.disk),
            previews: count(own.previews, self.previews),
            schedule_runs: small(own.schedule_runs, self.schedule_runs),
            executions: Limits {
                timeout: own.timeout_ms.map_or(usual.timeout, Duration::from_millis),
                operations: own.operations.unwrap_or(usual.operations),
                memory: own.script_memory.unwrap_or(usual.memory),
                body: own.body.unwrap_or(usual.body),
                concurrency: small(own.concurrency, usual.concurrency),
            },
            schedules: count(own.schedules, self.schedules),
        }
    }

    /// What the app of that name is granted, where it is `app` or not there yet.
    pub fn of(&self, app: Option<&App>) -> Self {
        app.map_or_else(|| self.clone(), |app| self.with(&app.limits))
    }

    /// What a manifest of the app is checked against.
    pub fn ceiling(&self, app: &AppName) -> Ceiling {
        Ceiling {
            executions: self.executions.clone(),
            schedules: self.schedules,
            schedule_runs: self.schedule_runs,
            app: Some(app.clone()),
        }
    }

    /// The value of one limit, as [`AppLimits`] has it.
    pub fn get(&self, limit: AppLimit) -> Option<u64> {
        let executions = &self.executions;
        Some(match limit {
            AppLimit::MemoryShare => return self.memory_share,
            AppLimit::Disk => self.disk,
            AppLimit::Previews => self.previews as u64,
            AppLimit::ScheduleRuns => self.schedule_runs.into(),
            AppLimit::Timeout => u64::try_from(executions.timeout.as_millis()).unwrap_or(u64::MAX),
            AppLimit::Operations => executions.operations,
            AppLimit::ScriptMemory => executions.memory,
            AppLimit::Body => executions.body,
            AppLimit::Concurrency => executions.concurrency.into(),
            AppLimit::Schedules => self.schedules as u64,
        })
    }
}

/// A value that a limit cannot have.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{} is from {} to {}", limit.as_str(), shown(*limit, *limit.range().start()), shown(*limit, *limit.range().end()))]
pub struct LimitRangeError {
    /// The limit.
    pub limit: AppLimit,
}

/// Whether each of the values is one that its limit can have.
///
/// # Errors
/// One of them is not.
pub fn check_ranges(changes: &[(AppLimit, Option<u64>)]) -> Result<(), LimitRangeError> {
    let is_outside = |(limit, value): &&(AppLimit, Option<u64>)| {
        value.is_some_and(|value| !limit.range().contains(&value))
    };
    changes.iter().find(is_outside).map_or(Ok(()), |(limit, _)| Err(LimitRangeError { limit: *limit }))
}

/// A value of a limit with its unit.
pub fn shown(limit: AppLimit, value: u64) -> String {
    match limit {
        AppLimit::MemoryShare | AppLimit::Disk | AppLimit::ScriptMemory | AppLimit::Body => show_size(value),
        AppLimit::Timeout => show_duration(Duration::from_millis(value)),
        AppLimit::ScheduleRuns => format!("{value}/min"),
        AppLimit::Previews | AppLimit::Operations | AppLimit::Concurrency | AppLimit::Schedules => {
            value.to_string()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_of_the_app_takes_the_place_of_the_operators_higher_or_lower() {
        let usual = GrantedLimits::default();
        assert_eq!(usual.with(&AppLimits::default()), usual);
        for (at, limit) in AppLimit::ALL.into_iter().enumerate() {
            for value in [*limit.range().start(), 1 + at as u64, *limit.range().end()] {
                let mut own = AppLimits::default();
                own.set(limit, Some(value));
                let granted = usual.with(&own);
                for other in AppLimit::ALL {
                    let expected = if other == limit { Some(value) } else { usual.get(other) };
                    assert_eq!(granted.get(other), expected, "{limit:?} {other:?}");
                }
            }
        }
    }

    #[test]
    fn a_value_that_a_limit_cannot_have_is_refused_with_what_it_can_have() {
        assert_eq!(check_ranges(&[(AppLimit::Previews, Some(0)), (AppLimit::Timeout, None)]), Ok(()));
        let refused = check_ranges(&[(AppLimit::Previews, Some(1)), (AppLimit::Timeout, Some(0))]);
        assert_eq!(refused.unwrap_err().to_string(), "timeout is from 1ms to 86400s");
    }
}
