//! The table `apps`.

use chrono::{DateTime, Utc};
use manifest_schema::name::AppName;
use sqlx::PgPool;
use uuid::Uuid;

use crate::error::StoreError;
use crate::id::AppId;
use crate::record::App;
use crate::row;

pub(super) type Row = (Uuid, String, String, DateTime<Utc>, i64);

pub(crate) async fn app(pool: &PgPool, name: &AppName) -> Result<Option<App>, StoreError> {
    let row: Option<Row> = sqlx::query_as(
        "SELECT id, name, production_branch, created_at, generation FROM apps WHERE name = $1",
    )
    .bind(name.as_str())
    .fetch_optional(pool)
    .await?;
    row.map(read).transpose()
}

pub(crate) async fn apps(pool: &PgPool) -> Result<Vec<App>, StoreError> {
    let rows: Vec<Row> = sqlx::query_as(
        "SELECT id, name, production_branch, created_at, generation FROM apps ORDER BY name COLLATE \"C\"",
    )
    .fetch_all(pool)
    .await?;
    rows.into_iter().map(read).collect()
}

pub(super) fn read((id, name, production_branch, created_at, generation): Row) -> Result<App, StoreError> {
    let name = AppName::new(&name)
        .map_err(|error| StoreError::Corrupt { table: "apps", what: error.to_string() })?;
    let generation = row::generation(generation)?;
    Ok(App { id: AppId::from_uuid(id), name, production_branch, created_at, generation })
}
