//! Translates Rhai's errors to messages for script authors.
//!
//! Rhai's messages contain Rust types (`i64`, `alloc::string::String`), generated names of closures (`anon$87af...`)
//! and unregistered getters. This module extracts the facts from them. Caught errors are translated in the same way
//! ([`crate::caught_error`]), since SDK 1.3.

use std::collections::BTreeMap;

use rhai::{Dynamic, EvalAltResult, ImmutableString, Map};

use crate::bounded::{ARRAY_MAX, STRING_MAX};
use crate::type_name::{type_name, type_name_from_rhai};
use crate::{caught_error, json};

/// The type name of `()`, from [`type_name_from_rhai`].
const NOTHING: &str = "nothing";

/// The maximum number of arguments that a message names.
const ARGUMENTS_NAMED_MAX: usize = 8;

/// The message of an error. `natives` has the names of native functions; `length_max` limits the text of a thrown
/// value.
pub(crate) fn message(
    error: &EvalAltResult,
    natives: &BTreeMap<String, Vec<usize>>,
    length_max: usize,
) -> String {
    match error {
        EvalAltResult::ErrorRuntime(thrown, _) => thrown_text(thrown, natives, length_max),
        EvalAltResult::ErrorFunctionNotFound(signature, _) => not_found(signature, natives),
        EvalAltResult::ErrorDotExpr(text, _) => property(text),
        EvalAltResult::ErrorIndexingType(text, _) => indexing(text),
        EvalAltResult::ErrorMismatchDataType(expected, found, _)
        | EvalAltResult::ErrorMismatchOutputType(expected, found, _) => {
            format!("expected {}, found {}", expected_type(expected), with_unit(type_name_from_rhai(found)))
        }
        EvalAltResult::ErrorArrayBounds(held, index, _) => {
            format!("index {index} is out of bounds: the array has {}", counted(*held, "element"))
        }
        EvalAltResult::ErrorStringBounds(held, index, _) => {
            format!("index {index} is out of bounds: the string has {}", counted(*held, "character"))
        }
        EvalAltResult::ErrorBitFieldBounds(held, index, _) => {
            format!("bit {index} is out of bounds: an integer has {held} bits")
        }
        EvalAltResult::ErrorFor(_) => {
            "`for` can only iterate over an array, a string, a blob or a range".to_owned()
        }
        EvalAltResult::ErrorVariableNotFound(name, _) => format!("unknown variable `{name}`"),
        EvalAltResult::ErrorVariableExists(name, _) => format!("variable `{name}` already exists"),
        EvalAltResult::ErrorForbiddenVariable(name, _) => format!("a variable cannot be named `{name}`"),
        EvalAltResult::ErrorPropertyNotFound(name, _) => format!("the map has no key `{name}`"),
        EvalAltResult::ErrorIndexNotFound(index, _) => format!("unknown index {index}"),
        EvalAltResult::ErrorModuleNotFound(name, _) => format!("unknown module `{name}`"),
        EvalAltResult::ErrorUnboundThis(_) => {
            "`this` is not set: the function was not called as a method (`value.function()`)".to_owned()
        }
        EvalAltResult::ErrorDataRace(text, _) => locked(text),
        EvalAltResult::ErrorNonPureMethodCallOnConstant(name, _) => match name.split_once('$') {
            Some((_, property)) if !property.starts_with("set") && !property.is_empty() => {
                format!("cannot change `{property}` of a constant")
            }
            Some(_) => "cannot change an element of a constant".to_owned(),
            None => format!("`{name}` cannot be called on a constant"),
        },
        EvalAltResult::ErrorAssignmentToConstant(name, _) if name.is_empty() => {
            "cannot change a constant".to_owned()
        }
        EvalAltResult::ErrorAssignmentToConstant(name, _) => format!("`{name}` is a constant"),
        EvalAltResult::ErrorArithmetic(text, _) if text.is_empty() => "arithmetic error".to_owned(),
        EvalAltResult::ErrorArithmetic(text, _) => text.clone(),
        EvalAltResult::ErrorStackOverflow(_) => "function calls are nested too deep".to_owned(),
        EvalAltResult::ErrorTooManyVariables(_) => "too many variables".to_owned(),
        EvalAltResult::ErrorDataTooLarge(what, _) => too_large(what),
        EvalAltResult::ErrorTooManyOperations(_) => "too many operations".to_owned(),
        EvalAltResult::ErrorTooManyModules(_) => "too many modules".to_owned(),
        EvalAltResult::ErrorTerminated(..) => "terminated".to_owned(),
        EvalAltResult::ErrorParsing(text, _) => text.to_string(),
        EvalAltResult::ErrorSystem(text, cause) if text.is_empty() => cause.to_string(),
        EvalAltResult::ErrorSystem(text, cause) => format!("{text}: {cause}"),
        EvalAltResult::ErrorInFunctionCall(_, _, inner, _) | EvalAltResult::ErrorInModule(_, inner, _) => {
            message(inner, natives, length_max)
        }
        EvalAltResult::LoopBreak(..) => "`break` or `continue` outside of a loop".to_owned(),
        _ => "the script failed".to_owned(),
    }
}

