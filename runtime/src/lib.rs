//! The Rhai sandbox, the script SDK, the script checks, and one execution from its trigger to its response.
//!
//! The crate is synchronous. It has no database, no HTTP library and no threads. A script reaches the outside only
//! through the [`Host`] trait.
//!
//! # Layout
//!
//! In the order of an execution:
//!
//! - `revision`: one validated commit of an app, with its routes, scripts and secrets
//! - `source`: the text of a script and the programs compiled from it
//! - `route`: maps method and path to a script
//! - `check`: static checks; a script that passes them is a [`Script`]
//! - `library`: files that scripts import, and how they are linked
//! - `invocation`: the input of an execution
//! - `run`: executes a script, from an [`Invocation`] to an [`Execution`]
//! - `run_context`: the state of the execution on the current thread
//! - `host`: the interface to everything outside the execution
//! - `meter` and `memory`: measure an execution and stop it at its limits
//! - `captures`: shared variables of closures, cleared at the end of the execution
//! - `ctx`: builds the `ctx` value of a script
//! - `sandbox`: one Rhai engine per SDK version; `bounded` replaces native functions without limits, and
//!   `token_mapper` watches the parser
//! - `sdk`: the names of each SDK version
//! - `json`: JSON to values and back
//! - `kv`: what passes between a script and the state of its app
//! - `type_name`: type names in messages for authors
//! - `response`: converts the value of a script to a response
//! - `failure`: why an execution has no response; `script_error` and `caught_error` translate Rhai's errors
//! - `sealing`: the keys of `crypto::seal`
//! - `notation`: claims about scripts in their comments, for tests and the reference
//! - `template`: the templates of an app, which `html::render` fills with data
//! - `secrets` and `log_line`: the secrets of an app, and one line of its log
//!
//! The path of a request: [`Revision::route`] -> [`run_inline`], or [`run()`] for a slow script -> [`Response`]. The
//! path of a push: [`compile`] for each script -> [`Revision::new`].
//!
//! # Invariants
//!
//! - Nothing outside this crate calls Rhai, and only a [`Script`] that passed the sandbox checks is executed.
//! - A limit that was reached cannot be caught or ignored by a script.
//! - An execution never panics and leaves no value on its thread.
//! - Scripts see only the names of the SDK version in their manifest.
//! - Secrets are redacted in log lines and failures before they leave this crate.

mod bounded;
mod captures;
mod caught_error;
mod check;
mod ctx;
mod evaluation;
mod failure;
mod function;
mod host;
mod invocation;
mod journal;
mod json;
mod kv;
mod library;
mod log_line;
mod memory;
mod meter;
pub mod notation;
mod percent;
mod response;
mod revision;
mod route;
mod run;
mod run_context;
mod sandbox;
mod script_error;
mod sdk;
mod sealing;
mod secrets;
mod source;
mod template;
mod token_mapper;
mod type_name;

pub use check::{
    CompileBudget, CompileError, ManifestNames, SOURCE_MAX, Script, UnlimitedMemory, callable_functions,
    compile, compile_within, script_too_large,
};
pub use failure::{Failure, FailureKind, SourceLocation};
pub use function::{Callee, CalleeError, CompileFunction};
pub use host::{ChangeMark, Host, HostCall, OutOfMemoryError, Pending};
pub use invocation::{Headers, HttpRequest, Invocation, Origin, ScheduledRun, Scheme, Seed, Trigger};
pub use journal::Journal;
pub use kv::{
    KEY_BYTES_MAX, KvChange, KvError, KvKey, KvKeyError, KvList, KvNumber, KvReadMode, KvValue, LIST_MAX,
    VALUE_BYTES_MAX,
};
pub use library::{
    ImportedFile, Libraries, LibraryFile, LibrarySources, check_libraries, closure, imported_files,
};
pub use log_line::LogLine;
pub use memory::CountingAllocator;
pub use meter::{UNRESERVED_MEMORY_MAX, YIELD_INTERVAL};
pub use response::Response;
pub use revision::{AppIdentity, Revision, RevisionError};
pub use route::{RouteConflict, RouteMatch, RouteOutcome, check_routes};
pub use run::{Execution, InlineOutcome, RunOutcome, STACK_SIZE, run, run_inline};
pub use run_context::has_deep_stack;
pub use sandbox::{NativeFunction, native_functions};
pub use sdk::{
    DefinitionFile, FunctionReference, ModuleReference, OptionReference, ctx_properties, definitions,
    sdk_reference,
};
pub use sealing::{SealingKey, SealingKeyId};
pub use secrets::{SECRET_MIN_BYTES, Secrets};
pub use source::{MemoryGuard, Program, Source};
pub use template::{
    RenderedTemplates, TEMPLATE_BYTES_MAX, TEMPLATE_FOLDER, TEMPLATES_MAX, Templates, check_templates,
    template_too_large,
};
