//! The state of apps: the tables `kv_namespaces`, `kv_entries` and `schedule_results`.
//!
//! A read returns the version of the namespace and the entries of the same moment, so it is one statement. A deleted
//! namespace has `deleted_at` until its entries are deleted, too.

use std::ops::Bound;

use chrono::Utc;
use uuid::Uuid;

use super::dialect::BY_BYTES;
use super::{Connection, Connections, kv, sql, transaction};
use crate::error::StoreError;
use crate::id::{AppId, CommitId, NamespaceId};
use crate::sql_types::{Id, Unsigned, signed};
use crate::state::{
    CommitError, ExpiredEntry, NamespaceCommit, NamespaceName, NamespaceRow, STATE_READ_BYTES_MAX,
    StateEntry, StateKeys, StatePosition, StateRange, StateRead, StateValue,
};

/// The columns of [`NamespaceRow`].
const NAMESPACE: &str = "id, app, name, version, commit_id, bytes, entries";

/// The columns of [`ReadRow`].
const READ: &str =
    "kv_namespaces.version AS namespace_version, kv_namespaces.commit_id AS namespace_commit, kv_entries.key, kv_entries.version AS entry_version,
    kv_entries.expires_at_ms, kv_entries.is_blob, kv_entries.value";

/// How many entries of a deleted namespace one transaction deletes, and about how many bytes.
const DELETE_ENTRIES_MAX: i64 = 1000;
const DELETE_BYTES_MAX: i64 = 8 << 20;

/// An entry with the version of its namespace; without a key: the namespace has no such entry.
#[derive(sqlx::FromRow)]
struct ReadRow {
    #[sqlx(try_from = "Unsigned<u64>")]
    namespace_version: u64,
    namespace_commit: Option<CommitId>,
    key: Option<String>,
    entry_version: Option<i64>,
    expires_at_ms: Option<i64>,
    is_blob: Option<bool>,
    value: Option<Vec<u8>>,
    /// Whether it is left out because of its size.
    #[sqlx(default)]
    is_cut: bool,
}

/// Without rows there is no namespace.
fn read(rows: Vec<ReadRow>) -> Option<StateRead> {
    let first = rows.first()?;
    let position = StatePosition { version: first.namespace_version, commit: first.namespace_commit };
    let is_cut = rows.iter().any(|row| row.is_cut);
    let entries = rows.into_iter().filter_map(|row| {
        let (key, bytes) = (row.key?, row.value?);
        let value = if row.is_blob? { StateValue::Blob(bytes) } else { StateValue::Json(bytes) };
        let version = row.entry_version?.unsigned_abs();
        Some(StateEntry { key, value, version, expires_at_ms: row.expires_at_ms })
    });
    Some(StateRead { position, entries: entries.collect(), is_cut })
}

pub(crate) async fn namespace(
    connections: &Connections,
    app: AppId,
    name: &NamespaceName,
) -> Result<Option<NamespaceRow>, StoreError> {
    let namespace = sqlx::query_as(sql!(
        "SELECT {NAMESPACE} FROM kv_namespaces WHERE app = $1 AND name = $2 AND deleted_at IS NULL"
    ));
    Ok(namespace.bind(app).bind(name).fetch_optional(connections.reader()).await?)
}

/// Creates a namespace unless it exists.
pub(crate) async fn create_namespace(
    connections: &Connections,
    app: AppId,
    name: &NamespaceName,
) -> Result<NamespaceRow, StoreError> {
    let created = sqlx::query_as(sql!(
        "INSERT INTO kv_namespaces (app, name, version, bytes, entries) VALUES ($1, $2, 0, 0, 0)
         ON CONFLICT (app, name) WHERE deleted_at IS NULL DO UPDATE SET version = kv_namespaces.version
         RETURNING {NAMESPACE}"
    ));
    let rows = transaction::execute_returning(connections, created.bind(app).bind(name)).await?;
    rows.into_iter().next().ok_or_else(|| sqlx::Error::RowNotFound.into())
}

pub(crate) async fn namespaces(
    connections: &Connections,
    app: Option<AppId>,
) -> Result<Vec<NamespaceRow>, StoreError> {
    let of_app = if app.is_some() { "AND app = $1" } else { "" };
    let sql = sql!(
        "SELECT {NAMESPACE} FROM kv_namespaces WHERE deleted_at IS NULL {of_app} ORDER BY app, name {BY_BYTES}"
    );
    let namespaces = sqlx::query_as(sql);
    let namespaces = match app {
        Some(app) => namespaces.bind(app),
        None => namespaces,
    };
    Ok(namespaces.fetch_all(connections.reader()).await?)
}

/// Any namespace of an app, even a deleted one.
pub(crate) async fn any_namespace(
    connections: &Connections,
    app: AppId,
) -> Result<Option<NamespaceId>, StoreError> {
    let id = sqlx::query_scalar("SELECT id FROM kv_namespaces WHERE app = $1 LIMIT 1");
    Ok(id.bind(app).fetch_optional(connections.reader()).await?)
}

