//! What a run that failed is recorded with: each of Rhai's errors, in the words of those who write scripts.
//!
//! Rhai speaks of its own types (`i64`, `alloc::string::String`), of closures by names that it made up (`anon$87af...`) and of
//! getters that are not registered. Only what such a message says is read out of it here. What a script catches is put into these
//! words too ([`crate::caught`]), since SDK 1.3.

use std::collections::BTreeMap;

use rhai::{Dynamic, EvalAltResult, ImmutableString, Map};

use crate::bounded::{ARRAY_MAX, STRING_MAX};
use crate::kind::{kind_named, kind_of};
use crate::{caught, json};

/// What Rhai calls nothing, as [`kind_named`] has it.
const NOTHING: &str = "nothing";

/// How many arguments of a call a message names.
const ARGUMENTS_NAMED_MAX: usize = 8;

/// The message of an error, `natives` the names of native functions, `length_max` how long a thrown value may be as text.
pub(crate) fn message(
    error: &EvalAltResult,
    natives: &BTreeMap<String, Vec<usize>>,
    length_max: usize,
) -> String {
    match error {
        EvalAltResult::ErrorRuntime(thrown, _) => thrown_text(thrown, natives, length_max),
        EvalAltResult::ErrorFunctionNotFound(signature, _) => not_found(signature, natives),
        EvalAltResult::ErrorDotExpr(written, _) => property(written),
        EvalAltResult::ErrorIndexingType(written, _) => indexed(written),
        EvalAltResult::ErrorMismatchDataType(wanted, given, _)
        | EvalAltResult::ErrorMismatchOutputType(wanted, given, _) => {
            format!("{} is needed here, not {}", wanted_kind(wanted), with_unit(kind_named(given)))
        }
        EvalAltResult::ErrorArrayBounds(held, index, _) => {
            format!("there is no index {index}: there {}", elements(*held, "element"))
        }
        EvalAltResult::ErrorStringBounds(held, index, _) => {
            format!("there is no index {index}: the string has {}", counted(*held, "character"))
        }
        EvalAltResult::ErrorBitFieldBounds(held, index, _) => {
            format!("there is no bit {index}: an integer has {held}")
        }
        EvalAltResult::ErrorFor(_) => {
            "`for` goes through an array, a string, a blob or a range, and not through this value".to_owned()
        }
        EvalAltResult::ErrorVariableNotFound(name, _) => format!("unknown variable `{name}`"),
        EvalAltResult::ErrorVariableExists(name, _) => format!("there is a variable `{name}` already"),
        EvalAltResult::ErrorForbiddenVariable(name, _) => format!("no variable can be called `{name}`"),
        EvalAltResult::ErrorPropertyNotFound(name, _) => format!("the map has no `{name}`"),
        EvalAltResult::ErrorIndexNotFound(index, _) => format!("there is no index {index}"),
        EvalAltResult::ErrorModuleNotFound(name, _) => format!("there is no module `{name}`"),
        EvalAltResult::ErrorUnboundThis(_) => {
            "`this` is nothing here: the function was not called as a method (`value.function()`)".to_owned()
        }
        EvalAltResult::ErrorDataRace(written, _) => in_use(written),
        EvalAltResult::ErrorNonPureMethodCallOnConstant(name, _) => match name.split_once('$') {
            Some((_, property)) if !property.starts_with("set") && !property.is_empty() => {
                format!("`{property}` of a constant cannot be changed")
            }
            Some(_) => "an element of a constant cannot be changed".to_owned(),
            None => format!("`{name}` changes what it is called on, and that is a constant"),
        },
        EvalAltResult::ErrorAssignmentToConstant(name, _) if name.is_empty() => {
            "a constant cannot be changed".to_owned()
        }
        EvalAltResult::ErrorAssignmentToConstant(name, _) => format!("`{name}` is a constant"),
        EvalAltResult::ErrorArithmetic(written, _) if written.is_empty() => {
            "it cannot be computed".to_owned()
        }
        EvalAltResult::ErrorArithmetic(written, _) => written.clone(),
        EvalAltResult::ErrorStackOverflow(_) => "functions call one another too deep".to_owned(),
        EvalAltResult::ErrorTooManyVariables(_) => "there are too many variables at once".to_owned(),
        EvalAltResult::ErrorDataTooLarge(what, _) => too_large(what),
        EvalAltResult::ErrorTooManyOperations(_) => "there were too many operations".to_owned(),
        EvalAltResult::ErrorTooManyModules(_) => "there are too many modules".to_owned(),
        EvalAltResult::ErrorTerminated(..) => "was ended".to_owned(),
        EvalAltResult::ErrorParsing(written, _) => written.to_string(),
        EvalAltResult::ErrorSystem(written, cause) if written.is_empty() => cause.to_string(),
        EvalAltResult::ErrorSystem(written, cause) => format!("{written}: {cause}"),
        EvalAltResult::ErrorInFunctionCall(_, _, inner, _) | EvalAltResult::ErrorInModule(_, inner, _) => {
            message(inner, natives, length_max)
        }
        EvalAltResult::LoopBreak(..) => "there is no loop around this".to_owned(),
        _ => "the script cannot go on".to_owned(),
    }
}

