//! The tables `refs` and `shallow`.

use super::dialect::BY_BYTES;
use super::{Connection, Connections, deploys, sql};
use crate::disk;
use crate::error::{PushError, StoreError};
use crate::id::{AppId, Oid};
use crate::model::{NewDeploy, Ref, RefChange, branch_of};
use crate::sql_types::HexOid;

pub(crate) async fn refs(connections: &Connections, app: AppId) -> Result<Vec<Ref>, StoreError> {
    let refs = sqlx::query_as(sql!("SELECT name, target FROM refs WHERE app = $1 ORDER BY name {BY_BYTES}"));
    Ok(refs.bind(app).fetch_all(connections.reader()).await?)
}

pub(crate) async fn shallow(connections: &Connections, app: AppId) -> Result<Vec<Oid>, StoreError> {
    let oids: Vec<HexOid> = sqlx::query_scalar("SELECT oid FROM shallow WHERE app = $1 ORDER BY oid")
        .bind(app)
        .fetch_all(connections.reader())
        .await?;
    Ok(oids.into_iter().map(Oid::from).collect())
}

/// Inserts shallow commits that are missing. Returns by how many bytes disk usage grows.
pub(super) async fn insert_shallow(
    tx: &mut Connection,
    app: AppId,
    commits: &[Oid],
) -> Result<u64, PushError> {
    let mut inserted = 0;
    for commit in commits {
        let done = sqlx::query("INSERT INTO shallow (app, oid) VALUES ($1, $2) ON CONFLICT DO NOTHING")
            .bind(app)
            .bind(HexOid(*commit))
            .execute(&mut *tx)
            .await?;
        inserted += done.rows_affected();
    }
    Ok(inserted * disk::shallow())
}

/// Deletes shallow commits. Returns by how many bytes disk usage shrinks.
pub(super) async fn delete_shallow(
    tx: &mut Connection,
    app: AppId,
    commits: &[Oid],
) -> Result<u64, StoreError> {
    let mut deleted = 0;
    for commit in commits {
        let done = sqlx::query("DELETE FROM shallow WHERE app = $1 AND oid = $2")
            .bind(app)
            .bind(HexOid(*commit))
            .execute(&mut *tx)
            .await?;
        deleted += done.rows_affected();
    }
    Ok(deleted * disk::shallow())
}

/// Compares and swaps a ref.
pub(super) async fn move_ref(tx: &mut Connection, app: AppId, change: &RefChange) -> Result<(), PushError> {
    let found: Option<HexOid> = sqlx::query_scalar("SELECT target FROM refs WHERE app = $1 AND name = $2")
        .bind(app)
        .bind(&change.name)
        .fetch_optional(&mut *tx)
        .await?;
    let found = found.map(Oid::from);
    if found != change.old {
        let last_deploy = deploys::latest(tx, app, branch_of(&change.name)).await?;
        let name = change.name.clone();
        return Err(PushError::RefMoved { name, expected: change.old, found, last_deploy });
    }
    let Some(new) = change.new else {
        sqlx::query("DELETE FROM refs WHERE app = $1 AND name = $2")
            .bind(app)
            .bind(&change.name)
            .execute(tx)
            .await?;
        return Ok(());
    };
    if found.is_none() {
        reject_conflicting_ref(tx, app, &change.name).await?;
    }
    // The join makes sure that the target exists.
    let placed = sqlx::query(
        "INSERT INTO refs (app, name, target) SELECT apps.id, $2, $3
         FROM apps JOIN objects ON objects.repository = apps.repository AND objects.oid = $4 WHERE apps.id = $1
         ON CONFLICT (app, name) DO UPDATE SET target = excluded.target, production_secrets = false",
    )
    .bind(app)
    .bind(&change.name)
    .bind(HexOid(new))
    .bind(new)
    .execute(tx)
    .await?;
    match placed.rows_affected() {
        1 => Ok(()),
        _ => Err(StoreError::Dangling { name: change.name.clone(), oid: new }.into()),
    }
}

/// Rejects refs `a` and `a/b` next to each other, as git does.
async fn reject_conflicting_ref(tx: &mut Connection, app: AppId, name: &str) -> Result<(), PushError> {
    let other: Option<Ref> = sqlx::query_as(
        "SELECT name, target FROM refs
         WHERE app = $1 AND (substr(name, 1, length($2) + 1) = $2 || '/' OR substr($2, 1, length(name) + 1) = name || '/')
         LIMIT 1",
    )
    .bind(app)
    .bind(name)
    .fetch_optional(&mut *tx)
    .await?;
    let Some(other) = other else { return Ok(()) };
    let last_deploy = deploys::latest(tx, app, branch_of(&other.name)).await?;
    let found = Some(other.target);
    Err(PushError::RefMoved { name: name.to_owned(), expected: None, found, last_deploy })
}

/// Whether the branch points to the commit.
pub(super) async fn points_to(
    tx: &mut Connection,
    app: AppId,
    deploy: &NewDeploy,
) -> Result<bool, StoreError> {
    let found = sqlx::query_scalar(
        "SELECT EXISTS (SELECT 1 FROM refs WHERE app = $1 AND name = 'refs/heads/' || $2 AND target = $3)",
    );
    Ok(found.bind(app).bind(&deploy.branch).bind(HexOid(deploy.commit)).fetch_one(tx).await?)
}
