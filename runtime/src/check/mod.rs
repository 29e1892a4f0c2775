//! Static checks of a script: every error that can be found without executing it.
//!
//! [`syntax`] explains parse errors. For a script that parses, [`declarations`] collects its definitions, [`names`]
//! finds unknown functions and variables, [`ctx`] finds reads of `ctx`, and [`lints`] finds operations that always
//! fail. A false positive is worse than a false negative: everything that can exist at run time is accepted.
//!
//! The checks also enforce the sandbox: they reject `eval`, `import` and similar functions, and only a [`Script`]
//! that passed them can be executed.

mod ctx;
mod declarations;
mod foreign_names;
mod help;
mod imports;
mod lints;
mod manifest_names;
mod names;
mod syntax;

use std::collections::HashSet;
use std::fmt;
use std::ops::Range;
use std::sync::Arc;
use std::time::{Duration, Instant};

use manifest_schema::diagnostic::conflict::{CONFLICT_HELP, CONFLICT_MESSAGE, conflict_marker};
use manifest_schema::diagnostic::{Diagnostic, Diagnostics, Severity, Span, Suggestions};
use manifest_schema::name::ScriptPath;
use manifest_schema::sdk::SdkVersion;
use rhai::{AST, ASTNode, OptimizationLevel, Position, Scope, ScriptFuncDef, Shared};

use crate::captures::Captures;
use crate::host::OutOfMemoryError;
use crate::library::{self, Constants, Exports, FileMap, Libraries, LinkError};
use crate::sandbox::{FUNCTIONS_MAX, Sandbox};
use crate::sdk::Uses;
use crate::template::RenderedTemplates;
use crate::token_mapper::{self, CompileMemory};
pub(crate) use declarations::Declarations;
use help::{Edit, Help};
use imports::Imports;
pub use manifest_names::ManifestNames;
use syntax::{PatchedSource, Recovered};

/// The maximum size of a script, in bytes.
pub const SOURCE_MAX: usize = 256 * 1024;

/// The maximum size of a script with all libraries that it is linked with, in bytes.
const LINKED_MAX: usize = 1024 * 1024;

/// The maximum number of lines: Rhai counts them in 16 bits.
const LINES_MAX: usize = u16::MAX as usize - 1;

/// The maximum number of variable declarations; the compiler searches all earlier ones for each name.
const DECLARATIONS_MAX: usize = 4000;

/// The maximum time to parse one script. Some constructs take quadratic time; scripts written by hand take a few
/// milliseconds.
const PARSE_TIME_MAX: Duration = Duration::from_secs(5);

/// The maximum number of errors, and of warnings, that are reported per script; the others are counted.
const DIAGNOSTICS_MAX: usize = 100;

/// The maximum length of a message, in characters.
const MESSAGE_MAX: usize = 300;

/// The maximum number of statements of an optimized script, since optimization takes quadratic time. A longer script
/// is executed as written.
const OPTIMIZED_STATEMENTS_MAX: usize = 5000;

/// A compiled script that passed every check.
pub struct Script {
    ast: AST,
    sdk: SdkVersion,
    uses: Uses,
    captures: Captures,
    /// What it was linked with, if it imports libraries.
    linkage: Option<Arc<Linkage>>,
    imports: Vec<ScriptPath>,
    warnings: Diagnostics,
    rendered: RenderedTemplates,
    bytes: u64,
}

/// The parts of a linked script that its execution needs.
pub(crate) struct Linkage {
    pub(crate) constants: Constants,
    pub(crate) files: FileMap,
}

impl Script {
    /// The SDK version that it was checked for.
    pub fn sdk(&self) -> SdkVersion {
        self.sdk
    }

    /// The warnings; there are no errors.
    pub fn warnings(&self) -> &Diagnostics {
        &self.warnings
    }

    /// Takes the warnings, which are not needed for execution.
    pub fn take_warnings(&mut self) -> Diagnostics {
        std::mem::take(&mut self.warnings)
    }

    /// Takes the templates that it renders itself, which are not needed for execution.
    pub fn take_rendered(&mut self) -> RenderedTemplates {
        std::mem::take(&mut self.rendered)
    }

    /// Its memory in bytes; 0 without [`crate::CountingAllocator`].
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// The libraries that it imports directly, sorted.
    pub fn imports(&self) -> &[ScriptPath] {
        &self.imports
    }

