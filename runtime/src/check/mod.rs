//! The checks of a script: every diagnostic that can be found without running it.
//!
//! [`syntax`] puts what Rhai's parser says into words. Of a script that parses, [`declared`] collects what it defines,
//! [`names`] finds calls to functions that exist nowhere and variables that were never declared, [`ctx`] finds
//! what it reads of `ctx`, and [`lints`] what is wrong at every call. A false alarm is worse than a miss: whatever may exist at run time is let through.
//!
//! The checks are also the wall: `eval`, `import` and their like are refused here, and only what passed is a
//! [`Script`], which is the only thing that runs.

mod ctx;
mod declared;
mod foreign;
mod help;
mod lints;
mod names;
mod provided;
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
use rhai::{AST, ASTNode, OptimizationLevel, Position, Scope, ScriptFuncDef};

use crate::captures::Captures;
use crate::host::NoMemory;
use crate::parsing::{self, Growth};
use crate::sandbox::Sandbox;
use crate::sdk::Uses;
use declared::Declared;
use help::{Edit, Help};
pub use provided::Provided;
use syntax::{Patched, Recovered};

/// The largest script, in bytes.
pub const SOURCE_MAX: usize = 256 * 1024;

/// The most lines: Rhai counts them in 16 bits.
const LINES_MAX: usize = u16::MAX as usize - 1;

/// The most statements that declare a variable; compiling looks each name up among all those before it.
const DECLARATIONS_MAX: usize = 4000;

/// The longest that one script may take to parse. Some constructs take square time; whatever a person writes takes a
/// few milliseconds.
const PARSE_TIME_MAX: Duration = Duration::from_secs(5);

/// The most errors of one script that are shown, and the most warnings; the others are counted.
const FAULTS_MAX: usize = 100;

/// The longest message, in characters.
const MESSAGE_MAX: usize = 300;

/// The most statements of a script that is optimised, which takes square time. A longer one runs as it is written.
const STATEMENTS_OPTIMISED_MAX: usize = 5000;

/// A script that passed every check, compiled.
pub struct Script {
    ast: AST,
    sdk: SdkVersion,
    uses: Uses,
    captures: Captures,
    warnings: Diagnostics,
    bytes: u64,
}

impl Script {
    /// The SDK version that it was checked against.
    pub fn sdk(&self) -> SdkVersion {
        self.sdk
    }

    /// What its author should look at; no error is among it.
    pub fn warnings(&self) -> &Diagnostics {
        &self.warnings
    }

    /// The same, which the script then holds no more: nobody reads them once it runs.
    pub fn take_warnings(&mut self) -> Diagnostics {
        std::mem::take(&mut self.warnings)
    }

