//! Schedules and runs: each due time has one row, and one node holds the lease of a run.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use manifest_schema::name::JobName;
use store::{
    Actor, AppId, AuditAction, Claim, ClaimAction, CommitError, DueRange, Location, LostRun, NamespaceCommit,
    NamespaceName, NewDeploy, NewPush, NewRun, RefChange, RunHistory, RunKey, RunOutcome, ScheduleId,
    ScheduleRun, Store, UnrunDueTimes,
};

use crate::fixtures::*;
use crate::state::{commit_of, entry};

on_both_databases!(
    due_time_is_claimed_once,
    due_ranges_are_claimed_once,
    claim_for_old_deploy_is_rejected,
    run_records_its_outcome,
    unrun_due_times_are_one_row,
    history_counts_due_times_since_last_success,
    overlapping_run_is_skipped,
    run_with_expired_lease_stays_lost,
    run_that_committed_state_is_not_lost,
    lost_run_cannot_commit_state,
    run_with_renewed_lease_is_not_lost,
    manual_run_does_not_affect_due_times,
    schedule_continues_where_it_was,
    paused_schedule_cannot_be_claimed,
    evaluated_until_far_ahead_is_ignored,
    lease_that_is_too_long_has_expired,
    clock_far_ahead_of_history_is_detected,
    due_times_of_replaced_expression_are_one_row,
    preview_schedules_run_if_enabled,
    old_runs_are_deleted_in_batches,
    schedule_runs_are_rate_limited,
);

/// A store with a live deploy that declares `tick`.
async fn scheduled(location: &Location) -> (Store, AppId) {
    let store = Store::open(location).await.unwrap();
    let id = store.push(&push(None, 1)).await.unwrap().app.id;
    store.register_schedules(id, number(1), &[declared("* * * * * *")]).await.unwrap();
    (store, id)
}

fn after(seconds: i64) -> DateTime<Utc> {
    noon() + TimeDelta::seconds(seconds)
}

fn over(seconds: i64) -> ClaimAction {
    ClaimAction::Run { execution: uuid::Uuid::new_v4(), lease: Duration::from_secs(seconds.unsigned_abs()) }
}

fn unrun(reason: &str) -> ClaimAction {
    ClaimAction::Skip { outcome: RunOutcome::Missed, reason: reason.to_owned() }
}

async fn latest(store: &Store, id: AppId) -> ScheduleRun {
    store.runs(&of(id), None, 1).await.unwrap().remove(0)
}

async fn evaluated_until(store: &Store, id: AppId) -> DateTime<Utc> {
    store.schedule_states(id, "main").await.unwrap()[0].evaluated_until
}

async fn claim_together(store: &Store, runs: Vec<NewRun>) -> usize {
    let claim = |run: NewRun| {
        let store = store.clone();
        tokio::spawn(async move { store.claim_run(&run).await.unwrap() })
    };
    let tasks: Vec<_> = runs.into_iter().map(claim).collect();
    let mut granted = 0;
    for task in tasks {
        granted += usize::from(task.await.unwrap() == Claim::Granted);
    }
    granted
}

async fn due_time_is_claimed_once(location: Location) {
    let (store, id) = scheduled(&location).await;
    assert_eq!(claim_together(&store, (0..8).map(|_| run(id, 1, after(1))).collect()).await, 1);
    assert_eq!(store.claim_run(&run(id, 1, after(1))).await.unwrap(), Claim::AlreadyEvaluated(after(1)));
    let next = NewRun { forbid_overlap: false, ..run(id, 1, after(2)) };
    assert_eq!(store.claim_run(&next).await.unwrap(), Claim::Granted);
}