    pub(crate) fn linkage(&self) -> Option<&Arc<Linkage>> {
        self.linkage.as_ref()
    }

    pub(crate) fn ast(&self) -> &AST {
        &self.ast
    }

    pub(crate) fn uses(&self) -> Uses {
        self.uses
    }

    pub(crate) fn captures(&self) -> &Captures {
        &self.captures
    }
}

impl fmt::Debug for Script {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Script").field("sdk", &self.sdk).field("uses", &self.uses).finish_non_exhaustive()
    }
}

/// The memory budget of a compilation. A program can take 250 times the memory of its text, and the same again during
/// compilation.
pub trait CompileBudget: Send + Sync {
    /// Reserves `bytes` for the compilation in total. Called before the compilation uses more.
    ///
    /// # Errors
    /// The budget is exhausted. The compilation stops.
    fn reserve(&self, bytes: u64) -> Result<(), OutOfMemoryError>;
}

/// An unlimited budget, for the author's machine.
#[derive(Clone, Copy, Debug, Default)]
pub struct UnlimitedMemory;

impl CompileBudget for UnlimitedMemory {
    fn reserve(&self, _: u64) -> Result<(), OutOfMemoryError> {
        Ok(())
    }
}

/// Why a script was not compiled.
#[derive(Clone, Debug)]
pub enum CompileError {
    /// Every error, in the order of their positions.
    Diagnostics(Diagnostics),
    /// The budget is exhausted.
    OutOfMemory(OutOfMemoryError),
}

impl From<OutOfMemoryError> for CompileError {
    fn from(refused: OutOfMemoryError) -> Self {
        Self::OutOfMemory(refused)
    }
}

impl From<Diagnostics> for CompileError {
    fn from(diagnostics: Diagnostics) -> Self {
        Self::Diagnostics(diagnostics)
    }
}

/// Checks and compiles one script for the SDK version of its manifest. Nothing is executed. This takes some
/// milliseconds, and seconds in the worst case. It recurses as deep as expressions can be nested, so it needs a
/// thread that can block.
///
/// # Errors
/// Every error, in the order of their positions.
pub fn compile(sdk: SdkVersion, path: &ScriptPath, source: &str) -> Result<Script, Diagnostics> {
    let budget: Arc<dyn CompileBudget> = Arc::new(UnlimitedMemory);
    compile_within(sdk, path, source, None, &Libraries::default(), &budget).map_err(|refused| match refused {
        CompileError::Diagnostics(diagnostics) => diagnostics,
        CompileError::OutOfMemory(_) => unreachable!("the budget is unlimited"),
    })
}

/// The same within a memory budget, with the names in the manifest if they are known, and linked with the libraries
/// that it imports.
///
/// # Errors
/// Every error, or an exhausted budget; no diagnostics if only a library has errors.
pub fn compile_within(
    sdk: SdkVersion,
    path: &ScriptPath,
    source: &str,
    manifest_names: Option<&ManifestNames<'_>>,
    libraries: &Libraries<'_>,
    budget: &Arc<dyn CompileBudget>,
) -> Result<Script, CompileError> {
    let AnalyzedFile { source, mut findings, analyzed, memory } =
        analyze_file(sdk, path, source, manifest_names, libraries, budget)?;
    let rendered = std::mem::take(&mut findings.rendered);
    let warnings = findings.into_warnings()?;
    let (sandbox, Analyzed { ast, declarations, uses, imports }) = (Sandbox::of(sdk), analyzed);
    if imports.is_empty() {
        let script = build_script(sandbox, ast, declarations, sdk, uses, memory)?;
        return Ok(Script { warnings, rendered, ..script });
    }
    // Nothing is linked with a library that has errors; those are reported for the library.
    let Some(files) = libraries.valid_closure(&imports) else { return Err(warnings.into()) };
    drop((ast, declarations));
    Ok(Script { warnings, rendered, imports, ..link_script(sandbox, path, source, &files, memory)? })
}

/// A library that passed its checks.
pub(crate) struct CheckedLibrary {
    pub(crate) exports: Exports,
    pub(crate) rendered: RenderedTemplates,
    pub(crate) warnings: Diagnostics,
}