/// The message of an error that is a limit of the engine's.
pub(crate) fn limit(error: &EvalAltResult) -> String {
    message(error, &BTreeMap::new(), 0)
}

/// What was thrown, as text: a string as it is, an error that was caught by its message, anything else as JSON where it has such a
/// form.
fn thrown_text(thrown: &Dynamic, natives: &BTreeMap<String, Vec<usize>>, length_max: usize) -> String {
    if let Some(text) = thrown.read_lock::<ImmutableString>() {
        return text.to_string();
    }
    let caught = thrown.read_lock::<Map>().and_then(|map| caught::message(&map, natives));
    match caught {
        Some(message) => message,
        None => json::write_text(thrown, length_max).unwrap_or_else(|_| format!("threw {}", kind_of(thrown))),
    }
}

/// Nothing, with what it looks like in a script.
fn with_unit(kind: &str) -> String {
    if kind == NOTHING { "nothing (`()`)".to_owned() } else { kind.to_owned() }
}

fn wanted_kind(name: &str) -> &'static str {
    match kind_named(name) {
        "a bool" => "true or false",
        kind => kind,
    }
}

/// From `len (i64, map)`, or what was written in its place.
fn not_found(signature: &str, natives: &BTreeMap<String, Vec<usize>>) -> String {
    let Some((name, kinds)) = signature.strip_suffix(')').and_then(|signature| signature.split_once(" ("))
    else {
        if let Some(of) = of_one_kind(signature) {
            return format!("an array with {} cannot be sorted without a function", kind_named(of));
        }
        // A name without arguments is one that no function can have; all else is a sentence.
        let is_name = !signature.contains(' ');
        return if is_name { format!("unknown function `{signature}`") } else { signature.to_owned() };
    };
    let kinds: Vec<&str> = kinds.split(", ").filter(|kind| !kind.is_empty()).map(kind_named).collect();
    let given = given(&kinds);
    if name.starts_with("anon$") {
        return format!("a closure is called with {given}, and takes another number of arguments");
    }
    let word = name.starts_with(|c: char| c.is_alphabetic() || c == '_');
    match (&kinds[..], word) {
        ([a, b], false) => format!("`{name}` cannot be used with {} and {}", with_unit(a), with_unit(b)),
        ([a], false) => format!("`{name}` cannot be used with {}", with_unit(a)),
        ([NOTHING, ..], true) if natives.contains_key(name) => {
            format!("`{name}` is called on nothing: the value is `()`")
        }
        _ if natives.contains_key(name) => format!("`{name}` does not take {given}"),
        _ => format!("unknown function `{name}`, called with {given}"),
    }
}

