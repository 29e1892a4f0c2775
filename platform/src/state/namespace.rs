//! The state of one app, or of one preview: its latest values, the log of recent commits, and the commits that are
//! accepted and not yet stored.
//!
//! A transaction is accepted in memory: it is compared with the log, gets the next version, and joins the open group.
//! The committer stores groups in order. If a group cannot be stored, everything accepted since is thrown away: a new
//! epoch begins with what the database has.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use runtime::{Failure, FailureKind, KvKey, VALUE_BYTES_MAX};
use store::{AppId, ExpiredEntry, NamespaceId, NamespaceName, StoreError};
use tokio::sync::{Notify, OwnedRwLockReadGuard, OwnedRwLockWriteGuard, RwLock, watch};
use tokio::time::{Instant, timeout, timeout_at};
use uuid::Uuid;

use super::cache::Cache;
use super::changes;
use super::committer::Size;
use super::contents::{Accepted, Contents, Group, Outcome};
use super::freshness::{self, ReadError};
use super::loading;
use super::recent::{Entry, Write, Written};
use super::transaction::{Outdated, Session, Transaction, is_independent};
use super::{ENTRY_OVERHEAD_BYTES, Shared, WRITE_BYTES_MAX};
use crate::memory::{Account, Purpose, Reservation};

/// A group of one namespace: the commits that are stored together.
pub(super) const GROUP_WRITES_MAX: usize = 2_000;
pub(super) const GROUP_BYTES_MAX: u64 = 4 * 1024 * 1024;

/// Beyond this many bytes that are accepted and not stored, finished executions wait.
const UNSTORED_BYTES_MAX: u64 = 8 * 1024 * 1024;

