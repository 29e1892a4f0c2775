//! The start and end of statements, also in text that does not parse.

use std::ops::Range;

use super::brackets::{Brackets, ends_operand, is_closing, is_keyword, is_opening, is_sign};
use super::tokens::{Kind, Tokens};

/// Words of Rhai and of other languages that start a statement which ends with its block.
const WITH_BLOCK: [&str; 37] = [
    "if",
    "while",
    "for",
    "loop",
    "do",
    "switch",
    "fn",
    "private",
    "try",
    "else",
    "match",
    "function",
    "func",
    "fun",
    "def",
    "sub",
    "proc",
    "class",
    "struct",
    "enum",
    "interface",
    "trait",
    "impl",
    "unless",
    "foreach",
    "until",
    "elif",
    "elsif",
    "elseif",
    "except",
    "catch",
    "finally",
    "rescue",
    "async",
    "public",
    "static",
    "local",
];

/// Words that continue a statement after its block.
const AFTER_BLOCK: [&str; 9] =
    ["else", "catch", "elif", "elsif", "elseif", "finally", "except", "rescue", "ensure"];

/// Words between operands, in Rhai or in other languages.
const BETWEEN: [&str; 14] =
    ["and", "or", "not", "xor", "in", "is", "as", "of", "then", "do", "else", "catch", "instanceof", "mod"];

/// The tokens of the innermost statement around the token at `index`.
pub(super) fn around(tokens: &Tokens<'_>, brackets: &Brackets, index: usize) -> Range<usize> {
    let (first, last) = block_around(tokens, brackets, index);
    let mut start = first;
    while start < last {
        let end = end(tokens, brackets, start, last);
        if index < end || end == last {
            return start..end;
        }
        start = end;
    }
    index.min(last)..last
}

/// The tokens of the block around the token at `index`, without its braces.
pub(super) fn block_around(tokens: &Tokens<'_>, brackets: &Brackets, index: usize) -> (usize, usize) {
    let brace = brackets.around(tokens, index, |word| matches!(word, "{" | "${"));
    let first = brace.map_or(0, |brace| brace + 1);
    let last = brace.and_then(|brace| brackets.partner(brace)).unwrap_or(tokens.len());
    (first, last)
}

/// The end of the statement that starts at `start`, in a block that ends at `last`.
fn end(tokens: &Tokens<'_>, brackets: &Brackets, start: usize, last: usize) -> usize {
    let has_block = WITH_BLOCK.contains(&tokens.word(start)) || is_block(tokens, start);
    let mut at = start;
    while at < last {
        let word = tokens.word(at);
        if at > start && begins_next(tokens, at) {
            return at;
        }
        let is_sign = is_sign(tokens, at);
        if is_sign && word == ";" && (at > start || !has_block) {
            return at + 1;
        }
        if is_sign
            && is_opening(word)
            && let Some(close) = brackets.partner(at).filter(|close| *close > at)
        {
            at = close;
            let following = tokens.word(close + 1);
            let continues = AFTER_BLOCK.contains(&following)
                || tokens.word(start) == "do" && matches!(following, "while" | "until");
            if word == "{" && has_block && !continues {
                // An empty statement after a block belongs to it.
                return if following == ";" { close + 2 } else { close + 1 }.min(last);
            }
        }
        at += 1;
    }
    last
}

fn is_block(tokens: &Tokens<'_>, index: usize) -> bool {
    tokens.word(index) == "{" && is_sign(tokens, index)
}

/// Whether the line starts a new statement although the previous one has no `;`.
pub(super) fn begins_next(tokens: &Tokens<'_>, index: usize) -> bool {
    if index == 0 || !tokens.begins_line(index) {
        return false;
    }
    let word = tokens.word(index);
    let begins = match tokens.get(index).map(|token| token.kind) {
        Some(Kind::Word) => !BETWEEN.contains(&word) || word == "do" && is_block(tokens, index + 1),
        Some(Kind::ForeignWord | Kind::Number | Kind::Text | Kind::OpenText) => true,
        Some(Kind::Sign) => matches!(word, "#{" | "@" | "$" | "#"),
        _ => false,
    };
    begins
        && (ends_operand(tokens, index - 1) || matches!(tokens.word(index - 1), "break" | "continue" | ":"))
}

/// The start of the operand that ends with the token at `last`.
pub(super) fn operand_start(tokens: &Tokens<'_>, brackets: &Brackets, last: usize) -> usize {
    let mut at = last;
    loop {
        if is_sign(tokens, at) && is_closing(tokens.word(at)) {
            match brackets.partner(at) {
                Some(open) => at = open,
                None => return at,
            }
        }
        let Some(before) = at.checked_sub(1) else { return at };
        let word = tokens.word(before);
        let is_call = matches!(tokens.word(at), "(" | "[" | "?[")
            && is_sign(tokens, at)
            && ends_operand(tokens, before);
        let is_chained = is_sign(tokens, before) && matches!(word, "." | "?." | "::");
        match (is_call, is_chained) {
            (true, _) => at = before,
            (_, true) if before > 0 => at = before - 1,
            _ => return at,
        }
    }
}

