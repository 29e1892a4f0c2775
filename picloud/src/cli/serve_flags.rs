//! The flags of `picloud serve`, as they are parsed.

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use platform::nodes;
use platform::secrets::key;
use store::PoolConfig;

use super::address::{DnsAddress, ListenAddress};
use super::app_limits::AppLimitFlags;
use super::limits::{ConnectionFlags, PushFlags, RecordFlags, ScheduleFlags};
use super::secrets;
use super::telemetry::{TelemetryFlags, TraceFlags};
use super::units::{DurationOrOff, DurationValue, Size, parse_retention};
use super::usage_error::UsageError;
use crate::edge::TrustedProxies;
use crate::settings::{DEFAULT_ADDRESS, DEFAULT_DATA_DIR, Settings, Storage};

/// Settings of a node. Each flag can also be set in the environment.
#[derive(Clone, Debug, Args)]
pub(crate) struct ServeFlags {
    /// Address to listen on: ADDRESS:PORT, :PORT for all addresses of this machine, or PORT for 127.0.0.1. Port 0 takes a free
    /// port and prints it.
    #[arg(long, env = "PICLOUD_LISTEN", value_name = "ADDRESS", default_value_t = ListenAddress(DEFAULT_ADDRESS))]
    pub(crate) listen: ListenAddress,

    #[command(flatten)]
    pub(crate) storage: StorageFlags,

    /// Domain whose subdomains are apps: <app>.DOMAIN. The API then answers only at DOMAIN itself.
    #[arg(long, env = "PICLOUD_DOMAIN", value_parser = parse_domain)]
    pub(crate) domain: Option<String>,

    /// URL of this server for its users, such as https://pi.example.com, if it differs from the listen address. With --domain,
    /// its host must be DOMAIN, and the default is https://DOMAIN.
    #[arg(long, env = "PICLOUD_PUBLIC_URL", value_name = "URL", value_parser = parse_url)]
    pub(crate) public_url: Option<String>,

    /// Additional host names of this server, separated by commas. No app can have one of them as its domain. --domain and the
    /// host of --public-url are always included; without both, the host name of the machine is.
    #[arg(long, env = "PICLOUD_SERVER_NAMES", value_name = "NAMES", value_delimiter = ',', value_parser = parse_domain)]
    pub(crate) server_names: Vec<String>,

    /// Whether an app must prove ownership of a custom domain, by DNS or with the approval of an admin. `off` gives a domain to
    /// the first app that names it.
    #[arg(long, env = "PICLOUD_DOMAIN_VERIFICATION", value_name = "MODE", value_enum, default_value_t = DomainVerification::Required)]
    pub(crate) domain_verification: DomainVerification,

    /// DNS server for domain verification, such as 192.168.1.1. The default is the resolver of the system.
    #[arg(long, env = "PICLOUD_DNS_SERVER", value_name = "ADDRESS")]
    pub(crate) dns_server: Option<DnsAddress>,

    /// Maximum number of new preview hosts a week that a proxy can get TLS certificates for. A single app can use two fifths of
    /// them. 0 allows none.
    #[arg(long, env = "PICLOUD_PREVIEW_CERTIFICATES_PER_WEEK", default_value_t = Settings::default().preview_certificates_per_week, value_name = "NUMBER", value_parser = clap::value_parser!(u32).range(0..=100_000))]
    pub(crate) preview_certificates_per_week: u32,

    /// Proxies whose X-Forwarded-For and X-Forwarded-Proto headers are trusted: addresses and networks separated by commas, or
    /// `none`.
    #[arg(long, env = "PICLOUD_TRUSTED_PROXIES", value_name = "NETWORKS", default_value_t = TrustedProxies::default())]
    pub(crate) trusted_proxies: TrustedProxies,

    /// Role of this node in a cluster, in which several nodes share one PostgreSQL database.
    #[arg(long, env = "PICLOUD_ROLE", value_enum, default_value_t = Role::All)]
    pub(crate) role: Role,

    /// Name of this node. The default is the host name of the machine and the port.
    #[arg(long, env = "PICLOUD_NODE_NAME", value_name = "NAME")]
    pub(crate) node_name: Option<String>,

    /// File with the admin token, 32 characters or more. Without it, the first start creates a token in the data folder and
    /// prints it once.
    #[arg(long, env = "PICLOUD_ADMIN_TOKEN_FILE", value_name = "FILE")]
    pub(crate) admin_token_file: Option<PathBuf>,

    /// Validate all settings, print those that are set and their source, and exit.
    #[arg(long)]
    pub(crate) check_config: bool,

