//! What PostgreSQL says otherwise than SQLite: each name here has its counterpart in `sqlite::dialect`.

use chrono::{DateTime, Utc};
use manifest_schema::name::AppName;
use uuid::Uuid;

use super::connections::Connection;
use super::nodes::APPS;
use crate::error::StoreError;
use crate::id::AppId;
use crate::record::Generation;

/// Sorts by bytes, whatever language the database sorts by.
pub(super) const BY_BYTES: &str = "COLLATE \"C\"";

/// Keeps others from changing the row until the transaction ends. They can still refer to it.
pub(super) const LOCKED: &str = "FOR NO KEY UPDATE";

/// The largest of its arguments, none of which is NULL.
pub(super) const GREATEST: &str = "greatest";

/// The bytes of the object name that a row of `refs` has in hexadecimal digits.
pub(super) const REF_TARGET: &str = "decode(refs.target, 'hex')";

/// The table `deploys`, read by branch.
pub(super) const DEPLOYS_OF_A_BRANCH: &str = "deploys";

/// The time of the database's clock. The caller's is bound as `$1` for SQLite, which has none.
pub(super) const NOW: &str = "clock_timestamp()";

/// Stands before what [`from_now`] binds: a time so long after [`NOW`].
pub(super) const FROM_NOW: &str = "clock_timestamp() +";

pub(super) fn from_now<T>(_now: DateTime<Utc>, time: T) -> T {
    time
}

/// Follows a column: it is one of those that the query finds. They are few, so that each is looked up; for `IN`, PostgreSQL
/// would rather read the whole table.
pub(super) fn among_few(query: &str) -> String {
    format!("= ANY (ARRAY({query}))")
}

/// Inserts an app, unless there is one of that name. Another transaction that does the same is waited for. A number of a
/// repository is only taken where the app is unknown.
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

/// Raises the generation of an app: what it serves may be another now. Other nodes hear of it when this is committed, and not
/// before.
pub(super) async fn raise_generation(
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

/// Has what follows in the transaction read the first rows in the order of an index. Where it does not know how many there are, PostgreSQL
/// would gather all of them and sort them.
pub(super) async fn read_in_order(tx: &mut Connection) -> Result<(), sqlx::Error> {
    sqlx::query("SET LOCAL enable_bitmapscan = off").execute(tx).await?;
    Ok(())
}

/// Other nodes hear that nothing is left under a name that an app had.
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

/// Has whoever changes domains wait for one another: two apps that give each other theirs would do so for ever.
pub(super) async fn lock_domains(tx: &mut Connection) -> Result<(), sqlx::Error> {
    const CHANGING: i64 = 0x7069_636c_6f75_6401;
    sqlx::query("SELECT pg_advisory_xact_lock($1)").bind(CHANGING).execute(tx).await?;
    Ok(())
}
