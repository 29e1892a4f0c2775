//! Transactions of PostgreSQL: each one starts here, and the outcome of each COMMIT is known.
//!
//! A connection may be lost between COMMIT and its response. So each transaction inserts a row into
//! `transaction_outcomes` with an id of its own. If no response arrives, the same id is inserted on another
//! connection: either it exists, and the transaction was committed, or it is now taken, and the transaction cannot be
//! committed any more.

use std::ops::{Deref, DerefMut};
use std::time::Duration;

use sqlx::postgres::{PgArguments, PgRow};
use sqlx::query::QueryAs;
use sqlx::{AssertSqlSafe, Connection as _, FromRow, Postgres};
use tokio::time::{Instant, sleep, timeout, timeout_at};
use uuid::Uuid;

use super::connections::{Connection, Connections};
use crate::PUSH_LOCK_TIMEOUT;
use crate::error::{PushError, StoreError, is_rejection};

type Query<'q> = sqlx::query::Query<'q, Postgres, PgArguments>;

/// The timeout of COMMIT, which flushes to disk, and waits for a synchronous standby.
const COMMIT_TIMEOUT: Duration = Duration::from_secs(10);

/// How long the outcome of a COMMIT is looked up: a crashed server recovers, or a standby is promoted.
const LOOKUP_TIMEOUT: Duration = Duration::from_secs(30);

/// The delay between two lookups.
const LOOKUP_INTERVAL: Duration = Duration::from_millis(250);

/// One of this many commits deletes old rows of `transaction_outcomes`.
const PRUNE_INTERVAL_COMMITS: u32 = 256;

pub(super) async fn begin(connections: &Connections) -> Result<Transaction, StoreError> {
    let connection = connections.acquire().await?;
    let mut transaction = Transaction { connection, connections: connections.clone(), ended: false };
    sqlx::raw_sql("BEGIN").execute(&mut *transaction).await?;
    Ok(transaction)
}

/// Begins the transaction of a push, which waits for another push to the same app only for a limited time.
pub(super) async fn begin_push(connections: &Connections) -> Result<Transaction, PushError> {
    let mut transaction = begin(connections).await?;
    // The longer timeout is for the lock of an app; locks of the whole table are not those of pushes.
    let timeout_ms = PUSH_LOCK_TIMEOUT.as_millis();
    let sql = format!("SET LOCAL lock_timeout = {timeout_ms}; LOCK TABLE apps IN ROW EXCLUSIVE MODE");
    sqlx::raw_sql(AssertSqlSafe(sql)).execute(&mut *transaction).await?;
    Ok(transaction)
}

/// Begins a transaction that the server ends if the next statement does not follow within a second: other nodes wait.
pub(super) async fn begin_short(connections: &Connections) -> Result<Transaction, StoreError> {
    let mut transaction = begin(connections).await?;
    let limit = "SET LOCAL idle_in_transaction_session_timeout = '1s'";
    sqlx::raw_sql(limit).execute(&mut *transaction).await?;
    Ok(transaction)
}

/// Begins a transaction that commits without waiting for the disk: it can be lost in a power failure.
pub(super) async fn begin_unsynced(connections: &Connections) -> Result<Transaction, StoreError> {
    let mut transaction = begin(connections).await?;
    sqlx::query("SET LOCAL synchronous_commit = off").execute(&mut *transaction).await?;
    Ok(transaction)
}

/// Runs one idempotent statement and returns the number of changed rows. If the response is lost, the outcome is
/// unknown.
pub(super) async fn execute(connections: &Connections, query: Query<'_>) -> Result<u64, StoreError> {
    Ok(query.execute(connections).await?.rows_affected())
}

/// Runs one statement and returns its rows.
pub(super) async fn execute_returning<R>(
    connections: &Connections,
    query: QueryAs<'_, Postgres, R, PgArguments>,
) -> Result<Vec<R>, StoreError>
where
    R: for<'r> FromRow<'r, PgRow> + Send + Unpin,
{
    Ok(query.fetch_all(connections).await?)
}

/// Runs one statement whose outcome is known even if the response is lost.
pub(super) async fn execute_confirmed(
    connections: &Connections,
    query: Query<'_>,
) -> Result<u64, StoreError> {
    let mut transaction = begin(connections).await?;
    let done = query.execute(&mut *transaction).await?;
    transaction.commit().await?;
    Ok(done.rows_affected())
}

