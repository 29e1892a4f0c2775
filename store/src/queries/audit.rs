//! The table `audit`.

use chrono::{DateTime, Utc};
use manifest_schema::name::AppName;
use uuid::Uuid;

use super::{Connection, Connections, dialect, sql, transaction};
use crate::audit::{AUDIT_PRUNED_AT_ONCE, Act, AuditRow};
use crate::column::Id;
use crate::error::StoreError;

/// The columns of [`AuditRow`].
const ROW: &str =
    "id, at, who, token, address, request_id, action, app, subject, old_value, new_value, deploy";

pub(crate) async fn audit(
    connections: &Connections,
    app: Option<&AppName>,
    before: Option<Uuid>,
    most: u32,
) -> Result<Vec<AuditRow>, StoreError> {
    let rows = sqlx::query_as(sql!(
        "SELECT {ROW} FROM audit WHERE ($1 IS NULL OR app = $1) AND ($2 IS NULL OR id < $2) ORDER BY id DESC LIMIT $3"
    ))
    .bind(app.map(AppName::as_str))
    .bind(before.map(Id))
    .bind(i64::from(most))
    .fetch_all(connections.reader())
    .await?;
    Ok(rows)
}

pub(crate) async fn record(connections: &Connections, act: &Act) -> Result<(), StoreError> {
    let mut transaction = transaction::begin(connections).await?;
    insert(&mut transaction, act).await?;
    transaction.commit().await
}

/// Adds an act to the list, within the transaction that it is.
pub(super) async fn insert(tx: &mut Connection, act: &Act) -> Result<(), sqlx::Error> {
    sqlx::query(sql!("INSERT INTO audit ({ROW}) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)"))
        .bind(Id(Uuid::now_v7()))
        .bind(act.at)
        .bind(&act.by.name)
        .bind(act.by.token.map(Id))
        .bind(&act.by.address)
        .bind(act.by.request.map(Id))
        .bind(act.action)
        .bind(act.app.as_ref().map(AppName::as_str))
        .bind(&act.subject)
        .bind(&act.old)
        .bind(&act.new)
        .bind(act.deploy)
        .execute(tx)
        .await?;
    Ok(())
}

pub(crate) async fn prune_audit(connections: &Connections, before: DateTime<Utc>) -> Result<u64, StoreError> {
    let old = dialect::among_few("SELECT id FROM audit WHERE at < $1 ORDER BY at LIMIT $2");
    let change = sqlx::query(sql!("DELETE FROM audit WHERE id {old}"));
    transaction::execute(connections, change.bind(before).bind(i64::from(AUDIT_PRUNED_AT_ONCE))).await
}
