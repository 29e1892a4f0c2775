//! Watches Rhai's parser through the engine's token mapper.
//!
//! Rhai's parser cannot be cancelled and stops at the first error, but it passes every token to the token mapper. The
//! mapper stops a parse that takes too long or needs too much memory. It also replaces tokens of other languages, so
//! that such a token does not hide the errors after it. Replaced tokens are still reported as errors.

use std::cell::RefCell;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Instant;

use rhai::{Identifier, LexError, Position, Token};

use crate::check::CompileBudget;
use crate::host::OutOfMemoryError;
use crate::memory;

/// The number of tokens between two reads of the clock.
const CLOCK_INTERVAL_TOKENS: u32 = 64;

/// The maximum number of replaced tokens; the next one stops the parse.
const FOREIGN_TOKENS_MAX: usize = 100;

/// The error of a parse that took too long. No script contains a token with this error.
const TIMED_OUT: &str = "picloud: too slow";

/// The error of a parse without memory.
const NO_MEMORY: &str = "picloud: no memory";

/// The granularity of memory reservations, in bytes.
const RESERVATION_STEP: u64 = 256 * 1024;

/// An upper bound of the memory that one token adds to the program, except for long strings.
const TOKEN_BYTES: u64 = 16 * 1024;

/// An upper bound of the memory of the checks for names and strings, per byte of the source.
const CHECK_BYTES_PER_BYTE: u64 = 16;

/// An upper bound of the memory of error recovery, per byte of the source: 12 for a token, 16 for a bracket, and some
/// copies of the text.
const RECOVERY_BYTES_PER_BYTE: u64 = 48;

/// The observations of a parse.
#[derive(Default)]
pub(crate) struct ParseLog {
    /// The replaced tokens, in source order.
    pub(crate) foreign_tokens: Vec<(ForeignToken, Position)>,
    /// The two previous tokens, the last one at the end.
    previous: [Option<Token>; 2],
    deadline: Option<Instant>,
    is_late: bool,
    tokens: u32,
}

/// A token of another language with its equivalent in Rhai.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ForeignToken {
    /// The token in the script.
    pub(crate) written: &'static str,
    /// Its equivalent in Rhai.
    pub(crate) meant: &'static str,
    token: Replacement,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Replacement {
    Equals,
    NotEquals,
    Let,
    Unit,
    Switch,
}

const FOREIGN_TOKENS: [ForeignToken; 7] = [
    ForeignToken { written: "===", meant: "==", token: Replacement::Equals },
    ForeignToken { written: "!==", meant: "!=", token: Replacement::NotEquals },
    ForeignToken { written: "var", meant: "let", token: Replacement::Let },
    ForeignToken { written: "null", meant: "()", token: Replacement::Unit },
    ForeignToken { written: "nil", meant: "()", token: Replacement::Unit },
    ForeignToken { written: "void", meant: "()", token: Replacement::Unit },
    ForeignToken { written: "match", meant: "switch", token: Replacement::Switch },
];

thread_local! {
    /// Where the current parse is, for the meaning of its words.
    static WORDS: RefCell<Words> = const { RefCell::new(Words::new()) };
    /// The tokens of the current parse, if they are collected.
    static TOKENS: RefCell<Option<Vec<(Token, Position)>>> = const { RefCell::new(None) };
    /// The names that replace others in the current parse, by position.
    static RENAMES: RefCell<Option<HashMap<Position, Identifier>>> = const { RefCell::new(None) };
    static CURRENT: RefCell<Option<ParseLog>> = const { RefCell::new(None) };
    static MEMORY: RefCell<Option<CompileMemory>> = const { RefCell::new(None) };
}

/// Runs `parse`, which parses one script on this thread, and returns its observations. After `deadline` the parse
/// stops with an error for which [`is_timeout`] is true.
pub(crate) fn with_deadline<T>(deadline: Instant, parse: impl FnOnce() -> T) -> (T, ParseLog) {
    CURRENT.replace(Some(ParseLog { deadline: Some(deadline), ..ParseLog::default() }));
    let parsed = parse();
    (parsed, CURRENT.take().unwrap_or_default())
}

/// Runs `parse`, which parses one script on this thread, and returns its tokens.
pub(crate) fn collect_tokens<T>(parse: impl FnOnce() -> T) -> (T, Vec<(Token, Position)>) {
    TOKENS.replace(Some(Vec::new()));
    let parsed = parse();
    (parsed, TOKENS.take().unwrap_or_default())
}

/// Runs `parse`, which parses one script on this thread, with other names for the tokens at some positions.
pub(crate) fn with_renames<T>(renames: HashMap<Position, Identifier>, parse: impl FnOnce() -> T) -> T {
    RENAMES.replace(Some(renames));
    let parsed = parse();
    RENAMES.take();
    parsed
}

