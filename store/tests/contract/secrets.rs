//! Secrets are set together with the deploys of their readers.

use store::{
    Actor, App, AuditAction, AuditEvent, EncryptedSecret, Environment, Location, NewDeploy, NewPush,
    PushError, SecretChange, Store,
};

use crate::fixtures::*;

on_both_databases!(
    secret_is_stored_and_its_readers_redeployed,
    moved_branch_is_not_redeployed,
    push_with_unset_secret_is_rejected,
    secret_is_not_unset_after_concurrent_push,
    secret_is_reencrypted_unless_set_meanwhile,
    production_and_preview_secrets_are_separate,
);

fn secret(app: &App, byte: u8) -> EncryptedSecret {
    let (name, key_id, set_by) = ("API_KEY".to_owned(), "abc".to_owned(), "ada".to_owned());
    let environment = Environment::Production;
    EncryptedSecret {
        app: app.id,
        environment,
        name,
        key_id,
        ciphertext: vec![byte; 60],
        set_at: noon(),
        set_by,
    }
}

async fn change(
    store: &Store,
    app: &App,
    secret: Option<&EncryptedSecret>,
    deploys: &[NewDeploy],
) -> store::SecretReceipt {
    let action = if secret.is_some() { AuditAction::SecretSet } else { AuditAction::SecretUnset };
    let event = AuditEvent::new(&Actor::named("ada"), action, Some(&app.name), "API_KEY");
    let change = SecretChange {
        app,
        creates: false,
        name: "API_KEY",
        environment: Environment::Production,
        secret,
        deploys,
        node: None,
        event: &event,
    };
    store.change_secret(&change).await.unwrap()
}

async fn production_and_preview_secrets_are_separate(location: Location) {
    let store = Store::open(&location).await.unwrap();
    let app = store.push(&push(None, 1)).await.unwrap().app;
    let [production, preview] = Environment::ALL;
    let of_preview = EncryptedSecret { environment: preview, ..secret(&app, 2) };
    let event = AuditEvent::new(&Actor::named("ada"), AuditAction::SecretSet, Some(&app.name), "API_KEY");
    let change = SecretChange {
        app: &app,
        creates: false,
        name: "API_KEY",
        environment: preview,
        secret: Some(&of_preview),
        deploys: &[],
        node: None,
        event: &event,
    };
    let app = store.change_secret(&change).await.unwrap().app;
    assert_eq!(store.secrets(app.id).await.unwrap(), std::slice::from_ref(&of_preview));
    let push_of = |environment| {
        let requires = vec![(environment, "API_KEY".to_owned())];
        NewPush { requires, ..push(Some(1), 2) }
    };
    let result = store.push(&push_of(production)).await;
    assert!(
        matches!(result, Err(PushError::SecretUnset { environment, .. }) if environment == production),
        "{result:?}"
    );
    let app = store.push(&push_of(preview)).await.unwrap().app;
    self::change(&store, &app, Some(&secret(&app, 1)), &[]).await;
    assert_eq!(store.secrets(app.id).await.unwrap(), [of_preview.clone(), secret(&app, 1)]);
    let reencrypted = EncryptedSecret { ciphertext: vec![3; 60], ..of_preview.clone() };
    assert!(store.reencrypt_secret(&of_preview, &reencrypted).await.unwrap());
    assert_eq!(store.all_secrets().await.unwrap(), [reencrypted, secret(&app, 1)]);
}

fn of_main(digit: u8) -> NewDeploy {
    NewDeploy { branch: "main".to_owned(), commit: oid(digit) }
}

async fn secret_is_stored_and_its_readers_redeployed(location: Location) {
    let store = Store::open(&location).await.unwrap();
    let before = store.push(&push(None, 1)).await.unwrap().app;
    let set = change(&store, &before, Some(&secret(&before, 1)), &[of_main(1)]).await;
    assert_eq!((set.changed, set.deploys), (true, vec![("main".to_owned(), number(2))]));
    let now = store.app(&app()).await.unwrap().unwrap();
    assert_eq!(now, set.app);
    assert!(
        now.generation.number > before.generation.number
            && now.secrets_generation > before.secrets_generation
    );
    assert_eq!(store.secrets(now.id).await.unwrap(), [secret(&now, 1)]);
    assert_eq!(store.all_secrets().await.unwrap(), [secret(&now, 1)]);
    let deploys = store.deploys(now.id).await.unwrap();
    assert_eq!(deploys[0].cause, None);
    assert_eq!((deploys[1].cause.as_deref(), deploys[1].commit), (Some("secret.set API_KEY"), oid(1)));
    assert_eq!(store.live_branches(now.id).await.unwrap()[0].deploy, number(2));
    let listed = store.audit_events(None, None, 1).await.unwrap();
    assert_eq!((listed[0].event.action, listed[0].event.deploy), (AuditAction::SecretSet, Some(number(2))));
    assert!(change(&store, &now, None, &[]).await.changed);
    assert!(!change(&store, &now, None, &[]).await.changed);
    assert!(store.secrets(now.id).await.unwrap().is_empty());
}

async fn moved_branch_is_not_redeployed(location: Location) {
    let store = Store::open(&location).await.unwrap();
    let app = store.push(&push(None, 1)).await.unwrap().app;
    store.push(&push(Some(1), 2)).await.unwrap();
    let set = change(&store, &app, Some(&secret(&app, 1)), &[of_main(1)]).await;
    assert!(set.changed && set.deploys.is_empty());
    assert_eq!(store.deploys(app.id).await.unwrap().len(), 2);
}

async fn push_with_unset_secret_is_rejected(location: Location) {
    let store = Store::open(&location).await.unwrap();
    let app = store.push(&push(None, 1)).await.unwrap().app;
    let needing =
        NewPush { requires: vec![(Environment::Production, "API_KEY".to_owned())], ..push(Some(1), 2) };
    let result = store.push(&needing).await;
    assert!(matches!(result, Err(PushError::SecretUnset { name, .. }) if name == "API_KEY"));
    assert_eq!(store.deploys(app.id).await.unwrap().len(), 1);
    change(&store, &app, Some(&secret(&app, 1)), &[]).await;
    store.push(&needing).await.unwrap();
}

async fn secret_is_not_unset_after_concurrent_push(location: Location) {
    let store = Store::open(&location).await.unwrap();
    let app = store.push(&push(None, 1)).await.unwrap().app;
    let seen = change(&store, &app, Some(&secret(&app, 1)), &[]).await.app;
    let needing =
        NewPush { requires: vec![(Environment::Production, "API_KEY".to_owned())], ..push(Some(1), 2) };
    let pushed = store.push(&needing).await.unwrap().app;
    let result = change(&store, &seen, None, &[]).await;
    assert_eq!((result.changed, result.app.generation), (false, pushed.generation));
    assert_eq!(store.secrets(app.id).await.unwrap().len(), 1);
    assert!(change(&store, &pushed, None, &[]).await.changed);
}

async fn secret_is_reencrypted_unless_set_meanwhile(location: Location) {
    let store = Store::open(&location).await.unwrap();
    let app = store.push(&push(None, 1)).await.unwrap().app;
    change(&store, &app, Some(&secret(&app, 1)), &[]).await;
    assert!(store.reencrypt_secret(&secret(&app, 1), &secret(&app, 2)).await.unwrap());
    assert!(!store.reencrypt_secret(&secret(&app, 1), &secret(&app, 3)).await.unwrap());
    assert_eq!(store.secrets(app.id).await.unwrap(), [secret(&app, 2)]);
}