    /// How many bytes it takes; 0 without [`crate::CountingAllocator`].
    pub fn bytes(&self) -> u64 {
        self.bytes
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

/// The memory that a compilation is granted: what a script is compiled to can take 250 times the memory of its text, and as much
/// again while it is compiled.
pub trait Room: Send + Sync {
    /// Holds `bytes` for the compilation in all. It is asked before the compilation holds more than that.
    ///
    /// # Errors
    /// There is no room for them. The compilation ends.
    fn grow(&self, bytes: u64) -> Result<(), NoMemory>;
}

/// As much as it takes, for the machine of an author.
#[derive(Clone, Copy, Debug, Default)]
pub struct Unbounded;

impl Room for Unbounded {
    fn grow(&self, _: u64) -> Result<(), NoMemory> {
        Ok(())
    }
}

/// Why a script was not compiled.
#[derive(Clone, Debug)]
pub enum NotCompiled {
    /// Every diagnostic that was found, in the order of their places.
    Diagnostics(Diagnostics),
    /// There was no memory for it.
    NoMemory(NoMemory),
}

impl From<NoMemory> for NotCompiled {
    fn from(refused: NoMemory) -> Self {
        Self::NoMemory(refused)
    }
}

impl From<Diagnostics> for NotCompiled {
    fn from(diagnostics: Diagnostics) -> Self {
        Self::Diagnostics(diagnostics)
    }
}

/// Checks and compiles one script for the SDK version of its manifest. Nothing of it is run. This takes some
/// milliseconds, seconds at the very worst, and recurses as deep as expressions may be nested: it belongs on a thread
/// that may block.
///
/// # Errors
/// Every diagnostic that was found, in the order of their places.
pub fn compile(sdk: SdkVersion, path: &ScriptPath, source: &str) -> Result<Script, Diagnostics> {
    compile_within(sdk, path, source, None, &(Arc::new(Unbounded) as Arc<dyn Room>)).map_err(|refused| {
        match refused {
            NotCompiled::Diagnostics(diagnostics) => diagnostics,
            NotCompiled::NoMemory(_) => unreachable!("there is room for everything"),
        }
    })
}

/// The same in as much memory as `room` grants, and for what the manifest provides, where that is known.
///
/// # Errors
/// Every diagnostic that was found, or that there is no room.
pub fn compile_within(
    sdk: SdkVersion,
    path: &ScriptPath,
    source: &str,
    provided: Option<&Provided<'_>>,
    room: &Arc<dyn Room>,
) -> Result<Script, NotCompiled> {
    let source = without_mark(source);
    if let Some(diagnostic) = beyond_limits(path, source) {
        return Err(Diagnostics::from(diagnostic).into());
    }
    let sandbox = Sandbox::of(sdk);
    let mut findings = Findings::new(sdk, path, source);
    let mut growth = Growth::new(Arc::clone(room));
    match judge(sandbox, provided, &mut findings, &mut growth)? {
        Some(Judged { ast, declared, uses }) if !findings.have_errors() => {
            let warnings = findings.into_diagnostics();
            Ok(Script { warnings, ..finished(sandbox, ast, declared, sdk, uses, growth)? })
        }
        None if let Some(marker) = conflict_marker(source) => {
            let span = Span::from_range(source, marker);
            let diagnostic = Diagnostic::error(path.as_str(), Some(span), CONFLICT_MESSAGE);
            Err(Diagnostics::from(diagnostic.with_help(CONFLICT_HELP)).into())
        }
        _ => Err(findings.into_diagnostics().into()),
    }
}

/// A script that parses, and what was learned of it.
struct Judged {
    ast: AST,
    declared: Declared,
    uses: Uses,
}

/// Parses a script and adds every diagnostic that it has to `findings`. Nothing comes of one that does not parse.
fn judge(
    sandbox: &Sandbox,
    provided: Option<&Provided<'_>>,
    findings: &mut Findings<'_>,
    growth: &mut Growth,
) -> Result<Option<Judged>, NoMemory> {
    let (sdk, source) = (findings.sdk, findings.source);
    let deadline = Instant::now() + PARSE_TIME_MAX;
    let parse = |growth: &mut Growth, text: &str| {
        let watched = || parsing::watch(deadline, || sandbox.engine.compile(text));
        let (parsed, grown) = parsing::measured(growth.clone(), watched)?;
        *growth = grown;
        Ok(parsed)
    };
    let (parsed, watched) = parse(growth, source)?;
    syntax::slips(&watched, findings);
    match parsed {
        Ok(ast) => {
            growth.reserve_for_checks(source)?;
            syntax::open_comment(findings);
            let declared = Declared::of(&ast);
            names::check(&ast, &declared, &sandbox.natives, findings);
            let uses = ctx::check(&ast, &declared, sdk, findings);
            lint(&ast, &declared, sandbox, provided, growth, findings)?;
            Ok(Some(Judged { ast, declared, uses }))
        }
        Err(error) => {
            growth.reserve_for_recovery(source)?;
            let mut again = |text: &str| parse(growth, text);
            let recovered = syntax::recover(error, deadline, &mut again, findings)?;
            if let Some(Recovered { ast, left_out }) = recovered {
                growth.reserve_for_checks(source)?;
                let declared = Declared { left_out, ..Declared::of(&ast) };
                names::check(&ast, &declared, &sandbox.natives, findings);
                ctx::check(&ast, &declared, sdk, findings);
                // What was left out can change any variable.
                if declared.left_out.is_empty() {
                    lint(&ast, &declared, sandbox, provided, growth, findings)?;
                }
            }
            Ok(None)
        }
    }
}

/// Looks for what parses and is wrong.
fn lint(
    ast: &AST,
    declared: &Declared,
    sandbox: &Sandbox,
    provided: Option<&Provided<'_>>,
    growth: &mut Growth,
    findings: &mut Findings<'_>,
) -> Result<(), NoMemory> {
    if !declared.functions.is_empty() || !declared.closures.is_empty() {
        growth.reserve_for_copy()?;
    }
    lints::check(ast, declared, sandbox, provided, findings);
    Ok(())
}

/// The functions that scripts written for `sdk` can call beside their own, with their module if they have one
/// (`log::info`), and how many arguments each takes, what stands before the dot of a method among them.
pub fn functions(sdk: SdkVersion) -> impl Iterator<Item = (&'static str, &'static [usize])> {
    let natives = Sandbox::of(sdk).natives.iter();
    let callable = natives.filter(|(name, _)| names::refused_help(name).is_none());
    callable.map(|(name, counts)| (name.as_str(), counts.as_slice()))
}

/// Compiles a script that was checked when it was pushed, in as much memory as `room` grants. It is not judged again: what was
/// accepted goes on working when the checks of a later server would find diagnostic with it. Only the wall stands.
///
/// # Errors
/// It does not parse any more, or uses what the sandbox refuses, or there is no room.
pub(crate) fn recompile(
    sdk: SdkVersion,
    path: &ScriptPath,
    source: &str,
    room: &Arc<dyn Room>,
) -> Result<Script, NotCompiled> {
    let source = without_mark(source);
    let sandbox = Sandbox::of(sdk);
    let mut findings = Findings::new(sdk, path, source);
    let growth = Growth::new(Arc::clone(room));
    let (parsed, mut growth) = parsing::measured(growth, || sandbox.engine.compile(source))?;
    let ast = match parsed {
        Ok(ast) => ast,
        Err(error) => {
            growth.reserve_for_recovery(source)?;
            syntax::error(&error, &mut findings);
            return Err(findings.into_diagnostics().into());
        }
    };
    growth.reserve_for_checks(source)?;
    let declared = Declared::of(&ast);
    names::wall(&ast, &declared, &mut findings);
    if findings.have_errors() {
        return Err(findings.into_diagnostics().into());
    }
    let uses = ctx::check(&ast, &declared, sdk, &mut findings);
    drop(findings);
    Ok(finished(sandbox, ast, declared, sdk, uses, growth)?)
}

/// Some editors begin UTF-8 with a byte order mark, which is nothing to Rhai and which no column counts.
fn without_mark(source: &str) -> &str {
    source.strip_prefix('\u{feff}').unwrap_or(source)
}

/// The diagnostic of a script beyond [`SOURCE_MAX`].
pub fn too_large(path: &ScriptPath) -> Diagnostic {
    let words = format!("the script is larger than {} KiB", SOURCE_MAX / 1024);
    Diagnostic::error(path.as_str(), None, words).with_help("split it into several")
}

fn beyond_limits(path: &ScriptPath, source: &str) -> Option<Diagnostic> {
    if source.len() > SOURCE_MAX {
        return Some(too_large(path));
    }
    if source.lines().nth(LINES_MAX).is_some() {
        let words = format!("the script has more than {LINES_MAX} lines");
        return Some(Diagnostic::error(path.as_str(), None, words).with_help("split it into several"));
    }
    let words = source.split(|c: char| !c.is_alphanumeric() && c != '_');
    let declarations = words.filter(|word| matches!(*word, "let" | "const")).count();
    (declarations > DECLARATIONS_MAX).then(|| {
        let words = format!("the script declares more than {DECLARATIONS_MAX} variables");
        Diagnostic::error(path.as_str(), None, words)
            .with_help("keep data in arrays and maps, or split the script")
    })
}

/// Known numbers are computed and dead branches dropped; nothing else is evaluated, functions in particular.
fn finished(
    sandbox: &Sandbox,
    ast: AST,
    declared: Declared,
    sdk: SdkVersion,
    uses: Uses,
    mut growth: Growth,
) -> Result<Script, NoMemory> {
    let is_optimised = declared.statements <= STATEMENTS_OPTIMISED_MAX && !declared.misleads_the_optimiser();
    let ast = if is_optimised {
        growth.reserve_for_copy()?;
        sandbox.engine.optimize_ast(&Scope::new(), ast, OptimizationLevel::Simple)
    } else {
        ast
    };
    drop(declared);
    let captures = Captures::of(&ast, sdk >= SdkVersion::V1_3);
    Ok(Script { ast, sdk, uses, captures, warnings: Diagnostics::default(), bytes: growth.held() })
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
    // Rhai shows the statements of the script itself first. They are not copied, which would take as much memory again.
    let own = ast.statements().as_ptr_range();
    ast.walk(&mut |path: &[ASTNode<'_>]| {
        let is_own =
            matches!(path, [ASTNode::Stmt(outermost), ..] if own.contains(&std::ptr::from_ref(*outermost)));
        if is_own {
            visit(Body { function: None }, path);
        }
        is_own
    });
    for function in ast.iter_fn_def() {
        let same =
            |name: &str, parameters: usize| *name == *function.name && parameters == function.params.len();
        // Rhai shows the nodes of functions without saying of which; so each is looked at alone.
        let mut alone = ast.clone_functions_only();
        alone.retain_functions(|_, _, name, parameters| same(name, parameters));
        alone.walk(&mut |path: &[ASTNode<'_>]| {
            visit(Body { function: Some(function) }, path);
            true
        });
    }
}

/// What was found in one script so far.
struct Findings<'a> {
    sdk: SdkVersion,
    path: &'a ScriptPath,
    source: &'a str,
    errors: Found,
    warnings: Found,
    suggestions: Suggestions,
    /// What is read in the span of the source, where that does not parse: positions are those of its text.
    patched: Option<Patched>,
    /// What the help of diagnostics would change in the source, by the span of the diagnostic.
    #[cfg(test)]
    edits: Vec<(Position, Edit)>,
}

/// Diagnostics of one severity.
#[derive(Default)]
struct Found {
    kept: Vec<(Position, Diagnostic)>,
    /// Where something was found; one span is one diagnostic.
    places: HashSet<Position>,
    left_out: usize,
}

impl<'a> Findings<'a> {
    fn new(sdk: SdkVersion, path: &'a ScriptPath, source: &'a str) -> Self {
        let (errors, warnings, suggestions) = Default::default();
        Self {
            sdk,
            path,
            source,
            errors,
            warnings,
            suggestions,
            patched: None,
            #[cfg(test)]
            edits: Vec::new(),
        }
    }

