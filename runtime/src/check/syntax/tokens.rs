//! Splits the text of a script into tokens with their byte ranges.
//!
//! Rhai's own tokens only have start positions, and end at the first unknown token. These tokens exist for every
//! text, for the analysis of parse errors. In a text without errors they match Rhai's.

use std::ops::Range;

use rhai::Position;

/// Operators of several characters, longer ones before their prefixes.
const SIGNS: [&str; 42] = [
    "**=", "..=", "...", "<<=", "===", ">>=", "!==", "::<", "#{", "?[", "?.", "??", "++", "+=", "--", "-=",
    "->", "**", "*=", "*)", "/=", "..", "==", "=>", "::", ":=", ":;", "<=", "<-", "<<", "<|", ">=", ">>",
    "!=", "!.", "||", "|=", "|>", "&&", "&=", "^=", "%=",
];

/// The kind of a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// A name or a keyword.
    Word,
    /// A word with letters that Rhai does not allow in names.
    ForeignWord,
    Number,
    /// A string or a character, or a piece of one around `${` and `}`.
    Text,
    /// An unterminated string, to the end of its line or, in backquotes, of the script.
    OpenText,
    Sign,
    /// A character that Rhai does not allow.
    Stray,
}

/// A token with its byte range.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Token {
    pub(super) kind: Kind,
    start: u32,
    end: u32,
}

impl Token {
    /// An empty placeholder token.
    pub(super) fn nothing_at(offset: usize) -> Self {
        let offset = u32::try_from(offset).unwrap_or(u32::MAX);
        Self { kind: Kind::Stray, start: offset, end: offset }
    }

    pub(super) fn start(self) -> usize {
        self.start as usize
    }

    pub(super) fn end(self) -> usize {
        self.end as usize
    }

    pub(super) fn range(self) -> Range<usize> {
        self.start()..self.end()
    }
}

/// A comment that is unclosed at the end of the script.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct OpenComment {
    /// Its start.
    pub(super) start: usize,
    /// The start of the first nested comment.
    pub(super) nested: Option<usize>,
}

/// A text and its tokens.
pub(super) struct Tokens<'a> {
    pub(super) text: &'a str,
    tokens: Vec<Token>,
    lines: Lines,
    pub(super) open_comment: Option<OpenComment>,
}

impl<'a> Tokens<'a> {
    pub(super) fn of(text: &'a str) -> Self {
        let (tokens, open_comment) = Scanner { text, at: 0, tokens: Vec::new(), braces: Vec::new() }.scan();
        Self { text, tokens, lines: Lines::of(text), open_comment }
    }

    pub(super) fn len(&self) -> usize {
        self.tokens.len()
    }

    pub(super) fn get(&self, index: usize) -> Option<Token> {
        self.tokens.get(index).copied()
    }

    /// The text of the token at `index`; empty after the last one.
    pub(super) fn word(&self, index: usize) -> &'a str {
        self.get(index).map_or("", |token| &self.text[token.range()])
    }

    /// The first token that ends after `offset`.
    pub(super) fn at(&self, offset: usize) -> usize {
        self.tokens.partition_point(|token| token.end() <= offset)
    }

    /// The line of `offset`, from 1.
    pub(super) fn line(&self, offset: usize) -> usize {
        self.lines.line(offset)
    }

    /// The end of the line of `offset`, without its line break.
    pub(super) fn line_end(&self, offset: usize) -> usize {
        let rest = &self.text[offset..];
        offset + rest.lines().next().map_or(0, str::len)
    }

    /// Whether the token is the first of its line, and not a piece of a text.
    pub(super) fn begins_line(&self, index: usize) -> bool {
        let Some(token) = self.get(index) else { return false };
        let line = self.lines.start(token.start());
        index == 0 || self.tokens[index - 1].end() <= line
    }

    /// The indentation of the line of `offset`, in characters.
    pub(super) fn indentation(&self, offset: usize) -> usize {
        let line = &self.text[self.lines.start(offset)..];
        line.chars().take_while(|c| c.is_whitespace() && *c != '\n').count()
    }

    /// Rhai's position of `offset`.
    pub(super) fn position(&self, offset: usize) -> Position {
        self.lines.position(self.text, offset)
    }

    /// The byte offset of a position of Rhai; the end of the text if there is none.
    pub(super) fn offset(&self, position: Position) -> usize {
        self.lines.offset(self.text, position)
    }
}

