//! Durations and sizes in manifests, flags and settings: `500ms`, `5s`, `1m`, `2h`, `30d`, `2w`; `512KiB`, `64MiB`, `1GiB`.

use std::time::Duration;

/// A duration in the JSON Schema.
pub(crate) enum DurationText {}

/// A size in the JSON Schema.
pub(crate) enum Size {}

/// Units of time in milliseconds, in descending order.
const TIME_UNITS: [(&str, u64); 6] =
    [("w", 604_800_000), ("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1_000), ("ms", 1)];

/// Units of size in bytes, in descending order.
const SIZE_UNITS: [(&str, u64); 4] = [("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10), ("B", 1)];

/// Parses a duration: digits and a unit of `ms`, `s`, `m`, `h`, `d`, `w`. Saturates at [`u64::MAX`] milliseconds.
pub fn parse_duration(text: &str) -> Option<Duration> {
    parse(text, &TIME_UNITS).map(Duration::from_millis)
}

/// Parses a size: digits and a unit of `B`, `KiB`, `MiB`, `GiB`. Saturates at [`u64::MAX`] bytes.
pub fn parse_size(text: &str) -> Option<u64> {
    parse(text, &SIZE_UNITS)
}

/// The likely meaning of a text that [`parse_duration`] rejects: `1m30s`, `1.5s`, `5 sec`, `30`. Never zero.
pub(crate) fn suggest_duration(text: &str) -> Option<Duration> {
    let text = text.trim().to_ascii_lowercase();
    if text.bytes().all(|b| b.is_ascii_digit()) {
        return suggest_duration(&format!("{text}s")).filter(|_| !text.is_empty());
    }
    let (mut milliseconds, mut rest) = (0.0, text.as_str());
    while !rest.is_empty() {
        let (number, after) = split_number(rest)?;
        let unit_length = after.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(after.len());
        let factor = match &after[..unit_length] {
            "ms" | "msec" | "millis" | "millisecond" | "milliseconds" => 1.0,
            "s" | "sec" | "secs" | "second" | "seconds" => 1_000.0,
            "m" | "min" | "mins" | "minute" | "minutes" => 60_000.0,
            "h" | "hr" | "hrs" | "hour" | "hours" => 3_600_000.0,
            "d" | "day" | "days" => 86_400_000.0,
            "w" | "week" | "weeks" => 604_800_000.0,
            _ => return None,
        };
        milliseconds += number * factor;
        rest = after[unit_length..].trim_start();
    }
    let duration = Duration::try_from_secs_f64((milliseconds / 1_000.0 * 1_000.0).round() / 1_000.0).ok()?;
    (duration > Duration::ZERO).then_some(duration)
}

/// The likely meaning of a text that [`parse_size`] rejects: `64MB`, `64 mib`, `1.5GiB`, `64`. Never zero.
pub(crate) fn suggest_size(text: &str) -> Option<u64> {
    let text = text.trim().to_ascii_lowercase();
    let (number, unit) = split_number(&text)?;
    // Decimal units are common in writing, but memory is counted in binary ones.
    let factor = match unit {
        "" | "b" | "byte" | "bytes" => 1,
        "k" | "kb" | "kib" => 1_u64 << 10,
        "m" | "mb" | "mib" => 1 << 20,
        "g" | "gb" | "gib" => 1 << 30,
        "t" | "tb" | "tib" => 1 << 40,
        _ => return None,
    };
    let bytes = (number * factor as f64).round();
    (bytes >= 1.0 && bytes < u64::MAX as f64).then_some(bytes as u64)
}

/// Splits a leading number such as `1.5` from the rest, without the blanks between them.
fn split_number(text: &str) -> Option<(f64, &str)> {
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, rest) = text.split_at(end);
    Some((number.parse().ok()?, rest.trim_start()))
}

/// Formats a duration for [`parse_duration`], in the largest exact unit with a value of 2 or more: `60s`, `2m`, `24h`,
/// `30d`. Weeks are shown as days.
pub fn show_duration(duration: Duration) -> String {
    let milliseconds = u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
    let is_shown = |factor: u64| milliseconds >= 2 * factor && milliseconds.is_multiple_of(factor);
    let (unit, factor) = match TIME_UNITS[1..4].iter().find(|(_, factor)| is_shown(*factor)) {
        Some(unit) => *unit,
        None => exact_unit(milliseconds, &TIME_UNITS[4..]),
    };
    format!("{}{unit}", milliseconds / factor)
}

/// Formats a size for [`parse_size`], in the largest exact unit.
pub fn show_size(bytes: u64) -> String {
    let (unit, factor) = exact_unit(bytes, &SIZE_UNITS);
    format!("{}{unit}", bytes / factor)
}

fn parse(text: &str, units: &[(&str, u64)]) -> Option<u64> {
    let (digits, unit) = text.split_at(text.find(|c: char| !c.is_ascii_digit())?);
    let (_, factor) = units.iter().find(|(name, _)| *name == unit)?;
    if digits.is_empty() {
        return None;
    }
    // Digits fail to parse only by overflow.
    Some(digits.parse().unwrap_or(u64::MAX).saturating_mul(*factor))
}

/// The largest of `units` in which `amount` is a whole number, else the last.
fn exact_unit<'u>(amount: u64, units: &[(&'u str, u64)]) -> (&'u str, u64) {
    let exact = units.iter().find(|(_, factor)| amount >= *factor && amount.is_multiple_of(*factor));
    exact.or(units.last()).copied().unwrap_or(("", 1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_have_a_unit() {
        for (text, milliseconds) in [
            ("500ms", 500),
            ("5s", 5_000),
            ("1m", 60_000),
            ("2h", 7_200_000),
            ("30d", 2_592_000_000),
            ("2w", 1_209_600_000),
            ("0s", 0),
            ("007s", 7_000),
        ] {
            assert_eq!(parse_duration(text), Some(Duration::from_millis(milliseconds)), "{text}");
        }
        for bad in ["", "5", "s", "5 s", "-5s", "+5s", "1.5s", "5S", "5M", "5y", "5sec", "1m30s", "٣s"] {
            assert_eq!(parse_duration(bad), None, "{bad}");
        }
    }

    #[test]
    fn sizes_have_a_binary_unit() {
        for (text, bytes) in [("7B", 7), ("512KiB", 512 << 10), ("64MiB", 64 << 20), ("1GiB", 1 << 30)] {
            assert_eq!(parse_size(text), Some(bytes), "{text}");
        }
        for bad in ["", "64", "MiB", "64MB", "64mib", "64 MiB", "1.5MiB"] {
            assert_eq!(parse_size(bad), None, "{bad}");
        }
    }

    #[test]
    fn overflowing_values_saturate() {
        assert_eq!(parse_size("99999999999999999999999B"), Some(u64::MAX));
        assert_eq!(parse_size("99999999999GiB"), Some(u64::MAX));
        assert_eq!(parse_duration("99999999999999999999m"), Some(Duration::from_millis(u64::MAX)));
        assert_eq!(parse_duration("99999999999999w"), Some(Duration::from_millis(u64::MAX)));
    }

    #[test]
    fn durations_are_shown_in_a_large_unit() {
        let shown = ["0ms", "1500ms", "1s", "1m", "90s", "5m", "1h", "24h", "1d", "7d", "2w", "52w", "365d"]
            .map(|text| show_duration(parse_duration(text).unwrap()));
        let expected =
            ["0ms", "1500ms", "1s", "60s", "90s", "5m", "60m", "24h", "24h", "7d", "14d", "364d", "365d"];
        assert_eq!(shown, expected);
    }

    #[test]
    fn shown_values_parse_to_the_same() {
        for milliseconds in [0, 1, 999, 1_000, 1_500, 60_000, 90_000, 7_200_000, 172_800_000, u64::MAX] {
            let duration = Duration::from_millis(milliseconds);
            assert_eq!(parse_duration(&show_duration(duration)), Some(duration));
        }
        for bytes in [0, 1, 1023, 1024, 1536, 64 << 20, 3 << 30] {
            assert_eq!(parse_size(&show_size(bytes)), Some(bytes));
        }
        assert_eq!(show_size(64 << 20), "64MiB");
    }
}
