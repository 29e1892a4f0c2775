//! The plan: what a revision changes relative to the live one.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use chrono::{DateTime, Utc};
use manifest_schema::manifest::{Manifest, Schedule};
use manifest_schema::name::ScriptPath;
use runtime::{Revision, Source, TEMPLATE_FOLDER, Templates};

/// How many due times of a schedule are shown.
const DUE_TIMES_SHOWN: usize = 3;

/// The differences between two revisions, kind by kind.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Plan {
    /// The custom domains.
    pub domains: Changes,
    /// The routes.
    pub routes: Changes,
    /// The schedules.
    pub schedules: Changes,
    /// The functions.
    pub functions: Changes,
    /// The libraries that scripts import.
    pub libraries: Changes,
    /// The templates.
    pub templates: Changes,
    /// The environment settings.
    pub env: Changes,
    /// The required secrets.
    pub secrets: Changes,
}

/// The differences of one kind.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Changes {
    /// The changed entries, in display order.
    pub entries: Vec<Change>,
    /// The number of unchanged entries.
    pub unchanged: usize,
}

/// One entry of a plan.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// Added, removed or changed.
    pub kind: ChangeKind,
    /// The columns: methods and path, or name and cron; then the script.
    pub columns: Vec<String>,
}

/// The kind of a change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChangeKind {
    /// It is new.
    Added,
    /// It is removed.
    Removed,
    /// Its declaration or the text of its script changes.
    Changed,
}

/// A plan with the upcoming due times.
#[derive(Clone, Debug)]
pub struct Planned {
    /// The plan.
    pub plan: Plan,
    /// The declared schedules with their next due times, if they are enabled.
    pub upcoming: Option<UpcomingRuns>,
}

/// Schedules with their next due times.
pub type UpcomingRuns = Vec<(Schedule, Vec<DateTime<Utc>>)>;

/// A manifest with its scripts and templates.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RevisionContent<'a> {
    /// The declarations.
    pub(crate) manifest: &'a Manifest,
    /// The declared scripts.
    pub(crate) sources: &'a BTreeMap<ScriptPath, Arc<Source>>,
    /// The templates.
    pub(crate) templates: &'a Templates,
}

impl<'a> RevisionContent<'a> {
    /// The content of a revision.
    pub(crate) fn of(revision: &'a Revision) -> Self {
        let (manifest, sources) = (revision.manifest(), revision.sources());
        Self { manifest, sources, templates: revision.templates() }
    }

    /// The texts of the libraries.
    fn libraries(&self) -> BTreeMap<String, &'a str> {
        let files = self.sources.values().flat_map(|source| source.libraries());
        files.map(|file| (file.path.to_string(), file.source.text())).collect()
    }

    /// The texts of the templates by path.
    fn templates(&self) -> BTreeMap<String, &'a str> {
        let named = self.templates.iter();
        named.map(|(name, source)| (format!("{TEMPLATE_FOLDER}{name}"), source.text())).collect()
    }
}

/// Compares the live revision with the candidate.
pub(crate) fn plan(live: Option<RevisionContent<'_>>, candidate: RevisionContent<'_>) -> Plan {
    let changed = |script: &ScriptPath| {
        live.is_some_and(|live| live.sources.get(script) != candidate.sources.get(script))
    };
    let before = live.map(|content| Declared::of(content.manifest)).unwrap_or_default();
    let after = Declared::of(candidate.manifest);
    let of = live.map(|live| live.manifest);
    Plan {
        domains: compare_names(of.map_or(&[][..], |live| &live.app.domains), &candidate.manifest.app.domains),
        routes: compare(&before.routes, &after.routes, &changed),
        schedules: compare(&before.schedules, &after.schedules, &changed),
        functions: compare(&before.functions, &after.functions, &changed),
        libraries: compare_values(
            &live.as_ref().map(RevisionContent::libraries).unwrap_or_default(),
            &candidate.libraries(),
        ),
        templates: compare_values(
            &live.as_ref().map(RevisionContent::templates).unwrap_or_default(),
            &candidate.templates(),
        ),
        env: compare_values(of.map_or(&BTreeMap::new(), |live| &live.env), &candidate.manifest.env),
        secrets: compare_names(
            of.map_or(&[][..], |live| &live.secrets.required),
            &candidate.manifest.secrets.required,
        ),
    }
}

