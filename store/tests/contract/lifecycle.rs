//! Stopping, renaming, deleting, undeleting and purging apps.

use chrono::{TimeDelta, Utc};
use manifest_schema::execution::LogLevel;
use manifest_schema::name::{AppName, DomainName};
use store::{
    Actor, App, AppId, AuditAction, Claim, EncryptedSecret, Environment, ExecutionFilter, Location,
    NewDeploy, NewPush, NewRun, PushError, RecordKind, RenameAppError, SecretChange, Store, Token,
};
use uuid::Uuid;

use crate::disk::read;
use crate::fixtures::*;
use crate::records::{execution, line, record};

on_both_databases!(
    app_is_stopped_until_started,
    schedules_of_stopped_or_deleted_app_cannot_be_claimed,
    renamed_app_keeps_its_data,
    rename_to_taken_name_is_rejected,
    deleted_app_is_hidden_and_its_name_is_free,
    scopes_of_deleted_app_do_not_apply_to_new_app,
    undelete_restores_app,
    undelete_fails_if_domain_is_taken,
    purge_deletes_all_rows,
);

fn named(name: &str) -> AppName {
    AppName::new(name).unwrap()
}

fn ada() -> Actor {
    Actor::named("ada")
}

async fn with_secret(store: &Store) -> App {
    store.push(&push(None, 1)).await.unwrap();
    let app = read(store).await;
    let (name, key_id, set_by) = ("KEY".to_owned(), "abc".to_owned(), "ada".to_owned());
    let environment = Environment::Production;
    let secret = EncryptedSecret {
        app: app.id,
        environment,
        name,
        key_id,
        ciphertext: vec![1; 60],
        set_at: noon(),
        set_by,
    };
    let event = store::AuditEvent::new(&ada(), AuditAction::SecretSet, Some(&app.name), "KEY");
    let change = SecretChange {
        app: &app,
        creates: false,
        name: "KEY",
        environment,
        secret: Some(&secret),
        deploys: &[],
        node: None,
        event: &event,
    };
    store.change_secret(&change).await.unwrap();
    read(store).await
}

async fn token(store: &Store, name: &str, scopes: &str) {
    let digit = u8::try_from(name.len()).unwrap();
    let token = Token {
        id: Uuid::from_u128(digit.into()),
        name: name.to_owned(),
        hash: [digit; 32],
        scopes: scopes.to_owned(),
        created_at: noon(),
        created_by: "ada".to_owned(),
        expires_at: None,
        last_used_at: None,
    };
    let event = store::AuditEvent::new(&ada(), AuditAction::TokenCreate, None, name);
    assert!(store.create_token(&token, &event).await.unwrap());
}

async fn scopes(store: &Store) -> Vec<String> {
    store.tokens().await.unwrap().into_iter().map(|token| token.scopes).collect()
}

async fn latest_acts(store: &Store, count: u32) -> Vec<(AuditAction, String)> {
    let rows = store.audit_events(None, None, count).await.unwrap().into_iter();
    rows.map(|row| (row.event.action, row.event.app.map(|app| app.to_string()).unwrap_or_default())).collect()
}

async fn app_is_stopped_until_started(location: Location) {
    let store = Store::open(&location).await.unwrap();
    store.push(&push(None, 1)).await.unwrap();
    let before = read(&store).await;
    let stopped = store.stop_app(&before, true, None, &ada()).await.unwrap();
    assert!(stopped.stopped_at.is_some() && stopped.stopped_by.as_deref() == Some("ada"));
    assert_eq!(stopped.generation.number, before.generation.number + 1);
    let found = read(&store).await;
    assert_eq!((found.generation, &found.stopped_by), (stopped.generation, &stopped.stopped_by));
    // Stopping again changes nothing, and pushes are accepted.
    assert_eq!(store.stop_app(&before, true, None, &Actor::named("bob")).await.unwrap(), found);
    store.push(&push(Some(1), 2)).await.unwrap();
    let started = store.stop_app(&found, false, None, &ada()).await.unwrap();
    assert_eq!((started.stopped_at, started.stopped_by), (None, None));
    let acts = [(AuditAction::AppStart, "hello".to_owned()), (AuditAction::Push, "hello".to_owned())];
    assert_eq!(latest_acts(&store, 2).await, acts);
}

