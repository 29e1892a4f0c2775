//! The table `tokens`.

use chrono::{DateTime, TimeDelta, Utc};
use uuid::Uuid;

use super::connections::Connections;
use super::{audit, transaction};
use crate::audit::Act;
use crate::error::StoreError;
use crate::row;
use crate::token::Token;

type Row =
    (Uuid, String, Vec<u8>, String, DateTime<Utc>, String, Option<DateTime<Utc>>, Option<DateTime<Utc>>);

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
    .bind(token.id)
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
    let row: Option<Row> = sqlx::query_as(
        "SELECT id, name, hash, scopes, created_at, created_by, expires_at, last_used_at FROM tokens WHERE hash = $1",
    )
    .bind(hash.as_slice())
    .fetch_optional(connections)
    .await?;
    row.map(read).transpose()
}

pub(crate) async fn tokens(connections: &Connections) -> Result<Vec<Token>, StoreError> {
    let rows: Vec<Row> = sqlx::query_as(
        "SELECT id, name, hash, scopes, created_at, created_by, expires_at, last_used_at FROM tokens
         ORDER BY name COLLATE \"C\"",
    )
    .fetch_all(connections)
    .await?;
    rows.into_iter().map(read).collect()
}

fn read(row: Row) -> Result<Token, StoreError> {
    let (id, name, hash, scopes, created_at, created_by, expires_at, last_used_at) = row;
    let hash = row::token_hash(&hash)?;
    Ok(Token { id, name, hash, scopes, created_at, created_by, expires_at, last_used_at })
}

pub(crate) async fn revoke_token(connections: &Connections, id: Uuid, act: &Act) -> Result<bool, StoreError> {
    let mut transaction = transaction::begin(connections).await?;
    let revoked = sqlx::query("DELETE FROM tokens WHERE id = $1").bind(id).execute(&mut *transaction).await?;
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
    sqlx::query(
        "UPDATE tokens SET last_used_at = $2 WHERE id = $1 AND (last_used_at IS NULL OR last_used_at <= $3)",
    )
    .bind(id)
    .bind(now)
    .bind(now - every)
    .execute(connections)
    .await?;
    Ok(())
}