/// Checks a library, within a memory budget, against the libraries that it imports.
///
/// # Errors
/// Every error, or an exhausted budget.
pub(crate) fn check_library(
    sdk: SdkVersion,
    path: &ScriptPath,
    source: &str,
    manifest_names: Option<&ManifestNames<'_>>,
    libraries: &Libraries<'_>,
    budget: &Arc<dyn CompileBudget>,
) -> Result<CheckedLibrary, CompileError> {
    let AnalyzedFile { mut findings, analyzed, .. } =
        analyze_file(sdk, path, source, manifest_names, libraries, budget)?;
    let exports = imports::library(&analyzed.ast, &mut findings);
    let rendered = std::mem::take(&mut findings.rendered);
    Ok(CheckedLibrary { exports, rendered, warnings: findings.into_warnings()? })
}

/// A file that parses, with what was found so far.
struct AnalyzedFile<'f> {
    /// The text without a byte order mark.
    source: &'f str,
    findings: Findings<'f>,
    analyzed: Analyzed,
    memory: CompileMemory,
}

/// Parses and analyzes a script or a library.
///
/// # Errors
/// It exceeds a limit or does not parse, or the budget is exhausted.
fn analyze_file<'f>(
    sdk: SdkVersion,
    path: &'f ScriptPath,
    source: &'f str,
    manifest_names: Option<&ManifestNames<'_>>,
    libraries: &Libraries<'_>,
    budget: &Arc<dyn CompileBudget>,
) -> Result<AnalyzedFile<'f>, CompileError> {
    let source = strip_bom(source);
    if let Some(diagnostic) = exceeded_limit(path, source) {
        return Err(Diagnostics::from(diagnostic).into());
    }
    let mut findings = Findings::new(sdk, path, source);
    let mut memory = CompileMemory::new(Arc::clone(budget));
    match analyze(Sandbox::of(sdk), manifest_names, libraries, &mut findings, &mut memory)? {
        Some(analyzed) => Ok(AnalyzedFile { source, findings, analyzed, memory }),
        None => {
            let conflict = conflict_diagnostic(path, source);
            Err(conflict.map_or_else(|| findings.into_diagnostics(), Diagnostics::from).into())
        }
    }
}

/// The error for a text with an unresolved merge conflict.
fn conflict_diagnostic(path: &ScriptPath, source: &str) -> Option<Diagnostic> {
    let span = Span::from_range(source, conflict_marker(source)?);
    Some(Diagnostic::error(path.as_str(), Some(span), CONFLICT_MESSAGE).with_help(CONFLICT_HELP))
}

/// Compiles a script that was checked, together with all libraries that it reaches.
fn link_script(
    sandbox: &Sandbox,
    path: &ScriptPath,
    source: &str,
    libraries: &[(ScriptPath, &str)],
    memory: CompileMemory,
) -> Result<Script, CompileError> {
    let failed = |library: Option<ScriptPath>, message: String, help: &str| {
        let file = library.unwrap_or_else(|| path.clone());
        CompileError::from(Diagnostics::from(Diagnostic::error(file.as_str(), None, message).with_help(help)))
    };
    let bytes = source.len() + libraries.iter().map(|(_, text)| text.len()).sum::<usize>();
    if bytes > LINKED_MAX {
        let message = format!("the script and its libraries are longer than {} KiB", LINKED_MAX / 1024);
        return Err(failed(None, message, "import fewer libraries"));
    }
    let deadline = Instant::now() + PARSE_TIME_MAX;
    let link = || library::link(sandbox, source, libraries);
    let (linked, mut memory) =
        token_mapper::with_memory(memory, || token_mapper::with_deadline(deadline, link).0)?;
    let linked = linked.map_err(|error| match error {
        LinkError::Parse { library, error } => failed(library, error.to_string(), "push the app again"),
        LinkError::TooLong => failed(
            None,
            format!(
                "the script and its libraries have more than {LINES_MAX} lines, or a line is longer than that"
            ),
            "import fewer libraries",
        ),
    })?;
    let library::Linked { text, renames, constants, files, asts } = linked;
    memory.reserve_for_checks(&text)?;
    let mut uses = Uses::default();
    for ast in &asts {
        let mut ignored = Findings::new(sandbox.sdk, path, source);
        uses.merge(ctx::check(ast, &Declarations::of(ast), sandbox.sdk, &mut ignored));
    }
    drop(asts);
    let parse = || {
        let parse = || sandbox.compile(&text);
        token_mapper::with_renames(renames, || token_mapper::with_deadline(deadline, parse).0)
    };
    let (parsed, mut memory) = token_mapper::with_memory(memory, parse)?;
    let ast = parsed.map_err(|error| match error.err_type() {
        rhai::ParseErrorType::TooManyFunctions => {
            let message = format!("the script and its libraries have more than {} functions", FUNCTIONS_MAX);
            failed(None, message, "import fewer libraries")
        }
        rhai::ParseErrorType::BadInput(why) if token_mapper::is_timeout(why) => {
            let message =
                format!("linking the script with its libraries took longer than {PARSE_TIME_MAX:?}");
            failed(None, message, "import fewer libraries")
        }
        _ => failed(None, format!("cannot be linked with its libraries: {error}"), "report this as a bug"),
    })?;
    memory.reserve_for_checks(&text)?;
    let declarations = Declarations::of(&ast);
    let script = build_script(sandbox, ast, declarations, sandbox.sdk, uses, memory)?;
    Ok(Script { linkage: Some(Arc::new(Linkage { constants, files })), ..script })
}