async fn schedules_of_stopped_or_deleted_app_cannot_be_claimed(location: Location) {
    let store = Store::open(&location).await.unwrap();
    let id = store.push(&push(None, 1)).await.unwrap().app.id;
    store.register_schedules(id, number(1), &[declared("* * * * *")]).await.unwrap();
    let until = store.schedule_states(id, "main").await.unwrap()[0].evaluated_until;
    let app = store.stop_app(&read(&store).await, true, None, &ada()).await.unwrap();
    let due = noon() + TimeDelta::minutes(1);
    let by_the_clock = async |due| store.claim_run(&run(id, 1, due)).await.unwrap();
    let by_hand = async || {
        let run = NewRun { manual: true, ..run(id, 1, Utc::now()) };
        store.claim_run(&run).await.unwrap()
    };
    assert!(!matches!(by_the_clock(due).await, Claim::Granted));
    assert!(!matches!(by_hand().await, Claim::Granted));
    let app = store.stop_app(&app, false, None, &ada()).await.unwrap();
    // Due times of the pause are skipped.
    let started = store.schedule_states(id, "main").await.unwrap()[0].evaluated_until;
    assert!(started > until, "{started}");
    assert!(matches!(by_the_clock(due).await, Claim::AlreadyEvaluated(_)));
    assert!(matches!(by_hand().await, Claim::Granted));
    store.delete_app(&app, None, &ada()).await.unwrap();
    assert!(!matches!(by_hand().await, Claim::Granted));
}

async fn renamed_app_keeps_its_data(location: Location) {
    let store = Store::open(&location).await.unwrap();
    let before = with_secret(&store).await;
    token(&store, "ci", "hello:deploy hello:read other:read").await;
    token(&store, "every", "*:read hello2:read").await;
    token(&store, "before", "greeter:read").await;
    let renamed = store.rename_app(&before, &named("greeter"), None, &ada()).await.unwrap();
    assert_eq!((renamed.app.id, renamed.app.name.as_str()), (before.id, "greeter"));
    // Reports tokens that can access the app now.
    assert_eq!(renamed.tokens, ["before"]);
    assert_eq!(store.app(&app()).await.unwrap(), None);
    assert_eq!(store.app(&named("greeter")).await.unwrap(), Some(renamed.app.clone()));
    assert_eq!(store.secrets(before.id).await.unwrap().len(), 1);
    assert_eq!(store.deploys(before.id).await.unwrap().len(), 1);
    assert_eq!(
        scopes(&store).await,
        ["greeter:read", "greeter:deploy greeter:read other:read", "*:read hello2:read"]
    );
    let acts = [(AuditAction::AppRename, "greeter".to_owned()), (AuditAction::AppRename, "hello".to_owned())];
    assert_eq!(latest_acts(&store, 2).await, acts);
    // The old name is free for a new app.
    assert!(store.create_app(&app(), &ada()).await.unwrap());
    assert!(store.secrets(read(&store).await.id).await.unwrap().is_empty());
    let gone = store.rename_app(&before, &named("third"), None, &ada()).await;
    assert!(matches!(gone, Err(RenameAppError::NotFound)), "{gone:?}");
}

async fn rename_to_taken_name_is_rejected(location: Location) {
    let store = Store::open(&location).await.unwrap();
    store.push(&push(None, 1)).await.unwrap();
    store.create_app(&named("other"), &ada()).await.unwrap();
    let hello = read(&store).await;
    for name in ["other", "hello"] {
        let result = store.rename_app(&hello, &named(name), None, &ada()).await;
        assert!(matches!(&result, Err(RenameAppError::Taken(taken)) if taken.as_str() == name), "{result:?}");
    }
    let deleted = store.delete_app(&hello, None, &ada()).await.unwrap();
    store.create_app(&app(), &ada()).await.unwrap();
    let result = store.undelete_app(deleted.id, &app(), &[], None, &ada()).await;
    assert!(matches!(result, Err(RenameAppError::Taken(_))), "{result:?}");
    assert_eq!(store.deleted_apps().await.unwrap(), [deleted]);
}