pub(crate) async fn entries(
    connections: &Connections,
    id: NamespaceId,
    keys: &[&str],
) -> Result<Option<StateRead>, StoreError> {
    if let [key] = keys {
        let one = sqlx::query_as(sql!(
            "SELECT {READ} FROM kv_namespaces LEFT JOIN kv_entries ON namespace = $1 AND key = $2
             WHERE id = $1 AND deleted_at IS NULL"
        ));
        return Ok(read(one.bind(id).bind(*key).fetch_all(connections.reader()).await?));
    }
    let chosen = format!(
        "SELECT key, length(value) AS bytes FROM kv_entries WHERE namespace = $1 AND key {}",
        kv::IN_KEYS
    );
    let many = sqlx::query_as(bounded(&chosen, "", "$2"));
    let many = many.bind(id).bind(signed(STATE_READ_BYTES_MAX)).bind(kv::keys(keys));
    Ok(read(many.fetch_all(connections.reader()).await?))
}

pub(crate) async fn list(
    connections: &Connections,
    id: NamespaceId,
    range: &StateRange,
) -> Result<Option<StateRead>, StoreError> {
    let order = if range.reverse { "DESC" } else { "" };
    let chosen = in_range(range, "key, length(value) AS bytes");
    let list = sqlx::query_as(bounded(&chosen, order, "$6")).bind(id);
    let (lowest, highest) = bounds(range);
    let list = list.bind(lowest).bind(highest).bind(range.now_ms).bind(i64::from(range.limit));
    Ok(read(list.bind(signed(range.bytes_max)).fetch_all(connections.reader()).await?))
}

pub(crate) async fn keys(
    connections: &Connections,
    id: NamespaceId,
    range: &StateRange,
) -> Result<Option<StateKeys>, StoreError> {
    let order = if range.reverse { "DESC" } else { "" };
    let chosen = in_range(range, "key, expires_at_ms");
    let keys = sqlx::query_as(sql!(
        "SELECT version, key, expires_at_ms FROM kv_namespaces LEFT JOIN ({chosen}) AS found ON true
         WHERE id = $1 AND deleted_at IS NULL ORDER BY key {order}"
    ));
    let (lowest, highest) = bounds(range);
    let keys = keys.bind(id).bind(lowest).bind(highest).bind(range.now_ms).bind(i64::from(range.limit));
    let rows: Vec<(i64, Option<String>, Option<i64>)> = keys.fetch_all(connections.reader()).await?;
    let Some((version, ..)) = rows.first() else { return Ok(None) };
    let version = version.unsigned_abs();
    let keys = rows.into_iter().filter_map(|(_, key, expires_at_ms)| Some((key?, expires_at_ms)));
    Ok(Some(StateKeys { version, keys: keys.collect() }))
}

/// The statement for `columns` of the entries of a range of the namespace `$1`: `$2` and `$3` are its bounds, `$4` the
/// time, and `$5` the limit.
fn in_range(range: &StateRange, columns: &str) -> String {
    let from = match &range.from {
        Bound::Included(_) => "key >= $2",
        Bound::Excluded(_) => "key > $2",
        Bound::Unbounded => "$2 IS NULL",
    };
    let to = match &range.to {
        Bound::Included(_) => "key <= $3",
        Bound::Excluded(_) => "key < $3",
        Bound::Unbounded => "$3 IS NULL",
    };
    let order = if range.reverse { "DESC" } else { "" };
    format!(
        "SELECT {columns} FROM kv_entries
         WHERE namespace = $1 AND {from} AND {to} AND (expires_at_ms IS NULL OR expires_at_ms > $4)
         ORDER BY key {order} LIMIT $5"
    )
}

/// The lowest and the highest key of a range.
fn bounds(range: &StateRange) -> (Option<&String>, Option<&String>) {
    fn key(bound: &Bound<String>) -> Option<&String> {
        match bound {
            Bound::Included(key) | Bound::Excluded(key) => Some(key),
            Bound::Unbounded => None,
        }
    }
    (key(&range.from), key(&range.to))
}

/// Reads the entries of the namespace `$1` whose keys and sizes `chosen` selects, in key order, without the values after
/// the first `bytes_max` bytes, a parameter.
fn bounded(chosen: &str, order: &str, bytes_max: &str) -> sqlx::AssertSqlSafe<String> {
    sql!(
        "SELECT {READ}, coalesce(found.is_cut, false) AS is_cut FROM kv_namespaces
         LEFT JOIN (
             SELECT key AS found_key, sum(bytes) OVER (ORDER BY key {order}) - bytes >= {bytes_max} AS is_cut
             FROM ({chosen}) AS chosen
         ) AS found ON true
         LEFT JOIN kv_entries ON namespace = $1 AND key = found_key AND NOT is_cut
         WHERE id = $1 AND deleted_at IS NULL ORDER BY found_key {order}"
    )
}

pub(crate) async fn commit(connections: &Connections, group: &[NamespaceCommit]) -> Result<(), CommitError> {
    if let Some(committed) = kv::commit_at_once(connections, group).await {
        return committed;
    }
    commit_in(transaction::begin(connections).await?, group).await
}

