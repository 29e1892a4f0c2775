//! Suggestions for invalid cron expressions: intervals (`@every 5m`, `every 5 minutes`), nicknames without `@`,
//! Quartz's `?`, year and `0/5`, full names of months and weekdays, times of day.

use super::expression::{NICKNAMES, parse};

const NAMES: [(&str, &str); 19] = [
    ("monday", "MON"),
    ("tuesday", "TUE"),
    ("wednesday", "WED"),
    ("thursday", "THU"),
    ("friday", "FRI"),
    ("saturday", "SAT"),
    ("sunday", "SUN"),
    ("january", "JAN"),
    ("february", "FEB"),
    ("march", "MAR"),
    ("april", "APR"),
    ("may", "MAY"),
    ("june", "JUN"),
    ("july", "JUL"),
    ("august", "AUG"),
    ("september", "SEP"),
    ("october", "OCT"),
    ("november", "NOV"),
    ("december", "DEC"),
];

/// A valid expression with the likely meaning of `text`.
pub(crate) fn suggest(text: &str) -> Option<String> {
    let lower = text.trim().to_ascii_lowercase();
    let suggested = interval(&lower)
        .or_else(|| nickname(&lower))
        .or_else(|| time_of_day(&lower))
        .or_else(|| fields(text))?;
    parse(&suggested).is_ok().then_some(suggested)
}

/// `@every 5m`, `every 5 minutes`, `every hour`, `5m`. Only divisors of the next unit have an expression.
fn interval(text: &str) -> Option<String> {
    let text = text.strip_prefix('@').unwrap_or(text);
    let text = text.strip_prefix("every").unwrap_or(text).trim_matches(['_', ' ']);
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let number: u32 = if number.is_empty() { 1 } else { number.parse().ok()? };
    let every = |field: &str, whole: u32| match number {
        1 => Some("*".to_owned()),
        _ if number > 0 && whole.is_multiple_of(number) => Some(format!("{field}/{number}")),
        _ => None,
    };
    match (unit.trim(), number) {
        ("s" | "sec" | "second" | "seconds", 60) | ("minutely", 1) => Some("* * * * *".to_owned()),
        ("s" | "sec" | "second" | "seconds", _) => Some(format!("{} * * * * *", every("*", 60)?)),
        ("m" | "min" | "mins" | "minute" | "minutes", 60) => Some("0 * * * *".to_owned()),
        ("m" | "min" | "mins" | "minute" | "minutes", _) => Some(format!("{} * * * *", every("*", 60)?)),
        ("h" | "hr" | "hour" | "hours", 24) | ("d" | "day" | "days", 1) => Some("0 0 * * *".to_owned()),
        ("h" | "hr" | "hour" | "hours", _) => Some(format!("0 {} * * *", every("*", 24)?)),
        ("w" | "week" | "weeks", 1) | ("d" | "days", 7) => Some("0 0 * * MON".to_owned()),
        ("month" | "months", 1) => Some("0 0 1 * *".to_owned()),
        _ => None,
    }
}

/// A nickname without its `@`.
fn nickname(text: &str) -> Option<String> {
    let known = NICKNAMES.iter().find(|(name, _)| name.strip_prefix('@') == Some(text));
    known.map(|(name, _)| (*name).to_owned())
}

/// `12:30`, `daily at 12:30`.
fn time_of_day(text: &str) -> Option<String> {
    let text = text
        .trim_start_matches("daily")
        .trim_start_matches("every day")
        .trim()
        .trim_start_matches("at")
        .trim();
    let (hour, minute) = text.split_once(':')?;
    let (hour, minute): (u8, u8) = (hour.parse().ok()?, minute.parse().ok()?);
    Some(format!("{minute} {hour} * * *"))
}

/// Quartz's fields, and full names.
fn fields(text: &str) -> Option<String> {
    let mut fields: Vec<String> = text.split_whitespace().map(str::to_owned).collect();
    // Quartz has a year at the end.
    if fields.len() == 7 {
        fields.pop();
    }
    let with_seconds = fields.len() == 6;
    if fields.len() != 5 && !with_seconds {
        return None;
    }
    let highest: [u16; 6] = [59, 59, 23, 31, 12, 6];
    for (index, field) in fields.iter_mut().enumerate() {
        let highest = highest[index + usize::from(!with_seconds)];
        let is_weekday = index == 4 + usize::from(with_seconds);
        let items: Vec<String> =
            field.split(',').map(|item| suggest_item(item, highest, is_weekday)).collect();
        *field = items.join(",");
    }
    let suggested = fields.join(" ");
    (suggested != text.trim()).then_some(suggested)
}

fn suggest_item(item: &str, highest: u16, is_weekday: bool) -> String {
    if item == "?" {
        return "*".to_owned();
    }
    // The maximum plus one wraps around to 0.
    if matches!(highest, 59 | 23) && item.parse() == Ok(highest + 1) {
        return "0".to_owned();
    }
    if let Some((start, step)) = item.split_once('/')
        && let Ok(start) = start.parse::<u16>()
    {
        return if start == 0 { format!("*/{step}") } else { format!("{start}-{highest}/{step}") };
    }
    if is_weekday
        && let Some(day) = item.strip_suffix(['L', 'l'])
        && day.len() == 3
    {
        return format!("{day}#L");
    }
    let named = |name: &str| {
        let lower = name.to_ascii_lowercase();
        let known =
            NAMES.iter().find(|(long, _)| lower.len() > 3 && long.starts_with(&lower) || *long == lower);
        known.map_or_else(|| name.to_owned(), |(_, short)| (*short).to_owned())
    };
    item.split('-').map(named).collect::<Vec<_>>().join("-")
}
