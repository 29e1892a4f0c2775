//! `[limits]`: what one execution may use, up to what the server grants.

use std::fmt::Display;
use std::time::Duration;

use crate::diagnostic::quoted;
use crate::limits::{Ceiling, Limits};
use crate::source::Source;
use crate::table::{Keys, Table, Value};
use crate::units::{guess_duration, guess_size, parse_duration, parse_size, show_duration, show_size};

pub(super) const KEYS: Keys =
    Keys { known: &["timeout", "operations", "memory", "body", "concurrency"], not_yet: &[] };

/// A script that does nothing takes more, in bytes: so many are a number without its unit.
const MEMORY_OF_ANY_SCRIPT: u64 = 4096;

/// Reads `[limits]`; what it leaves out is the default, also where the ceiling is lower: that is a matter of each run.
pub(super) fn read(value: Option<Value<'_>>, ceiling: &Ceiling, source: &mut Source<'_>) -> Option<Limits> {
    let most = &ceiling.executions;
    let default = Limits::DEFAULT;
    let Some(value) = value else { return Some(default) };
    let table = &value.table("[limits]", &KEYS, source)?;
    let count = |number: u64| number.to_string();
    let mut limit = Reader { table, ceiling, source };
    let by = ceiling.granted_by();
    let timeout = limit.read(
        "timeout",
        |value, source| duration(value, most.timeout, by, source),
        default.timeout,
        most.timeout,
        show_duration,
    );
    let operations = limit.read("operations", number, default.operations, most.operations, count);
    let memory = limit.read(
        "memory",
        |value, source| size(value, most.memory, by, source),
        default.memory,
        most.memory,
        show_size,
    );
    if let (Some(memory), Some(value)) = (memory, limit.table.get("memory"))
        && memory < MEMORY_OF_ANY_SCRIPT
    {
        let message = format!("`memory` is {}, and no script does with that", show_size(memory));
        let meant = format!("{memory}MiB");
        let help = match parse_size(&meant).is_some_and(|meant| meant <= most.memory) {
            true => format!("write `\"{meant}\"`"),
            false => format!("write `\"{}\"`", show_size(default.memory)),
        };
        limit.source.warning(value.span(), message, help);
    }
    let body = limit.read(
        "body",
        |value, source| size(value, most.body, by, source),
        default.body,
        most.body,
        show_size,
    );
    let concurrency =
        limit.read("concurrency", number, default.concurrency.into(), most.concurrency.into(), count);
    Some(Limits {
        timeout: timeout?,
        operations: operations?,
        memory: memory?,
        body: body?,
        concurrency: concurrency?.try_into().ok()?,
    })
}

/// The flag of `picloud apps limits` that grants more of a key.
fn flag(key: &str) -> &str {
    if key == "memory" { "script-memory" } else { key }
}

struct Reader<'r, 't, 's> {
    table: &'r Table<'t>,
    ceiling: &'r Ceiling,
    source: &'r mut Source<'s>,
}

impl<'t, 's> Reader<'_, 't, 's> {
    /// The limit `key` as `read` understands it, above zero and up to `most`.
    fn read<T: Copy + Default + PartialOrd>(
        &mut self,
        key: &'static str,
        read: impl Fn(Value<'t>, &mut Source<'s>) -> Option<T>,
        default: T,
        most: T,
        show: impl Fn(T) -> String,
    ) -> Option<T> {
        let Some(value) = self.table.get(key) else { return Some(default) };
        let asked = read(value, self.source)?;
        if asked <= T::default() {
            self.source.error(value.span(), format!("`{key}` must be above zero"));
            return None;
        }
        if asked > most {
            let (asked, most, by) = (show(asked), show(most), self.ceiling.granted_by());
            let help = self.ceiling.help(flag(key), &asked);
            let message = format!("`{key}` is {asked}, more than the {most} that {by}");
            self.source.error_with(value.span(), message, Some(help));
            return None;
        }
        Some(asked)
    }
}

fn duration(value: Value<'_>, most: Duration, by: &str, source: &mut Source<'_>) -> Option<Duration> {
    const WANTED: &str = "a duration such as `\"5s\"`, `\"500ms\"` or `\"1m\"`";
    let write = |meant: Duration| match meant <= most {
        true => format!("write `\"{}\"`", show_duration(meant)),
        false => format!("write `\"{}\"`, the most that {by}", show_duration(most)),
    };
    let Some(text) = value.as_str() else {
        // A number is of seconds, or of milliseconds where so many seconds are too long.
        let help = value.as_written(source).and_then(|number| {
            let seconds = guess_duration(&format!("{number}s"))?;
            let milliseconds = guess_duration(&format!("{number}ms"))?;
            Some(if seconds > most && milliseconds <= most { write(milliseconds) } else { write(seconds) })
        });
        return value.refuse(WANTED, help, source);
    };
    let duration = parse_duration(text);
    if duration.is_none() {
        let message = not("timeout", WANTED, quoted(text));
        source.error_with(value.span(), message, guess_duration(text).map(write));
    }
    duration
}

fn size(value: Value<'_>, most: u64, by: &str, source: &mut Source<'_>) -> Option<u64> {
    const WANTED: &str = "a size such as `\"64MiB\"` or `\"512KiB\"`, or a number of bytes";
    if value.as_integer().is_some() {
        return number(value, source);
    }
    let Some(text) = value.as_str() else { return value.refuse(WANTED, None, source) };
    let size = parse_size(text);
    if size.is_none() {
        // So few bytes are no memory: the number has lost its unit.
        let is_bare = value.key() == "memory" && text.bytes().all(|b| b.is_ascii_digit());
        let of_mebibytes = parse_size(&format!("{text}MiB")).filter(|_| is_bare);
        let meant = guess_size(text);
        let meant = if meant.is_some_and(|bytes| bytes < MEMORY_OF_ANY_SCRIPT) {
            of_mebibytes.or(meant)
        } else {
            meant
        };
        let help = meant.map(|meant| match meant <= most {
            true => format!("write `\"{}\"`", show_size(meant)),
            false => format!("write `\"{}\"`, the most that {by}", show_size(most)),
        });
        source.error_with(value.span(), not(value.key(), WANTED, quoted(text)), help);
    }
    size
}

/// A number; below zero it is zero, which is refused alike.
fn number(value: Value<'_>, source: &mut Source<'_>) -> Option<u64> {
    if let Some(text) = value.as_str() {
        let digits: String = text.chars().filter(|c| !matches!(c, '_' | ',' | '\'' | ' ')).collect();
        let help =
            digits.parse::<u64>().ok().map(|number| format!("write `{number}` without quotation marks"));
        return value.refuse("an integer", help, source);
    }
    if let Some(written) = value.as_written(source).filter(|_| value.as_integer().is_none()) {
        let help = written.strip_suffix(".0").map(|whole| format!("write `{whole}`"));
        return value.refuse("an integer", help, source);
    }
    value.integer(source).map(|number| u64::try_from(number.max(0)).unwrap_or(u64::MAX))
}

fn not(key: &str, wanted: &str, found: impl Display) -> String {
    format!("`{key}` must be {wanted}, not {found}")
}
