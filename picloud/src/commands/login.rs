//! `picloud login`, `logout` and `credential`: the stored tokens, for client commands and git.

use std::collections::HashMap;
use std::io::{self, BufRead as _};
use std::path::Path;

use super::error::{CommandError, IoError};
use super::output::{print, print_styled};
use super::prompt;
use crate::api_types::Apps;
use crate::cli::{CredentialCommand, LoginArgs, LogoutArgs};
use crate::client::{self, Client, login};
use crate::hint::Hint;
use crate::render::printable;

/// Why the token was not stored.
#[derive(Debug, thiserror::Error)]
#[error("cannot store the token")]
struct StoreTokenError(#[source] io::Error);

impl Hint for StoreTokenError {}

/// Prompts for a token, tries it, and stores it.
pub(crate) fn login(options: &LoginArgs) -> Result<(), CommandError> {
    let client = Client::log_in(&options.client(), |server| prompt::secret(&format!("token for {server}")))?;
    // Every token can list apps.
    let _: Apps = client.get("apps")?;
    let origin = login::origin(client.server());
    let file = login::store(origin, client.token()).map_err(StoreTokenError)?;
    print_styled(format!(
        "logged in to {origin}; the token is stored in {}\nhint: let git use it with\n  git config --global credential.{origin}.helper '!picloud credential'\n",
        shown(&file)
    ))?;
    if std::env::var_os("PICLOUD_TOKEN").is_some_and(|token| !token.is_empty()) {
        eprintln!("warning: PICLOUD_TOKEN is set and takes precedence");
    }
    Ok(())
}

/// Removes the token of a server.
pub(crate) fn logout(options: &LogoutArgs) -> Result<(), CommandError> {
    let server = client::server(options.server.as_deref())?;
    let origin = login::origin(&server);
    let existed = login::token(origin).is_some();
    let file = login::erase(origin).map_err(StoreTokenError)?;
    match existed {
        true => print_styled(format!(
            "logged out of {origin}; the token remains valid until  picloud tokens revoke\n"
        )),
        false => print_styled(format!("no token for {origin} in {}\n", shown(&file))),
    }
}

fn shown(file: &Path) -> String {
    printable(&file.display().to_string())
}

/// Implements a credential helper (gitcredentials(7), "Custom helpers").
pub(crate) fn credential(command: &CredentialCommand) -> Result<(), CommandError> {
    let mut request = HashMap::new();
    for line in io::stdin().lock().lines() {
        let line = line.map_err(IoError::ReadInput)?;
        match line.split_once('=') {
            Some((name, value)) => request.insert(name.to_owned(), value.to_owned()),
            // An empty line ends the request.
            None => break,
        };
    }
    let (Some(protocol), Some(host)) = (request.get("protocol"), request.get("host")) else { return Ok(()) };
    let origin = format!("{protocol}://{host}");
    let stored = login::token(&origin);
    match command {
        CredentialCommand::Get => match token_of_environment(&origin).or(stored) {
            Some(token) => {
                let user = request.get("username").map_or(login::USER, String::as_str);
                print(format!("username={user}\npassword={token}\n"))
            }
            None => Ok(()),
        },
        CredentialCommand::Store => match request.get("password") {
            Some(token)
                if stored.as_ref() != Some(token)
                    && token_of_environment(&origin).as_ref() != Some(token) =>
            {
                login::store(&origin, token).map_err(StoreTokenError)?;
                Ok(())
            }
            _ => Ok(()),
        },
        CredentialCommand::Erase => match stored {
            Some(token) if request.get("password").is_none_or(|rejected| *rejected == token) => {
                login::erase(&origin).map_err(StoreTokenError)?;
                Ok(())
            }
            _ => Ok(()),
        },
    }
}

/// The token of PICLOUD_TOKEN, only for the server of PICLOUD_URL.
fn token_of_environment(origin: &str) -> Option<String> {
    let url = std::env::var("PICLOUD_URL").ok()?;
    let token = std::env::var("PICLOUD_TOKEN").ok()?.trim().to_owned();
    let same = login::origin(url.trim_end_matches('/')) == origin;
    (same && !token.is_empty()).then_some(token)
}
