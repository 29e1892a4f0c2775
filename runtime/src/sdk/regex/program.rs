//! Compiled patterns, bounded in size, and the cache of them that all executions share.
//!
//! Compiling cannot be interrupted, so everything that makes it slow is bounded before: the length, the nesting, the
//! classes, and the size of the automaton.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use regex_automata::MatchKind;
use regex_automata::hybrid::dfa::{Cache, Config, DFA};
use regex_automata::nfa::thompson::{self, NFA, WhichCaptures};
use regex_syntax::ast::{self, Ast, Flag, FlagsItemKind, Visitor};
use regex_syntax::hir::{Hir, translate::TranslatorBuilder};

use super::super::call::{Call, Outcome};
use crate::memory;

/// The maximum length of a pattern, in bytes.
const PATTERN_MAX: usize = 8 * 1024;

/// The maximum nesting of groups, classes and repetitions.
const NESTING_MAX: u32 = 64;

/// The maximum number of classes; a Unicode class has hundreds of ranges.
const CLASSES_MAX: usize = 200;

/// The maximum number of characters in the classes of a pattern with `(?i)`, each of which is looked up.
const CASE_INSENSITIVE_MAX: usize = 200_000;

/// The number of characters that a Unicode class counts for.
const UNICODE_CLASS: usize = 15_000;

/// The maximum size of the automaton of a pattern, in bytes.
const PROGRAM_MAX: usize = 1024 * 1024;

/// Programs up to this size are compiled in an inline pass, in bytes.
const INLINE_PROGRAM_MAX: usize = 64 * 1024;

/// The maximum number of group positions that a search keeps, over all states.
const SLOTS_MAX: usize = 1 << 19;

/// The size of the cache of a lazy DFA, in bytes. A program that needs more for a few states gets that.
const DFA_CACHE: usize = 256 * 1024;

/// The maximum size of all compiled patterns with their caches, in bytes.
const COMPILED_MAX: usize = 32 * 1024 * 1024;

/// A compiled pattern.
pub(super) struct Program {
    pattern: Box<str>,
    pub(super) nfa: NFA,
    /// Finds the end of a match.
    pub(super) forward: DFA,
    /// Finds the start of a match from its end, unless it would be too large.
    pub(super) reverse: Option<DFA>,
    /// The work of computing one transition, in steps.
    pub(super) transition_steps: usize,
    /// The caches, unless a search uses them.
    idle: Mutex<Option<Box<Caches>>>,
}

/// The caches of the DFAs of a program.
pub(super) struct Caches {
    pub(super) forward: Cache,
    pub(super) reverse: Option<Cache>,
}

/// Why there is no program.
enum CompileError {
    Invalid(String),
    /// The program is larger than the given limit.
    TooLarge,
}

impl Program {
    fn compile(pattern: &str, size_max: usize) -> Result<Self, CompileError> {
        let hir = parse(pattern).map_err(CompileError::Invalid)?;
        let nfa = automaton(&hir, size_max, false).ok_or(CompileError::TooLarge)?;
        let slots = nfa.group_info().slot_len();
        if slots.saturating_mul(nfa.states().len()) > SLOTS_MAX {
            let message = "the pattern has too many groups; write `(?:...)` for those that are not read";
            return Err(CompileError::Invalid(message.to_owned()));
        }
        let forward = dfa(nfa.clone(), MatchKind::LeftmostFirst).ok_or(CompileError::TooLarge)?;
        let reverse = automaton(&hir, size_max, true).and_then(|nfa| dfa(nfa, MatchKind::All));
        let transition_steps = 1 + nfa.states().len() / 4;
        let idle = Mutex::new(None);
        Ok(Self { pattern: pattern.into(), nfa, forward, reverse, transition_steps, idle })
    }

    /// The size without caches.
    fn memory_usage(&self) -> usize {
        let reverse = self.reverse.as_ref();
        self.nfa.memory_usage()
            + self.forward.memory_usage()
            + reverse.map_or(0, |dfa| dfa.memory_usage() + dfa.get_nfa().memory_usage())
    }

    fn new_caches(&self) -> Box<Caches> {
        Box::new(Caches {
            forward: self.forward.create_cache(),
            reverse: self.reverse.as_ref().map(DFA::create_cache),
        })
    }
}

