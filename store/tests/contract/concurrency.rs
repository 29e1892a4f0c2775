//! Concurrent transactions: locks and their timeouts.

use chrono::TimeDelta;
use sqlx::{Connection as _, PgConnection};
use store::{Claim, Location, PushError, PushReceipt, Store, StoreError};
use tokio::task::JoinHandle;

use crate::database::*;
use crate::fixtures::*;

on_both_databases!(
    concurrent_pushes_are_serialized,
    concurrent_creations_make_one_app,
    push_times_out_waiting_for_lock,
);

async fn concurrent_pushes_are_serialized(location: Location) {
    let store = Store::open(&location).await.unwrap();
    let id = store.push(&push(None, 1)).await.unwrap().app.id;
    let tasks: Vec<_> = (2..10u8)
        .map(|digit| {
            let store = store.clone();
            tokio::spawn(async move { store.push(&push(Some(1), digit)).await.is_ok().then_some(digit) })
        })
        .collect();
    let mut winners = Vec::new();
    for task in tasks {
        winners.extend(task.await.unwrap());
    }
    assert_eq!(winners.len(), 1, "the other pushes find the ref updated");
    assert_eq!(store.refs(id).await.unwrap()[0].target, oid(winners[0]));
    assert_eq!(store.deploys(id).await.unwrap().len(), 2);
}

async fn concurrent_creations_make_one_app(location: Location) {
    let store = Store::open(&location).await.unwrap();
    let tasks: Vec<_> = (1..7u8)
        .map(|digit| {
            let store = store.clone();
            tokio::spawn(async move { store.push(&push(None, digit)).await })
        })
        .collect();
    let mut created = 0;
    for task in tasks {
        created += usize::from(task.await.unwrap().is_ok_and(|receipt| receipt.created));
    }
    assert_eq!((created, store.apps().await.unwrap().len()), (1, 1));
}

async fn push_times_out_waiting_for_lock(location: Location) {
    let store = Store::open(&location).await.unwrap();
    let mut other = Other::at(&location).await;
    other.hold_everything().await;
    let (first, second) = (push(None, 1), push(None, 2));
    let (first, second) = tokio::join!(store.push(&first), store.push(&second));
    for found in [first, second] {
        let locked = matches!(found, Err(PushError::Busy | PushError::Store(StoreError::Locked)));
        assert!(locked, "{found:?}");
    }
    other.run("ROLLBACK").await;
    assert!(store.push(&push(None, 1)).await.unwrap().created);
}

/// A push that is blocked before its deploy gets a number, and the connection that blocks it.
async fn stuck_push(store: &Store, url: &str) -> (JoinHandle<Result<PushReceipt, PushError>>, PgConnection) {
    let mut other = connect(url).await;
    sqlx::raw_sql("BEGIN; LOCK TABLE deploys IN SHARE MODE").execute(&mut other).await.unwrap();
    let pushing = store.clone();
    let pushed = tokio::spawn(async move { pushing.push(&push(Some(1), 2)).await });
    let waiting = "SELECT count(*) FROM pg_stat_activity
                   WHERE datname = current_database() AND application_name = 'picloud' AND wait_event_type = 'Lock'";
    while sqlx::query_scalar::<_, i64>(waiting).fetch_one(&mut other).await.unwrap() == 0 {
        assert!(!pushed.is_finished(), "the push waits");
    }
    (pushed, other)
}

#[tokio::test(flavor = "multi_thread")]
async fn push_with_killed_connection_is_rolled_back() {
    on_postgres(async |location: Location| {
        let Location::Postgres(url) = &location else { unreachable!() };
        let store = Store::open(&location).await.unwrap();
        let id = store.push(&push(None, 1)).await.unwrap().app.id;
        let (pushed, mut other) = stuck_push(&store, url).await;
        let kill = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity
                    WHERE datname = current_database() AND application_name = 'picloud'";
        sqlx::raw_sql(kill).execute(&mut other).await.unwrap();
        match pushed.await.unwrap() {
            Err(PushError::Store(error)) => assert!(error.is_unavailable(), "{error:?}"),
            other => panic!("{other:?}"),
        }
        other.close().await.unwrap();
        assert_eq!(store.refs(id).await.unwrap()[0].target, oid(1));
        assert!(store.object_info(id, &[oid(2)]).await.unwrap().is_empty());
        assert_eq!(store.revision(id, oid(2)).await.unwrap(), None);
        assert_eq!(store.push(&push(Some(1), 2)).await.unwrap().deploys, [number(2)]);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn push_does_not_block_schedules() {
    on_postgres(async |location: Location| {
        let Location::Postgres(url) = &location else { unreachable!() };
        let store = Store::open(&location).await.unwrap();
        let id = store.push(&push(None, 1)).await.unwrap().app.id;
        store.register_schedules(id, number(1), &[declared("* * * * *")]).await.unwrap();
        let (pushed, other) = stuck_push(&store, url).await;
        let due = noon() + TimeDelta::minutes(1);
        assert_eq!(store.claim_run(&run(id, 1, due)).await.unwrap(), Claim::Granted);
        assert!(!pushed.is_finished());
        other.close().await.unwrap();
        pushed.await.unwrap().unwrap();
    })
    .await;
}