/// Commits a group in a transaction that has begun.
pub(crate) async fn commit_in(
    mut transaction: transaction::Transaction,
    group: &[NamespaceCommit],
) -> Result<(), CommitError> {
    let stored = kv::store(&mut transaction, group).await?;
    if let Some(outdated) = group.iter().find(|commit| !stored.contains(&commit.id)) {
        transaction.rollback().await;
        return Err(CommitError::Outdated(outdated.id));
    }
    for commit in group {
        for execution in &commit.scheduled {
            if note_result(&mut transaction, *execution, false).await? {
                transaction.rollback().await;
                return Err(CommitError::Lost(commit.id));
            }
        }
    }
    Ok(transaction.commit().await?)
}

/// Notes that a scheduled run is committed or lost. Returns whether it is lost: the first note decides.
async fn note_result(tx: &mut Connection, execution: Uuid, is_lost: bool) -> Result<bool, sqlx::Error> {
    sqlx::query_scalar(
        "INSERT INTO schedule_results (execution, is_lost, at_ms) VALUES ($1, $2, $3)
         ON CONFLICT (execution) DO UPDATE SET at_ms = schedule_results.at_ms RETURNING is_lost",
    )
    .bind(Id(execution))
    .bind(is_lost)
    .bind(Utc::now().timestamp_millis())
    .fetch_one(tx)
    .await
}

pub(crate) async fn lose_run(connections: &Connections, execution: Uuid) -> Result<bool, StoreError> {
    let mut transaction = transaction::begin(connections).await?;
    let is_lost = note_result(&mut transaction, execution, true).await?;
    transaction.commit().await?;
    Ok(is_lost)
}

pub(crate) async fn delete_schedule_results(
    connections: &Connections,
    before_ms: i64,
) -> Result<(), StoreError> {
    let delete = sqlx::query("DELETE FROM schedule_results WHERE at_ms < $1").bind(before_ms);
    transaction::execute(connections, delete).await?;
    Ok(())
}

pub(crate) async fn expired(
    connections: &Connections,
    now_ms: i64,
    limit: u32,
) -> Result<Vec<ExpiredEntry>, StoreError> {
    let expired = sqlx::query_as(
        "SELECT namespace, kv_namespaces.version, key, CAST(length(value) AS bigint) AS bytes
         FROM kv_entries CROSS JOIN kv_namespaces
         WHERE id = namespace AND deleted_at IS NULL AND expires_at_ms <= $1 ORDER BY expires_at_ms LIMIT $2",
    );
    Ok(expired.bind(now_ms).bind(i64::from(limit)).fetch_all(connections.reader()).await?)
}

pub(crate) async fn next_expiry(connections: &Connections) -> Result<Option<i64>, StoreError> {
    let next = sqlx::query_scalar(
        "SELECT expires_at_ms FROM kv_entries CROSS JOIN kv_namespaces
         WHERE id = namespace AND deleted_at IS NULL AND expires_at_ms IS NOT NULL ORDER BY expires_at_ms LIMIT 1",
    );
    Ok(next.fetch_optional(connections.reader()).await?)
}

pub(crate) async fn delete_namespace(connections: &Connections, id: NamespaceId) -> Result<bool, StoreError> {
    let mut transaction = transaction::begin(connections).await?;
    let tx = &mut *transaction;
    sqlx::query("UPDATE kv_namespaces SET deleted_at = $2 WHERE id = $1 AND deleted_at IS NULL")
        .bind(id)
        .bind(Utc::now())
        .execute(&mut *tx)
        .await?;
    let next: Vec<(String, i64)> = sqlx::query_as(
        "SELECT key, CAST(length(value) AS bigint) FROM kv_entries WHERE namespace = $1 ORDER BY key LIMIT $2",
    )
    .bind(id)
    .bind(DELETE_ENTRIES_MAX)
    .fetch_all(&mut *tx)
    .await?;
    let mut bytes = 0;
    let batch = next.iter().take_while(|(_, size)| {
        let fits = bytes < DELETE_BYTES_MAX;
        bytes += size;
        fits
    });
    let batch: Vec<&(String, i64)> = batch.collect();
    if let Some((last, _)) = batch.last() {
        sqlx::query("DELETE FROM kv_entries WHERE namespace = $1 AND key <= $2")
            .bind(id)
            .bind(last)
            .execute(&mut *tx)
            .await?;
    }
    let is_last = batch.len() == next.len() && (next.len() as i64) < DELETE_ENTRIES_MAX;
    if is_last {
        sqlx::query("DELETE FROM kv_namespaces WHERE id = $1").bind(id).execute(&mut *tx).await?;
    }
    transaction.commit().await?;
    Ok(!is_last)
}

pub(crate) async fn deleted_namespaces(connections: &Connections) -> Result<Vec<NamespaceId>, StoreError> {
    let deleted = sqlx::query_scalar("SELECT id FROM kv_namespaces WHERE deleted_at IS NOT NULL ORDER BY id");
    Ok(deleted.fetch_all(connections.reader()).await?)
}
