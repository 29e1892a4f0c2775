//! The Rhai sandbox, the SDK that scripts see, the checks of scripts, and the live route table.
//!
//! Plain and synchronous: no database, no HTTP library, and nothing is awaited but a place to run. Whatever a script may reach outside is one small trait
//! in [`Capabilities`]. Layout, in the order of a request's journey:
//!
//! - `live`: what every app serves now, swapped while requests are in flight
//! - `tally`: what is counted of an app; `histogram` counts durations
//! - `gate`: how many executions of an app go on at once, and who waits
//! - `revision`: one validated commit of an app, with its routes and scripts
//! - `route`: from method and path to a script
//! - `check`: a script's faults, found without running it; what passes is a [`Script`]
//! - `invocation`: what a script is called with
//! - `run`: one execution, from an [`Invocation`] to an [`Execution`]
//! - `context`: what the script sees as `ctx`
//! - `sandbox`: the engine of each SDK version and its bounds; `bounded` replaces what Rhai does not bound, and `parsing`
//!   watches it parse
//! - `sdk`: the names that scripts know, by version; `log` is the first of its modules
//! - `meter` and `memory`: measure a run and end it at its limits
//! - `json`: JSON to values and back
//! - `answer`: from the script's value to a response
//! - `failure`: why there is none
//!
//! The path of a request: [`LiveTable::get`] -> [`Revision::route`] -> [`Live::enter`] -> [`run()`] -> [`Answer`]. The
//! path of a push: [`compile`] for each script -> [`Revision::new`] -> [`LiveTable::replace`].

mod answer;
mod bounded;
mod check;
mod context;
mod failure;
mod gate;
mod histogram;
mod invocation;
mod json;
mod live;
mod log;
mod memory;
mod meter;
mod parsing;
mod percent;
mod revision;
mod route;
mod run;
mod sandbox;
mod sdk;
mod secrets;
mod tally;

pub use answer::Answer;
pub use check::{SOURCE_MAX, Script, compile, functions, too_large};
pub use failure::{Failure, FailureKind, FailurePlace};
pub use gate::{Permit, Turn};
pub use histogram::{Classes, Histogram};
pub use invocation::{Headers, HttpRequest, Invocation, Trigger, TriggerKind};
pub use live::{AppNumbers, Branch, Found, KnownBranches, Live, LiveTable, TALLIED_MAX};
pub use log::{Level, Log, LogLine};
pub use memory::CountingAllocator;
pub use revision::{AppIdentity, Revision, RevisionError};
pub use route::{Matched, RouteConflict, Routed, check_routes};
pub use run::{Capabilities, Execution, STACK, run, run_briefly};
pub use secrets::{SECRET_MIN, Secrets};
pub use tally::{ANSWER_BOUNDS, ANSWER_CLASSES, Counts, OUTCOMES, STATUS_CLASSES, Tally, TurnedAway};
