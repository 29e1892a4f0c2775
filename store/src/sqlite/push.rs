//! The one transaction of a push.

use chrono::{DateTime, Utc};
use manifest_schema::name::AppName;
use sqlx::SqliteConnection;
use tokio::time::timeout;
use uuid::Uuid;

use super::apps::{self, key};
use super::{Connections, audit, deploys, domains, objects};
use crate::PUSH_WAIT_MAX;
use crate::error::{PushError, StoreError};
use crate::id::{AppId, DeployNumber, Oid};
use crate::portion;
use crate::record::{App, Generation, NewDeploy, NewPush, NewRevision, Objects, PushReceipt, RefChange};
use crate::row::{acts, branch_of, deploy_number, generation, hex};

pub(crate) async fn push(connections: &Connections, push: &NewPush<'_>) -> Result<PushReceipt, PushError> {
    // SQLite has one writer.
    let mut transaction = match timeout(PUSH_WAIT_MAX, connections.write.begin()).await {
        Err(_) | Ok(Err(StoreError::Database(sqlx::Error::PoolTimedOut))) => return Err(PushError::Busy),
        Ok(begun) => begun?,
    };
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

async fn write(tx: &mut SqliteConnection, push: &NewPush<'_>) -> Result<PushReceipt, PushError> {
    let created = push.may_create && apps::insert(tx, AppId::random(), &push.app, push.at).await?;
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
    app.generation = raise_generation(tx, app.id).await?;
    Ok(PushReceipt { app, created, deploys })
}

/// The whole file is locked by the transaction.
pub(super) async fn lock_app(tx: &mut SqliteConnection, name: &AppName) -> Result<Option<App>, PushError> {
    let row: Option<apps::Row> = sqlx::query_as(
        "SELECT id, name, production_branch, created_at, generation, generation_id, protected, secrets_generation FROM apps WHERE name = ?1",
    )
    .bind(name.as_str())
    .fetch_optional(tx)
    .await?;
    Ok(row.map(apps::read).transpose()?)
}

async fn insert_objects(tx: &mut SqliteConnection, app: AppId, all: &dyn Objects) -> Result<(), PushError> {
    let mut inserted = 0;
    while inserted < all.len() {
        let portion = portion::read(all, inserted).map_err(PushError::Objects)?;
        objects::insert(tx, app, &portion).await?;
        inserted += portion.len();
    }
    Ok(())
}

async fn insert_shallow(tx: &mut SqliteConnection, app: AppId, commits: &[Oid]) -> Result<(), PushError> {
    for commit in commits {
        sqlx::query("INSERT INTO shallow (app, oid) VALUES (?1, ?2) ON CONFLICT DO NOTHING")
            .bind(key(app))
            .bind(commit.to_string())
            .execute(&mut *tx)
            .await?;
    }
    Ok(())
}

/// Compares and swaps one ref.
async fn move_ref(tx: &mut SqliteConnection, app: AppId, change: &RefChange) -> Result<(), PushError> {
    let row: Option<(String,)> = sqlx::query_as("SELECT target FROM refs WHERE app = ?1 AND name = ?2")
        .bind(key(app))
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
        sqlx::query("DELETE FROM refs WHERE app = ?1 AND name = ?2")
            .bind(key(app))
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
        "INSERT INTO refs (app, name, target) SELECT apps.id, ?2, ?3
         FROM apps JOIN objects ON objects.repository = apps.repository AND objects.oid = ?4 WHERE apps.id = ?1
         ON CONFLICT (app, name) DO UPDATE SET target = excluded.target",
    )
    .bind(key(app))
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
async fn refuse_in_the_way(tx: &mut SqliteConnection, app: AppId, name: &str) -> Result<(), PushError> {
    let row: Option<(String, String)> = sqlx::query_as(
        "SELECT name, target FROM refs
         WHERE app = ?1 AND (substr(name, 1, length(?2) + 1) = ?2 || '/' OR substr(?2, 1, length(name) + 1) = name || '/')
         LIMIT 1",
    )
    .bind(key(app))
    .bind(name)
    .fetch_optional(&mut *tx)
    .await?;
    let Some((other, target)) = row else { return Ok(()) };
    let last_deploy = deploys::latest(tx, app, branch_of(&other)).await?;
    let found = Some(hex("refs", &target)?);
    Err(PushError::RefMoved { name: name.to_owned(), expected: None, found, last_deploy })
}

async fn insert_revision(
    tx: &mut SqliteConnection,
    app: AppId,
    revision: &NewRevision,
) -> Result<(), PushError> {
    sqlx::query(
        "INSERT INTO revisions (repository, commit_id, sdk, subject, author, validated_at)
         VALUES ((SELECT repository FROM apps WHERE id = ?1), ?2, ?3, ?4, ?5, ?6)
         ON CONFLICT DO NOTHING",
    )
    .bind(key(app))
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
    tx: &mut SqliteConnection,
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
    tx: &mut SqliteConnection,
    app: AppId,
    deploy: &NewDeploy,
    (at, by): (DateTime<Utc>, &str),
    (because, message): (Option<&str>, Option<&str>),
) -> Result<DeployNumber, StoreError> {
    let (repository, number): (i64, i64) = sqlx::query_as(
        "UPDATE apps SET last_deploy = last_deploy + 1 WHERE id = ?1 RETURNING repository, last_deploy",
    )
    .bind(key(app))
    .fetch_one(&mut *tx)
    .await?;
    sqlx::query(
        "INSERT INTO deploys (repository, number, branch, commit_id, deployed_at, deployed_by, because, message)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
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
    tx: &mut SqliteConnection,
    app: AppId,
    deploy: &NewDeploy,
) -> Result<bool, StoreError> {
    let found: Option<(i32,)> =
        sqlx::query_as("SELECT 1 FROM refs WHERE app = ?1 AND name = ?2 AND target = ?3")
            .bind(key(app))
            .bind(format!("refs/heads/{}", deploy.branch))
            .bind(deploy.commit.to_string())
            .fetch_optional(tx)
            .await?;
    Ok(found.is_some())
}

/// Nobody has unset meanwhile what a revision needs.
async fn require_secrets(tx: &mut SqliteConnection, app: AppId, names: &[String]) -> Result<(), PushError> {
    for name in names {
        let found: Option<(i32,)> = sqlx::query_as("SELECT 1 FROM secrets WHERE app = ?1 AND name = ?2")
            .bind(key(app))
            .bind(name)
            .fetch_optional(&mut *tx)
            .await?;
        if found.is_none() {
            return Err(PushError::SecretUnset { name: name.clone() });
        }
    }
    Ok(())
}

/// What the app serves may be another now.
pub(super) async fn raise_generation(tx: &mut SqliteConnection, app: AppId) -> Result<Generation, PushError> {
    let id = Uuid::new_v4();
    let (raised,): (i64,) = sqlx::query_as(
        "UPDATE apps SET generation = generation + 1, generation_id = ?2 WHERE id = ?1 RETURNING generation",
    )
    .bind(key(app))
    .bind(id.to_string())
    .fetch_one(tx)
    .await?;
    Ok(generation(raised, id)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::{Object, ObjectKind};
    use crate::sqlite::connect;

    fn push_of(digit: u8, old: Option<u8>, objects: &dyn Objects) -> NewPush<'_> {
        let oid = |digit| Oid::new([digit; 20]);
        NewPush {
            app: AppName::new("hello").unwrap(),
            may_create: true,
            by: crate::Actor::named("ada"),
            at: Utc::now(),
            node: None,
            refs: vec![RefChange {
                name: "refs/tags/v".to_owned(),
                old: old.map(oid),
                new: Some(oid(digit)),
            }],
            objects,
            shallow: Vec::new(),
            revisions: Vec::new(),
            deploys: Vec::new(),
            domains: None,
            requires: Vec::new(),
            message: None,
        }
    }

    fn blob(digit: u8, bytes: usize) -> Vec<Object> {
        let (oid, kind, zlib) = (Oid::new([digit; 20]), ObjectKind::Blob, vec![7; bytes]);
        vec![Object { oid, kind, base: None, depth: 0, size: 1, zlib }]
    }

    #[tokio::test]
    async fn a_full_disk_fails_one_push_and_not_the_next() {
        let folder = tempfile::tempdir().unwrap();
        let connections = connect::open(&folder.path().join("picloud.db")).await.unwrap();
        push(&connections, &push_of(1, None, &blob(1, 10))).await.unwrap();
        // The bound is the connection's own: a new one has none, as if room had been made.
        let mut transaction = connections.write.begin().await.unwrap();
        sqlx::query("PRAGMA max_page_count = 40").execute(&mut *transaction).await.unwrap();
        transaction.commit().await.unwrap();
        let refused = push(&connections, &push_of(2, Some(1), &blob(2, 1_000_000))).await;
        assert!(matches!(refused, Err(PushError::Store(StoreError::DiskFull))), "{refused:?}");
        push(&connections, &push_of(3, Some(1), &blob(3, 10))).await.unwrap();
    }
}
