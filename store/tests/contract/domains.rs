//! Domains: one app has each, whoever pushes when.

use manifest_schema::name::{AppName, DomainName};
use store::{Location, NewPush, PushError, Store};

use crate::values::*;

on_both_databases!(
    a_domain_is_one_apps_until_it_lets_it_go,
    a_push_that_names_no_domains_leaves_them,
    two_apps_may_give_each_other_theirs_at_once,
);

fn domains(names: &[&str]) -> Option<Vec<DomainName>> {
    Some(names.iter().map(|name| DomainName::new(name).unwrap()).collect())
}

fn named(app: &str, old: Option<u8>, new: u8, names: &[&str]) -> NewPush<'static> {
    NewPush { app: AppName::new(app).unwrap(), domains: domains(names), ..push(old, new) }
}

async fn a_domain_is_one_apps_until_it_lets_it_go(location: Location) {
    let store = Store::open(&location).await.unwrap();
    let first = store.push(&named("first", None, 1, &["a.example", "b.example"])).await.unwrap().app.id;
    let wanted = domains(&["b.example", "c.example"]).unwrap();
    let taken = [(wanted[0].clone(), "first".to_owned())];
    assert_eq!(store.taken_domains(None, &wanted).await.unwrap(), taken);
    assert_eq!(store.taken_domains(Some(first), &wanted).await.unwrap(), []);
    let refused = store.push(&named("second", None, 1, &["c.example", "b.example"])).await;
    assert!(matches!(refused, Err(PushError::DomainTaken { domain }) if domain == wanted[0]));
    assert_eq!(store.app(&AppName::new("second").unwrap()).await.unwrap(), None, "nothing of it is there");

    store.push(&named("first", Some(1), 2, &["a.example"])).await.unwrap();
    let second = store.push(&named("second", None, 1, &["c.example", "b.example"])).await.unwrap().app.id;
    assert_eq!(store.taken_domains(Some(second), &wanted).await.unwrap(), []);
    assert_eq!(store.taken_domains(Some(first), &wanted).await.unwrap().len(), 2);
}

async fn a_push_that_names_no_domains_leaves_them(location: Location) {
    let store = Store::open(&location).await.unwrap();
    store.push(&named("first", None, 1, &["a.example"])).await.unwrap();
    store.push(&NewPush { domains: None, ..named("first", Some(1), 2, &[]) }).await.unwrap();
    let wanted = domains(&["a.example"]).unwrap();
    assert_eq!(store.taken_domains(None, &wanted).await.unwrap().len(), 1);
}

/// Each waits for what the other one gives: whoever is second is refused or served, and nobody waits for ever.
async fn two_apps_may_give_each_other_theirs_at_once(location: Location) {
    let store = Store::open(&location).await.unwrap();
    store.push(&named("first", None, 1, &["a.example"])).await.unwrap();
    store.push(&named("second", None, 1, &["b.example"])).await.unwrap();
    for round in 1..6 {
        let (first, second) =
            if round % 2 == 1 { ("b.example", "a.example") } else { ("a.example", "b.example") };
        let (first, second) = (named("first", Some(1), 1, &[first]), named("second", Some(1), 1, &[second]));
        let (one, other) = tokio::join!(store.push(&first), store.push(&second));
        for refused in [one, other].into_iter().filter_map(Result::err) {
            assert!(matches!(refused, PushError::DomainTaken { .. }), "{refused:?}");
        }
    }
}
