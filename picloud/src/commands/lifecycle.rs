//! `picloud apps stop`, `start`, `rename`, `delete`, `deleted` and `undelete`: what becomes of an app as a whole.

use std::borrow::Cow;
use std::io::{self, BufRead as _, IsTerminal as _, Write as _};

use manifest_schema::name::AppName;

use super::error::{CommandError, VerbError};
use super::output::show;
use crate::cli::{AppArgument, IdPrefix};
use crate::client::{AppOption, Client, ClientOptions};
use crate::hint::Hint;
use crate::rest::{App, DeletedApp, DeletedApps, RenameApp, RenamedApp, Undelete};
use crate::words::table::table;
use crate::words::when::{exactly, when};
use crate::words::{printable, size};

/// Why an app is not deleted, or not brought back.
#[derive(Debug, thiserror::Error)]
enum LifecycleError {
    #[error("nothing was deleted: nobody has said that it is meant")]
    NotConfirmed,
    #[error("no deleted app was called {0}, or it is gone for good")]
    NotDeleted(String),
    #[error("several deleted apps were called {0}, or have an id that begins so")]
    Several(String),
}

impl Hint for LifecycleError {
    fn hint(&self) -> Option<Cow<'static, str>> {
        let hint = match self {
            Self::NotConfirmed => "say --yes where nobody can be asked",
            Self::NotDeleted(_) => "see  picloud apps deleted",
            Self::Several(_) => "name one by its id, as  picloud apps deleted  lists it",
        };
        Some(hint.into())
    }
}

/// Stops an app, or starts it.
pub(crate) fn set_stopped(option: &AppArgument, stopped: bool) -> Result<(), CommandError> {
    let client = Client::find(&option.client)?;
    let app = client.app(&AppOption { app: option.app.clone() })?;
    let verb = if stopped { "stop" } else { "start" };
    let app: App = client.post(&format!("apps/{}/{verb}", app.as_str()))?;
    show(&app, option.client.json, |app| match &app.stopped {
        Some(stopped) => format!(
            "{} is stopped since {} by {}: nothing of it answers or runs.\n",
            app.name,
            exactly(stopped.at),
            printable(&stopped.by)
        ),
        None => format!("{} is started.\n", app.name),
    })
}

/// Gives an app another name.
pub(crate) fn rename(app: &AppName, name: &AppName, options: &ClientOptions) -> Result<(), CommandError> {
    let client = Client::find(options)?;
    let asked = RenameApp { name: name.as_str().to_owned() };
    let renamed: RenamedApp = client.send("POST", &format!("apps/{}/rename", app.as_str()), Some(&asked))?;
    show(&renamed, options.json, |renamed| {
        let name = &renamed.app.name;
        let mut text =
            format!("{app} is called {name} now.\nNext: git remote set-url picloud .../{name}.git\n");
        if !renamed.tokens.is_empty() {
            let tokens: Vec<String> = renamed.tokens.iter().map(|token| printable(token)).collect();
            text += &format!("warning: tokens had scopes for {name} already: {}\n", tokens.join(", "));
        }
        text
    })
}

/// Deletes an app, once somebody has said that it is meant.
pub(crate) fn delete(app: &AppName, yes: bool, options: &ClientOptions) -> Result<(), CommandError> {
    let client = Client::find(options)?;
    if !yes && !is_meant(app)? {
        return Err(LifecycleError::NotConfirmed.into());
    }
    let deleted: DeletedApp = client.send("DELETE", &format!("apps/{}", app.as_str()), None::<&()>)?;
    show(&deleted, options.json, |deleted| {
        format!(
            "{name} is deleted.\nhint: until {}, undo with  picloud apps undelete {name}\n",
            exactly(deleted.purged_at),
            name = deleted.name
        )
    })
}

/// Asks at a terminal.
fn is_meant(app: &AppName) -> Result<bool, CommandError> {
    let mut stdin = io::stdin().lock();
    if !stdin.is_terminal() {
        return Ok(false);
    }
    eprint!("Delete {app}, with its deploys, secrets, domains and schedules? [y/N] ");
    let mut answer = String::new();
    let read = io::stderr().flush().and_then(|()| stdin.read_line(&mut answer));
    read.map_err(VerbError::ReadInput)?;
    Ok(matches!(answer.trim(), "y" | "Y" | "yes"))
}

/// Lists what can be brought back.
pub(crate) fn deleted(options: &ClientOptions) -> Result<(), CommandError> {
    let deleted: DeletedApps = Client::find(options)?.get("deleted-apps")?;
    show(&deleted, options.json, |deleted| {
        if deleted.apps.is_empty() {
            return "No app is deleted.\n".to_owned();
        }
        let row = |app: &DeletedApp| {
            let (at, by) = (when(app.deleted_at), app.deleted_by.clone());
            vec![app.name.clone(), app.id.to_string(), at, by, when(app.purged_at), size(app.disk_bytes)]
        };
        let rows: Vec<_> = deleted.apps.iter().map(row).collect();
        table(&["APP", "ID", "DELETED", "BY", "KEPT UNTIL", "DISK"], &rows)
    })
}

/// Brings a deleted app back.
pub(crate) fn undelete(
    which: &str,
    name: Option<&AppName>,
    options: &ClientOptions,
) -> Result<(), CommandError> {
    let client = Client::find(options)?;
    let deleted: DeletedApps = client.get("deleted-apps")?;
    let prefix: Option<IdPrefix> = which.parse().ok();
    let is_it = |app: &&DeletedApp| {
        app.name == which || prefix.as_ref().is_some_and(|prefix| prefix.begins(&app.id.to_string()))
    };
    let found: Vec<&DeletedApp> = deleted.apps.iter().filter(is_it).collect();
    let app = match found.as_slice() {
        [] => return Err(LifecycleError::NotDeleted(printable(which)).into()),
        [app] => app,
        _ => return Err(LifecycleError::Several(printable(which)).into()),
    };
    let asked = Undelete { name: name.map(|name| name.as_str().to_owned()) };
    let app: App = client.send("POST", &format!("deleted-apps/{}/undelete", app.id), Some(&asked))?;
    show(&app, options.json, |app| format!("{} is back.\n", app.name))
}
