//! The place at which Rhai gave up, with what stands around it.

use std::ops::Range;

use rhai::ParseErrorType;

use super::brackets::{Brackets, is_sign};
use super::statements;
use super::tokens::{Kind, Token, Tokens};
use crate::check::help::Help;

/// What was found to be wrong at a place.
pub(super) struct Diagnosis {
    /// The bytes that it is about.
    pub(super) at: Range<usize>,
    pub(super) message: String,
    pub(super) help: Option<Help>,
    /// What cannot be read if the help has no edit, and what is read in its place.
    pub(super) skip: Skip,
    /// It was recognised as something that people write, and does not follow from another diagnostic.
    pub(super) is_known: bool,
    /// It is about a brace that is missing or too much: where, is a guess.
    pub(super) brace: Option<Brace>,
}

/// A brace that is wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Brace {
    Missing,
    /// Where it is one too many, names can be out of their scopes.
    Stray,
}

/// What is left out so that what follows can be read.
pub(super) enum Skip {
    /// The statement around.
    Statement,
    /// These bytes; the text stands in their place.
    Bytes(Range<usize>, String),
}

impl Diagnosis {
    pub(super) fn known(at: Range<usize>, message: impl Into<String>, help: Help) -> Self {
        Self {
            at,
            message: message.into(),
            help: Some(help),
            skip: Skip::Statement,
            is_known: true,
            brace: None,
        }
    }

    /// The same, where other bytes are left out than the statement.
    pub(super) fn skipping(self, bytes: Range<usize>, with: impl Into<String>) -> Self {
        Self { skip: Skip::Bytes(bytes, with.into()), ..self }
    }
}

/// Where Rhai gave up.
pub(super) struct Site<'a> {
    pub(super) tokens: &'a Tokens<'a>,
    pub(super) brackets: &'a Brackets,
    /// What Rhai says.
    pub(super) kind: &'a ParseErrorType,
    /// The token at which it says so.
    pub(super) at: usize,
    /// The tokens of the statement around.
    pub(super) statement: Range<usize>,
}

impl<'a> Site<'a> {
    pub(super) fn new(
        tokens: &'a Tokens<'a>,
        brackets: &'a Brackets,
        kind: &'a ParseErrorType,
        offset: usize,
    ) -> Self {
        let mut at = tokens.at(offset);
        // Of what is no condition Rhai names the beginning; `2 not in a` is wrong at its second word.
        if matches!(kind, ParseErrorType::MismatchedType(..)) {
            let end = statements::operand_end(tokens, brackets, at);
            if matches!(tokens.word(end), "not" | "is" | "and" | "or" | "instanceof") {
                at = end;
            }
        }
        Self { tokens, brackets, kind, at, statement: statements::around(tokens, brackets, at) }
    }

    pub(super) fn word(&self, index: usize) -> &'a str {
        self.tokens.word(index)
    }

    /// The word before the place.
    pub(super) fn before(&self) -> &'a str {
        self.at.checked_sub(1).map_or("", |before| self.word(before))
    }

    pub(super) fn token(&self, index: usize) -> Token {
        let end = self.tokens.text.len();
        self.tokens.get(index).unwrap_or_else(|| Token::nothing_at(end))
    }

    pub(super) fn is_sign(&self, index: usize, sign: &str) -> bool {
        is_sign(self.tokens, index) && self.word(index) == sign
    }

    pub(super) fn is_name(&self, index: usize) -> bool {
        self.tokens.get(index).is_some_and(|token| token.kind == Kind::Word)
    }

    pub(super) fn is_text(&self, index: usize) -> bool {
        self.tokens.get(index).is_some_and(|token| token.kind == Kind::Text)
    }

    /// Where the token at `index` is.
    pub(super) fn range(&self, index: usize) -> Range<usize> {
        self.token(index).range()
    }

    /// The bytes of tokens.
    pub(super) fn bytes(&self, tokens: Range<usize>) -> Range<usize> {
        let start = self.token(tokens.start).start();
        let end = tokens.end.checked_sub(1).map_or(start, |last| self.token(last).end());
        start..end.max(start)
    }

    /// What tokens are written as.
    pub(super) fn text(&self, tokens: Range<usize>) -> &'a str {
        &self.tokens.text[self.bytes(tokens)]
    }

    /// Whether nothing stands between a token and the next.
    pub(super) fn touches_next(&self, index: usize) -> bool {
        self.tokens
            .get(index)
            .zip(self.tokens.get(index + 1))
            .is_some_and(|(one, next)| one.end() == next.start())
    }

    /// Whether two tokens stand on one line.
    pub(super) fn on_one_line(&self, one: usize, other: usize) -> bool {
        self.tokens.line(self.token(one).start()) == self.tokens.line(self.token(other).start())
    }

    /// A token with the blank after it, to be left out.
    pub(super) fn with_blank(&self, index: usize) -> Range<usize> {
        let range = self.range(index);
        let next = self.token(index + 1).start();
        let blank = &self.tokens.text[range.end..next.max(range.end)];
        range.start..range.end + blank.find(|c| c != ' ').unwrap_or(blank.len())
    }

    /// ``` `word` is not Rhai ```
    pub(super) fn not_rhai(&self, index: usize, help: Help) -> Option<Diagnosis> {
        Some(Diagnosis::known(self.range(index), format!("`{}` is not Rhai", self.word(index)), help))
    }

    /// The same, where what is written in Rhai takes the place of the word.
    pub(super) fn not_rhai_but(&self, index: usize, meant: &str) -> Option<Diagnosis> {
        self.not_rhai(index, Help::write(meant, self.range(index)))
    }

    /// The bracket around the place.
    pub(super) fn bracket_around(&self, index: usize) -> Option<usize> {
        self.brackets.around(self.tokens, index, |_| true)
    }

    /// Where the expression that begins at `first` ends.
    pub(super) fn expression_end(&self, first: usize, ends: impl Fn(usize) -> bool) -> usize {
        statements::expression_end(self.tokens, self.brackets, first, ends)
    }

    /// The bytes from the token at `index` to the end of what is indented further than its line, as languages without braces have
    /// blocks: with the lines that continue or close it.
    pub(super) fn indented_block(&self, index: usize) -> Range<usize> {
        let start = self.token(index).start();
        let indentation = self.tokens.indentation(start);
        let line = self.tokens.line(start);
        let (_, end_of_block) = statements::block_around(self.tokens, self.brackets, index);
        let mut last = index;
        let mut at = index + 1;
        while at < end_of_block {
            let here = self.token(at).start();
            let is_outside = self.tokens.begins_line(at)
                && self.tokens.line(here) > line
                && self.tokens.indentation(here) <= indentation;
            if is_outside {
                let is_level = self.tokens.indentation(here) == indentation;
                match self.word(at) {
                    "else" | "elif" | "elseif" | "elsif" | "except" | "finally" | "rescue" | "ensure"
                    | "case" | "default"
                        if is_level => {}
                    "end" | "endif" | "done" | "fi" | "endwhile" | "endfor" | "endforeach" | "esac"
                    | "until"
                        if is_level =>
                    {
                        let end = self.tokens.line_end(here);
                        return start..end;
                    }
                    _ => break,
                }
            }
            last = at;
            at += 1;
        }
        start..self.token(last).end()
    }

    /// What closes the brackets that are open before the token at `index`.
    pub(super) fn closers(&self, index: usize) -> String {
        let mut closers = String::new();
        let mut at = index;
        while let Some(open) = self.bracket_around(at) {
            closers.push_str(super::brackets::closing_of(self.word(open)));
            at = open;
        }
        closers
    }
}
