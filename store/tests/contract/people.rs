//! Tokens, and who did what.

use chrono::{DateTime, TimeDelta, Utc};
use store::{Act, Actor, AuditAction, AuditRow, Location, NewDeploy, NewPush, Store, Token};
use uuid::Uuid;

use crate::values::*;

on_both_databases!(
    a_token_is_found_by_its_hash_until_it_is_revoked,
    no_two_tokens_have_one_name,
    the_last_use_is_written_once_in_a_while,
    a_push_is_in_the_list_with_every_ref,
    what_was_not_changed_is_not_in_the_list,
    the_list_is_read_in_pages_and_by_app,
    old_acts_are_deleted_in_portions,
);

fn token(name: &str, digit: u8) -> Token {
    Token {
        id: Uuid::from_u128(u128::from(digit)),
        name: name.to_owned(),
        hash: [digit; 32],
        scopes: "hello:deploy hello:read".to_owned(),
        created_at: noon(),
        created_by: "ada".to_owned(),
        expires_at: Some(noon() + TimeDelta::days(90)),
        last_used_at: None,
    }
}

fn creating_a_token(name: &str) -> Act {
    Act::new(&ada(), AuditAction::TokenCreate, None, name)
}

/// All that can be known of somebody.
fn ada() -> Actor {
    Actor {
        name: "ada".to_owned(),
        token: Some(Uuid::from_u128(9)),
        address: Some("192.0.2.7".to_owned()),
        request: Some(Uuid::from_u128(3)),
    }
}

async fn acts(store: &Store) -> Vec<Act> {
    let rows = store.audit(None, None, 100).await.unwrap();
    rows.into_iter().map(|AuditRow { act, .. }| act).collect()
}

async fn a_token_is_found_by_its_hash_until_it_is_revoked(location: Location) {
    let store = Store::open(&location).await.unwrap();
    let ci = token("ci", 1);
    assert!(store.create_token(&ci, &creating_a_token("ci")).await.unwrap());
    assert_eq!(store.token(&[1; 32]).await.unwrap(), Some(ci.clone()));
    assert_eq!(store.token(&[2; 32]).await.unwrap(), None);
    assert_eq!(store.tokens().await.unwrap(), std::slice::from_ref(&ci));
    let revoking = Act::new(&ada(), AuditAction::TokenRevoke, None, "ci");
    assert!(store.revoke_token(ci.id, &revoking).await.unwrap());
    assert!(!store.revoke_token(ci.id, &revoking).await.unwrap());
    assert_eq!(store.token(&[1; 32]).await.unwrap(), None);
    let listed = acts(&store).await;
    let actions: Vec<_> = listed.iter().map(|act| act.action).collect();
    assert_eq!(actions, [AuditAction::TokenRevoke, AuditAction::TokenCreate]);
    assert_eq!((&listed[0].by, listed[0].subject.as_str()), (&ada(), "ci"));
}

async fn no_two_tokens_have_one_name(location: Location) {
    let store = Store::open(&location).await.unwrap();
    assert!(store.create_token(&token("ci", 1), &creating_a_token("ci")).await.unwrap());
    assert!(!store.create_token(&token("ci", 2), &creating_a_token("ci")).await.unwrap());
    assert_eq!(acts(&store).await.len(), 1);
}

async fn the_last_use_is_written_once_in_a_while(location: Location) {
    let store = Store::open(&location).await.unwrap();
    let ci = token("ci", 1);
    store.create_token(&ci, &creating_a_token("ci")).await.unwrap();
    let minute = TimeDelta::minutes(1);
    let last = async |seconds: i64| -> Option<DateTime<Utc>> {
        store.token_used(ci.id, noon() + TimeDelta::seconds(seconds), minute).await.unwrap();
        store.tokens().await.unwrap()[0].last_used_at
    };
    assert_eq!(last(0).await, Some(noon()));
    assert_eq!(last(59).await, Some(noon()));
    assert_eq!(last(60).await, Some(noon() + minute));
}

