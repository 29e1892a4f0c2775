//! Bytes in, a [`Manifest`] or all its diagnostics out.

mod document;
mod domains;
mod functions;
mod limits;
mod routes;
mod schedules;
mod scripts;
mod settings;
mod syntax;

use std::collections::{BTreeSet, HashMap};
use std::ops::Range;

use toml::de::DeTable;

use crate::diagnostic::Diagnostics;
use crate::limits::Ceiling;
use crate::manifest::{App, DESCRIPTION_MAX, ENTRIES_MAX, Manifest};
use crate::name::{JobName, ScriptPath};
use crate::sdk::SdkVersion;
use crate::source::Source;
use crate::table::{Keys, Table, Text, Value};

pub use document::{MANIFEST_MAX, too_large};
pub use domains::domain_span;
use scripts::Scripts;

const ROOT: Keys = Keys {
    known: &["sdk", "app", "routes", "schedules", "functions", "env", "secrets", "limits"],
    not_yet: &["checks", "capabilities"],
};

const APP: Keys = Keys { known: &["description", "domains"], not_yet: &[] };

/// What a manifest is checked against.
#[derive(Clone, Copy, Debug)]
pub struct ParseContext<'a> {
    /// The most that the server grants.
    pub ceiling: &'a Ceiling,
    /// The paths of all files of the repository that end in `.rhai`.
    pub scripts: &'a BTreeSet<String>,
}

/// A manifest that has no errors, with its warnings.
#[derive(Clone, Debug)]
pub struct Parsed {
    /// What the app declares.
    pub manifest: Manifest,
    /// What its author should look at; no error is among it.
    pub warnings: Diagnostics,
}

/// A manifest with errors, and what could be understood of it all the same: enough to go on and check the scripts, so
/// that one push shows every diagnostic.
#[derive(Clone, Debug)]
pub struct ParseError {
    /// Everything that was found, in the order of places, warnings last; at least one is an error.
    pub diagnostics: Diagnostics,
    /// The SDK contract, if it is one that this server speaks.
    pub sdk: Option<SdkVersion>,
    /// The scripts that are named; `None` where a name was not understood, so that it may be any of them.
    pub scripts: Option<BTreeSet<ScriptPath>>,
}

/// Reads a manifest.
///
/// # Errors
/// It has errors; all of them are told.
pub fn parse(source: &[u8], context: ParseContext<'_>) -> Result<Parsed, ParseError> {
    let text = document::text(source).map_err(|diagnostic| ParseError {
        diagnostics: diagnostic.into(),
        sdk: None,
        scripts: None,
    })?;
    let mut source = Source::new(text);
    let document = document::parse(&mut source);
    // A script is told to be named by nothing only where every name of a script is understood.
    let mut scripts = Scripts::new(context.scripts, source.is_clean());
    let draft = document.map(|root| draft(root.get_ref(), context.ceiling, &mut scripts, &mut source));
    let clean = source.is_clean();
    let mut diagnostics = source.into_diagnostics();
    scripts.warn_of_unnamed(&mut diagnostics);
    match draft {
        Some(Draft { manifest: Some(manifest), .. }) if clean => {
            Ok(Parsed { manifest, warnings: diagnostics })
        }
        draft => {
            Err(ParseError { diagnostics, sdk: draft.and_then(|draft| draft.sdk), scripts: scripts.named() })
        }
    }
}

/// A manifest as far as it could be read.
struct Draft {
    sdk: Option<SdkVersion>,
    /// The whole, if every part of it could be read.
    manifest: Option<Manifest>,
}

