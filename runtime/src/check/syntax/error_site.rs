//! The position of a parse error with the code around it.

use std::ops::Range;

use rhai::ParseErrorType;

use super::brackets::{Brackets, is_sign};
use super::statements;
use super::tokens::{Kind, Token, Tokens};
use crate::check::help::Help;

/// A recognized parse error.
pub(super) struct SyntaxError {
    /// The bytes of the error.
    pub(super) at: Range<usize>,
    pub(super) message: String,
    pub(super) help: Option<Help>,
    /// The code to skip if the help has no edit, and its replacement.
    pub(super) skip: Skip,
    /// Whether it is a recognized mistake, not a consequence of another error.
    pub(super) is_known: bool,
    /// Whether it is about a missing or extra brace, whose position is a guess.
    pub(super) brace: Option<Brace>,
}

/// A wrong brace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Brace {
    Missing,
    /// With an extra brace, names can be out of their scopes.
    Stray,
}

/// Code that is skipped so that the rest can be parsed.
pub(super) enum Skip {
    /// The surrounding statement.
    Statement,
    /// These bytes, replaced by the text.
    Bytes(Range<usize>, String),
}

impl SyntaxError {
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

    /// The same, but skips other bytes than the statement.
    pub(super) fn skipping(self, bytes: Range<usize>, with: impl Into<String>) -> Self {
        Self { skip: Skip::Bytes(bytes, with.into()), ..self }
    }
}

/// The position of a parse error.
pub(super) struct ErrorSite<'a> {
    pub(super) tokens: &'a Tokens<'a>,
    pub(super) brackets: &'a Brackets,
    /// Rhai's error.
    pub(super) kind: &'a ParseErrorType,
    /// The token of the error.
    pub(super) at: usize,
    /// The tokens of the surrounding statement.
    pub(super) statement: Range<usize>,
}

impl<'a> ErrorSite<'a> {
    pub(super) fn new(
        tokens: &'a Tokens<'a>,
        brackets: &'a Brackets,
        kind: &'a ParseErrorType,
        offset: usize,
    ) -> Self {
        let mut at = tokens.at(offset);
        // Rhai reports the start of an invalid condition; `2 not in a` is wrong at its second word.
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

    /// The word before the error.
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

    /// The byte range of the token at `index`.
    pub(super) fn range(&self, index: usize) -> Range<usize> {
        self.token(index).range()
    }

    /// The byte range of tokens.
    pub(super) fn bytes(&self, tokens: Range<usize>) -> Range<usize> {
        let start = self.token(tokens.start).start();
        let end = tokens.end.checked_sub(1).map_or(start, |last| self.token(last).end());
        start..end.max(start)
    }

    /// The text of tokens.
    pub(super) fn text(&self, tokens: Range<usize>) -> &'a str {
        &self.tokens.text[self.bytes(tokens)]
    }

    /// Whether there is no space between a token and the next.
    pub(super) fn touches_next(&self, index: usize) -> bool {
        self.tokens
            .get(index)
            .zip(self.tokens.get(index + 1))
            .is_some_and(|(one, next)| one.end() == next.start())
    }

    /// Whether two tokens are on one line.
    pub(super) fn on_one_line(&self, one: usize, other: usize) -> bool {
        self.tokens.line(self.token(one).start()) == self.tokens.line(self.token(other).start())
    }

    /// A token and the space after it, to be removed.
    pub(super) fn with_space(&self, index: usize) -> Range<usize> {
        let range = self.range(index);
        let next = self.token(index + 1).start();
        let blank = &self.tokens.text[range.end..next.max(range.end)];
        range.start..range.end + blank.find(|c| c != ' ').unwrap_or(blank.len())
    }

    /// ``` `word` is not valid Rhai ```
    pub(super) fn not_rhai(&self, index: usize, help: Help) -> Option<SyntaxError> {
        Some(SyntaxError::known(self.range(index), format!("`{}` is not valid Rhai", self.word(index)), help))
    }

    /// The same, with a replacement for the word.
    pub(super) fn not_rhai_replace(&self, index: usize, meant: &str) -> Option<SyntaxError> {
        self.not_rhai(index, Help::write(meant, self.range(index)))
    }

    /// The innermost bracket around a token.
    pub(super) fn bracket_around(&self, index: usize) -> Option<usize> {
        self.brackets.around(self.tokens, index, |_| true)
    }

    /// The end of the expression that starts at `first`.
    pub(super) fn expression_end(&self, first: usize, ends: impl Fn(usize) -> bool) -> usize {
        statements::expression_end(self.tokens, self.brackets, first, ends)
    }

    /// The bytes from the token at `index` to the end of its indented block, as in languages without braces,
    /// including lines that continue or close it.
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

    /// The closing brackets for all brackets that are open before the token at `index`.
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
