//! What may be said on the command line. Exit codes: 0 done, 1 refused or failed, 2 misuse.

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum};
use manifest_schema::limits::Limits;
use manifest_schema::name::JobName;
use manifest_schema::quantity::{parse_duration, parse_size, show_duration, show_size};
use platform::deploy::DeployLimits;
use platform::schedules::ScheduleLimits;
use store::{Location, Pool};

use crate::client::{AppOption, ClientOptions};
use crate::edge::PushBounds;
use crate::edge::listener::ConnectionBounds;

/// The embedded database's file in the data folder.
const SQLITE_FILE: &str = "picloud.db";
const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// A self-hosted serverless platform that you deploy to with git push.
#[derive(Debug, Parser)]
#[command(version, arg_required_else_help = true)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) verb: Verb,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Verb {
    /// Run a node: receive pushes, answer requests, run schedules.
    Serve(Box<Settings>),
    /// See it all at once: serve, push an example, call it, roll back, and keep serving.
    Demo(DemoOptions),
    /// Write a starter app.
    Init {
        /// The folder to write it to; made where it does not exist.
        #[arg(default_value = ".")]
        folder: PathBuf,
    },
    /// Validate an app as a push would, without a server.
    Check {
        /// The folder with picloud.toml.
        #[arg(default_value = ".")]
        folder: PathBuf,

        /// Print one JSON object for editors and CI instead of words for people.
        #[arg(long)]
        json: bool,
    },
    /// List the apps of a server, and what is live.
    Apps(ClientOptions),
    /// Call a function of an app and print what it answers.
    Invoke(InvokeOptions),
    /// List the nodes of a server, and what each of them serves.
    Nodes(ClientOptions),
    /// List the schedules of an app, or the runs of one.
    Schedules(SchedulesOptions),
    /// Run a schedule now, and say what came of it.
    Run(ScheduleOptions),
    /// Pause a schedule on all nodes, until it is resumed.
    Pause(ScheduleOptions),
    /// Resume a paused schedule.
    Resume(ScheduleOptions),
    /// Print the JSON Schema of picloud.toml, by which editors complete and check it.
    Schema,
    /// Write the whole platform to one file, while nodes are running.
    Backup(BackupOptions),
    /// Fill an empty database from a backup.
    Restore(RestoreOptions),
}

/// Which schedules are listed, or whose runs.
#[derive(Clone, Debug, Args)]
pub(crate) struct SchedulesOptions {
    /// List the latest runs of this schedule instead.
    #[arg(long, value_name = "SCHEDULE")]
    pub(crate) runs: Option<JobName>,

    /// How many runs are listed.
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub(crate) limit: u32,

    #[command(flatten)]
    pub(crate) app: AppOption,

    #[command(flatten)]
    pub(crate) client: ClientOptions,
}

/// One schedule of an app.
#[derive(Clone, Debug, Args)]
pub(crate) struct ScheduleOptions {
    /// The schedule.
    pub(crate) schedule: JobName,

    #[command(flatten)]
    pub(crate) app: AppOption,

    #[command(flatten)]
    pub(crate) client: ClientOptions,
}

/// How a node runs. Each is also read from the environment.
#[derive(Clone, Debug, Args)]
pub(crate) struct Settings {
    /// The address to listen on; port 0 takes a free one and prints it.
    #[arg(long, env = "PICLOUD_LISTEN", default_value = "127.0.0.1:8080")]
    pub(crate) listen: SocketAddr,

    #[command(flatten)]
    pub(crate) place: Place,

    /// The domain whose subdomains are apps: <app>.DOMAIN. The control plane then answers on DOMAIN alone.
    #[arg(long, env = "PICLOUD_DOMAIN")]
    pub(crate) domain: Option<String>,

    /// The URL that people use, such as https://pi.example.com, where it is not the listening address.
    #[arg(long, env = "PICLOUD_PUBLIC_URL")]
    pub(crate) public_url: Option<String>,

    /// What this node does of the work that several nodes on one PostgreSQL share.
    #[arg(long, env = "PICLOUD_ROLE", value_enum, default_value_t = Role::All)]
    pub(crate) role: Role,

    /// What people call this node; without it the name of the machine with the port.
    #[arg(long, env = "PICLOUD_NODE_NAME")]
    pub(crate) node_name: Option<String>,

    /// The admin token, 32 characters or more; without it one is made, printed once, and kept in the data folder.
    #[arg(env = "PICLOUD_ADMIN_TOKEN", hide_env_values = true, hide = true, long = "admin-token")]
    pub(crate) admin_token: Option<String>,

