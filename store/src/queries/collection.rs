//! Deletes old deploys, and objects that nothing reaches. The tables `released`, `condemned`, `objects`, `deploys` and `revisions`.

use std::collections::BTreeSet;

use chrono::{DateTime, Utc};
use uuid::Uuid;

use super::dialect::LOCKED;
use super::{Connection, Connections, apps, objects, refs, sql, transaction};
use crate::collection::{CollectionRoots, CollectionState, Deleted, ObjectName};
use crate::column::{HexOid, Id, Unsigned};
use crate::disk::{self, ROW_BYTES};
use crate::error::StoreError;
use crate::id::{AppId, DeployNumber, Oid};
use crate::record::{App, Object};

/// How many names one statement condemns.
const CONDEMNED_AT_ONCE: usize = 10_000;

/// How many objects and about how many bytes one transaction deletes, so that no push waits for long.
const BATCH_OBJECTS: i64 = 500;
const BATCH_BYTES: u64 = 4 << 20;

const HAS_CONDEMNED: &str =
    "SELECT EXISTS (SELECT 1 FROM condemned WHERE repository = (SELECT repository FROM apps WHERE id = $1))";

pub(crate) async fn apps_to_collect(
    connections: &Connections,
    before: DateTime<Utc>,
    now: DateTime<Utc>,
) -> Result<Vec<App>, StoreError> {
    let apps = sqlx::query_as(sql!(
        "SELECT {} FROM apps WHERE deleted_at IS NULL AND (
             EXISTS (SELECT 1 FROM released WHERE released.repository = apps.repository AND (at <= $1 OR at > $2))
             OR EXISTS (SELECT 1 FROM condemned WHERE condemned.repository = apps.repository)
         ) ORDER BY name",
        apps::APP
    ));
    Ok(apps.bind(before).bind(now).fetch_all(connections.reader()).await?)
}

#[derive(sqlx::FromRow)]
struct ReleasedRow {
    oid: Oid,
    at: DateTime<Utc>,
}

pub(crate) async fn collection_roots(
    connections: &Connections,
    app: AppId,
    before: DateTime<Utc>,
    now: DateTime<Utc>,
) -> Result<Option<CollectionRoots>, StoreError> {
    // The state first: where a push comes in between, what is found is found for a state that is no more.
    let found: Option<App> =
        sqlx::query_as(sql!("SELECT {} FROM apps WHERE id = $1 AND deleted_at IS NULL", apps::APP))
            .bind(app)
            .fetch_optional(connections.reader())
            .await?;
    let Some(found) = found else { return Ok(None) };
    let mut held: BTreeSet<Oid> =
        refs::refs(connections, app).await?.into_iter().map(|found| found.target).collect();
    let deployed: Vec<Oid> = sqlx::query_scalar(
        "SELECT DISTINCT commit_id FROM deploys WHERE repository = (SELECT repository FROM apps WHERE id = $1)",
    )
    .bind(app)
    .fetch_all(connections.reader())
    .await?;
    held.extend(deployed);
    let rows: Vec<ReleasedRow> = sqlx::query_as(
        "SELECT oid, at FROM released WHERE repository = (SELECT repository FROM apps WHERE id = $1) ORDER BY oid",
    )
    .bind(app)
    .fetch_all(connections.reader())
    .await?;
    let (released, fresh): (Vec<_>, Vec<_>) =
        rows.into_iter().partition(|row| row.at <= before || row.at > now);
    held.extend(fresh.into_iter().map(|row| row.oid));
    Ok(Some(CollectionRoots {
        state: found.collection_state(),
        held: held.into_iter().collect(),
        released: released.into_iter().map(|row| (row.oid, row.at)).collect(),
    }))
}

pub(crate) async fn object_names(
    connections: &Connections,
    app: AppId,
    after: Option<Oid>,
    most: u32,
) -> Result<Vec<ObjectName>, StoreError> {
    let names = sqlx::query_as(
        "SELECT oid, base FROM objects
         WHERE repository = (SELECT repository FROM apps WHERE id = $1) AND oid > $2 ORDER BY oid LIMIT $3",
    )
    .bind(app)
    .bind(after.as_ref().map_or(&[][..], |oid| oid.as_bytes()))
    .bind(i64::from(most));
    Ok(names.fetch_all(connections.reader()).await?)
}

/// The app, which nobody else changes until the transaction ends.
async fn lock(tx: &mut Connection, app: AppId) -> Result<Option<App>, StoreError> {
    let found = sqlx::query_as(sql!("SELECT {} FROM apps WHERE id = $1 {LOCKED}", apps::APP)).bind(app);
    Ok(found.fetch_optional(tx).await?)
}

/// The same, if it is in that state.
async fn lock_in(tx: &mut Connection, app: AppId, seen: CollectionState) -> Result<Option<App>, StoreError> {
    Ok(lock(tx, app).await?.filter(|app| app.collection_state() == seen))
}

