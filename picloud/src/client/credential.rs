//! As whom: the environment, the remote's URL, or git's own credential helper, where `git push` has left the token.

use std::io::{self, Write as _};
use std::process::{Command, Stdio};

use super::remote::Remote;
use crate::hint::Hint;

/// Why there is no token.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CredentialError {
    /// git is not there.
    #[error("cannot ask git for the token")]
    Git(#[source] io::Error),
    /// Nobody knows one.
    #[error("there is no token for {server}")]
    None {
        /// The server.
        server: String,
    },
}

impl Hint for CredentialError {
    fn hint(&self) -> Option<&'static str> {
        Some(match self {
            Self::Git(_) => "install git, or set PICLOUD_TOKEN",
            Self::None { .. } => "set PICLOUD_TOKEN, or let `git push` ask for it and remember it",
        })
    }
}

/// A token, and where it came from.
pub(crate) struct Credential {
    token: String,
    /// What git said about it, to be told whether it was right.
    helper: Option<String>,
}

/// The token is not shown.
impl std::fmt::Debug for Credential {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Credential(..)")
    }
}

impl Credential {
    /// The token for a server.
    pub(crate) fn find(given: Option<&str>, remote: &Remote) -> Result<Self, CredentialError> {
        if let Some(token) = given.or(remote.password.as_deref()) {
            return Ok(Self { token: token.to_owned(), helper: None });
        }
        let asked = description(remote);
        let said = git("fill", &asked).map_err(CredentialError::Git)?;
        let token = said.lines().find_map(|line| line.strip_prefix("password="));
        match token {
            Some(token) => Ok(Self { token: token.to_owned(), helper: Some(said.clone()) }),
            None => Err(CredentialError::None { server: remote.base.clone() }),
        }
    }

    pub(super) fn token(&self) -> &str {
        &self.token
    }

    /// The server took the token: the helper may remember it.
    pub(super) fn approve(&self) {
        self.tell("approve");
    }

    /// The server did not take the token: the helper should forget it.
    pub(super) fn reject(&self) {
        self.tell("reject");
    }

    fn tell(&self, what: &str) {
        if let Some(said) = &self.helper {
            // What a helper does with it is between git and the helper.
            let _ = git(what, said);
        }
    }
}

/// What is looked for, as git-credential(1) reads it.
fn description(remote: &Remote) -> String {
    let (scheme, rest) = remote.base.split_once("://").unwrap_or(("https", &remote.base));
    let host = rest.split_once('/').map_or(rest, |(host, _)| host);
    let user = remote.user.as_ref().map(|user| format!("username={user}\n")).unwrap_or_default();
    format!("protocol={scheme}\nhost={host}\n{user}\n")
}

fn git(what: &str, text: &str) -> io::Result<String> {
    let mut process = Command::new("git")
        .args(["credential", what])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()?;
    if let Some(mut stdin) = process.stdin.take() {
        // One that does not read has nothing to say either.
        let _ = stdin.write_all(text.as_bytes());
    }
    Ok(String::from_utf8_lossy(&process.wait_with_output()?.stdout).into_owned())
}
