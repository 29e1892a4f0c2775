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
use crate::edge::listener::{self, ConnectionBounds, Stopping};
use crate::edge::{Edge, Pushes, Reach};

/// The embedded database's file in the data folder.
const SQLITE_FILE: &str = "picloud.db";

/// The files that a node has open beside its connections: of the database, pushes that arrive, and the runtime.
const FILES_BESIDE: u64 = 512;

/// A node that is ready to serve.
pub(crate) struct Node {
    pub(crate) address: SocketAddr,
    pub(crate) admin: AdminToken,
    pub(crate) admin_origin: Origin,
    pub(crate) store: Store,
    listener: TcpListener,
    bounds: ConnectionBounds,
    stopping: Arc<Stopping>,
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
        let listener = listener::bind(settings.listen)
            .map_err(|source| StartError::Listen { address: settings.listen, source })?;
        let address = listener
            .local_addr()
            .map_err(|source| StartError::Listen { address: settings.listen, source })?;
        let deployer = Deployer::new(store.clone(), activation.clone(), settings.push.deploy_limits());
        let scheduler = Scheduler::new(store.clone(), Arc::clone(&table));
        let reach = Reach {
            domain: settings.domain.clone(),
            public_url: settings.public_url.clone(),
            body_time: settings.connections.body_time.0,
        };
        let pushes = Pushes { bounds: settings.push.bounds(), spool: settings.data_dir.clone() };
        let bounds = ConnectionBounds {
            connections: connections(open_files(), settings.connections.connections),
            ..settings.connections.bounds()
        };
        let stopping = Arc::new(Stopping::default());
        let edge =
            Edge::new(reach, store.clone(), table, deployer, admin.clone(), pushes, Arc::clone(&stopping));
        Ok(Self {
            address,
            admin,
            admin_origin,
            store,
            listener,
            bounds,
            stopping,
            edge,
            scheduler,
            activation,
        })
    }

    /// Serves until `stop` is done; then running requests finish, within a bound.
    pub(crate) async fn run(self, stop: impl Future<Output = ()>) {
        let changes = self.activation.changes();
        let clock = tokio::spawn(async move {
            if let Err(error) = self.scheduler.run(changes).await {
                tracing::error!(%error, "the clock failed; schedules do not run until the next start");
            }
        });
        listener::serve(self.listener, Arc::new(self.edge), self.bounds, self.stopping, stop).await;
        clock.abort();
        self.store.close().await;
    }
}

/// Raises the bound of open files to the most that this process may have, and says how many that are.
fn open_files() -> u64 {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit { current: limit.maximum, maximum: limit.maximum };
    let now = if setrlimit(Resource::Nofile, raised).is_ok() { raised.current } else { limit.current };
    now.unwrap_or(u64::MAX)
}

/// How many connections can be held at once where so many are wanted.
fn connections(open_files: u64, wanted: usize) -> usize {
    let room = usize::try_from(open_files.saturating_sub(FILES_BESIDE)).unwrap_or(usize::MAX).max(1);
    if room < wanted {
        tracing::warn!(
            open_files,
            "this process may open {open_files} files, so at most {room} connections are taken at once instead of \
             {wanted}: raise the hard limit (`ulimit -Hn`, or LimitNOFILE= of its unit) to {}",
            wanted as u64 + FILES_BESIDE
        );
    }
    room.min(wanted)
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
