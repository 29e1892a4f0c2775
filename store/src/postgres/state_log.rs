//! The table `kv_log`: recent commits of the namespaces, for nodes that have entries in their caches.

use std::time::Duration;

use sqlx::Executor;
use sqlx::postgres::{PgConnection, Postgres};

use super::connections::Connections;
use super::transaction::{self, Transaction};
use crate::error::StoreError;
use crate::id::{AppId, CommitId, NamespaceId};
use crate::shared_state::{LoggedCommit, StateChanges, StateHeads};
use crate::sql_types::signed;
use crate::state::{NamespaceName, NamespaceRow, StatePosition};

/// The channel for changed namespaces.
pub(crate) const STATE: &str = "picloud_state";

/// The log of a namespace is pruned to this size, but for commits of this time: their outcome may be looked up.
pub(super) const SIZE_MAX: i64 = 1 << 20;
pub(super) const KEPT: Duration = Duration::from_secs(60);

/// Beyond this size, the keys of a commit are left out.
const KEYS_SIZE_MAX: usize = 64 << 10;

/// What a row counts besides its keys.
const ROW_SIZE: usize = 100;

/// One of this many commits prunes the log, and every one with keys of this size.
const PRUNE_INTERVAL_COMMITS: u128 = 32;
const PRUNED_SIZE: usize = 16 << 10;

/// A node further behind reads no log.
const COMMITS_READ_MAX: i64 = 10_000;

/// A row of the log.
pub(super) struct Logged<'k> {
    pub(super) keys: Option<Vec<&'k str>>,
    pub(super) size: i64,
    /// Whether the commit prunes the log.
    pub(super) prunes: bool,
}

impl<'k> Logged<'k> {
    pub(super) fn new(keys: Vec<&'k str>, to: StatePosition) -> Self {
        let size: usize = keys.iter().map(|key| key.len()).sum();
        let keys = (size <= KEYS_SIZE_MAX).then_some(keys);
        let size = ROW_SIZE + if keys.is_some() { size } else { 0 };
        let chosen = to.commit.is_some_and(|id| id.as_uuid().as_u128() % PRUNE_INTERVAL_COMMITS == 0);
        Self { keys, prunes: chosen || size > PRUNED_SIZE, size: i64::try_from(size).unwrap_or(i64::MAX) }
    }
}

/// The namespace with a commit after it; without one in the log, only the namespace.
#[derive(sqlx::FromRow)]
struct ChangeRow {
    #[sqlx(flatten)]
    namespace: NamespaceRow,
    to_version: Option<i64>,
    to_commit: Option<CommitId>,
    from_version: Option<i64>,
    from_commit: Option<CommitId>,
    keys: Option<Vec<String>>,
}

/// A namespace that may not exist, and the time.
#[derive(sqlx::FromRow)]
struct HeadRow {
    at_ms: i64,
    id: Option<NamespaceId>,
    app: AppId,
    name: NamespaceName,
    version: Option<i64>,
    commit_id: Option<CommitId>,
    bytes: Option<i64>,
    entries: Option<i64>,
}

impl HeadRow {
    fn into_namespace(self) -> Option<NamespaceRow> {
        let position = StatePosition { version: self.version?.unsigned_abs(), commit: self.commit_id };
        Some(NamespaceRow {
            id: self.id?,
            app: self.app,
            name: self.name,
            position,
            bytes: self.bytes?.unsigned_abs(),
            entries: self.entries?.unsigned_abs(),
        })
    }
}

/// The namespaces in this order, and the time when the statement arrived.
pub(crate) async fn heads(
    connections: &Connections,
    namespaces: &[(AppId, NamespaceName)],
) -> Result<StateHeads, StoreError> {
    let apps: Vec<uuid::Uuid> = namespaces.iter().map(|(app, _)| app.as_uuid()).collect();
    let names: Vec<String> = namespaces.iter().map(|(_, name)| name.to_string()).collect();
    let heads: Vec<HeadRow> = sqlx::query_as(
        "SELECT floor(extract(epoch FROM statement_timestamp()) * 1000)::bigint AS at_ms,
             id, wanted.app, wanted.name, version, commit_id, bytes, entries
         FROM unnest($1::uuid[], $2::text[]) WITH ORDINALITY AS wanted (app, name, number)
         LEFT JOIN kv_namespaces ON kv_namespaces.app = wanted.app AND kv_namespaces.name = wanted.name
             AND deleted_at IS NULL
         ORDER BY number",
    )
    .bind(apps)
    .bind(names)
    .fetch_all(connections)
    .await?;
    let at_ms = heads.first().map_or(0, |head| head.at_ms);
    Ok(StateHeads { at_ms, namespaces: heads.into_iter().map(HeadRow::into_namespace).collect() })
}

