//! `picloud apps stop`, `start`, `rename`, `delete`, `deleted` and `undelete`.

use std::borrow::Cow;
use std::io::{self, BufRead as _, IsTerminal as _, Write as _};

use manifest_schema::name::AppName;

use super::error::{CommandError, IoError};
use super::output::show;
use crate::api_types::{App, DeletedApp, DeletedApps, RenameApp, RenamedApp, Undelete};
use crate::cli::{AppArgument, IdPrefix};
use crate::client::{AppArg, Client, ClientArgs};
use crate::hint::Hint;
use crate::render::when::with_offset;
use crate::render::{apps, printable};

/// Why an app was not deleted or restored.
#[derive(Debug, thiserror::Error)]
enum LifecycleError {
    #[error("nothing was deleted: the deletion was not confirmed")]
    NotConfirmed,
    #[error("no deleted app {0}, or it was purged")]
    NotDeleted(String),
    #[error("several deleted apps match {0}")]
    Ambiguous(String),
}

impl Hint for LifecycleError {
    fn hint(&self) -> Option<Cow<'static, str>> {
        let hint = match self {
            Self::NotConfirmed => "use --yes to skip the confirmation",
            Self::NotDeleted(_) => "run  picloud apps deleted  to list deleted apps",
            Self::Ambiguous(_) => "use an id from  picloud apps deleted",
        };
        Some(hint.into())
    }
}

/// Stops an app, or starts it.
pub(crate) fn set_stopped(option: &AppArgument, stopped: bool) -> Result<(), CommandError> {
    let client = Client::find(&option.client)?;
    let app = client.app(&AppArg { app: option.app.clone() })?;
    let action = if stopped { "stop" } else { "start" };
    let app: App = client.post(&format!("apps/{}/{action}", app.as_str()))?;
    show(&app, option.client.json, |app| match &app.stopped {
        Some(stopped) => format!(
            "{} was stopped at {} by {}; requests get 503 and schedules do not run\n",
            app.name,
            with_offset(stopped.at),
            printable(&stopped.by)
        ),
        None => format!("started {}\n", app.name),
    })
}

/// Renames an app.
pub(crate) fn rename(app: &AppName, name: &AppName, options: &ClientArgs) -> Result<(), CommandError> {
    let client = Client::find(options)?;
    let request = RenameApp { name: name.as_str().to_owned() };
    let renamed: RenamedApp =
        client.send("POST", &format!("apps/{}/rename", app.as_str()), Some(&request))?;
    show(&renamed, options.json, |renamed| {
        let name = &renamed.app.name;
        let mut text = format!(
            "renamed {app} to {name}\nhint: update the remote with  git remote set-url picloud .../{name}.git\n"
        );
        if !renamed.tokens.is_empty() {
            let tokens: Vec<String> = renamed.tokens.iter().map(|token| printable(token)).collect();
            text += &format!("warning: these tokens already had scopes for {name}: {}\n", tokens.join(", "));
        }
        text
    })
}

/// Deletes an app after confirmation.
pub(crate) fn delete(app: &AppName, yes: bool, options: &ClientArgs) -> Result<(), CommandError> {
    let client = Client::find(options)?;
    if !yes && !confirm(app)? {
        return Err(LifecycleError::NotConfirmed.into());
    }
    let deleted: DeletedApp = client.send("DELETE", &format!("apps/{}", app.as_str()), None::<&()>)?;
    show(&deleted, options.json, |deleted| {
        format!(
            "deleted {name}\nhint: restore it until {} with  picloud apps undelete {name}\n",
            with_offset(deleted.purged_at),
            name = deleted.name
        )
    })
}

/// Prompts for confirmation at a terminal.
fn confirm(app: &AppName) -> Result<bool, CommandError> {
    let mut stdin = io::stdin().lock();
    if !stdin.is_terminal() {
        return Ok(false);
    }
    eprint!("Delete {app}, with its deploys, secrets, domains and schedules? [y/N] ");
    let mut answer = String::new();
    let read = io::stderr().flush().and_then(|()| stdin.read_line(&mut answer));
    read.map_err(IoError::ReadInput)?;
    Ok(matches!(answer.trim(), "y" | "Y" | "yes"))
}

/// Lists deleted apps.
pub(crate) fn deleted(options: &ClientArgs) -> Result<(), CommandError> {
    let deleted: DeletedApps = Client::find(options)?.get("deleted-apps")?;
    show(&deleted, options.json, |deleted| apps::deleted(&deleted.apps))
}

/// Restores a deleted app.
pub(crate) fn undelete(
    name_or_id: &str,
    name: Option<&AppName>,
    options: &ClientArgs,
) -> Result<(), CommandError> {
    let client = Client::find(options)?;
    let deleted: DeletedApps = client.get("deleted-apps")?;
    let prefix: Option<IdPrefix> = name_or_id.parse().ok();
    let matches = |app: &&DeletedApp| {
        app.name == name_or_id || prefix.as_ref().is_some_and(|prefix| prefix.matches(&app.id.to_string()))
    };
    let found: Vec<&DeletedApp> = deleted.apps.iter().filter(matches).collect();
    let app = match found.as_slice() {
        [] => return Err(LifecycleError::NotDeleted(printable(name_or_id)).into()),
        [app] => app,
        _ => return Err(LifecycleError::Ambiguous(printable(name_or_id)).into()),
    };
    let request = Undelete { name: name.map(|name| name.as_str().to_owned()) };
    let app: App = client.send("POST", &format!("deleted-apps/{}/undelete", app.id), Some(&request))?;
    show(&app, options.json, |app| format!("restored {}\n", app.name))
}
