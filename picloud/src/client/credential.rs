//! The token of the client: from a file, the environment, the URL of the remote, the credentials file of `picloud login`, or
//! git's credential helper.

use std::borrow::Cow;
use std::env::VarError;
use std::fs::File;
use std::io::{self, Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::login;
use super::remote::Remote;
use crate::hint::Hint;

/// The variable with the token.
const TOKEN_VARIABLE: &str = "PICLOUD_TOKEN";

/// The number of bytes of a token file that are read.
const FILE_MAX: u64 = 4096;

/// Why there is no token.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CredentialError {
    /// The token is a command-line argument.
    #[error("a token must not be an argument, which other users of this machine can see")]
    Argument,
    /// The token file cannot be read.
    #[error("cannot read the token from {}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// The cause.
        source: io::Error,
    },
    /// The value is not a token.
    #[error("invalid token in {origin}: {reason}")]
    Invalid {
        /// The file, the variable or the remote.
        origin: String,
        /// Why it is invalid.
        reason: &'static str,
    },
    /// git cannot be run.
    #[error("cannot run git for the token")]
    Git(#[source] io::Error),
    /// No source has a token.
    #[error("no token for {server}")]
    NotFound {
        /// The server.
        server: String,
    },
}

impl Hint for CredentialError {
    fn hint(&self) -> Option<Cow<'static, str>> {
        let hint = match self {
            Self::Argument => "set PICLOUD_TOKEN, or use --token-file",
            Self::File { .. } => "pass a readable file to --token-file",
            Self::Invalid { .. } => "a token is a single word, as printed by  picloud tokens create",
            Self::Git(_) => "install git, or set PICLOUD_TOKEN",
            Self::NotFound { .. } => "run  picloud login , or set PICLOUD_TOKEN",
        };
        Some(hint.into())
    }
}

/// A token.
pub(crate) struct Credential {
    token: String,
    /// The output of git's credential helper, to approve or reject it.
    helper: Option<String>,
}

/// Hides the token.
impl std::fmt::Debug for Credential {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Credential(..)")
    }
}

impl Credential {
    /// Finds the token for a server.
    pub(crate) fn find(file: Option<&Path>, remote: &Remote) -> Result<Self, CredentialError> {
        if let Some(found) = Self::find_without_helper(file, remote)? {
            return Ok(found);
        }
        let output = git("fill", &credential_request(remote)).map_err(CredentialError::Git)?;
        let token = output.lines().find_map(|line| line.strip_prefix("password="));
        match token {
            Some(token) => Ok(Self { token: token.to_owned(), helper: Some(output.clone()) }),
            None => Err(CredentialError::NotFound { server: remote.base.clone() }),
        }
    }

    /// Finds the token for a server without git's credential helper.
    pub(super) fn find_without_helper(
        file: Option<&Path>,
        remote: &Remote,
    ) -> Result<Option<Self>, CredentialError> {
        let explicit = match file {
            Some(path) => return Self::from_file(path).map(Some),
            None => match std::env::var(TOKEN_VARIABLE) {
                Ok(text) if text.is_empty() => None,
                Ok(text) => Some(parse_token(&text, || TOKEN_VARIABLE.to_owned())?),
                Err(VarError::NotPresent) => None,
                Err(VarError::NotUnicode(_)) => return Err(not_ascii(TOKEN_VARIABLE.to_owned())),
            },
        };
        let in_remote = || {
            let password = remote.password.as_deref()?;
            Some(parse_token(password, || format!("the password in {}", remote.base)))
        };
        if let Some(token) = explicit.map(Ok).or_else(in_remote).transpose()? {
            return Ok(Some(Self { token, helper: None }));
        }
        let stored = login::token(login::origin(&remote.base));
        Ok(stored.map(|token| Self { token, helper: None }))
    }

    /// Reads the token from a file.
    pub(super) fn from_file(path: &Path) -> Result<Self, CredentialError> {
        let text =
            read_file(path).map_err(|source| CredentialError::File { path: path.to_owned(), source })?;
        Ok(Self { token: parse_token(&text, || path.display().to_string())?, helper: None })
    }

    /// Parses the token that was entered at the prompt.
    pub(super) fn from_prompt(text: &str) -> Result<Self, CredentialError> {
        Ok(Self { token: parse_token(text, || "the input".to_owned())?, helper: None })
    }

    pub(super) fn token(&self) -> &str {
        &self.token
    }

    /// Lets git's credential helper store the token.
    pub(super) fn approve(&self) {
        self.notify_helper("approve");
    }

    /// Lets git's credential helper erase the token.
    pub(super) fn reject(&self) {
        self.notify_helper("reject");
    }

    fn notify_helper(&self, action: &str) {
        if let Some(output) = &self.helper {
            // The result of the command does not depend on it.
            let _ = git(action, output);
        }
    }
}

/// Reads a token file.
fn read_file(path: &Path) -> io::Result<String> {
    let mut text = String::new();
    File::open(path)?.take(FILE_MAX).read_to_string(&mut text)?;
    Ok(text)
}

/// Parses a token. Editors and programs that print the token add whitespace around it.
fn parse_token(text: &str, origin: impl Fn() -> String) -> Result<String, CredentialError> {
    let token = text.trim();
    let reason = match token {
        "" => "it is empty",
        _ if token.to_ascii_lowercase().starts_with("bearer ") => "it starts with Bearer",
        _ if token.contains(char::is_whitespace) => "it contains whitespace",
        _ if !token.bytes().all(|byte| byte.is_ascii_graphic()) => return Err(not_ascii(origin())),
        _ => return Ok(token.to_owned()),
    };
    Err(CredentialError::Invalid { origin: origin(), reason })
}

fn not_ascii(origin: String) -> CredentialError {
    CredentialError::Invalid { origin, reason: "it contains invalid characters" }
}

/// The input of git-credential(1).
fn credential_request(remote: &Remote) -> String {
    let (scheme, rest) = remote.base.split_once("://").unwrap_or(("https", &remote.base));
    let host = rest.split_once('/').map_or(rest, |(host, _)| host);
    let user = remote.user.as_ref().map(|user| format!("username={user}\n")).unwrap_or_default();
    format!("protocol={scheme}\nhost={host}\n{user}\n")
}

fn git(action: &str, text: &str) -> io::Result<String> {
    let mut process = Command::new("git")
        .args(["credential", action])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()?;
    if let Some(mut stdin) = process.stdin.take() {
        // A helper that does not read its input also prints no token.
        let _ = stdin.write_all(text.as_bytes());
    }
    Ok(String::from_utf8_lossy(&process.wait_with_output()?.stdout).into_owned())
}
