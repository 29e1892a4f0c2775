//! The functions of an app, as its scripts call them.

use std::sync::Arc;

use manifest_schema::diagnostic::Suggestions;
use manifest_schema::name::{JobName, ScriptPath};

use crate::failure::Failure;
use crate::revision::Revision;
use crate::source::Program;

/// A function that a script calls.
#[derive(Clone, Debug)]
pub struct Callee {
    /// The revision of the caller.
    pub revision: Arc<Revision>,
    /// Its name.
    pub name: JobName,
    /// The script of the function.
    pub script: ScriptPath,
    /// The compiled script.
    pub program: Arc<Program>,
}

/// Why a function cannot be called.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CalleeError {
    /// The manifest has no function of this name; perhaps this one is meant.
    #[error("there is no function of this name")]
    Unknown(Option<String>),
    /// Its script is not compiled, and must not be now.
    #[error("the function is not compiled")]
    NotCompiled,
    /// Its script cannot be compiled.
    #[error(transparent)]
    Failed(#[from] Failure),
}

/// Compiles a script of a revision, unless that is done.
pub type CompileFunction<'c> = &'c dyn Fn(&Revision, &ScriptPath) -> Result<Arc<Program>, Failure>;

impl Callee {
    /// The function `name` of the revision; without `compile` only if it is compiled.
    ///
    /// # Errors
    /// There is none, or its script is not compiled.
    pub fn find(
        revision: &Arc<Revision>,
        name: &str,
        compile: Option<CompileFunction<'_>>,
    ) -> Result<Self, CalleeError> {
        let functions = &revision.manifest().functions;
        let Some(function) = functions.iter().find(|function| function.name.as_str() == name) else {
            let names = functions.iter().map(|function| function.name.as_str());
            return Err(CalleeError::Unknown(Suggestions::default().did_you_mean(name, names)));
        };
        let script = function.script.clone();
        let source = revision.sources().get(&script);
        let compiled = source.and_then(|source| source.program(revision.manifest().sdk));
        let program = match (compiled, compile) {
            (Some(program), _) => program,
            (None, Some(compile)) => compile(revision, &script)?,
            (None, None) => return Err(CalleeError::NotCompiled),
        };
        let name = function.name.clone();
        Ok(Self { revision: Arc::clone(revision), name, script, program })
    }
}
