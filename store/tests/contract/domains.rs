//! Custom domains: any app can claim one, only one app holds it.

use manifest_schema::name::{AppName, DomainName};
use store::{Actor, AppId, Domain, DomainProof, HoldDomainError, Location, NewPush, PushError, Store};

use crate::database::*;
use crate::fixtures::*;

on_both_databases!(
    domain_is_held_by_one_app_until_released,
    claim_does_not_hold_domain,
    push_without_domains_keeps_claims,
    concurrent_verification_of_same_domains_does_not_deadlock,
    unverified_domain_of_earlier_version_is_a_claim,
);

fn domains(names: &[&str]) -> Option<Vec<DomainName>> {
    Some(names.iter().map(|name| domain(name)).collect())
}

fn domain(name: &str) -> DomainName {
    DomainName::new(name).unwrap()
}

fn named(app: &str, old: Option<u8>, new: u8, names: &[&str]) -> NewPush<'static> {
    NewPush { app: AppName::new(app).unwrap(), domains: domains(names), ..push(old, new) }
}

fn proving(app: &str, old: Option<u8>, new: u8, names: &[&str]) -> NewPush<'static> {
    let proven = names.iter().map(|name| (domain(name), DomainProof::Dns)).collect();
    NewPush { proven, ..named(app, old, new, names) }
}

/// The domains of an app: name, whether claimed, proof.
async fn of(store: &Store, app: AppId) -> Vec<(String, bool, Option<DomainProof>)> {
    let domains = store.domains(app).await.unwrap().into_iter();
    domains.map(|Domain { name, claimed, proof, .. }| (name.to_string(), claimed, proof)).collect()
}

async fn domain_is_held_by_one_app_until_released(location: Location) {
    let store = Store::open(&location).await.unwrap();
    let receipt = store.push(&proving("first", None, 1, &["a.example", "b.example"])).await.unwrap();
    assert_eq!(receipt.pending, []);
    let first = receipt.app.id;
    let wanted = domains(&["b.example", "c.example"]).unwrap();
    let taken = [(wanted[0].clone(), "first".to_owned())];
    assert_eq!(store.taken_domains(None, &wanted).await.unwrap(), taken);
    assert_eq!(store.taken_domains(Some(first), &wanted).await.unwrap(), []);
    for push in [named("second", None, 1, &["b.example"]), proving("second", None, 1, &["b.example"])] {
        let result = store.push(&push).await;
        assert!(matches!(result, Err(PushError::DomainTaken { domain }) if domain == wanted[0]));
    }
    assert_eq!(store.app(&AppName::new("second").unwrap()).await.unwrap(), None, "nothing was created");

    // An unclaimed domain is kept.
    let app = store.push(&named("first", Some(1), 2, &["a.example"])).await.unwrap().app;
    let dns = Some(DomainProof::Dns);
    let held = [("a.example".to_owned(), true, dns), ("b.example".to_owned(), false, dns)];
    assert_eq!(of(&store, first).await, held);
    assert_eq!(store.taken_domains(None, &wanted).await.unwrap(), taken);
    let ada = Actor::named("ada");
    let released = store.release_domain(&app, &wanted[0], None, &ada).await.unwrap().unwrap();
    assert_ne!(released.generation, app.generation, "other nodes are notified");
    assert_eq!(store.release_domain(&app, &wanted[0], None, &ada).await.unwrap(), None);
    let second = store.push(&proving("second", None, 1, &["b.example"])).await.unwrap().app.id;
    assert_eq!(store.taken_domains(Some(second), &wanted).await.unwrap(), []);
    assert_eq!(store.taken_domains(Some(first), &wanted).await.unwrap().len(), 1);
}

async fn claim_does_not_hold_domain(location: Location) {
    let store = Store::open(&location).await.unwrap();
    let first = store.push(&named("first", None, 1, &["a.example"])).await.unwrap();
    assert_eq!(first.pending, [domain("a.example")]);
    let second = store.push(&named("second", None, 1, &["a.example"])).await.unwrap().app;
    assert_eq!(of(&store, second.id).await, [("a.example".to_owned(), true, None)]);
    let ada = Actor::named("ada");
    let hold =
        async |app, name: &str| store.hold_domain(app, &domain(name), DomainProof::Admin, None, &ada).await;
    let held = hold(&second, "a.example").await.unwrap();
    assert_ne!(held.generation, second.generation);
    hold(&second, "a.example").await.unwrap();
    assert!(matches!(hold(&first.app, "a.example").await, Err(HoldDomainError::Taken)));
    assert!(matches!(hold(&first.app, "b.example").await, Err(HoldDomainError::NotClaimed)));
    assert!(!store.domains(first.app.id).await.unwrap()[0].is_served());
    let held = &store.domains(second.id).await.unwrap()[0];
    assert!(held.is_served() && held.proven_at.is_some());
    assert_eq!(held.proven_by.as_deref(), Some("ada"));
    // A claim that is not renewed is deleted.
    store.push(&named("first", Some(1), 2, &[])).await.unwrap();
    assert_eq!(of(&store, first.app.id).await, []);
}

async fn push_without_domains_keeps_claims(location: Location) {
    let store = Store::open(&location).await.unwrap();
    let app = store.push(&proving("first", None, 1, &["a.example"])).await.unwrap().app.id;
    store.push(&NewPush { domains: None, ..named("first", Some(1), 2, &[]) }).await.unwrap();
    assert_eq!(of(&store, app).await, [("a.example".to_owned(), true, Some(DomainProof::Dns))]);
}

/// Both apps verify the same domains: one succeeds, the other is rejected, without a deadlock.
async fn concurrent_verification_of_same_domains_does_not_deadlock(location: Location) {
    let store = Store::open(&location).await.unwrap();
    for app in ["first", "second"] {
        store.push(&named(app, None, 1, &[])).await.unwrap();
    }
    let names = ["a.example", "b.example", "c.example"];
    let backwards = ["c.example", "b.example", "a.example"];
    let (first, second) = (proving("first", Some(1), 1, &names), proving("second", Some(1), 1, &backwards));
    let (one, other) = tokio::join!(store.push(&first), store.push(&second));
    let result: Vec<_> = [one, other].into_iter().filter_map(Result::err).collect();
    assert!(matches!(result[..], [PushError::DomainTaken { .. }]), "{result:?}");
}

/// A row of an early version, which did not verify domains.
async fn unverified_domain_of_earlier_version_is_a_claim(location: Location) {
    let store = Store::open(&location).await.unwrap();
    let first = store.push(&named("first", None, 1, &[])).await.unwrap().app.id;
    let second = store.push(&named("second", None, 1, &["a.example"])).await.unwrap().app;
    let insert = "INSERT INTO domains (name, app) SELECT 'a.example', id FROM apps WHERE name = 'first'";
    Other::at(&location).await.run(insert).await;
    assert_eq!(of(&store, first).await, [("a.example".to_owned(), true, None)]);
    assert_eq!(store.taken_domains(None, &[domain("a.example")]).await.unwrap(), []);
    let (a, ada) = (domain("a.example"), Actor::named("ada"));
    store.hold_domain(&second, &a, DomainProof::Dns, None, &ada).await.unwrap();
    assert_eq!(of(&store, second.id).await, [("a.example".to_owned(), true, Some(DomainProof::Dns))]);
}