impl Caches {
    fn memory_usage(&self) -> usize {
        self.forward.memory_usage() + self.reverse.as_ref().map_or(0, Cache::memory_usage)
    }
}

fn too_large() -> String {
    "the pattern is too large: it has too many repetitions or classes".to_owned()
}

/// Checks a pattern as its compilation does.
///
/// # Errors
/// What is wrong with it, and where.
pub(crate) fn check_pattern(pattern: &str) -> Result<(), String> {
    match Program::compile(pattern, PROGRAM_MAX) {
        Ok(_) => Ok(()),
        Err(CompileError::Invalid(message)) => Err(message),
        Err(CompileError::TooLarge) => Err(too_large()),
    }
}

fn parse(pattern: &str) -> Result<Hir, String> {
    if pattern.len() > PATTERN_MAX {
        return Err(format!("the pattern is longer than {PATTERN_MAX} bytes"));
    }
    let invalid = |what: &dyn std::fmt::Display, at: usize| {
        let before = pattern.get(..at).unwrap_or(pattern).chars().count();
        format!("invalid pattern at character {}: {what}", before + 1)
    };
    let mut parser = ast::parse::ParserBuilder::new();
    let parsed = parser.nest_limit(NESTING_MAX).build().parse(pattern);
    let ast = parsed.map_err(|error| invalid(error.kind(), error.span().start.offset))?;
    let classes = ast::visit(&ast, Classes::default()).unwrap_or_default();
    if classes.count > CLASSES_MAX
        || (classes.is_case_insensitive && classes.characters > CASE_INSENSITIVE_MAX)
    {
        return Err(too_large());
    }
    let translated = TranslatorBuilder::new().utf8(true).build().translate(pattern, &ast);
    translated.map_err(|error| invalid(error.kind(), error.span().start.offset))
}

/// Counts the classes of a pattern.
#[derive(Default)]
struct Classes {
    count: usize,
    characters: usize,
    is_case_insensitive: bool,
}

impl Classes {
    fn add(&mut self, characters: usize) {
        self.count += 1;
        self.characters = self.characters.saturating_add(characters);
    }

    fn flags(&mut self, flags: &ast::Flags) {
        self.is_case_insensitive |=
            flags.items.iter().any(|item| item.kind == FlagsItemKind::Flag(Flag::CaseInsensitive));
    }
}

impl Visitor for Classes {
    type Output = Self;
    type Err = ();

    fn finish(self) -> Result<Self, ()> {
        Ok(self)
    }

    fn visit_pre(&mut self, ast: &Ast) -> Result<(), ()> {
        match ast {
            Ast::Flags(flags) => self.flags(&flags.flags),
            Ast::Group(group) => {
                if let ast::GroupKind::NonCapturing(flags) = &group.kind {
                    self.flags(flags);
                }
            }
            Ast::ClassUnicode(_) | Ast::ClassPerl(_) => self.add(UNICODE_CLASS),
            _ => {}
        }
        Ok(())
    }

    fn visit_class_set_item_pre(&mut self, item: &ast::ClassSetItem) -> Result<(), ()> {
        match item {
            ast::ClassSetItem::Range(range) => {
                let width = u32::from(range.end.c).saturating_sub(u32::from(range.start.c));
                self.characters = self.characters.saturating_add(width as usize);
            }
            ast::ClassSetItem::Unicode(_) | ast::ClassSetItem::Perl(_) => self.add(UNICODE_CLASS),
            _ => {}
        }
        Ok(())
    }
}

/// `None` if it is too large.
fn automaton(hir: &Hir, size_max: usize, reverse: bool) -> Option<NFA> {
    let captures = if reverse { WhichCaptures::None } else { WhichCaptures::All };
    let config = thompson::Config::new()
        .utf8(true)
        .reverse(reverse)
        .which_captures(captures)
        .nfa_size_limit(Some(size_max));
    thompson::Compiler::new().configure(config).build_from_hir(hir).ok()
}

fn dfa(nfa: NFA, kind: MatchKind) -> Option<DFA> {
    let config = Config::new()
        .match_kind(kind)
        .cache_capacity(DFA_CACHE)
        .skip_cache_capacity_check(true)
        // Stops at text that is not ASCII, which the other engine searches.
        .unicode_word_boundary(true);
    DFA::builder().configure(config).build_from_nfa(nfa).ok()
}

