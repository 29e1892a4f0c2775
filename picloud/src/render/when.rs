//! Times in the local time zone. JSON output has UTC.

#[cfg(not(test))]
use chrono::Local;
use chrono::{DateTime, TimeDelta, TimeZone, Utc};

/// The maximum distance from now for relative times.
const RELATIVE_MAX: TimeDelta = TimeDelta::hours(24);

/// The current time.
#[cfg(not(test))]
pub(crate) fn now() -> DateTime<Utc> {
    Utc::now()
}

/// A fixed time, for reproducible output in tests.
#[cfg(test)]
pub(crate) fn now() -> DateTime<Utc> {
    Utc.with_ymd_and_hms(2026, 11, 30, 12, 0, 0).single().expect("a valid time")
}

/// The local time zone.
#[cfg(not(test))]
fn zone() -> Local {
    Local
}

/// A fixed time zone, for reproducible output in tests.
#[cfg(test)]
fn zone() -> Utc {
    Utc
}

/// A time in a table: `11:19:18 (3 min ago)` within a day, otherwise `2026-11-28 11:19:18`.
pub(crate) fn when(at: DateTime<Utc>) -> String {
    relative(at, now(), &zone())
}

/// A time in a message, with its offset from UTC.
pub(crate) fn with_offset(at: DateTime<Utc>) -> String {
    at.with_timezone(&zone()).format("%Y-%m-%d %H:%M:%S %:z").to_string()
}

/// A time with milliseconds.
pub(crate) fn with_millis(at: DateTime<Utc>) -> String {
    at.with_timezone(&zone()).format("%Y-%m-%d %H:%M:%S%.3f").to_string()
}

fn relative<Z: TimeZone>(at: DateTime<Utc>, now: DateTime<Utc>, zone: &Z) -> String
where
    Z::Offset: std::fmt::Display,
{
    let local = at.with_timezone(zone);
    let ago = now - at;
    if ago.abs() >= RELATIVE_MAX {
        return local.format("%Y-%m-%d %H:%M:%S").to_string();
    }
    let distance = match ago.num_seconds().abs() {
        seconds @ 0..60 => format!("{seconds} s"),
        seconds @ 60..3600 => format!("{} min", seconds / 60),
        seconds => format!("{} h", seconds / 3600),
    };
    let distance = if ago < TimeDelta::zero() { format!("in {distance}") } else { format!("{distance} ago") };
    format!("{} ({distance})", local.format("%H:%M:%S"))
}

#[cfg(test)]
mod tests {
    use chrono::FixedOffset;

    use super::*;

    #[test]
    fn near_time_is_relative() {
        let zone = FixedOffset::east_opt(2 * 60 * 60).unwrap();
        let now = Utc.with_ymd_and_hms(2026, 11, 30, 22, 0, 0).unwrap();
        for (ago, text) in [
            (0, "00:00:00 (0 s ago)"),
            (59, "23:59:01 (59 s ago)"),
            (-90, "00:01:30 (in 1 min)"),
            (5 * 3600 + 1, "18:59:59 (5 h ago)"),
            (-23 * 3600, "23:00:00 (in 23 h)"),
            (24 * 3600, "2026-11-30 00:00:00"),
            (-40 * 86_400, "2027-01-10 00:00:00"),
        ] {
            assert_eq!(relative(now - TimeDelta::seconds(ago), now, &zone), text);
        }
    }
}
