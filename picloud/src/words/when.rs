//! Moments as people at a terminal read them: by the clock on their wall, and how long ago. Documents for programs have them in UTC.

use chrono::{DateTime, Local, TimeDelta, TimeZone, Utc};

/// How near a moment is for people to count it from now.
const NEAR: TimeDelta = TimeDelta::hours(24);

/// A moment in a list: `11:19:18 (3 min ago)` within a day, and `2026-11-28 11:19:18` beyond.
pub(crate) fn when(at: DateTime<Utc>) -> String {
    shown(at, Utc::now(), &Local)
}

/// A moment in a sentence, by the clock here and how far that is from UTC.
pub(crate) fn exactly(at: DateTime<Utc>) -> String {
    at.with_timezone(&Local).format("%Y-%m-%d %H:%M:%S %:z").to_string()
}

/// A moment to the millisecond, by the clock here.
pub(crate) fn to_the_millisecond(at: DateTime<Utc>) -> String {
    at.with_timezone(&Local).format("%Y-%m-%d %H:%M:%S%.3f").to_string()
}

fn shown<Z: TimeZone>(at: DateTime<Utc>, now: DateTime<Utc>, zone: &Z) -> String
where
    Z::Offset: std::fmt::Display,
{
    let here = at.with_timezone(zone);
    let ago = now - at;
    if ago.abs() >= NEAR {
        return here.format("%Y-%m-%d %H:%M:%S").to_string();
    }
    let distance = match ago.num_seconds().abs() {
        seconds @ 0..60 => format!("{seconds} s"),
        seconds @ 60..3600 => format!("{} min", seconds / 60),
        seconds => format!("{} h", seconds / 3600),
    };
    let distance = if ago < TimeDelta::zero() { format!("in {distance}") } else { format!("{distance} ago") };
    format!("{} ({distance})", here.format("%H:%M:%S"))
}

#[cfg(test)]
mod tests {
    use chrono::FixedOffset;

    use super::*;

    #[test]
    fn moment_is_by_the_clock_here_and_counted_from_now_when_it_is_near() {
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
            assert_eq!(shown(now - TimeDelta::seconds(ago), now, &zone), text);
        }
    }
}
