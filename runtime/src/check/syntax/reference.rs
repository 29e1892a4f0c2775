//! The use of a name in the source.

use std::ops::Range;

use super::brackets::{Brackets, is_sign};
use super::tokens::{Kind, Tokens};

/// A name and the tokens after it.
pub(in crate::check) struct Reference<'a> {
    pub(in crate::check) object: Range<usize>,
    /// The member in `object.member`.
    pub(in crate::check) member: Option<(&'a str, Range<usize>)>,
    /// The number of arguments of a call of the name or its member.
    pub(in crate::check) arguments: Option<usize>,
}

impl<'a> Reference<'a> {
    /// The reference that starts at `offset`.
    pub(in crate::check) fn at(text: &'a str, offset: usize) -> Option<Self> {
        let tokens = Tokens::of(text);
        let at = tokens.at(offset);
        let name = tokens.get(at).filter(|token| token.kind == Kind::Word && token.start() == offset)?;
        let is_read = is_sign(&tokens, at + 1) && matches!(tokens.word(at + 1), "." | "?.");
        let member = tokens.get(at + 2).filter(|token| is_read && token.kind == Kind::Word);
        let last = if member.is_some() { at + 2 } else { at };
        Some(Self {
            object: name.range(),
            member: member.map(|token| (&text[token.range()], token.range())),
            arguments: arguments(&tokens, last + 1),
        })
    }
}

/// The number of arguments in the parentheses that open with the token at `open`.
fn arguments(tokens: &Tokens<'_>, open: usize) -> Option<usize> {
    if !is_sign(tokens, open) || tokens.word(open) != "(" {
        return None;
    }
    let brackets = Brackets::of(tokens);
    let close = brackets.partner(open)?;
    let mut count = usize::from(close > open + 1);
    let mut at = open + 1;
    while at < close {
        at = brackets.partner(at).filter(|partner| *partner > at).unwrap_or(at);
        if is_sign(tokens, at) && tokens.word(at) == "," && at + 1 < close {
            count += 1;
        }
        at += 1;
    }
    Some(count)
}
