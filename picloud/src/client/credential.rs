//! As whom: a file, the environment, the remote's URL, or git's own credential helper, where `git push` has left the token.

use std::fs::File;
use std::io::{self, Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::remote::Remote;
use crate::hint::Hint;

/// The longest file that holds a token, in bytes.
const FILE_MAX: u64 = 4096;

/// Why there is no token.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CredentialError {
    /// It stands on the command line.
    #[error("a token is not given as an argument, where other users of this machine see it")]
    Argument,
    /// The file that should hold it cannot be read.
    #[error("cannot read the token from {}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What went wrong.
        source: io::Error,
    },
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
            Self::Argument => "set PICLOUD_TOKEN, or name a file that holds it with --token-file",
            Self::File { .. } => "name a file that you can read and that holds nothing else",
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
    pub(crate) fn find(file: Option<&Path>, remote: &Remote) -> Result<Self, CredentialError> {
        let given = match file {
            Some(path) => {
                let read = in_file(path);
                Some(read.map_err(|source| CredentialError::File { path: path.to_owned(), source })?)
            }
            None => std::env::var("PICLOUD_TOKEN").ok().filter(|token| !token.is_empty()),
        };
        if let Some(token) = given.or_else(|| remote.password.clone()) {
            return Ok(Self { token, helper: None });
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

/// The only line of a file.
fn in_file(path: &Path) -> io::Result<String> {
    let mut text = String::new();
    File::open(path)?.take(FILE_MAX).read_to_string(&mut text)?;
    let token = text.trim();
    match token.is_empty() || token.contains(char::is_whitespace) {
        true => Err(io::Error::new(io::ErrorKind::InvalidData, "it does not hold a token")),
        false => Ok(token.to_owned()),
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
