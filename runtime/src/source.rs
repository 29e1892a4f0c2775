//! The text of a script and the programs compiled from it.
//!
//! Revisions of an app with identical scripts share one [`Source`]. A [`Program`] can be dropped and compiled again
//! at any time; executions that hold it continue.

use std::any::Any;
use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use arc_swap::{ArcSwapOption, Guard};
use manifest_schema::name::ScriptPath;
use manifest_schema::sdk::SdkVersion;

use crate::check::{CompileBudget, CompileError, Script, recompile};
use crate::failure::{Failure, FailureKind, SourceLocation};
use crate::library::LibraryFile;

/// Releases accounted memory when it is dropped.
pub type MemoryGuard = Box<dyn Any + Send + Sync>;

/// The text of a script with its compiled programs, one per SDK version.
pub struct Source {
    text: Box<str>,
    /// The libraries that it is linked with, sorted.
    libraries: Box<[LibraryFile]>,
    programs: [ArcSwapOption<Program>; SdkVersion::ALL.len()],
    compilation: Mutex<()>,
    _memory: Option<MemoryGuard>,
}

/// A compiled script.
pub struct Program {
    script: Result<Script, Failure>,
    is_used: AtomicBool,
    _memory: Option<MemoryGuard>,
}

impl Source {
    /// A text whose memory is not accounted for.
    pub fn new(text: impl Into<Box<str>>) -> Self {
        Self {
            text: text.into(),
            libraries: Box::default(),
            programs: std::array::from_fn(|_| ArcSwapOption::empty()),
            compilation: Mutex::default(),
            _memory: None,
        }
    }

    /// Attaches the guard of its accounted memory.
    pub fn with_memory_guard(self, guard: MemoryGuard) -> Self {
        Self { _memory: Some(guard), ..self }
    }

    /// The same text, linked with these libraries: all that it reaches, sorted.
    pub fn with_libraries(self, libraries: Vec<LibraryFile>) -> Self {
        Self { libraries: libraries.into(), ..self }
    }

    /// The libraries that it is linked with.
    pub fn libraries(&self) -> &[LibraryFile] {
        &self.libraries
    }

    /// The text.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The program compiled for an SDK version.
    pub fn program(&self, sdk: SdkVersion) -> Option<Arc<Program>> {
        self.programs[sdk as usize].load_full()
    }

    /// The same, borrowed for a short time.
    pub(crate) fn load_program(&self, sdk: SdkVersion) -> Guard<Option<Arc<Program>>> {
        self.programs[sdk as usize].load()
    }

    /// Stores a compiled program.
    pub fn set_program(&self, sdk: SdkVersion, program: Arc<Program>) {
        self.programs[sdk as usize].store(Some(program));
    }

    /// Removes and returns a compiled program.
    pub fn take_program(&self, sdk: SdkVersion) -> Option<Arc<Program>> {
        self.programs[sdk as usize].swap(None)
    }

    /// Locks the compilation of this script; other threads wait for the result.
    pub fn lock_compilation(&self) -> MutexGuard<'_, ()> {
        self.compilation.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Program {
    /// Compiles a text that was checked when it was pushed, within `budget`.
    ///
    /// # Errors
    /// The budget is exhausted. A text that no longer compiles is not an error here: its executions fail.
    pub fn compile(
        sdk: SdkVersion,
        path: &ScriptPath,
        source: &Source,
        budget: &Arc<dyn CompileBudget>,
    ) -> Result<Self, crate::OutOfMemoryError> {
        let libraries: Vec<_> =
            source.libraries.iter().map(|file| (file.path.clone(), file.source.text())).collect();
        let script = match recompile(sdk, path, source.text(), &libraries, budget) {
            Ok(script) => Ok(script),
            Err(CompileError::OutOfMemory(refused)) => return Err(refused),
            Err(CompileError::Diagnostics(diagnostics)) => Err(diagnostics.iter().next().map_or_else(
                || Failure::new(FailureKind::Compile, "the script does not compile"),
                |diagnostic| {
                    let location = diagnostic.span.as_ref().map(|place| SourceLocation {
                        script: path.clone(),
                        line: place.line,
                        column: place.column,
                    });
                    Failure { kind: FailureKind::Compile, message: diagnostic.message.clone(), location }
                },
            )),
        };
        Ok(Self { script, is_used: AtomicBool::new(true), _memory: None })
    }

    /// Attaches the guard of its accounted memory.
    pub fn with_memory_guard(self, guard: MemoryGuard) -> Self {
        Self { _memory: Some(guard), ..self }
    }

    /// Its memory in bytes; 0 without [`crate::CountingAllocator`].
    pub fn bytes(&self) -> u64 {
        self.script.as_ref().map_or(0, Script::bytes)
    }

    /// Whether it was executed since the last call.
    pub fn take_used(&self) -> bool {
        self.is_used.swap(false, Ordering::Relaxed)
    }

    /// Records that it is executed.
    pub(crate) fn note_used(&self) {
        // Usually nothing changes, and other processors keep their cached copy.
        if !self.is_used.load(Ordering::Relaxed) {
            self.is_used.store(true, Ordering::Relaxed);
        }
    }

    pub(crate) fn script(&self) -> Result<&Script, &Failure> {
        self.script.as_ref()
    }
}

/// Converts a script that just passed the checks of a push.
impl From<Script> for Program {
    fn from(mut script: Script) -> Self {
        drop(script.take_warnings());
        Self { script: Ok(script), is_used: AtomicBool::new(true), _memory: None }
    }
}

impl PartialEq for Source {
    fn eq(&self, other: &Self) -> bool {
        std::ptr::eq(self, other) || (self.text == other.text && self.libraries == other.libraries)
    }
}

impl Eq for Source {}

impl fmt::Debug for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Source").field("bytes", &self.text.len()).finish_non_exhaustive()
    }
}

impl fmt::Debug for Program {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Program").field("script", &self.script).finish_non_exhaustive()
    }
}
