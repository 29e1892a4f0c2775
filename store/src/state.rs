//! The state of apps: what their scripts keep with `kv`.
//!
//! A namespace is the state of production of an app, or of one of its previews. Its version is incremented by every
//! commit, and each entry has the version that wrote it. A commit is a compare-and-set of the version, so that
//! nothing is stored that was decided on an older one. A database that is set back to an earlier time can reach a version
//! again with other entries, so a commit has an id, too: version and id are a [`StatePosition`].
//!
//! A run of a schedule that commits has a row in the same transaction. The row decides whether the run has succeeded
//! if its node is killed before it recorded the outcome.
//!
//! PostgreSQL has these tables in its database. SQLite has them in a file of their own, `state.db`, because a large
//! push would delay every commit of the state in the same file.

use std::fmt;
use std::ops::Bound;
use std::path::Path;

use uuid::Uuid;

use crate::error::{Conflict, OpenError, StoreError};
use crate::id::{AppId, CommitId, NamespaceId};
use crate::postgres::connections::Connections;
use crate::shared_state::SharedState;
use crate::sql_types::Unsigned;
use crate::{Backend, dispatch, sqlite};

/// [`StateStore::state_entries`] stops once it has read this many bytes of values, and lists of executions too.
pub const STATE_READ_BYTES_MAX: u64 = 8 << 20;

/// The state of apps. Cheap to clone; clones share the connections.
#[derive(Clone, Debug)]
pub struct StateStore(pub(crate) Backend);

/// Whose state a namespace is. As text, `production` or `preview/` and the branch.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum NamespaceName {
    /// That of production, whatever its branch is called.
    Production,
    /// That of the preview of a branch.
    Preview(String),
}

impl NamespaceName {
    const PRODUCTION: &str = "production";
    const PREVIEW: &str = "preview/";

    /// Parses the text of a name.
    pub fn parse(text: &str) -> Option<Self> {
        if text == Self::PRODUCTION {
            return Some(Self::Production);
        }
        let branch = text.strip_prefix(Self::PREVIEW).filter(|branch| !branch.is_empty());
        branch.map(|branch| Self::Preview(branch.to_owned()))
    }

    /// The branch of a preview; `None` for production.
    pub fn into_branch(self) -> Option<String> {
        match self {
            Self::Production => None,
            Self::Preview(branch) => Some(branch),
        }
    }
}

impl fmt::Display for NamespaceName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Production => f.write_str(Self::PRODUCTION),
            Self::Preview(branch) => write!(f, "{}{branch}", Self::PREVIEW),
        }
    }
}

/// A point in the history of a namespace.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, sqlx::FromRow)]
pub struct StatePosition {
    /// Incremented by every commit; 0 in a new namespace.
    #[sqlx(try_from = "Unsigned<u64>")]
    pub version: u64,
    /// The latest commit; `None` in a new or restored namespace.
    #[sqlx(rename = "commit_id")]
    pub commit: Option<CommitId>,
}

/// A namespace.
#[derive(Clone, Debug, PartialEq, Eq, sqlx::FromRow)]
pub struct NamespaceRow {
    /// Its id.
    pub id: NamespaceId,
    /// The app.
    pub app: AppId,
    /// Whose state it is.
    pub name: NamespaceName,
    /// Its latest commit.
    #[sqlx(flatten)]
    pub position: StatePosition,
    /// The size of its entries, as the last commit counted it.
    #[sqlx(try_from = "Unsigned<u64>")]
    pub bytes: u64,
    /// The number of its entries, as the last commit counted it.
    #[sqlx(try_from = "Unsigned<u64>")]
    pub entries: u64,
}

/// A value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StateValue {
    /// A JSON document.
    Json(Vec<u8>),
    /// A blob.
    Blob(Vec<u8>),
}

impl StateValue {
    /// The JSON, or the bytes.
    pub fn bytes(&self) -> &[u8] {
        match self {
            Self::Json(bytes) | Self::Blob(bytes) => bytes,
        }
    }
}

/// An entry of a namespace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StateEntry {
    /// The key, without NUL.
    pub key: String,
    /// The value.
    pub value: StateValue,
    /// The version of the commit that wrote it.
    pub version: u64,
    /// When it expires, in milliseconds since 1970. From that moment on it is expired.
    pub expires_at_ms: Option<i64>,
}

/// Entries of a namespace and its position, both of one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StateRead {
    /// The position of the namespace.
    pub position: StatePosition,
    /// The entries, those of a list in its order.
    pub entries: Vec<StateEntry>,
    /// Whether entries are left out because of the bytes of their values: the later ones of a list, any of the keys
    /// otherwise. At least one entry is always read.
    pub is_cut: bool,
}