/// The end of the operand that starts at `first`: the index after its last token.
pub(super) fn operand_end(tokens: &Tokens<'_>, brackets: &Brackets, first: usize) -> usize {
    let mut at = first;
    while is_sign(tokens, at) && matches!(tokens.word(at), "!" | "-" | "+") {
        at += 1;
    }
    loop {
        if is_sign(tokens, at) && is_opening(tokens.word(at)) {
            match brackets.partner(at) {
                Some(close) => at = close,
                None => return at + 1,
            }
        }
        let next = tokens.word(at + 1);
        let is_next_sign = is_sign(tokens, at + 1);
        match next {
            "(" | "[" | "?[" if is_next_sign && !tokens.begins_line(at + 1) => at += 1,
            "." | "?." | "::" if is_next_sign => at += 2,
            _ => return (at + 1).min(tokens.len()),
        }
    }
}

/// The end of the expression that starts at `first`: before a `,`, a `;`, a closing bracket, a block, the next
/// statement, or a token for which `ends` is true.
pub(super) fn expression_end(
    tokens: &Tokens<'_>,
    brackets: &Brackets,
    first: usize,
    ends: impl Fn(usize) -> bool,
) -> usize {
    let mut at = first;
    while at < tokens.len() {
        let (word, is_sign) = (tokens.word(at), is_sign(tokens, at));
        let is_over = is_sign && (matches!(word, "," | ";") || is_closing(word))
            || at > first
                && (begins_next(tokens, at) || is_block(tokens, at) && ends_operand(tokens, at - 1));
        if is_over || ends(at) {
            return at;
        }
        if is_sign
            && is_opening(word)
            && let Some(close) = brackets.partner(at).filter(|close| *close > at)
        {
            at = close;
        }
        at += 1;
    }
    at
}

/// The start of the expression that ends before the token at `end`: after a `,`, a `;`, an opening bracket, an
/// assignment, or a keyword.
pub(super) fn expression_start(tokens: &Tokens<'_>, brackets: &Brackets, end: usize, least: usize) -> usize {
    let mut at = end;
    while at > least {
        let before = at - 1;
        let (word, is_sign) = (tokens.word(before), is_sign(tokens, before));
        if is_sign
            && is_closing(word)
            && let Some(open) = brackets.partner(before).filter(|open| *open < before)
        {
            at = open;
            continue;
        }
        let ends = is_sign
            && (matches!(word, "," | ";" | "=" | "=>" | ":" | "+=" | "-=" | "*=" | "/=")
                || is_opening(word)
                || is_closing(word));
        let is_keyword = tokens.get(before).is_some_and(|token| token.kind == Kind::Word)
            && is_keyword(word)
            && word != "in";
        if ends || is_keyword || at < end && begins_next(tokens, at) {
            return at;
        }
        at = before;
    }
    at
}

#[cfg(test)]
mod tests {
    use super::*;

    fn statement<'a>(text: &'a str, word: &str) -> &'a str {
        let tokens = Tokens::of(text);
        let brackets = Brackets::of(&tokens);
        let statement = around(&tokens, &brackets, tokens.at(text.find(word).unwrap()));
        &text[tokens.get(statement.start).unwrap().start()..tokens.get(statement.end - 1).unwrap().end()]
    }

    #[test]
    fn statement_ends_at_semicolon_block_or_next_line() {
        let text = "let a = 1;\nlet b = if x { HERE; 2 } else { 3 };\nfn f() { 4 }\nwhile g() { h(); }\ni(#{ j: 1 })\nlet k = |l| { M };\n{ n }";
        for (word, expected) in [
            ("a", "let a = 1;"),
            ("HERE", "HERE;"),
            ("else", "let b = if x { HERE; 2 } else { 3 };"),
            ("4", "4"),
            ("g", "while g() { h(); }"),
            ("h()", "h();"),
            ("i(", "i(#{ j: 1 })"),
            ("j", "i(#{ j: 1 })"),
            ("M", "M"),
            ("n }", "n"),
        ] {
            assert_eq!(statement(text, word), expected, "{word}");
        }
        assert_eq!(statement("try { 1 } catch (e) { 2 } x", "catch"), "try { 1 } catch (e) { 2 }");
        assert_eq!(statement("a\n  .b()\n  + c;\nd", "+"), "a\n  .b()\n  + c;");
    }
}
