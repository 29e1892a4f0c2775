//! Libraries: script files of the commit that other scripts import.
//!
//! `import "lib/text" as text;` makes the functions and constants of `lib/text.rhai` available as `text::name`. A
//! library holds functions, `export const` with literals, and imports.
//!
//! Rhai's own modules are not used. They resolve names by the caller's scope: a closure that a library returns is
//! unknown to its caller, and a function that both files define is that of the other file. Here a script is linked with
//! its libraries before it is compiled ([`link()`]): one program, in which every name of a library is unique, so that
//! closures, function pointers and limits work as within one file.
//!
//! - `imports`: the import statements of a text
//! - `check`: checks the libraries of a commit, and orders them
//! - `link`: one text with unique names, and the file of each of its lines

mod check;
mod imports;
mod link;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;

use manifest_schema::name::ScriptPath;
use rhai::Dynamic;

use crate::source::Source;
use crate::template::RenderedTemplates;

pub use check::{LibrarySources, check_libraries};
pub(crate) use imports::imported_file;
pub use imports::{ImportedFile, imported_files};
pub(crate) use link::{CONSTANT_PREFIX, Constants, FileMap, LinkError, Linked, link};

/// The maximum number of libraries that a script imports, directly and indirectly.
pub(crate) const LIBRARIES_MAX: usize = 100;

/// The maximum length of a chain of imports.
pub(crate) const DEPTH_MAX: usize = 8;

/// A library that a script is linked with.
#[derive(Clone, PartialEq, Eq)]
pub struct LibraryFile {
    /// The file.
    pub path: ScriptPath,
    /// Its text.
    pub source: Arc<Source>,
}

impl fmt::Debug for LibraryFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("LibraryFile").field(&self.path.as_str()).finish()
    }
}

/// The checked libraries of a commit, by file.
#[derive(Clone, Debug, Default)]
pub struct Libraries<'t> {
    files: BTreeMap<ScriptPath, Library<'t>>,
    /// The files that each script and each library imports.
    imports: BTreeMap<ScriptPath, Vec<ScriptPath>>,
    /// The scripts of the commit, for suggestions.
    scripts: BTreeSet<ScriptPath>,
    rendered: RenderedTemplates,
}

/// A checked library.
#[derive(Clone, Debug)]
pub(crate) struct Library<'t> {
    pub(crate) text: &'t str,
    /// What it exports; `None` if it has errors, so that its users are not checked against it.
    pub(crate) exports: Option<Exports>,
}

/// What a library exports.
#[derive(Clone, Debug, Default)]
pub(crate) struct Exports {
    /// The functions with their argument counts.
    pub(crate) functions: BTreeMap<String, Vec<usize>>,
    /// The functions that only the library itself can call.
    pub(crate) private_functions: BTreeSet<String>,
    pub(crate) constants: BTreeMap<String, Dynamic>,
}

impl<'t> Libraries<'t> {
    /// A library of the commit.
    pub(crate) fn get(&self, path: &ScriptPath) -> Option<&Library<'t>> {
        self.files.get(path)
    }

    /// The scripts of the commit.
    pub(crate) fn scripts(&self) -> impl Iterator<Item = &ScriptPath> + Clone {
        self.scripts.iter()
    }

    /// The libraries.
    pub fn paths(&self) -> impl Iterator<Item = &ScriptPath> {
        self.files.keys()
    }

    /// The templates that libraries render.
    pub fn rendered(&self) -> &RenderedTemplates {
        &self.rendered
    }

    /// The libraries that a script with these imports is linked with, sorted, if all of them passed their checks.
    pub(crate) fn valid_closure(&self, imports: &[ScriptPath]) -> Option<Vec<(ScriptPath, &'t str)>> {
        let files = self.closure(imports);
        let is_valid = |path: &ScriptPath| self.files.get(path).is_some_and(|file| file.exports.is_some());
        (imports.iter().all(is_valid) && files.iter().all(|(path, _)| is_valid(path))).then_some(files)
    }

    /// The libraries that a script is linked with, sorted.
    pub fn linked_with(&self, script: &ScriptPath) -> Vec<(ScriptPath, &'t str)> {
        self.closure(self.imports.get(script).map_or(&[], Vec::as_slice))
    }

    fn closure(&self, imports: &[ScriptPath]) -> Vec<(ScriptPath, &'t str)> {
        closure(imports, |path| self.imports.get(path).cloned())
            .into_iter()
            .filter_map(|path| {
                let text = self.files.get(&path)?.text;
                Some((path, text))
            })
            .collect()
    }
}

/// The files that are reached from `roots`, which they include.
pub fn closure(
    roots: &[ScriptPath],
    imports_of: impl Fn(&ScriptPath) -> Option<Vec<ScriptPath>>,
) -> BTreeSet<ScriptPath> {
    let mut reached = BTreeSet::new();
    let mut open: Vec<ScriptPath> = roots.to_vec();
    while let Some(path) = open.pop() {
        if reached.contains(&path) {
            continue;
        }
        let Some(imports) = imports_of(&path) else { continue };
        open.extend(imports);
        reached.insert(path);
    }
    reached
}
