//! One app's repository as git sees it: what the store holds, with every deploy as a ref.

mod memory;

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use git_receiver::{
    Kind, MemoryPool, Object, ObjectId, ObjectInfo, Pack, Reference, RepositoryError, StoredBatch,
};
use store::{App, Deploy, DeployNumber, OBJECTS_BYTES_MAX, ObjectKind, Oid, Store, StoreError};
use tokio::sync::OnceCell;

use crate::executor::turns::{AppTurns, Turns};
use crate::memory::{Account, MemoryBudget, Reservation};
use memory::{Room, counted_streams};

pub(crate) use memory::RequestMemory;

pub use store::AppId;

/// How many bytes of objects and their bases are read at first; where they are more, they are read again with more room, and what
/// is read afterwards begins with as much, up to a bound, where there is room.
const CHAINS_BYTES: u64 = 256 * 1024;
const CHAINS_BYTES_KEPT_MAX: u64 = 16 * 1024 * 1024;

/// Where every deploy is listed, read-only.
pub const DEPLOY_REFS: &str = "refs/deploys/";

/// The ref that a deploy is listed as.
pub(crate) fn deploy_ref(number: DeployNumber) -> String {
    format!("{DEPLOY_REFS}{number}")
}

/// The production branch of an app that has no setting of its own.
pub const DEFAULT_PRODUCTION_BRANCH: &str = "main";

/// A read-only view of an app's repository; an empty one for an app that does not exist yet. It lasts as long as one request:
/// refs and deploys are read once, by who asks first, and all that decide over a push see the same.
#[derive(Clone, Debug)]
pub struct AppRepository {
    store: Store,
    app: Option<App>,
    /// Its id, or the one that it is created with.
    id: AppId,
    head: String,
    lists_deploys: bool,
    refs: OnceCell<Vec<store::Ref>>,
    deploys: OnceCell<Vec<Deploy>>,
    /// What is held for the request, where it is bounded.
    memory: Option<Arc<RequestMemory>>,
    /// How many bytes of objects and bases were read before.
    chains_bytes: Arc<AtomicU64>,
    /// Whose turns it takes, where it does.
    turns: Option<AppTurns>,
}

impl AppRepository {
    /// The repository of `app`.
    pub fn new(store: Store, app: Option<App>) -> Self {
        Self::to_be(store, app, AppId::random())
    }

    /// The same; where there is no app yet, it is to be created with that id.
    pub(crate) fn to_be(store: Store, app: Option<App>, id: AppId) -> Self {
        let production = app.as_ref().map_or(DEFAULT_PRODUCTION_BRANCH, |app| app.production_branch.as_str());
        let head = format!("refs/heads/{production}");
        let (refs, deploys) = (OnceCell::new(), OnceCell::new());
        let chains_bytes = Arc::new(AtomicU64::new(CHAINS_BYTES));
        let id = app.as_ref().map_or(id, |app| app.id);
        Self {
            store,
            app,
            id,
            head,
            lists_deploys: true,
            refs,
            deploys,
            memory: None,
            chains_bytes,
            turns: None,
        }
    }

    /// The same for a request that holds memory: `first` to its end, and what it needs beyond that of the same account.
    pub fn holding(self, first: Reservation) -> Self {
        self.sharing(RequestMemory::new(first))
    }

    /// The same for a request that holds memory, with others that are read for it.
    pub(crate) fn sharing(self, memory: Arc<RequestMemory>) -> Self {
        Self { memory: Some(memory), ..self }
    }

    /// The same for a request that reads much, and takes turns with others.
    pub fn taking_turns(self, turns: &Turns<AppId>) -> Self {
        Self { turns: Some(turns.of(&self.id)), ..self }
    }

    /// The id of the app; of one that does not exist yet, the id that it is to be created with.
    pub(crate) fn id(&self) -> AppId {
        self.id
    }

    /// The account of the app.
    pub fn account(&self, budget: &MemoryBudget) -> Account {
        budget.account(self.id)
    }

    /// Waits for room for so many bytes, where memory is bounded, and then for a turn, and reads.
    async fn read<T>(
        &self,
        most: u64,
        reading: impl Future<Output = Result<T, StoreError>>,
    ) -> Result<(T, Option<Room>), RepositoryError> {
        let room = match &self.memory {
            Some(memory) => Some(memory.room(most).await?),
            None => None,
        };
        let _turn = match &self.turns {
            Some(turns) => Some(turns.next().await),
            None => None,
        };
        Ok((reading.await.map_err(unreadable)?, room))
    }

