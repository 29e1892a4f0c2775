//! Tables of deploys, branches and routes.

use super::table::table;
use super::when::when;
use super::{printable, short_commit};
use crate::api_types::{Branch, Deploys, RolledBack, Routes};

/// The table of deploys.
pub(crate) fn listed(deploys: &Deploys) -> String {
    if deploys.deploys.is_empty() {
        return "no deploys; deploy with  git push picloud main\n".to_owned();
    }
    let row = |deploy: &crate::api_types::Deploy| {
        vec![
            deploy.number.to_string(),
            if deploy.live { "live" } else { "" }.to_owned(),
            deploy.branch.clone(),
            short_commit(&deploy.commit).to_owned(),
            when(deploy.deployed_at),
            deploy.deployed_by.clone(),
            description(deploy),
        ]
    };
    let rows: Vec<_> = deploys.deploys.iter().map(row).collect();
    table(&["DEPLOY", "", "BRANCH", "COMMIT", "DEPLOYED", "BY", "DESCRIPTION"], &rows)
}

/// The cause, the subject of the commit, and the message of a rollback.
fn description(deploy: &crate::api_types::Deploy) -> String {
    let cause = deploy.cause.as_ref().map(|cause| format!("{cause}: ")).unwrap_or_default();
    let message = deploy.message.as_ref().map(|message| format!(" ({message})")).unwrap_or_default();
    format!("{cause}{}{message}", deploy.subject)
}

/// The result of a rollback.
pub(crate) fn rolled_back(result: &RolledBack) -> String {
    let nodes = match (result.nodes_live, result.nodes) {
        (Some(live), Some(nodes)) if nodes > 1 => format!(" on {live}/{nodes} nodes"),
        _ => String::new(),
    };
    let RolledBack { to, deploy, commit, subject, url, .. } = result;
    let (commit, subject) = (short_commit(commit), printable(subject));
    format!("rolled back to deploy {to}: {commit} \"{subject}\" is live{nodes} as deploy {deploy} at {url}\n")
}

/// The table of branches.
pub(crate) fn branches(branches: &[Branch]) -> String {
    if branches.is_empty() {
        return "no live deploys; deploy with  git push picloud main\n".to_owned();
    }
    let row = |branch: &Branch| {
        vec![
            branch.name.clone(),
            if branch.production { "production" } else { "preview" }.to_owned(),
            branch.deploy.to_string(),
            short_commit(&branch.commit).to_owned(),
            branch.deployed_at.map(when).unwrap_or_default(),
            if branch.scheduled { "enabled" } else { "disabled" }.to_owned(),
            branch.expires_at.map_or_else(|| "-".to_owned(), when),
            branch.url.clone(),
        ]
    };
    let rows: Vec<_> = branches.iter().map(row).collect();
    table(&["BRANCH", "", "DEPLOY", "COMMIT", "DEPLOYED", "SCHEDULES", "EXPIRES", "URL"], &rows)
}

/// The tables of routes and functions.
pub(crate) fn routes(routes: &Routes) -> String {
    let rows: Vec<_> = routes
        .routes
        .iter()
        .map(|route| vec![route.methods.join(", "), route.path.clone(), route.script.clone()])
        .collect();
    let mut text = match rows.is_empty() {
        true => "the live deploy has no routes\n".to_owned(),
        false => table(&["METHODS", "PATH", "SCRIPT"], &rows),
    };
    if !routes.functions.is_empty() {
        let rows: Vec<_> = routes
            .functions
            .iter()
            .map(|function| vec![function.name.clone(), function.script.clone()])
            .collect();
        text.push('\n');
        text += &table(&["FUNCTION", "SCRIPT"], &rows);
    }
    text
}
