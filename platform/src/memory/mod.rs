//! How much memory the node holds for its apps, and which app holds how much.
//!
//! One [`MemoryBudget`] counts everything that outlives a moment and that somebody outside can make the node hold: what running
//! scripts hold, sources and compiled programs, bodies, answers, fetches, pushes, records, leaks. Each app has an [`Account`] in
//! it. A [`Reservation`] holds bytes of an account and gives them back when it is dropped. What does not fit is refused by
//! [`OutOfMemory`] before it is allocated, so that the kernel never has to end the process.
//!
//! - `budget`: the node's sum, and the rules by which an app gets a part of it
//! - `account`: an app's part
//! - `reservation`: bytes that are held
//! - `machine`: how much memory the node's cgroup or machine has

mod account;
mod budget;
mod machine;
mod reservation;

pub use account::Account;
pub use budget::{Evict, MemoryBudget, MemoryUsage};
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

    /// Whether it answers requests, or records what was answered, for which there is a reserve.
    fn is_serving(self) -> bool {
        matches!(self, Self::Scripts | Self::Requests | Self::Responses | Self::Records)
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
        "the app holds {used_bytes} bytes of the node's memory and its share is {share_bytes}: {asked_bytes} more do not fit"
    )]
    App {
        /// What the app holds.
        used_bytes: u64,
        /// The most that it can hold.
        share_bytes: u64,
        /// What was asked for.
        asked_bytes: u64,
    },
    /// All apps together would hold more than the node has for them.
    #[error(
        "{used_bytes} bytes of the node's {total_bytes} bytes of memory are held: {asked_bytes} more do not fit"
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

#[cfg(test)]
mod tests;