    /// The app; `None`: it does not exist yet.
    pub(crate) fn app(&self) -> Option<&App> {
        self.app.as_ref()
    }

    /// The branch that is served as production.
    pub(crate) fn production_branch(&self) -> &str {
        self.app.as_ref().map_or(DEFAULT_PRODUCTION_BRANCH, |app| app.production_branch.as_str())
    }

    /// The branches and tags.
    ///
    /// # Errors
    /// The store cannot be read.
    pub(crate) async fn branches_and_tags(&self) -> Result<&[store::Ref], StoreError> {
        let Some(app) = &self.app else { return Ok(&[]) };
        Ok(self.refs.get_or_try_init(|| self.store.refs(app.id)).await?)
    }

    /// The deploys, those of before first.
    ///
    /// # Errors
    /// The store cannot be read.
    pub(crate) async fn deploys(&self) -> Result<&[Deploy], StoreError> {
        let Some(app) = &self.app else { return Ok(&[]) };
        Ok(self.deploys.get_or_try_init(|| self.store.deploys(app.id)).await?)
    }

    /// Whether it is one of an app that is there.
    pub fn exists(&self) -> bool {
        self.app.is_some()
    }

    /// The same as pushers see it: without the refs of deploys, which they cannot move. A client goes through every ref that
    /// is listed before it pushes, so that a long history of deploys would make each push slower than the one before.
    pub fn for_pushers(self) -> Self {
        Self { lists_deploys: false, ..self }
    }
}

impl git_receiver::Repository for AppRepository {
    fn memory(&self) -> Arc<dyn MemoryPool> {
        match &self.memory {
            Some(memory) => Arc::<RequestMemory>::clone(memory),
            None => git_receiver::unbounded_memory(),
        }
    }

    fn head(&self) -> Option<&str> {
        Some(&self.head)
    }

    async fn refs(&self) -> Result<Vec<Reference>, RepositoryError> {
        let refs = self.branches_and_tags().await.map_err(unreadable)?;
        let refs =
            refs.iter().map(|found| Reference { name: found.name.clone(), target: object_id(found.target) });
        let deploys = if self.lists_deploys { self.deploys().await.map_err(unreadable)? } else { &[] };
        let deploys = deploys
            .iter()
            .map(|deploy| Reference { name: deploy_ref(deploy.number), target: object_id(deploy.commit) });
        Ok(refs.chain(deploys).collect())
    }

    async fn shallow(&self) -> Result<Vec<ObjectId>, RepositoryError> {
        let Some(app) = &self.app else { return Ok(Vec::new()) };
        let oids = self.store.shallow(app.id).await.map_err(unreadable)?;
        Ok(oids.into_iter().map(object_id).collect())
    }

    async fn object_info(&self, ids: &[ObjectId]) -> Result<HashMap<ObjectId, ObjectInfo>, RepositoryError> {
        let Some(app) = &self.app else { return Ok(HashMap::new()) };
        let known = self.store.known(app.id, &oids(ids)).await.map_err(unreadable)?;
        let git = |known: store::Known| ObjectInfo { kind: git_kind(known.kind), depth: known.depth };
        Ok(known.into_iter().map(|(oid, known)| (object_id(oid), git(known))).collect())
    }

    async fn objects(&self, ids: &[ObjectId]) -> Result<Vec<Object>, RepositoryError> {
        let Some(app) = &self.app else { return Ok(Vec::new()) };
        let oids = oids(ids);
        let (objects, room) = self.read(OBJECTS_BYTES_MAX, self.store.objects(app.id, &oids)).await?;
        git_objects(objects, room)
    }

    async fn objects_and_bases(&self, ids: &[ObjectId]) -> Result<Vec<Object>, RepositoryError> {
        let Some(app) = &self.app else { return Ok(Vec::new()) };
        let oids = oids(ids);
        let Some(memory) = &self.memory else {
            let reading = self.store.objects_and_bases(app.id, &oids, u64::MAX);
            return git_objects(self.read(0, reading).await?.0, None);
        };
        let before = self.chains_bytes.load(Ordering::Relaxed);
        let mut most = if memory.has_capacity(before) { before } else { CHAINS_BYTES };
        loop {
            // Nobody knows yet how much they are.
            let (objects, room) = self.read(most, self.store.objects_and_bases(app.id, &oids, most)).await?;
            if bytes(&objects) < most {
                return git_objects(objects, room);
            }
            most = most.saturating_mul(8);
            self.chains_bytes.fetch_max(most.min(CHAINS_BYTES_KEPT_MAX), Ordering::Relaxed);
        }
    }

