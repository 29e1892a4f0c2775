//! A namespace in memory: its latest values, the log of recent commits, and the groups of commits that are accepted and
//! not yet stored.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use runtime::KvKey;
use store::{CommitId, LoggedCommit, NamespaceId, NamespaceRow, StateChanges, StatePosition};
use tokio::sync::{oneshot, watch};
use tokio::time::Instant;
use uuid::Uuid;

use super::Moments;
use super::cache::Cache;
use super::conflicts::HotKeys;
use super::namespace::NotStored;
use super::reads::Reads;
use super::recent::{Entry, Recent, Written};
use super::transaction::{ListRead, LoadedList, Session, Snapshot};
use crate::memory::Reservation;

/// How many stored positions are remembered.
const POSITIONS_KEPT: usize = 1024;

/// How many keys of refused commits are read again at once.
const REFUSED_KEYS_MAX: usize = 256;

/// The contents of a namespace in memory.
#[derive(Debug)]
pub(super) struct Contents {
    /// `None`: it does not exist in the database, because nothing was ever stored in it.
    pub(super) id: Option<NamespaceId>,
    pub(super) is_loaded: bool,
    /// Whether the namespace was deleted with its branch.
    pub(super) is_deleted: bool,
    /// Incremented when accepted commits are thrown away.
    pub(super) epoch: u64,
    /// The version of the latest accepted commit.
    pub(super) version: u64,
    /// The latest stored commit.
    stored: StatePosition,
    /// Recent stored commits, up to the latest.
    positions: VecDeque<StatePosition>,
    /// What is stored in all entries, and their number, after the latest accepted commit.
    pub(super) bytes: u64,
    pub(super) entries: u64,
    /// The latest time at which keys with a TTL were judged: it never goes back.
    pub(super) now_ms: i64,
    /// `None`: the database tells the time, because other nodes judge the same keys.
    pub(super) clock: Option<Moments>,
    pub(super) recent: Recent,
    pub(super) cache: Cache,
    pub(super) reserved: Option<Reservation>,
    pub(super) groups: VecDeque<Group>,
    pub(super) unstored_bytes: u64,
    /// Whether the committer knows of the groups, and whether it is storing the first one.
    pub(super) is_queued: bool,
    pub(super) is_storing: bool,
    pub(super) hot_keys: HotKeys,
    /// Commits of other nodes and of this one.
    pub(super) contention: Contention,
}

/// Accepted commits that are stored together.
#[derive(Clone, Debug)]
pub(super) struct Group {
    pub(super) from: StatePosition,
    pub(super) to: StatePosition,
    pub(super) bytes_after: u64,
    pub(super) entries_after: u64,
    pub(super) writes: BTreeMap<KvKey, (u64, Option<Entry>)>,
    /// The executions of scheduled runs among the commits.
    pub(super) scheduled: Vec<Uuid>,
    pub(super) commits: u64,
    pub(super) bytes: u64,
    outcome: Arc<watch::Sender<Outcome>>,
}

/// What became of a group.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Outcome {
    #[default]
    Open,
    Stored,
    ThrownAway(NotStored),
}

/// An accepted transaction.
#[derive(Clone, Debug)]
pub(crate) struct Accepted {
    /// The group that it is in, or that it has seen something of; `None`: all that it has seen is stored.
    outcome: Option<watch::Receiver<Outcome>>,
    /// Where it is in the history, for tests.
    #[cfg(test)]
    pub(super) place: Place,
}

/// The latest version and the moment when a transaction was accepted.
#[cfg(test)]
#[derive(Clone, Copy, Debug)]
pub(super) struct Place {
    pub(super) epoch: u64,
    pub(super) version: u64,
    /// The latest stored version at that time.
    pub(super) stored: u64,
    pub(super) at_ms: i64,
    pub(super) is_commit: bool,
}

