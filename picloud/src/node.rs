//! A node: wires store, platform and edge together, and runs and shuts down its tasks.

use std::borrow::Cow;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use chrono::Utc;
use platform::activation::Activation;
use platform::apps::Apps;
use platform::audit::{self, AuditLog};
use platform::certificates::PreviewCertificates;
use platform::clock::Clock;
use platform::deploy::{Deployer, DomainPolicy};
use platform::domains::DomainVerifier;
use platform::domains::txt_lookup::TxtLookup;
use platform::gc::GarbageCollector;
use platform::health::DatabaseHealth;
use platform::limits::GrantedLimits;
use platform::live::LiveTable;
use platform::memory::{MemoryBudget, default_budget_bytes};
use platform::nodes::{ClusterMember, LocalNode, NodeList, Peers, Role};
use platform::recording::Writer;
use platform::records::Records;
use platform::schedules::Scheduler;
use platform::secrets::{SealingKeys, Vault};
use platform::state::State;
use platform::status::StatusChecker;
use platform::tokens::{AdminToken, Origin, TokenError, Tokens};
use store::{Cluster, NodeIdentity, OpenError, ScheduleHold, Store, StoreError};
use tokio::net::TcpListener;
use uuid::Uuid;

use crate::clock_skew::{self, ClockError};
use crate::data_folder::{self, DataFolderError};
use crate::edge::listener::{self, ConnectionLimits};
use crate::edge::{
    Api, Authenticator, Edge, FunctionCaller, GitService, Health, MetricsRoute, PublicUrl, PushConfig,
    ServerOptions, Services, Shutdown,
};
use crate::hint::Hint;
use crate::metrics::{EdgeMetrics, MetricsEndpoint};
use crate::service::{self, SocketActivationError};
use crate::settings::Settings;
use platform::executor::threads::{BackgroundRuntime, ThreadsError};

/// The memory of an open connection without its request: 15.3 KiB, as measured with 10,000 connections in the middle of a request head.
const CONNECTION_BYTES: u64 = 16 * 1024;

/// The file descriptors of a node besides its connections: the database, push spools and the runtime.
const RESERVED_FILES: u64 = 512;

/// How long deregistering from the cluster can take.
const DEREGISTER_TIMEOUT: Duration = Duration::from_secs(2);

/// How often to look for expired previews.
const PREVIEW_EXPIRY_INTERVAL: Duration = Duration::from_secs(60 * 60);

/// How long flushing the last execution records can take.
const FLUSH_TIMEOUT: Duration = Duration::from_secs(5);

/// A node that is ready to run.
pub(crate) struct Node {
    pub(crate) address: SocketAddr,
    pub(crate) admin: AdminToken,
    pub(crate) admin_origin: Origin,
    /// The hold on all schedules at the start.
    pub(crate) schedule_hold: Option<ScheduleHold>,
    pub(crate) store: Store,
    listener: TcpListener,
    limits: ConnectionLimits,
    shutdown: Arc<Shutdown>,
    edge: Edge,
    role: Role,
    scheduler: Scheduler,
    writer: Writer,
    previews: Option<(Deployer, Duration)>,
    collector: GarbageCollector,
    activation: Activation,
    cluster: Option<(Cluster, ClusterMember)>,
    this: Arc<LocalNode>,
    /// These drive the database connections opened on them, so they are dropped after the last use of the store.
    push_threads: Arc<BackgroundRuntime>,
    fetch_threads: Arc<BackgroundRuntime>,
    /// For records, eviction and garbage collection.
    background: BackgroundRuntime,
    /// How long to keep audit events.
    audit_retention: Duration,
    clock: Clock,
}

