//! Which server, and which app: a flag, or the `picloud` remote of the folder's repository.

use std::borrow::Cow;
use std::fmt;
use std::io;
use std::process::{Command, Stdio};

use manifest_schema::name::{AppName, NameError};

use crate::hint::Hint;

/// The name of the remote.
const REMOTE: &str = "picloud";

/// Where a URL was named.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NamedBy {
    /// `--url`, or its variable.
    Flag,
    /// The remote of the folder's repository.
    Remote,
}

impl fmt::Display for NamedBy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Flag => f.write_str("--url"),
            Self::Remote => write!(f, "the remote `{REMOTE}`"),
        }
    }
}

/// Why it is not known which server or app is meant.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RemoteError {
    /// Neither a flag nor a remote.
    #[error("which server? this folder's repository has no remote `{REMOTE}`")]
    NoRemote,
    /// git is not there.
    #[error("cannot ask git for the remote `{REMOTE}`")]
    Git(#[source] io::Error),
    /// It is a folder, is reached by ssh, or has no scheme.
    #[error("{by} is {url}, which is no http:// or https:// address")]
    Scheme { by: NamedBy, url: String },
    /// The URL of a remote that cannot be one of ours.
    #[error("the remote `{REMOTE}` is {0}, which is no URL/<app>.git")]
    Shape(String),
    /// The remote's last part is no app's name.
    #[error("the remote `{REMOTE}` names no app")]
    Name(#[from] NameError),
    /// A server is named and an app is needed.
    #[error("which app?")]
    NoApp,
}

impl Hint for RemoteError {
    fn hint(&self) -> Option<Cow<'static, str>> {
        let hint = match self {
            Self::NoRemote => {
                "add it with  git remote add picloud URL/<app>.git , or name the server with --url"
            }
            Self::Git(_) => "install git, or name the server with --url",
            Self::Scheme { by: NamedBy::Flag, url } => return Some(with_scheme(url).into()),
            Self::Scheme { by: NamedBy::Remote, .. } | Self::Shape(_) => "name the server with --url",
            Self::Name(_) | Self::NoApp => "name it with --app",
        };
        Some(hint.into())
    }
}

/// What was most likely meant by a URL whose scheme is missing or misspelt.
fn with_scheme(url: &str) -> String {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    match rest.chars().all(|c| c.is_ascii_alphanumeric() || "-.:[]/_".contains(c)) && !rest.is_empty() {
        true => format!("write https://{rest}, or http://{rest} where there is no TLS"),
        false => "write it as https://pi.example.com".to_owned(),
    }
}

/// A server as a URL names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Remote {
    /// Scheme, host, port and path before `/-/`, without user information and without a slash at the end.
    pub(crate) base: String,
    /// The app, where a repository's URL names one.
    pub(crate) app: Option<AppName>,
    /// The user that the URL names.
    pub(crate) user: Option<String>,
    /// The password that the URL holds.
    pub(crate) password: Option<String>,
}

impl Remote {
    /// The server at `url`, or else that of the remote.
    pub(crate) fn find(url: Option<&str>) -> Result<Self, RemoteError> {
        match url {
            Some(url) => Self::server(url),
            None => Self::repository(&remote_url()?),
        }
    }

    /// A server, named by hand; by one of its repositories, perhaps.
    fn server(url: &str) -> Result<Self, RemoteError> {
        let Authority { base, user, password } = authority(url, NamedBy::Flag)?;
        let repository = base.rsplit_once('/').and_then(|(base, name)| {
            let app = AppName::new(name.strip_suffix(".git")?).ok()?;
            Some((base.to_owned(), app))
        });
        let (base, app) = match repository {
            Some((base, app)) => (base, Some(app)),
            None => (base, None),
        };
        Ok(Self { base, app, user, password })
    }

    /// A repository's URL: the server's, and `/<app>.git` at its end, which git lets people write without `.git` or with
    /// a slash behind it.
    fn repository(url: &str) -> Result<Self, RemoteError> {
        let Authority { base, user, password } = authority(url, NamedBy::Remote)?;
        let shape = || RemoteError::Shape(without_password(url));
        let after_scheme = base.find("://").map_or(0, |at| at + 3);
        let slash = base[after_scheme..].rfind('/').ok_or_else(shape)? + after_scheme;
        let app = AppName::new(base[slash + 1..].trim_end_matches(".git"))?;
        Ok(Self { base: base[..slash].to_owned(), app: Some(app), user, password })
    }
}