/// The type in `elements of array cannot be sorted`.
fn of_one_kind(written: &str) -> Option<&str> {
    let of = written.strip_prefix("elements of ")?.strip_suffix(" cannot be sorted")?;
    (of != "different types").then_some(of)
}

/// The arguments of a call, one after the other.
fn given(kinds: &[&str]) -> String {
    let named: Vec<String> = kinds.iter().take(ARGUMENTS_NAMED_MAX).map(|kind| with_unit(kind)).collect();
    match (kinds.len().saturating_sub(ARGUMENTS_NAMED_MAX), &named[..]) {
        (0, []) => "no argument".to_owned(),
        (0, [one]) => one.clone(),
        (0, [first @ .., last]) => format!("{} and {last}", first.join(", ")),
        (more, all) => format!("{} and {more} more", all.join(", ")),
    }
}

/// From `Unknown property 'x' - a getter is not registered for type 'i64'`, and the like for a setter.
fn property(written: &str) -> String {
    let mut quoted = written.split('\'').skip(1).step_by(2);
    match (quoted.next(), quoted.next().map(kind_named)) {
        (Some(name), Some(NOTHING)) => format!("`{name}` is asked of nothing: the value is `()`"),
        (Some(name), Some(kind)) => format!("{kind} has no property `{name}`"),
        _ => written.to_owned(),
    }
}

/// From `i64 [string]`, or `i64 [string] = map`.
fn indexed(written: &str) -> String {
    let Some((of, index)) = written.split_once(" [") else { return written.to_owned() };
    let index = kind_named(index.split(']').next().unwrap_or_default());
    match kind_named(of) {
        NOTHING => "an element is asked of nothing: the value is `()`".to_owned(),
        kind @ "a map" => format!("the index of {kind} is a string, not {}", with_unit(index)),
        kind @ ("an array" | "a string" | "a blob") => {
            format!("the index of {kind} is an integer, not {}", with_unit(index))
        }
        kind => format!("{kind} has no elements"),
    }
}

/// From `argument #2 of function 'push'`, the name of a variable, or nothing.
fn in_use(written: &str) -> String {
    match written.split_once("of function '") {
        Some((_, name)) => {
            format!(
                "`{}` is given a variable that is being changed meanwhile",
                shown(name.trim_end_matches('\''))
            )
        }
        None if written.contains(' ') => written.to_owned(),
        None if written.is_empty() => "a variable is read while it is being changed".to_owned(),
        None => format!("`{}` is read while it is being changed", shown(written)),
    }
}

/// The name of a function, as it is written.
fn shown(name: &str) -> &str {
    if name.starts_with("anon$") { "a closure" } else { name }
}

fn elements(count: usize, what: &str) -> String {
    match count {
        0 => format!("are no {what}s"),
        1 => format!("is 1 {what}"),
        _ => format!("are {count} {what}s"),
    }
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
        "one call would make too many values".to_owned()
    }
}

#[cfg(test)]
mod tests {
    use rhai::{FnPtr, ParseErrorType, Position};

    use super::*;

    /// An error of each kind that Rhai has, as it makes them, those among them that no script can bring about.
    fn each() -> Vec<EvalAltResult> {
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
    fn no_error_speaks_of_the_engine() {
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
        for error in each() {
            let message = message(&error, &BTreeMap::new(), 100);
            assert!(!message.is_empty(), "{error:?}");
            let forbidden: Vec<_> = never.iter().filter(|word| message.contains(**word)).collect();
            assert!(forbidden.is_empty(), "{message}: {forbidden:?}");
        }
    }

    #[test]
    fn every_kind_of_error_is_tried() {
        // By its name in Rhai, which has no list of them.
        let kinds: std::collections::BTreeSet<String> = each()
            .iter()
            .map(|error| format!("{error:?}").split('(').next().unwrap_or_default().to_owned())
            .collect();
        assert_eq!(kinds.len(), 35, "{kinds:?}");
    }
}
