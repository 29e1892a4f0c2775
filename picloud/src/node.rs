//! One node: store, platform and edge, wired. The only place that knows them all.

use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use platform::activation::Activation;
use platform::deploy::Deployer;
use platform::schedules::Scheduler;
use platform::tokens::{AdminToken, Origin, TokenError};
use runtime::LiveTable;
use store::{Location, OpenError, Store, StoreError};
use tokio::net::TcpListener;

use crate::cli::Settings;
use crate::edge::{Edge, Pushes, Reach, listener};

/// The embedded database's file in the data folder.
const SQLITE_FILE: &str = "picloud.db";

/// A node that is ready to serve.
pub(crate) struct Node {
    pub(crate) address: SocketAddr,
    pub(crate) admin: AdminToken,
    pub(crate) admin_origin: Origin,
    pub(crate) store: Store,
    listener: TcpListener,
    edge: Edge,
    scheduler: Scheduler,
    activation: Activation,
}

/// Why a node does not start.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StartError {
    #[error("cannot make the data folder {}", path.display())]
    Folder { path: PathBuf, source: io::Error },
    #[error("cannot listen on {address}")]
    Listen { address: SocketAddr, source: io::Error },
    #[error("cannot start")]
    Threads(#[source] io::Error),
    #[error(transparent)]
    Token(#[from] TokenError),
    #[error(transparent)]
    Open(#[from] OpenError),
    #[error("cannot read what is live")]
    Load(#[source] StoreError),
}

/// The threads that a node runs on. Any of them may run a script, which needs a deep stack.
pub(crate) fn threads() -> Result<tokio::runtime::Runtime, StartError> {
    tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .thread_stack_size(runtime::STACK)
        .build()
        .map_err(StartError::Threads)
}

impl Node {
    /// Opens the database, loads what is live and takes the port. Nothing is answered before [`Node::run`].
    pub(crate) async fn start(settings: &Settings) -> Result<Self, StartError> {
        make_private_folder(&settings.data_dir)?;
        let (admin, admin_origin) = AdminToken::obtain(settings.admin_token.as_deref(), &settings.data_dir)?;
        let store = Store::open(&location(settings)).await?;
        let table = Arc::new(LiveTable::new());
        let activation = Activation::new(store.clone(), Arc::clone(&table));
        activation.sync_all().await.map_err(StartError::Load)?;
        let listener = TcpListener::bind(settings.listen)
            .await
            .map_err(|source| StartError::Listen { address: settings.listen, source })?;
        let address = listener
            .local_addr()
            .map_err(|source| StartError::Listen { address: settings.listen, source })?;
        let deployer = Deployer::new(store.clone(), activation.clone(), settings.push.deploy_limits());
        let scheduler = Scheduler::new(store.clone(), Arc::clone(&table));
        let reach = Reach { domain: settings.domain.clone(), public_url: settings.public_url.clone() };
        let pushes = Pushes { bounds: settings.push.bounds(), spool: settings.data_dir.clone() };
        let edge = Edge::new(reach, store.clone(), table, deployer, admin.clone(), pushes);
        Ok(Self { address, admin, admin_origin, store, listener, edge, scheduler, activation })
    }

    /// Serves until `stop` is done; then running requests finish, within a bound.
    pub(crate) async fn run(self, stop: impl Future<Output = ()>) {
        let changes = self.activation.changes();
        let clock = tokio::spawn(async move {
            if let Err(error) = self.scheduler.run(changes).await {
                tracing::error!(%error, "the clock failed; schedules do not run until the next start");
            }
        });
        listener::serve(self.listener, self.edge, stop).await;
        clock.abort();
        self.store.close().await;
    }
}

/// Where a node with these settings keeps everything.
pub(crate) fn location(settings: &Settings) -> Location {
    match &settings.database_url {
        Some(url) => Location::Postgres(url.clone()),
        None => Location::Sqlite(settings.data_dir.join(SQLITE_FILE)),
    }
}

/// The folder holds the token and all the code; nobody else may look into it.
fn make_private_folder(path: &Path) -> Result<(), StartError> {
    use std::os::unix::fs::DirBuilderExt as _;
    std::fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(path)
        .map_err(|source| StartError::Folder { path: path.to_owned(), source })
}
