//! The state in one pass of an execution, as its host needs it.

use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use runtime::{
    ChangeMark, HostCall, Invocation, KvChange, KvError, KvKey, KvList, KvReadMode, KvValue, Trigger,
};
use uuid::Uuid;

use super::{Namespace, Session, Transaction};

/// The state of an execution in one pass. Most executions never use it.
#[derive(Debug, Default)]
pub(crate) struct PassState {
    session: OnceLock<Arc<Session>>,
    transaction: Mutex<Option<Box<Transaction>>>,
    /// The execution, if it is a run of a schedule.
    scheduled: Option<Uuid>,
}

impl PassState {
    /// The state of the next pass of an execution.
    pub(crate) fn of(session: Option<Arc<Session>>, invocation: &Invocation) -> Self {
        let is_scheduled = matches!(invocation.trigger, Trigger::Scheduled(_));
        Self {
            session: session.map_or_else(OnceLock::new, OnceLock::from),
            transaction: Mutex::default(),
            scheduled: is_scheduled.then_some(invocation.execution_id),
        }
    }

    /// What the passes of the execution share, if one used the state.
    pub(crate) fn session(&self) -> Option<Arc<Session>> {
        self.session.get().cloned()
    }

    /// Takes what the pass has read and written, if it used the state.
    pub(crate) fn take_transaction(&self) -> Option<Box<Transaction>> {
        self.transaction().take()
    }

    fn transaction(&self) -> MutexGuard<'_, Option<Box<Transaction>>> {
        self.transaction.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Passes the transaction of the pass to `act`; `None` without state.
    fn with<T>(
        &self,
        namespace: Option<&Arc<Namespace>>,
        act: impl FnOnce(&mut Transaction) -> T,
    ) -> Option<T> {
        let mut transaction = self.transaction();
        if transaction.is_none() {
            let namespace = namespace?;
            let session = self.session.get_or_init(|| Session::of(Arc::clone(namespace), self.scheduled));
            *transaction = Some(Box::new(Transaction::new(Arc::clone(session))));
        }
        transaction.as_deref_mut().map(act)
    }

    /// See [`runtime::Host::kv_get`].
    pub(crate) fn get(
        &self,
        namespace: Option<&Arc<Namespace>>,
        keys: &[KvKey],
        mode: KvReadMode,
    ) -> HostCall<Result<Vec<Option<KvValue>>, KvError>> {
        self.with(namespace, |transaction| transaction.get(keys, mode)).unwrap_or_else(no_state)
    }

    /// See [`runtime::Host::kv_list`].
    pub(crate) fn list(
        &self,
        namespace: Option<&Arc<Namespace>>,
        list: &KvList,
    ) -> HostCall<Result<Vec<(KvKey, KvValue)>, KvError>> {
        self.with(namespace, |transaction| transaction.list(list)).unwrap_or_else(no_state)
    }

    /// See [`runtime::Host::kv_change`].
    pub(crate) fn change(
        &self,
        namespace: Option<&Arc<Namespace>>,
        key: &KvKey,
        change: KvChange,
    ) -> HostCall<Result<(), KvError>> {
        let changed = self.with(namespace, |transaction| match transaction.change(key, change) {
            // The app has no memory left for what it writes.
            Ok(()) if transaction.session().has_failed() => HostCall::Restart,
            changed => HostCall::Ready(changed),
        });
        changed.unwrap_or_else(no_state)
    }

    /// See [`runtime::Host::mark_changes`].
    pub(crate) fn mark(&self) -> ChangeMark {
        self.transaction().as_deref().map_or(ChangeMark(0), Transaction::mark)
    }

    /// See [`runtime::Host::undo_changes`].
    pub(crate) fn undo_to(&self, mark: ChangeMark) {
        if let Some(transaction) = self.transaction().as_mut() {
            transaction.undo_to(mark);
        }
    }
}

fn no_state<T>() -> HostCall<Result<T, KvError>> {
    HostCall::Ready(Err(KvError::Unavailable("this server keeps no state".to_owned())))
}
