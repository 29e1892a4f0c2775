//! `[[routes]]`: what answers HTTP.

use std::collections::HashMap;
use std::ops::Range;

use crate::fault::quoted;
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
        Ok(path) => Some((path, text.span)),
        Err(error) => {
            let span = text.span_of(error.range.clone(), source);
            source.error(span, error.to_string());
            None
        }
    }
}

fn methods(value: Value<'_>, source: &mut Source<'_>) -> MethodSet {
    let mut methods = MethodSet::NONE;
    if let Some(name) = value.as_str() {
        let advice = format!("write `[\"{}\"]`", name.escape_debug());
        return value.refuse("an array", Some(advice), source).unwrap_or(methods);
    }
    let Some(items) = value.array(source) else { return methods };
    if items.is_empty() {
        let advice = "leave it out to answer every method".to_owned();
        source.error_with(value.span(), "`methods` has no method".to_owned(), Some(advice));
    }
    for item in items {
        let Some(name) = item.string(source) else { continue };
        match Method::parse(name.value) {
            Some(method) if methods.contains(method) => {
                source.error(name.span, format!("method `{}` is named twice", method.as_str()));
            }
            Some(method) => methods.insert(method),
            None => {
                let known = Method::ALL.map(Method::as_str);
                let advice = source
                    .did_you_mean(name.value, known.into_iter())
                    .unwrap_or_else(|| format!("known are {}", known.join(", ")));
                let message = format!("{} is not a method that a script can answer", quoted(name.value));
                source.error_with(name.span, message, Some(advice));
            }
        }
    }
    methods
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
            source.error(span.clone(), message);
        } else {
            same_shape.push((draft.methods, span.start));
        }
    }
}
