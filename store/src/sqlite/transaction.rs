//! Transactions of SQLite: each one starts here.

#![expect(clippy::disallowed_methods, reason = "it is where transactions begin")]

use std::ops::{Deref, DerefMut};
use std::sync::Arc;

use sqlx::pool::PoolConnection;
use sqlx::query::QueryAs;
use sqlx::sqlite::{SqliteArguments, SqliteConnectOptions, SqlitePoolOptions, SqliteRow};
use sqlx::{AssertSqlSafe, FromRow, Sqlite, SqliteConnection, SqlitePool};
use tokio::time::timeout;

use super::Connections;
use super::flush::{DiskFiles, Flushing, UNFLUSHED_BYTES_MAX};
use crate::PUSH_LOCK_TIMEOUT;
use crate::error::{PushError, StoreError};

type Query<'q> = sqlx::query::Query<'q, Sqlite, SqliteArguments>;

/// The only writing connection. It only hands out transactions, so that a connection that failed is always closed.
#[derive(Clone, Debug)]
pub(crate) struct Writer {
    pool: SqlitePool,
    files: Arc<DiskFiles>,
}

impl Writer {
    /// `pool` must have a single connection.
    pub(super) fn new(pool: SqlitePoolOptions, options: SqliteConnectOptions, files: Arc<DiskFiles>) -> Self {
        Self { pool: pool.connect_lazy_with(options), files }
    }

    /// Waits for writers in this process, then for those in other processes.
    async fn begin(&self) -> Result<Transaction, StoreError> {
        let connection = self.pool.acquire().await?;
        let files = Arc::clone(&self.files);
        let mut transaction = Transaction { connection, ended: false, files, unflushed: 0, _flushing: None };
        sqlx::raw_sql("BEGIN IMMEDIATE").execute(&mut *transaction).await?;
        transaction._flushing = Some(self.files.flush_repeatedly());
        Ok(transaction)
    }

    /// Runs one statement and returns the number of changed rows.
    async fn execute(&self, query: Query<'_>) -> Result<u64, StoreError> {
        let mut transaction = self.begin().await?;
        let done = query.execute(&mut *transaction).await?;
        transaction.commit().await?;
        Ok(done.rows_affected())
    }

    pub(super) async fn close(&self) {
        self.pool.close().await;
    }
}

pub(super) async fn begin(connections: &Connections) -> Result<Transaction, StoreError> {
    connections.write.begin().await
}

/// Begins the transaction of a push, which waits for other writers only for a limited time.
pub(super) async fn begin_push(connections: &Connections) -> Result<Transaction, PushError> {
    match timeout(PUSH_LOCK_TIMEOUT, begin(connections)).await {
        Err(_) | Ok(Err(StoreError::Database(sqlx::Error::PoolTimedOut))) => Err(PushError::Busy),
        Ok(begun) => Ok(begun?),
    }
}

/// Begins a transaction that commits without waiting for the disk: it can be lost in a power failure.
pub(super) async fn begin_unsynced(connections: &Connections) -> Result<Transaction, StoreError> {
    connections.records.begin().await
}

/// Runs one statement and returns the number of changed rows.
pub(super) async fn execute(connections: &Connections, query: Query<'_>) -> Result<u64, StoreError> {
    connections.write.execute(query).await
}

/// Same as [`execute`]: SQLite reports the outcome of every statement.
pub(super) async fn execute_confirmed(
    connections: &Connections,
    query: Query<'_>,
) -> Result<u64, StoreError> {
    execute(connections, query).await
}

/// Releases free pages at the end of the file.
pub(super) async fn release_pages(connections: &Connections, pages: i64) -> Result<(), StoreError> {
    let mut transaction = begin(connections).await?;
    sqlx::raw_sql(AssertSqlSafe(format!("PRAGMA incremental_vacuum({pages})")))
        .execute(&mut *transaction)
        .await?;
    transaction.commit().await
}

/// Runs one statement and returns its rows.
pub(super) async fn execute_returning<R>(
    connections: &Connections,
    query: QueryAs<'_, Sqlite, R, SqliteArguments>,
) -> Result<Vec<R>, StoreError>
where
    R: for<'r> FromRow<'r, SqliteRow> + Send + Unpin,
{
    let mut transaction = begin(connections).await?;
    let rows = query.fetch_all(&mut *transaction).await?;
    transaction.commit().await?;
    Ok(rows)
}

/// A transaction. Unless it is committed or rolled back, its connection is closed, which rolls it back: SQLite rolls
/// some back itself (disk full, I/O error), so the state of a failed one is unknown.
pub(crate) struct Transaction {
    connection: PoolConnection<Sqlite>,
    ended: bool,
    files: Arc<DiskFiles>,
    /// What was written since the log was flushed, in bytes.
    unflushed: u64,
    /// Until the commit has returned.
    _flushing: Option<Flushing>,
}

