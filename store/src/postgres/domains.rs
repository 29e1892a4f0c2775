//! The table `domains`.

use manifest_schema::name::DomainName;

use super::connections::{Connection, Connections};
use crate::error::{PushError, StoreError};
use crate::id::AppId;

/// The advisory lock of whoever changes domains: two apps that give each other theirs would wait for one another for ever.
const CHANGING: i64 = 0x7069_636c_6f75_6401;

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
             WHERE domains.name = $1 AND domains.app IS DISTINCT FROM $2",
        )
        .bind(domain.as_str())
        .bind(app.map(AppId::as_uuid))
        .fetch_optional(connections)
        .await?;
        taken.extend(row.map(|(by,)| (domain.clone(), by)));
    }
    Ok(taken)
}

/// The domains of an app.
pub(crate) async fn domains(connections: &Connections, app: AppId) -> Result<Vec<DomainName>, StoreError> {
    let names: Vec<String> =
        sqlx::query_scalar("SELECT name FROM domains WHERE app = $1 ORDER BY name COLLATE \"C\"")
            .bind(app.as_uuid())
            .fetch_all(connections)
            .await?;
    let read = |name: String| {
        DomainName::new(&name).map_err(|_| StoreError::Corrupt { table: "domains", what: name })
    };
    names.into_iter().map(read).collect()
}

/// Makes `domains` those of the app.
pub(super) async fn replace_domains(
    tx: &mut Connection,
    app: AppId,
    domains: &[DomainName],
) -> Result<(), PushError> {
    let there: Vec<String> = sqlx::query_scalar("SELECT name FROM domains WHERE app = $1 ORDER BY name")
        .bind(app.as_uuid())
        .fetch_all(&mut *tx)
        .await?;
    let stays = |name: &String| domains.iter().any(|domain| domain.as_str() == name);
    if there.len() == domains.len() && there.iter().all(stays) {
        return Ok(());
    }
    sqlx::query("SELECT pg_advisory_xact_lock($1)").bind(CHANGING).execute(&mut *tx).await?;
    for gone in there.iter().filter(|name| !stays(name)) {
        sqlx::query("DELETE FROM domains WHERE name = $1").bind(gone).execute(&mut *tx).await?;
    }
    for new in domains.iter().filter(|domain| !there.iter().any(|name| name == domain.as_str())) {
        let inserted = sqlx::query("INSERT INTO domains (name, app) VALUES ($1, $2) ON CONFLICT DO NOTHING")
            .bind(new.as_str())
            .bind(app.as_uuid())
            .execute(&mut *tx)
            .await?;
        if inserted.rows_affected() == 0 {
            return Err(PushError::DomainTaken { domain: new.clone() });
        }
    }
    Ok(())
}
