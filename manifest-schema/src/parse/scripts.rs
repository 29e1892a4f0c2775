//! The scripts that a manifest uses, and unused scripts of the repository.

use std::cell::OnceCell;
use std::collections::{BTreeSet, HashMap};

use crate::diagnostic::{Diagnostic, Diagnostics};
use crate::manifest::{FILE_NAME, TEST_SUFFIX};
use crate::name::ScriptPath;
use crate::source::Source;
use crate::table::Table;

/// The scripts of a repository, and those that the manifest uses.
pub(super) struct Scripts<'a> {
    known: &'a BTreeSet<String>,
    named: BTreeSet<ScriptPath>,
    is_complete: bool,
    /// Built for the first invalid name.
    index: OnceCell<ScriptIndex<'a>>,
}

/// Scripts by other ways to write their paths; the first one on a tie.
struct ScriptIndex<'a> {
    /// The valid script paths.
    paths: Vec<&'a str>,
    /// By path without extension, in lower case.
    stems: HashMap<String, &'a str>,
    /// By file name without extension, in lower case.
    names: HashMap<String, &'a str>,
}

impl<'a> ScriptIndex<'a> {
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

    /// Finds a script by another spelling of its path, by its folder, or by its file name.
    fn find_script(&self, text: &str, known: &'a BTreeSet<String>) -> Option<&'a str> {
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

/// A path without its extension, in lower case.
fn stem(path: &str) -> String {
    let stem =
        path.rsplit_once('.').filter(|(_, ending)| !ending.contains('/')).map_or(path, |(stem, _)| stem);
    stem.to_ascii_lowercase()
}

fn name(stem: &str) -> &str {
    stem.rsplit_once('/').map_or(stem, |(_, name)| name)
}

impl<'a> Scripts<'a> {
    /// `is_complete`: whether the whole manifest could be read so far.
    pub(super) fn new(known: &'a BTreeSet<String>, is_complete: bool) -> Self {
        Self { known, named: BTreeSet::new(), is_complete, index: OnceCell::new() }
    }

    /// Records that a part which can name scripts was unreadable.
    pub(super) fn mark_incomplete(&mut self) {
        self.is_complete = false;
    }

    /// Reads the script of `table`.
    pub(super) fn read(&mut self, table: &Table<'_>, source: &mut Source<'_>) -> Option<ScriptPath> {
        let script = self.find(table, source);
        self.is_complete &= script.is_some();
        self.named.extend(script.clone());
        script
    }

    fn find(&self, table: &Table<'_>, source: &mut Source<'_>) -> Option<ScriptPath> {
        let text = table.require_string("script", source)?;
        let message = match ScriptPath::new(text.value) {
            Ok(path) if self.known.contains(path.as_str()) => return Some(path),
            Ok(path) if path.as_str().ends_with(TEST_SUFFIX) => {
                let message = format!(
                    "`{}` is a file of tests, which is no part of the app",
                    path.as_str().escape_debug()
                );
                let name = path.as_str().replace(TEST_SUFFIX, ".rhai");
                source.error_with(text.span, message, Some(format!("rename it, for example to {name}")));
                return None;
            }
            Ok(path) => format!("script `{}` is not in the repository", path.as_str().escape_debug()),
            Err(error) => error.to_string(),
        };
        let index = self.index.get_or_init(|| ScriptIndex::of(self.known));
        let help = match index.find_script(text.value, self.known) {
            Some(path) => Some(format!("did you mean `{path}`?")),
            None => source.did_you_mean(text.value, index.paths.iter().copied()),
        };
        source.error_with(text.span, message, help);
        None
    }

    /// The scripts in use; `None` if a name was unreadable, so that any script could be in use.
    pub(super) fn named(self) -> Option<BTreeSet<ScriptPath>> {
        self.is_complete.then_some(self.named)
    }

    /// Warns of scripts that are neither used nor imported by used ones, if every name was readable.
    pub(super) fn warn_of_unused(
        &self,
        imports_of: &dyn Fn(&ScriptPath) -> Vec<ScriptPath>,
        diagnostics: &mut Diagnostics,
    ) {
        if !self.is_complete {
            return;
        }
        let (mut used, mut open) = (BTreeSet::new(), Vec::from_iter(self.named.iter().cloned()));
        while let Some(path) = open.pop() {
            if !used.contains(path.as_str()) {
                open.extend(imports_of(&path));
                used.insert(path.as_str().to_owned());
            }
        }
        let message = format!("not used by any route, schedule, function or import of {FILE_NAME}");
        for path in self.known.iter().filter(|path| !used.contains(*path)) {
            diagnostics.add(Diagnostic::warning(path, None, message.as_str()));
        }
    }
}
