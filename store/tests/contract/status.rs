//! What needs attention of the operator.

use std::time::Duration;

use chrono::{TimeDelta, Utc};
use manifest_schema::execution::TriggerKind;
use store::backup::{RestoreMode, back_up, note_backup, restore};
use store::{
    AppId, ClaimAction, DeployNumber, DroppedRecords, ExecutionRecord, FailureRecord, Location, NewRecords,
    NewRun, RunOutcome, Store,
};
use uuid::Uuid;

use crate::fixtures::*;

on_both_databases!(
    schedule_is_failing_until_next_success,
    failed_executions_are_counted_per_app,
    dropped_records_are_summed_per_node_and_app,
    restored_database_knows_time_of_its_backup,
);

async fn ran(store: &Store, id: AppId, minute: i64, outcome: RunOutcome) {
    let claimed = run(id, 1, noon() + TimeDelta::minutes(minute));
    store.claim_run(&claimed).await.unwrap();
    if outcome == RunOutcome::Lost {
        return;
    }
    assert!(store.finish_run(&key(&claimed), outcome, Some("why"), Utc::now()).await.unwrap());
}

async fn failing(store: &Store) -> Vec<(String, String, RunOutcome, Option<String>)> {
    let found = store.failing_schedules(10).await.unwrap();
    found.into_iter().map(|found| (found.app, found.name.to_string(), found.outcome, found.detail)).collect()
}

async fn schedule_is_failing_until_next_success(location: Location) {
    let store = Store::open(&location).await.unwrap();
    let id = store.push(&push(None, 1)).await.unwrap().app.id;
    store.register_schedules(id, number(1), &[declared("* * * * * *")]).await.unwrap();
    assert_eq!(failing(&store).await, []);
    ran(&store, id, 1, RunOutcome::Succeeded).await;
    assert_eq!(failing(&store).await, []);
    ran(&store, id, 2, RunOutcome::Failed).await;
    let failed = ("hello".to_owned(), "tick".to_owned(), RunOutcome::Failed, Some("why".to_owned()));
    assert_eq!(failing(&store).await, std::slice::from_ref(&failed));
    ran(&store, id, 3, RunOutcome::Skipped).await;
    assert_eq!(failing(&store).await, std::slice::from_ref(&failed), "no run since");
    // A run in progress does not count.
    let lost = NewRun {
        forbid_overlap: false,
        action: ClaimAction::Run { execution: Uuid::new_v4(), lease: Duration::ZERO },
        ..run(id, 1, noon() + TimeDelta::minutes(4))
    };
    store.claim_run(&lost).await.unwrap();
    assert_eq!(failing(&store).await, [failed]);
    assert_eq!(store.mark_lost_runs(Utc::now() + TimeDelta::minutes(1)).await.unwrap().len(), 1);
    assert_eq!(failing(&store).await[0].2, RunOutcome::Lost);
    store.pause_schedule(&of(id), &pausing("ada", noon())).await.unwrap();
    assert_eq!(failing(&store).await, [], "paused schedules are not reported");
    store.resume_schedule(&of(id), None, &node("pi"), &resuming(noon())).await.unwrap();
    ran(&store, id, 5, RunOutcome::Succeeded).await;
    assert_eq!(failing(&store).await, []);
}

fn execution(app: AppId, given: Option<&str>) -> ExecutionRecord {
    let failure =
        |kind: &str| FailureRecord { kind: kind.to_owned(), message: "no luck".to_owned(), location: None };
    ExecutionRecord {
        id: Uuid::new_v4(),
        request_id: Uuid::new_v4(),
        app,
        deploy: DeployNumber::new(1).unwrap(),
        commit: oid(1),
        script: "greet.rhai".to_owned(),
        trigger: TriggerKind::Http,
        target: "GET /".to_owned(),
        node: "pi".to_owned(),
        started_at: noon(),
        duration: Duration::from_micros(1),
        operations: 1,
        memory_peak_bytes: 1,
        status: None,
        failure: given.map(failure),
        log_lines: 0,
        log_lines_dropped: 0,
    }
}

