//! Memory accounting: how much memory the node uses for each app.
//!
//! One [`MemoryBudget`] accounts for everything long-lived that clients can make the node allocate: heaps of
//! running scripts, sources and compiled programs, bodies, responses, fetches, pushes, records, leaks. Each
//! app has an [`Account`] in it. A [`Reservation`] reserves bytes of an account and releases them on drop.
//! What does not fit is rejected with [`OutOfMemory`] before it is allocated, so that the kernel never has to
//! kill the process.
//!
//! - `budget`: the total of the node, and the rules for apps
//! - `account`: the part of an app
//! - `reservation`: reserved bytes; `growing`: a reservation that grows over time
//! - `machine`: the memory of the node's cgroup or machine

use std::fmt;

mod account;
mod budget;
mod growing;
mod machine;
mod reservation;

pub use account::Account;
pub use budget::{Evict, MemoryBudget, MemoryUsage};
pub use growing::GrowingReservation;
pub use machine::default_budget_bytes;
pub use reservation::Reservation;

/// The purpose of reserved memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// The heaps of running scripts.
    Scripts,
    /// The text of live scripts.
    Sources,
    /// Compiled scripts.
    Programs,
    /// Request bodies.
    Requests,
    /// Responses, until their clients have received them.
    Responses,
    /// Git fetches: requests and packs.
    Fetches,
    /// Git pushes: unpacked objects, and commits under validation.
    Pushes,
    /// Execution records that are not written yet.
    Records,
    /// Values of the state of apps, cached or not stored yet.
    State,
    /// Memory leaked by scripts until the node stops.
    Leaked,
}

impl Purpose {
    /// All purposes, in order.
    pub const ALL: [Self; 10] = [
        Self::Scripts,
        Self::Sources,
        Self::Programs,
        Self::Requests,
        Self::Responses,
        Self::Fetches,
        Self::Pushes,
        Self::Records,
        Self::State,
        Self::Leaked,
    ];

    /// Whether it serves requests or records them, which have a reserve. Evicted programs have to be compiled
    /// again to serve requests.
    fn is_serving(self) -> bool {
        matches!(
            self,
            Self::Scripts | Self::Programs | Self::Requests | Self::Responses | Self::Records | Self::State
        )
    }

    /// Whether scripts need it to run, which has a reserved part in every share.
    fn is_running(self) -> bool {
        matches!(self, Self::Scripts | Self::Programs)
    }

    /// The name in metrics and the API.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Scripts => "scripts",
            Self::Sources => "sources",
            Self::Programs => "programs",
            Self::Requests => "requests",
            Self::Responses => "responses",
            Self::Fetches => "fetches",
            Self::Pushes => "pushes",
            Self::Records => "records",
            Self::State => "state",
            Self::Leaked => "leaked",
        }
    }
}

/// Why a reservation was rejected.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OutOfMemory {
    /// The app would exceed its share.
    #[error(
        "out of memory: the app uses {} of its share of {}, and {} more do not fit",
        Mebibytes(*used_bytes),
        Mebibytes(*share_bytes),
        Mebibytes(*requested_bytes)
    )]
    App {
        /// The usage of the app.
        used_bytes: u64,
        /// The share for this purpose.
        share_bytes: u64,
        /// The requested bytes.
        requested_bytes: u64,
    },
    /// All apps together would exceed the node's budget.
    #[error(
        "out of memory: the node uses {} of {}, and {} more do not fit",
        Mebibytes(*used_bytes),
        Mebibytes(*total_bytes),
        Mebibytes(*requested_bytes)
    )]
    Node {
        /// The usage of all apps.
        used_bytes: u64,
        /// The budget of the node.
        total_bytes: u64,
        /// The requested bytes.
        requested_bytes: u64,
    },
}

/// Formats bytes in MiB.
struct Mebibytes(u64);

impl fmt::Display for Mebibytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:.1} MiB", self.0 as f64 / (1024.0 * 1024.0))
    }
}

#[cfg(test)]
mod tests;