async fn deleted_app_is_hidden_and_its_name_is_free(location: Location) {
    let store = Store::open(&location).await.unwrap();
    let before = with_secret(&store).await;
    let domain = DomainName::new("hello.example.com").unwrap();
    let proven = vec![(domain.clone(), store::DomainProof::Dns)];
    let next = NewPush { domains: Some(vec![domain.clone()]), proven: proven.clone(), ..push(Some(1), 2) };
    store.push(&next).await.unwrap();
    let deleted = store.delete_app(&read(&store).await, None, &ada()).await.unwrap();
    assert_eq!((deleted.id, deleted.name.as_str(), deleted.deleted_by.as_str()), (before.id, "hello", "ada"));
    assert_eq!(store.app(&app()).await.unwrap(), None);
    assert!(store.apps().await.unwrap().is_empty());
    assert_eq!(store.deleted_apps().await.unwrap(), std::slice::from_ref(&deleted));
    assert_eq!(latest_acts(&store, 1).await, [(AuditAction::AppDelete, "hello".to_owned())]);
    // The domain is free, and a new app with the name has nothing of the old one.
    let new = NewPush { domains: Some(vec![domain]), proven, ..push(None, 1) };
    let new = store.push(&new).await.unwrap().app;
    assert_ne!(new.id, before.id);
    // A push that depends on objects of the old app is rejected.
    let late = NewPush { gc_id: Some((before.id, before.gc_id)), ..push(Some(1), 2) };
    let result = store.push(&late).await;
    assert!(matches!(result, Err(PushError::ConcurrentGc)), "{result:?}");
    assert!(store.secrets(new.id).await.unwrap().is_empty());
    assert_eq!(store.deploys(new.id).await.unwrap()[0].number, number(1));
    assert_eq!(store.apps().await.unwrap(), [new]);
    let again = store.delete_app(&before, None, &ada()).await;
    assert!(matches!(again, Err(store::StoreError::NoApp)), "{again:?}");
    let pushed = store.push(&NewPush { may_create: false, app: named("absent"), ..push(None, 1) }).await;
    assert!(matches!(pushed, Err(PushError::UnknownApp)), "{pushed:?}");
}

async fn scopes_of_deleted_app_do_not_apply_to_new_app(location: Location) {
    let store = Store::open(&location).await.unwrap();
    store.push(&push(None, 1)).await.unwrap();
    token(&store, "ci", "hello:deploy other:read").await;
    let deleted = store.delete_app(&read(&store).await, None, &ada()).await.unwrap();
    let hidden = format!("~{}:deploy other:read", deleted.id.as_uuid());
    assert_eq!(scopes(&store).await, std::slice::from_ref(&hidden));
    store.create_app(&app(), &ada()).await.unwrap();
    assert_eq!(scopes(&store).await, [hidden]);
    // Scopes return with the app under any name.
    store.undelete_app(deleted.id, &named("old"), &[], None, &ada()).await.unwrap();
    assert_eq!(scopes(&store).await, ["old:deploy other:read"]);
}

async fn undelete_restores_app(location: Location) {
    let store = Store::open(&location).await.unwrap();
    let before = with_secret(&store).await;
    store.register_schedules(before.id, number(1), &[declared("* * * * *")]).await.unwrap();
    let domain = DomainName::new("hello.example.com").unwrap();
    let domains = std::slice::from_ref(&domain);
    let (mine, proven) = (Some(vec![domain.clone()]), vec![(domain.clone(), store::DomainProof::Dns)]);
    let before = store.push(&NewPush { domains: mine, proven, ..push(Some(1), 1) }).await.unwrap().app;
    let held = store.domains(before.id).await.unwrap();
    let deleted = store.delete_app(&before, None, &ada()).await.unwrap();
    let back = store.undelete_app(deleted.id, &app(), domains, None, &ada()).await.unwrap();
    assert_eq!(back, read(&store).await);
    assert_eq!(
        (back.id, back.disk_bytes, back.created_at),
        (before.id, before.disk_bytes, before.created_at)
    );
    assert_ne!(back.generation, before.generation);
    assert_eq!(store.live_branches(back.id).await.unwrap()[0].deploy, number(2));
    assert_eq!(store.secrets(back.id).await.unwrap().len(), 1);
    assert_eq!(store.domains(back.id).await.unwrap(), held);
    assert!(held[0].is_served());
    assert!(store.deleted_apps().await.unwrap().is_empty());
    let started = store.schedule_states(back.id, "main").await.unwrap()[0].evaluated_until;
    assert!(started > noon() + TimeDelta::days(1), "due times of the pause are skipped: {started}");
    // A purge of an earlier deletion does nothing after another deletion.
    assert!(!store.purge_app(&deleted, &ada()).await.unwrap());
    let second = store.delete_app(&back, None, &ada()).await.unwrap();
    assert!(!store.purge_app(&deleted, &ada()).await.unwrap());
    assert_eq!(store.deleted_apps().await.unwrap(), [second]);
    store.undelete_app(deleted.id, &app(), domains, None, &ada()).await.unwrap();
    let again = store.undelete_app(deleted.id, &named("other"), &[], None, &ada()).await;
    assert!(matches!(again, Err(RenameAppError::NotFound)), "{again:?}");
    store.push(&push(Some(1), 2)).await.unwrap();
}

