//! Sizes and times as they are written.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use manifest_schema::units::{parse_duration, parse_size, show_duration, show_size};

/// A number of bytes, written as `32MiB`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Size(pub(crate) u64);

/// A span of time, written as `5m`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Time(pub(crate) Duration);

/// A span of time that is over, written as `2h`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Ago(pub(crate) Duration);

impl FromStr for Ago {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let refused = "write a span of time such as 90s, 10m, 2h or 7d";
        let (digits, unit) = text.split_at_checked(text.len().saturating_sub(1)).ok_or(refused)?;
        let seconds: u64 = match unit {
            "s" => 1,
            "m" => 60,
            "h" => 60 * 60,
            "d" => 24 * 60 * 60,
            _ => return Err(refused),
        };
        let number: u32 = digits.parse().map_err(|_| refused)?;
        Ok(Self(Duration::from_secs(u64::from(number) * seconds)))
    }
}

/// A span of time in which people live, written as `90d`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Age(pub(crate) Duration);

/// An [`Age`], or none: written as `7d` or `off`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct AgeOrOff(pub(crate) Option<Duration>);

impl FromStr for AgeOrOff {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text == "off" {
            return Ok(Self(None));
        }
        let words = "write a number of days, weeks or hours such as 7d, 2w or 36h, or off";
        text.parse().map(|Age(age)| Self(Some(age))).map_err(|_| words)
    }
}

impl FromStr for Age {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let words = "write a number of days, weeks or hours such as 90d, 2w or 12h";
        let unit = text.chars().next_back().ok_or(words)?;
        let hours = match unit {
            'h' => 1,
            'd' => 24,
            'w' => 7 * 24,
            _ => return Err(words),
        };
        let number: u64 = text[..text.len() - 1].parse().map_err(|_| words)?;
        Ok(Self(Duration::from_secs(number.saturating_mul(hours * 60 * 60))))
    }
}

impl FromStr for Size {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        parse_size(text).map(Self).ok_or("write a size such as 512KiB, 32MiB or 1GiB")
    }
}

impl FromStr for Time {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        parse_duration(text).map(Self).ok_or("write a duration such as 500ms, 30s or 5m")
    }
}

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&show_size(self.0))
    }
}

impl fmt::Display for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&show_duration(self.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_age_is_a_number_and_a_unit() {
        let hours = |text: &str| text.parse::<Age>().map(|Age(age)| age.as_secs() / 3600);
        assert_eq!((hours("90d"), hours("2w"), hours("12h")), (Ok(2160), Ok(336), Ok(12)));
        assert_eq!("off".parse(), Ok(AgeOrOff(None)));
        assert_eq!("1d".parse(), Ok(AgeOrOff(Some(Duration::from_secs(86_400)))));
        assert!("never".parse::<AgeOrOff>().is_err());
        for wrong in ["", "d", "90", "90 d", "-1d", "1.5d", "90s", "9é"] {
            assert!(hours(wrong).is_err(), "{wrong}");
        }
    }
}
