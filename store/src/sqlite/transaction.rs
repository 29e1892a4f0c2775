//! The transactions of SQLite: each of them begins here.

#![expect(clippy::disallowed_methods, reason = "it is where transactions begin")]

use std::ops::{Deref, DerefMut};

use sqlx::pool::PoolConnection;
use sqlx::query::Query;
use sqlx::sqlite::{SqliteArguments, SqliteConnectOptions, SqlitePoolOptions};
use sqlx::{Sqlite, SqliteConnection, SqlitePool};

use crate::error::StoreError;

/// The one connection that writes. It gives out transactions and nothing else, since a write beside them would leave a
/// connection that failed in its place.
#[derive(Clone, Debug)]
pub(crate) struct Writer(SqlitePool);

impl Writer {
    /// `pool` is one of a single connection.
    pub(super) fn new(pool: SqlitePoolOptions, options: SqliteConnectOptions) -> Self {
        Self(pool.connect_lazy_with(options))
    }

    /// Waits for whoever writes in this process, then for those of other processes.
    pub(super) async fn begin(&self) -> Result<Transaction, StoreError> {
        let mut transaction = Transaction { connection: self.0.acquire().await?, ended: false };
        sqlx::raw_sql("BEGIN IMMEDIATE").execute(&mut *transaction).await?;
        Ok(transaction)
    }

    /// Carries out one statement, and says how many rows it has changed.
    pub(super) async fn execute(&self, query: Query<'_, Sqlite, SqliteArguments>) -> Result<u64, StoreError> {
        let mut transaction = self.begin().await?;
        let done = query.execute(&mut *transaction).await?;
        transaction.commit().await?;
        Ok(done.rows_affected())
    }

    pub(super) async fn close(&self) {
        self.0.close().await;
    }
}

/// A transaction. Unless it is committed or rolled back its connection is closed, which rolls it back: SQLite ends some that
/// fail by itself (on a full disk, on an I/O error), so nobody can tell what a failed one has left.
pub(crate) struct Transaction {
    connection: PoolConnection<Sqlite>,
    ended: bool,
}

impl Transaction {
    pub(super) async fn commit(mut self) -> Result<(), StoreError> {
        sqlx::raw_sql("COMMIT").execute(&mut *self.connection).await?;
        self.ended = true;
        Ok(())
    }

    /// Ends one that has nothing to commit, and did not fail.
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
    use super::*;
    use crate::sqlite::connect;

    const INSERT: &str =
        "INSERT INTO audit (id, at, who, action, subject) VALUES (?1, '', '', '', zeroblob(?2))";

    fn insert(id: i64, bytes: i64) -> Query<'static, Sqlite, SqliteArguments> {
        sqlx::query(INSERT).bind(id.to_string()).bind(bytes)
    }

    /// From now on the file grows no further, as on a full disk. The bound is the connection's own: a new one has none, as if
    /// room had been made.
    async fn fill_disk(writer: &Writer) {
        let mut transaction = writer.begin().await.unwrap();
        sqlx::query("PRAGMA max_page_count = 40").execute(&mut *transaction).await.unwrap();
        transaction.commit().await.unwrap();
    }

    #[tokio::test]
    async fn a_disk_that_was_full_for_a_moment_fails_one_write_and_not_the_next() {
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
    async fn a_transaction_that_is_left_is_rolled_back_and_its_connection_is_not_used_again() {
        let folder = tempfile::tempdir().unwrap();
        let connections = connect::open(&folder.path().join("picloud.db")).await.unwrap();
        let mut left = connections.write.begin().await.unwrap();
        insert(1, 1).execute(&mut *left).await.unwrap();
        drop(left);
        assert_eq!(connections.write.execute(insert(1, 1)).await.unwrap(), 1);
    }

    #[tokio::test]
    async fn the_write_ahead_log_is_cut_down_after_it_has_grown() {
        let folder = tempfile::tempdir().unwrap();
        let connections = connect::open(&folder.path().join("picloud.db")).await.unwrap();
        let log = || folder.path().join("picloud.db-wal").metadata().unwrap().len();
        let kept = u64::from(connect::WAL_BYTES_KEPT);
        connections.write.execute(insert(1, 2 * i64::from(connect::WAL_BYTES_KEPT))).await.unwrap();
        assert!(log() > kept, "{}", log());
        connections.records.execute(insert(2, 1)).await.unwrap();
        assert!(log() <= kept, "{}", log());
    }
}
