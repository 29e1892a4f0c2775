//! The table `apps`.

use chrono::{DateTime, Utc};
use manifest_schema::name::AppName;
use sqlx::SqliteConnection;

use super::{Connections, audit};
use crate::audit::{Act, Actor, AuditAction};
use crate::error::StoreError;
use crate::id::AppId;
use crate::record::App;
use crate::row;

pub(super) type Row = (String, String, String, DateTime<Utc>, i64, String, bool, i64);

pub(crate) async fn app(connections: &Connections, name: &AppName) -> Result<Option<App>, StoreError> {
    let row: Option<Row> = sqlx::query_as(
        "SELECT id, name, production_branch, created_at, generation, generation_id, protected, secrets_generation FROM apps WHERE name = ?1",
    )
    .bind(name.as_str())
    .fetch_optional(&connections.read)
    .await?;
    row.map(read).transpose()
}

pub(crate) async fn apps(connections: &Connections) -> Result<Vec<App>, StoreError> {
    let rows: Vec<Row> = sqlx::query_as(
        "SELECT id, name, production_branch, created_at, generation, generation_id, protected, secrets_generation FROM apps ORDER BY name",
    )
    .fetch_all(&connections.read)
    .await?;
    rows.into_iter().map(read).collect()
}

/// Nobody else creates one meanwhile, so that the next number of a repository is this one's.
pub(super) async fn insert(
    tx: &mut SqliteConnection,
    id: AppId,
    name: &AppName,
    at: DateTime<Utc>,
) -> Result<bool, sqlx::Error> {
    let inserted = sqlx::query(
        "INSERT INTO apps (id, name, production_branch, created_at, repository)
         SELECT ?1, ?2, 'main', ?3, coalesce(max(repository), 0) + 1 FROM apps WHERE true
         ON CONFLICT (name) DO NOTHING",
    )
    .bind(key(id))
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
    let mut transaction = connections.write.begin().await?;
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
    let mut transaction = connections.write.begin().await?;
    let changed = sqlx::query("UPDATE apps SET protected = ?2 WHERE id = ?1 AND protected <> ?2")
        .bind(key(app.id))
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
    let corrupt = |what: String| StoreError::Corrupt { table: "apps", what };
    let name = AppName::new(&name).map_err(|error| corrupt(error.to_string()))?;
    let generation_id = generation_id.parse().map_err(|_| corrupt(format!("generation {generation_id}")))?;
    let generation = row::generation(number, generation_id)?;
    let secrets_generation = row::generation_number(secrets)?;
    Ok(App {
        id: self::id("apps", &id)?,
        name,
        production_branch,
        created_at,
        generation,
        protected,
        secrets_generation,
    })
}

/// The app that a row of `table` names.
pub(super) fn id(table: &'static str, id: &str) -> Result<AppId, StoreError> {
    id.parse().map(AppId::from_uuid).map_err(|_| StoreError::Corrupt { table, what: format!("app {id}") })
}

/// An app's id as rows have it.
pub(super) fn key(app: AppId) -> String {
    app.as_uuid().to_string()
}

/// Secrets of the app have other values now.
pub(super) async fn raise_secrets(tx: &mut SqliteConnection, app: AppId) -> Result<u64, StoreError> {
    let (raised,): (i64,) = sqlx::query_as(
        "UPDATE apps SET secrets_generation = secrets_generation + 1 WHERE id = ?1 RETURNING secrets_generation",
    )
    .bind(key(app))
    .fetch_one(tx)
    .await?;
    row::generation_number(raised)
}
