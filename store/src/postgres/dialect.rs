//! SQL of PostgreSQL that differs from SQLite: each item has a counterpart in `sqlite::dialect`.

use chrono::{DateTime, Utc};
use manifest_schema::name::AppName;
use uuid::Uuid;

use super::connections::Connection;
use super::nodes::APPS;
use crate::error::StoreError;
use crate::id::AppId;
use crate::model::Generation;

/// Sorts by bytes, independent of the locale of the database.
pub(super) const BY_BYTES: &str = "COLLATE \"C\"";

/// Locks the row against changes until the transaction ends. Foreign keys can still refer to it.
pub(super) const FOR_UPDATE: &str = "FOR NO KEY UPDATE";

/// The maximum of arguments that are not NULL.
pub(super) const GREATEST: &str = "greatest";

/// The bytes of the hexadecimal object name in a row of `refs`.
pub(super) const REF_TARGET: &str = "decode(refs.target, 'hex')";

/// The table `deploys`, read by branch.
pub(super) const DEPLOYS_BY_BRANCH: &str = "deploys";

/// The database clock. The clock of the caller is bound as `$1` for SQLite, which has none.
pub(super) const NOW: &str = "clock_timestamp()";

/// Precedes the value of [`from_now`]: a time that long after [`NOW`].
pub(super) const FROM_NOW: &str = "clock_timestamp() +";

pub(super) fn from_now<T>(_now: DateTime<Utc>, time: T) -> T {
    time
}

/// A condition for a column to be in the result of a query with few rows. For `IN`, PostgreSQL would prefer a
/// sequential scan.
pub(super) fn in_query(query: &str) -> String {
    format!("= ANY (ARRAY({query}))")
}

/// Inserts an app unless the name exists, after waiting for concurrent inserts of it. No repository number is used up
/// if it exists.
pub(super) async fn insert_app(
    tx: &mut Connection,
    id: AppId,
    name: &AppName,
    at: DateTime<Utc>,
) -> Result<bool, sqlx::Error> {
    let inserted = sqlx::query(
        "INSERT INTO apps (id, name, production_branch, created_at)
         SELECT $1, $2, 'main', $3 WHERE NOT EXISTS (SELECT FROM apps WHERE name = $2)
         ON CONFLICT (name) DO NOTHING",
    )
    .bind(id)
    .bind(name.as_str())
    .bind(at)
    .execute(tx)
    .await?;
    Ok(inserted.rows_affected() == 1)
}

/// Increments the generation of an app. Other nodes are notified on commit.
pub(super) async fn increment_generation(
    tx: &mut Connection,
    app: AppId,
    node: Option<Uuid>,
) -> Result<Generation, StoreError> {
    let raised = sqlx::query_as(
        "UPDATE apps SET generation = generation + 1, generation_id = $4 WHERE id = $1
         RETURNING generation, generation_id, pg_notify($2, concat_ws(' ', name, $3::text))::text",
    )
    .bind(app)
    .bind(APPS)
    .bind(node.map(|node| node.to_string()))
    .bind(Uuid::new_v4())
    .fetch_one(tx)
    .await?;
    Ok(raised)
}

/// Makes later queries of the transaction read the first rows in index order. Without statistics, PostgreSQL would
/// use a bitmap scan and sort everything.
pub(super) async fn prefer_index_order(tx: &mut Connection) -> Result<(), sqlx::Error> {
    sqlx::query("SET LOCAL enable_bitmapscan = off").execute(tx).await?;
    Ok(())
}

/// Notifies other nodes that an app no longer has this name.
pub(super) async fn notify_name(
    tx: &mut Connection,
    name: &AppName,
    node: Option<Uuid>,
) -> Result<(), sqlx::Error> {
    sqlx::query("SELECT pg_notify($1, concat_ws(' ', $2, $3::text))")
        .bind(APPS)
        .bind(name.as_str())
        .bind(node.map(|node| node.to_string()))
        .execute(tx)
        .await?;
    Ok(())
}

/// Serializes changes of domains: two apps that exchange theirs would deadlock.
pub(super) async fn lock_domains(tx: &mut Connection) -> Result<(), sqlx::Error> {
    const CHANGING: i64 = 0x7069_636c_6f75_6401;
    sqlx::query("SELECT pg_advisory_xact_lock($1)").bind(CHANGING).execute(tx).await?;
    Ok(())
}