/// An expired entry, without its value.
#[derive(Clone, Debug, PartialEq, Eq, sqlx::FromRow)]
pub struct ExpiredEntry {
    /// The namespace.
    pub namespace: NamespaceId,
    /// The version of the namespace when this was read.
    #[sqlx(try_from = "Unsigned<u64>")]
    pub version: u64,
    /// The key.
    pub key: String,
    /// The size of the value.
    #[sqlx(try_from = "Unsigned<u64>")]
    pub bytes: u64,
}

/// Keys of a namespace and its version, both of one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StateKeys {
    /// The version of the namespace.
    pub version: u64,
    /// The keys in the order of the list, each with the time when it expires, in milliseconds since 1970.
    pub keys: Vec<(String, Option<i64>)>,
}

/// A range of keys, which are sorted by bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StateRange {
    /// The lowest key.
    pub from: Bound<String>,
    /// The highest key.
    pub to: Bound<String>,
    /// The maximum number of entries.
    pub limit: u32,
    /// Once values with this many bytes are read, the other entries are left out.
    pub bytes_max: u64,
    /// From the highest key down.
    pub reverse: bool,
    /// Entries that are expired at this time are left out.
    pub now_ms: i64,
}

/// A change of one namespace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NamespaceCommit {
    /// The namespace.
    pub id: NamespaceId,
    /// The position that it must have.
    pub from: StatePosition,
    /// Its new position, with a new id.
    pub to: StatePosition,
    /// The new size of its entries.
    pub bytes: u64,
    /// The new number of its entries.
    pub entries: u64,
    /// New and changed entries.
    pub puts: Vec<StateEntry>,
    /// Deleted keys. No key is in here or in `puts` more than once.
    pub deletes: Vec<String>,
    /// The executions of scheduled runs that are committed.
    pub scheduled: Vec<Uuid>,
}

/// Why a group was not stored. Nothing of it was, unless the outcome is unknown.
#[derive(Debug, thiserror::Error)]
pub enum CommitError {
    /// A namespace is at another position, or deleted.
    #[error("namespace {0} was changed by another node, or deleted")]
    Outdated(NamespaceId),
    /// The commit of a namespace has a scheduled run that was recorded as lost.
    #[error("a scheduled run in namespace {0} was recorded as lost")]
    Lost(NamespaceId),
    /// The database failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Conflict for CommitError {
    fn is_conflict(&self) -> bool {
        matches!(self, Self::Store(error) if error.is_conflict())
    }
}

impl From<sqlx::Error> for CommitError {
    fn from(error: sqlx::Error) -> Self {
        Self::Store(error.into())
    }
}

impl StateStore {
    /// Opens an SQLite file with state only, for `picloud dev`, and creates and migrates it.
    ///
    /// # Errors
    /// The file cannot be written, is in use, or belongs to a newer version or another program.
    pub async fn open_file(path: &Path) -> Result<Self, OpenError> {
        Ok(Self(Backend::Sqlite(sqlite::state_file::open(path).await?)))
    }

    /// Closes all connections after their queries have finished. For the state of a [`Store`](crate::Store), which
    /// closes it itself, nothing needs to be done.
    pub async fn close(&self) {
        match &self.0 {
            Backend::Postgres(connections) => connections.close().await,
            Backend::Sqlite(connections) => connections.close().await,
        }
    }

    /// The namespace, which is created if it does not exist.
    ///
    /// # Errors
    /// The database failed.
    pub async fn open_namespace(&self, app: AppId, name: &NamespaceName) -> Result<NamespaceRow, StoreError> {
        if let Some(found) = self.namespace(app, name).await? {
            return Ok(found);
        }
        dispatch!(self, state::create_namespace(app, name))
    }

    /// The namespace, if it exists.
    ///
    /// # Errors
    /// The database failed.
    pub async fn namespace(
        &self,
        app: AppId,
        name: &NamespaceName,
    ) -> Result<Option<NamespaceRow>, StoreError> {
        dispatch!(self, state::namespace(app, name))
    }

    /// All namespaces of an app, or of all apps, by app and name.
    ///
    /// # Errors
    /// The database failed.
    pub async fn namespaces(&self, app: Option<AppId>) -> Result<Vec<NamespaceRow>, StoreError> {
        dispatch!(self, state::namespaces(app))
    }

    /// Those of `keys` that exist, in any order, expired ones included. `None`: no such namespace.
    ///
    /// # Errors
    /// The database failed.
    pub async fn state_entries(
        &self,
        id: NamespaceId,
        keys: &[&str],
    ) -> Result<Option<StateRead>, StoreError> {
        dispatch!(self, state::entries(id, keys))
    }

    /// The entries of a range in key order. `None`: no such namespace.
    ///
    /// # Errors
    /// The database failed.
    pub async fn state_list(
        &self,
        id: NamespaceId,
        range: &StateRange,
    ) -> Result<Option<StateRead>, StoreError> {
        dispatch!(self, state::list(id, range))
    }

