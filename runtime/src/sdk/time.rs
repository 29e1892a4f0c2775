//! `time`: the time of the execution, calendars and formats.
//!
//! Times are integers: milliseconds since 1970 in UTC. Calendars follow the time zone data that schedules use
//! ([`manifest_schema::zone`]).

use jiff::civil::{Date, DateTime, Time};
use jiff::fmt::rfc2822::{DateTimeParser, DateTimePrinter};
use jiff::fmt::strtime::{self, BrokenDownTime};
use jiff::tz::TimeZone;
use jiff::{Span, Timestamp, Zoned};
use manifest_schema::diagnostic::Suggestions;
use manifest_schema::sdk::SdkVersion;
use manifest_schema::zone::zone_data;
use rhai::{Dynamic, ImmutableString, Map};

use super::call::{Call, Outcome, quoted};
use super::signature::{Function, Kinds, Parameter, SdkModule};
use crate::run_context;

/// The maximum length of a pattern, and of a text that is parsed, in bytes.
const TEXT_MAX: usize = 1024;

const MS: Parameter = Parameter::new("ms", Kinds::INTEGER);
const PATTERN: Parameter = Parameter::new("pattern", Kinds::TEXT);
const ZONE: Parameter = Parameter::new("zone", Kinds::TEXT);

const OUT_OF_RANGE: &str = "… is not a time between the years -9999 and 9999";
const UNKNOWN_ZONE: &str = "unknown time zone `…`…";
const INVALID_PATTERN: &str = "invalid pattern `…`: …";
const TOO_LONG: &str = "the text is longer than … bytes";

/// The module `time`.
pub(super) const MODULE: SdkModule = SdkModule {
    name: "time",
    since: SdkVersion::V1_3,
    summary: "Times, as milliseconds since 1970.",
    functions: &[
        Function {
            name: "now",
            parameters: &[],
            required: 0,
            returns: "integer",
            summary: "When the execution began. It does not change within an execution.",
            errors: &[],
            run: |_| Ok(run_context::now_ms().into()),
        },
        Function {
            name: "format",
            parameters: &[MS, PATTERN, ZONE],
            required: 2,
            returns: "text",
            summary: "A time as text, by a pattern of strftime such as `%Y-%m-%d %H:%M`; in UTC without `zone`.",
            errors: &[OUT_OF_RANGE, UNKNOWN_ZONE, INVALID_PATTERN, TOO_LONG],
            run: format,
        },
        Function {
            name: "parse",
            parameters: &[Parameter::new("text", Kinds::TEXT), PATTERN, ZONE],
            required: 1,
            returns: "integer or ()",
            summary: "The time that a text names: by a pattern of strptime, else in RFC 3339, ISO 8601 or RFC 2822; \
                      `()` if it names none. A text without an offset is in `zone`, or in UTC.",
            errors: &[UNKNOWN_ZONE, INVALID_PATTERN, TOO_LONG],
            run: parse,
        },
        Function {
            name: "rfc3339",
            parameters: &[MS, ZONE],
            required: 1,
            returns: "text",
            summary: "A time such as `2026-01-02T03:04:05.678Z`, or with the offset of `zone`.",
            errors: &[OUT_OF_RANGE, UNKNOWN_ZONE],
            run: rfc3339,
        },
        Function {
            name: "http",
            parameters: &[MS],
            required: 1,
            returns: "text",
            summary: "A time as in HTTP headers, such as `Fri, 02 Jan 2026 03:04:05 GMT`.",
            errors: &[OUT_OF_RANGE, "HTTP has no time before the year 0"],
            run: http,
        },
        Function {
            name: "parts",
            parameters: &[MS, ZONE],
            required: 1,
            returns: "map",
            summary: "The date and the time on the clock: `year`, `month`, `day`, `hour`, `minute`, `second`, `ms`, \
                      `weekday` (1 is Monday), `yearday` and `zone`.",
            errors: &[OUT_OF_RANGE, UNKNOWN_ZONE],
            run: parts,
        },
        Function {
            name: "from_parts",
            parameters: &[Parameter::new("parts", Kinds::MAP), ZONE],
            required: 1,
            returns: "integer",
            summary: "The time of a date and a time on the clock, as `time::parts` gives them; only `year` is required.",
            errors: &[
                UNKNOWN_ZONE,
                "unknown part `…`…",
                "`parts` has no `year`",
                "`…` must be an integer",
                "there is no …-…-… …:…:…",
            ],
            run: from_parts,
        },
        Function {
            name: "plus",
            parameters: &[MS, Parameter::new("duration", Kinds::TEXT), ZONE],
            required: 2,
            returns: "integer",
            summary: "A time later by a duration such as `1 month`, `2 days 3 hours` or `-90m`; days and months follow \
                      the calendar of `zone`, or of UTC.",
            errors: &[
                OUT_OF_RANGE,
                UNKNOWN_ZONE,
                TOO_LONG,
                "`…` is not a duration such as \"1 month\" or \"90m\"",
                "the result is not a time between the years -9999 and 9999",
            ],
            run: plus,
        },
    ],
};

