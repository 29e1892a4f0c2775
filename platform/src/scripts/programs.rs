use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use manifest_schema::sdk::SdkVersion;
use runtime::{Program, Source};
use store::AppId;
use tokio::sync::Notify;

use crate::memory::Evict;

/// What is compiled on a node. Who is dropped first is found as a clock does it: they are gone through in a ring, and what has run
/// since the last time is passed over.
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

/// What becomes of an entry that its turn comes to.
enum Turn {
    Stays(Entry),
    /// It is gone already, or goes.
    Goes(Option<Dropped>),
}

/// A program that nobody new can run, and its source. Dropped outside the lock.
struct Dropped {
    program: Arc<Program>,
    _source: Arc<Source>,
    bytes: u64,
}

impl Programs {
    pub(super) fn add(&self, app: AppId, source: &Arc<Source>, sdk: SdkVersion, bytes: u64) {
        self.ring().push_back(Entry { app, source: Arc::downgrade(source), sdk, bytes });
        self.added.notify_one();
    }

    /// Waits until there is one.
    pub(super) async fn wait_for_one(&self) {
        while self.ring().is_empty() {
            self.added.notified().await;
        }
    }

    /// Drops what has not run since the last time.
    pub(super) fn drop_unused(&self) {
        let all = self.ring().len();
        drop(self.go_round(all, u64::MAX, |_| true, true));
    }

    /// Goes once through all, of that app or of any.
    fn go_round_for(&self, app: Option<AppId>, bytes: u64, spares_used: bool) -> Vec<Dropped> {
        let whose = |of: AppId| app.is_none_or(|app| app == of);
        let all = self.ring().len();
        self.go_round(all, bytes, whose, spares_used)
    }

    /// Goes once through up to `turns` entries, and drops those of `whose` until they make up `bytes`.
    fn go_round(
        &self,
        turns: usize,
        bytes: u64,
        whose: impl Fn(AppId) -> bool,
        spares_used: bool,
    ) -> Vec<Dropped> {
        let mut ring = self.ring();
        let (mut dropped, mut freed) = (Vec::new(), 0);
        for _ in 0..turns {
            if freed >= bytes {
                break;
            }
            let Some(entry) = ring.pop_front() else { break };
            let turn = if whose(entry.app) { entry.take_turn(spares_used) } else { Turn::Stays(entry) };
            match turn {
                Turn::Stays(entry) => ring.push_back(entry),
                Turn::Goes(gone) => {
                    freed += gone.as_ref().map_or(0, Dropped::freed);
                    dropped.extend(gone);
                }
            }
        }
        dropped
    }

    fn ring(&self) -> MutexGuard<'_, VecDeque<Entry>> {
        self.ring.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Entry {
    fn take_turn(self, spares_used: bool) -> Turn {
        let Some(source) = self.source.upgrade() else { return Turn::Goes(None) };
        match source.program(self.sdk) {
            Some(program) if spares_used && program.take_used() => Turn::Stays(self),
            // A run goes on with it, so that nothing would be given back: it is held by the source, by the run, and here.
            Some(program) if Arc::strong_count(&program) > 2 => Turn::Stays(self),
            Some(program) => {
                drop(source.take_program(self.sdk));
                Turn::Goes(Some(Dropped { program, _source: source, bytes: self.bytes }))
            }
            None => Turn::Goes(None),
        }
    }
}

impl Dropped {
    /// What is given back at once: nothing where a run goes on with it.
    fn freed(&self) -> u64 {
        if Arc::strong_count(&self.program) == 1 { self.bytes } else { 0 }
    }
}

impl Evict for Arc<Programs> {
    fn evict(&self, app: Option<AppId>, bytes: u64) -> u64 {
        let mut dropped = self.go_round_for(app, bytes, true);
        let mut freed: u64 = dropped.iter().map(Dropped::freed).sum();
        if freed < bytes {
            dropped.extend(self.go_round_for(app, bytes - freed, false));
            freed = dropped.iter().map(Dropped::freed).sum();
        }
        freed
    }

    fn evict_unused(&self, app: Option<AppId>, bytes: u64) {
        drop(self.go_round_for(app, bytes, true));
    }
}