/// Commits of other nodes that this node's commits came after.
#[derive(Debug, Default)]
pub(super) struct Contention {
    /// When one was noticed that had refused a group of this node.
    noticed: Option<Instant>,
    /// Groups that were refused. Those who wait for them are not notified yet.
    refused: Vec<Group>,
    /// Some keys that these wrote. Most are read again.
    keys: Vec<KvKey>,
    /// Whether this node waits for the lock of the namespace, or has it.
    pub(super) is_locking: bool,
    /// Whether it has the lock, and everything that was committed before.
    is_locked: bool,
    /// Executions that wait for the latest position, which is read once the namespace is locked.
    held: Vec<oneshot::Sender<bool>>,
    /// Executions that are about to be accepted, as far as is known.
    pub(super) expected: u64,
}

/// What was known of a namespace when the database was asked for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Known {
    epoch: u64,
    id: Option<NamespaceId>,
    pub(super) stored: StatePosition,
}

/// What is in the database compared with what is in memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Comparison {
    /// What is in memory is the latest, or later than what was read.
    Current,
    /// Another node has committed, or the database is at another point of another history.
    Behind(NamespaceId),
}

impl Accepted {
    /// Waits until the transaction, and all that it depends on, is stored.
    ///
    /// # Errors
    /// See [`NotStored`].
    pub(super) async fn stored(self) -> Result<(), NotStored> {
        let Some(mut outcome) = self.outcome else { return Ok(()) };
        match outcome.wait_for(|outcome| *outcome != Outcome::Open).await.as_deref() {
            Ok(Outcome::Stored) => Ok(()),
            Ok(Outcome::ThrownAway(why)) => Err(*why),
            Ok(Outcome::Open) | Err(_) => Err(NotStored::Failed),
        }
    }

    /// Whether it is stored already.
    pub(super) fn is_stored(&self) -> bool {
        self.outcome.as_ref().is_none_or(|outcome| *outcome.borrow() == Outcome::Stored)
    }
}

impl Group {
    /// An empty group that is stored after `from`.
    pub(super) fn after(from: StatePosition) -> Self {
        Self {
            from,
            to: StatePosition { version: from.version, commit: Some(CommitId::random()) },
            bytes_after: 0,
            entries_after: 0,
            writes: BTreeMap::new(),
            scheduled: Vec::new(),
            commits: 0,
            bytes: 0,
            outcome: Arc::default(),
        }
    }

    /// Tells those who wait for it what became of it.
    pub(super) fn end(&self, outcome: Outcome) {
        self.outcome.send_if_modified(|current| {
            let is_open = *current == Outcome::Open;
            if is_open {
                *current = outcome;
            }
            is_open
        });
    }

    /// Whether both are the same group.
    fn is(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.outcome, &other.outcome)
    }
}

impl Contention {
    /// Adds a refused group that is not among the others any more.
    pub(super) fn refuse(&mut self, group: Group) {
        self.refused.push(group);
    }

    /// Lets an execution wait until the namespace is locked.
    pub(super) fn hold(&mut self, waiting: oneshot::Sender<bool>) {
        self.held.push(waiting);
    }

    /// Some keys that refused groups wrote.
    pub(super) fn take_keys(&mut self) -> Vec<KvKey> {
        std::mem::take(&mut self.keys)
    }

    /// Those that were held.
    pub(super) fn take_held(&mut self) -> Vec<oneshot::Sender<bool>> {
        std::mem::take(&mut self.held)
    }

    /// Lets executions run again whose groups were refused.
    pub(super) fn release_refused(&mut self) {
        for group in self.refused.drain(..) {
            self.expected += if self.is_locking { group.commits } else { 0 };
            group.end(Outcome::ThrownAway(NotStored::Outdated));
        }
    }

    /// Whether executions should wait for the lock: what they do before it is likely to be refused.
    pub(super) fn holds(&self) -> bool {
        self.is_locking && !self.is_locked
    }

    /// The node does not wait for the lock any more, and does not have it.
    pub(super) fn end_locking(&mut self) {
        (self.is_locking, self.is_locked) = (false, false);
        self.release_refused();
    }

    /// The namespace is locked: lets executions go on whose groups were refused, or that were held.
    pub(super) fn begin_locked(&mut self) {
        self.is_locked = true;
        self.release_refused();
        for held in self.held.drain(..) {
            self.expected += u64::from(held.send(true).is_ok());
        }
    }

    /// Whether one was noticed within this time.
    pub(super) fn is_recent(&self, age: std::time::Duration) -> bool {
        self.noticed.is_some_and(|at| at.elapsed() < age)
    }
}