async fn a_push_is_in_the_list_with_every_ref(location: Location) {
    let store = Store::open(&location).await.unwrap();
    let mut both = NewPush { by: ada(), ..push(None, 1) };
    both.refs.push(creating("refs/tags/v1", 1));
    both.refs.push(creating("refs/heads/next", 1));
    both.deploys.insert(0, NewDeploy { branch: "next".to_owned(), commit: oid(1) });
    store.push(&both).await.unwrap();
    let mut listed = acts(&store).await;
    listed.reverse();
    let told: Vec<_> = listed
        .iter()
        .map(|act| (act.action.as_str(), act.subject.as_str(), act.deploy.map(|deploy| deploy.get())))
        .collect();
    assert_eq!(
        told,
        [
            ("app.create", "hello", None),
            ("push", "refs/heads/main", Some(2)),
            ("push", "refs/tags/v1", None),
            ("push", "refs/heads/next", Some(1)),
        ]
    );
    let of_main = &listed[1];
    assert_eq!((&of_main.by, of_main.at, &of_main.app), (&ada(), noon(), &Some(app())));
    assert_eq!((&of_main.old, &of_main.new), (&None, &Some(oid(1).to_string())));
}

async fn what_was_not_changed_is_not_in_the_list(location: Location) {
    let store = Store::open(&location).await.unwrap();
    assert!(store.push(&push(Some(4), 1)).await.is_err());
    assert!(store.create_app(&app(), &ada()).await.unwrap());
    assert!(!store.create_app(&app(), &ada()).await.unwrap());
    let made = store.app(&app()).await.unwrap().unwrap();
    assert!(!made.protected);
    assert!(store.protect_app(&made, true, &ada()).await.unwrap());
    assert!(!store.protect_app(&made, true, &ada()).await.unwrap());
    assert!(store.app(&app()).await.unwrap().unwrap().protected);
    assert!(store.refs(made.id).await.unwrap().is_empty());
    let told: Vec<_> = acts(&store).await.into_iter().map(|act| (act.action, act.old, act.new)).collect();
    let word = |word: &str| Some(word.to_owned());
    assert_eq!(
        told,
        [(AuditAction::AppSetting, word("off"), word("on")), (AuditAction::AppCreate, None, None)]
    );
}

async fn the_list_is_read_in_pages_and_by_app(location: Location) {
    let store = Store::open(&location).await.unwrap();
    for number in 0..5 {
        let of_an_app = (number % 2 == 0).then(app);
        let act = Act::new(&ada(), AuditAction::ScheduleRun, of_an_app.as_ref(), &number.to_string());
        store.record(&act).await.unwrap();
    }
    let subjects =
        |rows: &[AuditRow]| -> String { rows.iter().map(|row| row.act.subject.as_str()).collect() };
    let first = store.audit(None, None, 2).await.unwrap();
    let second = store.audit(None, Some(first[1].id), 2).await.unwrap();
    let third = store.audit(None, Some(second[1].id), 2).await.unwrap();
    assert_eq!(
        (subjects(&first), subjects(&second), subjects(&third)),
        ("43".into(), "21".into(), "0".into())
    );
    assert_eq!(subjects(&store.audit(Some(&app()), None, 9).await.unwrap()), "420");
}

async fn old_acts_are_deleted_in_portions(location: Location) {
    let store = Store::open(&location).await.unwrap();
    for day in 0..4 {
        let act = Act::new(&ada(), AuditAction::ScheduleRun, None, &day.to_string());
        store.record(&Act { at: noon() + TimeDelta::days(day), ..act }).await.unwrap();
    }
    assert_eq!(store.prune_audit(noon() + TimeDelta::days(2)).await.unwrap(), 2);
    assert_eq!(store.prune_audit(noon() + TimeDelta::days(2)).await.unwrap(), 0);
    assert_eq!(acts(&store).await.len(), 2);
}
