//! The tables `secrets`, of production, and `preview_secrets`.

use super::dialect::{self, BY_BYTES};
use super::{Connections, apps, audit, deploys, refs, sql, transaction};
use crate::audit::{Act, AuditAction};
use crate::error::{PushError, StoreError};
use crate::id::AppId;
use crate::secret::{Environment, SealedSecret, SecretChange, SecretReceipt};

/// All secrets of an app, or of each, with the columns of [`SealedSecret`].
fn of_both(condition: &str) -> String {
    let of = |environment: Environment| {
        let (table, environment) = (environment.table(), environment.as_str());
        format!(
            "SELECT app, name, key, sealed, set_at, set_by, '{environment}' AS environment FROM {table} {condition}"
        )
    };
    Environment::ALL.map(of).join(" UNION ALL ")
}

pub(crate) async fn secrets(connections: &Connections, app: AppId) -> Result<Vec<SealedSecret>, StoreError> {
    let both = of_both("WHERE app = $1");
    let secrets =
        sqlx::query_as(sql!("SELECT * FROM ({both}) AS secrets ORDER BY name {BY_BYTES}, environment"));
    Ok(secrets.bind(app).fetch_all(connections.reader()).await?)
}

pub(crate) async fn all_secrets(connections: &Connections) -> Result<Vec<SealedSecret>, StoreError> {
    let both = of_both("");
    let secrets = sqlx::query_as(sql!("SELECT * FROM ({both}) AS secrets ORDER BY app, name, environment"));
    Ok(secrets.fetch_all(connections.reader()).await?)
}

pub(crate) async fn change_secret(
    connections: &Connections,
    change: &SecretChange<'_>,
) -> Result<SecretReceipt, StoreError> {
    let mut transaction = transaction::begin(connections).await?;
    let tx = &mut *transaction;
    let (id, name) = (change.app.id, &change.app.name);
    if change.creates && dialect::insert_app(&mut *tx, id, name, change.act.at).await? {
        let act =
            Act { action: AuditAction::AppCreate, subject: name.as_str().to_owned(), ..change.act.clone() };
        audit::insert(&mut *tx, &act).await?;
    }
    let locked = apps::lock(&mut *tx, name).await.map_err(PushError::into_store)?;
    let mut app = locked.filter(|app| app.id == id).ok_or(StoreError::NoApp)?;
    // What requires the secret was looked for in what was live then.
    if change.sealed.is_none() && app.generation != change.app.generation {
        transaction.rollback().await;
        return Ok(SecretReceipt { app, changed: false, deploys: Vec::new() });
    }
    let table = change.environment.table();
    let changed = match change.sealed {
        Some(secret) => sqlx::query(sql!(
            "INSERT INTO {table} (app, name, key, sealed, set_at, set_by) VALUES ($1, $2, $3, $4, $5, $6)
             ON CONFLICT (app, name) DO UPDATE SET
                 key = excluded.key, sealed = excluded.sealed, set_at = excluded.set_at, set_by = excluded.set_by"
        ))
        .bind(id)
        .bind(change.name)
        .bind(&secret.key)
        .bind(&secret.sealed)
        .bind(secret.set_at)
        .bind(&secret.set_by),
        None => sqlx::query(sql!("DELETE FROM {table} WHERE app = $1 AND name = $2")).bind(id).bind(change.name),
    };
    if changed.execute(&mut *tx).await?.rows_affected() == 0 {
        transaction.rollback().await;
        return Ok(SecretReceipt { app, changed: false, deploys: Vec::new() });
    }
    let because = Some(format!("{} {}", change.act.action.as_str(), change.name));
    let mut deploys = Vec::new();
    for deploy in change.deploys {
        let (at, by) = (change.act.at, &change.act.by.name);
        if refs::points_to(&mut *tx, id, deploy).await? {
            let number = deploys::insert(&mut *tx, id, deploy, (at, by), (because.as_deref(), None)).await?;
            deploys.push((deploy.branch.clone(), number));
        }
    }
    if deploys.is_empty() {
        audit::insert(&mut *tx, change.act).await?;
    }
    for (_, number) in &deploys {
        audit::insert(&mut *tx, &Act { deploy: Some(*number), ..change.act.clone() }).await?;
    }
    app.secrets_generation = apps::raise_secrets(&mut *tx, id).await?;
    app.last_deploy = deploys.last().map_or(app.last_deploy, |(_, number)| number.get());
    app.disk_bytes = apps::change_disk_bytes(&mut *tx, id, 0, 0).await?;
    app.generation = dialect::raise_generation(&mut *tx, id, change.node).await?;
    transaction.commit().await?;
    Ok(SecretReceipt { app, changed: true, deploys })
}

pub(crate) async fn reseal_secret(
    connections: &Connections,
    old: &SealedSecret,
    new: &SealedSecret,
) -> Result<bool, StoreError> {
    let table = old.environment.table();
    let change = sqlx::query(sql!(
        "UPDATE {table} SET key = $4, sealed = $5 WHERE app = $1 AND name = $2 AND sealed = $3"
    ));
    let change = change.bind(old.app).bind(&old.name).bind(&old.sealed).bind(&new.key).bind(&new.sealed);
    Ok(transaction::execute_confirmed(connections, change).await? == 1)
}
