//! The table `deploys`.

use chrono::{DateTime, Utc};

use super::dialect::DEPLOYS_BY_BRANCH;
use super::{Connection, Connections, sql};
use crate::disk;
use crate::error::StoreError;
use crate::id::{AppId, DeployNumber, Oid};
use crate::model::{Deploy, DeployFilter, ListedDeploy, NewDeploy};
use crate::sql_types::signed;

/// The columns of [`Deploy`].
const DEPLOY: &str = "number, branch, commit_id, deployed_at, deployed_by, cause, message";

pub(crate) async fn deploys(connections: &Connections, app: AppId) -> Result<Vec<Deploy>, StoreError> {
    let deploys = sqlx::query_as(sql!(
        "SELECT {DEPLOY} FROM deploys
         WHERE repository = (SELECT repository FROM apps WHERE id = $1) ORDER BY number"
    ));
    Ok(deploys.bind(app).fetch_all(connections.reader()).await?)
}

pub(crate) async fn latest_deploys(
    connections: &Connections,
    app: AppId,
    filter: &DeployFilter,
    limit: u32,
) -> Result<Vec<ListedDeploy>, StoreError> {
    // Separate conditions, so that the index on branches is used.
    let branch = if filter.branch.is_some() { "branch = $3" } else { "$3 IS NULL" };
    let deploys = sqlx::query_as(sql!(
        "SELECT {DEPLOY}, subject, author FROM deploys JOIN revisions USING (repository, commit_id)
         WHERE repository = (SELECT repository FROM apps WHERE id = $1) AND number < $2 AND {branch}
         ORDER BY number DESC LIMIT $4"
    ))
    .bind(app)
    .bind(filter.before.map_or(i64::MAX, |before| signed(before.get())))
    .bind(&filter.branch)
    .bind(i64::from(limit))
    .fetch_all(connections.reader())
    .await?;
    Ok(deploys)
}

pub(crate) async fn deployed_at(
    connections: &Connections,
    app: AppId,
    number: DeployNumber,
) -> Result<Option<DateTime<Utc>>, StoreError> {
    let at = sqlx::query_scalar(
        "SELECT deployed_at FROM deploys
         WHERE repository = (SELECT repository FROM apps WHERE id = $1) AND number = $2",
    );
    Ok(at.bind(app).bind(number).fetch_optional(connections.reader()).await?)
}

/// The deploy before the first deploy of `commit` on the branch.
pub(crate) async fn deploy_before(
    connections: &Connections,
    app: AppId,
    branch: &str,
    commit: Oid,
) -> Result<Option<DeployNumber>, StoreError> {
    let number = sqlx::query_scalar(
        "WITH of_app AS (SELECT repository FROM apps WHERE id = $1)
         SELECT number FROM deploys
         WHERE repository = (SELECT repository FROM of_app) AND branch = $2
             AND number < (SELECT min(number) FROM deploys
                           WHERE repository = (SELECT repository FROM of_app) AND branch = $2 AND commit_id = $3)
         ORDER BY number DESC LIMIT 1",
    )
    .bind(app)
    .bind(branch)
    .bind(commit)
    .fetch_optional(connections.reader())
    .await?;
    Ok(number)
}

/// The latest deploy of a branch.
pub(super) async fn latest(
    tx: &mut Connection,
    app: AppId,
    branch: &str,
) -> Result<Option<Deploy>, StoreError> {
    let deploy = sqlx::query_as(sql!(
        "SELECT {DEPLOY} FROM {DEPLOYS_BY_BRANCH}
         WHERE repository = (SELECT repository FROM apps WHERE id = $1) AND branch = $2
         ORDER BY number DESC LIMIT 1"
    ));
    Ok(deploy.bind(app).bind(branch).fetch_optional(tx).await?)
}

/// Whether an existing deploy of the branch has this commit.
pub(super) async fn was_deployed(
    tx: &mut Connection,
    app: AppId,
    branch: &str,
    commit: Oid,
) -> Result<bool, StoreError> {
    let found: Option<DeployNumber> = sqlx::query_scalar(sql!(
        "SELECT number FROM {DEPLOYS_BY_BRANCH}
         WHERE repository = (SELECT repository FROM apps WHERE id = $1) AND branch = $2 AND commit_id = $3
         ORDER BY number DESC LIMIT 1"
    ))
    .bind(app)
    .bind(branch)
    .bind(commit)
    .fetch_optional(tx)
    .await?;
    Ok(found.is_some())
}

/// Inserts a deploy with the next number.
pub(super) async fn insert(
    tx: &mut Connection,
    app: AppId,
    deploy: &NewDeploy,
    (at, by): (DateTime<Utc>, &str),
    (cause, message): (Option<&str>, Option<&str>),
) -> Result<DeployNumber, StoreError> {
    let (repository, number): (i32, DeployNumber) = sqlx::query_as(
        "UPDATE apps SET last_deploy = last_deploy + 1, disk_bytes = disk_bytes + $2 WHERE id = $1
         RETURNING repository, last_deploy",
    )
    .bind(app)
    .bind(signed(disk::deploy(&deploy.branch, by, cause, message)))
    .fetch_one(&mut *tx)
    .await?;
    sqlx::query(sql!("INSERT INTO deploys (repository, {DEPLOY}) VALUES ($1, $2, $3, $4, $5, $6, $7, $8)"))
        .bind(repository)
        .bind(number)
        .bind(&deploy.branch)
        .bind(deploy.commit)
        .bind(at)
        .bind(by)
        .bind(cause)
        .bind(message)
        .execute(tx)
        .await?;
    Ok(number)
}