async fn due_ranges_are_claimed_once(location: Location) {
    let (store, id) = scheduled(&location).await;
    // The range ends at the clock of each node.
    let range = |last: i64| NewRun {
        due: DueRange { first: after(1), last: after(last), count: last as u32 },
        forbid_overlap: false,
        ..run(id, 1, after(last))
    };
    assert_eq!(claim_together(&store, (5..13).map(range).collect()).await, 1);
    let row = latest(&store, id).await;
    assert_eq!(row.due.first, after(1));
    assert_eq!(evaluated_until(&store, id).await, row.due.last);
    assert_eq!(store.runs(&of(id), None, 10).await.unwrap().len(), 1);
}

async fn claim_for_old_deploy_is_rejected(location: Location) {
    let (store, id) = scheduled(&location).await;
    store.push(&push(Some(1), 2)).await.unwrap();
    assert_eq!(store.claim_run(&run(id, 1, after(1))).await.unwrap(), Claim::NotLive);
    assert_eq!(store.runs(&of(id), None, 1).await.unwrap(), []);
    assert_eq!(store.claim_run(&run(id, 2, after(1))).await.unwrap(), Claim::Granted);
}

async fn run_records_its_outcome(location: Location) {
    let (store, id) = scheduled(&location).await;
    let claimed = run(id, 1, after(1));
    store.claim_run(&claimed).await.unwrap();
    let going = latest(&store, id).await;
    assert_eq!(
        (going.due, going.outcome, going.execution),
        (claimed.due.clone(), None, Some(key(&claimed).execution))
    );
    assert_eq!(
        (going.deploy, going.commit, going.node, going.manual),
        (number(1), Some(oid(1)), Some(node("pi")), false)
    );
    let held = going.lease_until.unwrap() - going.claimed_at;
    assert_eq!(held.num_seconds(), 60);
    assert!(going.claimed_at > Utc::now() - TimeDelta::minutes(1));
    assert!(store.finish_run(&key(&claimed), RunOutcome::Failed, Some("why"), Utc::now()).await.unwrap());
    let done = latest(&store, id).await;
    assert_eq!(
        (done.outcome, done.detail.as_deref(), done.lease_until),
        (Some(RunOutcome::Failed), Some("why"), None)
    );
    assert!(done.finished_at.unwrap() >= done.claimed_at);
}

async fn unrun_due_times_are_one_row(location: Location) {
    let (store, id) = scheduled(&location).await;
    let due = DueRange { first: after(1), last: after(9), count: 9 };
    let missed = NewRun { due: due.clone(), action: unrun("asleep"), ..run(id, 1, after(9)) };
    assert_eq!(store.claim_run(&missed).await.unwrap(), Claim::Granted);
    let row = latest(&store, id).await;
    assert_eq!(
        (row.due, row.outcome, row.detail.as_deref()),
        (due, Some(RunOutcome::Missed), Some("asleep"))
    );
    assert_eq!((row.execution, row.lease_until), (None, None));
    assert!(row.finished_at.is_some());
}

