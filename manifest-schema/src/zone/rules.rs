//! [`Zone`] as a chrono time zone, for croner.

use std::fmt;

use chrono::{
    DateTime, FixedOffset, MappedLocalTime, NaiveDate, NaiveDateTime, Offset, TimeDelta, TimeZone, Utc,
};
use jiff::Timestamp;
use jiff::civil;
use jiff::tz::AmbiguousOffset;

use super::Zone;

/// A zone's offset from UTC at some moment.
#[derive(Clone, Debug)]
pub struct ZoneOffset {
    zone: Zone,
    ahead: FixedOffset,
}

impl Offset for ZoneOffset {
    fn fix(&self) -> FixedOffset {
        self.ahead
    }
}

/// Formats as `+02:00`.
impl fmt::Display for ZoneOffset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.ahead.fmt(f)
    }
}

impl Zone {
    /// The moment of the change that skips `local`; `None` if `local` exists.
    pub(crate) fn end_of_gap(&self, local: NaiveDateTime) -> Option<DateTime<Utc>> {
        let AmbiguousOffset::Gap { before, after } =
            self.rules().to_ambiguous_timestamp(civil(local)?).offset()
        else {
            return None;
        };
        // With the later offset, `local` is before the change; with the earlier one, after it.
        let at = |ahead: jiff::tz::Offset| local.and_utc() - TimeDelta::seconds(ahead.seconds().into());
        Some(self.change_between(at(after), at(before)))
    }

    /// The moment of the change of offset between two moments, by bisection.
    pub(crate) fn change_between(
        &self,
        mut before: DateTime<Utc>,
        mut after: DateTime<Utc>,
    ) -> DateTime<Utc> {
        let ahead_before = self.ahead_at(before);
        while after - before > TimeDelta::seconds(1) {
            let middle = before + TimeDelta::seconds((after - before).num_seconds() / 2);
            if self.ahead_at(middle) == ahead_before {
                before = middle;
            } else {
                after = middle;
            }
        }
        after
    }

    fn ahead_at(&self, moment: DateTime<Utc>) -> FixedOffset {
        // jiff's range covers thousands of years.
        let moment = Timestamp::from_second(moment.timestamp()).unwrap_or(match moment.timestamp() > 0 {
            true => Timestamp::MAX,
            false => Timestamp::MIN,
        });
        fixed(self.rules().to_offset(moment))
    }

    fn offset(&self, ahead: FixedOffset) -> ZoneOffset {
        ZoneOffset { zone: self.clone(), ahead }
    }
}

impl TimeZone for Zone {
    type Offset = ZoneOffset;

    fn from_offset(offset: &ZoneOffset) -> Self {
        offset.zone.clone()
    }

    fn offset_from_local_date(&self, local: &NaiveDate) -> MappedLocalTime<ZoneOffset> {
        self.offset_from_local_datetime(&local.and_time(chrono::NaiveTime::MIN))
    }

    fn offset_from_local_datetime(&self, local: &NaiveDateTime) -> MappedLocalTime<ZoneOffset> {
        let Some(civil) = civil(*local) else { return MappedLocalTime::None };
        match self.rules().to_ambiguous_timestamp(civil).offset() {
            AmbiguousOffset::Unambiguous { offset } => MappedLocalTime::Single(self.offset(fixed(offset))),
            AmbiguousOffset::Gap { .. } => MappedLocalTime::None,
            AmbiguousOffset::Fold { before, after } => {
                MappedLocalTime::Ambiguous(self.offset(fixed(before)), self.offset(fixed(after)))
            }
        }
    }

    fn offset_from_utc_date(&self, utc: &NaiveDate) -> ZoneOffset {
        self.offset_from_utc_datetime(&utc.and_time(chrono::NaiveTime::MIN))
    }

    fn offset_from_utc_datetime(&self, utc: &NaiveDateTime) -> ZoneOffset {
        self.offset(self.ahead_at(utc.and_utc()))
    }
}

fn fixed(offset: jiff::tz::Offset) -> FixedOffset {
    FixedOffset::east_opt(offset.seconds()).unwrap_or_else(|| Utc.fix())
}

/// `None` outside jiff's range.
fn civil(local: NaiveDateTime) -> Option<civil::DateTime> {
    use chrono::{Datelike as _, Timelike as _};
    let part = |number: u32| i8::try_from(number).ok();
    let year = i16::try_from(local.year()).ok()?;
    // A leap second counts as the second before.
    let nanosecond = i32::try_from(local.nanosecond().min(999_999_999)).ok()?;
    let (month, day) = (part(local.month())?, part(local.day())?);
    let (hour, minute, second) = (part(local.hour())?, part(local.minute())?, part(local.second())?);
    civil::DateTime::new(year, month, day, hour, minute, second, nanosecond).ok()
}
