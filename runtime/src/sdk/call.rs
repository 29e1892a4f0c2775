//! A call of an SDK function: its arguments, its options and its errors.
//!
//! The arguments are checked against the signature before the function runs, so that it reads them without errors of
//! its own.

use std::fmt::Write as _;
use std::time::Duration;

use manifest_schema::diagnostic::Suggestions;
use manifest_schema::units::{parse_duration, show_duration};
use rhai::{Array, Blob, Dynamic, EvalAltResult, ImmutableString, Map, NativeCallContext, Position};

use super::regex::check_pattern;
use super::signature::{Accepts, Function, Kinds, OptionKey, Parameter};
use crate::bounded::STRING_MAX;
use crate::kv::KvKey;
use crate::run_context;
use crate::type_name::type_name;

pub(crate) type Outcome<T> = Result<T, Box<EvalAltResult>>;

/// The number of bytes that cost as much as visiting one value, for natives that read or write them once.
const BYTES_PER_STEP: usize = 16;

/// The number of bytes between two polls of the limits, for natives that pass bytes on to a library. It takes a
/// fraction of a millisecond.
const CHUNK_BYTES: usize = 64 * 1024;

/// The maximum length of a text quoted in an error, in characters.
const QUOTED_MAX: usize = 80;

/// The message for `()` as a value of the state.
pub(crate) const NOTHING_STORED: &str = "`()` is no value that is stored; use `kv::delete`";

/// A call of a function.
pub(crate) struct Call<'c, 'a> {
    module: &'static str,
    function: &'static Function,
    position: Position,
    arguments: &'c [&'a mut Dynamic],
}

impl<'c, 'a> Call<'c, 'a> {
    pub(super) fn new(
        module: &'static str,
        function: &'static Function,
        context: &NativeCallContext<'_>,
        arguments: &'c [&'a mut Dynamic],
    ) -> Self {
        Self { module, function, position: context.call_position(), arguments }
    }

    /// Checks the arguments and calls the function.
    pub(super) fn run(&self) -> Outcome<Dynamic> {
        for (parameter, argument) in self.function.parameters.iter().zip(self.arguments) {
            if let Err(message) = check_argument(parameter, argument) {
                return self.fail_shared(message);
            }
        }
        (self.function.run)(self)
    }

    /// The position of the call.
    pub(crate) fn position(&self) -> Position {
        self.position
    }

    /// Whether the call has this argument.
    pub(crate) fn has(&self, index: usize) -> bool {
        index < self.arguments.len()
    }

    /// Any argument.
    pub(crate) fn value(&self, index: usize) -> &Dynamic {
        static MISSING: Dynamic = Dynamic::UNIT;
        self.arguments.get(index).map_or(&MISSING, |argument| &**argument)
    }

    /// An integer argument; a float is truncated.
    pub(crate) fn integer(&self, index: usize) -> i64 {
        let value = self.value(index);
        value.as_int().or_else(|_| value.as_float().map(|float| float as i64)).unwrap_or_default()
    }

    /// A text argument; `""` if it is left out.
    pub(crate) fn text(&self, index: usize) -> ImmutableString {
        self.optional_text(index).unwrap_or_default()
    }

    /// A text argument, unless it is left out.
    pub(crate) fn optional_text(&self, index: usize) -> Option<ImmutableString> {
        self.value(index).read_lock::<ImmutableString>().map(|text| text.clone())
    }

    /// Passes the bytes of a text or a blob to `read`.
    pub(crate) fn with_bytes<T>(&self, index: usize, read: impl FnOnce(&[u8]) -> T) -> T {
        let value = self.value(index);
        if let Some(text) = value.read_lock::<ImmutableString>() {
            return read(text.as_bytes());
        }
        match value.read_lock::<Blob>() {
            Some(blob) => read(&blob),
            None => read(&[]),
        }
    }

    /// Passes the items of an array to `read`.
    pub(crate) fn with_array<T>(&self, index: usize, read: impl FnOnce(&[Dynamic]) -> T) -> T {
        match self.value(index).read_lock::<Array>() {
            Some(array) => read(&array),
            None => read(&[]),
        }
    }

    /// Passes the entries of a map to `read`.
    pub(crate) fn with_map<T>(&self, index: usize, read: impl FnOnce(&Map) -> T) -> T {
        match self.value(index).read_lock::<Map>() {
            Some(map) => read(&map),
            None => read(&Map::new()),
        }
    }

    /// The options, which are the last argument.
    pub(crate) fn options(&self) -> Options<'_> {
        let place = self.function.parameters.len().saturating_sub(1);
        Options { map: self.value(place) }
    }

    /// Fails the script with an error that the signature declares, as `module::function: message`.
    pub(crate) fn fail<T>(&self, message: impl AsRef<str>) -> Outcome<T> {
        let message = message.as_ref();
        debug_assert!(
            self.function.errors.iter().any(|error| matches_error(error, message)),
            "the signature of {}::{} does not declare the error: {message}",
            self.module,
            self.function.name
        );
        self.fail_shared(message)
    }

    /// Fails the script with an error that functions share: arguments that the signature rules out, values without a
    /// form in JSON, and faults of the server.
    pub(crate) fn fail_shared<T>(&self, message: impl AsRef<str>) -> Outcome<T> {
        let separator = if self.module.is_empty() { "" } else { "::" };
        let text = format!("{}{separator}{}: {}", self.module, self.function.name, message.as_ref());
        Err(EvalAltResult::ErrorRuntime(text.into(), self.position).into())
    }

    /// Charges small steps of work, see [`run_context::charge`].
    ///
    /// # Errors
    /// The execution must stop.
    pub(crate) fn charge(&self, steps: usize) -> Outcome<()> {
        run_context::charge(steps).map_or(Ok(()), |_| self.terminated())
    }

    /// Charges the work of reading or writing bytes once.
    ///
    /// # Errors
    /// The execution must stop.
    pub(crate) fn charge_bytes(&self, bytes: usize) -> Outcome<()> {
        self.charge(bytes / BYTES_PER_STEP)
    }

    /// Passes `bytes` to `read` in parts, and charges each before.
    ///
    /// # Errors
    /// The execution must stop.
    pub(crate) fn in_chunks(&self, bytes: &[u8], mut read: impl FnMut(&[u8])) -> Outcome<()> {
        for chunk in bytes.chunks(CHUNK_BYTES) {
            self.charge_bytes(chunk.len())?;
            read(chunk);
        }
        Ok(())
    }

    /// Reserves memory before it is allocated.
    ///
    /// # Errors
    /// The execution must stop.
    pub(crate) fn reserve(&self, bytes: usize) -> Outcome<()> {
        run_context::reserve(bytes).map_or(Ok(()), |_| self.terminated())
    }

    /// Stops an inline pass before work that takes a millisecond or more.
    ///
    /// # Errors
    /// The execution must stop.
    pub(crate) fn require_own_thread(&self) -> Outcome<()> {
        run_context::require_own_thread().map_or(Ok(()), |_| self.terminated())
    }

    /// Checks that the time limit leaves `time`, before work that cannot be stopped.
    ///
    /// # Errors
    /// The execution must stop.
    pub(crate) fn require_time(&self, time: Duration) -> Outcome<()> {
        run_context::require_time(time).map_or(Ok(()), |_| self.terminated())
    }

    /// Checks the length of a text before it is built.
    ///
    /// # Errors
    /// It is longer than a text can be.
    pub(crate) fn limit_text(&self, length: usize) -> Outcome<()> {
        if length > STRING_MAX {
            return Err(EvalAltResult::ErrorDataTooLarge("Length of string".to_owned(), self.position).into());
        }
        Ok(())
    }

    /// The error of a stopped execution; the meter has the reason.
    pub(crate) fn terminated<T>(&self) -> Outcome<T> {
        Err(EvalAltResult::ErrorTerminated(Dynamic::UNIT, self.position).into())
    }
}

