//! The resolved settings of a node.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use platform::deploy::DeployLimits;
use platform::domains::ServerNames;
use platform::gc::DeployRetention;
use platform::limits::GrantedLimits;
use platform::nodes::Role;
use platform::recording::RecordLimits;
use platform::schedules::ScheduleLimits;
use platform::secrets::{KeyFile, key};
use store::{Location, PoolConfig};

use crate::edge::listener::ConnectionLimits;
use crate::edge::{BodyLimits, MetricsAccess, PushLimits, TrustedProxies};
use crate::log::LogFormat;
use crate::traces::TraceSettings;

/// The default listen address.
pub(crate) const DEFAULT_ADDRESS: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 8080);

/// The default data folder.
pub(crate) const DEFAULT_DATA_DIR: &str = "picloud-data";

/// The file of the SQLite database in the data folder.
const SQLITE_FILE: &str = "picloud.db";

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// The settings of a node.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    /// The listen address.
    pub(crate) listen: SocketAddr,
    /// The data folder and the database.
    pub(crate) storage: Storage,
    /// The PostgreSQL connection pool.
    pub(crate) pool: PoolConfig,
    /// The domain whose subdomains are apps.
    pub(crate) domain: Option<String>,
    /// The URL for users, if it differs from the listen address.
    pub(crate) public_url: Option<String>,
    /// Additional host names of the server.
    pub(crate) server_names: Vec<String>,
    /// Whether custom domains must be verified.
    pub(crate) domain_verification: bool,
    /// The DNS server for domain verification; `None` for the resolver of the system.
    pub(crate) dns_server: Option<SocketAddr>,
    /// The maximum number of new preview hosts with certificates a week.
    pub(crate) preview_certificates_per_week: u32,
    /// The proxies whose X-Forwarded headers are trusted.
    pub(crate) trusted_proxies: TrustedProxies,
    /// The role in a cluster.
    pub(crate) role: Role,
    /// The name of the node; `None` for the host name and port.
    pub(crate) node_name: Option<String>,
    /// The admin token, if it is set.
    pub(crate) admin_token: Option<Secret>,
    /// The key file for secrets; `None` for the file in the data folder.
    pub(crate) secret_key_file: Option<PathBuf>,
    /// Whether the first push to a name creates an app.
    pub(crate) create_apps: bool,
    /// Retention of audit events.
    pub(crate) audit_retention: Duration,
    /// The age at which the last backup is too old.
    pub(crate) backup_max_age: Option<Duration>,
    /// The format of the log.
    pub(crate) log_format: LogFormat,
    /// Who can read the metrics.
    pub(crate) metrics: MetricsAccess,
    /// The OpenTelemetry collector.
    pub(crate) traces: TraceSettings,
    /// The memory budget; `None` for a part of the memory of the machine or the cgroup.
    pub(crate) memory_bytes: Option<u64>,
    /// Limits of connections.
    pub(crate) connections: ConnectionLimits,
    /// Limits of request bodies.
    pub(crate) bodies: BodyLimits,
    /// Limits of pushes.
    pub(crate) pushes: PushLimits,
    /// Limits of deploys.
    pub(crate) deploys: DeployLimits,
    /// Retention of deploys and unreachable objects.
    pub(crate) retention: DeployRetention,
    /// Default limits of apps.
    pub(crate) limits: GrantedLimits,
    /// The time after the last push until a preview is deleted.
    pub(crate) preview_ttl: Option<Duration>,
    /// Limits of schedule runs.
    pub(crate) schedules: ScheduleLimits,
    /// Limits of execution records and logs.
    pub(crate) records: RecordLimits,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            listen: DEFAULT_ADDRESS,
            storage: Storage { data_dir: PathBuf::from(DEFAULT_DATA_DIR), database_url: None },
            pool: PoolConfig::default(),
            domain: None,
            public_url: None,
            server_names: Vec::new(),
            domain_verification: true,
            dns_server: None,
            // Half of Let's Encrypt's weekly limit for a domain.
            preview_certificates_per_week: 25,
            trusted_proxies: TrustedProxies::default(),
            role: Role::All,
            node_name: None,
            admin_token: None,
            secret_key_file: None,
            create_apps: true,
            // A little more than a year.
            audit_retention: DAY * 400,
            backup_max_age: Some(DAY * 7),
            log_format: LogFormat::Text,
            metrics: MetricsAccess::Token,
            traces: TraceSettings::default(),
            memory_bytes: None,
            connections: ConnectionLimits::default(),
            bodies: BodyLimits::default(),
            pushes: PushLimits::default(),
            deploys: DeployLimits::default(),
            retention: DeployRetention::default(),
            limits: GrantedLimits::default(),
            preview_ttl: Some(DAY * 30),
            schedules: ScheduleLimits::default(),
            records: RecordLimits::default(),
        }
    }
}

