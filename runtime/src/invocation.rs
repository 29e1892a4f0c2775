//! The input of an execution.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use manifest_schema::execution::TriggerKind;
use manifest_schema::limits::Limits;
use manifest_schema::method::Method;
use manifest_schema::name::{JobName, ScriptPath};
use uuid::Uuid;

use crate::journal::Journal;

/// One call of a script.
#[derive(Clone, Debug)]
pub struct Invocation {
    /// The script.
    pub script: ScriptPath,
    /// The id of this execution.
    pub execution_id: Uuid,
    /// The id of the incoming request, kept across function calls.
    pub request_id: Uuid,
    /// What started the script.
    pub trigger: Trigger,
    /// When it started, in milliseconds since 1970.
    pub started_at_ms: i64,
    /// The time that earlier passes and their waits took; it counts for the time limit.
    pub spent: Duration,
    /// The seed of its random numbers.
    pub seed: Seed,
    /// The limits of its route or schedule; `None` for those of the app.
    pub limits: Option<Arc<Limits>>,
    /// What its passes learned.
    pub journal: Arc<Journal>,
}

impl Invocation {
    /// A call that starts now.
    pub fn new(script: ScriptPath, execution_id: Uuid, request_id: Uuid, trigger: Trigger) -> Self {
        let started_at_ms = SystemTime::now()
            .duration_since(SystemTime::UNIX_EPOCH)
            .map_or(0, |since| i64::try_from(since.as_millis()).unwrap_or(i64::MAX));
        let (spent, seed, journal) = (Duration::ZERO, Seed::random(), Arc::default());
        Self { script, execution_id, request_id, trigger, started_at_ms, spent, seed, limits: None, journal }
    }
}

/// The seed of the random numbers of an execution: the same in every pass, and never stored.
#[derive(Clone)]
pub struct Seed(pub(crate) [u8; 32]);

impl Seed {
    /// A new seed.
    pub fn random() -> Self {
        Self(rand::random())
    }

    /// A fixed seed, for tests of scripts.
    pub fn fixed(number: u64) -> Self {
        let mut bytes = [0; 32];
        bytes[..8].copy_from_slice(&number.to_le_bytes());
        Self(bytes)
    }
}

/// The seed determines every random number of the execution, so it is not shown.
impl fmt::Debug for Seed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Seed")
    }
}

/// What starts a script.
#[derive(Clone, Debug)]
pub enum Trigger {
    /// A request to one of the app's routes.
    Http(Arc<HttpRequest>),
    /// A function call by name.
    Function {
        /// The function.
        name: JobName,
        /// The JSON payload; may be empty.
        payload: Bytes,
    },
    /// A due schedule.
    Scheduled(ScheduledRun),
}

/// A run of a schedule.
#[derive(Clone, Debug)]
pub struct ScheduledRun {
    /// The schedule.
    pub name: JobName,
    /// The due time, in milliseconds since 1970.
    pub due_at_ms: i64,
    /// When its last successful run was due, in milliseconds since 1970.
    pub last_success_ms: Option<i64>,
    /// The number of due times since then that had no run.
    pub missed: u64,
}

impl Trigger {
    /// The length of the body or payload.
    pub(crate) fn bytes(&self) -> usize {
        match self {
            Self::Http(request) => request.body.len(),
            Self::Function { payload, .. } => payload.len(),
            Self::Scheduled(_) => 0,
        }
    }

    /// The kind, as scripts see it in `ctx.invocation_type`.
    pub fn kind(&self) -> TriggerKind {
        match self {
            Self::Http(_) => TriggerKind::Http,
            Self::Function { .. } => TriggerKind::Function,
            Self::Scheduled(_) => TriggerKind::Scheduled,
        }
    }
}

/// The headers of a request, read only when a script needs them.
pub trait Headers: fmt::Debug + Send + Sync {
    /// Passes every name, in any case, and its value to `visit`; repeated headers in the order received.
    fn for_each(&self, visit: &mut dyn FnMut(&str, &[u8]));
    /// The first value of a header; the name is case-insensitive.
    fn get(&self, name: &str) -> Option<&[u8]>;
}

impl Headers for Vec<(String, Vec<u8>)> {
    fn for_each(&self, visit: &mut dyn FnMut(&str, &[u8])) {
        self.iter().for_each(|(name, value)| visit(name, value));
    }

    fn get(&self, name: &str) -> Option<&[u8]> {
        self.iter().find(|(other, _)| other.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_slice())
    }
}

/// A request to one of an app's routes.
#[derive(Clone, Debug)]
pub struct HttpRequest {
    /// The method, which the route allows.
    pub method: Method,
    /// The path within the app, decoded.
    pub path: String,
    /// The headers.
    pub headers: Arc<dyn Headers>,
    /// The route's captures by name.
    pub params: Vec<(Arc<str>, String)>,
    /// The raw query, without `?`.
    pub query: String,
    /// The value of `{*rest}`.
    pub rest: Option<String>,
    /// The complete body.
    pub body: Bytes,
    /// Where the client sent it.
    pub origin: Origin,
}

/// Where a client sent a request, and from where, as trusted proxies report it.
#[derive(Clone, Debug)]
pub struct Origin {
    /// `http` or `https`.
    pub scheme: Scheme,
    /// The host with its port, as sent; empty if there was none.
    pub host: String,
    /// The address of the client.
    pub client: IpAddr,
    /// What the paths of the app begin with: empty at a host of the app, `/<app>` or `/<app>@<branch>` below that of
    /// the server.
    pub base: String,
}

/// The scheme of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scheme {
    /// Without encryption.
    Http,
    /// With TLS.
    Https,
}

impl Scheme {
    /// The scheme in a URL.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Https => "https",
        }
    }
}

impl Default for Origin {
    fn default() -> Self {
        let client = IpAddr::V4(Ipv4Addr::UNSPECIFIED);
        Self { scheme: Scheme::Http, host: String::new(), client, base: String::new() }
    }
}

impl Default for HttpRequest {
    fn default() -> Self {
        Self {
            method: Method::Get,
            path: String::new(),
            headers: Arc::new(Vec::new()),
            params: Vec::new(),
            query: String::new(),
            rest: None,
            body: Bytes::new(),
            origin: Origin::default(),
        }
    }
}
