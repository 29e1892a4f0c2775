//! One node: store, platform and edge, wired. The only place that knows them all.

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
use platform::collection::Collector;
use platform::deploy::{Deployer, DomainPolicy};
use platform::domains::DomainProver;
use platform::domains::txt_lookup::TxtLookup;
use platform::health::DatabaseHealth;
use platform::limits::GrantedLimits;
use platform::live::LiveTable;
use platform::memory::{MemoryBudget, default_budget_bytes};
use platform::nodes::{Membership, Peers, Role, Roster, ThisNode};
use platform::recording::Writer;
use platform::records::Records;
use platform::schedules::Scheduler;
use platform::secrets::Vault;
use platform::status::Watched;
use platform::tokens::{AdminToken, Origin, TokenError, Tokens};
use store::{Cluster, NodeIdentity, OpenError, ScheduleHold, Store, StoreError};
use tokio::net::TcpListener;
use uuid::Uuid;

use crate::clock::{self, ClockError};
use crate::data_folder::{self, DataFolderError};
use crate::edge::listener::{self, ConnectionBounds};
use crate::edge::{
    Api, Door, Edge, FunctionCaller, GitEdge, Health, Metrics, Planes, Public, Pushes, Reach, Stopping,
};
use crate::hint::Hint;
use crate::numbers::{Numbers, Page};
use crate::service::{self, HandedError};
use crate::settings::Settings;
use platform::executor::threads::{BackgroundThreads, ThreadsError};

/// What an open connection holds beside what its request does, in bytes: 15.3 KiB were measured of 10,000 in the midst of their heads.
const CONNECTION_BYTES: u64 = 16 * 1024;

/// The files that a node has open beside its connections: of the database, pushes that arrive, and the runtime.
const FILES_BESIDE: u64 = 512;

/// How long saying goodbye to the other nodes may take.
const GOODBYE_MAX: Duration = Duration::from_secs(2);

/// How often old previews are looked for.
const LOOK_FOR_OLD_PREVIEWS: Duration = Duration::from_secs(60 * 60);

/// How long writing the last records of what ran may take.
const LAST_RECORDS_MAX: Duration = Duration::from_secs(5);

/// A node that is ready to serve.
pub(crate) struct Node {
    pub(crate) address: SocketAddr,
    pub(crate) admin: AdminToken,
    pub(crate) admin_origin: Origin,
    /// The hold on the schedules of all apps, as it was found.
    pub(crate) held: Option<ScheduleHold>,
    pub(crate) store: Store,
    listener: TcpListener,
    bounds: ConnectionBounds,
    stopping: Arc<Stopping>,
    edge: Edge,
    role: Role,
    scheduler: Scheduler,
    writer: Writer,
    previews: Option<(Deployer, Duration)>,
    collector: Collector,
    activation: Activation,
    cluster: Option<(Cluster, Membership)>,
    this: Arc<ThisNode>,
    /// They serve the connections to the database that were opened on them, so they end after the last use of the store.
    push_threads: Arc<BackgroundThreads>,
    fetch_threads: Arc<BackgroundThreads>,
    /// They write records, evict and collect.
    background: BackgroundThreads,
    /// For how long acts stay in the audit list.
    audit_kept: Duration,
    clock: Clock,
}

/// Why a node does not start.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StartError {
    #[error(transparent)]
    Folder(#[from] DataFolderError),
    #[error("cannot listen on {address}")]
    Listen { address: SocketAddr, source: io::Error },
    #[error(transparent)]
    Handed(#[from] HandedError),
    #[error("several nodes need a PostgreSQL to share")]
    RoleAlone,
    #[error(transparent)]
    Threads(#[from] ThreadsError),
    #[error(transparent)]
    Token(#[from] TokenError),
    #[error(transparent)]
    Open(#[from] OpenError),
    #[error(transparent)]
    Clock(#[from] ClockError),
    #[error("cannot read what is live")]
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
                    format!("name another address, such as  --listen {other}").into()
                }
                io::ErrorKind::PermissionDenied => {
                    "ports below 1024 are for proxies; name one above with --listen".into()
                }
                io::ErrorKind::AddrNotAvailable => {
                    "this machine has no such address; --listen 0.0.0.0:8080 stands for all that it has"
                        .into()
                }
                _ => "name an address of this machine with --listen, such as 0.0.0.0:8080".into(),
            }),
            Self::RoleAlone => Some("set DATABASE_URL, or leave --role out".into()),
            Self::Open(error) => database_hint(error),
            Self::Handed(_) | Self::Threads(_) | Self::Token(_) | Self::Clock(_) | Self::Load(_) => None,
        }
    }
}

