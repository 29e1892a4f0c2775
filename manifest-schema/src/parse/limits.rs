//! `[limits]`: the limits of each execution, up to the ceiling.

use std::fmt::Display;
use std::time::Duration;

use crate::diagnostic::quoted;
use crate::limits::{Ceiling, Limits};
use crate::source::Source;
use crate::table::{Keys, Table, Value};
use crate::units::{parse_duration, parse_size, show_duration, show_size, suggest_duration, suggest_size};

pub(super) const KEYS: Keys =
    Keys { known: &["timeout", "operations", "memory", "body", "concurrency"], reserved: &[] };

/// Every script needs more memory than this, in bytes. A smaller value probably lacks its unit.
const SCRIPT_MEMORY_MIN: u64 = 4096;

/// Reads `[limits]`. Missing keys have their defaults, even above the ceiling, since each execution is clamped to it.
pub(super) fn read(value: Option<Value<'_>>, ceiling: &Ceiling, source: &mut Source<'_>) -> Option<Limits> {
    let max = &ceiling.executions;
    let default = Limits::DEFAULT;
    let Some(value) = value else { return Some(default) };
    let table = &value.table("[limits]", &KEYS, source)?;
    let count = |number: u64| number.to_string();
    let mut limit = Reader { table, ceiling, source };
    let granted_by = ceiling.granted_by();
    let timeout = limit.read(
        "timeout",
        |value, source| duration(value, max.timeout, granted_by, source),
        default.timeout,
        max.timeout,
        show_duration,
    );
    let operations = limit.read("operations", number, default.operations, max.operations, count);
    let memory = limit.read(
        "memory",
        |value, source| size(value, max.memory, granted_by, source),
        default.memory,
        max.memory,
        show_size,
    );
    if let (Some(memory), Some(value)) = (memory, limit.table.get("memory"))
        && memory < SCRIPT_MEMORY_MIN
    {
        let message = format!("`memory` is {}, too little for any script", show_size(memory));
        let suggested = format!("{memory}MiB");
        let help = match parse_size(&suggested).is_some_and(|suggested| suggested <= max.memory) {
            true => format!("write `\"{suggested}\"`"),
            false => format!("write `\"{}\"`", show_size(default.memory)),
        };
        limit.source.warning(value.span(), message, help);
    }
    let body = limit.read(
        "body",
        |value, source| size(value, max.body, granted_by, source),
        default.body,
        max.body,
        show_size,
    );
    let concurrency =
        limit.read("concurrency", number, default.concurrency.into(), max.concurrency.into(), count);
    Some(Limits {
        timeout: timeout?,
        operations: operations?,
        memory: memory?,
        body: body?,
        concurrency: concurrency?.try_into().ok()?,
    })
}

/// The flag of `picloud apps limits` that raises the ceiling of a key.
fn flag(key: &str) -> &str {
    if key == "memory" { "script-memory" } else { key }
}

struct Reader<'r, 't, 's> {
    table: &'r Table<'t>,
    ceiling: &'r Ceiling,
    source: &'r mut Source<'s>,
}

impl<'t, 's> Reader<'_, 't, 's> {
    /// Reads the limit `key`, above zero and up to `max`.
    fn read<T: Copy + Default + PartialOrd>(
        &mut self,
        key: &'static str,
        read: impl Fn(Value<'t>, &mut Source<'s>) -> Option<T>,
        default: T,
        max: T,
        show: impl Fn(T) -> String,
    ) -> Option<T> {
        let Some(value) = self.table.get(key) else { return Some(default) };
        let requested = read(value, self.source)?;
        if requested <= T::default() {
            self.source.error(value.span(), format!("`{key}` must be above zero"));
            return None;
        }
        if requested > max {
            let (requested, max, granted_by) = (show(requested), show(max), self.ceiling.granted_by());
            let help = self.ceiling.help(flag(key), &requested);
            let message = format!("`{key}` is {requested}, more than the {max} that {granted_by}");
            self.source.error_with(value.span(), message, Some(help));
            return None;
        }
        Some(requested)
    }
}

fn duration(value: Value<'_>, max: Duration, granted_by: &str, source: &mut Source<'_>) -> Option<Duration> {
    const WANTED: &str = "a duration such as `\"5s\"`, `\"500ms\"` or `\"1m\"`";
    let write = |suggested: Duration| match suggested <= max {
        true => format!("write `\"{}\"`", show_duration(suggested)),
        false => format!("write `\"{}\"`, the most that {granted_by}", show_duration(max)),
    };
    let Some(text) = value.as_str() else {
        // A bare number means seconds, or milliseconds if the seconds exceed the maximum.
        let help = value.number_source(source).and_then(|number| {
            let seconds = suggest_duration(&format!("{number}s"))?;
            let milliseconds = suggest_duration(&format!("{number}ms"))?;
            Some(if seconds > max && milliseconds <= max { write(milliseconds) } else { write(seconds) })
        });
        return value.type_error(WANTED, help, source);
    };
    let duration = parse_duration(text);
    if duration.is_none() {
        let message = invalid("timeout", WANTED, quoted(text));
        source.error_with(value.span(), message, suggest_duration(text).map(write));
    }
    duration
}

fn size(value: Value<'_>, max: u64, granted_by: &str, source: &mut Source<'_>) -> Option<u64> {
    const WANTED: &str = "a size such as `\"64MiB\"` or `\"512KiB\"`, or a number of bytes";
    if value.as_integer().is_some() {
        return number(value, source);
    }
    let Some(text) = value.as_str() else { return value.type_error(WANTED, None, source) };
    let size = parse_size(text);
    if size.is_none() {
        // So few bytes are too little memory: the unit is missing.
        let is_bare = value.key() == "memory" && text.bytes().all(|b| b.is_ascii_digit());
        let as_mebibytes = parse_size(&format!("{text}MiB")).filter(|_| is_bare);
        let suggested = suggest_size(text);
        let suggested = if suggested.is_some_and(|bytes| bytes < SCRIPT_MEMORY_MIN) {
            as_mebibytes.or(suggested)
        } else {
            suggested
        };
        let help = suggested.map(|suggested| match suggested <= max {
            true => format!("write `\"{}\"`", show_size(suggested)),
            false => format!("write `\"{}\"`, the most that {granted_by}", show_size(max)),
        });
        source.error_with(value.span(), invalid(value.key(), WANTED, quoted(text)), help);
    }
    size
}

/// Reads a number. A negative one becomes zero, which the caller rejects.
fn number(value: Value<'_>, source: &mut Source<'_>) -> Option<u64> {
    if let Some(text) = value.as_str() {
        let digits: String = text.chars().filter(|c| !matches!(c, '_' | ',' | '\'' | ' ')).collect();
        let help =
            digits.parse::<u64>().ok().map(|number| format!("write `{number}` without quotation marks"));
        return value.type_error("an integer", help, source);
    }
    if let Some(written) = value.number_source(source).filter(|_| value.as_integer().is_none()) {
        let help = written.strip_suffix(".0").map(|whole| format!("write `{whole}`"));
        return value.type_error("an integer", help, source);
    }
    value.integer(source).map(|number| u64::try_from(number.max(0)).unwrap_or(u64::MAX))
}

fn invalid(key: &str, wanted: &str, found: impl Display) -> String {
    format!("`{key}` must be {wanted}, not {found}")
}