/// The message of a reached limit of the engine.
pub(crate) fn limit(error: &EvalAltResult) -> String {
    message(error, &BTreeMap::new(), 0)
}

/// The text of a thrown value: a string as it is, a caught error by its message, anything else as JSON if possible.
fn thrown_text(thrown: &Dynamic, natives: &BTreeMap<String, Vec<usize>>, length_max: usize) -> String {
    if let Some(text) = thrown.read_lock::<ImmutableString>() {
        return text.to_string();
    }
    let caught = thrown.read_lock::<Map>().and_then(|map| caught_error::message(&map, natives));
    match caught {
        Some(message) => message,
        None => {
            json::write_text(thrown, length_max).unwrap_or_else(|_| format!("threw {}", type_name(thrown)))
        }
    }
}

/// Adds the literal `()` to `nothing`.
fn with_unit(kind: &str) -> String {
    if kind == NOTHING { "nothing (`()`)".to_owned() } else { kind.to_owned() }
}

fn expected_type(name: &str) -> &'static str {
    match type_name_from_rhai(name) {
        "a bool" => "true or false",
        kind => kind,
    }
}

/// Translates `len (i64, map)`, or a whole sentence.
fn not_found(signature: &str, natives: &BTreeMap<String, Vec<usize>>) -> String {
    let Some((name, types)) = signature.strip_suffix(')').and_then(|signature| signature.split_once(" ("))
    else {
        if let Some(of) = unsortable_type(signature) {
            return format!(
                "an array with {} can only be sorted with a comparison function",
                type_name_from_rhai(of)
            );
        }
        // Without arguments it is either a name that no function can have, or a sentence.
        let is_name = !signature.contains(' ');
        return if is_name { format!("unknown function `{signature}`") } else { signature.to_owned() };
    };
    let types: Vec<&str> =
        types.split(", ").filter(|kind| !kind.is_empty()).map(type_name_from_rhai).collect();
    let given = argument_list(&types);
    if name.starts_with("anon$") {
        return format!("the closure does not take {given}");
    }
    let word = name.starts_with(|c: char| c.is_alphabetic() || c == '_');
    match (&types[..], word) {
        ([a, b], false) => format!("`{name}` cannot be used with {} and {}", with_unit(a), with_unit(b)),
        ([a], false) => format!("`{name}` cannot be used with {}", with_unit(a)),
        ([NOTHING, ..], true) if natives.contains_key(name) => {
            format!("cannot call `{name}` on nothing: the value is `()`")
        }
        _ if natives.contains_key(name) => format!("`{name}` does not take {given}"),
        _ => format!("unknown function `{name}`, called with {given}"),
    }
}

/// The type in `elements of array cannot be sorted`.
fn unsortable_type(text: &str) -> Option<&str> {
    let of = text.strip_prefix("elements of ")?.strip_suffix(" cannot be sorted")?;
    (of != "different types").then_some(of)
}

/// The types of the arguments as a list.
fn argument_list(types: &[&str]) -> String {
    let named: Vec<String> = types.iter().take(ARGUMENTS_NAMED_MAX).map(|kind| with_unit(kind)).collect();
    match (types.len().saturating_sub(ARGUMENTS_NAMED_MAX), &named[..]) {
        (0, []) => "no argument".to_owned(),
        (0, [one]) => one.clone(),
        (0, [first @ .., last]) => format!("{} and {last}", first.join(", ")),
        (more, all) => format!("{} and {more} more", all.join(", ")),
    }
}

