//! `[limits]`: the limits of each execution, up to the ceiling; and since SDK 1.3 those of a route, up to these, and the
//! timeout of a schedule.

use std::fmt::Display;
use std::time::Duration;

use crate::diagnostic::quoted;
use crate::limits::{Ceiling, Limits, RouteLimits};
use crate::sdk::SdkVersion;
use crate::source::Source;
use crate::table::{Keys, Table, Value};
use crate::units::{parse_duration, parse_size, show_duration, show_size, suggest_duration, suggest_size};

pub(super) const KEYS: Keys =
    Keys { known: &["timeout", "operations", "memory", "body", "concurrency"], reserved: &[] };

/// The keys of the limits of a route.
pub(super) const ROUTE_KEYS: Keys =
    Keys { known: &["timeout", "operations", "memory", "body"], reserved: &[] };

/// The first version with limits of routes and schedules.
const SINCE: SdkVersion = SdkVersion::V1_3;

/// Every script needs more memory than this, in bytes. A smaller value probably lacks its unit.
const SCRIPT_MEMORY_MIN: u64 = 4096;

/// Reads `[limits]`. Missing keys have their defaults, even above the ceiling, since each execution is clamped to it.
pub(super) fn read(value: Option<Value<'_>>, ceiling: &Ceiling, source: &mut Source<'_>) -> Option<Limits> {
    let default = Limits::DEFAULT;
    let Some(value) = value else { return Some(default) };
    let table = &value.table("[limits]", &KEYS, source)?;
    let mut limit = Reader { table, maximum: Maximum::Ceiling(ceiling), source };
    let timeout = limit.timeout();
    let operations = limit.operations();
    let memory = limit.memory();
    let body = limit.body();
    let max = u64::from(ceiling.executions.concurrency);
    let concurrency = limit.read("concurrency", number, max, |number| number.to_string());
    Some(Limits {
        timeout: timeout?.unwrap_or(default.timeout),
        operations: operations?.unwrap_or(default.operations),
        memory: memory?.unwrap_or(default.memory),
        body: body?.unwrap_or(default.body),
        concurrency: concurrency?.map_or(Some(default.concurrency), |number| number.try_into().ok())?,
    })
}

/// Reads `limits` of a route, at most those of the app; `None` for the app if they are invalid.
pub(super) fn of_route(
    route: &Table<'_>,
    app: Option<&Limits>,
    sdk: Option<SdkVersion>,
    source: &mut Source<'_>,
) -> Option<RouteLimits> {
    let Some(value) = route.get("limits") else { return Some(RouteLimits::default()) };
    check_version(route, "limits", "a route", sdk, source)?;
    let table = &value.table("limits = { ... }", &ROUTE_KEYS, source)?;
    let mut limit = Reader { table, maximum: Maximum::App(app.unwrap_or(&Limits::UNBOUNDED)), source };
    let (timeout, operations) = (limit.timeout(), limit.operations());
    let (memory, body) = (limit.memory(), limit.body());
    Some(RouteLimits { timeout: timeout?, operations: operations?, memory: memory?, body: body? })
}

/// Reads `timeout` of a schedule, at most the ceiling: the limits of the app are for requests, which are shorter.
pub(super) fn timeout_of_schedule(
    schedule: &Table<'_>,
    ceiling: &Ceiling,
    sdk: Option<SdkVersion>,
    source: &mut Source<'_>,
) -> Option<Option<Duration>> {
    if schedule.get("timeout").is_some() {
        check_version(schedule, "timeout", "a schedule", sdk, source)?;
    }
    Reader { table: schedule, maximum: Maximum::Ceiling(ceiling), source }.timeout()
}

/// Reports a key that the SDK version of the manifest does not have.
fn check_version(
    table: &Table<'_>,
    key: &'static str,
    of: &str,
    sdk: Option<SdkVersion>,
    source: &mut Source<'_>,
) -> Option<()> {
    let (Some(sdk), Some(span)) = (sdk.filter(|sdk| *sdk < SINCE), table.key_span(key)) else {
        return Some(());
    };
    let message = format!("`{key}` of {of} requires sdk {SINCE}, this manifest has {sdk}");
    source.error_with(span, message, Some(format!("set `sdk = \"{SINCE}\"`")));
    None
}

