//! Tables of apps.

use super::table::table;
use super::when::when;
use super::{short_commit, size};
use crate::api_types::{App, DeletedApp};

/// The table of apps.
pub(crate) fn list(apps: &[App]) -> String {
    if apps.is_empty() {
        return "no apps; the first push to a name creates an app\n".to_owned();
    }
    let rows: Vec<Vec<String>> = apps
        .iter()
        .map(|app| {
            let (deploy, commit) = match &app.live {
                Some(live) => (live.deploy.to_string(), short_commit(&live.commit).to_owned()),
                None => ("-".to_owned(), "-".to_owned()),
            };
            let branch = &app.production_branch;
            let branch = if app.protected { format!("{branch} (protected)") } else { branch.clone() };
            let name =
                if app.stopped.is_some() { format!("{} (stopped)", app.name) } else { app.name.clone() };
            vec![name, branch, deploy, commit, size(app.disk_bytes)]
        })
        .collect();
    table(&["APP", "BRANCH", "DEPLOY", "COMMIT", "DISK"], &rows)
}

/// The table of deleted apps.
pub(crate) fn deleted(apps: &[DeletedApp]) -> String {
    if apps.is_empty() {
        return "no deleted apps\n".to_owned();
    }
    let row = |app: &DeletedApp| {
        let (at, by) = (when(app.deleted_at), app.deleted_by.clone());
        vec![app.name.clone(), app.id.to_string(), at, by, when(app.purged_at), size(app.disk_bytes)]
    };
    let rows: Vec<_> = apps.iter().map(row).collect();
    table(&["APP", "ID", "DELETED", "BY", "KEPT UNTIL", "DISK"], &rows)
}
