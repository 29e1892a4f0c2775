//! The tables `domains` and `domain_claims`.

use chrono::{DateTime, Utc};
use manifest_schema::name::DomainName;
use uuid::Uuid;

use super::dialect::{self, BY_BYTES};
use super::{Connection, Connections, apps, audit, sql, transaction};
use crate::audit::{Actor, AuditAction, AuditEvent};
use crate::domain::{Domain, DomainProof, HoldDomainError};
use crate::error::{PushError, StoreError};
use crate::id::AppId;
use crate::model::App;

pub(crate) async fn taken_domains(
    connections: &Connections,
    app: Option<AppId>,
    domains: &[DomainName],
) -> Result<Vec<(DomainName, String)>, StoreError> {
    let mut taken = Vec::new();
    for domain in domains {
        let by: Option<String> = sqlx::query_scalar(
            "SELECT apps.name FROM domains JOIN apps ON apps.id = domains.app
             WHERE domains.name = $1 AND domains.proof IS NOT NULL AND domains.app IS DISTINCT FROM $2",
        )
        .bind(domain.as_str())
        .bind(app)
        .fetch_optional(connections.reader())
        .await?;
        taken.extend(by.map(|by| (domain.clone(), by)));
    }
    Ok(taken)
}

/// Unverified domains that an early version wrote count as claims.
pub(crate) async fn domains(connections: &Connections, app: AppId) -> Result<Vec<Domain>, StoreError> {
    let domains = sqlx::query_as(sql!(
        "SELECT names.name, (domain_claims.name IS NOT NULL OR domains.proof IS NULL) AS claimed,
             domains.proof, domains.proven_at, domains.proven_by
         FROM (SELECT name FROM domain_claims WHERE app = $1 UNION SELECT name FROM domains WHERE app = $1) AS names
         LEFT JOIN domain_claims ON domain_claims.app = $1 AND domain_claims.name = names.name
         LEFT JOIN domains ON domains.app = $1 AND domains.name = names.name
         ORDER BY names.name {BY_BYTES}"
    ));
    Ok(domains.bind(app).fetch_all(connections.reader()).await?)
}

/// Replaces the claims of an app. Returns the claimed domains that it does not hold.
pub(super) async fn replace_claims(
    tx: &mut Connection,
    app: AppId,
    domains: &[DomainName],
    at: DateTime<Utc>,
) -> Result<Vec<DomainName>, PushError> {
    let there: Vec<String> = sqlx::query_scalar("SELECT name FROM domain_claims WHERE app = $1")
        .bind(app)
        .fetch_all(&mut *tx)
        .await?;
    for gone in there.iter().filter(|name| !domains.iter().any(|domain| domain.as_str() == name.as_str())) {
        let delete = sqlx::query("DELETE FROM domain_claims WHERE app = $1 AND name = $2");
        delete.bind(app).bind(gone).execute(&mut *tx).await?;
    }
    let mut pending = Vec::new();
    for domain in domains {
        sqlx::query(
            "INSERT INTO domain_claims (app, name, claimed_at) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING",
        )
        .bind(app)
        .bind(domain.as_str())
        .bind(at)
        .execute(&mut *tx)
        .await?;
        match holder(tx, domain).await? {
            Some(holder) if holder == app => {}
            Some(_) => return Err(PushError::DomainTaken { domain: domain.clone() }),
            None => pending.push(domain.clone()),
        }
    }
    Ok(pending)
}

/// The app that holds a domain.
async fn holder(tx: &mut Connection, domain: &DomainName) -> Result<Option<AppId>, sqlx::Error> {
    let holder = sqlx::query_scalar("SELECT app FROM domains WHERE name = $1 AND proof IS NOT NULL");
    holder.bind(domain.as_str()).fetch_optional(tx).await
}

/// Makes the app hold a domain, with an audit event, unless it holds it already.
pub(super) async fn hold(
    tx: &mut Connection,
    app: &App,
    domain: &DomainName,
    proof: DomainProof,
    at: DateTime<Utc>,
    by: &Actor,
) -> Result<(), PushError> {
    dialect::lock_domains(&mut *tx).await?;
    match holder(tx, domain).await? {
        Some(holder) if holder == app.id => return Ok(()),
        Some(_) => return Err(PushError::DomainTaken { domain: domain.clone() }),
        None => {}
    }
    sqlx::query(
        "INSERT INTO domains (name, app, proof, proven_at, proven_by) VALUES ($1, $2, $3, $4, $5)
         ON CONFLICT (name) DO UPDATE SET
             app = excluded.app, proof = excluded.proof, proven_at = excluded.proven_at, proven_by = excluded.proven_by",
    )
    .bind(domain.as_str())
    .bind(app.id)
    .bind(proof)
    .bind(at)
    .bind(&by.name)
    .execute(&mut *tx)
    .await?;
    let event =
        AuditEvent { at, ..AuditEvent::new(by, AuditAction::DomainHold, Some(&app.name), domain.as_str()) };
    audit::insert(tx, &event.changing(None, Some(proof.as_str().to_owned()))).await?;
    Ok(())
}

