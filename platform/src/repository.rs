//! An app's git repository in the store, with every deploy as a ref.

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

use crate::executor::app_semaphores::{AppSemaphore, AppSemaphores};
use crate::memory::{Account, MemoryBudget, Reservation};
use memory::{ReadReservation, accounted_streams};

pub(crate) use memory::RequestMemory;

pub use store::AppId;

/// The initial size of a read of objects with their delta bases. A larger result is read again with more
/// memory, and later reads start with that size, up to a maximum.
const DELTA_READ_BYTES: u64 = 256 * 1024;
const DELTA_READ_BYTES_MAX: u64 = 16 * 1024 * 1024;

/// The read-only namespace of deploy refs.
pub const DEPLOY_REFS: &str = "refs/deploys/";

/// The ref of a deploy.
pub(crate) fn deploy_ref(number: DeployNumber) -> String {
    format!("{DEPLOY_REFS}{number}")
}

/// The default production branch.
pub const DEFAULT_PRODUCTION_BRANCH: &str = "main";

/// A read-only view of an app's repository, empty for an app that does not exist yet. It lives for one
/// request: refs and deploys are read once, so that all decisions about a push see the same state.
#[derive(Clone, Debug)]
pub struct AppRepository {
    store: Store,
    app: Option<App>,
    /// The app's id, or the id for its creation.
    id: AppId,
    head: String,
    lists_deploy_refs: bool,
    refs: OnceCell<Vec<store::Ref>>,
    deploys: OnceCell<Vec<Deploy>>,
    /// The memory of the request, if limited.
    memory: Option<Arc<RequestMemory>>,
    /// The size of the next read of objects with delta bases.
    delta_read_bytes: Arc<AtomicU64>,
    /// The semaphore for reads, if limited.
    read_limit: Option<AppSemaphore>,
}

impl AppRepository {
    /// Opens the repository of `app`.
    pub fn new(store: Store, app: Option<App>) -> Self {
        Self::for_new_app(store, app, AppId::random())
    }

    /// Opens the repository of `app`, or of a new app that is created with `id`.
    pub(crate) fn for_new_app(store: Store, app: Option<App>, id: AppId) -> Self {
        let production = app.as_ref().map_or(DEFAULT_PRODUCTION_BRANCH, |app| app.production_branch.as_str());
        let head = format!("refs/heads/{production}");
        let (refs, deploys) = (OnceCell::new(), OnceCell::new());
        let delta_read_bytes = Arc::new(AtomicU64::new(DELTA_READ_BYTES));
        let id = app.as_ref().map_or(id, |app| app.id);
        Self {
            store,
            app,
            id,
            head,
            lists_deploy_refs: true,
            refs,
            deploys,
            memory: None,
            delta_read_bytes,
            read_limit: None,
        }
    }

    /// Limits the memory of the request: it starts with the reservation `first`, kept to the end, and grows
    /// within its account.
    pub fn with_memory(self, first: Reservation) -> Self {
        self.with_shared_memory(RequestMemory::new(first))
    }

    /// Limits the memory of the request, shared with other repositories it reads.
    pub(crate) fn with_shared_memory(self, memory: Arc<RequestMemory>) -> Self {
        Self { memory: Some(memory), ..self }
    }

    /// Limits concurrent reads of requests that read much.
    pub fn with_read_limit(self, read_limit: &AppSemaphores<AppId>) -> Self {
        Self { read_limit: Some(read_limit.of(&self.id)), ..self }
    }

    /// The id of the app, or the id for its creation.
    pub(crate) fn id(&self) -> AppId {
        self.id
    }

    /// The account of the app.
    pub fn account(&self, budget: &MemoryBudget) -> Account {
        budget.account(self.id)
    }

    /// Reserves up to `limit` bytes if memory is limited, waits for a read permit if needed, and reads.
    async fn read<T>(
        &self,
        limit: u64,
        read: impl Future<Output = Result<T, StoreError>>,
    ) -> Result<(T, Option<ReadReservation>), RepositoryError> {
        let memory_permit = match &self.memory {
            Some(memory) => Some(memory.acquire(limit).await?),
            None => None,
        };
        let _permit = match &self.read_limit {
            Some(read_limit) => Some(read_limit.acquire().await),
            None => None,
        };
        Ok((read.await.map_err(unreadable)?, memory_permit))
    }

    /// The app; `None`: it does not exist yet.
    pub(crate) fn app(&self) -> Option<&App> {
        self.app.as_ref()
    }

    /// The production branch.
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

    /// The deploys in chronological order.
    ///
    /// # Errors
    /// The store cannot be read.
    pub(crate) async fn deploys(&self) -> Result<&[Deploy], StoreError> {
        let Some(app) = &self.app else { return Ok(&[]) };
        Ok(self.deploys.get_or_try_init(|| self.store.deploys(app.id)).await?)
    }

