//! Names of other languages, and their equivalents in Rhai.

use std::collections::BTreeMap;

use super::help::Help;
use super::syntax::Reference;

/// The native functions with their argument counts.
type Natives = BTreeMap<String, Vec<usize>>;

/// The equivalent of a name.
#[derive(Clone, Copy)]
enum Replacement {
    /// A function with the same arguments.
    Name(&'static str),
    /// The same, or another function in SDK versions that do not have it.
    Newer(&'static str, &'static str),
    /// The same, in SDK versions that have it.
    Since(&'static str),
    /// Something else.
    Text(&'static str),
}

use Replacement::{Name, Newer, Since, Text};

const NO_CLOCK: Replacement = Text("the time needs sdk 1.3, which has the module time");
const NO_RANDOM: Replacement = Text("random numbers need sdk 1.3, which has the module random");
const NO_NETWORK: Replacement = Text("scripts cannot call other servers");
const ONE_FILE: Replacement = Text("import a file of the repository by its path and a name (sdk 1.3)");
const NO_WAITING: Replacement = Text("scripts cannot wait; use a schedule for later work");

/// Methods of any type.
const METHODS: [(&str, Replacement); 62] = [
    ("add", Name("push")),
    ("any", Name("some")),
    ("charAt", Text("write `text[index]`")),
    ("char_at", Text("write `text[index]`")),
    ("chunks", Name("chop")),
    ("collect", Text("`map` and `filter` return arrays directly; remove it")),
    ("concat", Text("concatenate arrays, maps and strings with `+`")),
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
    ("getOrDefault", Text("write `map.key ?? other`")),
    ("has", Name("contains")),
    ("hasOwnProperty", Name("contains")),
    ("has_key", Name("contains")),
    ("include", Name("contains")),
    ("includes", Name("contains")),
    ("inject", Name("reduce")),
    ("into_iter", Text("`for` iterates over arrays directly; remove it")),
    ("iter", Text("`for` iterates over arrays directly; remove it")),
    ("join", Text("write `list.reduce(|text, item| text + item, \"\")`")),
    ("length", Name("len")),
    ("lenght", Name("len")),
    ("lower", Name("to_lower")),
    ("lowercase", Name("to_lower")),
    ("parse", Text("write `parse_int(text)` or `parse_float(text)`")),
    ("padEnd", Name("pad")),
    ("pop_back", Name("pop")),
    ("pop_front", Name("shift")),
    ("push_back", Name("push")),
    ("push_str", Text("append to strings with `+=`")),
    ("replaceAll", Newer("replaced", "replace")),
    ("replace_all", Newer("replaced", "replace")),
    ("reversed", Name("reverse")),
    ("rfind", Text("strings can only be searched from the start, with `index_of`")),
    ("select", Name("filter")),
    ("size", Name("len")),
    ("slice", Name("extract")),
    ("sorted", Name("sort")),
    ("strip", Newer("trimmed", "trim")),
    ("splitlines", Since("lines")),
    ("stringify", Name("to_json")),
    ("substr", Name("sub_string")),
    ("then", Text("scripts run synchronously; write it as the next statement")),
    ("toFixed", Since("format_number")),
    ("toLowerCase", Name("to_lower")),
    ("toUpperCase", Name("to_upper")),
    ("to_f", Name("to_float")),
    ("to_i", Name("to_int")),
    ("to_s", Name("to_string")),
    ("trimmed", Name("trim")),
    ("unwrap", Text("Rhai has no option type; remove it")),
    ("upcase", Name("to_upper")),
    ("upper", Name("to_upper")),
    ("uppercase", Name("to_upper")),
];

/// Functions.
const FUNCTIONS: [(&str, Replacement); 57] = [
    ("Date", NO_CLOCK),
    ("Error", Text("throw the string itself")),
    ("Number", Name("to_float")),
    ("String", Name("to_string")),
    ("alert", Name("log::info")),
    ("assert", Text("write `if !condition { throw \"why\" }`")),
    ("ceil", Name("ceiling")),
    ("clock", NO_CLOCK),
    ("count", Name("len")),
    ("curl", NO_NETWORK),
    ("date", NO_CLOCK),
    ("defined", Text("check with `is_def_var(\"name\")`")),
    ("dict", Text("write maps as `#{ name: value }`")),
    ("echo", Name("log::info")),
    ("fetch", NO_NETWORK),
    ("float", Name("to_float")),
    ("format", Text("interpolate values in backquotes: `a ${b}`")),
    ("gettype", Name("type_of")),
    ("http_get", NO_NETWORK),
    ("include", ONE_FILE),
    ("isset", Text("check with `is_def_var(\"name\")`")),
    ("json", Text("return a map: `#{ statusCode: 200, body: value }`")),
    ("json_decode", Name("parse_json")),
    ("json_encode", Name("to_json")),
    ("json_parse", Name("parse_json")),
    ("length", Name("len")),
    ("log::err", Name("log::error")),
    ("log::warning", Name("log::warn")),
    ("list", Text("write arrays as `[1, 2]`")),
    ("now", NO_CLOCK),
    ("number_format", Since("format_number")),
    ("parseFloat", Name("parse_float")),
    ("parseInt", Name("parse_int")),
    ("pow", Text("write `a ** b`")),
    ("printf", Name("log::info")),
    ("println", Name("log::info")),
    ("puts", Name("log::info")),
    ("rand", NO_RANDOM),
    ("randint", NO_RANDOM),
    ("random", NO_RANDOM),
    ("require", ONE_FILE),
    ("respond", Text("return a map: `#{ statusCode: 200, body: value }`")),
    ("setInterval", NO_WAITING),
    ("setTimeout", NO_WAITING),
    ("size", Name("len")),
    ("sizeof", Name("len")),
    ("sorted", Name("sort")),
    ("sprintf", Text("interpolate values in backquotes: `a ${b}`")),
    ("str", Name("to_string")),
    ("string", Name("to_string")),
    ("strlen", Name("len")),
    ("time", NO_CLOCK),
    ("toString", Name("to_string")),
    ("type", Name("type_of")),
    ("typeof", Name("type_of")),
    ("uuid", NO_RANDOM),
    ("wait", NO_WAITING),
];

/// Variables with an equivalent value.
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

/// Objects with functions, and the help if the member is unknown.
const OBJECTS: [(&str, &str); 11] = [
    ("Array", "arrays have methods: `list.len()`"),
    ("Date", "the time needs sdk 1.3, which has the module time"),
    ("JSON", "use `parse_json(text)` and `value.to_json()`"),
    ("Math", "numbers have methods: `x.floor()`, `x.abs()`"),
    ("Number", "numbers have methods: `x.to_int()`"),
    ("Object", "maps have methods: `map.keys()`"),
    ("Promise", "scripts run synchronously"),
    ("String", "strings have methods: `text.len()`"),
    ("console", "use `log::info`"),
    ("log", "call it with two colons: `log::info(...)`"),
    ("process", "scripts only have `ctx.env`"),
];

/// The equivalents of their members.
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

fn find(table: &[(&str, Replacement)], name: &str, natives: &Natives) -> Option<Replacement> {
    let (_, replacement) = table.iter().find(|(known, _)| *known == name)?;
    match *replacement {
        Newer(native, _) | Since(native) if natives.contains_key(native) => Some(Name(native)),
        Newer(_, native) => Some(Name(native)),
        Since(_) => None,
        other => Some(other),
    }
}

/// The help for a call of the function `name` with `given` arguments.
pub(super) fn function(
    name: &str,
    given: usize,
    natives: &Natives,
    range: std::ops::Range<usize>,
) -> Option<Help> {
    Some(match find(&FUNCTIONS, name, natives)? {
        Name(native) if native == "type_of" || accepts(natives, native, given) => Help::write(native, range),
        Name(native) | Newer(native, _) | Since(native) => Help::text(format!("use `{native}`")),
        Text(text) => Help::text(text),
    })
}

/// The help for a call of the method `name` with `given` arguments in parentheses.
pub(super) fn method(
    name: &str,
    given: usize,
    natives: &Natives,
    range: std::ops::Range<usize>,
) -> Option<Help> {
    Some(match find(&METHODS, name, natives)? {
        Name("extract") => {
            Help::edit("use `extract` for arrays and `sub_string` for strings", "extract", range)
        }
        Name(native) if accepts(natives, native, given + 1) => Help::write(native, range),
        Name(native) | Newer(native, _) | Since(native) => Help::text(format!("use `{native}`")),
        Text(text) => Help::text(text),
    })
}

fn accepts(natives: &Natives, name: &str, given: usize) -> bool {
    natives.get(name).is_some_and(|counts| counts.contains(&given))
}

/// Whether other languages have functions in an object of this name.
pub(super) fn is_object(name: &str) -> bool {
    OBJECTS.iter().any(|(known, _)| *known == name)
}

/// Whether other languages have a variable or an object of this name.
pub(super) fn is_variable(name: &str) -> bool {
    is_object(name) || VARIABLES.iter().any(|(known, _)| *known == name)
}

/// The help for the variable `name`, referenced in a text.
pub(super) fn variable(name: &str, natives: &Natives, reference: Option<&Reference<'_>>) -> Option<Help> {
    if let Some((_, code)) = VARIABLES.iter().find(|(known, _)| *known == name) {
        return Some(match reference {
            Some(reference) => Help::write(*code, reference.object.clone()),
            None => Help::text(format!("write `{code}`")),
        });
    }
    let (_, general) = OBJECTS.iter().find(|(known, _)| *known == name)?;
    let of_member = reference.and_then(|reference| {
        let (member, range) = reference.member.clone()?;
        if (name, member) == ("Math", "random") {
            return Some(Help::text("random numbers need sdk 1.3, which has the module random"));
        }
        let known = MEMBERS.iter().find(|(object, known, _)| *object == name && *known == member);
        let meant = match known {
            Some((.., meant)) => *meant,
            // Functions of numbers, arrays and maps have the same names.
            None if matches!(name, "Math" | "Object" | "Array") && natives.contains_key(member) => member,
            None => return None,
        };
        let whole = reference.object.start..range.end;
        let given = reference.arguments;
        match meant.starts_with("ctx") {
            true => Some(Help::write(meant, whole)),
            false => given
                .filter(|given| accepts(natives, meant, *given))
                .map(|_| Help::edit(format!("write `{meant}(...)`"), meant, whole)),
        }
    });
    Some(of_member.unwrap_or_else(|| Help::text(*general)))
}

#[cfg(test)]
mod tests {
    use manifest_schema::sdk::SdkVersion;

    use super::*;
    use crate::sandbox::Sandbox;

    #[test]
    fn equivalents_exist_and_foreign_names_do_not() {
        /// Foreign names in older versions.
        const NATIVE_SINCE_1_3: [&str; 2] = ["join", "trimmed"];
        let newest = &Sandbox::of(SdkVersion::V1_3).natives;
        for sdk in SdkVersion::ALL {
            let natives = &Sandbox::of(sdk).natives;
            for (name, replacement) in METHODS.iter().chain(&FUNCTIONS) {
                if let Name(native) | Newer(_, native) = replacement {
                    assert!(*native == "type_of" || natives.contains_key(*native), "{name}: {native}");
                }
                if let Newer(native, _) | Since(native) = replacement {
                    assert!(newest.contains_key(*native), "{name}: {native}");
                }
            }
            let is_there = METHODS.iter().chain(&FUNCTIONS).find(|(name, _)| natives.contains_key(*name));
            let is_there = is_there.map(|(name, _)| *name).filter(|name| !NATIVE_SINCE_1_3.contains(name));
            assert_eq!(is_there, None);
            for (object, member, meant) in MEMBERS {
                assert!(meant == "ctx.env" || natives.contains_key(meant), "{object}.{member}: {meant}");
                assert!(is_object(object));
            }
        }
    }
}
