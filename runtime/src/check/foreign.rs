//! Names of other languages, and what stands for them here.

use std::collections::BTreeMap;

use super::help::Help;
use super::syntax::Reference;

/// The functions that exist natively, and the argument counts each takes.
type Natives = BTreeMap<String, Vec<usize>>;

/// What stands for a name.
#[derive(Clone, Copy)]
enum Instead {
    /// Another name, called with the same arguments.
    Name(&'static str),
    /// Something else.
    Words(&'static str),
}

use Instead::{Name, Words};

const NO_CLOCK: Instead = Words("a script has no clock");
const NO_CHANCE: Instead = Words("a script has no random numbers");
const NO_NETWORK: Instead = Words("a script calls no other server");
const ONE_FILE: Instead = Words("a script is one file; define its functions there");
const NO_WAITING: Instead = Words("a script cannot wait; let a schedule do what comes later");

/// Methods, whatever they are called on.
const METHODS: [(&str, Instead); 60] = [
    ("add", Name("push")),
    ("any", Name("some")),
    ("charAt", Words("a character is `text[index]`")),
    ("char_at", Words("a character is `text[index]`")),
    ("chunks", Name("chop")),
    ("collect", Words("arrays have `map` and `filter` at once; leave it out")),
    ("concat", Words("arrays, maps and strings are joined with `+`")),
    ("containsKey", Name("contains")),
    ("contains_key", Name("contains")),
    ("count", Name("len")),
    ("delete", Name("remove")),
    ("downcase", Name("to_lower")),
    ("each", Name("for_each")),
    ("every", Name("all")),
    ("exists", Name("contains")),
    ("findIndex", Name("index_of")),
    ("find_index", Name("index_of")),
    ("fold", Name("reduce")),
    ("getOrDefault", Words("write `map.key ?? other`")),
    ("has", Name("contains")),
    ("hasOwnProperty", Name("contains")),
    ("has_key", Name("contains")),
    ("include", Name("contains")),
    ("includes", Name("contains")),
    ("inject", Name("reduce")),
    ("into_iter", Words("`for` goes over arrays and maps as they are; leave it out")),
    ("iter", Words("`for` goes over arrays and maps as they are; leave it out")),
    ("join", Words("write `list.reduce(|text, item| text + item, \"\")`")),
    ("length", Name("len")),
    ("lenght", Name("len")),
    ("lower", Name("to_lower")),
    ("lowercase", Name("to_lower")),
    ("parse", Words("write `parse_int(text)` or `parse_float(text)`")),
    ("padEnd", Name("pad")),
    ("pop_back", Name("pop")),
    ("pop_front", Name("shift")),
    ("push_back", Name("push")),
    ("push_str", Words("strings are joined with `+=`")),
    ("replaceAll", Name("replace")),
    ("replace_all", Name("replace")),
    ("reversed", Name("reverse")),
    ("rfind", Words("strings are searched from their beginning, with `index_of`")),
    ("select", Name("filter")),
    ("size", Name("len")),
    ("slice", Name("extract")),
    ("sorted", Name("sort")),
    ("strip", Name("trim")),
    ("stringify", Name("to_json")),
    ("substr", Name("sub_string")),
    ("then", Words("a script runs from top to bottom; write what follows as the next statement")),
    ("toLowerCase", Name("to_lower")),
    ("toUpperCase", Name("to_upper")),
    ("to_f", Name("to_float")),
    ("to_i", Name("to_int")),
    ("to_s", Name("to_string")),
    ("trimmed", Name("trim")),
    ("unwrap", Words("there are no options; leave it out")),
    ("upcase", Name("to_upper")),
    ("upper", Name("to_upper")),
    ("uppercase", Name("to_upper")),
];

/// Functions.
const FUNCTIONS: [(&str, Instead); 56] = [
    ("Date", NO_CLOCK),
    ("Error", Words("throw the text itself")),
    ("Number", Name("to_float")),
    ("String", Name("to_string")),
    ("alert", Name("log::info")),
    ("assert", Words("write `if !condition { throw \"why\" }`")),
    ("ceil", Name("ceiling")),
    ("clock", NO_CLOCK),
    ("count", Name("len")),
    ("curl", NO_NETWORK),
    ("date", NO_CLOCK),
    ("defined", Words("ask with `is_def_var(\"name\")`")),
    ("dict", Words("a map is written `#{ name: value }`")),
    ("echo", Name("log::info")),
    ("fetch", NO_NETWORK),
    ("float", Name("to_float")),
    ("format", Words("write values into a text in backquotes: `a ${b}`")),
    ("gettype", Name("type_of")),
    ("http_get", NO_NETWORK),
    ("include", ONE_FILE),
    ("isset", Words("ask with `is_def_var(\"name\")`")),
    ("json", Words("an answer is a map: `#{ statusCode: 200, body: value }`")),
    ("json_decode", Name("parse_json")),
    ("json_encode", Name("to_json")),
    ("json_parse", Name("parse_json")),
    ("length", Name("len")),
    ("log::err", Name("log::error")),
    ("log::warning", Name("log::warn")),
    ("list", Words("an array is written `[1, 2]`")),
    ("now", NO_CLOCK),
    ("parseFloat", Name("parse_float")),
    ("parseInt", Name("parse_int")),
    ("pow", Words("write `a ** b`")),
    ("printf", Name("log::info")),
    ("println", Name("log::info")),
    ("puts", Name("log::info")),
    ("rand", NO_CHANCE),
    ("randint", NO_CHANCE),
    ("random", NO_CHANCE),
    ("require", ONE_FILE),
    ("respond", Words("an answer is a map: `#{ statusCode: 200, body: value }`")),
    ("setInterval", NO_WAITING),
    ("setTimeout", NO_WAITING),
    ("size", Name("len")),
    ("sizeof", Name("len")),
    ("sorted", Name("sort")),
    ("sprintf", Words("write values into a text in backquotes: `a ${b}`")),
    ("str", Name("to_string")),
    ("string", Name("to_string")),
    ("strlen", Name("len")),
    ("time", NO_CLOCK),
    ("toString", Name("to_string")),
    ("type", Name("type_of")),
    ("typeof", Name("type_of")),
    ("uuid", NO_CHANCE),
    ("wait", NO_WAITING),
];

/// Variables that stand for a value.
const VARIABLES: [(&str, &str); 14] = [
    ("False", "false"),
    ("None", "()"),
    ("Nil", "()"),
    ("True", "true"),
    ("body", "ctx.request.body"),
    ("env", "ctx.env"),
    ("headers", "ctx.request.headers"),
    ("params", "ctx.request.params"),
    ("query", "ctx.request.query"),
    ("req", "ctx.request"),
    ("request", "ctx.request"),
    ("secrets", "ctx.secrets"),
    ("self", "this"),
    ("undefined", "()"),
];

/// Objects that other languages have for functions, and what to do where no member of theirs is known.
const OBJECTS: [(&str, &str); 11] = [
    ("Array", "arrays have methods: `list.len()`"),
    ("Date", "a script has no clock"),
    ("JSON", "use `parse_json(text)` and `value.to_json()`"),
    ("Math", "numbers have methods: `x.floor()`, `x.abs()`"),
    ("Number", "numbers have methods: `x.to_int()`"),
    ("Object", "maps have methods: `map.keys()`"),
    ("Promise", "a script runs from top to bottom"),
    ("String", "strings have methods: `text.len()`"),
    ("console", "use `log::info`"),
    ("log", "it is called with two colons: `log::info(...)`"),
    ("process", "a script has `ctx.env` and nothing else of its process"),
];

/// What members of those are called here.
const MEMBERS: [(&str, &str, &str); 17] = [
    ("JSON", "parse", "parse_json"),
    ("JSON", "stringify", "to_json"),
    ("Math", "ceil", "ceiling"),
    ("console", "debug", "log::trace"),
    ("console", "error", "log::error"),
    ("console", "info", "log::info"),
    ("console", "log", "log::info"),
    ("console", "trace", "log::trace"),
    ("console", "warn", "log::warn"),
    ("log", "debug", "log::trace"),
    ("log", "error", "log::error"),
    ("log", "info", "log::info"),
    ("log", "log", "log::info"),
    ("log", "trace", "log::trace"),
    ("log", "warn", "log::warn"),
    ("log", "warning", "log::warn"),
    ("process", "env", "ctx.env"),
];

fn find(table: &[(&str, Instead)], name: &str) -> Option<Instead> {
    table.iter().find(|(known, _)| *known == name).map(|(_, instead)| *instead)
}

/// What stands for a call of the function `name` with `given` arguments.
pub(super) fn function(
    name: &str,
    given: usize,
    natives: &Natives,
    range: std::ops::Range<usize>,
) -> Option<Help> {
    Some(match find(&FUNCTIONS, name)? {
        Name(native) if native == "type_of" || takes(natives, native, given) => Help::write(native, range),
        Name(native) => Help::words(format!("it is called `{native}` here")),
        Words(words) => Help::words(words),
    })
}

/// What stands for a call of the method `name` with `given` arguments in brackets.
pub(super) fn method(
    name: &str,
    given: usize,
    natives: &Natives,
    range: std::ops::Range<usize>,
) -> Option<Help> {
    Some(match find(&METHODS, name)? {
        Name("extract") => {
            Help::described("write `extract` of an array, `sub_string` of a string", "extract", range)
        }
        Name(native) if takes(natives, native, given + 1) => Help::write(native, range),
        Name(native) => Help::words(format!("it is called `{native}` here")),
        Words(words) => Help::words(words),
    })
}

fn takes(natives: &Natives, name: &str, given: usize) -> bool {
    natives.get(name).is_some_and(|counts| counts.contains(&given))
}

/// Whether other languages have functions under the name of this object.
pub(super) fn is_object(name: &str) -> bool {
    OBJECTS.iter().any(|(known, _)| *known == name)
}

/// Whether other languages have a variable or an object of this name.
pub(super) fn is_variable(name: &str) -> bool {
    is_object(name) || VARIABLES.iter().any(|(known, _)| *known == name)
}

/// What stands for the variable `name`, as it is written in a text.
pub(super) fn variable(name: &str, natives: &Natives, written: Option<&Reference<'_>>) -> Option<Help> {
    if let Some((_, code)) = VARIABLES.iter().find(|(known, _)| *known == name) {
        return Some(match written {
            Some(written) => Help::write(*code, written.object.clone()),
            None => Help::words(format!("write `{code}`")),
        });
    }
    let (_, general) = OBJECTS.iter().find(|(known, _)| *known == name)?;
    let of_member = written.and_then(|written| {
        let (member, range) = written.member.clone()?;
        if (name, member) == ("Math", "random") {
            return Some(Help::words("a script has no random numbers"));
        }
        let known = MEMBERS.iter().find(|(object, known, _)| *object == name && *known == member);
        let meant = match known {
            Some((.., meant)) => *meant,
            // Functions of numbers, arrays and maps have the same name as there.
            None if matches!(name, "Math" | "Object" | "Array") && natives.contains_key(member) => member,
            None => return None,
        };
        let whole = written.object.start..range.end;
        let given = written.arguments;
        match meant.starts_with("ctx") {
            true => Some(Help::write(meant, whole)),
            false => given
                .filter(|given| takes(natives, meant, *given))
                .map(|_| Help::described(format!("write `{meant}(...)`"), meant, whole)),
        }
    });
    Some(of_member.unwrap_or_else(|| Help::words(*general)))
}

#[cfg(test)]
mod tests {
    use manifest_schema::sdk::SdkVersion;

    use super::*;
    use crate::sandbox::Sandbox;

    #[test]
    fn what_stands_for_a_name_is_there_and_the_name_is_not() {
        for sdk in SdkVersion::ALL {
            let natives = &Sandbox::of(sdk).natives;
            for (name, instead) in METHODS.iter().chain(&FUNCTIONS) {
                if let Name(native) = instead {
                    assert!(*native == "type_of" || natives.contains_key(*native), "{name}: {native}");
                }
            }
            let is_there = METHODS.iter().chain(&FUNCTIONS).find(|(name, _)| natives.contains_key(*name));
            assert!(is_there.is_none(), "{:?}", is_there.map(|(name, _)| name));
            for (object, member, meant) in MEMBERS {
                assert!(meant == "ctx.env" || natives.contains_key(meant), "{object}.{member}: {meant}");
                assert!(is_object(object));
            }
        }
    }
}