/// A script that parses, with the results of its analysis.
struct Analyzed {
    ast: AST,
    declarations: Declarations,
    uses: Uses,
    /// The libraries that it imports directly, sorted.
    imports: Vec<ScriptPath>,
}

/// Parses a script and adds every error to `findings`. `None` if it does not parse.
fn analyze(
    sandbox: &Sandbox,
    manifest_names: Option<&ManifestNames<'_>>,
    libraries: &Libraries<'_>,
    findings: &mut Findings<'_>,
    memory: &mut CompileMemory,
) -> Result<Option<Analyzed>, OutOfMemoryError> {
    let (sdk, source) = (findings.sdk, findings.source);
    let deadline = Instant::now() + PARSE_TIME_MAX;
    let parse = |memory: &mut CompileMemory, text: &str| {
        let log = || token_mapper::with_deadline(deadline, || sandbox.compile(text));
        let (parsed, grown) = token_mapper::with_memory(memory.clone(), log)?;
        *memory = grown;
        Ok(parsed)
    };
    let (first, tokens) = if source.contains("import") {
        token_mapper::collect_tokens(|| parse(memory, source))
    } else {
        (parse(memory, source), Vec::new())
    };
    let (parsed, log) = first?;
    syntax::foreign_tokens(&log, findings);
    match parsed {
        Ok(ast) => {
            memory.reserve_for_checks(source)?;
            syntax::open_comment(findings);
            let declarations = Declarations::of(&ast);
            let imports = Imports::of(&ast, libraries, findings);
            names::check(&ast, &declarations, &imports, &sandbox.natives, findings);
            let uses = ctx::check(&ast, &declarations, sdk, findings);
            lint(&ast, &declarations, sandbox, manifest_names, memory, findings)?;
            imports.warn_about_unused(&tokens, findings);
            let imports = imports.files();
            Ok(Some(Analyzed { ast, declarations, uses, imports }))
        }
        Err(error) => {
            memory.reserve_for_recovery(source)?;
            let mut again = |text: &str| parse(memory, text);
            let recovered = syntax::recover(error, deadline, &mut again, findings)?;
            if let Some(Recovered { ast, removed }) = recovered {
                memory.reserve_for_checks(source)?;
                let declarations = Declarations { removed, ..Declarations::of(&ast) };
                let imports = Imports::of(&ast, libraries, findings);
                names::check(&ast, &declarations, &imports, &sandbox.natives, findings);
                ctx::check(&ast, &declarations, sdk, findings);
                // Removed statements can change any variable.
                if declarations.removed.is_empty() {
                    lint(&ast, &declarations, sandbox, manifest_names, memory, findings)?;
                }
            }
            Ok(None)
        }
    }
}

/// Finds errors in code that parses.
fn lint(
    ast: &AST,
    declarations: &Declarations,
    sandbox: &Sandbox,
    manifest_names: Option<&ManifestNames<'_>>,
    memory: &mut CompileMemory,
    findings: &mut Findings<'_>,
) -> Result<(), OutOfMemoryError> {
    if !declarations.functions.is_empty() || !declarations.closures.is_empty() {
        memory.reserve_for_copy()?;
    }
    lints::check(ast, declarations, sandbox, manifest_names, findings);
    Ok(())
}

