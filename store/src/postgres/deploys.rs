//! The table `deploys`.

use chrono::{DateTime, Utc};
use sqlx::{PgConnection, PgPool};

use crate::error::StoreError;
use crate::id::{AppId, DeployNumber};
use crate::record::Deploy;
use crate::row::{deploy_number, key, signed};

type Row = (i64, String, Vec<u8>, DateTime<Utc>, String);

pub(crate) async fn deploys(pool: &PgPool, app: AppId) -> Result<Vec<Deploy>, StoreError> {
    let rows: Vec<Row> = sqlx::query_as(
        "SELECT number, branch, commit_id, deployed_at, deployed_by FROM deploys
         WHERE repository = (SELECT repository FROM apps WHERE id = $1) ORDER BY number",
    )
    .bind(app.as_uuid())
    .fetch_all(pool)
    .await?;
    rows.into_iter().map(read).collect()
}

pub(crate) async fn deployed_at(
    pool: &PgPool,
    app: AppId,
    number: DeployNumber,
) -> Result<Option<DateTime<Utc>>, StoreError> {
    let row: Option<(DateTime<Utc>,)> = sqlx::query_as(
        "SELECT deployed_at FROM deploys
         WHERE repository = (SELECT repository FROM apps WHERE id = $1) AND number = $2",
    )
    .bind(app.as_uuid())
    .bind(signed(number.get()))
    .fetch_optional(pool)
    .await?;
    Ok(row.map(|(at,)| at))
}

/// The latest deploy of a branch, within a transaction.
pub(super) async fn latest(
    connection: &mut PgConnection,
    app: AppId,
    branch: &str,
) -> Result<Option<Deploy>, StoreError> {
    let row: Option<Row> = sqlx::query_as(
        "SELECT number, branch, commit_id, deployed_at, deployed_by FROM deploys
         WHERE repository = (SELECT repository FROM apps WHERE id = $1) AND branch = $2
         ORDER BY number DESC LIMIT 1",
    )
    .bind(app.as_uuid())
    .bind(branch)
    .fetch_optional(connection)
    .await?;
    row.map(read).transpose()
}

fn read((number, branch, commit, at, by): Row) -> Result<Deploy, StoreError> {
    Ok(Deploy { number: deploy_number(number)?, branch, commit: key("deploys", &commit)?, at, by })
}