    #[command(flatten)]
    pub(crate) database: DatabaseSettings,

    #[command(flatten)]
    pub(crate) connections: ConnectionSettings,

    #[command(flatten)]
    pub(crate) push: PushSettings,

    #[command(flatten)]
    pub(crate) schedules: ScheduleSettings,
}

/// What a node does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Role {
    /// Everything.
    All,
    /// The control plane: takes pushes, answers the API, runs schedules. Requests to apps are for others.
    Manager,
    /// Answers requests to apps. Pushes, the API and schedules are for others.
    Node,
}

impl Role {
    /// The role as it is written.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::All => "all",
            Self::Manager => "manager",
            Self::Node => "node",
        }
    }

    /// Whether it takes pushes, answers the API and runs schedules.
    pub(crate) fn manages(self) -> bool {
        self != Self::Node
    }

    /// Whether it answers requests to apps.
    pub(crate) fn answers_apps(self) -> bool {
        self != Self::Manager
    }
}

/// Where everything is kept.
#[derive(Clone, Debug, Args)]
pub(crate) struct Place {
    /// The folder for what this node keeps: the admin token, and the database where no DATABASE_URL is set.
    #[arg(long, env = "PICLOUD_DATA_DIR", default_value = "picloud-data")]
    pub(crate) data_dir: PathBuf,

    /// A PostgreSQL to keep everything in; without it an SQLite database in the data folder.
    #[arg(env = "DATABASE_URL", hide_env_values = true, hide = true, long = "database-url")]
    pub(crate) database_url: Option<String>,
}

impl Place {
    /// The database.
    pub(crate) fn location(&self) -> Location {
        match &self.database_url {
            Some(url) => Location::Postgres(url.clone()),
            None => Location::Sqlite(self.data_dir.join(SQLITE_FILE)),
        }
    }
}

/// What this node takes of a PostgreSQL.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "PostgreSQL")]
pub(crate) struct DatabaseSettings {
    /// How many connections the node may have to it.
    #[arg(long, env = "PICLOUD_DATABASE_CONNECTIONS", default_value_t = DatabaseSettings::default().database_connections, value_parser = clap::value_parser!(u32).range(2..=10_000))]
    pub(crate) database_connections: u32,

    /// How long a query waits for one of them.
    #[arg(long, env = "PICLOUD_DATABASE_WAIT_TIME", default_value_t = DatabaseSettings::default().database_wait_time)]
    pub(crate) database_wait_time: Time,

    /// How long one statement may take, and a transaction stand still.
    #[arg(long, env = "PICLOUD_DATABASE_STATEMENT_TIME", default_value_t = DatabaseSettings::default().database_statement_time)]
    pub(crate) database_statement_time: Time,
}

impl DatabaseSettings {
    /// The same for the store.
    pub(crate) fn pool(&self) -> Pool {
        Pool {
            connections: self.database_connections,
            wait: self.database_wait_time.0,
            statement: self.database_statement_time.0,
        }
    }
}

impl Default for DatabaseSettings {
    fn default() -> Self {
        let Pool { connections, wait, statement } = Pool::default();
        Self {
            database_connections: connections,
            database_wait_time: Time(wait),
            database_statement_time: Time(statement),
        }
    }
}

/// What is backed up, and to where.
#[derive(Clone, Debug, Args)]
pub(crate) struct BackupOptions {
    /// The file to write; - for standard output.
    pub(crate) file: PathBuf,

    /// Take the place of an earlier backup of that name, once this one is whole.
    #[arg(long)]
    pub(crate) replace: bool,

    #[command(flatten)]
    pub(crate) place: Place,
}

/// What is restored, and into what.
#[derive(Clone, Debug, Args)]
pub(crate) struct RestoreOptions {
    /// The backup to read; - for standard input.
    pub(crate) file: PathBuf,

    /// Take the place of everything that is in the database.
    #[arg(long)]
    pub(crate) replace: bool,

    #[command(flatten)]
    pub(crate) place: Place,
}

/// The most of everything that connections may take.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Limits of connections")]
pub(crate) struct ConnectionSettings {
    /// How many connections may be open at once; for one more, the one that has been idle for longest is closed.
    #[arg(long, env = "PICLOUD_CONNECTIONS", default_value_t = ConnectionSettings::default().connections, value_parser = clap::builder::RangedU64ValueParser::<usize>::new().range(1..=1_000_000))]
    pub(crate) connections: usize,