/// The native functions that scripts for `sdk` can call, with their module if any (`log::info`), and their argument
/// counts, including the receiver of a method.
pub fn callable_functions(sdk: SdkVersion) -> impl Iterator<Item = (&'static str, &'static [usize])> {
    let natives = Sandbox::of(sdk).natives.iter();
    let callable = natives.filter(|(name, _)| names::rejected_help(name).is_none());
    callable.map(|(name, counts)| (name.as_str(), counts.as_slice()))
}

/// Compiles a script that was checked when it was pushed, within a memory budget. It is not checked again: an
/// accepted script keeps working even if the checks of a later server would reject it. Only the sandbox is enforced.
///
/// # Errors
/// It no longer parses, the sandbox rejects it, or the budget is exhausted.
pub(crate) fn recompile(
    sdk: SdkVersion,
    path: &ScriptPath,
    source: &str,
    libraries: &[(ScriptPath, &str)],
    budget: &Arc<dyn CompileBudget>,
) -> Result<Script, CompileError> {
    let source = strip_bom(source);
    let sandbox = Sandbox::of(sdk);
    let mut findings = Findings::new(sdk, path, source);
    let memory = CompileMemory::new(Arc::clone(budget));
    if !libraries.is_empty() {
        let script = link_script(sandbox, path, source, libraries, memory)?;
        names::check_sandbox(&script.ast, &Declarations::of(&script.ast), &mut findings);
        return if findings.has_errors() { Err(findings.into_diagnostics().into()) } else { Ok(script) };
    }
    let (parsed, mut memory) = token_mapper::with_memory(memory, || sandbox.compile(source))?;
    let ast = match parsed {
        Ok(ast) => ast,
        Err(error) => {
            memory.reserve_for_recovery(source)?;
            syntax::error(&error, &mut findings);
            return Err(findings.into_diagnostics().into());
        }
    };
    memory.reserve_for_checks(source)?;
    let declarations = Declarations::of(&ast);
    names::check_sandbox(&ast, &declarations, &mut findings);
    if findings.has_errors() {
        return Err(findings.into_diagnostics().into());
    }
    let uses = ctx::check(&ast, &declarations, sdk, &mut findings);
    drop(findings);
    Ok(build_script(sandbox, ast, declarations, sdk, uses, memory)?)
}

/// Some editors start UTF-8 files with a byte order mark, which Rhai rejects and columns do not count.
fn strip_bom(source: &str) -> &str {
    source.strip_prefix('\u{feff}').unwrap_or(source)
}

/// The error for a script larger than [`SOURCE_MAX`].
pub fn script_too_large(path: &ScriptPath) -> Diagnostic {
    let message = format!("the script is larger than {} KiB", SOURCE_MAX / 1024);
    Diagnostic::error(path.as_str(), None, message).with_help("split it into several scripts")
}

fn exceeded_limit(path: &ScriptPath, source: &str) -> Option<Diagnostic> {
    if source.len() > SOURCE_MAX {
        return Some(script_too_large(path));
    }
    if source.lines().nth(LINES_MAX).is_some() {
        let message = format!("the script has more than {LINES_MAX} lines");
        return Some(
            Diagnostic::error(path.as_str(), None, message).with_help("split it into several scripts"),
        );
    }
    let words = source.split(|c: char| !c.is_alphanumeric() && c != '_');
    let declarations = words.filter(|word| matches!(*word, "let" | "const")).count();
    (declarations > DECLARATIONS_MAX).then(|| {
        let message = format!("the script declares more than {DECLARATIONS_MAX} variables");
        Diagnostic::error(path.as_str(), None, message)
            .with_help("store data in arrays and maps, or split the script")
    })
}

/// Optimizes the script: constant expressions are computed and dead branches removed; no function is evaluated.
fn build_script(
    sandbox: &Sandbox,
    ast: AST,
    declarations: Declarations,
    sdk: SdkVersion,
    uses: Uses,
    mut memory: CompileMemory,
) -> Result<Script, OutOfMemoryError> {
    let is_optimized =
        declarations.statements <= OPTIMIZED_STATEMENTS_MAX && !declarations.misleads_optimizer();
    let ast = if is_optimized {
        memory.reserve_for_copy()?;
        sandbox.engine.optimize_ast(&Scope::new(), ast, OptimizationLevel::Simple)
    } else {
        ast
    };
    drop(declarations);
    let captures = Captures::of(&ast, sdk >= SdkVersion::V1_3);
    let (linkage, imports, warnings, rendered) = Default::default();
    Ok(Script { ast, sdk, uses, captures, linkage, imports, warnings, rendered, bytes: memory.held() })
}

