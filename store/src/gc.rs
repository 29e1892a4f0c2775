//! Garbage collection: deletes old deploys, and objects that no ref and no deploy reaches.
//!
//! The caller finds the unreachable objects outside of any transaction, from [`Store::gc_roots`] and
//! [`Store::object_names`]. [`Store::mark_unreachable`] then hides all of them in one transaction that locks the app,
//! and only if nothing has changed since: a concurrent push may have made objects reachable. From then on no push
//! finds them, and a push that contains them stores them again. They have to disappear at once: a commit whose tree
//! is gone must not look complete. [`Store::delete_unreachable`] deletes them in batches later.
//!
//! A push that was unpacked before objects were marked sees a changed [`App::gc_id`] and is rejected
//! ([`PushError::ConcurrentGc`](crate::PushError::ConcurrentGc)). Nothing is deleted while a node runs whose version
//! does not compare it ([`Store::all_nodes_support_gc`]).

use chrono::{DateTime, Utc};
use uuid::Uuid;

use crate::error::StoreError;
use crate::id::{AppId, DeployNumber, Oid};
use crate::model::{App, Generation, Object};
use crate::{Store, dispatch};

/// The state of an app for which unreachable objects were found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GcState {
    /// Changes with every push.
    pub generation: Generation,
    /// Changes with every garbage collection.
    pub gc_id: Uuid,
}

/// The roots of the objects of an app.
#[derive(Clone, Debug)]
pub struct GcRoots {
    /// The state of the app when the roots were read, or an earlier one.
    pub state: GcState,
    /// Targets of refs and deploys, and objects released within the grace period.
    pub roots: Vec<Oid>,
    /// Objects released before that, and when.
    pub released: Vec<(Oid, DateTime<Utc>)>,
}

/// An object without its content.
#[derive(Clone, Copy, Debug, PartialEq, Eq, sqlx::FromRow)]
pub struct ObjectName {
    /// Its name.
    pub oid: Oid,
    /// Its delta base, if it is stored as a delta.
    pub base: Option<Oid>,
}

/// What was deleted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Deleted {
    /// The new state of the app.
    pub state: GcState,
    /// The number of rows.
    pub rows: u64,
    /// By how many bytes the disk usage of the app shrank.
    pub bytes: u64,
}

impl Store {
    /// Apps with objects that were released before that time, or that are marked unreachable, sorted by name. Future
    /// times count as before: the clock was ahead.
    ///
    /// # Errors
    /// The database failed.
    pub async fn apps_to_gc(
        &self,
        before: DateTime<Utc>,
        now: DateTime<Utc>,
    ) -> Result<Vec<App>, StoreError> {
        dispatch!(self, gc::apps_to_gc(before, now))
    }

    /// The roots of an app; `None`: no such app.
    ///
    /// # Errors
    /// The database failed.
    pub async fn gc_roots(
        &self,
        app: AppId,
        before: DateTime<Utc>,
        now: DateTime<Utc>,
    ) -> Result<Option<GcRoots>, StoreError> {
        dispatch!(self, gc::gc_roots(app, before, now))
    }

    /// Objects of an app after `after` in the order of their names, at most `limit`.
    ///
    /// # Errors
    /// The database failed.
    pub async fn object_names(
        &self,
        app: AppId,
        after: Option<Oid>,
        limit: u32,
    ) -> Result<Vec<ObjectName>, StoreError> {
        dispatch!(self, gc::object_names(app, after, limit))
    }

    /// Replaces deltas by the `whole` objects of the same names. `false`: the state of the app is no longer `seen`,
    /// or it is gone; nothing was done.
    ///
    /// # Errors
    /// The database failed.
    pub async fn undeltify(&self, app: AppId, seen: GcState, whole: &[Object]) -> Result<bool, StoreError> {
        dispatch!(self, gc::undeltify(app, seen, whole))
    }

    /// Marks `garbage` unreachable, which must not be a delta base of other objects, and deletes the rows of
    /// `released`. `false`: the state of the app is no longer `seen`, or it is gone; nothing was done.
    ///
    /// # Errors
    /// The database failed.
    pub async fn mark_unreachable(
        &self,
        app: AppId,
        seen: GcState,
        garbage: &[Oid],
        released: &[(Oid, DateTime<Utc>)],
    ) -> Result<bool, StoreError> {
        dispatch!(self, gc::mark_unreachable(app, seen, garbage, released))
    }

    /// Deletes a batch of unreachable objects; `None`: there are none.
    ///
    /// # Errors
    /// The database failed.
    pub async fn delete_unreachable(&self, app: AppId) -> Result<Option<Deleted>, StoreError> {
        dispatch!(self, gc::delete_unreachable(app))
    }

    /// Whether all nodes detect concurrent garbage collection. Those of early versions do not.
    ///
    /// # Errors
    /// The database failed.
    pub async fn all_nodes_support_gc(&self) -> Result<bool, StoreError> {
        match self.cluster() {
            Some(cluster) => cluster.all_nodes_support_gc().await,
            None => Ok(true),
        }
    }

    /// Deletes deploys, and releases their commits. `None`: the state of the app is no longer `seen`, or it is gone;
    /// nothing was done.
    ///
    /// # Errors
    /// The database failed.
    pub async fn prune_deploys(
        &self,
        app: AppId,
        seen: GcState,
        deploys: &[DeployNumber],
        at: DateTime<Utc>,
    ) -> Result<Option<Deleted>, StoreError> {
        dispatch!(self, gc::prune_deploys(app, seen, deploys, at))
    }

    /// Returns some free pages of the SQLite files to the file system, and truncates their write-ahead logs. Returns
    /// whether there are more. PostgreSQL does this by itself.
    ///
    /// # Errors
    /// The database failed.
    pub async fn release_free_pages(&self) -> Result<bool, StoreError> {
        let more = dispatch!(self, connect::release_free_pages())?;
        Ok(dispatch!(self.1, connect::release_free_pages())? || more)
    }

    /// Removes deleted data from the write-ahead logs of SQLite, unless readers prevent it. PostgreSQL overwrites
    /// deleted rows after the next VACUUM.
    ///
    /// # Errors
    /// The database failed.
    pub async fn purge_deleted(&self) -> Result<(), StoreError> {
        dispatch!(self, connect::purge_deleted())?;
        dispatch!(self.1, connect::purge_deleted())
    }
}
