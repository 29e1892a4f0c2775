//! Lifecycle of apps.

use chrono::{DateTime, Utc};
use manifest_schema::name::{AppName, DomainName};
use uuid::Uuid;

use super::dialect::{self, FOR_UPDATE, GREATEST, NOW};
use super::{Connection, Connections, apps, audit, domains, gc, retention, sql, tokens, transaction};
use crate::audit::{Actor, AuditAction, AuditEvent};
use crate::error::{PushError, StoreError};
use crate::execution::RecordKind;
use crate::id::AppId;
use crate::lifecycle::{DeletedApp, PURGE_BATCH, RenameAppError, RenamedApp};
use crate::model::App;

/// The columns of [`DeletedApp`].
const DELETED: &str = "id, deleted_name, production_branch, deleted_at, deleted_by, disk_bytes, purging";

/// The name of a deleted app, which scopes of its tokens use too.
fn hidden_name(app: AppId) -> String {
    format!("~{}", app.as_uuid())
}

/// Locks the app against changes until the transaction ends, and reads it.
async fn lock(tx: &mut Connection, app: &App) -> Result<App, StoreError> {
    let locked = apps::lock(tx, &app.name).await.map_err(PushError::into_store)?;
    locked.filter(|found| found.id == app.id).ok_or(StoreError::NoApp)
}

/// Skips all due times until now.
async fn skip_due_times(tx: &mut Connection, app: AppId, now: DateTime<Utc>) -> Result<(), sqlx::Error> {
    sqlx::query(sql!(
        "UPDATE schedules SET evaluated_until = {GREATEST}(evaluated_until, {NOW}) WHERE app = $2"
    ))
    .bind(now)
    .bind(app)
    .execute(tx)
    .await?;
    Ok(())
}

pub(crate) async fn stop_app(
    connections: &Connections,
    app: &App,
    stopped: bool,
    node: Option<Uuid>,
    by: &Actor,
) -> Result<App, StoreError> {
    let mut transaction = transaction::begin(connections).await?;
    let tx = &mut *transaction;
    let mut app = lock(&mut *tx, app).await?;
    if app.stopped_at.is_some() == stopped {
        transaction.rollback().await;
        return Ok(app);
    }
    let action = if stopped { AuditAction::AppStop } else { AuditAction::AppStart };
    let event = AuditEvent::new(by, action, Some(&app.name), app.name.as_str());
    let (at, name) = if stopped { (Some(event.at), Some(by.name.clone())) } else { (None, None) };
    sqlx::query("UPDATE apps SET stopped_at = $2, stopped_by = $3 WHERE id = $1")
        .bind(app.id)
        .bind(at)
        .bind(&name)
        .execute(&mut *tx)
        .await?;
    if !stopped {
        skip_due_times(&mut *tx, app.id, event.at).await?;
    }
    audit::insert(&mut *tx, &event).await?;
    (app.stopped_at, app.stopped_by) = (at, name);
    app.generation = dialect::increment_generation(&mut *tx, app.id, node).await?;
    transaction.commit().await?;
    Ok(app)
}

/// Whether another app has the name.
async fn is_taken(tx: &mut Connection, name: &AppName) -> Result<bool, sqlx::Error> {
    let taken = sqlx::query_scalar("SELECT EXISTS (SELECT 1 FROM apps WHERE name = $1)");
    taken.bind(name.as_str()).fetch_one(tx).await
}

/// A unique violation means that the name was taken meanwhile.
fn name_error(error: sqlx::Error, name: &AppName) -> RenameAppError {
    match error.as_database_error().is_some_and(|error| error.is_unique_violation()) {
        true => RenameAppError::Taken(name.clone()),
        false => error.into(),
    }
}

