//! Tokens and the audit log.

use chrono::{DateTime, TimeDelta, Utc};
use store::{Actor, AuditAction, AuditEvent, AuditRow, Location, NewDeploy, NewPush, Store, Token};
use uuid::Uuid;

use crate::fixtures::*;

on_both_databases!(
    token_is_found_by_hash_until_it_is_revoked,
    token_names_are_unique,
    token_use_is_recorded_once_in_an_interval,
    push_writes_audit_event_for_every_ref,
    unchanged_setting_writes_no_audit_event,
    audit_log_is_paged_and_filtered_by_app,
    old_audit_events_are_deleted_in_batches,
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

fn creating_token(name: &str) -> AuditEvent {
    AuditEvent::new(&ada(), AuditAction::TokenCreate, None, name)
}

/// An actor with all fields.
fn ada() -> Actor {
    Actor {
        name: "ada".to_owned(),
        token: Some(Uuid::from_u128(9)),
        address: Some("192.0.2.7".to_owned()),
        request: Some(Uuid::from_u128(3)),
    }
}

async fn events(store: &Store) -> Vec<AuditEvent> {
    let rows = store.audit_events(None, None, 100).await.unwrap();
    rows.into_iter().map(|AuditRow { event, .. }| event).collect()
}

async fn token_is_found_by_hash_until_it_is_revoked(location: Location) {
    let store = Store::open(&location).await.unwrap();
    let ci = token("ci", 1);
    assert!(store.create_token(&ci, &creating_token("ci")).await.unwrap());
    assert_eq!(store.token(&[1; 32]).await.unwrap(), Some(ci.clone()));
    assert_eq!(store.token(&[2; 32]).await.unwrap(), None);
    assert_eq!(store.tokens().await.unwrap(), std::slice::from_ref(&ci));
    let revoking = AuditEvent::new(&ada(), AuditAction::TokenRevoke, None, "ci");
    assert!(store.revoke_token(ci.id, &revoking).await.unwrap());
    assert!(!store.revoke_token(ci.id, &revoking).await.unwrap());
    assert_eq!(store.token(&[1; 32]).await.unwrap(), None);
    let listed = events(&store).await;
    let actions: Vec<_> = listed.iter().map(|event| event.action).collect();
    assert_eq!(actions, [AuditAction::TokenRevoke, AuditAction::TokenCreate]);
    assert_eq!((&listed[0].by, listed[0].subject.as_str()), (&ada(), "ci"));
}

async fn token_names_are_unique(location: Location) {
    let store = Store::open(&location).await.unwrap();
    assert!(store.create_token(&token("ci", 1), &creating_token("ci")).await.unwrap());
    assert!(!store.create_token(&token("ci", 2), &creating_token("ci")).await.unwrap());
    assert_eq!(events(&store).await.len(), 1);
}

async fn token_use_is_recorded_once_in_an_interval(location: Location) {
    let store = Store::open(&location).await.unwrap();
    let ci = token("ci", 1);
    store.create_token(&ci, &creating_token("ci")).await.unwrap();
    let minute = TimeDelta::minutes(1);
    let last = async |seconds: i64| -> Option<DateTime<Utc>> {
        store.touch_token(ci.id, noon() + TimeDelta::seconds(seconds), minute).await.unwrap();
        store.tokens().await.unwrap()[0].last_used_at
    };
    assert_eq!(last(0).await, Some(noon()));
    assert_eq!(last(59).await, Some(noon()));
    assert_eq!(last(60).await, Some(noon() + minute));
}

async fn push_writes_audit_event_for_every_ref(location: Location) {
    let store = Store::open(&location).await.unwrap();
    let mut both = NewPush { by: ada(), ..push(None, 1) };
    both.refs.push(creating("refs/tags/v1", 1));
    both.refs.push(creating("refs/heads/next", 1));
    both.deploys.insert(0, NewDeploy { branch: "next".to_owned(), commit: oid(1) });
    store.push(&both).await.unwrap();
    let mut listed = events(&store).await;
    listed.reverse();
    let found: Vec<_> = listed
        .iter()
        .map(|event| (event.action.as_str(), event.subject.as_str(), event.deploy.map(|deploy| deploy.get())))
        .collect();
    assert_eq!(
        found,
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

async fn unchanged_setting_writes_no_audit_event(location: Location) {
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
    let found: Vec<_> =
        events(&store).await.into_iter().map(|event| (event.action, event.old, event.new)).collect();
    let word = |word: &str| Some(word.to_owned());
    assert_eq!(
        found,
        [(AuditAction::AppSetting, word("off"), word("on")), (AuditAction::AppCreate, None, None)]
    );
}

async fn audit_log_is_paged_and_filtered_by_app(location: Location) {
    let store = Store::open(&location).await.unwrap();
    for number in 0..5 {
        let of_an_app = (number % 2 == 0).then(app);
        let event =
            AuditEvent::new(&ada(), AuditAction::ScheduleRun, of_an_app.as_ref(), &number.to_string());
        store.record_audit(&event).await.unwrap();
    }
    let subjects =
        |rows: &[AuditRow]| -> String { rows.iter().map(|row| row.event.subject.as_str()).collect() };
    let first = store.audit_events(None, None, 2).await.unwrap();
    let second = store.audit_events(None, Some(first[1].id), 2).await.unwrap();
    let third = store.audit_events(None, Some(second[1].id), 2).await.unwrap();
    assert_eq!(
        (subjects(&first), subjects(&second), subjects(&third)),
        ("43".into(), "21".into(), "0".into())
    );
    assert_eq!(subjects(&store.audit_events(Some(&app()), None, 9).await.unwrap()), "420");
}

async fn old_audit_events_are_deleted_in_batches(location: Location) {
    let store = Store::open(&location).await.unwrap();
    for day in 0..4 {
        let event = AuditEvent::new(&ada(), AuditAction::ScheduleRun, None, &day.to_string());
        store.record_audit(&AuditEvent { at: noon() + TimeDelta::days(day), ..event }).await.unwrap();
    }
    assert_eq!(store.prune_audit(noon() + TimeDelta::days(2)).await.unwrap(), 2);
    assert_eq!(store.prune_audit(noon() + TimeDelta::days(2)).await.unwrap(), 0);
    assert_eq!(events(&store).await.len(), 2);
}
