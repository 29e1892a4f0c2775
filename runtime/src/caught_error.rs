//! Translates caught errors: Rhai passes a map with its own message to `catch`, which is parsed here.
//!
//! In scripts of SDK 1.3 the map has our `message`, `line` and `position`, and no fields with Rhai's types. Values
//! thrown by `throw` are unchanged.

use std::collections::BTreeMap;

use rhai::{Dynamic, EvalAltResult, ImmutableString, Map, Position};

use crate::{run_context, script_error};

/// Fields with Rhai's types.
const ENGINE_FIELDS: [&str; 4] = ["property", "requested", "actual", "type"];

/// Translates a caught value if it is an error of Rhai.
pub(crate) fn translate(caught: &mut Dynamic, natives: &BTreeMap<String, Vec<usize>>) {
    if caught.is_locked() {
        return;
    }
    let Some(mut map) = caught.write_lock::<Map>() else { return };
    let Some(message) = message(&map, natives) else { return };
    map.insert("message".into(), message.into());
    for name in ENGINE_FIELDS {
        map.remove(name);
    }
    // The line in the file; Rhai counts those of the linked script.
    let line = map.get("line").and_then(|line| usize::try_from(line.as_int().ok()?).ok());
    if let Some((library, line)) = line.map(run_context::locate) {
        map.insert("line".into(), i64::try_from(line).unwrap_or(i64::MAX).into());
        if let Some(library) = library {
            map.insert("file".into(), library.as_str().into());
        }
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

/// The translated message of a caught error; `None` if the map is not one.
pub(crate) fn message(map: &Map, natives: &BTreeMap<String, Vec<usize>>) -> Option<String> {
    let field =
        |name: &str| map.get(name).and_then(|value| value.read_lock::<ImmutableString>().as_deref().cloned());
    if !field("error")?.starts_with("Error") {
        return None;
    }
    let text = field("message")?;
    // The call stack and the position follow the message.
    let bare = text.split("\nin ").next().unwrap_or_default();
    let bare = bare.rsplit_once(" (line ").map_or(bare, |(bare, _)| bare);
    Some(match parse(bare) {
        Some(error) => script_error::message(&error, natives, 0),
        None => bare.to_owned(),
    })
}

/// Parses the messages that are translated.
fn parse(text: &str) -> Option<EvalAltResult> {
    let at = Position::NONE;
    let after = |beginning: &str| text.strip_prefix(beginning).map(str::to_owned);
    let between = |beginning: &str, end: &str| {
        text.strip_prefix(beginning).and_then(|rest| rest.strip_suffix(end)).map(str::to_owned)
    };
    if let Some(signature) = after("Function not found: ") {
        return Some(EvalAltResult::ErrorFunctionNotFound(signature, at));
    }
    if text.starts_with("Unknown property '") || text.starts_with("No writable property '") {
        return Some(EvalAltResult::ErrorDotExpr(text.to_owned(), at));
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
    if let Some((index, held)) = bounds(text, "Array index ") {
        return Some(EvalAltResult::ErrorArrayBounds(held, index, at));
    }
    if let Some((index, held)) = bounds(text, "String index ") {
        return Some(EvalAltResult::ErrorStringBounds(held, index, at));
    }
    if let Some((index, held)) = bounds(text, "Bit-field index ") {
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
    if let Some(text) = after("Data race detected on ") {
        return Some(EvalAltResult::ErrorDataRace(text, at));
    }
    match text {
        "Data race detected" => Some(EvalAltResult::ErrorDataRace(String::new(), at)),
        "Cannot assign to indexer of constant" => {
            Some(EvalAltResult::ErrorNonPureMethodCallOnConstant("index$set$".to_owned(), at))
        }
        "For loop expects iterable type" => Some(EvalAltResult::ErrorFor(at)),
        "'this' not bound" => Some(EvalAltResult::ErrorUnboundThis(at)),
        _ => None,
    }
}

/// The index and the length in `Array index 3 out of bounds: only 1 element in array`.
fn bounds(text: &str, beginning: &str) -> Option<(i64, usize)> {
    let (index, held) = text.strip_prefix(beginning)?.split_once(" out of bounds: ")?;
    let held = match held.strip_prefix("only ") {
        Some(only) => only.split(' ').next()?.parse().ok()?,
        None => 0,
    };
    Some((index.parse().ok()?, held))
}
