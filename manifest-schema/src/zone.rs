//! IANA time zones and their data.
//!
//! Governments change offsets at short notice, so the data must be updatable without a new PiCloud. The system's
//! zoneinfo (`TZDIR` or `/usr/share/zoneinfo`) is used unless the bundled data is newer; a zone that is missing in
//! one comes from the other. This is the only file access of this crate, and each zone is read once per process.

mod data;
mod rules;
mod suggestion;

use std::fmt;
use std::sync::Arc;

use jiff::tz::TimeZone;

pub use data::{DamagedZoneError, Source, ZoneData, zone_data};
pub use rules::ZoneOffset;
pub(crate) use suggestion::{ZoneSuggestion, is_typo, suggest};

/// An IANA time zone.
#[derive(Clone)]
pub struct Zone {
    name: Arc<str>,
    rules: TimeZone,
}

impl Zone {
    /// UTC, which needs no data.
    pub fn utc() -> Self {
        Self { name: UTC.into(), rules: TimeZone::UTC }
    }

    /// The IANA name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its rules in jiff.
    pub fn rules(&self) -> &TimeZone {
        &self.rules
    }

    /// Whether it is UTC, whose rules never change.
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
