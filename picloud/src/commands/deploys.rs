//! `picloud deploys`, `rollback`, `previews` and `routes`: what was live, what is, and going back.

use super::error::CommandError;
use super::output::{more, page, show};
use crate::cli::{
    DeploysNoun, DeploysOptions, DeploysVerb, PreviewOption, PreviewsOptions, PreviewsVerb, RollbackOptions,
    RoutesOptions,
};
use crate::client::{AppOption, Client, ClientOptions, escaped};
use crate::rest::{Branch, BranchSettings, Branches, Deploys, Rollback, RolledBack, Routes};
use crate::words::deploys;

/// Lists the deploys of an app, or goes back to one.
pub(crate) fn noun(noun: &DeploysNoun) -> Result<(), CommandError> {
    match &noun.verb {
        None => list(&noun.list),
        Some(DeploysVerb::List(options)) => list(options),
        Some(DeploysVerb::Rollback(options)) => rollback(options),
    }
}

fn list(options: &DeploysOptions) -> Result<(), CommandError> {
    let client = Client::find(&options.client)?;
    let app = client.app(&options.app)?;
    let mut path = format!("apps/{}/deploys?{}", app.as_str(), page(&options.page));
    if let Some(branch) = &options.branch {
        path += &format!("&branch={}", escaped(branch));
    }
    let found: Deploys = client.get(&path)?;
    show(&found, options.client.json, |found| {
        deploys::listed(found) + more(found.next_cursor.as_deref()).as_str()
    })
}

/// Makes an earlier deploy live again.
pub(crate) fn rollback(options: &RollbackOptions) -> Result<(), CommandError> {
    let client = Client::find(&options.client)?;
    let app = client.app(&options.app)?;
    let rollback = Rollback { deploy: options.deploy, message: options.message.clone() };
    let done: RolledBack =
        client.send("POST", &format!("apps/{}/rollback", app.as_str()), Some(&rollback))?;
    show(&done, options.client.json, deploys::rolled_back)
}

/// Lists what is live on each branch, or lets the schedules of one run.
pub(crate) fn previews(options: &PreviewsOptions) -> Result<(), CommandError> {
    match &options.verb {
        Some(PreviewsVerb::Schedule(preview)) => schedule(preview, true),
        Some(PreviewsVerb::Unschedule(preview)) => schedule(preview, false),
        Some(PreviewsVerb::List(list)) => branches(&list.app, &list.client),
        None => branches(&options.app, &options.client),
    }
}

fn branches(app: &AppOption, options: &ClientOptions) -> Result<(), CommandError> {
    let client = Client::find(options)?;
    let app = client.app(app)?;
    let found: Branches = client.get(&format!("apps/{}/branches", app.as_str()))?;
    show(&found, options.json, |found| deploys::branches(&found.branches))
}

fn schedule(preview: &PreviewOption, scheduled: bool) -> Result<(), CommandError> {
    let client = Client::find(&preview.client)?;
    let app = client.app(&preview.app)?;
    let asked = BranchSettings { branch: preview.branch.clone(), scheduled };
    let changed: Branch = client.send("PATCH", &format!("apps/{}/branches", app.as_str()), Some(&asked))?;
    show(&changed, preview.client.json, |changed| deploys::branches(std::slice::from_ref(changed)))
}

/// Lists the routes and functions of what is live.
pub(crate) fn routes(options: &RoutesOptions) -> Result<(), CommandError> {
    let client = Client::find(&options.client)?;
    let app = client.app(&options.app)?;
    let of = options.branch.as_deref().map(|branch| format!("?branch={}", escaped(branch)));
    let found: Routes = client.get(&format!("apps/{}/routes{}", app.as_str(), of.unwrap_or_default()))?;
    show(&found, options.client.json, deploys::routes)
}
