//! Evaluates one script: that of an execution, or that of a function which it calls.

use manifest_schema::name::ScriptPath;
use rhai::{Dynamic, EvalAltResult, Position, Scope};

use crate::captures::ClearCells;
use crate::check::Script;
use crate::ctx;
use crate::failure::{Failure, FailureKind, SourceLocation};
use crate::invocation::Invocation;
use crate::revision::{Revision, ScriptEntry};
use crate::run_context::{self, innermost};
use crate::sandbox::Sandbox;
use crate::script_error;
use crate::sdk::CTX;
use crate::secrets::Secrets;

/// The maximum length of a failure message, in bytes. Longer messages are cut off.
const MESSAGE_MAX: usize = 4 * 1024;

/// Evaluates a script and passes its value to `finish`. Its values are dropped before this returns.
///
/// # Errors
/// It failed, or `finish` did.
pub(crate) fn evaluate<T>(
    revision: &Revision,
    entry: &ScriptEntry,
    script: &Script,
    invocation: &Invocation,
    finish: impl FnOnce(Dynamic) -> Result<T, Failure>,
) -> Result<T, Failure> {
    let ctx = ctx::build(revision, entry, script, invocation)?;
    if run_context::reserve(0).is_some() {
        // Replaced by the reached limit.
        return Err(Failure::new(FailureKind::Memory, "the request does not fit into memory"));
    }
    if !revision.templates().is_empty() {
        run_context::set_templates(revision.templates());
    }
    let uses = script.uses();
    let mut scope = Scope::new();
    // Dropped before the scope, so that long chains of closures are not dropped recursively.
    let _cells = ClearCells;
    let ctx = Dynamic::from_map(ctx);
    let _in_functions = CtxInFunctions::new(uses.in_functions.then(|| ctx.clone()));
    if !uses.is_empty() {
        scope.push_constant_dynamic(CTX, ctx);
    }
    let sandbox = Sandbox::of(script.sdk());
    let evaluated = sandbox.engine.eval_ast_with_scope::<Dynamic>(&mut scope, script.ast());
    let value = match run_context::take_exit() {
        Some(value) => value,
        None => {
            let files = Files { path: &invocation.script, script };
            evaluated.map_err(|error| {
                if run_context::function_depth() > 0 {
                    // A caller could catch it.
                    run_context::stop_on_engine_limit(&error);
                    run_context::locate_limit(|at| files.location(at));
                }
                failure(&error, sandbox, files, revision.secrets())
            })?
        }
    };
    finish(value).map_err(|failure| {
        let message = revision.secrets().redact(&failure.message).into_owned();
        Failure { message, ..failure }
    })
}

/// Makes `ctx` visible to the functions of the script until it is dropped.
struct CtxInFunctions;

impl CtxInFunctions {
    fn new(ctx: Option<Dynamic>) -> Self {
        run_context::set_ctx(ctx);
        Self
    }
}

impl Drop for CtxInFunctions {
    fn drop(&mut self) {
        run_context::set_ctx(None);
    }
}

fn failure(error: &EvalAltResult, sandbox: &Sandbox, files: Files<'_>, secrets: &Secrets) -> Failure {
    let innermost = innermost(error);
    let kind = match innermost {
        EvalAltResult::ErrorStackOverflow(_) => FailureKind::Depth,
        EvalAltResult::ErrorDataTooLarge(..) | EvalAltResult::ErrorTooManyVariables(_) => FailureKind::Size,
        _ => FailureKind::Script,
    };
    let message = script_error::message(innermost, &sandbox.natives, MESSAGE_MAX);
    let message = match files.script.linkage() {
        Some(linkage) => linkage.files.readable(&message),
        None => message,
    };
    // Redacted before it is cut, so that no prefix of a secret remains at its end.
    let message = secrets.redact(&message);
    let message = message[..message.floor_char_boundary(MESSAGE_MAX)].to_owned();
    let location = files.location(innermost.position()).or_else(|| files.location(error.position()));
    Failure { kind, message, location }
}

/// The files of an executed script: its own, and those of the libraries that it is linked with.
#[derive(Clone, Copy)]
pub(crate) struct Files<'s> {
    pub(crate) path: &'s ScriptPath,
    pub(crate) script: &'s Script,
}

impl Files<'_> {
    pub(crate) fn location(self, position: Position) -> Option<SourceLocation> {
        let (line, column) = (position.line()?, position.position().unwrap_or(1));
        let (library, line) = match self.script.linkage() {
            Some(linkage) => linkage.files.locate(line),
            None => (None, line),
        };
        Some(SourceLocation { script: library.unwrap_or(self.path).clone(), line, column })
    }
}
