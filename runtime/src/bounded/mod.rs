//! Replacements for functions of Rhai's standard package that do not keep their own limits, or that would leave the
//! sandbox.
//!
//! Limits are polled between operations, and a native function is one operation, however long it takes. The
//! replacements charge their work as they progress ([`run_context::charge`]) and reserve memory before large
//! allocations ([`run_context::reserve`]). All other functions take milliseconds for the largest possible values.
//!
//! - [`expansion`]: the sizes in `pad` can overflow unnoticed; `replace`, `split`, `to_chars` and `to_array` check
//!   the size of their result only afterwards.
//! - [`strings`]: functions that build text character by character, or collect all characters first (16 times the
//!   text).
//! - [`sorting`]: `sort` and `dedup` continue after a reached limit, and discard it.
//! - [`arrays`] and [`maps`]: all other functions that call a function of the script. Rhai wraps every error of such
//!   a call so that `try` catches it, and treats a condition of the wrong type as `false`. [`callback`] has the
//!   rules.
//! - [`nested`]: `==`, `!=`, `to_string` and `to_debug` of arrays and maps recurse as deep as the value, at nearly 2
//!   KiB of stack per level, and printing takes quadratic time.
//! - [`blobs`]: the items of a loop over a blob are not integers.
//! - [`insertion`]: a function called by name can receive a shared variable of closures, possibly the collection that
//!   it is inserted into. Functions that walk values would not terminate.
//! - `to_json` recurses infinitely into a closure that captured its own container; `parse_json` only parses objects.
//! - Rhai treats `exit` as an error, which functions with callbacks turn into one that `try` catches.
//! - `sleep` would block a thread; disabling the symbol has no effect.

mod arrays;
mod blobs;
mod callback;
mod expansion;
mod insertion;
mod maps;
mod nested;
mod sorting;
mod strings;

use manifest_schema::sdk::SdkVersion;
use rhai::{
    Dynamic, Engine, EvalAltResult, FnNamespace, FuncRegistration, Map, Module, Position, RhaiNativeFunc,
    Variant,
};

use self::callback::Rules;
use crate::{json, run_context};

/// The maximum length of a string, in bytes: the maximum body size of a manifest, since a body must fit. The meter
/// limits the total memory. Replaced functions check the length in advance; results of Rhai itself are detected by
/// the size of their allocation ([`crate::memory::take_oversized`]), at up to twice the length.
pub(crate) const STRING_MAX: usize = 32 * 1024 * 1024;

/// The maximum number of array items or blob bytes. As for strings, a body must fit.
pub(crate) const ARRAY_MAX: usize = 32 * 1024 * 1024;

/// The function that stops the script.
const EXIT: &str = "exit";

type Outcome<T> = Result<T, Box<EvalAltResult>>;

/// Registers the replacements, which take precedence over the package's functions.
pub(crate) fn register(engine: &mut Engine, sdk: SdkVersion) {
    let rules = Rules::of(sdk);
    let mut module = Module::new();
    expansion::register(&mut module);
    strings::register(&mut module);
    sorting::register(&mut module, rules);
    arrays::register(&mut module, rules);
    maps::register(&mut module, rules);
    blobs::register(&mut module, rules);
    nested::register(&mut module);
    insertion::register(&mut module);
    register_pure(&mut module, EXIT, || exit(Dynamic::UNIT));
    register_pure(&mut module, EXIT, exit);
    register_mutating(&mut module, "sleep", |_: i64| no_sleep());
    register_mutating(&mut module, "sleep", |_: f64| no_sleep());
    register_mutating(&mut module, "parse_json", |text: &str| {
        json::read(text.as_bytes()).or_else(|error| fail(format!("parse_json: {error}")))
    });
    register_pure(&mut module, "to_json", |map: &mut Map| {
        json::map_text(map, STRING_MAX).or_else(|error| fail(format!("to_json: {error}")))
    });
    engine.register_global_module(module.into());
}

/// Registers a function that does not change its receiver, which can be a constant.
fn register_pure<A: 'static, const N: usize, const X: bool, R: Variant + Clone, const F: bool>(
    module: &mut Module,
    name: &str,
    function: impl RhaiNativeFunc<A, N, X, R, F> + Send + Sync + 'static,
) {
    FuncRegistration::new(name)
        .with_namespace(FnNamespace::Global)
        .with_purity(true)
        .set_into_module(module, function);
}

/// Registers a function that can change its receiver.
fn register_mutating<A: 'static, const N: usize, const X: bool, R: Variant + Clone, const F: bool>(
    module: &mut Module,
    name: &str,
    function: impl RhaiNativeFunc<A, N, X, R, F> + Send + Sync + 'static,
) {
    FuncRegistration::new(name)
        .with_namespace(FnNamespace::Global)
        .with_purity(false)
        .set_into_module(module, function);
}

/// Stops the script with `value`. The value is kept in the execution's context, so that no `try` and no comparer can
/// discard it.
fn exit(value: Dynamic) -> Outcome<Dynamic> {
    run_context::exit(insertion::unshared(value)?);
    terminated()
}

fn no_sleep() -> Outcome<()> {
    fail("`sleep` is disabled: scripts cannot wait")
}

fn fail<T>(message: impl Into<Dynamic>) -> Outcome<T> {
    Err(EvalAltResult::ErrorRuntime(message.into(), Position::NONE).into())
}

fn too_large<T>(what: &str) -> Outcome<T> {
    Err(EvalAltResult::ErrorDataTooLarge(what.to_owned(), Position::NONE).into())
}

/// The error of a stopped execution; the meter has the reason.
fn terminated<T>() -> Outcome<T> {
    Err(EvalAltResult::ErrorTerminated(Dynamic::UNIT, Position::NONE).into())
}

/// Counts an operation; fails if the execution must stop.
fn count_operation() -> Outcome<()> {
    run_context::tick().map_or(Ok(()), |_| terminated())
}

/// Charges native work; fails if the execution must stop. See [`run_context::charge`].
fn charge(steps: usize) -> Outcome<()> {
    run_context::charge(steps).map_or(Ok(()), |_| terminated())
}

/// Reserves memory; fails if the execution must stop.
fn reserve(bytes: usize) -> Outcome<()> {
    run_context::reserve(bytes).map_or(Ok(()), |_| terminated())
}

#[cfg(test)]
mod tests;
