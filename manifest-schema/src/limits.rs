//! Limits of one execution of a script, and the ceiling for them.

use std::time::Duration;

use schemars::JsonSchema;

use crate::name::AppName;
use crate::units::{DurationText, Size, show_duration, show_size};

const MIB: u64 = 1024 * 1024;

/// The limits of each execution of an app, up to the ceiling that the server grants.
#[derive(Clone, Debug, PartialEq, Eq, JsonSchema)]
#[schemars(deny_unknown_fields, default)]
pub struct Limits {
    /// Timeout of an execution in wall-clock time, without the time it waits for other executions of the app.
    #[schemars(with = "DurationText", default = "default_timeout")]
    pub timeout: Duration,
    /// Maximum number of Rhai operations of an execution.
    #[schemars(range(min = 1))]
    pub operations: u64,
    /// Maximum memory of an execution, in bytes.
    #[schemars(with = "Size", default = "default_memory")]
    pub memory: u64,
    /// Maximum size of a request body, in bytes.
    #[schemars(with = "Size", default = "default_body")]
    pub body: u64,
    /// Maximum number of concurrent executions of the app on one node.
    #[schemars(range(min = 1))]
    pub concurrency: u32,
}

/// The limits of the executions of one route.
#[derive(Clone, Debug, Default, PartialEq, Eq, JsonSchema)]
#[schemars(deny_unknown_fields, default)]
pub struct RouteLimits {
    /// Timeout of an execution in wall-clock time.
    #[schemars(with = "DurationText", skip_serializing_if = "Option::is_none")]
    pub timeout: Option<Duration>,
    /// Maximum number of Rhai operations of an execution.
    #[schemars(with = "u64", range(min = 1), skip_serializing_if = "Option::is_none")]
    pub operations: Option<u64>,
    /// Maximum memory of an execution, in bytes.
    #[schemars(with = "Size", skip_serializing_if = "Option::is_none")]
    pub memory: Option<u64>,
    /// Maximum size of a request body, in bytes.
    #[schemars(with = "Size", skip_serializing_if = "Option::is_none")]
    pub body: Option<u64>,
}

impl RouteLimits {
    /// Whether none is set.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

fn default_timeout() -> String {
    show_duration(Limits::DEFAULT.timeout)
}

fn default_memory() -> String {
    show_size(Limits::DEFAULT.memory)
}

fn default_body() -> String {
    show_size(Limits::DEFAULT.body)
}

impl Limits {
    /// The defaults.
    pub const DEFAULT: Self = Self {
        timeout: Duration::from_secs(5),
        operations: 10_000_000,
        memory: 64 * MIB,
        body: MIB,
        concurrency: 64,
    };

    /// The timeout of a scheduled run since SDK 1.3. Nobody waits for its response, so it is longer than that of a
    /// request.
    pub const SCHEDULE_TIMEOUT: Duration = Duration::from_secs(60);

    /// The ceiling that a server grants by default.
    pub const CEILING: Self = Self {
        timeout: Duration::from_secs(60),
        operations: 1_000_000_000,
        memory: 256 * MIB,
        body: 32 * MIB,
        concurrency: 1024,
    };

    /// No ceiling: for manifests that were accepted before, so that granted limits remain granted.
    pub const UNBOUNDED: Self = Self {
        timeout: Duration::MAX,
        operations: u64::MAX,
        memory: u64::MAX,
        body: u64::MAX,
        concurrency: u32::MAX,
    };

    /// These limits with those of a route, which are never higher.
    pub fn of_route(&self, route: &RouteLimits) -> Self {
        let Self { timeout, operations, memory, body, concurrency } = self;
        Self {
            timeout: route.timeout.map_or(*timeout, |limit| limit.min(*timeout)),
            operations: route.operations.map_or(*operations, |limit| limit.min(*operations)),
            memory: route.memory.map_or(*memory, |limit| limit.min(*memory)),
            body: route.body.map_or(*body, |limit| limit.min(*body)),
            concurrency: *concurrency,
        }
    }

    /// These limits, each reduced to `ceiling`.
    pub fn within(&self, ceiling: &Self) -> Self {
        Self {
            timeout: self.timeout.min(ceiling.timeout),
            operations: self.operations.min(ceiling.operations),
            memory: self.memory.min(ceiling.memory),
            body: self.body.min(ceiling.body),
            concurrency: self.concurrency.min(ceiling.concurrency),
        }
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self::DEFAULT
    }
}

/// The maximum that a manifest can request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ceiling {
    /// Of each execution.
    pub executions: Limits,
    /// Number of schedules.
    pub schedules: usize,
    /// Runs per minute of all schedules together.
    pub schedule_runs: u32,
    /// The app that the server grants this to; `None`: the defaults, without a server.
    pub app: Option<AppName>,
}

impl Ceiling {
    /// The ceiling that a server grants by default.
    pub const DEFAULT: Self = Self {
        executions: Limits::CEILING,
        schedules: 100,
        // Five schedules that run every second.
        schedule_runs: 300,
        app: None,
    };

    /// No ceiling: for manifests that were accepted before.
    pub const UNBOUNDED: Self =
        Self { executions: Limits::UNBOUNDED, schedules: usize::MAX, schedule_runs: u32::MAX, app: None };

    /// The help for a manifest that requests too much: the `flag` that raises the limit to `requested`.
    pub(crate) fn help(&self, flag: &str, requested: &str) -> String {
        match &self.app {
            Some(app) => {
                format!("an admin can raise it with  picloud apps limits {app} --{flag} {requested}")
            }
            None => format!(
                "checked against the default limits; an admin can raise them with  picloud apps limits APP --{flag} {requested}"
            ),
        }
    }

    /// The subject of the message: who grants the ceiling.
    pub(crate) fn granted_by(&self) -> &'static str {
        match self.app {
            Some(_) => "the server grants the app",
            None => "a server grants by default",
        }
    }
}

impl Default for Ceiling {
    fn default() -> Self {
        Self::DEFAULT
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_are_reduced_to_the_ceiling_and_never_raised() {
        assert_eq!(Limits::DEFAULT.within(&Limits::CEILING), Limits::DEFAULT);
        assert_eq!(Limits::CEILING.within(&Limits::DEFAULT), Limits::DEFAULT);
        assert_eq!(Limits::CEILING.within(&Limits::UNBOUNDED), Limits::CEILING);
    }

    #[test]
    fn limits_of_a_route_are_never_higher() {
        assert_eq!(Limits::DEFAULT.of_route(&RouteLimits::default()), Limits::DEFAULT);
        let route = RouteLimits { body: Some(1), timeout: Some(Duration::MAX), ..RouteLimits::default() };
        assert_eq!(Limits::DEFAULT.of_route(&route), Limits { body: 1, ..Limits::DEFAULT });
    }
}
