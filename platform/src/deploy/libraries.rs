//! The libraries of a snapshot: the script files that others import.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use manifest_schema::diagnostic::{Diagnostic, Diagnostics};
use manifest_schema::name::ScriptPath;
use manifest_schema::sdk::SdkVersion;
use runtime::{
    CompileBudget, Libraries, LibraryFile, LibrarySources, ManifestNames, check_libraries, imported_files,
};

use super::check::script_text;
use super::deadline::PushDeadline;
use super::snapshot::Snapshot;
use crate::memory::OutOfMemory;
use crate::scripts::{AppScripts, CheckError, CompileMemory};

/// The script files of a snapshot, checked in memory of an app.
struct SnapshotSources<'s> {
    snapshot: &'s Snapshot,
    app: &'s AppScripts,
    deadline: &'s PushDeadline,
    /// The memory of the last check.
    memory: RefCell<Option<Arc<CompileMemory>>>,
}

impl LibrarySources for SnapshotSources<'_> {
    fn scripts(&self) -> BTreeSet<ScriptPath> {
        self.snapshot.scripts.keys().filter_map(|path| ScriptPath::new(path).ok()).collect()
    }

    fn text(&self, path: &ScriptPath) -> Result<Arc<str>, Diagnostic> {
        match self.snapshot.scripts.get(path.as_str()) {
            Some(file) => script_text(path, file).map(Arc::from),
            None => Err(Diagnostic::error(path.as_str(), None, "the file does not exist")),
        }
    }

    fn budget(&self) -> Arc<dyn CompileBudget> {
        let memory = CompileMemory::of(self.app.account());
        self.memory.replace(Some(Arc::clone(&memory)));
        memory
    }

    fn is_late(&self) -> bool {
        self.deadline.check().is_err()
    }
}

/// Checks the libraries that the scripts `declared` import. Adds their diagnostics.
///
/// # Errors
/// Memory is short.
pub(super) fn check_snapshot(
    (sdk, names): (SdkVersion, Option<&ManifestNames<'_>>),
    snapshot: &Snapshot,
    declared: &BTreeSet<ScriptPath>,
    app: &AppScripts,
    deadline: &PushDeadline,
    diagnostics: &mut Diagnostics,
) -> Result<Libraries, CheckError> {
    let sources = SnapshotSources { snapshot, app, deadline, memory: RefCell::default() };
    check_libraries(sdk, declared, &sources, names, diagnostics).map_err(|_| {
        let memory = sources.memory.take();
        let error = memory.and_then(|memory| memory.last_error());
        CheckError::NoMemory(error.expect("only the account rejects, and it keeps the error"))
    })
}

/// The files that a script of a snapshot imports.
pub(super) fn imports_of(snapshot: &Snapshot, script: &ScriptPath) -> Vec<ScriptPath> {
    let text = snapshot.scripts.get(script.as_str()).and_then(|file| script_text(script, file).ok());
    text.map_or_else(Vec::new, |text| imported_files(SdkVersion::V1_3, text))
}

/// The libraries that a script is linked with, as sources of the app.
///
/// # Errors
/// Memory is short.
pub(super) fn linked_files(
    sdk: SdkVersion,
    text: &str,
    libraries: &Libraries,
    app: &AppScripts,
) -> Result<Vec<LibraryFile>, OutOfMemory> {
    let files = libraries.closure(&imported_files(sdk, text)).into_iter();
    files.map(|(path, text)| Ok(LibraryFile { path, source: app.source(&text)? })).collect()
}

/// Links loaded scripts: each text with the libraries that it reaches.
///
/// # Errors
/// Memory is short.
pub(crate) fn link_loaded(
    loaded: &BTreeMap<ScriptPath, Arc<runtime::Source>>,
    imports: &BTreeMap<ScriptPath, Vec<ScriptPath>>,
    script: &ScriptPath,
    app: &AppScripts,
) -> Result<Option<Arc<runtime::Source>>, OutOfMemory> {
    let Some(source) = loaded.get(script) else { return Ok(None) };
    let roots = imports.get(script).map_or(&[][..], Vec::as_slice);
    let reached = runtime::closure(roots, |path| imports.get(path).cloned());
    let files: Vec<LibraryFile> = reached
        .into_iter()
        .filter_map(|path| Some(LibraryFile { source: Arc::clone(loaded.get(&path)?), path }))
        .collect();
    if files.is_empty() {
        return Ok(Some(Arc::clone(source)));
    }
    app.linked_source(source.text(), files).map(Some)
}
