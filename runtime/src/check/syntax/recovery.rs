//! Finds all errors at once: unparsable code is fixed or removed, and the rest is parsed again.
//!
//! If the help of an error has an edit, the edit is applied, so that the tests of help texts also cover recovery.
//! Otherwise, or if the edit does not help, the innermost surrounding statement is removed, then the next outer one,
//! until the parser gets further. Consequences of an error are not reported: removed code can declare any of its
//! names.

use std::collections::HashSet;
use std::ops::Range;
use std::time::Instant;

use rhai::{AST, ParseError, ParseErrorType};

use super::brackets::Brackets;
use super::error_site::{Brace, Skip, SyntaxError};
use super::patched::PatchedSource;
use super::statements;
use super::tokens::Tokens;
use super::{add, diagnose, foreign_tokens};
use crate::check::Findings;
use crate::host::OutOfMemoryError;
use crate::sdk::CTX;
use crate::token_mapper::{ParseLog, is_timeout};

/// The maximum number of parses per script.
const PARSES_MAX: usize = 200;

/// A script that parses after fixes and removals.
pub(in crate::check) struct Recovered {
    pub(in crate::check) ast: AST,
    /// The words of the removed code.
    pub(in crate::check) removed: HashSet<String>,
}

/// Parses a text.
pub(in crate::check) type Parse<'p> =
    dyn FnMut(&str) -> Result<(Result<AST, ParseError>, ParseLog), OutOfMemoryError> + 'p;

/// Reports every error of a script whose parse failed with `error`, until `deadline`.
pub(in crate::check) fn recover(
    error: ParseError,
    deadline: Instant,
    parse: &mut Parse<'_>,
    findings: &mut Findings<'_>,
) -> Result<Option<Recovered>, OutOfMemoryError> {
    let mut recovery = Recovery {
        deadline,
        parse,
        parses_left: PARSES_MAX,
        patched: PatchedSource::new(findings.source),
        removed: HashSet::new(),
        lines: HashSet::new(),
        brace: None,
    };
    let mut step = Step { error, suspect: None };
    loop {
        match recovery.step(step, findings)? {
            Outcome::Continue(next) => step = next,
            Outcome::Parsed(ast) => {
                // With an extra brace, names can be out of scope, so they are not checked.
                if recovery.brace == Some(Brace::Stray) {
                    return Ok(None);
                }
                let removed = recovery.removed;
                findings.patched = Some(recovery.patched);
                return Ok(Some(Recovered { ast, removed }));
            }
            Outcome::Stop => return Ok(None),
        }
    }
}

struct Recovery<'p, 'c> {
    deadline: Instant,
    parse: &'p mut Parse<'c>,
    parses_left: usize,
    patched: PatchedSource,
    removed: HashSet<String>,
    /// The source lines with an error.
    lines: HashSet<usize>,
    /// The guess about a brace.
    brace: Option<Brace>,
}

/// An error to report.
struct Step {
    error: ParseError,
    /// A changed range of the source; an error at it can be a consequence.
    suspect: Option<Range<usize>>,
}

enum Outcome {
    Continue(Step),
    Parsed(AST),
    Stop,
}

impl Recovery<'_, '_> {
    fn step(&mut self, step: Step, findings: &mut Findings<'_>) -> Result<Outcome, OutOfMemoryError> {
        let Step { error, suspect } = step;
        let text = self.patched.text().to_owned();
        let tokens = Tokens::of(&text);
        let brackets = super::brackets(&error, &tokens);
        let offset = tokens.offset(error.position());
        let written = self.patched.written(offset);
        let found = diagnose(&error, &tokens, &brackets);
        // If another brace is wrong after a guess, the guess was wrong.
        if found.brace.is_some() && self.brace.is_some() {
            return Ok(Outcome::Stop);
        }
        self.brace = self.brace.or(found.brace);
        let at = tokens.at(offset);
        let statement = statements::around(&tokens, &brackets, at);
        let statement = token_bytes(&tokens, statement);
        if self.is_reported(&found, written, suspect, error.err_type()) {
            findings.patched = Some(self.patched.clone());
            add(&found, &tokens, findings);
            self.lines.insert(self.patched.written_line(found.at.start));
            // The edit continues like a fix of the author.
            if let Some(edit) = found.help.as_ref().and_then(|help| help.edit.clone())
                && !findings.is_full()
                && text.get(edit.replace.clone()).is_some()
            {
                let before = self.patched.clone();
                let suspect = self.patched.written(statement.start)..self.patched.written(statement.end);
                let is_before = self.patched.written(edit.replace.start) < written;
                self.patched.replace(edit.replace, &edit.with);
                match self.parsed(findings)? {
                    None => return Ok(Outcome::Stop),
                    Some(Ok(ast)) => return Ok(Outcome::Parsed(ast)),
                    Some(Err(error)) => {
                        let next = self.written(&error);
                        if next > written || next == written && is_before {
                            return Ok(Outcome::Continue(Step { error, suspect: Some(suspect) }));
                        }
                        self.patched = before;
                    }
                }
            }
        }
        if findings.is_full() || is_final(error.err_type()) {
            return Ok(Outcome::Stop);
        }
        self.remove(&found, statement, &tokens, &brackets, findings)
    }