impl Contents {
    /// What is in memory before anything was read. Without a clock, the database tells the time.
    pub(super) fn new(clock: Option<Moments>, cache: Cache) -> Self {
        Self {
            id: None,
            is_loaded: false,
            is_deleted: false,
            epoch: 0,
            version: 0,
            stored: StatePosition::default(),
            positions: VecDeque::from([StatePosition::default()]),
            bytes: 0,
            entries: 0,
            now_ms: 0,
            clock,
            recent: Recent::default(),
            cache,
            reserved: None,
            groups: VecDeque::new(),
            unstored_bytes: 0,
            is_queued: false,
            is_storing: false,
            hot_keys: HotKeys::default(),
            contention: Contention::default(),
        }
    }

    /// Takes over what is in the database, if nothing was taken over yet.
    pub(super) fn load(&mut self, row: Option<&NamespaceRow>) {
        if self.is_loaded {
            return;
        }
        self.is_loaded = true;
        self.id = row.map(|row| row.id);
        self.stored = row.map(|row| row.position).unwrap_or_default();
        self.version = self.stored.version;
        self.positions = VecDeque::from([self.stored]);
        self.recent = Recent::starting_at(self.version);
        self.set_size(row);
    }

    fn set_size(&mut self, row: Option<&NamespaceRow>) {
        self.bytes = row.map_or(0, |row| row.bytes);
        self.entries = row.map_or(0, |row| row.entries);
    }

    pub(super) fn is_loaded(&self) -> bool {
        self.is_loaded
    }

    pub(super) fn recent(&self) -> &Recent {
        &self.recent
    }

    /// The version of the latest stored commit.
    pub(super) fn stored_version(&self) -> u64 {
        self.stored.version
    }

    /// The latest moment.
    pub(super) fn snapshot(&self) -> Snapshot {
        Snapshot { epoch: self.epoch, version: self.version, now_ms: self.now_ms }
    }

    /// The time, which never goes back.
    pub(super) fn tick(&mut self) -> i64 {
        if let Some(clock) = &self.clock {
            self.now_ms = self.now_ms.max(clock.now_ms());
        }
        self.now_ms
    }

    /// The latest entry of a key, expired or not; `None` if it must be read from the database.
    pub(super) fn find(&mut self, key: &KvKey, session: Option<&Session>) -> Option<Option<Entry>> {
        if let Some(entry) = self.cache.get(key) {
            return Some(entry);
        }
        if let Some(Written::Here(entry)) = self.recent.get(key).map(|write| &write.result) {
            return Some(entry.clone());
        }
        if self.id.is_none() {
            return Some(None);
        }
        session.and_then(|session| session.entry(self, key))
    }

    /// Whether nothing that the log does not know was written since this version was read.
    pub(super) fn is_current(&self, epoch: u64, version: u64) -> bool {
        epoch == self.epoch && version >= self.recent.start()
    }

    /// Whether a position of the database is in the history that is in memory.
    pub(super) fn knows(&self, position: StatePosition) -> bool {
        let index = self.positions.binary_search_by_key(&position.version, |known| known.version);
        // The group that is being stored may be stored already.
        let is_storing = || self.is_storing && self.groups.front().is_some_and(|group| group.to == position);
        index.is_ok_and(|index| self.positions[index] == position) || is_storing()
    }

    /// A list, if it was read and is still current.
    pub(super) fn list(&self, read: &ListRead, session: &Session) -> Option<LoadedList> {
        if self.id.is_none() {
            let (epoch, version) = (self.epoch, 0);
            let (entries, complete, is_too_large) = (Vec::new(), true, false);
            return Some(LoadedList { epoch, version, entries, complete, is_too_large });
        }
        session.list(read).filter(|list| self.is_current(list.epoch, list.version))
    }

    /// An accepted transaction that depends on everything up to `version`.
    pub(super) fn accepted(&self, version: u64, _is_commit: bool) -> Accepted {
        let is_of = |group: &&Group| group.to.version >= version && version > self.stored.version;
        let group = self.groups.iter().find(is_of);
        Accepted {
            outcome: group.map(|group| group.outcome.subscribe()),
            #[cfg(test)]
            place: Place {
                epoch: self.epoch,
                version: self.version,
                stored: self.stored.version,
                at_ms: self.now_ms,
                is_commit: _is_commit,
            },
        }
    }

