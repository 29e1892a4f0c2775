//! The table `tokens`.

use chrono::{DateTime, TimeDelta, Utc};
use uuid::Uuid;

use super::dialect::{BY_BYTES, FOR_UPDATE};
use super::{Connection, Connections, audit, sql, transaction};
use crate::audit::AuditEvent;
use crate::error::StoreError;
use crate::sql_types::Id;
use crate::token::Token;

/// The columns of [`Token`].
const TOKEN: &str = "id, name, hash, scopes, created_at, created_by, expires_at, last_used_at";

pub(crate) async fn create_token(
    connections: &Connections,
    token: &Token,
    event: &AuditEvent,
) -> Result<bool, StoreError> {
    let mut transaction = transaction::begin(connections).await?;
    let created = sqlx::query(
        "INSERT INTO tokens (id, name, hash, scopes, created_at, created_by, expires_at)
         VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT DO NOTHING",
    )
    .bind(Id(token.id))
    .bind(&token.name)
    .bind(token.hash.as_slice())
    .bind(&token.scopes)
    .bind(token.created_at)
    .bind(&token.created_by)
    .bind(token.expires_at)
    .execute(&mut *transaction)
    .await?;
    if created.rows_affected() == 0 {
        transaction.rollback().await;
        return Ok(false);
    }
    audit::insert(&mut transaction, event).await?;
    transaction.commit().await?;
    Ok(true)
}

pub(crate) async fn token(connections: &Connections, hash: &[u8; 32]) -> Result<Option<Token>, StoreError> {
    let token = sqlx::query_as(sql!("SELECT {TOKEN} FROM tokens WHERE hash = $1"));
    Ok(token.bind(hash.as_slice()).fetch_optional(connections.reader()).await?)
}

pub(crate) async fn token_by_id(connections: &Connections, id: Uuid) -> Result<Option<Token>, StoreError> {
    let token = sqlx::query_as(sql!("SELECT {TOKEN} FROM tokens WHERE id = $1"));
    Ok(token.bind(Id(id)).fetch_optional(connections.reader()).await?)
}

pub(crate) async fn tokens(connections: &Connections) -> Result<Vec<Token>, StoreError> {
    let tokens = sqlx::query_as(sql!("SELECT {TOKEN} FROM tokens ORDER BY name {BY_BYTES}"));
    Ok(tokens.fetch_all(connections.reader()).await?)
}

pub(crate) async fn revoke_token(
    connections: &Connections,
    id: Uuid,
    event: &AuditEvent,
) -> Result<bool, StoreError> {
    let mut transaction = transaction::begin(connections).await?;
    let revoked =
        sqlx::query("DELETE FROM tokens WHERE id = $1").bind(Id(id)).execute(&mut *transaction).await?;
    if revoked.rows_affected() == 0 {
        transaction.rollback().await;
        return Ok(false);
    }
    audit::insert(&mut transaction, event).await?;
    transaction.commit().await?;
    Ok(true)
}

pub(crate) async fn touch_token(
    connections: &Connections,
    id: Uuid,
    now: DateTime<Utc>,
    every: TimeDelta,
) -> Result<(), StoreError> {
    let change = sqlx::query(
        "UPDATE tokens SET last_used_at = $2 WHERE id = $1 AND (last_used_at IS NULL OR last_used_at <= $3)",
    )
    .bind(Id(id))
    .bind(now)
    .bind(now - every);
    transaction::execute(connections, change).await?;
    Ok(())
}

/// The names of tokens with a scope for the app.
pub(super) async fn with_scopes_of(tx: &mut Connection, name: &str) -> Result<Vec<String>, sqlx::Error> {
    let tokens = all_scopes(tx).await?.into_iter();
    let has = |scopes: &str| scopes.split(' ').any(|scope| of(scope, name).is_some());
    Ok(tokens.filter(|token| has(&token.scopes)).map(|token| token.name).collect())
}

/// Renames the scopes of an app.
pub(super) async fn rename_scopes(tx: &mut Connection, from: &str, to: &str) -> Result<(), sqlx::Error> {
    change_scopes(tx, |scope| match of(scope, from) {
        Some(what) => Some(format!("{to}:{what}")),
        None => Some(scope.to_owned()),
    })
    .await
}

/// Removes the scopes of an app.
pub(super) async fn remove_scopes(tx: &mut Connection, name: &str) -> Result<(), sqlx::Error> {
    change_scopes(tx, |scope| of(scope, name).is_none().then(|| scope.to_owned())).await
}

/// The permission of a scope, if it is for the app.
fn of<'s>(scope: &'s str, name: &str) -> Option<&'s str> {
    scope.strip_prefix(name)?.strip_prefix(':')
}

async fn change_scopes(
    tx: &mut Connection,
    change: impl Fn(&str) -> Option<String>,
) -> Result<(), sqlx::Error> {
    for token in all_scopes(tx).await? {
        let changed = token.scopes.split(' ').filter_map(&change).collect::<Vec<_>>().join(" ");
        if changed != token.scopes {
            sqlx::query("UPDATE tokens SET scopes = $2 WHERE id = $1")
                .bind(token.id)
                .bind(changed)
                .execute(&mut *tx)
                .await?;
        }
    }
    Ok(())
}

#[derive(sqlx::FromRow)]
struct ScopesRow {
    id: Id,
    name: String,
    scopes: String,
}

async fn all_scopes(tx: &mut Connection) -> Result<Vec<ScopesRow>, sqlx::Error> {
    let all =
        sqlx::query_as(sql!("SELECT id, name, scopes FROM tokens ORDER BY name {BY_BYTES} {FOR_UPDATE}"));
    all.fetch_all(tx).await
}
