//! The flags of `picloud serve`, as they are parsed.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, ValueEnum};
use platform::nodes;
use platform::secrets::key;
use store::Pool;

use super::address::{DnsAddress, ListenAddress};
use super::app_limits::AppLimitFlags;
use super::limits::{ConnectionFlags, PushFlags, RecordFlags, ScheduleFlags, whole};
use super::misuse::Misuse;
use super::observing::{ObservingFlags, TraceFlags};
use super::quantity::{AgeOrOff, Size, Time};
use super::secrets;
use crate::edge::TrustedProxies;
use crate::settings::{Settings, Storage, USUAL_ADDRESS, USUAL_DATA_DIR};

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// The age from which on a backup is old, as [`Settings`] has it.
const BACKUP_WARN: &str = "7d";

/// How a node runs. Each flag is also read from the environment.
#[derive(Clone, Debug, Args)]
pub(crate) struct ServeFlags {
    /// The address to listen on, or a port: 8080 is 127.0.0.1:8080, and :8080 stands for all addresses of this machine. Port 0 takes a free one
    /// and prints it.
    #[arg(long, env = "PICLOUD_LISTEN", value_name = "ADDRESS", default_value_t = ListenAddress(USUAL_ADDRESS))]
    pub(crate) listen: ListenAddress,

    #[command(flatten)]
    pub(crate) storage: StorageFlags,

    /// The domain whose subdomains are apps: <app>.DOMAIN. The control plane then answers on DOMAIN alone.
    #[arg(long, env = "PICLOUD_DOMAIN", value_parser = parse_domain)]
    pub(crate) domain: Option<String>,

    /// The URL that people use, such as https://pi.example.com, where it is not the listening address. With a domain it is at that, such as
    /// http://apps.lan:8080 where no proxy with TLS is in front; without it https://DOMAIN.
    #[arg(long, env = "PICLOUD_PUBLIC_URL", value_parser = parse_url)]
    pub(crate) public_url: Option<String>,

    /// More names by which people reach the control plane, with commas between them: no app can have one as its domain. Its domain, the host
    /// of its public URL, and without both the name of the machine, are among them anyway.
    #[arg(long, env = "PICLOUD_OWN_NAMES", value_name = "NAMES", value_delimiter = ',', value_parser = parse_domain)]
    pub(crate) own_names: Vec<String>,

    /// Whether an app answers at a domain of its own only once that is proven, by DNS or by an admin; otherwise it is whose app names it
    /// first.
    #[arg(long, env = "PICLOUD_DOMAIN_PROOF", value_enum, default_value_t = DomainProof::Required)]
    pub(crate) domain_proof: DomainProof,

    /// The DNS server that is asked whether a domain is an app's, such as 192.168.1.1; without it those of the system.
    #[arg(long, env = "PICLOUD_DNS_SERVER", value_name = "ADDRESS")]
    pub(crate) dns_server: Option<DnsAddress>,

    /// For how many new previews a week a proxy can have certificates, two fifths of them for one app; 0 for none.
    #[arg(long, env = "PICLOUD_PREVIEW_CERTIFICATES", default_value_t = Settings::default().preview_certificates, value_name = "NUMBER", value_parser = clap::value_parser!(u32).range(0..=100_000))]
    pub(crate) preview_certificates: u32,

    /// The proxies that may say who their clients are (X-Forwarded-For and -Proto): addresses and networks with commas
    /// between them, or none.
    #[arg(long, env = "PICLOUD_TRUSTED_PROXIES", default_value_t = TrustedProxies::default())]
    pub(crate) trusted_proxies: TrustedProxies,

    /// What this node does of the work that several nodes on one PostgreSQL share.
    #[arg(long, env = "PICLOUD_ROLE", value_enum, default_value_t = Role::All)]
    pub(crate) role: Role,

    /// What people call this node; without it the name of the machine with the port.
    #[arg(long, env = "PICLOUD_NODE_NAME")]
    pub(crate) node_name: Option<String>,

