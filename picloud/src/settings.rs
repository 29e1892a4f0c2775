//! How a node runs: what flags, the environment, the file and secrets have said, in the types of those who work with it.

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
use store::{Location, Pool};

use crate::edge::listener::ConnectionLimits;
use crate::edge::{BodyLimits, MetricsAccess, PushLimits, TrustedProxies};
use crate::log::LogFormat;
use crate::traces::TraceSettings;

/// The address where people look for a server on their own machine.
pub(crate) const USUAL_ADDRESS: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 8080);

/// Where files are kept if nobody says where.
pub(crate) const USUAL_DATA_DIR: &str = "picloud-data";

/// The embedded database's file in the data folder.
const SQLITE_FILE: &str = "picloud.db";

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// How a node runs.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    /// The address to listen on.
    pub(crate) listen: SocketAddr,
    /// Where everything is kept.
    pub(crate) storage: Storage,
    /// What the node takes of a PostgreSQL.
    pub(crate) pool: Pool,
    /// The domain whose subdomains are apps.
    pub(crate) domain: Option<String>,
    /// The URL that people use, where it is not the listening address.
    pub(crate) public_url: Option<String>,
    /// More names by which people reach the control plane.
    pub(crate) own_names: Vec<String>,
    /// Whether a domain is an app's only once that is proven.
    pub(crate) domain_proof: bool,
    /// The DNS server that is asked for proofs; without it those of the system.
    pub(crate) dns_server: Option<SocketAddr>,
    /// For how many new names of previews a week there are certificates.
    pub(crate) preview_certificates: u32,
    /// The proxies that may say who their clients are.
    pub(crate) trusted_proxies: TrustedProxies,
    /// What the node does.
    pub(crate) role: Role,
    /// What people call the node; without it the name of the machine with the port.
    pub(crate) node_name: Option<String>,
    /// The admin token, where it is preset.
    pub(crate) admin_token: Option<Secret>,
    /// The file with the keys of secrets, where it is not one of the data folder.
    pub(crate) secret_key_file: Option<PathBuf>,
    /// Whether the first push to a name creates the app.
    pub(crate) create_apps: bool,
    /// For how long acts stay in the audit list.
    pub(crate) audit_kept: Duration,
    /// The age from which on the latest backup is too old.
    pub(crate) backup_max_age: Option<Duration>,
    /// The form of the log.
    pub(crate) log_format: LogFormat,
    /// Who may read the metrics.
    pub(crate) metrics: MetricsAccess,
    /// Where traces go.
    pub(crate) traces: TraceSettings,
    /// The memory that the node has for its apps; without it a part of what the machine or the cgroup has.
    pub(crate) memory_bytes: Option<u64>,
    /// What connections may take.
    pub(crate) connections: ConnectionLimits,
    /// How long a client may take to send a body.
    pub(crate) bodies: BodyLimits,
    /// What pushes may take.
    pub(crate) pushes: PushLimits,
    /// What a deploy may hold.
    pub(crate) deploys: DeployLimits,
    /// Which deploys are kept, and for how long what they and refs let go of.
    pub(crate) retention: DeployRetention,
    /// What every app is granted that has no limits of its own.
    pub(crate) limits: GrantedLimits,
    /// How old a preview may become without a push.
    pub(crate) preview_age: Option<Duration>,
    /// What becomes of schedules' runs.
    pub(crate) schedules: ScheduleLimits,
    /// What is kept of executions and logs.
    pub(crate) records: RecordLimits,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            listen: USUAL_ADDRESS,
            storage: Storage { data_dir: PathBuf::from(USUAL_DATA_DIR), database_url: None },
            pool: Pool::default(),
            domain: None,
            public_url: None,
            own_names: Vec::new(),
            domain_proof: true,
            dns_server: None,
            // Half of what Let's Encrypt makes for a domain in a week.
            preview_certificates: 25,
            trusted_proxies: TrustedProxies::default(),
            role: Role::All,
            node_name: None,
            admin_token: None,
            secret_key_file: None,
            create_apps: true,
            // A little more than a year.
            audit_kept: DAY * 400,
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
            preview_age: Some(DAY * 30),
            schedules: ScheduleLimits::default(),
            records: RecordLimits::default(),
        }
    }
}

impl Settings {
    /// The names of the control plane. Where it is not said how people reach it, it is by the name of this machine, which a network of
    /// one's own knows with `.local` behind it (RFC 6762).
    pub(crate) fn own_names(&self, machine: &str) -> ServerNames {
        let mut names = self.own_names.clone();
        names.extend(self.public_url.as_deref().and_then(host_of_url).map(str::to_owned));
        if self.domain.is_none() && self.public_url.is_none() {
            names.extend([machine.to_owned(), format!("{machine}.local")]);
        }
        ServerNames::new(self.domain.as_deref(), names)
    }

    /// Where the keys of secrets are.
    pub(crate) fn key_file(&self) -> KeyFile {
        match &self.secret_key_file {
            Some(file) => KeyFile::External(file.clone()),
            None => KeyFile::Managed(self.storage.data_dir.join(key::FILE_NAME)),
        }
    }
}

/// The host of a URL such as `https://pi.example.com:8443/`, where it has a name.
fn host_of_url(url: &str) -> Option<&str> {
    let authority = url.split_once("://")?.1.split(['/', '?', '#']).next()?;
    let host = authority.rsplit('@').next()?;
    if host.starts_with('[') {
        return None;
    }
    host.split(':').next()
}

/// Where everything is kept.
#[derive(Clone, Debug)]
pub(crate) struct Storage {
    /// The folder for what this node keeps.
    pub(crate) data_dir: PathBuf,
    /// The URL of the PostgreSQL; without it there is an SQLite database in the folder.
    pub(crate) database_url: Option<Secret>,
}

impl Storage {
    /// The database.
    pub(crate) fn location(&self) -> Location {
        match &self.database_url {
            Some(url) => Location::Postgres(url.value.clone()),
            None => Location::Sqlite(self.data_dir.join(SQLITE_FILE)),
        }
    }
}

/// A secret and where it comes from. It is not shown by `Debug`.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Secret {
    pub(crate) value: String,
    /// For people: a variable, a file, a credential.
    pub(crate) from: String,
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Secret(… from {})", self.from)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_the_control_plane_are_those_that_are_said_or_the_machines() {
        let usual = Settings::default().own_names("pi");
        assert!(usual.contains("pi.local") && !usual.contains("pi.example.com"));
        let named = Settings {
            public_url: Some("https://Pi.example.com:8443/x".to_owned()),
            own_names: vec!["cloud.lan".to_owned()],
            ..Settings::default()
        };
        let named = named.own_names("pi");
        assert!(named.contains("pi.example.com") && named.contains("cloud.lan"));
        assert!(!named.contains("pi.local") && !named.contains("a.pi.example.com"));
        let below = Settings { domain: Some("example.com".to_owned()), ..Settings::default() };
        assert!(below.own_names("pi").contains("a.b.example.com"));
    }

    #[test]
    fn host_of_a_url_is_its_name() {
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
