//! What a revision changes about what is live.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use chrono::{DateTime, Utc};
use manifest_schema::manifest::{Manifest, Schedule};
use manifest_schema::name::{ScriptPath, SettingName};
use runtime::Source;

/// How many due times of a schedule are shown.
const DUE_SHOWN: usize = 3;

/// The differences between two revisions, kind by kind.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Plan {
    /// The domains of the app's own.
    pub domains: Changes,
    /// The routes.
    pub routes: Changes,
    /// The schedules.
    pub schedules: Changes,
    /// The functions.
    pub functions: Changes,
    /// The plain settings.
    pub env: Changes,
    /// The secrets that are required.
    pub secrets: Changes,
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

/// What a revision changes, and when its schedules are due.
#[derive(Clone, Debug)]
pub struct Planned {
    /// What it changes about what is live.
    pub plan: Plan,
    /// The schedules that it declares, each with its next due times, where they run.
    pub due: Option<Due>,
}

/// Schedules, each with its next due times.
pub type Due = Vec<(Schedule, Vec<DateTime<Utc>>)>;

/// A manifest with the text of its scripts.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Side<'a> {
    /// What is declared.
    pub(crate) manifest: &'a Manifest,
    /// Every script that is named.
    pub(crate) sources: &'a BTreeMap<ScriptPath, Arc<Source>>,
}

/// Compares what is live with what would be.
pub(crate) fn plan(live: Option<Side<'_>>, candidate: Side<'_>) -> Plan {
    let changed = |script: &ScriptPath| {
        live.is_some_and(|live| live.sources.get(script) != candidate.sources.get(script))
    };
    let before = live.map(|side| Declared::of(side.manifest)).unwrap_or_default();
    let after = Declared::of(candidate.manifest);
    let of = live.map(|live| live.manifest);
    Plan {
        domains: compare_names(of.map_or(&[][..], |live| &live.app.domains), &candidate.manifest.app.domains),
        routes: compare(&before.routes, &after.routes, &changed),
        schedules: compare(&before.schedules, &after.schedules, &changed),
        functions: compare(&before.functions, &after.functions, &changed),
        env: compare_settings(of.map(|live| &live.env), &candidate.manifest.env),
        secrets: compare_names(
            of.map_or(&[][..], |live| &live.secrets.required),
            &candidate.manifest.secrets.required,
        ),
    }
}

