//! How a node runs.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, ValueEnum};
use platform::nodes;
use platform::secrets::{KeyFile, key};
use store::{Location, Pool};

use super::limits::{ConnectionSettings, PushSettings, RecordSettings, ScheduleSettings};
use super::observing::{ObservingSettings, TraceSettings};
use super::quantity::{AgeOrOff, Time};
use super::secrets::Secret;
use crate::edge::Proxies;

/// The embedded database's file in the data folder.
const SQLITE_FILE: &str = "picloud.db";

/// A little more than a year.
pub(crate) const AUDIT_DAYS: u32 = 400;

/// The age from which on a backup is old.
const BACKUP_WARN: &str = "7d";

/// How a node runs. Each is also read from the environment.
#[derive(Clone, Debug, Args)]
pub(crate) struct Settings {
    /// The address to listen on; port 0 takes a free one and prints it.
    #[arg(long, env = "PICLOUD_LISTEN", default_value = "127.0.0.1:8080")]
    pub(crate) listen: SocketAddr,

    #[command(flatten)]
    pub(crate) place: Place,

    /// The domain whose subdomains are apps: <app>.DOMAIN. The control plane then answers on DOMAIN alone.
    #[arg(long, env = "PICLOUD_DOMAIN", value_parser = parse_domain)]
    pub(crate) domain: Option<String>,

    /// The URL that people use, such as https://pi.example.com, where it is not the listening address.
    #[arg(long, env = "PICLOUD_PUBLIC_URL", value_parser = parse_url)]
    pub(crate) public_url: Option<String>,

    /// The proxies that may say who their clients are (X-Forwarded-For and -Proto): addresses and networks with commas
    /// between them, or none.
    #[arg(long, env = "PICLOUD_TRUSTED_PROXIES", default_value_t = Proxies::default())]
    pub(crate) trusted_proxies: Proxies,

    /// What this node does of the work that several nodes on one PostgreSQL share.
    #[arg(long, env = "PICLOUD_ROLE", value_enum, default_value_t = Role::All)]
    pub(crate) role: Role,

    /// What people call this node; without it the name of the machine with the port.
    #[arg(long, env = "PICLOUD_NODE_NAME")]
    pub(crate) node_name: Option<String>,

    /// A file with the admin token, 32 characters or more; without it one is made, printed once, and kept in the data folder.
    #[arg(long, env = "PICLOUD_ADMIN_TOKEN_FILE", value_name = "FILE")]
    pub(crate) admin_token_file: Option<PathBuf>,

    /// The admin token that was preset.
    #[arg(skip)]
    pub(crate) admin_token: Option<Secret>,

    /// Look at all settings, say what is set and where, and do no more.
    #[arg(long)]
    pub(crate) check_config: bool,

    /// What was set, and where.
    #[arg(skip)]
    pub(crate) given: Vec<Given>,

    /// Whether the first push to a new name creates the app; otherwise `picloud apps create` does.
    #[arg(long, env = "PICLOUD_CREATE_APPS", value_enum, default_value_t = CreateApps::OnFirstPush)]
    pub(crate) create_apps: CreateApps,

    /// For how many days acts stay in the audit list.
    #[arg(long, env = "PICLOUD_AUDIT_DAYS", default_value_t = AUDIT_DAYS, value_parser = clap::value_parser!(u32).range(1..=36_500))]
    pub(crate) audit_days: u32,

    /// The age of the latest backup from which on `picloud status` warns; off where backups are made by other means.
    #[arg(long, env = "PICLOUD_BACKUP_WARN", default_value = BACKUP_WARN, value_name = "AGE")]
    pub(crate) backup_warn: AgeOrOff,

    /// The file with the keys that secrets are encrypted with; without it systemd's credential `secret-key`, or a key that is made in the data folder.
    #[arg(long, env = "PICLOUD_SECRET_KEY_FILE")]
    pub(crate) secret_key_file: Option<PathBuf>,