/// The compiled patterns of the process.
struct Compiled {
    patterns: BTreeMap<Box<str>, Entry>,
    bytes: usize,
    uses: u64,
}

struct Entry {
    program: Arc<Program>,
    bytes: usize,
    last_use: u64,
}

static COMPILED: Mutex<Compiled> = Mutex::new(Compiled { patterns: BTreeMap::new(), bytes: 0, uses: 0 });

impl Compiled {
    fn with<T>(work: impl FnOnce(&mut Self) -> T) -> T {
        work(&mut COMPILED.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn get(&mut self, pattern: &str) -> Option<Arc<Program>> {
        self.uses += 1;
        let entry = self.patterns.get_mut(pattern)?;
        entry.last_use = self.uses;
        Some(Arc::clone(&entry.program))
    }

    /// Records the size of a program, and removes those that were not used for the longest time.
    fn record(&mut self, program: &Arc<Program>, bytes: usize) {
        self.uses += 1;
        let entry = Entry { program: Arc::clone(program), bytes, last_use: self.uses };
        self.bytes += bytes;
        if let Some(before) = self.patterns.insert(program.pattern.clone(), entry) {
            self.bytes -= before.bytes;
        }
        while self.bytes > COMPILED_MAX && self.patterns.len() > 1 {
            let oldest = self.patterns.iter().min_by_key(|(_, entry)| entry.last_use);
            let Some(oldest) = oldest.map(|(pattern, _)| pattern.clone()) else { break };
            if let Some(entry) = self.patterns.remove(&oldest) {
                self.bytes -= entry.bytes;
            }
        }
    }
}

/// A program and its caches, for one search. Both belong to the process and do not count for the script.
pub(super) struct Lease {
    program: Arc<Program>,
    /// Returned to the program in the end.
    caches: Option<Box<Caches>>,
    bytes_before: usize,
}

impl Lease {
    /// The program of a pattern.
    ///
    /// # Errors
    /// The pattern is invalid, or the execution must stop.
    pub(super) fn of(call: &Call<'_, '_>, pattern: &str) -> Outcome<Self> {
        let program = match Compiled::with(|compiled| compiled.get(pattern)) {
            Some(program) => program,
            None => compile(call, pattern)?,
        };
        let caches = program.idle.lock().unwrap_or_else(PoisonError::into_inner).take();
        let bytes_before = caches.as_ref().map_or(0, |caches| caches.memory_usage());
        let caches = caches.unwrap_or_else(|| memory::uncounted(|| program.new_caches()));
        Ok(Self { program, caches: Some(caches), bytes_before })
    }

    /// The program and its caches.
    pub(super) fn parts(&mut self) -> (&Program, &mut Caches) {
        (&self.program, self.caches.get_or_insert_with(|| self.program.new_caches()))
    }

    pub(super) fn program(&self) -> &Program {
        &self.program
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        memory::uncounted(|| {
            let Some(caches) = self.caches.take() else { return };
            let bytes = caches.memory_usage();
            let other = self.program.idle.lock().unwrap_or_else(PoisonError::into_inner).replace(caches);
            drop(other);
            if bytes > self.bytes_before {
                let bytes = bytes + self.program.memory_usage();
                Compiled::with(|compiled| compiled.record(&self.program, bytes));
            }
        });
    }
}

fn compile(call: &Call<'_, '_>, pattern: &str) -> Outcome<Arc<Program>> {
    let compiled = |size_max: usize| memory::uncounted(|| Program::compile(pattern, size_max).map(Arc::new));
    let program = match compiled(INLINE_PROGRAM_MAX) {
        Err(CompileError::TooLarge) => {
            call.require_own_thread()?;
            compiled(PROGRAM_MAX)
        }
        other => other,
    };
    match program {
        Ok(program) => {
            memory::uncounted(|| {
                let bytes = program.memory_usage();
                Compiled::with(|compiled| compiled.record(&program, bytes));
            });
            // Polls the limits.
            call.charge(crate::meter::STEPS_PER_POLL)?;
            Ok(program)
        }
        Err(CompileError::Invalid(message)) => call.fail_shared(message),
        Err(CompileError::TooLarge) => call.fail_shared(too_large()),
    }
}
