//! Reads and writes of many entries of the state. A commit is one statement, with each column as one array.

use std::time::Duration;

use sqlx::Executor;
use sqlx::postgres::Postgres;
use tokio::time::{Instant, sleep, timeout_at};

use super::connections::{Connection, Connections};
use super::state_log;
use crate::error::{StoreError, is_rejection};
use crate::id::{CommitId, NamespaceId};
use crate::sql_types::signed;
use crate::state::{CommitError, NamespaceCommit, StateEntry, StatePosition, StateValue};

/// A condition for a column to be one of [`keys`], bound as `$3`.
pub(super) const IN_KEYS: &str = "= ANY ($3)";

/// How long the outcome of a statement without a response is looked up: a crashed server recovers, or a standby is
/// promoted.
const LOOKUP_TIMEOUT: Duration = Duration::from_secs(30);

/// The delay between two lookups.
const LOOKUP_INTERVAL: Duration = Duration::from_millis(250);

/// Nothing is written before the position of the namespace was compared and set: writers of the same keys wait there,
/// and not for each other's rows.
const STORE: &str = "
    WITH stored AS (
        UPDATE kv_namespaces
        SET version = $4, commit_id = $5, bytes = coalesce($6, bytes), entries = coalesce($7, entries)
        WHERE id = $1 AND version = $2 AND commit_id IS NOT DISTINCT FROM $3::uuid AND deleted_at IS NULL RETURNING id
    ), put AS (
        INSERT INTO kv_entries (namespace, key, version, expires_at_ms, is_blob, value)
        SELECT id, new.key, new.version, new.expires_at_ms, new.is_blob, new.value
        FROM stored CROSS JOIN unnest($8::text[], $9::bigint[], $10::bigint[], $11::boolean[], $12::bytea[])
            AS new (key, version, expires_at_ms, is_blob, value)
        ON CONFLICT (namespace, key) DO UPDATE SET version = excluded.version,
            expires_at_ms = excluded.expires_at_ms, is_blob = excluded.is_blob, value = excluded.value
    ), deleted AS (
        DELETE FROM kv_entries USING stored WHERE namespace = id AND key = ANY ($13::text[])
    ), logged AS (
        INSERT INTO kv_log (namespace, version, commit_id, from_version, from_commit, keys, size)
        SELECT id, $4, $5, $2, $3, $14::text[], $15 FROM stored
    ), pruned AS (
        DELETE FROM kv_log USING stored
        WHERE $16 AND namespace = id AND at < clock_timestamp() - $17::float8 * interval '1 second' AND version <= (
            SELECT max(version) FROM (
                SELECT version, sum(size) OVER (ORDER BY version DESC) AS total FROM kv_log WHERE namespace = $1
            ) AS sizes WHERE total > $18
        )
    )
    SELECT id FROM stored";

/// The keys as an array.
pub(super) fn keys<'k>(keys: &[&'k str]) -> Vec<&'k str> {
    keys.to_vec()
}

/// Stores those commits whose namespaces have the expected position, and returns their ids. If one is missing, the
/// transaction must be rolled back.
pub(super) async fn store(
    tx: &mut Connection,
    group: &[NamespaceCommit],
) -> Result<Vec<NamespaceId>, sqlx::Error> {
    let mut commits: Vec<&NamespaceCommit> = group.iter().collect();
    // Groups that lock the same namespaces in another order would deadlock.
    commits.sort_by_key(|commit| commit.id);
    let mut stored = Vec::with_capacity(commits.len());
    for commit in commits {
        if store_one(&mut *tx, commit).await? {
            stored.push(commit.id);
        }
    }
    Ok(stored)
}

/// Commits a group in one statement, without a transaction around it, if it is of one namespace: a node that is
/// suspended between two statements would make other nodes wait.
pub(super) async fn commit_at_once(
    connections: &Connections,
    group: &[NamespaceCommit],
) -> Option<Result<(), CommitError>> {
    match group {
        [commit] if commit.scheduled.is_empty() => Some(commit_one(connections, commit).await),
        _ => None,
    }
}

