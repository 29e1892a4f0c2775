//! The manifest as typed, checked values.

use crate::cron::Cron;
use crate::limits::Limits;
use crate::method::MethodSet;
use crate::name::{JobName, ScriptPath};
use crate::path::RoutePath;
use crate::sdk::SdkVersion;

/// The manifest's file name, at the root of the repository.
pub const FILE_NAME: &str = "picloud.toml";

/// What an app declares. Names are unique within their list, and no two routes match the same request.
#[derive(Clone, Debug, PartialEq)]
pub struct Manifest {
    /// The SDK contract the scripts were written for.
    pub sdk: SdkVersion,
    /// What the app is, in a line.
    pub description: Option<String>,
    /// What answers HTTP.
    pub routes: Vec<Route>,
    /// What runs by the clock.
    pub schedules: Vec<Schedule>,
    /// What is called by name.
    pub functions: Vec<Function>,
    /// What each execution may use.
    pub limits: Limits,
}

/// A path and the script that answers it.
#[derive(Clone, Debug, PartialEq)]
pub struct Route {
    /// The path with its captures.
    pub path: RoutePath,
    /// The methods it answers, never none.
    pub methods: MethodSet,
    /// What answers.
    pub script: ScriptPath,
}

/// A script that runs by the clock.
#[derive(Clone, Debug, PartialEq)]
pub struct Schedule {
    /// The schedule's name, unique in the app.
    pub name: JobName,
    /// When it is due.
    pub cron: Cron,
    /// What runs.
    pub script: ScriptPath,
    /// What happens when a run is due and the previous one still goes on.
    pub overlap: Overlap,
    /// What happens to runs that were missed while no node was up.
    pub catch_up: CatchUp,
}

/// What happens when a run is due and the previous one still goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Overlap {
    /// The due run is left out; the default.
    Skip,
    /// Both run.
    Allow,
}

/// What happens to runs that were missed while no node was up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CatchUp {
    /// The latest of them runs, once; the default.
    Once,
    /// None of them runs.
    None,
}

/// A script that is called by name.
#[derive(Clone, Debug, PartialEq)]
pub struct Function {
    /// The function's name, unique in the app.
    pub name: JobName,
    /// What runs.
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
