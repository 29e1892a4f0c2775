//! `ctx.env` and `ctx.secrets` since SDK 1.3: only the names that the manifest declares.
//!
//! Before 1.3 both are maps, and a missing name reads as `()`. Here, reading an undeclared name is an error. Both are
//! read-only, and nothing writes all secrets at once: their text form contains only the names. An execution shares
//! the values of its revision without a copy.

use std::fmt::Write as _;

use manifest_schema::diagnostic::Suggestions;
use manifest_schema::sdk::SdkVersion;
use rhai::{
    Array, Dynamic, Engine, EvalAltResult, FnNamespace, FuncRegistration, ImmutableString, Module, Position,
};

use crate::json;
use crate::revision::Revision;

/// The value of `ctx.env` or `ctx.secrets`.
#[derive(Clone)]
pub(crate) struct Settings {
    kind: Kind,
    revision: Revision,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Env,
    Secrets,
}

type Outcome<T> = Result<T, Box<EvalAltResult>>;

impl Settings {
    /// The version that introduced the type. Before it, both are maps.
    pub(crate) const SINCE: SdkVersion = SdkVersion::V1_3;

    /// The environment of a revision.
    pub(crate) fn env(revision: &Revision) -> Dynamic {
        Dynamic::from(Self { kind: Kind::Env, revision: revision.clone() })
    }

    /// The secrets of a revision.
    pub(crate) fn secrets(revision: &Revision) -> Dynamic {
        Dynamic::from(Self { kind: Kind::Secrets, revision: revision.clone() })
    }

    /// The declared names, sorted.
    fn names(&self) -> Vec<&str> {
        let manifest = self.revision.manifest();
        let mut names: Vec<&str> = match self.kind {
            Kind::Env => manifest.env.keys().map(|name| name.as_str()).collect(),
            Kind::Secrets => manifest.secrets.required.iter().map(|name| name.as_str()).collect(),
        };
        names.sort_unstable();
        names
    }

    /// The value of a name, declared or not.
    fn value(&self, name: &str) -> Option<&str> {
        match self.kind {
            Kind::Env => {
                let mut env = self.revision.manifest().env.iter();
                env.find(|(declared, _)| declared.as_str() == name).map(|(_, value)| value.as_str())
            }
            Kind::Secrets => self.revision.secrets().get(name),
        }
    }

    /// Reads a name. A declared name without a value is `()`.
    ///
    /// # Errors
    /// The manifest does not declare it.
    fn read(&self, name: &str) -> Outcome<Dynamic> {
        if let Some(value) = self.value(name) {
            return Ok(value.into());
        }
        let declared = self.names();
        if declared.contains(&name) { Ok(Dynamic::UNIT) } else { fail(self.undeclared(name, &declared)) }
    }

    fn undeclared(&self, name: &str, declared: &[&str]) -> String {
        let shown: String = name.chars().take(80).flat_map(char::escape_debug).collect();
        let (what, table) = match self.kind {
            Kind::Env => ("setting", "[env]"),
            Kind::Secrets => ("secret", "[secrets]"),
        };
        let mut message = format!("the manifest declares no {what} `{shown}` in {table}");
        if let Some(near) = Suggestions::default().did_you_mean(name, declared.iter().copied()) {
            // Writing to a string cannot fail.
            let _ = write!(message, "; {near}");
        }
        message
    }

    /// The text form: names only.
    pub(crate) fn describe(&self) -> String {
        let kind = match self.kind {
            Kind::Env => "env",
            Kind::Secrets => "secrets",
        };
        format!("{kind}({})", self.names().join(", "))
    }

    /// Names and values.
    ///
    /// # Errors
    /// They are secrets.
    pub(crate) fn entries(&self) -> Result<impl Iterator<Item = (&str, &str)>, AllSecretsError> {
        match self.kind {
            Kind::Env => {
                Ok(self.revision.manifest().env.iter().map(|(name, value)| (name.as_str(), value.as_str())))
            }
            Kind::Secrets => Err(AllSecretsError),
        }
    }
}

/// All secrets cannot be written at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`ctx.secrets` cannot be written as a whole; read its secrets by name")]
pub(crate) struct AllSecretsError;

fn fail<T>(message: String) -> Outcome<T> {
    Err(EvalAltResult::ErrorRuntime(message.into(), Position::NONE).into())
}

/// Registers the type in the engine.
pub(crate) fn register(engine: &mut Engine) {
    let mut module = Module::new();
    module.set_custom_type::<Settings>("settings");
    let global = |name: &'static str| {
        FuncRegistration::new(name).with_namespace(FnNamespace::Global).with_purity(true)
    };
    FuncRegistration::new_index_getter()
        .with_namespace(FnNamespace::Global)
        .with_purity(true)
        .set_into_module(&mut module, |settings: &mut Settings, name: &str| settings.read(name));
    FuncRegistration::new_index_setter().with_namespace(FnNamespace::Global).set_into_module(
        &mut module,
        |_: &mut Settings, _: &str, _: Dynamic| -> Outcome<()> {
            fail("settings and secrets are read-only".to_owned())
        },
    );
    global("get").set_into_module(&mut module, |settings: &mut Settings, name: &str| settings.read(name));
    global("contains")
        .set_into_module(&mut module, |settings: &mut Settings, name: &str| settings.value(name).is_some());
    global("len").set_into_module(&mut module, |settings: &mut Settings| settings.names().len() as i64);
    global("is_empty").set_into_module(&mut module, |settings: &mut Settings| settings.names().is_empty());
    global("keys").set_into_module(&mut module, |settings: &mut Settings| {
        settings.names().into_iter().map(Into::into).collect::<Array>()
    });
    global("values").set_into_module(&mut module, |settings: &mut Settings| -> Outcome<Array> {
        let entries = settings.entries().or_else(|error| fail(error.to_string()))?;
        Ok(entries.map(|(_, value)| value.into()).collect())
    });
    global("to_json").set_into_module(&mut module, |settings: &mut Settings| -> Outcome<String> {
        let value = Dynamic::from(settings.clone());
        json::write_text(&value, usize::MAX).or_else(|error| fail(format!("to_json: {error}")))
    });
    for name in ["to_string", "to_debug", "print", "debug"] {
        global(name).set_into_module(&mut module, |settings: &mut Settings| {
            ImmutableString::from(settings.describe())
        });
    }
    engine.register_global_module(module.into());
}
