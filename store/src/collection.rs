//! Deletes what nothing holds any more: old deploys, and the objects that no ref and no deploy reaches.
//!
//! Which objects those are is for the caller to find, outside of any transaction: [`Store::collection_roots`] says what holds
//! objects, and [`Store::object_names`] which there are. [`Store::condemn`] then takes them out of sight, all of them in one
//! transaction that holds the app, and only where nothing has changed since: a push that came meanwhile may reach what nothing
//! reached before. From then on no push finds them, and one that brings them again has them written once more;
//! [`Store::delete_condemned`] can take its time, and be cut off. They go at once, since what is left of a commit of which a tree
//! is gone must never be taken for something to build on.
//!
//! The other way round, a push that was unpacked before objects were condemned finds another [`App::collection`] than it has read,
//! and is refused ([`PushError::Collected`](crate::PushError::Collected)). Nodes of versions that do not compare it keep everything
//! from being deleted ([`Store::all_notice_deletions`]).

use chrono::{DateTime, Utc};
use uuid::Uuid;

use crate::error::StoreError;
use crate::id::{AppId, DeployNumber, Oid};
use crate::record::{App, Generation, Object};
use crate::{Store, either};

/// The state of an app for which it was found what nothing reaches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CollectionState {
    /// Which push was the last.
    pub generation: Generation,
    /// Which deletion was the last.
    pub collection: Uuid,
}

/// What holds objects of an app.
#[derive(Clone, Debug)]
pub struct CollectionRoots {
    /// The state of the app that this was read from, or an earlier one.
    pub state: CollectionState,
    /// What refs and deploys point to, and what was released too short a while ago.
    pub held: Vec<Oid>,
    /// What was released before that, and when.
    pub released: Vec<(Oid, DateTime<Utc>)>,
}

/// An object without its content.
#[derive(Clone, Copy, Debug, PartialEq, Eq, sqlx::FromRow)]
pub struct ObjectName {
    /// Its name.
    pub oid: Oid,
    /// The object that it is stored as a delta on.
    pub base: Option<Oid>,
}

/// What was deleted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Deleted {
    /// The state of the app by now.
    pub state: CollectionState,
    /// How many rows.
    pub rows: u64,
    /// How many bytes of the disk the app takes less.
    pub bytes: u64,
}

impl Store {
    /// The apps that have released something before that time, or have condemned objects, by name. Times to come count as before:
    /// they are those of a clock that was ahead.
    ///
    /// # Errors
    /// The database failed.
    pub async fn apps_to_collect(
        &self,
        before: DateTime<Utc>,
        now: DateTime<Utc>,
    ) -> Result<Vec<App>, StoreError> {
        either!(self, collection::apps_to_collect(before, now))
    }

    /// What holds objects of an app; `None`: there is no such app.
    ///
    /// # Errors
    /// The database failed.
    pub async fn collection_roots(
        &self,
        app: AppId,
        before: DateTime<Utc>,
        now: DateTime<Utc>,
    ) -> Result<Option<CollectionRoots>, StoreError> {
        either!(self, collection::collection_roots(app, before, now))
    }

    /// The objects of an app behind `after` in the order of their names, at most `most`.
    ///
    /// # Errors
    /// The database failed.
    pub async fn object_names(
        &self,
        app: AppId,
        after: Option<Oid>,
        most: u32,
    ) -> Result<Vec<ObjectName>, StoreError> {
        either!(self, collection::object_names(app, after, most))
    }

    /// Puts the `whole` objects in the place of those of their names that were deltas. `false`: the app is in another state than
    /// `seen`, or gone, and nothing was done.
    ///
    /// # Errors
    /// The database failed.
    pub async fn make_whole(
        &self,
        app: AppId,
        seen: CollectionState,
        whole: &[Object],
    ) -> Result<bool, StoreError> {
        either!(self, collection::make_whole(app, seen, whole))
    }

    /// Condemns `garbage`, which no other object builds on, and forgets what was `released`. `false`: the app is in another state
    /// than `seen`, or gone, and nothing was done.
    ///
    /// # Errors
    /// The database failed.
    pub async fn condemn(
        &self,
        app: AppId,
        seen: CollectionState,
        garbage: &[Oid],
        released: &[(Oid, DateTime<Utc>)],
    ) -> Result<bool, StoreError> {
        either!(self, collection::condemn(app, seen, garbage, released))
    }

    /// Deletes some of the condemned objects; `None`: there are none.
    ///
    /// # Errors
    /// The database failed.
    pub async fn delete_condemned(&self, app: AppId) -> Result<Option<Deleted>, StoreError> {
        either!(self, collection::delete_condemned(app))
    }

    /// Whether the pushes of all nodes notice when objects are condemned. Those of earlier versions do not.
    ///
    /// # Errors
    /// The database failed.
    pub async fn all_notice_deletions(&self) -> Result<bool, StoreError> {
        match self.cluster() {
            Some(cluster) => cluster.all_notice_deletions().await,
            None => Ok(true),
        }
    }

    /// Deletes deploys, and releases their commits. `None`: the app is in another state than `seen`, or gone, and nothing was
    /// done.
    ///
    /// # Errors
    /// The database failed.
    pub async fn prune_deploys(
        &self,
        app: AppId,
        seen: CollectionState,
        deploys: &[DeployNumber],
        at: DateTime<Utc>,
    ) -> Result<Option<Deleted>, StoreError> {
        either!(self, collection::prune_deploys(app, seen, deploys, at))
    }

    /// Gives some of the room that deletions have left in the embedded database's file back to the disk, and cuts its write-ahead
    /// log down. Whether there is more to give back. PostgreSQL does it by itself.
    ///
    /// # Errors
    /// The database failed.
    pub async fn give_back_pages(&self) -> Result<bool, StoreError> {
        either!(self, connect::give_back_pages())
    }

    /// Has nothing left of what was deleted in the embedded database's files, as far as nobody reads it just now. PostgreSQL
    /// overwrites it after its next VACUUM.
    ///
    /// # Errors
    /// The database failed.
    pub async fn forget_deleted(&self) -> Result<(), StoreError> {
        either!(self, connect::forget_deleted())
    }
}