/// Translates `Unknown property 'x' - a getter is not registered for type 'i64'`, and the same for a setter.
fn property(text: &str) -> String {
    let mut quoted = text.split('\'').skip(1).step_by(2);
    match (quoted.next(), quoted.next().map(type_name_from_rhai)) {
        (Some(name), Some(NOTHING)) => format!("cannot read `{name}` of nothing: the value is `()`"),
        (Some(name), Some(kind)) => format!("{kind} has no property `{name}`"),
        _ => text.to_owned(),
    }
}

/// Translates `i64 [string]` and `i64 [string] = map`.
fn indexing(text: &str) -> String {
    let Some((of, index)) = text.split_once(" [") else { return text.to_owned() };
    let index = type_name_from_rhai(index.split(']').next().unwrap_or_default());
    match type_name_from_rhai(of) {
        NOTHING => "cannot index nothing: the value is `()`".to_owned(),
        kind @ "a map" => format!("the index of {kind} must be a string, not {}", with_unit(index)),
        kind @ ("an array" | "a string" | "a blob") => {
            format!("the index of {kind} must be an integer, not {}", with_unit(index))
        }
        kind => format!("{kind} has no elements"),
    }
}

/// Translates `argument #2 of function 'push'`, the name of a variable, or an empty text.
fn locked(text: &str) -> String {
    match text.split_once("of function '") {
        Some((_, name)) => {
            format!(
                "`{}` is passed a variable that is being changed",
                function_name(name.trim_end_matches('\''))
            )
        }
        None if text.contains(' ') => text.to_owned(),
        None if text.is_empty() => "a variable is read while it is being changed".to_owned(),
        None => format!("`{}` is read while it is being changed", function_name(text)),
    }
}

/// The name of a function for messages.
fn function_name(name: &str) -> &str {
    if name.starts_with("anon$") { "a closure" } else { name }
}

fn counted(count: usize, what: &str) -> String {
    match count {
        0 => format!("no {what}s"),
        1 => format!("1 {what}"),
        _ => format!("{count} {what}s"),
    }
}

fn too_large(what: &str) -> String {
    const MIB: usize = 1024 * 1024;
    let what = what.to_ascii_lowercase();
    if what.contains("string") {
        format!("a string would be longer than {} MiB", STRING_MAX / MIB)
    } else if what.contains("blob") {
        format!("a blob would be longer than {} MiB", ARRAY_MAX / MIB)
    } else {
        "one call would create too many values".to_owned()
    }
}

#[cfg(test)]
mod tests {
    use rhai::{FnPtr, ParseErrorType, Position};

    use super::*;

