//! The tables `revisions` and `scripts`, and what is live.

use chrono::{DateTime, Utc};
use manifest_schema::name::ScriptPath;
use sqlx::PgPool;

use crate::error::StoreError;
use crate::id::{AppId, Oid};
use crate::record::{LiveBranch, Revision, Script};
use crate::row::{deploy_number, hex};

pub(crate) async fn revision(pool: &PgPool, app: AppId, commit: Oid) -> Result<Option<Revision>, StoreError> {
    let row: Option<(String, String, String, String, DateTime<Utc>)> = sqlx::query_as(
        "SELECT sdk, subject, author, manifest, validated_at FROM revisions WHERE app = $1 AND commit_id = $2",
    )
    .bind(app.as_uuid())
    .bind(commit.to_string())
    .fetch_optional(pool)
    .await?;
    let Some((sdk, subject, author, manifest, validated_at)) = row else { return Ok(None) };
    let scripts = scripts(pool, app, commit).await?;
    Ok(Some(Revision { commit, sdk, subject, author, manifest, scripts, validated_at }))
}

async fn scripts(pool: &PgPool, app: AppId, commit: Oid) -> Result<Vec<Script>, StoreError> {
    let rows: Vec<(String, String)> = sqlx::query_as(
        "SELECT path, source FROM scripts WHERE app = $1 AND commit_id = $2 ORDER BY path COLLATE \"C\"",
    )
    .bind(app.as_uuid())
    .bind(commit.to_string())
    .fetch_all(pool)
    .await?;
    rows.into_iter()
        .map(|(path, source)| {
            let path = ScriptPath::new(&path)
                .map_err(|error| StoreError::Corrupt { table: "scripts", what: error.to_string() })?;
            Ok(Script { path, source })
        })
        .collect()
}

pub(crate) async fn live_of(pool: &PgPool, app: AppId) -> Result<Vec<LiveBranch>, StoreError> {
    let rows: Vec<(String, String, i64)> = sqlx::query_as(
        "SELECT branch.name, branch.target, max(deploys.number)
         FROM (SELECT app, substr(name, 12) AS name, target FROM refs WHERE name LIKE 'refs/heads/%') AS branch
         JOIN deploys ON deploys.app = branch.app AND deploys.branch = branch.name AND deploys.commit_id = branch.target
         WHERE branch.app = $1
         GROUP BY branch.name, branch.target
         ORDER BY branch.name COLLATE \"C\"",
    )
    .bind(app.as_uuid())
    .fetch_all(pool)
    .await?;
    rows.into_iter()
        .map(|(branch, commit, deploy)| {
            Ok(LiveBranch { branch, commit: hex("refs", &commit)?, deploy: deploy_number(deploy)? })
        })
        .collect()
}