/// The schedules of a manifest with their next due times.
pub(crate) fn due_times(manifest: &Manifest) -> UpcomingRuns {
    let next = |schedule: &Schedule| {
        std::iter::successors(schedule.cron.next_after(Utc::now()), |due| schedule.cron.next_after(*due))
            .take(DUE_TIMES_SHOWN)
            .collect()
    };
    manifest.schedules.iter().map(|schedule| (schedule.clone(), next(schedule))).collect()
}

/// Declarations by key, with their columns and script.
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

/// Compares lists of names, which are only added or removed.
fn compare_names<T: PartialEq + ToString>(before: &[T], after: &[T]) -> Changes {
    let entry = |kind| move |name: &T| Change { kind, columns: vec![name.to_string()] };
    let added = after.iter().filter(|name| !before.contains(name)).map(entry(ChangeKind::Added));
    let removed = before.iter().filter(|name| !after.contains(name)).map(entry(ChangeKind::Removed));
    let unchanged = after.iter().filter(|name| before.contains(name)).count();
    Changes { entries: added.chain(removed).collect(), unchanged }
}

/// Compares values by name, as settings and files: values are not shown.
fn compare_values<N: Ord + ToString, V: PartialEq>(
    before: &BTreeMap<N, V>,
    after: &BTreeMap<N, V>,
) -> Changes {
    let mut changes = Changes::default();
    let names: BTreeSet<&N> = before.keys().chain(after.keys()).collect();
    for name in names {
        let kind = match (before.get(name), after.get(name)) {
            (None, _) => ChangeKind::Added,
            (_, None) => ChangeKind::Removed,
            (Some(old), Some(new)) if old != new => ChangeKind::Changed,
            _ => {
                changes.unchanged += 1;
                continue;
            }
        };
        changes.entries.push(Change { kind, columns: vec![name.to_string()] });
    }
    changes
}

fn compare(before: &Declarations, after: &Declarations, changed: &dyn Fn(&ScriptPath) -> bool) -> Changes {
    let mut changes = Changes::default();
    let keys: BTreeSet<&String> = before.keys().chain(after.keys()).collect();
    for key in keys {
        let (kind, (columns, _)) = match (before.get(key), after.get(key)) {
            (None, Some(new)) => (ChangeKind::Added, new),
            (Some(old), None) => (ChangeKind::Removed, old),
            (Some(old), Some(new)) if old != new || changed(&new.1) => (ChangeKind::Changed, new),
            _ => {
                changes.unchanged += 1;
                continue;
            }
        };
        changes.entries.push(Change { kind, columns: columns.clone() });
    }
    changes
}

#[cfg(test)]
mod tests {
    use manifest_schema::limits::Ceiling;
    use manifest_schema::parse::{ParseContext, parse};

    use super::*;
    use runtime::LibraryFile;

    fn content(manifest: &str, scripts: &[(&str, &str)]) -> (Manifest, BTreeMap<ScriptPath, Arc<Source>>) {
        let names = scripts.iter().map(|(path, _)| (*path).to_owned()).collect();
        let context = ParseContext::new(&Ceiling::DEFAULT, &names);
        let manifest = parse(format!("sdk = \"1.2\"\n{manifest}").as_bytes(), context).unwrap().manifest;
        let source = |text: &str| Arc::new(Source::new(text));
        let sources = scripts.iter().map(|(path, text)| (ScriptPath::new(path).unwrap(), source(text)));
        (manifest, sources.collect())
    }

    static NO_TEMPLATES: Templates = Templates::new();

