//! Validation of cron expressions. Errors name the field; croner only receives numbers.

use croner::parser::{CronParser, Seconds, Year};

use super::CronError;

/// Maximum length in bytes, about twice that of a list of all minutes.
pub(super) const EXPRESSION_MAX: usize = 512;

/// A field: its name, its range, and the names of its numbers.
struct Field {
    what: &'static str,
    low: u16,
    high: u16,
    names: &'static [(&'static str, u16)],
}

const MONTHS: [(&str, u16); 12] = [
    ("JAN", 1),
    ("FEB", 2),
    ("MAR", 3),
    ("APR", 4),
    ("MAY", 5),
    ("JUN", 6),
    ("JUL", 7),
    ("AUG", 8),
    ("SEP", 9),
    ("OCT", 10),
    ("NOV", 11),
    ("DEC", 12),
];

const WEEKDAYS: [(&str, u16); 7] =
    [("SUN", 0), ("MON", 1), ("TUE", 2), ("WED", 3), ("THU", 4), ("FRI", 5), ("SAT", 6)];

const FIELDS: [Field; 6] = [
    Field { what: "second", low: 0, high: 59, names: &[] },
    Field { what: "minute", low: 0, high: 59, names: &[] },
    Field { what: "hour", low: 0, high: 23, names: &[] },
    Field { what: "day of month", low: 1, high: 31, names: &[] },
    Field { what: "month", low: 1, high: 12, names: &MONTHS },
    Field { what: "weekday", low: 0, high: 7, names: &WEEKDAYS },
];

const DAY_OF_MONTH: &str = "day of month";
const WEEKDAY: &str = "weekday";

/// The nicknames and their expressions.
pub(super) const NICKNAMES: [(&str, &str); 7] = [
    ("@yearly", "0 0 1 1 *"),
    ("@annually", "0 0 1 1 *"),
    ("@monthly", "0 0 1 * *"),
    ("@weekly", "0 0 * * 0"),
    ("@daily", "0 0 * * *"),
    ("@midnight", "0 0 * * *"),
    ("@hourly", "0 * * * *"),
];

/// The maximum number of days of each month.
const MONTH_LENGTHS: [u16; 12] = [31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];

/// Parses an expression.
pub(super) fn parse(expression: &str) -> Result<croner::Cron, CronError> {
    if expression.len() > EXPRESSION_MAX {
        return Err(CronError::TooLong);
    }
    let numbers = numbers(expression)?;
    let parser = CronParser::builder().seconds(Seconds::Required).year(Year::Disallowed).build();
    let malformed = |_| CronError::Malformed {
        what: "expression",
        part: expression.to_owned(),
        expression: numbers.clone(),
        wanted: "understood",
    };
    let pattern = parser.parse(&numbers).map_err(malformed)?;
    if is_ever_due(&pattern) {
        Ok(pattern)
    } else {
        Err(CronError::Never { expression: expression.to_owned() })
    }
}

/// The expression as six numeric fields, with a `+` before the weekday if both the day of month and the weekday must
/// match: as in Vixie cron (crontab(5)), if one of the two fields begins with `*`.
fn numbers(expression: &str) -> Result<String, CronError> {
    let mut fields: Vec<&str> = expression.split_whitespace().collect();
    if expression.trim_start().starts_with('@') {
        let name = expression.trim();
        let nickname = NICKNAMES.iter().find(|(known, _)| *known == name);
        let (_, meaning) = nickname.ok_or_else(|| CronError::Nickname { name: name.to_owned() })?;
        fields = meaning.split(' ').collect();
    }
    match fields.len() {
        0 => return Err(CronError::Empty),
        5 => fields.insert(0, "0"),
        6 => {}
        count => return Err(CronError::FieldCount { expression: expression.to_owned(), count }),
    }
    let both = [fields[3], fields[5]].iter().any(|field| field.starts_with('*'));
    let numbers: Result<Vec<String>, CronError> =
        FIELDS.iter().zip(fields).map(|(field, text)| Reader { field, expression }.list(text)).collect();
    let mut numbers = numbers?;
    if both && numbers[3] != "*" && numbers[5] != "*" {
        numbers[5].insert(0, '+');
    }
    Ok(numbers.join(" "))
}

/// The day-of-month and weekday fields.
pub(super) fn day_fields(expression: &str) -> Option<(&str, &str)> {
    let fields: Vec<&str> = expression.split_whitespace().collect();
    match fields[..] {
        [.., day, _, weekday] if fields.len() >= 5 => Some((day, weekday)),
        _ => None,
    }
}

