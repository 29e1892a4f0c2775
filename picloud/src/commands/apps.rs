//! `picloud apps`: what there is and what is live; create, limits, prune, protect and unprotect.

use super::error::CommandError;
use super::lifecycle;
use super::limits::limits;
use super::output::{print, show};
use crate::cli::{Age, AppsOption, AppsOptions, AppsVerb, PruneOption};
use crate::client::{AppOption, Client, ClientOptions};
use crate::rest::{App, AppSettings, Apps, Prune, Pruned};
use crate::words::table::table;
use crate::words::{count, short_commit, size};

pub(crate) fn apps(options: &AppsOptions) -> Result<(), CommandError> {
    match &options.verb {
        None => list(&options.client),
        Some(AppsVerb::List(client)) => list(client),
        Some(AppsVerb::Create { name, client }) => {
            let created: App =
                Client::find(client)?.send("PUT", &format!("apps/{}", name.as_str()), None::<&()>)?;
            show(&created, client.json, |app| words(std::slice::from_ref(app)))
        }
        Some(AppsVerb::Limits(option)) => limits(option),
        Some(AppsVerb::Prune(option)) => prune(option),
        Some(AppsVerb::Stop(option)) => lifecycle::set_stopped(option, true),
        Some(AppsVerb::Start(option)) => lifecycle::set_stopped(option, false),
        Some(AppsVerb::Rename { app, name, client }) => lifecycle::rename(app, name, client),
        Some(AppsVerb::Delete { app, yes, client }) => lifecycle::delete(app, *yes, client),
        Some(AppsVerb::Deleted(client)) => lifecycle::deleted(client),
        Some(AppsVerb::Undelete { app, name, client }) => lifecycle::undelete(app, name.as_ref(), client),
        Some(AppsVerb::Protect(option)) => protect(option, true),
        Some(AppsVerb::Unprotect(option)) => protect(option, false),
    }
}

fn list(options: &ClientOptions) -> Result<(), CommandError> {
    let apps: Apps = Client::find(options)?.get("apps")?;
    show(&apps, options.json, |apps| words(&apps.apps))
}

fn prune(option: &PruneOption) -> Result<(), CommandError> {
    let client = Client::find(&option.client)?;
    let app = client.app(&AppOption { app: option.app.clone() })?;
    let asked = Prune {
        deploys: option.deploys,
        older_than_seconds: option.older_than.map(|Age(age)| age.as_secs()),
    };
    let pruned: Pruned = client.send("POST", &format!("apps/{}/prune", app.as_str()), Some(&asked))?;
    show(&pruned, option.client.json, |pruned| {
        let count = |number: u64, thing| count(usize::try_from(number).unwrap_or(usize::MAX), thing);
        format!(
            "{} and {} are deleted; {} takes {}, {} less.\n",
            count(pruned.deploys, "deploy"),
            count(pruned.objects, "object"),
            app.as_str(),
            size(pruned.disk_bytes),
            size(pruned.bytes)
        )
    })
}

fn protect(option: &AppsOption, protected: bool) -> Result<(), CommandError> {
    let client = Client::find(&option.client)?;
    let app = client.app(&option.app)?;
    let asked = AppSettings { protected: Some(protected) };
    let path = format!("apps/{}/settings", app.as_str());
    let settings: AppSettings = client.send("PATCH", &path, Some(&asked))?;
    if option.client.json {
        return show(&settings, true, |_| String::new());
    }
    print(if settings.protected == Some(true) {
        format!(
            "The production branch of {app} only goes forward now, but for tokens with the scope {app}:force.\n",
            app = app.as_str()
        )
    } else {
        format!("The production branch of {} goes in any direction again.\n", app.as_str())
    })
}

fn words(apps: &[App]) -> String {
    if apps.is_empty() {
        return "There are no apps yet; the first push to a name makes one.\n".to_owned();
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
