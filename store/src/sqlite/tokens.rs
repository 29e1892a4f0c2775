//! The table `tokens`.

use chrono::{DateTime, TimeDelta, Utc};
use uuid::Uuid;

use super::{Connections, audit};
use crate::audit::Act;
use crate::error::StoreError;
use crate::row;
use crate::token::Token;

type Row =
    (String, String, Vec<u8>, String, DateTime<Utc>, String, Option<DateTime<Utc>>, Option<DateTime<Utc>>);

pub(crate) async fn create_token(
    connections: &Connections,
    token: &Token,
    act: &Act,
) -> Result<bool, StoreError> {
    let mut transaction = connections.write.begin().await?;
    let created = sqlx::query(
        "INSERT INTO tokens (id, name, hash, scopes, created_at, created_by, expires_at)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7) ON CONFLICT DO NOTHING",
    )
    .bind(token.id.to_string())
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
        "SELECT id, name, hash, scopes, created_at, created_by, expires_at, last_used_at FROM tokens WHERE hash = ?1",
    )
    .bind(hash.as_slice())
    .fetch_optional(&connections.read)
    .await?;
    row.map(read).transpose()
}

pub(crate) async fn tokens(connections: &Connections) -> Result<Vec<Token>, StoreError> {
    let rows: Vec<Row> = sqlx::query_as(
        "SELECT id, name, hash, scopes, created_at, created_by, expires_at, last_used_at FROM tokens
         ORDER BY name",
    )
    .fetch_all(&connections.read)
    .await?;
    rows.into_iter().map(read).collect()
}

fn read(row: Row) -> Result<Token, StoreError> {
    let (id, name, hash, scopes, created_at, created_by, expires_at, last_used_at) = row;
    let hash = row::token_hash(&hash)?;
    let id = row::uuid_of("tokens", &id)?;
    Ok(Token { id, name, hash, scopes, created_at, created_by, expires_at, last_used_at })
}

pub(crate) async fn revoke_token(connections: &Connections, id: Uuid, act: &Act) -> Result<bool, StoreError> {
    let mut transaction = connections.write.begin().await?;
    let revoked = sqlx::query("DELETE FROM tokens WHERE id = ?1")
        .bind(id.to_string())
        .execute(&mut *transaction)
        .await?;
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
        "UPDATE tokens SET last_used_at = ?2 WHERE id = ?1 AND (last_used_at IS NULL OR last_used_at <= ?3)",
    )
    .bind(id.to_string())
    .bind(now)
    .bind(now - every);
    connections.write.execute(change).await?;
    Ok(())
}
