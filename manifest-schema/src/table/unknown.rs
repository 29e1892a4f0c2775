//! Keys that a table does not have, and what they were meant to be.

use std::borrow::Cow;
use std::ops::Range;

use toml::Spanned;
use toml::de::DeValue;

use super::Keys;
use crate::cron::expression_meant;
use crate::diagnostic::quoted;
use crate::name::SettingName;
use crate::source::Source;

/// Names of keys elsewhere, and what they are here.
const OTHER_NAMES: [(&str, &str); 38] = [
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

/// The keys of the manifest as a whole, which people put into a table.
const OF_THE_ROOT: [&str; 8] = ["sdk", "app", "routes", "schedules", "functions", "env", "secrets", "limits"];

/// A diagnostic: a key that `what` does not have. The one that it was meant to be, if that is known.
pub(super) fn refuse(
    key: &Spanned<Cow<'_, str>>,
    value: &Spanned<DeValue<'_>>,
    what: &str,
    keys: &Keys,
    source: &mut Source<'_>,
) -> Option<&'static str> {
    let name = key.get_ref().as_ref();
    let message = format!("unknown key {}", quoted(name));
    let entry = entry(key, value, source);
    let text = value.get_ref().as_str();
    // A secret's value has no place in a repository.
    if what == "[secrets]" && SettingName::new(name).is_ok() {
        let help =
            format!("write `required = [\"{name}\"]`; its value is set by  picloud secrets set {name}");
        source.error_with(entry.unwrap_or_else(|| key.span()), message, Some(help));
        return None;
    }
    let other = OTHER_NAMES
        .iter()
        .find(|(other, here)| other.eq_ignore_ascii_case(name) && keys.known.contains(here));
    let meant = match other {
        Some((_, here)) => Some(*here),
        None => {
            let near = source.nearest(name, keys.known.iter().copied());
            keys.known.iter().copied().find(|known| Some(*known) == near)
        }
    };
    // Where the value is other than it should be too, both are written.
    let whole = match (meant, text) {
        (Some("methods"), Some(method)) => {
            Some(format!("methods = [\"{}\"]", method.to_ascii_uppercase().escape_debug()))
        }
        (Some("cron"), Some(text)) => {
            expression_meant(text).map(|expression| format!("cron = \"{expression}\""))
        }
        _ => None,
    };
    let (span, help) = match (meant, whole.zip(entry)) {
        (_, Some((code, entry))) => (entry, format!("write `{code}`")),
        (Some(meant), None) => (key.span(), format!("did you mean `{meant}`?")),
        (None, None) if what != "the manifest" && OF_THE_ROOT.contains(&name) => {
            (key.span(), "it belongs to the manifest as a whole: put it above the first table".to_owned())
        }
        (None, None) if name == "name" => {
            (key.span(), "an app has the name that it is pushed to: leave it out".to_owned())
        }
        (None, None) => (key.span(), format!("{what} takes {}", keys.known.join(", "))),
    };
    source.error_with(span, message, Some(help));
    meant
}

/// Where key and value stand, if that is on one line.
fn entry(
    key: &Spanned<Cow<'_, str>>,
    value: &Spanned<DeValue<'_>>,
    source: &Source<'_>,
) -> Option<Range<usize>> {
    let entry = key.span().start..value.span().end;
    source.text().get(entry.clone()).filter(|text| !text.contains('\n')).map(|_| entry)
}
