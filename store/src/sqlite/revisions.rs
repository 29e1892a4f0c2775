//! The table `revisions`, and what is live.

use chrono::{DateTime, Utc};

use super::Connections;
use super::apps::key;
use crate::error::StoreError;
use crate::id::{AppId, Oid};
use crate::record::{LiveBranch, Revision};
use crate::row::{deploy_number, hex};

pub(crate) async fn revision(
    connections: &Connections,
    app: AppId,
    commit: Oid,
) -> Result<Option<Revision>, StoreError> {
    let row: Option<(String, String, String, DateTime<Utc>)> = sqlx::query_as(
        "SELECT sdk, subject, author, validated_at FROM revisions WHERE app = ?1 AND commit_id = ?2",
    )
    .bind(key(app))
    .bind(commit.to_string())
    .fetch_optional(&connections.read)
    .await?;
    Ok(row.map(|(sdk, subject, author, validated_at)| Revision {
        commit,
        sdk,
        subject,
        author,
        validated_at,
    }))
}

pub(crate) async fn live_of(connections: &Connections, app: AppId) -> Result<Vec<LiveBranch>, StoreError> {
    let rows: Vec<(String, String, i64)> = sqlx::query_as(
        "SELECT branch.name, branch.target, max(deploys.number)
         FROM (SELECT app, substr(name, 12) AS name, target FROM refs WHERE name LIKE 'refs/heads/%') AS branch
         JOIN deploys ON deploys.app = branch.app AND deploys.branch = branch.name AND deploys.commit_id = branch.target
         WHERE branch.app = ?1
         GROUP BY branch.name, branch.target
         ORDER BY branch.name",
    )
    .bind(key(app))
    .fetch_all(&connections.read)
    .await?;
    rows.into_iter()
        .map(|(branch, commit, deploy)| {
            Ok(LiveBranch { branch, commit: hex("refs", &commit)?, deploy: deploy_number(deploy)? })
        })
        .collect()
}
