//! The Rhai sandbox, the SDK that scripts see, the checks of scripts, and one run from trigger to response.
//!
//! Plain and synchronous: no database, no HTTP library, no threads, and nothing is awaited. What a run reaches outside is one
//! trait, [`Host`]. Layout, in the order of a run's journey:
//!
//! - `revision`: one validated commit of an app, with its routes, scripts and secrets
//! - `source`: a script's text, and what is compiled of it
//! - `route`: from method and path to a script
//! - `check`: a script's diagnostics, found without running it; what passes is a [`Script`]
//! - `invocation`: what a script is called with
//! - `run`: one execution, from an [`Invocation`] to an [`Execution`]
//! - `run_context`: everything that belongs to the run on this thread
//! - `host`: the door from a run to everything outside it
//! - `meter` and `memory`: measure a run and end it at its limits
//! - `captures`: variables that closures share, emptied when the run is over
//! - `ctx`: what the script sees as `ctx`
//! - `sandbox`: the engine of each SDK version and its bounds; `bounded` replaces what Rhai does not bound, and `parsing`
//!   watches it parse
//! - `sdk`: the names that scripts know, by version
//! - `json`: JSON to values and back
//! - `kind`: what authors call the kinds of values
//! - `answer`: from the script's value to a response
//! - `failure`: why there is none; `script_error` has the words for what Rhai says, and `caught` for what a
//!   script catches
//!
//! The path of a request: [`Revision::route`] -> [`run_inline`], or [`run()`] for what takes longer -> [`Answer`]. The path of
//! a push: [`compile`] for each script -> [`Revision::new`].

mod answer;
mod bounded;
mod captures;
mod caught;
mod check;
mod ctx;
mod failure;
mod host;
mod invocation;
mod json;
mod kind;
mod log_line;
mod memory;
mod meter;
mod parsing;
mod percent;
mod revision;
mod route;
mod run;
mod run_context;
mod sandbox;
mod script_error;
mod sdk;
mod secrets;
mod source;

pub use answer::Answer;
pub use check::{
    NotCompiled, Provided, Room, SOURCE_MAX, Script, Unbounded, compile, compile_within, functions, too_large,
};
pub use failure::{Failure, FailureKind, FailurePlace};
pub use host::{Host, HostCall, NoMemory, Pending};
pub use invocation::{Headers, HttpRequest, Invocation, Trigger};
pub use log_line::LogLine;
pub use memory::CountingAllocator;
pub use meter::{MEMORY_FREE, YIELD_EVERY};
pub use revision::{AppIdentity, Revision, RevisionError};
pub use route::{Matched, RouteConflict, Routed, check_routes};
pub use run::{Execution, Pass, STACK, run, run_inline};
pub use run_context::has_deep_stack;
pub use sandbox::{Native, natives_of};
pub use secrets::{SECRET_MIN, Secrets};
pub use source::{Held, Program, Source};
