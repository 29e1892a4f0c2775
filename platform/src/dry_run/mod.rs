//! Runs scripts of a revision that is not live, without effects: nothing is recorded, and no other run is affected.
//!
//! - `host`: the outside of such a run
//! - `json`: the first difference of two JSON values
//! - `checks`: the `[[checks]]` of a manifest

mod checks;
mod host;
mod json;

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::thread;
use std::time::Duration;

use bytes::Bytes;
use manifest_schema::limits::Limits;
use manifest_schema::method::Method;
use manifest_schema::name::{AppName, ScriptPath};
use runtime::{
    AppIdentity, Execution, Failure, FailureKind, HttpRequest, Invocation, KvChange, KvError, KvKey, KvValue,
    LogLine, Origin, Revision, RevisionError, RouteMatch, RouteOutcome, STACK_SIZE, Scheme, Secrets, Seed,
    Trigger,
};
use store::AppId;
use uuid::Uuid;

use crate::execution::reject_1xx;
use crate::memory::MemoryBudget;
use crate::revision::Prepared;
use crate::scripts::{AppScripts, Scripts};
use crate::state::{Namespace, Session, Transaction, unstored_namespace};
use host::DryHost;

pub(crate) use checks::run_checks_in_background;
pub use checks::{CHECKS_TIMEOUT, CheckFailure, CheckReport, FailedCheck, run_checks};
pub use json::{Comparison, Difference, difference};

/// The host that a script sees where a request names none.
const HOST: &str = "localhost";

/// A revision whose scripts can run.
#[derive(Clone, Debug)]
pub struct DryRun {
    revision: Revision,
    scripts: AppScripts,
}

/// What a run sees instead of the clock, of random numbers, and of its limits.
#[derive(Clone, Debug, Default)]
pub struct RunOptions {
    /// When it starts, in milliseconds since 1970; now by default.
    pub started_at_ms: Option<i64>,
    /// The seed of its random numbers; a new one by default.
    pub seed: Option<u64>,
    /// A timeout below the one of its limits.
    pub timeout_max: Option<Duration>,
    /// Its state; an empty one by default.
    pub state: Option<DryState>,
}

/// State that is in memory only, for runs that see the writes of each other.
#[derive(Clone, Debug)]
pub struct DryState(Arc<Namespace>);

impl DryState {
    /// State with these values. Keys expire by this clock, in milliseconds since 1970, or by that of the machine.
    ///
    /// # Errors
    /// A value does not fit.
    pub fn new(
        now_ms: Option<i64>,
        values: impl IntoIterator<Item = (KvKey, KvValue)>,
    ) -> Result<Self, KvError> {
        let namespace = unstored_namespace(AppId::from_uuid(Uuid::nil()), now_ms);
        let mut transaction = Transaction::new(Session::new(Arc::clone(&namespace)));
        for (key, value) in values {
            transaction.change(&key, KvChange::Set { value, ttl: None })?;
        }
        // Nothing else writes, and each change was checked.
        let _ = namespace.accept(&transaction);
        Ok(Self(namespace))
    }
}

/// A request to an app.
#[derive(Clone, Debug)]
pub struct DryRequest {
    /// The method.
    pub method: Method,
    /// The path, percent-encoded, with its query.
    pub target: String,
    /// The headers.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: Bytes,
}

/// The answer to a request.
#[derive(Debug)]
pub enum Answer {
    /// A script ran.
    Script(ScriptRun),
    /// No script handles the request; the server answers with this status (400, 404, 405, or 204 to OPTIONS).
    Unrouted {
        /// The status.
        status: u16,
        /// The methods of the path, if it has routes for others.
        allow: Option<String>,
    },
    /// The body is larger than the route allows; the server answers 413.
    TooLarge {
        /// The maximum, in bytes.
        limit: u64,
    },
}

