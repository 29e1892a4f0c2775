//! The table `deploys`.

use chrono::{DateTime, Utc};
use sqlx::AssertSqlSafe;

use super::connections::{Connection, Connections};
use crate::error::StoreError;
use crate::id::{AppId, DeployNumber, Oid};
use crate::record::{Deploy, DeployFilter, ListedDeploy};
use crate::row::{deploy_number, key, signed};

type Row = (i64, String, Vec<u8>, DateTime<Utc>, String, Option<String>, Option<String>);
type ListedRow =
    (i64, String, Vec<u8>, DateTime<Utc>, String, Option<String>, Option<String>, String, String);

pub(crate) async fn deploys(connections: &Connections, app: AppId) -> Result<Vec<Deploy>, StoreError> {
    let rows: Vec<Row> = sqlx::query_as(
        "SELECT number, branch, commit_id, deployed_at, deployed_by, because, message FROM deploys
         WHERE repository = (SELECT repository FROM apps WHERE id = $1) ORDER BY number",
    )
    .bind(app.as_uuid())
    .fetch_all(connections)
    .await?;
    rows.into_iter().map(read).collect()
}

pub(crate) async fn latest_deploys(
    connections: &Connections,
    app: AppId,
    filter: &DeployFilter,
    limit: u32,
) -> Result<Vec<ListedDeploy>, StoreError> {
    // Said apart, so that the index of a branch is used where one is asked for.
    let branch = if filter.branch.is_some() { "branch = $3" } else { "$3::text IS NULL" };
    let rows: Vec<ListedRow> = sqlx::query_as(AssertSqlSafe(format!(
        "SELECT number, branch, commit_id, deployed_at, deployed_by, because, message, subject, author
         FROM deploys JOIN revisions USING (repository, commit_id)
         WHERE repository = (SELECT repository FROM apps WHERE id = $1) AND number < $2 AND {branch}
         ORDER BY number DESC LIMIT $4"
    )))
    .bind(app.as_uuid())
    .bind(filter.before.map_or(i64::MAX, |before| signed(before.get())))
    .bind(&filter.branch)
    .bind(i64::from(limit))
    .fetch_all(connections)
    .await?;
    let listed = |(number, branch, commit, at, by, because, message, subject, author): ListedRow| {
        Ok(ListedDeploy {
            deploy: read((number, branch, commit, at, by, because, message))?,
            subject,
            author,
        })
    };
    rows.into_iter().map(listed).collect()
}

pub(crate) async fn deployed_at(
    connections: &Connections,
    app: AppId,
    number: DeployNumber,
) -> Result<Option<DateTime<Utc>>, StoreError> {
    let row: Option<(DateTime<Utc>,)> = sqlx::query_as(
        "SELECT deployed_at FROM deploys
         WHERE repository = (SELECT repository FROM apps WHERE id = $1) AND number = $2",
    )
    .bind(app.as_uuid())
    .bind(signed(number.get()))
    .fetch_optional(connections)
    .await?;
    Ok(row.map(|(at,)| at))
}

/// The deploy before the first one that made `commit` live on the branch.
pub(crate) async fn deploy_before(
    connections: &Connections,
    app: AppId,
    branch: &str,
    commit: Oid,
) -> Result<Option<DeployNumber>, StoreError> {
    let row: Option<(i64,)> = sqlx::query_as(
        "WITH of_app AS (SELECT repository FROM apps WHERE id = $1)
         SELECT number FROM deploys
         WHERE repository = (SELECT repository FROM of_app) AND branch = $2
             AND number < (SELECT min(number) FROM deploys
                           WHERE repository = (SELECT repository FROM of_app) AND branch = $2 AND commit_id = $3)
         ORDER BY number DESC LIMIT 1",
    )
    .bind(app.as_uuid())
    .bind(branch)
    .bind(commit.as_bytes().as_slice())
    .fetch_optional(connections)
    .await?;
    row.map(|(number,)| deploy_number(number)).transpose()
}

/// The latest deploy of a branch, within a transaction.
pub(super) async fn latest(
    connection: &mut Connection,
    app: AppId,
    branch: &str,
) -> Result<Option<Deploy>, StoreError> {
    let row: Option<Row> = sqlx::query_as(
        "SELECT number, branch, commit_id, deployed_at, deployed_by, because, message FROM deploys
         WHERE repository = (SELECT repository FROM apps WHERE id = $1) AND branch = $2
         ORDER BY number DESC LIMIT 1",
    )
    .bind(app.as_uuid())
    .bind(branch)
    .fetch_optional(connection)
    .await?;
    row.map(read).transpose()
}

fn read((number, branch, commit, at, by, because, message): Row) -> Result<Deploy, StoreError> {
    let (number, commit) = (deploy_number(number)?, key("deploys", &commit)?);
    Ok(Deploy { number, branch, commit, at, by, because, message })
}
