//! What one execution of a script may use.

use std::time::Duration;

use schemars::JsonSchema;

use crate::name::AppName;
use crate::units::{DurationText, Size, show_duration, show_size};

const MIB: u64 = 1024 * 1024;

/// The limits of an app's executions, as far as the server grants them.
#[derive(Clone, Debug, PartialEq, Eq, JsonSchema)]
#[schemars(deny_unknown_fields, default)]
pub struct Limits {
    /// How long one execution may take, by the clock, without the time in which others of the app have its processor.
    #[schemars(with = "DurationText", default = "default_timeout")]
    pub timeout: Duration,
    /// How many Rhai operations one execution may run.
    #[schemars(range(min = 1))]
    pub operations: u64,
    /// How many bytes of memory one execution may hold at once.
    #[schemars(with = "Size", default = "default_memory")]
    pub memory: u64,
    /// The longest request body, in bytes.
    #[schemars(with = "Size", default = "default_body")]
    pub body: u64,
    /// How many executions of the app may run at once on one node.
    #[schemars(range(min = 1))]
    pub concurrency: u32,
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
    /// What holds where a manifest says nothing.
    pub const DEFAULT: Self = Self {
        timeout: Duration::from_secs(5),
        operations: 10_000_000,
        memory: 64 * MIB,
        body: MIB,
        concurrency: 64,
    };

    /// The most that a manifest can ask of a server with its own settings untouched.
    pub const CEILING: Self = Self {
        timeout: Duration::from_secs(60),
        operations: 1_000_000_000,
        memory: 256 * MIB,
        body: 32 * MIB,
        concurrency: 1024,
    };

    /// A ceiling that is none, for manifests that were accepted before: what was granted stays granted.
    pub const UNBOUNDED: Self = Self {
        timeout: Duration::MAX,
        operations: u64::MAX,
        memory: u64::MAX,
        body: u64::MAX,
        concurrency: u32::MAX,
    };

    /// These limits, each lowered to `ceiling` where it is above.
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

/// The most that a manifest can ask for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ceiling {
    /// For each of its executions.
    pub executions: Limits,
    /// How many schedules it can declare.
    pub schedules: usize,
    /// How often within a minute its schedules can run together.
    pub schedule_runs: u32,
    /// The app that the server grants this; `None`: no server was asked, and these are the defaults.
    pub app: Option<AppName>,
}

impl Ceiling {
    /// What a server grants with its own settings untouched.
    pub const DEFAULT: Self = Self {
        executions: Limits::CEILING,
        schedules: 100,
        // Five schedules that run every second.
        schedule_runs: 300,
        app: None,
    };

    /// A ceiling that is none, for manifests that were accepted before.
    pub const UNBOUNDED: Self =
        Self { executions: Limits::UNBOUNDED, schedules: usize::MAX, schedule_runs: u32::MAX, app: None };

    /// What helps where a manifest asks for more than is granted. `flag` raises it to `asked`.
    pub(crate) fn help(&self, flag: &str, asked: &str) -> String {
        match &self.app {
            Some(app) => format!("an admin raises it with  picloud apps limits {app} --{flag} {asked}"),
            None => format!(
                "checked against the defaults; a server grants more after  picloud apps limits APP --{flag} {asked}"
            ),
        }
    }

    /// Who grants it.
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
    fn a_limit_is_lowered_to_the_ceiling_and_never_raised() {
        assert_eq!(Limits::DEFAULT.within(&Limits::CEILING), Limits::DEFAULT);
        assert_eq!(Limits::CEILING.within(&Limits::DEFAULT), Limits::DEFAULT);
        assert_eq!(Limits::CEILING.within(&Limits::UNBOUNDED), Limits::CEILING);
    }
}
