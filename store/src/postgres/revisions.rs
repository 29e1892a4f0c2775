//! The table `revisions`, and what is live.

use chrono::{DateTime, Utc};

use super::connections::Connections;
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
        "SELECT sdk, subject, author, validated_at FROM revisions
         WHERE repository = (SELECT repository FROM apps WHERE id = $1) AND commit_id = $2",
    )
    .bind(app.as_uuid())
    .bind(commit.as_bytes().as_slice())
    .fetch_optional(connections)
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
    // Most often it is the branch's latest deploy, which comes first in the index: the others are not read then.
    let rows: Vec<(String, String, i64, bool)> = sqlx::query_as(
        "SELECT substr(refs.name, 12), refs.target, latest.number, scheduled_since IS NOT NULL
         FROM apps JOIN refs ON refs.app = apps.id AND refs.name LIKE 'refs/heads/%', LATERAL (
             SELECT number FROM deploys
             WHERE repository = apps.repository AND branch = substr(refs.name, 12)
                 AND commit_id = decode(refs.target, 'hex')
             ORDER BY number DESC LIMIT 1
         ) AS latest
         WHERE apps.id = $1
         ORDER BY refs.name COLLATE \"C\"",
    )
    .bind(app.as_uuid())
    .fetch_all(connections)
    .await?;
    rows.into_iter()
        .map(|(branch, commit, deploy, scheduled)| {
            let commit = hex("refs", &commit)?;
            Ok(LiveBranch { branch, commit, deploy: deploy_number(deploy)?, scheduled })
        })
        .collect()
}