/// Notes that something is gone on which a push could build.
async fn note(tx: &mut Connection, app: &App) -> Result<CollectionState, StoreError> {
    let collection = Uuid::new_v4();
    sqlx::query("UPDATE apps SET collection_id = $2 WHERE id = $1")
        .bind(app.id)
        .bind(Id(collection))
        .execute(tx)
        .await?;
    Ok(CollectionState { collection, ..app.collection_state() })
}

/// What was deleted of an app, by the bytes that it takes of the disk.
async fn deleted(
    tx: &mut Connection,
    app: &App,
    state: CollectionState,
    rows: u64,
    bytes: u64,
) -> Result<Deleted, StoreError> {
    let now = apps::change_disk_bytes(tx, app.id, 0, bytes).await?;
    Ok(Deleted { state, rows, bytes: app.disk_bytes.saturating_sub(now) })
}

pub(crate) async fn make_whole(
    connections: &Connections,
    app: AppId,
    seen: CollectionState,
    whole: &[Object],
) -> Result<bool, StoreError> {
    let mut transaction = transaction::begin(connections).await?;
    let tx = &mut *transaction;
    let Some(app) = lock_in(tx, app, seen).await? else {
        transaction.rollback().await;
        return Ok(false);
    };
    let oids: Vec<Oid> = whole.iter().map(|object| object.oid).collect();
    let (_, removed) = objects::delete(tx, app.id, &oids).await?;
    let added = objects::insert(tx, app.id, whole).await?;
    apps::change_disk_bytes(tx, app.id, added, removed).await?;
    transaction.commit().await?;
    Ok(true)
}

pub(crate) async fn condemn(
    connections: &Connections,
    app: AppId,
    seen: CollectionState,
    garbage: &[Oid],
    released: &[(Oid, DateTime<Utc>)],
) -> Result<bool, StoreError> {
    let mut transaction = transaction::begin(connections).await?;
    let tx = &mut *transaction;
    let Some(app) = lock_in(tx, app, seen).await? else {
        transaction.rollback().await;
        return Ok(false);
    };
    for some in garbage.chunks(CONDEMNED_AT_ONCE) {
        objects::condemn(tx, app.id, some).await?;
    }
    if !garbage.is_empty() {
        let bytes = delete_shallow(tx, app.id, garbage).await?;
        apps::change_disk_bytes(tx, app.id, 0, bytes).await?;
        note(tx, &app).await?;
    }
    for (oid, at) in released {
        sqlx::query(
            "DELETE FROM released
             WHERE repository = (SELECT repository FROM apps WHERE id = $1) AND oid = $2 AND at = $3",
        )
        .bind(app.id)
        .bind(*oid)
        .bind(*at)
        .execute(&mut *tx)
        .await?;
    }
    transaction.commit().await?;
    Ok(true)
}

#[derive(sqlx::FromRow)]
struct CondemnedRow {
    oid: Oid,
    #[sqlx(try_from = "Unsigned<u64>")]
    bytes: u64,
}

pub(crate) async fn delete_condemned(
    connections: &Connections,
    app: AppId,
) -> Result<Option<Deleted>, StoreError> {
    let any: bool = sqlx::query_scalar(HAS_CONDEMNED).bind(app).fetch_one(connections.reader()).await?;
    if !any {
        return Ok(None);
    }
    let mut transaction = transaction::begin(connections).await?;
    let tx = &mut *transaction;
    let Some(app) = lock(tx, app).await? else {
        transaction.rollback().await;
        return Ok(None);
    };
    let (rows, bytes) = delete_some_condemned(tx, app.id).await?;
    let deleted = deleted(tx, &app, app.collection_state(), rows, bytes).await?;
    transaction.commit().await?;
    Ok(Some(deleted))
}

/// Condemns all objects of an app, within a transaction.
pub(super) async fn condemn_all(tx: &mut Connection, app: AppId) -> Result<(), sqlx::Error> {
    sqlx::query(
        "INSERT INTO condemned (repository, oid)
         SELECT repository, oid FROM objects WHERE repository = (SELECT repository FROM apps WHERE id = $1)
         ON CONFLICT DO NOTHING",
    )
    .bind(app)
    .execute(tx)
    .await?;
    Ok(())
}

/// Deletes some of the condemned objects, within a transaction: how many, and how many bytes of the disk they took.
pub(super) async fn delete_some_condemned(
    tx: &mut Connection,
    app: AppId,
) -> Result<(u64, u64), sqlx::Error> {
    let rows: Vec<CondemnedRow> = sqlx::query_as(
        "SELECT condemned.oid AS oid, CAST(coalesce(length(zlib), 0) AS bigint) AS bytes
         FROM condemned LEFT JOIN objects
         ON objects.repository = condemned.repository AND objects.oid = condemned.oid
         WHERE condemned.repository = (SELECT repository FROM apps WHERE id = $1)
         ORDER BY condemned.oid LIMIT $2",
    )
    .bind(app)
    .bind(BATCH_OBJECTS)
    .fetch_all(&mut *tx)
    .await?;
    let mut before = 0;
    let few = rows.into_iter().take_while(|row| {
        let fits = before < BATCH_BYTES;
        before += row.bytes;
        fits
    });
    let oids: Vec<Oid> = few.map(|row| row.oid).collect();
    objects::readmit(tx, app, &oids).await?;
    objects::delete(tx, app, &oids).await
}

