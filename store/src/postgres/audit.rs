//! The table `audit`.

use chrono::{DateTime, Utc};
use manifest_schema::name::AppName;
use uuid::Uuid;

use super::connections::{Connection, Connections};
use super::transaction;
use crate::audit::{AUDIT_PRUNED_AT_ONCE, Act, Actor, AuditRow};
use crate::error::StoreError;
use crate::row::{self, signed};

type Row = (
    Uuid,
    DateTime<Utc>,
    String,
    Option<Uuid>,
    Option<String>,
    Option<Uuid>,
    String,
    Option<String>,
    String,
    Option<String>,
    Option<String>,
    Option<i64>,
);

pub(crate) async fn audit(
    connections: &Connections,
    app: Option<&AppName>,
    before: Option<Uuid>,
    most: u32,
) -> Result<Vec<AuditRow>, StoreError> {
    let rows: Vec<Row> = sqlx::query_as(
        "SELECT id, at, who, token, address, request_id, action, app, subject, old_value, new_value, deploy
         FROM audit WHERE ($1 IS NULL OR app = $1) AND ($2 IS NULL OR id < $2) ORDER BY id DESC LIMIT $3",
    )
    .bind(app.map(AppName::as_str))
    .bind(before)
    .bind(i64::from(most))
    .fetch_all(connections)
    .await?;
    rows.into_iter().map(read).collect()
}

fn read(row: Row) -> Result<AuditRow, StoreError> {
    let (id, at, name, token, address, request, action, app, subject, old, new, deploy) = row;
    let by = Actor { name, token, address, request };
    Ok(AuditRow { id, act: row::act(by, at, &action, app.as_deref(), (subject, old, new), deploy)? })
}

pub(crate) async fn record(connections: &Connections, act: &Act) -> Result<(), StoreError> {
    let mut transaction = transaction::begin(connections).await?;
    insert(&mut transaction, act).await?;
    transaction.commit().await
}

/// Adds an act to the list, within the transaction that it is.
pub(super) async fn insert(connection: &mut Connection, act: &Act) -> Result<(), sqlx::Error> {
    sqlx::query(
        "INSERT INTO audit (id, at, who, token, address, request_id, action, app, subject, old_value, new_value, deploy)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)",
    )
    .bind(Uuid::now_v7())
    .bind(act.at)
    .bind(&act.by.name)
    .bind(act.by.token)
    .bind(&act.by.address)
    .bind(act.by.request)
    .bind(act.action.as_str())
    .bind(act.app.as_ref().map(AppName::as_str))
    .bind(&act.subject)
    .bind(&act.old)
    .bind(&act.new)
    .bind(act.deploy.map(|deploy| signed(deploy.get())))
    .execute(connection)
    .await?;
    Ok(())
}

pub(crate) async fn prune_audit(connections: &Connections, before: DateTime<Utc>) -> Result<u64, StoreError> {
    let deleted = sqlx::query(
        "DELETE FROM audit WHERE id = ANY (ARRAY(SELECT id FROM audit WHERE at < $1 ORDER BY at LIMIT $2))",
    )
    .bind(before)
    .bind(i64::from(AUDIT_PRUNED_AT_ONCE))
    .execute(connections)
    .await?;
    Ok(deleted.rows_affected())
}
