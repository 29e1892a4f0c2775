//! The command line as a client of a server: which one, as whom, and how it is asked.
//!
//! - [`remote`]: the server and the app, from the `picloud` remote of the folder's repository or from flags
//! - [`credential`]: the token, from the environment, the remote's URL, or git's credential helper
//! - [`api`]: one request to the REST API, and what its answer means
//! - [`completing`]: what a shell completes with what the server knows
//! - [`escaping`]: text within a URL
//! - [`error`]: why it did not work
//! - [`unreachable`](mod@unreachable): why a server could not be spoken to
//! - [`login`]: the tokens that are kept for servers
//! - [`events`]: a stream of events, taken up again where it broke off
//!
//! These rooms start one program, and it is the user's own git.

mod api;
pub(crate) mod completing;
mod credential;
mod error;
mod escaping;
mod events;
pub(crate) mod login;
mod remote;
mod unreachable;

use std::path::PathBuf;

use clap::Args;
use clap_complete::engine::ArgValueCompleter;
use manifest_schema::name::{AppName, JobName};
use serde::de::DeserializeOwned;

pub(crate) use api::{Answer, ApiError};
pub(crate) use error::ClientError;
pub(crate) use escaping::escaped;
pub(crate) use events::{Event, Heard};

use crate::progress::Progress;
use crate::rest::{NO_EXECUTION, NOTHING_THERE};
use credential::{Credential, CredentialError};
use remote::{Remote, RemoteError};

/// Which server a verb speaks to, and in which form it answers.
#[derive(Clone, Debug, Default, Args)]
pub(crate) struct ClientOptions {
    /// The server, such as https://pi.example.com; without it that of the `picloud` git remote.
    #[arg(long, env = "PICLOUD_URL")]
    pub(crate) url: Option<String>,

    /// A file that holds the token; without it PICLOUD_TOKEN, the password in the remote's URL, or what git's credential helper knows.
    #[arg(long, value_name = "FILE", env = "PICLOUD_TOKEN_FILE")]
    pub(crate) token_file: Option<PathBuf>,

    /// Not taken: every user of the machine sees what a command is given.
    #[arg(long, hide = true)]
    token: Option<String>,

    /// Print JSON for programs instead of a table for people.
    #[arg(long)]
    pub(crate) json: bool,
}

/// The app that a verb is about.
#[derive(Clone, Debug, Default, Args)]
pub(crate) struct AppOption {
    /// The app; without it that of the `picloud` git remote.
    #[arg(long, env = "PICLOUD_APP", add = ArgValueCompleter::new(completing::apps))]
    pub(crate) app: Option<AppName>,
}

/// The URL of the server at `url`, or else of the one that the folder's repository names.
pub(crate) fn server(url: Option<&str>) -> Result<String, ClientError> {
    Ok(Remote::find(url)?.base)
}

/// A server, and who asks it.
#[derive(Debug)]
pub(crate) struct Client {
    remote: Remote,
    credential: Credential,
}

impl Client {
    /// The server that the options or the folder's repository name.
    pub(crate) fn find(options: &ClientOptions) -> Result<Self, ClientError> {
        if options.token.is_some() {
            return Err(CredentialError::Argument.into());
        }
        let remote = Remote::find(options.url.as_deref())?;
        let credential = Credential::find(options.token_file.as_deref(), &remote)?;
        Ok(Self { remote, credential })
    }

    /// A server, asked with a token that may not be kept yet: one of the file that is named, or what `ask` gets from people.
    pub(crate) fn log_in<E: From<ClientError>>(
        options: &ClientOptions,
        ask: impl FnOnce(&str) -> Result<String, E>,
    ) -> Result<Self, E> {
        if options.token.is_some() {
            return Err(ClientError::from(CredentialError::Argument).into());
        }
        let remote = Remote::find(options.url.as_deref()).map_err(ClientError::from)?;
        let credential = match &options.token_file {
            Some(file) => Credential::in_file(file),
            None => Credential::typed(&ask(&remote.base)?),
        };
        Ok(Self { remote, credential: credential.map_err(ClientError::from)? })
    }