async fn undelete_fails_if_domain_is_taken(location: Location) {
    let store = Store::open(&location).await.unwrap();
    let domain = DomainName::new("hello.example.com").unwrap();
    let (mine, proven) = (Some(vec![domain.clone()]), vec![(domain.clone(), store::DomainProof::Dns)]);
    store.push(&NewPush { domains: mine.clone(), proven: proven.clone(), ..push(None, 1) }).await.unwrap();
    let deleted = store.delete_app(&read(&store).await, None, &ada()).await.unwrap();
    store.push(&NewPush { app: named("other"), domains: mine, proven, ..push(None, 1) }).await.unwrap();
    let result = store.undelete_app(deleted.id, &app(), std::slice::from_ref(&domain), None, &ada()).await;
    assert!(matches!(&result, Err(RenameAppError::DomainTaken(taken)) if *taken == domain), "{result:?}");
    assert_eq!(store.deleted_apps().await.unwrap(), std::slice::from_ref(&deleted));
    assert_eq!(store.app(&app()).await.unwrap(), None);
    let other = store.app(&named("other")).await.unwrap().unwrap();
    store.release_domain(&other, &domain, None, &ada()).await.unwrap();
    let back = store.undelete_app(deleted.id, &app(), &[], None, &ada()).await.unwrap();
    assert_eq!(store.domains(back.id).await.unwrap()[0].proof, Some(store::DomainProof::Dns));
}

async fn purge_deletes_all_rows(location: Location) {
    let store = Store::open(&location).await.unwrap();
    with_secret(&store).await;
    token(&store, "ci", "hello:deploy other:read").await;
    let objects = (0..1200).map(|number| blob(number, 3)).chain([commit(2)]).collect();
    let deploys = vec![NewDeploy { branch: "main".to_owned(), commit: oid(2) }];
    store
        .push(&NewPush { objects: kept(objects), deploys, shallow: vec![oid(2)], ..push(Some(1), 2) })
        .await
        .unwrap();
    let id = read(&store).await.id;
    store.register_schedules(id, number(2), &[declared("* * * * *")]).await.unwrap();
    store.claim_run(&run(id, 2, noon() + TimeDelta::minutes(1))).await.unwrap();
    let other = AppId::from_uuid(Uuid::from_u128(77));
    let recorded = [(id, 21), (id, 22), (other, 23)];
    let lines = recorded.map(|(app, id)| line(app, id, LogLevel::Info, "a"));
    record(&store, recorded.map(|(app, id)| execution(app, id)).to_vec(), lines.to_vec()).await;
    let deleted = store.delete_app(&read(&store).await, None, &ada()).await.unwrap();
    let picloud = Actor::named("picloud");
    assert!(store.purge_app(&deleted, &picloud).await.unwrap());
    // A partly purged app cannot be undeleted.
    assert!(store.deleted_apps().await.unwrap()[0].purging);
    let result = store.undelete_app(id, &app(), &[], None, &ada()).await;
    assert!(matches!(result, Err(RenameAppError::NotFound)), "{result:?}");
    let mut steps = 1;
    while store.purge_app(&deleted, &picloud).await.unwrap() {
        steps += 1;
    }
    assert!((5..20).contains(&steps), "{steps}");
    let executions = async |app| store.executions(app, &ExecutionFilter::default(), 10).await.unwrap().len();
    assert_eq!((executions(id).await, executions(other).await), (0, 1));
    // It no longer counts as the largest app.
    for kind in [RecordKind::Executions, RecordKind::Logs] {
        assert_eq!(store.delete_excess_records(kind, 0).await.unwrap(), 1);
    }
    assert!(store.deleted_apps().await.unwrap().is_empty());
    assert!(store.all_secrets().await.unwrap().is_empty());
    assert_eq!(scopes(&store).await, ["other:read"]);
    assert_eq!(latest_acts(&store, 1).await, [(AuditAction::AppPurge, "hello".to_owned())]);
    assert!(!store.purge_app(&deleted, &picloud).await.unwrap());
    store.push(&push(None, 1)).await.unwrap();
}
