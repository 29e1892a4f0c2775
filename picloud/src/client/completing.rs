//! What a shell completes with what the server knows. It is asked quietly, and only where a token is at hand: nobody types at a prompt
//! to complete a word.

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
use super::escaping::escaped;
use super::remote::{Remote, RemoteError};
use crate::rest::{Apps, Branches, Routes, Schedules};

/// How long somebody waits who has pressed a key.
const WAIT_MAX: Duration = Duration::from_secs(2);

/// The apps of the server.
pub(crate) fn apps(current: &OsStr) -> Vec<CompletionCandidate> {
    candidates(current, |server| {
        let found: Apps = server.get("apps")?;
        Ok(found.apps.into_iter().map(|app| app.name).collect())
    })
}

/// The branches of the app on which something is live.
pub(crate) fn branches(current: &OsStr) -> Vec<CompletionCandidate> {
    candidates(current, |server| {
        let found: Branches = server.get(&format!("apps/{}/branches", server.app()?))?;
        Ok(found.branches.into_iter().map(|branch| branch.name).collect())
    })
}

/// The schedules of the app, on the branch that is typed already.
pub(crate) fn schedules(current: &OsStr) -> Vec<CompletionCandidate> {
    candidates(current, |server| {
        let branch = typed("--branch").map(|branch| format!("?branch={}", escaped(&branch)));
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
    ask: impl FnOnce(&Server) -> Result<Vec<String>, ClientError> + Send + 'static,
) -> Vec<CompletionCandidate> {
    let (sender, names) = sync_channel(1);
    // It ends with the process.
    let asking = thread::Builder::new().spawn(move || {
        let _ = sender.send(Server::at_hand().and_then(|server| ask(&server)));
    });
    let names = asking.ok().and_then(|_| names.recv_timeout(WAIT_MAX).ok()).and_then(Result::ok);
    let current = current.to_string_lossy();
    let names = names.unwrap_or_default().into_iter().filter(|name| name.starts_with(&*current));
    names.map(CompletionCandidate::new).collect()
}

/// The server that the words before mean.
struct Server {
    remote: Remote,
    credential: Credential,
}

impl Server {
    /// Without asking git for a token: a helper of its could ask people.
    fn at_hand() -> Result<Self, ClientError> {
        let remote = Remote::find(said("--url", "PICLOUD_URL").as_deref())?;
        let file = said("--token-file", "PICLOUD_TOKEN_FILE").map(PathBuf::from);
        let credential = Credential::at_hand(file.as_deref(), &remote)?;
        let credential = credential.ok_or_else(|| CredentialError::None { server: remote.base.clone() })?;
        Ok(Self { remote, credential })
    }

    fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, ClientError> {
        let url = format!("{}/-/api/v1/{path}", self.remote.base);
        Ok(api::ask("GET", &url, self.credential.token(), None)?.document()?)
    }

    /// The app that the words before mean.
    fn app(&self) -> Result<AppName, ClientError> {
        let named = said("--app", "PICLOUD_APP").and_then(|app| app.parse().ok());
        Ok(named.or_else(|| self.remote.app.clone()).ok_or(RemoteError::NoApp)?)
    }
}

/// What a flag in the line says, or else a variable.
fn said(flag: &str, variable: &str) -> Option<String> {
    typed(flag).or_else(|| std::env::var(variable).ok().filter(|value| !value.is_empty()))
}

/// What stands after a flag in the line that is being typed.
fn typed(flag: &str) -> Option<String> {
    let mut words = std::env::args().skip_while(|word| word != "--");
    words.find(|word| word == flag)?;
    words.next().filter(|value| !value.is_empty())
}
