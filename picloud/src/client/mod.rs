//! The client of the REST API, for the commands that need a server.
//!
//! - [`remote`]: the server and the app, from flags or the git remote `picloud`
//! - [`credential`]: the token, from a file, the environment, the remote's URL, the credentials file, or git's helper
//! - [`login`]: the credentials file of `picloud login`
//! - [`api`]: requests and their errors
//! - [`events`]: event streams that reconnect
//! - [`connection_error`]: errors of the connection
//! - [`completion`]: shell completion with names from the server
//! - [`percent_encoding`]: encoding of URL components
//!
//! The only program that this module runs is git.

mod api;
pub(crate) mod completion;
mod connection_error;
mod credential;
mod error;
mod events;
pub(crate) mod login;
mod percent_encoding;
mod remote;

use std::path::PathBuf;

use clap::Args;
use clap_complete::engine::ArgValueCompleter;
use manifest_schema::name::{AppName, JobName};
use serde::de::DeserializeOwned;

pub(crate) use api::{ApiError, ApiResponse};
pub(crate) use error::ClientError;
pub(crate) use events::{Event, StreamEvent};
pub(crate) use percent_encoding::percent_encode;

use crate::api_types::{NO_EXECUTION, NOT_FOUND};
use crate::progress::Progress;
use credential::{Credential, CredentialError};
use remote::{Remote, RemoteError};

/// The server of a client command, and the output format.
#[derive(Clone, Debug, Default, Args)]
pub(crate) struct ClientArgs {
    /// URL of the server, such as https://pi.example.com. The default is the server of the `picloud` git remote.
    #[arg(long, env = "PICLOUD_URL", value_name = "URL")]
    pub(crate) url: Option<String>,

    /// File with the token. The defaults are, in this order, PICLOUD_TOKEN, the password in the URL of the git remote, the token of
    /// `picloud login`, and git's credential helper.
    #[arg(long, value_name = "FILE", env = "PICLOUD_TOKEN_FILE")]
    pub(crate) token_file: Option<PathBuf>,

    /// Rejected: other users of the machine can see arguments.
    #[arg(long, hide = true)]
    token: Option<String>,

    /// Output JSON.
    #[arg(long)]
    pub(crate) json: bool,
}

/// The app of a command.
#[derive(Clone, Debug, Default, Args)]
pub(crate) struct AppArg {
    /// App. The default is the app of the `picloud` git remote.
    #[arg(long, env = "PICLOUD_APP", add = ArgValueCompleter::new(completion::apps))]
    pub(crate) app: Option<AppName>,
}

/// The base URL of the server at `url`, or of the git remote.
pub(crate) fn server(url: Option<&str>) -> Result<String, ClientError> {
    Ok(Remote::find(url)?.base)
}

/// A client of a server, with its token.
#[derive(Debug)]
pub(crate) struct Client {
    remote: Remote,
    credential: Credential,
}

impl Client {
    /// Creates a client from flags, the environment and the git remote.
    pub(crate) fn find(options: &ClientArgs) -> Result<Self, ClientError> {
        if options.token.is_some() {
            return Err(CredentialError::Argument.into());
        }
        let remote = Remote::find(options.url.as_deref())?;
        let credential = Credential::find(options.token_file.as_deref(), &remote)?;
        Ok(Self { remote, credential })
    }

    /// Creates a client for `picloud login`, with the token of `--token-file` or the result of `prompt`.
    pub(crate) fn log_in<E: From<ClientError>>(
        options: &ClientArgs,
        prompt: impl FnOnce(&str) -> Result<String, E>,
    ) -> Result<Self, E> {
        if options.token.is_some() {
            return Err(ClientError::from(CredentialError::Argument).into());
        }
        let remote = Remote::find(options.url.as_deref()).map_err(ClientError::from)?;
        let credential = match &options.token_file {
            Some(file) => Credential::from_file(file),
            None => Credential::from_prompt(&prompt(&remote.base)?),
        };
        Ok(Self { remote, credential: credential.map_err(ClientError::from)? })
    }