async fn history_counts_due_times_since_last_success(location: Location) {
    let (store, id) = scheduled(&location).await;
    let history = async |run: &NewRun| {
        let found = store.run_history(&key(run)).await.unwrap();
        (found.last_success, found.missed)
    };
    let claim = async |run: &NewRun, outcome: Option<RunOutcome>| {
        assert_eq!(store.claim_run(run).await.unwrap(), Claim::Granted);
        if let Some(outcome) = outcome {
            assert!(store.finish_run(&key(run), outcome, None, Utc::now()).await.unwrap());
        }
    };
    let first = run(id, 1, after(1));
    claim(&first, None).await;
    assert_eq!(history(&first).await, (None, 0));
    assert!(store.finish_run(&key(&first), RunOutcome::Failed, None, Utc::now()).await.unwrap());
    let second = run(id, 1, after(2));
    claim(&second, Some(RunOutcome::Succeeded)).await;
    assert_eq!(history(&second).await, (None, 1), "the first one failed");
    let unrun_due = DueRange { first: after(3), last: after(9), count: 7 };
    claim(&NewRun { due: unrun_due, action: unrun("asleep"), ..run(id, 1, after(9)) }, None).await;
    claim(&run(id, 1, after(10)), Some(RunOutcome::Lost)).await;
    // A manual run is no due time, and neither is one that is in progress.
    let manual = NewRun { manual: true, ..run(id, 1, after(11)) };
    claim(&manual, Some(RunOutcome::Failed)).await;
    claim(&run(id, 1, after(12)), None).await;
    let due = DueRange { first: after(13), last: after(15), count: 3 };
    let several = NewRun { due, forbid_overlap: false, ..run(id, 1, after(15)) };
    claim(&several, Some(RunOutcome::Succeeded)).await;
    assert_eq!(history(&several).await, (Some(after(2)), 7 + 1 + 2));
    assert_eq!(history(&manual).await, (Some(after(2)), 8));
    // Its other due times were served by it.
    let next = NewRun { forbid_overlap: false, ..run(id, 1, after(16)) };
    claim(&next, None).await;
    assert_eq!(history(&next).await, (Some(after(15)), 0));
    // A manual success counts, and other schedules do not.
    let manual = NewRun { manual: true, forbid_overlap: false, ..run(id, 1, after(17)) };
    claim(&manual, Some(RunOutcome::Succeeded)).await;
    let other = RunKey { due_at: after(20), ..key(&next) };
    assert_eq!(store.run_history(&other).await.unwrap().last_success, Some(after(17)));
    let name = JobName::new("other").unwrap();
    let other = RunKey { schedule: ScheduleId { name, ..of(id) }, ..other };
    assert_eq!(store.run_history(&other).await.unwrap(), RunHistory::default());
}

async fn overlapping_run_is_skipped(location: Location) {
    let (store, id) = scheduled(&location).await;
    let first = run(id, 1, after(1));
    store.claim_run(&first).await.unwrap();
    let second = NewRun { node: node("other"), ..run(id, 1, after(2)) };
    let Claim::Overlaps(reason) = store.claim_run(&second).await.unwrap() else {
        panic!("it overlaps the first")
    };
    assert_eq!(reason, "the previous run is still in progress on node pi");
    let row = latest(&store, id).await;
    assert_eq!((row.outcome, row.execution, row.detail), (Some(RunOutcome::Skipped), None, Some(reason)));
    let allowed = NewRun { forbid_overlap: false, ..run(id, 1, after(3)) };
    assert_eq!(store.claim_run(&allowed).await.unwrap(), Claim::Granted);
    for done in [first, allowed] {
        assert!(store.finish_run(&key(&done), RunOutcome::Succeeded, None, Utc::now()).await.unwrap());
    }
    assert_eq!(store.claim_run(&run(id, 1, after(4))).await.unwrap(), Claim::Granted);
}

async fn run_with_expired_lease_stays_lost(location: Location) {
    let (store, id) = scheduled(&location).await;
    let dead = NewRun { action: over(0), ..run(id, 1, after(1)) };
    store.claim_run(&dead).await.unwrap();
    assert!(store.next_lease_end(Utc::now()).await.unwrap().is_some());
    // An expired lease does not block other runs, even before it is recorded as lost.
    tokio::time::sleep(Duration::from_millis(5)).await;
    let next = run(id, 1, after(2));
    assert_eq!(store.claim_run(&next).await.unwrap(), Claim::Granted);
    let lost = store.mark_lost_runs(Utc::now()).await.unwrap();
    assert_eq!(lost.len(), 1);
    assert_eq!((&lost[0].run, lost[0].node.as_str(), lost[0].outcome), (&key(&dead), "pi", RunOutcome::Lost));
    assert_eq!(store.mark_lost_runs(Utc::now()).await.unwrap(), []);
    assert!(!store.renew_run(&key(&dead), Duration::from_secs(9), Utc::now()).await.unwrap());
    assert!(!store.finish_run(&key(&dead), RunOutcome::Succeeded, None, Utc::now()).await.unwrap());
    let row = store.runs(&of(id), None, 2).await.unwrap().remove(1);
    assert_eq!((row.due.last, row.outcome), (after(1), Some(RunOutcome::Lost)));
    assert_eq!(row.detail.as_deref(), Some("the lease of node pi expired during the run"));
}