/// The time zone in an argument.
fn zone(call: &Call<'_, '_>, index: usize) -> Outcome<TimeZone> {
    match call.optional_text(index) {
        None => Ok(TimeZone::UTC),
        Some(name) => zone_named(call, &name),
    }
}

fn zone_named(call: &Call<'_, '_>, name: &str) -> Outcome<TimeZone> {
    let data = zone_data();
    if let (Some(zone), _) = data.find(name) {
        return Ok(zone.rules().clone());
    }
    call.charge(1000)?;
    let near = Suggestions::default().did_you_mean(name, data.names().iter().copied());
    let help = near.map_or_else(String::new, |near| format!("; {near}"));
    call.fail(format!("unknown time zone `{}`{help}", quoted(name)))
}

/// The time in an argument.
fn timestamp(call: &Call<'_, '_>, index: usize) -> Outcome<Timestamp> {
    let ms = call.integer(index);
    Timestamp::from_millisecond(ms).or_else(|_| out_of_range(call, ms))
}

fn out_of_range<T>(call: &Call<'_, '_>, ms: i64) -> Outcome<T> {
    call.fail(format!("{ms} is not a time between the years -9999 and 9999"))
}

fn zoned(call: &Call<'_, '_>, zone_index: usize) -> Outcome<Zoned> {
    Ok(timestamp(call, 0)?.to_zoned(zone(call, zone_index)?))
}

/// A text argument of limited length.
fn short_text(call: &Call<'_, '_>, index: usize) -> Outcome<ImmutableString> {
    let text = call.text(index);
    if text.len() > TEXT_MAX {
        return call.fail(format!("the text is longer than {TEXT_MAX} bytes"));
    }
    call.charge(text.len())?;
    Ok(text)
}

/// A pattern that can format every time.
fn pattern(call: &Call<'_, '_>, index: usize) -> Outcome<ImmutableString> {
    let pattern = short_text(call, index)?;
    match strtime::format(pattern.as_bytes(), &Timestamp::UNIX_EPOCH.to_zoned(TimeZone::UTC)) {
        Ok(_) => Ok(pattern),
        Err(error) => call.fail(format!("invalid pattern `{}`: {error}", quoted(&pattern))),
    }
}

fn format(call: &Call<'_, '_>) -> Outcome<Dynamic> {
    let (time, pattern) = (zoned(call, 2)?, pattern(call, 1)?);
    match strtime::format(pattern.as_bytes(), &time) {
        Ok(text) => Ok(text.into()),
        Err(error) => call.fail(format!("invalid pattern `{}`: {error}", quoted(&pattern))),
    }
}

fn parse(call: &Call<'_, '_>) -> Outcome<Dynamic> {
    let (text, zone) = (short_text(call, 0)?, zone(call, 2)?);
    let found = match call.has(1) {
        true => {
            let pattern = pattern(call, 1)?;
            BrokenDownTime::parse(pattern.as_bytes(), text.as_bytes()).ok().and_then(|parsed| {
                parsed.to_timestamp().ok().or_else(|| {
                    let date = parsed.to_date().ok()?;
                    let time = parsed.to_time().unwrap_or(Time::midnight());
                    in_zone(date.to_datetime(time), zone)
                })
            })
        }
        false => standard_form(text.trim(), zone),
    };
    Ok(found.map_or(Dynamic::UNIT, |time| time.as_millisecond().into()))
}

/// Parses RFC 3339, ISO 8601 and RFC 2822.
pub(super) fn standard_form(text: &str, zone: TimeZone) -> Option<Timestamp> {
    if let Ok(time) = text.parse::<Timestamp>() {
        return Some(time);
    }
    if let Ok(time) = DateTimeParser::new().parse_timestamp(text) {
        return Some(time);
    }
    let date = text.parse::<DateTime>().or_else(|_| text.parse::<Date>().map(|date| date.at(0, 0, 0, 0)));
    in_zone(date.ok()?, zone)
}

