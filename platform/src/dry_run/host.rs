//! The outside of a dry run: log lines are kept, memory is accounted, and nothing else exists.

use std::sync::atomic::AtomicBool;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use runtime::{Host, HostCall, LogLine, OutOfMemoryError, Pending, SealingKey, SealingKeyId};
use uuid::Uuid;

use crate::memory::{Account, GrowingReservation, Purpose};
use crate::secrets::SealingKeys;

/// The host of a dry run.
#[derive(Debug)]
pub(super) struct DryHost {
    app: Uuid,
    account: Account,
    memory: GrowingReservation,
    lines: Mutex<Vec<LogLine>>,
}

impl DryHost {
    pub(super) fn new(app: Uuid, account: Account) -> Self {
        Self { app, account, memory: GrowingReservation::new(Purpose::Scripts), lines: Mutex::default() }
    }

    /// The log lines until now.
    pub(super) fn take_lines(&self) -> Vec<LogLine> {
        std::mem::take(&mut *self.lines.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Host for DryHost {
    fn log(&self, line: LogLine) -> HostCall<()> {
        self.lines.lock().unwrap_or_else(PoisonError::into_inner).push(line);
        HostCall::Ready(())
    }

    /// No call of this host is pending.
    fn wait(&self, _: Pending, _: &AtomicBool) -> Duration {
        Duration::ZERO
    }

    fn reserve_memory(&self, bytes: u64) -> Result<(), OutOfMemoryError> {
        self.memory.grow_to(&self.account, bytes).map_err(|error| OutOfMemoryError(error.to_string()))
    }

    /// Never a key of the node: what a check seals must not open anything in production.
    fn sealing_key(&self, id: Option<SealingKeyId>) -> HostCall<Result<Option<SealingKey>, String>> {
        SealingKeys::Development.key(self.app, false, id)
    }
}
