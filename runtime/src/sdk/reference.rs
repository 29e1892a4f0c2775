//! The functions and properties of the SDK as the reference describes them (`docs/sdk.md`).

use manifest_schema::sdk::SdkVersion;
use manifest_schema::units::show_duration;

use super::call::matches_error;
use super::signature::{Accepts, Function, OptionKey, SdkModule};
use super::{MODULES, Property, RequestProperty};

/// A module of functions.
#[derive(Clone, Debug)]
pub struct ModuleReference {
    /// Its name; `""` for functions without a module.
    pub name: &'static str,
    /// The version that introduced it.
    pub since: SdkVersion,
    /// What it is for, in one sentence.
    pub summary: &'static str,
    /// Its functions.
    pub functions: Vec<FunctionReference>,
}

/// A function.
#[derive(Clone, Debug)]
pub struct FunctionReference {
    /// Its name with the module, such as `time::format`.
    pub name: String,
    /// A call with all parameters, such as `time::format(ms, pattern[, zone])`.
    pub call: String,
    /// The kinds of its result.
    pub returns: &'static str,
    /// What it does, in one or two sentences.
    pub summary: &'static str,
    /// The keys of its options.
    pub options: Vec<OptionReference>,
    /// The errors of its own, without those that all functions share; `…` stands for any text.
    pub errors: &'static [&'static str],
}

/// A key of a function's options.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OptionReference {
    /// Its name.
    pub name: &'static str,
    /// The values that it accepts.
    pub accepts: String,
    /// What it does, in one sentence.
    pub summary: &'static str,
}

impl FunctionReference {
    /// Whether a script that fails with this message shows this error of the function.
    pub fn shows_error(&self, error: &str, message: &str) -> bool {
        let own = message.strip_prefix(self.name.as_str()).and_then(|rest| rest.strip_prefix(": "));
        own.is_some_and(|message| matches_error(error, message))
    }
}

/// All modules with their functions.
pub fn sdk_reference() -> Vec<ModuleReference> {
    MODULES.iter().map(module_reference).collect()
}

/// The properties of `ctx`, such as `ctx.request.path`.
pub fn ctx_properties() -> Vec<String> {
    let of_ctx = Property::ALL.into_iter().map(|property| format!("ctx.{}", property.name()));
    let of_request = RequestProperty::ALL.into_iter();
    of_ctx.chain(of_request.map(|property| format!("ctx.request.{}", property.name()))).collect()
}

fn module_reference(module: &SdkModule) -> ModuleReference {
    let functions = module.functions.iter().map(|function| function_reference(module.name, function));
    ModuleReference {
        name: module.name,
        since: module.since,
        summary: module.summary,
        functions: functions.collect(),
    }
}

fn function_reference(module: &str, function: &Function) -> FunctionReference {
    let separator = if module.is_empty() { "" } else { "::" };
    let name = format!("{module}{separator}{}", function.name);
    let mut call = format!("{name}(");
    for (index, parameter) in function.parameters.iter().enumerate() {
        call.push_str(if index < function.required { "" } else { "[" });
        call.push_str(if index == 0 { "" } else { ", " });
        call.push_str(parameter.name);
    }
    call.push_str(&"]".repeat(function.parameters.len() - function.required));
    call.push(')');
    let options = function.parameters.iter().flat_map(|parameter| match parameter.accepts {
        Accepts::Options(keys) => keys.iter().map(option_reference).collect(),
        _ => Vec::new(),
    });
    FunctionReference {
        name,
        call,
        returns: function.returns,
        summary: function.summary,
        options: options.collect(),
        errors: function.errors,
    }
}

fn option_reference(key: &OptionKey) -> OptionReference {
    let accepts = match key.accepts {
        Accepts::Texts(texts) => {
            texts.iter().map(|text| format!("`\"{text}\"`")).collect::<Vec<_>>().join(" or ")
        }
        Accepts::Durations => "a duration such as `\"5m\"`".to_owned(),
        Accepts::DurationsWithin(ref within) => {
            format!(
                "a duration from `\"{}\"` to `\"{}\"`",
                show_duration(*within.start()),
                show_duration(*within.end())
            )
        }
        Accepts::Integers(ref within) => {
            format!("{} from {} to {}", key.kinds, within.start(), within.end())
        }
        _ => key.kinds.to_string(),
    };
    OptionReference { name: key.name, accepts, summary: key.summary }
}