impl Transaction {
    pub(super) async fn commit(mut self) -> Result<(), StoreError> {
        sqlx::raw_sql("COMMIT").execute(&mut *self.connection).await?;
        self.ended = true;
        Ok(())
    }

    /// Notes that the transaction has written about `bytes`. Waits for the disk once these are many.
    pub(super) async fn note_written(&mut self, bytes: u64) {
        self.unflushed += bytes;
        if self.unflushed >= UNFLUSHED_BYTES_MAX {
            self.unflushed = 0;
            self.files.flush().await;
        }
    }

    /// Rolls back a transaction that did not fail.
    pub(super) async fn rollback(mut self) {
        self.ended = sqlx::raw_sql("ROLLBACK").execute(&mut *self.connection).await.is_ok();
    }
}

impl Deref for Transaction {
    type Target = SqliteConnection;

    fn deref(&self) -> &SqliteConnection {
        &self.connection
    }
}

impl DerefMut for Transaction {
    fn deref_mut(&mut self) -> &mut SqliteConnection {
        &mut self.connection
    }
}

impl Drop for Transaction {
    fn drop(&mut self) {
        if !self.ended {
            self.connection.close_on_drop();
        }
    }
}

#[cfg(test)]
mod tests {
    use chrono::Utc;
    use manifest_schema::name::AppName;

    use super::*;
    use crate::id::{AppId, Oid};
    use crate::model::{NewPush, Object, ObjectKind, Objects, RefChange};
    use crate::sqlite::{connect, push, state, state_file};
    use crate::state::{CommitError, NamespaceCommit, NamespaceName, StateEntry, StatePosition, StateValue};

    const INSERT: &str =
        "INSERT INTO audit_events (id, at, actor, action, subject) VALUES ($1, '', '', '', zeroblob($2))";

