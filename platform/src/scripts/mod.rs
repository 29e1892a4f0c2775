//! The scripts of what is live: their texts, each held once for an app, and what is compiled of them.
//!
//! Both are counted in the memory budget. Nothing live is ever dropped for others, so a text that has no room is refused when its
//! revision is pushed or loaded. Programs are dropped where memory is wanted, and where they have not run for a while; who needs one
//! compiles it again.
//!
//! - `texts`: every text once
//! - `programs`: what is compiled, the least recently run first

mod programs;
mod texts;

use std::sync::Arc;
use std::time::Duration;

use manifest_schema::diagnostic::Diagnostics;
use manifest_schema::name::ScriptPath;
use manifest_schema::sdk::SdkVersion;
use runtime::{
    CompileBudget, CompileError, Failure, FailureKind, ManifestNames, OutOfMemoryError, Program, Revision,
    Script, Source, compile_within,
};
use store::AppId;

use crate::memory::{Account, Growing, MemoryBudget, OutOfMemory, Purpose};
use programs::Programs;
use texts::Texts;

/// How long a program is kept that does not run, at the least; at the most twice as long. Most take less than a millisecond to
/// compile again.
const IDLE_TTL: Duration = Duration::from_secs(60);

/// The scripts of all apps of a node. Cheap to clone; clones are the same.
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
    /// None so far, in that budget.
    pub fn new(memory: MemoryBudget) -> Self {
        let programs = Arc::<Programs>::default();
        memory.set_evict(Box::new(Arc::clone(&programs)));
        Self { memory, texts: Arc::default(), programs }
    }

    /// The budget.
    pub fn memory(&self) -> &MemoryBudget {
        &self.memory
    }

    /// Those of an app.
    pub fn of(&self, app: AppId) -> AppScripts {
        AppScripts {
            app,
            account: self.memory.account(app),
            texts: Arc::clone(&self.texts),
            programs: Arc::clone(&self.programs),
        }
    }

    /// Drops programs that have not run for a while, for as long as the node runs. While there are none it sleeps.
    pub async fn drop_idle(self) {
        loop {
            self.programs.wait_for_one().await;
            tokio::time::sleep(IDLE_TTL).await;
            self.programs.drop_unused();
        }
    }
}

impl AppScripts {
    /// Whose they are.
    pub fn app(&self) -> AppId {
        self.app
    }

    /// What the app holds of the node's memory.
    pub fn account(&self) -> &Account {
        &self.account
    }

    /// The script with this text, which is held once however many revisions and paths have it.
    ///
    /// # Errors
    /// There is no room for it.
    pub fn source(&self, text: &str) -> Result<Arc<Source>, OutOfMemory> {
        self.texts.get(self.app, &self.account, text)
    }

    /// Checks and compiles a text that was pushed, in memory of the app, for what the manifest provides where that is known.
    ///
    /// # Errors
    /// Every diagnostic that was found, or that there is no room.
    pub fn check(
        &self,
        sdk: SdkVersion,
        path: &ScriptPath,
        text: &str,
        provided: Option<&ManifestNames<'_>>,
    ) -> Result<CheckedScript, CheckError> {
        let memory = CompileMemory::of(&self.account);
        let room: Arc<dyn CompileBudget> = Arc::clone(&memory) as _;
        match compile_within(sdk, path, text, provided, &room) {
            Ok(script) => Ok(CheckedScript { script, memory }),
            Err(CompileError::Diagnostics(diagnostics)) => Err(CheckError::Diagnostics(diagnostics)),
            Err(CompileError::OutOfMemory(_)) => {
                let refused = memory.held.refused();
                Err(CheckError::NoMemory(refused.expect("only the account refuses, and it is remembered")))
            }
        }
    }

    /// Keeps what was checked, to be run.
    pub fn keep(&self, source: &Arc<Source>, checked: CheckedScript) {
        let CheckedScript { script, memory } = checked;
        let sdk = script.sdk();
        self.keep_program(source, sdk, Program::from(script), &memory);
    }

    /// What a script of a revision is compiled to. Where it is not, it is compiled now, which takes some milliseconds, and seconds at
    /// the worst; others who want the same wait.
    ///
    /// # Errors
    /// There is no such script, or no room.
    pub fn program(&self, revision: &Revision, path: &ScriptPath) -> Result<Arc<Program>, Failure> {
        let failed = |kind, message| Failure { kind, message, location: None };
        let absent = || failed(FailureKind::Compile, format!("the revision has no script `{path}`"));
        let (sdk, source) = (revision.manifest().sdk, revision.sources().get(path).ok_or_else(absent)?);
        if let Some(program) = source.program(sdk) {
            return Ok(program);
        }
        let _turn = source.lock_compilation();
        if let Some(program) = source.program(sdk) {
            return Ok(program);
        }
        let memory = CompileMemory::of(&self.account);
        let room: Arc<dyn CompileBudget> = Arc::clone(&memory) as _;
        let program = Program::compile(sdk, path, source.text(), &room).map_err(|refused| {
            failed(FailureKind::NodeMemory, format!("cannot compile `{path}`: {refused}"))
        })?;
        Ok(self.keep_program(source, sdk, program, &memory))
    }

    fn keep_program(
        &self,
        source: &Arc<Source>,
        sdk: SdkVersion,
        program: Program,
        memory: &CompileMemory,
    ) -> Arc<Program> {
        // Without the allocator that counts it is known to take some.
        let bytes = program.bytes().max(source.text().len() as u64);
        let program = match memory.held.settle(bytes) {
            Some(held) => program.with_memory_guard(Box::new(held)),
            None => program,
        };
        let program = Arc::new(program);
        source.set_program(sdk, Arc::clone(&program));
        self.programs.add(self.app, source, sdk, bytes);
        program
    }
}

/// A script that has passed every check, and the memory that it takes.
#[derive(Debug)]
pub struct CheckedScript {
    script: Script,
    memory: Arc<CompileMemory>,
}

impl CheckedScript {
    /// What its author should look at; no error is among it. The script holds it no more.
    pub fn take_warnings(&mut self) -> Diagnostics {
        self.script.take_warnings()
    }
}

/// Why a script, or a snapshot of scripts, did not pass its checks.
#[derive(Clone, Debug)]
pub enum CheckError {
    /// It breaks the contract: every diagnostic, at least one of them an error.
    Diagnostics(Diagnostics),
    /// There was no room to check it, or to serve it.
    NoMemory(OutOfMemory),
}

impl<F: Into<Diagnostics>> From<F> for CheckError {
    fn from(diagnostics: F) -> Self {
        Self::Diagnostics(diagnostics.into())
    }
}

/// What a compilation holds.
#[derive(Debug)]
struct CompileMemory {
    account: Account,
    held: Growing,
}

impl CompileMemory {
    fn of(account: &Account) -> Arc<Self> {
        Arc::new(Self { account: account.clone(), held: Growing::new(Purpose::Programs) })
    }
}

impl CompileBudget for CompileMemory {
    fn reserve(&self, bytes: u64) -> Result<(), OutOfMemoryError> {
        self.held.grow_to(&self.account, bytes).map_err(|refused| OutOfMemoryError(refused.to_string()))
    }
}

#[cfg(test)]
mod tests;
