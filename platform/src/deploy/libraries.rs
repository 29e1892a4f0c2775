//! The libraries of a snapshot: the script files that others import.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use manifest_schema::diagnostic::{Diagnostic, Diagnostics};
use manifest_schema::name::ScriptPath;
use manifest_schema::sdk::SdkVersion;
use runtime::{
    CompileBudget, ImportedFile, Libraries, LibraryFile, LibrarySources, ManifestNames, check_libraries,
    imported_files,
};

use super::check::script_text;
use super::deadline::PushDeadline;
use super::snapshot::Snapshot;
use crate::memory::OutOfMemory;
use crate::scripts::{AppScripts, CheckError, CompileMemory};

/// The imports of the scripts of a snapshot. Each script is searched once.
pub(super) struct SnapshotImports<'s> {
    snapshot: &'s Snapshot,
    deadline: &'s PushDeadline,
    found: RefCell<BTreeMap<ScriptPath, Arc<[ImportedFile]>>>,
}

impl<'s> SnapshotImports<'s> {
    pub(super) fn of(snapshot: &'s Snapshot, deadline: &'s PushDeadline) -> Self {
        Self { snapshot, deadline, found: RefCell::default() }
    }

    /// The files that a script imports; none if it cannot be read, or after the deadline, which rejects the push.
    fn of_script(&self, script: &ScriptPath) -> Arc<[ImportedFile]> {
        if let Some(found) = self.found.borrow().get(script) {
            return Arc::clone(found);
        }
        let in_time = self.deadline.check().is_ok();
        let file = self.snapshot.scripts.get(script.as_str()).filter(|_| in_time);
        let text = file.and_then(|file| script_text(script, file).ok());
        let found = text.map_or_else(Vec::new, |text| imported_files(SdkVersion::V1_3, text));
        let found: Arc<[ImportedFile]> = found.into();
        self.found.borrow_mut().insert(script.clone(), Arc::clone(&found));
        found
    }

    /// The same without positions.
    pub(super) fn paths(&self, script: &ScriptPath) -> Vec<ScriptPath> {
        self.of_script(script).iter().map(|import| import.path.clone()).collect()
    }
}

/// The script files of a snapshot, checked in memory of an app.
struct SnapshotSources<'s, 'i> {
    imports: &'i SnapshotImports<'s>,
    app: &'i AppScripts,
    /// The memory of the last check.
    memory: RefCell<Option<Arc<CompileMemory>>>,
}

impl<'s> LibrarySources<'s> for SnapshotSources<'s, '_> {
    fn scripts(&self) -> BTreeSet<ScriptPath> {
        self.imports.snapshot.scripts.keys().filter_map(|path| ScriptPath::new(path).ok()).collect()
    }

    fn text(&self, path: &ScriptPath) -> Result<&'s str, Diagnostic> {
        match self.imports.snapshot.scripts.get(path.as_str()) {
            Some(file) => script_text(path, file),
            None => Err(Diagnostic::error(path.as_str(), None, "the file does not exist")),
        }
    }

    fn imports(&self, path: &ScriptPath) -> Arc<[ImportedFile]> {
        self.imports.of_script(path)
    }

    fn budget(&self) -> Arc<dyn CompileBudget> {
        let memory = CompileMemory::of(self.app.account());
        self.memory.replace(Some(Arc::clone(&memory)));
        memory
    }

    fn is_late(&self) -> bool {
        self.imports.deadline.check().is_err()
    }
}

/// Checks the libraries that the scripts `declared` import. Adds their diagnostics.
///
/// # Errors
/// Memory is short.
pub(super) fn check_snapshot<'s>(
    (sdk, names): (SdkVersion, Option<&ManifestNames<'_>>),
    imports: &SnapshotImports<'s>,
    declared: &BTreeSet<ScriptPath>,
    app: &AppScripts,
    diagnostics: &mut Diagnostics,
) -> Result<Libraries<'s>, CheckError> {
    let sources = SnapshotSources { imports, app, memory: RefCell::default() };
    check_libraries(sdk, declared, &sources, names, diagnostics).map_err(|_| {
        let memory = sources.memory.take();
        let error = memory.and_then(|memory| memory.last_error());
        CheckError::NoMemory(error.expect("only the account rejects, and it keeps the error"))
    })
}

/// The libraries that a script is linked with, as sources of the app.
///
/// # Errors
/// Memory is short.
pub(super) fn linked_files(
    script: &ScriptPath,
    libraries: &Libraries<'_>,
    app: &AppScripts,
) -> Result<Vec<LibraryFile>, OutOfMemory> {
    let files = libraries.linked_with(script).into_iter();
    files.map(|(path, text)| Ok(LibraryFile { path, source: app.source(text)? })).collect()
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
