//! Whether the clock of this machine can be right, as far as the database knows.
//!
//! Schedules, the leases of their runs, and what is old enough to be deleted are all reckoned by it.

use chrono::{DateTime, TimeDelta, Utc};
use platform::clock::Clock;
use store::{KnownTime, Store, StoreError};

use crate::words::time;

/// How far the clocks of node and database can be apart. Far less is usual.
const APART_MAX: TimeDelta = TimeDelta::minutes(5);

/// Why a node does not start by its clock.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ClockError {
    #[error(
        "the clock of this machine says {}, and that of the database {}: set the one that is wrong",
        time(*here), time(*there)
    )]
    Apart { here: DateTime<Utc>, there: DateTime<Utc> },
    #[error("cannot ask the database for the time")]
    Store(#[from] StoreError),
}

/// The clock of this node. One that cannot be right beside that of the database is refused. Where the database has none, as the
/// embedded one, a clock that is behind what was written already is told: a board without a battery is served until it has
/// heard the time.
pub(crate) async fn of_node(store: &Store) -> Result<Clock, ClockError> {
    let clock = Clock::default();
    let known = store.time().await?;
    let here = Utc::now();
    match known {
        KnownTime::Clock(there) if (here - there).abs() > APART_MAX => {
            return Err(ClockError::Apart { here, there });
        }
        KnownTime::Clock(there) => clock.set_database_time(there),
        KnownTime::NotBefore(latest) => {
            clock.latest_entry(latest);
            if latest - here > APART_MAX {
                tracing::warn!(
                    "the clock of this machine says {}, and the latest entry in the database is of {}: set the clock, \
                     by which schedules run and what is written is dated",
                    time(here),
                    time(latest)
                );
            }
        }
        KnownTime::Nothing => {}
    }
    Ok(clock)
}