    /// Adds an error about `width` characters at `position`.
    fn add(&mut self, position: Position, width: usize, message: String, help: Option<String>) {
        self.add_as(Severity::Error, position, width, &message, help);
    }

    /// The same with help, which can be an edit.
    fn add_help(&mut self, position: Position, width: usize, message: String, help: Option<Help>) {
        let Help { words, edit } = match help {
            Some(help) => help,
            None => return self.add(position, width, message, None),
        };
        self.note_edit(position, edit);
        self.add(position, width, message, Some(words));
    }

    #[cfg(not(test))]
    fn note_edit(&mut self, _: Position, _: Option<Edit>) {}

    /// Notes what help would change in the source.
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

    /// What was read: the source, or what was made of it where that does not parse.
    fn text(&self) -> &str {
        self.patched.as_ref().map_or(self.source, Patched::text)
    }

    /// Where `written` stands in that text, in bytes, if it begins at the position.
    fn range_of(&self, position: Position, written: &str) -> Option<Range<usize>> {
        // What is counted only needs no help.
        if self.are_full() {
            return None;
        }
        let start = self.offset(position);
        self.text()[start..].starts_with(written).then(|| start..start + written.len())
    }

    /// Where in the text that was read a position is, in bytes.
    fn offset(&self, position: Position) -> usize {
        match &self.patched {
            Some(patched) => patched.offset(position),
            None => syntax::offset(self.source, position),
        }
    }

