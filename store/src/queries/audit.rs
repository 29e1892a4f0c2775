//! The table `audit_events`.

use chrono::{DateTime, Utc};
use manifest_schema::name::AppName;
use uuid::Uuid;

use super::{Connection, Connections, dialect, sql, transaction};
use crate::audit::{AUDIT_PRUNE_BATCH, AuditEvent, AuditRow};
use crate::error::StoreError;
use crate::sql_types::Id;

/// The columns of [`AuditRow`].
const ROW: &str =
    "id, at, actor, token, address, request_id, action, app, subject, old_value, new_value, deploy";

pub(crate) async fn audit_events(
    connections: &Connections,
    app: Option<&AppName>,
    before: Option<Uuid>,
    limit: u32,
) -> Result<Vec<AuditRow>, StoreError> {
    let rows = sqlx::query_as(sql!(
        "SELECT {ROW} FROM audit_events WHERE ($1 IS NULL OR app = $1) AND ($2 IS NULL OR id < $2) ORDER BY id DESC LIMIT $3"
    ))
    .bind(app.map(AppName::as_str))
    .bind(before.map(Id))
    .bind(i64::from(limit))
    .fetch_all(connections.reader())
    .await?;
    Ok(rows)
}

pub(crate) async fn record_audit(connections: &Connections, event: &AuditEvent) -> Result<(), StoreError> {
    let mut transaction = transaction::begin(connections).await?;
    insert(&mut transaction, event).await?;
    transaction.commit().await
}

/// Adds an event within the transaction of its change.
pub(super) async fn insert(tx: &mut Connection, event: &AuditEvent) -> Result<(), sqlx::Error> {
    sqlx::query(sql!(
        "INSERT INTO audit_events ({ROW}) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)"
    ))
    .bind(Id(Uuid::now_v7()))
    .bind(event.at)
    .bind(&event.by.name)
    .bind(event.by.token.map(Id))
    .bind(&event.by.address)
    .bind(event.by.request.map(Id))
    .bind(event.action)
    .bind(event.app.as_ref().map(AppName::as_str))
    .bind(&event.subject)
    .bind(&event.old)
    .bind(&event.new)
    .bind(event.deploy)
    .execute(tx)
    .await?;
    Ok(())
}

pub(crate) async fn prune_audit(connections: &Connections, before: DateTime<Utc>) -> Result<u64, StoreError> {
    let old = dialect::in_query("SELECT id FROM audit_events WHERE at < $1 ORDER BY at LIMIT $2");
    let change = sqlx::query(sql!("DELETE FROM audit_events WHERE id {old}"));
    transaction::execute(connections, change.bind(before).bind(i64::from(AUDIT_PRUNE_BATCH))).await
}
