//! Replacements for the functions of Rhai's standard package whose own bounds do not hold, and for those that would
//! leave the sandbox.
//!
//! A run is looked at between operations, and a native function is one operation however long it takes. What is replaced
//! here asks as it goes on ([`run_context::worked`]) and before it makes much ([`run_context::room_for`]); the rest takes milliseconds
//! for the largest values there may be.
//!
//! - [`grow`]: `pad` multiplies sizes without care, and an overflow passes its check; `replace`, `split`, `to_chars` and
//!   `to_array` look at the size of what they made only after making it.
//! - [`text`]: what makes text character by character, or a list of all characters first (16 times the text).
//! - [`order`]: `sort` and `dedup` go on when a limit was reached, and swallow that it was.
//! - [`each`] and [`entries`]: all else that calls a function of the script. Rhai wraps what comes of such a call so that `try`
//!   catches it, whatever it is, and takes a condition of the wrong kind for `false`. [`callback`] has the rules.
//! - [`nested`]: `==`, `!=`, `to_string` and `to_debug` of arrays and maps recurse as deep as a value is nested, at
//!   nearly 2 KiB of stack a level, and printing takes square time.
//! - [`bytes`]: what a loop over a blob goes through is no integer.
//! - [`kept`]: a function that is called by name can be handed a variable that closures share, which may be the very
//!   collection that it is then put into. Nothing that walks into values would come to an end.
//! - `to_json` recurses for ever into a closure that captured what holds it; `parse_json` reads objects only.
//! - `exit` is an error to Rhai, which functions that were handed a function turn into one that `try` catches.
//! - `sleep` would hold a thread; disabling its name has no effect.

mod bytes;
mod callback;
mod each;
mod entries;
mod grow;
mod kept;
mod nested;
mod order;
mod text;

use manifest_schema::sdk::SdkVersion;
use rhai::{
    Dynamic, Engine, EvalAltResult, FnNamespace, FuncRegistration, Map, Module, Position, RhaiNativeFunc,
    Variant,
};

use self::callback::Rules;
use crate::{json, run_context};

/// The longest string in bytes. A request body must fit, so this is as large as the largest body that any manifest may ask for;
/// what a run may hold in all is counted by the meter. What is made here is measured before; what Rhai itself joins is seen by
/// the block that it takes ([`crate::memory::take_oversized`]), which can be up to twice as long.
pub(crate) const STRING_MAX: usize = 32 * 1024 * 1024;

/// The most items of an array or bytes of a blob. As for strings, a body must fit.
pub(crate) const ARRAY_MAX: usize = 32 * 1024 * 1024;

/// The function that ends the run.
const EXIT: &str = "exit";

type Outcome<T> = Result<T, Box<EvalAltResult>>;

/// Registers the replacements, which are found before the package's functions.
pub(crate) fn register(engine: &mut Engine, sdk: SdkVersion) {
    let rules = Rules::of(sdk);
    let mut module = Module::new();
    grow::register(&mut module);
    text::register(&mut module);
    order::register(&mut module, rules);
    each::register(&mut module, rules);
    entries::register(&mut module, rules);
    bytes::register(&mut module, rules);
    nested::register(&mut module);
    kept::register(&mut module);
    reads(&mut module, EXIT, || exit(Dynamic::UNIT));
    reads(&mut module, EXIT, exit);
    changes(&mut module, "sleep", |_: i64| no_sleep());
    changes(&mut module, "sleep", |_: f64| no_sleep());
    changes(&mut module, "parse_json", |text: &str| {
        json::read(text.as_bytes()).or_else(|error| fails(format!("parse_json: {error}")))
    });
    reads(&mut module, "to_json", |map: &mut Map| {
        json::map_text(map, STRING_MAX).or_else(|error| fails(format!("to_json: {error}")))
    });
    engine.register_global_module(module.into());
}

/// Adds a function that leaves what stands before the dot as it is, so that it may be a constant.
fn reads<A: 'static, const N: usize, const X: bool, R: Variant + Clone, const F: bool>(
    module: &mut Module,
    name: &str,
    function: impl RhaiNativeFunc<A, N, X, R, F> + Send + Sync + 'static,
) {
    FuncRegistration::new(name)
        .with_namespace(FnNamespace::Global)
        .with_purity(true)
        .set_into_module(module, function);
}

/// Adds a function that may change what stands before the dot.
fn changes<A: 'static, const N: usize, const X: bool, R: Variant + Clone, const F: bool>(
    module: &mut Module,
    name: &str,
    function: impl RhaiNativeFunc<A, N, X, R, F> + Send + Sync + 'static,
) {
    FuncRegistration::new(name)
        .with_namespace(FnNamespace::Global)
        .with_purity(false)
        .set_into_module(module, function);
}

/// Ends the run with `value`, wherever it stands: the end is kept in the run's context, where no `try` and no comparer
/// passes it over.
fn exit(value: Dynamic) -> Outcome<Dynamic> {
    run_context::exit(kept::alone(value)?);
    ended()
}

fn no_sleep() -> Outcome<()> {
    fails("`sleep` is disabled: a script cannot wait")
}

fn fails<T>(message: impl Into<Dynamic>) -> Outcome<T> {
    Err(EvalAltResult::ErrorRuntime(message.into(), Position::NONE).into())
}

fn too_large<T>(what: &str) -> Outcome<T> {
    Err(EvalAltResult::ErrorDataTooLarge(what.to_owned(), Position::NONE).into())
}

/// The run has reached a limit; the meter knows which.
fn ended<T>() -> Outcome<T> {
    Err(EvalAltResult::ErrorTerminated(Dynamic::UNIT, Position::NONE).into())
}

/// Counts an operation, and ends the function when the run has reached a limit.
fn counted() -> Outcome<()> {
    run_context::tick().map_or(Ok(()), |_| ended())
}

/// Ends the function when the run has reached a limit. See [`run_context::worked`].
fn worked(steps: usize) -> Outcome<()> {
    run_context::worked(steps).map_or(Ok(()), |_| ended())
}

/// Ends the function, and the run, when `bytes` more are too many.
fn room_for(bytes: usize) -> Outcome<()> {
    run_context::room_for(bytes).map_or(Ok(()), |_| ended())
}

#[cfg(test)]
mod tests;
