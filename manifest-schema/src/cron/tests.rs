//! Due times around changes of UTC offset: chosen examples, and a comparison with checking every second.

use proptest::prelude::*;

use super::*;
use crate::zone::zone_data;

fn cron(expression: &str, zone: &str) -> Cron {
    Cron::parse(expression, zone_data().find(zone).0.unwrap()).unwrap()
}

fn utc(text: &str) -> DateTime<Utc> {
    text.parse().unwrap()
}

/// The due times after `from`, in local time.
fn due(expression: &str, zone: &str, from: &str, count: usize) -> Vec<String> {
    let cron = cron(expression, zone);
    let times = std::iter::successors(cron.next_after(utc(from)), |due| cron.next_after(*due));
    times
        .take(count)
        .map(|due| due.with_timezone(&cron.zone).format("%m-%d %H:%M:%S %:z").to_string())
        .collect()
}

#[test]
fn due_times_follow_the_expression() {
    assert_eq!(
        due("*/20 9 * * MON-FRI", "UTC", "2026-01-02T09:00:00Z", 4),
        ["01-02 09:20:00 +00:00", "01-02 09:40:00 +00:00", "01-05 09:00:00 +00:00", "01-05 09:20:00 +00:00"]
    );
    assert_eq!(
        due("*/25 * * * * *", "UTC", "2026-01-01T00:00:00Z", 3),
        ["01-01 00:00:25 +00:00", "01-01 00:00:50 +00:00", "01-01 00:01:00 +00:00"]
    );
    assert_eq!(
        due("@weekly", "Asia/Kolkata", "2026-01-01T00:00:00Z", 2),
        ["01-04 00:00:00 +05:30", "01-11 00:00:00 +05:30"]
    );
}

#[test]
fn either_day_of_month_or_weekday_suffices() {
    assert_eq!(
        due("0 0 13 * FRI", "UTC", "2026-01-01T00:00:00Z", 3),
        ["01-02 00:00:00 +00:00", "01-09 00:00:00 +00:00", "01-13 00:00:00 +00:00"]
    );
}

#[test]
fn day_of_month_with_star_and_weekday_must_both_match() {
    let start = "2026-01-01T00:00:00Z";
    let both = ["01-05 00:00:00 +00:00", "01-19 00:00:00 +00:00", "02-09 00:00:00 +00:00"];
    assert_eq!(due("0 0 */2 * MON", "UTC", start, 3), both);
    assert_eq!(due("0 0 */2,31 * MON", "UTC", start, 3), both);
    assert_eq!(
        due("0 0 13 * */5", "UTC", start, 3),
        ["02-13 00:00:00 +00:00", "03-13 00:00:00 +00:00", "09-13 00:00:00 +00:00"]
    );
    // Only a field that begins with `*` requires both; a list that ends with `*` matches all days.
    assert_eq!(due("0 0 1,* * MON", "UTC", start, 2), ["01-02 00:00:00 +00:00", "01-03 00:00:00 +00:00"]);
    assert_eq!(due("0 0 *,1 * MON", "UTC", start, 2), ["01-05 00:00:00 +00:00", "01-12 00:00:00 +00:00"]);
    assert!(Cron::parse("0 0 31 2 */2", Zone::utc()).is_err(), "no 31st of February is a Sunday");
}

#[test]
fn either_day_returns_both_fields() {
    let either = |expression: &str| cron(expression, "UTC").either_day().map(|either| either.nth);
    assert_eq!(either("0 0 1-7 * MON"), Some(Some("0 0 * * MON#1".to_owned())));
    assert_eq!(either("0 30 9 22-28 3 fri"), Some(Some("0 30 9 * 3 fri#4".to_owned())));
    assert_eq!(either("0 0 1-7 * MON-FRI"), Some(None));
    assert_eq!(either("0 0 13 * FRI"), Some(None));
    for expression in ["0 0 1-7 * *", "0 0 * * MON", "0 0 */2 * MON", "0 0 13 * */5", "@monthly", "* * * * *"]
    {
        assert_eq!(either(expression), None, "{expression}");
    }
}

