//! The table `domains`.

use manifest_schema::name::DomainName;
use sqlx::SqliteConnection;

use super::Connections;
use super::apps::key;
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
        let row: Option<(String,)> = sqlx::query_as(
            "SELECT apps.name FROM domains JOIN apps ON apps.id = domains.app
             WHERE domains.name = ?1 AND domains.app IS NOT ?2",
        )
        .bind(domain.as_str())
        .bind(app.map(key))
        .fetch_optional(&connections.read)
        .await?;
        taken.extend(row.map(|(by,)| (domain.clone(), by)));
    }
    Ok(taken)
}

/// The domains of an app.
pub(crate) async fn domains(connections: &Connections, app: AppId) -> Result<Vec<DomainName>, StoreError> {
    let names: Vec<String> = sqlx::query_scalar("SELECT name FROM domains WHERE app = ?1 ORDER BY name")
        .bind(key(app))
        .fetch_all(&connections.read)
        .await?;
    let read = |name: String| {
        DomainName::new(&name).map_err(|_| StoreError::Corrupt { table: "domains", what: name })
    };
    names.into_iter().map(read).collect()
}

/// Makes `domains` those of the app.
pub(super) async fn replace_domains(
    tx: &mut SqliteConnection,
    app: AppId,
    domains: &[DomainName],
) -> Result<(), PushError> {
    let there: Vec<String> = sqlx::query_scalar("SELECT name FROM domains WHERE app = ?1 ORDER BY name")
        .bind(key(app))
        .fetch_all(&mut *tx)
        .await?;
    for gone in there.iter().filter(|name| !domains.iter().any(|domain| domain.as_str() == *name)) {
        sqlx::query("DELETE FROM domains WHERE name = ?1").bind(gone).execute(&mut *tx).await?;
    }
    for new in domains.iter().filter(|domain| !there.iter().any(|name| name == domain.as_str())) {
        let inserted = sqlx::query("INSERT INTO domains (name, app) VALUES (?1, ?2) ON CONFLICT DO NOTHING")
            .bind(new.as_str())
            .bind(key(app))
            .execute(&mut *tx)
            .await?;
        if inserted.rows_affected() == 0 {
            return Err(PushError::DomainTaken { domain: new.clone() });
        }
    }
    Ok(())
}
