//! `[[routes]]`: HTTP routes.

use std::collections::HashMap;
use std::ops::Range;

use crate::diagnostic::quoted;
use crate::limits::{Limits, RouteLimits};
use crate::manifest::Route;
use crate::method::{Method, MethodSet};
use crate::name::ScriptPath;
use crate::path::RoutePath;
use crate::sdk::SdkVersion;
use crate::source::Source;
use crate::table::{Keys, Table, Value};

use super::limits;
use super::scripts::Scripts;

pub(super) const KEYS: Keys = Keys { known: &["path", "methods", "script", "limits"], reserved: &[] };

/// A partially parsed route.
pub(super) struct RouteDraft {
    path: Option<(RoutePath, Range<usize>)>,
    /// The valid methods.
    methods: MethodSet,
    script: Option<ScriptPath>,
    limits: Option<RouteLimits>,
}

impl RouteDraft {
    /// The route, if it is valid.
    pub(super) fn finish(self) -> Option<Route> {
        let (path, _) = self.path?;
        Some(Route { path, methods: self.methods, script: self.script?, limits: self.limits? })
    }
}

/// Reads one `[[routes]]` table. `limits` are those of the app, if they are valid.
pub(super) fn read(
    value: Value<'_>,
    (sdk, limits): (Option<SdkVersion>, Option<&Limits>),
    scripts: &mut Scripts<'_>,
    source: &mut Source<'_>,
) -> RouteDraft {
    let Some(table) = value.table("[[routes]]", &KEYS, source) else {
        return RouteDraft { path: None, methods: MethodSet::NONE, script: None, limits: None };
    };
    let path = path(&table, source);
    let methods = table.get("methods").map_or(MethodSet::ALL, |value| methods(value, source));
    let script = scripts.read(&table, source);
    RouteDraft { path, methods, script, limits: limits::of_route(&table, limits, sdk, source) }
}

fn path(table: &Table<'_>, source: &mut Source<'_>) -> Option<(RoutePath, Range<usize>)> {
    let text = table.require_string("path", source)?;
    match RoutePath::parse(text.value) {
        Ok(path) => {
            for (part, capture) in path.foreign_captures() {
                let written = &path.as_str()[part.clone()];
                let message = format!("{} is literal text; `{capture}` captures a segment", quoted(written));
                let span = text.span_of(part, source);
                // If the segment is more than a capture, the script must parse it.
                let is_whole =
                    !written.trim_matches(|c| matches!(c, '[' | ']' | '<' | '>')).contains(['.', '-', '@'])
                        || written.contains("...");
                let help = match is_whole {
                    true => format!("write `{capture}`"),
                    false => format!("write `{capture}`, and parse the rest of the segment in the script"),
                };
                source.warning(span, message, help);
            }
            Some((path, text.span))
        }
        Err(error) => {
            let span = text.span_of(error.range.clone(), source);
            source.error_with(span, error.to_string(), error.help());
            None
        }
    }
}

fn methods(value: Value<'_>, source: &mut Source<'_>) -> MethodSet {
    let mut methods = MethodSet::NONE;
    if let Some(text) = value.as_str() {
        let help = match suggest_methods(text) {
            _ if is_every_method(text) => Some(EVERY_METHOD_HELP.to_owned()),
            Some(listed) => Some(format!("write `[{listed}]`")),
            None => Some(known_methods()),
        };
        return value.type_error("an array", help, source).unwrap_or(methods);
    }
    let Some(items) = value.array(source) else { return methods };
    if items.is_empty() {
        let help = EVERY_METHOD_HELP.to_owned();
        source.error_with(value.span(), "`methods` is empty".to_owned(), Some(help));
    }
    for item in items {
        let Some(name) = item.string(source) else { continue };
        match Method::parse(name.value) {
            Some(method) if methods.contains(method) => {
                source.error(name.span, format!("duplicate method `{}`", method.as_str()));
            }
            Some(method) => methods.insert(method),
            None => {
                let help = match suggest_methods(name.value) {
                    _ if is_every_method(name.value) => EVERY_METHOD_HELP.to_owned(),
                    Some(listed) if name.value.contains(SEPARATORS) => format!("write `{listed}`"),
                    _ => {
                        let near =
                            source.did_you_mean(name.value, Method::ALL.map(Method::as_str).into_iter());
                        near.unwrap_or_else(known_methods)
                    }
                };
                let message = format!("{} is not a supported method", quoted(name.value));
                source.error_with(name.span, message, Some(help));
            }
        }
    }
    methods
}

const EVERY_METHOD_HELP: &str = "remove it to match every method";

const SEPARATORS: [char; 4] = [',', '|', '/', ' '];

/// Whether other routers use `text` for every method.
fn is_every_method(text: &str) -> bool {
    ["*", "any", "all"].iter().any(|every| text.trim().eq_ignore_ascii_case(every))
}

fn known_methods() -> String {
    format!("expected one of {}", Method::ALL.map(Method::as_str).join(", "))
}

/// The methods in one string as array items: `"GET", "POST"` for `get|post`.
fn suggest_methods(text: &str) -> Option<String> {
    let names = text.split(SEPARATORS).filter(|name| !name.is_empty());
    let methods: Option<Vec<Method>> = names.map(|name| Method::parse(&name.to_ascii_uppercase())).collect();
    let listed: Vec<String> = methods?
        .into_iter()
        .collect::<MethodSet>()
        .iter()
        .map(|method| format!("\"{}\"", method.as_str()))
        .collect();
    (!listed.is_empty()).then(|| listed.join(", "))
}

/// Reports routes that match the same requests as an earlier one. A literal takes precedence over a capture, and a
/// capture over a capture of the remaining segments, so only paths of one shape conflict.
pub(super) fn check_conflicts(drafts: &[RouteDraft], source: &mut Source<'_>) {
    let mut earlier: HashMap<String, Vec<(MethodSet, usize)>> = HashMap::new();
    for draft in drafts {
        let Some((path, span)) = &draft.path else { continue };
        let same_shape = earlier.entry(path.shape()).or_default();
        let common = |methods: MethodSet| methods.intersection(draft.methods);
        if let Some((methods, start)) = same_shape.iter().find(|(methods, _)| !common(*methods).is_empty()) {
            let line = source.line_of(*start);
            let common = match common(*methods) {
                MethodSet::ALL => "every method".to_owned(),
                some => some.to_string(),
            };
            let message = format!(
                "path {} conflicts with the route in line {line} for {common}",
                quoted(path.as_str())
            );
            let help = "remove one, or restrict the `methods` of each".to_owned();
            source.error_with(span.clone(), message, Some(help));
        } else {
            same_shape.push((draft.methods, span.start));
        }
    }
}