/// What helps where DATABASE_URL is none of PostgreSQL's.
pub(crate) fn database_hint(error: &OpenError) -> Option<Cow<'static, str>> {
    match error {
        OpenError::Scheme { .. } => Some("write postgres://USER:PASSWORD@HOST/DATABASE".into()),
        OpenError::Embedded => {
            Some("leave it out; --data-dir names the folder of the embedded database".into())
        }
        _ => None,
    }
}

impl Node {
    /// Opens the database, loads what is live and takes the port. Nothing is answered before [`Node::run`].
    pub(crate) async fn start(settings: &Settings) -> Result<Self, StartError> {
        if settings.role != Role::All && settings.storage.database_url.is_none() {
            return Err(StartError::RoleAlone);
        }
        data_folder::make_private(&settings.storage.data_dir)?;
        let (admin, admin_origin) = AdminToken::obtain(
            settings.admin_token.as_ref().map(|token| token.value.as_str()),
            &settings.storage.data_dir,
        )?;
        let store = Store::open_with(&settings.storage.location(), &settings.pool).await?;
        let clock = clock::of_node(&store).await?;
        let memory = MemoryBudget::new(settings.memory_bytes.unwrap_or_else(default_budget_bytes));
        let memory_share = settings.limits.memory_share.or(Some(memory.default_share()));
        let limits = GrantedLimits { memory_share, ..settings.limits.clone() };
        let table = Arc::new(LiveTable::new(memory));
        let node_id = Uuid::now_v7();
        let shares = store.cluster().is_some();
        let vault = Vault::new(store.clone(), settings.key_file(), shares.then_some(node_id));
        if let Err(error) = vault.check().await {
            tracing::error!(%error, "secrets cannot be opened; apps that require them are not served, and nothing is changed");
        }
        let activation = Activation::new(store.clone(), Arc::clone(&table), vault.clone(), limits.clone());
        activation.sync_all().await.map_err(StartError::Load)?;
        let cannot_listen = |source| StartError::Listen { address: settings.listen, source };
        let listener = match service::handed_over()? {
            Some(listener) => TcpListener::from_std(listener).map_err(cannot_listen)?,
            None => listener::bind(settings.listen).map_err(cannot_listen)?,
        };
        let address = listener.local_addr().map_err(cannot_listen)?;
        let name = settings.node_name.clone().unwrap_or_else(|| default_name(address));
        let this = Arc::new(ThisNode {
            identity: NodeIdentity { id: node_id, name },
            role: settings.role,
            version: env!("CARGO_PKG_VERSION"),
            address,
            started_at: Utc::now(),
        });
        let cluster = match store.cluster() {
            Some(cluster) => {
                let membership = Membership::new(
                    cluster.clone(),
                    this.joining(),
                    activation.clone(),
                    clock.clone(),
                    settings.storage.data_dir.clone(),
                );
                membership.join().await.map_err(StartError::Load)?;
                Some((cluster, membership))
            }
            None => None,
        };
        let presence = cluster.as_ref().map(|(_, membership)| membership.presence());
        let peers = cluster.as_ref().map(|(cluster, membership)| {
            Peers::new(cluster.clone(), membership.presence(), this.identity.id)
        });
        let own_names = settings.own_names(&machine_name());
        let prover = DomainProver::new(TxtLookup::new(settings.dns_server), settings.domain_proof);
        let deployer = Deployer::new(
            store.clone(),
            activation.clone(),
            vault.clone(),
            peers,
            settings.deploys.clone(),
            DomainPolicy { own_names: own_names.clone(), prover },
            clock.clone(),
        );
        let collector =
            Collector::new(store.clone(), clock.clone(), table.memory().clone(), settings.retention.clone());
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
        let held = scheduler.schedule_hold().await.map_err(StartError::Load)?;
        if let Some(hold) = &held {
            tracing::warn!("{}", platform::schedules::held(hold));
        }
        let reach = Reach {
            own_names,
            public_url: settings.public_url.clone(),
            proxies: settings.trusted_proxies.clone(),
            bodies: settings.bodies,
        };
        let numbers = Arc::<Numbers>::default();
        let push_threads = Arc::new(BackgroundThreads::start("push")?);
        let fetch_threads = Arc::new(BackgroundThreads::start("fetch")?);
        let background = BackgroundThreads::start("background")?;
        let pushes = Pushes {
            bounds: settings.pushes.clone(),
            spool: settings.storage.data_dir.clone(),
            create_apps: settings.create_apps,
            numbers: Arc::clone(&numbers),
            threads: Arc::clone(&push_threads),
            fetch_threads: Arc::clone(&fetch_threads),
        };
        let tokens = Tokens::new(store.clone(), admin.clone(), clock.clone());
        let door = Door::new(tokens.clone());
        let bounds = ConnectionBounds {
            connections: connections_in_memory(
                table.memory().usage().total_bytes,
                connections(open_files(), settings.connections.connections),
            ),
            ..settings.connections
        };
        let stopping = Arc::new(Stopping::default());
        let database = DatabaseHealth::new(store.clone());
        let health = Health {
            database: database.clone(),
            activation: activation.clone(),
            presence: presence.clone(),
            stopping: Arc::clone(&stopping),
        };
        let apps = Apps::new(store.clone(), settings.preview_age, limits);
        let functions =
            FunctionCaller { table: Arc::clone(&table), recorder: recorder.clone(), bodies: reach.bodies };
        let nodes = Roster::new(
            store.clone(),
            activation.clone(),
            Arc::clone(&this),
            settings.storage.data_dir.clone(),
        );
        let certificates = PreviewCertificates::new(store.clone(), settings.preview_certificates);
        let watched = Watched {
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
            tokens,
            vault,
            table: Arc::clone(&table),
            watched,
            public: Public::new(settings.domain.as_deref(), settings.public_url.as_deref()),
            door: door.clone(),
            stopping: Arc::clone(&stopping),
            bodies: reach.bodies,
            memory: table.memory().node_account(),
        };
        let previews = settings.preview_age.map(|age| (deployer.clone(), age));
        let git = GitEdge::new(
            apps,
            deployer,
            door.clone(),
            pushes,
            table.memory().clone(),
            settings.connections.min_rate,
        );
        let queue = git.clone();
        let page = Page {
            numbers: Arc::clone(&numbers),
            table: Arc::clone(&table),
            store: store.clone(),
            database_health: database,
            scheduler: scheduler.clone(),
            clock: clock.clone(),
            pushes: Arc::new(move || queue.queue()),
            presence,
            started: SystemTime::now(),
            data_dir: settings.storage.data_dir.clone(),
        };
        let metrics = Metrics { page, access: settings.metrics, door };
        let planes = Planes { table, recorder, health, api, git, metrics, numbers, certificates };
        let edge = Edge::new(reach, settings.role, planes);
        Ok(Self {
            address,
            admin,
            admin_origin,
            store,
            held,
            listener,
            bounds,
            stopping,
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
            audit_kept: settings.audit_kept,
            clock,
        })
    }