/// The runs that are recorded as lost, once the lease of one has expired by the clock of the database.
async fn first_lost(store: &Store) -> Vec<LostRun> {
    loop {
        let lost = store.mark_lost_runs(Utc::now()).await.unwrap();
        if !lost.is_empty() {
            return lost;
        }
    }
}

async fn run_that_committed_state_is_not_lost(location: Location) {
    let (store, id) = scheduled(&location).await;
    let dead = NewRun { action: over(0), ..run(id, 1, after(1)) };
    store.claim_run(&dead).await.unwrap();
    let state = store.state();
    let namespace = state.open_namespace(id, &NamespaceName::Production).await.unwrap().id;
    let scheduled = vec![key(&dead).execution];
    let commit = commit_of(namespace, 0, vec![entry("a", "1", 1)]);
    state.commit_state(&[NamespaceCommit { scheduled, ..commit }]).await.unwrap();
    let found = first_lost(&store).await;
    assert_eq!(found.iter().map(|run| run.outcome).collect::<Vec<_>>(), [RunOutcome::Succeeded]);
    let row = latest(&store, id).await;
    assert_eq!(row.outcome, Some(RunOutcome::Succeeded));
    assert_eq!(
        row.detail.as_deref(),
        Some("what it changed is stored; the lease of node pi expired after that")
    );
    // What is known of it is pruned, and it stays as it is.
    store.prune_state(Utc::now() + TimeDelta::seconds(1)).await.unwrap();
    assert_eq!(store.mark_lost_runs(Utc::now()).await.unwrap(), []);
}

async fn lost_run_cannot_commit_state(location: Location) {
    let (store, id) = scheduled(&location).await;
    let slow = NewRun { action: over(0), ..run(id, 1, after(1)) };
    store.claim_run(&slow).await.unwrap();
    assert_eq!(first_lost(&store).await[0].outcome, RunOutcome::Lost);
    let state = store.state();
    let open = async |name| state.open_namespace(id, &name).await.unwrap().id;
    let namespace = open(NamespaceName::Production).await;
    let other = open(NamespaceName::Preview("other".to_owned())).await;
    let scheduled = vec![key(&slow).execution];
    let late = NamespaceCommit { scheduled, ..commit_of(namespace, 0, vec![entry("a", "1", 1)]) };
    let group = [late, commit_of(other, 0, vec![entry("b", "1", 1)])];
    let refused = state.commit_state(&group).await;
    assert!(matches!(refused, Err(CommitError::Lost(id)) if id == namespace), "{refused:?}");
    for id in [namespace, other] {
        let read = state.state_entries(id, &["a", "b"]).await.unwrap().unwrap();
        assert_eq!((read.position.version, read.entries), (0, Vec::new()));
    }
}

async fn run_with_renewed_lease_is_not_lost(location: Location) {
    let (store, id) = scheduled(&location).await;
    let held = NewRun { action: over(0), ..run(id, 1, after(1)) };
    store.claim_run(&held).await.unwrap();
    assert!(store.renew_run(&key(&held), Duration::from_secs(60), Utc::now()).await.unwrap());
    assert_eq!(store.mark_lost_runs(Utc::now()).await.unwrap(), []);
    let other = NewRun { action: over(1), ..held.clone() };
    assert!(
        !store.renew_run(&key(&other), Duration::from_secs(60), Utc::now()).await.unwrap(),
        "another execution"
    );
    assert!(store.finish_run(&key(&held), RunOutcome::Succeeded, None, Utc::now()).await.unwrap());
    assert_eq!(store.next_lease_end(Utc::now()).await.unwrap(), None);
}

