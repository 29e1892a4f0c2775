//! All diagnostics at once: what does not parse is mended or left out, and the rest is parsed again.
//!
//! A diagnostic whose help is an edit is mended by that edit, so that the tests of help and this are one. Where there is none, or it leads
//! no further, the innermost statement around the diagnostic is left out; where that leads no further, the one around it. What
//! follows from a diagnostic alone is not reported: what was left out can have declared every name that stands in it.

use std::collections::HashSet;
use std::ops::Range;
use std::time::Instant;

use rhai::{AST, ParseError, ParseErrorType};

use super::brackets::Brackets;
use super::patched::Patched;
use super::site::{Brace, Diagnosis, Skip};
use super::statements;
use super::tokens::Tokens;
use super::{add, diagnose, slips};
use crate::check::Findings;
use crate::host::NoMemory;
use crate::parsing::{Watched, is_too_slow};
use crate::sdk::CTX;

/// The most parses of one script.
const PARSES_MAX: usize = 200;

/// A script that parses without what is wrong with it.
pub(in crate::check) struct Recovered {
    pub(in crate::check) ast: AST,
    /// The words of what was left out.
    pub(in crate::check) left_out: HashSet<String>,
}

/// What parses a text.
pub(in crate::check) type Parse<'p> =
    dyn FnMut(&str) -> Result<(Result<AST, ParseError>, Watched), NoMemory> + 'p;

/// Reports every diagnostic of a script whose parse ended with `error`, as far as it takes no longer than to `deadline`.
pub(in crate::check) fn recover(
    error: ParseError,
    deadline: Instant,
    parse: &mut Parse<'_>,
    findings: &mut Findings<'_>,
) -> Result<Option<Recovered>, NoMemory> {
    let mut recovery = Recovery {
        deadline,
        parse,
        parses_left: PARSES_MAX,
        patched: Patched::new(findings.source),
        left_out: HashSet::new(),
        lines: HashSet::new(),
        brace: None,
    };
    let mut step = Step { error, suspect: None };
    loop {
        match recovery.step(step, findings)? {
            Outcome::GoesOn(next) => step = next,
            Outcome::Parsed(ast) => {
                // Of names in the wrong scope nobody knows whether they are there.
                if recovery.brace == Some(Brace::Stray) {
                    return Ok(None);
                }
                let left_out = recovery.left_out;
                findings.patched = Some(recovery.patched);
                return Ok(Some(Recovered { ast, left_out }));
            }
            Outcome::Ends => return Ok(None),
        }
    }
}

struct Recovery<'p, 'c> {
    deadline: Instant,
    parse: &'p mut Parse<'c>,
    parses_left: usize,
    patched: Patched,
    left_out: HashSet<String>,
    /// The lines of what was written that have a diagnostic.
    lines: HashSet<usize>,
    /// What was guessed of a brace.
    brace: Option<Brace>,
}

/// An error that is to be reported.
struct Step {
    error: ParseError,
    /// What was written here was changed before; an error at it can follow from that.
    suspect: Option<Range<usize>>,
}

enum Outcome {
    GoesOn(Step),
    Parsed(AST),
    Ends,
}

impl Recovery<'_, '_> {
    fn step(&mut self, step: Step, findings: &mut Findings<'_>) -> Result<Outcome, NoMemory> {
        let Step { error, suspect } = step;
        let text = self.patched.text().to_owned();
        let tokens = Tokens::of(&text);
        let brackets = super::brackets(&error, &tokens);
        let offset = tokens.offset(error.position());
        let written = self.patched.written(offset);
        let found = diagnose(&error, &tokens, &brackets);
        // Where a brace was guessed and another is wrong then, the guess was.
        if found.brace.is_some() && self.brace.is_some() {
            return Ok(Outcome::Ends);
        }
        self.brace = self.brace.or(found.brace);
        let at = tokens.at(offset);
        let statement = statements::around(&tokens, &brackets, at);
        let statement = bytes(&tokens, statement);
        if self.is_reported(&found, written, suspect, error.err_type()) {
            findings.patched = Some(self.patched.clone());
            add(&found, &tokens, findings);
            self.lines.insert(self.patched.written_line(found.at.start));
            // An edit reads on where the author would.
            if let Some(edit) = found.help.as_ref().and_then(|help| help.edit.clone())
                && !findings.are_full()
                && text.get(edit.replace.clone()).is_some()
            {
                let before = self.patched.clone();
                let suspect = self.patched.written(statement.start)..self.patched.written(statement.end);
                let is_before = self.patched.written(edit.replace.start) < written;
                self.patched.replace(edit.replace, &edit.with);
                match self.parsed(findings)? {
                    None => return Ok(Outcome::Ends),
                    Some(Ok(ast)) => return Ok(Outcome::Parsed(ast)),
                    Some(Err(error)) => {
                        let next = self.written(&error);
                        if next > written || next == written && is_before {
                            return Ok(Outcome::GoesOn(Step { error, suspect: Some(suspect) }));
                        }
                        self.patched = before;
                    }
                }
            }
        }
        if findings.are_full() || is_end(error.err_type()) {
            return Ok(Outcome::Ends);
        }
        self.leave_out(&found, statement, &tokens, &brackets, findings)
    }

