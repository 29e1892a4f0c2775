//! Commits what an execution has written, and holds its answer until all that it has seen is stored.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use runtime::{Execution, Failure, FailureKind};
use tokio::runtime::Handle;
use tokio::sync::OwnedRwLockWriteGuard;
use tokio_util::task::AbortOnDropHandle;

use crate::memory::{OutOfMemory, Purpose, Reservation};
use crate::state::{Accepted, Namespace, NotAccepted, NotStored, Session, Transaction};

/// An execution whose reads were outdated this often runs alone.
const CONFLICTS_MAX: u32 = 2;

/// How long an execution can have a namespace for itself.
const ALONE_MAX: Duration = Duration::from_millis(50);

/// The maximum size of a response that waits without a reservation of its own.
const UNRESERVED_BYTES: usize = 16 * 1024;

/// What follows after a pass that ended.
pub(super) enum Settled {
    /// Its answer can leave.
    Finished,
    /// Its answer can leave when this is stored.
    Accepted(Unstored),
    /// What it has read was outdated: it must run again.
    Outdated,
    /// It has failed, and nothing is stored.
    Failed(Failure),
}

/// What an execution has written or seen and is not stored yet.
pub(super) struct Unstored {
    namespace: Arc<Namespace>,
    accepted: Accepted,
    /// The memory of the response, which waits.
    _response: Option<Reservation>,
}

impl Unstored {
    /// Waits until it is stored.
    ///
    /// # Errors
    /// See [`NotStored`].
    pub(super) async fn stored(self) -> Result<(), NotStored> {
        self.namespace.stored(self.accepted).await
    }
}

/// Accepts what a finished pass has written. A script that failed has written nothing.
pub(super) async fn settle(
    transaction: Option<Box<Transaction>>,
    execution: &Execution,
    turn: &Turn,
) -> Settled {
    let Some(mut transaction) = transaction else { return Settled::Finished };
    if let Some(failure) = transaction.session().take_failure() {
        return Settled::Failed(failure);
    }
    if execution.outcome.is_err() {
        transaction.drop_writes();
    }
    let namespace = Arc::clone(transaction.session().namespace());
    let response = match reserve_response(&namespace, execution) {
        Ok(response) => response,
        Err(error) => return Settled::Failed(out_of_memory(error)),
    };
    let is_alone = turn.is_held();
    let _shared = match is_alone || transaction.has_no_writes() {
        true => None,
        false => Some(namespace.share_turn().await),
    };
    match namespace.accept_when_ready(&transaction).await {
        Ok(accepted) if namespace.is_stored(&accepted) => Settled::Finished,
        Ok(accepted) => Settled::Accepted(Unstored { namespace, accepted, _response: response }),
        Err(NotAccepted::Failed(failure)) => Settled::Failed(failure),
        Err(NotAccepted::Conflict | NotAccepted::Missing(_) | NotAccepted::Full) => Settled::Outdated,
    }
}

/// Reserves memory for the response while it waits. Its script does not run any more, so nothing else counts it.
fn reserve_response(
    namespace: &Namespace,
    execution: &Execution,
) -> Result<Option<Reservation>, OutOfMemory> {
    let bytes = execution.outcome.as_ref().map_or(0, |response| response.body.len());
    match namespace.account().filter(|_| bytes > UNRESERVED_BYTES) {
        Some(account) => account.try_reserve(Purpose::Responses, bytes as u64).map(Some),
        None => Ok(None),
    }
}

fn out_of_memory(error: OutOfMemory) -> Failure {
    Failure { kind: FailureKind::NodeMemory, message: error.to_string(), location: None }
}

/// The execution that ends with a failure of its state.
pub(super) fn failed(execution: Execution, failure: Failure) -> Execution {
    Execution { outcome: Err(failure), ..execution }
}

/// The failure of an execution whose writes, or what it has seen, could not be stored.
pub(super) fn not_stored() -> Failure {
    let message = "the state of the app could not be stored".to_owned();
    Failure { kind: FailureKind::Storage, message, location: None }
}

/// The turn of an execution that runs alone in its namespace. It ends by itself after [`ALONE_MAX`].
#[derive(Debug, Default)]
pub(super) struct Turn(Option<HeldTurn>);

#[derive(Debug)]
struct HeldTurn {
    held: Arc<Mutex<Option<OwnedRwLockWriteGuard<()>>>>,
    _timer: AbortOnDropHandle<()>,
}

impl Turn {
    /// The turn of the next pass, after this number of conflicts.
    pub(super) async fn of(session: Option<&Session>, conflicts: u32, handle: &Handle) -> Self {
        let Some(session) = session.filter(|_| conflicts >= CONFLICTS_MAX) else { return Self(None) };
        let held = Arc::new(Mutex::new(Some(session.namespace().take_turn().await)));
        let timed = Arc::clone(&held);
        let timer = handle.spawn(async move {
            tokio::time::sleep(ALONE_MAX).await;
            drop(timed.lock().unwrap_or_else(PoisonError::into_inner).take());
        });
        Self(Some(HeldTurn { held, _timer: AbortOnDropHandle::new(timer) }))
    }

    /// Whether the execution still runs alone.
    fn is_held(&self) -> bool {
        let held = self.0.as_ref().map(|turn| turn.held.lock().unwrap_or_else(PoisonError::into_inner));
        held.is_some_and(|held| held.is_some())
    }
}