#[test]
fn weekday_names_replace_numbers() {
    for other in ["0 0 13 * 0-7", "0 0 13 * 0-7/2"] {
        assert_eq!(cron(other, "UTC").with_named_weekdays(), None, "{other}");
    }
    assert_eq!(
        cron("0 0 * * 0-7/2", "UTC").with_named_weekdays().map(|(_, named)| named),
        Some("0 0 * * */2".to_owned())
    );
}

#[test]
fn last_day_and_last_friday_of_a_month_are_found() {
    assert_eq!(
        due("0 0 L * *", "UTC", "2026-01-31T00:00:00Z", 2),
        ["02-28 00:00:00 +00:00", "03-31 00:00:00 +00:00"]
    );
    assert_eq!(
        due("0 0 * * FRI#L", "UTC", "2026-01-01T00:00:00Z", 2),
        ["01-30 00:00:00 +00:00", "02-27 00:00:00 +00:00"]
    );
}

#[test]
fn leap_day_skips_1900_style_centuries() {
    let cron = cron("0 0 29 2 *", "UTC");
    assert_eq!(cron.next_after(utc("2096-02-29T00:00:00Z")), Some(utc("2104-02-29T00:00:00Z")));
    assert_eq!(cron.prev_or_at(utc("2104-02-28T23:59:59Z")), Some(utc("2096-02-29T00:00:00Z")));
}

#[test]
fn fractions_of_a_second_are_truncated() {
    let cron = cron("* * * * * *", "Europe/Berlin");
    assert_eq!(cron.next_after(utc("2026-01-01T00:00:00.5Z")), Some(utc("2026-01-01T00:00:01Z")));
    assert_eq!(cron.prev_or_at(utc("2026-01-01T00:00:00.5Z")), Some(utc("2026-01-01T00:00:00Z")));
    assert_eq!(cron.prev_or_at(utc("2026-01-01T00:00:00Z")), Some(utc("2026-01-01T00:00:00Z")));
}

#[test]
fn due_times_stay_within_the_supported_range() {
    for zone in ["UTC", "Pacific/Kiritimati", "America/Los_Angeles"] {
        for expression in ["0 2 * * *", "* * * * *"] {
            let cron = cron(expression, zone);
            assert!(cron.next_after(DateTime::<Utc>::MIN_UTC).is_some_and(|due| due > TIME_MIN));
            assert!(cron.prev_or_at(DateTime::<Utc>::MAX_UTC).is_some_and(|due| due <= TIME_MAX));
            assert_eq!(cron.next_after(DateTime::<Utc>::MAX_UTC), None);
            assert_eq!(cron.prev_or_at(DateTime::<Utc>::MIN_UTC), None);
        }
    }
}

// Berlin: 02:00 becomes 03:00 on 2026-03-29, 03:00 becomes 02:00 on 2026-10-25, both at 01:00 UTC.

#[test]
fn skipped_time_is_due_at_the_change() {
    assert_eq!(
        due("30 2 * * *", "Europe/Berlin", "2026-03-28T00:00:00Z", 3),
        ["03-28 02:30:00 +01:00", "03-29 03:00:00 +02:00", "03-30 02:30:00 +02:00"]
    );
}

#[test]
fn several_skipped_times_are_due_once() {
    assert_eq!(
        due("0,20,40 2-3 * * *", "Europe/Berlin", "2026-03-29T00:00:00Z", 4),
        ["03-29 03:00:00 +02:00", "03-29 03:20:00 +02:00", "03-29 03:40:00 +02:00", "03-30 02:00:00 +02:00"]
    );
}

#[test]
fn repeated_time_is_due_the_first_time() {
    assert_eq!(
        due("30 2 * * *", "Europe/Berlin", "2026-10-24T12:00:00Z", 2),
        ["10-25 02:30:00 +02:00", "10-26 02:30:00 +01:00"]
    );
    // Within the repeated hour, the run is already past.
    assert_eq!(due("30 2 * * *", "Europe/Berlin", "2026-10-25T01:10:00Z", 1), ["10-26 02:30:00 +01:00"]);
}

