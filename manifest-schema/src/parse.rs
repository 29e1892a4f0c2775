//! Parses a manifest: bytes to a [`Manifest`], or to all its diagnostics.

mod checks;
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

pub use checks::check_span;
pub use document::{MANIFEST_MAX, too_large};
pub use domains::domain_span;
use scripts::Scripts;

const ROOT: Keys = Keys {
    known: &["sdk", "app", "routes", "schedules", "functions", "env", "secrets", "limits", "checks"],
    reserved: &["capabilities"],
};

const APP: Keys = Keys { known: &["description", "domains"], reserved: &[] };

/// The server and the repository that a manifest is checked against.
#[derive(Clone, Copy)]
pub struct ParseContext<'a> {
    /// The maximum that the server grants.
    pub ceiling: &'a Ceiling,
    /// The paths of all `.rhai` files in the repository.
    pub scripts: &'a BTreeSet<String>,
    /// The files that a script imports.
    pub imports_of: &'a dyn Fn(&ScriptPath) -> Vec<ScriptPath>,
}

impl<'a> ParseContext<'a> {
    /// The context of scripts without imports.
    pub fn new(ceiling: &'a Ceiling, scripts: &'a BTreeSet<String>) -> Self {
        Self { ceiling, scripts, imports_of: &|_| Vec::new() }
    }
}

/// A valid manifest with its warnings.
#[derive(Clone, Debug)]
pub struct Parsed {
    /// The manifest.
    pub manifest: Manifest,
    /// Warnings only.
    pub warnings: Diagnostics,
}

/// An invalid manifest. Its parts that could be parsed let the caller check the scripts too, so one push reports
/// every diagnostic.
#[derive(Clone, Debug)]
pub struct ParseError {
    /// All diagnostics in the order of the text, warnings last; at least one error.
    pub diagnostics: Diagnostics,
    /// The SDK version, if it is valid and supported.
    pub sdk: Option<SdkVersion>,
    /// The scripts that the manifest uses; `None` if a name was unreadable, so that any script could be in use.
    pub scripts: Option<BTreeSet<ScriptPath>>,
}

/// Parses a manifest.
///
/// # Errors The manifest is invalid; all its diagnostics are reported.
pub fn parse(source: &[u8], context: ParseContext<'_>) -> Result<Parsed, ParseError> {
    let text = document::text(source).map_err(|diagnostic| ParseError {
        diagnostics: diagnostic.into(),
        sdk: None,
        scripts: None,
    })?;
    let mut source = Source::new(text);
    let document = document::parse(&mut source);
    // Unused scripts are only known if every script name was readable.
    let mut scripts = Scripts::new(context.scripts, source.is_clean());
    let draft = document.map(|root| draft(root.get_ref(), context.ceiling, &mut scripts, &mut source));
    let clean = source.is_clean();
    let mut diagnostics = source.into_diagnostics();
    scripts.warn_of_unused(context.imports_of, &mut diagnostics);
    match draft {
        Some(Draft { manifest: Some(manifest), .. }) if clean => {
            Ok(Parsed { manifest, warnings: diagnostics })
        }
        draft => {
            Err(ParseError { diagnostics, sdk: draft.and_then(|draft| draft.sdk), scripts: scripts.named() })
        }
    }
}

/// A partially parsed manifest.
struct Draft {
    sdk: Option<SdkVersion>,
    /// `None` if a part is invalid.
    manifest: Option<Manifest>,
}

