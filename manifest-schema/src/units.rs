//! Durations and sizes as people write them, in manifests and settings: `500ms`, `5s`, `1m`; `512KiB`, `64MiB`, `1GiB`.

use std::time::Duration;

/// A duration as it is written, for the schema.
pub(crate) enum DurationText {}

/// A size as it is written, for the schema.
pub(crate) enum Size {}

/// Units of time, in milliseconds, the greatest first.
const TIME_UNITS: [(&str, u64); 3] = [("m", 60_000), ("s", 1_000), ("ms", 1)];

/// Units of size, in bytes, the greatest first.
const SIZE_UNITS: [(&str, u64); 4] = [("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10), ("B", 1)];

/// The duration written as `text`: digits and a unit. One beyond what a [`u64`] of milliseconds holds is the longest.
pub fn parse_duration(text: &str) -> Option<Duration> {
    parse(text, &TIME_UNITS).map(Duration::from_millis)
}

/// The number of bytes written as `text`: digits and a unit. One beyond what a [`u64`] holds is the greatest.
pub fn parse_size(text: &str) -> Option<u64> {
    parse(text, &SIZE_UNITS)
}

/// The duration that is meant by a text which [`parse_duration`] does not take: `1m30s`, `1.5s`, `10h`, `5 sec`, `30`. It is above zero.
pub(crate) fn duration_meant(text: &str) -> Option<Duration> {
    let text = text.trim().to_ascii_lowercase();
    if text.bytes().all(|b| b.is_ascii_digit()) {
        return duration_meant(&format!("{text}s")).filter(|_| !text.is_empty());
    }
    let (mut milliseconds, mut rest) = (0.0, text.as_str());
    while !rest.is_empty() {
        let (number, behind) = split_number(rest)?;
        let unit = behind.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(behind.len());
        let factor = match &behind[..unit] {
            "ms" | "msec" | "millis" | "millisecond" | "milliseconds" => 1.0,
            "s" | "sec" | "secs" | "second" | "seconds" => 1_000.0,
            "m" | "min" | "mins" | "minute" | "minutes" => 60_000.0,
            "h" | "hr" | "hrs" | "hour" | "hours" => 3_600_000.0,
            "d" | "day" | "days" => 86_400_000.0,
            _ => return None,
        };
        milliseconds += number * factor;
        rest = behind[unit..].trim_start();
    }
    let duration = Duration::try_from_secs_f64((milliseconds / 1_000.0 * 1_000.0).round() / 1_000.0).ok()?;
    (duration > Duration::ZERO).then_some(duration)
}

/// The number of bytes that is meant by a text which [`parse_size`] does not take: `64MB`, `64 mib`, `1.5GiB`, `64`. It is above zero.
pub(crate) fn size_meant(text: &str) -> Option<u64> {
    let text = text.trim().to_ascii_lowercase();
    let (number, unit) = split_number(&text)?;
    // Decimal units are what is written, binary ones what is counted in.
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

/// A number such as `1.5` at the beginning of a text, and what stands behind it and blanks.
fn split_number(text: &str) -> Option<(f64, &str)> {
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, rest) = text.split_at(end);
    Some((number.parse().ok()?, rest.trim_start()))
}

/// The duration as [`parse_duration`] reads it, in the greatest unit that is exact, but seconds rather than minutes.
pub fn show_duration(duration: Duration) -> String {
    let milliseconds = u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
    show(milliseconds, &TIME_UNITS[1..])
}

/// The size as [`parse_size`] reads it, in the greatest unit that is exact.
pub fn show_size(bytes: u64) -> String {
    show(bytes, &SIZE_UNITS)
}

fn parse(text: &str, units: &[(&str, u64)]) -> Option<u64> {
    let (digits, unit) = text.split_at(text.find(|c: char| !c.is_ascii_digit())?);
    let (_, factor) = units.iter().find(|(name, _)| *name == unit)?;
    if digits.is_empty() {
        return None;
    }
    // Digits alone fail to parse only when they are too many.
    Some(digits.parse().unwrap_or(u64::MAX).saturating_mul(*factor))
}

fn show(amount: u64, units: &[(&str, u64)]) -> String {
    let exact = units.iter().find(|(_, factor)| amount >= *factor && amount.is_multiple_of(*factor));
    let (unit, factor) = exact.or(units.last()).copied().unwrap_or(("", 1));
    format!("{}{unit}", amount / factor)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_have_a_unit() {
        for (text, milliseconds) in
            [("500ms", 500), ("5s", 5_000), ("1m", 60_000), ("0s", 0), ("007s", 7_000)]
        {
            assert_eq!(parse_duration(text), Some(Duration::from_millis(milliseconds)), "{text}");
        }
        for bad in ["", "5", "s", "5 s", "-5s", "+5s", "1.5s", "5S", "5h", "5sec", "1m30s", "٣s"] {
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
    fn what_no_number_holds_is_the_greatest() {
        assert_eq!(parse_size("99999999999999999999999B"), Some(u64::MAX));
        assert_eq!(parse_size("99999999999GiB"), Some(u64::MAX));
        assert_eq!(parse_duration("99999999999999999999m"), Some(Duration::from_millis(u64::MAX)));
    }

    #[test]
    fn what_is_shown_reads_back_the_same() {
        for milliseconds in [0, 1, 999, 1_000, 1_500, 60_000, 90_000] {
            let duration = Duration::from_millis(milliseconds);
            assert_eq!(parse_duration(&show_duration(duration)), Some(duration));
        }
        for bytes in [0, 1, 1023, 1024, 1536, 64 << 20, 3 << 30] {
            assert_eq!(parse_size(&show_size(bytes)), Some(bytes));
        }
        assert_eq!(
            (show_duration(Duration::from_secs(60)), show_size(64 << 20)),
            ("60s".into(), "64MiB".into())
        );
    }
}
