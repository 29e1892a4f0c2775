//! One app's repository as git sees it: what the store holds, with every deploy as a ref.

use std::collections::HashMap;

use git_receiver::{Kind, Object, ObjectId, Reference, RepositoryError};
use store::{App, ObjectKind, Oid, Store};

/// Where every deploy is listed, read-only.
pub const DEPLOY_REFS: &str = "refs/deploys/";

/// The production branch of an app that has no setting of its own.
pub const DEFAULT_PRODUCTION_BRANCH: &str = "main";

/// A read-only view of an app's repository; an empty one for an app that does not exist yet.
#[derive(Clone, Debug)]
pub struct AppRepository {
    store: Store,
    app: Option<App>,
    head: String,
    lists_deploys: bool,
}

impl AppRepository {
    /// The repository of `app`.
    pub fn new(store: Store, app: Option<App>) -> Self {
        let production = app.as_ref().map_or(DEFAULT_PRODUCTION_BRANCH, |app| app.production_branch.as_str());
        Self { head: format!("refs/heads/{production}"), store, app, lists_deploys: true }
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
        let Some(app) = &self.app else { return Ok(Vec::new()) };
        let refs = self.store.refs(app.id).await.map_err(unreadable)?;
        let deploys = if self.lists_deploys {
            self.store.deploys(app.id).await.map_err(unreadable)?
        } else {
            Vec::new()
        };
        let deploys = deploys.into_iter().map(|deploy| Reference {
            name: format!("{DEPLOY_REFS}{}", deploy.number),
            target: object_id(deploy.commit),
        });
        let refs =
            refs.into_iter().map(|found| Reference { name: found.name, target: object_id(found.target) });
        Ok(refs.chain(deploys).collect())
    }

    async fn shallow(&self) -> Result<Vec<ObjectId>, RepositoryError> {
        let Some(app) = &self.app else { return Ok(Vec::new()) };
        let oids = self.store.shallow(app.id).await.map_err(unreadable)?;
        Ok(oids.into_iter().map(object_id).collect())
    }

    async fn kinds(&self, ids: &[ObjectId]) -> Result<HashMap<ObjectId, Kind>, RepositoryError> {
        let Some(app) = &self.app else { return Ok(HashMap::new()) };
        let oids: Vec<Oid> = ids.iter().map(|id| oid(*id)).collect();
        let kinds = self.store.kinds(app.id, &oids).await.map_err(unreadable)?;
        Ok(kinds.into_iter().map(|(oid, kind)| (object_id(oid), git_kind(kind))).collect())
    }

    async fn objects(&self, ids: &[ObjectId]) -> Result<Vec<Object>, RepositoryError> {
        let Some(app) = &self.app else { return Ok(Vec::new()) };
        let oids: Vec<Oid> = ids.iter().map(|id| oid(*id)).collect();
        let objects = self.store.objects(app.id, &oids).await.map_err(unreadable)?;
        Ok(objects
            .into_iter()
            .map(|object| Object {
                id: object_id(object.oid),
                kind: git_kind(object.kind),
                size: object.size,
                zlib: object.zlib.into(),
            })
            .collect())
    }
}

/// A pushed object as the store keeps it.
pub(crate) fn stored(object: &Object) -> store::Object {
    store::Object {
        oid: oid(object.id),
        kind: store_kind(object.kind),
        size: object.size,
        zlib: object.zlib.to_vec(),
    }
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

fn unreadable(error: store::StoreError) -> RepositoryError {
    RepositoryError(Box::new(error))
}
