//! Looks up the names in a request. The error for an unknown name suggests a similar one, among those that the caller has access to.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::sync::Arc;

use manifest_schema::diagnostic::Suggestions;
use manifest_schema::label::branch_label;
use manifest_schema::name::AppName;
use platform::live::Live;
use platform::tokens::Caller;

use super::state::Api;
use crate::edge::api_error::ApiError;
use crate::edge::live::{on_branch, production};

/// The maximum number of apps to compare a name with, since comparing blocks the thread.
const COMPARED_APPS_MAX: usize = 1000;

/// The live revision of a branch, or of production.
pub(super) fn live(
    api: &Api,
    caller: &Caller,
    app: &AppName,
    branch: Option<&str>,
) -> Result<Arc<Live>, ApiError> {
    match branch {
        None if api.table.find_production(app.as_str()).is_none() => Err(no_app(api, caller, app.as_str())),
        None => production(&api.table, app),
        Some(branch) if api.table.find(app.as_str(), &branch_label(app, branch)).is_none() => {
            Err(no_branch(api, app, branch))
        }
        Some(branch) => on_branch(&api.table, app, branch),
    }
}

/// The error for an app that does not exist, or that the caller has no access to: both are the same.
pub(super) fn no_app(api: &Api, caller: &Caller, name: &str) -> ApiError {
    let is_visible = |name: &AppName| caller.can_see(name);
    let names = api.table.app_names(is_visible, COMPARED_APPS_MAX);
    not_found(ApiError::NO_APP, name, &names)
}

/// The error for a branch without a live revision.
pub(super) fn no_branch(api: &Api, app: &AppName, name: &str) -> ApiError {
    not_found(ApiError::NO_BRANCH, name, &api.table.branch_names(app))
}

/// The error for a branch without deploys.
pub(super) fn no_deploy_of(api: &Api, app: &AppName, name: &str) -> ApiError {
    not_found("the app has no deploys of this branch", name, &api.table.branch_names(app))
}

/// The error for an unknown schedule.
pub(super) fn no_schedule(live: &Live, name: &str) -> ApiError {
    let schedules = live.revision.manifest().schedules.iter();
    let names: Vec<_> = schedules.map(|schedule| schedule.name.as_str().to_owned()).collect();
    not_found("schedule not found", name, &names)
}

/// The error for an unknown function.
pub(super) fn no_function(live: &Live, name: &str) -> ApiError {
    let functions = live.revision.manifest().functions.iter();
    let names: Vec<_> = functions.map(|function| function.name.as_str().to_owned()).collect();
    not_found("function not found", name, &names)
}

/// An error that suggests one of `names`.
pub(super) fn not_found_among<'n>(
    message: &'static str,
    name: &str,
    names: impl Iterator<Item = &'n str>,
) -> ApiError {
    not_found(message, name, &names.map(str::to_owned).collect::<Vec<_>>())
}

/// Requires that the script is live on a branch of the app; no records will be added for any other.
///
/// # Errors
/// No branch has the script.
pub(super) fn require_live_script(api: &Api, app: &AppName, script: &str) -> Result<(), ApiError> {
    let branches = api.table.branches(app);
    let scripts: BTreeSet<&str> = branches.iter().flat_map(scripts).collect();
    if scripts.contains(script) {
        return Ok(());
    }
    Err(not_found_among("script not found on any branch, and it has no records", script, scripts.into_iter()))
}

fn scripts(live: &Arc<Live>) -> impl Iterator<Item = &str> {
    let manifest = live.revision.manifest();
    let routes = manifest.routes.iter().map(|route| route.script.as_str());
    let functions = manifest.functions.iter().map(|function| function.script.as_str());
    let schedules = manifest.schedules.iter().map(|schedule| schedule.script.as_str());
    routes.chain(functions).chain(schedules)
}

fn not_found(message: &'static str, name: &str, names: &[String]) -> ApiError {
    let hint = Suggestions::default().did_you_mean(name, names.iter().map(String::as_str));
    ApiError::not_found(hint.map_or(Cow::Borrowed(message), |hint| Cow::Owned(format!("{message}; {hint}"))))
}
