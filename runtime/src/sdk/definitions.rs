//! The definitions of the SDK for editors: files in the format of Rhai's language server (`.d.rhai`).

use std::fmt::Write as _;

use manifest_schema::sdk::SdkVersion;

use super::MODULES;
use super::signature::{Accepts, Function, Kinds, SdkModule};

/// The file of the functions without a module.
const GLOBAL: &str = "global";

/// A file of definitions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DefinitionFile {
    /// Its name, such as `random.d.rhai`.
    pub name: String,
    /// Its content.
    pub text: String,
}

/// The definitions of an SDK version: one file per module.
pub fn definitions(sdk: SdkVersion) -> Vec<DefinitionFile> {
    let modules = MODULES.iter().filter(|module| module.since <= sdk);
    modules
        .map(|module| {
            let name = if module.name.is_empty() { GLOBAL } else { module.name };
            DefinitionFile { name: format!("{name}.d.rhai"), text: file(module) }
        })
        .collect()
}

fn file(module: &SdkModule) -> String {
    let mut text = match module.name {
        "" => format!("/// {}\nmodule static;\n", module.summary),
        name => format!("/// {}\nmodule {name};\n", module.summary),
    };
    for function in module.functions {
        text.push('\n');
        define(function, &mut text);
    }
    text
}

/// Writes one definition for each argument count, since Rhai has no optional parameters.
fn define(function: &Function, text: &mut String) {
    for count in function.required..=function.parameters.len() {
        // Writing to a string cannot fail.
        let _ = writeln!(text, "/// {}", function.summary);
        let parameters = function.parameters.iter().take(count);
        for parameter in parameters.clone() {
            let _ = match &parameter.accepts {
                Accepts::Texts(texts) => writeln!(text, "/// - `{}`: {}", parameter.name, quoted(texts)),
                Accepts::Options(keys) => keys.iter().try_for_each(|key| {
                    let accepted = match key.accepts {
                        Accepts::Texts(texts) => quoted(texts),
                        Accepts::Durations | Accepts::DurationsWithin(_) => {
                            "a duration such as `\"5m\"`".to_owned()
                        }
                        _ => key.kinds.to_string(),
                    };
                    writeln!(text, "/// - `{}` ({accepted}): {}", key.name, key.summary)
                }),
                _ => Ok(()),
            };
        }
        let typed: Vec<String> =
            parameters.map(|parameter| format!("{}: {}", parameter.name, type_of(parameter.kinds))).collect();
        let _ = writeln!(text, "fn {}({}) -> {};", function.name, typed.join(", "), result(function.returns));
    }
}

fn quoted(texts: &[&str]) -> String {
    texts.iter().map(|text| format!("`\"{text}\"`")).collect::<Vec<_>>().join(", ")
}

/// The type of a parameter in Rhai's notation.
fn type_of(kinds: Kinds) -> String {
    const TYPES: [(Kinds, &str); 10] = [
        (Kinds::UNIT, "()"),
        (Kinds::BOOL, "bool"),
        (Kinds::INTEGER, "int"),
        (Kinds::FLOAT, "float"),
        (Kinds::CHARACTER, "char"),
        (Kinds::TEXT, "String"),
        (Kinds::BLOB, "Blob"),
        (Kinds::ARRAY, "Array"),
        (Kinds::MAP, "Map"),
        (Kinds::FUNCTION, "FnPtr"),
    ];
    if kinds == Kinds::ANY {
        return "?".to_owned();
    }
    let types = TYPES.iter().filter(|(kind, _)| kinds.contains(*kind)).map(|(_, name)| *name);
    types.collect::<Vec<_>>().join(" | ")
}

/// The type of a result in Rhai's notation.
fn result(returns: &str) -> String {
    let alternatives = returns.split(" or ").map(|name| match name {
        "text" => "String",
        "integer" => "int",
        "number" => "int | float",
        "blob" => "Blob",
        "array" => "Array",
        "map" => "Map",
        "value" => "?",
        name => name,
    });
    alternatives.collect::<Vec<_>>().join(" | ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(sdk: SdkVersion, name: &str) -> Option<String> {
        definitions(sdk).into_iter().find(|file| file.name == name).map(|file| file.text)
    }

    #[test]
    fn definitions_have_one_signature_per_argument_count() {
        let time = written(SdkVersion::V1_3, "time.d.rhai").unwrap();
        assert!(time.starts_with("/// Times, as milliseconds since 1970.\nmodule time;\n"), "{time}");
        for signature in [
            "fn now() -> int;\n",
            "fn format(ms: int, pattern: String) -> String;\n",
            "fn format(ms: int, pattern: String, zone: String) -> String;\n",
            "fn parse(text: String) -> int | ();\n",
        ] {
            assert!(time.contains(signature), "{time}");
        }
        let cookie = written(SdkVersion::V1_3, "cookie.d.rhai").unwrap();
        assert!(cookie.contains("/// - `max_age` (a duration such as `\"5m\"`): How long"), "{cookie}");
    }

    #[test]
    fn definitions_of_a_version_have_its_modules_only() {
        assert!(written(SdkVersion::V1_2, "log.d.rhai").is_some());
        assert_eq!(written(SdkVersion::V1_2, "time.d.rhai"), None);
    }
}