/// The start of each line of a text.
#[derive(Clone)]
pub(super) struct Lines(Vec<usize>);

impl Lines {
    pub(super) fn of(text: &str) -> Self {
        let starts = text.match_indices('\n').map(|(at, _)| at + 1);
        Self(std::iter::once(0).chain(starts).collect())
    }

    /// The line of `offset`, from 1.
    pub(super) fn line(&self, offset: usize) -> usize {
        self.index(offset) + 1
    }

    fn index(&self, offset: usize) -> usize {
        self.0.partition_point(|start| *start <= offset) - 1
    }

    fn start(&self, offset: usize) -> usize {
        self.0[self.index(offset)]
    }

    /// Rhai's position of `offset` in `text`.
    pub(super) fn position(&self, text: &str, offset: usize) -> Position {
        let bounded = |number: usize| u16::try_from(number).unwrap_or(u16::MAX);
        let column = text[self.start(offset)..offset].chars().count() + 1;
        Position::new(bounded(self.line(offset)), bounded(column))
    }

    /// The byte offset of a position of Rhai in `text`; its end if there is none.
    pub(super) fn offset(&self, text: &str, position: Position) -> usize {
        let start = position.line().and_then(|line| self.0.get(line - 1));
        let Some(start) = start.copied() else { return text.len() };
        let skipped = position.position().unwrap_or(1).saturating_sub(1);
        text[start..].char_indices().nth(skipped).map_or(text.len(), |(at, _)| start + at)
    }
}

struct Scanner<'a> {
    text: &'a str,
    at: usize,
    tokens: Vec<Token>,
    /// For each open brace, whether a template string continues after it.
    braces: Vec<bool>,
}

