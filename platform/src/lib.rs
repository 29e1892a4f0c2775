//! The domain logic of a node: deploys, activation, executions, schedules, recording and tokens. It does no HTTP
//! and no terminal I/O: `picloud` calls it and renders its results.
//!
//! # Layout
//!
//! Deploys and what is live:
//!
//! - [`deploy`]: the pipeline of a push, from its request and pack to one report per ref
//! - [`repository`]: an app's git repository in the store, as the git receiver reads it
//! - [`revision`]: the parts of a revision before activation
//! - [`activation`]: syncs the live table with the store
//! - [`live`]: the live table, which requests read without locks
//! - [`scripts`]: sources and compiled programs of live revisions
//! - [`domains`]: names reserved for the server, and verification of custom domains
//! - [`certificates`]: which preview host names a proxy can request certificates for
//! - [`limits`]: the limits of apps
//! - [`gc`]: deploy retention, garbage collection of objects, purging of deleted apps
//!
//! Executions and schedules:
//!
//! - [`execution`]: one execution of a script
//! - [`executor`]: slots, permits, semaphores and threads
//! - [`state`]: what apps keep with `kv`
//! - [`schedules`]: runs due schedules
//! - [`recording`]: writes executions and log lines into the database
//! - [`records`]: reads executions and logs
//! - [`memory`]: the memory budget of the node and the accounts of apps
//! - [`dev`]: one app served from its files, without a store
//! - [`dry_run`]: runs scripts of a revision that is not live, for checks and tests
//! - [`script_tests`]: the tests of an app
//!
//! The node and its users:
//!
//! - [`nodes`]: heartbeats, notifications and propagation in a cluster
//! - [`clock`]: the time of schedules and retention, and checks of its plausibility
//! - [`health`], [`disk`]: health of the database, usage of the disk
//! - [`status`]: the problems that an operator has to fix
//! - [`tokens`]: authentication, rights and scopes
//! - [`secrets`]: encryption of secrets
//! - [`audit`]: the audit log and its retention
//! - [`apps`]: reads apps, their deploys and branches; [`page`]: pagination
//! - [`request_metrics`], [`histogram`]: metrics of requests; [`rate_limit`]: limits repeated log messages
//!
//! # The path of a push
//!
//! [`deploy::Deployer::admit`] reserves memory for the received pack. [`deploy::Deployer::receive`] unpacks it, authorizes and
//! examines each command, and commits objects, refs, revisions and deploys in one transaction of the store. Then
//! [`activation::Activation`] swaps the new revisions into the live table, and [`nodes::Peers`] waits for the other nodes.
//!
//! # The path of an execution
//!
//! A request or a due schedule takes the [`live::Live`] revision once. [`execution::execute`] acquires a slot of the app and runs
//! the script inline; if it exceeds its budget, it acquires a CPU permit and runs on a worker. [`recording::Recorder`] accepts the
//! result without blocking, and [`recording::Writer`] writes it.
//!
//! # Invariants
//!
//! - A ref is either updated and served, or unchanged: a push is one transaction, and a committed push is activated even if the
//!   client disconnects.
//! - An execution uses one revision from begin to end, whatever is deployed meanwhile.
//! - Syncs of one app are serialized. Generations are compared for equality, never for order, so that a restored database works.
//! - A scheduled run is executed by the node that inserted its row, and only for the live deploy. A lost run is not repeated.
//! - Every long-lived allocation that clients can cause is reserved in [`memory`] before it is made.
//! - Apps have separate slots, permits, memory shares, queues and write rates; previews cannot take those of production.
//! - Values of secrets are only decrypted for scripts and for the check of pushes, which rejects objects that contain them.
//! - Recording never blocks an execution: records are dropped and counted instead.

/// The target of the spans of traces. Their level is TRACE, so that logs do not show them by default.
pub const TRACE_TARGET: &str = "otel";

pub mod activation;
pub mod apps;
pub mod audit;
pub mod certificates;
pub mod clock;
pub mod deploy;
pub mod dev;
pub mod disk;
pub mod domains;
pub mod dry_run;
pub mod execution;
pub mod executor;
pub mod gc;
pub mod health;
pub mod histogram;
pub mod limits;
pub mod live;
pub mod memory;
pub mod nodes;
pub mod page;
pub mod rate_limit;
pub mod recording;
pub mod records;
pub mod repository;
pub mod request_metrics;
pub mod revision;
pub mod schedules;
pub mod script_tests;
pub mod scripts;
pub mod secrets;
pub mod state;
pub mod status;
pub mod tokens;

pub use store::StoreError;
