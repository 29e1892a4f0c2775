//! Diagnostics for unknown keys.

use std::borrow::Cow;
use std::ops::Range;

use toml::Spanned;
use toml::de::DeValue;

use super::Keys;
use crate::cron::suggest_expression;
use crate::diagnostic::quoted;
use crate::name::SettingName;
use crate::source::Source;

/// Key names of other systems, and their equivalents.
const ALIASES: [(&str, &str); 38] = [
    ("method", "methods"),
    ("verb", "methods"),
    ("verbs", "methods"),
    ("http_methods", "methods"),
    ("url", "path"),
    ("uri", "path"),
    ("route", "path"),
    ("pattern", "path"),
    ("route", "routes"),
    ("endpoint", "routes"),
    ("endpoints", "routes"),
    ("file", "script"),
    ("handler", "script"),
    ("source", "script"),
    ("src", "script"),
    ("entrypoint", "script"),
    ("schedule", "cron"),
    ("expression", "cron"),
    ("interval", "cron"),
    ("every", "cron"),
    ("at", "cron"),
    ("schedule", "schedules"),
    ("cron", "schedules"),
    ("crons", "schedules"),
    ("jobs", "schedules"),
    ("tz", "timezone"),
    ("zone", "timezone"),
    ("time_zone", "timezone"),
    ("id", "name"),
    ("title", "name"),
    ("environment", "env"),
    ("vars", "env"),
    ("variables", "env"),
    ("version", "sdk"),
    ("sdk_version", "sdk"),
    ("mem", "memory"),
    ("ram", "memory"),
    ("host", "domains"),
];

/// Keys of the root table, which can be misplaced in another table.
const ROOT_KEYS: [&str; 9] =
    ["sdk", "app", "routes", "schedules", "functions", "env", "secrets", "limits", "checks"];

/// Reports an unknown key. Returns the known key that it probably means.
pub(super) fn report(
    key: &Spanned<Cow<'_, str>>,
    value: &Spanned<DeValue<'_>>,
    table: &str,
    keys: &Keys,
    source: &mut Source<'_>,
) -> Option<&'static str> {
    let name = key.get_ref().as_ref();
    let message = format!("unknown key {}", quoted(name));
    let entry = entry(key, value, source);
    let text = value.get_ref().as_str();
    // Values of secrets must not be in a repository.
    if table == "[secrets]" && SettingName::new(name).is_ok() {
        let help = format!("write `required = [\"{name}\"]`; set its value with  picloud secrets set {name}");
        source.error_with(entry.unwrap_or_else(|| key.span()), message, Some(help));
        return None;
    }
    let alias =
        ALIASES.iter().find(|(alias, key)| alias.eq_ignore_ascii_case(name) && keys.known.contains(key));
    let suggested = match alias {
        Some((_, key)) => Some(*key),
        None => {
            let near = source.nearest(name, keys.known.iter().copied());
            keys.known.iter().copied().find(|known| Some(*known) == near)
        }
    };
    // If the value needs a change too, the help has the whole entry.
    let whole = match (suggested, text) {
        (Some("methods"), Some(method)) => {
            Some(format!("methods = [\"{}\"]", method.to_ascii_uppercase().escape_debug()))
        }
        (Some("cron"), Some(text)) => {
            suggest_expression(text).map(|expression| format!("cron = \"{expression}\""))
        }
        _ => None,
    };
    let (span, help) = match (suggested, whole.zip(entry)) {
        (_, Some((code, entry))) => (entry, format!("write `{code}`")),
        (Some(suggested), None) => (key.span(), format!("did you mean `{suggested}`?")),
        (None, None) if table != "the manifest" && ROOT_KEYS.contains(&name) => {
            (key.span(), "it is a key of the root table: move it above the first table".to_owned())
        }
        (None, None) if name == "name" => {
            (key.span(), "remove it: the URL of the push names the app".to_owned())
        }
        (None, None) => (key.span(), format!("{table} accepts {}", keys.known.join(", "))),
    };
    source.error_with(span, message, Some(help));
    suggested
}

/// The range of key and value, if it is on one line.
fn entry(
    key: &Spanned<Cow<'_, str>>,
    value: &Spanned<DeValue<'_>>,
    source: &Source<'_>,
) -> Option<Range<usize>> {
    let entry = key.span().start..value.span().end;
    source.text().get(entry.clone()).filter(|text| !text.contains('\n')).map(|_| entry)
}
