//! Whether the clock of this machine can be right, as far as the database knows.
//!
//! Schedules, the leases of their runs, and what is old enough to be deleted are all reckoned by it.

use chrono::{DateTime, TimeDelta, Utc};
use store::{KnownTime, Store, StoreError};

use crate::words::time;

/// How far clocks may be apart before that is told.
const TOLD: TimeDelta = TimeDelta::seconds(5);

/// How far the clocks of node and database may be apart. It takes far more to delete what is not old, and far less is usual.
const BORNE: TimeDelta = TimeDelta::minutes(5);

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

/// Refuses a clock that cannot be right beside that of the database. Where there is none, as with the embedded one, a clock
/// that is behind what was written already is told: a board without a battery is served until it has heard the time.
pub(crate) async fn check(store: &Store) -> Result<(), ClockError> {
    let known = store.time().await?;
    let here = Utc::now();
    match known {
        KnownTime::Clock(there) if (here - there).abs() > BORNE => Err(ClockError::Apart { here, there }),
        KnownTime::Clock(there) if (here - there).abs() > TOLD => {
            tracing::warn!(
                "the clock of this machine says {}, and that of the database {}: set the one that is wrong",
                time(here),
                time(there)
            );
            Ok(())
        }
        KnownTime::NotBefore(latest) if latest - here > BORNE => {
            tracing::warn!(
                "the clock of this machine says {}, and the latest entry in the database is of {}: until it is set, \
                 schedules wait, and what is written has a wrong time",
                time(here),
                time(latest)
            );
            Ok(())
        }
        KnownTime::Clock(_) | KnownTime::NotBefore(_) | KnownTime::Nothing => Ok(()),
    }
}