    /// Whether nothing of the reads has changed or expired since the snapshot.
    pub(super) fn are_current(&mut self, reads: &Reads, snapshot: Snapshot, now_ms: i64) -> bool {
        if snapshot.epoch != self.epoch || self.recent.start() > snapshot.version {
            return false;
        }
        if reads.expires_at_ms.is_some_and(|at| at <= now_ms) {
            return false;
        }
        match self.recent.first_written_after(snapshot.version, reads) {
            Some(key) => {
                self.hot_keys.count(&key);
                false
            }
            None => true,
        }
    }

    /// The position after all accepted commits.
    pub(super) fn latest_position(&self) -> StatePosition {
        self.groups.back().map_or(self.stored, |group| group.to)
    }

    /// What is known before the database is asked.
    pub(super) fn known(&self) -> Known {
        Known { epoch: self.epoch, id: self.id, stored: self.stored }
    }

    /// Compares the namespace in the database with what is in memory; `known` from before it was read. What was not
    /// loaded yet is taken over.
    pub(super) fn compare(&mut self, row: Option<&NamespaceRow>, known: Known) -> Comparison {
        let Some(row) = row else {
            // This node may have created it meanwhile.
            if self.is_loaded && known.id.is_some() && known.epoch == self.epoch {
                self.throw_away(NotStored::Outdated);
            }
            self.load(None);
            return Comparison::Current;
        };
        if !self.is_loaded {
            self.load(Some(row));
            return Comparison::Current;
        }
        if self.id.is_none() && row.position == StatePosition::default() {
            return Comparison::Current;
        }
        let is_same = known.epoch == self.epoch && (self.id.is_none() || self.id == Some(row.id));
        match is_same && !known.is_after(row.position) && self.knows(row.position) {
            true => Comparison::Current,
            false => Comparison::Behind(row.id),
        }
    }

    /// Takes over the commits of other nodes; `known` from before they were read. Accepted commits that are not stored
    /// are thrown away if another one came first; their executions wait until [`Contention::release_refused`]. With
    /// `until`, later commits may be left out. Returns `false` if accepted commits were thrown away meanwhile: then
    /// nothing is taken over.
    pub(super) fn catch_up(
        &mut self,
        changes: Option<&StateChanges>,
        known: Known,
        until: Option<u64>,
    ) -> bool {
        let row = changes.map(|changes| &changes.namespace);
        if !self.is_loaded {
            self.load(row);
            return true;
        }
        if known.epoch != self.epoch {
            return false;
        }
        let head = row.map(|row| row.position).unwrap_or_default();
        let is_same = self.id.is_none() || self.id == row.map(|row| row.id);
        let commits = changes.map(|changes| changes.commits.as_slice()).unwrap_or_default();
        if !is_same || known.is_after(head) || !self.follow(commits, until) || !self.reaches(head, until) {
            // It is too far behind, or the database is at a point of another history.
            self.throw_away(NotStored::Outdated);
            self.load(row);
        } else {
            self.id = row.map(|row| row.id);
            if self.groups.is_empty() && self.stored.version <= head.version {
                self.set_size(row);
            }
        }
        true
    }

    /// Takes over commits. Returns whether they follow each other, and the latest stored one.
    fn follow(&mut self, commits: &[LoggedCommit], until: Option<u64>) -> bool {
        let first = commits.partition_point(|commit| commit.to.version <= self.stored.version);
        for commit in &commits[first..] {
            if commit.from != self.stored {
                return false;
            }
            if self.is_storing && self.groups.front().is_some_and(|group| group.to == commit.to) {
                self.note_stored_group();
            } else if until.is_some_and(|until| self.stored.version >= until) {
                return true;
            } else {
                self.roll_back();
                self.note_elsewhere(commit.to, commit.keys.as_deref());
            }
        }
        true
    }

    /// Whether everything up to a position of the database, or up to a version, is taken over.
    fn reaches(&self, head: StatePosition, until: Option<u64>) -> bool {
        self.knows(head) || until.is_some_and(|until| self.stored.version >= until)
    }