/// A body of statements: the script itself, or a function.
#[derive(Clone, Copy)]
struct Body<'a> {
    /// The function; `None` for the script itself.
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

/// The prefix of the names of closures in Rhai.
const CLOSURE_PREFIX: &str = "anon$";

/// Passes every node of a script to `visit`, with its ancestors, outermost first.
fn walk(ast: &AST, visit: &mut dyn FnMut(Body<'_>, &[ASTNode<'_>])) {
    // Rhai visits the statements of the script first. They are not copied, which would double the memory.
    let own = ast.statements().as_ptr_range();
    ast.walk(&mut |path: &[ASTNode<'_>]| {
        let is_own =
            matches!(path, [ASTNode::Stmt(outermost), ..] if own.contains(&std::ptr::from_ref(*outermost)));
        if is_own {
            visit(Body { function: None }, path);
        }
        is_own
    });
    for (function, alone) in separate_functions(ast) {
        alone.walk(&mut |path: &[ASTNode<'_>]| {
            visit(Body { function: Some(function) }, path);
            true
        });
    }
}

/// Each function of a script, and a program of this function only: Rhai's walk does not tell to which function a node
/// belongs.
fn separate_functions(ast: &AST) -> impl Iterator<Item = (&Shared<ScriptFuncDef>, AST)> {
    let all = ast.clone_functions_only();
    let mut none = all.clone();
    none.retain_functions(|_, _, _, _| false);
    // `retain_functions` on a copy of all functions would copy each of them for each.
    ast.iter_fn_def().map(move |function| {
        let same =
            |name: &str, parameters: usize| parameters == function.params.len() && *name == *function.name;
        (function, none.merge_filtered(&all, |_, _, _, name, parameters| same(name, parameters)))
    })
}

/// The findings in one script.
struct Findings<'a> {
    sdk: SdkVersion,
    path: &'a ScriptPath,
    source: &'a str,
    errors: FindingList,
    warnings: FindingList,
    suggestions: Suggestions,
    rendered: RenderedTemplates,
    /// The patched source, if the original does not parse: positions refer to its text.
    patched: Option<PatchedSource>,
    /// The edits of the help texts, by the position of their errors.
    #[cfg(test)]
    edits: Vec<(Position, Edit)>,
}

/// Findings of one severity.
#[derive(Default)]
struct FindingList {
    kept: Vec<(Position, Diagnostic)>,
    /// The positions of the findings; there is at most one per position.
    places: HashSet<Position>,
    removed: usize,
}

impl<'a> Findings<'a> {
    fn new(sdk: SdkVersion, path: &'a ScriptPath, source: &'a str) -> Self {
        let (errors, warnings, suggestions, rendered) = Default::default();
        Self {
            sdk,
            path,
            source,
            errors,
            warnings,
            suggestions,
            rendered,
            patched: None,
            #[cfg(test)]
            edits: Vec::new(),
        }
    }

    /// Adds an error about `width` characters at `position`.
    fn add(&mut self, position: Position, width: usize, message: String, help: Option<String>) {
        self.add_as(Severity::Error, position, width, &message, help);
    }

    /// The same with help, which can contain an edit.
    fn add_help(&mut self, position: Position, width: usize, message: String, help: Option<Help>) {
        let Help { text, edit } = match help {
            Some(help) => help,
            None => return self.add(position, width, message, None),
        };
        self.note_edit(position, edit);
        self.add(position, width, message, Some(text));
    }

    #[cfg(not(test))]
    fn note_edit(&mut self, _: Position, _: Option<Edit>) {}

    /// Records the edit of a help text.
    #[cfg(test)]
    fn note_edit(&mut self, position: Position, edit: Option<Edit>) {
        let written = self.patched.as_ref().map_or(Some(position), |patched| patched.position(position));
        let new = |position| self.edits.iter().all(|(noted, _)| *noted != position);
        let (Some(position), Some(Edit { replace, with })) = (written.filter(|at| new(*at)), edit) else {
            return;
        };
        let replace = match &self.patched {
            Some(patched) => patched.written(replace.start)..patched.written(replace.end),
            None => replace,
        };
        self.edits.push((position, Edit { replace, with }));
    }

    /// The parsed text: the source, or the patched source.
    fn text(&self) -> &str {
        self.patched.as_ref().map_or(self.source, PatchedSource::text)
    }

