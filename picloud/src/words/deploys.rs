//! What people read of deploys.

use super::table::table;
use super::when::when;
use super::{printable, short_commit};
use crate::rest::{Branch, Deploys, RolledBack, Routes};

/// Deploys as a table.
pub(crate) fn listed(deploys: &Deploys) -> String {
    if deploys.deploys.is_empty() {
        return "Nothing was deployed yet; deploy with  git push picloud main\n".to_owned();
    }
    let row = |deploy: &crate::rest::Deploy| {
        vec![
            deploy.number.to_string(),
            if deploy.live { "live" } else { "" }.to_owned(),
            deploy.branch.clone(),
            short_commit(&deploy.commit).to_owned(),
            when(deploy.deployed_at),
            deploy.deployed_by.clone(),
            what(deploy),
        ]
    };
    let rows: Vec<_> = deploys.deploys.iter().map(row).collect();
    table(&["DEPLOY", "", "BRANCH", "COMMIT", "WHEN", "BY", "WHAT"], &rows)
}

/// What a deploy is: its commit's subject, what made it where that was no push, and what was said about it.
fn what(deploy: &crate::rest::Deploy) -> String {
    let because = deploy.because.as_ref().map(|act| format!("{act}: ")).unwrap_or_default();
    let message = deploy.message.as_ref().map(|message| format!(" ({message})")).unwrap_or_default();
    format!("{because}{}{message}", deploy.subject)
}

/// What was gone back to.
pub(crate) fn rolled_back(done: &RolledBack) -> String {
    let nodes = match (done.nodes_live, done.nodes) {
        (Some(live), Some(nodes)) if nodes > 1 => format!(" on {live}/{nodes} nodes"),
        _ => String::new(),
    };
    let RolledBack { to, deploy, commit, subject, url, .. } = done;
    let (commit, subject) = (short_commit(commit), printable(subject));
    format!("{commit} \"{subject}\" of deploy {to} is live again{nodes}, as deploy {deploy}: {url}\n")
}

/// What is live on each branch, as a table.
pub(crate) fn branches(branches: &[Branch]) -> String {
    if branches.is_empty() {
        return "Nothing is live; deploy with  git push picloud main\n".to_owned();
    }
    let row = |branch: &Branch| {
        vec![
            branch.name.clone(),
            if branch.production { "production" } else { "preview" }.to_owned(),
            branch.deploy.to_string(),
            short_commit(&branch.commit).to_owned(),
            branch.deployed_at.map(when).unwrap_or_default(),
            if branch.scheduled { "run" } else { "do not run" }.to_owned(),
            branch.expires_at.map_or_else(|| "-".to_owned(), when),
            branch.url.clone(),
        ]
    };
    let rows: Vec<_> = branches.iter().map(row).collect();
    table(&["BRANCH", "", "DEPLOY", "COMMIT", "SINCE", "SCHEDULES", "EXPIRES", "ADDRESS"], &rows)
}

/// Routes and functions as tables.
pub(crate) fn routes(routes: &Routes) -> String {
    let rows: Vec<_> = routes
        .routes
        .iter()
        .map(|route| vec![route.methods.join(", "), route.path.clone(), route.script.clone()])
        .collect();
    let mut text = match rows.is_empty() {
        true => "What is live declares no route.\n".to_owned(),
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