    /// Where systemd puts a unit's credentials.
    #[arg(long, env = "CREDENTIALS_DIRECTORY", hide = true)]
    pub(crate) credentials_directory: Option<PathBuf>,

    #[command(flatten)]
    pub(crate) observing: ObservingSettings,

    #[command(flatten)]
    pub(crate) traces: TraceSettings,

    #[command(flatten)]
    pub(crate) database: DatabaseSettings,

    #[command(flatten)]
    pub(crate) connections: ConnectionSettings,

    #[command(flatten)]
    pub(crate) push: PushSettings,

    #[command(flatten)]
    pub(crate) schedules: ScheduleSettings,

    #[command(flatten)]
    pub(crate) records: RecordSettings,
}

impl Settings {
    /// Where the keys of secrets are.
    pub(crate) fn key_file(&self) -> KeyFile {
        let credential = self.credentials_directory.as_ref().map(|folder| folder.join(key::FILE));
        match (&self.secret_key_file, credential.filter(|file| file.exists())) {
            (Some(file), _) => KeyFile::Given(file.clone()),
            (None, Some(file)) => KeyFile::Given(file),
            (None, None) => KeyFile::Own(self.place.data_dir.join(key::FILE)),
        }
    }

    /// For how long acts stay in the audit list.
    pub(crate) fn audit_kept(&self) -> Duration {
        Duration::from_secs(24 * 60 * 60) * self.audit_days
    }
}

/// What creates apps.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum CreateApps {
    /// The first push to a name.
    OnFirstPush,
    /// No push; they are created by hand.
    Never,
}

/// A setting that is not left as it is by itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Given {
    /// Its name, as the file has it.
    pub(crate) name: String,
    /// Its value; of a secret, nothing.
    pub(crate) value: String,
    /// Where it was set: a flag, a variable, a line of the file.
    pub(crate) from: String,
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

impl From<Role> for nodes::Role {
    fn from(role: Role) -> Self {
        match role {
            Role::All => Self::All,
            Role::Manager => Self::Manager,
            Role::Node => Self::Node,
        }
    }
}

fn parse_domain(text: &str) -> Result<String, &'static str> {
    let letter = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.');
    let name = text.strip_suffix('.').unwrap_or(text);
    if name.is_empty() || name.starts_with('.') || !name.bytes().all(letter) {
        return Err("write a host name such as pi.example.com, without https:// and without a port");
    }
    Ok(name.to_ascii_lowercase())
}

fn parse_url(text: &str) -> Result<String, &'static str> {
    let host = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://"));
    match host {
        Some(host) if !host.is_empty() && !text.contains(char::is_whitespace) => Ok(text.to_owned()),
        _ => Err("write a URL such as https://pi.example.com"),
    }
}

/// Where everything is kept.
#[derive(Clone, Debug, Args)]
pub(crate) struct Place {
    /// The folder for what this node keeps: the admin token, and the database where no DATABASE_URL is set.
    #[arg(long, env = "PICLOUD_DATA_DIR", default_value = "picloud-data")]
    pub(crate) data_dir: PathBuf,

    /// A file with the URL of a PostgreSQL to keep everything in; without it, and without DATABASE_URL, there is an SQLite
    /// database in the data folder.
    #[arg(long, env = "PICLOUD_DATABASE_URL_FILE", value_name = "FILE")]
    pub(crate) database_url_file: Option<PathBuf>,

    /// The file with settings; /etc/picloud/picloud.conf where there is one.
    #[arg(long, env = "PICLOUD_CONFIG", value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,

    /// The URL of the PostgreSQL.
    #[arg(skip)]
    pub(crate) database: Option<Secret>,
}

impl Place {
    /// The database.
    pub(crate) fn location(&self) -> Location {
        match &self.database {
            Some(url) => Location::Postgres(url.value.clone()),
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
