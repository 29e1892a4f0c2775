//! What PostgreSQL has undone since it met another transaction is done again.

use std::time::Duration;

use tokio::time::sleep;
use uuid::Uuid;

use crate::error::Conflict;

/// How often an operation is tried, the first time included.
const ATTEMPTS_MAX: u32 = 5;

/// How long is waited before the second attempt, at most; twice as long before each of the next.
const PAUSE: Duration = Duration::from_millis(20);

/// Carries out an operation, and once more where it met another transaction (serialization_failure, deadlock_detected).
/// PostgreSQL has undone it then, also where it says so in answer to COMMIT, so nothing is done twice.
macro_rules! attempt {
    ($operation:expr) => {{
        let mut attempts = $crate::postgres::attempts::Attempts::default();
        loop {
            let done = $operation.await;
            if !attempts.remain(&done).await {
                break done;
            }
        }
    }};
}
pub(crate) use attempt;

/// How often an operation was tried.
#[derive(Debug, Default)]
pub(crate) struct Attempts(u32);

impl Attempts {
    /// Whether it is worth another one, after a pause: those who met should not meet again.
    pub(crate) async fn remain<T, E: Conflict>(&mut self, done: &Result<T, E>) -> bool {
        self.0 += 1;
        let met = done.as_ref().is_err_and(Conflict::is_conflict);
        if !met || self.0 >= ATTEMPTS_MAX {
            return false;
        }
        sleep(pause(self.0, Uuid::new_v4().as_u128())).await;
        true
    }
}

/// The pause after so many attempts: up to the whole of it, and at least the half, as chance has it.
fn pause(attempts: u32, chance: u128) -> Duration {
    let most = PAUSE * 2u32.pow(attempts - 1);
    most / 2 + most.mul_f64((chance % 1000) as f64 / 2000.0)
}
