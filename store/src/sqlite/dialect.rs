//! SQL of SQLite that differs from PostgreSQL: each item has a counterpart in `postgres::dialect`.

use std::ops::Add;

use chrono::{DateTime, Utc};
use manifest_schema::name::AppName;
use uuid::Uuid;

use super::Connection;
use crate::error::StoreError;
use crate::id::AppId;
use crate::model::Generation;
use crate::sql_types::Id;

/// SQLite sorts by bytes.
pub(super) const BY_BYTES: &str = "";

/// A write transaction locks the whole file.
pub(super) const FOR_UPDATE: &str = "";

/// The maximum of arguments that are not NULL.
pub(super) const GREATEST: &str = "max";

/// The bytes of the hexadecimal object name in a row of `refs`.
pub(super) const REF_TARGET: &str = "unhex(refs.target)";

/// The table `deploys`, read by branch. Without the hint, SQLite would scan all deploys backwards.
pub(super) const DEPLOYS_BY_BRANCH: &str = "deploys INDEXED BY deploys_branch_idx";

/// The clock of the caller, bound as `$1`.
pub(super) const NOW: &str = "$1";

/// Precedes the value of [`from_now`]: a time that long after [`NOW`].
pub(super) const FROM_NOW: &str = "";

pub(super) fn from_now<T>(now: DateTime<Utc>, time: T) -> DateTime<Utc>
where
    DateTime<Utc>: Add<T, Output = DateTime<Utc>>,
{
    now + time
}

/// A condition for a column to be in the result of a query.
pub(super) fn in_query(query: &str) -> String {
    format!("IN ({query})")
}

/// Inserts an app unless the name exists. The transaction is the only writer, so that the next repository number is
/// free.
pub(super) async fn insert_app(
    tx: &mut Connection,
    id: AppId,
    name: &AppName,
    at: DateTime<Utc>,
) -> Result<bool, sqlx::Error> {
    let inserted = sqlx::query(
        "INSERT INTO apps (id, name, production_branch, created_at, repository)
         SELECT $1, $2, 'main', $3, coalesce(max(repository), 0) + 1 FROM apps WHERE true
         ON CONFLICT (name) DO NOTHING",
    )
    .bind(id)
    .bind(name.as_str())
    .bind(at)
    .execute(tx)
    .await?;
    Ok(inserted.rows_affected() == 1)
}

/// Increments the generation of an app. There are no other nodes to notify.
pub(super) async fn increment_generation(
    tx: &mut Connection,
    app: AppId,
    _node: Option<Uuid>,
) -> Result<Generation, StoreError> {
    let raised = sqlx::query_as(
        "UPDATE apps SET generation = generation + 1, generation_id = $2 WHERE id = $1 RETURNING generation, generation_id",
    )
    .bind(app)
    .bind(Id(Uuid::new_v4()))
    .fetch_one(tx)
    .await?;
    Ok(raised)
}

/// SQLite reads in index order by itself.
pub(super) async fn prefer_index_order(_tx: &mut Connection) -> Result<(), sqlx::Error> {
    Ok(())
}

/// There are no other nodes to notify.
pub(super) async fn notify_name(_: &mut Connection, _: &AppName, _: Option<Uuid>) -> Result<(), sqlx::Error> {
    Ok(())
}

/// A write transaction locks the whole file.
pub(super) async fn lock_domains(_tx: &mut Connection) -> Result<(), sqlx::Error> {
    Ok(())
}