    /// One error of each kind as Rhai creates it, including those that no script can cause.
    fn all_errors() -> Vec<EvalAltResult> {
        let none = Position::NONE;
        let at = Position::new(3, 7);
        let text = |text: &str| text.to_owned();
        let function = Dynamic::from(FnPtr::new("f").unwrap());
        let inner = EvalAltResult::ErrorDotExpr(
            text("Unknown property 'x' - a getter is not registered for type 'i64'"),
            at,
        );
        vec![
            EvalAltResult::ErrorSystem(text("disk"), "it is full".into()),
            EvalAltResult::ErrorSystem(String::new(), "it is full".into()),
            EvalAltResult::ErrorParsing(ParseErrorType::Reserved(text("let")), at),
            EvalAltResult::ErrorVariableExists(text("x"), at),
            EvalAltResult::ErrorForbiddenVariable(text("x"), at),
            EvalAltResult::ErrorVariableNotFound(text("x"), at),
            EvalAltResult::ErrorPropertyNotFound(text("x"), at),
            EvalAltResult::ErrorIndexNotFound(Dynamic::from(7_i64), at),
            EvalAltResult::ErrorFunctionNotFound(text("x (alloc::vec::Vec<rhai::Dynamic>, Fn, i64)"), at),
            EvalAltResult::ErrorFunctionNotFound(text("anon$87af0c (&str | ImmutableString | String)"), at),
            EvalAltResult::ErrorFunctionNotFound(text("+ (runtime::bounded::text::Characters, f64)"), at),
            EvalAltResult::ErrorFunctionNotFound(
                text("elements of core::ops::range::Range<i64> cannot be sorted"),
                at,
            ),
            EvalAltResult::ErrorModuleNotFound(text("x"), at),
            EvalAltResult::ErrorInFunctionCall(text("anon$87af0c"), String::new(), inner.into(), at),
            EvalAltResult::ErrorInModule(text("x"), EvalAltResult::ErrorFor(at).into(), at),
            EvalAltResult::ErrorUnboundThis(at),
            EvalAltResult::ErrorMismatchDataType(
                text("alloc::string::String"),
                text("rhai::types::fn_ptr::FnPtr"),
                at,
            ),
            EvalAltResult::ErrorMismatchOutputType(
                text("i64"),
                text("core::ops::range::RangeInclusive<i64>"),
                at,
            ),
            EvalAltResult::ErrorIndexingType(text("i64 [&str | ImmutableString | String] = f64"), at),
            EvalAltResult::ErrorIndexingType(text("map [i64]"), at),
            EvalAltResult::ErrorArrayBounds(2, 7, at),
            EvalAltResult::ErrorStringBounds(1, 7, at),
            EvalAltResult::ErrorBitFieldBounds(64, 70, at),
            EvalAltResult::ErrorFor(at),
            EvalAltResult::ErrorDataRace(text("argument #2 of function 'anon$87af0c'"), at),
            EvalAltResult::ErrorDataRace(text("list"), at),
            EvalAltResult::ErrorDataRace(String::new(), none),
            EvalAltResult::ErrorNonPureMethodCallOnConstant(text("push"), at),
            EvalAltResult::ErrorNonPureMethodCallOnConstant(text("set$name"), at),
            EvalAltResult::ErrorNonPureMethodCallOnConstant(text("index$set$"), at),
            EvalAltResult::ErrorAssignmentToConstant(text("x"), at),
            EvalAltResult::ErrorAssignmentToConstant(String::new(), at),
            EvalAltResult::ErrorDotExpr(
                text("No writable property 'x' - a setter is not registered for type '()' to handle 'i64'"),
                at,
            ),
            EvalAltResult::ErrorArithmetic(text("Addition overflow: 1 + 2"), at),
            EvalAltResult::ErrorArithmetic(String::new(), at),
            EvalAltResult::ErrorTooManyOperations(at),
            EvalAltResult::ErrorTooManyVariables(at),
            EvalAltResult::ErrorTooManyModules(at),
            EvalAltResult::ErrorStackOverflow(at),
            EvalAltResult::ErrorDataTooLarge(text("Size of array/BLOB"), at),
            EvalAltResult::ErrorTerminated(Dynamic::UNIT, at),
            EvalAltResult::ErrorCustomSyntax(text("x"), vec![text("anon$")], at),
            EvalAltResult::ErrorRuntime(function.clone(), at),
            EvalAltResult::ErrorRuntime(Dynamic::UNIT, at),
            EvalAltResult::LoopBreak(true, Dynamic::UNIT, at),
            EvalAltResult::Return(function.clone(), at),
            EvalAltResult::Exit(function, at),
        ]
    }

    #[test]
    fn messages_name_nothing_of_the_engine() {
        let never = [
            "anon$",
            "Dynamic",
            "rhai",
            "alloc",
            "::",
            "i64",
            "f64",
            "String",
            "&str",
            "getter",
            "setter",
            "registered",
            "line",
            "position",
            "NOT AN ERROR",
            "Fn",
            "$",
        ];
        for error in all_errors() {
            let message = message(&error, &BTreeMap::new(), 100);
            assert!(!message.is_empty(), "{error:?}");
            let forbidden: Vec<_> = never.iter().filter(|word| message.contains(**word)).collect();
            assert!(forbidden.is_empty(), "{message}: {forbidden:?}");
        }
    }

    #[test]
    fn every_kind_of_error_is_tested() {
        // By its name; Rhai has no list of its errors.
        let types: std::collections::BTreeSet<String> = all_errors()
            .iter()
            .map(|error| format!("{error:?}").split('(').next().unwrap_or_default().to_owned())
            .collect();
        assert_eq!(types.len(), 35, "{types:?}");
    }
}
