use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use manifest_schema::sdk::SdkVersion;
use runtime::{Program, Source};
use store::AppId;
use tokio::sync::Notify;

use crate::memory::Evict;

/// The compiled programs of a node, evicted by the clock algorithm: entries form a ring, and those used since
/// the last round are skipped.
#[derive(Debug, Default)]
pub(super) struct Programs {
    ring: Mutex<VecDeque<Entry>>,
    added: Notify,
}

#[derive(Debug)]
struct Entry {
    app: AppId,
    source: Weak<Source>,
    sdk: SdkVersion,
    bytes: u64,
}

/// The result of visiting an entry.
enum Visit {
    Keep(Entry),
    /// It is already gone, or evicted now.
    Remove(Option<Evicted>),
}

/// An evicted program and its source. Dropped outside the lock.
struct Evicted {
    program: Arc<Program>,
    _source: Arc<Source>,
    bytes: u64,
}

impl Programs {
    pub(super) fn add(&self, app: AppId, source: &Arc<Source>, sdk: SdkVersion, bytes: u64) {
        self.ring().push_back(Entry { app, source: Arc::downgrade(source), sdk, bytes });
        self.added.notify_one();
    }

    /// Waits until there is a program.
    pub(super) async fn wait_for_one(&self) {
        while self.ring().is_empty() {
            self.added.notified().await;
        }
    }

    /// Evicts programs that were not used since the last round.
    pub(super) fn evict_idle(&self) {
        let all = self.ring().len();
        drop(self.sweep(all, u64::MAX, |_| true, true));
    }

    /// Visits all entries once, of the app or of any.
    fn sweep_app(&self, app: Option<AppId>, bytes: u64, skip_used: bool) -> Vec<Evicted> {
        let is_selected = |of: AppId| app.is_none_or(|app| app == of);
        let all = self.ring().len();
        self.sweep(all, bytes, is_selected, skip_used)
    }

    /// Visits up to `visits` entries, and evicts the selected ones until `bytes` are freed.
    fn sweep(
        &self,
        visits: usize,
        bytes: u64,
        is_selected: impl Fn(AppId) -> bool,
        skip_used: bool,
    ) -> Vec<Evicted> {
        let mut ring = self.ring();
        let (mut evicted, mut freed) = (Vec::new(), 0);
        for _ in 0..visits {
            if freed >= bytes {
                break;
            }
            let Some(entry) = ring.pop_front() else { break };
            let visit = if is_selected(entry.app) { entry.visit(skip_used) } else { Visit::Keep(entry) };
            match visit {
                Visit::Keep(entry) => ring.push_back(entry),
                Visit::Remove(program) => {
                    freed += program.as_ref().map_or(0, Evicted::freed);
                    evicted.extend(program);
                }
            }
        }
        evicted
    }

    fn ring(&self) -> MutexGuard<'_, VecDeque<Entry>> {
        self.ring.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Entry {
    fn visit(self, skip_used: bool) -> Visit {
        let Some(source) = self.source.upgrade() else { return Visit::Remove(None) };
        match source.program(self.sdk) {
            Some(program) if skip_used && program.take_used() => Visit::Keep(self),
            // A running script uses it, so that nothing would be freed: it is referenced by the source, the
            // run, and here.
            Some(program) if Arc::strong_count(&program) > 2 => Visit::Keep(self),
            Some(program) => {
                drop(source.take_program(self.sdk));
                Visit::Remove(Some(Evicted { program, _source: source, bytes: self.bytes }))
            }
            None => Visit::Remove(None),
        }
    }
}

impl Evicted {
    /// The bytes freed immediately: none while a running script uses it.
    fn freed(&self) -> u64 {
        if Arc::strong_count(&self.program) == 1 { self.bytes } else { 0 }
    }
}

impl Evict for Arc<Programs> {
    fn evict(&self, app: Option<AppId>, bytes: u64) -> u64 {
        let mut evicted = self.sweep_app(app, bytes, true);
        let mut freed: u64 = evicted.iter().map(Evicted::freed).sum();
        if freed < bytes {
            evicted.extend(self.sweep_app(app, bytes - freed, false));
            freed = evicted.iter().map(Evicted::freed).sum();
        }
        freed
    }

    fn evict_unused(&self, app: Option<AppId>, bytes: u64) {
        drop(self.sweep_app(app, bytes, true));
    }
}
