//! The table `apps`.

use chrono::{DateTime, Utc};
use manifest_schema::name::AppName;

use super::Connections;
use crate::error::StoreError;
use crate::id::AppId;
use crate::record::App;
use crate::row;

pub(super) type Row = (String, String, String, DateTime<Utc>, i64);

pub(crate) async fn app(connections: &Connections, name: &AppName) -> Result<Option<App>, StoreError> {
    let row: Option<Row> = sqlx::query_as(
        "SELECT id, name, production_branch, created_at, generation FROM apps WHERE name = ?1",
    )
    .bind(name.as_str())
    .fetch_optional(&connections.read)
    .await?;
    row.map(read).transpose()
}

pub(crate) async fn apps(connections: &Connections) -> Result<Vec<App>, StoreError> {
    let rows: Vec<Row> =
        sqlx::query_as("SELECT id, name, production_branch, created_at, generation FROM apps ORDER BY name")
            .fetch_all(&connections.read)
            .await?;
    rows.into_iter().map(read).collect()
}

pub(super) fn read((id, name, production_branch, created_at, generation): Row) -> Result<App, StoreError> {
    let corrupt = |what: String| StoreError::Corrupt { table: "apps", what };
    let name = AppName::new(&name).map_err(|error| corrupt(error.to_string()))?;
    let generation = row::generation(generation)?;
    Ok(App { id: self::id("apps", &id)?, name, production_branch, created_at, generation })
}

/// The app that a row of `table` names.
pub(super) fn id(table: &'static str, id: &str) -> Result<AppId, StoreError> {
    id.parse().map(AppId::from_uuid).map_err(|_| StoreError::Corrupt { table, what: format!("app {id}") })
}

/// An app's id as rows have it.
pub(super) fn key(app: AppId) -> String {
    app.as_uuid().to_string()
}
