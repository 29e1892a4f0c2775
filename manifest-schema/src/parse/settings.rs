//! `[env]` and `[secrets]`: what scripts read beside the request. Both came with SDK 1.2.

use std::collections::{BTreeMap, BTreeSet};

use crate::diagnostic::quoted;
use crate::manifest::{SETTING_BYTES_MAX, SETTINGS_MAX, SecretNames};
use crate::name::SettingName;
use crate::sdk::SdkVersion;
use crate::source::Source;
use crate::table::{Keys, Table};

pub(super) const KEYS: Keys = Keys { known: &["required"], not_yet: &[] };

/// The version that brought them.
const SINCE: SdkVersion = SdkVersion::V1_2;

/// What both tables say, if it could be read.
pub(super) fn read(
    root: &Table<'_>,
    sdk: Option<SdkVersion>,
    source: &mut Source<'_>,
) -> Option<(BTreeMap<SettingName, String>, SecretNames)> {
    for key in ["env", "secrets"] {
        if let (Some(sdk), Some(span)) = (sdk.filter(|sdk| *sdk < SINCE), root.key_span(key)) {
            let help = format!("set `sdk = \"{SINCE}\"`");
            source.error_with(span, format!("`{key}` came with sdk {SINCE}, this is {sdk}"), Some(help));
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
        let words = format!("`[env]` has {} entries, more than {SETTINGS_MAX}", entries.len());
        source.error(value.span(), words);
        return None;
    }
    let mut env = Some(BTreeMap::new());
    for (name, span, value) in entries {
        let named = SettingName::new(name);
        let read = match (&named, value.as_str()) {
            (Err(error), text) => Err((span, error.to_string(), text.and_then(|_| name_meant(name)))),
            (Ok(_), None) => {
                let help = value.scalar_written(source).map(|text| format!("write `\"{text}\"`"));
                Err((value.span(), format!("{} must be a string", quoted(name)), help))
            }
            (Ok(_), Some(text)) if text.len() > SETTING_BYTES_MAX || text.contains('\0') => {
                let rule = format!("{} must be at most {SETTING_BYTES_MAX} bytes, without NUL", quoted(name));
                Err((value.span(), rule, None))
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
            Err((span, words, help)) => {
                source.error_with(span, words, help);
                env = None;
            }
        }
    }
    env
}

/// What to write for a name in other characters: `API_URL` for `api-url`.
fn name_meant(text: &str) -> Option<String> {
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
    let (mut required, mut seen, mut whole) = (Vec::new(), BTreeSet::new(), true);
    for item in items {
        let Some(text) = item.string(source) else {
            whole = false;
            continue;
        };
        let diagnostic = match SettingName::new(text.value) {
            Err(error) => {
                source.error_with(text.span, error.to_string(), name_meant(text.value));
                whole = false;
                continue;
            }
            Ok(name) if env.is_some_and(|env| env.contains_key(&name)) => {
                format!("`{name}` is a setting in `[env]` too; a secret needs a name of its own")
            }
            Ok(name) if !seen.insert(name.clone()) => format!("`{name}` is named twice"),
            Ok(name) => {
                required.push(name);
                continue;
            }
        };
        source.error(text.span, diagnostic);
        whole = false;
    }
    whole.then_some(SecretNames { required })
}
