//! Limits of apps: the operator's defaults, and the limits of individual apps.
//!
//! A push is checked against the app's current limits. Deployed revisions are capped by lowered limits from
//! the next activation on, and stay live.

use std::time::Duration;

use manifest_schema::limits::{Ceiling, Limits};
use manifest_schema::name::AppName;
use manifest_schema::units::{show_duration, show_size};
use store::{App, NamespaceName};

use crate::state::PREVIEW_QUOTA_BYTES;

pub use store::{AppLimit, AppLimits};

/// The limits granted to an app, or to all apps without limits of their own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GrantedLimits {
    /// The memory share in bytes; `None`: half of the node's budget.
    pub memory_share: Option<u64>,
    /// The disk quota of the repository in bytes.
    pub disk: u64,
    /// The maximum number of live previews.
    pub previews: usize,
    /// The maximum number of scheduled executions per minute.
    pub schedule_runs: u32,
    /// The maximum limits per execution that the manifest can request.
    pub executions: Limits,
    /// The maximum number of schedules in the manifest.
    pub schedules: usize,
    /// The maximum size of the state in bytes.
    pub state: u64,
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
            state: 256 << 20,
        }
    }
}

impl GrantedLimits {
    /// These defaults, overridden by an app's own limits.
    pub fn with(&self, own: &AppLimits) -> Self {
        let default = &self.executions;
        let or_default_u32 = |own: Option<u64>, default: u32| {
            own.map_or(default, |own| u32::try_from(own).unwrap_or(u32::MAX))
        };
        let or_default_usize = |own: Option<u64>, default: usize| {
            own.map_or(default, |own| usize::try_from(own).unwrap_or(usize::MAX))
        };
        Self {
            memory_share: own.memory_share.or(self.memory_share),
            disk: own.disk.unwrap_or(self.disk),
            previews: or_default_usize(own.previews, self.previews),
            schedule_runs: or_default_u32(own.schedule_runs, self.schedule_runs),
            executions: Limits {
                timeout: own.timeout_ms.map_or(default.timeout, Duration::from_millis),
                operations: own.operations.unwrap_or(default.operations),
                memory: own.script_memory.unwrap_or(default.memory),
                body: own.body.unwrap_or(default.body),
                concurrency: or_default_u32(own.concurrency, default.concurrency),
            },
            schedules: or_default_usize(own.schedules, self.schedules),
            state: own.state.unwrap_or(self.state),
        }
    }

    /// The limits of `app`, or the defaults for an app that does not exist yet.
    pub fn of(&self, app: Option<&App>) -> Self {
        app.map_or_else(|| self.clone(), |app| self.with(&app.limits))
    }

    /// The ceiling for a manifest of the app.
    pub fn ceiling(&self, app: &AppName) -> Ceiling {
        Ceiling {
            executions: self.executions.clone(),
            schedules: self.schedules,
            schedule_runs: self.schedule_runs,
            app: Some(app.clone()),
        }
    }

    /// The quota of a namespace of the state, in bytes.
    pub fn state_quota(&self, name: &NamespaceName) -> u64 {
        match name {
            NamespaceName::Production => self.state,
            NamespaceName::Preview(_) => self.state.min(PREVIEW_QUOTA_BYTES),
        }
    }

    /// The value of one limit, in the unit of [`AppLimits`].
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
            AppLimit::State => self.state,
        })
    }
}

/// A value out of range.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{} must be between {} and {}", limit.as_str(), format_limit(*limit, *limit.range().start()), format_limit(*limit, *limit.range().end()))]
pub struct LimitRangeError {
    /// The limit.
    pub limit: AppLimit,
}

/// Checks that all values are in the range of their limits.
///
/// # Errors
/// A value is out of range.
pub fn check_ranges(changes: &[(AppLimit, Option<u64>)]) -> Result<(), LimitRangeError> {
    let is_outside = |(limit, value): &&(AppLimit, Option<u64>)| {
        value.is_some_and(|value| !limit.range().contains(&value))
    };
    changes.iter().find(is_outside).map_or(Ok(()), |(limit, _)| Err(LimitRangeError { limit: *limit }))
}

/// Formats a value with the unit of its limit.
pub fn format_limit(limit: AppLimit, value: u64) -> String {
    match limit {
        AppLimit::MemoryShare
        | AppLimit::Disk
        | AppLimit::ScriptMemory
        | AppLimit::Body
        | AppLimit::State => show_size(value),
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
    fn app_limits_override_defaults() {
        let default = GrantedLimits::default();
        assert_eq!(default.with(&AppLimits::default()), default);
        for (at, limit) in AppLimit::ALL.into_iter().enumerate() {
            for value in [*limit.range().start(), 1 + at as u64, *limit.range().end()] {
                let mut own = AppLimits::default();
                own.set(limit, Some(value));
                let granted = default.with(&own);
                for other in AppLimit::ALL {
                    let expected = if other == limit { Some(value) } else { default.get(other) };
                    assert_eq!(granted.get(other), expected, "{limit:?} {other:?}");
                }
            }
        }
    }

    #[test]
    fn value_out_of_range_is_rejected() {
        assert_eq!(check_ranges(&[(AppLimit::Previews, Some(0)), (AppLimit::Timeout, None)]), Ok(()));
        let result = check_ranges(&[(AppLimit::Previews, Some(1)), (AppLimit::Timeout, Some(0))]);
        assert_eq!(result.unwrap_err().to_string(), "timeout must be between 1ms and 24h");
    }
}