/// The namespace and its commits after a version. `None`: no such namespace.
pub(crate) async fn changes_since(
    executor: impl Executor<'_, Database = Postgres>,
    id: NamespaceId,
    version: u64,
) -> Result<Option<StateChanges>, StoreError> {
    let rows: Vec<ChangeRow> = sqlx::query_as(
        "SELECT id, app, name, kv_namespaces.version, kv_namespaces.commit_id, bytes, entries,
             log.version AS to_version, log.commit_id AS to_commit, from_version, from_commit, keys
         FROM kv_namespaces LEFT JOIN (
             SELECT * FROM kv_log WHERE namespace = $1 AND version > $2 ORDER BY version LIMIT $3
         ) AS log ON true
         WHERE id = $1 AND deleted_at IS NULL ORDER BY log.version",
    )
    .bind(id)
    .bind(signed(version))
    .bind(COMMITS_READ_MAX)
    .fetch_all(executor)
    .await?;
    let Some(first) = rows.first() else { return Ok(None) };
    let namespace = first.namespace.clone();
    let commits = rows.into_iter().filter_map(|row| {
        let from = StatePosition { version: row.from_version?.unsigned_abs(), commit: row.from_commit };
        let to = StatePosition { version: row.to_version?.unsigned_abs(), commit: row.to_commit };
        Some(LoggedCommit { from, to, keys: row.keys })
    });
    Ok(Some(StateChanges { commits: commits.collect(), namespace }))
}

/// Whether a commit is in the log. If another one follows after `from`, it is not stored. `None`: the log does not tell.
pub(super) async fn was_stored(
    connection: &mut PgConnection,
    id: NamespaceId,
    from: StatePosition,
    to: StatePosition,
) -> Result<Option<bool>, sqlx::Error> {
    let (is_stored, is_refused): (bool, bool) = sqlx::query_as(
        "SELECT EXISTS (SELECT FROM kv_log WHERE namespace = $1 AND version = $2 AND commit_id = $3),
             EXISTS (SELECT FROM kv_log WHERE namespace = $1 AND from_version = $4 AND from_commit IS NOT DISTINCT FROM $5)
             OR NOT EXISTS (SELECT FROM kv_namespaces WHERE id = $1 AND deleted_at IS NULL)",
    )
    .bind(id)
    .bind(signed(to.version))
    .bind(to.commit)
    .bind(signed(from.version))
    .bind(from.commit)
    .fetch_one(connection)
    .await?;
    Ok((is_stored || is_refused).then_some(is_stored))
}

/// Begins a transaction that has locked a namespace, after those of other nodes that wait for it. `None`: no such
/// namespace.
pub(crate) async fn lock(
    connections: &Connections,
    id: NamespaceId,
) -> Result<Option<Transaction>, StoreError> {
    let mut transaction = transaction::begin_short(connections).await?;
    let locked: Option<NamespaceId> = sqlx::query_scalar(
        "SELECT id FROM kv_namespaces WHERE id = $1 AND deleted_at IS NULL FOR NO KEY UPDATE",
    )
    .bind(id)
    .fetch_optional(&mut *transaction)
    .await?;
    if locked.is_none() {
        transaction.rollback().await;
        return Ok(None);
    }
    Ok(Some(transaction))
}

/// Notifies other nodes of changed namespaces.
pub(crate) async fn notify(connections: &Connections, changed: &[NamespaceId]) -> Result<(), StoreError> {
    let ids: Vec<String> = changed.iter().map(NamespaceId::to_string).collect();
    sqlx::query("SELECT pg_notify($1, $2)").bind(STATE).bind(ids.join(" ")).execute(connections).await?;
    Ok(())
}

/// Deletes what was committed before `before_ms`.
pub(crate) async fn prune(connections: &Connections, before_ms: i64) -> Result<(), StoreError> {
    let prune =
        sqlx::query("DELETE FROM kv_log WHERE at < to_timestamp($1::float8 / 1000)").bind(before_ms as f64);
    prune.execute(connections).await?;
    Ok(())
}
