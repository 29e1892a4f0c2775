//! `[limits]`: what one execution may use, up to what the server grants.

use std::fmt::Display;
use std::time::Duration;

use crate::fault::quoted;
use crate::limits::Limits;
use crate::quantity::{parse_duration, parse_size, show_duration, show_size};
use crate::source::Source;
use crate::table::{Keys, Table, Value};

pub(super) const KEYS: Keys =
    Keys { known: &["timeout", "operations", "memory", "body", "concurrency"], not_yet: &[] };

/// Reads `[limits]`; what it leaves out is the default, or the ceiling where that is lower.
pub(super) fn read(value: Option<Value<'_>>, ceiling: &Limits, source: &mut Source<'_>) -> Option<Limits> {
    let default = Limits::DEFAULT.within(ceiling);
    let Some(value) = value else { return Some(default) };
    let table = &value.table("[limits]", &KEYS, source)?;
    let timeout = limit(table, "timeout", duration, default.timeout, ceiling.timeout, show_duration, source);
    let count = |number: u64| number.to_string();
    let operations =
        limit(table, "operations", number, default.operations, ceiling.operations, count, source);
    let memory = limit(table, "memory", size, default.memory, ceiling.memory, show_size, source);
    let body = limit(table, "body", size, default.body, ceiling.body, show_size, source);
    let most = u64::from(ceiling.concurrency);
    let concurrency = limit(table, "concurrency", number, default.concurrency.into(), most, count, source);
    Some(Limits {
        timeout: timeout?,
        operations: operations?,
        memory: memory?,
        body: body?,
        concurrency: concurrency?.try_into().ok()?,
    })
}

/// The limit `key` as `read` understands it, above nothing and up to `ceiling`.
fn limit<'t, T: Copy + Default + PartialOrd>(
    table: &Table<'t>,
    key: &'static str,
    read: impl Fn(Value<'t>, &mut Source<'_>) -> Option<T>,
    default: T,
    ceiling: T,
    show: impl Fn(T) -> String,
    source: &mut Source<'_>,
) -> Option<T> {
    let Some(value) = table.get(key) else { return Some(default) };
    let limit = read(value, source)?;
    if T::default() < limit && limit <= ceiling {
        return Some(limit);
    }
    let rule = format!("must be above zero and at most {}, which is what this server grants", show(ceiling));
    source.error(value.span(), format!("`{key}` {rule}"));
    None
}

fn duration(value: Value<'_>, source: &mut Source<'_>) -> Option<Duration> {
    const WANTED: &str = "a duration such as `\"5s\"`, `\"500ms\"` or `\"1m\"`";
    let Some(text) = value.as_str() else {
        let advice = value.as_integer().map(|number| format!("write `\"{number}s\"` for seconds"));
        return value.refuse(WANTED, advice, source);
    };
    let duration = parse_duration(text);
    if duration.is_none() {
        source.error(value.span(), not("timeout", WANTED, quoted(text)));
    }
    duration
}

fn size(value: Value<'_>, source: &mut Source<'_>) -> Option<u64> {
    const WANTED: &str = "a size such as `\"64MiB\"` or `\"512KiB\"`, or a number of bytes";
    if value.as_integer().is_some() {
        return number(value, source);
    }
    let Some(text) = value.as_str() else { return value.refuse(WANTED, None, source) };
    let size = parse_size(text);
    if size.is_none() {
        // Decimal units are what was written, binary ones what is counted in.
        let binary = ["K", "M", "G"]
            .iter()
            .find_map(|unit| text.strip_suffix(&format!("{unit}B")).map(|n| format!("{n}{unit}iB")));
        let advice = binary
            .filter(|binary| parse_size(binary).is_some())
            .map(|binary| format!("did you mean `{binary}`?"));
        source.error_with(value.span(), not(value.key(), WANTED, quoted(text)), advice);
    }
    size
}

/// A number; below zero it is zero, which is refused alike.
fn number(value: Value<'_>, source: &mut Source<'_>) -> Option<u64> {
    value.integer(source).map(|number| u64::try_from(number.max(0)).unwrap_or(u64::MAX))
}

fn not(key: &str, wanted: &str, found: impl Display) -> String {
    format!("`{key}` must be {wanted}, not {found}")
}
