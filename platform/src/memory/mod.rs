//! How much memory the node holds for its apps, and which app holds how much.
//!
//! One [`MemoryBudget`] counts everything that outlives a moment and that somebody outside can make the node hold: what running
//! scripts hold, sources and compiled programs, bodies, answers, fetches, pushes, records, leaks. Each app has an [`Account`] in
//! it. A [`Reservation`] holds bytes of an account and gives them back when it is dropped. What does not fit is refused by
//! [`OutOfMemory`] before it is allocated, so that the kernel never has to end the process.
//!
//! - `budget`: the node's sum, and the rules by which an app gets a part of it
//! - `account`: an app's part
//! - `reservation`: bytes that are held; `growing`: bytes of something that grows while it goes on
//! - `machine`: how much memory the node's cgroup or machine has

use std::fmt;

mod account;
mod budget;
mod growing;
mod machine;
mod reservation;

pub use account::Account;
pub use budget::{Evict, MemoryBudget, MemoryUsage};
pub use growing::Growing;
pub use machine::default_budget_bytes;
pub use reservation::Reservation;

/// What memory is held for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// The heaps of running scripts.
    Scripts,
    /// The text of live scripts.
    Sources,
    /// Compiled scripts.
    Programs,
    /// Bodies of requests, as they are read.
    Requests,
    /// Answers, until their clients have taken them.
    Responses,
    /// Fetches of git: what is asked, and packs on their way.
    Fetches,
    /// Pushes: objects that are unpacked, and commits that are checked.
    Pushes,
    /// Records of executions that are not written yet.
    Records,
    /// What scripts have lost for good, until the node stops.
    Leaked,
}

impl Purpose {
    /// All of them, in order.
    pub const ALL: [Self; 9] = [
        Self::Scripts,
        Self::Sources,
        Self::Programs,
        Self::Requests,
        Self::Responses,
        Self::Fetches,
        Self::Pushes,
        Self::Records,
        Self::Leaked,
    ];

    /// Whether it answers requests, or records what was answered, for which there is a reserve. What was compiled and evicted has to
    /// be compiled again to answer.
    fn is_serving(self) -> bool {
        matches!(self, Self::Scripts | Self::Programs | Self::Requests | Self::Responses | Self::Records)
    }

    /// Whether it is what scripts need to run, for which there is a part of every share.
    fn is_running(self) -> bool {
        matches!(self, Self::Scripts | Self::Programs)
    }

    /// Its name in metrics and in the API.
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
            Self::Leaked => "leaked",
        }
    }
}

/// Why memory was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OutOfMemory {
    /// The app would hold more than its share.
    #[error(
        "the app holds {} of the node's memory and can hold {} for this: {} more do not fit",
        Mebibytes(*used_bytes),
        Mebibytes(*share_bytes),
        Mebibytes(*asked_bytes)
    )]
    App {
        /// What the app holds.
        used_bytes: u64,
        /// The most that it can hold for this purpose.
        share_bytes: u64,
        /// What was asked for.
        asked_bytes: u64,
    },
    /// All apps together would hold more than the node has for them.
    #[error(
        "{} of the node's {} of memory are held: {} more do not fit",
        Mebibytes(*used_bytes),
        Mebibytes(*total_bytes),
        Mebibytes(*asked_bytes)
    )]
    Node {
        /// What all apps hold together.
        used_bytes: u64,
        /// The most that they can hold.
        total_bytes: u64,
        /// What was asked for.
        asked_bytes: u64,
    },
}

/// Bytes as people compare them.
struct Mebibytes(u64);

impl fmt::Display for Mebibytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:.1} MiB", self.0 as f64 / (1024.0 * 1024.0))
    }
}

#[cfg(test)]
mod tests;