    fn side<'a>(
        manifest: &'a Manifest,
        sources: &'a BTreeMap<ScriptPath, Arc<Source>>,
    ) -> RevisionContent<'a> {
        RevisionContent { manifest, sources, templates: &NO_TEMPLATES }
    }

    const A: &str = "[[routes]]\npath = \"/a\"\nscript = \"a.rhai\"\n";
    const B: &str = "[[functions]]\nname = \"b\"\nscript = \"b.rhai\"\n";

    fn kinds(changes: &Changes) -> Vec<ChangeKind> {
        changes.entries.iter().map(|change| change.kind).collect()
    }

    #[test]
    fn first_revision_adds_everything() {
        let (manifest, sources) = content(&format!("{A}{B}"), &[("a.rhai", "1"), ("b.rhai", "2")]);
        let plan = plan(None, side(&manifest, &sources));
        assert_eq!(
            (kinds(&plan.routes), kinds(&plan.functions)),
            (vec![ChangeKind::Added], vec![ChangeKind::Added])
        );
        assert_eq!(plan.routes.entries[0].columns, ["*", "/a", "a.rhai"]);
    }

    #[test]
    fn plan_compares_libraries_and_templates() {
        let (manifest, _) = content(A, &[("a.rhai", "1")]);
        let sources = |libraries: &[(&str, &str)]| {
            let files = libraries.iter().map(|(path, text)| LibraryFile {
                path: ScriptPath::new(path).unwrap(),
                source: Arc::new(Source::new(*text)),
            });
            let source = Source::new("1").with_libraries(files.collect());
            BTreeMap::from([(ScriptPath::new("a.rhai").unwrap(), Arc::new(source))])
        };
        let templates = |texts: &[(&str, &str)]| -> Templates {
            texts.iter().map(|(name, text)| ((*name).to_owned(), Arc::new(Source::new(*text)))).collect()
        };
        let (old, new) =
            (sources(&[("lib/a.rhai", "1"), ("lib/b.rhai", "1")]), sources(&[("lib/b.rhai", "2")]));
        let (old_templates, new_templates) = (
            templates(&[("same.html", "x"), ("old.html", "x")]),
            templates(&[("same.html", "x"), ("new.html", "")]),
        );
        let plan = plan(
            Some(RevisionContent { templates: &old_templates, ..side(&manifest, &old) }),
            RevisionContent { templates: &new_templates, ..side(&manifest, &new) },
        );
        let shown = |changes: &Changes| -> Vec<_> {
            changes.entries.iter().map(|change| (change.kind, change.columns.join(" "))).collect()
        };
        let entry = |kind, name: &str| (kind, name.to_owned());
        assert_eq!(
            shown(&plan.libraries),
            [entry(ChangeKind::Removed, "lib/a.rhai"), entry(ChangeKind::Changed, "lib/b.rhai")]
        );
        assert_eq!(
            shown(&plan.templates),
            [
                entry(ChangeKind::Added, "templates/new.html"),
                entry(ChangeKind::Removed, "templates/old.html")
            ]
        );
        assert_eq!((plan.templates.unchanged, kinds(&plan.routes)), (1, vec![ChangeKind::Changed]));
    }

    #[test]
    fn plan_compares_settings_by_name_without_values() {
        let (old, sources) =
            content("[env]\nA = \"1\"\nB = \"1\"\nC = \"1\"\n[secrets]\nrequired = [\"K\"]\n", &[]);
        let (new, _) =
            content("[env]\nB = \"2\"\nC = \"1\"\nD = \"1\"\n[secrets]\nrequired = [\"K\", \"L\"]\n", &[]);
        let live = side(&old, &sources);
        let plan = plan(Some(live), side(&new, &sources));
        let shown = |changes: &Changes| {
            let entries = changes.entries.iter().map(|change| (change.kind, change.columns.join(" ")));
            (entries.collect::<Vec<_>>(), changes.unchanged)
        };
        let entry = |kind, name: &str| (kind, name.to_owned());
        let env = vec![
            entry(ChangeKind::Removed, "A"),
            entry(ChangeKind::Changed, "B"),
            entry(ChangeKind::Added, "D"),
        ];
        assert_eq!(shown(&plan.env), (env, 1));
        assert_eq!(shown(&plan.secrets), (vec![entry(ChangeKind::Added, "L")], 1));
    }

    #[test]
    fn plan_distinguishes_added_removed_changed_and_unchanged() {
        let (old, old_sources) = content(A, &[("a.rhai", "1")]);
        let live = side(&old, &old_sources);
        let (same, same_sources) = content(A, &[("a.rhai", "1")]);
        let unchanged = plan(Some(live), side(&same, &same_sources));
        assert_eq!((unchanged.routes.entries.len(), unchanged.routes.unchanged), (0, 1));
        let (new, new_sources) = content(A, &[("a.rhai", "2")]);
        let changed = plan(Some(live), side(&new, &new_sources));
        assert_eq!(kinds(&changed.routes), [ChangeKind::Changed]);
        let (other, other_sources) = content(B, &[("b.rhai", "1")]);
        let replaced = plan(Some(live), side(&other, &other_sources));
        assert_eq!(
            (kinds(&replaced.routes), kinds(&replaced.functions)),
            (vec![ChangeKind::Removed], vec![ChangeKind::Added])
        );
    }
}