/// A run of a script.
#[derive(Debug)]
pub struct ScriptRun {
    /// The script.
    pub script: ScriptPath,
    /// Its end.
    pub execution: Execution,
    /// Its log lines.
    pub log: Vec<LogLine>,
    /// Holds the memory of the run as long as its answer lives.
    _host: Option<Arc<DryHost>>,
}

impl DryRun {
    /// The scripts of a candidate, in memory of its app.
    pub(crate) fn new(revision: Revision, scripts: AppScripts) -> Self {
        Self { revision, scripts }
    }

    /// The scripts of a folder, on the machine of its author.
    ///
    /// # Errors
    /// The routes conflict.
    pub fn of_folder(app: AppName, prepared: Prepared, secrets: &Secrets) -> Result<Self, RevisionError> {
        let id = Uuid::new_v5(&Uuid::NAMESPACE_URL, app.as_str().as_bytes());
        let scripts = Scripts::new(MemoryBudget::unbounded()).of(AppId::from_uuid(id));
        // There is no commit.
        let revision = prepared.into_revision_of(AppIdentity { id, name: app }, "0".repeat(40))?;
        let revision = revision.on_branch("main").limited_to(&Limits::CEILING).with_secrets(secrets);
        Ok(Self { revision, scripts })
    }

    /// The revision.
    pub fn revision(&self) -> &Revision {
        &self.revision
    }

    /// The same scripts with these secrets, as far as the manifest requires them.
    pub fn with_secrets(&self, secrets: &Secrets) -> Self {
        Self { revision: self.revision.with_secrets(secrets), scripts: self.scripts.clone() }
    }

    /// Routes a request and runs its script.
    pub fn request(&self, request: DryRequest, options: &RunOptions) -> Answer {
        let matched = match self.revision.route(request.method.as_str(), request.path_and_query().0) {
            RouteOutcome::Script(matched) => matched,
            RouteOutcome::Options { allow } => return Answer::Unrouted { status: 204, allow: Some(allow) },
            RouteOutcome::MethodNotAllowed { allow } => {
                return Answer::Unrouted { status: 405, allow: Some(allow) };
            }
            RouteOutcome::NotFound => return Answer::Unrouted { status: 404, allow: None },
            RouteOutcome::BadPath => return Answer::Unrouted { status: 400, allow: None },
        };
        let limits = matched.limits.as_ref().map(|route| self.revision.limits().of_route(route));
        let limit = limits.as_ref().unwrap_or(self.revision.limits()).body;
        if request.body.len() as u64 > limit {
            return Answer::TooLarge { limit };
        }
        let script = matched.script.clone();
        Answer::Script(self.script(script, request.into_trigger(Some(matched)), limits, options))
    }

    /// Runs a script with a request, with the parameters of the route if the path has one to this script.
    pub fn request_to(&self, script: ScriptPath, request: DryRequest, options: &RunOptions) -> ScriptRun {
        let matched = match self.revision.route(request.method.as_str(), request.path_and_query().0) {
            RouteOutcome::Script(matched) if matched.script == script => Some(matched),
            _ => None,
        };
        let limits = matched.as_ref().and_then(|matched| matched.limits.as_ref());
        let limits = limits.map(|route| self.revision.limits().of_route(route));
        self.script(script, request.into_trigger(matched), limits, options)
    }

