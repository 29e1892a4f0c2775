//! Secrets: set with a deploy of what reads them, or not at all.

use store::{
    Act, Actor, App, AuditAction, Environment, Location, NewDeploy, NewPush, PushError, SealedSecret,
    SecretChange, Store,
};

use crate::values::*;

on_both_databases!(
    a_secret_is_kept_with_a_deploy_of_what_reads_it,
    a_branch_that_points_elsewhere_is_not_deployed,
    a_push_needs_its_secrets_to_be_set_still,
    secret_is_not_unset_after_a_push_that_was_not_seen,
    a_secret_is_sealed_anew_only_where_it_was_not_set_meanwhile,
    secrets_of_production_and_of_previews_are_two_sets,
);

fn secret(app: &App, sealed: u8) -> SealedSecret {
    let (name, key, set_by) = ("API_KEY".to_owned(), "abc".to_owned(), "ada".to_owned());
    let environment = Environment::Production;
    SealedSecret { app: app.id, environment, name, key, sealed: vec![sealed; 60], set_at: noon(), set_by }
}

async fn change(
    store: &Store,
    app: &App,
    sealed: Option<&SealedSecret>,
    deploys: &[NewDeploy],
) -> store::SecretReceipt {
    let action = if sealed.is_some() { AuditAction::SecretSet } else { AuditAction::SecretUnset };
    let act = Act::new(&Actor::named("ada"), action, Some(&app.name), "API_KEY");
    let change = SecretChange {
        app,
        creates: false,
        name: "API_KEY",
        environment: Environment::Production,
        sealed,
        deploys,
        node: None,
        act: &act,
    };
    store.change_secret(&change).await.unwrap()
}

async fn secrets_of_production_and_of_previews_are_two_sets(location: Location) {
    let store = Store::open(&location).await.unwrap();
    let app = store.push(&push(None, 1)).await.unwrap().app;
    let [production, preview] = Environment::ALL;
    let of_preview = SealedSecret { environment: preview, ..secret(&app, 2) };
    let act = Act::new(&Actor::named("ada"), AuditAction::SecretSet, Some(&app.name), "API_KEY");
    let change = SecretChange {
        app: &app,
        creates: false,
        name: "API_KEY",
        environment: preview,
        sealed: Some(&of_preview),
        deploys: &[],
        node: None,
        act: &act,
    };
    let app = store.change_secret(&change).await.unwrap().app;
    assert_eq!(store.secrets(app.id).await.unwrap(), std::slice::from_ref(&of_preview));
    let push_of = |environment| {
        let requires = vec![(environment, "API_KEY".to_owned())];
        NewPush { requires, ..push(Some(1), 2) }
    };
    let refused = store.push(&push_of(production)).await;
    assert!(
        matches!(refused, Err(PushError::SecretUnset { environment, .. }) if environment == production),
        "{refused:?}"
    );
    let app = store.push(&push_of(preview)).await.unwrap().app;
    self::change(&store, &app, Some(&secret(&app, 1)), &[]).await;
    assert_eq!(store.secrets(app.id).await.unwrap(), [of_preview.clone(), secret(&app, 1)]);
    let resealed = SealedSecret { sealed: vec![3; 60], ..of_preview.clone() };
    assert!(store.reseal_secret(&of_preview, &resealed).await.unwrap());
    assert_eq!(store.all_secrets().await.unwrap(), [resealed, secret(&app, 1)]);
}

fn of_main(digit: u8) -> NewDeploy {
    NewDeploy { branch: "main".to_owned(), commit: oid(digit) }
}

async fn a_secret_is_kept_with_a_deploy_of_what_reads_it(location: Location) {
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
    assert_eq!(deploys[0].because, None);
    assert_eq!((deploys[1].because.as_deref(), deploys[1].commit), (Some("secret.set API_KEY"), oid(1)));
    assert_eq!(store.live_of(now.id).await.unwrap()[0].deploy, number(2));
    let listed = store.audit(None, None, 1).await.unwrap();
    assert_eq!((listed[0].act.action, listed[0].act.deploy), (AuditAction::SecretSet, Some(number(2))));
    assert!(change(&store, &now, None, &[]).await.changed);
    assert!(!change(&store, &now, None, &[]).await.changed);
    assert!(store.secrets(now.id).await.unwrap().is_empty());
}

async fn a_branch_that_points_elsewhere_is_not_deployed(location: Location) {
    let store = Store::open(&location).await.unwrap();
    let app = store.push(&push(None, 1)).await.unwrap().app;
    store.push(&push(Some(1), 2)).await.unwrap();
    let set = change(&store, &app, Some(&secret(&app, 1)), &[of_main(1)]).await;
    assert!(set.changed && set.deploys.is_empty());
    assert_eq!(store.deploys(app.id).await.unwrap().len(), 2);
}

async fn a_push_needs_its_secrets_to_be_set_still(location: Location) {
    let store = Store::open(&location).await.unwrap();
    let app = store.push(&push(None, 1)).await.unwrap().app;
    let needing =
        NewPush { requires: vec![(Environment::Production, "API_KEY".to_owned())], ..push(Some(1), 2) };
    let refused = store.push(&needing).await;
    assert!(matches!(refused, Err(PushError::SecretUnset { name, .. }) if name == "API_KEY"));
    assert_eq!(store.deploys(app.id).await.unwrap().len(), 1);
    change(&store, &app, Some(&secret(&app, 1)), &[]).await;
    store.push(&needing).await.unwrap();
}

async fn secret_is_not_unset_after_a_push_that_was_not_seen(location: Location) {
    let store = Store::open(&location).await.unwrap();
    let app = store.push(&push(None, 1)).await.unwrap().app;
    let seen = change(&store, &app, Some(&secret(&app, 1)), &[]).await.app;
    let needing =
        NewPush { requires: vec![(Environment::Production, "API_KEY".to_owned())], ..push(Some(1), 2) };
    let pushed = store.push(&needing).await.unwrap().app;
    let refused = change(&store, &seen, None, &[]).await;
    assert_eq!((refused.changed, refused.app.generation), (false, pushed.generation));
    assert_eq!(store.secrets(app.id).await.unwrap().len(), 1);
    assert!(change(&store, &pushed, None, &[]).await.changed);
}

async fn a_secret_is_sealed_anew_only_where_it_was_not_set_meanwhile(location: Location) {
    let store = Store::open(&location).await.unwrap();
    let app = store.push(&push(None, 1)).await.unwrap().app;
    change(&store, &app, Some(&secret(&app, 1)), &[]).await;
    assert!(store.reseal_secret(&secret(&app, 1), &secret(&app, 2)).await.unwrap());
    assert!(!store.reseal_secret(&secret(&app, 1), &secret(&app, 3)).await.unwrap());
    assert_eq!(store.secrets(app.id).await.unwrap(), [secret(&app, 2)]);
}
