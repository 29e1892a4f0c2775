//! The state of one app, or of one preview: its latest values, the log of recent commits, and the commits that are
//! accepted and not yet stored.
//!
//! A transaction is accepted in memory: it is compared with the log, gets the next version, and joins the open group.
//! The committer stores groups in order. If a group cannot be stored, everything accepted since is thrown away: a new
//! epoch begins with what the database has.

use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use runtime::{Failure, FailureKind, KvKey, Pending, VALUE_BYTES_MAX};
use store::state::STATE_READ_BYTES_MAX;
use store::{AppId, ExpiredEntry, NamespaceId, NamespaceName, StateRange, StoreError};
use tokio::sync::{OwnedRwLockReadGuard, OwnedRwLockWriteGuard, RwLock, watch};
use uuid::Uuid;

use super::cache::Cache;
use super::changes;
use super::committer::Size;
use super::conflicts::HotKeys;
use super::reads::Reads;
use super::recent::{Entry, Recent, Write};
use super::transaction::{ListRead, LoadedList, Outdated, Session, Snapshot, Transaction, is_independent};
use super::{ENTRY_OVERHEAD_BYTES, Moments, READ_BYTES_MAX, Shared, WRITE_BYTES_MAX};
use crate::memory::{Account, Purpose, Reservation};

/// A group of one namespace: the commits that are stored together.
pub(super) const GROUP_WRITES_MAX: usize = 2_000;
pub(super) const GROUP_BYTES_MAX: u64 = 4 * 1024 * 1024;

/// Beyond this many bytes that are accepted and not stored, finished executions wait.
const UNSTORED_BYTES_MAX: u64 = 8 * 1024 * 1024;

/// How much memory is reserved at once.
const RESERVED_STEP_BYTES: u64 = 256 * 1024;

/// A namespace.
pub struct Namespace {
    app: AppId,
    name: NamespaceName,
    shared: Arc<Shared>,
    account: Option<Account>,
    quota_bytes: AtomicU64,
    contents: Mutex<Contents>,
    /// Notifies when a group is stored or thrown away.
    progress: watch::Sender<()>,
    /// Executions are accepted while they hold it for reading. The third try of one holds it for writing.
    turn: Arc<RwLock<()>>,
}

/// The contents of a namespace in memory.
#[derive(Debug)]
pub(super) struct Contents {
    /// `None`: it does not exist in the database, because nothing was ever stored in it.
    id: Option<NamespaceId>,
    is_loaded: bool,
    /// Whether the namespace was deleted with its branch.
    is_deleted: bool,
    epoch: u64,
    /// The version of the latest accepted commit, and of the latest stored one.
    version: u64,
    stored: u64,
    /// What is stored in all entries, and their number, after the latest accepted commit.
    bytes: u64,
    entries: u64,
    /// The latest time at which keys with a TTL were judged: it never goes back.
    now_ms: i64,
    clock: Moments,
    recent: Recent,
    cache: Cache,
    reserved: Option<Reservation>,
    groups: VecDeque<Group>,
    unstored_bytes: u64,
    /// Whether the committer knows of the groups.
    pub(super) is_queued: bool,
    is_storing: bool,
    pub(super) hot_keys: HotKeys,
}

/// Accepted commits that are stored together.
#[derive(Clone, Debug, Default)]
pub(super) struct Group {
    pub(super) from: u64,
    pub(super) to: u64,
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
enum Outcome {
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
    pub(super) at_ms: i64,
    pub(super) is_commit: bool,
}

/// Why a transaction is not accepted.
#[derive(Debug)]
pub(crate) enum NotAccepted {
    /// Something that it read has changed.
    Conflict,
    /// These keys must be read from the database first.
    Missing(Vec<KvKey>),
    /// Too much is accepted and not stored yet.
    Full,
    /// It cannot be stored at all.
    Failed(Failure),
}

/// A transaction that can be accepted.
enum Valid {
    /// It writes nothing, and has seen what this version wrote, and nothing later.
    Reads { seen: u64 },
    /// It makes these writes.
    Writes(Writes),
}

/// Why an accepted transaction is not stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum NotStored {
    /// It, or one that it depends on, could not be stored.
    #[error("the state could not be stored")]
    Failed,
    /// The namespace was changed by another process, or deleted. The execution must run again.
    #[error("the state has changed")]
    Outdated,
}

