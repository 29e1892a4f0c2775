//! Records of executions and logs: batches, sequence numbers, retention.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use manifest_schema::execution::{LogLevel, TriggerKind};
use store::{
    AppId, DroppedRecords, ExecutionFilter, ExecutionRecord, FailureRecord, Location, LocationRecord,
    LogFilter, LogRange, LogRecord, NewRecords, RECORD_DELETE_BATCH, RecordKind, Store,
};
use uuid::Uuid;

use crate::fixtures::*;

on_both_databases!(
    records_are_read_back,
    executions_are_filtered_and_paged,
    logs_are_filtered_and_followed,
    sequence_numbers_become_visible_in_order,
    repeated_batch_does_not_duplicate_executions,
    old_records_are_deleted_by_age,
    oldest_excess_records_are_deleted_first,
    excess_records_are_those_of_the_largest_app,
    excess_is_measured_by_existing_rows,
    logs_are_read_up_to_a_size,
);

fn ada() -> AppId {
    AppId::from_uuid(Uuid::from_u128(10))
}

fn bob() -> AppId {
    AppId::from_uuid(Uuid::from_u128(11))
}

pub(crate) fn execution(app: AppId, id: u128) -> ExecutionRecord {
    ExecutionRecord {
        id: Uuid::from_u128(id),
        request_id: Uuid::from_u128(2),
        app,
        deploy: number(3),
        commit: oid(1),
        script: "greet.rhai".to_owned(),
        trigger: TriggerKind::Http,
        target: "GET /greet/Änn".to_owned(),
        node: "pi".to_owned(),
        started_at: noon(),
        duration: Duration::from_micros(1234),
        operations: 56,
        memory_peak_bytes: 789,
        status: Some(200),
        failure: None,
        log_lines: 1,
        log_lines_dropped: 0,
    }
}

fn failed(app: AppId, id: u128) -> ExecutionRecord {
    let location = LocationRecord { script: "lib/a.rhai".to_owned(), line: 3, column: 7 };
    let failure = FailureRecord {
        kind: "script_error".to_owned(),
        message: "no \"x\"".to_owned(),
        location: Some(location),
    };
    ExecutionRecord {
        status: None,
        trigger: TriggerKind::Scheduled,
        failure: Some(failure),
        ..execution(app, id)
    }
}

pub(crate) fn line(app: AppId, id: u128, level: LogLevel, message: &str) -> LogRecord {
    LogRecord {
        execution: Uuid::from_u128(id),
        app,
        script: "greet.rhai".to_owned(),
        at: noon(),
        level,
        message: message.to_owned(),
        data: Some("{\"n\":1}".to_owned()),
        line: Some(4),
        failure: false,
    }
}

async fn open(location: &Location) -> Store {
    Store::open(location).await.unwrap()
}

pub(crate) async fn record(store: &Store, executions: Vec<ExecutionRecord>, logs: Vec<LogRecord>) {
    record_at(store, executions, logs, noon()).await;
}

async fn record_at(store: &Store, executions: Vec<ExecutionRecord>, logs: Vec<LogRecord>, at: DateTime<Utc>) {
    store.write_records(&NewRecords { executions, logs, dropped: Vec::new() }, at).await.unwrap();
}

async fn messages(store: &Store, app: AppId, filter: &LogFilter, part: LogRange, limit: u32) -> Vec<String> {
    let lines = store.logs(app, filter, part, limit, u64::MAX).await.unwrap();
    assert!(lines.is_sorted_by_key(|line| line.sequence));
    lines.into_iter().map(|line| line.record.message).collect()
}

async fn ids(store: &Store, filter: &ExecutionFilter, limit: u32) -> Vec<u128> {
    let found = store.executions(ada(), filter, limit).await.unwrap();
    found.into_iter().map(|execution| execution.record.id.as_u128()).collect()
}