    /// Whether the first push to a new name creates an app. With `never`, apps are created with `picloud apps create`.
    #[arg(long, env = "PICLOUD_CREATE_APPS", value_name = "MODE", value_enum, default_value_t = CreateApps::OnFirstPush)]
    pub(crate) create_apps: CreateApps,

    /// How long to keep audit events.
    #[arg(long, env = "PICLOUD_AUDIT_RETENTION", value_name = "DURATION", default_value_t = DurationValue(Settings::default().audit_retention), value_parser = parse_retention)]
    pub(crate) audit_retention: DurationValue,

    /// Age of the last backup at which `picloud status` reports a warning. `off` disables the warning.
    #[arg(long, env = "PICLOUD_BACKUP_MAX_AGE", value_name = "DURATION", default_value_t = DurationOrOff(Settings::default().backup_max_age))]
    pub(crate) backup_max_age: DurationOrOff,

    /// File with the encryption keys of secrets. The default is systemd's credential `secret-key` or, without it, a key that the
    /// node creates in the data folder.
    #[arg(long, env = "PICLOUD_SECRET_KEY_FILE", value_name = "FILE")]
    pub(crate) secret_key_file: Option<PathBuf>,

    /// Memory budget for apps and their clients, such as 512MiB. The default is 60 percent of the memory of the cgroup or the
    /// machine.
    #[arg(long, env = "PICLOUD_MEMORY", value_name = "SIZE", value_parser = parse_memory)]
    pub(crate) memory: Option<Size>,

    /// The credentials folder of a systemd unit.
    #[arg(long, env = "CREDENTIALS_DIRECTORY", hide = true)]
    pub(crate) credentials_directory: Option<PathBuf>,

    #[command(flatten)]
    pub(crate) telemetry: TelemetryFlags,

    #[command(flatten)]
    pub(crate) traces: TraceFlags,

    #[command(flatten)]
    pub(crate) database: DatabaseFlags,

    #[command(flatten)]
    pub(crate) connections: ConnectionFlags,

    #[command(flatten)]
    pub(crate) push: PushFlags,

    #[command(flatten)]
    pub(crate) apps: AppLimitFlags,

    #[command(flatten)]
    pub(crate) schedules: ScheduleFlags,

    #[command(flatten)]
    pub(crate) records: RecordFlags,
}

impl ServeFlags {
    /// Resolves the flags to settings, including secrets.
    ///
    /// # Errors
    /// A secret cannot be read, or settings contradict each other.
    pub(crate) fn resolve(self) -> Result<Settings, UsageError> {
        if let (Some(domain), Some(url)) = (&self.domain, &self.public_url)
            && !has_host(url, domain)
        {
            return Err(UsageError::PublicUrl { url: url.clone(), domain: domain.clone() });
        }
        let admin_token = secrets::admin_token(self.admin_token_file.as_deref())?;
        let credential = self.credentials_directory.map(|folder| folder.join(key::FILE_NAME));
        Ok(Settings {
            listen: self.listen.0,
            storage: self.storage.resolve()?,
            pool: self.database.resolve(),
            domain: self.domain,
            public_url: self.public_url,
            server_names: self.server_names,
            domain_verification: self.domain_verification == DomainVerification::Required,
            dns_server: self.dns_server.map(|DnsAddress(address)| address),
            preview_certificates_per_week: self.preview_certificates_per_week,
            trusted_proxies: self.trusted_proxies,
            role: self.role.into(),
            node_name: self.node_name,
            admin_token,
            secret_key_file: self.secret_key_file.or_else(|| credential.filter(|file| file.exists())),
            create_apps: self.create_apps == CreateApps::OnFirstPush,
            audit_retention: self.audit_retention.0,
            backup_max_age: self.backup_max_age.0,
            log_format: self.telemetry.log_format,
            metrics: self.telemetry.metrics,
            traces: self.traces.resolve(),
            memory_bytes: self.memory.map(|size| size.0),
            connections: self.connections.resolve(),
            bodies: self.connections.bodies(),
            pushes: self.push.resolve(),
            deploys: self.push.deploys(),
            retention: self.push.retention(),
            limits: self.apps.resolve()?,
            preview_ttl: self.push.preview_ttl(),
            schedules: self.schedules.resolve(),
            records: self.records.resolve(),
        })
    }
}

/// When apps are created.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum CreateApps {
    /// The first push to a name creates the app.
    OnFirstPush,
    /// Pushes create no apps.
    Never,
}

/// Whether custom domains are verified.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum DomainVerification {
    /// A domain belongs to the app that has proven its ownership.
    Required,
    /// A domain belongs to the first app that names it.
    Off,
}