impl Settings {
    /// The host names of the server. Without a domain and a public URL, these are the host name of the machine and its mDNS name
    /// (RFC 6762).
    pub(crate) fn server_names(&self, machine: &str) -> ServerNames {
        let mut names = self.server_names.clone();
        names.extend(self.public_url.as_deref().and_then(host_of_url).map(str::to_owned));
        if self.domain.is_none() && self.public_url.is_none() {
            names.extend([machine.to_owned(), format!("{machine}.local")]);
        }
        ServerNames::new(self.domain.as_deref(), names)
    }

    /// The key file for secrets.
    pub(crate) fn key_file(&self) -> KeyFile {
        match &self.secret_key_file {
            Some(file) => KeyFile::External(file.clone()),
            None => KeyFile::Managed(self.storage.data_dir.join(key::FILE_NAME)),
        }
    }
}

/// The host name of a URL such as `https://pi.example.com:8443/`; `None` for IPv6 addresses.
fn host_of_url(url: &str) -> Option<&str> {
    let authority = url.split_once("://")?.1.split(['/', '?', '#']).next()?;
    let host = authority.rsplit('@').next()?;
    if host.starts_with('[') {
        return None;
    }
    host.split(':').next()
}

/// The data folder and the database.
#[derive(Clone, Debug)]
pub(crate) struct Storage {
    /// The data folder.
    pub(crate) data_dir: PathBuf,
    /// The URL of a PostgreSQL database; `None` for SQLite in the data folder.
    pub(crate) database_url: Option<Secret>,
}

impl Storage {
    /// The location of the database.
    pub(crate) fn location(&self) -> Location {
        match &self.database_url {
            Some(url) => Location::Postgres(url.value.clone()),
            None => Location::Sqlite(self.data_dir.join(SQLITE_FILE)),
        }
    }
}

/// A secret and its source. `Debug` hides the value.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Secret {
    pub(crate) value: String,
    /// Where the value comes from: a variable, a file or a credential.
    pub(crate) source: String,
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Secret(… from {})", self.source)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn server_names_are_configured_or_those_of_the_machine() {
        let default = Settings::default().server_names("pi");
        assert!(default.contains("pi.local") && !default.contains("pi.example.com"));
        let named = Settings {
            public_url: Some("https://Pi.example.com:8443/x".to_owned()),
            server_names: vec!["cloud.lan".to_owned()],
            ..Settings::default()
        };
        let named = named.server_names("pi");
        assert!(named.contains("pi.example.com") && named.contains("cloud.lan"));
        assert!(!named.contains("pi.local") && !named.contains("a.pi.example.com"));
        let below = Settings { domain: Some("example.com".to_owned()), ..Settings::default() };
        assert!(below.server_names("pi").contains("a.b.example.com"));
    }

    #[test]
    fn host_of_url_is_its_name() {
        for (url, host) in [
            ("https://a.b", Some("a.b")),
            ("http://u:p@a.b:80/c?d", Some("a.b")),
            ("https://[::1]:80/", None),
            ("a.b", None),
        ] {
            assert_eq!(host_of_url(url), host, "{url}");
        }
    }
}
