//! Checks the libraries of a commit: which files are imported, in which order they depend on each other, and each of
//! them against those that it imports.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use manifest_schema::diagnostic::{Diagnostic, Diagnostics, Span};
use manifest_schema::name::ScriptPath;
use manifest_schema::sdk::SdkVersion;
use rhai::Position;

use super::imports::{ImportedFile, SINCE};
use super::{DEPTH_MAX, LIBRARIES_MAX, Libraries, Library};
use crate::check::{CompileBudget, CompileError, ManifestNames, check_library};
use crate::host::OutOfMemoryError;

/// The script files of a commit.
pub trait LibrarySources<'t> {
    /// The paths of all script files.
    fn scripts(&self) -> BTreeSet<ScriptPath>;

    /// The text of a script file that exists.
    ///
    /// # Errors
    /// It is not readable as a script.
    fn text(&self, path: &ScriptPath) -> Result<&'t str, Diagnostic>;

    /// The files that a readable script file imports, see [`super::imported_files`].
    fn imports(&self, path: &ScriptPath) -> Arc<[ImportedFile]>;

    /// The memory budget for the check of one file.
    fn budget(&self) -> Arc<dyn CompileBudget>;

    /// Whether the time for checks is over.
    fn is_late(&self) -> bool;
}

/// Finds the libraries that the scripts `roots` import, directly and indirectly, and checks them. Adds every error to
/// `diagnostics`.
///
/// # Errors
/// The memory budget is exhausted.
pub fn check_libraries<'t>(
    sdk: SdkVersion,
    roots: &BTreeSet<ScriptPath>,
    sources: &dyn LibrarySources<'t>,
    names: Option<&ManifestNames<'_>>,
    diagnostics: &mut Diagnostics,
) -> Result<Libraries<'t>, OutOfMemoryError> {
    let mut graph = Graph { scripts: sources.scripts(), files: BTreeMap::new() };
    if sdk >= SINCE {
        graph.load(roots, sources, diagnostics);
    }
    let order = graph.order(roots, diagnostics);
    let imports = graph.files.iter().map(|(path, file)| (path.clone(), file.paths())).collect();
    let mut libraries = Libraries { imports, scripts: graph.scripts, ..Libraries::default() };
    for path in order {
        let Some(file) = graph.files.get(&path) else { continue };
        if sources.is_late() {
            break;
        }
        let checked = check_library(sdk, &path, file.text, names, &libraries, &sources.budget());
        let exports = match checked {
            Ok(checked) => {
                diagnostics.append(checked.warnings);
                libraries.rendered.append(checked.rendered);
                Some(checked.exports)
            }
            Err(CompileError::Diagnostics(found)) => {
                diagnostics.append(found);
                None
            }
            Err(CompileError::OutOfMemory(refused)) => return Err(refused),
        };
        libraries.files.insert(path, Library { text: file.text, exports });
    }
    Ok(libraries)
}

/// The scripts and libraries of a commit, and what each of them imports.
struct Graph<'t> {
    scripts: BTreeSet<ScriptPath>,
    files: BTreeMap<ScriptPath, Node<'t>>,
}

struct Node<'t> {
    text: &'t str,
    imports: Arc<[ImportedFile]>,
}

impl Node<'_> {
    fn paths(&self) -> Vec<ScriptPath> {
        self.imports.iter().map(|import| import.path.clone()).collect()
    }
}

/// How far the search has come with a file.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Visit {
    /// Its imports are being visited.
    Open,
    /// The longest chain of imports from it.
    Done(usize),
}

