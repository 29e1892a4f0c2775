//! A push that has arrived waits for memory to be worked on, before it waits for its turn: a turn is every app's.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use git_receiver::{Command, PackBytes, Request};
use manifest_schema::name::AppName;
use store::{AppId, OBJECTS_BYTES_MAX};

use super::candidate::DeployError;
use super::{Deployed, Deployer, Failed};
use crate::memory::{Purpose, Reservation};
use crate::repository::RequestMemory;

/// How long a push waits for memory.
const WAIT_MAX: Duration = Duration::from_secs(60);

/// What any push holds from its beginning to its end, …
const PUSH_BYTES: u64 = 1024 * 1024;

/// … and how often what of its pack is stored at once: it is read, gathered for a statement, and copied by the database.
const COPIES: u64 = 3;

/// A push that has arrived whole, with the memory that is held for it.
#[derive(Debug)]
pub struct AdmittedPush {
    pub(super) request: Request,
    pub(super) pack: io::Result<PackBytes>,
    /// The id of the app, or the one that it is to be created with.
    pub(super) app: AppId,
    pub(super) held: Arc<RequestMemory>,
}

impl AdmittedPush {
    /// What the client wants.
    pub fn commands(&self) -> &[Command] {
        &self.request.commands
    }
}

impl Deployer {
    /// Waits for the memory that a push to the app `name` begins with; `pack` is what followed `request`.
    ///
    /// # Errors
    /// There is none, and the push is rejected.
    pub async fn admit(
        &self,
        name: &AppName,
        request: Request,
        pack: io::Result<PackBytes>,
    ) -> Result<AdmittedPush, Deployed> {
        let bytes = pack.as_ref().map_or(0, PackBytes::length).min(OBJECTS_BYTES_MAX);
        match self.hold(name, PUSH_BYTES + COPIES * bytes).await {
            Ok((app, held)) => Ok(AdmittedPush { request, pack, app, held: RequestMemory::new(held) }),
            Err(error) => Err(Failed { unpacked: false, error }.reject(name, &request.commands)),
        }
    }

    async fn hold(&self, name: &AppName, bytes: u64) -> Result<(AppId, Reservation), DeployError> {
        let app = self.store.app(name).await?;
        // One that is not there yet is created with this id, so that what it takes is counted from here on.
        let id = app.as_ref().map_or_else(AppId::random, |app| app.id);
        let scripts = self.activation.scripts_of(id, &self.activation.limits().of(app.as_ref()));
        let account = scripts.account();
        let held = match tokio::time::timeout(WAIT_MAX, account.reserve(Purpose::Pushes, bytes)).await {
            Ok(held) => held?,
            Err(_) => account.try_reserve(Purpose::Pushes, bytes)?,
        };
        Ok((id, held))
    }
}
