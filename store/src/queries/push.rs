//! The one transaction of a push.

use super::{
    Connection, Connections, apps, audit, deploys, dialect, domains, objects, refs, revisions, transaction,
};
use crate::disk;
use crate::error::PushError;
use crate::id::{AppId, DeployNumber};
use crate::portion;
use crate::record::{App, NewDeploy, NewPush, Objects, PushReceipt, RefChange};

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
    if let Some(refused) = too_large(&app, push) {
        return Err(refused);
    }
    let mut added = insert_objects(tx, app.id, push.objects).await?;
    added += refs::insert_shallow(tx, app.id, &push.shallow).await?;
    // What goes makes room for what comes: `a` may be replaced by `a/b`.
    let (gone, moved): (Vec<_>, Vec<_>) = push.refs.iter().partition(|change| change.new.is_none());
    for change in gone.into_iter().chain(moved) {
        refs::move_ref(tx, app.id, change).await?;
    }
    for revision in &push.revisions {
        added += revisions::insert(tx, app.id, revision).await?;
    }
    let refs_of = |is_such: fn(&RefChange) -> bool| {
        push.refs.iter().filter(|change| is_such(change)).map(|change| disk::reference(&change.name)).sum()
    };
    let removed: u64 = refs_of(|change| change.old.is_some() && change.new.is_none());
    added += refs_of(|change| change.old.is_none() && change.new.is_some());
    require_secrets(tx, app.id, &push.requires).await?;
    let deploys = insert_deploys(tx, app.id, push).await?;
    app.disk_bytes = apps::change_disk_bytes(tx, app.id, added, removed).await?;
    let more = self::previews(tx, &app, push).await?;
    if more > previews && more > push.limits.previews {
        return Err(PushError::TooManyPreviews { there: previews });
    }
    for act in push.acts(created, &deploys) {
        audit::insert(tx, &act).await?;
    }
    if let Some(domains) = &push.domains {
        domains::replace_domains(tx, app.id, domains).await?;
    }
    app.generation = dialect::raise_generation(tx, app.id, push.node).await?;
    Ok(PushReceipt { app, created, deploys })
}

/// How many previews are live, where the push is about one.
async fn previews(tx: &mut Connection, app: &App, push: &NewPush<'_>) -> Result<usize, PushError> {
    let is_preview = |deploy: &NewDeploy| deploy.branch != app.production_branch;
    match push.limits.previews < usize::MAX && push.deploys.iter().any(is_preview) {
        true => Ok(revisions::count_previews(tx, app.id).await?),
        false => Ok(0),
    }
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

/// Inserts those that are not there. Returns how many bytes of the disk they take.
async fn insert_objects(tx: &mut Connection, app: AppId, all: &dyn Objects) -> Result<u64, PushError> {
    let (mut inserted, mut bytes) = (0, 0);
    while inserted < all.len() {
        let portion = portion::read(all, inserted).map_err(PushError::Objects)?;
        bytes += objects::insert(tx, app, &portion).await?;
        inserted += portion.len();
    }
    Ok(bytes)
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
async fn require_secrets(tx: &mut Connection, app: AppId, names: &[String]) -> Result<(), PushError> {
    for name in names {
        let set: bool =
            sqlx::query_scalar("SELECT EXISTS (SELECT 1 FROM secrets WHERE app = $1 AND name = $2)")
                .bind(app)
                .bind(name)
                .fetch_one(&mut *tx)
                .await?;
        if !set {
            return Err(PushError::SecretUnset { name: name.clone() });
        }
    }
    Ok(())
}