async fn records_are_read_back(location: Location) {
    let store = open(&location).await;
    assert_eq!(store.last_record_sequence().await.unwrap(), 0);
    let lost = |app| DroppedRecords {
        app: Some(app),
        node: "pi".to_owned(),
        since: noon(),
        until: noon(),
        executions: 7,
        log_lines: 8,
    };
    let hello =
        LogRecord { data: None, line: None, failure: true, ..line(ada(), 1, LogLevel::Warn, "hello") };
    let records = NewRecords {
        executions: vec![execution(ada(), 1), failed(ada(), 2)],
        logs: vec![line(ada(), 1, LogLevel::Info, "a 'quoted' \u{1}\n line"), hello],
        dropped: vec![lost(bob()), lost(ada())],
    };
    store.write_records(&records, noon()).await.unwrap();

    let found = store.executions(ada(), &ExecutionFilter::default(), 9).await.unwrap();
    assert_eq!(found.iter().map(|found| found.sequence).collect::<Vec<_>>(), [2, 1]);
    assert_eq!(found[1].record, records.executions[0]);
    assert_eq!(found[0].record, records.executions[1]);
    for execution in &records.executions {
        assert_eq!(store.execution(ada(), execution.id).await.unwrap().as_ref(), Some(execution));
        assert_eq!(store.execution(bob(), execution.id).await.unwrap(), None, "belongs to another app");
    }
    let lines = store.logs(ada(), &LogFilter::default(), LogRange::Latest, 9, u64::MAX).await.unwrap();
    assert_eq!(lines.iter().map(|line| line.sequence).collect::<Vec<_>>(), [3, 4]);
    assert_eq!(lines.into_iter().map(|line| line.record).collect::<Vec<_>>(), records.logs);
    let dropped = store.dropped_records(ada(), 0, 9).await.unwrap();
    let [loss] = &dropped[..] else { panic!("those of others are not among them: {dropped:?}") };
    assert_eq!((loss.sequence, &loss.record), (6, &lost(ada())));
    assert!(store.dropped_records(ada(), 6, 9).await.unwrap().is_empty());
    assert_eq!(store.last_record_sequence().await.unwrap(), 6);
}

async fn executions_are_filtered_and_paged(location: Location) {
    let store = open(&location).await;
    let other = ExecutionRecord { script: "other.rhai".to_owned(), ..execution(ada(), 3) };
    record(&store, vec![execution(ada(), 1), failed(ada(), 2), other, execution(bob(), 4)], Vec::new()).await;
    record(&store, vec![failed(ada(), 5)], Vec::new()).await;
    let all = ExecutionFilter::default();
    assert_eq!(ids(&store, &all, 9).await, [5, 3, 2, 1]);
    assert_eq!(ids(&store, &all, 2).await, [5, 3]);
    assert_eq!(ids(&store, &ExecutionFilter { before: Some(3), ..all.clone() }, 9).await, [2, 1]);
    assert_eq!(ids(&store, &ExecutionFilter { failed: true, ..all.clone() }, 9).await, [5, 2]);
    let script = Some("other.rhai".to_owned());
    assert_eq!(ids(&store, &ExecutionFilter { script, ..all.clone() }, 9).await, [3]);
    let trigger = Some(TriggerKind::Http);
    assert_eq!(ids(&store, &ExecutionFilter { trigger, ..all }, 9).await, [3, 1]);
}

async fn logs_are_filtered_and_followed(location: Location) {
    let store = open(&location).await;
    let all = LogFilter::default();
    let later = LogRecord { at: noon() + TimeDelta::seconds(1), ..line(ada(), 1, LogLevel::Error, "late") };
    let other = LogRecord { script: "other.rhai".to_owned(), ..line(ada(), 2, LogLevel::Trace, "other") };
    record(&store, Vec::new(), vec![line(ada(), 1, LogLevel::Info, "first"), other, later]).await;
    record(&store, Vec::new(), vec![line(bob(), 3, LogLevel::Warn, "of bob")]).await;

    assert_eq!(messages(&store, ada(), &all, LogRange::Latest, 9).await, ["first", "other", "late"]);
    assert_eq!(messages(&store, ada(), &all, LogRange::Latest, 2).await, ["other", "late"]);
    assert_eq!(messages(&store, ada(), &all, LogRange::Before(3), 1).await, ["other"]);
    assert_eq!(messages(&store, ada(), &all, LogRange::After(2), 9).await, ["late"]);
    assert_eq!(messages(&store, ada(), &all, LogRange::After(1), 1).await, ["other"]);
    let some = |filter: LogFilter| {
        let store = &store;
        async move { messages(store, ada(), &filter, LogRange::Latest, 9).await }
    };
    assert_eq!(some(LogFilter { level: Some(LogLevel::Info), ..all.clone() }).await, ["first", "late"]);
    assert_eq!(some(LogFilter { level: Some(LogLevel::Error), ..all.clone() }).await, ["late"]);
    assert_eq!(some(LogFilter { script: Some("other.rhai".to_owned()), ..all.clone() }).await, ["other"]);
    assert_eq!(
        some(LogFilter { execution: Some(Uuid::from_u128(1)), ..all.clone() }).await,
        ["first", "late"]
    );
    assert_eq!(some(LogFilter { execution: Some(Uuid::from_u128(3)), ..all.clone() }).await.len(), 0);
    let since = Some(noon() + TimeDelta::milliseconds(500));
    assert_eq!(some(LogFilter { since, ..all }).await, ["late"]);
}

