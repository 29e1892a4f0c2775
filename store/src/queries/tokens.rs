//! The table `tokens`.

use chrono::{DateTime, TimeDelta, Utc};
use uuid::Uuid;

use super::dialect::BY_BYTES;
use super::{Connections, audit, sql, transaction};
use crate::audit::Act;
use crate::column::Id;
use crate::error::StoreError;
use crate::token::Token;

/// The columns of [`Token`].
const TOKEN: &str = "id, name, hash, scopes, created_at, created_by, expires_at, last_used_at";

pub(crate) async fn create_token(
    connections: &Connections,
    token: &Token,
    act: &Act,
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
    audit::insert(&mut transaction, act).await?;
    transaction.commit().await?;
    Ok(true)
}

pub(crate) async fn token(connections: &Connections, hash: &[u8; 32]) -> Result<Option<Token>, StoreError> {
    let token = sqlx::query_as(sql!("SELECT {TOKEN} FROM tokens WHERE hash = $1"));
    Ok(token.bind(hash.as_slice()).fetch_optional(connections.reader()).await?)
}

pub(crate) async fn tokens(connections: &Connections) -> Result<Vec<Token>, StoreError> {
    let tokens = sqlx::query_as(sql!("SELECT {TOKEN} FROM tokens ORDER BY name {BY_BYTES}"));
    Ok(tokens.fetch_all(connections.reader()).await?)
}

pub(crate) async fn revoke_token(connections: &Connections, id: Uuid, act: &Act) -> Result<bool, StoreError> {
    let mut transaction = transaction::begin(connections).await?;
    let revoked =
        sqlx::query("DELETE FROM tokens WHERE id = $1").bind(Id(id)).execute(&mut *transaction).await?;
    if revoked.rows_affected() == 0 {
        transaction.rollback().await;
        return Ok(false);
    }
    audit::insert(&mut transaction, act).await?;
    transaction.commit().await?;
    Ok(true)
}

pub(crate) async fn token_used(
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