fn draft(root: &DeTable<'_>, ceiling: &Ceiling, scripts: &mut Scripts<'_>, source: &mut Source<'_>) -> Draft {
    let root = Table::new(root, 0..0, "the manifest", &ROOT, source);
    let sdk = root.get("sdk").or_else(|| {
        // An unknown key of another table is told where it stands.
        let stands_below = |line: &str| {
            line.trim_start().strip_prefix("sdk").is_some_and(|rest| rest.trim_start().starts_with('='))
        };
        if root.misspells("sdk") || source.text().lines().any(stands_below) {
            return None;
        }
        let help = format!("write `sdk = \"{}\"` in the first line", SdkVersion::NEWEST);
        source.error_with(0..0, "the manifest has no `sdk`".to_owned(), Some(help));
        None
    });
    let sdk = sdk.and_then(|value| match value.as_written(source) {
        Some(number) => value.refuse("a string", Some(format!("write `\"{}\"`", sdk_meant(&number))), source),
        None => sdk_of(&value.string(source)?, source),
    });
    Draft { sdk, manifest: manifest(&root, sdk, ceiling, scripts, source) }
}

/// The manifest, if every part of it could be read.
fn manifest(
    root: &Table<'_>,
    sdk: Option<SdkVersion>,
    ceiling: &Ceiling,
    scripts: &mut Scripts<'_>,
    source: &mut Source<'_>,
) -> Option<Manifest> {
    let is_odd = |key| root.misspells(key) || root.get(key).is_some_and(|value| !value.is_array());
    if ["routes", "schedules", "functions"].into_iter().any(is_odd) {
        scripts.note_misunderstood();
    }
    let app = root.get("app").map(|value| app(value, source)).unwrap_or_default();
    let routes = entries(root, "routes", source, |value, source| routes::read(value, scripts, source));
    routes::refuse_conflicts(&routes, source);
    let schedules =
        entries(root, "schedules", source, |value, source| schedules::read(value, scripts, source));
    refuse_too_many_schedules(root, schedules.len(), ceiling, source);
    schedules::refuse_too_many_runs(&schedules, ceiling, source);
    let schedules = schedules.into_iter().map(|draft| draft.job).collect();
    let functions =
        entries(root, "functions", source, |value, source| functions::read(value, scripts, source));
    let settings = settings::read(root, sdk, source);
    let limits = limits::read(root.get("limits"), ceiling, source);
    let (env, secrets) = settings.unzip();
    Some(Manifest {
        sdk: sdk?,
        app,
        routes: routes.into_iter().map(|draft| draft.finish()).collect::<Option<_>>()?,
        schedules: unique("schedule", schedules, source)?,
        functions: unique("function", functions, source)?,
        env: env?,
        secrets: secrets?,
        limits: limits?,
    })
}

fn sdk_of(text: &Text<'_>, source: &mut Source<'_>) -> Option<SdkVersion> {
    let version = SdkVersion::parse(text.value);
    match version {
        None => {
            let spoken = SdkVersion::ALL.map(|version| format!("`{version}`")).join(", ");
            let unknown = crate::diagnostic::quoted(text.value);
            let message = format!("sdk {unknown} is unknown, this server speaks {spoken}");
            source.error_with(
                text.span.clone(),
                message,
                Some(format!("write `\"{}\"`", sdk_meant(text.value))),
            );
        }
        Some(draft) if draft.is_draft() => {
            let words = format!("sdk {draft} is a draft: it can change until PiCloud 0.1.0 is released");
            let help = format!("what must not change stays on `sdk = \"{}\"`", SdkVersion::NEWEST);
            source.warning(text.span.clone(), words, help);
        }
        Some(_) => {}
    }
    version
}

/// The version that is meant by a text that is none: `1.1` by `1.1.0` or `v1.1`, else the newest.
fn sdk_meant(text: &str) -> SdkVersion {
    let text = text.trim_start_matches(|c: char| !c.is_ascii_digit());
    let length = text.match_indices('.').nth(1).map_or(text.len(), |(at, _)| at);
    SdkVersion::parse(&text[..length]).unwrap_or(SdkVersion::NEWEST)
}

fn app(app: Value<'_>, source: &mut Source<'_>) -> App {
    let Some(app) = app.table("[app]", &APP, source) else { return App::default() };
    App { description: description(&app, source), domains: domains::read(&app, source) }
}