async fn commit_one(connections: &Connections, commit: &NamespaceCommit) -> Result<(), CommitError> {
    let mut connection = connections.acquire().await?;
    let lost = match store_one(&mut connection, commit).await {
        Ok(true) => return Ok(()),
        Ok(false) => return Err(CommitError::Outdated(commit.id)),
        Err(error) if is_rejection(&error) => return Err(error.into()),
        Err(error) => StoreError::from(error),
    };
    // Closing it makes the server abandon a statement that it has not started.
    drop(connection);
    tracing::warn!(error = %lost, "no response to a commit of state; looking up its outcome");
    match was_stored(connections, commit).await {
        Some(true) => Ok(()),
        Some(false) => Err(lost.into()),
        None => Err(StoreError::OutcomeUnknown.into()),
    }
}

/// Whether a commit without a response was stored; if not, it never will be. `None`: the outcome is unknown.
async fn was_stored(connections: &Connections, commit: &NamespaceCommit) -> Option<bool> {
    let deadline = Instant::now() + LOOKUP_TIMEOUT;
    let to = StatePosition { version: commit.from.version + 1, commit: Some(CommitId::random()) };
    loop {
        match timeout_at(deadline, look_up(connections, commit, to)).await {
            Ok(Ok(Some(stored))) => {
                tracing::info!(stored, "found the outcome of a commit of state without a response");
                return Some(stored);
            }
            Ok(Ok(None)) | Err(_) => return None,
            Ok(Err(error)) => tracing::debug!(%error, "cannot look up the outcome of a commit of state yet"),
        }
        sleep(LOOKUP_INTERVAL).await;
    }
}

/// Moves the namespace to another position without a change, after waiting for the commit if it is in progress: either
/// the commit is in the log, or it cannot be stored any more. Uses a new connection: those of the pool may be dead or in
/// use.
async fn look_up(
    connections: &Connections,
    commit: &NamespaceCommit,
    to: StatePosition,
) -> Result<Option<bool>, sqlx::Error> {
    let mut connection = connections.connect().await?;
    let nothing = Statement { id: commit.id, from: commit.from, to, size: None, puts: &[], deletes: &[] };
    if nothing.execute(&mut connection).await? {
        return Ok(Some(false));
    }
    state_log::was_stored(&mut connection, commit.id, commit.from, commit.to).await
}

async fn store_one(
    connection: impl Executor<'_, Database = Postgres>,
    commit: &NamespaceCommit,
) -> Result<bool, sqlx::Error> {
    let size = Some((commit.bytes, commit.entries));
    let (puts, deletes) = (&commit.puts, &commit.deletes);
    Statement { id: commit.id, from: commit.from, to: commit.to, size, puts, deletes }
        .execute(connection)
        .await
}

/// The arguments of [`STORE`].
struct Statement<'c> {
    id: NamespaceId,
    from: StatePosition,
    to: StatePosition,
    /// The new size and number of entries; `None`: unchanged.
    size: Option<(u64, u64)>,
    puts: &'c [StateEntry],
    deletes: &'c [String],
}

impl<'c> Statement<'c> {
    /// Returns whether the namespace had the position `from`.
    async fn execute(self, connection: impl Executor<'_, Database = Postgres>) -> Result<bool, sqlx::Error> {
        let keys = self.puts.iter().map(|entry| &entry.key).chain(self.deletes);
        let logged = state_log::Logged::new(keys.map(String::as_str).collect(), self.to);
        let stored = sqlx::query_scalar::<_, NamespaceId>(STORE)
            .bind(self.id)
            .bind(signed(self.from.version))
            .bind(self.from.commit)
            .bind(signed(self.to.version))
            .bind(self.to.commit)
            .bind(self.size.map(|(bytes, _)| signed(bytes)))
            .bind(self.size.map(|(_, entries)| signed(entries)))
            .bind(self.each_put(|entry| entry.key.as_str()))
            .bind(self.each_put(|entry| signed(entry.version)))
            .bind(self.each_put(|entry| entry.expires_at_ms))
            .bind(self.each_put(|entry| matches!(entry.value, StateValue::Blob(_))))
            .bind(self.each_put(|entry| entry.value.bytes()))
            .bind(self.deletes)
            .bind(logged.keys)
            .bind(logged.size)
            .bind(logged.prunes)
            .bind(state_log::KEPT.as_secs_f64())
            .bind(state_log::SIZE_MAX)
            .fetch_optional(connection)
            .await?;
        Ok(stored.is_some())
    }

    fn each_put<T>(&self, read: impl Fn(&'c StateEntry) -> T) -> Vec<T> {
        self.puts.iter().map(read).collect()
    }
}
