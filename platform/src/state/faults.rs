//! Faults that tests switch on, to show that the history checker finds them. Without tests there are none.

#[cfg(not(test))]
use store::{CommitError, NamespaceCommit, StateStore};

use super::contents::Group;
use super::namespace::{Namespace, NotStored};

/// The faults of a state.
#[derive(Debug, Default)]
pub(super) struct Faults {
    #[cfg(test)]
    pub(super) switches: switches::Switches,
}

#[cfg(not(test))]
impl Faults {
    /// Appends a commit to the log.
    pub(super) fn on_append(&self, append: impl FnOnce()) {
        append();
    }

    /// Whether a range that was read is remembered.
    pub(super) fn remembers_range(&self) -> bool {
        true
    }

    /// Whether memory is used without a comparison with the database.
    pub(super) fn trusts_memory(&self) -> bool {
        false
    }

    /// The time of a moment.
    pub(super) fn moment(&self, now_ms: i64) -> i64 {
        now_ms
    }

    /// Stores a group.
    pub(super) async fn store(
        &self,
        store: &StateStore,
        commits: &[NamespaceCommit],
    ) -> Result<(), CommitError> {
        store.commit_state(commits).await
    }

    /// Throws away a group that failed, and what was accepted after it.
    pub(super) fn throw_away(&self, namespace: &Namespace, group: &Group) {
        namespace.note_not_stored(group, NotStored::Failed);
    }
}

#[cfg(test)]
pub(super) mod switches {
    use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

    use store::{CommitError, NamespaceCommit, StateStore, StoreError};

    use super::{Faults, Group, Namespace, NotStored};

    /// What goes wrong.
    #[derive(Debug, Default)]
    pub(in crate::state) struct Switches {
        /// Every third range that was read is forgotten.
        pub(in crate::state) lost_range: AtomicBool,
        /// Every third commit is not in the log.
        pub(in crate::state) skipped_log: AtomicBool,
        /// What was accepted after a failed group stays.
        pub(in crate::state) keeps_after_failure: AtomicBool,
        /// Moments of TTLs differ by up to a second.
        pub(in crate::state) wrong_clock: AtomicBool,
        /// Memory is not compared with what other nodes have committed, as if notifications were enough.
        pub(in crate::state) trusts_memory: AtomicBool,
        /// Every n-th group fails; 0: none.
        pub(in crate::state) failing_groups: AtomicU64,
        pub(in crate::state) count: AtomicU64,
    }

    impl Faults {
        fn third(&self, switch: &AtomicBool) -> bool {
            switch.load(Ordering::SeqCst)
                && self.switches.count.fetch_add(1, Ordering::SeqCst).is_multiple_of(3)
        }

        pub(in crate::state) fn on_append(&self, append: impl FnOnce()) {
            if !self.third(&self.switches.skipped_log) {
                append();
            }
        }

        pub(in crate::state) fn remembers_range(&self) -> bool {
            !self.third(&self.switches.lost_range)
        }

        pub(in crate::state) fn trusts_memory(&self) -> bool {
            self.switches.trusts_memory.load(Ordering::SeqCst)
        }

        pub(in crate::state) fn moment(&self, now_ms: i64) -> i64 {
            match self.third(&self.switches.wrong_clock) {
                true => now_ms - 1000,
                false => now_ms,
            }
        }

        pub(in crate::state) async fn store(
            &self,
            store: &StateStore,
            commits: &[NamespaceCommit],
        ) -> Result<(), CommitError> {
            let every = self.switches.failing_groups.load(Ordering::SeqCst);
            if every > 0 && self.switches.count.fetch_add(1, Ordering::SeqCst) % every == every - 1 {
                return Err(CommitError::Store(StoreError::DiskFull));
            }
            store.commit_state(commits).await
        }

        pub(in crate::state) fn throw_away(&self, namespace: &Namespace, group: &Group) {
            match self.switches.keeps_after_failure.load(Ordering::SeqCst) {
                true => namespace.lose_groups(),
                false => namespace.note_not_stored(group, NotStored::Failed),
            }
        }
    }
}
