//! Shell completion with names from the server: apps, branches, schedules and functions. Completion never prompts for a token
//! and prints no errors.

use std::ffi::OsStr;
use std::path::PathBuf;
use std::sync::mpsc::sync_channel;
use std::thread;
use std::time::Duration;

use clap_complete::engine::CompletionCandidate;
use manifest_schema::name::AppName;
use serde::de::DeserializeOwned;

use super::api;
use super::credential::{Credential, CredentialError};
use super::error::ClientError;
use super::percent_encoding::percent_encode;
use super::remote::{Remote, RemoteError};
use crate::api_types::{Apps, Branches, Routes, Schedules};

/// The timeout of a completion.
const TIMEOUT: Duration = Duration::from_secs(2);

/// The apps of the server.
pub(crate) fn apps(current: &OsStr) -> Vec<CompletionCandidate> {
    candidates(current, |server| {
        let found: Apps = server.get("apps")?;
        Ok(found.apps.into_iter().map(|app| app.name).collect())
    })
}

/// The branches of the app with a live deploy.
pub(crate) fn branches(current: &OsStr) -> Vec<CompletionCandidate> {
    candidates(current, |server| {
        let found: Branches = server.get(&format!("apps/{}/branches", server.app()?))?;
        Ok(found.branches.into_iter().map(|branch| branch.name).collect())
    })
}

/// The schedules of the app, on the branch of `--branch`.
pub(crate) fn schedules(current: &OsStr) -> Vec<CompletionCandidate> {
    candidates(current, |server| {
        let branch = typed_flag("--branch").map(|branch| format!("?branch={}", percent_encode(&branch)));
        let path = format!("apps/{}/schedules{}", server.app()?, branch.unwrap_or_default());
        let found: Schedules = server.get(&path)?;
        Ok(found.schedules.into_iter().map(|schedule| schedule.name).collect())
    })
}

/// The functions of the app.
pub(crate) fn functions(current: &OsStr) -> Vec<CompletionCandidate> {
    candidates(current, |server| {
        let found: Routes = server.get(&format!("apps/{}/routes", server.app()?))?;
        Ok(found.functions.into_iter().map(|function| function.name).collect())
    })
}

fn candidates(
    current: &OsStr,
    request: impl FnOnce(&Server) -> Result<Vec<String>, ClientError> + Send + 'static,
) -> Vec<CompletionCandidate> {
    let (sender, names) = sync_channel(1);
    // The process does not join this thread.
    let thread = thread::Builder::new().spawn(move || {
        let _ = sender.send(Server::find().and_then(|server| request(&server)));
    });
    let names = thread.ok().and_then(|_| names.recv_timeout(TIMEOUT).ok()).and_then(Result::ok);
    let current = current.to_string_lossy();
    let names = names.unwrap_or_default().into_iter().filter(|name| name.starts_with(&*current));
    names.map(CompletionCandidate::new).collect()
}

/// The server of the typed command line.
struct Server {
    remote: Remote,
    credential: Credential,
}

impl Server {
    /// Does not run git's credential helper, which could prompt the user.
    fn find() -> Result<Self, ClientError> {
        let remote = Remote::find(flag_or_variable("--url", "PICLOUD_URL").as_deref())?;
        let file = flag_or_variable("--token-file", "PICLOUD_TOKEN_FILE").map(PathBuf::from);
        let credential = Credential::find_without_helper(file.as_deref(), &remote)?;
        let credential =
            credential.ok_or_else(|| CredentialError::NotFound { server: remote.base.clone() })?;
        Ok(Self { remote, credential })
    }

    fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, ClientError> {
        let url = format!("{}/-/api/v1/{path}", self.remote.base);
        Ok(api::send("GET", &url, self.credential.token(), None)?.json()?)
    }

    /// The app of the typed command line.
    fn app(&self) -> Result<AppName, ClientError> {
        let named = flag_or_variable("--app", "PICLOUD_APP").and_then(|app| app.parse().ok());
        Ok(named.or_else(|| self.remote.app.clone()).ok_or(RemoteError::NoApp)?)
    }
}

/// The value of a flag in the typed command line, or else of a variable.
fn flag_or_variable(flag: &str, variable: &str) -> Option<String> {
    typed_flag(flag).or_else(|| std::env::var(variable).ok().filter(|value| !value.is_empty()))
}

/// The value of a flag in the typed command line.
fn typed_flag(flag: &str) -> Option<String> {
    let mut words = std::env::args().skip_while(|word| word != "--");
    words.find(|word| word == flag)?;
    words.next().filter(|value| !value.is_empty())
}