/// Followers continue from the last number: a lower one that appears later would be missed.
async fn sequence_numbers_become_visible_in_order(location: Location) {
    let store = open(&location).await;
    let writers = (0..4).map(|writer: u128| {
        let store = store.clone();
        tokio::spawn(async move {
            for round in 0..20 {
                let id = writer * 100 + round;
                let lines = (0..5).map(|_| line(ada(), id, LogLevel::Info, "x")).collect();
                record(&store, vec![execution(ada(), id)], lines).await;
            }
        })
    });
    let writers: Vec<_> = writers.collect();
    let mut seen = Vec::new();
    while seen.len() < 4 * 20 * 5 {
        let last = seen.last().copied().unwrap_or(0);
        let lines =
            store.logs(ada(), &LogFilter::default(), LogRange::After(last), 50, u64::MAX).await.unwrap();
        seen.extend(lines.iter().map(|line| line.sequence));
        tokio::task::yield_now().await;
        if lines.is_empty() && writers.iter().all(|writer| writer.is_finished()) {
            let lines =
                store.logs(ada(), &LogFilter::default(), LogRange::After(last), 1, u64::MAX).await.unwrap();
            assert!(!lines.is_empty(), "only {} lines were seen", seen.len());
        }
    }
    assert!(seen.is_sorted_by(|a, b| a < b));
    assert_eq!(store.last_record_sequence().await.unwrap(), 4 * 20 * 6);
}

async fn repeated_batch_does_not_duplicate_executions(location: Location) {
    let store = open(&location).await;
    for _ in 0..2 {
        record(&store, vec![execution(ada(), 1)], Vec::new()).await;
    }
    assert_eq!(ids(&store, &ExecutionFilter::default(), 9).await, [1]);
}

async fn old_records_are_deleted_by_age(location: Location) {
    let store = open(&location).await;
    let many = u128::from(RECORD_DELETE_BATCH) + 1;
    let old = (0..many).map(|id| execution(ada(), id)).collect();
    record_at(&store, old, vec![line(ada(), 1, LogLevel::Info, "old")], noon()).await;
    let later = noon() + TimeDelta::minutes(1);
    record_at(&store, vec![execution(ada(), many)], vec![line(ada(), 2, LogLevel::Info, "new")], later).await;

    let delete = async |kind| store.delete_old_records(kind, later).await.unwrap();
    assert_eq!(delete(RecordKind::Executions).await, u64::from(RECORD_DELETE_BATCH), "one batch");
    assert_eq!(delete(RecordKind::Executions).await, 1);
    assert_eq!(delete(RecordKind::Executions).await, 0);
    assert_eq!(ids(&store, &ExecutionFilter::default(), 9).await, [many]);
    assert_eq!(messages(&store, ada(), &LogFilter::default(), LogRange::Latest, 9).await, ["old", "new"]);
    assert_eq!(delete(RecordKind::Logs).await, 1);
    assert_eq!(messages(&store, ada(), &LogFilter::default(), LogRange::Latest, 9).await, ["new"]);
}

async fn lines(store: &Store, app: AppId, messages: impl IntoIterator<Item = String>) {
    let lines = messages.into_iter().map(|message| line(app, 1, LogLevel::Info, &message)).collect();
    record(store, Vec::new(), lines).await;
}