    /// Whether no more errors are shown.
    fn are_full(&self) -> bool {
        self.errors.kept.len() >= FAULTS_MAX
    }

    /// Adds what a check of SDK 1.3 finds wrong: an error there, and a warning in scripts of older versions, which were accepted
    /// with it.
    fn add_new(&mut self, position: Position, width: usize, message: String, help: Option<String>) {
        let severity = if self.sdk < SdkVersion::V1_3 { Severity::Warning } else { Severity::Error };
        self.add_as(severity, position, width, &message, help);
    }

    /// Adds a warning: what is likely to be wrong, and can be meant.
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
        // What nobody wrote has no diagnostic.
        let written = match &self.patched {
            Some(patched) if found.kept.len() < FAULTS_MAX => patched.position(position),
            _ => Some(position),
        };
        let Some(position) = written else { return };
        // Rhai counts columns in 16 bits: what stands further right has no span of its own.
        let placed = position.position().is_some_and(|column| column < usize::from(u16::MAX));
        if placed && !found.places.insert(position) {
            return;
        }
        if found.kept.len() == FAULTS_MAX {
            found.left_out += 1;
            return;
        }
        let span = span(self.source, position, width);
        let help = help.map(|help| one_line(&help));
        let diagnostic =
            Diagnostic { severity, help, ..Diagnostic::error(self.path.as_str(), span, one_line(message)) };
        found.kept.push((position, diagnostic));
    }

    /// How many there are so far.
    fn count(&self) -> usize {
        self.errors.places.len() + self.warnings.places.len()
    }

    fn have_errors(&self) -> bool {
        !self.errors.kept.is_empty()
    }

    /// In the order of their places. Where an error stands, a warning says nothing more.
    fn into_diagnostics(self) -> Diagnostics {
        let mut diagnostics = Diagnostics::default();
        let (errors, mut warnings) = (self.errors, self.warnings);
        warnings.kept.retain(|(position, _)| !errors.places.contains(position));
        for mut found in [errors.kept, warnings.kept] {
            found.sort_by_key(|(position, _)| (position.line(), position.position()));
            found.into_iter().for_each(|(_, diagnostic)| diagnostics.add(diagnostic));
        }
        diagnostics.add_omitted_errors(self.path.as_str(), errors.left_out);
        diagnostics.add_omitted_warnings(warnings.left_out);
        diagnostics
    }
}

/// A message that quotes the script, which may hold anything, as one line of bounded length.
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
mod slips;
#[cfg(test)]
mod tests;
