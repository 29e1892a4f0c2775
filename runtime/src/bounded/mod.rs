//! Replacements for the functions of Rhai's standard package whose own bounds do not hold, and for those that would
//! leave the sandbox.
//!
//! - [`grow`]: `pad` multiplies sizes without care, and an overflow passes its check; `replace`, `split`, `to_chars` and
//!   `to_array` look at the size of what they made only after making it.
//! - [`nested`]: `==`, `!=`, `to_string` and `to_debug` of arrays and maps recurse as deep as a value is nested, at
//!   nearly 2 KiB of stack a level, and printing takes square time.
//! - `to_json` recurses for ever into a closure that captured what holds it; `parse_json` reads objects only.
//! - `sleep` would hold a thread; disabling its name has no effect.

mod grow;
mod nested;

use rhai::{Dynamic, Engine, EvalAltResult, Map, Position};

use crate::json;

/// The longest string in bytes, all strings within one value together. A request body must fit, so this is as large as
/// the largest body that any manifest may ask for; what a run may hold in all is counted by the meter.
pub(crate) const STRING_MAX: usize = 32 * 1024 * 1024;

/// The most items of an array or bytes of a blob, those of arrays within it included. As for strings, a body must fit.
pub(crate) const ARRAY_MAX: usize = 32 * 1024 * 1024;

type Outcome<T> = Result<T, Box<EvalAltResult>>;

/// Registers the replacements, which are found before the package's functions.
pub(crate) fn register(engine: &mut Engine) {
    grow::register(engine);
    nested::register(engine);
    engine
        .register_fn("sleep", |_: i64| no_sleep())
        .register_fn("sleep", |_: f64| no_sleep())
        .register_fn("parse_json", |text: &str| {
            json::read(text.as_bytes()).or_else(|error| fails(format!("parse_json: {error}")))
        })
        .register_fn("to_json", |map: &mut Map| {
            json::map_text(map, STRING_MAX).or_else(|error| fails(format!("to_json: {error}")))
        });
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
