//! The transactions of PostgreSQL: each of them begins here, and it is known of each whether it was committed.
//!
//! A connection may be lost between COMMIT and its answer. So each transaction leaves a row in `outcomes` under an id of its
//! own, and where no answer comes the same id is entered from another connection: either it is there, and so is everything
//! else that was committed with it, or it is taken now, and the transaction cannot be committed any more.

use std::ops::{Deref, DerefMut};
use std::time::Duration;

use sqlx::postgres::{PgArguments, PgRow};
use sqlx::query::QueryAs;
use sqlx::{AssertSqlSafe, Connection as _, FromRow, Postgres};
use tokio::time::{Instant, sleep, timeout, timeout_at};
use uuid::Uuid;

use super::connections::{Connection, Connections};
use crate::PUSH_WAIT_MAX;
use crate::error::{PushError, StoreError, is_refusal};

type Query<'q> = sqlx::query::Query<'q, Postgres, PgArguments>;

/// How long the answer to COMMIT is waited for. It takes a flush of the disk, and a standby's where there is a synchronous one.
const ANSWER_TIME_MAX: Duration = Duration::from_secs(10);

/// How long is looked for what became of a COMMIT: a server that crashed recovers meanwhile, and another one takes over.
const LOOK_TIME_MAX: Duration = Duration::from_secs(30);

/// How long is waited between two looks.
const LOOK_AGAIN: Duration = Duration::from_millis(250);

/// One commit of so many deletes the old rows of `outcomes`.
const PRUNED_EVERY: u32 = 256;

pub(super) async fn begin(connections: &Connections) -> Result<Transaction, StoreError> {
    let connection = connections.acquire().await?;
    let mut transaction = Transaction { connection, connections: connections.clone(), ended: false };
    sqlx::raw_sql("BEGIN").execute(&mut *transaction).await?;
    Ok(transaction)
}

/// Begins the transaction of a push, which waits only so long for another one to the same app.
pub(super) async fn begin_push(connections: &Connections) -> Result<Transaction, PushError> {
    let mut transaction = begin(connections).await?;
    // A lock of the whole table is nobody's push. From here on it is an app that is waited for, and then what else is locked.
    let wait = PUSH_WAIT_MAX.as_millis();
    let begun = format!("SET LOCAL lock_timeout = {wait}; LOCK TABLE apps IN ROW EXCLUSIVE MODE");
    sqlx::raw_sql(AssertSqlSafe(begun)).execute(&mut *transaction).await?;
    Ok(transaction)
}

/// Begins one that does not wait for the disk: what it commits may be lost with the power.
pub(super) async fn begin_unsynced(connections: &Connections) -> Result<Transaction, StoreError> {
    let mut transaction = begin(connections).await?;
    sqlx::query("SET LOCAL synchronous_commit = off").execute(&mut *transaction).await?;
    Ok(transaction)
}

/// Carries out one statement, and says how many rows it has changed. Where the answer is lost, so is what came of it: the
/// statement is one that can be carried out again.
pub(super) async fn execute(connections: &Connections, query: Query<'_>) -> Result<u64, StoreError> {
    Ok(query.execute(connections).await?.rows_affected())
}

/// Carries out one statement, and gives back what it returns.
pub(super) async fn execute_returning<R>(
    connections: &Connections,
    query: QueryAs<'_, Postgres, R, PgArguments>,
) -> Result<Vec<R>, StoreError>
where
    R: for<'r> FromRow<'r, PgRow> + Send + Unpin,
{
    Ok(query.fetch_all(connections).await?)
}

/// Carries out one statement of which is known what came of it, also where its answer is lost.
pub(super) async fn execute_confirmed(
    connections: &Connections,
    query: Query<'_>,
) -> Result<u64, StoreError> {
    let mut transaction = begin(connections).await?;
    let done = query.execute(&mut *transaction).await?;
    transaction.commit().await?;
    Ok(done.rows_affected())
}

/// A transaction. Unless it is committed or rolled back its connection is closed, which rolls it back: a failed one may have
/// lost its server, or be waited for without end.
pub(crate) struct Transaction {
    connection: Connection,
    connections: Connections,
    ended: bool,
}

impl Transaction {
    /// An error says that nothing was changed, unless it is [`StoreError::OutcomeUnknown`].
    pub(super) async fn commit(mut self) -> Result<(), StoreError> {
        let id = Uuid::new_v4();
        let answer = timeout(ANSWER_TIME_MAX, send_commit(&mut self.connection, id)).await;
        let lost = match answer {
            Ok(Ok(())) => {
                self.ended = true;
                return Ok(());
            }
            Ok(Err(error)) if is_refusal(&error) => return Err(error.into()),
            Ok(Err(error)) => error.into(),
            Err(_) => StoreError::Silent(ANSWER_TIME_MAX),
        };
        // Once it is closed, the server gives up what it has not begun to commit.
        let connections = self.connections.clone();
        drop(self);
        tracing::warn!(error = %lost, "no answer to COMMIT; looking whether it was carried out");
        match was_committed(&connections, id).await {
            Some(true) => Ok(()),
            Some(false) => Err(lost),
            None => Err(StoreError::OutcomeUnknown),
        }
    }

    /// Ends one that has nothing to commit, and did not fail.
    pub(super) async fn rollback(mut self) {
        self.ended = sqlx::raw_sql("ROLLBACK").execute(&mut self.connection).await.is_ok();
    }
}

/// All of it travels as one message, so that it costs no more than COMMIT alone. Where one of the statements fails, the ones
/// behind it are not carried out.
async fn send_commit(connection: &mut Connection, id: Uuid) -> Result<(), sqlx::Error> {
    let prune = match id.as_u128() % u128::from(PRUNED_EVERY) {
        0 => {
            "DELETE FROM outcomes WHERE id IN (
                 SELECT id FROM outcomes WHERE at < now() - interval '1 hour' FOR UPDATE SKIP LOCKED
             );"
        }
        _ => "",
    };
    let sql = format!("{prune} INSERT INTO outcomes (id, committed) VALUES ('{id}', true); COMMIT");
    sqlx::raw_sql(AssertSqlSafe(sql)).execute(connection).await?;
    Ok(())
}

/// Whether the transaction of that id was committed. Where it was not, it never will be. `None`: the database does not say.
async fn was_committed(connections: &Connections, id: Uuid) -> Option<bool> {
    let give_up = Instant::now() + LOOK_TIME_MAX;
    loop {
        match timeout_at(give_up, look(connections, id)).await {
            Ok(Ok(committed)) => {
                tracing::info!(committed, "the database says what became of a COMMIT without an answer");
                return Some(committed);
            }
            Ok(Err(error)) => tracing::debug!(%error, "cannot look yet what became of a COMMIT"),
            Err(_) => return None,
        }
        sleep(LOOK_AGAIN).await;
    }
}

/// Takes the id, unless it is taken. A transaction that has entered it and is still being committed is waited for. The
/// connection is a new one: those of the pool may be as dead as the one that was lost, or all in use.
async fn look(connections: &Connections, id: Uuid) -> Result<bool, sqlx::Error> {
    let mut connection = connections.connect().await?;
    let committed = sqlx::query_scalar(
        "INSERT INTO outcomes (id, committed) VALUES ($1, false)
         ON CONFLICT (id) DO UPDATE SET at = outcomes.at RETURNING committed",
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
