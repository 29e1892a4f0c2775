//! Retries operations that PostgreSQL rolled back because of a conflict with another transaction.

use std::time::Duration;

use tokio::time::sleep;
use uuid::Uuid;

use crate::error::Conflict;

/// How often an operation is attempted, including the first time.
const ATTEMPTS_MAX: u32 = 5;

/// The maximum delay before the second attempt; doubled for each later one.
const DELAY_MAX: Duration = Duration::from_millis(20);

/// Runs an operation, and retries it after serialization_failure and deadlock_detected. PostgreSQL has rolled it back
/// then, even if it reports that in response to COMMIT, so nothing is done twice.
macro_rules! retry {
    ($operation:expr) => {{
        let mut attempts = $crate::postgres::attempts::Attempts::default();
        loop {
            let done = $operation.await;
            if !attempts.should_retry(&done).await {
                break done;
            }
        }
    }};
}
pub(crate) use retry;

/// Counts the attempts of an operation.
#[derive(Debug, Default)]
pub(crate) struct Attempts(u32);

impl Attempts {
    /// Whether to retry after a delay with jitter, so that the same transactions do not conflict again.
    pub(crate) async fn should_retry<T, E: Conflict>(&mut self, done: &Result<T, E>) -> bool {
        self.0 += 1;
        let conflict = done.as_ref().is_err_and(Conflict::is_conflict);
        if !conflict || self.0 >= ATTEMPTS_MAX {
            return false;
        }
        sleep(delay(self.0, Uuid::new_v4().as_u128())).await;
        true
    }
}

/// The delay after this number of attempts: from half of the maximum to the maximum.
fn delay(attempts: u32, random: u128) -> Duration {
    let max = DELAY_MAX * 2u32.pow(attempts - 1);
    max / 2 + max.mul_f64((random % 1000) as f64 / 2000.0)
}