    /// Notes a commit of another node.
    fn note_elsewhere(&mut self, to: StatePosition, keys: Option<&[String]>) {
        match keys {
            Some(keys) => {
                // Keys in the database were keys before.
                let keys: Vec<KvKey> = keys.iter().filter_map(|key| KvKey::new(key).ok()).collect();
                for key in &keys {
                    self.cache.remove(key);
                }
                self.recent.push(to.version, keys.into_iter().map(|key| (key, Written::Elsewhere)));
            }
            None => {
                self.cache.clear();
                self.recent = Recent::starting_at(to.version);
            }
        }
        self.version = to.version;
        self.note_position(to);
        self.recent.trim(to.version);
    }

    fn note_position(&mut self, position: StatePosition) {
        self.stored = position;
        self.positions.push_back(position);
        if self.positions.len() > POSITIONS_KEPT {
            self.positions.pop_front();
        }
    }

    /// The first group is stored.
    fn note_stored_group(&mut self) {
        if let Some(group) = self.groups.pop_front() {
            self.is_storing = false;
            self.unstored_bytes = self.unstored_bytes.saturating_sub(group.bytes);
            self.note_position(group.to);
            group.end(Outcome::Stored);
        }
        self.recent.trim(self.stored.version);
    }

    /// A group is stored in the namespace with this id.
    pub(super) fn note_stored(&mut self, id: NamespaceId, stored: &Group) {
        if self.is_first(stored) {
            self.id = Some(id);
            self.note_stored_group();
        }
        // What was thrown away meanwhile is not in memory any more.
        stored.end(Outcome::Stored);
    }

    /// Whether a group is the next one that is stored.
    pub(super) fn is_first(&self, group: &Group) -> bool {
        self.groups.front().is_some_and(|first| first.is(group))
    }

    /// Throws away the groups because another node has committed first, and with them what they wrote. Everything else
    /// stays in the cache.
    fn roll_back(&mut self) {
        if self.groups.is_empty() {
            return;
        }
        self.contention.noticed = Some(Instant::now());
        for key in self.groups.iter().flat_map(|group| group.writes.keys()) {
            self.cache.remove(key);
            if self.contention.keys.len() < REFUSED_KEYS_MAX {
                self.contention.keys.push(key.clone());
            }
        }
        // Only the committer gets to know what becomes of the group that is being stored.
        let first = usize::from(self.is_storing);
        self.contention.refused.extend(self.groups.drain(..).skip(first));
        self.epoch += 1;
        self.version = self.stored.version;
        self.recent = Recent::starting_at(self.version);
        self.unstored_bytes = 0;
        self.is_storing = false;
    }

    /// Ends all groups but the one that is being stored: only the committer gets to know what becomes of it.
    fn end_groups(&mut self, why: NotStored) {
        let first = usize::from(self.is_storing);
        for group in self.groups.drain(..).skip(first) {
            group.end(Outcome::ThrownAway(why));
        }
    }

    /// Throws away everything that is in memory. The next reads start from the database.
    pub(super) fn throw_away(&mut self, why: NotStored) {
        self.end_groups(why);
        let cache = Cache::new(Arc::clone(self.cache.total()));
        let fresh = Self::new(self.clock.clone(), cache);
        let hot_keys = std::mem::take(&mut self.hot_keys);
        let (epoch, now_ms, is_deleted) = (self.epoch + 1, self.now_ms, self.is_deleted);
        let (is_queued, contention) = (self.is_queued, std::mem::take(&mut self.contention));
        *self = Self { epoch, now_ms, is_deleted, hot_keys, is_queued, contention, ..fresh };
    }

    /// Loses the first group and keeps what was accepted after it: a fault that only tests switch on.
    #[cfg(test)]
    pub(super) fn lose_groups(&mut self) {
        while !self.groups.is_empty() {
            self.note_stored_group();
        }
    }
}

impl Known {
    /// Whether the database was at a later point than this one, or at another one with the same version. Then it was set
    /// back.
    fn is_after(&self, head: StatePosition) -> bool {
        self.stored.version > head.version || (self.stored.version == head.version && self.stored != head)
    }
}
