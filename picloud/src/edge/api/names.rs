//! What the names in a request stand for. Where one stands for nothing, the answer offers the name that was probably meant, among those that
//! the caller knows of.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::sync::Arc;

use manifest_schema::fault::Suggestions;
use manifest_schema::label::branch_label;
use manifest_schema::name::AppName;
use platform::live::Live;
use platform::tokens::Caller;

use super::state::Api;
use crate::edge::api_error::ApiError;
use crate::edge::live::{on_branch, production};

/// With how many apps a name is compared. Comparing takes processor time that requests of others wait for.
const COMPARED_MAX: usize = 1000;

/// What is live on a branch; without one, in production.
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

/// No app has the name, or the caller can do nothing with the one that has it, which is answered the same.
pub(super) fn no_app(api: &Api, caller: &Caller, name: &str) -> ApiError {
    let is_known = |name: &AppName| caller.knows(name);
    let names = api.table.app_names(is_known, COMPARED_MAX);
    absent(ApiError::NO_APP, name, &names)
}

/// Nothing is live on the branch.
pub(super) fn no_branch(api: &Api, app: &AppName, name: &str) -> ApiError {
    absent(ApiError::NO_BRANCH, name, &api.table.branch_names(app))
}

/// The app has no deploy of the branch.
pub(super) fn no_deploy_of(api: &Api, app: &AppName, name: &str) -> ApiError {
    absent("the app has no deploy of that branch", name, &api.table.branch_names(app))
}

/// What is live has no schedule of that name.
pub(super) fn no_schedule(live: &Live, name: &str) -> ApiError {
    let schedules = live.revision.manifest().schedules.iter();
    let names: Vec<_> = schedules.map(|schedule| schedule.name.as_str().to_owned()).collect();
    absent("the app has no such schedule", name, &names)
}

/// What is live has no function of that name.
pub(super) fn no_function(live: &Live, name: &str) -> ApiError {
    let functions = live.revision.manifest().functions.iter();
    let names: Vec<_> = functions.map(|function| function.name.as_str().to_owned()).collect();
    absent("the app has no such function", name, &names)
}

/// Something else has no such name.
pub(super) fn none_like<'n>(
    what: &'static str,
    name: &str,
    names: impl Iterator<Item = &'n str>,
) -> ApiError {
    absent(what, name, &names.map(str::to_owned).collect::<Vec<_>>())
}

/// Holds that a script of that name is live on a branch of the app: nothing else is recorded from now on.
///
/// # Errors
/// None is.
pub(super) fn require_live_script(api: &Api, app: &AppName, script: &str) -> Result<(), ApiError> {
    let branches = api.table.branches(app);
    let scripts: BTreeSet<&str> = branches.iter().flat_map(scripts).collect();
    if scripts.contains(script) {
        return Ok(());
    }
    Err(none_like(
        "no branch of the app has such a script, and nothing is recorded of one",
        script,
        scripts.into_iter(),
    ))
}

fn scripts(live: &Arc<Live>) -> impl Iterator<Item = &str> {
    let manifest = live.revision.manifest();
    let routes = manifest.routes.iter().map(|route| route.script.as_str());
    let functions = manifest.functions.iter().map(|function| function.script.as_str());
    let schedules = manifest.schedules.iter().map(|schedule| schedule.script.as_str());
    routes.chain(functions).chain(schedules)
}

fn absent(what: &'static str, name: &str, names: &[String]) -> ApiError {
    let near = Suggestions::default().did_you_mean(name, names.iter().map(String::as_str));
    ApiError::not_found(near.map_or(Cow::Borrowed(what), |near| Cow::Owned(format!("{what}; {near}"))))
}