async fn manual_run_does_not_affect_due_times(location: Location) {
    let (store, id) = scheduled(&location).await;
    store.pause_schedule(&of(id), &pausing("ada", Utc::now())).await.unwrap();
    let by_hand = NewRun { manual: true, ..run(id, 1, after(5)) };
    assert_eq!(store.claim_run(&by_hand).await.unwrap(), Claim::Granted);
    assert_eq!(evaluated_until(&store, id).await, noon());
    let second = NewRun { manual: true, ..run(id, 1, after(6)) };
    assert!(matches!(store.claim_run(&second).await.unwrap(), Claim::Overlaps(_)));
    store.finish_run(&key(&by_hand), RunOutcome::Succeeded, None, Utc::now()).await.unwrap();
    store.resume_schedule(&of(id), None, &node("pi"), &resuming(noon())).await.unwrap();
    assert_eq!(store.claim_run(&run(id, 1, after(5))).await.unwrap(), Claim::Granted);
    let rows = store.runs(&of(id), None, 9).await.unwrap();
    assert_eq!(rows.iter().map(|row| row.manual).collect::<Vec<_>>(), [true, true, false]);
}

async fn schedule_continues_where_it_was(location: Location) {
    let (store, id) = scheduled(&location).await;
    assert_eq!(evaluated_until(&store, id).await, noon());
    store.claim_run(&run(id, 1, after(5))).await.unwrap();
    let deployed_at = |seconds, old, new| store::NewPush { at: after(seconds), ..push(Some(old), new) };
    // Declared alike in the next deploy: pending due times are kept.
    store.push(&deployed_at(100, 1, 2)).await.unwrap();
    store.register_schedules(id, number(2), &[declared("* * * * * *")]).await.unwrap();
    assert_eq!(evaluated_until(&store, id).await, after(5));
    // A deploy that is no longer live changes nothing.
    store.register_schedules(id, number(1), &[declared("0 * * * * *")]).await.unwrap();
    store.register_schedules(id, number(2), &[declared("* * * * * *")]).await.unwrap();
    assert_eq!(evaluated_until(&store, id).await, after(5));
    // Another expression starts again.
    store.push(&deployed_at(200, 2, 3)).await.unwrap();
    store.register_schedules(id, number(3), &[declared("0 * * * * *")]).await.unwrap();
    assert_eq!(evaluated_until(&store, id).await, after(200));
    // So does a schedule that was not declared in between.
    store.push(&deployed_at(300, 3, 4)).await.unwrap();
    store.push(&deployed_at(400, 4, 5)).await.unwrap();
    store.register_schedules(id, number(5), &[declared("0 * * * * *")]).await.unwrap();
    assert_eq!(evaluated_until(&store, id).await, after(400));
    assert_eq!(store.all_schedules().await.unwrap(), [of(id)]);
}

async fn paused_schedule_cannot_be_claimed(location: Location) {
    let (store, id) = scheduled(&location).await;
    assert!(store.pause_schedule(&of(id), &pausing("ada", after(3))).await.unwrap());
    assert!(!store.pause_schedule(&of(id), &pausing("bob", after(4))).await.unwrap());
    let paused = store.schedule_states(id, "main").await.unwrap()[0].paused.clone().unwrap();
    assert_eq!((paused.at, paused.by.as_str()), (after(3), "ada"));
    assert_eq!(store.claim_run(&run(id, 1, after(5))).await.unwrap(), Claim::Paused);
    // Deploys do not resume it.
    store.push(&push(Some(1), 2)).await.unwrap();
    store.register_schedules(id, number(2), &[declared("0 * * * * *")]).await.unwrap();
    assert_eq!(store.claim_run(&run(id, 2, after(5))).await.unwrap(), Claim::Paused);
    let due = DueRange { first: after(1), last: after(9), count: 9 };
    let skipped =
        Some(UnrunDueTimes { due, outcome: RunOutcome::Skipped, reason: "paused by ada".to_owned() });
    assert!(
        store.resume_schedule(&of(id), skipped.clone(), &node("pi"), &resuming(after(10))).await.unwrap()
    );
    assert!(!store.resume_schedule(&of(id), skipped, &node("pi"), &resuming(after(11))).await.unwrap());
    let row = latest(&store, id).await;
    assert_eq!((row.due.first, row.due.last, row.due.count), (after(1), after(9), 9));
    assert_eq!((row.outcome, row.detail.as_deref()), (Some(RunOutcome::Skipped), Some("paused by ada")));
    assert_eq!(store.claim_run(&run(id, 2, after(10))).await.unwrap(), Claim::AlreadyEvaluated(after(10)));
    assert_eq!(store.claim_run(&run(id, 2, after(11))).await.unwrap(), Claim::Granted);
}