impl Contents {
    pub(super) fn is_loaded(&self) -> bool {
        self.is_loaded
    }

    pub(super) fn recent(&self) -> &Recent {
        &self.recent
    }

    /// The latest moment.
    pub(super) fn snapshot(&self) -> Snapshot {
        Snapshot { epoch: self.epoch, version: self.version, now_ms: self.now_ms }
    }

    /// The time, which never goes back.
    pub(super) fn tick(&mut self) -> i64 {
        self.now_ms = self.now_ms.max(self.clock.now_ms());
        self.now_ms
    }

    /// The latest entry of a key, expired or not; `None` if it must be read from the database.
    pub(super) fn find(&mut self, key: &KvKey, session: Option<&Session>) -> Option<Option<Entry>> {
        if let Some(entry) = self.cache.get(key) {
            return Some(entry);
        }
        if let Some(write) = self.recent.get(key) {
            return Some(write.entry.clone());
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
    fn accepted(&self, version: u64, _is_commit: bool) -> Accepted {
        let group = self.groups.iter().find(|group| group.to >= version && version > self.stored);
        Accepted {
            outcome: group.map(|group| group.outcome.subscribe()),
            #[cfg(test)]
            place: Place {
                epoch: self.epoch,
                version: self.version,
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
}

impl Namespace {
    pub(super) fn new(
        shared: Arc<Shared>,
        app: AppId,
        name: NamespaceName,
        account: Option<Account>,
        quota_bytes: u64,
    ) -> Arc<Self> {
        let is_stored = shared.store.is_some();
        let cache = Cache::new(Arc::clone(&shared.cached_bytes));
        let contents = Contents { is_loaded: !is_stored, ..Contents::new(shared.clock.clone(), cache) };
        Arc::new(Self {
            app,
            name,
            shared,
            account,
            quota_bytes: AtomicU64::new(quota_bytes),
            contents: Mutex::new(contents),
            progress: watch::Sender::new(()),
            turn: Arc::default(),
        })
    }

    /// The app.
    pub fn app(&self) -> AppId {
        self.app
    }

    /// The name within the app.
    pub fn name(&self) -> &NamespaceName {
        &self.name
    }

    pub(crate) fn account(&self) -> Option<&Account> {
        self.account.as_ref()
    }

    pub(super) fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }

    pub(crate) fn set_quota(&self, bytes: u64) {
        self.quota_bytes.store(bytes, Ordering::Relaxed);
    }

    pub(super) fn quota_bytes(&self) -> u64 {
        self.quota_bytes.load(Ordering::Relaxed)
    }

    /// No code panics while it holds the lock.
    pub(super) fn contents(&self) -> MutexGuard<'_, Contents> {
        self.contents.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Reads keys from the database for the next pass of an execution. A failure is kept in the session.
    pub(super) fn load(self: &Arc<Self>, session: Arc<Session>, keys: Vec<KvKey>) -> Pending {
        let this = Arc::clone(self);
        self.shared.reading(async move {
            if let Err(error) = this.load_entries(&session, &keys).await {
                session.fail(FailureKind::Storage, cannot_read(&error));
            }
        })
    }

    /// Reads what exists of the namespace in the database, once.
    pub(super) async fn ensure_loaded(&self) -> Result<Option<NamespaceId>, StoreError> {
        let Some(store) = &self.shared.store else { return Ok(None) };
        let epoch = {
            let contents = self.contents();
            if contents.is_loaded {
                return Ok(contents.id);
            }
            contents.epoch
        };
        let row = store.namespace(self.app, &self.name).await?;
        let mut contents = self.contents();
        // Another execution can have read it meanwhile.
        if !contents.is_loaded && contents.epoch == epoch {
            contents.is_loaded = true;
            contents.id = row.as_ref().map(|row| row.id);
            let version = row.as_ref().map_or(0, |row| row.version);
            (contents.version, contents.stored) = (version, version);
            contents.bytes = row.as_ref().map_or(0, |row| row.bytes);
            contents.entries = row.as_ref().map_or(0, |row| row.entries);
            contents.recent = Recent::starting_at(version);
        }
        Ok(contents.id)
    }

    async fn load_entries(&self, session: &Session, keys: &[KvKey]) -> Result<(), StoreError> {
        let id = self.ensure_loaded().await?;
        let (Some(id), Some(store)) = (id, &self.shared.store) else { return Ok(()) };
        let mut unread: Vec<&KvKey> = keys.iter().collect();
        loop {
            unread.retain(|key| self.contents().find(key, Some(session)).is_none());
            if unread.is_empty() || session.has_failed() {
                return Ok(());
            }
            let epoch = self.contents().epoch;
            let texts: Vec<&str> = unread.iter().map(|key| key.as_str()).collect();
            self.shared.metrics.count_cache_misses(texts.len());
            let Some(read) = store.state_entries(id, &texts).await? else {
                self.forget();
                return Ok(());
            };
            let mut found: BTreeMap<String, Entry> =
                read.entries.into_iter().map(|entry| (entry.key.clone(), Entry::from(entry))).collect();
            let entries = unread.iter().map(|key| ((*key).clone(), found.remove(key.as_str())));
            // A key that was not read may exist if the read was cut.
            let known = entries.filter(|(_, entry)| entry.is_some() || !read.is_cut);
            let known: Vec<(KvKey, Option<Entry>)> = known.collect();
            self.cache_read(epoch, read.version, &known);
            session.keep_entries(epoch, read.version, known);
        }
    }

    /// Adds what was read from the database at `version` to the cache.
    fn cache_read(&self, epoch: u64, version: u64, entries: &[(KvKey, Option<Entry>)]) {
        let mut contents = self.contents();
        if !contents.is_current(epoch, version) {
            return;
        }
        for (key, entry) in entries {
            // A later write is in the log.
            if contents.recent.version_of(key) <= version {
                contents.cache.insert(key.clone(), entry.clone());
            }
        }
        self.reserve_for_cache(&mut contents);
        drop(contents);
        self.shared.evict();
    }

    /// Reserves memory of the app for the cache and the log, or evicts entries until they fit.
    fn reserve_for_cache(&self, contents: &mut Contents) {
        let Some(account) = &self.account else { return };
        loop {
            let (needed, stored) = (contents.cache.bytes() + contents.recent.bytes(), contents.stored);
            let is_reserved = reserve(account, &mut contents.reserved, needed);
            if is_reserved || !(contents.cache.evict() || contents.recent.drop_oldest(stored)) {
                return;
            }
        }
    }

    /// Evicts the least recently used values until the cache has at most `bytes`.
    pub(super) fn evict_to(&self, bytes: u64) {
        let mut contents = self.contents();
        while contents.cache.bytes() > bytes && contents.cache.evict() {}
        let needed = contents.cache.bytes() + contents.recent.bytes();
        if let Some(reserved) = &mut contents.reserved {
            reserved.shrink_to(needed + RESERVED_STEP_BYTES);
        }
    }

    pub(super) fn cached_bytes(&self) -> u64 {
        self.contents().cache.bytes()
    }

    /// Reads a list from the database for the next pass of an execution.
    pub(super) fn load_list(self: &Arc<Self>, session: Arc<Session>, read: ListRead, now_ms: i64) -> Pending {
        let this = Arc::clone(self);
        self.shared.reading(async move {
            if let Err(error) = this.load_pages(&session, read, now_ms).await {
                session.fail(FailureKind::Storage, cannot_read(&error));
            }
        })
    }

    async fn load_pages(&self, session: &Session, read: ListRead, now_ms: i64) -> Result<(), StoreError> {
        let id = self.ensure_loaded().await?;
        let (Some(id), Some(store)) = (id, &self.shared.store) else { return Ok(()) };
        self.shared.metrics.count_list();
        'again: loop {
            let epoch = self.contents().epoch;
            let mut entries: Vec<(KvKey, Entry)> = Vec::new();
            let (mut bytes, mut version) = (0_u64, None);
            let mut range = read.range.clone();
            loop {
                let limit = read.limit - u32::try_from(entries.len()).unwrap_or(read.limit);
                let page = StateRange {
                    from: range.from.clone(),
                    to: range.to.clone(),
                    limit,
                    bytes_max: STATE_READ_BYTES_MAX,
                    reverse: read.reverse,
                    now_ms,
                };
                let Some(page) = store.state_list(id, &page).await? else {
                    self.forget();
                    return Ok(());
                };
                // All pages are of one moment.
                if version.is_some_and(|version| version != page.version) {
                    continue 'again;
                }
                version = Some(page.version);
                let is_last = !page.is_cut && page.entries.len() < limit as usize;
                for entry in page.entries {
                    bytes += (entry.key.len() + entry.value.bytes().len()) as u64;
                    // Keys in the database were keys before.
                    if let Ok(key) = KvKey::new(&entry.key) {
                        entries.push((key, Entry::from(entry)));
                    }
                }
                let is_full = entries.len() >= read.limit as usize || bytes > READ_BYTES_MAX;
                let last = entries.last().map(|(key, _)| key.clone());
                if is_last || is_full || last.is_none() {
                    let is_too_large = bytes > READ_BYTES_MAX;
                    let (version, complete) = (page.version, is_last);
                    let list = LoadedList { epoch, version, entries, complete, is_too_large };
                    session.keep_list(read, list);
                    return Ok(());
                }
                if let Some(last) = last {
                    range = read.range.beyond(&last, read.reverse);
                }
            }
        }
    }

    /// The namespace was deleted in the database.
    pub(super) fn forget(&self) {
        self.throw_away(NotStored::Outdated);
    }

    /// Compares a transaction with what was accepted since its reads, and accepts it.
    pub(crate) fn accept(self: &Arc<Self>, transaction: &Transaction) -> Result<Accepted, NotAccepted> {
        let mut contents = self.contents();
        let writes = match self.validate(&mut contents, transaction)? {
            Valid::Reads { seen } => return Ok(contents.accepted(seen, false)),
            Valid::Writes(writes) => writes,
        };
        let accepted = self.append(&mut contents, writes, transaction.session().scheduled());
        drop(contents);
        self.shared.evict();
        Ok(accepted)
    }

    /// What a transaction would write if it were accepted now.
    fn validate(&self, contents: &mut Contents, transaction: &Transaction) -> Result<Valid, NotAccepted> {
        if !contents.is_loaded {
            return Err(NotAccepted::Missing(Vec::new()));
        }
        // One moment for the comparison and for the writes.
        let now_ms = contents.tick();
        if let Some(snapshot) = transaction.snapshot {
            if transaction.writes.is_empty() {
                // It has seen one moment, which needs no other comparison.
                return match snapshot.epoch == contents.epoch {
                    true => Ok(Valid::Reads { seen: transaction.reads.seen }),
                    false => Err(NotAccepted::Conflict),
                };
            }
            if !contents.are_current(&transaction.reads, snapshot, now_ms) {
                return Err(NotAccepted::Conflict);
            }
        }
        if contents.is_deleted {
            return Err(NotAccepted::Failed(state_failure("the branch was deleted".to_owned())));
        }
        if self.shared.store.is_some() && contents.unstored_bytes > UNSTORED_BYTES_MAX {
            return Err(NotAccepted::Full);
        }
        let writes = self.results(contents, transaction, now_ms)?;
        if writes.list.is_empty() {
            // Its deletes found nothing, because of commits that may not be stored yet.
            return Ok(Valid::Reads { seen: contents.version });
        }
        self.check_room(contents, &writes)?;
        Ok(Valid::Writes(writes))
    }

    /// Accepts a transaction after what it needs is read from the database, and there is room.
    pub(crate) async fn accept_when_ready(
        self: &Arc<Self>,
        transaction: &Transaction,
    ) -> Result<Accepted, NotAccepted> {
        self.when_ready(transaction, || self.accept(transaction)).await
    }

    /// Checks that a transaction would be accepted, and accepts nothing.
    pub(super) async fn check_when_ready(
        self: &Arc<Self>,
        transaction: &Transaction,
    ) -> Result<(), NotAccepted> {
        let check = || self.validate(&mut self.contents(), transaction).map(drop);
        self.when_ready(transaction, check).await
    }

    async fn when_ready<T>(
        self: &Arc<Self>,
        transaction: &Transaction,
        decide: impl Fn() -> Result<T, NotAccepted>,
    ) -> Result<T, NotAccepted> {
        loop {
            match decide() {
                Err(NotAccepted::Missing(keys)) => {
                    let session = transaction.session();
                    self.load(Arc::clone(session), keys).await;
                    if let Some(failure) = session.take_failure() {
                        return Err(NotAccepted::Failed(failure));
                    }
                }
                Err(NotAccepted::Full) => self.room().await,
                done => return done,
            }
        }
    }

    /// Waits until something is stored.
    async fn room(&self) {
        let mut progress = self.progress.subscribe();
        if self.contents().unstored_bytes > UNSTORED_BYTES_MAX {
            // The sender lives as long as this namespace.
            let _ = progress.changed().await;
        }
    }

    /// Deletes expired entries of the namespace that were read from the database. Returns whether any were deleted.
    ///
    /// # Errors
    /// The database failed.
    pub(super) async fn delete_expired(
        self: &Arc<Self>,
        found: &[ExpiredEntry],
        read_again: impl AsyncFnOnce() -> Result<Vec<ExpiredEntry>, StoreError>,
    ) -> Result<bool, StoreError> {
        self.ensure_loaded().await?;
        let accepted = match self.accept_expired(found) {
            Ok(accepted) => accepted,
            Err(Outdated) => {
                // Writers wait for one read, so that none of them keeps expired entries in the way of other apps.
                let _alone = self.take_turn().await;
                let found = read_again().await?;
                self.accept_expired(&found).unwrap_or_default()
            }
        };
        match accepted {
            Some(accepted) => Ok(self.stored(accepted).await.is_ok()),
            None => Ok(false),
        }
    }

    /// Accepts the deletion of expired entries; `None` if there are none any more.
    ///
    /// # Errors
    /// The log does not tell what was written since they were read.
    fn accept_expired(self: &Arc<Self>, found: &[ExpiredEntry]) -> Result<Option<Accepted>, Outdated> {
        let mut contents = self.contents();
        let now_ms = contents.tick();
        let mut writes = Writes::default();
        for entry in found.iter().filter(|entry| Some(entry.namespace) == contents.id) {
            if entry.version < contents.recent.start() {
                return Err(Outdated);
            }
            // Keys in the database were keys before.
            let Ok(key) = KvKey::new(&entry.key) else { continue };
            match contents.recent.get(&key).filter(|write| write.version > entry.version) {
                Some(Write { entry: Some(later), .. }) if !later.exists_at(now_ms) => {
                    writes.add(&key, Some(entry_bytes(&key, later.value.bytes().len() as u64)), None);
                }
                Some(_) => {}
                None => writes.add(&key, Some(entry_bytes(&key, entry.bytes)), None),
            }
        }
        let is_open = contents.is_loaded && !contents.is_deleted && !writes.list.is_empty();
        Ok(is_open.then(|| self.append(&mut contents, writes, None)))
    }

    /// Loses the first group and keeps what was accepted after it: a fault that only tests switch on.
    #[cfg(test)]
    pub(super) fn lose_group(&self) {
        let mut contents = self.contents();
        contents.is_storing = false;
        contents.is_queued = false;
        for group in &contents.groups {
            group.outcome.send_replace(Outcome::Stored);
        }
        contents.groups.clear();
        contents.unstored_bytes = 0;
        self.progress.send_replace(());
    }

    /// The results of the changes of a transaction.
    fn results(
        &self,
        contents: &mut Contents,
        transaction: &Transaction,
        now_ms: i64,
    ) -> Result<Writes, NotAccepted> {
        let (mut missing, mut writes) = (Vec::new(), Writes::default());
        let session = transaction.session();
        for (key, key_changes) in &transaction.writes {
            let Some(stored) = contents.find(key, Some(session)) else {
                missing.push(key.clone());
                continue;
            };
            if !missing.is_empty() {
                continue;
            }
            let current = stored.clone().filter(|entry| entry.exists_at(now_ms));
            let base = current.as_ref().filter(|_| !is_independent(key_changes));
            let value = changes::apply(key, base.map(|entry| &entry.value), key_changes)
                .map_err(|error| NotAccepted::Failed(state_failure(error.to_string())))?;
            let entry = value.map(|value| {
                let before = current.as_ref().and_then(|entry| entry.expires_at_ms);
                Entry { value, expires_at_ms: expiry(before, key_changes, now_ms) }
            });
            if let Some(bytes) = entry.as_ref().map(|entry| entry.value.bytes().len())
                && bytes > VALUE_BYTES_MAX
            {
                let error = runtime::KvError::TooLarge { key: key.clone(), bytes };
                return Err(NotAccepted::Failed(state_failure(error.to_string())));
            }
            let before = stored.map(|entry| entry_bytes(key, entry.value.bytes().len() as u64));
            writes.add(key, before, entry);
            // An item that is appended writes the whole array.
            if writes.values > WRITE_BYTES_MAX {
                let error = runtime::KvError::WriteBytes(WRITE_BYTES_MAX);
                return Err(NotAccepted::Failed(state_failure(error.to_string())));
            }
        }
        if missing.is_empty() { Ok(writes) } else { Err(NotAccepted::Missing(missing)) }
    }

    /// Checks that the quota, the memory of the app and the disk have room.
    fn check_room(&self, contents: &mut Contents, writes: &Writes) -> Result<(), NotAccepted> {
        let (quota, bytes) = (self.quota_bytes(), contents.bytes.saturating_add_signed(writes.grown));
        if writes.grown > 0 && bytes > quota {
            let key = writes.list.first().map(|(key, _)| key.as_str()).unwrap_or_default();
            return Err(NotAccepted::Failed(state_failure(format!(
                "the state would have {bytes} bytes with `{key}`; its quota is {quota}"
            ))));
        }
        if let Some(account) = &self.account {
            loop {
                let needed = contents.cache.bytes() + contents.recent.bytes() + 2 * writes.size;
                if reserve(account, &mut contents.reserved, needed) {
                    break;
                }
                let stored = contents.stored;
                if !contents.cache.evict() && !contents.recent.drop_oldest(stored) {
                    let message = "the app has no memory left for its state".to_owned();
                    let kind = FailureKind::NodeMemory;
                    return Err(NotAccepted::Failed(Failure { kind, message, location: None }));
                }
            }
        }
        self.shared.check_disk(writes.size + contents.unstored_bytes).map_err(|message| {
            NotAccepted::Failed(Failure { kind: FailureKind::Storage, message, location: None })
        })
    }

    /// Adds accepted writes to the cache, the log and the open group.
    fn append(
        self: &Arc<Self>,
        contents: &mut Contents,
        writes: Writes,
        scheduled: Option<Uuid>,
    ) -> Accepted {
        self.shared.metrics.count_accepted();
        let from = contents.version;
        contents.version += 1;
        contents.bytes = contents.bytes.saturating_add_signed(writes.grown);
        contents.entries = contents.entries.saturating_add_signed(writes.added);
        contents.unstored_bytes += writes.size;
        let version = contents.version;
        let is_full = contents.groups.back().is_none_or(|group| {
            group.writes.len() + writes.list.len() > GROUP_WRITES_MAX
                || group.bytes + writes.size > GROUP_BYTES_MAX
        });
        // The first one is being stored.
        if is_full || (contents.is_storing && contents.groups.len() == 1) {
            contents.groups.push_back(Group { from, ..Group::default() });
        }
        let (bytes_after, entries_after) = (contents.bytes, contents.entries);
        if let Some(group) = contents.groups.back_mut() {
            group.to = version;
            (group.bytes_after, group.entries_after) = (bytes_after, entries_after);
            group.commits += 1;
            group.scheduled.extend(scheduled);
            group.bytes += writes.size;
            for (key, entry) in &writes.list {
                group.writes.insert(key.clone(), (version, entry.clone()));
            }
        }
        for (key, entry) in &writes.list {
            if let Some(at) = entry.as_ref().and_then(|entry| entry.expires_at_ms) {
                self.shared.note_expiry(at);
            }
            contents.cache.insert(key.clone(), entry.clone());
        }
        self.shared.faults.on_append(|| contents.recent.push(version, writes.list));
        contents.recent.trim(contents.stored);
        self.reserve_for_cache(contents);
        if !contents.is_queued {
            contents.is_queued = true;
            self.shared.enqueue(Arc::clone(self));
        }
        contents.accepted(version, true)
    }

    /// Waits until an accepted transaction, and all that it depends on, is stored.
    ///
    /// # Errors
    /// See [`NotStored`].
    pub(crate) async fn stored(&self, accepted: Accepted) -> Result<(), NotStored> {
        let Some(mut outcome) = accepted.outcome else { return Ok(()) };
        match outcome.wait_for(|outcome| *outcome != Outcome::Open).await.as_deref() {
            Ok(Outcome::Stored) => Ok(()),
            Ok(Outcome::ThrownAway(why)) => Err(*why),
            Ok(Outcome::Open) | Err(_) => Err(NotStored::Failed),
        }
    }

    /// Counts an execution that runs again.
    pub(crate) fn count_rerun(&self) {
        self.shared.metrics.count_rerun();
    }

    /// Waits for the turn to be accepted next to others.
    pub(crate) async fn share_turn(&self) -> OwnedRwLockReadGuard<()> {
        Arc::clone(&self.turn).read_owned().await
    }

    /// Waits for the turn to be accepted alone. Nothing else is accepted until the guard is dropped.
    pub(crate) async fn take_turn(&self) -> OwnedRwLockWriteGuard<()> {
        Arc::clone(&self.turn).write_owned().await
    }

    /// Whether an accepted transaction is stored already.
    pub(crate) fn is_stored(&self, accepted: &Accepted) -> bool {
        accepted.outcome.as_ref().is_none_or(|outcome| *outcome.borrow() == Outcome::Stored)
    }

    /// The size of the next group to store.
    pub(super) fn waiting_group(&self) -> Option<Size> {
        let contents = self.contents();
        let group = contents.groups.front().filter(|_| !contents.is_storing)?;
        Some(Size { bytes: group.bytes, writes: group.writes.len() })
    }

    /// The next group to store, which stays until [`Self::note_stored`] or [`Self::throw_away`]; `None` if there is
    /// none, or one is being stored.
    pub(super) fn begin_group(&self) -> Option<(Option<NamespaceId>, Group)> {
        let mut contents = self.contents();
        if contents.is_storing {
            return None;
        }
        let group = contents.groups.front().cloned()?;
        contents.is_storing = true;
        Some((contents.id, group))
    }

    /// Puts back a group that was not stored because of another namespace.
    pub(super) fn put_back(&self) {
        self.contents().is_storing = false;
    }

    /// A group is stored. Returns whether there are more.
    pub(super) fn note_stored(&self, id: NamespaceId, stored: &Group) -> bool {
        let mut contents = self.contents();
        // What was thrown away meanwhile is not in the groups of the new epoch.
        let is_first =
            contents.groups.front().is_some_and(|group| Arc::ptr_eq(&group.outcome, &stored.outcome));
        if is_first && let Some(group) = contents.groups.pop_front() {
            contents.is_storing = false;
            contents.id = Some(id);
            contents.unstored_bytes = contents.unstored_bytes.saturating_sub(group.bytes);
            contents.stored = group.to;
            group.outcome.send_replace(Outcome::Stored);
        }
        let version = contents.stored;
        contents.recent.trim(version);
        contents.is_queued = !contents.groups.is_empty();
        self.progress.send_replace(());
        contents.is_queued
    }

    /// Throws away everything accepted that is not stored. The next reads start from the database.
    pub(super) fn throw_away(&self, why: NotStored) {
        let mut contents = self.contents();
        let cache = Cache::new(Arc::clone(contents.cache.total()));
        let fresh = Contents::new(contents.clock.clone(), cache);
        let (epoch, now_ms, is_deleted) = (contents.epoch + 1, contents.now_ms, contents.is_deleted);
        let hot_keys = std::mem::take(&mut contents.hot_keys);
        for group in &contents.groups {
            group.outcome.send_replace(Outcome::ThrownAway(why));
        }
        *contents = Contents { epoch, now_ms, is_deleted, hot_keys, ..fresh };
        contents.is_loaded = self.shared.store.is_none();
        self.progress.send_replace(());
    }

    /// Its id, once something is stored in it.
    pub(super) fn id(&self) -> Option<NamespaceId> {
        self.contents().id
    }

    /// Refuses all writes from now on: the namespace is deleted.
    pub(super) fn close(&self) {
        self.contents().is_deleted = true;
    }

    /// The stored bytes, the number of entries and the version, if they are known.
    pub(super) fn size(&self) -> Option<(u64, u64, u64)> {
        let contents = self.contents();
        contents.is_loaded.then_some((contents.bytes, contents.entries, contents.version))
    }
}

impl Contents {
    fn new(clock: Moments, cache: Cache) -> Self {
        Self {
            id: None,
            is_loaded: false,
            is_deleted: false,
            epoch: 0,
            version: 0,
            stored: 0,
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
        }
    }
}

impl fmt::Debug for Namespace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Namespace").field("app", &self.app).field("name", &self.name).finish_non_exhaustive()
    }
}

/// The results of a transaction.
#[derive(Debug, Default)]
struct Writes {
    list: Vec<(KvKey, Option<Entry>)>,
    /// By how much the stored bytes and the number of entries grow.
    grown: i64,
    added: i64,
    /// What is to be written.
    size: u64,
    /// The keys and values in that.
    values: u64,
}

impl Writes {
    /// Adds an entry, or the deletion of one, that took `before` bytes.
    fn add(&mut self, key: &KvKey, before: Option<u64>, after: Option<Entry>) {
        // Deleting what does not exist changes nothing.
        if before.is_none() && after.is_none() {
            return;
        }
        let value = after.as_ref().map(|entry| entry.value.bytes().len() as u64);
        let stored = value.map(|bytes| entry_bytes(key, bytes));
        self.grown += stored.unwrap_or(0) as i64 - before.unwrap_or(0) as i64;
        self.added += i64::from(after.is_some()) - i64::from(before.is_some());
        self.size += stored.unwrap_or(key.as_str().len() as u64);
        self.values += key.as_str().len() as u64 + value.unwrap_or(0);
        self.list.push((key.clone(), after));
    }
}

/// What an entry with a value of this size counts for the quota.
fn entry_bytes(key: &KvKey, value: u64) -> u64 {
    ENTRY_OVERHEAD_BYTES + key.as_str().len() as u64 + value
}

/// Until when a key exists after its changes.
fn expiry(before: Option<i64>, changes: &[runtime::KvChange], now_ms: i64) -> Option<i64> {
    use runtime::KvChange::{Add, Append, Delete, Restore, Set};
    let after =
        |ttl: std::time::Duration| now_ms.saturating_add(i64::try_from(ttl.as_millis()).unwrap_or(i64::MAX));
    changes.iter().fold(before, |expiry, change| match change {
        Set { ttl, .. } => ttl.map(after),
        Restore { expires_at_ms, .. } => *expires_at_ms,
        Delete => None,
        Add { ttl, .. } | Append { ttl, .. } => ttl.map(after).or(expiry),
    })
}

fn reserve(account: &Account, reserved: &mut Option<Reservation>, bytes: u64) -> bool {
    let held = reserved.as_ref().map_or(0, Reservation::bytes);
    if bytes <= held {
        return true;
    }
    let more = (bytes - held).next_multiple_of(RESERVED_STEP_BYTES);
    match reserved {
        Some(reserved) => reserved.try_grow(more).is_ok(),
        None => match account.try_reserve(Purpose::State, more) {
            Ok(new) => {
                *reserved = Some(new);
                true
            }
            Err(_) => false,
        },
    }
}

fn state_failure(message: String) -> Failure {
    Failure { kind: FailureKind::State, message, location: None }
}

fn cannot_read(error: &StoreError) -> String {
    tracing::warn!(%error, "cannot read the state of an app");
    "the state of the app cannot be read now".to_owned()
}
