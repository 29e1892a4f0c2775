//! Sizes, durations and rates on the command line: `32MiB`, `5m`, `64KiB/s`, and `off` where something can be switched off.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use manifest_schema::units::{parse_duration, parse_size, show_size};

/// The value that switches a limit off.
const OFF: &str = "off";

/// The longest period of retention: some hundred years, far from where dates end.
const RETENTION_MAX: Duration = Duration::from_secs(36_500 * DAY_SECS);

/// The shortest period of retention.
const RETENTION_MIN: Duration = Duration::from_secs(DAY_SECS);

const DAY_SECS: u64 = 24 * 60 * 60;

/// Units of a duration, in milliseconds, and from how many of them on a duration is shown in this unit.
const UNITS: [(&str, u64, u64); 5] =
    [("d", DAY_SECS * 1000, 2), ("h", 3_600_000, 2), ("m", 60_000, 2), ("s", 1000, 1), ("ms", 1, 0)];

/// A number of bytes: `32MiB`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Size(pub(crate) u64);

/// A duration: `5m`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct DurationValue(pub(crate) Duration);

/// A duration or `off`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct DurationOrOff(pub(crate) Option<Duration>);

/// A number of bytes a second: `64KiB/s`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Rate(pub(crate) u64);

/// A number of bytes a second or `off`, which is a rate of 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct RateOrOff(pub(crate) u64);

/// A period of retention: at least a day.
pub(super) fn parse_retention(text: &str) -> Result<DurationValue, String> {
    let DurationValue(period) = text.parse()?;
    if period < RETENTION_MIN || period > RETENTION_MAX {
        let (min, max) = (DurationValue(RETENTION_MIN), DurationValue(RETENTION_MAX));
        return Err(format!("must be between {min} and {max}"));
    }
    Ok(DurationValue(period))
}

/// A period of retention or `off`.
pub(super) fn parse_retention_or_off(text: &str) -> Result<DurationOrOff, String> {
    if text == OFF {
        return Ok(DurationOrOff(None));
    }
    match parse_retention(text) {
        Ok(DurationValue(period)) => Ok(DurationOrOff(Some(period))),
        Err(error) => Err(format!("{error}, or {OFF}")),
    }
}

/// A duration that dates can be moved by.
pub(super) fn parse_window(text: &str) -> Result<DurationValue, String> {
    let DurationValue(window) = text.parse()?;
    if window > RETENTION_MAX {
        return Err(format!("must be at most {}", DurationValue(RETENTION_MAX)));
    }
    Ok(DurationValue(window))
}

impl FromStr for Size {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        parse_size(text).map(Self).ok_or("write a size such as 512KiB, 32MiB or 1GiB")
    }
}

impl FromStr for DurationValue {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let long_units = [("h", 60 * 60), ("d", DAY_SECS), ("w", 7 * DAY_SECS)];
        let long = long_units.into_iter().find_map(|(unit, secs)| {
            let digits =
                text.strip_suffix(unit).filter(|digits| digits.bytes().all(|b| b.is_ascii_digit()))?;
            Some(Duration::from_secs(digits.parse::<u64>().ok()?.saturating_mul(secs)))
        });
        let parsed = long.or_else(|| parse_duration(text));
        parsed.map(Self).ok_or("write a duration such as 500ms, 30s, 5m, 2h or 30d")
    }
}

impl FromStr for DurationOrOff {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == OFF {
            return Ok(Self(None));
        }
        let duration = text.parse().map_err(|error: &str| format!("{error}, or {OFF}"));
        duration.map(|DurationValue(duration)| Self(Some(duration)))
    }
}

impl FromStr for Rate {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let size = text.strip_suffix("/s").and_then(parse_size);
        size.map(Self).ok_or("write a rate such as 500B/s, 64KiB/s or 1MiB/s")
    }
}

impl FromStr for RateOrOff {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == OFF {
            return Ok(Self(0));
        }
        text.parse().map(|Rate(bytes)| Self(bytes)).map_err(|error| format!("{error}, or {OFF}"))
    }
}

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&show_size(self.0))
    }
}

impl fmt::Display for DurationValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let millis = u64::try_from(self.0.as_millis()).unwrap_or(u64::MAX);
        let fits = |(_, unit, min): &&(&str, u64, u64)| millis / unit >= *min && millis.is_multiple_of(*unit);
        let (name, unit, _) = UNITS.iter().find(fits).unwrap_or(&("ms", 1, 0));
        write!(f, "{}{name}", millis / unit)
    }
}

impl fmt::Display for DurationOrOff {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(duration) => DurationValue(duration).fmt(f),
            None => f.write_str(OFF),
        }
    }
}

impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/s", show_size(self.0))
    }
}

impl fmt::Display for RateOrOff {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            0 => f.write_str(OFF),
            bytes => Rate(bytes).fmt(f),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn duration_is_a_number_and_a_unit() {
        let millis = |text: &str| text.parse().map(|DurationValue(duration)| duration.as_millis());
        for (text, expected) in [
            ("500ms", 500),
            ("30s", 30_000),
            ("5m", 300_000),
            ("2h", 7_200_000),
            ("30d", 2_592_000_000),
            ("2w", 1_209_600_000),
        ] {
            assert_eq!(millis(text), Ok(expected), "{text}");
        }
        for wrong in ["", "d", "90", "90 d", "-1d", "1.5d", "9é", "+1h", "1D"] {
            assert!(millis(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn duration_is_shown_in_its_largest_exact_unit() {
        for (text, shown) in [
            ("0s", "0ms"),
            ("1500ms", "1500ms"),
            ("60s", "60s"),
            ("120s", "2m"),
            ("24h", "24h"),
            ("48h", "2d"),
            ("90m", "90m"),
            ("1w", "7d"),
        ] {
            assert_eq!(text.parse::<DurationValue>().unwrap().to_string(), shown, "{text}");
        }
    }

    #[test]
    fn off_switches_durations_and_rates_off() {
        assert_eq!("off".parse(), Ok(DurationOrOff(None)));
        assert_eq!("36h".parse(), Ok(DurationOrOff(Some(Duration::from_secs(129_600)))));
        assert_eq!("off".parse(), Ok(RateOrOff(0)));
        assert_eq!((RateOrOff(0).to_string(), DurationOrOff(None).to_string()), ("off".into(), "off".into()));
        assert_eq!(
            "never".parse::<DurationOrOff>(),
            Err("write a duration such as 500ms, 30s, 5m, 2h or 30d, or off".to_owned())
        );
    }

    #[test]
    fn rate_is_a_size_per_second() {
        assert_eq!("64KiB/s".parse(), Ok(Rate(65_536)));
        assert_eq!("500B/s".parse(), Ok(RateOrOff(500)));
        assert_eq!(Rate(65_536).to_string(), "64KiB/s");
        for wrong in ["", "64KiB", "64/s", "64KiB/m", "64KB/s"] {
            assert!(wrong.parse::<Rate>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn retention_is_at_least_a_day() {
        assert_eq!(parse_retention("1d"), Ok(DurationValue(RETENTION_MIN)));
        assert_eq!(parse_retention("23h"), Err("must be between 24h and 36500d".to_owned()));
        assert_eq!(parse_retention_or_off("off"), Ok(DurationOrOff(None)));
        assert_eq!(parse_retention_or_off("0d"), Err("must be between 24h and 36500d, or off".to_owned()));
        assert!(parse_window("0s").is_ok() && parse_window("99999999w").is_err());
    }
}
