//! Time zones, and the data by which their clocks go.
//!
//! Governments change their clocks at short notice, so the data must be renewable without a new PiCloud: the system's
//! zoneinfo is read, `TZDIR` or `/usr/share/zoneinfo`, unless what is bundled with PiCloud is newer. A zone that the one does
//! not have comes from the other. This is the only thing that this crate reads, each zone once in the life of a process.

mod data;
mod meant;
mod rules;

use std::fmt;
use std::sync::Arc;

use jiff::tz::TimeZone;

pub use data::{DamagedZone, Source, ZoneData, zone_data};
pub(crate) use meant::{Meant, is_slip, meant};
pub use rules::ZoneOffset;

/// A time zone of the IANA database.
#[derive(Clone)]
pub struct Zone {
    name: Arc<str>,
    rules: TimeZone,
}

impl Zone {
    /// The zone that needs no data.
    pub fn utc() -> Self {
        Self { name: UTC.into(), rules: TimeZone::UTC }
    }

    /// The IANA name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its rules, as jiff has them.
    pub fn rules(&self) -> &TimeZone {
        &self.rules
    }

    /// Whether it has no rules that anybody could change.
    pub fn is_utc(&self) -> bool {
        &*self.name == UTC
    }
}

const UTC: &str = "UTC";

impl PartialEq for Zone {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name
    }
}

impl Eq for Zone {}

impl fmt::Display for Zone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)
    }
}

impl fmt::Debug for Zone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Zone").field(&self.name).finish()
    }
}
