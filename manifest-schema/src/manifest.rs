//! The manifest as typed, checked values.

use std::collections::BTreeMap;

use schemars::JsonSchema;

use crate::cron::Cron;
use crate::limits::Limits;
use crate::method::MethodSet;
use crate::name::{DomainName, JobName, ScriptPath, SettingName};
use crate::path::RoutePath;
use crate::sdk::SdkVersion;

/// The manifest's file name, at the root of the repository.
pub const FILE_NAME: &str = "picloud.toml";

/// The most routes, schedules and functions, of each: more than a hand writes, and quick to check.
pub const ENTRIES_MAX: usize = 2000;

/// The most settings, and the most secrets.
pub const SETTINGS_MAX: usize = 100;

/// The longest value of a setting, in bytes.
pub const SETTING_BYTES_MAX: usize = 16 * 1024;

/// The longest description, in characters: a line of a list.
pub const DESCRIPTION_MAX: usize = 200;

/// The most domains of one app.
pub const DOMAINS_MAX: usize = 100;

/// What an app declares. Names are unique within their list, and no two routes match the same request.
///
/// The types of this room are also the manifest's JSON Schema: their fields are its keys, their documents what editors
/// show.
#[derive(Clone, Debug, PartialEq, JsonSchema)]
#[schemars(deny_unknown_fields, title = "picloud.toml", description = "What a PiCloud app declares.")]
pub struct Manifest {
    /// The SDK contract the scripts were written for.
    pub sdk: SdkVersion,
    /// What the app is.
    #[schemars(default)]
    pub app: App,
    /// What answers HTTP: a path and the script that answers it.
    #[schemars(default, length(max = ENTRIES_MAX))]
    pub routes: Vec<Route>,
    /// What runs by the clock.
    #[schemars(default, length(max = ENTRIES_MAX))]
    pub schedules: Vec<Schedule>,
    /// What is called by name, through the API and the command line.
    #[schemars(default, length(max = ENTRIES_MAX))]
    pub functions: Vec<Function>,
    /// Plain settings, which scripts read as `ctx.env`. SDK 1.2.
    #[schemars(default)]
    pub env: BTreeMap<SettingName, String>,
    /// The secrets that scripts read as `ctx.secrets`. SDK 1.2.
    #[schemars(default)]
    pub secrets: SecretNames,
    /// What each execution may use.
    #[schemars(default)]
    pub limits: Limits,
}

/// The secrets that scripts read. Their values are set with `picloud secrets set`, and never stand in a repository.
#[derive(Clone, Debug, Default, PartialEq, Eq, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct SecretNames {
    /// Those without which the app cannot be deployed.
    #[schemars(default, length(max = SETTINGS_MAX))]
    pub required: Vec<SettingName>,
}

/// What the app is.
#[derive(Clone, Debug, Default, PartialEq, Eq, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct App {
    /// What the app is for, in a line.
    #[schemars(
        with = "String",
        default = "String::new",
        length(max = DESCRIPTION_MAX),
        regex(pattern = r"^[^\u0000-\u001f\u007f-\u009f]*$")
    )]
    pub description: Option<String>,
    /// Domains of its own at which production answers, beside the addresses that every app has. No two apps have the same.
    #[schemars(default, length(max = DOMAINS_MAX), extend("uniqueItems" = true))]
    pub domains: Vec<DomainName>,
}

/// A path and the script that answers it.
#[derive(Clone, Debug, PartialEq, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct Route {
    /// The path: `{name}` captures one part, `{*rest}` at the end the remainder.
    pub path: RoutePath,
    /// The methods it answers; every method where it is left out.
    #[schemars(default)]
    pub methods: MethodSet,
    /// The script that answers, as a path in the repository.
    pub script: ScriptPath,
}

/// A script that runs by the clock.
#[derive(Clone, Debug, PartialEq, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct Schedule {
    /// The schedule's name, unique in the app.
    pub name: JobName,
    /// When it is due: the keys `cron` and `timezone`.
    #[schemars(flatten)]
    pub cron: Cron,
    /// The script that runs, as a path in the repository.
    pub script: ScriptPath,
    /// What happens when a run is due and the previous one still goes on; `skip` where it is left out.
    #[schemars(default)]
    pub overlap: Overlap,
    /// What happens to runs that were missed while no node was up; `once` where it is left out.
    #[schemars(default)]
    pub catch_up: CatchUp,
}

/// What happens when a run is due and the previous one still goes on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, JsonSchema)]
#[schemars(rename_all = "snake_case")]
pub enum Overlap {
    /// The due run is left out; the default.
    #[default]
    Skip,
    /// Both run.
    Allow,
}

/// What happens to runs that were missed while no node was up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, JsonSchema)]
#[schemars(rename_all = "snake_case")]
pub enum CatchUp {
    /// The latest of them runs, once; the default.
    #[default]
    Once,
    /// None of them runs.
    None,
}

/// A script that is called by name.
#[derive(Clone, Debug, PartialEq, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct Function {
    /// The function's name, unique in the app.
    pub name: JobName,
    /// The script that runs, as a path in the repository.
    pub script: ScriptPath,
}

impl Manifest {
    /// Every script that the manifest names, each once, in order of their paths.
    pub fn scripts(&self) -> Vec<&ScriptPath> {
        let mut scripts: Vec<_> = self
            .routes
            .iter()
            .map(|route| &route.script)
            .chain(self.schedules.iter().map(|schedule| &schedule.script))
            .chain(self.functions.iter().map(|function| &function.script))
            .collect();
        scripts.sort_unstable();
        scripts.dedup();
        scripts
    }
}
