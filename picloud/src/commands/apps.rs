//! `picloud apps`: list, create, prune, protect and unprotect.

use super::error::CommandError;
use super::lifecycle;
use super::limits::limits;
use super::output::{print, show};
use crate::api_types::{App, AppSettings, Apps, Prune, Pruned};
use crate::cli::{AppArgs, AppsArgs, AppsCommand, DurationValue, PruneArgs};
use crate::client::{AppArg, Client, ClientArgs};
use crate::render::{apps, count, size};

pub(crate) fn apps(options: &AppsArgs) -> Result<(), CommandError> {
    match &options.command {
        None => list(&options.client),
        Some(AppsCommand::List(client)) => list(client),
        Some(AppsCommand::Create { name, client }) => {
            let created: App =
                Client::find(client)?.send("PUT", &format!("apps/{}", name.as_str()), None::<&()>)?;
            show(&created, client.json, |app| apps::list(std::slice::from_ref(app)))
        }
        Some(AppsCommand::Limits(option)) => limits(option),
        Some(AppsCommand::Prune(option)) => prune(option),
        Some(AppsCommand::Stop(option)) => lifecycle::set_stopped(option, true),
        Some(AppsCommand::Start(option)) => lifecycle::set_stopped(option, false),
        Some(AppsCommand::Rename { app, name, client }) => lifecycle::rename(app, name, client),
        Some(AppsCommand::Delete { app, yes, client }) => lifecycle::delete(app, *yes, client),
        Some(AppsCommand::Deleted(client)) => lifecycle::deleted(client),
        Some(AppsCommand::Undelete { app, name, client }) => lifecycle::undelete(app, name.as_ref(), client),
        Some(AppsCommand::Protect(option)) => protect(option, true),
        Some(AppsCommand::Unprotect(option)) => protect(option, false),
    }
}

fn list(options: &ClientArgs) -> Result<(), CommandError> {
    let apps: Apps = Client::find(options)?.get("apps")?;
    show(&apps, options.json, |apps| apps::list(&apps.apps))
}

fn prune(option: &PruneArgs) -> Result<(), CommandError> {
    let client = Client::find(&option.client)?;
    let app = client.app(&AppArg { app: option.app.clone() })?;
    let request = Prune {
        deploys: option.deploys,
        older_than_seconds: option.older_than.map(|DurationValue(age)| age.as_secs()),
    };
    let pruned: Pruned = client.send("POST", &format!("apps/{}/prune", app.as_str()), Some(&request))?;
    show(&pruned, option.client.json, |pruned| {
        let count = |number: u64, thing| count(usize::try_from(number).unwrap_or(usize::MAX), thing);
        format!(
            "deleted {} and {}; {} now uses {}, {} less\n",
            count(pruned.deploys, "deploy"),
            count(pruned.objects, "object"),
            app.as_str(),
            size(pruned.disk_bytes),
            size(pruned.bytes)
        )
    })
}

fn protect(option: &AppArgs, protected: bool) -> Result<(), CommandError> {
    let client = Client::find(&option.client)?;
    let app = client.app(&option.app)?;
    let request = AppSettings { protected: Some(protected) };
    let path = format!("apps/{}/settings", app.as_str());
    let settings: AppSettings = client.send("PATCH", &path, Some(&request))?;
    if option.client.json {
        return show(&settings, true, |_| String::new());
    }
    print(if settings.protected == Some(true) {
        format!(
            "the production branch of {app} is protected; force-pushes require the scope {app}:force\n",
            app = app.as_str()
        )
    } else {
        format!("the production branch of {} is not protected any more\n", app.as_str())
    })
}
