//! Matches brackets, by the tokens between them and by indentation.

use super::tokens::{Kind, Tokens};

/// Words that never start an expression: a round or square bracket still open before one at the start of a line is
/// unclosed.
const STATEMENTS: [&str; 12] = [
    "let", "const", "fn", "private", "return", "throw", "break", "continue", "export", "import", "while",
    "for",
];

/// A wrong bracket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Problem {
    /// The bracket at `open` must be closed before the token at `before`.
    Unclosed { open: usize, before: usize },
    /// The bracket at `close` is unmatched.
    Stray { close: usize },
    /// The bracket at `open` is closed by one of another kind.
    Wrong { open: usize, close: usize },
}

impl Problem {
    /// The token at which the problem is detected.
    pub(super) fn shows_at(self) -> usize {
        match self {
            Self::Unclosed { before, .. } => before,
            Self::Stray { close } | Self::Wrong { close, .. } => close,
        }
    }
}

/// The brackets of a text.
pub(super) struct Brackets {
    /// The matching bracket of each token that is a bracket.
    partners: Vec<Option<usize>>,
    /// In the order of detection.
    pub(super) problems: Vec<Problem>,
}

/// An open bracket.
#[derive(Clone, Copy)]
struct Open {
    at: usize,
    /// Whether a block can follow an operand, as for an `if` in parentheses.
    takes_block: bool,
}

impl Brackets {
    pub(super) fn of(tokens: &Tokens<'_>) -> Self {
        let plain = Matcher::new(tokens, false).matched();
        if plain.problems.is_empty() {
            return plain;
        }
        // If braces are wrong, indentation decides which.
        let by_indentation = Self::by_indentation(tokens);
        let is_better = by_indentation.problems.len() <= plain.problems.len();
        if is_better { by_indentation } else { plain }
    }

    /// The same by indentation only, if a missing brace in one place is compensated by an extra one elsewhere.
    pub(super) fn by_indentation(tokens: &Tokens<'_>) -> Self {
        Matcher::new(tokens, true).matched()
    }

    /// The other bracket of the pair.
    pub(super) fn partner(&self, index: usize) -> Option<usize> {
        self.partners.get(index).copied().flatten()
    }

    /// The innermost bracket around the token at `index` for which `is_one` is true.
    pub(super) fn around(
        &self,
        tokens: &Tokens<'_>,
        index: usize,
        is_one: impl Fn(&str) -> bool,
    ) -> Option<usize> {
        let mut at = index;
        while let Some(before) = at.checked_sub(1) {
            at = match self.partner(before) {
                Some(open) if open < before => open,
                _ if is_opening(tokens.word(before))
                    && is_sign(tokens, before)
                    && is_one(tokens.word(before)) =>
                {
                    return Some(before);
                }
                _ => before,
            };
        }
        None
    }
}

struct Matcher<'t, 's> {
    tokens: &'t Tokens<'s>,
    by_indentation: bool,
    open: Vec<Open>,
    found: Brackets,
}

impl<'t, 's> Matcher<'t, 's> {
    fn new(tokens: &'t Tokens<'s>, by_indentation: bool) -> Self {
        let found = Brackets { partners: vec![None; tokens.len()], problems: Vec::new() };
        Self { tokens, by_indentation, open: Vec::new(), found }
    }

    fn matched(mut self) -> Brackets {
        for index in 0..self.tokens.len() {
            self.token(index);
        }
        self.unclosed_from(0, self.tokens.len());
        self.found
    }

    fn token(&mut self, index: usize) {
        let word = self.tokens.word(index);
        if self.by_indentation && self.tokens.begins_line(index) {
            self.indented(index);
        }
        match self.tokens.get(index).map(|token| token.kind) {
            Some(Kind::Word) => {
                if STATEMENTS.contains(&word) && self.tokens.begins_line(index) {
                    self.unclosed_in_statement(index);
                }
                if let Some(open) = self.open.last_mut() {
                    open.takes_block |= matches!(word, "if" | "switch" | "while" | "for" | "match");
                }
            }
            // An unterminated string hides the closing brackets of its line.
            Some(Kind::OpenText) => {
                let line = self.tokens.get(index).map_or(0, |token| self.tokens.line(token.start()));
                while self.open.last().is_some_and(|open| !self.is_brace(*open) && self.line(open.at) == line)
                {
                    self.open.pop();
                }
            }
            Some(Kind::Sign) => match word {
                ";" => self.unclosed_in_statement(index),
                "{" => {
                    // A block after an operand belongs to an `if` or similar.
                    let takes_block = self.open.last().is_none_or(|open| open.takes_block);
                    if !takes_block && self.follows_operand(index) && !self.follows_parameters(index) {
                        self.unclosed_in_expression(index);
                    }
                    self.push(index);
                }
                word if is_opening(word) => self.push(index),
                "}" | ")" | "]" => self.close(index),
                _ => {}
            },
            _ => {}
        }
    }