    async fn commits(
        &self,
        after: Option<ObjectId>,
        most: usize,
    ) -> Result<Option<Vec<Object>>, RepositoryError> {
        let Some(app) = &self.app else { return Ok(None) };
        let most = u32::try_from(most).unwrap_or(u32::MAX);
        let reading = self.store.commits(app.id, after.map(oid), most);
        let (commits, room) = self.read(OBJECTS_BYTES_MAX, reading).await?;
        git_objects(commits, room).map(Some)
    }

    async fn objects_in_storage_order(&self, position: u64) -> Result<Option<StoredBatch>, RepositoryError> {
        let Some(app) = &self.app else { return Ok(None) };
        let (stored, room) = self.read(OBJECTS_BYTES_MAX, self.store.stored(app.id, position)).await?;
        let Some(store::Stored { objects, next }) = stored else { return Ok(None) };
        Ok(Some(StoredBatch { objects: git_objects(objects, room)?, next }))
    }
}

/// The objects of a push as the store reads them.
#[derive(Debug)]
pub(crate) struct Pushed<'p>(pub(crate) &'p Pack);

impl store::Objects for Pushed<'_> {
    fn len(&self) -> usize {
        self.0.len()
    }

    fn object(&self, index: usize) -> std::io::Result<store::Object> {
        self.0.object(index).map(stored_object)
    }

    fn stream_bytes(&self) -> u64 {
        self.0.stream_bytes()
    }
}

/// An object as the store has it.
pub(crate) fn stored_object(object: Object) -> store::Object {
    let Object { id, kind, base, depth, size, zlib } = object;
    let (oid, base, kind) = (oid(id), base.map(oid), store_kind(kind));
    store::Object { oid, kind, base, depth, size, zlib: zlib.into() }
}

/// Objects that were read, for which `room` is held as long as their streams are there.
fn git_objects(mut objects: Vec<store::Object>, room: Option<Room>) -> Result<Vec<Object>, RepositoryError> {
    let Some(room) = room else {
        let whole = |mut object: store::Object| {
            let zlib = std::mem::take(&mut object.zlib);
            git_object(object, zlib.into())
        };
        return Ok(objects.into_iter().map(whole).collect());
    };
    let memory = room.into_streams(bytes(&objects))?;
    let streams = counted_streams(&mut objects, &memory);
    Ok(objects.into_iter().zip(streams).map(|(object, stream)| git_object(object, stream)).collect())
}

fn git_object(object: store::Object, zlib: Bytes) -> Object {
    let store::Object { oid, kind, base, depth, size, zlib: _ } = object;
    let (id, base, kind) = (object_id(oid), base.map(object_id), git_kind(kind));
    Object { id, kind, base, depth, size, zlib }
}

fn bytes(objects: &[store::Object]) -> u64 {
    objects.iter().map(|object| object.zlib.len() as u64).sum()
}

fn oids(ids: &[ObjectId]) -> Vec<Oid> {
    ids.iter().map(|id| oid(*id)).collect()
}

/// The store's name for an object.
pub(crate) fn oid(id: ObjectId) -> Oid {
    let ObjectId::Sha1(bytes) = id else { unreachable!("the receiver accepts object format sha1 alone") };
    Oid::new(bytes)
}

/// git's name for an object.
pub(crate) fn object_id(oid: Oid) -> ObjectId {
    ObjectId::Sha1(*oid.as_bytes())
}

fn git_kind(kind: ObjectKind) -> Kind {
    match kind {
        ObjectKind::Commit => Kind::Commit,
        ObjectKind::Tree => Kind::Tree,
        ObjectKind::Blob => Kind::Blob,
        ObjectKind::Tag => Kind::Tag,
    }
}

fn store_kind(kind: Kind) -> ObjectKind {
    match kind {
        Kind::Commit => ObjectKind::Commit,
        Kind::Tree => ObjectKind::Tree,
        Kind::Blob => ObjectKind::Blob,
        Kind::Tag => ObjectKind::Tag,
    }
}

fn unreadable(error: StoreError) -> RepositoryError {
    RepositoryError::unreadable(error)
}
