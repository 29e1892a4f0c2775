//! Watches Rhai parse a script, token by token.
//!
//! Rhai's parser cannot be stopped and ends at the first diagnostic; but it asks the engine's token mapper about every token. So the
//! mapper ends a parse that takes too long, and replaces words and signs of other languages by what was meant, so that such a slip does not hide
//! every diagnostic behind it. What was replaced is a diagnostic all the same. It also asks for memory as the parse grows.

use std::cell::RefCell;
use std::sync::Arc;
use std::time::Instant;

use rhai::{Identifier, LexError, Position, Token};

use crate::check::Room;
use crate::host::NoMemory;
use crate::memory;

/// How many tokens are read between two looks at the clock.
const LOOK_EVERY: u32 = 64;

/// The most slips that are remembered and mended; the next one ends the parse.
const SLIPS_MAX: usize = 100;

/// What Rhai's error says when a parse took too long. No script can write a token that gives it.
const TOO_SLOW: &str = "picloud: too slow";

/// What Rhai's error says when there was no memory for a parse.
const NO_MEMORY: &str = "picloud: no memory";

/// A compilation asks for memory in steps of so many bytes.
const GRANT_STEP: u64 = 256 * 1024;

/// More bytes than one token adds to what is compiled, but for long strings.
const TOKEN_BYTES: u64 = 16 * 1024;

/// More bytes than the checks hold of names and strings, for each byte of a source.
const CHECK_BYTES_PER_BYTE: u64 = 16;

/// More bytes than looking at a text that does not parse holds, for each byte of it: 12 for a token, 16 for a bracket, and some
/// copies of the text.
const RECOVERY_BYTES_PER_BYTE: u64 = 48;

/// What was seen of a parse.
#[derive(Default)]
pub(crate) struct Watched {
    /// What was replaced, in the order of the source.
    pub(crate) slips: Vec<(Slip, Position)>,
    /// The two tokens before, the latest last.
    before: [Option<Token>; 2],
    deadline: Option<Instant>,
    is_late: bool,
    tokens: u32,
}

/// Something that is written otherwise in Rhai.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Slip {
    /// What was written.
    pub(crate) written: &'static str,
    /// What is written in Rhai.
    pub(crate) meant: &'static str,
    token: Meant,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Meant {
    Equals,
    NotEquals,
    Let,
    Unit,
    Switch,
}

const SLIPS: [Slip; 7] = [
    Slip { written: "===", meant: "==", token: Meant::Equals },
    Slip { written: "!==", meant: "!=", token: Meant::NotEquals },
    Slip { written: "var", meant: "let", token: Meant::Let },
    Slip { written: "null", meant: "()", token: Meant::Unit },
    Slip { written: "nil", meant: "()", token: Meant::Unit },
    Slip { written: "void", meant: "()", token: Meant::Unit },
    Slip { written: "match", meant: "switch", token: Meant::Switch },
];

thread_local! {
    static CURRENT: RefCell<Option<Watched>> = const { RefCell::new(None) };
    static GROWTH: RefCell<Option<Growth>> = const { RefCell::new(None) };
}

/// Runs `parse`, which parses one script on this thread, and tells what was seen of it. The parse ends with an error of
/// [`is_too_slow`] at its `deadline`.
pub(crate) fn watch<T>(deadline: Instant, parse: impl FnOnce() -> T) -> (T, Watched) {
    CURRENT.replace(Some(Watched { deadline: Some(deadline), ..Watched::default() }));
    let parsed = parse();
    (parsed, CURRENT.take().unwrap_or_default())
}

/// Runs `parse`, which parses one script on this thread, in as much memory as is granted.
///
/// # Errors
/// There is too little of it; the parse was ended.
pub(crate) fn measured<T>(growth: Growth, parse: impl FnOnce() -> T) -> Result<(T, Growth), NoMemory> {
    let before = growth.clone();
    GROWTH.replace(Some(growth));
    let parsed = parse();
    let mut growth = GROWTH.take().unwrap_or(before);
    match growth.refused.take() {
        Some(refused) => Err(refused),
        None => Ok((parsed, growth)),
    }
}

/// The memory of a compilation, from before its parse to its end.
#[derive(Clone)]
pub(crate) struct Growth {
    room: Arc<dyn Room>,
    /// What the thread held when it began.
    before: i64,
    /// What is granted, in bytes.
    granted: u64,
    refused: Option<NoMemory>,
}

impl Growth {
    pub(crate) fn new(room: Arc<dyn Room>) -> Self {
        Self { room, before: memory::reading().bytes, granted: 0, refused: None }
    }

    /// What the compilation holds, in bytes.
    pub(crate) fn held(&self) -> u64 {
        u64::try_from(memory::reading().bytes.saturating_sub(self.before)).unwrap_or(0)
    }

    /// Asks for what the checks take: names and strings.
    ///
    /// # Errors
    /// There is too little of it.
    pub(crate) fn reserve_for_checks(&mut self, source: &str) -> Result<(), NoMemory> {
        self.reserve(self.held() + CHECK_BYTES_PER_BYTE * source.len() as u64)
    }

