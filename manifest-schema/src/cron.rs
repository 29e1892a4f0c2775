//! Cron expressions in a time zone, and their due times.
//!
//! croner walks the calendar. `expression` validates expressions, and this module handles changes of UTC offset
//! (DST). There are two kinds of expressions:
//!
//! - A wall-clock expression names hours (`30 2 * * *`, `*/15 9-17 * * *`): each matching local time is due once. A
//!   repeated local time is due the first time; a skipped one is due at the moment of the change. So every day has
//!   the same number of runs.
//! - An interval expression matches every hour (`*/30 * * * *`): it is due at every matching local time, including
//!   repeated ones, and skipped ones are not made up.
//!
//! croner itself treats every list, range or step of hours as an interval, so `0 2,14 * * *` would lose a run in
//! spring and repeat one in autumn.

mod error;
mod expression;
mod suggestion;

use chrono::{DateTime, MappedLocalTime, NaiveDateTime, TimeDelta, TimeZone, Utc};

use crate::zone::Zone;

pub use error::CronError;
pub(crate) use suggestion::suggest as suggest_expression;

/// The start of the supported time range, 1900-01-01T00:00:00Z.
const TIME_MIN: DateTime<Utc> = at(-2_208_988_800);

/// The end of the supported time range, 3000-01-01T00:00:00Z, within the range of croner and chrono.
const TIME_MAX: DateTime<Utc> = at(32_503_680_000);

/// A valid cron expression with its time zone. It is due at least once in any forty years.
#[derive(Clone, Debug)]
pub struct Cron {
    expression: String,
    zone: Zone,
    pattern: croner::Cron,
    kind: Kind,
}

/// The day-of-month and weekday fields of an expression that is due when either matches.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EitherDay<'e> {
    /// The day-of-month field.
    pub day: &'e str,
    /// The weekday field.
    pub weekday: &'e str,
    /// The expression for that weekday in that week of the month, if `day` is a week: `0 0 * * MON#1`.
    pub nth: Option<String>,
}

/// How an expression handles a change of UTC offset.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// It names hours: each local time is due once.
    WallClock,
    /// It matches every hour: every matching moment is due.
    Interval,
}

impl Cron {
    /// Parses `expression`: five fields (minute, hour, day of month, month, weekday), six with seconds first, or a
    /// nickname such as `@hourly`. Fields are `*`, numbers, ranges, lists and steps; months and weekdays have names;
    /// Sunday is 0 and 7; `L` is the last day of a month, `FRI#2` its second Friday, `FRI#L` its last. If both the
    /// day of the month and the weekday are restricted, either suffices, unless one of them begins with `*`: then
    /// both must match.
    ///
    /// # Errors The expression is invalid, or is never due.
    pub fn parse(expression: &str, zone: Zone) -> Result<Self, CronError> {
        let pattern = expression::parse(expression)?;
        let every_hour = pattern.pattern.hours.values().len() == 24;
        let kind = if every_hour { Kind::Interval } else { Kind::WallClock };
        Ok(Self { expression: expression.to_owned(), zone, pattern, kind })
    }

    /// The expression as written.
    pub fn as_str(&self) -> &str {
        &self.expression
    }

    /// The weekday field and the whole expression with weekday names instead of digits, which crons number
    /// differently.
    pub fn with_named_weekdays(&self) -> Option<(&str, String)> {
        let (field, named) = expression::with_named_weekdays(&self.expression)?;
        let same = |other: Self| {
            let days = |cron: &Self| {
                let pattern = &cron.pattern.pattern;
                let either = !pattern.is_dom_wildcard() && !pattern.is_dow_wildcard();
                (pattern.days_of_week.values(), either, pattern.matches_dom_and_dow())
            };
            days(&other) == days(self)
        };
        Self::parse(&named, self.zone.clone()).is_ok_and(same).then_some((field, named))
    }