/// A transaction. Unless it is committed or rolled back, its connection is closed, which rolls it back.
pub(crate) struct Transaction {
    connection: Connection,
    connections: Connections,
    ended: bool,
}

impl Transaction {
    /// An error means that nothing was changed, except for [`StoreError::OutcomeUnknown`].
    pub(super) async fn commit(mut self) -> Result<(), StoreError> {
        let id = Uuid::new_v4();
        let response = timeout(COMMIT_TIMEOUT, send_commit(&mut self.connection, id)).await;
        let lost = match response {
            Ok(Ok(())) => {
                self.ended = true;
                return Ok(());
            }
            Ok(Err(error)) if is_rejection(&error) => return Err(error.into()),
            Ok(Err(error)) => error.into(),
            Err(_) => StoreError::Unresponsive(COMMIT_TIMEOUT),
        };
        // Closing it makes the server abandon a commit that it has not started.
        let connections = self.connections.clone();
        drop(self);
        tracing::warn!(error = %lost, "no response to COMMIT; looking up its outcome");
        match was_committed(&connections, id).await {
            Some(true) => Ok(()),
            Some(false) => Err(lost),
            None => Err(StoreError::OutcomeUnknown),
        }
    }

    /// The server writes by itself.
    #[expect(clippy::unused_async, reason = "that of SQLite waits")]
    pub(super) async fn note_written(&mut self, _bytes: u64) {}

    /// Rolls back a transaction that did not fail.
    pub(crate) async fn rollback(mut self) {
        self.ended = sqlx::raw_sql("ROLLBACK").execute(&mut self.connection).await.is_ok();
    }
}

/// Sends one message, so that it costs no more than COMMIT. If a statement fails, later ones are not executed.
async fn send_commit(connection: &mut Connection, id: Uuid) -> Result<(), sqlx::Error> {
    let prune = match id.as_u128() % u128::from(PRUNE_INTERVAL_COMMITS) {
        0 => {
            "DELETE FROM transaction_outcomes WHERE id IN (
                 SELECT id FROM transaction_outcomes WHERE at < now() - interval '1 hour' FOR UPDATE SKIP LOCKED
             );"
        }
        _ => "",
    };
    let sql =
        format!("{prune} INSERT INTO transaction_outcomes (id, committed) VALUES ('{id}', true); COMMIT");
    sqlx::raw_sql(AssertSqlSafe(sql)).execute(connection).await?;
    Ok(())
}

/// Whether the transaction with this id was committed; if not, it never will be. `None`: the outcome is unknown.
async fn was_committed(connections: &Connections, id: Uuid) -> Option<bool> {
    let deadline = Instant::now() + LOOKUP_TIMEOUT;
    loop {
        match timeout_at(deadline, look_up(connections, id)).await {
            Ok(Ok(committed)) => {
                tracing::info!(committed, "found the outcome of a COMMIT without a response");
                return Some(committed);
            }
            Ok(Err(error)) => tracing::debug!(%error, "cannot look up the outcome of a COMMIT yet"),
            Err(_) => return None,
        }
        sleep(LOOKUP_INTERVAL).await;
    }
}

/// Inserts the id unless it exists, after waiting for a transaction that has inserted it. Uses a new connection:
/// those of the pool may be dead or in use.
async fn look_up(connections: &Connections, id: Uuid) -> Result<bool, sqlx::Error> {
    let mut connection = connections.connect().await?;
    let committed = sqlx::query_scalar(
        "INSERT INTO transaction_outcomes (id, committed) VALUES ($1, false)
         ON CONFLICT (id) DO UPDATE SET at = transaction_outcomes.at RETURNING committed",
    )
    .bind(id)
    .fetch_one(&mut connection)
    .await?;
    connection.close().await.ok();
    Ok(committed)
}

impl Deref for Transaction {
    type Target = Connection;

    fn deref(&self) -> &Connection {
        &self.connection
    }
}

impl DerefMut for Transaction {
    fn deref_mut(&mut self) -> &mut Connection {
        &mut self.connection
    }
}

impl Drop for Transaction {
    fn drop(&mut self) {
        if !self.ended {
            self.connection.discard();
        }
    }
}
