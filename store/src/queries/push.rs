//! The one transaction of a push.

use chrono::{DateTime, Utc};

use super::{
    Connection, Connections, apps, audit, collection, deploys, dialect, domains, objects, refs, revisions,
    sql, transaction,
};
use crate::disk;
use crate::error::PushError;
use crate::id::{AppId, DeployNumber, Oid};
use crate::portion;
use crate::record::{App, NewDeploy, NewPush, Objects, PushReceipt, RefChange, branch_of};
use crate::secret::Environment;

pub(crate) async fn push(connections: &Connections, push: &NewPush<'_>) -> Result<PushReceipt, PushError> {
    let mut transaction = transaction::begin_push(connections).await?;
    match write(&mut transaction, push).await {
        Ok(receipt) => {
            transaction.commit().await?;
            Ok(receipt)
        }
        Err(refused) => {
            if refused.is_refusal() {
                transaction.rollback().await;
            }
            Err(refused)
        }
    }
}

async fn write(tx: &mut Connection, push: &NewPush<'_>) -> Result<PushReceipt, PushError> {
    let created = push.may_create
        && dialect::insert_app(tx, push.new_app, &push.app, push.at).await.map_err(apps::held)?;
    let mut app = apps::lock(tx, &push.app).await?.ok_or(PushError::UnknownApp)?;
    let previews = previews(tx, &app, push).await?;
    if push.collection.is_some_and(|seen| seen != (app.id, app.collection)) {
        return Err(PushError::Collected);
    }
    if let Some(refused) = too_large(&app, push) {
        return Err(refused);
    }
    let (mut added, mut replaced) = insert_objects(tx, app.id, push.objects).await?;
    added += refs::insert_shallow(tx, app.id, &push.shallow).await?;
    replaced += refs::delete_shallow(tx, app.id, &push.unshallow).await?;
    // What goes makes room for what comes: `a` may be replaced by `a/b`.
    let (gone, moved): (Vec<_>, Vec<_>) = push.refs.iter().partition(|change| change.new.is_none());
    for change in gone.into_iter().chain(moved) {
        refs::move_ref(tx, app.id, change).await?;
        release_target(tx, app.id, change, push.at).await?;
    }
    for oid in &push.loose {
        collection::release(tx, app.id, *oid, push.at).await?;
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
    let more = self::previews(tx, &app, push).await?;
    if more > previews && more > push.limits.previews {
        return Err(PushError::TooManyPreviews { there: previews });
    }
    for act in push.acts(created, &deploys) {
        audit::insert(tx, &act).await?;
    }
    let mut pending = match &push.domains {
        Some(domains) => domains::replace_claims(tx, app.id, domains, push.at).await?,
        None => Vec::new(),
    };
    for (domain, proof) in &push.proven {
        domains::hold(tx, &app, domain, *proof, push.at, &push.by).await?;
        pending.retain(|pending| pending != domain);
    }
    app.generation = dialect::raise_generation(tx, app.id, push.node).await?;
    Ok(PushReceipt { app, created, deploys, pending })
}

/// How many previews are live, where the push is about one.
async fn previews(tx: &mut Connection, app: &App, push: &NewPush<'_>) -> Result<usize, PushError> {
    let is_preview = |deploy: &NewDeploy| deploy.branch != app.production_branch;
    match push.limits.previews < usize::MAX && push.deploys.iter().any(is_preview) {
        true => Ok(revisions::count_previews(tx, app.id).await?),
        false => Ok(0),
    }
}

/// What a ref pointed to is held by nothing any more, unless it was deployed on its branch.
async fn release_target(
    tx: &mut Connection,
    app: AppId,
    change: &RefChange,
    at: DateTime<Utc>,
) -> Result<(), PushError> {
    let Some(old) = change.old.filter(|_| change.old != change.new) else { return Ok(()) };
    if !deploys::was_deployed(tx, app, branch_of(&change.name), old).await? {
        collection::release(tx, app, old, at).await?;
    }
    Ok(())
}

/// Nothing is written of a push that does not fit. Objects that came meanwhile count too: it is known which those are only once
/// all of them are inserted.
fn too_large(app: &App, push: &NewPush<'_>) -> Option<PushError> {
    if push.objects.is_empty() {
        return None;
    }
    let (used, most) = (app.disk_bytes, push.limits.disk_bytes);
    let needed = push.objects.stream_bytes() + push.objects.len() as u64 * disk::ROW_BYTES;
    (used.saturating_add(needed) > most).then_some(PushError::TooLarge { used, needed, most })
}

/// Inserts those that are not there. Returns how many bytes of the disk they take, and those took that were replaced.
async fn insert_objects(tx: &mut Connection, app: AppId, all: &dyn Objects) -> Result<(u64, u64), PushError> {
    let (mut inserted, mut added, mut replaced) = (0, 0, 0);
    let has_condemned = !all.is_empty() && collection::has_condemned(tx, app).await?;
    while inserted < all.len() {
        let portion = portion::read(all, inserted).map_err(PushError::Objects)?;
        if has_condemned {
            let oids: Vec<Oid> = portion.iter().map(|object| object.oid).collect();
            replaced += collection::replace_condemned(tx, app, &oids).await?;
        }
        added += objects::insert(tx, app, &portion).await?;
        inserted += portion.len();
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
        let (made, said) = ((push.at, push.by.name.as_str()), (None, push.message.as_deref()));
        numbers.push(deploys::insert(tx, app, deploy, made, said).await?);
    }
    Ok(numbers)
}

/// Nobody has unset meanwhile what a revision needs.
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
