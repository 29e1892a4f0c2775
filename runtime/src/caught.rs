//! What a script catches: Rhai hands it a map with the error in Rhai's own words, which is read back here.
//!
//! In scripts of SDK 1.3 the map has `message` in ours, `line` and `position`, and of the rest what speaks of the script. What was
//! thrown by `throw` is left as it is.

use std::collections::BTreeMap;

use rhai::{Dynamic, EvalAltResult, ImmutableString, Map, Position};

use crate::script_error;

/// What speaks of Rhai's types.
const OF_RHAI: [&str; 4] = ["property", "requested", "actual", "type"];

/// Puts what was caught into our words, where it is an error of Rhai's.
pub(crate) fn retell(caught: &mut Dynamic, natives: &BTreeMap<String, Vec<usize>>) {
    if caught.is_locked() {
        return;
    }
    let Some(mut map) = caught.write_lock::<Map>() else { return };
    let Some(message) = message(&map, natives) else { return };
    map.insert("message".into(), message.into());
    for name in OF_RHAI {
        map.remove(name);
    }
    let function =
        map.get("function").and_then(|name| name.read_lock::<ImmutableString>().as_deref().cloned());
    if let Some(name) = function {
        let name = name.split(' ').next().unwrap_or_default();
        if name.starts_with("anon$") {
            map.remove("function");
        } else {
            map.insert("function".into(), name.into());
        }
    }
}

/// The message of an error that was caught, in our words; `None` where a map is something else.
pub(crate) fn message(map: &Map, natives: &BTreeMap<String, Vec<usize>>) -> Option<String> {
    let text = |name: &str| {
        map.get(name).and_then(|written| written.read_lock::<ImmutableString>().as_deref().cloned())
    };
    if !text("error")?.starts_with("Error") {
        return None;
    }
    let written = text("message")?;
    // The calls that it came through follow, and places stand behind it.
    let bare = written.split("\nin ").next().unwrap_or_default();
    let bare = bare.rsplit_once(" (line ").map_or(bare, |(bare, _)| bare);
    Some(match parsed(bare) {
        Some(error) => script_error::message(&error, natives, 0),
        None => bare.to_owned(),
    })
}

/// The error that Rhai writes like this, where our words differ.
fn parsed(written: &str) -> Option<EvalAltResult> {
    let at = Position::NONE;
    let after = |beginning: &str| written.strip_prefix(beginning).map(str::to_owned);
    let between = |beginning: &str, end: &str| {
        written.strip_prefix(beginning).and_then(|rest| rest.strip_suffix(end)).map(str::to_owned)
    };
    if let Some(signature) = after("Function not found: ") {
        return Some(EvalAltResult::ErrorFunctionNotFound(signature, at));
    }
    if written.starts_with("Unknown property '") || written.starts_with("No writable property '") {
        return Some(EvalAltResult::ErrorDotExpr(written.to_owned(), at));
    }
    if let Some(types) = after("Indexer unavailable: ") {
        return Some(EvalAltResult::ErrorIndexingType(types, at));
    }
    for beginning in ["Data type incorrect: ", "Output type incorrect: "] {
        let types = between(beginning, ")");
        if let Some((given, wanted)) = types.as_deref().and_then(|types| types.split_once(" (expecting ")) {
            return Some(EvalAltResult::ErrorMismatchDataType(wanted.to_owned(), given.to_owned(), at));
        }
    }
    if let Some((index, held)) = bounds(written, "Array index ") {
        return Some(EvalAltResult::ErrorArrayBounds(held, index, at));
    }
    if let Some((index, held)) = bounds(written, "String index ") {
        return Some(EvalAltResult::ErrorStringBounds(held, index, at));
    }
    if let Some((index, held)) = bounds(written, "Bit-field index ") {
        return Some(EvalAltResult::ErrorBitFieldBounds(held, index, at));
    }
    if let Some(name) = after("Variable not found: ") {
        return Some(EvalAltResult::ErrorVariableNotFound(name, at));
    }
    if let Some(name) = between("Non-pure method '", "' cannot be called on constant") {
        return Some(EvalAltResult::ErrorNonPureMethodCallOnConstant(name, at));
    }
    if let Some(name) = between("Cannot modify property '", "' of constant") {
        return Some(EvalAltResult::ErrorNonPureMethodCallOnConstant(format!("set${name}"), at));
    }
    if let Some(name) = after("Cannot modify constant ") {
        return Some(EvalAltResult::ErrorAssignmentToConstant(name, at));
    }
    if let Some(written) = after("Data race detected on ") {
        return Some(EvalAltResult::ErrorDataRace(written, at));
    }
    match written {
        "Data race detected" => Some(EvalAltResult::ErrorDataRace(String::new(), at)),
        "Cannot assign to indexer of constant" => {
            Some(EvalAltResult::ErrorNonPureMethodCallOnConstant("index$set$".to_owned(), at))
        }
        "For loop expects iterable type" => Some(EvalAltResult::ErrorFor(at)),
        "'this' not bound" => Some(EvalAltResult::ErrorUnboundThis(at)),
        _ => None,
    }
}

/// The index and how many there are, of `Array index 3 out of bounds: only 1 element in array`.
fn bounds(written: &str, beginning: &str) -> Option<(i64, usize)> {
    let (index, held) = written.strip_prefix(beginning)?.split_once(" out of bounds: ")?;
    let held = match held.strip_prefix("only ") {
        Some(only) => only.split(' ').next()?.parse().ok()?,
        None => 0,
    };
    Some((index.parse().ok()?, held))
}