    /// A file with the admin token, 32 characters or more; without it one is made, printed once, and kept in the data folder.
    #[arg(long, env = "PICLOUD_ADMIN_TOKEN_FILE", value_name = "FILE")]
    pub(crate) admin_token_file: Option<PathBuf>,

    /// Look at all settings, say what is set and where, and do no more.
    #[arg(long)]
    pub(crate) check_config: bool,

    /// Whether the first push to a new name creates the app; otherwise `picloud apps create` does.
    #[arg(long, env = "PICLOUD_CREATE_APPS", value_enum, default_value_t = CreateApps::OnFirstPush)]
    pub(crate) create_apps: CreateApps,

    /// For how many days acts stay in the audit list.
    #[arg(long, env = "PICLOUD_AUDIT_DAYS", default_value_t = whole(Settings::default().audit_kept, DAY), value_parser = clap::value_parser!(u32).range(1..=36_500))]
    pub(crate) audit_days: u32,

    /// The age of the latest backup from which on `picloud status` warns; off where backups are made by other means.
    #[arg(long, env = "PICLOUD_BACKUP_WARN", default_value = BACKUP_WARN, value_name = "AGE")]
    pub(crate) backup_warn: AgeOrOff,

    /// The file with the keys that secrets are encrypted with; without it systemd's credential `secret-key`, or a key that is made in the data folder.
    #[arg(long, env = "PICLOUD_SECRET_KEY_FILE")]
    pub(crate) secret_key_file: Option<PathBuf>,

    /// The memory for all that apps and their clients make the node hold, such as 512MiB; without it 60 percent of what the
    /// cgroup or the machine has.
    #[arg(long, env = "PICLOUD_MEMORY", value_name = "SIZE", value_parser = parse_memory)]
    pub(crate) memory: Option<Size>,

    /// Where systemd puts a unit's credentials.
    #[arg(long, env = "CREDENTIALS_DIRECTORY", hide = true)]
    pub(crate) credentials_directory: Option<PathBuf>,