    /// Leaves out what is wrong, and more around it until what follows can be read.
    fn leave_out(
        &mut self,
        found: &Diagnosis,
        statement: Range<usize>,
        tokens: &Tokens<'_>,
        brackets: &Brackets,
        findings: &mut Findings<'_>,
    ) -> Result<Outcome, NoMemory> {
        let (mut range, mut with) = match &found.skip {
            Skip::Bytes(range, with) => (range.clone(), with.clone()),
            Skip::Statement => (statement.clone(), ";".to_owned()),
        };
        let before = self.patched.clone();
        loop {
            self.left_out.extend(words(&tokens.text[range.clone()]).map(str::to_owned));
            if !declares_ctx(tokens, &range) {
                self.left_out.remove(CTX);
            }
            let end = self.patched.written(range.end);
            self.patched.replace(range.clone(), &with);
            match self.parsed(findings)? {
                None => return Ok(Outcome::Ends),
                Some(Ok(ast)) => return Ok(Outcome::Parsed(ast)),
                Some(Err(error)) if self.written(&error) >= end => {
                    return Ok(Outcome::GoesOn(Step { error, suspect: Some(end..self.next_token(end)) }));
                }
                Some(Err(_)) => self.patched = before.clone(),
            }
            let wider = match range.start <= statement.start && range.end >= statement.end {
                false => statement.clone(),
                true => match wider(tokens, brackets, &range) {
                    Some(wider) => wider,
                    None => return Ok(Outcome::Ends),
                },
            };
            range = range.start.min(wider.start)..range.end.max(wider.end);
            ";".clone_into(&mut with);
        }
    }

    /// Whether the diagnostic is one of its own.
    fn is_reported(
        &self,
        found: &Diagnosis,
        written: usize,
        suspect: Option<Range<usize>>,
        kind: &ParseErrorType,
    ) -> bool {
        if found.is_known {
            return true;
        }
        let follows = suspect.is_some_and(|suspect| suspect.start <= written && written <= suspect.end);
        let has_fault = self.lines.contains(&self.patched.written_line(found.at.start));
        let is_left_out =
            matches!(kind, ParseErrorType::AssignmentToConstant(name) if self.left_out.contains(name));
        !(follows || has_fault || is_left_out || self.brace.is_some())
    }

    /// What comes of the text as it is; nothing when that takes too long.
    fn parsed(&mut self, findings: &mut Findings<'_>) -> Result<Option<Result<AST, ParseError>>, NoMemory> {
        if self.parses_left == 0 || Instant::now() >= self.deadline {
            return Ok(None);
        }
        self.parses_left -= 1;
        let (parsed, watched) = (self.parse)(self.patched.text())?;
        findings.patched = Some(self.patched.clone());
        slips(&watched, findings);
        let is_late = matches!(&parsed, Err(error) if matches!(error.err_type(), ParseErrorType::BadInput(error) if is_too_slow(error)));
        Ok((!is_late).then_some(parsed))
    }

    fn written(&self, error: &ParseError) -> usize {
        self.patched.written(self.patched.offset(error.position()))
    }

    /// Where what follows `written` begins.
    fn next_token(&self, written: usize) -> usize {
        let rest = self.patched.written_text().get(written..).unwrap_or_default();
        written + rest.len() - rest.trim_start().len()
    }
}

/// The bytes of tokens.
fn bytes(tokens: &Tokens<'_>, range: Range<usize>) -> Range<usize> {
    let end_of_text = tokens.text.len();
    let start = tokens.get(range.start).map_or(end_of_text, |token| token.start());
    let end = range.end.checked_sub(1).and_then(|last| tokens.get(last)).map_or(start, |token| token.end());
    start..end.max(start)
}

/// The statement around these bytes, or with the one that follows where there is none around.
fn wider(tokens: &Tokens<'_>, brackets: &Brackets, range: &Range<usize>) -> Option<Range<usize>> {
    let first = tokens.at(range.start);
    let (block, _) = statements::block_around(tokens, brackets, first);
    match block.checked_sub(1) {
        Some(brace) => Some(bytes(tokens, statements::around(tokens, brackets, brace))),
        None => {
            let following = tokens.at(range.end);
            (following < tokens.len()).then(|| bytes(tokens, statements::around(tokens, brackets, following)))
        }
    }
}

/// Whether `ctx` can be a variable of the script's own in these bytes: it is not just read.
fn declares_ctx(tokens: &Tokens<'_>, range: &Range<usize>) -> bool {
    let within = tokens.at(range.start)..tokens.at(range.end);
    within
        .into_iter()
        .any(|at| tokens.word(at) == CTX && !matches!(tokens.word(at + 1), "." | "?." | "[" | "?["))
}

fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split(|c: char| !c.is_alphanumeric() && c != '_').filter(|word| !word.is_empty())
}

/// Whether nothing more can be learned of the script.
fn is_end(kind: &ParseErrorType) -> bool {
    match kind {
        ParseErrorType::TooManyFunctions => true,
        ParseErrorType::BadInput(error) => is_too_slow(error),
        _ => false,
    }
}