pub(crate) async fn rename_app(
    connections: &Connections,
    app: &App,
    name: &AppName,
    node: Option<Uuid>,
    by: &Actor,
) -> Result<RenamedApp, RenameAppError> {
    let mut transaction = transaction::begin(connections).await?;
    let tx = &mut *transaction;
    let mut app = match lock(&mut *tx, app).await {
        Err(StoreError::NoApp) => {
            transaction.rollback().await;
            return Err(RenameAppError::NotFound);
        }
        locked => locked?,
    };
    if is_taken(&mut *tx, name).await? {
        transaction.rollback().await;
        return Err(RenameAppError::Taken(name.clone()));
    }
    sqlx::query("UPDATE apps SET name = $2 WHERE id = $1")
        .bind(app.id)
        .bind(name.as_str())
        .execute(&mut *tx)
        .await
        .map_err(|error| name_error(error, name))?;
    let tokens = tokens::with_scopes_of(&mut *tx, name.as_str()).await?;
    tokens::rename_scopes(&mut *tx, app.name.as_str(), name.as_str()).await?;
    // One event under each name.
    for of in [&app.name, name] {
        let event = AuditEvent::new(by, AuditAction::AppRename, Some(of), "name");
        let event = event.changing(Some(app.name.to_string()), Some(name.to_string()));
        audit::insert(&mut *tx, &event).await?;
    }
    dialect::notify_name(&mut *tx, &app.name, node).await?;
    app.name = name.clone();
    app.generation = dialect::increment_generation(&mut *tx, app.id, node).await?;
    transaction.commit().await?;
    Ok(RenamedApp { app, tokens })
}

pub(crate) async fn delete_app(
    connections: &Connections,
    app: &App,
    node: Option<Uuid>,
    by: &Actor,
) -> Result<DeletedApp, StoreError> {
    let mut transaction = transaction::begin(connections).await?;
    let tx = &mut *transaction;
    let app = lock(&mut *tx, app).await?;
    let event = AuditEvent::new(by, AuditAction::AppDelete, Some(&app.name), app.name.as_str());
    // Notify other nodes while the app still has its name.
    dialect::increment_generation(&mut *tx, app.id, node).await?;
    let hidden = hidden_name(app.id);
    sqlx::query(
        "UPDATE apps SET name = $2, deleted_name = $3, deleted_at = $4, deleted_by = $5 WHERE id = $1",
    )
    .bind(app.id)
    .bind(&hidden)
    .bind(app.name.as_str())
    .bind(event.at)
    .bind(&by.name)
    .execute(&mut *tx)
    .await?;
    domains::hide(&mut *tx, app.id, &hidden).await?;
    tokens::rename_scopes(&mut *tx, app.name.as_str(), &hidden).await?;
    audit::insert(&mut *tx, &event).await?;
    let deleted = lock_deleted(&mut *tx, app.id).await?.ok_or(StoreError::NoApp)?;
    transaction.commit().await?;
    Ok(deleted)
}

/// Locks the deleted app against changes until the transaction ends, and reads it.
async fn lock_deleted(tx: &mut Connection, app: AppId) -> Result<Option<DeletedApp>, sqlx::Error> {
    let sql = sql!("SELECT {DELETED} FROM apps WHERE id = $1 AND deleted_at IS NOT NULL {FOR_UPDATE}");
    sqlx::query_as(sql).bind(app).fetch_optional(tx).await
}

pub(crate) async fn undelete_app(
    connections: &Connections,
    app: AppId,
    name: &AppName,
    domains: &[DomainName],
    node: Option<Uuid>,
    by: &Actor,
) -> Result<App, RenameAppError> {
    let mut transaction = transaction::begin(connections).await?;
    match undelete(&mut transaction, app, name, domains, node, by).await {
        Ok(app) => {
            transaction.commit().await?;
            Ok(app)
        }
        Err(RenameAppError::Store(error)) => Err(error.into()),
        Err(error) => {
            transaction.rollback().await;
            Err(error)
        }
    }
}

async fn undelete(
    tx: &mut Connection,
    id: AppId,
    name: &AppName,
    domains: &[DomainName],
    node: Option<Uuid>,
    by: &Actor,
) -> Result<App, RenameAppError> {
    let deleted = lock_deleted(tx, id).await?.filter(|deleted| !deleted.purging);
    let deleted = deleted.ok_or(RenameAppError::NotFound)?;
    if is_taken(tx, name).await? {
        return Err(RenameAppError::Taken(name.clone()));
    }
    sqlx::query(
        "UPDATE apps SET name = $2, deleted_name = NULL, deleted_at = NULL, deleted_by = NULL WHERE id = $1",
    )
    .bind(id)
    .bind(name.as_str())
    .execute(&mut *tx)
    .await
    .map_err(|error| name_error(error, name))?;
    domains::restore(tx, id, &hidden_name(id)).await?;
    domains::replace_claims(tx, id, domains, Utc::now()).await?;
    tokens::rename_scopes(tx, &hidden_name(id), name.as_str()).await?;
    let event = AuditEvent::new(by, AuditAction::AppUndelete, Some(name), name.as_str());
    skip_due_times(tx, id, event.at).await?;
    audit::insert(tx, &event.changing(Some(deleted.name.to_string()), Some(name.to_string()))).await?;
    dialect::increment_generation(tx, id, node).await?;
    let found = apps::lock(tx, name).await?;
    found.ok_or(RenameAppError::NotFound)
}

