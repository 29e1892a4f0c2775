//! The outside of a dry run: log lines are kept, memory is accounted, and the state is empty at first and not stored.

use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use runtime::{
    Callee, CalleeError, ChangeMark, Failure, Host, HostCall, KvChange, KvError, KvKey, KvList, KvReadMode,
    KvValue, LogLine, OutOfMemoryError, Pending, Revision, SealingKey, SealingKeyId,
};

use crate::memory::{GrowingReservation, Purpose};
use crate::scripts::AppScripts;
use crate::secrets::SealingKeys;
use crate::state::{Namespace, NotAccepted, PassState};

/// The host of a dry run.
#[derive(Debug)]
pub(super) struct DryHost {
    revision: Arc<Revision>,
    scripts: AppScripts,
    memory: GrowingReservation,
    lines: Mutex<Vec<LogLine>>,
    namespace: Arc<Namespace>,
    state: PassState,
}

impl DryHost {
    pub(super) fn new(revision: &Revision, scripts: &AppScripts, namespace: Arc<Namespace>) -> Self {
        let (memory, lines) = (GrowingReservation::new(Purpose::Scripts), Mutex::default());
        let (revision, scripts) = (Arc::new(revision.clone()), scripts.clone());
        Self { revision, scripts, memory, lines, namespace, state: PassState::default() }
    }

    /// Adds what the run has written to the state that later runs see.
    ///
    /// # Errors
    /// It does not fit.
    pub(super) fn keep_writes(&self) -> Result<(), Failure> {
        match self.state.take_transaction().map(|transaction| self.namespace.accept(&transaction)) {
            Some(Err(NotAccepted::Failed(failure))) => Err(failure),
            // Nothing else writes, so there are no conflicts.
            _ => Ok(()),
        }
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
        self.memory
            .grow_to(self.scripts.account(), bytes)
            .map_err(|error| OutOfMemoryError(error.to_string()))
    }

    fn kv_get(&self, keys: &[KvKey], mode: KvReadMode) -> HostCall<Result<Vec<Option<KvValue>>, KvError>> {
        self.state.get(Some(&self.namespace), keys, mode)
    }

    fn kv_list(&self, list: &KvList) -> HostCall<Result<Vec<(KvKey, KvValue)>, KvError>> {
        self.state.list(Some(&self.namespace), list)
    }

    fn kv_change(&self, key: &KvKey, change: KvChange) -> HostCall<Result<(), KvError>> {
        self.state.change(Some(&self.namespace), key, change)
    }

    fn mark_changes(&self) -> ChangeMark {
        self.state.mark()
    }

    fn undo_changes(&self, mark: ChangeMark) {
        self.state.undo_to(mark);
    }

    /// Never a key of the node: what a check seals must not open anything in production.
    fn sealing_key(&self, id: Option<SealingKeyId>) -> HostCall<Result<Option<SealingKey>, String>> {
        SealingKeys::Development.key(self.revision.app_id(), false, id)
    }

    fn function(&self, name: &str, _: bool) -> Result<Callee, CalleeError> {
        Callee::find(&self.revision, name, Some(&|of, path| self.scripts.program(of, path)))
    }
}
