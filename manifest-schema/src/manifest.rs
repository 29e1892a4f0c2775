//! The manifest as typed, validated values.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use schemars::JsonSchema;
use serde_json::Value;

use crate::cron::Cron;
use crate::limits::{Limits, RouteLimits};
use crate::method::{Method, MethodSet};
use crate::name::{DomainName, JobName, ScriptPath, SettingName};
use crate::path::RoutePath;
use crate::sdk::SdkVersion;
use crate::units::DurationText;

/// The manifest's file name, at the root of the repository.
pub const FILE_NAME: &str = "picloud.toml";

/// The end of the names of files of tests, which are no part of the app.
pub const TEST_SUFFIX: &str = ".test.rhai";

/// Maximum number of routes, of schedules and of functions; enough for hand-written manifests.
pub const ENTRIES_MAX: usize = 2000;

/// Maximum number of settings, and of secrets.
pub const SETTINGS_MAX: usize = 100;

/// Maximum length of a setting's value, in bytes.
pub const SETTING_BYTES_MAX: usize = 16 * 1024;

/// Maximum length of the description, in characters.
pub const DESCRIPTION_MAX: usize = 200;

/// Maximum number of domains of an app.
pub const DOMAINS_MAX: usize = 100;

/// Maximum number of checks. They run one after the other within some seconds.
pub const CHECKS_MAX: usize = 100;

/// A manifest. Names are unique in their list, and no two routes match the same request.
///
/// The JSON Schema is generated from these types: fields are keys, doc comments are descriptions in editors.
#[derive(Clone, Debug, PartialEq, JsonSchema)]
#[schemars(deny_unknown_fields, title = "picloud.toml", description = "What a PiCloud app declares.")]
pub struct Manifest {
    /// The SDK version of the scripts.
    pub sdk: SdkVersion,
    /// The app's description and domains.
    #[schemars(default)]
    pub app: App,
    /// HTTP routes: a path and the script that handles it.
    #[schemars(default, length(max = ENTRIES_MAX))]
    pub routes: Vec<Route>,
    /// Scripts that run on a schedule.
    #[schemars(default, length(max = ENTRIES_MAX))]
    pub schedules: Vec<Schedule>,
    /// Scripts that are called by name, through the API and the command line.
    #[schemars(default, length(max = ENTRIES_MAX))]
    pub functions: Vec<Function>,
    /// Plain settings, available to scripts as `ctx.env`. SDK 1.2.
    #[schemars(default)]
    pub env: BTreeMap<SettingName, String>,
    /// Secrets, available to scripts as `ctx.secrets`. SDK 1.2.
    #[schemars(default)]
    pub secrets: SecretNames,
    /// Limits of each execution.
    #[schemars(default)]
    pub limits: Limits,
    /// Requests that a commit must answer before it goes live. SDK 1.3.
    #[schemars(default, length(max = CHECKS_MAX))]
    pub checks: Vec<Check>,
}

/// Secrets of the app. Their values are set with `picloud secrets set` and are never in the repository.
#[derive(Clone, Debug, Default, PartialEq, Eq, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct SecretNames {
    /// Secrets that must be set before a deploy.
    #[schemars(default, length(max = SETTINGS_MAX))]
    pub required: Vec<SettingName>,
}

/// Description and domains of the app.
#[derive(Clone, Debug, Default, PartialEq, Eq, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct App {
    /// A description in one line.
    #[schemars(
        with = "String",
        default = "String::new",
        length(max = DESCRIPTION_MAX),
        regex(pattern = r"^[^\u0000-\u001f\u007f-\u009f]*$")
    )]
    pub description: Option<String>,
    /// Custom domains of production, in addition to the app's default host. A domain belongs to one app only.
    #[schemars(default, length(max = DOMAINS_MAX), extend("uniqueItems" = true))]
    pub domains: Vec<DomainName>,
}

/// An HTTP route.
#[derive(Clone, Debug, PartialEq, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct Route {
    /// The path: `{name}` captures one segment, `{*rest}` at the end captures the remaining ones.
    pub path: RoutePath,
    /// The HTTP methods; all methods by default.
    #[schemars(default)]
    pub methods: MethodSet,
    /// The script that handles the request, as a path in the repository.
    pub script: ScriptPath,
    /// Limits of its executions, at most those in `[limits]`. SDK 1.3.
    #[schemars(default, skip_serializing_if = "RouteLimits::is_empty")]
    pub limits: RouteLimits,
}

/// A script that runs on a schedule.
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
    /// What happens when a run is due while the previous one is running; `skip` by default.
    #[schemars(default)]
    pub overlap: Overlap,
    /// What happens with runs that were missed while no node was running; `once` by default.
    #[schemars(default)]
    pub catch_up: CatchUp,
    /// Timeout of a run in wall-clock time; 60 seconds by default, or what the server grants if that is less. SDK 1.3.
    #[schemars(with = "DurationText", default, skip_serializing_if = "Option::is_none")]
    pub timeout: Option<Duration>,
}

/// What happens when a run is due while the previous one is running.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, JsonSchema)]
#[schemars(rename_all = "snake_case")]
pub enum Overlap {
    /// The due run is skipped; the default.
    #[default]
    Skip,
    /// Both run.
    Allow,
}

/// What happens with runs that were missed while no node was running.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, JsonSchema)]
#[schemars(rename_all = "snake_case")]
pub enum CatchUp {
    /// The latest one runs once; the default.
    #[default]
    Once,
    /// None runs.
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

/// A request that a commit must answer as expected before it goes live.
///
/// Its effects are dropped, and it never sees data of production: secrets are those for previews.
#[derive(Clone, Debug, PartialEq, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct Check {
    /// The check's name, unique in the app.
    pub name: JobName,
    /// Method and path, such as `GET /`.
    pub request: CheckRequest,
    /// Headers of the request.
    #[schemars(default)]
    pub headers: BTreeMap<String, String>,
    /// Body of the request: a string is sent as text, everything else as JSON.
    #[schemars(default, skip_serializing_if = "Option::is_none")]
    pub body: Option<Value>,
    /// Values of secrets for this request.
    #[schemars(default)]
    pub secrets: BTreeMap<SettingName, String>,
    /// Values of the app's state that the request finds; without them it is empty.
    #[schemars(default)]
    pub kv: BTreeMap<String, Value>,
    /// The expected answer; any with status 200 by default.
    #[schemars(default)]
    pub expect: Expect,
}

/// Method, path and query of a check.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CheckRequest {
    /// The method.
    pub method: Method,
    /// Path and query, percent-encoded; it begins with `/`.
    pub target: String,
}

/// As in the manifest.
impl fmt::Display for CheckRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.method.as_str(), self.target)
    }
}

/// The expected answer to a check.
#[derive(Clone, Debug, PartialEq, JsonSchema)]
#[schemars(deny_unknown_fields, default)]
pub struct Expect {
    /// Status.
    #[schemars(range(min = 200, max = 599))]
    pub status: u16,
    /// Headers with their whole values.
    pub headers: BTreeMap<String, String>,
    /// Body as JSON; the objects of the answer can have more keys.
    #[schemars(skip_serializing_if = "Option::is_none")]
    pub json: Option<Value>,
    /// A part of the body.
    #[schemars(with = "String", default = "String::new")]
    pub contains: Option<String>,
}

impl Default for Expect {
    fn default() -> Self {
        Self { status: 200, headers: BTreeMap::new(), json: None, contains: None }
    }
}

impl Manifest {
    /// The scripts of the manifest, sorted by path, without duplicates.
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