async fn failed_executions_are_counted_per_app(location: Location) {
    let store = Store::open(&location).await.unwrap();
    let id = store.push(&push(None, 1)).await.unwrap().app.id;
    let ran = |kinds: &[Option<&str>]| NewRecords {
        executions: kinds.iter().map(|kind| execution(id, *kind)).collect(),
        ..NewRecords::default()
    };
    let found = async |after: i64| {
        let found = store.failing_apps(noon() + TimeDelta::hours(after), 10).await.unwrap();
        found.into_iter().map(|app| (app.app, app.failed, app.executions)).collect::<Vec<_>>()
    };
    assert_eq!(found(0).await, []);
    store.write_records(&ran(&[Some("script_error"), None]), noon()).await.unwrap();
    let late = noon() + TimeDelta::hours(2);
    store
        .write_records(&ran(&[None, Some("stopped"), Some("invalid_json"), Some("invalid_form")]), late)
        .await
        .unwrap();
    assert_eq!(found(-1).await, [("hello".to_owned(), 1, 6)]);
    assert_eq!(found(1).await, [], "failures caused by clients do not count");
    store.write_records(&ran(&[Some("timeout"), Some("script_error")]), late).await.unwrap();
    assert_eq!(found(1).await, [("hello".to_owned(), 2, 6)]);
}

async fn dropped_records_are_summed_per_node_and_app(location: Location) {
    let store = Store::open(&location).await.unwrap();
    let hello = store.push(&push(None, 1)).await.unwrap().app.id;
    let gone = AppId::from_uuid(Uuid::from_u128(99));
    let lost = [
        ("pi", 0, Some(hello)),
        ("two", 3, Some(hello)),
        ("pi", 4, Some(hello)),
        ("pi", 5, Some(gone)),
        ("pi", 5, Some(hello)),
        ("pi", 6, None),
    ];
    for (node, hour, app) in lost {
        let at = noon() + TimeDelta::hours(hour);
        let dropped =
            DroppedRecords { app, node: node.to_owned(), since: at, until: at, executions: 2, log_lines: 3 };
        let records = NewRecords { dropped: vec![dropped], ..NewRecords::default() };
        store.write_records(&records, at).await.unwrap();
    }
    let found = store.dropped_records_summary(noon() + TimeDelta::hours(1), 10).await.unwrap();
    let found: Vec<_> = found
        .iter()
        .map(|found| (found.node.as_str(), found.app.as_deref(), found.executions, found.log_lines))
        .collect();
    assert_eq!(found, [("pi", None, 4, 6), ("pi", Some("hello"), 4, 6), ("two", Some("hello"), 2, 3)]);
}

async fn restored_database_knows_time_of_its_backup(location: Location) {
    let store = Store::open(&location).await.unwrap();
    store.push(&push(None, 1)).await.unwrap();
    let fresh = store.last_backup().await.unwrap();
    assert_eq!(fresh.made_at, None);
    assert!((Utc::now() - fresh.recorded_since).abs() < TimeDelta::minutes(5), "{fresh:?}");
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("all");
    let made = back_up(&location, &file, false).await.unwrap();
    assert_eq!(
        store.last_backup().await.unwrap().made_at,
        None,
        "the backup is not recorded before it is in place"
    );
    note_backup(&location, made.made_at).await.unwrap();
    let apart = |at: Option<chrono::DateTime<Utc>>| (at.unwrap() - made.made_at).abs();
    assert!(apart(store.last_backup().await.unwrap().made_at) < TimeDelta::milliseconds(1));
    let later = made.made_at + TimeDelta::days(1);
    note_backup(&location, later).await.unwrap();
    store.close().await;
    restore(&file, &location, RestoreMode { replace: true, ..RestoreMode::default() }).await.unwrap();
    let store = Store::open(&location).await.unwrap();
    assert!(apart(store.last_backup().await.unwrap().made_at) < TimeDelta::milliseconds(1));
}
