//! Limits of apps: the defaults for all apps, and the limits of one app.

use std::fmt::Display;
use std::str::FromStr;

use clap::Args;
use clap_complete::engine::ArgValueCompleter;
use manifest_schema::limits::Limits;
use manifest_schema::name::AppName;
use platform::limits::{AppLimit, GrantedLimits, check_ranges};

use super::units::{DurationValue, Size};
use super::usage_error::UsageError;
use crate::client::{ClientArgs, completion};

/// Default limits of apps.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "App limits (defaults; `picloud apps limits` overrides them for an app)")]
pub(crate) struct AppLimitFlags {
    /// Maximum memory of this node that an app can use. The default is half of --memory.
    #[arg(long, env = "PICLOUD_APP_MEMORY_SHARE", value_name = "SIZE")]
    pub(crate) app_memory_share: Option<Size>,

    /// Maximum size of an app's repository in the database.
    #[arg(long, env = "PICLOUD_APP_DISK", value_name = "SIZE", default_value_t = AppLimitFlags::default().app_disk)]
    pub(crate) app_disk: Size,

    /// Maximum size of an app's state; of each preview, at most 32MiB.
    #[arg(long, env = "PICLOUD_APP_STATE", value_name = "SIZE", default_value_t = AppLimitFlags::default().app_state)]
    pub(crate) app_state: Size,

    /// Maximum number of live previews of an app.
    #[arg(long, env = "PICLOUD_APP_PREVIEWS", value_name = "NUMBER", default_value_t = AppLimitFlags::default().app_previews)]
    pub(crate) app_previews: usize,

    /// Maximum number of runs a minute that the schedules of an app can start.
    #[arg(long, env = "PICLOUD_APP_SCHEDULE_RUNS_PER_MINUTE", value_name = "NUMBER", default_value_t = AppLimitFlags::default().app_schedule_runs_per_minute)]
    pub(crate) app_schedule_runs_per_minute: u32,

    /// Maximum `timeout` in a manifest.
    #[arg(long, env = "PICLOUD_APP_TIMEOUT", value_name = "DURATION", default_value_t = AppLimitFlags::default().app_timeout)]
    pub(crate) app_timeout: DurationValue,

    /// Maximum `operations` in a manifest.
    #[arg(long, env = "PICLOUD_APP_OPERATIONS", value_name = "NUMBER", default_value_t = AppLimitFlags::default().app_operations)]
    pub(crate) app_operations: u64,

    /// Maximum `memory` in a manifest.
    #[arg(long, env = "PICLOUD_APP_SCRIPT_MEMORY", value_name = "SIZE", default_value_t = AppLimitFlags::default().app_script_memory)]
    pub(crate) app_script_memory: Size,

    /// Maximum `body` in a manifest.
    #[arg(long, env = "PICLOUD_APP_BODY", value_name = "SIZE", default_value_t = AppLimitFlags::default().app_body)]
    pub(crate) app_body: Size,

    /// Maximum `concurrency` in a manifest.
    #[arg(long, env = "PICLOUD_APP_CONCURRENCY", value_name = "NUMBER", default_value_t = AppLimitFlags::default().app_concurrency)]
    pub(crate) app_concurrency: u32,

    /// Maximum number of schedules in a manifest.
    #[arg(long, env = "PICLOUD_APP_SCHEDULES", value_name = "NUMBER", default_value_t = AppLimitFlags::default().app_schedules)]
    pub(crate) app_schedules: usize,
}

impl AppLimitFlags {
    /// Resolves the flags to limits.
    ///
    /// # Errors
    /// A value is out of range.
    pub(super) fn resolve(&self) -> Result<GrantedLimits, UsageError> {
        let limits = GrantedLimits {
            memory_share: self.app_memory_share.map(|Size(bytes)| bytes),
            disk: self.app_disk.0,
            previews: self.app_previews,
            schedule_runs: self.app_schedule_runs_per_minute,
            executions: Limits {
                timeout: self.app_timeout.0,
                operations: self.app_operations,
                memory: self.app_script_memory.0,
                body: self.app_body.0,
                concurrency: self.app_concurrency,
            },
            schedules: self.app_schedules,
            state: self.app_state.0,
        };
        let values = AppLimit::ALL.map(|limit| (limit, limits.get(limit)));
        check_ranges(&values).map_err(UsageError::AppLimit)?;
        Ok(limits)
    }
}

