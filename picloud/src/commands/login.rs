//! `picloud login`, `logout` and `credential`: a token that is kept for a server, for this program and for git.

use std::collections::HashMap;
use std::io::{self, BufRead as _};
use std::path::Path;

use super::error::{CommandError, VerbError};
use super::output::{print, say};
use super::prompt;
use crate::cli::{CredentialVerb, LoginOptions, LogoutOptions};
use crate::client::{self, Client, login};
use crate::hint::Hint;
use crate::rest::Apps;
use crate::words::printable;

/// Why a token is not kept.
#[derive(Debug, thiserror::Error)]
#[error("cannot keep the token")]
struct KeepError(#[source] io::Error);

impl Hint for KeepError {}

/// Asks for a token, tries it, and keeps it.
pub(crate) fn login(options: &LoginOptions) -> Result<(), CommandError> {
    let client = Client::log_in(&options.client(), |server| prompt::secret(&format!("token for {server}")))?;
    // Every token can do that.
    let _: Apps = client.get("apps")?;
    let origin = login::origin(client.server());
    let file = login::keep(origin, client.token()).map_err(KeepError)?;
    say(format!(
        "Logged in to {origin}; the token is kept in {}.\nFor git to find it there:\n  git config --global credential.{origin}.helper '!picloud credential'\n",
        shown(&file)
    ))?;
    if std::env::var_os("PICLOUD_TOKEN").is_some_and(|token| !token.is_empty()) {
        eprintln!("warning: PICLOUD_TOKEN is set, and counts before it");
    }
    Ok(())
}

/// Forgets the token of a server.
pub(crate) fn logout(options: &LogoutOptions) -> Result<(), CommandError> {
    let server = client::server(options.server.as_deref())?;
    let origin = login::origin(&server);
    let was_there = login::token(origin).is_some();
    let file = login::forget(origin).map_err(KeepError)?;
    match was_there {
        true => {
            say(format!("Logged out of {origin}. The token works until  picloud tokens revoke  ends it.\n"))
        }
        false => say(format!("No token for {origin} was kept in {}.\n", shown(&file))),
    }
}

fn shown(file: &Path) -> String {
    printable(&file.display().to_string())
}

/// Answers git (gitcredentials(7), "Custom helpers").
pub(crate) fn credential(verb: &CredentialVerb) -> Result<(), CommandError> {
    let mut asked = HashMap::new();
    for line in io::stdin().lock().lines() {
        let line = line.map_err(VerbError::ReadInput)?;
        match line.split_once('=') {
            Some((name, value)) => asked.insert(name.to_owned(), value.to_owned()),
            // An empty line ends it.
            None => break,
        };
    }
    let (Some(protocol), Some(host)) = (asked.get("protocol"), asked.get("host")) else { return Ok(()) };
    let origin = format!("{protocol}://{host}");
    let known = login::token(&origin);
    match verb {
        CredentialVerb::Get => match in_environment(&origin).or(known) {
            Some(token) => {
                let user = asked.get("username").map_or(login::USER, String::as_str);
                print(format!("username={user}\npassword={token}\n"))
            }
            None => Ok(()),
        },
        CredentialVerb::Store => match asked.get("password") {
            Some(token)
                if known.as_ref() != Some(token) && in_environment(&origin).as_ref() != Some(token) =>
            {
                login::keep(&origin, token).map_err(KeepError)?;
                Ok(())
            }
            _ => Ok(()),
        },
        CredentialVerb::Erase => match known {
            Some(token) if asked.get("password").is_none_or(|wrong| *wrong == token) => {
                login::forget(&origin).map_err(KeepError)?;
                Ok(())
            }
            _ => Ok(()),
        },
    }
}

/// The token of the environment, for the server that stands beside it. No other one is shown it.
fn in_environment(origin: &str) -> Option<String> {
    let url = std::env::var("PICLOUD_URL").ok()?;
    let token = std::env::var("PICLOUD_TOKEN").ok()?.trim().to_owned();
    let same = login::origin(url.trim_end_matches('/')) == origin;
    (same && !token.is_empty()).then_some(token)
}