/// Role of a node in a cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Role {
    /// Everything.
    All,
    /// The control plane: accepts pushes, serves the API and runs schedules, but does not serve apps.
    Manager,
    /// Only serves apps.
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

/// The smallest memory budget; the first app would use up less.
const MEMORY_MIN: Size = Size(32 * 1024 * 1024);

fn parse_memory(text: &str) -> Result<Size, String> {
    let size: Size = text.parse()?;
    if size.0 < MEMORY_MIN.0 {
        return Err(format!("must be at least {MEMORY_MIN}"));
    }
    Ok(size)
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

/// Whether a URL has this host, at any port.
fn has_host(url: &str, host: &str) -> bool {
    let authority = url.split_once("://").map_or(url, |(_, authority)| authority).trim_end_matches('/');
    let name = authority.rsplit_once(':').map_or(authority, |(name, _)| name);
    name.eq_ignore_ascii_case(host)
}

/// Location of the data.
#[derive(Clone, Debug, Args)]
pub(crate) struct StorageFlags {
    /// Data folder of this node, with the admin token, the encryption key and, unless PostgreSQL is used, the SQLite database.
    #[arg(long, env = "PICLOUD_DATA_DIR", value_name = "DIR", default_value = DEFAULT_DATA_DIR)]
    pub(crate) data_dir: PathBuf,

    /// File with the URL of a PostgreSQL database. The URL can also be set in the variable DATABASE_URL. Without either, data is
    /// stored in an SQLite database in the data folder.
    #[arg(long, env = "PICLOUD_DATABASE_URL_FILE", value_name = "FILE")]
    pub(crate) database_url_file: Option<PathBuf>,

    /// Config file. The default is /etc/picloud/picloud.conf, if it exists.
    #[arg(long, env = "PICLOUD_CONFIG", value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
}

impl StorageFlags {
    /// Resolves the flags, including the URL of the database.
    ///
    /// # Errors
    /// The file with the URL cannot be read.
    pub(crate) fn resolve(&self) -> Result<Storage, UsageError> {
        let database_url = secrets::database_url(self.database_url_file.as_deref())?;
        Ok(Storage { data_dir: self.data_dir.clone(), database_url })
    }
}

/// The PostgreSQL connection pool.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "PostgreSQL")]
pub(crate) struct DatabaseFlags {
    /// Maximum number of connections from this node to PostgreSQL.
    #[arg(long, env = "PICLOUD_DATABASE_MAX_CONNECTIONS", value_name = "NUMBER", default_value_t = DatabaseFlags::default().database_max_connections, value_parser = clap::value_parser!(u32).range(2..=10_000))]
    pub(crate) database_max_connections: u32,

    /// How long a query waits for a free connection of the pool.
    #[arg(long, env = "PICLOUD_DATABASE_ACQUIRE_TIMEOUT", value_name = "DURATION", default_value_t = DatabaseFlags::default().database_acquire_timeout)]
    pub(crate) database_acquire_timeout: DurationValue,

    /// Timeout of a statement, and of an idle transaction.
    #[arg(long, env = "PICLOUD_DATABASE_STATEMENT_TIMEOUT", value_name = "DURATION", default_value_t = DatabaseFlags::default().database_statement_timeout)]
    pub(crate) database_statement_timeout: DurationValue,
}

impl DatabaseFlags {
    fn resolve(&self) -> PoolConfig {
        PoolConfig {
            max_connections: self.database_max_connections,
            acquire_timeout: self.database_acquire_timeout.0,
            statement_timeout: self.database_statement_timeout.0,
        }
    }
}

impl Default for DatabaseFlags {
    fn default() -> Self {
        let PoolConfig { max_connections, acquire_timeout, statement_timeout } = PoolConfig::default();
        Self {
            database_max_connections: max_connections,
            database_acquire_timeout: DurationValue(acquire_timeout),
            database_statement_timeout: DurationValue(statement_timeout),
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;

    #[derive(clap::Parser)]
    struct Serve {
        #[command(flatten)]
        flags: ServeFlags,
    }

    #[test]
    fn default_flags_resolve_to_default_settings() {
        let defaults = Settings::default();
        let resolved = Serve::parse_from(["serve"]).flags.resolve().unwrap();
        // The environment of the test can set these.
        let resolved = Settings {
            storage: defaults.storage.clone(),
            admin_token: None,
            secret_key_file: None,
            ..resolved
        };
        assert_eq!(format!("{resolved:?}"), format!("{defaults:?}"));
    }
}