impl Default for AppLimitFlags {
    fn default() -> Self {
        let GrantedLimits { memory_share, disk, previews, schedule_runs, executions, schedules, state } =
            GrantedLimits::default();
        Self {
            app_memory_share: memory_share.map(Size),
            app_disk: Size(disk),
            app_state: Size(state),
            app_previews: previews,
            app_schedule_runs_per_minute: schedule_runs,
            app_timeout: DurationValue(executions.timeout),
            app_operations: executions.operations,
            app_script_memory: Size(executions.memory),
            app_body: Size(executions.body),
            app_concurrency: executions.concurrency,
            app_schedules: schedules,
        }
    }
}

/// A value, or `default`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct OrDefault<T>(pub(crate) Option<T>);

impl<T: FromStr<Err: Display>> FromStr for OrDefault<T> {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == "default" {
            return Ok(Self(None));
        }
        text.parse().map(|value| Self(Some(value))).map_err(|error| format!("{error}, or default"))
    }
}

/// A whole number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Number(pub(crate) u64);

impl FromStr for Number {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        text.parse().map(Self).map_err(|_| "write a whole number such as 50")
    }
}

/// Shows the limits of an app, or changes them.
#[derive(Clone, Debug, Default, Args)]
pub(crate) struct AppLimitsArgs {
    /// App. The default is the app of the `picloud` git remote.
    #[arg(value_name = "APP", env = "PICLOUD_APP", add = ArgValueCompleter::new(completion::apps))]
    pub(crate) app: Option<AppName>,

    /// Maximum memory that the app can use on each node, or `default`.
    #[arg(long, value_name = "SIZE")]
    pub(crate) memory_share: Option<OrDefault<Size>>,

    /// Maximum size of the app's repository in the database, or `default`.
    #[arg(long, value_name = "SIZE")]
    pub(crate) disk: Option<OrDefault<Size>>,

    /// Maximum size of the app's state, or `default`.
    #[arg(long, value_name = "SIZE")]
    pub(crate) state: Option<OrDefault<Size>>,

    /// Maximum number of live previews, or `default`.
    #[arg(long, value_name = "NUMBER")]
    pub(crate) previews: Option<OrDefault<Number>>,

    /// Maximum number of runs a minute that the app's schedules can start, or `default`.
    #[arg(long, value_name = "NUMBER")]
    pub(crate) schedule_runs_per_minute: Option<OrDefault<Number>>,

    /// Maximum `timeout` in the manifest, or `default`.
    #[arg(long, value_name = "DURATION")]
    pub(crate) timeout: Option<OrDefault<DurationValue>>,

    /// Maximum `operations` in the manifest, or `default`.
    #[arg(long, value_name = "NUMBER")]
    pub(crate) operations: Option<OrDefault<Number>>,

    /// Maximum `memory` in the manifest, or `default`.
    #[arg(long, value_name = "SIZE")]
    pub(crate) script_memory: Option<OrDefault<Size>>,

    /// Maximum `body` in the manifest, or `default`.
    #[arg(long, value_name = "SIZE")]
    pub(crate) body: Option<OrDefault<Size>>,

    /// Maximum `concurrency` in the manifest, or `default`.
    #[arg(long, value_name = "NUMBER")]
    pub(crate) concurrency: Option<OrDefault<Number>>,

    /// Maximum number of schedules in the manifest, or `default`.
    #[arg(long, value_name = "NUMBER")]
    pub(crate) schedules: Option<OrDefault<Number>>,

    #[command(flatten)]
    pub(crate) client: ClientArgs,
}
