//! The table `domains`.

use manifest_schema::name::DomainName;

use super::dialect::{self, BY_BYTES};
use super::{Connection, Connections, sql};
use crate::column::Named;
use crate::error::{PushError, StoreError};
use crate::id::AppId;

/// Those of `domains` that apps other than `app` have, each with the app's name.
pub(crate) async fn taken_domains(
    connections: &Connections,
    app: Option<AppId>,
    domains: &[DomainName],
) -> Result<Vec<(DomainName, String)>, StoreError> {
    let mut taken = Vec::new();
    for domain in domains {
        let by: Option<String> = sqlx::query_scalar(
            "SELECT apps.name FROM domains JOIN apps ON apps.id = domains.app
             WHERE domains.name = $1 AND domains.app IS DISTINCT FROM $2",
        )
        .bind(domain.as_str())
        .bind(app)
        .fetch_optional(connections.reader())
        .await?;
        taken.extend(by.map(|by| (domain.clone(), by)));
    }
    Ok(taken)
}

/// The domains of an app.
pub(crate) async fn domains(connections: &Connections, app: AppId) -> Result<Vec<DomainName>, StoreError> {
    let names: Vec<Named<DomainName>> =
        sqlx::query_scalar(sql!("SELECT name FROM domains WHERE app = $1 ORDER BY name {BY_BYTES}"))
            .bind(app)
            .fetch_all(connections.reader())
            .await?;
    Ok(names.into_iter().map(DomainName::from).collect())
}

/// Makes `domains` those of the app.
pub(super) async fn replace_domains(
    tx: &mut Connection,
    app: AppId,
    domains: &[DomainName],
) -> Result<(), PushError> {
    let there: Vec<String> =
        sqlx::query_scalar("SELECT name FROM domains WHERE app = $1").bind(app).fetch_all(&mut *tx).await?;
    let stays = |name: &String| domains.iter().any(|domain| domain.as_str() == name);
    if there.len() == domains.len() && there.iter().all(stays) {
        return Ok(());
    }
    dialect::lock_domains(&mut *tx).await?;
    for gone in there.iter().filter(|name| !stays(name)) {
        sqlx::query("DELETE FROM domains WHERE name = $1").bind(gone).execute(&mut *tx).await?;
    }
    for new in domains.iter().filter(|domain| !there.iter().any(|name| name == domain.as_str())) {
        let inserted = sqlx::query("INSERT INTO domains (name, app) VALUES ($1, $2) ON CONFLICT DO NOTHING")
            .bind(new.as_str())
            .bind(app)
            .execute(&mut *tx)
            .await?;
        if inserted.rows_affected() == 0 {
            return Err(PushError::DomainTaken { domain: new.clone() });
        }
    }
    Ok(())
}