    fn push(&mut self, index: usize) {
        self.open.push(Open { at: index, takes_block: false });
    }

    fn line(&self, index: usize) -> usize {
        self.tokens.get(index).map_or(0, |token| self.tokens.line(token.start()))
    }

    fn is_brace(&self, open: Open) -> bool {
        matches!(self.tokens.word(open.at), "{" | "${")
    }

    /// The lines with an opening and its closing brace have equal indentation, and all lines between have more.
    fn indented(&mut self, index: usize) {
        let Some(token) = self.tokens.get(index).filter(|token| token.kind != Kind::Stray) else { return };
        let indentation = self.tokens.indentation(token.start());
        let is_closing = is_closing(self.tokens.word(index)) && is_sign(self.tokens, index);
        let is_unclosed = |open: &&Open| {
            let Some(opening) = self.tokens.get(open.at) else { return false };
            let opened = self.tokens.indentation(opening.start());
            let further = if is_closing { indentation < opened } else { indentation <= opened };
            further && self.line(open.at) < self.tokens.line(token.start())
        };
        let kept = self.open.len() - self.open.iter().rev().take_while(is_unclosed).count();
        // A brace on its own line belongs to the previous line.
        let opens = matches!(self.tokens.word(index), "{");
        if !opens && self.open[kept..].iter().any(|open| self.is_brace(*open)) {
            self.unclosed_from(kept, index);
        }
    }

    fn is_indented_further(&self, close: usize, open: usize) -> bool {
        let indentation = |index| self.tokens.get(index).map(|token| self.tokens.indentation(token.start()));
        self.line(open) < self.line(close) && indentation(close) > indentation(open)
    }

    /// Parentheses, square brackets and maps contain no statements.
    fn unclosed_in_statement(&mut self, before: usize) {
        let brace = self.open.iter().rposition(|open| self.is_brace(*open));
        let from = brace.map_or(0, |brace| brace + 1);
        let loops =
            self.open.get(from).is_some_and(|open| open.at > 0 && self.tokens.word(open.at - 1) == "for");
        if !loops || self.tokens.word(before) != ";" {
            self.unclosed_from(from, before);
        }
    }

    fn unclosed_in_expression(&mut self, before: usize) {
        let from = self.open.iter().rposition(|open| self.tokens.word(open.at) != "(" || open.takes_block);
        self.unclosed_from(from.map_or(0, |last| last + 1), before);
    }

    fn unclosed_from(&mut self, kept: usize, before: usize) {
        let unclosed = self.open.drain(kept..).rev();
        self.found.problems.extend(unclosed.map(|open| Problem::Unclosed { open: open.at, before }));
    }

    /// Whether the block belongs to a function expression of another language.
    fn follows_parameters(&self, index: usize) -> bool {
        let open = index.checked_sub(1).and_then(|close| self.found.partners.get(close).copied().flatten());
        open.and_then(|open| open.checked_sub(1))
            .is_some_and(|word| matches!(self.tokens.word(word), "function" | "func" | "fn"))
    }

    fn follows_operand(&self, index: usize) -> bool {
        index > 0 && ends_operand(self.tokens, index - 1)
    }

    fn close(&mut self, index: usize) {
        let closing = self.tokens.word(index);
        let belongs = |open: &Open| closing_of(self.tokens.word(open.at)) == closing;
        let brace = self.open.iter().rposition(|open| self.is_brace(*open));
        match self.open.iter().rposition(belongs) {
            // A bracket inside a block closes none outside of it. One with more indentation than its opening bracket
            // is extra.
            Some(at) if self.by_indentation && self.is_indented_further(index, self.open[at].at) => {
                self.found.problems.push(Problem::Stray { close: index });
            }
            Some(at) if closing == "}" || brace.is_none_or(|brace| brace < at) => {
                self.unclosed_from(at + 1, index);
                if let Some(open) = self.open.pop() {
                    self.found.partners[open.at] = Some(index);
                    self.found.partners[index] = Some(open.at);
                }
            }
            _ => match self.open.last().copied() {
                Some(open) if !self.is_brace(open) && closing != "}" => {
                    self.open.pop();
                    self.found.problems.push(Problem::Wrong { open: open.at, close: index });
                    self.found.partners[open.at] = Some(index);
                    self.found.partners[index] = Some(open.at);
                }
                _ => self.found.problems.push(Problem::Stray { close: index }),
            },
        }
    }
}

