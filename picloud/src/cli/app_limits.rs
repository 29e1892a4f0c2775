//! What every app is granted, and what one app is granted of its own.

use std::fmt::Display;
use std::str::FromStr;

use clap::Args;
use clap_complete::engine::ArgValueCompleter;
use manifest_schema::limits::Limits;
use manifest_schema::name::AppName;
use platform::limits::{AppLimit, GrantedLimits, check_ranges};

use super::misuse::Misuse;
use super::quantity::{Size, Time};
use crate::client::{ClientOptions, completing};

/// What every app is granted that has no limits of its own (`picloud apps limits`).
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Limits of each app; `picloud apps limits` sets others for one")]
pub(crate) struct AppLimitFlags {
    /// How much of the node's memory an app can hold at once; without it half of --memory.
    #[arg(long, env = "PICLOUD_APP_MEMORY_SHARE")]
    pub(crate) app_memory_share: Option<Size>,

    /// How much an app's repository can take in the database.
    #[arg(long, env = "PICLOUD_APP_DISK", default_value_t = AppLimitFlags::default().app_disk)]
    pub(crate) app_disk: Size,

    /// How many previews of an app can be live.
    #[arg(long, env = "PICLOUD_APP_PREVIEWS", default_value_t = AppLimitFlags::default().app_previews)]
    pub(crate) app_previews: usize,

    /// How many executions a minute the schedules of an app can start.
    #[arg(long, env = "PICLOUD_APP_SCHEDULE_RUNS", default_value_t = AppLimitFlags::default().app_schedule_runs)]
    pub(crate) app_schedule_runs: u32,

    /// The longest `timeout` that a manifest can ask for.
    #[arg(long, env = "PICLOUD_APP_TIMEOUT", default_value_t = AppLimitFlags::default().app_timeout)]
    pub(crate) app_timeout: Time,

    /// The most `operations` that a manifest can ask for.
    #[arg(long, env = "PICLOUD_APP_OPERATIONS", default_value_t = AppLimitFlags::default().app_operations)]
    pub(crate) app_operations: u64,

    /// The most `memory` that a manifest can ask for.
    #[arg(long, env = "PICLOUD_APP_SCRIPT_MEMORY", default_value_t = AppLimitFlags::default().app_script_memory)]
    pub(crate) app_script_memory: Size,

    /// The longest `body` that a manifest can ask for.
    #[arg(long, env = "PICLOUD_APP_BODY", default_value_t = AppLimitFlags::default().app_body)]
    pub(crate) app_body: Size,

    /// The most `concurrency` that a manifest can ask for.
    #[arg(long, env = "PICLOUD_APP_CONCURRENCY", default_value_t = AppLimitFlags::default().app_concurrency)]
    pub(crate) app_concurrency: u32,

    /// How many schedules a manifest can declare.
    #[arg(long, env = "PICLOUD_APP_SCHEDULES", default_value_t = AppLimitFlags::default().app_schedules)]
    pub(crate) app_schedules: usize,
}

impl AppLimitFlags {
    /// What the flags grant every app.
    ///
    /// # Errors
    /// A limit cannot have such a value.
    pub(super) fn resolve(&self) -> Result<GrantedLimits, Misuse> {
        let limits = GrantedLimits {
            memory_share: self.app_memory_share.map(|Size(bytes)| bytes),
            disk: self.app_disk.0,
            previews: self.app_previews,
            schedule_runs: self.app_schedule_runs,
            executions: Limits {
                timeout: self.app_timeout.0,
                operations: self.app_operations,
                memory: self.app_script_memory.0,
                body: self.app_body.0,
                concurrency: self.app_concurrency,
            },
            schedules: self.app_schedules,
        };
        let values = AppLimit::ALL.map(|limit| (limit, limits.get(limit)));
        check_ranges(&values).map_err(Misuse::AppLimit)?;
        Ok(limits)
    }
}

impl Default for AppLimitFlags {
    fn default() -> Self {
        let GrantedLimits { memory_share, disk, previews, schedule_runs, executions, schedules } =
            GrantedLimits::default();
        Self {
            app_memory_share: memory_share.map(Size),
            app_disk: Size(disk),
            app_previews: previews,
            app_schedule_runs: schedule_runs,
            app_timeout: Time(executions.timeout),
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

/// A number that is not negative.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Number(pub(crate) u64);

impl FromStr for Number {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        text.parse().map(Self).map_err(|_| "write a whole number such as 50")
    }
}

/// The limits of an app, shown or changed. Each takes a value, or `default` for what the server grants every app.
#[derive(Clone, Debug, Default, Args)]
pub(crate) struct AppLimitsOption {
    /// The app; without it that of the `picloud` git remote.
    #[arg(value_name = "APP", env = "PICLOUD_APP", add = ArgValueCompleter::new(completing::apps))]
    pub(crate) app: Option<AppName>,

    /// How much of each node's memory it can hold at once.
    #[arg(long, value_name = "SIZE")]
    pub(crate) memory_share: Option<OrDefault<Size>>,

    /// How much its repository can take in the database.
    #[arg(long, value_name = "SIZE")]
    pub(crate) disk: Option<OrDefault<Size>>,

    /// How many of its previews can be live.
    #[arg(long, value_name = "NUMBER")]
    pub(crate) previews: Option<OrDefault<Number>>,

    /// How many executions a minute its schedules can start.
    #[arg(long, value_name = "NUMBER")]
    pub(crate) schedule_runs: Option<OrDefault<Number>>,

    /// The longest `timeout` that its manifest can ask for.
    #[arg(long, value_name = "DURATION")]
    pub(crate) timeout: Option<OrDefault<Time>>,

    /// The most `operations` that its manifest can ask for.
    #[arg(long, value_name = "NUMBER")]
    pub(crate) operations: Option<OrDefault<Number>>,

    /// The most `memory` that its manifest can ask for.
    #[arg(long, value_name = "SIZE")]
    pub(crate) script_memory: Option<OrDefault<Size>>,

    /// The longest `body` that its manifest can ask for.
    #[arg(long, value_name = "SIZE")]
    pub(crate) body: Option<OrDefault<Size>>,

    /// The most `concurrency` that its manifest can ask for.
    #[arg(long, value_name = "NUMBER")]
    pub(crate) concurrency: Option<OrDefault<Number>>,

    /// How many schedules its manifest can declare.
    #[arg(long, value_name = "NUMBER")]
    pub(crate) schedules: Option<OrDefault<Number>>,

    #[command(flatten)]
    pub(crate) client: ClientOptions,
}
