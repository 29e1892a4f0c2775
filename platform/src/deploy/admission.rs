//! A received push waits for memory before it waits for its permit: permits are shared by all apps.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use git_receiver::{Command, PackBytes, Request};
use manifest_schema::name::AppName;
use store::{AppId, OBJECTS_BYTES_MAX};

use super::candidate::DeployError;
use super::{Deployer, FailedPush, PushReport};
use crate::memory::{Purpose, Reservation};
use crate::repository::RequestMemory;

/// How long a push waits for memory.
const MEMORY_WAIT_MAX: Duration = Duration::from_secs(60);

/// The base reservation of a push, from begin to end.
const PUSH_BASE_BYTES: u64 = 1024 * 1024;

/// How many copies of the objects stored at once are in memory: one read, one in the statement, one in the
/// database.
const COPIES: u64 = 3;

/// A received push with its memory reservation.
#[derive(Debug)]
pub struct AdmittedPush {
    pub(super) request: Request,
    pub(super) pack: io::Result<PackBytes>,
    /// The id of the app, or the id for its creation.
    pub(super) app: AppId,
    pub(super) memory: Arc<RequestMemory>,
}

impl AdmittedPush {
    /// The commands of the client.
    pub fn commands(&self) -> &[Command] {
        &self.request.commands
    }
}

impl Deployer {
    /// Reserves the initial memory of a push to the app `name`; `pack` is what followed `request`.
    ///
    /// # Errors
    /// There is not enough memory; the push is rejected.
    pub async fn admit(
        &self,
        name: &AppName,
        request: Request,
        pack: io::Result<PackBytes>,
    ) -> Result<AdmittedPush, PushReport> {
        let bytes = pack.as_ref().map_or(0, PackBytes::length).min(OBJECTS_BYTES_MAX);
        match self.reserve(name, PUSH_BASE_BYTES + COPIES * bytes).await {
            Ok((app, memory)) => Ok(AdmittedPush { request, pack, app, memory: RequestMemory::new(memory) }),
            Err(error) => Err(FailedPush { unpacked: false, error }.reject(name, &request.commands)),
        }
    }

    async fn reserve(&self, name: &AppName, bytes: u64) -> Result<(AppId, Reservation), DeployError> {
        let app = self.store.app(name).await?;
        // A new app is created with this id, so that its memory is accounted from here on.
        let id = app.as_ref().map_or_else(AppId::random, |app| app.id);
        let scripts = self.activation.scripts_of(id, &self.activation.limits().of(app.as_ref()));
        let account = scripts.account();
        let memory =
            match tokio::time::timeout(MEMORY_WAIT_MAX, account.reserve(Purpose::Pushes, bytes)).await {
                Ok(memory) => memory?,
                Err(_) => account.try_reserve(Purpose::Pushes, bytes)?,
            };
        Ok((id, memory))
    }
}