    /// How long the head of a request may take from its first byte to its last.
    #[arg(long, env = "PICLOUD_HEAD_TIME", default_value_t = ConnectionSettings::default().head_time)]
    pub(crate) head_time: Time,

    /// How long the body of a request may take.
    #[arg(long, env = "PICLOUD_BODY_TIME", default_value_t = ConnectionSettings::default().body_time)]
    pub(crate) body_time: Time,

    /// How long a client may take nothing of its answer.
    #[arg(long, env = "PICLOUD_ANSWER_TIME", default_value_t = ConnectionSettings::default().answer_time)]
    pub(crate) answer_time: Time,

    /// How long a connection may be open without a request.
    #[arg(long, env = "PICLOUD_IDLE_TIME", default_value_t = ConnectionSettings::default().idle_time)]
    pub(crate) idle_time: Time,

    /// How long a node that is told to stop says that it is not ready, before it takes no more connections.
    #[arg(long, env = "PICLOUD_UNREADY_TIME", default_value_t = ConnectionSettings::default().unready_time)]
    pub(crate) unready_time: Time,

    /// How long running requests may go on after that.
    #[arg(long, env = "PICLOUD_DRAIN_TIME", default_value_t = ConnectionSettings::default().drain_time)]
    pub(crate) drain_time: Time,
}

/// The most of everything that pushes may take.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Limits of pushes")]
pub(crate) struct PushSettings {
    /// The bytes of one push, as it is sent.
    #[arg(long, env = "PICLOUD_PUSH_BYTES", default_value_t = PushSettings::default().push_bytes)]
    pub(crate) push_bytes: Size,

    /// The objects of one push.
    #[arg(long, env = "PICLOUD_PUSH_OBJECTS", default_value_t = PushSettings::default().push_objects)]
    pub(crate) push_objects: usize,

    /// The bytes of one object.
    #[arg(long, env = "PICLOUD_OBJECT_BYTES", default_value_t = PushSettings::default().object_bytes)]
    pub(crate) object_bytes: Size,

    /// The bytes of all objects of one push together, inflated.
    #[arg(long, env = "PICLOUD_INFLATED_BYTES", default_value_t = PushSettings::default().inflated_bytes)]
    pub(crate) inflated_bytes: Size,

    /// The files and folders of a commit that is served.
    #[arg(long, env = "PICLOUD_TREE_ENTRIES", default_value_t = PushSettings::default().tree_entries)]
    pub(crate) tree_entries: usize,

    /// The bytes of a path in a commit that is served.
    #[arg(long, env = "PICLOUD_PATH_BYTES", default_value_t = PushSettings::default().path_bytes)]
    pub(crate) path_bytes: usize,

    /// How long one push may take to arrive.
    #[arg(long, env = "PICLOUD_PUSH_TIME", default_value_t = PushSettings::default().push_time)]
    pub(crate) push_time: Time,

    /// The branches and tags of one app.
    #[arg(long, env = "PICLOUD_REFS_PER_APP", default_value_t = PushSettings::default().refs_per_app)]
    pub(crate) refs_per_app: usize,

    /// How many pushes are worked on at once; each may hold all its objects in memory.
    #[arg(long, env = "PICLOUD_PUSHES_AT_ONCE", default_value_t = PushSettings::default().pushes_at_once, value_parser = clap::builder::RangedU64ValueParser::<usize>::new().range(1..=1024))]
    pub(crate) pushes_at_once: usize,
}

/// What becomes of schedules' runs.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Schedules")]
pub(crate) struct ScheduleSettings {
    /// How many hours late a missed run may still be caught up.
    #[arg(long, env = "PICLOUD_CATCH_UP_HOURS", default_value_t = ScheduleSettings::default().catch_up_hours)]
    pub(crate) catch_up_hours: u32,

    /// For how many days runs are remembered.
    #[arg(long, env = "PICLOUD_RUNS_DAYS", default_value_t = ScheduleSettings::default().runs_days, value_parser = clap::value_parser!(u32).range(1..=36_500))]
    pub(crate) runs_days: u32,

    /// How many runs of each schedule are remembered.
    #[arg(long, env = "PICLOUD_RUNS_KEPT", default_value_t = ScheduleSettings::default().runs_kept, value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) runs_kept: u32,
}

/// A number of bytes, written as `32MiB`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Size(pub(crate) u64);

/// A span of time, written as `5m`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Time(pub(crate) Duration);