    /// Runs a script; without limits of its own, those of the app apply.
    pub fn script(
        &self,
        script: ScriptPath,
        trigger: Trigger,
        limits: Option<Limits>,
        options: &RunOptions,
    ) -> ScriptRun {
        let mut limits = limits.unwrap_or_else(|| self.revision.limits().clone());
        limits.timeout = limits.timeout.min(options.timeout_max.unwrap_or(Duration::MAX));
        let invocation = Invocation::new(script, Uuid::now_v7(), Uuid::new_v4(), trigger);
        let invocation = Invocation {
            started_at_ms: options.started_at_ms.unwrap_or(invocation.started_at_ms),
            seed: options.seed.map_or(invocation.seed, Seed::fixed),
            limits: Some(Arc::new(limits)),
            ..invocation
        };
        // Scripts need a large stack.
        let state = options.state.as_ref().map(|state| Arc::clone(&state.0));
        let state = state.unwrap_or_else(|| {
            unstored_namespace(AppId::from_uuid(self.revision.app_id()), options.started_at_ms)
        });
        let ended = thread::scope(|scope| {
            let run = || self.run(&invocation, state);
            let running = thread::Builder::new().stack_size(STACK_SIZE).spawn_scoped(scope, run);
            match running.map(thread::ScopedJoinHandle::join) {
                Ok(Ok(ended)) => ended,
                Ok(Err(_)) => failed(FailureKind::Panic, "the engine panicked".to_owned()),
                Err(error) => failed(FailureKind::NodeMemory, format!("cannot start a thread: {error}")),
            }
        });
        let (execution, host) = ended;
        let log = host.as_ref().map(|host| host.take_lines()).unwrap_or_default();
        ScriptRun { script: invocation.script, execution, log, _host: host }
    }

    fn run(&self, invocation: &Invocation, state: Arc<Namespace>) -> (Execution, Option<Arc<DryHost>>) {
        let program = match self.scripts.program(&self.revision, &invocation.script) {
            Ok(program) => program,
            Err(failure) => return (Execution::failed(failure), None),
        };
        let host = Arc::new(DryHost::new(&self.revision, &self.scripts, state));
        let stop = Arc::new(AtomicBool::new(false));
        let running = Arc::<DryHost>::clone(&host);
        let execution = runtime::run(&self.revision, &program, invocation, running, &stop).into_finished();
        let execution = reject_1xx(execution, invocation);
        let execution = match execution.outcome.is_ok().then(|| host.keep_writes()) {
            Some(Err(failure)) => Execution { outcome: Err(failure), ..execution },
            _ => execution,
        };
        (execution, Some(host))
    }
}

impl DryRequest {
    /// The path, and the query without its question mark.
    fn path_and_query(&self) -> (&str, &str) {
        let target = self.target.split('#').next().unwrap_or_default();
        target.split_once('?').unwrap_or((target, ""))
    }

    fn into_trigger(self, matched: Option<RouteMatch>) -> Trigger {
        let (path, query) = self.path_and_query();
        let (path, query) = (path.to_owned(), query.to_owned());
        let host = self.headers.iter().find(|(name, _)| name.eq_ignore_ascii_case("host"));
        let origin = Origin {
            scheme: Scheme::Http,
            host: host.map_or(HOST, |(_, value)| value.as_str()).to_owned(),
            ..Origin::default()
        };
        let headers: Vec<(String, Vec<u8>)> =
            self.headers.into_iter().map(|(name, value)| (name, value.into_bytes())).collect();
        let (method, body) = (self.method, self.body);
        let request = HttpRequest {
            method,
            path,
            query,
            headers: Arc::new(headers),
            body,
            origin,
            ..HttpRequest::default()
        };
        Trigger::Http(Arc::new(match matched {
            Some(RouteMatch { path, params, rest, .. }) => HttpRequest { path, params, rest, ..request },
            None => request,
        }))
    }
}

impl Answer {
    /// The status that a client sees.
    pub fn status(&self) -> u16 {
        match self {
            Self::Script(ScriptRun { execution, .. }) => match &execution.outcome {
                Ok(response) => response.status,
                Err(failure) => failure.kind.http_status(),
            },
            Self::Unrouted { status, .. } => *status,
            Self::TooLarge { .. } => 413,
        }
    }
}

/// The time of a text such as `2026-12-01T09:00:00Z` (RFC 3339), in milliseconds since 1970.
pub fn parse_time(text: &str) -> Option<i64> {
    chrono::DateTime::parse_from_rfc3339(text).ok().map(|time| time.timestamp_millis())
}

fn failed(kind: FailureKind, message: String) -> (Execution, Option<Arc<DryHost>>) {
    (Execution::failed(Failure { kind, message, location: None }), None)
}

#[cfg(test)]
mod tests;