/// The schedules of a manifest, each with its next due times.
pub(crate) fn due_times(manifest: &Manifest) -> Due {
    let next = |schedule: &Schedule| {
        std::iter::successors(schedule.cron.next_after(Utc::now()), |due| schedule.cron.next_after(*due))
            .take(DUE_SHOWN)
            .collect()
    };
    manifest.schedules.iter().map(|schedule| (schedule.clone(), next(schedule))).collect()
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

/// What is there or is not, and has nothing to it that could change.
fn compare_names<T: PartialEq + ToString>(before: &[T], after: &[T]) -> Changes {
    let line = |sign| move |name: &T| Change { sign, columns: vec![name.to_string()] };
    let added = after.iter().filter(|name| !before.contains(name)).map(line(Sign::Added));
    let removed = before.iter().filter(|name| !after.contains(name)).map(line(Sign::Removed));
    let unchanged = after.iter().filter(|name| before.contains(name)).count();
    Changes { lines: added.chain(removed).collect(), unchanged }
}

/// Settings by their names: what they are set to is not shown.
fn compare_settings(
    before: Option<&BTreeMap<SettingName, String>>,
    after: &BTreeMap<SettingName, String>,
) -> Changes {
    let none = BTreeMap::new();
    let before = before.unwrap_or(&none);
    let mut changes = Changes::default();
    let names: BTreeSet<&SettingName> = before.keys().chain(after.keys()).collect();
    for name in names {
        let sign = match (before.get(name), after.get(name)) {
            (None, _) => Sign::Added,
            (_, None) => Sign::Removed,
            (Some(old), Some(new)) if old != new => Sign::Changed,
            _ => {
                changes.unchanged += 1;
                continue;
            }
        };
        changes.lines.push(Change { sign, columns: vec![name.to_string()] });
    }
    changes
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

#[cfg(test)]
mod tests {
    use manifest_schema::limits::Ceiling;
    use manifest_schema::parse::{ParseContext, parse};

    use super::*;

    fn side(manifest: &str, scripts: &[(&str, &str)]) -> (Manifest, BTreeMap<ScriptPath, Arc<Source>>) {
        let names = scripts.iter().map(|(path, _)| (*path).to_owned()).collect();
        let context = ParseContext { ceiling: &Ceiling::DEFAULT, scripts: &names };
        let manifest = parse(format!("sdk = \"1.2\"\n{manifest}").as_bytes(), context).unwrap().manifest;
        let source = |text: &str| Arc::new(Source::new(text));
        let sources = scripts.iter().map(|(path, text)| (ScriptPath::new(path).unwrap(), source(text)));
        (manifest, sources.collect())
    }

    const A: &str = "[[routes]]\npath = \"/a\"\nscript = \"a.rhai\"\n";
    const B: &str = "[[functions]]\nname = \"b\"\nscript = \"b.rhai\"\n";

    fn signs(changes: &Changes) -> Vec<Sign> {
        changes.lines.iter().map(|change| change.sign).collect()
    }

    #[test]
    fn a_first_revision_adds_everything() {
        let (manifest, sources) = side(&format!("{A}{B}"), &[("a.rhai", "1"), ("b.rhai", "2")]);
        let plan = plan(None, Side { manifest: &manifest, sources: &sources });
        assert_eq!((signs(&plan.routes), signs(&plan.functions)), (vec![Sign::Added], vec![Sign::Added]));
        assert_eq!(plan.routes.lines[0].columns, ["*", "/a", "a.rhai"]);
    }

    #[test]
    fn settings_and_secrets_are_compared_by_name_and_never_show_a_value() {
        let (old, sources) =
            side("[env]\nA = \"1\"\nB = \"1\"\nC = \"1\"\n[secrets]\nrequired = [\"K\"]\n", &[]);
        let (new, _) =
            side("[env]\nB = \"2\"\nC = \"1\"\nD = \"1\"\n[secrets]\nrequired = [\"K\", \"L\"]\n", &[]);
        let live = Side { manifest: &old, sources: &sources };
        let plan = plan(Some(live), Side { manifest: &new, sources: &sources });
        let shown = |changes: &Changes| {
            let lines = changes.lines.iter().map(|change| (change.sign, change.columns.join(" ")));
            (lines.collect::<Vec<_>>(), changes.unchanged)
        };
        let line = |sign, name: &str| (sign, name.to_owned());
        let env = vec![line(Sign::Removed, "A"), line(Sign::Changed, "B"), line(Sign::Added, "D")];
        assert_eq!(shown(&plan.env), (env, 1));
        assert_eq!(shown(&plan.secrets), (vec![line(Sign::Added, "L")], 1));
    }

    #[test]
    fn what_goes_comes_changes_and_stays_is_told_apart() {
        let (old, old_sources) = side(A, &[("a.rhai", "1")]);
        let live = Side { manifest: &old, sources: &old_sources };
        let (same, same_sources) = side(A, &[("a.rhai", "1")]);
        let unchanged = plan(Some(live), Side { manifest: &same, sources: &same_sources });
        assert_eq!((unchanged.routes.lines.len(), unchanged.routes.unchanged), (0, 1));
        let (new, new_sources) = side(A, &[("a.rhai", "2")]);
        let changed = plan(Some(live), Side { manifest: &new, sources: &new_sources });
        assert_eq!(signs(&changed.routes), [Sign::Changed]);
        let (other, other_sources) = side(B, &[("b.rhai", "1")]);
        let replaced = plan(Some(live), Side { manifest: &other, sources: &other_sources });
        assert_eq!(
            (signs(&replaced.routes), signs(&replaced.functions)),
            (vec![Sign::Removed], vec![Sign::Added])
        );
    }
}