impl FromStr for Size {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        parse_size(text).map(Self).ok_or("write a size such as 512KiB, 32MiB or 1GiB")
    }
}

impl FromStr for Time {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        parse_duration(text).map(Self).ok_or("write a duration such as 500ms, 30s or 5m")
    }
}

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&show_size(self.0))
    }
}

impl fmt::Display for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&show_duration(self.0))
    }
}

impl ScheduleSettings {
    /// The same for the scheduler.
    pub(crate) fn limits(&self) -> ScheduleLimits {
        ScheduleLimits {
            catch_up_window: Duration::from_secs(u64::from(self.catch_up_hours) * 60 * 60),
            keep_for: DAY * self.runs_days,
            keep: self.runs_kept,
        }
    }
}

impl Default for ScheduleSettings {
    fn default() -> Self {
        let limits = ScheduleLimits::default();
        let whole =
            |duration: Duration, unit: u64| u32::try_from(duration.as_secs() / unit).unwrap_or(u32::MAX);
        Self {
            catch_up_hours: whole(limits.catch_up_window, 60 * 60),
            runs_days: whole(limits.keep_for, DAY.as_secs()),
            runs_kept: limits.keep,
        }
    }
}

impl ConnectionSettings {
    /// What connections may take.
    pub(crate) fn bounds(&self) -> ConnectionBounds {
        ConnectionBounds {
            connections: self.connections,
            head: self.head_time.0,
            answer: self.answer_time.0,
            idle: self.idle_time.0,
            unready: self.unready_time.0,
            drain: self.drain_time.0,
        }
    }
}

impl Default for ConnectionSettings {
    fn default() -> Self {
        let seconds = |seconds| Time(Duration::from_secs(seconds));
        Self {
            connections: 10_000,
            head_time: seconds(20),
            body_time: seconds(30),
            answer_time: seconds(30),
            // Longer than proxies keep theirs (Caddy two minutes), so that no request meets a connection that is closing.
            idle_time: seconds(180),
            unready_time: seconds(0),
            drain_time: seconds(10),
        }
    }
}

impl PushSettings {
    /// What pushes may take on their way in.
    pub(crate) fn bounds(&self) -> PushBounds {
        let limits = git_receiver::Limits {
            request_bytes: self.push_bytes.0,
            objects: self.push_objects,
            object_bytes: self.object_bytes.0,
            inflated_bytes: self.inflated_bytes.0,
            ..git_receiver::Limits::default()
        };
        PushBounds { limits, time: self.push_time.0, at_once: self.pushes_at_once }
    }

    /// What a deploy may hold.
    pub(crate) fn deploy_limits(&self) -> DeployLimits {
        let tree = git_receiver::TreeLimits {
            files: self.tree_entries,
            path_bytes: self.path_bytes,
            ..git_receiver::TreeLimits::default()
        };
        DeployLimits { executions: Limits::CEILING, tree, refs: self.refs_per_app }
    }
}

impl Default for PushSettings {
    fn default() -> Self {
        let limits = git_receiver::Limits::default();
        let tree = git_receiver::TreeLimits::default();
        Self {
            push_bytes: Size(limits.request_bytes),
            push_objects: limits.objects,
            object_bytes: Size(limits.object_bytes),
            inflated_bytes: Size(limits.inflated_bytes),
            tree_entries: tree.files,
            path_bytes: tree.path_bytes,
            push_time: Time(Duration::from_secs(300)),
            refs_per_app: 1000,
            pushes_at_once: 4,
        }
    }
}

/// How the demo runs.
#[derive(Clone, Debug, Args)]
pub(crate) struct DemoOptions {
    /// The folder to keep its database and repositories in; a temporary one where none is given.
    #[arg(long)]
    pub(crate) data_dir: Option<PathBuf>,

    /// The address to listen on; a free port is taken where this one is in use.
    #[arg(long, default_value = "127.0.0.1:8080")]
    pub(crate) listen: SocketAddr,

    /// Stop after the tour instead of going on to serve.
    #[arg(long)]
    pub(crate) exit: bool,
}

/// A call of a function.
#[derive(Clone, Debug, Args)]
pub(crate) struct InvokeOptions {
    /// The function, as the manifest names it.
    pub(crate) function: JobName,

    /// The JSON that it is called with; `-` reads it from standard input.
    #[arg(long, default_value = "null")]
    pub(crate) data: String,

    #[command(flatten)]
    pub(crate) app: AppOption,

    #[command(flatten)]
    pub(crate) client: ClientOptions,
}