/// Runs `parse`, which parses one script on this thread, within the given memory.
///
/// # Errors
/// The budget is exhausted and the parse was stopped.
pub(crate) fn with_memory<T>(
    memory_use: CompileMemory,
    parse: impl FnOnce() -> T,
) -> Result<(T, CompileMemory), OutOfMemoryError> {
    let before = memory_use.clone();
    MEMORY.replace(Some(memory_use));
    let parsed = parse();
    let mut memory_use = MEMORY.take().unwrap_or(before);
    match memory_use.error.take() {
        Some(error) => Err(error),
        None => Ok((parsed, memory_use)),
    }
}

/// The memory of a compilation, from the start of its parse to its end.
#[derive(Clone)]
pub(crate) struct CompileMemory {
    budget: Arc<dyn CompileBudget>,
    /// The memory of the thread at the start.
    before: i64,
    /// The reservation, in bytes.
    reserved: u64,
    error: Option<OutOfMemoryError>,
}

impl CompileMemory {
    pub(crate) fn new(budget: Arc<dyn CompileBudget>) -> Self {
        Self { budget, before: memory::thread_memory().bytes, reserved: 0, error: None }
    }

    /// The memory of the compilation, in bytes.
    pub(crate) fn held(&self) -> u64 {
        u64::try_from(memory::thread_memory().bytes.saturating_sub(self.before)).unwrap_or(0)
    }

    /// Reserves memory for the checks: names and strings.
    ///
    /// # Errors
    /// The budget is exhausted.
    pub(crate) fn reserve_for_checks(&mut self, source: &str) -> Result<(), OutOfMemoryError> {
        self.reserve(self.held() + CHECK_BYTES_PER_BYTE * source.len() as u64)
    }

    /// Reserves memory for the recovery of a text that does not parse: the patched text, its tokens and brackets.
    ///
    /// # Errors
    /// The budget is exhausted.
    pub(crate) fn reserve_for_recovery(&mut self, source: &str) -> Result<(), OutOfMemoryError> {
        self.reserve(self.held() + RECOVERY_BYTES_PER_BYTE * source.len() as u64)
    }

    /// Reserves memory for a second copy of the program, which the optimizer and some checks create.
    ///
    /// # Errors
    /// The budget is exhausted.
    pub(crate) fn reserve_for_copy(&mut self) -> Result<(), OutOfMemoryError> {
        self.reserve(self.held() * 2)
    }

    fn reserve(&mut self, bytes: u64) -> Result<(), OutOfMemoryError> {
        if bytes > self.reserved {
            let bytes = bytes.next_multiple_of(RESERVATION_STEP);
            memory::uncounted(|| self.budget.reserve(bytes))?;
            self.reserved = bytes;
        }
        Ok(())
    }

    /// Reserves memory before the next token exceeds the reservation. `false` if it is refused.
    fn may_continue(&mut self) -> bool {
        let held = self.held();
        if held + TOKEN_BYTES > self.reserved
            && self.error.is_none()
            && let Err(error) = self.reserve(held + 2 * TOKEN_BYTES)
        {
            self.error = Some(error);
        }
        self.error.is_none()
    }
}

/// Whether a parse stopped because it took too long.
pub(crate) fn is_timeout(error: &LexError) -> bool {
    matches!(error, LexError::Runtime(why) if why == TIMED_OUT)
}

/// The engine's token mapper: returns the token that the parser uses in place of `token`.
pub(crate) fn map(token: Token, position: Position) -> Token {
    let may_continue =
        MEMORY.with_borrow_mut(|memory_use| memory_use.as_mut().is_none_or(CompileMemory::may_continue));
    if !may_continue && can_stop_at(&token) {
        return Token::LexError(LexError::Runtime(NO_MEMORY.to_owned()).into());
    }
    let token = WORDS.with_borrow_mut(|words| words.map(token));
    let token = CURRENT.with_borrow_mut(|current| match current {
        Some(log) => log.map(token, position),
        None => token,
    });
    let token = renamed(token, position);
    TOKENS.with_borrow_mut(|tokens| {
        if let Some(tokens) = tokens {
            tokens.push((token.clone(), position));
        }
    });
    token
}

fn renamed(token: Token, position: Position) -> Token {
    RENAMES.with_borrow(|renames| {
        match (renames.as_ref().and_then(|renames| renames.get(&position)), &token) {
            (Some(name), Token::Identifier(_)) => Token::Identifier(Box::new(name.clone())),
            (Some(name), Token::StringConstant(_)) => Token::StringConstant(Box::new(name.clone())),
            _ => token,
        }
    })
}

/// Begins the parse of a script. `words_are_names`: whether reserved words are names where only a name can stand.
pub(crate) fn begin(words_are_names: bool) {
    WORDS.set(Words { words_are_names, ..Words::new() });
}

/// Lets scripts use any word as the name of a property, as documents of others do: `body.repository.private`,
/// `#{ default: 1 }`. Rhai reserves many words for later versions.
struct Words {
    words_are_names: bool,
    /// The brackets that are open; `true` for the braces of a map.
    open: Vec<bool>,
    /// Whether only the name of a property, or of a key, can follow.
    expects_name: bool,
}

impl Words {
    const fn new() -> Self {
        Self { words_are_names: false, open: Vec::new(), expects_name: false }
    }

