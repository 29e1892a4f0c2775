//! The transaction of a push.

use chrono::{DateTime, Utc};

use super::{
    Connection, Connections, apps, audit, deploys, dialect, domains, gc, objects, refs, revisions, sql,
    transaction,
};
use transaction::Transaction;

use crate::batch;
use crate::disk;
use crate::error::PushError;
use crate::id::{AppId, DeployNumber, Oid};
use crate::model::{App, NewDeploy, NewPush, Objects, PushReceipt, RefChange, branch_of};
use crate::secret::Environment;

pub(crate) async fn push(connections: &Connections, push: &NewPush<'_>) -> Result<PushReceipt, PushError> {
    let mut transaction = transaction::begin_push(connections).await?;
    match write(&mut transaction, push).await {
        Ok(receipt) => {
            transaction.commit().await?;
            Ok(receipt)
        }
        Err(error) => {
            if error.is_rejection() {
                transaction.rollback().await;
            }
            Err(error)
        }
    }
}

async fn write(transaction: &mut Transaction, push: &NewPush<'_>) -> Result<PushReceipt, PushError> {
    let tx: &mut Connection = &mut *transaction;
    let created = push.may_create
        && dialect::insert_app(tx, push.new_app, &push.app, push.at).await.map_err(apps::lock_error)?;
    let mut app = apps::lock(tx, &push.app).await?.ok_or(PushError::UnknownApp)?;
    let previews = previews(tx, &app, push).await?;
    if push.gc_id.is_some_and(|seen| seen != (app.id, app.gc_id)) {
        return Err(PushError::ConcurrentGc);
    }
    if let Some(error) = exceeds_quota(&app, push) {
        return Err(error);
    }
    let (mut added, mut replaced) = insert_objects(transaction, app.id, push.objects).await?;
    let tx: &mut Connection = &mut *transaction;
    added += refs::insert_shallow(tx, app.id, &push.shallow).await?;
    replaced += refs::delete_shallow(tx, app.id, &push.unshallow).await?;
    // Deletions first: `a/b` may replace `a`.
    let (deleted, updated): (Vec<_>, Vec<_>) = push.refs.iter().partition(|change| change.new.is_none());
    for change in deleted.into_iter().chain(updated) {
        refs::move_ref(tx, app.id, change).await?;
        release_target(tx, app.id, change, push.at).await?;
    }
    for oid in &push.dangling {
        gc::release(tx, app.id, *oid, push.at).await?;
    }
    for revision in &push.revisions {
        added += revisions::insert(tx, app.id, revision).await?;
    }
    let refs_of = |is_such: fn(&RefChange) -> bool| -> u64 {
        push.refs.iter().filter(|change| is_such(change)).map(|change| disk::reference(&change.name)).sum()
    };
    let removed: u64 = replaced + refs_of(|change| change.old.is_some() && change.new.is_none());
    added += refs_of(|change| change.old.is_none() && change.new.is_some());
    require_secrets(tx, app.id, &push.requires).await?;
    let deploys = insert_deploys(tx, app.id, push).await?;
    app.last_deploy = deploys.last().map_or(app.last_deploy, |number| number.get());
    app.disk_bytes = apps::change_disk_bytes(tx, app.id, added, removed).await?;
    let after = self::previews(tx, &app, push).await?;
    if after > previews && after > push.limits.previews {
        return Err(PushError::TooManyPreviews { previews });
    }
    for event in push.events(created, &deploys) {
        audit::insert(tx, &event).await?;
    }
    let mut pending = match &push.domains {
        Some(domains) => domains::replace_claims(tx, app.id, domains, push.at).await?,
        None => Vec::new(),
    };
    for (domain, proof) in &push.proven {
        domains::hold(tx, &app, domain, *proof, push.at, &push.by).await?;
        pending.retain(|pending| pending != domain);
    }
    app.generation = dialect::increment_generation(tx, app.id, push.node).await?;
    Ok(PushReceipt { app, created, deploys, pending })
}

/// The number of previews, if the push concerns one.
async fn previews(tx: &mut Connection, app: &App, push: &NewPush<'_>) -> Result<usize, PushError> {
    let is_preview = |deploy: &NewDeploy| deploy.branch != app.production_branch;
    match push.limits.previews < usize::MAX && push.deploys.iter().any(is_preview) {
        true => Ok(revisions::count_previews(tx, app.id).await?),
        false => Ok(0),
    }
}

/// Releases the old target of a ref, unless a deploy of the branch refers to it.
async fn release_target(
    tx: &mut Connection,
    app: AppId,
    change: &RefChange,
    at: DateTime<Utc>,
) -> Result<(), PushError> {
    let Some(old) = change.old.filter(|_| change.old != change.new) else { return Ok(()) };
    if !deploys::was_deployed(tx, app, branch_of(&change.name), old).await? {
        gc::release(tx, app, old, at).await?;
    }
    Ok(())
}

/// Rejects a push that exceeds the quota before anything is written. Objects that exist count too: which ones those
/// are is only known after the insert.
fn exceeds_quota(app: &App, push: &NewPush<'_>) -> Option<PushError> {
    if push.objects.is_empty() {
        return None;
    }
    let (used, limit) = (app.disk_bytes, push.limits.disk_bytes);
    let needed = push.objects.stream_bytes() + push.objects.len() as u64 * disk::ROW_BYTES;
    (used.saturating_add(needed) > limit).then_some(PushError::TooLarge { used, needed, limit })
}

/// Inserts the objects that are missing. Returns by how many bytes disk usage grows, and by how many it shrinks.
async fn insert_objects(
    transaction: &mut Transaction,
    app: AppId,
    all: &dyn Objects,
) -> Result<(u64, u64), PushError> {
    let (mut inserted, mut added, mut replaced) = (0, 0, 0);
    let tx: &mut Connection = &mut *transaction;
    let has_unreachable = !all.is_empty() && gc::has_unreachable(tx, app).await?;
    while inserted < all.len() {
        let batch = batch::read(all, inserted).map_err(PushError::Objects)?;
        if has_unreachable {
            let oids: Vec<Oid> = batch.iter().map(|object| object.oid).collect();
            replaced += gc::replace_unreachable(&mut *transaction, app, &oids).await?;
        }
        added += objects::insert(&mut *transaction, app, &batch).await?;
        inserted += batch.len();
        transaction.note_written(batch.iter().map(|object| object.zlib.len() as u64).sum()).await;
    }
    Ok((added, replaced))
}

async fn insert_deploys(
    tx: &mut Connection,
    app: AppId,
    push: &NewPush<'_>,
) -> Result<Vec<DeployNumber>, PushError> {
    let mut numbers = Vec::with_capacity(push.deploys.len());
    for deploy in &push.deploys {
        let (origin, text) = ((push.at, push.by.name.as_str()), (None, push.message.as_deref()));
        numbers.push(deploys::insert(tx, app, deploy, origin, text).await?);
    }
    Ok(numbers)
}

/// Checks that required secrets were not unset meanwhile.
async fn require_secrets(
    tx: &mut Connection,
    app: AppId,
    secrets: &[(Environment, String)],
) -> Result<(), PushError> {
    for (environment, name) in secrets {
        let table = environment.table();
        let is_set =
            sqlx::query_scalar(sql!("SELECT EXISTS (SELECT 1 FROM {table} WHERE app = $1 AND name = $2)"));
        let is_set: bool = is_set.bind(app).bind(name).fetch_one(&mut *tx).await?;
        if !is_set {
            return Err(PushError::SecretUnset { name: name.clone(), environment: *environment });
        }
    }
    Ok(())
}
