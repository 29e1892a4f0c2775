//! One app's repository as git sees it: what the store holds, with every deploy as a ref.

use std::collections::HashMap;

use git_receiver::{Kind, Known, Object, ObjectId, Pack, Reference, RepositoryError, Stored};
use store::{App, Deploy, DeployNumber, ObjectKind, Oid, Store, StoreError};
use tokio::sync::OnceCell;

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
    head: String,
    lists_deploys: bool,
    refs: OnceCell<Vec<store::Ref>>,
    deploys: OnceCell<Vec<Deploy>>,
}

impl AppRepository {
    /// The repository of `app`.
    pub fn new(store: Store, app: Option<App>) -> Self {
        let production = app.as_ref().map_or(DEFAULT_PRODUCTION_BRANCH, |app| app.production_branch.as_str());
        let head = format!("refs/heads/{production}");
        Self { store, app, head, lists_deploys: true, refs: OnceCell::new(), deploys: OnceCell::new() }
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

    async fn known(&self, ids: &[ObjectId]) -> Result<HashMap<ObjectId, Known>, RepositoryError> {
        let Some(app) = &self.app else { return Ok(HashMap::new()) };
        let known = self.store.known(app.id, &oids(ids)).await.map_err(unreadable)?;
        let git = |known: store::Known| Known { kind: git_kind(known.kind), depth: known.depth };
        Ok(known.into_iter().map(|(oid, known)| (object_id(oid), git(known))).collect())
    }

    async fn objects(&self, ids: &[ObjectId]) -> Result<Vec<Object>, RepositoryError> {
        let Some(app) = &self.app else { return Ok(Vec::new()) };
        let objects = self.store.objects(app.id, &oids(ids)).await.map_err(unreadable)?;
        Ok(objects.into_iter().map(git_object).collect())
    }

    async fn objects_and_bases(&self, ids: &[ObjectId]) -> Result<Vec<Object>, RepositoryError> {
        let Some(app) = &self.app else { return Ok(Vec::new()) };
        let objects = self.store.objects_and_bases(app.id, &oids(ids)).await.map_err(unreadable)?;
        Ok(objects.into_iter().map(git_object).collect())
    }

    async fn commits(
        &self,
        after: Option<ObjectId>,
        most: usize,
    ) -> Result<Option<Vec<Object>>, RepositoryError> {
        let Some(app) = &self.app else { return Ok(None) };
        let most = u32::try_from(most).unwrap_or(u32::MAX);
        let commits = self.store.commits(app.id, after.map(oid), most).await.map_err(unreadable)?;
        Ok(Some(commits.into_iter().map(git_object).collect()))
    }

    async fn stored(&self, place: u64) -> Result<Option<Stored>, RepositoryError> {
        let Some(app) = &self.app else { return Ok(None) };
        let stored = self.store.stored(app.id, place).await.map_err(unreadable)?;
        Ok(stored.map(|store::Stored { objects, next }| Stored {
            objects: objects.into_iter().map(git_object).collect(),
            next,
        }))
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

fn git_object(object: store::Object) -> Object {
    let store::Object { oid, kind, base, depth, size, zlib } = object;
    let (id, base, kind) = (object_id(oid), base.map(object_id), git_kind(kind));
    Object { id, kind, base, depth, size, zlib: zlib.into() }
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
    RepositoryError(Box::new(error))
}
