//! The counters of the state of all apps.

use std::sync::atomic::{AtomicU64, Ordering};

/// The upper bounds of the histogram of group sizes, in commits.
pub const GROUP_BOUNDS: [u64; 8] = [1, 2, 5, 10, 20, 50, 100, 500];

/// The counters of a node.
#[derive(Debug, Default)]
pub struct StateMetrics {
    accepted: AtomicU64,
    commits: AtomicU64,
    groups: [AtomicU64; GROUP_BOUNDS.len() + 1],
    failed_groups: AtomicU64,
    outdated_groups: AtomicU64,
    reruns: AtomicU64,
    cache_misses: AtomicU64,
    lists: AtomicU64,
}

/// The values of [`StateMetrics`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StateCounts {
    /// Accepted commits, stored or not.
    pub accepted: u64,
    /// Stored commits.
    pub commits: u64,
    /// Stored groups by the number of their commits: at most [`GROUP_BOUNDS`], and more.
    pub groups: Vec<u64>,
    /// Groups that could not be stored.
    pub failed_groups: u64,
    /// Groups that were refused because another node had committed first.
    pub outdated_groups: u64,
    /// Executions that ran again because something that they had read had changed.
    pub reruns: u64,
    /// Keys that were read from the database.
    pub cache_misses: u64,
    /// Lists that were read from the database.
    pub lists: u64,
}

impl StateMetrics {
    /// The current values.
    pub fn counts(&self) -> StateCounts {
        let get = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        StateCounts {
            accepted: get(&self.accepted),
            commits: get(&self.commits),
            groups: self.groups.iter().map(get).collect(),
            failed_groups: get(&self.failed_groups),
            outdated_groups: get(&self.outdated_groups),
            reruns: get(&self.reruns),
            cache_misses: get(&self.cache_misses),
            lists: get(&self.lists),
        }
    }

    pub(super) fn count_accepted(&self) {
        self.accepted.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn count_group(&self, commits: u64) {
        self.commits.fetch_add(commits, Ordering::Relaxed);
        let bucket = GROUP_BOUNDS.iter().position(|bound| commits <= *bound).unwrap_or(GROUP_BOUNDS.len());
        self.groups[bucket].fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn count_failed_group(&self) {
        self.failed_groups.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn count_outdated_group(&self) {
        self.outdated_groups.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn count_rerun(&self) {
        self.reruns.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn count_cache_misses(&self, keys: usize) {
        self.cache_misses.fetch_add(keys as u64, Ordering::Relaxed);
    }

    pub(super) fn count_list(&self) {
        self.lists.fetch_add(1, Ordering::Relaxed);
    }
}
