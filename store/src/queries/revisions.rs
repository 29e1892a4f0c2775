//! The table `revisions`, and live branches.

use super::dialect::{BY_BYTES, DEPLOYS_BY_BRANCH, REF_TARGET};
use super::{Connection, Connections, sql};
use crate::disk;
use crate::error::{PushError, StoreError};
use crate::id::{AppId, DeployNumber, Oid};
use crate::model::{LiveBranch, NewRevision, Revision};
use crate::secret::Environment;
use crate::sql_types::HexOid;

pub(crate) async fn revision(
    connections: &Connections,
    app: AppId,
    commit: Oid,
) -> Result<Option<Revision>, StoreError> {
    let revision = sqlx::query_as(
        "SELECT commit_id, sdk, subject, author, validated_at FROM revisions
         WHERE repository = (SELECT repository FROM apps WHERE id = $1) AND commit_id = $2",
    );
    Ok(revision.bind(app).bind(commit).fetch_optional(connections.reader()).await?)
}

/// Inserts a revision unless it exists. Returns by how many bytes disk usage grows.
pub(super) async fn insert(
    tx: &mut Connection,
    app: AppId,
    revision: &NewRevision,
) -> Result<u64, PushError> {
    let inserted = sqlx::query(
        "INSERT INTO revisions (repository, commit_id, sdk, subject, author, validated_at)
         VALUES ((SELECT repository FROM apps WHERE id = $1), $2, $3, $4, $5, $6)
         ON CONFLICT DO NOTHING",
    )
    .bind(app)
    .bind(revision.commit)
    .bind(&revision.sdk)
    .bind(&revision.subject)
    .bind(&revision.author)
    .bind(revision.validated_at)
    .execute(tx)
    .await?;
    Ok(inserted.rows_affected() * disk::revision(revision))
}

/// A branch with the latest deploy of its commit, which makes it live.
#[derive(sqlx::FromRow)]
struct BranchRow {
    branch: String,
    target: HexOid,
    deploy: Option<DeployNumber>,
    scheduled: bool,
    reads_production: bool,
}

pub(crate) async fn live_branches(
    connections: &Connections,
    app: AppId,
) -> Result<Vec<LiveBranch>, StoreError> {
    // Usually that is the latest deploy of the branch, which is first in the index.
    let rows: Vec<BranchRow> = sqlx::query_as(sql!(
        "SELECT substr(refs.name, 12) AS branch, refs.target, scheduled_since IS NOT NULL AS scheduled,
             (production_secrets OR refs.name = 'refs/heads/' || production_branch) AS reads_production, (
             SELECT number FROM {DEPLOYS_BY_BRANCH}
             WHERE repository = apps.repository AND branch = substr(refs.name, 12) AND commit_id = {REF_TARGET}
             ORDER BY number DESC LIMIT 1
         ) AS deploy
         FROM apps JOIN refs ON refs.app = apps.id AND refs.name LIKE 'refs/heads/%'
         WHERE apps.id = $1
         ORDER BY refs.name {BY_BYTES}"
    ))
    .bind(app)
    .fetch_all(connections.reader())
    .await?;
    let live = rows.into_iter().filter_map(|row| {
        let BranchRow { branch, target, deploy, scheduled, reads_production } = row;
        let environment = if reads_production { Environment::Production } else { Environment::Preview };
        Some(LiveBranch { branch, commit: target.0, deploy: deploy?, scheduled, environment })
    });
    Ok(live.collect())
}

/// The number of live branches except production.
pub(super) async fn count_previews(tx: &mut Connection, app: AppId) -> Result<usize, StoreError> {
    let previews: i64 = sqlx::query_scalar(sql!(
        "SELECT count(*) FROM apps JOIN refs ON refs.app = apps.id AND refs.name LIKE 'refs/heads/%'
         WHERE apps.id = $1 AND refs.name <> 'refs/heads/' || production_branch AND EXISTS (
             SELECT 1 FROM {DEPLOYS_BY_BRANCH}
             WHERE repository = apps.repository AND branch = substr(refs.name, 12) AND commit_id = {REF_TARGET}
         )"
    ))
    .bind(app)
    .fetch_one(tx)
    .await?;
    Ok(usize::try_from(previews).unwrap_or_default())
}