impl<'t> Graph<'t> {
    /// Reads the scripts and everything that they reach.
    fn load(
        &mut self,
        roots: &BTreeSet<ScriptPath>,
        sources: &dyn LibrarySources<'t>,
        diagnostics: &mut Diagnostics,
    ) {
        let mut open: Vec<(ScriptPath, bool)> = roots.iter().map(|path| (path.clone(), true)).collect();
        while let Some((path, is_root)) = open.pop() {
            if self.files.contains_key(&path) || !self.scripts.contains(&path) {
                continue;
            }
            let text = match sources.text(&path) {
                Ok(text) => text,
                // The check of the script reports it.
                Err(_) if is_root => continue,
                Err(diagnostic) => {
                    diagnostics.add(diagnostic);
                    continue;
                }
            };
            let imports = sources.imports(&path);
            open.extend(imports.iter().map(|import| (import.path.clone(), false)));
            self.files.insert(path, Node { text, imports });
        }
    }

    /// The libraries, each after those that it imports. Reports cycles and chains that are too long.
    fn order(&self, roots: &BTreeSet<ScriptPath>, diagnostics: &mut Diagnostics) -> Vec<ScriptPath> {
        let mut search =
            Search { graph: self, visits: BTreeMap::new(), chain: Vec::new(), order: Vec::new() };
        for root in roots {
            search.visit(root, diagnostics);
        }
        let mut order = search.order;
        let imported: BTreeSet<&ScriptPath> =
            self.files.values().flat_map(|file| file.imports.iter().map(|import| &import.path)).collect();
        order.retain(|path| imported.contains(path));
        if order.len() > LIBRARIES_MAX {
            let message = format!("the scripts import {} files, more than {LIBRARIES_MAX}", order.len());
            let help = "merge small libraries, or split the app";
            diagnostics.add(Diagnostic::error("the app", None, message).with_help(help));
            order.clear();
        }
        order
    }
}

struct Search<'g> {
    graph: &'g Graph<'g>,
    visits: BTreeMap<ScriptPath, Visit>,
    /// The files from the script to the visited one.
    chain: Vec<ScriptPath>,
    order: Vec<ScriptPath>,
}

impl Search<'_> {
    /// Visits a file and its imports. Returns the length of the longest chain of imports from it.
    fn visit(&mut self, path: &ScriptPath, diagnostics: &mut Diagnostics) -> usize {
        if let Some(Visit::Done(depth)) = self.visits.get(path) {
            return *depth;
        }
        let Some(node) = self.graph.files.get(path) else { return 0 };
        self.visits.insert(path.clone(), Visit::Open);
        self.chain.push(path.clone());
        let mut depth = 0;
        for import in node.imports.iter() {
            if self.visits.get(&import.path) == Some(&Visit::Open) {
                let message = format!("imports form a cycle: {}", self.cycle(&import.path));
                diagnostics
                    .add(at(path, node, import, message).with_help("move what both need into a third file"));
            } else if self.chain.len() + self.known_depth(&import.path) > DEPTH_MAX {
                let message = format!("imports are nested more than {DEPTH_MAX} levels deep");
                diagnostics
                    .add(at(path, node, import, message).with_help("import the file where it is needed"));
            } else {
                depth = depth.max(self.visit(&import.path, diagnostics) + 1);
            }
        }
        self.chain.pop();
        self.visits.insert(path.clone(), Visit::Done(depth));
        self.order.push(path.clone());
        depth
    }

    /// The longest chain of imports from a file that was visited.
    fn known_depth(&self, path: &ScriptPath) -> usize {
        match self.visits.get(path) {
            Some(Visit::Done(depth)) => *depth,
            _ => 0,
        }
    }

    /// `lib/a -> lib/b -> lib/a`
    fn cycle(&self, again: &ScriptPath) -> String {
        let members = self.chain.iter().skip_while(|path| *path != again).chain([again]);
        members.map(ScriptPath::stem).collect::<Vec<_>>().join(" -> ")
    }
}

fn at(path: &ScriptPath, node: &Node<'_>, import: &ImportedFile, message: String) -> Diagnostic {
    let span = span(node.text, import.position, import.path.stem().chars().count() + 2);
    Diagnostic::error(path.as_str(), span, message)
}

fn span(text: &str, position: Position, width: usize) -> Option<Span> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    Some(Span::from_position(text, position.line()?, position.position().unwrap_or(1), width))
}
