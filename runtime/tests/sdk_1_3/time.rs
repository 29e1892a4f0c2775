use super::support::STARTED_AT_MS;
use super::{call, fails};

#[test]
fn now_is_the_start_of_the_execution() {
    assert_eq!(call("time::now()").text(), STARTED_AT_MS.to_string());
    assert_eq!(call("[time::now() == ctx.started, ctx.started]").text(), format!("[true,{STARTED_AT_MS}]"));
}

#[test]
fn times_are_formatted_in_their_zone() {
    for (source, text) in [
        ("time::format(ctx.started, \"%Y-%m-%d %H:%M:%S\")", "2026-01-02 03:04:05"),
        (
            "time::format(ctx.started, \"%A, %-d %B, %H:%M %Z\", \"Europe/Berlin\")",
            "Friday, 2 January, 04:04 CET",
        ),
        ("time::rfc3339(ctx.started)", "2026-01-02T03:04:05.678Z"),
        ("time::rfc3339(ctx.started, \"America/New_York\")", "2026-01-01T22:04:05.678-05:00"),
        ("time::rfc3339(0)", "1970-01-01T00:00:00Z"),
        ("time::http(ctx.started)", "Fri, 02 Jan 2026 03:04:05 GMT"),
    ] {
        assert_eq!(call(source).text(), format!("\"{text}\""), "{source}");
    }
}

#[test]
fn texts_are_parsed() {
    let utc = 1_767_323_045_000_i64;
    for (source, ms) in [
        ("time::parse(\"2026-01-02T03:04:05Z\")", Some(utc)),
        ("time::parse(\" 2026-01-02T04:04:05.5+01:00 \")", Some(utc + 500)),
        ("time::parse(\"Fri, 02 Jan 2026 03:04:05 GMT\")", Some(utc)),
        ("time::parse(\"2026-01-02 03:04:05\")", Some(utc)),
        ("time::parse(\"2026-01-02\")", Some(utc - 11_045_000)),
        ("time::parse(\"02.01.2026 04:04:05\", \"%d.%m.%Y %H:%M:%S\", \"Europe/Berlin\")", Some(utc)),
        ("time::parse(\"02.01.2026\", \"%d.%m.%Y\")", Some(utc - 11_045_000)),
        ("time::parse(\"1767323045\", \"%s\")", Some(utc)),
        ("time::parse(\"tomorrow\")", None),
        ("time::parse(\"2026-02-30\")", None),
        ("time::parse(\"2\", \"%d.%m.%Y\")", None),
        ("time::parse(\"\")", None),
    ] {
        let expected = ms.map_or("null".to_owned(), |ms| ms.to_string());
        assert_eq!(call(source).text(), expected, "{source}");
    }
}

#[test]
fn parts_are_the_date_and_the_clock() {
    assert_eq!(
        call("time::parts(ctx.started, \"Europe/Berlin\")").text(),
        r#"{"day":2,"hour":4,"minute":4,"month":1,"ms":678,"second":5,"weekday":5,"year":2026,"yearday":2,"zone":"Europe/Berlin"}"#
    );
    for zone in ["", ", \"Asia/Kolkata\""] {
        let source = format!("let t = ctx.started; time::from_parts(time::parts(t{zone})) == t");
        assert_eq!(call(&source).text(), "true", "{zone}");
    }
    assert_eq!(call("time::from_parts(#{ year: 1970 })").text(), "0");
    assert_eq!(call("time::from_parts(#{ year: 1970 }, \"Europe/Berlin\")").text(), "-3600000");
    assert_eq!(
        fails("time::from_parts(#{ year: 2026, month: 2, day: 30 })"),
        "time::from_parts: there is no 2026-02-30 00:00:00"
    );
    assert_eq!(fails("time::from_parts(#{ month: 2 })"), "time::from_parts: `parts` has no `year`");
    assert_eq!(
        fails("time::from_parts(#{ year: 2026, mont: 2 })"),
        "time::from_parts: unknown part `mont`; did you mean `month`?"
    );
    assert_eq!(fails("time::from_parts(#{ year: \"2026\" })"), "time::from_parts: `year` must be an integer");
}

#[test]
fn durations_follow_the_calendar() {
    let start = "time::parse(\"2026-01-31T12:00:00Z\")";
    for (source, text) in [
        (format!("time::plus({start}, \"1 month\")"), "2026-02-28T12:00:00Z"),
        (format!("time::plus({start}, \"-90m\")"), "2026-01-31T10:30:00Z"),
        (format!("time::plus({start}, \"1 year 2 days 3 hours\")"), "2027-02-02T15:00:00Z"),
        // The night in which clocks go forward has 23 hours.
        (
            "time::plus(time::parse(\"2026-03-28T12:00:00Z\"), \"1 day\", \"Europe/Berlin\")".to_owned(),
            "2026-03-29T11:00:00Z",
        ),
    ] {
        assert_eq!(call(&format!("time::rfc3339({source})")).text(), format!("\"{text}\""), "{source}");
    }
}

#[test]
fn what_is_no_time_zone_or_pattern_is_refused() {
    for (source, message) in [
        (
            "time::rfc3339(0, \"Europe/Berln\")",
            "time::rfc3339: unknown time zone `Europe/Berln`; did you mean `Europe/Berlin`?",
        ),
        ("time::plus(0, \"soon\")", "time::plus: `soon` is not a duration such as \"1 month\" or \"90m\""),
        (
            "time::rfc3339(9223372036854775807)",
            "time::rfc3339: 9223372036854775807 is not a time between the years -9999 and 9999",
        ),
        (
            "time::plus(0, \"15000 years\")",
            "time::plus: the result is not a time between the years -9999 and 9999",
        ),
    ] {
        assert_eq!(fails(source), message, "{source}");
    }
    assert!(fails("time::format(0, \"%!\")").starts_with("time::format: invalid pattern `%!`: "));
    assert!(fails("time::parse(\"1\", \"%!\")").starts_with("time::parse: invalid pattern `%!`: "));
    assert!(fails("let p = \"\"; p.pad(2000, '%'); time::format(0, p)").contains("longer than 1024 bytes"));
}
