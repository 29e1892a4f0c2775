//! The one transaction of a push.

use chrono::{DateTime, Utc};
use manifest_schema::name::AppName;
use sqlx::AssertSqlSafe;
use uuid::Uuid;

use super::connections::{Connection, Connections};
use super::{apps, audit, deploys, domains, nodes, objects, transaction};
use crate::PUSH_WAIT_MAX;
use crate::error::{PushError, StoreError};
use crate::id::{AppId, DeployNumber, Oid};
use crate::portion;
use crate::record::{App, Generation, NewDeploy, NewPush, NewRevision, Objects, PushReceipt, RefChange};
use crate::row::{acts, branch_of, deploy_number, generation, hex};

pub(crate) async fn push(connections: &Connections, push: &NewPush<'_>) -> Result<PushReceipt, PushError> {
    let mut transaction = transaction::begin(connections).await?;
    match write(&mut transaction, push).await {
        Ok(receipt) => {
            transaction.commit().await?;
            Ok(receipt)
        }
        Err(refused) => {
            if refused.is_refusal() {
                transaction.rollback().await;
            }
            Err(refused)
        }
    }
}

async fn write(tx: &mut Connection, push: &NewPush<'_>) -> Result<PushReceipt, PushError> {
    // A lock of the whole table is nobody's push. From here on it is an app that is waited for, and then what else is locked.
    let wait = PUSH_WAIT_MAX.as_millis();
    let begun = format!("SET LOCAL lock_timeout = {wait}; LOCK TABLE apps IN ROW EXCLUSIVE MODE");
    sqlx::raw_sql(AssertSqlSafe(begun)).execute(&mut *tx).await?;
    let created =
        push.may_create && apps::insert(tx, AppId::random(), &push.app, push.at).await.map_err(held)?;
    let mut app = lock_app(tx, &push.app).await?.ok_or(PushError::UnknownApp)?;
    insert_objects(tx, app.id, push.objects).await?;
    insert_shallow(tx, app.id, &push.shallow).await?;
    // What goes makes room for what comes: `a` may be replaced by `a/b`.
    let (gone, moved): (Vec<_>, Vec<_>) = push.refs.iter().partition(|change| change.new.is_none());
    for change in gone.into_iter().chain(moved) {
        move_ref(tx, app.id, change).await?;
    }
    for revision in &push.revisions {
        insert_revision(tx, app.id, revision).await?;
    }
    require_secrets(tx, app.id, &push.requires).await?;
    let deploys = insert_deploys(tx, app.id, push).await?;
    for act in acts(push, created, &deploys) {
        audit::insert(tx, &act).await?;
    }
    if let Some(domains) = &push.domains {
        domains::replace_domains(tx, app.id, domains).await?;
    }
    app.generation = raise_generation(tx, app.id, push.node).await?;
    Ok(PushReceipt { app, created, deploys })
}

/// The lock dies with the connection, however the push ends. It lets others refer to the app: no schedule waits for it.
pub(super) async fn lock_app(tx: &mut Connection, name: &AppName) -> Result<Option<App>, PushError> {
    let row: Option<apps::Row> = sqlx::query_as(
        "SELECT id, name, production_branch, created_at, generation, generation_id, protected, secrets_generation FROM apps WHERE name = $1 FOR NO KEY UPDATE",
    )
    .bind(name.as_str())
    .fetch_optional(tx)
    .await
    .map_err(held)?;
    Ok(row.map(apps::read).transpose()?)
}

/// Why an app could not be locked.
fn held(error: sqlx::Error) -> PushError {
    match error.into() {
        StoreError::Locked => PushError::Busy,
        error => error.into(),
    }
}

async fn insert_objects(tx: &mut Connection, app: AppId, all: &dyn Objects) -> Result<(), PushError> {
    let mut inserted = 0;
    while inserted < all.len() {
        let portion = portion::read(all, inserted).map_err(PushError::Objects)?;
        objects::insert(tx, app, &portion).await?;
        inserted += portion.len();
    }
    Ok(())
}

async fn insert_shallow(tx: &mut Connection, app: AppId, commits: &[Oid]) -> Result<(), PushError> {
    for commit in commits {
        sqlx::query("INSERT INTO shallow (app, oid) VALUES ($1, $2) ON CONFLICT DO NOTHING")
            .bind(app.as_uuid())
            .bind(commit.to_string())
            .execute(&mut *tx)
            .await?;
    }
    Ok(())
}

/// Compares and swaps one ref.
async fn move_ref(tx: &mut Connection, app: AppId, change: &RefChange) -> Result<(), PushError> {
    let row: Option<(String,)> = sqlx::query_as("SELECT target FROM refs WHERE app = $1 AND name = $2")
        .bind(app.as_uuid())
        .bind(&change.name)
        .fetch_optional(&mut *tx)
        .await?;
    let found = row.map(|(target,)| hex("refs", &target)).transpose()?;
    if found != change.old {
        let last_deploy = deploys::latest(tx, app, branch_of(&change.name)).await?;
        let name = change.name.clone();
        return Err(PushError::RefMoved { name, expected: change.old, found, last_deploy });
    }
    let Some(new) = change.new else {
        sqlx::query("DELETE FROM refs WHERE app = $1 AND name = $2")
            .bind(app.as_uuid())
            .bind(&change.name)
            .execute(tx)
            .await?;
        return Ok(());
    };
    if found.is_none() {
        refuse_in_the_way(tx, app, &change.name).await?;
    }
    // Nothing may point to what is not there, whatever was believed before the lock.
    let placed = sqlx::query(
        "INSERT INTO refs (app, name, target) SELECT apps.id, $2, $3
         FROM apps JOIN objects ON objects.repository = apps.repository AND objects.oid = $4 WHERE apps.id = $1
         ON CONFLICT (app, name) DO UPDATE SET target = excluded.target",
    )
    .bind(app.as_uuid())
    .bind(&change.name)
    .bind(new.to_string())
    .bind(new.as_bytes().as_slice())
    .execute(tx)
    .await?;
    match placed.rows_affected() {
        1 => Ok(()),
        _ => Err(StoreError::Dangling { name: change.name.clone(), oid: new }.into()),
    }
}

