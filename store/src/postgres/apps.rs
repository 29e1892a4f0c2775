//! The table `apps`.

use chrono::{DateTime, Utc};
use manifest_schema::name::AppName;
use uuid::Uuid;

use super::connections::{Connection, Connections};
use super::{audit, transaction};
use crate::audit::{Act, Actor, AuditAction};
use crate::error::StoreError;
use crate::id::AppId;
use crate::record::App;
use crate::row;

pub(super) type Row = (Uuid, String, String, DateTime<Utc>, i64, Uuid, bool, i64);

pub(crate) async fn app(connections: &Connections, name: &AppName) -> Result<Option<App>, StoreError> {
    let row: Option<Row> = sqlx::query_as(
        "SELECT id, name, production_branch, created_at, generation, generation_id, protected, secrets_generation FROM apps WHERE name = $1",
    )
    .bind(name.as_str())
    .fetch_optional(connections)
    .await?;
    row.map(read).transpose()
}

pub(crate) async fn apps(connections: &Connections) -> Result<Vec<App>, StoreError> {
    let rows: Vec<Row> = sqlx::query_as(
        "SELECT id, name, production_branch, created_at, generation, generation_id, protected, secrets_generation FROM apps ORDER BY name COLLATE \"C\"",
    )
    .fetch_all(connections)
    .await?;
    rows.into_iter().map(read).collect()
}

/// Whoever else creates the same app is waited for. A number of a repository is only taken where the app is unknown.
pub(super) async fn insert(
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
    .bind(id.as_uuid())
    .bind(name.as_str())
    .bind(at)
    .execute(tx)
    .await?;
    Ok(inserted.rows_affected() == 1)
}

pub(crate) async fn create_app(
    connections: &Connections,
    name: &AppName,
    by: &Actor,
) -> Result<bool, StoreError> {
    let mut transaction = transaction::begin(connections).await?;
    let act = Act::new(by, AuditAction::AppCreate, Some(name), name.as_str());
    let created = insert(&mut transaction, AppId::random(), name, act.at).await?;
    if !created {
        transaction.rollback().await;
        return Ok(false);
    }
    audit::insert(&mut transaction, &act).await?;
    transaction.commit().await?;
    Ok(true)
}

pub(crate) async fn protect_app(
    connections: &Connections,
    app: &App,
    protected: bool,
    by: &Actor,
) -> Result<bool, StoreError> {
    let mut transaction = transaction::begin(connections).await?;
    let changed = sqlx::query("UPDATE apps SET protected = $2 WHERE id = $1 AND protected <> $2")
        .bind(app.id.as_uuid())
        .bind(protected)
        .execute(&mut *transaction)
        .await?;
    if changed.rows_affected() == 0 {
        transaction.rollback().await;
        return Ok(false);
    }
    audit::insert(&mut transaction, &row::protection(&app.name, protected, by)).await?;
    transaction.commit().await?;
    Ok(true)
}

pub(super) fn read(row: Row) -> Result<App, StoreError> {
    let (id, name, production_branch, created_at, number, generation_id, protected, secrets) = row;
    let name = AppName::new(&name)
        .map_err(|error| StoreError::Corrupt { table: "apps", what: error.to_string() })?;
    let generation = row::generation(number, generation_id)?;
    let secrets_generation = row::generation_number(secrets)?;
    Ok(App {
        id: AppId::from_uuid(id),
        name,
        production_branch,
        created_at,
        generation,
        protected,
        secrets_generation,
    })
}

/// Secrets of the app have other values now.
pub(super) async fn raise_secrets(tx: &mut Connection, app: AppId) -> Result<u64, StoreError> {
    let (raised,): (i64,) = sqlx::query_as(
        "UPDATE apps SET secrets_generation = secrets_generation + 1 WHERE id = $1 RETURNING secrets_generation",
    )
    .bind(app.as_uuid())
    .fetch_one(tx)
    .await?;
    row::generation_number(raised)
}
