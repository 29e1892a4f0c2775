//! As whom: a file, the environment, the remote's URL, what `picloud login` has kept, or git's own credential helper, where `git push` has
//! left the token.

use std::borrow::Cow;
use std::env::VarError;
use std::fs::File;
use std::io::{self, Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::login;
use super::remote::Remote;
use crate::hint::Hint;

/// The variable that holds a token.
const VARIABLE: &str = "PICLOUD_TOKEN";

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
    /// What should be a token is none.
    #[error("{from} holds no token: {why}")]
    NoToken {
        /// The file, the variable or the remote.
        from: String,
        /// What is wrong with it.
        why: &'static str,
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
    fn hint(&self) -> Option<Cow<'static, str>> {
        let hint = match self {
            Self::Argument => "set PICLOUD_TOKEN, or name a file that holds it with --token-file",
            Self::File { .. } => "name a file that you can read",
            Self::NoToken { .. } => "a token is one word, as  picloud tokens create  printed it",
            Self::Git(_) => "install git, or set PICLOUD_TOKEN",
            Self::None { .. } => "keep one with  picloud login , or set PICLOUD_TOKEN",
        };
        Some(hint.into())
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
        if let Some(found) = Self::at_hand(file, remote)? {
            return Ok(found);
        }
        let asked = description(remote);
        let said = git("fill", &asked).map_err(CredentialError::Git)?;
        let token = said.lines().find_map(|line| line.strip_prefix("password="));
        match token {
            Some(token) => Ok(Self { token: token.to_owned(), helper: Some(said.clone()) }),
            None => Err(CredentialError::None { server: remote.base.clone() }),
        }
    }

    /// The token for a server, where it can be known without asking git.
    pub(super) fn at_hand(file: Option<&Path>, remote: &Remote) -> Result<Option<Self>, CredentialError> {
        let given = match file {
            Some(path) => return Self::in_file(path).map(Some),
            None => match std::env::var(VARIABLE) {
                Ok(text) if text.is_empty() => None,
                Ok(text) => Some(one_word(&text, || VARIABLE.to_owned())?),
                Err(VarError::NotPresent) => None,
                Err(VarError::NotUnicode(_)) => return Err(not_ascii(VARIABLE.to_owned())),
            },
        };
        let in_remote = || {
            let password = remote.password.as_deref()?;
            Some(one_word(password, || format!("the password in {}", remote.base)))
        };
        if let Some(token) = given.map(Ok).or_else(in_remote).transpose()? {
            return Ok(Some(Self { token, helper: None }));
        }
        let kept = login::token(login::origin(&remote.base));
        Ok(kept.map(|token| Self { token, helper: None }))
    }

    /// The token that a file holds.
    pub(super) fn in_file(path: &Path) -> Result<Self, CredentialError> {
        let text = text_of(path).map_err(|source| CredentialError::File { path: path.to_owned(), source })?;
        Ok(Self { token: one_word(&text, || path.display().to_string())?, helper: None })
    }

    /// The token that somebody has typed.
    pub(super) fn typed(text: &str) -> Result<Self, CredentialError> {
        Ok(Self { token: one_word(text, || "what was typed".to_owned())?, helper: None })
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

/// What a file holds, as far as a token can be long.
fn text_of(path: &Path) -> io::Result<String> {
    let mut text = String::new();
    File::open(path)?.take(FILE_MAX).read_to_string(&mut text)?;
    Ok(text)
}

/// The token that a text is. Line ends and blanks around it are those of an editor or of a program that printed it.
fn one_word(text: &str, from: impl Fn() -> String) -> Result<String, CredentialError> {
    let token = text.trim();
    let why = match token {
        "" => "it is empty",
        _ if token.to_ascii_lowercase().starts_with("bearer ") => "it begins with Bearer",
        _ if token.contains(char::is_whitespace) => "there are blanks or line ends within it",
        _ if !token.bytes().all(|byte| byte.is_ascii_graphic()) => return Err(not_ascii(from())),
        _ => return Ok(token.to_owned()),
    };
    Err(CredentialError::NoToken { from: from(), why })
}

fn not_ascii(from: String) -> CredentialError {
    CredentialError::NoToken { from, why: "there are characters in it that no token has" }
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