#[test]
fn list_of_hours_neither_loses_nor_repeats_a_run() {
    assert_eq!(
        due("15 2,14 * * *", "Europe/Berlin", "2026-03-28T20:00:00Z", 3),
        ["03-29 03:00:00 +02:00", "03-29 14:15:00 +02:00", "03-30 02:15:00 +02:00"]
    );
    assert_eq!(
        due("15 2,14 * * *", "Europe/Berlin", "2026-10-24T20:00:00Z", 3),
        ["10-25 02:15:00 +02:00", "10-25 14:15:00 +01:00", "10-26 02:15:00 +01:00"]
    );
}

#[test]
fn interval_runs_through_the_repeated_hour() {
    assert_eq!(
        due("*/30 * * * *", "Europe/Berlin", "2026-10-25T00:00:00Z", 5),
        [
            "10-25 02:30:00 +02:00",
            "10-25 02:00:00 +01:00",
            "10-25 02:30:00 +01:00",
            "10-25 03:00:00 +01:00",
            "10-25 03:30:00 +01:00"
        ]
    );
    assert_eq!(
        due("@hourly", "America/New_York", "2026-11-01T04:30:00Z", 4),
        ["11-01 01:00:00 -04:00", "11-01 01:00:00 -05:00", "11-01 02:00:00 -05:00", "11-01 03:00:00 -05:00"]
    );
}

#[test]
fn interval_does_not_make_up_a_skipped_hour() {
    assert_eq!(
        due("15 * * * *", "America/New_York", "2026-03-08T06:00:00Z", 3),
        ["03-08 01:15:00 -05:00", "03-08 03:15:00 -04:00", "03-08 04:15:00 -04:00"]
    );
}

// Lord Howe: 02:00 becomes 01:30 on 2026-04-05, 02:00 becomes 02:30 on 2026-10-04.

#[test]
fn change_of_half_an_hour_is_handled() {
    let zone = "Australia/Lord_Howe";
    assert_eq!(
        due("45 1 * * *", zone, "2026-04-04T00:00:00Z", 2),
        ["04-05 01:45:00 +11:00", "04-06 01:45:00 +10:30"]
    );
    assert_eq!(
        due("*/30 * * * *", zone, "2026-04-04T14:00:00Z", 4),
        ["04-05 01:30:00 +11:00", "04-05 01:30:00 +10:30", "04-05 02:00:00 +10:30", "04-05 02:30:00 +10:30"]
    );
    assert_eq!(
        due("15 2 * * *", zone, "2026-10-03T00:00:00Z", 2),
        ["10-04 02:30:00 +11:00", "10-05 02:15:00 +11:00"]
    );
}

#[test]
fn skipped_midnight_and_skipped_day_are_handled() {
    assert_eq!(due("@daily", "Africa/Cairo", "2026-04-23T12:00:00Z", 1), ["04-24 01:00:00 +03:00"]);
    // Samoa crossed the date line and skipped 2011-12-30.
    assert_eq!(
        due("0 12 * * *", "Pacific/Apia", "2011-12-29T12:00:00Z", 3),
        ["12-29 12:00:00 -10:00", "12-31 00:00:00 +14:00", "12-31 12:00:00 +14:00"]
    );
}

/// The due times in a range, found by checking every second.
fn counted(cron: &Cron, from: DateTime<Utc>, to: DateTime<Utc>) -> Vec<DateTime<Utc>> {
    let matches = |local: &NaiveDateTime| cron.pattern.is_time_matching(local).unwrap();
    let mut due = Vec::new();
    let mut furthest = from.with_timezone(&cron.zone).naive_local();
    let mut now = from;
    while now < to {
        now += TimeDelta::seconds(1);
        let local = now.with_timezone(&cron.zone).naive_local();
        let fires = match cron.kind {
            Kind::Interval => matches(&local),
            Kind::WallClock => {
                let mut passed = furthest + TimeDelta::seconds(1);
                let mut fires = false;
                while passed <= local {
                    fires |= matches(&passed);
                    passed += TimeDelta::seconds(1);
                }
                fires
            }
        };
        furthest = furthest.max(local);
        if fires {
            due.push(now);
        }
    }
    due
}

