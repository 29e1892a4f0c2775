//! What one pass of an execution reads and writes.
//!
//! Reads are of one moment of the namespace, its snapshot, with the writes of the pass on top. The snapshot moves
//! forward as long as nothing that was read has changed; else the pass must run again. Nothing is locked and no
//! database transaction is open while a script runs.

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use runtime::{
    ChangeMark, Failure, FailureKind, HostCall, KvChange, KvError, KvKey, KvList, KvReadMode, KvValue,
};
use uuid::Uuid;

use super::changes;
use super::contents::Contents;
use super::loading;
use super::namespace::Namespace;
use super::reads::{KeyRange, Reads};
use super::recent::{Entry, Written};
use super::{READ_BYTES_MAX, READ_KEYS_MAX, WRITE_BYTES_MAX, WRITES_MAX};
use crate::memory::{GrowingReservation, Purpose};

/// What a change costs in memory besides its key and its value.
const CHANGE_BYTES: u64 = 256;

/// What a pass can write without a reservation.
const UNRESERVED_BYTES: u64 = 64 * 1024;

/// How many keys are read again at once.
const READ_AGAIN_MAX: usize = 1000;

/// A time read from the database this long ago is the time.
const TIME_AGE_MAX: Duration = Duration::from_millis(100);

/// How many more entries than needed a list reads again, if deleted ones made it too short.
const LIST_GROWTH: u32 = 64;

/// The state of one execution. It outlives its passes: what was read from the database is there in the next pass.
#[derive(Debug)]
pub(crate) struct Session {
    namespace: Arc<Namespace>,
    loaded: Mutex<Loaded>,
    memory: GrowingReservation,
    scheduled: Option<Uuid>,
    /// When memory was last known to have the latest position, if other nodes change the namespace.
    refreshed: Mutex<Option<Instant>>,
    /// Whether the execution runs again, and has read nothing from the database since.
    runs_again: AtomicBool,
}

/// What an execution has read from the database, and the version of the namespace at that time.
#[derive(Debug, Default)]
pub(super) struct Loaded {
    entries: HashMap<KvKey, (u64, u64, Option<Entry>)>,
    lists: HashMap<ListRead, LoadedList>,
    bytes: u64,
    /// What the current pass has written.
    written: u64,
    failure: Option<Failure>,
}

/// A list as it is read from the database.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct ListRead {
    pub(super) range: KeyRange,
    pub(super) limit: u32,
    pub(super) reverse: bool,
}

/// The entries of a list in the database.
#[derive(Clone, Debug)]
pub(super) struct LoadedList {
    pub(super) epoch: u64,
    pub(super) version: u64,
    pub(super) entries: Vec<(KvKey, Entry)>,
    /// Whether there are none after them.
    pub(super) complete: bool,
    /// Whether they are more than an execution reads.
    pub(super) is_too_large: bool,
}

impl Session {
    pub(crate) fn new(namespace: Arc<Namespace>) -> Arc<Self> {
        Self::of(namespace, None)
    }

    /// The state of an execution; `scheduled`: its id, if it is a run of a schedule.
    pub(super) fn of(namespace: Arc<Namespace>, scheduled: Option<Uuid>) -> Arc<Self> {
        let memory = GrowingReservation::new(Purpose::Scripts);
        let (refreshed, runs_again) = (Mutex::default(), AtomicBool::new(false));
        Arc::new(Self { namespace, loaded: Mutex::default(), memory, scheduled, refreshed, runs_again })
    }

    pub(super) fn scheduled(&self) -> Option<Uuid> {
        self.scheduled
    }

    pub(crate) fn namespace(&self) -> &Arc<Namespace> {
        &self.namespace
    }

