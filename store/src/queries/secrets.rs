//! The tables `secrets` and `preview_secrets`.

use super::dialect::{self, BY_BYTES};
use super::{Connections, apps, audit, deploys, refs, sql, transaction};
use crate::audit::{AuditAction, AuditEvent};
use crate::error::{PushError, StoreError};
use crate::id::AppId;
use crate::secret::{EncryptedSecret, Environment, SecretChange, SecretReceipt};

/// Selects the columns of [`EncryptedSecret`] from both tables.
fn from_both_tables(condition: &str) -> String {
    let of = |environment: Environment| {
        let (table, environment) = (environment.table(), environment.as_str());
        format!(
            "SELECT app, name, key_id, ciphertext, set_at, set_by, '{environment}' AS environment FROM {table} {condition}"
        )
    };
    Environment::ALL.map(of).join(" UNION ALL ")
}

pub(crate) async fn secrets(
    connections: &Connections,
    app: AppId,
) -> Result<Vec<EncryptedSecret>, StoreError> {
    let both = from_both_tables("WHERE app = $1");
    let secrets =
        sqlx::query_as(sql!("SELECT * FROM ({both}) AS secrets ORDER BY name {BY_BYTES}, environment"));
    Ok(secrets.bind(app).fetch_all(connections.reader()).await?)
}

pub(crate) async fn all_secrets(connections: &Connections) -> Result<Vec<EncryptedSecret>, StoreError> {
    let both = from_both_tables("");
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
    if change.creates && dialect::insert_app(&mut *tx, id, name, change.event.at).await? {
        let event = AuditEvent {
            action: AuditAction::AppCreate,
            subject: name.as_str().to_owned(),
            ..change.event.clone()
        };
        audit::insert(&mut *tx, &event).await?;
    }
    let locked = apps::lock(&mut *tx, name).await.map_err(PushError::into_store)?;
    let mut app = locked.filter(|app| app.id == id).ok_or(StoreError::NoApp)?;
    // The dependents of the secret were looked up in this generation.
    if change.secret.is_none() && app.generation != change.app.generation {
        transaction.rollback().await;
        return Ok(SecretReceipt { app, changed: false, deploys: Vec::new() });
    }
    let table = change.environment.table();
    let changed = match change.secret {
        Some(secret) => sqlx::query(sql!(
            "INSERT INTO {table} (app, name, key_id, ciphertext, set_at, set_by) VALUES ($1, $2, $3, $4, $5, $6)
             ON CONFLICT (app, name) DO UPDATE SET
                 key_id = excluded.key_id, ciphertext = excluded.ciphertext, set_at = excluded.set_at, set_by = excluded.set_by"
        ))
        .bind(id)
        .bind(change.name)
        .bind(&secret.key_id)
        .bind(&secret.ciphertext)
        .bind(secret.set_at)
        .bind(&secret.set_by),
        None => sqlx::query(sql!("DELETE FROM {table} WHERE app = $1 AND name = $2")).bind(id).bind(change.name),
    };
    if changed.execute(&mut *tx).await?.rows_affected() == 0 {
        transaction.rollback().await;
        return Ok(SecretReceipt { app, changed: false, deploys: Vec::new() });
    }
    let cause = Some(format!("{} {}", change.event.action.as_str(), change.name));
    let mut deploys = Vec::new();
    for deploy in change.deploys {
        let (at, by) = (change.event.at, &change.event.by.name);
        if refs::points_to(&mut *tx, id, deploy).await? {
            let number = deploys::insert(&mut *tx, id, deploy, (at, by), (cause.as_deref(), None)).await?;
            deploys.push((deploy.branch.clone(), number));
        }
    }
    if deploys.is_empty() {
        audit::insert(&mut *tx, change.event).await?;
    }
    for (_, number) in &deploys {
        audit::insert(&mut *tx, &AuditEvent { deploy: Some(*number), ..change.event.clone() }).await?;
    }
    app.secrets_generation = apps::increment_secrets_generation(&mut *tx, id).await?;
    app.last_deploy = deploys.last().map_or(app.last_deploy, |(_, number)| number.get());
    app.disk_bytes = apps::change_disk_bytes(&mut *tx, id, 0, 0).await?;
    app.generation = dialect::increment_generation(&mut *tx, id, change.node).await?;
    transaction.commit().await?;
    Ok(SecretReceipt { app, changed: true, deploys })
}

pub(crate) async fn reencrypt_secret(
    connections: &Connections,
    old: &EncryptedSecret,
    new: &EncryptedSecret,
) -> Result<bool, StoreError> {
    let table = old.environment.table();
    let change = sqlx::query(sql!(
        "UPDATE {table} SET key_id = $4, ciphertext = $5 WHERE app = $1 AND name = $2 AND ciphertext = $3"
    ));
    let change =
        change.bind(old.app).bind(&old.name).bind(&old.ciphertext).bind(&new.key_id).bind(&new.ciphertext);
    Ok(transaction::execute_confirmed(connections, change).await? == 1)
}
