//! The interface between an execution and everything outside it.
//!
//! A script reaches the outside only through the calls of a [`Host`], whether it runs inline on the thread of its
//! request or on a thread of its own. A host call returns a value at once ([`HostCall::Ready`]) or has to wait
//! ([`HostCall::Pending`]). The runtime handles a pending call:
//!
//! - an inline pass stops ([`crate::InlineOutcome::Blocked`]); its caller waits and then runs the script again from
//!   the start
//! - an execution on its own thread waits in [`Host::wait`] and repeats the call
//!
//! A script cannot distinguish these cases, provided that the host returns the same values in every pass.

use std::fmt;
use std::pin::Pin;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use crate::function::{Callee, CalleeError};
use crate::kv::{KvChange, KvError, KvKey, KvList, KvReadMode, KvValue};
use crate::log_line::LogLine;
use crate::sealing::{SealingKey, SealingKeyId};

/// The outside of an execution.
pub trait Host: Send + Sync {
    /// Receives one log line of the script.
    fn log(&self, line: LogLine) -> HostCall<()>;

    /// Waits on the thread of the execution until `pending` completes or `stop` is set. A host that lent a CPU permit
    /// takes it back meanwhile. Returns the time that does not count for the time limit: the wait for the permit. Never
    /// called in an inline pass.
    fn wait(&self, pending: Pending, stop: &AtomicBool) -> Duration;

    /// Called every [`crate::YIELD_INTERVAL`] by an execution that computes on its own thread. Lets waiting
    /// executions compute and returns the time waited.
    fn yield_cpu(&self, stop: &AtomicBool) -> Duration {
        let _ = stop;
        Duration::ZERO
    }

    /// Reserves `bytes` of the node's memory for the execution in total, never less than before. Called before the
    /// execution uses more, in steps of one mebibyte. The first [`crate::UNRESERVED_MEMORY_MAX`] need no reservation.
    ///
    /// # Errors
    /// The node has no memory left. The execution fails.
    fn reserve_memory(&self, bytes: u64) -> Result<(), OutOfMemoryError> {
        let _ = bytes;
        Ok(())
    }

    /// The key with this id that `crypto::seal` used, or the newest key if `id` is `None`. An unknown id has none.
    /// The error is a message for authors: what the operator has to do.
    fn sealing_key(&self, id: Option<SealingKeyId>) -> HostCall<Result<Option<SealingKey>, String>> {
        let _ = id;
        HostCall::Ready(Err("this server has no key to seal with".to_owned()))
    }

    /// Reads the values of `keys`, in their order: of one moment with everything that the execution read before, with
    /// its own changes. `None`: the key does not exist.
    fn kv_get(&self, keys: &[KvKey], mode: KvReadMode) -> HostCall<Result<Vec<Option<KvValue>>, KvError>> {
        let _ = (keys, mode);
        HostCall::Ready(Err(KvError::Unavailable(NO_STATE.to_owned())))
    }

    /// Reads the entries of a range of keys, as [`Host::kv_get`] does.
    fn kv_list(&self, list: &KvList) -> HostCall<Result<Vec<(KvKey, KvValue)>, KvError>> {
        let _ = list;
        HostCall::Ready(Err(KvError::Unavailable(NO_STATE.to_owned())))
    }

    /// Adds a change to those of the execution. They are stored together after it has ended well.
    fn kv_change(&self, key: &KvKey, change: KvChange) -> HostCall<Result<(), KvError>> {
        let _ = (key, change);
        HostCall::Ready(Err(KvError::Unavailable(NO_STATE.to_owned())))
    }

    /// Marks the changes made so far, for [`Host::undo_changes`]. Marks nest.
    fn mark_changes(&self) -> ChangeMark {
        ChangeMark(0)
    }

    /// Drops the changes made since the mark.
    fn undo_changes(&self, mark: ChangeMark) {
        let _ = mark;
    }

    /// The function `name` of the app, for a script that calls it. Only with `may_compile` the call can take as long as
    /// a compilation.
    ///
    /// # Errors
    /// There is none, or it is not compiled.
    fn function(&self, name: &str, may_compile: bool) -> Result<Callee, CalleeError> {
        let _ = (name, may_compile);
        Err(CalleeError::Unknown(None))
    }

    /// Records that the execution leaked `bytes`.
    fn note_leaked(&self, bytes: u64) {
        let _ = bytes;
    }
}

/// Why the node has no memory for an execution or a compilation.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct OutOfMemoryError(pub String);

const NO_STATE: &str = "there is none here";

/// A point between two changes of an execution.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ChangeMark(pub usize);

/// The result of a host call.
#[must_use = "a pending call must be awaited"]
pub enum HostCall<T> {
    /// The value.
    Ready(T),
    /// Completes when the call can be repeated.
    Pending(Pending),
    /// What the execution read has changed meanwhile. The pass ends without effects, and the script runs again.
    Restart,
}

/// A future that a host call waits for.
pub type Pending = Pin<Box<dyn Future<Output = ()> + Send>>;

impl<T: fmt::Debug> fmt::Debug for HostCall<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ready(value) => f.debug_tuple("Ready").field(value).finish(),
            Self::Pending(_) => f.write_str("Pending"),
            Self::Restart => f.write_str("Restart"),
        }
    }
}
