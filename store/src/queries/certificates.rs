//! The table `preview_certificates`.

use chrono::{DateTime, Utc};

use super::{Connection, Connections, dialect, transaction};
use crate::certificate::{CertificateGrant, CertificateLimits};
use crate::error::StoreError;
use crate::id::AppId;

pub(crate) async fn grant_certificate(
    connections: &Connections,
    app: AppId,
    name: &str,
    limits: CertificateLimits,
    since: DateTime<Utc>,
    now: DateTime<Utc>,
) -> Result<CertificateGrant, StoreError> {
    let known = sqlx::query_scalar("SELECT EXISTS (SELECT 1 FROM preview_certificates WHERE name = $1)");
    if known.bind(name).fetch_one(connections.reader()).await? {
        return Ok(CertificateGrant::Granted);
    }
    let mut transaction = transaction::begin(connections).await?;
    let granted = grant(&mut transaction, app, name, limits, since, now).await?;
    match granted {
        CertificateGrant::Granted => transaction.commit().await?,
        _ => transaction.rollback().await,
    }
    Ok(granted)
}

async fn grant(
    tx: &mut Connection,
    app: AppId,
    name: &str,
    limits: CertificateLimits,
    since: DateTime<Utc>,
    now: DateTime<Utc>,
) -> Result<CertificateGrant, StoreError> {
    // Serialize grants, so that the counts stay valid.
    dialect::lock_domains(&mut *tx).await?;
    let (all, of_app): (i64, i64) = sqlx::query_as(
        "SELECT count(*), count(CASE WHEN app = $1 THEN 1 END) FROM preview_certificates WHERE granted_at > $2",
    )
    .bind(app)
    .bind(since)
    .fetch_one(&mut *tx)
    .await?;
    let is_reached = |count: i64, limit: u32| count >= i64::from(limit);
    if is_reached(of_app, limits.of_app) {
        return Ok(CertificateGrant::TooManyOfApp(limits.of_app));
    }
    if is_reached(all, limits.all) {
        return Ok(CertificateGrant::TooMany(limits.all));
    }
    sqlx::query(
        "INSERT INTO preview_certificates (name, app, granted_at) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING",
    )
    .bind(name)
    .bind(app)
    .bind(now)
    .execute(tx)
    .await?;
    Ok(CertificateGrant::Granted)
}