    /// The day-of-month and weekday fields, if either suffices.
    pub fn either_day(&self) -> Option<EitherDay<'_>> {
        let pattern = &self.pattern.pattern;
        if pattern.is_dom_wildcard() || pattern.is_dow_wildcard() || pattern.matches_dom_and_dow() {
            return None;
        }
        let (day, weekday) = expression::day_fields(&self.expression)?;
        let week = match day {
            "1-7" => Some(1),
            "8-14" => Some(2),
            "15-21" => Some(3),
            "22-28" => Some(4),
            _ => None,
        };
        let nth = week.and_then(|week| {
            let fields: Vec<&str> = self.expression.split_whitespace().collect();
            let (last, before) = fields.split_last()?;
            let (month, before) = before.split_last()?;
            let (_, before) = before.split_last()?;
            let nth = format!("{} * {month} {last}#{week}", before.join(" "));
            Self::parse(&nth, self.zone.clone()).is_ok().then_some(nth)
        });
        Some(EitherDay { day, weekday, nth })
    }

    /// The IANA name of the zone.
    pub fn zone_name(&self) -> &str {
        self.zone.name()
    }

    /// The time zone.
    pub fn zone(&self) -> &Zone {
        &self.zone
    }

    /// The number of runs in a minute with runs.
    pub fn runs_per_minute(&self) -> u32 {
        u32::try_from(self.pattern.pattern.seconds.values().len()).unwrap_or(u32::MAX)
    }

    /// The first due time after `after`; `None` if there is none before the year 3000.
    pub fn next_after(&self, after: DateTime<Utc>) -> Option<DateTime<Utc>> {
        let after = whole_seconds(after.max(TIME_MIN))?;
        let next = match self.kind {
            Kind::WallClock => {
                let latest = latest_local_time(&self.zone, after)?;
                first_occurrence(&self.zone, self.pattern.find_next_occurrence(&latest, false).ok()?)?
            }
            Kind::Interval => {
                self.pattern.find_next_occurrence(&after.with_timezone(&self.zone), false).ok()?.to_utc()
            }
        };
        (after < next && next <= TIME_MAX).then_some(next)
    }

    /// The latest due time at or before `moment`, consistent with [`Cron::next_after`]; `None` if there is none since
    /// the year 1900.
    pub fn prev_or_at(&self, moment: DateTime<Utc>) -> Option<DateTime<Utc>> {
        let moment = whole_seconds(moment.min(TIME_MAX))?;
        let previous = match self.kind {
            Kind::WallClock => {
                let latest = latest_local_time(&self.zone, moment)?;
                first_occurrence(&self.zone, self.pattern.find_previous_occurrence(&latest, true).ok()?)?
            }
            Kind::Interval => {
                self.pattern.find_previous_occurrence(&moment.with_timezone(&self.zone), true).ok()?.to_utc()
            }
        };
        (TIME_MIN < previous && previous <= moment).then_some(previous)
    }
}

/// Compares expressions as written.
impl PartialEq for Cron {
    fn eq(&self, other: &Self) -> bool {
        self.expression == other.expression && self.zone == other.zone
    }
}

const fn at(timestamp: i64) -> DateTime<Utc> {
    match DateTime::from_timestamp(timestamp, 0) {
        Some(moment) => moment,
        None => DateTime::UNIX_EPOCH,
    }
}

/// Truncates `moment` to seconds; `None` outside the supported time range.
fn whole_seconds(moment: DateTime<Utc>) -> Option<DateTime<Utc>> {
    let whole = DateTime::from_timestamp(moment.timestamp(), 0)?;
    (TIME_MIN <= whole && whole <= TIME_MAX).then_some(whole)
}

/// The latest local time that the zone has latest up to `moment`. While an hour is repeated, that is the last second
/// of that hour.
fn latest_local_time(zone: &Zone, moment: DateTime<Utc>) -> Option<NaiveDateTime> {
    let local = moment.with_timezone(zone).naive_local();
    match zone.from_local_datetime(&local) {
        MappedLocalTime::Ambiguous(first, second) if second <= moment => {
            let change = zone.change_between(first.to_utc(), second.to_utc());
            Some((change - TimeDelta::seconds(1)).with_timezone(zone).naive_local())
        }
        _ => Some(local),
    }
}

/// The first moment with the local time `local`, or the moment of the change that skips it.
fn first_occurrence(zone: &Zone, local: NaiveDateTime) -> Option<DateTime<Utc>> {
    match zone.from_local_datetime(&local) {
        MappedLocalTime::Single(moment) | MappedLocalTime::Ambiguous(moment, _) => Some(moment.to_utc()),
        MappedLocalTime::None => zone.end_of_gap(local),
    }
}

#[cfg(test)]
mod tests;
#[cfg(test)]
mod zones;
