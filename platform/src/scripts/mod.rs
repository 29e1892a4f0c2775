//! The scripts of live revisions: their texts, deduplicated per app, and compiled programs.
//!
//! Both count in the memory budget. Texts of live revisions are never evicted, so a text that does not fit is
//! rejected at push or load. Programs are evicted under memory pressure and when idle, and compiled again on
//! demand.
//!
//! - `texts`: the deduplicated texts
//! - `programs`: the compiled programs, evicted by the clock algorithm

mod programs;
mod texts;

use std::sync::Arc;
use std::time::Duration;

use manifest_schema::diagnostic::Diagnostics;
use manifest_schema::name::ScriptPath;
use manifest_schema::sdk::SdkVersion;
use runtime::{
    CompileBudget, CompileError, Failure, FailureKind, Libraries, LibraryFile, ManifestNames,
    OutOfMemoryError, Program, RenderedTemplates, Revision, Script, Source, compile_within,
};
use store::AppId;

use crate::memory::{Account, GrowingReservation, MemoryBudget, OutOfMemory, Purpose};
use programs::Programs;
use texts::Texts;

/// How long an idle program is kept: at least this long, at most twice. Most programs compile in less than a
/// millisecond.
const IDLE_TTL: Duration = Duration::from_secs(60);

/// The scripts of all apps of a node. Cheap to clone; clones share their state.
#[derive(Clone, Debug)]
pub struct Scripts {
    memory: MemoryBudget,
    texts: Arc<Texts>,
    programs: Arc<Programs>,
}

/// The scripts of one app.
#[derive(Clone, Debug)]
pub struct AppScripts {
    app: AppId,
    account: Account,
    texts: Arc<Texts>,
    programs: Arc<Programs>,
}

impl Scripts {
    /// Creates an empty set in this budget.
    pub fn new(memory: MemoryBudget) -> Self {
        let programs = Arc::<Programs>::default();
        memory.set_evict(Box::new(Arc::clone(&programs)));
        Self { memory, texts: Arc::default(), programs }
    }

    /// The memory budget.
    pub fn memory(&self) -> &MemoryBudget {
        &self.memory
    }

    /// The scripts of an app.
    pub fn of(&self, app: AppId) -> AppScripts {
        AppScripts {
            app,
            account: self.memory.account(app),
            texts: Arc::clone(&self.texts),
            programs: Arc::clone(&self.programs),
        }
    }

    /// Evicts idle programs for as long as the node runs. Sleeps while there are none.
    pub async fn evict_idle(self) {
        loop {
            self.programs.wait_for_one().await;
            tokio::time::sleep(IDLE_TTL).await;
            self.programs.evict_idle();
        }
    }
}

impl AppScripts {
    /// The app.
    pub fn app(&self) -> AppId {
        self.app
    }

    /// The memory account of the app.
    pub fn account(&self) -> &Account {
        &self.account
    }

    /// The source with this text, shared by all revisions and paths of the app.
    ///
    /// # Errors
    /// Memory is short.
    pub fn source(&self, text: &str) -> Result<Arc<Source>, OutOfMemory> {
        self.linked_source(text, Vec::new())
    }

    /// The source with this text and the libraries that it is linked with.
    ///
    /// # Errors
    /// Memory is short.
    pub fn linked_source(&self, text: &str, libraries: Vec<LibraryFile>) -> Result<Arc<Source>, OutOfMemory> {
        self.texts.get(self.app, &self.account, text, libraries)
    }

    /// Checks and compiles a pushed text in memory of the app, against its libraries and what the manifest
    /// provides if that is known.
    ///
    /// # Errors
    /// All diagnostics, or memory is short.
    pub fn check(
        &self,
        sdk: SdkVersion,
        path: &ScriptPath,
        text: &str,
        provided: Option<&ManifestNames<'_>>,
        libraries: &Libraries<'_>,
    ) -> Result<CheckedScript, CheckError> {
        let memory = CompileMemory::of(&self.account);
        let room: Arc<dyn CompileBudget> = Arc::clone(&memory) as _;
        match compile_within(sdk, path, text, provided, libraries, &room) {
            Ok(script) => Ok(CheckedScript { script, memory }),
            Err(CompileError::Diagnostics(diagnostics)) => Err(CheckError::Diagnostics(diagnostics)),
            Err(CompileError::OutOfMemory(_)) => {
                let error = memory.held.last_error();
                Err(CheckError::NoMemory(error.expect("only the account rejects, and it keeps the error")))
            }
        }
    }