/// Git keeps no ref `a` beside `a/b`; one of them may have come since the pusher looked.
async fn refuse_in_the_way(tx: &mut Connection, app: AppId, name: &str) -> Result<(), PushError> {
    let row: Option<(String, String)> = sqlx::query_as(
        "SELECT name, target FROM refs
         WHERE app = $1 AND (substr(name, 1, length($2) + 1) = $2 || '/' OR substr($2, 1, length(name) + 1) = name || '/')
         LIMIT 1",
    )
    .bind(app.as_uuid())
    .bind(name)
    .fetch_optional(&mut *tx)
    .await?;
    let Some((other, target)) = row else { return Ok(()) };
    let last_deploy = deploys::latest(tx, app, branch_of(&other)).await?;
    let found = Some(hex("refs", &target)?);
    Err(PushError::RefMoved { name: name.to_owned(), expected: None, found, last_deploy })
}

async fn insert_revision(tx: &mut Connection, app: AppId, revision: &NewRevision) -> Result<(), PushError> {
    sqlx::query(
        "INSERT INTO revisions (repository, commit_id, sdk, subject, author, validated_at)
         VALUES ((SELECT repository FROM apps WHERE id = $1), $2, $3, $4, $5, $6)
         ON CONFLICT DO NOTHING",
    )
    .bind(app.as_uuid())
    .bind(revision.commit.as_bytes().as_slice())
    .bind(&revision.sdk)
    .bind(&revision.subject)
    .bind(&revision.author)
    .bind(revision.validated_at)
    .execute(tx)
    .await?;
    Ok(())
}

async fn insert_deploys(
    tx: &mut Connection,
    app: AppId,
    push: &NewPush<'_>,
) -> Result<Vec<DeployNumber>, PushError> {
    let mut numbers = Vec::with_capacity(push.deploys.len());
    for deploy in &push.deploys {
        let (made, said) = ((push.at, push.by.name.as_str()), (None, push.message.as_deref()));
        numbers.push(insert_deploy(tx, app, deploy, made, said).await?);
    }
    Ok(numbers)
}

/// Numbers a deploy. `because` says what made it where that was no push, and `message` what somebody said about it.
pub(super) async fn insert_deploy(
    tx: &mut Connection,
    app: AppId,
    deploy: &NewDeploy,
    (at, by): (DateTime<Utc>, &str),
    (because, message): (Option<&str>, Option<&str>),
) -> Result<DeployNumber, StoreError> {
    let (repository, number): (i32, i64) = sqlx::query_as(
        "UPDATE apps SET last_deploy = last_deploy + 1 WHERE id = $1 RETURNING repository, last_deploy",
    )
    .bind(app.as_uuid())
    .fetch_one(&mut *tx)
    .await?;
    sqlx::query(
        "INSERT INTO deploys (repository, number, branch, commit_id, deployed_at, deployed_by, because, message)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8)",
    )
    .bind(repository)
    .bind(number)
    .bind(&deploy.branch)
    .bind(deploy.commit.as_bytes().as_slice())
    .bind(at)
    .bind(by)
    .bind(because)
    .bind(message)
    .execute(tx)
    .await?;
    deploy_number(number)
}

/// Whether the branch is at the commit.
pub(super) async fn points_to(
    tx: &mut Connection,
    app: AppId,
    deploy: &NewDeploy,
) -> Result<bool, StoreError> {
    let found: Option<(i32,)> =
        sqlx::query_as("SELECT 1 FROM refs WHERE app = $1 AND name = $2 AND target = $3")
            .bind(app.as_uuid())
            .bind(format!("refs/heads/{}", deploy.branch))
            .bind(deploy.commit.to_string())
            .fetch_optional(tx)
            .await?;
    Ok(found.is_some())
}

/// Nobody has unset meanwhile what a revision needs.
async fn require_secrets(tx: &mut Connection, app: AppId, names: &[String]) -> Result<(), PushError> {
    for name in names {
        let found: Option<(i32,)> = sqlx::query_as("SELECT 1 FROM secrets WHERE app = $1 AND name = $2")
            .bind(app.as_uuid())
            .bind(name)
            .fetch_optional(&mut *tx)
            .await?;
        if found.is_none() {
            return Err(PushError::SecretUnset { name: name.clone() });
        }
    }
    Ok(())
}

/// What the app serves may be another now. Other nodes hear of it when this is committed, and not before.
pub(super) async fn raise_generation(
    tx: &mut Connection,
    app: AppId,
    node: Option<Uuid>,
) -> Result<Generation, PushError> {
    let id = Uuid::new_v4();
    let (raised, _): (i64, String) = sqlx::query_as(
        "UPDATE apps SET generation = generation + 1, generation_id = $4 WHERE id = $1
         RETURNING generation, pg_notify($2, concat_ws(' ', name, $3::text))::text",
    )
    .bind(app.as_uuid())
    .bind(nodes::APPS)
    .bind(node.map(|node| node.to_string()))
    .bind(id)
    .fetch_one(tx)
    .await?;
    Ok(generation(raised, id)?)
}