/// The options of a call.
pub(crate) struct Options<'c> {
    map: &'c Dynamic,
}

impl Options<'_> {
    /// The value of an option; a missing one and `()` are `None`.
    pub(crate) fn get(&self, key: &str) -> Option<Dynamic> {
        let map = self.map.read_lock::<Map>()?;
        map.get(key).filter(|value| !value.is_unit()).map(Dynamic::flatten_clone)
    }

    /// A text option.
    pub(crate) fn text(&self, key: &str) -> Option<ImmutableString> {
        self.get(key)?.into_immutable_string().ok()
    }

    /// A duration option.
    pub(crate) fn duration(&self, key: &str) -> Option<Duration> {
        parse_duration(&self.text(key)?)
    }

    /// An integer option.
    pub(crate) fn integer(&self, key: &str) -> Option<i64> {
        self.get(key)?.as_int().ok()
    }

    /// A `true` or `false` option.
    pub(crate) fn flag(&self, key: &str) -> Option<bool> {
        self.get(key)?.as_bool().ok()
    }
}

/// Whether a message is an error of a signature, in which `…` stands for any text.
pub(crate) fn matches_error(error: &str, message: &str) -> bool {
    let mut parts = error.split('…');
    let Some(mut rest) = parts.next().and_then(|first| message.strip_prefix(first)) else { return false };
    let Some(last) = parts.next_back() else { return rest.is_empty() };
    for part in parts {
        let Some((_, after)) = rest.split_once(part) else { return false };
        rest = after;
    }
    rest.ends_with(last)
}