pub(crate) async fn hold_domain(
    connections: &Connections,
    app: &App,
    domain: &DomainName,
    proof: DomainProof,
    node: Option<Uuid>,
    by: &Actor,
) -> Result<App, HoldDomainError> {
    let mut transaction = transaction::begin(connections).await?;
    match hold_if_claimed(&mut transaction, app, domain, proof, node, by).await {
        Ok(app) => {
            transaction.commit().await?;
            Ok(app)
        }
        Err(HoldDomainError::Store(error)) => Err(error.into()),
        Err(error) => {
            transaction.rollback().await;
            Err(error)
        }
    }
}

async fn hold_if_claimed(
    tx: &mut Connection,
    app: &App,
    domain: &DomainName,
    proof: DomainProof,
    node: Option<Uuid>,
    by: &Actor,
) -> Result<App, HoldDomainError> {
    let locked = apps::lock(tx, &app.name).await?;
    let mut app = locked.filter(|found| found.id == app.id).ok_or(StoreError::NoApp)?;
    let claimed: bool = sqlx::query_scalar(
        "SELECT EXISTS (SELECT 1 FROM domain_claims WHERE app = $1 AND name = $2)
             OR EXISTS (SELECT 1 FROM domains WHERE app = $1 AND name = $2)",
    )
    .bind(app.id)
    .bind(domain.as_str())
    .fetch_one(&mut *tx)
    .await?;
    if !claimed {
        return Err(HoldDomainError::NotClaimed);
    }
    hold(tx, &app, domain, proof, Utc::now(), by).await?;
    app.generation = dialect::increment_generation(tx, app.id, node).await?;
    Ok(app)
}

pub(crate) async fn release_domain(
    connections: &Connections,
    app: &App,
    domain: &DomainName,
    node: Option<Uuid>,
    by: &Actor,
) -> Result<Option<App>, StoreError> {
    let mut transaction = transaction::begin(connections).await?;
    let tx = &mut *transaction;
    let locked = apps::lock(&mut *tx, &app.name).await.map_err(PushError::into_store)?;
    let mut app = locked.filter(|found| found.id == app.id).ok_or(StoreError::NoApp)?;
    dialect::lock_domains(&mut *tx).await?;
    let released = sqlx::query("DELETE FROM domains WHERE app = $1 AND name = $2")
        .bind(app.id)
        .bind(domain.as_str())
        .execute(&mut *tx)
        .await?;
    if released.rows_affected() == 0 {
        transaction.rollback().await;
        return Ok(None);
    }
    let event = AuditEvent::new(by, AuditAction::DomainRelease, Some(&app.name), domain.as_str());
    audit::insert(&mut *tx, &event).await?;
    app.generation = dialect::increment_generation(&mut *tx, app.id, node).await?;
    transaction.commit().await?;
    Ok(Some(app))
}

/// Releases the domains of a deleted app, keeping them under the name `hidden` for an undelete.
pub(super) async fn hide(tx: &mut Connection, app: AppId, hidden: &str) -> Result<(), sqlx::Error> {
    dialect::lock_domains(&mut *tx).await?;
    let hide = sqlx::query("UPDATE domains SET name = $2 || name WHERE app = $1");
    hide.bind(app).bind(format!("{hidden} ")).execute(tx).await?;
    Ok(())
}

/// Restores the domains of an undeleted app, unless another app holds one of them.
pub(super) async fn restore(tx: &mut Connection, app: AppId, hidden: &str) -> Result<(), PushError> {
    dialect::lock_domains(&mut *tx).await?;
    let names: Vec<String> =
        sqlx::query_scalar("SELECT name FROM domains WHERE app = $1").bind(app).fetch_all(&mut *tx).await?;
    for name in names {
        let bare = name.strip_prefix(hidden).map(str::trim_start).unwrap_or(&name);
        let Ok(domain) = DomainName::new(bare) else { continue };
        if holder(tx, &domain).await?.is_some_and(|holder| holder != app) {
            return Err(PushError::DomainTaken { domain });
        }
        // An unverified row belongs to no app.
        let unproven = sqlx::query("DELETE FROM domains WHERE name = $1 AND proof IS NULL");
        unproven.bind(domain.as_str()).execute(&mut *tx).await?;
        let restored = sqlx::query("UPDATE domains SET name = $2 WHERE name = $1");
        restored.bind(&name).bind(domain.as_str()).execute(&mut *tx).await?;
    }
    Ok(())
}
