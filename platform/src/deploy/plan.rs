//! What a revision changes about what is live.

use std::collections::{BTreeMap, BTreeSet};

use manifest_schema::manifest::Manifest;
use manifest_schema::name::ScriptPath;

/// The differences between two revisions, kind by kind.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Plan {
    /// The routes.
    pub routes: Changes,
    /// The schedules.
    pub schedules: Changes,
    /// The functions.
    pub functions: Changes,
}

/// The differences of one kind.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Changes {
    /// What is added, goes or changes, in the order it is shown.
    pub lines: Vec<Change>,
    /// How many stay as they are.
    pub unchanged: usize,
}

/// One line of a plan.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// Added, removed or changed.
    pub sign: Sign,
    /// What it is, in columns: methods and path, or name and cron; then the script.
    pub columns: Vec<String>,
}

/// What happens to a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sign {
    /// It was not there.
    Added,
    /// It will not be there.
    Removed,
    /// It is declared differently, or its script has other text.
    Changed,
}

/// A manifest with the text of its scripts.
#[derive(Clone, Copy, Debug)]
pub(super) struct Side<'a> {
    /// What is declared.
    pub(super) manifest: &'a Manifest,
    /// The text of every script that is named.
    pub(super) sources: &'a BTreeMap<ScriptPath, String>,
}

/// Compares what is live with what would be.
pub(super) fn plan(live: Option<Side<'_>>, candidate: Side<'_>) -> Plan {
    let changed = |script: &ScriptPath| {
        live.is_some_and(|live| live.sources.get(script) != candidate.sources.get(script))
    };
    let before = live.map(|side| Declared::of(side.manifest)).unwrap_or_default();
    let after = Declared::of(candidate.manifest);
    Plan {
        routes: compare(&before.routes, &after.routes, &changed),
        schedules: compare(&before.schedules, &after.schedules, &changed),
        functions: compare(&before.functions, &after.functions, &changed),
    }
}

/// What identifies a declaration, and what is shown of it.
type Declarations = BTreeMap<String, (Vec<String>, ScriptPath)>;

#[derive(Default)]
struct Declared {
    routes: Declarations,
    schedules: Declarations,
    functions: Declarations,
}

impl Declared {
    fn of(manifest: &Manifest) -> Self {
        let routes = manifest.routes.iter().map(|route| {
            let columns = vec![route.methods.to_string(), route.path.to_string(), route.script.to_string()];
            (format!("{} {}", route.path, route.methods), (columns, route.script.clone()))
        });
        let schedules = manifest.schedules.iter().map(|schedule| {
            let columns = vec![
                schedule.name.to_string(),
                schedule.cron.as_str().to_owned(),
                schedule.cron.zone_name().to_owned(),
                schedule.script.to_string(),
            ];
            (schedule.name.to_string(), (columns, schedule.script.clone()))
        });
        let functions = manifest.functions.iter().map(|function| {
            let columns = vec![function.name.to_string(), function.script.to_string()];
            (function.name.to_string(), (columns, function.script.clone()))
        });
        Self { routes: routes.collect(), schedules: schedules.collect(), functions: functions.collect() }
    }
}

fn compare(before: &Declarations, after: &Declarations, changed: &dyn Fn(&ScriptPath) -> bool) -> Changes {
    let mut changes = Changes::default();
    let keys: BTreeSet<&String> = before.keys().chain(after.keys()).collect();
    for key in keys {
        let (sign, (columns, _)) = match (before.get(key), after.get(key)) {
            (None, Some(new)) => (Sign::Added, new),
            (Some(old), None) => (Sign::Removed, old),
            (Some(old), Some(new)) if old != new || changed(&new.1) => (Sign::Changed, new),
            _ => {
                changes.unchanged += 1;
                continue;
            }
        };
        changes.lines.push(Change { sign, columns: columns.clone() });
    }
    changes
}