async fn evaluated_until_far_ahead_is_ignored(location: Location) {
    let (store, id) = scheduled(&location).await;
    let now = Utc::now();
    let claim = |due: DateTime<Utc>, ahead_max: i64| NewRun {
        forbid_overlap: false,
        evaluated_ahead_max: TimeDelta::seconds(ahead_max),
        ..run(id, 1, due)
    };
    assert_eq!(store.claim_run(&claim(now, 15)).await.unwrap(), Claim::Granted);
    // The schedule is resumed by a clock that is an hour ahead, as if it were set back afterwards.
    assert!(store.pause_schedule(&of(id), &pausing("ada", now)).await.unwrap());
    let ahead = now + TimeDelta::hours(1);
    assert!(store.resume_schedule(&of(id), None, &node("pi"), &resuming(ahead)).await.unwrap());
    assert_eq!(
        store.claim_run(&claim(now, 7200)).await.unwrap(),
        Claim::AlreadyEvaluated(evaluated_until(&store, id).await)
    );
    // The due time that already has a row is run one microsecond later.
    assert_eq!(store.claim_run(&claim(now, 15)).await.unwrap(), Claim::Duplicate);
    let due = DueRange::one(now).later_by(TimeDelta::microseconds(1));
    let again = NewRun { due: due.clone(), ..claim(now, 15) };
    assert_eq!(store.claim_run(&again).await.unwrap(), Claim::Granted);
    assert_eq!(
        store.claim_run(&claim(now, 15)).await.unwrap(),
        Claim::AlreadyEvaluated(evaluated_until(&store, id).await)
    );
    assert_eq!(store.runs(&of(id), None, 9).await.unwrap().len(), 2);
}

async fn lease_that_is_too_long_has_expired(location: Location) {
    let (store, id) = scheduled(&location).await;
    let now = Utc::now();
    let held = NewRun { action: over(5 * 3600), ..run(id, 1, after(1)) };
    assert_eq!(store.claim_run(&held).await.unwrap(), Claim::Granted);
    let end = store.next_lease_end(now).await.unwrap().unwrap();
    assert!((end - now).abs() < TimeDelta::minutes(1), "{end}");
    assert_eq!(store.mark_lost_runs(now).await.unwrap().len(), 1);
    assert_eq!(latest(&store, id).await.outcome, Some(RunOutcome::Lost));
}

async fn clock_far_ahead_of_history_is_detected(location: Location) {
    let (store, id) = scheduled(&location).await;
    let now = noon();
    let days = |days: i64| now + TimeDelta::days(days);
    assert!(store.has_continuous_history(days(1)).await.unwrap(), "a new database has no gap");
    // One audit event each on day 0, 10 and 20.
    for day in [0, 10, 20] {
        assert!(store.pause_schedule(&of(id), &pausing("ada", days(day))).await.unwrap());
        assert!(store.resume_schedule(&of(id), None, &node("pi"), &resuming(days(day))).await.unwrap());
    }
    for (day, is_continuous) in [(0, true), (13, true), (20, true), (30, true), (35, false), (3650, false)] {
        assert_eq!(store.has_continuous_history(days(day)).await.unwrap(), is_continuous, "day {day}");
    }
}

