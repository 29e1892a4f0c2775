//! `[env]` and `[secrets]`: settings and secrets of scripts, since SDK 1.2.

use std::collections::{BTreeMap, BTreeSet};

use crate::diagnostic::quoted;
use crate::manifest::{SETTING_BYTES_MAX, SETTINGS_MAX, SecretNames};
use crate::name::SettingName;
use crate::sdk::SdkVersion;
use crate::source::Source;
use crate::table::{Keys, Table};

pub(super) const KEYS: Keys = Keys { known: &["required"], reserved: &[] };

/// The first version with them.
const SINCE: SdkVersion = SdkVersion::V1_2;

/// Reads both tables; `None` if one is invalid.
pub(super) fn read(
    root: &Table<'_>,
    sdk: Option<SdkVersion>,
    source: &mut Source<'_>,
) -> Option<(BTreeMap<SettingName, String>, SecretNames)> {
    for key in ["env", "secrets"] {
        if let (Some(sdk), Some(span)) = (sdk.filter(|sdk| *sdk < SINCE), root.key_span(key)) {
            let help = format!("set `sdk = \"{SINCE}\"`");
            source.error_with(
                span,
                format!("`{key}` requires sdk {SINCE}, this manifest has {sdk}"),
                Some(help),
            );
            return None;
        }
    }
    let env = env(root, source);
    let secrets = secrets(root, env.as_ref(), source);
    Some((env?, secrets?))
}

fn env(root: &Table<'_>, source: &mut Source<'_>) -> Option<BTreeMap<SettingName, String>> {
    let Some(value) = root.get("env") else { return Some(BTreeMap::new()) };
    let entries = value.entries("[env]", source)?;
    if entries.len() > SETTINGS_MAX {
        let message = format!("`[env]` has {} entries, more than {SETTINGS_MAX}", entries.len());
        source.error(value.span(), message);
        return None;
    }
    let mut env = Some(BTreeMap::new());
    for (name, span, value) in entries {
        let named = SettingName::new(name);
        let read = match (&named, value.as_str()) {
            (Err(error), text) => Err((span, error.to_string(), text.and_then(|_| suggest_name(name)))),
            (Ok(_), None) => {
                let help = value.scalar_source(source).map(|text| format!("write `\"{text}\"`"));
                Err((value.span(), format!("{} must be a string", quoted(name)), help))
            }
            (Ok(_), Some(text)) if text.len() > SETTING_BYTES_MAX || text.contains('\0') => {
                let message =
                    format!("{} must be at most {SETTING_BYTES_MAX} bytes, without NUL", quoted(name));
                Err((value.span(), message, None))
            }
            (Ok(name), Some(text)) => Ok((name.clone(), text.to_owned())),
        };
        match read {
            Ok((name, text)) => {
                env = env.map(|mut env| {
                    env.insert(name, text);
                    env
                })
            }
            Err((span, message, help)) => {
                source.error_with(span, message, help);
                env = None;
            }
        }
    }
    env
}

/// The name with invalid characters replaced: `API_URL` for `api-url`.
fn suggest_name(text: &str) -> Option<String> {
    let name = text.to_ascii_uppercase().replace(['-', '.', ' '], "_");
    SettingName::new(&name).ok().map(|name| format!("write `{name}`"))
}

fn secrets(
    root: &Table<'_>,
    env: Option<&BTreeMap<SettingName, String>>,
    source: &mut Source<'_>,
) -> Option<SecretNames> {
    let Some(value) = root.get("secrets") else { return Some(SecretNames::default()) };
    let table = value.table("[secrets]", &KEYS, source)?;
    let Some(value) = table.get("required") else { return Some(SecretNames::default()) };
    let items = value.array(source)?;
    if items.len() > SETTINGS_MAX {
        source
            .error(value.span(), format!("`required` has {} entries, more than {SETTINGS_MAX}", items.len()));
        return None;
    }
    let (mut required, mut seen, mut is_complete) = (Vec::new(), BTreeSet::new(), true);
    for item in items {
        let Some(text) = item.string(source) else {
            is_complete = false;
            continue;
        };
        let message = match SettingName::new(text.value) {
            Err(error) => {
                source.error_with(text.span, error.to_string(), suggest_name(text.value));
                is_complete = false;
                continue;
            }
            Ok(name) if env.is_some_and(|env| env.contains_key(&name)) => {
                format!("`{name}` is also a setting in `[env]`; a secret needs a different name")
            }
            Ok(name) if !seen.insert(name.clone()) => format!("duplicate secret `{name}`"),
            Ok(name) => {
                required.push(name);
                continue;
            }
        };
        source.error(text.span, message);
        is_complete = false;
    }
    is_complete.then_some(SecretNames { required })
}