    /// The URL of the server.
    pub(crate) fn server(&self) -> &str {
        &self.remote.base
    }

    /// The token as which it is asked.
    pub(crate) fn token(&self) -> &str {
        self.credential.token()
    }

    /// The app that the option or the remote names.
    pub(crate) fn app(&self, option: &AppOption) -> Result<AppName, ClientError> {
        let app = option.app.clone().or_else(|| self.remote.app.clone());
        Ok(app.ok_or(RemoteError::NoApp)?)
    }

    /// GET of a path below `/-/api/v1/`.
    pub(crate) fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, ClientError> {
        self.document(self.ask("GET", path, None)?)
    }

    /// The execution at a path, if it is recorded yet.
    pub(crate) fn find_execution<T: DeserializeOwned>(&self, path: &str) -> Result<Option<T>, ClientError> {
        match self.document(self.ask("GET", path, None)?) {
            Err(ClientError::Api(ApiError::Refused { detail })) if detail == NO_EXECUTION => Ok(None),
            found => found.map(Some),
        }
    }

    /// POST of nothing to a path below `/-/api/v1/`.
    pub(crate) fn post<T: DeserializeOwned>(&self, path: &str) -> Result<T, ClientError> {
        self.document(self.ask("POST", path, Some(b""))?)
    }

    /// Any other request to a path below `/-/api/v1/`, with a JSON document where there is one.
    pub(crate) fn send<T: DeserializeOwned>(
        &self,
        method: &str,
        path: &str,
        document: Option<&impl serde::Serialize>,
    ) -> Result<T, ClientError> {
        let body = document.map(serde_json::to_vec).transpose().map_err(ApiError::Document)?;
        self.document(self.ask(method, path, body.as_deref())?)
    }

    /// The document of an answer. Where there is none that is understood, it is looked whether the server is of another version.
    fn document<T: DeserializeOwned>(&self, answer: Answer) -> Result<T, ClientError> {
        const OWN: &str = env!("CARGO_PKG_VERSION");
        let error = match answer.document() {
            Ok(document) => return Ok(document),
            Err(error) => error,
        };
        let may_be_older = match &error {
            ApiError::NotUnderstood { .. } => true,
            ApiError::Refused { detail } => detail == NOTHING_THERE,
            _ => false,
        };
        let version = may_be_older.then(|| api::server_version(&self.remote.base)).flatten();
        Err(match version.filter(|server| server != OWN) {
            Some(server) => ApiError::OtherVersion { server, own: OWN },
            None => error,
        }
        .into())
    }

    /// Calls a function of an app; what it answers is the function's.
    pub(crate) fn call(
        &self,
        app: &AppName,
        function: &JobName,
        payload: &[u8],
    ) -> Result<Answer, ClientError> {
        let path = format!("apps/{}/functions/{}", app.as_str(), function.as_str());
        Ok(self.ask("POST", &path, Some(payload))?.unless_refused()?)
    }

    /// Follows a stream of events of a path below `/-/api/v1/`, for as long as `hear` wants more.
    pub(crate) fn follow<E>(&self, path: &str, hear: impl FnMut(Heard<'_>) -> Result<(), E>) -> Result<(), E>
    where
        E: From<ClientError>,
    {
        let url = format!("{}/-/api/v1/{path}", self.remote.base);
        events::follow(&url, self.credential.token(), hear)
    }

    fn ask(&self, method: &str, path: &str, body: Option<&[u8]>) -> Result<Answer, ApiError> {
        let url = format!("{}/-/api/v1/{path}", self.remote.base);
        let waiting = Progress::of(&format!("waiting for {}", self.remote.base));
        let answer = api::ask(method, &url, self.credential.token(), body)?;
        drop(waiting);
        if answer.status == 401 {
            self.credential.reject();
        } else {
            self.credential.approve();
        }
        Ok(answer)
    }
}
