//! `picloud apps`: what there is, and what is live.

use super::{CommandError, show};
use crate::client::{Client, ClientOptions};
use crate::rest::Apps;
use crate::words::short_commit;
use crate::words::table::table;

pub(crate) fn apps(options: &ClientOptions) -> Result<(), CommandError> {
    let apps: Apps = Client::find(options)?.get("apps")?;
    show(&apps, options.json, words)
}

fn words(apps: &Apps) -> String {
    if apps.apps.is_empty() {
        return "There are no apps yet; the first push to a name makes one.\n".to_owned();
    }
    let rows: Vec<Vec<String>> = apps
        .apps
        .iter()
        .map(|app| {
            let (deploy, commit) = match &app.live {
                Some(live) => (live.deploy.to_string(), short_commit(&live.commit).to_owned()),
                None => ("-".to_owned(), "-".to_owned()),
            };
            vec![app.name.clone(), app.production_branch.clone(), deploy, commit]
        })
        .collect();
    table(&["APP", "BRANCH", "DEPLOY", "COMMIT"], &rows)
}