    /// Asks for what it takes to look at a text that does not parse: the text with replacements, its tokens and brackets.
    ///
    /// # Errors
    /// There is too little of it.
    pub(crate) fn reserve_for_recovery(&mut self, source: &str) -> Result<(), NoMemory> {
        self.reserve(self.held() + RECOVERY_BYTES_PER_BYTE * source.len() as u64)
    }

    /// Asks for a second copy of what is compiled, as the optimiser makes one, and some checks.
    ///
    /// # Errors
    /// There is too little of it.
    pub(crate) fn reserve_for_copy(&mut self) -> Result<(), NoMemory> {
        self.reserve(self.held() * 2)
    }

    fn reserve(&mut self, bytes: u64) -> Result<(), NoMemory> {
        if bytes > self.granted {
            let bytes = bytes.next_multiple_of(GRANT_STEP);
            memory::uncounted(|| self.room.grow(bytes))?;
            self.granted = bytes;
        }
        Ok(())
    }

    /// Asks for more before the next token makes the parse hold more than it is granted. `false`: it is refused.
    fn goes_on(&mut self) -> bool {
        let held = self.held();
        if held + TOKEN_BYTES > self.granted
            && self.refused.is_none()
            && let Err(refused) = self.reserve(held + 2 * TOKEN_BYTES)
        {
            self.refused = Some(refused);
        }
        self.refused.is_none()
    }
}

/// Whether a parse ended because it took too long.
pub(crate) fn is_too_slow(error: &LexError) -> bool {
    matches!(error, LexError::Runtime(why) if why == TOO_SLOW)
}

/// What the parser is to take for `token`: the engine's token mapper.
pub(crate) fn map(token: Token, position: Position) -> Token {
    let goes_on = GROWTH.with_borrow_mut(|growth| growth.as_mut().is_none_or(Growth::goes_on));
    if !goes_on && can_end(&token) {
        return Token::LexError(LexError::Runtime(NO_MEMORY.to_owned()).into());
    }
    CURRENT.with_borrow_mut(|current| match current {
        Some(watched) => watched.map(token, position),
        None => token,
    })
}

/// Whether an error in place of `token` ends the parse. Where a text in backquotes goes on, Rhai knows a few errors only and
/// panics at others.
fn can_end(token: &Token) -> bool {
    !matches!(token, Token::StringConstant(_) | Token::InterpolatedString(_))
}

impl Watched {
    fn map(&mut self, token: Token, position: Position) -> Token {
        self.tokens += 1;
        let looks = self.tokens.is_multiple_of(LOOK_EVERY);
        self.is_late |= looks && self.deadline.is_some_and(|deadline| Instant::now() >= deadline);
        if self.is_late && can_end(&token) {
            return Token::LexError(LexError::Runtime(TOO_SLOW.to_owned()).into());
        }
        let token = self.mended(token, position);
        let [_, latest] = std::mem::take(&mut self.before);
        self.before = [latest, Some(token.clone())];
        token
    }

    fn mended(&mut self, token: Token, position: Position) -> Token {
        let written = match &token {
            Token::Reserved(word) => word.as_str(),
            Token::LexError(error) => match error.as_ref() {
                LexError::ImproperSymbol(symbol, _) => symbol.as_str(),
                _ => return token,
            },
            _ => return token,
        };
        // `debug` cannot be the name of a function. As an identifier it is a function that does not exist, which is told
        // with all the others.
        if written == "debug" && self.follows_log() {
            return Token::Identifier(Box::new(Identifier::from("debug")));
        }
        match SLIPS.into_iter().find(|slip| slip.written == written) {
            Some(slip) if self.slips.len() < SLIPS_MAX => {
                self.slips.push((slip, position));
                match slip.token {
                    Meant::Equals => Token::EqualsTo,
                    Meant::NotEquals => Token::NotEqualsTo,
                    Meant::Let => Token::Let,
                    Meant::Unit => Token::Unit,
                    Meant::Switch => Token::Switch,
                }
            }
            _ => token,
        }
    }

    fn follows_log(&self) -> bool {
        matches!(
            &self.before,
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
    fn a_parse_ends_at_its_time() {
        let source = "1;\n".repeat(1000);
        let parse = || Sandbox::of(SdkVersion::V1_1).engine.compile(&source);
        let (parsed, _) = watch(Instant::now(), parse);
        let error = parsed.unwrap_err();
        assert!(matches!(error.err_type(), ParseErrorType::BadInput(why) if is_too_slow(why)), "{error}");
        assert!(watch(Instant::now() + Duration::from_secs(60), parse).0.is_ok());
        assert!(parse().is_ok(), "a parse that nobody watches has no end");
        for tokens_before in 0..4 {
            let source = format!("{}`{}`", ";".repeat(tokens_before), "x${1}".repeat(1000));
            let parse = || Sandbox::of(SdkVersion::V1_1).engine.compile(&source);
            assert!(watch(Instant::now(), parse).0.is_err(), "within a text a parse ends behind it");
        }
    }

    #[test]
    fn slips_beyond_a_bound_end_the_parse() {
        let source = "null;".repeat(SLIPS_MAX + 1);
        let (parsed, watched) = watch(Instant::now() + Duration::from_secs(60), || {
            Sandbox::of(SdkVersion::V1_1).engine.compile(&source)
        });
        assert!(parsed.is_err() && watched.slips.len() == SLIPS_MAX);
    }
}