    /// The URL of the server.
    pub(crate) fn server(&self) -> &str {
        &self.remote.base
    }

    /// The token.
    pub(crate) fn token(&self) -> &str {
        self.credential.token()
    }

    /// The app of `--app` or the git remote.
    pub(crate) fn app(&self, option: &AppArg) -> Result<AppName, ClientError> {
        let app = option.app.clone().or_else(|| self.remote.app.clone());
        Ok(app.ok_or(RemoteError::NoApp)?)
    }

    /// GET a path below `/-/api/v1/`.
    pub(crate) fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, ClientError> {
        self.json(self.request("GET", path, None)?)
    }

    /// GET an execution, which is possibly not recorded yet.
    pub(crate) fn find_execution<T: DeserializeOwned>(&self, path: &str) -> Result<Option<T>, ClientError> {
        match self.json(self.request("GET", path, None)?) {
            Err(ClientError::Api(ApiError::Rejected { detail, .. })) if detail == NO_EXECUTION => Ok(None),
            found => found.map(Some),
        }
    }

    /// POST to a path below `/-/api/v1/` without a body.
    pub(crate) fn post<T: DeserializeOwned>(&self, path: &str) -> Result<T, ClientError> {
        self.json(self.request("POST", path, Some(b""))?)
    }

    /// Sends a request to a path below `/-/api/v1/` with an optional JSON body.
    pub(crate) fn send<T: DeserializeOwned>(
        &self,
        method: &str,
        path: &str,
        body: Option<&impl serde::Serialize>,
    ) -> Result<T, ClientError> {
        let body = body.map(serde_json::to_vec).transpose().map_err(ApiError::Serialize)?;
        self.json(self.request(method, path, body.as_deref())?)
    }

    /// Parses the JSON body of a response. After an unexpected response, compares the version of the server.
    fn json<T: DeserializeOwned>(&self, response: ApiResponse) -> Result<T, ClientError> {
        const OWN: &str = env!("CARGO_PKG_VERSION");
        let error = match response.json() {
            Ok(body) => return Ok(body),
            Err(error) => error,
        };
        let may_be_older = match &error {
            ApiError::UnexpectedResponse { .. } => true,
            ApiError::Rejected { detail, .. } => detail == NOT_FOUND,
            _ => false,
        };
        let version = may_be_older.then(|| api::server_version(&self.remote.base)).flatten();
        Err(match version.filter(|server| server != OWN) {
            Some(server) => ApiError::VersionMismatch { server, own: OWN },
            None => error,
        }
        .into())
    }

    /// Calls a function of an app and returns its response.
    pub(crate) fn call(
        &self,
        app: &AppName,
        function: &JobName,
        payload: &[u8],
    ) -> Result<ApiResponse, ClientError> {
        let path = format!("apps/{}/functions/{}", app.as_str(), function.as_str());
        Ok(self.request("POST", &path, Some(payload))?.check()?)
    }

    /// Consumes the event stream of a path below `/-/api/v1/` until `handle` returns an error.
    pub(crate) fn follow<E>(
        &self,
        path: &str,
        handle: impl FnMut(StreamEvent<'_>) -> Result<(), E>,
    ) -> Result<(), E>
    where
        E: From<ClientError>,
    {
        let url = format!("{}/-/api/v1/{path}", self.remote.base);
        events::follow(&url, self.credential.token(), handle)
    }

    fn request(&self, method: &str, path: &str, body: Option<&[u8]>) -> Result<ApiResponse, ApiError> {
        let url = format!("{}/-/api/v1/{path}", self.remote.base);
        let progress = Progress::start(&format!("waiting for {}", self.remote.base));
        let response = api::send(method, &url, self.credential.token(), body)?;
        drop(progress);
        if response.status == 401 {
            self.credential.reject();
        } else {
            self.credential.approve();
        }
        Ok(response)
    }
}