    /// Keeps a checked script compiled.
    pub fn keep(&self, source: &Arc<Source>, checked: CheckedScript) {
        let CheckedScript { script, memory } = checked;
        let sdk = script.sdk();
        self.keep_program(source, sdk, Program::from(script), &memory);
    }

    /// The program of a script. If it is not compiled, it is compiled now, which takes milliseconds, at worst
    /// seconds; concurrent callers wait.
    ///
    /// # Errors
    /// The script does not exist, or memory is short.
    pub fn program(&self, revision: &Revision, path: &ScriptPath) -> Result<Arc<Program>, Failure> {
        let failed = |kind, message| Failure { kind, message, location: None };
        let absent = || failed(FailureKind::Compile, format!("the revision has no script `{path}`"));
        let (sdk, source) = (revision.manifest().sdk, revision.sources().get(path).ok_or_else(absent)?);
        if let Some(program) = source.program(sdk) {
            return Ok(program);
        }
        let _lock = source.lock_compilation();
        if let Some(program) = source.program(sdk) {
            return Ok(program);
        }
        let memory = CompileMemory::of(&self.account);
        let room: Arc<dyn CompileBudget> = Arc::clone(&memory) as _;
        let program = Program::compile(sdk, path, source, &room)
            .map_err(|error| failed(FailureKind::NodeMemory, format!("cannot compile `{path}`: {error}")))?;
        Ok(self.keep_program(source, sdk, program, &memory))
    }

    fn keep_program(
        &self,
        source: &Arc<Source>,
        sdk: SdkVersion,
        program: Program,
        memory: &CompileMemory,
    ) -> Arc<Program> {
        // Without the counting allocator, assume the size of the text.
        let bytes = program.bytes().max(source.text().len() as u64);
        let program = match memory.held.into_reservation(bytes) {
            Some(held) => program.with_memory_guard(Box::new(held)),
            None => program,
        };
        let program = Arc::new(program);
        source.set_program(sdk, Arc::clone(&program));
        self.programs.add(self.app, source, sdk, bytes);
        program
    }
}

/// A checked script with its memory.
#[derive(Debug)]
pub struct CheckedScript {
    script: Script,
    memory: Arc<CompileMemory>,
}

impl CheckedScript {
    /// Takes the warnings; there are no errors.
    pub fn take_warnings(&mut self) -> Diagnostics {
        self.script.take_warnings()
    }

    /// Takes the templates that it renders.
    pub fn take_rendered(&mut self) -> RenderedTemplates {
        self.script.take_rendered()
    }
}

/// Why a script or snapshot failed its check.
#[derive(Clone, Debug)]
pub enum CheckError {
    /// It is invalid: all diagnostics, at least one of them an error.
    Diagnostics(Diagnostics),
    /// Memory is short to check or serve it.
    NoMemory(OutOfMemory),
}

impl<F: Into<Diagnostics>> From<F> for CheckError {
    fn from(diagnostics: F) -> Self {
        Self::Diagnostics(diagnostics.into())
    }
}

/// The memory of a compilation.
#[derive(Debug)]
pub(crate) struct CompileMemory {
    account: Account,
    held: GrowingReservation,
}

impl CompileMemory {
    pub(crate) fn of(account: &Account) -> Arc<Self> {
        Arc::new(Self { account: account.clone(), held: GrowingReservation::new(Purpose::Programs) })
    }

    /// Why the last reservation failed.
    pub(crate) fn last_error(&self) -> Option<OutOfMemory> {
        self.held.last_error()
    }
}

impl CompileBudget for CompileMemory {
    fn reserve(&self, bytes: u64) -> Result<(), OutOfMemoryError> {
        self.held.grow_to(&self.account, bytes).map_err(|error| OutOfMemoryError(error.to_string()))
    }
}

#[cfg(test)]
mod tests;