fn description(app: &Table<'_>, source: &mut Source<'_>) -> Option<String> {
    let text = app.get("description")?.string(source)?;
    if text.value.chars().count() > DESCRIPTION_MAX || text.value.contains(char::is_control) {
        let rule = format!("`description` must be one line of at most {DESCRIPTION_MAX} characters");
        source.error(text.span, rule);
        return None;
    }
    Some(text.value.to_owned())
}

/// What `read` makes of each item of the array `key`.
fn entries<'t, T>(
    root: &Table<'t>,
    key: &'static str,
    source: &mut Source<'_>,
    mut read: impl FnMut(Value<'t>, &mut Source<'_>) -> T,
) -> Vec<T> {
    let Some(value) = root.get(key) else { return Vec::new() };
    let Some(items) = value.array(source) else { return Vec::new() };
    if items.len() > ENTRIES_MAX {
        source.error(value.span(), format!("`{key}` has {} entries, more than {ENTRIES_MAX}", items.len()));
        return Vec::new();
    }
    items.into_iter().map(|item| read(item, source)).collect()
}

fn refuse_too_many_schedules(root: &Table<'_>, asked: usize, ceiling: &Ceiling, source: &mut Source<'_>) {
    if let Some(value) = root.get("schedules").filter(|_| asked > ceiling.schedules) {
        let (most, by) = (ceiling.schedules, ceiling.granted_by());
        let message = format!("`schedules` has {asked} entries, more than the {most} that {by}");
        let help = ceiling.help("schedules", &asked.to_string());
        source.error_with(value.span(), message, Some(help));
    }
}

/// A schedule or a function as far as it could be read.
struct Job<T> {
    name: Option<(JobName, Range<usize>)>,
    job: Option<T>,
}

/// The jobs, if all are whole and no two bear one name.
fn unique<T>(what: &str, jobs: Vec<Job<T>>, source: &mut Source<'_>) -> Option<Vec<T>> {
    let mut first: HashMap<&JobName, usize> = HashMap::new();
    for (name, span) in jobs.iter().filter_map(|job| job.name.as_ref()) {
        if let Some(first) = first.get(name) {
            let line = source.line_of(*first);
            source.error(span.clone(), format!("{what} `{name}` is declared in line {line} already"));
        } else {
            first.insert(name, span.start);
        }
    }
    jobs.into_iter().map(|job| job.job).collect()
}

/// The name of a schedule or a function, with where it stands.
fn job_name(table: &Table<'_>, source: &mut Source<'_>) -> Option<(JobName, Range<usize>)> {
    let text = table.require_string("name", source)?;
    match JobName::new(text.value) {
        Ok(name) => Some((name, text.span)),
        Err(error) => {
            let help = job_name_meant(text.value).map(|name| format!("write `{name}`"));
            source.error_with(text.span, error.to_string(), help);
            None
        }
    }
}

/// The name in characters that a name can have: `my-job` for `my job`.
fn job_name_meant(text: &str) -> Option<JobName> {
    let plain: String =
        text.chars().map(|c| if c.is_ascii_alphanumeric() || c == '_' { c } else { '-' }).take(60).collect();
    let plain = plain.trim_matches('-').trim_start_matches(|c: char| !c.is_ascii_alphabetic());
    JobName::new(plain).ok()
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;
    use crate::schema::json_schema;

    /// What is read and what the types declare, from which the schema is made, are the same keys.
    #[test]
    fn the_keys_that_are_read_are_those_of_the_types() {
        let schema = json_schema();
        for (definition, keys) in [
            ("", &ROOT),
            ("/definitions/App", &APP),
            ("/definitions/Route", &routes::KEYS),
            ("/definitions/Schedule", &schedules::KEYS),
            ("/definitions/Function", &functions::KEYS),
            ("/definitions/SecretNames", &settings::KEYS),
            ("/definitions/Limits", &limits::KEYS),
        ] {
            let properties = schema.pointer(&format!("{definition}/properties")).and_then(Value::as_object);
            let declared: BTreeSet<&str> =
                properties.into_iter().flat_map(|map| map.keys().map(String::as_str)).collect();
            assert_eq!(declared, keys.known.iter().copied().collect(), "{definition}");
        }
    }
}