    fn refreshed(&self) -> Option<Instant> {
        *self.refreshed.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether other nodes may have committed before the execution began, and memory does not have it.
    pub(super) fn needs_refresh(&self) -> bool {
        self.namespace.shared().is_shared() && self.refreshed().is_none()
    }

    /// Whether the time must be read from the database, because other nodes judge the same keys.
    pub(super) fn needs_time(&self) -> bool {
        let is_old = |at: Instant| at.elapsed() > TIME_AGE_MAX;
        self.namespace.shared().is_shared() && self.refreshed().is_none_or(is_old)
    }

    /// Memory has everything that was committed before now.
    pub(super) fn note_refreshed(&self) {
        *self.refreshed.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
    }

    /// Something of later than the last refresh is needed.
    pub(super) fn note_stale(&self) {
        *self.refreshed.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    /// The execution runs again.
    pub(super) fn note_rerun(&self) {
        self.runs_again.store(true, Ordering::Relaxed);
    }

    /// Keys that the execution has read from the database before it began to run again. It is likely to read them, too,
    /// and one by one they could change again meanwhile.
    pub(super) fn take_keys_to_read_again(&self) -> Vec<KvKey> {
        match self.runs_again.swap(false, Ordering::Relaxed) {
            true => self.loaded().entries.keys().take(READ_AGAIN_MAX).cloned().collect(),
            false => Vec::new(),
        }
    }

    /// Why the execution cannot continue, if its state could not be read.
    pub(crate) fn take_failure(&self) -> Option<Failure> {
        self.loaded().failure.take()
    }

    pub(crate) fn has_failed(&self) -> bool {
        self.loaded().failure.is_some()
    }

    fn loaded(&self) -> MutexGuard<'_, Loaded> {
        self.loaded.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn fail(&self, kind: FailureKind, message: String) {
        self.loaded().failure = Some(Failure { kind, message, location: None });
    }

    /// Keeps what was read from the database for the passes of the execution.
    pub(super) fn keep_entries(&self, epoch: u64, version: u64, entries: Vec<(KvKey, Option<Entry>)>) {
        let mut loaded = self.loaded();
        for (key, entry) in entries {
            let length = key.as_str().len();
            loaded.bytes += entry_bytes(length, entry.as_ref());
            if let Some((.., old)) = loaded.entries.insert(key, (epoch, version, entry)) {
                loaded.bytes -= entry_bytes(length, old.as_ref());
            }
        }
        self.reserve(loaded);
    }

    pub(super) fn keep_list(&self, read: ListRead, list: LoadedList) {
        let mut loaded = self.loaded();
        loaded.bytes += list.bytes();
        if let Some(old) = loaded.lists.insert(read, list) {
            loaded.bytes -= old.bytes();
        }
        self.reserve(loaded);
    }

    /// Reserves memory for what the current pass has written in all.
    fn note_written(&self, bytes: u64) {
        let mut loaded = self.loaded();
        // In steps, since the reservation is shared with other executions of the app.
        let written = bytes.saturating_sub(UNRESERVED_BYTES).next_multiple_of(UNRESERVED_BYTES);
        if written != loaded.written {
            loaded.written = written;
            self.reserve(loaded);
        }
    }

    fn reserve(&self, mut loaded: MutexGuard<'_, Loaded>) {
        // Each pass is bounded by itself; what all of them read together is too.
        if loaded.bytes > 2 * READ_BYTES_MAX {
            let message = KvError::ReadBytes(READ_BYTES_MAX).to_string();
            loaded.failure = Some(Failure { kind: FailureKind::State, message, location: None });
            return;
        }
        let Some(account) = self.namespace.account() else { return };
        if let Err(error) = self.memory.grow_to(account, loaded.bytes + loaded.written) {
            let message = error.to_string();
            loaded.failure = Some(Failure { kind: FailureKind::NodeMemory, message, location: None });
        }
    }

    /// A list that was read.
    pub(super) fn list(&self, read: &ListRead) -> Option<LoadedList> {
        self.loaded().lists.get(read).cloned()
    }

    /// What was read of a key, if it is still the latest.
    pub(super) fn entry(&self, contents: &Contents, key: &KvKey) -> Option<Option<Entry>> {
        match self.loaded().entries.get(key) {
            Some((epoch, version, entry))
                if contents.is_current(*epoch, *version) && contents.recent().version_of(key) <= *version =>
            {
                Some(entry.clone())
            }
            _ => None,
        }
    }
}

impl LoadedList {
    /// What it costs in memory.
    fn bytes(&self) -> u64 {
        self.entries.iter().map(|(key, entry)| entry_bytes(key.as_str().len(), Some(entry))).sum()
    }
}

/// What an entry with a key of this length costs in memory.
fn entry_bytes(key: usize, entry: Option<&Entry>) -> u64 {
    256 + (key + entry.map_or(0, |entry| entry.value.bytes().len())) as u64
}

/// One moment of a namespace.
#[derive(Clone, Copy, Debug)]
pub(super) struct Snapshot {
    pub(super) epoch: u64,
    pub(super) version: u64,
    /// When keys with a TTL are judged, in milliseconds since 1970.
    pub(super) now_ms: i64,
}

/// A key, its value, and the expiry of the stored entry.
type ListedEntry = (KvKey, KvValue, Option<i64>);

/// The reads and writes of a pass.
#[derive(Debug)]
pub(crate) struct Transaction {
    session: Arc<Session>,
    pub(super) snapshot: Option<Snapshot>,
    pub(super) reads: Reads,
    /// The changes of each key, in order. One that does not depend on the value before is the first.
    pub(super) writes: BTreeMap<KvKey, Vec<KvChange>>,
    undo: Vec<Undo>,
    operations: u64,
    bytes: u64,
}

/// How a change is undone.
#[derive(Debug)]
enum Undo {
    /// The last change of the key was added.
    Added(KvKey),
    /// The changes of the key were replaced.
    Replaced(KvKey, Option<Vec<KvChange>>),
}

/// Something that was read has changed: it must be read again.
#[derive(Clone, Copy, Debug)]
pub(super) struct Outdated;

impl Transaction {
    pub(crate) fn new(session: Arc<Session>) -> Self {
        Self {
            session,
            snapshot: None,
            reads: Reads::default(),
            writes: BTreeMap::new(),
            undo: Vec::new(),
            operations: 0,
            bytes: 0,
        }
    }

    pub(crate) fn session(&self) -> &Arc<Session> {
        &self.session
    }

    /// Drops all changes: the script has failed.
    pub(crate) fn drop_writes(&mut self) {
        self.writes.clear();
        self.undo.clear();
    }

    pub(crate) fn has_no_writes(&self) -> bool {
        self.writes.is_empty()
    }

    /// See [`runtime::Host::kv_get`].
    pub(crate) fn get(
        &mut self,
        keys: &[KvKey],
        mode: KvReadMode,
    ) -> HostCall<Result<Vec<Option<KvValue>>, KvError>> {
        if self.session.loaded().failure.is_some() {
            return HostCall::Restart;
        }
        if keys.len() as u64 > READ_KEYS_MAX {
            return HostCall::Ready(Err(KvError::ReadKeys(READ_KEYS_MAX)));
        }
        let session = Arc::clone(&self.session);
        let mut contents = session.namespace.contents();
        let found = if session.needs_refresh() { None } else { self.find(&mut contents, keys) };
        let Some(entries) = found else {
            let unknown = keys.iter().filter(|key| !self.is_own(key)).cloned().collect();
            return HostCall::Pending(loading::load(&session.namespace, Arc::clone(&session), unknown));
        };
        match self.read(&mut contents, keys, entries, mode) {
            Ok(values) => HostCall::Ready(values),
            Err(Outdated) => HostCall::Restart,
        }
    }

    /// Whether the value of a key does not depend on the stored one.
    fn is_own(&self, key: &KvKey) -> bool {
        self.writes.get(key).is_some_and(|changes| is_independent(changes))
    }

    /// The stored entries of the keys; `None` if one must be loaded.
    fn find(&self, contents: &mut Contents, keys: &[KvKey]) -> Option<Vec<Option<Entry>>> {
        if !contents.is_loaded() {
            return None;
        }
        let find = |key: &KvKey| match self.is_own(key) {
            true => Some(None),
            false => contents.find(key, Some(&self.session)),
        };
        keys.iter().map(find).collect()
    }

    fn read(
        &mut self,
        contents: &mut Contents,
        keys: &[KvKey],
        entries: Vec<Option<Entry>>,
        mode: KvReadMode,
    ) -> Result<Result<Vec<Option<KvValue>>, KvError>, Outdated> {
        let stored = |key: &&KvKey| !self.is_own(key);
        let now_ms = match mode {
            KvReadMode::Unchecked => self.snapshot.map_or_else(|| contents.tick(), |at| at.now_ms),
            KvReadMode::Checked => {
                let newest = keys.iter().filter(stored).map(|key| contents.recent().version_of(key)).max();
                self.touch(contents, newest.unwrap_or_default())?
            }
        };
        let mut values = Vec::with_capacity(keys.len());
        for (key, entry) in keys.iter().zip(entries) {
            let entry = entry.filter(|entry| entry.exists_at(now_ms));
            if !self.is_own(key) {
                self.reads.seen = self.reads.seen.max(contents.recent().version_of(key));
                if mode == KvReadMode::Checked {
                    self.reads.note_expiry(entry.as_ref().and_then(|entry| entry.expires_at_ms));
                    self.reads.keys.insert(key.clone());
                }
            }
            match self.value(key, entry) {
                Ok(value) => values.push(value),
                Err(error) => return Ok(Err(error)),
            }
        }
        let bytes = values.iter().flatten().map(|value| value.bytes().len()).sum();
        Ok(self.reads.count(keys.len(), bytes).map(|()| values))
    }

    /// The value of a key with the changes of the pass.
    fn value(&self, key: &KvKey, stored: Option<Entry>) -> Result<Option<KvValue>, KvError> {
        let stored = stored.map(|entry| entry.value);
        match self.writes.get(key) {
            Some(changes) => changes::apply(key, stored.as_ref(), changes),
            None => Ok(stored),
        }
    }

    /// Takes the snapshot, or moves it forward if something of a newer version, `newest`, is read. Returns its time.
    fn touch(&mut self, contents: &mut Contents, newest: u64) -> Result<i64, Outdated> {
        let now = contents.snapshot();
        let faults = &self.session.namespace.shared().faults;
        let Some(snapshot) = self.snapshot else {
            let now = Snapshot { now_ms: faults.moment(contents.tick()), ..now };
            self.snapshot = Some(now);
            return Ok(now.now_ms);
        };
        let covers = snapshot.epoch == now.epoch && contents.recent().start() <= snapshot.version;
        if covers && newest <= snapshot.version {
            return Ok(snapshot.now_ms);
        }
        let now = Snapshot { now_ms: contents.tick(), ..now };
        if !self.reads.is_empty() && !contents.are_current(&self.reads, snapshot, now.now_ms) {
            return Err(Outdated);
        }
        self.snapshot = Some(now);
        Ok(now.now_ms)
    }

    /// See [`runtime::Host::kv_list`].
    pub(crate) fn list(&mut self, list: &KvList) -> HostCall<Result<Vec<(KvKey, KvValue)>, KvError>> {
        match self.list_entries(list) {
            HostCall::Ready(entries) => HostCall::Ready(
                entries.map(|entries| entries.into_iter().map(|(key, value, _)| (key, value)).collect()),
            ),
            HostCall::Pending(pending) => HostCall::Pending(pending),
            HostCall::Restart => HostCall::Restart,
        }
    }

    /// The entries of a list, each with the expiry of the stored one.
    fn list_entries(&mut self, list: &KvList) -> HostCall<Result<Vec<ListedEntry>, KvError>> {
        if self.session.loaded().failure.is_some() {
            return HostCall::Restart;
        }
        let range = KeyRange::of(list);
        if range.is_empty() {
            return HostCall::Ready(self.reads.count(1, 0).map(|()| Vec::new()));
        }
        let session = Arc::clone(&self.session);
        let mut contents = session.namespace.contents();
        if session.needs_refresh() || !contents.is_loaded() {
            return HostCall::Pending(loading::load(&session.namespace, Arc::clone(&session), Vec::new()));
        }
        // Time does not depend on what is in the range, so that the database can leave out what is over.
        let now_ms = match self.touch(&mut contents, 0) {
            Ok(now_ms) => now_ms,
            Err(Outdated) => return HostCall::Restart,
        };
        let own = self.writes.range::<str, _>(range.bounds());
        let (deleted, unknown) = own.fold((0, Vec::new()), |(deleted, mut unknown), (key, changes)| {
            if !is_independent(changes) {
                unknown.push(key.clone());
            }
            (deleted + u32::from(changes.last() == Some(&KvChange::Delete)), unknown)
        });
        // Changes that depend on stored values need those values.
        if unknown.iter().any(|key| contents.find(key, Some(&session)).is_none()) {
            return HostCall::Pending(loading::load(&session.namespace, Arc::clone(&session), unknown));
        }
        let mut limit = list.limit.saturating_add(deleted);
        loop {
            let read = ListRead { range: range.clone(), limit, reverse: list.reverse };
            let stored = contents.list(&read, &session);
            let merged = stored.and_then(|stored| {
                let is_too_large = stored.is_too_large;
                merge(&contents, &range, stored, list.reverse).map(|merged| (merged, is_too_large))
            });
            let ((mut entries, walked), is_too_large) = match merged {
                Some(merged) => merged,
                None => {
                    let session = Arc::clone(&session);
                    return HostCall::Pending(loading::load_list(
                        &self.session.namespace,
                        session,
                        read,
                        now_ms,
                    ));
                }
            };
            if is_too_large {
                return HostCall::Ready(Err(KvError::ReadBytes(READ_BYTES_MAX)));
            }
            entries.retain(|_, entry| entry.exists_at(now_ms));
            let is_complete = walked == range;
            let found = match self.overlay(&range, &walked, entries, list) {
                Ok(found) => found,
                Err(error) => return HostCall::Ready(Err(error)),
            };
            if found.len() < list.limit as usize && !is_complete {
                limit = limit.saturating_mul(2).saturating_add(LIST_GROWTH);
                continue;
            }
            let walked = match found.last() {
                Some((key, ..)) if found.len() >= list.limit as usize => range.up_to(key, list.reverse),
                _ => range,
            };
            return match self.note_list(&mut contents, walked, found) {
                Ok(result) => HostCall::Ready(result),
                Err(Outdated) => HostCall::Restart,
            };
        }
    }

    /// The first entries of a list with the changes of the pass.
    fn overlay(
        &self,
        range: &KeyRange,
        walked: &KeyRange,
        stored: BTreeMap<KvKey, Entry>,
        list: &KvList,
    ) -> Result<Vec<ListedEntry>, KvError> {
        let mut merged: BTreeMap<KvKey, (KvValue, Option<i64>)> = stored
            .iter()
            .map(|(key, entry)| (key.clone(), (entry.value.clone(), entry.expires_at_ms)))
            .collect();
        let own = self.writes.range::<str, _>(range.bounds());
        for (key, changes) in own.filter(|(key, _)| walked.contains(key.as_str())) {
            let entry = stored.get(key);
            match changes::apply(key, entry.map(|entry| &entry.value), changes)? {
                Some(value) => {
                    merged.insert(key.clone(), (value, entry.and_then(|entry| entry.expires_at_ms)));
                }
                None => drop(merged.remove(key)),
            }
        }
        let entry = |(key, (value, expiry))| (key, value, expiry);
        let limit = list.limit as usize;
        Ok(match list.reverse {
            true => merged.into_iter().rev().take(limit).map(entry).collect(),
            false => merged.into_iter().take(limit).map(entry).collect(),
        })
    }

    fn note_list(
        &mut self,
        contents: &mut Contents,
        walked: KeyRange,
        found: Vec<ListedEntry>,
    ) -> Result<Result<Vec<ListedEntry>, KvError>, Outdated> {
        let newest = contents.recent().range(&walked).map(|(_, write)| write.version).max().unwrap_or(0);
        let now_ms = self.touch(contents, newest)?;
        if found.iter().any(|(.., expiry)| expiry.is_some_and(|at| at <= now_ms)) {
            return Err(Outdated);
        }
        self.reads.seen = self.reads.seen.max(newest);
        for (.., expiry) in &found {
            self.reads.note_expiry(*expiry);
        }
        if self.session.namespace.shared().faults.remembers_range() {
            self.reads.add_range(walked);
        }
        let bytes = found.iter().map(|(key, value, _)| key.as_str().len() + value.bytes().len()).sum();
        let counted = self.reads.count(found.len().max(1), bytes);
        Ok(counted.map(|()| found))
    }

    /// See [`runtime::Host::kv_change`].
    ///
    /// # Errors
    /// The execution writes too much, or the change does not fit a value that the execution wrote itself.
    pub(crate) fn change(&mut self, key: &KvKey, change: KvChange) -> Result<(), KvError> {
        if self.operations >= WRITES_MAX {
            return Err(KvError::Writes(WRITES_MAX));
        }
        let bytes = self.bytes + (key.as_str().len() + change_bytes(&change)) as u64;
        if bytes > WRITE_BYTES_MAX {
            return Err(KvError::WriteBytes(WRITE_BYTES_MAX));
        }
        let own = self.writes.get(key);
        let own_value = own.and_then(|changes| match changes.as_slice() {
            [KvChange::Set { value, ttl }] => Some((value, *ttl)),
            _ => None,
        });
        if let Some((value, _)) = own_value {
            changes::check(key, value, &change)?;
        }
        let replacement = match &change {
            KvChange::Set { .. } | KvChange::Restore { .. } | KvChange::Delete => Some(change.clone()),
            // Sums are small, so that many additions to a value of the pass remain one change.
            KvChange::Add { ttl: new_ttl, .. } => match own_value {
                Some((value, ttl)) => changes::apply(key, Some(value), std::slice::from_ref(&change))?
                    .map(|value| KvChange::Set { value, ttl: new_ttl.or(ttl) }),
                None => None,
            },
            KvChange::Append { .. } => None,
        };
        self.operations += 1;
        self.bytes = bytes;
        self.session.note_written(bytes + self.operations * CHANGE_BYTES);
        match replacement {
            Some(only) => {
                let before = self.writes.insert(key.clone(), vec![only]);
                self.undo.push(Undo::Replaced(key.clone(), before));
            }
            None => {
                self.writes.entry(key.clone()).or_default().push(change);
                self.undo.push(Undo::Added(key.clone()));
            }
        }
        Ok(())
    }

    /// See [`runtime::Host::mark_changes`].
    pub(crate) fn mark(&self) -> ChangeMark {
        ChangeMark(self.undo.len())
    }

    /// See [`runtime::Host::undo_changes`].
    pub(crate) fn undo_to(&mut self, mark: ChangeMark) {
        while self.undo.len() > mark.0 {
            match self.undo.pop() {
                Some(Undo::Replaced(key, Some(before))) => drop(self.writes.insert(key, before)),
                Some(Undo::Replaced(key, None)) => drop(self.writes.remove(&key)),
                Some(Undo::Added(key)) => {
                    if let Some(changes) = self.writes.get_mut(&key) {
                        changes.pop();
                        if changes.is_empty() {
                            self.writes.remove(&key);
                        }
                    }
                }
                None => return,
            }
        }
    }
}

/// Whether the result of changes does not depend on the value before.
pub(super) fn is_independent(changes: &[KvChange]) -> bool {
    matches!(changes.first(), Some(KvChange::Set { .. } | KvChange::Restore { .. } | KvChange::Delete))
}

fn change_bytes(change: &KvChange) -> usize {
    match change {
        KvChange::Set { value, .. } | KvChange::Restore { value, .. } => value.bytes().len(),
        KvChange::Delete => 0,
        KvChange::Add { .. } => 8,
        KvChange::Append { item, .. } => item.len(),
    }
}

/// A list from the database with the writes since, and the part of the range that it covers. `None`: another node has
/// written in it, so that it must be read again.
fn merge(
    contents: &Contents,
    range: &KeyRange,
    list: LoadedList,
    reverse: bool,
) -> Option<(BTreeMap<KvKey, Entry>, KeyRange)> {
    let walked = match list.entries.last() {
        Some((last, _)) if !list.complete => range.up_to(last, reverse),
        _ => range.clone(),
    };
    let mut entries: BTreeMap<KvKey, Entry> = list.entries.into_iter().collect();
    for (key, write) in contents.recent().range(&walked).filter(|(_, write)| write.version > list.version) {
        match &write.result {
            Written::Here(Some(entry)) => drop(entries.insert(key.clone(), entry.clone())),
            Written::Here(None) => drop(entries.remove(key)),
            Written::Elsewhere => return None,
        }
    }
    Some((entries, walked))
}