fn draft(root: &DeTable<'_>, ceiling: &Ceiling, scripts: &mut Scripts<'_>, source: &mut Source<'_>) -> Draft {
    let root = Table::new(root, 0..0, "the manifest", &ROOT, source);
    let sdk = root.get("sdk").or_else(|| {
        // An `sdk` in another table is reported there as an unknown key.
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
    let sdk = sdk.and_then(|value| match value.number_source(source) {
        Some(number) => {
            value.type_error("a string", Some(format!("write `\"{}\"`", suggest_sdk(&number))), source)
        }
        None => sdk_of(&value.string(source)?, source),
    });
    Draft { sdk, manifest: manifest(&root, sdk, ceiling, scripts, source) }
}

/// `None` if a part is invalid.
fn manifest(
    root: &Table<'_>,
    sdk: Option<SdkVersion>,
    ceiling: &Ceiling,
    scripts: &mut Scripts<'_>,
    source: &mut Source<'_>,
) -> Option<Manifest> {
    let is_unreadable = |key| root.misspells(key) || root.get(key).is_some_and(|value| !value.is_array());
    if ["routes", "schedules", "functions"].into_iter().any(is_unreadable) {
        scripts.mark_incomplete();
    }
    let app = root.get("app").map(|value| app(value, source)).unwrap_or_default();
    let limits = limits::read(root.get("limits"), ceiling, source);
    let of_app = (sdk, limits.as_ref());
    let routes =
        array_items(root, "routes", source, |value, source| routes::read(value, of_app, scripts, source));
    routes::check_conflicts(&routes, source);
    let schedules = array_items(root, "schedules", source, |value, source| {
        schedules::read(value, (sdk, ceiling), scripts, source)
    });
    check_schedule_count(root, schedules.len(), ceiling, source);
    schedules::check_run_rate(&schedules, ceiling, source);
    let schedules = schedules.into_iter().map(|draft| draft.job).collect();
    let functions =
        array_items(root, "functions", source, |value, source| functions::read(value, scripts, source));
    let settings = settings::read(root, sdk, source);
    let (env, secrets) = settings.unzip();
    let checks = checks::read(root, sdk, secrets.as_ref(), source);
    Some(Manifest {
        sdk: sdk?,
        app,
        routes: routes.into_iter().map(|draft| draft.finish()).collect::<Option<_>>()?,
        schedules: unique("schedule", schedules, source)?,
        functions: unique("function", functions, source)?,
        env: env?,
        secrets: secrets?,
        limits: limits?,
        checks: unique("check", checks?, source)?,
    })
}

fn sdk_of(text: &Text<'_>, source: &mut Source<'_>) -> Option<SdkVersion> {
    let version = SdkVersion::parse(text.value);
    match version {
        None => {
            let spoken = SdkVersion::ALL.map(|version| format!("`{version}`")).join(", ");
            let unknown = crate::diagnostic::quoted(text.value);
            let message = format!("sdk {unknown} is not supported, this server supports {spoken}");
            source.error_with(
                text.span.clone(),
                message,
                Some(format!("write `\"{}\"`", suggest_sdk(text.value))),
            );
        }
        Some(draft) if draft.is_draft() => {
            let message = format!("sdk {draft} is a draft: it can change until PiCloud 0.1.0 is released");
            let help = format!("for a stable contract, set `sdk = \"{}\"`", SdkVersion::NEWEST);
            source.warning(text.span.clone(), message, help);
        }
        Some(_) => {}
    }
    version
}

/// The likely version for an invalid one: `1.1` for `1.1.0` or `v1.1`, else the newest.
fn suggest_sdk(text: &str) -> SdkVersion {
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

/// Reads each item of the array `key`.
fn array_items<'t, T>(
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

fn check_schedule_count(root: &Table<'_>, requested: usize, ceiling: &Ceiling, source: &mut Source<'_>) {
    if let Some(value) = root.get("schedules").filter(|_| requested > ceiling.schedules) {
        let (max, granted_by) = (ceiling.schedules, ceiling.granted_by());
        let message = format!("`schedules` has {requested} entries, more than the {max} that {granted_by}");
        let help = ceiling.help("schedules", &requested.to_string());
        source.error_with(value.span(), message, Some(help));
    }
}

/// A partially parsed schedule, function or check.
struct JobDraft<T> {
    name: Option<(JobName, Range<usize>)>,
    job: Option<T>,
}

/// The jobs, if all are valid and their names are unique.
fn unique<T>(what: &str, jobs: Vec<JobDraft<T>>, source: &mut Source<'_>) -> Option<Vec<T>> {
    let mut first: HashMap<&JobName, usize> = HashMap::new();
    for (name, span) in jobs.iter().filter_map(|job| job.name.as_ref()) {
        if let Some(first) = first.get(name) {
            let line = source.line_of(*first);
            source.error(span.clone(), format!("{what} `{name}` is already declared in line {line}"));
        } else {
            first.insert(name, span.start);
        }
    }
    jobs.into_iter().map(|job| job.job).collect()
}

/// The name of a schedule, a function or a check, and its range.
fn job_name(table: &Table<'_>, source: &mut Source<'_>) -> Option<(JobName, Range<usize>)> {
    let text = table.require_string("name", source)?;
    match JobName::new(text.value) {
        Ok(name) => Some((name, text.span)),
        Err(error) => {
            let help = suggest_job_name(text.value).map(|name| format!("write `{name}`"));
            source.error_with(text.span, error.to_string(), help);
            None
        }
    }
}

/// The name with invalid characters replaced: `my-job` for `my job`.
fn suggest_job_name(text: &str) -> Option<JobName> {
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

    /// The schema is generated from the types, so parser and types must have the same keys.
    #[test]
    fn parser_and_types_have_the_same_keys() {
        let schema = json_schema();
        for (definition, keys) in [
            ("", &ROOT),
            ("/definitions/App", &APP),
            ("/definitions/Route", &routes::KEYS),
            ("/definitions/Schedule", &schedules::KEYS),
            ("/definitions/Function", &functions::KEYS),
            ("/definitions/SecretNames", &settings::KEYS),
            ("/definitions/Check", &checks::KEYS),
            ("/definitions/Expect", &checks::EXPECT_KEYS),
            ("/definitions/Limits", &limits::KEYS),
            ("/definitions/RouteLimits", &limits::ROUTE_KEYS),
        ] {
            let properties = schema.pointer(&format!("{definition}/properties")).and_then(Value::as_object);
            let declared: BTreeSet<&str> =
                properties.into_iter().flat_map(|map| map.keys().map(String::as_str)).collect();
            assert_eq!(declared, keys.known.iter().copied().collect(), "{definition}");
        }
    }
}