/// The weekday field, and the expression with weekday names instead of digits, if it has digits.
pub(super) fn with_named_weekdays(expression: &str) -> Option<(&str, String)> {
    let (before, field) = expression.trim_end().rsplit_once(char::is_whitespace)?;
    let named: Vec<String> = field.split(',').map(named_item).collect();
    let named = named.join(",");
    (named != field).then(|| (field, format!("{before} {named}")))
}

fn named_item(item: &str) -> String {
    // The number after `#` or `/` is not a weekday.
    let (days, count) = item.split_at(item.find(['#', '/']).unwrap_or(item.len()));
    if days == "0-7" {
        return format!("*{count}");
    }
    let name = |day: &str| {
        let number = day.parse::<u16>().ok().map(|number| number % 7);
        let known = WEEKDAYS.iter().find(|(_, known)| Some(*known) == number);
        known.map_or_else(|| day.to_owned(), |(name, _)| (*name).to_owned())
    };
    let days: Vec<String> = days.split('-').map(name).collect();
    days.join("-") + count
}

/// Whether one of the months has one of the days. Only days of the month can be missing: every weekday occurs in
/// every month, and a fifth one in some year.
fn is_ever_due(cron: &croner::Cron) -> bool {
    let pattern = &cron.pattern;
    let weekday_is_enough = !pattern.is_dow_wildcard() && !pattern.matches_dom_and_dow();
    if weekday_is_enough || pattern.days.has_modifiers() {
        return true;
    }
    let first_day = pattern.days.values().into_iter().min().unwrap_or(u16::MAX);
    let months = pattern.months.values();
    months
        .iter()
        .any(|month| MONTH_LENGTHS.get(usize::from(*month) - 1).is_some_and(|length| first_day <= *length))
}

/// Parses one field into numbers.
struct Reader<'e> {
    field: &'e Field,
    expression: &'e str,
}