/// Checks an argument against its parameter.
fn check_argument(parameter: &Parameter, argument: &Dynamic) -> Result<(), String> {
    check_value(parameter.name, parameter.kinds, &parameter.accepts, argument)
}

fn check_value(name: &str, kinds: Kinds, accepts: &Accepts, value: &Dynamic) -> Result<(), String> {
    if !kinds.contains(Kinds::of(value)) {
        return Err(wrong_kind(name, kinds, type_name(value)));
    }
    match accepts {
        // The function compiles a pattern, once.
        Accepts::All | Accepts::Patterns => Ok(()),
        Accepts::Texts(_)
        | Accepts::Durations
        | Accepts::DurationsWithin(_)
        | Accepts::Keys
        | Accepts::Prefixes => {
            value.read_lock::<ImmutableString>().map_or(Ok(()), |text| check_text(name, accepts, &text))
        }
        Accepts::Integers(_) => value.as_int().map_or(Ok(()), |number| check_integer(name, accepts, number)),
        Accepts::Stored if value.is_unit() => Err(NOTHING_STORED.to_owned()),
        Accepts::Stored => Ok(()),
        Accepts::Options(keys) => {
            let Some(map) = value.read_lock::<Map>() else { return Ok(()) };
            map.iter().try_for_each(|(name, value)| check_option(keys, name, value))
        }
    }
}

fn check_option(keys: &[OptionKey], name: &str, value: &Dynamic) -> Result<(), String> {
    match keys.iter().find(|key| key.name == name) {
        None => Err(unknown_option(keys, name)),
        // `()` is the same as no option.
        Some(_) if value.is_unit() => Ok(()),
        Some(key) => check_value(key.name, key.kinds, &key.accepts, value),
    }
}

/// `` `low` must be an integer, not a string ``
pub(crate) fn wrong_kind(name: &str, kinds: Kinds, given: &str) -> String {
    format!("`{name}` must be {kinds}, not {given}")
}

/// Checks that a parameter or an option accepts `text`.
pub(crate) fn check_text(name: &str, accepts: &Accepts, text: &str) -> Result<(), String> {
    let expected = match accepts {
        Accepts::Texts(texts) if !texts.contains(&text) => {
            texts.iter().map(|text| format!("\"{text}\"")).collect::<Vec<_>>().join(" or ")
        }
        Accepts::Patterns => return check_pattern(text),
        Accepts::Keys => return KvKey::new(text).map(drop).map_err(|error| error.to_string()),
        Accepts::Prefixes if text.is_empty() => return Ok(()),
        Accepts::Prefixes => return check_text(name, &Accepts::Keys, text),
        Accepts::Durations | Accepts::DurationsWithin(_) if parse_duration(text).is_none() => {
            "a duration such as \"5m\"".to_owned()
        }
        Accepts::DurationsWithin(within) if !parse_duration(text).is_some_and(|d| within.contains(&d)) => {
            format!("from \"{}\" to \"{}\"", show_duration(*within.start()), show_duration(*within.end()))
        }
        _ => return Ok(()),
    };
    Err(format!("`{name}` must be {expected}, not \"{}\"", quoted(text)))
}

/// Checks that a parameter or an option accepts `number`.
pub(crate) fn check_integer(name: &str, accepts: &Accepts, number: i64) -> Result<(), String> {
    match accepts {
        Accepts::Integers(within) if !within.contains(&number) => {
            Err(format!("`{name}` must be from {} to {}, not {number}", within.start(), within.end()))
        }
        _ => Ok(()),
    }
}

/// The message for an option that a function does not have.
pub(crate) fn unknown_option(keys: &[OptionKey], name: &str) -> String {
    let mut message = format!("unknown option `{}`", quoted(name));
    // Writing to a string cannot fail.
    let _ = match Suggestions::default().did_you_mean(name, keys.iter().map(|key| key.name)) {
        Some(near) => write!(message, "; {near}"),
        None => {
            let known: Vec<&str> = keys.iter().map(|key| key.name).collect();
            write!(message, "; available: {}", known.join(", "))
        }
    };
    message
}

/// The beginning of a text, on one line.
pub(crate) fn quoted(text: &str) -> String {
    text.chars().take(QUOTED_MAX).flat_map(char::escape_debug).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_match_with_any_text_in_place_of_an_ellipsis() {
        for (error, message) in [
            ("no key", "no key"),
            ("`…` is unknown", "`a` is unknown"),
            ("unknown `…`…", "unknown `a`"),
            ("line …: `…` twice", "line 3: `a: b` twice"),
        ] {
            assert!(matches_error(error, message), "{error}, {message}");
        }
        for (error, message) in [
            ("no key", "no key at all"),
            ("`…` is unknown", "`a` is known"),
            ("line …: twice", "twice"),
            ("a…a", "a"),
        ] {
            assert!(!matches_error(error, message), "{error}, {message}");
        }
    }
}
