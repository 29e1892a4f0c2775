//! The transactions of PostgreSQL: each of them begins here.

#![expect(clippy::disallowed_methods, reason = "it is where transactions begin")]

use std::ops::{Deref, DerefMut};

use sqlx::pool::PoolConnection;
use sqlx::{PgConnection, PgPool, Postgres};

use crate::error::StoreError;

pub(super) async fn begin(pool: &PgPool) -> Result<Transaction, StoreError> {
    let mut transaction = Transaction { connection: pool.acquire().await?, ended: false };
    sqlx::raw_sql("BEGIN").execute(&mut *transaction).await?;
    Ok(transaction)
}

/// A transaction. Unless it is committed or rolled back its connection is closed, which rolls it back: a failed one may have
/// lost its server, or be waited for without end.
pub(crate) struct Transaction {
    connection: PoolConnection<Postgres>,
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
    type Target = PgConnection;

    fn deref(&self) -> &PgConnection {
        &self.connection
    }
}

impl DerefMut for Transaction {
    fn deref_mut(&mut self) -> &mut PgConnection {
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