    /// Serves until `stop` is done; then running requests finish, within a bound.
    pub(crate) async fn run(self, stop: impl Future<Output = ()>) {
        let changes = self.activation.changes();
        let clock = self.role.manages().then(|| {
            let scheduler = self.scheduler.clone();
            tokio::spawn(async move {
                if let Err(error) = scheduler.run(changes).await {
                    tracing::error!(%error, "the clock failed; schedules do not run until the next start");
                }
            })
        });
        let retrying = tokio::spawn(self.activation.clone().retry());
        let scripts = self.activation.scripts().clone();
        let background = self.background.handle();
        let others = vec![self.push_threads.handle(), self.fetch_threads.handle(), background.clone()];
        let returning = tokio::spawn(scripts.memory().clone().return_freed(others));
        let evicting = background.spawn(scripts.memory().clone().keep_headroom());
        let dropping = background.spawn(scripts.drop_idle());
        let store = self.store.clone();
        let audit = self
            .role
            .manages()
            .then(|| tokio::spawn(audit::keep_bounded(store.clone(), self.audit_kept, self.clock.clone())));
        let cluster = self.cluster.map(|(cluster, membership)| (cluster, tokio::spawn(membership.run())));
        let previews = self
            .previews
            .filter(|_| self.role.manages())
            .map(|(deployer, age)| tokio::spawn(end_old_previews(deployer, age, store, self.clock.clone())));
        let collecting = self.role.manages().then(|| background.spawn(self.collector.run()));
        let (all_ran, until_all_ran) = tokio::sync::oneshot::channel::<()>();
        let writing = background.spawn(self.writer.run(async { drop(until_all_ran.await) }));
        let drain = self.bounds.unready + self.bounds.drain;
        let closing = self.scheduler.clone();
        let (stopping, until_stopping) = tokio::sync::oneshot::channel::<()>();
        let stop = async move {
            stop.await;
            closing.close();
            drop(stopping);
        };
        // Requests and scheduled runs have the same time to end.
        let runs = async {
            drop(until_stopping.await);
            if tokio::time::timeout(drain, self.scheduler.stop()).await.is_err() {
                tracing::warn!("scheduled runs are cut off");
            }
        };
        tokio::join!(
            listener::serve(self.listener, Arc::new(self.edge), self.bounds, self.stopping, stop),
            runs
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
        if tokio::time::timeout(LAST_RECORDS_MAX, writing).await.is_err() {
            tracing::warn!("the last records of executions are not written");
        }
        if let Some(audit) = audit {
            audit.abort();
        }
        if let Some((cluster, membership)) = cluster {
            membership.abort();
            // Whoever pushes need not wait for this node any more. Where that cannot be said, it is noticed soon.
            let _ = tokio::time::timeout(GOODBYE_MAX, cluster.leave(self.this.identity.id)).await;
        }
        self.store.close().await;
        drop((self.push_threads, self.fetch_threads, self.background));
    }
}

/// Looks for previews that are old, for as long as the node runs.
async fn end_old_previews(deployer: Deployer, age: Duration, store: Store, clock: Clock) {
    loop {
        let ended = match clock.retention_now(&store).await {
            Ok(Some(now)) => deployer.end_old_previews(age, now).await.map(drop),
            Ok(None) => Ok(()),
            Err(error) => Err(error),
        };
        if let Err(error) = ended {
            tracing::warn!(%error, "old previews are not ended");
        }
        tokio::time::sleep(LOOK_FOR_OLD_PREVIEWS).await;
    }
}

/// The name of the machine.
fn machine_name() -> String {
    rustix::system::uname().nodename().to_string_lossy().into_owned()
}

/// The name of the machine, and the port: several nodes may share the machine.
fn default_name(address: SocketAddr) -> String {
    format!("{}:{}", machine_name(), address.port())
}

/// Raises the bound of open files to the most that this process may have, and says how many that are.
fn open_files() -> u64 {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit { current: limit.maximum, maximum: limit.maximum };
    let now = if setrlimit(Resource::Nofile, raised).is_ok() { raised.current } else { limit.current };
    now.unwrap_or(u64::MAX)
}

/// How many connections fit into an eighth of the node's memory, where so many are wanted.
fn connections_in_memory(memory_bytes: u64, wanted: usize) -> usize {
    let room = usize::try_from(memory_bytes / 8 / CONNECTION_BYTES).unwrap_or(usize::MAX).max(1);
    if room < wanted {
        let memory = memory_bytes >> 20;
        tracing::warn!(
            "the node has {memory} MiB of memory for its apps, so at most {room} connections are taken at once instead of {wanted}: \
             raise --memory, or lower --connections to {room}"
        );
    }
    room.min(wanted)
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