/// How long other nodes wait for executions of this node, in all and after the last one.
const EXPECTED_WAIT_MAX: Duration = Duration::from_millis(20);
const EXPECTED_QUIET: Duration = Duration::from_millis(2);

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
    /// Notifies when a transaction with writes is accepted.
    appended: Notify,
    /// Executions are accepted while they hold it for reading. The third try of one holds it for writing.
    turn: Arc<RwLock<()>>,
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
        let clock = (!shared.is_shared()).then(|| shared.clock.clone());
        let mut contents = Contents::new(clock, cache);
        contents.is_loaded = !is_stored;
        Arc::new(Self {
            app,
            name,
            shared,
            account,
            quota_bytes: AtomicU64::new(quota_bytes),
            contents: Mutex::new(contents),
            progress: watch::Sender::new(()),
            appended: Notify::new(),
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

    /// The app and the name.
    pub(super) fn full_name(&self) -> (AppId, NamespaceName) {
        (self.app, self.name.clone())
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

    /// Reads what exists of the namespace in the database, once.
    pub(super) async fn ensure_loaded(self: &Arc<Self>) -> Result<Option<NamespaceId>, ReadError> {
        let Some(store) = &self.shared.store else { return Ok(None) };
        if !self.contents().is_loaded {
            if self.shared.is_shared() {
                freshness::refresh(self).await?;
            } else {
                let known = self.contents().known();
                let row = store.namespace(self.app, &self.name).await?;
                self.contents().compare(row.as_ref(), known);
            }
        }
        Ok(self.contents().id)
    }

    /// Adds what was read from the database at `version` to the cache.
    pub(super) fn cache_read(&self, epoch: u64, version: u64, entries: &[(KvKey, Option<Entry>)]) {
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
            let (needed, stored) =
                (contents.cache.bytes() + contents.recent.bytes(), contents.stored_version());
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

    /// Tells those who wait for room that groups were stored or thrown away.
    pub(super) fn note_progress(&self) {
        self.progress.send_replace(());
    }

    /// The namespace was deleted in the database.
    pub(super) fn forget(&self) {
        self.throw_away(NotStored::Outdated);
    }

    /// Compares a transaction with what was accepted since its reads, and accepts it.
    pub(crate) fn accept(self: &Arc<Self>, transaction: &Transaction) -> Result<Accepted, NotAccepted> {
        let mut contents = self.contents();
        let writes = match self.judge(&mut contents, transaction)? {
            Valid::Reads { seen } => return Ok(contents.accepted(seen, false)),
            Valid::Writes(writes) => writes,
        };
        let accepted = self.append(&mut contents, writes, transaction.session().scheduled());
        drop(contents);
        self.shared.evict();
        Ok(accepted)
    }

    /// What a transaction would write if it were accepted now.
    ///
    /// Writes are compared once more when they are stored. Everything else, and what depends on the time, is only right
    /// for the latest position.
    fn judge(&self, contents: &mut Contents, transaction: &Transaction) -> Result<Valid, NotAccepted> {
        let validated = self.validate(contents, transaction);
        let session = transaction.session();
        let must_refresh = match &validated {
            Ok(Valid::Writes(writes)) if writes.uses_time || transaction.reads.expires_at_ms.is_some() => {
                session.needs_time()
            }
            Ok(Valid::Writes(_))
            | Err(NotAccepted::Missing(_) | NotAccepted::Full | NotAccepted::Conflict) => false,
            Ok(Valid::Reads { .. }) | Err(NotAccepted::Failed(_)) => session.needs_refresh(),
        };
        match must_refresh {
            true => Err(NotAccepted::Missing(Vec::new())),
            false => validated,
        }
    }

    /// The same, as far as memory tells.
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
        let check = || self.judge(&mut self.contents(), transaction).map(drop);
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
                    if keys.is_empty() {
                        session.note_stale();
                    }
                    loading::load(self, Arc::clone(session), keys).await;
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
    ) -> Result<bool, ReadError> {
        freshness::refresh(self).await?;
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
                Some(Write { result: Written::Here(Some(later)), .. }) if !later.exists_at(now_ms) => {
                    writes.add(&key, Some(entry_bytes(&key, later.value.bytes().len() as u64)), None);
                }
                Some(_) => {}
                None => writes.add(&key, Some(entry_bytes(&key, entry.bytes)), None),
            }
        }
        let is_open = contents.is_loaded && !contents.is_deleted && !writes.list.is_empty();
        Ok(is_open.then(|| self.append(&mut contents, writes, None)))
    }

    /// Loses the groups and keeps what was accepted after them: a fault that only tests switch on.
    #[cfg(test)]
    pub(super) fn lose_groups(&self) {
        self.contents().lose_groups();
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
            let expires =
                |entry: &Option<Entry>| entry.as_ref().is_some_and(|entry| entry.expires_at_ms.is_some());
            writes.uses_time |= expires(&stored) || expires(&entry);
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
                let stored = contents.stored_version();
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
        let from = contents.latest_position();
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
            contents.groups.push_back(Group::after(from));
        }
        let (bytes_after, entries_after) = (contents.bytes, contents.entries);
        if let Some(group) = contents.groups.back_mut() {
            group.to.version = version;
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
        let written = writes.list.into_iter().map(|(key, entry)| (key, Written::Here(entry)));
        self.shared.faults.on_append(|| contents.recent.push(version, written));
        let stored = contents.stored_version();
        contents.recent.trim(stored);
        contents.contention.expected = contents.contention.expected.saturating_sub(1);
        self.appended.notify_one();
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
        accepted.stored().await
    }

    /// Notes that an execution runs again.
    pub(crate) fn note_rerun(&self, session: &Session) {
        self.shared.metrics.count_rerun();
        session.note_rerun();
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
        accepted.is_stored()
    }

    /// The size of the next group to store.
    pub(super) fn waiting_group(&self) -> Option<Size> {
        let mut contents = self.contents();
        // They were thrown away.
        contents.is_queued = !contents.groups.is_empty();
        let group = contents.groups.front()?;
        Some(Size { bytes: group.bytes, writes: group.writes.len() })
    }

    /// The next group to store, which stays until [`Self::note_stored`] or [`Self::note_not_stored`]; `None` if there is
    /// none.
    pub(super) fn begin_group(&self) -> Option<(Option<NamespaceId>, Group)> {
        let mut contents = self.contents();
        let group = contents.groups.front().cloned()?;
        contents.is_storing = true;
        Some((contents.id, group))
    }

    /// Puts back a group that was not stored: it was refused because of another namespace, or waits for the lock.
    pub(super) fn put_back(&self) {
        self.contents().is_storing = false;
    }

    /// Puts back a group until the namespace is locked. If another node's commit has refused it, it is thrown away when
    /// that commit is taken over, which may have happened already.
    pub(super) fn begin_locking(&self, group: &Group) {
        let mut contents = self.contents();
        (contents.is_storing, contents.contention.is_locking) = (false, true);
        if !contents.is_first(group) {
            contents.contention.refuse(group.clone());
        }
    }

    /// The namespace is not locked by this node any more.
    pub(super) fn end_locking(&self) {
        self.contents().contention.end_locking();
    }

    /// The committer has nothing in progress any more. Returns whether there are more groups.
    pub(super) fn end_storing(&self) -> bool {
        let mut contents = self.contents();
        contents.is_queued = !contents.groups.is_empty();
        contents.is_queued
    }

    /// Whether another node's commit has refused a group within this time.
    pub(super) fn is_contended(&self, age: Duration) -> bool {
        self.contents().contention.is_recent(age)
    }

    /// Waits a moment for executions that are about to be accepted. Some may end without writes.
    pub(super) async fn wait_for_expected(&self) {
        let end = Instant::now() + EXPECTED_WAIT_MAX;
        while self.contents().contention.expected > 0 {
            let accepted = timeout(EXPECTED_QUIET, self.appended.notified());
            if !matches!(timeout_at(end, accepted).await, Ok(Ok(()))) {
                break;
            }
        }
        self.contents().contention.expected = 0;
    }

    /// A group is stored.
    pub(super) fn note_stored(&self, id: NamespaceId, stored: &Group) {
        self.contents().note_stored(id, stored);
        self.note_progress();
    }

    /// A group is not stored. If it is still the next one, everything accepted after it is thrown away, too.
    pub(super) fn note_not_stored(&self, group: &Group, why: NotStored) {
        let mut contents = self.contents();
        if contents.is_first(group) {
            contents.throw_away(why);
            contents.is_loaded = self.shared.store.is_none();
        }
        drop(contents);
        group.end(Outcome::ThrownAway(why));
        self.note_progress();
    }

    /// Throws away everything accepted that is not stored. The next reads start from the database.
    pub(super) fn throw_away(&self, why: NotStored) {
        let mut contents = self.contents();
        contents.throw_away(why);
        contents.is_loaded = self.shared.store.is_none();
        drop(contents);
        self.note_progress();
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

impl fmt::Debug for Namespace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Namespace").field("app", &self.app).field("name", &self.name).finish_non_exhaustive()
    }
}

/// The results of a transaction.
#[derive(Debug, Default)]
struct Writes {
    /// Whether they depend on the time.
    uses_time: bool,
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