    fn insert(id: i64, bytes: i64) -> Query<'static> {
        sqlx::query(INSERT).bind(id.to_string()).bind(bytes)
    }

    /// Limits the size of the file, as a full disk does. The limit belongs to the connection: a new one has none, as
    /// if space had been freed.
    async fn fill_disk(writer: &Writer) {
        let mut transaction = writer.begin().await.unwrap();
        sqlx::query("PRAGMA max_page_count = 40").execute(&mut *transaction).await.unwrap();
        transaction.commit().await.unwrap();
    }

    #[tokio::test]
    async fn temporarily_full_disk_fails_one_write_only() {
        let folder = tempfile::tempdir().unwrap();
        let connections = connect::open(&folder.path().join("picloud.db")).await.unwrap();
        for (id, writer) in [(1, &connections.write), (2, &connections.records)] {
            fill_disk(writer).await;
            let mut transaction = writer.begin().await.unwrap();
            let failed = insert(id, 1_000_000).execute(&mut *transaction).await.map_err(StoreError::from);
            assert!(matches!(failed, Err(StoreError::DiskFull)), "{failed:?}");
            drop(transaction);
            let mut transaction = writer.begin().await.unwrap();
            insert(id, 1_000_000).execute(&mut *transaction).await.unwrap();
            transaction.rollback().await;

            fill_disk(writer).await;
            let failed = writer.execute(insert(id, 1_000_000)).await;
            assert!(matches!(failed, Err(StoreError::DiskFull)), "{failed:?}");
            assert_eq!(writer.execute(insert(id, 1_000_000)).await.unwrap(), 1);
        }
    }

    #[tokio::test]
    async fn dropped_transaction_is_rolled_back_and_its_connection_closed() {
        let folder = tempfile::tempdir().unwrap();
        let connections = connect::open(&folder.path().join("picloud.db")).await.unwrap();
        let mut left = connections.write.begin().await.unwrap();
        insert(1, 1).execute(&mut *left).await.unwrap();
        drop(left);
        assert_eq!(connections.write.execute(insert(1, 1)).await.unwrap(), 1);
    }

    #[tokio::test]
    async fn write_ahead_log_is_truncated_after_growth() {
        let folder = tempfile::tempdir().unwrap();
        let connections = connect::open(&folder.path().join("picloud.db")).await.unwrap();
        let log = || folder.path().join("picloud.db-wal").metadata().unwrap().len();
        let kept = u64::from(connect::WAL_BYTES_KEPT);
        connections.write.execute(insert(1, 2 * i64::from(connect::WAL_BYTES_KEPT))).await.unwrap();
        assert!(log() > kept, "{}", log());
        connections.records.execute(insert(2, 1)).await.unwrap();
        assert!(log() <= kept, "{}", log());
    }

    #[tokio::test]
    async fn free_pages_are_released() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("picloud.db");
        let connections = connect::open(&path).await.unwrap();
        let bytes = || path.metadata().unwrap().len();
        for id in 0..20 {
            connections.write.execute(insert(id, 1_000_000)).await.unwrap();
        }
        while connect::release_free_pages(&connections).await.unwrap() {}
        let full = bytes();
        // The last megabyte can be in the write-ahead log.
        assert!(full > 19_000_000, "{full}");
        connections.write.execute(sqlx::query("DELETE FROM audit_events WHERE rowid <= 16")).await.unwrap();
        let mut steps = 0;
        while connect::release_free_pages(&connections).await.unwrap() {
            steps += 1;
            connections.write.execute(insert(100 + steps, 1)).await.unwrap();
        }
        assert!(steps > 1, "pages are released in batches");
        connections.close().await;
        let left = bytes();
        assert!(left < full / 2, "{left} of {full}");
    }

    #[tokio::test]
    async fn deleted_data_is_not_in_the_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("picloud.db");
        let connections = connect::open(&path).await.unwrap();
        let secret = "s3cret".repeat(4000);
        let query = "INSERT INTO audit_events (id, at, actor, action, subject) VALUES ('1', '', '', '', $1)";
        connections.write.execute(sqlx::query(query).bind(secret)).await.unwrap();
        connections.write.execute(sqlx::query("DELETE FROM audit_events")).await.unwrap();
        connect::truncate_wal(&path).await.unwrap();
        let files = std::fs::read_dir(folder.path()).unwrap();
        for file in files.map(|file| std::fs::read(file.unwrap().path()).unwrap()) {
            assert!(!file.windows(12).any(|bytes| bytes == b"s3crets3cret"));
        }
    }

    fn push_of(digit: u8, old: Option<u8>, objects: &dyn Objects) -> NewPush<'_> {
        let oid = |digit| Oid::new([digit; 20]);
        NewPush {
            app: AppName::new("hello").unwrap(),
            may_create: true,
            new_app: crate::AppId::random(),
            by: crate::Actor::named("ada"),
            at: Utc::now(),
            node: None,
            refs: vec![RefChange {
                name: "refs/tags/v".to_owned(),
                old: old.map(oid),
                new: Some(oid(digit)),
            }],
            objects,
            gc_id: None,
            dangling: Vec::new(),
            shallow: Vec::new(),
            unshallow: Vec::new(),
            revisions: Vec::new(),
            deploys: Vec::new(),
            domains: None,
            proven: Vec::new(),
            requires: Vec::new(),
            message: None,
            limits: crate::PushLimits::NONE,
        }
    }

    fn blob(digit: u8, bytes: usize) -> Vec<Object> {
        let (oid, kind, zlib) = (Oid::new([digit; 20]), ObjectKind::Blob, vec![7; bytes]);
        vec![Object { oid, kind, base: None, depth: 0, size: 1, zlib }]
    }

    #[tokio::test]
    async fn full_disk_fails_one_push_only() {
        let folder = tempfile::tempdir().unwrap();
        let connections = connect::open(&folder.path().join("picloud.db")).await.unwrap();
        push::push(&connections, &push_of(1, None, &blob(1, 10))).await.unwrap();
        fill_disk(&connections.write).await;
        let result = push::push(&connections, &push_of(2, Some(1), &blob(2, 1_000_000))).await;
        assert!(matches!(result, Err(PushError::Store(StoreError::DiskFull))), "{result:?}");
        push::push(&connections, &push_of(3, Some(1), &blob(3, 10))).await.unwrap();
    }

    #[tokio::test]
    async fn full_disk_fails_one_group_of_state_only() {
        let folder = tempfile::tempdir().unwrap();
        let connections = state_file::open(&folder.path().join("state.db")).await.unwrap();
        let create = async || {
            let row = state::create_namespace(&connections, AppId::random(), &NamespaceName::Production);
            row.await.unwrap().id
        };
        let (one, two) = (create().await, create().await);
        let commit = |id, key: &str, bytes| {
            let value = StateValue::Blob(vec![7; bytes]);
            let puts = vec![StateEntry { key: key.to_owned(), value, version: 1, expires_at_ms: None }];
            NamespaceCommit {
                id,
                from: StatePosition::default(),
                to: StatePosition { version: 1, commit: None },
                bytes: 1,
                entries: 1,
                puts,
                deletes: Vec::new(),
                scheduled: Vec::new(),
            }
        };
        let group = [commit(one, "small", 10), commit(two, "large", 1_000_000)];
        fill_disk(&connections.write).await;
        let failed = state::commit(&connections, &group).await;
        assert!(matches!(failed, Err(CommitError::Store(StoreError::DiskFull))), "{failed:?}");
        // Nothing of the group is there, and reads go on.
        let read = async |id, key| state::entries(&connections, id, &[key]).await.unwrap().unwrap();
        for (id, key) in [(one, "small"), (two, "large")] {
            let found = read(id, key).await;
            assert_eq!((found.position.version, found.entries.len()), (0, 0));
        }
        state::commit(&connections, &group).await.unwrap();
        for (id, key) in [(one, "small"), (two, "large")] {
            let found = read(id, key).await;
            assert_eq!((found.position.version, found.entries.len()), (1, 1));
        }
    }
}
