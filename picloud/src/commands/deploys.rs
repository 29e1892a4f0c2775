//! `picloud deploys`, `rollback`, `previews` and `routes`.

use super::error::CommandError;
use super::output::{next_page_hint, page_query, show};
use crate::api_types::{Branch, BranchSettings, Branches, Deploys, Rollback, RolledBack, Routes};
use crate::cli::{
    DeploysArgs, DeploysCommand, ListDeploysArgs, PreviewArgs, PreviewsArgs, PreviewsCommand, RollbackArgs,
    RoutesArgs,
};
use crate::client::{AppArg, Client, ClientArgs, percent_encode};
use crate::render;

/// Lists the deploys of an app, or rolls back to one.
pub(crate) fn deploys(args: &DeploysArgs) -> Result<(), CommandError> {
    match &args.command {
        None => list(&args.list),
        Some(DeploysCommand::List(options)) => list(options),
        Some(DeploysCommand::Rollback(options)) => rollback(options),
    }
}

fn list(options: &ListDeploysArgs) -> Result<(), CommandError> {
    let client = Client::find(&options.client)?;
    let app = client.app(&options.app)?;
    let mut path = format!("apps/{}/deploys?{}", app.as_str(), page_query(&options.page));
    if let Some(branch) = &options.branch {
        path += &format!("&branch={}", percent_encode(branch));
    }
    let found: Deploys = client.get(&path)?;
    show(&found, options.client.json, |found| {
        render::deploys::listed(found) + next_page_hint(found.next_cursor.as_deref()).as_str()
    })
}

/// Rolls back to an earlier deploy.
pub(crate) fn rollback(options: &RollbackArgs) -> Result<(), CommandError> {
    let client = Client::find(&options.client)?;
    let app = client.app(&options.app)?;
    let rollback = Rollback { deploy: options.deploy, message: options.message.clone() };
    let rolled_back: RolledBack =
        client.send("POST", &format!("apps/{}/rollback", app.as_str()), Some(&rollback))?;
    show(&rolled_back, options.client.json, render::deploys::rolled_back)
}

/// Lists the live deploys of all branches, or enables the schedules of a preview.
pub(crate) fn previews(options: &PreviewsArgs) -> Result<(), CommandError> {
    match &options.command {
        Some(PreviewsCommand::Schedule(preview)) => set_scheduled(preview, true),
        Some(PreviewsCommand::Unschedule(preview)) => set_scheduled(preview, false),
        Some(PreviewsCommand::List(list)) => branches(&list.app, &list.client),
        None => branches(&options.app, &options.client),
    }
}

fn branches(app: &AppArg, options: &ClientArgs) -> Result<(), CommandError> {
    let client = Client::find(options)?;
    let app = client.app(app)?;
    let found: Branches = client.get(&format!("apps/{}/branches", app.as_str()))?;
    show(&found, options.json, |found| render::deploys::branches(&found.branches))
}

fn set_scheduled(preview: &PreviewArgs, scheduled: bool) -> Result<(), CommandError> {
    let client = Client::find(&preview.client)?;
    let app = client.app(&preview.app)?;
    let request = BranchSettings { branch: preview.branch.clone(), scheduled };
    let changed: Branch = client.send("PATCH", &format!("apps/{}/branches", app.as_str()), Some(&request))?;
    show(&changed, preview.client.json, |changed| render::deploys::branches(std::slice::from_ref(changed)))
}

/// Lists the routes and functions of a live deploy.
pub(crate) fn routes(options: &RoutesArgs) -> Result<(), CommandError> {
    let client = Client::find(&options.client)?;
    let app = client.app(&options.app)?;
    let query = options.branch.as_deref().map(|branch| format!("?branch={}", percent_encode(branch)));
    let found: Routes = client.get(&format!("apps/{}/routes{}", app.as_str(), query.unwrap_or_default()))?;
    show(&found, options.client.json, render::deploys::routes)
}