impl Reader<'_> {
    fn list(&self, text: &str) -> Result<String, CronError> {
        let items: Result<Vec<String>, CronError> = text.split(',').map(|item| self.item(item)).collect();
        let items = items?;
        // A `*` in a list matches everything; croner only accepts it as the whole field.
        let all = items.iter().any(|item| item == "*");
        Ok(match all {
            // A range, since a leading `*` would require that both day fields match.
            true if !text.starts_with('*') => format!("{}-{}", self.field.low, self.field.high),
            true => "*".to_owned(),
            false => items.join(","),
        })
    }

    fn item(&self, item: &str) -> Result<String, CronError> {
        let what = self.field.what;
        if what == DAY_OF_MONTH && item == "L" {
            return Ok(item.to_owned());
        }
        if what == WEEKDAY
            && let Some((day, nth)) = item.split_once('#')
        {
            let day = self.number(day, item)?;
            return match nth {
                "L" | "1" | "2" | "3" | "4" | "5" => Ok(format!("{day}#{nth}")),
                _ => Err(self.malformed(item)),
            };
        }
        let (range, step) = item.split_once('/').map_or((item, None), |(range, step)| (range, Some(step)));
        let bounds = match range.split_once('-') {
            _ if range == "*" => None,
            Some((start, end)) => Some(self.range(start, end, range)?),
            // A step needs a range.
            None if step.is_some() => return Err(self.malformed(item)),
            None => return Ok(self.number(range, item)?.to_string()),
        };
        let numbers = bounds.map_or_else(|| "*".to_owned(), |(start, end)| format!("{start}-{end}"));
        match step.map(|step| self.step(step, item)).transpose()? {
            None | Some(1) => Ok(numbers),
            Some(step) => Ok(format!("{numbers}/{step}")),
        }
    }

    fn range(&self, start: &str, end: &str, range: &str) -> Result<(u16, u16), CronError> {
        let (first, mut last) = (self.number(start, range)?, self.number(end, range)?);
        // Sunday is also the end of a week.
        if self.field.what == WEEKDAY && last == 0 && first > 0 {
            last = 7;
        }
        if first <= last {
            return Ok((first, last));
        }
        let (low, high) = (self.field.low, if self.field.what == WEEKDAY { 6 } else { self.field.high });
        Err(CronError::Backwards {
            what: self.field.what,
            range: range.to_owned(),
            expression: self.expression.to_owned(),
            forwards: {
                let [first, high, low, last] = [first, high, low, last].map(|number| self.written(number));
                format!("{first}-{high},{low}-{last}")
            },
        })
    }

    /// The name of a number if it has one, else its digits.
    fn written(&self, number: u16) -> String {
        let named = self.field.names.iter().find(|(_, named)| *named == number);
        named.map_or_else(|| number.to_string(), |(name, _)| (*name).to_owned())
    }

    fn step(&self, step: &str, item: &str) -> Result<u16, CronError> {
        self.digits(step, item, &format!("{} step", self.field.what), 1, self.field.high)
    }

    /// A number or a name, in range.
    fn number(&self, text: &str, item: &str) -> Result<u16, CronError> {
        match self.field.names.iter().find(|(name, _)| name.eq_ignore_ascii_case(text)) {
            Some((_, number)) => Ok(*number),
            None => self.digits(text, item, self.field.what, self.field.low, self.field.high),
        }
    }

    fn digits(&self, text: &str, item: &str, what: &str, low: u16, high: u16) -> Result<u16, CronError> {
        if text.is_empty() || !text.bytes().all(|b| b.is_ascii_digit()) {
            return Err(self.malformed(item));
        }
        // Digits fail to parse only by overflow.
        let number = text.parse().unwrap_or(u16::MAX);
        if (low..=high).contains(&number) {
            return Ok(number);
        }
        let (what, number, expression) = (what.to_owned(), text.to_owned(), self.expression.to_owned());
        Err(CronError::OutOfRange { what, number, expression, low, high })
    }

    fn malformed(&self, part: &str) -> CronError {
        let wanted = match self.field.what {
            DAY_OF_MONTH => "`*`, a number, a range such as `1-5`, a step such as `*/2` or `L`",
            WEEKDAY => "`*`, a weekday, a range such as `MON-FRI`, a step such as `*/2` or `FRI#2`",
            "month" => "`*`, a month, a range such as `JAN-MAR` or a step such as `*/2`",
            _ => "`*`, a number, a range such as `1-5` or a step such as `*/2`",
        };
        let (part, expression) = (part.to_owned(), self.expression.to_owned());
        CronError::Malformed { what: self.field.what, part, expression, wanted }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn numbers_of(expression: &str) -> String {
        numbers(expression).unwrap()
    }

    fn error(expression: &str) -> String {
        parse(expression).unwrap_err().to_string()
    }

    #[test]
    fn expression_becomes_six_numeric_fields() {
        assert_eq!(numbers_of("*/5 * * * *"), "0 */5 * * * *");
        assert_eq!(numbers_of("1,2 3-4 05 jan-MAR Mon-fri/2"), "0 1,2 3-4 5 1-3 1-5/2");
        assert_eq!(numbers_of("  59\t0 0 1 1 *  "), "0 59 0 0 1 1 *".split_once(' ').unwrap().1);
        assert_eq!(numbers_of("*/1 *,5 1-3/1 * *"), "0 * * 1-3 * *");
        assert_eq!(numbers_of("0 0 L * FRI#2,MON#L"), "0 0 0 L * 5#2,1#L");
    }

    #[test]
    fn sunday_is_0_and_7_and_can_end_a_range() {
        for (text, days) in [
            ("0", vec![0]),
            ("7", vec![0]),
            ("SUN", vec![0]),
            ("FRI-SUN", vec![0, 5, 6]),
            ("6-7", vec![0, 6]),
        ] {
            assert_eq!(
                parse(&format!("0 0 * * {text}")).unwrap().pattern.days_of_week.values(),
                days,
                "{text}"
            );
        }
    }

    #[test]
    fn weekday_numbers_become_names() {
        for (digits, names) in [
            ("0 9 * * 1-5", "0 9 * * MON-FRI"),
            ("0 9 * * 7,3", "0 9 * * SUN,WED"),
            ("0 9 * * 5#2", "0 9 * * FRI#2"),
            ("1 2 3 4 5 1-5/2", "1 2 3 4 5 MON-FRI/2"),
            ("0 9 * * 5-7", "0 9 * * FRI-SUN"),
            ("0 9 * * 0-7", "0 9 * * *"),
        ] {
            let (field, named) = with_named_weekdays(digits).unwrap();
            assert_eq!((digits.ends_with(field), named.as_str()), (true, names));
            let days = |text: &str| parse(text).unwrap().pattern.days_of_week.values();
            assert_eq!(days(digits), days(names));
        }
        for named in ["0 9 * * MON-FRI", "0 9 * * FRI#2", "* * * * */2", "@weekly", "0 9 * * *"] {
            assert_eq!(with_named_weekdays(named), None, "{named}");
        }
    }

    #[test]
    fn nicknames_are_valid_expressions() {
        for (name, _) in NICKNAMES {
            assert!(parse(name).is_ok(), "{name}");
        }
        assert_eq!(numbers_of("@midnight"), "0 0 0 * * *");
    }

    #[test]
    fn number_out_of_range_is_reported_with_its_field() {
        assert_eq!(error("61 * * * *"), "minute 61 in `61 * * * *` is out of range 0-59");
        assert_eq!(error("60 * * * * *"), "second 60 in `60 * * * * *` is out of range 0-59");
        assert_eq!(error("0 0-24 * * *"), "hour 24 in `0 0-24 * * *` is out of range 0-23");
        assert_eq!(error("0 0 0 * *"), "day of month 0 in `0 0 0 * *` is out of range 1-31");
        assert_eq!(error("0 0 1 13 *"), "month 13 in `0 0 1 13 *` is out of range 1-12");
        assert_eq!(error("0 0 * * 8"), "weekday 8 in `0 0 * * 8` is out of range 0-7");
        assert_eq!(error("*/90 * * * *"), "minute step 90 in `*/90 * * * *` is out of range 1-59");
        assert_eq!(error("*/0 * * * *"), "minute step 0 in `*/0 * * * *` is out of range 1-59");
        assert_eq!(
            error("0 99999999999999999999 * * *"),
            "hour 99999999999999999999 in `0 99999999999999999999 * * *` is out of range 0-23"
        );
    }

    #[test]
    fn malformed_part_is_reported_with_the_valid_forms() {
        let minute = "is not `*`, a number, a range such as `1-5` or a step such as `*/2`";
        for part in [
            "x", "-5", "5-", "1-2-3", "5/15", "/5", "*/", "*/x", "1,,2", ",", "MON", "L", "?", "+1", "1.5",
            "٣", "1#2",
        ] {
            let message = error(&format!("{part} * * * *"));
            assert!(message.starts_with("minute ") && message.ends_with(minute), "{part}: {message}");
        }
        for part in ["FRI#6", "FRI#", "#2", "FRI#0", "SUNMON", "5L", "L"] {
            assert!(error(&format!("0 0 * * {part}")).starts_with("weekday `"), "{part}");
        }
        assert!(error("0 0 15W * *").starts_with("day of month `15W` in "));
        assert!(error("0 0 1 MON *").starts_with("month `MON` in "));
    }

    #[test]
    fn descending_range_is_reported_with_ascending_ones() {
        let error = parse("0 22-2 * * *").unwrap_err();
        assert_eq!(error.to_string(), "hour range `22-2` in `0 22-2 * * *` ends before it starts");
        assert_eq!(error.help().unwrap(), "write `0 22-23,0-2 * * *`");
        assert_eq!(parse("0 0 * * FRI-MON").unwrap_err().help().unwrap(), "write `0 0 * * FRI-SAT,SUN-MON`");
        assert!(parse("0 22-23,0-2 * * *").is_ok() && parse("0 0 * * 5-6,0-1").is_ok());
    }

    #[test]
    fn unknown_nickname_and_wrong_field_count_are_rejected() {
        let unknown = parse("@hurly").unwrap_err();
        assert_eq!(unknown.to_string(), "`@hurly` is not a nickname of a cron expression");
        assert_eq!(unknown.help().unwrap(), "did you mean `@hourly`?");
        assert!(parse("@reboot").is_err());
        assert_eq!(error("* * *"), "`* * *` has 3 fields, must have 5, or 6 with seconds first");
        assert_eq!(
            error("0 0 0 1 1 * 2030"),
            "`0 0 0 1 1 * 2030` has 7 fields, must have 5, or 6 with seconds first"
        );
        assert_eq!(parse(" "), Err(CronError::Empty));
        assert_eq!(parse(&"*".repeat(EXPRESSION_MAX + 1)), Err(CronError::TooLong));
    }

    #[test]
    fn expression_that_is_never_due_is_rejected() {
        for never in ["0 0 30 2 *", "0 0 31 2,4,6,9,11 *", "0 0 30-31 FEB *"] {
            assert_eq!(error(never), format!("`{never}` is never due: none of its months has such a day"));
        }
        for rare in
            ["0 0 29 2 *", "0 0 30 2 MON", "0 0 31 2,3 *", "0 0 L 2 *", "0 0 * 2 MON#5", "0 0 30 */2 *"]
        {
            assert!(parse(rare).is_ok(), "{rare}");
        }
    }

    proptest! {
        #[test]
        fn arbitrary_text_never_panics(text in "[-0-9*/,# LWA-Za-z@?]{0,30}") {
            let _ = parse(&text);
        }

        #[test]
        fn numbers_in_range_are_always_valid(
            second in 0..60u16, minute in 0..60u16, hour in 0..24u16, day in 1..=28u16, month in 1..=12u16, weekday in 0..=7u16,
        ) {
            let expression = format!("{second} {minute} {hour} {day} {month} {weekday}");
            prop_assert!(parse(&expression).is_ok());
        }
    }
}