struct Authority {
    base: String,
    user: Option<String>,
    password: Option<String>,
}

/// Takes the user information (RFC 3986 section 3.2.1) out of a URL.
fn authority(url: &str, by: NamedBy) -> Result<Authority, RemoteError> {
    let scheme_is_ours = |scheme: &str| scheme == "http" || scheme == "https";
    let (scheme, rest) = url
        .split_once("://")
        .filter(|(scheme, _)| scheme_is_ours(scheme))
        .ok_or_else(|| RemoteError::Scheme { by, url: without_password(url) })?;
    let rest = rest.trim_end_matches('/');
    let end = rest.find('/').unwrap_or(rest.len());
    let (information, host) = match rest[..end].rsplit_once('@') {
        Some((information, host)) => (Some(information), host),
        None => (None, &rest[..end]),
    };
    let (user, password) = match information.map(|text| text.split_once(':').unwrap_or((text, ""))) {
        Some((user, password)) => (decoded(user), decoded(password)),
        None => (None, None),
    };
    Ok(Authority { base: format!("{scheme}://{host}{}", &rest[end..]), user, password })
}

/// Percent-decoded; nothing where nothing is written.
fn decoded(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, behind @ ..] = rest {
        let code = (*first == b'%')
            .then(|| behind.get(..2))
            .flatten()
            .and_then(|digits| u8::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok());
        bytes.push(code.unwrap_or(*first));
        rest = if code.is_some() { &behind[2..] } else { behind };
    }
    String::from_utf8(bytes).ok().filter(|text| !text.is_empty())
}

/// A URL as it may be shown.
fn without_password(url: &str) -> String {
    match (url.find("://"), url.rfind('@')) {
        (Some(scheme), Some(at)) if scheme < at => format!("{}***{}", &url[..scheme + 3], &url[at..]),
        _ => url.to_owned(),
    }
}

/// The remote's URL as git itself would use it, whatever `insteadOf`, includes and worktrees have to say.
fn remote_url() -> Result<String, RemoteError> {
    let output = Command::new("git")
        .args(["remote", "get-url", REMOTE])
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .output()
        .map_err(RemoteError::Git)?;
    if !output.status.success() {
        return Err(RemoteError::NoRemote);
    }
    Ok(String::from_utf8_lossy(&output.stdout).trim_end_matches('\n').to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parts(remote: &Remote) -> (&str, Option<&str>, Option<&str>, Option<&str>) {
        let app = remote.app.as_ref().map(AppName::as_str);
        (&remote.base, app, remote.user.as_deref(), remote.password.as_deref())
    }

    #[test]
    fn a_repository_names_server_app_and_who_asks() {
        let found = Remote::repository("http://pi:8080/hello.git").unwrap();
        assert_eq!(parts(&found), ("http://pi:8080", Some("hello"), None, None));
        let found = Remote::repository("https://ada:p%40ss%3a@example.com/cloud/hello.git/").unwrap();
        assert_eq!(parts(&found), ("https://example.com/cloud", Some("hello"), Some("ada"), Some("p@ss:")));
        let found = Remote::repository("https://ada@[::1]:8443/hello").unwrap();
        assert_eq!(parts(&found), ("https://[::1]:8443", Some("hello"), Some("ada"), None));
    }

    #[test]
    fn a_server_is_named_by_hand() {
        let found = Remote::server("https://:secret@pi.example.com/").unwrap();
        assert_eq!(parts(&found), ("https://pi.example.com", None, None, Some("secret")));
        let found = Remote::server("http://pi:8080/hello.git").unwrap();
        assert_eq!(parts(&found), ("http://pi:8080", Some("hello"), None, None));
    }

    #[test]
    fn what_is_no_repository_of_a_server_is_refused() {
        for url in ["git@example.com:hello.git", "/srv/hello.git", "ssh://example.com/hello.git"] {
            assert!(matches!(Remote::repository(url), Err(RemoteError::Scheme { .. })), "{url}");
        }
        assert!(matches!(Remote::repository("http://pi:8080"), Err(RemoteError::Shape(_))));
        assert!(matches!(Remote::repository("http://pi/Hello.git"), Err(RemoteError::Name(_))));
    }

    #[test]
    fn an_error_shows_no_password() {
        let error = Remote::repository("ssh://ada:secret@example.com/hello.git").unwrap_err();
        assert!(!error.to_string().contains("secret"), "{error}");
    }
}