async fn due_times_of_replaced_expression_are_one_row(location: Location) {
    let (store, id) = scheduled(&location).await;
    let due = DueRange { first: after(1), last: after(9), count: 9 };
    let left = UnrunDueTimes { due: due.clone(), outcome: RunOutcome::Missed, reason: "replaced".to_owned() };
    for _ in 0..2 {
        // Two nodes can record the same.
        store.record_unrun_due_times(&of(id), &left, &node("pi"), after(10)).await.unwrap();
    }
    let rows = store.runs(&of(id), None, 9).await.unwrap();
    assert_eq!((rows.len(), &rows[0].due, rows[0].outcome), (1, &due, Some(RunOutcome::Missed)));
    assert_eq!((rows[0].claimed_at, rows[0].finished_at), (after(10), Some(after(10))));
}

async fn preview_schedules_run_if_enabled(location: Location) {
    let (store, id) = scheduled(&location).await;
    let main = store.app(&app()).await.unwrap().unwrap();
    let preview = NewDeploy { branch: "try".to_owned(), commit: oid(1) };
    let refs = vec![RefChange { name: "refs/heads/try".to_owned(), old: None, new: Some(oid(1)) }];
    store.push(&NewPush { refs, deploys: vec![preview], ..push(None, 1) }).await.unwrap();
    store.register_schedules(id, number(2), &[declared("* * * * * *")]).await.unwrap();
    let schedule = ScheduleId { branch: "try".to_owned(), ..of(id) };
    let due = |at| NewRun { schedule: schedule.clone(), ..run(id, 2, at) };
    assert_eq!(store.claim_run(&due(after(1))).await.unwrap(), Claim::NotLive);
    // Manual runs work anyway, and are separate from production.
    let by_hand = NewRun { manual: true, ..due(after(1)) };
    assert_eq!(store.claim_run(&by_hand).await.unwrap(), Claim::Granted);
    assert!(store.finish_run(&key(&by_hand), RunOutcome::Succeeded, None, Utc::now()).await.unwrap());
    assert_eq!(store.claim_run(&run(id, 1, after(1))).await.unwrap(), Claim::Granted);

    let set =
        async |on| store.set_preview_schedules(&main, "try", on, None, &Actor::named("ada")).await.unwrap();
    let asked_at = Utc::now();
    let on = set(true).await.unwrap();
    assert_eq!(set(true).await.unwrap().generation, on.generation, "already enabled");
    let since = store.schedule_states(id, "try").await.unwrap()[0].evaluated_until;
    assert!(since >= asked_at - TimeDelta::milliseconds(1), "earlier due times are skipped: {since}");
    assert_eq!(evaluated_until(&store, id).await, after(1), "production is unaffected");
    assert!(
        store.live_branches(id).await.unwrap().iter().all(|live| live.scheduled == (live.branch == "try"))
    );
    let now = Utc::now() + TimeDelta::milliseconds(900);
    assert_eq!(store.claim_run(&due(now)).await.unwrap(), Claim::Granted);
    assert_eq!(store.runs(&schedule, None, 9).await.unwrap().len(), 2);

    let off = set(false).await.unwrap();
    assert!(off.generation.number > on.generation.number);
    let later = now + TimeDelta::milliseconds(50);
    assert_eq!(
        store.claim_run(&NewRun { forbid_overlap: false, ..due(later) }).await.unwrap(),
        Claim::NotLive
    );
    let none = store.set_preview_schedules(&main, "other", true, None, &Actor::named("ada")).await.unwrap();
    assert_eq!(none, None);
    let acts = store.audit_events(Some(&app()), None, 9).await.unwrap();
    let acts: Vec<_> =
        acts.iter().map(|row| &row.event).filter(|act| act.action == AuditAction::AppSetting).collect();
    let found: Vec<_> = acts.iter().map(|act| (act.subject.as_str(), act.new.as_deref())).collect();
    assert_eq!(found, [("schedules of try", Some("off")), ("schedules of try", Some("on"))]);

    // The setting is deleted with the branch, and finally the schedule.
    set(true).await.unwrap();
    let gone = RefChange { name: "refs/heads/try".to_owned(), old: Some(oid(1)), new: None };
    store.push(&refs_only(vec![gone.clone()])).await.unwrap();
    assert_eq!(store.delete_stale_schedules().await.unwrap(), 0, "the schedule has rows of runs");
    store.finish_run(&key(&due(now)), RunOutcome::Succeeded, None, Utc::now()).await.unwrap();
    store.mark_lost_runs(Utc::now() + TimeDelta::hours(1)).await.unwrap();
    while store.prune_runs(&schedule, 0, Utc::now() + TimeDelta::hours(1)).await.unwrap() > 0 {}
    store.push(&refs_only(vec![RefChange { old: None, new: Some(oid(1)), ..gone }])).await.unwrap();
    assert!(
        store.live_branches(id).await.unwrap().iter().all(|live| !live.scheduled),
        "schedules of a new branch are disabled"
    );
}

