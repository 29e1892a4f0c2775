//! The text of a script, and what is compiled of it.
//!
//! Revisions of an app whose scripts are the same share one [`Source`]. A [`Program`] can be dropped and compiled again at any time;
//! runs that have it go on with it.

use std::any::Any;
use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use arc_swap::{ArcSwapOption, Guard};
use manifest_schema::name::ScriptPath;
use manifest_schema::sdk::SdkVersion;

use crate::check::{NotCompiled, Room, Script, recompile};
use crate::failure::{Failure, FailureKind, FailurePlace};

/// What accounts for memory: it is given back when this is dropped.
pub type Held = Box<dyn Any + Send + Sync>;

/// The text of a script with the programs that are compiled of it, one for each SDK version.
pub struct Source {
    text: Box<str>,
    programs: [ArcSwapOption<Program>; SdkVersion::ALL.len()],
    compiling: Mutex<()>,
    _held: Option<Held>,
}

/// What a script is compiled to.
pub struct Program {
    script: Result<Script, Failure>,
    is_used: AtomicBool,
    _held: Option<Held>,
}

impl Source {
    /// A text whose memory nobody accounts for.
    pub fn new(text: impl Into<Box<str>>) -> Self {
        Self {
            text: text.into(),
            programs: std::array::from_fn(|_| ArcSwapOption::empty()),
            compiling: Mutex::default(),
            _held: None,
        }
    }

    /// A text, with what accounts for its memory.
    pub fn held_by(self, held: Held) -> Self {
        Self { _held: Some(held), ..self }
    }

    /// The text.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// What is compiled of it for an SDK version.
    pub fn program(&self, sdk: SdkVersion) -> Option<Arc<Program>> {
        self.programs[sdk as usize].load_full()
    }

    /// The same, borrowed for a moment.
    pub(crate) fn load_program(&self, sdk: SdkVersion) -> Guard<Option<Arc<Program>>> {
        self.programs[sdk as usize].load()
    }

    /// Keeps what was compiled of it.
    pub fn set_program(&self, sdk: SdkVersion, program: Arc<Program>) {
        self.programs[sdk as usize].store(Some(program));
    }

    /// Lets go of what is compiled of it, and gives that back.
    pub fn take_program(&self, sdk: SdkVersion) -> Option<Arc<Program>> {
        self.programs[sdk as usize].swap(None)
    }

    /// The turn to compile it: while one compiles, others wait for what comes of it.
    pub fn compiling(&self) -> MutexGuard<'_, ()> {
        self.compiling.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Program {
    /// Compiles a text that was checked when it was pushed, in as much memory as `room` grants.
    ///
    /// # Errors
    /// There is not enough of it. That a text does not compile any more is no error here: its runs fail.
    pub fn compile(
        sdk: SdkVersion,
        path: &ScriptPath,
        text: &str,
        room: &Arc<dyn Room>,
    ) -> Result<Self, crate::NoMemory> {
        let script = match recompile(sdk, path, text, room) {
            Ok(script) => Ok(script),
            Err(NotCompiled::NoMemory(refused)) => return Err(refused),
            Err(NotCompiled::Diagnostics(diagnostics)) => Err(diagnostics.iter().next().map_or_else(
                || Failure::new(FailureKind::Compile, "the script does not compile"),
                |diagnostic| {
                    let place = diagnostic.span.as_ref().map(|span| FailurePlace {
                        script: path.clone(),
                        line: span.line,
                        column: span.column,
                    });
                    Failure { kind: FailureKind::Compile, message: diagnostic.message.clone(), place }
                },
            )),
        };
        Ok(Self { script, is_used: AtomicBool::new(true), _held: None })
    }

    /// The same, with what accounts for its memory.
    pub fn held_by(self, held: Held) -> Self {
        Self { _held: Some(held), ..self }
    }

    /// How many bytes it takes; 0 without [`crate::CountingAllocator`].
    pub fn bytes(&self) -> u64 {
        self.script.as_ref().map_or(0, Script::bytes)
    }

    /// Whether it was run since this was asked last.
    pub fn take_used(&self) -> bool {
        self.is_used.swap(false, Ordering::Relaxed)
    }

    /// Notes that it is run.
    pub(crate) fn note_used(&self) {
        // Most often nothing changes, and then no other processor's copy has to be fetched again.
        if !self.is_used.load(Ordering::Relaxed) {
            self.is_used.store(true, Ordering::Relaxed);
        }
    }

    pub(crate) fn script(&self) -> Result<&Script, &Failure> {
        self.script.as_ref()
    }
}

/// What has just passed the checks of a push.
impl From<Script> for Program {
    fn from(mut script: Script) -> Self {
        drop(script.take_warnings());
        Self { script: Ok(script), is_used: AtomicBool::new(true), _held: None }
    }
}

impl PartialEq for Source {
    fn eq(&self, other: &Self) -> bool {
        std::ptr::eq(self, other) || self.text == other.text
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
