//! Runs of schedules: each due time is claimed once.

use chrono::TimeDelta;
use store::{Location, RunOutcome, Store};

use crate::values::*;

on_both_databases!(
    a_due_time_is_claimed_once,
    a_claim_for_what_is_not_live_any_more_is_refused,
    a_run_remembers_how_it_ended,
);

async fn a_due_time_is_claimed_once(location: Location) {
    let store = Store::open(&location).await.unwrap();
    let id = store.push(&push(None, 1)).await.unwrap().app.id;
    let tasks: Vec<_> = (0..8)
        .map(|_| {
            let store = store.clone();
            tokio::spawn(async move { store.claim_run(&run(id, 1, noon())).await.unwrap() })
        })
        .collect();
    let mut claimed = 0;
    for task in tasks {
        claimed += usize::from(task.await.unwrap());
    }
    assert_eq!(claimed, 1);
    assert!(store.claim_run(&run(id, 1, noon() + TimeDelta::seconds(1))).await.unwrap());
}

async fn a_claim_for_what_is_not_live_any_more_is_refused(location: Location) {
    let store = Store::open(&location).await.unwrap();
    let id = store.push(&push(None, 1)).await.unwrap().app.id;
    store.push(&push(Some(1), 2)).await.unwrap();
    assert!(!store.claim_run(&run(id, 1, noon())).await.unwrap());
    assert!(store.claim_run(&run(id, 2, noon())).await.unwrap());
}

async fn a_run_remembers_how_it_ended(location: Location) {
    let store = Store::open(&location).await.unwrap();
    let id = store.push(&push(None, 1)).await.unwrap().app.id;
    assert_eq!(store.last_run(id, &tick()).await.unwrap(), None);
    let claimed = run(id, 1, noon());
    store.claim_run(&claimed).await.unwrap();
    let going = store.last_run(id, &tick()).await.unwrap().unwrap();
    assert_eq!((going.due, going.outcome, going.execution), (noon(), None, claimed.execution));
    assert_eq!(going.deploy, number(1));
    let ended = noon() + TimeDelta::milliseconds(1500);
    store.finish_run(id, &tick(), noon(), RunOutcome::Failed, Some("why".to_owned()), ended).await.unwrap();
    let done = store.last_run(id, &tick()).await.unwrap().unwrap();
    assert_eq!(
        (done.outcome, done.detail.as_deref(), done.finished_at),
        (Some(RunOutcome::Failed), Some("why"), Some(ended))
    );
}
