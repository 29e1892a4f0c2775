//! Tests of the engine: limits, the sandbox, panics, revisions and inline passes.
//!
//! The promises to scripts are pinned in `sdk_contract.rs`; behavior tested here can change unless authors see it.

#![expect(clippy::unwrap_used, reason = "a test that cannot be set up has failed")]

#[path = "../support/mod.rs"]
mod support;

mod blobs;
mod callbacks;
mod closure_cycles;
mod constants;
mod depth;
mod error_messages;
mod failures;
mod feature_detection;
mod host_calls;
mod inline_passes;
mod memory_limits;
mod memory_reservations;
mod operation_limits;
mod revisions;
mod sandbox;
mod stops;

use std::collections::BTreeMap;
use std::sync::atomic::Ordering;
use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant};

use bytes::Bytes;
use manifest_schema::cron::Cron;
use manifest_schema::limits::{Limits, RouteLimits};
use manifest_schema::manifest::{App, CatchUp, Manifest, Overlap, Route, Schedule};
use manifest_schema::method::MethodSet;
use manifest_schema::name::{AppName, JobName, ScriptPath};
use manifest_schema::path::RoutePath;
use manifest_schema::sdk::SdkVersion;
use manifest_schema::zone::Zone;
use runtime::{
    AppIdentity, CountingAllocator, Execution, FailureKind, Host, InlineOutcome, Invocation, LogLine,
    Revision, RevisionError, RouteConflict, RouteOutcome, RunOutcome, Secrets, Source, Trigger, compile,
};
use support::{APP, Call, Lines, OnLog, program, script};
use uuid::Uuid;

#[global_allocator]
static ALLOCATOR: CountingAllocator = CountingAllocator;

const MIB: u64 = 1024 * 1024;

fn failure_kind(source: &str) -> FailureKind {
    script(source).failure().kind
}

/// A call with a short timeout, for endless scripts.
fn short(source: &str) -> Call {
    script(source).limits(|limits| {
        limits.timeout = Duration::from_millis(100);
        limits.operations = u64::MAX;
    })
}

#[track_caller]
fn assert_fails(call: &Call, kind: FailureKind) -> Execution {
    let execution = call.run().execution;
    assert_eq!(execution.outcome.as_ref().map_err(|failure| failure.kind), Err(kind));
    assert!(execution.duration < Duration::from_secs(10), "{:?}", execution.duration);
    execution
}

fn app() -> AppIdentity {
    AppIdentity { id: APP, name: AppName::new("hello").unwrap() }
}

fn path(path: &str) -> ScriptPath {
    ScriptPath::new(path).unwrap()
}

fn manifest(routes: &[(&str, &str)]) -> Manifest {
    let route = |(route, script): &(&str, &str)| Route {
        path: RoutePath::parse(route).unwrap(),
        methods: MethodSet::ALL,
        script: path(script),
        limits: RouteLimits::default(),
    };
    Manifest {
        sdk: SdkVersion::V1_1,
        app: App::default(),
        routes: routes.iter().map(route).collect(),
        schedules: Vec::new(),
        functions: Vec::new(),
        env: BTreeMap::new(),
        secrets: manifest_schema::manifest::SecretNames::default(),
        limits: Limits { concurrency: 2, ..Limits::DEFAULT },
        checks: Vec::new(),
    }
}

fn sources(text: &str) -> BTreeMap<ScriptPath, Arc<Source>> {
    BTreeMap::from([(path("main.rhai"), Arc::new(Source::new(text)))])
}

fn revision(commit: char, source: &str) -> Revision {
    let manifest = manifest(&[("/", "main.rhai"), ("/{*all}", "main.rhai")]);
    Revision::new(app(), commit.to_string().repeat(40), manifest, sources(source), None).unwrap()
}

fn ignoring_host() -> Arc<dyn Host> {
    Arc::new(OnLog(|_| ()))
}

fn run_with(call: &Call, revision: &Revision, host: Arc<dyn Host>) -> Execution {
    std::thread::scope(|scope| {
        let thread = std::thread::Builder::new().stack_size(runtime::STACK_SIZE);
        thread.spawn_scoped(scope, || run_here(call, revision, host)).unwrap().join().unwrap()
    })
}

/// Executes on this thread with its small stack; for scripts without nesting.
fn run_here(call: &Call, revision: &Revision, host: Arc<dyn Host>) -> Execution {
    let invocation = invocation(call, Bytes::new());
    runtime::run(revision, &program(revision, &invocation.script), &invocation, host, &call.stop)
        .into_finished()
}

fn inline_here(call: &Call, revision: &Revision) -> Option<(Execution, Vec<String>)> {
    inline_with(revision, &invocation(call, Bytes::new()))
}

/// An inline pass that finished, and its log messages.
fn inline_with(revision: &Revision, invocation: &Invocation) -> Option<(Execution, Vec<String>)> {
    let lines = Arc::<Lines>::default();
    match runtime::run_inline(revision, invocation, Arc::<Lines>::clone(&lines)) {
        InlineOutcome::Finished(execution) => Some((execution, lines.messages())),
        InlineOutcome::OverBudget => None,
        InlineOutcome::Blocked { .. } | InlineOutcome::Restart { .. } => unreachable!("no pending calls"),
    }
}

/// A function call.
fn invocation(call: &Call, payload: Bytes) -> Invocation {
    let trigger = Trigger::Function { name: JobName::new("main").unwrap(), payload };
    Invocation::new(path(&call.script), Uuid::from_u128(1), Uuid::from_u128(2), trigger)
}
