//! `[[routes]]`: what answers HTTP.

use std::collections::HashMap;
use std::ops::Range;

use crate::diagnostic::quoted;
use crate::manifest::Route;
use crate::method::{Method, MethodSet};
use crate::name::ScriptPath;
use crate::path::RoutePath;
use crate::source::Source;
use crate::table::{Keys, Table, Value};

use super::scripts::Scripts;

pub(super) const KEYS: Keys = Keys { known: &["path", "methods", "script"], not_yet: &[] };

/// A route as far as it could be read.
pub(super) struct Draft {
    path: Option<(RoutePath, Range<usize>)>,
    /// The methods that were understood.
    methods: MethodSet,
    script: Option<ScriptPath>,
}

impl Draft {
    /// The route, if it is whole.
    pub(super) fn finish(self) -> Option<Route> {
        let (path, _) = self.path?;
        Some(Route { path, methods: self.methods, script: self.script? })
    }
}

/// Reads one of `[[routes]]`.
pub(super) fn read(value: Value<'_>, scripts: &mut Scripts<'_>, source: &mut Source<'_>) -> Draft {
    let Some(table) = value.table("[[routes]]", &KEYS, source) else {
        return Draft { path: None, methods: MethodSet::NONE, script: None };
    };
    let path = path(&table, source);
    let methods = table.get("methods").map_or(MethodSet::ALL, |value| methods(value, source));
    Draft { path, methods, script: scripts.read(&table, source) }
}

fn path(table: &Table<'_>, source: &mut Source<'_>) -> Option<(RoutePath, Range<usize>)> {
    let text = table.require_string("path", source)?;
    match RoutePath::parse(text.value) {
        Ok(path) => {
            for (part, capture) in path.foreign_captures() {
                let written = &path.as_str()[part.clone()];
                let message = format!(
                    "{} is text here, and only it is matched; a part is captured by `{capture}`",
                    quoted(written)
                );
                let span = text.span_of(part, source);
                // Where a part is more than the capture, the script takes it apart.
                let is_whole =
                    !written.trim_matches(|c| matches!(c, '[' | ']' | '<' | '>')).contains(['.', '-', '@'])
                        || written.contains("...");
                let help = match is_whole {
                    true => format!("write `{capture}`"),
                    false => format!("write `{capture}`, and let the script look at the rest of the part"),
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
        let help = match methods_meant(text) {
            _ if is_every_method(text) => Some(EVERY_METHOD.to_owned()),
            Some(listed) => Some(format!("write `[{listed}]`")),
            None => Some(known()),
        };
        return value.refuse("an array", help, source).unwrap_or(methods);
    }
    let Some(items) = value.array(source) else { return methods };
    if items.is_empty() {
        let help = EVERY_METHOD.to_owned();
        source.error_with(value.span(), "`methods` has no method".to_owned(), Some(help));
    }
    for item in items {
        let Some(name) = item.string(source) else { continue };
        match Method::parse(name.value) {
            Some(method) if methods.contains(method) => {
                source.error(name.span, format!("method `{}` is named twice", method.as_str()));
            }
            Some(method) => methods.insert(method),
            None => {
                let help = match methods_meant(name.value) {
                    _ if is_every_method(name.value) => EVERY_METHOD.to_owned(),
                    Some(listed) if name.value.contains(SEPARATORS) => format!("write `{listed}`"),
                    _ => {
                        let near =
                            source.did_you_mean(name.value, Method::ALL.map(Method::as_str).into_iter());
                        near.unwrap_or_else(known)
                    }
                };
                let message = format!("{} is not a method that a script can answer", quoted(name.value));
                source.error_with(name.span, message, Some(help));
            }
        }
    }
    methods
}

const EVERY_METHOD: &str = "leave it out to answer every method";

const SEPARATORS: [char; 4] = [',', '|', '/', ' '];

/// What stands for every method elsewhere.
fn is_every_method(text: &str) -> bool {
    ["*", "any", "all"].iter().any(|every| text.trim().eq_ignore_ascii_case(every))
}

fn known() -> String {
    format!("known are {}", Method::ALL.map(Method::as_str).join(", "))
}

/// The methods that are named in one text, as items of an array: `"GET", "POST"` for `get|post`.
fn methods_meant(text: &str) -> Option<String> {
    let words = text.split(SEPARATORS).filter(|word| !word.is_empty());
    let methods: Option<Vec<Method>> = words.map(|word| Method::parse(&word.to_ascii_uppercase())).collect();
    let listed: Vec<String> = methods?
        .into_iter()
        .collect::<MethodSet>()
        .iter()
        .map(|method| format!("\"{}\"", method.as_str()))
        .collect();
    (!listed.is_empty()).then(|| listed.join(", "))
}

/// Refuses each route that matches a request which an earlier one matches as well as it. Of a literal, a capture and a
/// capture of the remainder at one place the more specific wins, so only paths of one shape conflict.
pub(super) fn refuse_conflicts(drafts: &[Draft], source: &mut Source<'_>) {
    let mut earlier: HashMap<String, Vec<(MethodSet, usize)>> = HashMap::new();
    for draft in drafts {
        let Some((path, span)) = &draft.path else { continue };
        let same_shape = earlier.entry(path.shape()).or_default();
        let both = |methods: MethodSet| methods.intersection(draft.methods);
        if let Some((methods, start)) = same_shape.iter().find(|(methods, _)| !both(*methods).is_empty()) {
            let line = source.line_of(*start);
            let both = match both(*methods) {
                MethodSet::ALL => "every method".to_owned(),
                some => some.to_string(),
            };
            let message = format!(
                "path {} is answered by the route of line {line} already, for {both}",
                quoted(path.as_str())
            );
            let help = "remove one, or give each its `methods`".to_owned();
            source.error_with(span.clone(), message, Some(help));
        } else {
            same_shape.push((draft.methods, span.start));
        }
    }
}
