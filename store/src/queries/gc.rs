//! Deletes old deploys and unreachable objects: the tables `released_objects`, `unreachable_objects`, `objects`,
//! `deploys` and `revisions`.

use std::collections::BTreeSet;

use chrono::{DateTime, Utc};
use uuid::Uuid;

use super::dialect::FOR_UPDATE;
use super::{Connection, Connections, apps, objects, refs, sql, transaction};
use crate::disk::{self, ROW_BYTES};
use crate::error::StoreError;
use crate::gc::{Deleted, GcRoots, GcState, ObjectName};
use crate::id::{AppId, DeployNumber, Oid};
use crate::model::{App, Object};
use crate::sql_types::{HexOid, Id, Unsigned};

/// How many names one statement marks.
const MARK_BATCH: usize = 10_000;

/// How many objects and bytes one transaction deletes, so that pushes do not wait for long.
const BATCH_OBJECTS: i64 = 500;
const BATCH_BYTES: u64 = 4 << 20;

const HAS_UNREACHABLE: &str = "SELECT EXISTS (SELECT 1 FROM unreachable_objects WHERE repository = (SELECT repository FROM apps WHERE id = $1))";

pub(crate) async fn apps_to_gc(
    connections: &Connections,
    before: DateTime<Utc>,
    now: DateTime<Utc>,
) -> Result<Vec<App>, StoreError> {
    let apps = sqlx::query_as(sql!(
        "SELECT {} FROM apps WHERE deleted_at IS NULL AND (
             EXISTS (SELECT 1 FROM released_objects WHERE released_objects.repository = apps.repository AND (at <= $1 OR at > $2))
             OR EXISTS (SELECT 1 FROM unreachable_objects WHERE unreachable_objects.repository = apps.repository)
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

pub(crate) async fn gc_roots(
    connections: &Connections,
    app: AppId,
    before: DateTime<Utc>,
    now: DateTime<Utc>,
) -> Result<Option<GcRoots>, StoreError> {
    // Read the state first: a push in between makes the result outdated, which the state reveals.
    let found: Option<App> =
        sqlx::query_as(sql!("SELECT {} FROM apps WHERE id = $1 AND deleted_at IS NULL", apps::APP))
            .bind(app)
            .fetch_optional(connections.reader())
            .await?;
    let Some(found) = found else { return Ok(None) };
    let mut roots: BTreeSet<Oid> =
        refs::refs(connections, app).await?.into_iter().map(|found| found.target).collect();
    let deployed: Vec<Oid> = sqlx::query_scalar(
        "SELECT DISTINCT commit_id FROM deploys WHERE repository = (SELECT repository FROM apps WHERE id = $1)",
    )
    .bind(app)
    .fetch_all(connections.reader())
    .await?;
    roots.extend(deployed);
    let rows: Vec<ReleasedRow> = sqlx::query_as(
        "SELECT oid, at FROM released_objects WHERE repository = (SELECT repository FROM apps WHERE id = $1) ORDER BY oid",
    )
    .bind(app)
    .fetch_all(connections.reader())
    .await?;
    let (released, recent): (Vec<_>, Vec<_>) =
        rows.into_iter().partition(|row| row.at <= before || row.at > now);
    roots.extend(recent.into_iter().map(|row| row.oid));
    Ok(Some(GcRoots {
        state: found.gc_state(),
        roots: roots.into_iter().collect(),
        released: released.into_iter().map(|row| (row.oid, row.at)).collect(),
    }))
}

pub(crate) async fn object_names(
    connections: &Connections,
    app: AppId,
    after: Option<Oid>,
    limit: u32,
) -> Result<Vec<ObjectName>, StoreError> {
    let names = sqlx::query_as(
        "SELECT oid, base FROM objects
         WHERE repository = (SELECT repository FROM apps WHERE id = $1) AND oid > $2 ORDER BY oid LIMIT $3",
    )
    .bind(app)
    .bind(after.as_ref().map_or(&[][..], |oid| oid.as_bytes()))
    .bind(i64::from(limit));
    Ok(names.fetch_all(connections.reader()).await?)
}

/// Locks the app against changes until the transaction ends.
async fn lock(tx: &mut Connection, app: AppId) -> Result<Option<App>, StoreError> {
    let found = sqlx::query_as(sql!("SELECT {} FROM apps WHERE id = $1 {FOR_UPDATE}", apps::APP)).bind(app);
    Ok(found.fetch_optional(tx).await?)
}

/// Locks the app if it is in this state.
async fn lock_in_state(tx: &mut Connection, app: AppId, seen: GcState) -> Result<Option<App>, StoreError> {
    Ok(lock(tx, app).await?.filter(|app| app.gc_state() == seen))
}

/// Changes the id of the latest garbage collection, so that pushes in progress detect it.
async fn new_gc_id(tx: &mut Connection, app: &App) -> Result<GcState, StoreError> {
    let gc_id = Uuid::new_v4();
    sqlx::query("UPDATE apps SET gc_id = $2 WHERE id = $1").bind(app.id).bind(Id(gc_id)).execute(tx).await?;
    Ok(GcState { gc_id, ..app.gc_state() })
}

/// Subtracts from the disk usage of the app and describes what was deleted.
async fn subtract_disk_bytes(
    tx: &mut Connection,
    app: &App,
    state: GcState,
    rows: u64,
    bytes: u64,
) -> Result<Deleted, StoreError> {
    let now = apps::change_disk_bytes(tx, app.id, 0, bytes).await?;
    Ok(Deleted { state, rows, bytes: app.disk_bytes.saturating_sub(now) })
}

pub(crate) async fn undeltify(
    connections: &Connections,
    app: AppId,
    seen: GcState,
    whole: &[Object],
) -> Result<bool, StoreError> {
    let mut transaction = transaction::begin(connections).await?;
    let tx = &mut *transaction;
    let Some(app) = lock_in_state(tx, app, seen).await? else {
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

pub(crate) async fn mark_unreachable(
    connections: &Connections,
    app: AppId,
    seen: GcState,
    garbage: &[Oid],
    released: &[(Oid, DateTime<Utc>)],
) -> Result<bool, StoreError> {
    let mut transaction = transaction::begin(connections).await?;
    let tx = &mut *transaction;
    let Some(app) = lock_in_state(tx, app, seen).await? else {
        transaction.rollback().await;
        return Ok(false);
    };
    for some in garbage.chunks(MARK_BATCH) {
        objects::mark_unreachable(tx, app.id, some).await?;
    }
    if !garbage.is_empty() {
        let bytes = delete_shallow(tx, app.id, garbage).await?;
        apps::change_disk_bytes(tx, app.id, 0, bytes).await?;
        new_gc_id(tx, &app).await?;
    }
    for (oid, at) in released {
        sqlx::query(
            "DELETE FROM released_objects
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
struct UnreachableRow {
    oid: Oid,
    #[sqlx(try_from = "Unsigned<u64>")]
    bytes: u64,
}

pub(crate) async fn delete_unreachable(
    connections: &Connections,
    app: AppId,
) -> Result<Option<Deleted>, StoreError> {
    let any: bool = sqlx::query_scalar(HAS_UNREACHABLE).bind(app).fetch_one(connections.reader()).await?;
    if !any {
        return Ok(None);
    }
    let mut transaction = transaction::begin(connections).await?;
    let tx = &mut *transaction;
    let Some(app) = lock(tx, app).await? else {
        transaction.rollback().await;
        return Ok(None);
    };
    let (rows, bytes) = delete_some_unreachable(tx, app.id).await?;
    let deleted = subtract_disk_bytes(tx, &app, app.gc_state(), rows, bytes).await?;
    transaction.commit().await?;
    Ok(Some(deleted))
}

/// Marks all objects of an app as unreachable.
pub(super) async fn mark_all_unreachable(tx: &mut Connection, app: AppId) -> Result<(), sqlx::Error> {
    sqlx::query(
        "INSERT INTO unreachable_objects (repository, oid)
         SELECT repository, oid FROM objects WHERE repository = (SELECT repository FROM apps WHERE id = $1)
         ON CONFLICT DO NOTHING",
    )
    .bind(app)
    .execute(tx)
    .await?;
    Ok(())
}

/// Deletes a batch of unreachable objects. Returns their number, and by how many bytes disk usage shrinks.
pub(super) async fn delete_some_unreachable(
    tx: &mut Connection,
    app: AppId,
) -> Result<(u64, u64), sqlx::Error> {
    let rows: Vec<UnreachableRow> = sqlx::query_as(
        "SELECT unreachable_objects.oid AS oid, CAST(coalesce(length(zlib), 0) AS bigint) AS bytes
         FROM unreachable_objects LEFT JOIN objects
         ON objects.repository = unreachable_objects.repository AND objects.oid = unreachable_objects.oid
         WHERE unreachable_objects.repository = (SELECT repository FROM apps WHERE id = $1)
         ORDER BY unreachable_objects.oid LIMIT $2",
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
    objects::unmark(tx, app, &oids).await?;
    objects::delete(tx, app, &oids).await
}

/// Deletes those of the objects that are marked, so that a push can store them again: their delta bases may be
/// deleted already. Returns by how many bytes disk usage shrinks.
pub(super) async fn replace_unreachable(
    tx: &mut Connection,
    app: AppId,
    oids: &[Oid],
) -> Result<u64, StoreError> {
    let condemned = objects::unmark(tx, app, oids).await?;
    if condemned.is_empty() {
        return Ok(0);
    }
    Ok(objects::delete(tx, app, &condemned).await?.1)
}

/// Whether the app has unreachable objects.
pub(super) async fn has_unreachable(tx: &mut Connection, app: AppId) -> Result<bool, StoreError> {
    Ok(sqlx::query_scalar(HAS_UNREACHABLE).bind(app).fetch_one(tx).await?)
}

/// Deletes shallow commits that are garbage. Returns by how many bytes disk usage shrinks.
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

/// Records that no root refers to the object any more.
pub(super) async fn release(
    tx: &mut Connection,
    app: AppId,
    oid: Oid,
    at: DateTime<Utc>,
) -> Result<(), sqlx::Error> {
    sqlx::query(
        "INSERT INTO released_objects (repository, oid, at) SELECT repository, $2, $3 FROM apps WHERE id = $1
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
    seen: GcState,
    deploys: &[DeployNumber],
    at: DateTime<Utc>,
) -> Result<Option<Deleted>, StoreError> {
    let mut transaction = transaction::begin(connections).await?;
    let tx = &mut *transaction;
    let Some(app) = lock_in_state(tx, app, seen).await? else {
        transaction.rollback().await;
        return Ok(None);
    };
    let (mut rows, mut bytes, mut commits) = (0, 0, BTreeSet::new());
    for number in deploys {
        let deleted: Option<DeployRow> = sqlx::query_as(sql!(
            "DELETE FROM deploys WHERE repository = (SELECT repository FROM apps WHERE id = $1) AND number = $2
             RETURNING commit_id, CAST(octet_length(branch) + octet_length(deployed_by)
                 + coalesce(octet_length(cause), 0) + coalesce(octet_length(message), 0) + {ROW_BYTES} AS bigint) AS bytes"
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
    let state = new_gc_id(tx, &app).await?;
    let deleted = subtract_disk_bytes(tx, &app, state, rows, bytes).await?;
    transaction.commit().await?;
    Ok(Some(deleted))
}

/// Deletes a revision unless a deploy refers to it. Returns by how many bytes disk usage shrinks.
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
