//! The door from a run to everything outside it.
//!
//! A script reaches the outside through calls of a [`Host`] only, the same whether it runs inline, on the thread of the request
//! that it answers, or on a thread of its own. A host call is answered at once ([`HostCall::Ready`]) or has to wait
//! ([`HostCall::Pending`]). What happens then is the business of the runtime:
//!
//! - an inline pass ends ([`crate::Pass`]); its caller waits, and runs the script again from its beginning
//! - a run on a thread of its own waits there, by [`Host::wait`], and makes the call again
//!
//! A script cannot tell either from a call that is answered at once, as long as the host gives every pass the same answers.

use std::fmt;
use std::pin::Pin;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use crate::log_line::LogLine;

/// What a run reaches outside.
pub trait Host: Send + Sync {
    /// Takes one line of the script's log.
    fn log(&self, line: LogLine) -> HostCall<()>;

    /// Waits on the run's own thread until `pending` is over or `stop` is set, and returns how long that took. A host that was
    /// lent a CPU permit gives it back meanwhile. Never called in an inline pass.
    fn wait(&self, pending: Pending, stop: &AtomicBool) -> Duration;

    /// Called every [`crate::YIELD_EVERY`] by a run that computes on a thread of its own: lets others compute if any wait, and
    /// returns how long that took.
    fn yield_cpu(&self, stop: &AtomicBool) -> Duration {
        let _ = stop;
        Duration::ZERO
    }

    /// Holds `bytes` of the node's memory for the run in all, no less than before. It is asked before the run holds more than that, in
    /// steps of a mebibyte; not for the first [`crate::MEMORY_FREE`].
    ///
    /// # Errors
    /// The node has no room for them. The run ends.
    fn grow_memory(&self, bytes: u64) -> Result<(), NoMemory> {
        let _ = bytes;
        Ok(())
    }

    /// Notes that the run has lost so many bytes for good.
    fn note_lost(&self, bytes: u64) {
        let _ = bytes;
    }
}

/// Why the node has no memory for a run or a compilation, in a sentence.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct NoMemory(pub String);

/// How a host answers a call.
#[must_use = "a pending call has to be waited for"]
pub enum HostCall<T> {
    /// At once.
    Ready(T),
    /// Once this is over, where the call has to be made again.
    Pending(Pending),
}

/// What a host call waits for.
pub type Pending = Pin<Box<dyn Future<Output = ()> + Send>>;

impl<T: fmt::Debug> fmt::Debug for HostCall<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ready(value) => f.debug_tuple("Ready").field(value).finish(),
            Self::Pending(_) => f.write_str("Pending"),
        }
    }
}
