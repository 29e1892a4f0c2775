//! The checks of a script: every fault that can be found without running it.
//!
//! A script that does not parse ends with that one fault. Of one that does, [`declared`] collects what it defines,
//! [`names`] finds calls to functions that exist nowhere and variables that were never declared, and [`ctx`] finds
//! what it reads of `ctx`. A false alarm is worse than a miss: whatever may exist at run time is let through.
//!
//! The checks are also the wall: `eval`, `import` and their like are refused here, and only what passed is a
//! [`Script`], which is the only thing that runs.

mod ctx;
mod declared;
mod names;
mod syntax;

use std::fmt;
use std::sync::Arc;

use manifest_schema::fault::{Fault, Place};
use manifest_schema::name::ScriptPath;
use manifest_schema::sdk::SdkVersion;
use rhai::{AST, ASTNode, OptimizationLevel, Position, Scope, ScriptFuncDef};

use crate::sandbox::sandbox;
use crate::sdk::Uses;
use declared::Declared;

/// The largest script, in bytes. Compiling takes square time in some constructs and cannot be stopped.
const SOURCE_MAX: usize = 256 * 1024;

/// The most statements that declare a variable; compiling looks each name up among all those before it.
const DECLARATIONS_MAX: usize = 4000;

/// The most faults of one script; whoever has more has one mistake many times.
const FAULTS_MAX: usize = 100;

/// A script that passed every check, compiled. Cheap to clone.
#[derive(Clone)]
pub struct Script(Arc<Compiled>);

struct Compiled {
    ast: AST,
    sdk: SdkVersion,
    uses: Uses,
}

impl Script {
    /// The SDK version that it was checked against.
    pub fn sdk(&self) -> SdkVersion {
        self.0.sdk
    }

    pub(crate) fn ast(&self) -> &AST {
        &self.0.ast
    }

    pub(crate) fn uses(&self) -> Uses {
        self.0.uses
    }
}

impl fmt::Debug for Script {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Script").field("sdk", &self.0.sdk).field("uses", &self.0.uses).finish_non_exhaustive()
    }
}

/// Checks and compiles one script for the SDK version of its manifest. Nothing of it is run. This may take many
/// milliseconds and recurses as deep as expressions may be nested: it belongs on a thread that may block.
///
/// # Errors
/// Every fault that was found, in the order of their places.
pub fn compile(sdk: SdkVersion, path: &ScriptPath, source: &str) -> Result<Script, Vec<Fault>> {
    if let Some(fault) = too_large(path, source) {
        return Err(vec![fault]);
    }
    let engine = &sandbox().engine;
    let ast = engine.compile(source).map_err(|error| vec![syntax::fault(&error, path, source)])?;
    let mut faults = Faults { path, source, found: Vec::new() };
    let declared = Declared::of(&ast);
    names::check(&ast, &declared, &mut faults);
    let uses = ctx::check(&ast, &declared, sdk, &mut faults);
    let faults = faults.into_sorted();
    if !faults.is_empty() {
        return Err(faults);
    }
    // Known numbers are computed and dead branches dropped; nothing else is evaluated, functions in particular.
    let ast = engine.optimize_ast(&Scope::new(), ast, OptimizationLevel::Simple);
    Ok(Script(Arc::new(Compiled { ast, sdk, uses })))
}

fn too_large(path: &ScriptPath, source: &str) -> Option<Fault> {
    if source.len() > SOURCE_MAX {
        let words = format!("the script is larger than {} KiB", SOURCE_MAX / 1024);
        return Some(Fault::error(path.as_str(), None, words).advise("split it into several"));
    }
    let words = source.split(|c: char| !c.is_alphanumeric() && c != '_');
    let declarations = words.filter(|word| matches!(*word, "let" | "const")).count();
    (declarations > DECLARATIONS_MAX).then(|| {
        let words = format!("the script declares more than {DECLARATIONS_MAX} variables");
        Fault::error(path.as_str(), None, words).advise("keep data in arrays and maps, or split the script")
    })
}

/// One body of statements: the script itself, or a function.
#[derive(Clone, Copy)]
struct Body<'a> {
    /// The function, unless it is the script itself.
    function: Option<&'a ScriptFuncDef>,
}

impl Body<'_> {
    fn has_parameter(self, name: &str) -> bool {
        self.function.is_some_and(|function| function.params.iter().any(|parameter| parameter == name))
    }

    fn is_closure(self) -> bool {
        self.function.is_some_and(|function| function.name.starts_with(CLOSURE_PREFIX))
    }
}

/// What the names of closures begin with in Rhai.
const CLOSURE_PREFIX: &str = "anon$";

/// Shows every node of a script to `visit`, with the nodes around it, outermost first.
fn walk(ast: &AST, visit: &mut dyn FnMut(Body<'_>, &[ASTNode<'_>])) {
    let mut walk_body = |ast: &AST, function: Option<&ScriptFuncDef>| {
        ast.walk(&mut |path: &[ASTNode<'_>]| {
            visit(Body { function }, path);
            true
        })
    };
    walk_body(&ast.clone_statements_only(), None);
    for function in ast.iter_fn_def() {
        let same =
            |name: &str, parameters: usize| *name == *function.name && parameters == function.params.len();
        // Rhai shows the nodes of functions without saying of which; so each is looked at alone.
        let mut alone = ast.clone_functions_only();
        alone.retain_functions(|_, _, name, parameters| same(name, parameters));
        walk_body(&alone, Some(function));
    }
}

/// The faults of one script so far.
struct Faults<'a> {
    path: &'a ScriptPath,
    source: &'a str,
    found: Vec<(Position, Fault)>,
}

impl Faults<'_> {
    /// Adds an error about `width` characters at `position`.
    fn add(&mut self, position: Position, width: usize, message: String, advice: Option<String>) {
        if self.is_full() || self.found.iter().any(|(at, _)| *at == position) {
            return;
        }
        let fault = Fault::error(self.path.as_str(), place(self.source, position, width), message);
        self.found.push((position, Fault { advice, ..fault }));
    }

    /// Whether no more faults are kept.
    fn is_full(&self) -> bool {
        self.found.len() >= FAULTS_MAX
    }

    fn into_sorted(mut self) -> Vec<Fault> {
        self.found.sort_by_key(|(position, _)| (position.line(), position.position()));
        self.found.into_iter().map(|(_, fault)| fault).collect()
    }
}

fn place(source: &str, position: Position, width: usize) -> Option<Place> {
    Some(Place::of_position(source, position.line()?, position.position().unwrap_or(1), width))
}

#[cfg(test)]
mod tests;