/// Why a node cannot start.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StartError {
    #[error(transparent)]
    Folder(#[from] DataFolderError),
    #[error("cannot listen on {address}")]
    Listen { address: SocketAddr, source: io::Error },
    #[error(transparent)]
    SocketActivation(#[from] SocketActivationError),
    #[error("--role requires PostgreSQL: nodes of a cluster share a database")]
    SharedDatabaseRequired,
    #[error(transparent)]
    Threads(#[from] ThreadsError),
    #[error(transparent)]
    Token(#[from] TokenError),
    #[error(transparent)]
    Open(#[from] OpenError),
    #[error(transparent)]
    Clock(#[from] ClockError),
    #[error("cannot load the live revisions")]
    Load(#[source] StoreError),
}

impl Hint for StartError {
    fn hint(&self) -> Option<Cow<'static, str>> {
        match self {
            Self::Folder(error) => error.hint(),
            Self::Listen { address, source } => Some(match source.kind() {
                io::ErrorKind::AddrInUse => {
                    let other =
                        SocketAddr::new(address.ip(), address.port().checked_add(1).unwrap_or_default());
                    format!("use another address, such as  --listen {other}").into()
                }
                io::ErrorKind::PermissionDenied => {
                    "ports below 1024 are privileged; use a higher one with --listen".into()
                }
                io::ErrorKind::AddrNotAvailable => {
                    "this machine does not have this address; listen on all addresses with  --listen 0.0.0.0:8080"
                        .into()
                }
                _ => "use an address of this machine, such as  --listen 0.0.0.0:8080".into(),
            }),
            Self::SharedDatabaseRequired => Some("set DATABASE_URL, or remove --role".into()),
            Self::Open(error) => database_hint(error),
            Self::SocketActivation(_)
            | Self::Threads(_)
            | Self::Token(_)
            | Self::Clock(_)
            | Self::Load(_) => None,
        }
    }
}

/// The hint for an invalid DATABASE_URL.
pub(crate) fn database_hint(error: &OpenError) -> Option<Cow<'static, str>> {
    match error {
        OpenError::Scheme { .. } => Some("use postgres://USER:PASSWORD@HOST/DATABASE".into()),
        OpenError::Embedded => Some("remove it; --data-dir is the folder of the embedded database".into()),
        _ => None,
    }
}

impl Node {
    /// Opens the database, loads the live revisions and binds the port. Requests are served from [`Node::run`] on.
    pub(crate) async fn start(settings: &Settings) -> Result<Self, StartError> {
        if settings.role != Role::All && settings.storage.database_url.is_none() {
            return Err(StartError::SharedDatabaseRequired);
        }
        data_folder::create_private(&settings.storage.data_dir)?;
        let (admin, admin_origin) = AdminToken::load_or_create(
            settings.admin_token.as_ref().map(|token| token.value.as_str()),
            &settings.storage.data_dir,
        )?;
        let store = Store::open_with(&settings.storage.location(), &settings.pool).await?;
        let clock = clock_skew::check(&store).await?;
        let memory = MemoryBudget::new(settings.memory_bytes.unwrap_or_else(default_budget_bytes));
        let memory_share = settings.limits.memory_share.or(Some(memory.default_share()));
        let limits = GrantedLimits { memory_share, ..settings.limits.clone() };
        let table = Arc::new(LiveTable::new(memory));
        let node_id = Uuid::now_v7();
        let shares = store.cluster().is_some();
        let vault = Vault::new(store.clone(), settings.key_file(), shares.then_some(node_id));
        table.set_sealing_keys(SealingKeys::of_node(vault.clone()));
        let state = State::new(store.state(), clock.clone(), table.memory().clone());
        table.set_state(state.clone());
        if let Err(error) = vault.check().await {
            tracing::error!(%error, "cannot decrypt secrets; apps that require them are not served");
        }
        let activation = Activation::new(store.clone(), Arc::clone(&table), vault.clone(), limits.clone());
        activation.sync_all().await.map_err(StartError::Load)?;
        let cannot_listen = |source| StartError::Listen { address: settings.listen, source };
        let listener = match service::activation_socket()? {
            Some(listener) => TcpListener::from_std(listener).map_err(cannot_listen)?,
            None => listener::bind(settings.listen).map_err(cannot_listen)?,
        };
        let address = listener.local_addr().map_err(cannot_listen)?;
        let name = settings.node_name.clone().unwrap_or_else(|| default_name(address));
        let this = Arc::new(LocalNode {
            identity: NodeIdentity { id: node_id, name },
            role: settings.role,
            version: env!("CARGO_PKG_VERSION"),
            address,
            started_at: Utc::now(),
        });
        let cluster = match store.cluster() {
            Some(cluster) => {
                let membership = ClusterMember::new(
                    cluster.clone(),
                    this.to_new_node(),
                    activation.clone(),
                    clock.clone(),
                    settings.storage.data_dir.clone(),
                );
                membership.join().await.map_err(StartError::Load)?;
                Some((cluster, membership))
            }
            None => None,
        };
        let presence = cluster.as_ref().map(|(_, membership)| membership.state());
        let peers = cluster
            .as_ref()
            .map(|(cluster, membership)| Peers::new(cluster.clone(), membership.state(), this.identity.id));
        let own_names = settings.server_names(&machine_name());
        let verifier = DomainVerifier::new(TxtLookup::new(settings.dns_server), settings.domain_verification);
        let deployer = Deployer::new(
            store.clone(),
            activation.clone(),
            vault.clone(),
            peers,
            settings.deploys.clone(),
            DomainPolicy { server_names: own_names.clone(), verifier },
            clock.clone(),
        );
        let collector = GarbageCollector::new(
            store.clone(),
            state.clone(),
            clock.clone(),
            table.memory().clone(),
            settings.retention.clone(),
        );
        let (recorder, writer) =
            Writer::new(store.clone(), this.identity.name.clone(), settings.records, clock.clone());
        let scheduler = Scheduler::new(
            store.clone(),
            Arc::clone(&table),
            recorder.clone(),
            this.identity.clone(),
            settings.schedules,
            clock.clone(),
        );
        let schedule_hold = scheduler.schedule_hold().await.map_err(StartError::Load)?;
        if let Some(hold) = &schedule_hold {
            tracing::warn!("{}", platform::schedules::hold_message(hold));
        }
        let options = ServerOptions {
            own_names,
            public_url: settings.public_url.clone(),
            proxies: settings.trusted_proxies.clone(),
            bodies: settings.bodies,
        };
        let numbers = Arc::<EdgeMetrics>::default();
        let push_threads = Arc::new(BackgroundRuntime::start("push")?);
        let fetch_threads = Arc::new(BackgroundRuntime::start("fetch")?);
        let background = BackgroundRuntime::start("background")?;
        let push_config = PushConfig {
            limits: settings.pushes.clone(),
            spool_dir: settings.storage.data_dir.clone(),
            create_apps: settings.create_apps,
            numbers: Arc::clone(&numbers),
            threads: Arc::clone(&push_threads),
            fetch_threads: Arc::clone(&fetch_threads),
        };
        let tokens = Tokens::new(store.clone(), admin.clone(), clock.clone());
        let authenticator = Authenticator::new(tokens.clone());
        let connection_limits = ConnectionLimits {
            max_connections: connections_for_memory(
                table.memory().usage().total_bytes,
                connections_for_files(open_files(), settings.connections.max_connections),
            ),
            ..settings.connections
        };
        let shutdown = Arc::new(Shutdown::default());
        let database = DatabaseHealth::new(store.clone());
        let health = Health {
            database: database.clone(),
            activation: activation.clone(),
            presence: presence.clone(),
            shutdown: Arc::clone(&shutdown),
        };
        let apps = Apps::new(store.clone(), settings.preview_ttl, limits);
        let functions =
            FunctionCaller { table: Arc::clone(&table), recorder: recorder.clone(), bodies: options.bodies };
        let nodes = NodeList::new(
            store.clone(),
            activation.clone(),
            Arc::clone(&this),
            settings.storage.data_dir.clone(),
        );
        let certificates = PreviewCertificates::new(store.clone(), settings.preview_certificates_per_week);
        let watched = StatusChecker {
            store: store.clone(),
            database: database.clone(),
            clock: clock.clone(),
            table: Arc::clone(&table),
            activation: activation.clone(),
            nodes: nodes.clone(),
            certificates: certificates.clone(),
            backup_max_age: settings.backup_max_age,
        };
        let api = Api {
            apps: apps.clone(),
            audit: AuditLog::new(store.clone()),
            collector: collector.clone(),
            deployer: deployer.clone(),
            functions,
            nodes,
            records: Records::new(store.clone(), table.memory().clone()),
            scheduler: scheduler.clone(),
            state: state.clone(),
            tokens,
            vault,
            table: Arc::clone(&table),
            watched,
            public_url: PublicUrl::new(settings.domain.as_deref(), settings.public_url.as_deref()),
            authenticator: authenticator.clone(),
            shutdown: Arc::clone(&shutdown),
            bodies: options.bodies,
            memory: table.memory().node_account(),
        };
        let previews = settings.preview_ttl.map(|age| (deployer.clone(), age));
        let git = GitService::new(
            apps,
            deployer,
            authenticator.clone(),
            push_config,
            table.memory().clone(),
            settings.connections.min_rate,
        );
        let pushes = git.clone();
        let page = MetricsEndpoint {
            edge: Arc::clone(&numbers),
            table: Arc::clone(&table),
            state: state.clone(),
            store: store.clone(),
            database_health: database,
            scheduler: scheduler.clone(),
            clock: clock.clone(),
            pushes: Arc::new(move || pushes.pushes_in_progress()),
            presence,
            started: SystemTime::now(),
            data_dir: settings.storage.data_dir.clone(),
        };
        let metrics = MetricsRoute { page, access: settings.metrics, authenticator };
        let services = Services { table, recorder, health, api, git, metrics, numbers, certificates };
        let edge = Edge::new(options, settings.role, services);
        Ok(Self {
            address,
            admin,
            admin_origin,
            store,
            schedule_hold,
            listener,
            limits: connection_limits,
            shutdown,
            edge,
            role: settings.role,
            scheduler,
            writer,
            previews,
            collector,
            activation,
            cluster,
            this,
            push_threads,
            fetch_threads,
            background,
            audit_retention: settings.audit_retention,
            clock,
        })
    }

    /// Serves until `stop` completes, then shuts down gracefully: running requests and scheduled runs can finish within the shutdown
    /// timeout, records are flushed, and the node deregisters.
    pub(crate) async fn run(self, stop: impl Future<Output = ()>) {
        let changes = self.activation.changes();
        let clock = self.role.manages().then(|| {
            let scheduler = self.scheduler.clone();
            tokio::spawn(async move {
                if let Err(error) = scheduler.run(changes).await {
                    tracing::error!(%error, "the scheduler failed; schedules do not run until the node restarts");
                }
            })
        });
        let retrying = tokio::spawn(self.activation.clone().retry());
        let scripts = self.activation.scripts().clone();
        let background = self.background.handle();
        let others = vec![self.push_threads.handle(), self.fetch_threads.handle(), background.clone()];
        let returning = tokio::spawn(scripts.memory().clone().return_freed(others));
        let evicting = background.spawn(scripts.memory().clone().keep_headroom());
        let dropping = background.spawn(scripts.evict_idle());
        let store = self.store.clone();
        let audit = self.role.manages().then(|| {
            tokio::spawn(audit::run_retention(store.clone(), self.audit_retention, self.clock.clone()))
        });
        let cluster = self.cluster.map(|(cluster, membership)| (cluster, tokio::spawn(membership.run())));
        let previews = self
            .previews
            .filter(|_| self.role.manages())
            .map(|(deployer, age)| tokio::spawn(expire_previews(deployer, age, store, self.clock.clone())));
        let collecting = self.role.manages().then(|| background.spawn(self.collector.run()));
        let (all_ran, until_all_ran) = tokio::sync::oneshot::channel::<()>();
        let writing = background.spawn(self.writer.run(async { drop(until_all_ran.await) }));
        let shutdown_timeout = self.limits.shutdown_delay + self.limits.shutdown_timeout;
        let scheduler = self.scheduler.clone();
        let (stopping, until_stopping) = tokio::sync::oneshot::channel::<()>();
        let stop = async move {
            stop.await;
            scheduler.close();
            drop(stopping);
        };
        // Requests and scheduled runs share the shutdown timeout.
        let drain_runs = async {
            drop(until_stopping.await);
            if tokio::time::timeout(shutdown_timeout, self.scheduler.drain()).await.is_err() {
                tracing::warn!("shutdown timeout: aborting scheduled runs");
            }
        };
        tokio::join!(
            listener::serve(self.listener, Arc::new(self.edge), self.limits, self.shutdown, stop),
            drain_runs
        );
        if let Some(clock) = clock {
            clock.abort();
        }
        retrying.abort();
        evicting.abort();
        dropping.abort();
        returning.abort();
        if let Some(previews) = previews {
            previews.abort();
        }
        if let Some(collecting) = collecting {
            collecting.abort();
        }
        drop(all_ran);
        if tokio::time::timeout(FLUSH_TIMEOUT, writing).await.is_err() {
            tracing::warn!("unflushed execution records were dropped");
        }
        if let Some(audit) = audit {
            audit.abort();
        }
        if let Some((cluster, membership)) = cluster {
            membership.abort();
            // Pushes then no longer wait for this node. On failure its heartbeat expires soon.
            let _ = tokio::time::timeout(DEREGISTER_TIMEOUT, cluster.leave(self.this.identity.id)).await;
        }
        self.store.close().await;
        drop((self.push_threads, self.fetch_threads, self.background));
    }
}

/// Periodically removes expired previews.
async fn expire_previews(deployer: Deployer, age: Duration, store: Store, clock: Clock) {
    loop {
        let result = match clock.retention_now(&store).await {
            Ok(Some(now)) => deployer.end_expired_previews(age, now).await.map(drop),
            Ok(None) => Ok(()),
            Err(error) => Err(error),
        };
        if let Err(error) = result {
            tracing::warn!(%error, "cannot remove expired previews");
        }
        tokio::time::sleep(PREVIEW_EXPIRY_INTERVAL).await;
    }
}

/// The host name of the machine.
fn machine_name() -> String {
    rustix::system::uname().nodename().to_string_lossy().into_owned()
}

/// Host name and port, since several nodes can share a machine.
fn default_name(address: SocketAddr) -> String {
    format!("{}:{}", machine_name(), address.port())
}

/// Raises the limit of open files to the hard limit and returns it.
fn open_files() -> u64 {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    let hard = Rlimit { current: limit.maximum, maximum: limit.maximum };
    let current = if setrlimit(Resource::Nofile, hard).is_ok() { hard.current } else { limit.current };
    current.unwrap_or(u64::MAX)
}

/// The connection limit, reduced to what fits into an eighth of the node's memory.
fn connections_for_memory(memory_bytes: u64, configured: usize) -> usize {
    let max = usize::try_from(memory_bytes / 8 / CONNECTION_BYTES).unwrap_or(usize::MAX).max(1);
    if max < configured {
        let memory = memory_bytes >> 20;
        tracing::warn!(
            "connection limit reduced from {configured} to {max}: the node has {memory} MiB of memory; \
             raise --memory, or lower --max-connections to {max}"
        );
    }
    max.min(configured)
}

/// The connection limit, reduced to the limit of open files.
fn connections_for_files(open_files: u64, configured: usize) -> usize {
    let max = usize::try_from(open_files.saturating_sub(RESERVED_FILES)).unwrap_or(usize::MAX).max(1);
    if max < configured {
        tracing::warn!(
            open_files,
            "connection limit reduced from {configured} to {max}: the limit of open files is {open_files}; \
             raise the hard limit (`ulimit -Hn`, or LimitNOFILE= of the unit) to {}",
            configured as u64 + RESERVED_FILES
        );
    }
    max.min(configured)
}
