//! Checks the clock of this machine against the database at the start.
//!
//! Schedules, the leases of their runs and retention depend on the clock.

use chrono::{DateTime, TimeDelta, Utc};
use platform::clock::Clock;
use store::{DatabaseTime, Store, StoreError};

use crate::render::time;

/// The maximum clock skew between node and database.
const SKEW_MAX: TimeDelta = TimeDelta::minutes(5);

/// Why a node does not start.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ClockError {
    #[error(
        "the clock of this machine ({}) and the clock of the database ({}) differ: correct the wrong one",
        time(*node), time(*database)
    )]
    Skew { node: DateTime<Utc>, database: DateTime<Utc> },
    #[error("cannot read the clock of the database")]
    Store(#[from] StoreError),
}

/// Creates the clock of the node. The skew to the clock of a database server must be small. SQLite has no clock; there, a clock
/// behind the latest entry is only a warning, since boards without a battery start before NTP has set their clock.
pub(crate) async fn check(store: &Store) -> Result<Clock, ClockError> {
    let clock = Clock::default();
    let known = store.time().await?;
    let now = Utc::now();
    match known {
        DatabaseTime::Clock(database) if (now - database).abs() > SKEW_MAX => {
            return Err(ClockError::Skew { node: now, database });
        }
        DatabaseTime::Clock(database) => clock.set_database_time(database),
        DatabaseTime::NotBefore(latest) => {
            clock.latest_entry(latest);
            if latest - now > SKEW_MAX {
                tracing::warn!(
                    "the clock of this machine ({}) is behind the latest entry in the database ({}): correct the clock, which \
                     schedules and retention depend on",
                    time(now),
                    time(latest)
                );
            }
        }
        DatabaseTime::Unknown => {}
    }
    Ok(clock)
}