#[test]
fn due_times_around_changes_match_a_count() {
    let changes = [
        ("Europe/Berlin", "2026-03-29T01:00:00Z"),
        ("Europe/Berlin", "2026-10-25T01:00:00Z"),
        ("America/New_York", "2026-03-08T07:00:00Z"),
        ("America/New_York", "2026-11-01T06:00:00Z"),
        ("Australia/Lord_Howe", "2026-04-04T15:00:00Z"),
        ("Australia/Lord_Howe", "2026-10-03T15:30:00Z"),
        ("Africa/Cairo", "2026-04-23T22:00:00Z"),
        ("America/Havana", "2026-11-01T05:00:00Z"),
    ];
    let expressions = [
        "*/30 * * * *",
        "45 * * * *",
        "15 * * * * *",
        "*/7 1-3 * * *",
        "30 2 * * *",
        "0,30 0,1,2 * * *",
        "0 */2 * * *",
        "59 59 1 * * *",
        "20 10 2 * * *",
        "*/5 0-23/3 25 * SUN",
    ];
    for (zone, change) in changes {
        let (from, to) = (utc(change) - TimeDelta::hours(4), utc(change) + TimeDelta::hours(4));
        for expression in expressions {
            let cron = cron(expression, zone);
            let times = std::iter::successors(cron.next_after(from), |due| cron.next_after(*due));
            let walked: Vec<_> = times.take_while(|due| *due <= to).collect();
            let counted = counted(&cron, from, to);
            assert_eq!(walked, counted, "{expression} in {zone} around {change}");
            // `prev_or_at` finds the same times.
            for moment in (0..8 * 60).map(|minute| from + TimeDelta::minutes(minute)) {
                for moment in [moment, moment + TimeDelta::seconds(59)] {
                    let latest = counted.iter().rev().find(|due| **due <= moment);
                    if let Some(latest) = latest {
                        assert_eq!(
                            cron.prev_or_at(moment),
                            Some(*latest),
                            "{expression} in {zone} at {moment}"
                        );
                    }
                }
            }
        }
    }
}

proptest! {
    #[test]
    fn next_and_previous_due_times_agree(
        seconds in -1_000_000_000i64..4_000_000_000,
        nanoseconds in 0..1_000_000_000u32,
        zone in prop::sample::select(vec![
            "UTC", "Europe/Berlin", "Europe/Dublin", "America/New_York", "America/Sao_Paulo", "Australia/Lord_Howe",
            "Asia/Kathmandu", "Pacific/Apia", "Africa/Casablanca", "Antarctica/Troll",
        ]),
        expression in prop::sample::select(vec![
            "*/30 * * * *", "30 2 * * *", "0 0 1 * *", "15 1-3 * * MON", "*/7 * * * * *", "0 0 29 2 *", "59 23 L * *", "0 3 * * SUN#1",
        ]),
    ) {
        let cron = cron(expression, zone);
        let moment = DateTime::from_timestamp(seconds, nanoseconds).unwrap();
        let next = cron.next_after(moment).unwrap();
        prop_assert!(next > moment);
        let after_next = cron.next_after(next).unwrap();
        prop_assert!(after_next > next);
        prop_assert_eq!(cron.prev_or_at(next), Some(next));
        prop_assert_eq!(cron.prev_or_at(after_next - TimeDelta::seconds(1)), Some(next));
        let previous = cron.prev_or_at(moment).unwrap();
        prop_assert!(previous <= moment);
        prop_assert_eq!(cron.next_after(previous), Some(next));
    }
}