async fn oldest_excess_records_are_deleted_first(location: Location) {
    let store = open(&location).await;
    let bytes = line(ada(), 1, LogLevel::Info, "0").bytes() as u64;
    lines(&store, ada(), (0..10).map(|number| number.to_string())).await;
    let delete = async |bytes_max| store.delete_excess_records(RecordKind::Logs, bytes_max).await.unwrap();
    assert_eq!(delete(10 * bytes).await, 0, "within the limit");
    assert_eq!(delete(4 * bytes).await, 6);
    let left = messages(&store, ada(), &LogFilter::default(), LogRange::Latest, 99).await;
    assert_eq!(left, ["6", "7", "8", "9"]);
    assert_eq!(delete(4 * bytes).await, 0);
    let many = u64::from(RECORD_DELETE_BATCH);
    lines(&store, ada(), (0..many).map(|_| "x".to_owned())).await;
    assert_eq!(delete(0).await, many, "one batch");
    assert_eq!(delete(0).await, 4);
    assert_eq!(delete(0).await, 0);
}

async fn excess_records_are_those_of_the_largest_app(location: Location) {
    let store = open(&location).await;
    let bytes = line(ada(), 1, LogLevel::Info, "0").bytes() as u64;
    lines(&store, ada(), ["early".to_owned()]).await;
    lines(&store, bob(), (0..100).map(|number| (number % 10).to_string())).await;
    lines(&store, ada(), ["late".to_owned()]).await;
    let failures = (0..3).map(|id| failed(ada(), id)).collect();
    record(&store, failures, Vec::new()).await;

    assert_eq!(store.delete_excess_records(RecordKind::Logs, 50 * bytes).await.unwrap(), 53);
    assert_eq!(store.delete_excess_records(RecordKind::Logs, 50 * bytes).await.unwrap(), 0);
    let all = LogFilter::default();
    assert_eq!(messages(&store, ada(), &all, LogRange::Latest, 9).await, ["early", "late"]);
    assert_eq!(messages(&store, bob(), &all, LogRange::Latest, 99).await.len(), 47);
    let each = failed(ada(), 1).bytes() as u64;
    assert_eq!(store.delete_excess_records(RecordKind::Executions, 2 * each).await.unwrap(), 1);
    assert_eq!(ids(&store, &ExecutionFilter::default(), 9).await, [2, 1], "kinds are counted separately");
}

/// Repeated and expired records do not count.
async fn excess_is_measured_by_existing_rows(location: Location) {
    let store = open(&location).await;
    let each = execution(ada(), 1).bytes() as u64;
    for _ in 0..3 {
        record(&store, vec![execution(ada(), 1), execution(ada(), 2)], Vec::new()).await;
    }
    assert_eq!(store.delete_excess_records(RecordKind::Executions, 2 * each).await.unwrap(), 0);
    let later = noon() + TimeDelta::minutes(1);
    assert_eq!(store.delete_old_records(RecordKind::Executions, later).await.unwrap(), 2);
    record_at(&store, vec![execution(ada(), 3), execution(ada(), 4)], Vec::new(), later).await;
    assert_eq!(store.delete_excess_records(RecordKind::Executions, 2 * each).await.unwrap(), 0);
    assert_eq!(ids(&store, &ExecutionFilter::default(), 9).await, [4, 3]);
}

async fn logs_are_read_up_to_a_size(location: Location) {
    let store = open(&location).await;
    lines(&store, ada(), (0..9).map(|number| format!("{number}{}", "x".repeat(10_000)))).await;
    let read = async |part, bytes_max| {
        let lines = store.logs(ada(), &LogFilter::default(), part, 9, bytes_max).await.unwrap();
        lines.into_iter().map(|line| line.record.message[..1].to_owned()).collect::<String>()
    };
    assert_eq!(read(LogRange::Latest, 25_000).await, "678");
    assert_eq!(read(LogRange::After(3), 25_000).await, "345");
    assert_eq!(read(LogRange::Before(4), 15_000).await, "12");
    assert_eq!(read(LogRange::Latest, 1).await, "8", "at least one is read");
    assert_eq!(read(LogRange::Latest, u64::MAX).await, "012345678");
}
