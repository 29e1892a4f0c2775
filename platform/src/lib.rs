//! Decides and remembers: what a push changes, what is live, what runs when, who may. No HTTP, no terminal.
//!
//! Layout:
//!
//! - [`deploy`]: a push's way from its request and pack to a verdict a ref
//! - [`repository`]: one app's repository as the git receiver reads it
//! - [`revision`]: what a revision consists of, just checked or read back from its commit
//! - [`activation`]: keeps the live table true to the store
//! - [`domains`]: the server's own names, and the proof that a domain is an app's
//! - [`certificates`]: for which names of previews a proxy can have certificates
//! - [`nodes`]: what nodes on one PostgreSQL hear of each other
//! - [`clock`]: what time it is, and whether that can be right
//! - [`limits`]: what apps are granted
//! - [`collection`]: deletes what nothing holds any more
//! - [`live`]: what every app serves now, swapped while requests are in flight
//! - [`execution`]: one run of a script
//! - [`executor`]: which runs go on when, and on which threads
//! - [`scripts`]: the texts of live scripts, each held once, and what is compiled of them
//! - [`memory`]: how much memory the node holds for its apps, and which app holds how much
//! - [`recording`]: what ran and what it logged, on its way into the database
//! - [`tally`]: what is counted of an app; [`histogram`] counts durations, [`throttle`] keeps lines of the log few
//! - [`schedules`]: runs what is due
//! - [`status`]: what an operator has to look at; `disk` says how full that of a node is
//! - [`workbench`]: one app served from its files, without a store
//! - [`secrets`]: what scripts read and nothing else shows
//! - [`tokens`]: who may what
//! - [`health`]: whether the database does what a node needs
//! - [`audit`]: the list of who did what, kept within bounds
//! - [`apps`], [`records`]: what people look at: apps, their deploys and branches; executions and what they logged. [`page`] is
//!   how much of it at once
//!
//! A push: [`deploy::Deployer::receive`] unpacks it, decides over it, commits it through the store in one transaction and swaps it in
//! through [`activation::Activation`]. A request or a due time: [`execution::execute`] with the live revision.

/// The target of the spans that traces are made of. Their level is the finest, so that no log shows them by itself.
pub const TRACE_TARGET: &str = "otel";

pub mod activation;
pub mod apps;
pub mod audit;
pub mod certificates;
pub mod clock;
pub mod collection;
pub mod deploy;
pub mod disk;
pub mod domains;
pub mod execution;
pub mod executor;
pub mod health;
pub mod histogram;
pub mod limits;
pub mod live;
pub mod memory;
pub mod nodes;
pub mod page;
pub mod recording;
pub mod records;
pub mod repository;
pub mod revision;
pub mod schedules;
pub mod scripts;
pub mod secrets;
pub mod status;
pub mod tally;
pub mod throttle;
pub mod tokens;
pub mod workbench;

pub use store::StoreError;