    #[command(flatten)]
    pub(crate) observing: ObservingFlags,

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
    /// The settings that the flags mean, with the secrets that they name.
    ///
    /// # Errors
    /// What holds a secret cannot be read, or settings contradict each other.
    pub(crate) fn resolve(self) -> Result<Settings, Misuse> {
        if let (Some(domain), Some(url)) = (&self.domain, &self.public_url)
            && !is_at(url, domain)
        {
            return Err(Misuse::PublicUrl { url: url.clone(), domain: domain.clone() });
        }
        let admin_token = secrets::admin_token(self.admin_token_file.as_deref())?;
        let credential = self.credentials_directory.map(|folder| folder.join(key::FILE_NAME));
        Ok(Settings {
            listen: self.listen.0,
            storage: self.storage.resolve()?,
            pool: self.database.resolve(),
            domain: self.domain,
            public_url: self.public_url,
            own_names: self.own_names,
            domain_proof: self.domain_proof == DomainProof::Required,
            dns_server: self.dns_server.map(|DnsAddress(address)| address),
            preview_certificates: self.preview_certificates,
            trusted_proxies: self.trusted_proxies,
            role: self.role.into(),
            node_name: self.node_name,
            admin_token,
            secret_key_file: self.secret_key_file.or_else(|| credential.filter(|file| file.exists())),
            create_apps: self.create_apps == CreateApps::OnFirstPush,
            audit_kept: DAY * self.audit_days,
            backup_max_age: self.backup_warn.0,
            log_format: self.observing.log_format,
            metrics: self.observing.metrics,
            traces: self.traces.resolve(),
            memory_bytes: self.memory.map(|size| size.0),
            connections: self.connections.resolve(),
            bodies: self.connections.bodies(),
            pushes: self.push.resolve(),
            deploys: self.push.deploys(),
            retention: self.push.retention(),
            limits: self.apps.resolve()?,
            preview_age: self.push.preview_age(),
            schedules: self.schedules.resolve(),
            records: self.records.resolve(),
        })
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

/// Whose a domain is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum DomainProof {
    /// The app's for which it is proven.
    Required,
    /// The app's that names it first.
    Off,
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

/// Less would be filled by the first app.
const MEMORY_MIN: Size = Size(32 * 1024 * 1024);

fn parse_memory(text: &str) -> Result<Size, String> {
    let size: Size = text.parse()?;
    if size.0 < MEMORY_MIN.0 {
        return Err(format!("a node needs {MEMORY_MIN} or more for its apps"));
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

/// Whether a URL is that of a host, at whichever port.
fn is_at(url: &str, host: &str) -> bool {
    let authority = url.split_once("://").map_or(url, |(_, authority)| authority).trim_end_matches('/');
    let name = authority.rsplit_once(':').map_or(authority, |(name, _)| name);
    name.eq_ignore_ascii_case(host)
}

/// Where everything is kept.
#[derive(Clone, Debug, Args)]
pub(crate) struct StorageFlags {
    /// The folder for what this node keeps: the admin token, and the database where no DATABASE_URL is set.
    #[arg(long, env = "PICLOUD_DATA_DIR", default_value = USUAL_DATA_DIR)]
    pub(crate) data_dir: PathBuf,

    /// A file with the URL of a PostgreSQL to keep everything in; without it, and without DATABASE_URL, there is an SQLite
    /// database in the data folder.
    #[arg(long, env = "PICLOUD_DATABASE_URL_FILE", value_name = "FILE")]
    pub(crate) database_url_file: Option<PathBuf>,

    /// The file with settings; /etc/picloud/picloud.conf where there is one.
    #[arg(long, env = "PICLOUD_CONFIG", value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
}

impl StorageFlags {
    /// Where everything is kept, with the URL of the database, if one is set.
    ///
    /// # Errors
    /// What holds the URL cannot be read.
    pub(crate) fn resolve(&self) -> Result<Storage, Misuse> {
        let database_url = secrets::database_url(self.database_url_file.as_deref())?;
        Ok(Storage { data_dir: self.data_dir.clone(), database_url })
    }
}

/// What this node takes of a PostgreSQL.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "PostgreSQL")]
pub(crate) struct DatabaseFlags {
    /// How many connections the node may have to it.
    #[arg(long, env = "PICLOUD_DATABASE_CONNECTIONS", default_value_t = DatabaseFlags::default().database_connections, value_parser = clap::value_parser!(u32).range(2..=10_000))]
    pub(crate) database_connections: u32,

    /// How long a query waits for one of them.
    #[arg(long, env = "PICLOUD_DATABASE_WAIT_TIME", default_value_t = DatabaseFlags::default().database_wait_time)]
    pub(crate) database_wait_time: Time,

    /// How long one statement may take, and a transaction stand still.
    #[arg(long, env = "PICLOUD_DATABASE_STATEMENT_TIME", default_value_t = DatabaseFlags::default().database_statement_time)]
    pub(crate) database_statement_time: Time,
}

impl DatabaseFlags {
    fn resolve(&self) -> Pool {
        Pool {
            connections: self.database_connections,
            wait: self.database_wait_time.0,
            statement: self.database_statement_time.0,
        }
    }
}

impl Default for DatabaseFlags {
    fn default() -> Self {
        let Pool { connections, wait, statement } = Pool::default();
        Self {
            database_connections: connections,
            database_wait_time: Time(wait),
            database_statement_time: Time(statement),
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
    fn flags_that_nobody_gives_mean_the_default_settings() {
        let usual = Settings::default();
        let resolved = Serve::parse_from(["serve"]).flags.resolve().unwrap();
        // Tests may run where these are set.
        let resolved =
            Settings { storage: usual.storage.clone(), admin_token: None, secret_key_file: None, ..resolved };
        assert_eq!(format!("{resolved:?}"), format!("{usual:?}"));
    }
}