/// Has the condemned ones of these objects gone at once, within the transaction of a push that brings them again. What is there
/// of them may build on what is gone. Returns how many bytes of the disk they took.
pub(super) async fn replace_condemned(
    tx: &mut Connection,
    app: AppId,
    oids: &[Oid],
) -> Result<u64, StoreError> {
    let condemned = objects::readmit(tx, app, oids).await?;
    if condemned.is_empty() {
        return Ok(0);
    }
    Ok(objects::delete(tx, app, &condemned).await?.1)
}

/// Whether objects of the app are condemned.
pub(super) async fn has_condemned(tx: &mut Connection, app: AppId) -> Result<bool, StoreError> {
    Ok(sqlx::query_scalar(HAS_CONDEMNED).bind(app).fetch_one(tx).await?)
}

/// Deletes those of the commits whose parents were never sent. Returns how many bytes of the disk they took.
async fn delete_shallow(tx: &mut Connection, app: AppId, garbage: &[Oid]) -> Result<u64, StoreError> {
    let there: Vec<HexOid> =
        sqlx::query_scalar("SELECT oid FROM shallow WHERE app = $1").bind(app).fetch_all(&mut *tx).await?;
    let garbage: BTreeSet<&Oid> = garbage.iter().collect();
    let mut bytes = 0;
    for commit in there.into_iter().filter(|commit| garbage.contains(&commit.0)) {
        sqlx::query("DELETE FROM shallow WHERE app = $1 AND oid = $2")
            .bind(app)
            .bind(commit)
            .execute(&mut *tx)
            .await?;
        bytes += disk::shallow();
    }
    Ok(bytes)
}

/// Notes that nothing needs to hold the object any more, within a transaction.
pub(super) async fn release(
    tx: &mut Connection,
    app: AppId,
    oid: Oid,
    at: DateTime<Utc>,
) -> Result<(), sqlx::Error> {
    sqlx::query(
        "INSERT INTO released (repository, oid, at) SELECT repository, $2, $3 FROM apps WHERE id = $1
         ON CONFLICT (repository, oid) DO UPDATE SET at = excluded.at",
    )
    .bind(app)
    .bind(oid)
    .bind(at)
    .execute(tx)
    .await?;
    Ok(())
}

#[derive(sqlx::FromRow)]
struct DeployRow {
    commit_id: Oid,
    #[sqlx(try_from = "Unsigned<u64>")]
    bytes: u64,
}

pub(crate) async fn prune_deploys(
    connections: &Connections,
    app: AppId,
    seen: CollectionState,
    deploys: &[DeployNumber],
    at: DateTime<Utc>,
) -> Result<Option<Deleted>, StoreError> {
    let mut transaction = transaction::begin(connections).await?;
    let tx = &mut *transaction;
    let Some(app) = lock_in(tx, app, seen).await? else {
        transaction.rollback().await;
        return Ok(None);
    };
    let (mut rows, mut bytes, mut commits) = (0, 0, BTreeSet::new());
    for number in deploys {
        let deleted: Option<DeployRow> = sqlx::query_as(sql!(
            "DELETE FROM deploys WHERE repository = (SELECT repository FROM apps WHERE id = $1) AND number = $2
             RETURNING commit_id, CAST(octet_length(branch) + octet_length(deployed_by)
                 + coalesce(octet_length(because), 0) + coalesce(octet_length(message), 0) + {ROW_BYTES} AS bigint) AS bytes"
        ))
        .bind(app.id)
        .bind(*number)
        .fetch_optional(&mut *tx)
        .await?;
        if let Some(deploy) = deleted {
            rows += 1;
            bytes += deploy.bytes;
            commits.insert(deploy.commit_id);
        }
    }
    for commit in commits {
        bytes += delete_revision(tx, app.id, commit).await?;
        release(tx, app.id, commit, at).await?;
    }
    let state = note(tx, &app).await?;
    let deleted = deleted(tx, &app, state, rows, bytes).await?;
    transaction.commit().await?;
    Ok(Some(deleted))
}

/// Deletes a revision, unless there still is a deploy of it. Returns how many bytes of the disk it took.
async fn delete_revision(tx: &mut Connection, app: AppId, commit: Oid) -> Result<u64, StoreError> {
    let bytes: Option<Unsigned<u64>> = sqlx::query_scalar(sql!(
        "DELETE FROM revisions WHERE repository = (SELECT repository FROM apps WHERE id = $1) AND commit_id = $2
             AND NOT EXISTS (
                 SELECT 1 FROM deploys
                 WHERE deploys.repository = revisions.repository AND deploys.commit_id = revisions.commit_id
             )
         RETURNING CAST(octet_length(sdk) + octet_length(subject) + octet_length(author) + {ROW_BYTES} AS bigint)"
    ))
    .bind(app)
    .bind(commit)
    .fetch_optional(tx)
    .await?;
    Ok(bytes.map_or(0, |Unsigned(bytes)| bytes))
}
