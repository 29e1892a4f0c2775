//! The table `apps`.

use manifest_schema::name::AppName;
use uuid::Uuid;

use super::dialect::{self, BY_BYTES, FOR_UPDATE, GREATEST};
use super::{Connection, Connections, audit, sql, transaction};
use crate::audit::{Actor, AuditAction, AuditEvent};
use crate::error::{PushError, StoreError};
use crate::id::AppId;
use crate::limits::{self, AppLimits, LimitChanges};
use crate::model::App;
use crate::sql_types::{Unsigned, signed};

/// The columns of [`App`].
pub(super) const APP: &str =
    "id, name, production_branch, created_at, generation, generation_id, protected, secrets_generation,
     limit_memory_share, limit_disk, limit_previews, limit_schedule_runs_per_minute, limit_timeout_ms, limit_operations,
     limit_script_memory, limit_body, limit_concurrency, limit_schedules, limit_state, last_deploy, disk_bytes, gc_id,
     stopped_at, stopped_by";

pub(crate) async fn app(connections: &Connections, name: &AppName) -> Result<Option<App>, StoreError> {
    let app = sqlx::query_as(sql!("SELECT {APP} FROM apps WHERE name = $1")).bind(name.as_str());
    Ok(app.fetch_optional(connections.reader()).await?)
}

pub(crate) async fn apps(connections: &Connections) -> Result<Vec<App>, StoreError> {
    let apps =
        sqlx::query_as(sql!("SELECT {APP} FROM apps WHERE deleted_at IS NULL ORDER BY name {BY_BYTES}"));
    Ok(apps.fetch_all(connections.reader()).await?)
}

/// Locks the app against changes until the transaction ends. Foreign keys can still refer to it, so that schedules do
/// not wait.
pub(super) async fn lock(tx: &mut Connection, name: &AppName) -> Result<Option<App>, PushError> {
    let app = sqlx::query_as(sql!("SELECT {APP} FROM apps WHERE name = $1 {FOR_UPDATE}")).bind(name.as_str());
    app.fetch_optional(tx).await.map_err(lock_error)
}

/// The error of a lock that timed out.
pub(super) fn lock_error(error: sqlx::Error) -> PushError {
    match error.into() {
        StoreError::Locked => PushError::Busy,
        error => error.into(),
    }
}

pub(crate) async fn create_app(
    connections: &Connections,
    name: &AppName,
    by: &Actor,
) -> Result<bool, StoreError> {
    let mut transaction = transaction::begin(connections).await?;
    let event = AuditEvent::new(by, AuditAction::AppCreate, Some(name), name.as_str());
    let created = dialect::insert_app(&mut transaction, AppId::random(), name, event.at).await?;
    if !created {
        transaction.rollback().await;
        return Ok(false);
    }
    audit::insert(&mut transaction, &event).await?;
    transaction.commit().await?;
    Ok(true)
}

pub(crate) async fn protect_app(
    connections: &Connections,
    app: &App,
    protected: bool,
    by: &Actor,
) -> Result<bool, StoreError> {
    let mut transaction = transaction::begin(connections).await?;
    let changed = sqlx::query("UPDATE apps SET protected = $2 WHERE id = $1 AND protected <> $2")
        .bind(app.id)
        .bind(protected)
        .execute(&mut *transaction)
        .await?;
    if changed.rows_affected() == 0 {
        transaction.rollback().await;
        return Ok(false);
    }
    audit::insert(&mut transaction, &AuditEvent::protection_changed(&app.name, protected, by)).await?;
    transaction.commit().await?;
    Ok(true)
}

pub(crate) async fn change_limits(
    connections: &Connections,
    app: &App,
    changes: &LimitChanges,
    node: Option<Uuid>,
    by: &Actor,
) -> Result<App, StoreError> {
    let mut transaction = transaction::begin(connections).await?;
    let tx = &mut *transaction;
    let locked = lock(&mut *tx, &app.name).await.map_err(PushError::into_store)?;
    let mut app = locked.filter(|found| found.id == app.id).ok_or(StoreError::NoApp)?;
    let events = limits::apply(&mut app, changes, by);
    if events.is_empty() {
        transaction.rollback().await;
        return Ok(app);
    }
    let AppLimits {
        memory_share,
        disk,
        previews,
        schedule_runs,
        timeout_ms,
        operations,
        script_memory,
        body,
        concurrency,
        schedules,
        state,
    } = app.limits;
    let change = sqlx::query(
        "UPDATE apps SET limit_memory_share = $2, limit_disk = $3, limit_previews = $4, limit_schedule_runs_per_minute = $5,
             limit_timeout_ms = $6, limit_operations = $7, limit_script_memory = $8, limit_body = $9,
             limit_concurrency = $10, limit_schedules = $11, limit_state = $12
         WHERE id = $1",
    );
    [
        memory_share,
        disk,
        previews,
        schedule_runs,
        timeout_ms,
        operations,
        script_memory,
        body,
        concurrency,
        schedules,
        state,
    ]
    .into_iter()
    .fold(change.bind(app.id), |change, limit| change.bind(limit.map(signed)))
    .execute(&mut *tx)
    .await?;
    for event in events {
        audit::insert(&mut *tx, &event).await?;
    }
    app.generation = dialect::increment_generation(&mut *tx, app.id, node).await?;
    transaction.commit().await?;
    Ok(app)
}

/// Adds to the disk usage of the app and subtracts from it. Returns the new value.
pub(super) async fn change_disk_bytes(
    tx: &mut Connection,
    app: AppId,
    added: u64,
    removed: u64,
) -> Result<u64, StoreError> {
    let Unsigned(bytes) = sqlx::query_scalar(sql!(
        "UPDATE apps SET disk_bytes = {GREATEST}(disk_bytes + $2 - $3, 0) WHERE id = $1 RETURNING disk_bytes"
    ))
    .bind(app)
    .bind(signed(added))
    .bind(signed(removed))
    .fetch_one(tx)
    .await?;
    Ok(bytes)
}

/// Increments the secrets generation of the app.
pub(super) async fn increment_secrets_generation(tx: &mut Connection, app: AppId) -> Result<u64, StoreError> {
    let Unsigned(raised) = sqlx::query_scalar(
        "UPDATE apps SET secrets_generation = secrets_generation + 1 WHERE id = $1 RETURNING secrets_generation",
    )
    .bind(app)
    .fetch_one(tx)
    .await?;
    Ok(raised)
}
