//! The scripts that a manifest names, and those of the repository that it does not.

use std::cell::OnceCell;
use std::collections::{BTreeSet, HashMap};

use crate::diagnostic::{Diagnostic, Diagnostics};
use crate::manifest::FILE_NAME;
use crate::name::ScriptPath;
use crate::source::Source;
use crate::table::Table;

/// The scripts of a repository, and which of them have been named.
pub(super) struct Scripts<'a> {
    known: &'a BTreeSet<String>,
    named: BTreeSet<ScriptPath>,
    all_understood: bool,
    /// Made when the first name is wrong.
    by_other_names: OnceCell<ByOtherNames<'a>>,
}

/// The scripts by what is written instead of their paths. The first of several counts.
struct ByOtherNames<'a> {
    /// Those that a manifest can name.
    paths: Vec<&'a str>,
    /// By the path without its ending, in lower case.
    stems: HashMap<String, &'a str>,
    /// By the name of the file without its ending, in lower case.
    names: HashMap<String, &'a str>,
}

impl<'a> ByOtherNames<'a> {
    fn of(known: &'a BTreeSet<String>) -> Self {
        let paths: Vec<&str> =
            known.iter().map(String::as_str).filter(|path| ScriptPath::new(path).is_ok()).collect();
        let (mut stems, mut names) = (HashMap::new(), HashMap::new());
        for path in &paths {
            let stem = stem(path);
            names.entry(name(&stem).to_owned()).or_insert(*path);
            stems.entry(stem).or_insert(*path);
        }
        Self { paths, stems, names }
    }

    /// The script that is meant by another way to write its path, by its folder or by its name alone.
    fn meant(&self, text: &str, known: &'a BTreeSet<String>) -> Option<&'a str> {
        let text = text.replace('\\', "/");
        let path = text.trim_start_matches(['.', '/']).trim_end_matches('/');
        if path.is_empty() {
            return None;
        }
        let stem = stem(path);
        let folder = format!("{path}/");
        let within = || {
            known.range(folder.clone()..).next().filter(|path| path.starts_with(&folder)).map(String::as_str)
        };
        let within = || within().filter(|path| ScriptPath::new(path).is_ok());
        self.stems.get(&stem).copied().or_else(within).or_else(|| self.names.get(name(&stem)).copied())
    }
}

/// A path without its ending, in lower case.
fn stem(path: &str) -> String {
    let stem =
        path.rsplit_once('.').filter(|(_, ending)| !ending.contains('/')).map_or(path, |(stem, _)| stem);
    stem.to_ascii_lowercase()
}

fn name(stem: &str) -> &str {
    stem.rsplit_once('/').map_or(stem, |(_, name)| name)
}

impl<'a> Scripts<'a> {
    /// The scripts `known`; whether all of the manifest could be read so far.
    pub(super) fn new(known: &'a BTreeSet<String>, all_understood: bool) -> Self {
        Self { known, named: BTreeSet::new(), all_understood, by_other_names: OnceCell::new() }
    }

    /// Notes that something was not understood that can name scripts.
    pub(super) fn note_misunderstood(&mut self) {
        self.all_understood = false;
    }

    /// The script that `table` names.
    pub(super) fn read(&mut self, table: &Table<'_>, source: &mut Source<'_>) -> Option<ScriptPath> {
        let script = self.find(table, source);
        self.all_understood &= script.is_some();
        self.named.extend(script.clone());
        script
    }

    fn find(&self, table: &Table<'_>, source: &mut Source<'_>) -> Option<ScriptPath> {
        let text = table.require_string("script", source)?;
        let message = match ScriptPath::new(text.value) {
            Ok(path) if self.known.contains(path.as_str()) => return Some(path),
            Ok(path) => format!("script `{}` is not in the repository", path.as_str().escape_debug()),
            Err(error) => error.to_string(),
        };
        let by_other_names = self.by_other_names.get_or_init(|| ByOtherNames::of(self.known));
        let help = match by_other_names.meant(text.value, self.known) {
            Some(path) => Some(format!("did you mean `{path}`?")),
            None => source.did_you_mean(text.value, by_other_names.paths.iter().copied()),
        };
        source.error_with(text.span, message, help);
        None
    }

    /// The scripts that were named, unless a name was not understood: it may have meant any of them.
    pub(super) fn named(self) -> Option<BTreeSet<ScriptPath>> {
        self.all_understood.then_some(self.named)
    }

    /// A warning for each script that nothing names. There is none where a name was not understood.
    pub(super) fn warn_of_unnamed(&self, diagnostics: &mut Diagnostics) {
        if !self.all_understood {
            return;
        }
        let named: BTreeSet<&str> = self.named.iter().map(ScriptPath::as_str).collect();
        let message = format!("no route, schedule or function of {FILE_NAME} names it");
        for path in self.known.iter().filter(|path| !named.contains(path.as_str())) {
            diagnostics.add(Diagnostic::warning(path, None, message.as_str()));
        }
    }
}