/// Whether the token at `index` can end an operand.
pub(super) fn ends_operand(tokens: &Tokens<'_>, index: usize) -> bool {
    match tokens.get(index).map(|token| token.kind) {
        Some(Kind::Number | Kind::Text | Kind::OpenText | Kind::ForeignWord) => true,
        Some(Kind::Word) => !is_keyword(tokens.word(index)),
        Some(Kind::Sign) => matches!(tokens.word(index), ")" | "]" | "}"),
        _ => false,
    }
}

/// Whether the word is a keyword of Rhai.
pub(super) fn is_keyword(word: &str) -> bool {
    matches!(
        word,
        "let"
            | "const"
            | "if"
            | "else"
            | "switch"
            | "do"
            | "while"
            | "until"
            | "loop"
            | "for"
            | "in"
            | "return"
            | "throw"
            | "try"
            | "catch"
            | "fn"
            | "private"
            | "import"
            | "export"
            | "as"
            | "break"
            | "continue"
    )
}

pub(super) fn is_sign(tokens: &Tokens<'_>, index: usize) -> bool {
    tokens.get(index).is_some_and(|token| token.kind == Kind::Sign)
}

pub(super) fn is_opening(word: &str) -> bool {
    matches!(word, "{" | "#{" | "${" | "(" | "[" | "?[")
}

pub(super) fn is_closing(word: &str) -> bool {
    matches!(word, "}" | ")" | "]")
}

/// The closing bracket for `opening`.
pub(super) fn closing_of(opening: &str) -> &'static str {
    match opening {
        "(" => ")",
        "[" | "?[" => "]",
        _ => "}",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problems(text: &str) -> Vec<Problem> {
        Brackets::of(&Tokens::of(text)).problems
    }

    #[test]
    fn matched_brackets_have_no_problem() {
        for text in [
            "fn f(a) {\n  [1, #{ b: (2) }].map(|x| {\n    x\n  })\n}",
            "foo(if a { 1 } else { 2 }, || { 1; 2 }, `${ {1} }`)",
            "fn f()\n{\n1\n}\nlet x = [\n1,\n2\n];",
            "for (let i = 0; i < 3; i++) { i }",
            "x?[1]",
            "f(function(x) { x })",
        ] {
            assert_eq!(problems(text), [], "{text}");
        }
    }

    #[test]
    fn unclosed_bracket_is_found_by_the_next_tokens() {
        assert_eq!(problems("f(1; g(2)"), [Problem::Unclosed { open: 1, before: 3 }]);
        assert_eq!(problems("let a = [1\nlet b = 2;"), [Problem::Unclosed { open: 3, before: 5 }]);
        assert_eq!(problems("if (a && b { 1 }"), [Problem::Unclosed { open: 1, before: 5 }]);
        assert_eq!(problems("f(1];"), [Problem::Wrong { open: 1, close: 3 }]);
        assert_eq!(problems("1 }"), [Problem::Stray { close: 1 }]);
    }

    #[test]
    fn unclosed_brace_is_found_by_indentation() {
        let text = "fn f(x) {\n  if x {\n    1;\n  x\n}\nfn g() {\n  2\n}\n";
        let tokens = Tokens::of(text);
        let [Problem::Unclosed { open, before }] = Brackets::of(&tokens).problems[..] else { panic!() };
        let at = |index| tokens.position(tokens.get(index).unwrap().start());
        assert_eq!((at(open).line(), at(before).line()), (Some(2), Some(4)));
        let text = "fn f() {\n  if x {\n    1\n  }\n  }\n  x\n}";
        let tokens = Tokens::of(text);
        let [Problem::Stray { close }] = Brackets::of(&tokens).problems[..] else { panic!() };
        assert_eq!(tokens.line(tokens.get(close).unwrap().start()), 5);
    }
}