impl Scanner<'_> {
    fn scan(mut self) -> (Vec<Token>, Option<OpenComment>) {
        while let Some(c) = self.rest().chars().next() {
            if c.is_ascii_whitespace() {
                self.at += 1;
            } else if self.rest().starts_with("//") {
                self.at += self.rest().find(['\n', '\r']).unwrap_or(self.rest().len());
            } else if self.rest().starts_with("/*") {
                if let Err(open) = self.skip_comment() {
                    return (self.tokens, Some(open));
                }
            } else {
                self.token(c);
            }
        }
        (self.tokens, None)
    }

    fn rest(&self) -> &str {
        &self.text[self.at..]
    }

    fn push(&mut self, kind: Kind, start: usize) {
        // Scripts are smaller than 4 GiB.
        let offset = |at: usize| u32::try_from(at).unwrap_or(u32::MAX);
        self.tokens.push(Token { kind, start: offset(start), end: offset(self.at) });
    }

    /// Comments nest.
    fn skip_comment(&mut self) -> Result<(), OpenComment> {
        let mut open = OpenComment { start: self.at, nested: None };
        let mut level = 1;
        self.at += 2;
        while level > 0 {
            let Some(next) = self.rest().find(['/', '*']) else { return Err(open) };
            self.at += next;
            match self.rest().as_bytes() {
                [b'/', b'*', ..] => {
                    open.nested.get_or_insert(self.at);
                    level += 1;
                    self.at += 2;
                }
                [b'*', b'/', ..] => {
                    level -= 1;
                    self.at += 2;
                }
                _ => self.at += 1,
            }
        }
        Ok(())
    }

    fn token(&mut self, c: char) {
        let start = self.at;
        match c {
            '0'..='9' => {
                self.number();
                self.push(Kind::Number, start);
            }
            '_' => self.word(),
            c if c.is_alphabetic() => self.word(),
            '"' | '\'' => {
                self.at += 1;
                let kind = self.quoted(c);
                self.push(kind, start);
            }
            '`' => {
                self.at += 1;
                self.backquoted(start);
            }
            '#' if self.rest().trim_start_matches('#').starts_with('"') => {
                let kind = self.raw();
                self.push(kind, start);
            }
            c if c.is_ascii_punctuation() => self.sign(),
            c => {
                self.at += c.len_utf8();
                self.push(Kind::Stray, start);
            }
        }
    }

    fn sign(&mut self) {
        let start = self.at;
        let sign = SIGNS.iter().find(|sign| self.rest().starts_with(**sign));
        self.at += sign.map_or(1, |sign| sign.len());
        let resumes_text = match &self.text[start..self.at] {
            "{" | "#{" => {
                self.braces.push(false);
                false
            }
            "}" => self.braces.pop().unwrap_or(false),
            _ => false,
        };
        self.push(Kind::Sign, start);
        if resumes_text {
            self.backquoted(self.at);
        }
    }

    fn word(&mut self) {
        let start = self.at;
        let is_of_word = |c: char| c.is_alphanumeric() || c == '_';
        let length = self.rest().find(|c| !is_of_word(c)).unwrap_or(self.rest().len());
        self.at += length;
        let kind = if self.text[start..self.at].is_ascii() { Kind::Word } else { Kind::ForeignWord };
        self.push(kind, start);
    }

    fn number(&mut self) {
        let bytes = self.text.as_bytes();
        let byte = |at: usize| bytes.get(at).copied().unwrap_or(0);
        let radix = byte(self.at) == b'0' && matches!(byte(self.at + 1) | 0x20, b'x' | b'o' | b'b');
        self.at += if radix { 2 } else { 1 };
        let (mut has_point, mut has_exponent) = (radix, radix);
        loop {
            let next = byte(self.at + 1);
            match byte(self.at) {
                b'0'..=b'9' | b'_' => self.at += 1,
                b'a'..=b'f' | b'A'..=b'F' if radix => self.at += 1,
                // `1.len` reads a property, `1..2` is a range.
                b'.' if !has_point && !matches!(next, b'.' | b'_' | b'a'..=b'z' | b'A'..=b'Z') => {
                    has_point = true;
                    self.at += 1;
                }
                b'e' | b'E' if !has_exponent && matches!(next, b'0'..=b'9' | b'+' | b'-') => {
                    (has_point, has_exponent) = (true, true);
                    self.at += 2;
                }
                _ => return,
            }
        }
    }

    /// Up to the closing quote; a doubled quote is part of the text.
    fn quoted(&mut self, quote: char) -> Kind {
        while let Some(next) = self.rest().find([quote, '\\', '\n']) {
            self.at += next;
            let text = self.text;
            let mut rest = text[self.at..].chars();
            match (rest.next(), rest.next()) {
                (Some('\n'), _) => return Kind::OpenText,
                (Some('\\'), escaped) => {
                    self.at += 1;
                    // A backslash at the end of a line continues the string.
                    match escaped {
                        Some('\n') if quote == '"' => self.at += 1,
                        Some('\r') if quote == '"' && rest.next() == Some('\n') => self.at += 2,
                        Some('\n' | '\r') | None => {}
                        Some(escaped) => self.at += escaped.len_utf8(),
                    }
                }
                (_, Some(second)) if second == quote => self.at += 2,
                _ => {
                    self.at += 1;
                    return Kind::Text;
                }
            }
        }
        self.at = self.text.len();
        Kind::OpenText
    }

    /// Up to the closing backquote, or after `${`.
    fn backquoted(&mut self, start: usize) {
        while let Some(next) = self.rest().find(['`', '$', '\\']) {
            self.at += next;
            match self.rest().as_bytes() {
                [b'`', b'`', ..] => self.at += 2,
                [b'\\', b'$', b'{', ..] => self.at += 3,
                [b'$', b'{', ..] => {
                    if start < self.at {
                        self.push(Kind::Text, start);
                    }
                    self.at += 2;
                    self.braces.push(true);
                    return self.push(Kind::Sign, self.at - 2);
                }
                [b'`', ..] => {
                    self.at += 1;
                    return self.push(Kind::Text, start);
                }
                _ => self.at += 1,
            }
        }
        self.at = self.text.len();
        if start < self.at {
            self.push(Kind::OpenText, start);
        }
    }

    /// `#"..."#`, with equal numbers of `#`.
    fn raw(&mut self) -> Kind {
        let hashes = self.rest().find('"').unwrap_or(0);
        let end = format!("\"{}", "#".repeat(hashes));
        let text = self.at + hashes + 1;
        match self.text[text..].find(&end) {
            Some(length) => {
                self.at = text + length + end.len();
                Kind::Text
            }
            None => {
                self.at = self.text.len();
                Kind::OpenText
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use manifest_schema::sdk::SdkVersion;
    use proptest::prelude::*;

    use super::*;
    use crate::sandbox::Sandbox;

    fn written(text: &str) -> Vec<&str> {
        let tokens = Tokens::of(text);
        (0..tokens.len()).map(|index| tokens.word(index)).collect()
    }

    /// The starts of Rhai's tokens, in a text without braces in backquotes.
    fn starts_in_rhai(text: &str) -> Option<Vec<(usize, usize)>> {
        let (lexed, _) = Sandbox::of(SdkVersion::V1_2).engine.lex([&text]);
        let mut starts = Vec::new();
        for (token, position) in lexed {
            match token {
                rhai::Token::EOF => return Some(starts),
                rhai::Token::LexError(_) | rhai::Token::InterpolatedString(_) => return None,
                _ => starts.push((position.line()?, position.position()?)),
            }
        }
        None
    }

    fn starts(text: &str) -> Vec<(usize, usize)> {
        let tokens = Tokens::of(text);
        let position = |index| tokens.position(tokens.get(index).unwrap().start());
        (0..tokens.len()).map(position).map(|at| (at.line().unwrap(), at.position().unwrap())).collect()
    }

    #[test]
    fn tokens_match_rhai() {
        assert_eq!(
            written("let x=1..=3;//c\nf(\"a\\\"b\"\"\",'c',#\"r\"#)/* /**/ */`t${ {a} }u` 1.5e3 1.len"),
            [
                "let",
                "x",
                "=",
                "1",
                "..=",
                "3",
                ";",
                "f",
                "(",
                "\"a\\\"b\"\"\"",
                ",",
                "'c'",
                ",",
                "#\"r\"#",
                ")",
                "`t",
                "${",
                "{",
                "a",
                "}",
                "}",
                "u`",
                "1.5e3",
                "1",
                ".",
                "len",
            ]
        );
    }

    #[test]
    fn positions_match_rhai() {
        let text = "a\n  \u{e4}b \u{e9};\r\nc";
        let tokens = Tokens::of(text);
        for offset in text.char_indices().map(|(at, _)| at) {
            assert_eq!(tokens.offset(tokens.position(offset)), offset);
        }
        assert_eq!(tokens.position(tokens.text.find('c').unwrap()), Position::new(3, 1));
        assert_eq!(tokens.offset(Position::NONE), text.len());
    }

    #[test]
    fn unclosed_comment_is_found_with_the_nested_one() {
        let open = |text| Tokens::of(text).open_comment;
        assert_eq!(open("a /* b /* c */ d"), Some(OpenComment { start: 2, nested: Some(7) }));
        assert_eq!(open("a /*/"), Some(OpenComment { start: 2, nested: None }));
        assert_eq!(open("a /* b /* c */ */ d // /*\n\"/*\" `/*`"), None);
    }

    proptest! {
        #[test]
        fn tokens_of_any_text_match_rhai(
            pieces in prop::collection::vec(
                prop::sample::select(vec![
                    "let", "x", "é", "=", "1", "2.5", "0xfF", "1e-3", ".", "..", ";", "{", "}", "(", ")", "[", "]",
                    "|", "#{", ":", "`a`", "\"b\"", "\\", "\"", "'c'", "=>", "-", "+", "*", "/", "//", "/*", "*/", "#\"q\"#",
                    "\n", "\r\n", " ", "!", "in", "&", "<", "?", "$", "_", "#", "%", "^", "`", "@",
                ]),
                0..30,
            )
        ) {
            let text = pieces.concat();
            let tokens = Tokens::of(&text);
            let mut end = 0;
            for token in (0..tokens.len()).filter_map(|index| tokens.get(index)) {
                prop_assert!(end <= token.start() && token.start() < token.end() && text.get(token.range()).is_some());
                end = token.end();
            }
            // Rhai has single tokens for `()`, `(*`, `!in` and signed numbers.
            let differs = ["()", "-", "!in", "(*", "##"].iter().any(|own| text.contains(own));
            if let Some(rhai) = starts_in_rhai(&text).filter(|_| !differs) {
                prop_assert_eq!(starts(&text), rhai, "{}", text);
            }
        }
    }
}
