//! The server and the app of a client command: from flags, or from the git remote `picloud`.

use std::borrow::Cow;
use std::fmt;
use std::io;
use std::process::{Command, Stdio};

use manifest_schema::name::{AppName, NameError};

use crate::hint::Hint;

/// The name of the git remote.
const REMOTE: &str = "picloud";

/// The source of a URL.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum UrlSource {
    /// `--url` or its variable.
    Flag,
    /// The git remote.
    Remote,
}

impl fmt::Display for UrlSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Flag => f.write_str("--url"),
            Self::Remote => write!(f, "the remote `{REMOTE}`"),
        }
    }
}

/// Why the server or the app is unknown.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RemoteError {
    /// Neither a flag nor a remote is set.
    #[error("unknown server: this repository has no remote `{REMOTE}`")]
    NoRemote,
    /// git cannot be run.
    #[error("cannot run git for the remote `{REMOTE}`")]
    Git(#[source] io::Error),
    /// The URL is a path, an SSH address, or has no scheme.
    #[error("{from} is {url}, which is not an http:// or https:// URL")]
    Scheme { from: UrlSource, url: String },
    /// The URL of the remote has no app.
    #[error("the remote `{REMOTE}` is {0}, which does not end in /<app>.git")]
    Shape(String),
    /// The URL of the remote does not end in an app name.
    #[error("the remote `{REMOTE}` has no valid app name")]
    Name(#[from] NameError),
    /// The command needs an app.
    #[error("no app specified")]
    NoApp,
}

impl Hint for RemoteError {
    fn hint(&self) -> Option<Cow<'static, str>> {
        let hint = match self {
            Self::NoRemote => "run  git remote add picloud URL/<app>.git , or set --url",
            Self::Git(_) => "install git, or set --url",
            Self::Scheme { from: UrlSource::Flag, url } => return Some(with_scheme(url).into()),
            Self::Scheme { from: UrlSource::Remote, .. } | Self::Shape(_) => "set --url to the server",
            Self::Name(_) | Self::NoApp => "set --app",
        };
        Some(hint.into())
    }
}

/// Suggests a URL for one whose scheme is missing or misspelled.
fn with_scheme(url: &str) -> String {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    match rest.chars().all(|c| c.is_ascii_alphanumeric() || "-.:[]/_".contains(c)) && !rest.is_empty() {
        true => format!("use https://{rest}, or http://{rest} without TLS"),
        false => "use a URL such as https://pi.example.com".to_owned(),
    }
}

/// A parsed server or repository URL.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Remote {
    /// Scheme, host, port and path before `/-/`, without user information and trailing slash.
    pub(crate) base: String,
    /// The app of a repository URL.
    pub(crate) app: Option<AppName>,
    /// The user name in the URL.
    pub(crate) user: Option<String>,
    /// The password in the URL.
    pub(crate) password: Option<String>,
}

impl Remote {
    /// Parses `url`, or the URL of the git remote.
    pub(crate) fn find(url: Option<&str>) -> Result<Self, RemoteError> {
        match url {
            Some(url) => Self::parse_server(url),
            None => Self::parse_repository(&remote_url()?),
        }
    }

    /// Parses the URL of a server, or of one of its repositories.
    fn parse_server(url: &str) -> Result<Self, RemoteError> {
        let Authority { base, user, password } = parse_authority(url, UrlSource::Flag)?;
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

    /// Parses the URL of a repository, which ends in `/<app>.git`; `.git` is optional, and a slash can follow.
    fn parse_repository(url: &str) -> Result<Self, RemoteError> {
        let Authority { base, user, password } = parse_authority(url, UrlSource::Remote)?;
        let shape = || RemoteError::Shape(redact_password(url));
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

/// Splits the user information (RFC 3986 section 3.2.1) from a URL.
fn parse_authority(url: &str, from: UrlSource) -> Result<Authority, RemoteError> {
    let is_http = |scheme: &str| scheme == "http" || scheme == "https";
    let (scheme, rest) = url
        .split_once("://")
        .filter(|(scheme, _)| is_http(scheme))
        .ok_or_else(|| RemoteError::Scheme { from, url: redact_password(url) })?;
    let rest = rest.trim_end_matches('/');
    let end = rest.find('/').unwrap_or(rest.len());
    let (information, host) = match rest[..end].rsplit_once('@') {
        Some((information, host)) => (Some(information), host),
        None => (None, &rest[..end]),
    };
    let (user, password) = match information.map(|text| text.split_once(':').unwrap_or((text, ""))) {
        Some((user, password)) => (percent_decode(user), percent_decode(password)),
        None => (None, None),
    };
    Ok(Authority { base: format!("{scheme}://{host}{}", &rest[end..]), user, password })
}

/// Percent-decodes a component; `None` if it is empty.
fn percent_decode(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, tail @ ..] = rest {
        let code = (*first == b'%')
            .then(|| tail.get(..2))
            .flatten()
            .and_then(|digits| u8::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok());
        bytes.push(code.unwrap_or(*first));
        rest = if code.is_some() { &tail[2..] } else { tail };
    }
    String::from_utf8(bytes).ok().filter(|text| !text.is_empty())
}

/// A URL without its password, for messages.
fn redact_password(url: &str) -> String {
    match (url.find("://"), url.rfind('@')) {
        (Some(scheme), Some(at)) if scheme < at => format!("{}***{}", &url[..scheme + 3], &url[at..]),
        _ => url.to_owned(),
    }
}

/// The URL of the remote as git resolves it, with `insteadOf`, includes and worktrees.
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
    fn repository_url_has_server_app_and_user() {
        let found = Remote::parse_repository("http://pi:8080/hello.git").unwrap();
        assert_eq!(parts(&found), ("http://pi:8080", Some("hello"), None, None));
        let found = Remote::parse_repository("https://ada:p%40ss%3a@example.com/cloud/hello.git/").unwrap();
        assert_eq!(parts(&found), ("https://example.com/cloud", Some("hello"), Some("ada"), Some("p@ss:")));
        let found = Remote::parse_repository("https://ada@[::1]:8443/hello").unwrap();
        assert_eq!(parts(&found), ("https://[::1]:8443", Some("hello"), Some("ada"), None));
    }

    #[test]
    fn server_url_is_parsed() {
        let found = Remote::parse_server("https://:secret@pi.example.com/").unwrap();
        assert_eq!(parts(&found), ("https://pi.example.com", None, None, Some("secret")));
        let found = Remote::parse_server("http://pi:8080/hello.git").unwrap();
        assert_eq!(parts(&found), ("http://pi:8080", Some("hello"), None, None));
    }

    #[test]
    fn invalid_repository_url_is_rejected() {
        for url in ["git@example.com:hello.git", "/srv/hello.git", "ssh://example.com/hello.git"] {
            assert!(matches!(Remote::parse_repository(url), Err(RemoteError::Scheme { .. })), "{url}");
        }
        assert!(matches!(Remote::parse_repository("http://pi:8080"), Err(RemoteError::Shape(_))));
        assert!(matches!(Remote::parse_repository("http://pi/Hello.git"), Err(RemoteError::Name(_))));
    }

    #[test]
    fn error_hides_password() {
        let error = Remote::parse_repository("ssh://ada:secret@example.com/hello.git").unwrap_err();
        assert!(!error.to_string().contains("secret"), "{error}");
    }
}