async fn old_runs_are_deleted_in_batches(location: Location) {
    let (store, id) = scheduled(&location).await;
    for second in 1..=10 {
        let claim = NewRun { action: unrun("asleep"), ..run(id, 1, after(second)) };
        assert_eq!(store.claim_run(&claim).await.unwrap(), Claim::Granted);
    }
    let going = run(id, 1, after(11));
    store.claim_run(&going).await.unwrap();
    let count = async || store.runs(&of(id), None, 99).await.unwrap().len();
    assert_eq!(store.prune_runs(&of(id), 99, noon()).await.unwrap(), 0);
    assert_eq!(store.prune_runs(&of(id), 99, after(2)).await.unwrap(), 2);
    assert_eq!(store.prune_runs(&of(id), 5, noon()).await.unwrap(), 4);
    assert_eq!(count().await, 5);
    // A run in progress is kept at any age.
    assert_eq!(store.prune_runs(&of(id), 0, after(99)).await.unwrap(), 4);
    assert_eq!(latest(&store, id).await.due.last, after(11));
    assert_eq!(evaluated_until(&store, id).await, after(11));
}

async fn schedule_runs_are_rate_limited(location: Location) {
    let (store, id) = scheduled(&location).await;
    // The limit is per minute, so enough of the minute must be left.
    while Utc::now().timestamp() % 60 > 45 {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let end = DateTime::from_timestamp((Utc::now().timestamp() / 60 + 1) * 60, 0).unwrap();
    let claim = |due, per_minute| NewRun {
        runs_per_minute: per_minute,
        forbid_overlap: false,
        ..run(id, 1, after(due))
    };
    assert_eq!(store.claim_run(&claim(1, 0)).await.unwrap(), Claim::RateLimited(end));
    let by_hand = NewRun { manual: true, ..claim(1, 0) };
    assert_eq!(store.claim_run(&by_hand).await.unwrap(), Claim::Granted);
    let missed = NewRun { action: unrun("asleep"), ..claim(1, 0) };
    assert_eq!(store.claim_run(&missed).await.unwrap(), Claim::Granted, "unrun due times do not count");
    let mut claims = Vec::new();
    for due in 2..=6 {
        claims.push(store.claim_run(&claim(due, 3)).await.unwrap());
    }
    let limited = Claim::RateLimited(end);
    assert_eq!(claims, [Claim::Granted, Claim::Granted, Claim::Granted, limited.clone(), limited]);
    assert_eq!(evaluated_until(&store, id).await, after(4));
    assert_eq!(latest(&store, id).await.due.last, after(4), "rejected claims write nothing");
    assert_eq!(store.claim_run(&claim(5, 4)).await.unwrap(), Claim::Granted, "the limit was raised");
}