    /// Whether the app exists.
    pub fn exists(&self) -> bool {
        self.app.is_some()
    }

    /// Hides deploy refs, for pushes: they cannot be updated, and a client processes every advertised ref
    /// before a push, so that a long history would slow down each push.
    pub fn without_deploy_refs(self) -> Self {
        Self { lists_deploy_refs: false, ..self }
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
        let deploys = if self.lists_deploy_refs { self.deploys().await.map_err(unreadable)? } else { &[] };
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
        let known = self.store.object_info(app.id, &oids(ids)).await.map_err(unreadable)?;
        let git = |info: store::ObjectInfo| ObjectInfo { kind: git_kind(info.kind), depth: info.depth };
        Ok(known.into_iter().map(|(oid, info)| (object_id(oid), git(info))).collect())
    }

    async fn objects(&self, ids: &[ObjectId]) -> Result<Vec<Object>, RepositoryError> {
        let Some(app) = &self.app else { return Ok(Vec::new()) };
        let oids = oids(ids);
        let (objects, memory_permit) =
            self.read(OBJECTS_BYTES_MAX, self.store.objects(app.id, &oids)).await?;
        git_objects(objects, memory_permit)
    }

    async fn objects_and_bases(&self, ids: &[ObjectId]) -> Result<Vec<Object>, RepositoryError> {
        let Some(app) = &self.app else { return Ok(Vec::new()) };
        let oids = oids(ids);
        let Some(memory) = &self.memory else {
            let read = self.store.objects_and_bases(app.id, &oids, u64::MAX);
            return git_objects(self.read(0, read).await?.0, None);
        };
        let before = self.delta_read_bytes.load(Ordering::Relaxed);
        let mut limit = if memory.has_capacity(before) { before } else { DELTA_READ_BYTES };
        loop {
            // The size is not known in advance.
            let (objects, memory_permit) =
                self.read(limit, self.store.objects_and_bases(app.id, &oids, limit)).await?;
            if bytes(&objects) < limit {
                return git_objects(objects, memory_permit);
            }
            limit = limit.saturating_mul(8);
            self.delta_read_bytes.fetch_max(limit.min(DELTA_READ_BYTES_MAX), Ordering::Relaxed);
        }
    }

    async fn commits(
        &self,
        after: Option<ObjectId>,
        limit: usize,
    ) -> Result<Option<Vec<Object>>, RepositoryError> {
        let Some(app) = &self.app else { return Ok(None) };
        let limit = u32::try_from(limit).unwrap_or(u32::MAX);
        let read = self.store.commits(app.id, after.map(oid), limit);
        let (commits, memory_permit) = self.read(OBJECTS_BYTES_MAX, read).await?;
        git_objects(commits, memory_permit).map(Some)
    }

    async fn objects_in_storage_order(&self, position: u64) -> Result<Option<StoredBatch>, RepositoryError> {
        let Some(app) = &self.app else { return Ok(None) };
        let (stored, memory_permit) =
            self.read(OBJECTS_BYTES_MAX, self.store.scan_objects(app.id, position)).await?;
        let Some(store::ObjectScan { objects, next }) = stored else { return Ok(None) };
        Ok(Some(StoredBatch { objects: git_objects(objects, memory_permit)?, next }))
    }
}

/// The pushed objects for the store.
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

/// Converts an object to the store's type.
pub(crate) fn stored_object(object: Object) -> store::Object {
    let Object { id, kind, base, depth, size, zlib } = object;
    let (oid, base, kind) = (oid(id), base.map(oid), store_kind(kind));
    store::Object { oid, kind, base, depth, size, zlib: zlib.into() }
}

/// Converts objects from the store; their memory stays reserved as long as their streams exist.
fn git_objects(
    mut objects: Vec<store::Object>,
    memory_permit: Option<ReadReservation>,
) -> Result<Vec<Object>, RepositoryError> {
    let Some(memory_permit) = memory_permit else {
        let whole = |mut object: store::Object| {
            let zlib = std::mem::take(&mut object.zlib);
            git_object(object, zlib.into())
        };
        return Ok(objects.into_iter().map(whole).collect());
    };
    let memory = memory_permit.into_streams(bytes(&objects))?;
    let streams = accounted_streams(&mut objects, &memory);
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

/// Converts an object id to the store's type.
pub(crate) fn oid(id: ObjectId) -> Oid {
    let ObjectId::Sha1(bytes) = id else { unreachable!("the receiver only accepts object format sha1") };
    Oid::new(bytes)
}

/// Converts an object id to git's type.
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