    /// The byte range of `written` in that text, if it starts at the position.
    fn range_of(&self, position: Position, written: &str) -> Option<Range<usize>> {
        // Findings beyond the maximum are only counted and need no help.
        if self.is_full() {
            return None;
        }
        let start = self.offset(position);
        self.text()[start..].starts_with(written).then(|| start..start + written.len())
    }

    /// The byte offset of a position in the parsed text.
    fn offset(&self, position: Position) -> usize {
        match &self.patched {
            Some(patched) => patched.offset(position),
            None => syntax::offset(self.source, position),
        }
    }

    /// Whether no more errors are reported.
    fn is_full(&self) -> bool {
        self.errors.kept.len() >= DIAGNOSTICS_MAX
    }

    /// Adds a finding that is an error since SDK 1.3, and a warning in older scripts, which were accepted with it.
    fn add_since_1_3(&mut self, position: Position, width: usize, message: String, help: Option<String>) {
        let severity = if self.sdk < SdkVersion::V1_3 { Severity::Warning } else { Severity::Error };
        self.add_as(severity, position, width, &message, help);
    }

    /// Adds a warning about code that is probably wrong.
    fn warn(&mut self, position: Position, width: usize, message: String, help: Option<String>) {
        self.add_as(Severity::Warning, position, width, &message, help);
    }

    fn add_as(
        &mut self,
        severity: Severity,
        position: Position,
        width: usize,
        message: &str,
        help: Option<String>,
    ) {
        let found = match severity {
            Severity::Error => &mut self.errors,
            Severity::Warning => &mut self.warnings,
        };
        // Generated text has no errors.
        let written = match &self.patched {
            Some(patched) if found.kept.len() < DIAGNOSTICS_MAX => patched.position(position),
            _ => Some(position),
        };
        let Some(position) = written else { return };
        // Rhai counts columns in 16 bits; further right, positions are not unique.
        let placed = position.position().is_some_and(|column| column < usize::from(u16::MAX));
        if placed && !found.places.insert(position) {
            return;
        }
        if found.kept.len() == DIAGNOSTICS_MAX {
            found.removed += 1;
            return;
        }
        let span = span(self.source, position, width);
        let help = help.map(|help| one_line(&help));
        let diagnostic =
            Diagnostic { severity, help, ..Diagnostic::error(self.path.as_str(), span, one_line(message)) };
        found.kept.push((position, diagnostic));
    }

    /// The number of findings so far.
    fn count(&self) -> usize {
        self.errors.places.len() + self.warnings.places.len()
    }

    fn has_errors(&self) -> bool {
        !self.errors.kept.is_empty()
    }

    /// The warnings.
    ///
    /// # Errors
    /// All findings, if there are errors.
    fn into_warnings(self) -> Result<Diagnostics, Diagnostics> {
        let failed = self.has_errors();
        let found = self.into_diagnostics();
        if failed { Err(found) } else { Ok(found) }
    }

    /// All findings by position. An error replaces warnings at the same position.
    fn into_diagnostics(self) -> Diagnostics {
        let mut diagnostics = Diagnostics::default();
        let (errors, mut warnings) = (self.errors, self.warnings);
        warnings.kept.retain(|(position, _)| !errors.places.contains(position));
        for mut found in [errors.kept, warnings.kept] {
            found.sort_by_key(|(position, _)| (position.line(), position.position()));
            found.into_iter().for_each(|(_, diagnostic)| diagnostics.add(diagnostic));
        }
        diagnostics.add_omitted_errors(self.path.as_str(), errors.removed);
        diagnostics.add_omitted_warnings(warnings.removed);
        diagnostics
    }
}

/// Formats a message that quotes the script, with any content, as one line of limited length.
fn one_line(message: &str) -> String {
    let mut line = String::with_capacity(message.len().min(2 * MESSAGE_MAX));
    for c in message.chars().take(MESSAGE_MAX) {
        if c.is_control() { line.extend(c.escape_default()) } else { line.push(c) }
    }
    if message.chars().nth(MESSAGE_MAX).is_some() {
        line.push('…');
    }
    line
}

fn span(source: &str, position: Position, width: usize) -> Option<Span> {
    Some(Span::from_position(source, position.line()?, position.position().unwrap_or(1), width))
}

#[cfg(test)]
mod mistakes;
#[cfg(test)]
mod tests;
