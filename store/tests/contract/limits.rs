//! Limits of single apps.

use store::{
    Actor, App, AppLimit, AppLimits, AuditAction, Location, NewDeploy, NewPush, PushError, PushLimits, Store,
};

use crate::fixtures::*;

on_both_databases!(
    limit_is_read_with_app_until_unset,
    limits_are_stored_in_separate_columns,
    unchanged_limit_changes_nothing,
    push_over_preview_limit_is_rejected,
);

async fn pushed(store: &Store) -> App {
    store.push(&push(None, 1)).await.unwrap();
    read(store).await
}

async fn read(store: &Store) -> App {
    store.app(&app()).await.unwrap().unwrap()
}

async fn limit_is_read_with_app_until_unset(location: Location) {
    let store = Store::open(&location).await.unwrap();
    let before = pushed(&store).await;
    assert_eq!(before.limits, AppLimits::default());
    let set = [(AppLimit::Disk, Some(2 << 30)), (AppLimit::Timeout, Some(120_000))];
    let changed = store.change_limits(&before, &set, None, &Actor::named("ada")).await.unwrap();
    let limits = AppLimits { disk: Some(2 << 30), timeout_ms: Some(120_000), ..AppLimits::default() };
    assert_eq!((changed.limits, read(&store).await), (limits, changed.clone()));
    assert_eq!(store.apps().await.unwrap(), std::slice::from_ref(&changed));
    // Nodes apply changed limits like a push.
    assert_eq!(changed.generation.number, before.generation.number + 1);
    assert_ne!(changed.generation.id, before.generation.id);
    let back = [(AppLimit::Disk, None)];
    let changed = store.change_limits(&changed, &back, None, &Actor::named("bob")).await.unwrap();
    assert_eq!(changed.limits, AppLimits { timeout_ms: Some(120_000), ..AppLimits::default() });
    let acts = store.audit_events(Some(&app()), None, 3).await.unwrap();
    let shown = acts.iter().map(|row| {
        let act = &row.event;
        assert_eq!(act.action, AuditAction::AppSetting);
        (act.by.name.as_str(), act.subject.as_str(), act.old.as_deref().unwrap(), act.new.as_deref().unwrap())
    });
    assert_eq!(
        shown.collect::<Vec<_>>(),
        [
            ("bob", "limit disk", "2147483648", "default"),
            ("ada", "limit timeout", "default", "120000"),
            ("ada", "limit disk", "default", "2147483648"),
        ]
    );
}

async fn limits_are_stored_in_separate_columns(location: Location) {
    let store = Store::open(&location).await.unwrap();
    let mut found = pushed(&store).await;
    let changes: Vec<_> = (1..).zip(AppLimit::ALL).map(|(value, limit)| (limit, Some(value))).collect();
    found = store.change_limits(&found, &changes, None, &Actor::named("ada")).await.unwrap();
    assert_eq!(found, read(&store).await);
    for (limit, value) in changes {
        assert_eq!(found.limits.get(limit), value, "{limit:?}");
    }
    for limit in AppLimit::ALL {
        let most = Some(*limit.range().end());
        found = store.change_limits(&found, &[(limit, most)], None, &Actor::named("ada")).await.unwrap();
        assert_eq!(read(&store).await.limits.get(limit), most, "{limit:?}");
    }
}

async fn unchanged_limit_changes_nothing(location: Location) {
    let store = Store::open(&location).await.unwrap();
    let found = pushed(&store).await;
    let acts = store.audit_events(None, None, 100).await.unwrap().len();
    let set = [(AppLimit::Disk, None)];
    assert_eq!(store.change_limits(&found, &set, None, &Actor::named("ada")).await.unwrap(), found);
    assert_eq!((read(&store).await, store.audit_events(None, None, 100).await.unwrap().len()), (found, acts));
}

/// A push of commit 1 to preview branches with a limit of previews.
fn previews(branches: &[&str], most: usize) -> NewPush<'static> {
    let refs = branches.iter().map(|branch| creating(&format!("refs/heads/{branch}"), 1)).collect();
    let deploys = branches.iter().map(|branch| NewDeploy { branch: (*branch).to_owned(), commit: oid(1) });
    NewPush {
        deploys: deploys.collect(),
        limits: PushLimits { previews: most, ..PushLimits::NONE },
        ..refs_only(refs)
    }
}

async fn push_over_preview_limit_is_rejected(location: Location) {
    let store = Store::open(&location).await.unwrap();
    pushed(&store).await;
    store.push(&previews(&["a", "b"], 2)).await.unwrap();
    let result = store.push(&previews(&["c"], 2)).await;
    assert!(matches!(result, Err(PushError::TooManyPreviews { previews: 2 })), "{result:?}");
    assert_eq!(store.live_branches(read(&store).await.id).await.unwrap().len(), 3);
    // Existing previews can be updated over the limit.
    let refs = vec![store::RefChange { old: Some(oid(1)), ..creating("refs/heads/a", 1) }];
    store.push(&NewPush { refs, ..previews(&["a"], 1) }).await.unwrap();
    // Deleting one allows another.
    let gone = store::RefChange { name: "refs/heads/b".to_owned(), old: Some(oid(1)), new: None };
    let mut swap = previews(&["c"], 2);
    swap.refs.push(gone);
    store.push(&swap).await.unwrap();
}