/// The time of a clock. A time that occurs twice is the first one; one that is skipped is as much later.
fn in_zone(at: DateTime, zone: TimeZone) -> Option<Timestamp> {
    zone.to_ambiguous_timestamp(at).compatible().ok()
}

fn rfc3339(call: &Call<'_, '_>) -> Outcome<Dynamic> {
    let time = timestamp(call, 0)?;
    if !call.has(1) {
        return Ok(time.to_string().into());
    }
    let offset = zone(call, 1)?.to_offset(time);
    Ok(time.display_with_offset(offset).to_string().into())
}

fn http(call: &Call<'_, '_>) -> Outcome<Dynamic> {
    let time = timestamp(call, 0)?;
    match DateTimePrinter::new().timestamp_to_rfc9110_string(&time) {
        Ok(text) => Ok(text.into()),
        Err(_) => call.fail("HTTP has no time before the year 0"),
    }
}

fn parts(call: &Call<'_, '_>) -> Outcome<Dynamic> {
    let time = zoned(call, 1)?;
    let numbers = [
        ("year", i64::from(time.year())),
        ("month", time.month().into()),
        ("day", time.day().into()),
        ("hour", time.hour().into()),
        ("minute", time.minute().into()),
        ("second", time.second().into()),
        ("ms", time.millisecond().into()),
        ("weekday", time.weekday().to_monday_one_offset().into()),
        ("yearday", time.day_of_year().into()),
    ];
    let mut parts: Map = numbers.into_iter().map(|(name, number)| (name.into(), number.into())).collect();
    let zone = call.optional_text(1).unwrap_or_else(|| "UTC".into());
    parts.insert("zone".into(), zone.into());
    Ok(Dynamic::from_map(parts))
}

/// The names of [`from_parts`]: those with a value, and those that follow from them.
const PARTS: [(&str, i64); 7] =
    [("year", 0), ("month", 1), ("day", 1), ("hour", 0), ("minute", 0), ("second", 0), ("ms", 0)];
const DERIVED_PARTS: [&str; 3] = ["weekday", "yearday", "zone"];

fn from_parts(call: &Call<'_, '_>) -> Outcome<Dynamic> {
    call.with_map(0, |map| {
        let known = || PARTS.iter().map(|(name, _)| *name).chain(DERIVED_PARTS);
        if let Some(unknown) = map.keys().find(|key| known().all(|name| name != key.as_str())) {
            let near = Suggestions::default().did_you_mean(unknown, known().collect::<Vec<_>>().into_iter());
            let help = near.map_or_else(String::new, |near| format!("; {near}"));
            return call.fail(format!("unknown part `{}`{help}", quoted(unknown)));
        }
        if !map.contains_key("year") {
            return call.fail("`parts` has no `year`");
        }
        let mut numbers = [0; PARTS.len()];
        for ((name, default), number) in PARTS.iter().zip(&mut numbers) {
            *number = match map.get(*name) {
                None => *default,
                Some(value) => match value.as_int() {
                    Ok(value) => value,
                    Err(_) => return call.fail(format!("`{name}` must be an integer")),
                },
            };
        }
        let zone = match (call.has(1), map.get("zone").and_then(|zone| zone.read_lock::<ImmutableString>())) {
            (false, Some(named)) => zone_named(call, &named)?,
            _ => zone(call, 1)?,
        };
        let [year, month, day, hour, minute, second, ms] = numbers;
        let time = civil(year, [month, day, hour, minute, second], ms).and_then(|at| in_zone(at, zone));
        match time {
            Some(time) => Ok(time.as_millisecond().into()),
            None => {
                call.fail(format!("there is no {year}-{month:02}-{day:02} {hour:02}:{minute:02}:{second:02}"))
            }
        }
    })
}

fn civil(year: i64, fields: [i64; 5], ms: i64) -> Option<DateTime> {
    let [month, day, hour, minute, second] = fields.map(|field| i8::try_from(field).ok());
    let nanosecond = i32::try_from(ms.checked_mul(1_000_000)?).ok()?;
    DateTime::new(year.try_into().ok()?, month?, day?, hour?, minute?, second?, nanosecond).ok()
}

fn plus(call: &Call<'_, '_>) -> Outcome<Dynamic> {
    let (time, text) = (zoned(call, 2)?, short_text(call, 1)?);
    let Ok(span) = text.parse::<Span>() else {
        return call.fail(format!("`{}` is not a duration such as \"1 month\" or \"90m\"", quoted(&text)));
    };
    match time.checked_add(span) {
        Ok(later) => Ok(later.timestamp().as_millisecond().into()),
        Err(_) => call.fail("the result is not a time between the years -9999 and 9999"),
    }
}