/// The flag of `picloud apps limits` that raises the ceiling of a key.
fn flag(key: &str) -> &str {
    if key == "memory" { "script-memory" } else { key }
}

/// What a limit can be at most.
#[derive(Clone, Copy)]
enum Maximum<'r> {
    /// What the server grants.
    Ceiling(&'r Ceiling),
    /// The limits of the app.
    App(&'r Limits),
}

impl<'r> Maximum<'r> {
    fn limits(self) -> &'r Limits {
        match self {
            Self::Ceiling(ceiling) => &ceiling.executions,
            Self::App(limits) => limits,
        }
    }

    /// The subject of the message: who sets the maximum.
    fn set_by(self) -> &'static str {
        match self {
            Self::Ceiling(ceiling) => ceiling.granted_by(),
            Self::App(_) => "[limits] allows",
        }
    }

    fn help(self, key: &str, requested: &str) -> String {
        match self {
            Self::Ceiling(ceiling) => ceiling.help(flag(key), requested),
            Self::App(_) => format!("lower it, or raise `{key}` in [limits]: a route can only have less"),
        }
    }
}

struct Reader<'r, 't, 's> {
    table: &'r Table<'t>,
    maximum: Maximum<'r>,
    source: &'r mut Source<'s>,
}

impl<'t, 's> Reader<'_, 't, 's> {
    fn timeout(&mut self) -> Option<Option<Duration>> {
        let (max, set_by) = (self.maximum.limits().timeout, self.maximum.set_by());
        self.read("timeout", |value, source| duration(value, max, set_by, source), max, show_duration)
    }

    fn operations(&mut self) -> Option<Option<u64>> {
        self.read("operations", number, self.maximum.limits().operations, |number| number.to_string())
    }

    fn memory(&mut self) -> Option<Option<u64>> {
        let (max, set_by) = (self.maximum.limits().memory, self.maximum.set_by());
        let memory = self.read("memory", |value, source| size(value, max, set_by, source), max, show_size)?;
        if let (Some(memory), Some(value)) = (memory, self.table.get("memory"))
            && memory < SCRIPT_MEMORY_MIN
        {
            let message = format!("`memory` is {}, too little for any script", show_size(memory));
            let suggested = format!("{memory}MiB");
            let help = match parse_size(&suggested).is_some_and(|suggested| suggested <= max) {
                true => format!("write `\"{suggested}\"`"),
                false => format!("write `\"{}\"`", show_size(Limits::DEFAULT.memory.min(max))),
            };
            self.source.warning(value.span(), message, help);
        }
        Some(memory)
    }

    fn body(&mut self) -> Option<Option<u64>> {
        let (max, set_by) = (self.maximum.limits().body, self.maximum.set_by());
        self.read("body", |value, source| size(value, max, set_by, source), max, show_size)
    }

    /// Reads the limit `key`, above zero and up to `max`; `Some(None)` if it is not set.
    fn read<T: Copy + Default + PartialOrd>(
        &mut self,
        key: &'static str,
        read: impl Fn(Value<'t>, &mut Source<'s>) -> Option<T>,
        max: T,
        show: impl Fn(T) -> String,
    ) -> Option<Option<T>> {
        let Some(value) = self.table.get(key) else { return Some(None) };
        let requested = read(value, self.source)?;
        if requested <= T::default() {
            self.source.error(value.span(), format!("`{key}` must be above zero"));
            return None;
        }
        if requested > max {
            let (requested, max, set_by) = (show(requested), show(max), self.maximum.set_by());
            let help = self.maximum.help(key, &requested);
            let message = format!("`{key}` is {requested}, more than the {max} that {set_by}");
            self.source.error_with(value.span(), message, Some(help));
            return None;
        }
        Some(Some(requested))
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