pub(crate) async fn deleted_apps(connections: &Connections) -> Result<Vec<DeletedApp>, StoreError> {
    let deleted = sqlx::query_as(sql!(
        "SELECT {DELETED} FROM apps WHERE deleted_at IS NOT NULL ORDER BY deleted_at DESC, id"
    ));
    Ok(deleted.fetch_all(connections.reader()).await?)
}

/// Whether purging of the app has started since it was deleted.
pub(crate) async fn is_purging(connections: &Connections, app: &DeletedApp) -> Result<bool, StoreError> {
    let found = sqlx::query_as(sql!("SELECT {DELETED} FROM apps WHERE id = $1 AND deleted_at IS NOT NULL"));
    let found: Option<DeletedApp> = found.bind(app.id).fetch_optional(connections.reader()).await?;
    Ok(found.is_some_and(|found| found.deleted_at == app.deleted_at && found.purging))
}

pub(crate) async fn purge_app(
    connections: &Connections,
    app: &DeletedApp,
    by: &Actor,
) -> Result<bool, StoreError> {
    let mut transaction = transaction::begin(connections).await?;
    let tx = &mut *transaction;
    // The app may have been undeleted and deleted again meanwhile.
    let locked = lock_deleted(&mut *tx, app.id).await?;
    let Some(app) = locked.filter(|found| found.deleted_at == app.deleted_at) else {
        transaction.rollback().await;
        return Ok(false);
    };
    if !app.purging {
        gc::mark_all_unreachable(&mut *tx, app.id).await?;
        sqlx::query("UPDATE apps SET purging = true WHERE id = $1").bind(app.id).execute(&mut *tx).await?;
        transaction.commit().await?;
        return Ok(true);
    }
    if purge_some(&mut *tx, app.id).await? {
        transaction.commit().await?;
        return Ok(true);
    }
    sqlx::query("DELETE FROM dropped_records WHERE app = $1").bind(app.id).execute(&mut *tx).await?;
    sqlx::query("DELETE FROM deploys WHERE repository = (SELECT repository FROM apps WHERE id = $1)")
        .bind(app.id)
        .execute(&mut *tx)
        .await?;
    sqlx::query("DELETE FROM apps WHERE id = $1").bind(app.id).execute(&mut *tx).await?;
    tokens::remove_scopes(&mut *tx, &hidden_name(app.id)).await?;
    audit::insert(&mut *tx, &AuditEvent::new(by, AuditAction::AppPurge, Some(&app.name), app.name.as_str()))
        .await?;
    transaction.commit().await?;
    Ok(false)
}

/// Deletes a batch of rows of an app. What remains is deleted by cascade.
async fn purge_some(tx: &mut Connection, app: AppId) -> Result<bool, StoreError> {
    if gc::has_unreachable(tx, app).await? {
        gc::delete_some_unreachable(tx, app).await?;
        return Ok(true);
    }
    let runs = sqlx::query(
        "DELETE FROM schedule_runs WHERE app = $1 AND due_at IN (SELECT due_at FROM schedule_runs WHERE app = $1 LIMIT $2)",
    )
    .bind(app)
    .bind(i64::from(PURGE_BATCH))
    .execute(&mut *tx)
    .await?;
    if runs.rows_affected() > 0 {
        return Ok(true);
    }
    for kind in [RecordKind::Executions, RecordKind::Logs] {
        if retention::delete_of_app(tx, kind, app, PURGE_BATCH).await? {
            return Ok(true);
        }
    }
    Ok(false)
}
