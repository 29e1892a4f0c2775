//! Cron expressions in a time zone, and when they are due.
//!
//! croner walks the calendar; the room `expression` decides what is an expression, and this one what a change of the
//! clock means. There are two kinds of expressions:
//!
//! - One that names some hours (`30 2 * * *`, `*/15 9-17 * * *`) goes by the clock on the wall: each time that the
//!   clock shows is one run. A time that is shown twice is due when it is shown first; one that is left out is due at
//!   the moment the clock leaps over it. So a day has as many runs as any other, and none comes twice.
//! - One that takes every hour (`*/30 * * * *`) is an interval: it is due whenever the clock shows a matching time, in
//!   the repeated hour too, and nothing is made up for an hour that never was.
//!
//! croner alone would not do: it takes every list, range or step of hours for an interval, so that `0 2,14 * * *` would
//! lose a run in spring and double one in autumn.

mod error;
mod expression;
mod meant;

use chrono::{DateTime, MappedLocalTime, NaiveDateTime, TimeDelta, TimeZone, Utc};

use crate::zone::Zone;

pub use error::CronError;
pub(crate) use meant::meant as expression_meant;

/// Due times are looked for from 1900-01-01T00:00:00Z …
const FIRST: DateTime<Utc> = at(-2_208_988_800);

/// … to 3000-01-01T00:00:00Z: wide of any schedule, and well within what croner and chrono compute with.
const LAST: DateTime<Utc> = at(32_503_680_000);

/// A checked cron expression with its time zone. It is due at some time in every stretch of forty years.
#[derive(Clone, Debug)]
pub struct Cron {
    expression: String,
    zone: Zone,
    pattern: croner::Cron,
    kind: Kind,
}

/// Days of the month and weekdays that an expression names, of which either is enough.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EitherDay<'e> {
    /// Its field for the day of month.
    pub day: &'e str,
    /// Its field for the weekday.
    pub weekday: &'e str,
    /// The expression for such a weekday in such a week of the month, where `day` is a week: `0 0 * * MON#1`.
    pub nth: Option<String>,
}

/// What a change of the clock means to an expression.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// It names hours, and goes by the clock on the wall.
    WallClock,
    /// It takes every hour, and goes by the time that passes.
    Interval,
}

impl Cron {
    /// Reads `expression`: five fields (minute, hour, day of month, month, weekday), six with seconds first, or a
    /// nickname such as `@hourly`. Fields are `*`, numbers, ranges, lists and steps; months and weekdays have names;
    /// Sunday is 0 and 7; `L` is the last day of a month, `FRI#2` its second Friday, `FRI#L` its last. Where both the
    /// day of the month and the weekday are given, either is enough, unless one of them begins with `*`: then both have to match.
    ///
    /// # Errors
    /// It is none, or is never due.
    pub fn parse(expression: &str, zone: Zone) -> Result<Self, CronError> {
        let pattern = expression::parse(expression)?;
        let every_hour = pattern.pattern.hours.values().len() == 24;
        let kind = if every_hour { Kind::Interval } else { Kind::WallClock };
        Ok(Self { expression: expression.to_owned(), zone, pattern, kind })
    }

    /// The expression as the manifest has it.
    pub fn as_str(&self) -> &str {
        &self.expression
    }

    /// The weekday field and the whole expression with names in place of digits, where digits stand for weekdays: not all
    /// crons count them alike.
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

    /// The fields for the day of month and for the weekday, where either is enough and a reader could take them for both.
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

    /// The zone.
    pub fn zone(&self) -> &Zone {
        &self.zone
    }

    /// How often it is due within a minute in which it is due at all.
    pub fn runs_per_minute(&self) -> u32 {
        u32::try_from(self.pattern.pattern.seconds.values().len()).unwrap_or(u32::MAX)
    }

    /// The first time it is due strictly after `after`; `None` when it is not again before the year 3000.
    pub fn next_after(&self, after: DateTime<Utc>) -> Option<DateTime<Utc>> {
        let after = whole_seconds(after.max(FIRST))?;
        let next = match self.kind {
            Kind::WallClock => {
                let reached = furthest_shown(&self.zone, after)?;
                first_moment(&self.zone, self.pattern.find_next_occurrence(&reached, false).ok()?)?
            }
            Kind::Interval => {
                self.pattern.find_next_occurrence(&after.with_timezone(&self.zone), false).ok()?.to_utc()
            }
        };
        (after < next && next <= LAST).then_some(next)
    }

    /// The latest time it was due at or before `moment`, among the very times that [`Cron::next_after`] walks through;
    /// `None` when it was not since the year 1900.
    pub fn prev_or_at(&self, moment: DateTime<Utc>) -> Option<DateTime<Utc>> {
        let moment = whole_seconds(moment.min(LAST))?;
        let previous = match self.kind {
            Kind::WallClock => {
                let reached = furthest_shown(&self.zone, moment)?;
                first_moment(&self.zone, self.pattern.find_previous_occurrence(&reached, true).ok()?)?
            }
            Kind::Interval => {
                self.pattern.find_previous_occurrence(&moment.with_timezone(&self.zone), true).ok()?.to_utc()
            }
        };
        (FIRST < previous && previous <= moment).then_some(previous)
    }
}

/// Two are equal that read the same in the same zone.
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

/// `moment` without its part of a second, if it is one that is looked at.
fn whole_seconds(moment: DateTime<Utc>) -> Option<DateTime<Utc>> {
    let whole = DateTime::from_timestamp(moment.timestamp(), 0)?;
    (FIRST <= whole && whole <= LAST).then_some(whole)
}

/// The furthest time that the clock on the wall has shown up to `moment`. That is what it shows now, but while it shows
/// an hour again it is the last second of that hour.
fn furthest_shown(zone: &Zone, moment: DateTime<Utc>) -> Option<NaiveDateTime> {
    let shown = moment.with_timezone(zone).naive_local();
    match zone.from_local_datetime(&shown) {
        MappedLocalTime::Ambiguous(first, second) if second <= moment => {
            let set_back = zone.change_between(first.to_utc(), second.to_utc());
            Some((set_back - TimeDelta::seconds(1)).with_timezone(zone).naive_local())
        }
        _ => Some(shown),
    }
}

/// The moment at which the clock first shows `local`, or leaps over it.
fn first_moment(zone: &Zone, local: NaiveDateTime) -> Option<DateTime<Utc>> {
    match zone.from_local_datetime(&local) {
        MappedLocalTime::Single(moment) | MappedLocalTime::Ambiguous(moment, _) => Some(moment.to_utc()),
        MappedLocalTime::None => zone.end_of_gap(local),
    }
}

#[cfg(test)]
mod tests;
#[cfg(test)]
mod zones;