    fn map(&mut self, token: Token) -> Token {
        if !self.words_are_names {
            return token;
        }
        let token = if self.expects_name { as_name(token) } else { token };
        match &token {
            Token::MapStart => self.open.push(true),
            Token::LeftBrace | Token::LeftParen | Token::LeftBracket | Token::QuestionBracket => {
                self.open.push(false);
            }
            Token::RightBrace | Token::RightParen | Token::RightBracket => drop(self.open.pop()),
            _ => {}
        }
        self.expects_name = match &token {
            Token::Period | Token::Elvis | Token::MapStart => true,
            Token::Comma => self.open.last() == Some(&true),
            _ => false,
        };
        token
    }
}

/// A reserved word as a name.
fn as_name(token: Token) -> Token {
    let word = match &token {
        Token::Reserved(word) => word.as_str(),
        token if token.is_standard_keyword() => token.literal_syntax(),
        _ => return token,
    };
    let is_word = word.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_');
    // Functions of the language that are called like methods.
    if !is_word || matches!(word, "call" | "curry" | "type_of" | "is_shared") {
        return token;
    }
    Token::Identifier(Box::new(Identifier::from(word)))
}

/// Whether an error in place of `token` stops the parse. Inside a template string Rhai accepts a few errors only, and
/// panics at others.
fn can_stop_at(token: &Token) -> bool {
    !matches!(token, Token::StringConstant(_) | Token::InterpolatedString(_))
}

impl ParseLog {
    fn map(&mut self, token: Token, position: Position) -> Token {
        self.tokens += 1;
        let is_due = self.tokens.is_multiple_of(CLOCK_INTERVAL_TOKENS);
        self.is_late |= is_due && self.deadline.is_some_and(|deadline| Instant::now() >= deadline);
        if self.is_late && can_stop_at(&token) {
            return Token::LexError(LexError::Runtime(TIMED_OUT.to_owned()).into());
        }
        let token = self.replace_foreign(token, position);
        let [_, latest] = std::mem::take(&mut self.previous);
        self.previous = [latest, Some(token.clone())];
        token
    }

    fn replace_foreign(&mut self, token: Token, position: Position) -> Token {
        let written = match &token {
            Token::Reserved(word) => word.as_str(),
            Token::LexError(error) => match error.as_ref() {
                LexError::ImproperSymbol(symbol, _) => symbol.as_str(),
                _ => return token,
            },
            _ => return token,
        };
        // `debug` cannot be the name of a function. As an identifier it is an unknown function, which is reported
        // with the others.
        if written == "debug" && self.follows_log() {
            return Token::Identifier(Box::new(Identifier::from("debug")));
        }
        match FOREIGN_TOKENS.into_iter().find(|foreign| foreign.written == written) {
            Some(foreign) if self.foreign_tokens.len() < FOREIGN_TOKENS_MAX => {
                self.foreign_tokens.push((foreign, position));
                match foreign.token {
                    Replacement::Equals => Token::EqualsTo,
                    Replacement::NotEquals => Token::NotEqualsTo,
                    Replacement::Let => Token::Let,
                    Replacement::Unit => Token::Unit,
                    Replacement::Switch => Token::Switch,
                }
            }
            _ => token,
        }
    }

    fn follows_log(&self) -> bool {
        matches!(
            &self.previous,
            [Some(Token::Identifier(module)), Some(Token::DoubleColon)] if module.as_str() == "log"
        )
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use manifest_schema::sdk::SdkVersion;
    use rhai::ParseErrorType;

    use super::*;
    use crate::sandbox::Sandbox;

    #[test]
    fn parse_stops_at_its_deadline() {
        let source = "1;\n".repeat(1000);
        let parse = || Sandbox::of(SdkVersion::V1_1).compile(&source);
        let (parsed, _) = with_deadline(Instant::now(), parse);
        let error = parsed.unwrap_err();
        assert!(matches!(error.err_type(), ParseErrorType::BadInput(why) if is_timeout(why)), "{error}");
        assert!(with_deadline(Instant::now() + Duration::from_secs(60), parse).0.is_ok());
        assert!(parse().is_ok(), "without a deadline it finishes");
        for tokens_before in 0..4 {
            let source = format!("{}`{}`", ";".repeat(tokens_before), "x${1}".repeat(1000));
            let parse = || Sandbox::of(SdkVersion::V1_1).compile(&source);
            assert!(
                with_deadline(Instant::now(), parse).0.is_err(),
                "inside a template string it stops after the string"
            );
        }
    }

    #[test]
    fn parse_stops_after_too_many_foreign_tokens() {
        let source = "null;".repeat(FOREIGN_TOKENS_MAX + 1);
        let (parsed, log) = with_deadline(Instant::now() + Duration::from_secs(60), || {
            Sandbox::of(SdkVersion::V1_1).compile(&source)
        });
        assert!(parsed.is_err() && log.foreign_tokens.len() == FOREIGN_TOKENS_MAX);
    }
}