    /// The keys of a range in their order, without reading values. `None`: no such namespace.
    ///
    /// # Errors
    /// The database failed.
    pub async fn state_keys(
        &self,
        id: NamespaceId,
        range: &StateRange,
    ) -> Result<Option<StateKeys>, StoreError> {
        dispatch!(self, state::keys(id, range))
    }

    /// Stores a group of commits, at most one of each namespace, in one transaction. The versions of entries are
    /// those of `puts`.
    ///
    /// # Errors
    /// A namespace is not at the position `from`, a scheduled run was recorded as lost, or the database failed.
    /// Nothing was stored, except for [`StoreError::OutcomeUnknown`].
    pub async fn commit_state(&self, group: &[NamespaceCommit]) -> Result<(), CommitError> {
        dispatch!(self, state::commit(group))
    }

    /// Whether a scheduled run is lost: from now on it cannot be committed. `false`: it was committed.
    ///
    /// # Errors
    /// The database failed.
    pub async fn lose_run(&self, execution: Uuid) -> Result<bool, StoreError> {
        dispatch!(self, state::lose_run(execution))
    }

    /// Deletes what is known of scheduled runs that were committed or lost before `before_ms`, and the log from before.
    pub(crate) async fn prune(&self, before_ms: i64) -> Result<(), StoreError> {
        dispatch!(self, state::delete_schedule_results(before_ms))?;
        match &self.0 {
            Backend::Postgres(connections) => crate::postgres::state_log::prune(connections, before_ms).await,
            Backend::Sqlite(_) => Ok(()),
        }
    }

    /// The entries that are expired at `now_ms`, at most `limit`, the earliest first.
    ///
    /// # Errors
    /// The database failed.
    pub async fn expired_entries(&self, now_ms: i64, limit: u32) -> Result<Vec<ExpiredEntry>, StoreError> {
        dispatch!(self, state::expired(now_ms, limit))
    }

    /// When the next entry expires, in milliseconds since 1970.
    ///
    /// # Errors
    /// The database failed.
    pub async fn next_expiry(&self) -> Result<Option<i64>, StoreError> {
        dispatch!(self, state::next_expiry())
    }

    /// Deletes a namespace, with a batch of its entries. From the first call on it does not exist, and one with the
    /// same name is another one. Returns whether entries are left, for another call.
    ///
    /// # Errors
    /// The database failed.
    pub async fn delete_namespace(&self, id: NamespaceId) -> Result<bool, StoreError> {
        dispatch!(self, state::delete_namespace(id))
    }

    /// Deleted namespaces with entries that are left.
    ///
    /// # Errors
    /// The database failed.
    pub async fn deleted_namespaces(&self) -> Result<Vec<NamespaceId>, StoreError> {
        dispatch!(self, state::deleted_namespaces())
    }

    /// Deletes a batch of the state of an app. Returns whether there was any.
    pub(crate) async fn purge_app(&self, app: AppId) -> Result<bool, StoreError> {
        match dispatch!(self, state::any_namespace(app))? {
            Some(id) => {
                self.delete_namespace(id).await?;
                Ok(true)
            }
            None => Ok(false),
        }
    }

    /// Checks that the database accepts writes.
    ///
    /// # Errors
    /// The database failed, or is read-only.
    pub async fn probe_state_write(&self) -> Result<(), StoreError> {
        match &self.0 {
            Backend::Postgres(connections) => crate::postgres::connect::probe_write(connections).await,
            Backend::Sqlite(connections) => sqlite::state_file::probe_write(connections).await,
        }
    }

    /// The state that other nodes change, too; `None`: it is in a file of this node.
    pub fn shared(&self) -> Option<SharedState> {
        match &self.0 {
            Backend::Postgres(connections) => Some(SharedState(Connections::clone(connections))),
            Backend::Sqlite(_) => None,
        }
    }

    /// The folder of the file; `None` for PostgreSQL.
    pub fn folder(&self) -> Option<&Path> {
        match &self.0 {
            Backend::Postgres(_) => None,
            Backend::Sqlite(connections) => Some(connections.folder()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn namespace_name_roundtrips_through_text() {
        for (name, text) in [
            (NamespaceName::Production, "production"),
            (NamespaceName::Preview("production".to_owned()), "preview/production"),
            (NamespaceName::Preview("fix/a".to_owned()), "preview/fix/a"),
        ] {
            assert_eq!((name.to_string().as_str(), NamespaceName::parse(text)), (text, Some(name)));
        }
        for bad in ["", "preview", "preview/", "Production", "main"] {
            assert_eq!(NamespaceName::parse(bad), None, "{bad}");
        }
    }
}