    /// Removes the error, and more code around it, until the parser gets further.
    fn remove(
        &mut self,
        found: &SyntaxError,
        statement: Range<usize>,
        tokens: &Tokens<'_>,
        brackets: &Brackets,
        findings: &mut Findings<'_>,
    ) -> Result<Outcome, OutOfMemoryError> {
        let (mut range, mut with) = match &found.skip {
            Skip::Bytes(range, with) => (range.clone(), with.clone()),
            Skip::Statement => (statement.clone(), ";".to_owned()),
        };
        let before = self.patched.clone();
        loop {
            self.removed.extend(words(&tokens.text[range.clone()]).map(str::to_owned));
            if !can_declare_ctx(tokens, &range) {
                self.removed.remove(CTX);
            }
            let end = self.patched.written(range.end);
            self.patched.replace(range.clone(), &with);
            match self.parsed(findings)? {
                None => return Ok(Outcome::Stop),
                Some(Ok(ast)) => return Ok(Outcome::Parsed(ast)),
                Some(Err(error)) if self.written(&error) >= end => {
                    return Ok(Outcome::Continue(Step { error, suspect: Some(end..self.next_token(end)) }));
                }
                Some(Err(_)) => self.patched = before.clone(),
            }
            let wider = match range.start <= statement.start && range.end >= statement.end {
                false => statement.clone(),
                true => match wider(tokens, brackets, &range) {
                    Some(wider) => wider,
                    None => return Ok(Outcome::Stop),
                },
            };
            range = range.start.min(wider.start)..range.end.max(wider.end);
            ";".clone_into(&mut with);
        }
    }

    /// Whether the error is not a consequence of another one.
    fn is_reported(
        &self,
        found: &SyntaxError,
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
            matches!(kind, ParseErrorType::AssignmentToConstant(name) if self.removed.contains(name));
        !(follows || has_fault || is_left_out || self.brace.is_some())
    }

    /// Parses the current text; `None` after the time limit.
    fn parsed(
        &mut self,
        findings: &mut Findings<'_>,
    ) -> Result<Option<Result<AST, ParseError>>, OutOfMemoryError> {
        if self.parses_left == 0 || Instant::now() >= self.deadline {
            return Ok(None);
        }
        self.parses_left -= 1;
        let (parsed, log) = (self.parse)(self.patched.text())?;
        findings.patched = Some(self.patched.clone());
        foreign_tokens(&log, findings);
        let is_late = matches!(&parsed, Err(error) if matches!(error.err_type(), ParseErrorType::BadInput(error) if is_timeout(error)));
        Ok((!is_late).then_some(parsed))
    }

    fn written(&self, error: &ParseError) -> usize {
        self.patched.written(self.patched.offset(error.position()))
    }

    /// The start of the token after `written`.
    fn next_token(&self, written: usize) -> usize {
        let rest = self.patched.written_text().get(written..).unwrap_or_default();
        written + rest.len() - rest.trim_start().len()
    }
}

/// The byte range of tokens.
fn token_bytes(tokens: &Tokens<'_>, range: Range<usize>) -> Range<usize> {
    let end_of_text = tokens.text.len();
    let start = tokens.get(range.start).map_or(end_of_text, |token| token.start());
    let end = range.end.checked_sub(1).and_then(|last| tokens.get(last)).map_or(start, |token| token.end());
    start..end.max(start)
}

/// The statement around these bytes, or with the next statement if there is none.
fn wider(tokens: &Tokens<'_>, brackets: &Brackets, range: &Range<usize>) -> Option<Range<usize>> {
    let first = tokens.at(range.start);
    let (block, _) = statements::block_around(tokens, brackets, first);
    match block.checked_sub(1) {
        Some(brace) => Some(token_bytes(tokens, statements::around(tokens, brackets, brace))),
        None => {
            let following = tokens.at(range.end);
            (following < tokens.len())
                .then(|| token_bytes(tokens, statements::around(tokens, brackets, following)))
        }
    }
}

/// Whether these bytes can declare a variable `ctx`, not just read it.
fn can_declare_ctx(tokens: &Tokens<'_>, range: &Range<usize>) -> bool {
    let within = tokens.at(range.start)..tokens.at(range.end);
    within
        .into_iter()
        .any(|at| tokens.word(at) == CTX && !matches!(tokens.word(at + 1), "." | "?." | "[" | "?["))
}

fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split(|c: char| !c.is_alphanumeric() && c != '_').filter(|word| !word.is_empty())
}

/// Whether recovery is not possible.
fn is_final(kind: &ParseErrorType) -> bool {
    match kind {
        ParseErrorType::TooManyFunctions => true,
        ParseErrorType::BadInput(error) => is_timeout(error),
        _ => false,
    }
}
