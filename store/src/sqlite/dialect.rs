//! What SQLite says otherwise than PostgreSQL: each name here has its counterpart in `postgres::dialect`.

use std::ops::Add;

use chrono::{DateTime, Utc};
use manifest_schema::name::AppName;
use uuid::Uuid;

use super::Connection;
use crate::column::Id;
use crate::error::StoreError;
use crate::id::AppId;
use crate::record::Generation;

/// SQLite sorts by bytes anyway.
pub(super) const BY_BYTES: &str = "";

/// The whole file is locked by a transaction.
pub(super) const LOCKED: &str = "";

/// The largest of its arguments, none of which is NULL.
pub(super) const GREATEST: &str = "max";

/// The bytes of the object name that a row of `refs` has in hexadecimal digits.
pub(super) const REF_TARGET: &str = "unhex(refs.target)";

/// The table `deploys`, read by branch. Left to itself, SQLite would read it backwards, through all deploys of other branches.
pub(super) const DEPLOYS_OF_A_BRANCH: &str = "deploys INDEXED BY deploys_of_a_branch";

/// The time of the caller's clock, which is bound as `$1`.
pub(super) const NOW: &str = "$1";

/// Stands before what [`from_now`] binds: a time so long after [`NOW`].
pub(super) const FROM_NOW: &str = "";

pub(super) fn from_now<T>(now: DateTime<Utc>, time: T) -> DateTime<Utc>
where
    DateTime<Utc>: Add<T, Output = DateTime<Utc>>,
{
    now + time
}

/// Follows a column: it is one of those that the query finds.
pub(super) fn among_few(query: &str) -> String {
    format!("IN ({query})")
}

/// Inserts an app, unless there is one of that name. Nobody else does meanwhile, so that the next number of a repository is
/// this one's.
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

/// Raises the generation of an app: what it serves may be another now. There are no other nodes to hear of it.
pub(super) async fn raise_generation(
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

/// SQLite reads in the order of an index where there is one.
pub(super) async fn read_in_order(_tx: &mut Connection) -> Result<(), sqlx::Error> {
    Ok(())
}

/// There are no other nodes to hear of it.
pub(super) async fn notify_name(_: &mut Connection, _: &AppName, _: Option<Uuid>) -> Result<(), sqlx::Error> {
    Ok(())
}

/// The whole file is locked by a transaction.
pub(super) async fn lock_domains(_tx: &mut Connection) -> Result<(), sqlx::Error> {
    Ok(())
}
