//! Schedulers on the embedded database with a simulated clock.

use std::collections::{BTreeMap, BTreeSet};

use crate::limits::GrantedLimits;
use crate::live::Branch;
use crate::memory::MemoryBudget;
use manifest_schema::limits::Ceiling;
use manifest_schema::name::{AppName, JobName, ScriptPath};
use manifest_schema::parse::{ParseContext, parse};
use runtime::{AppIdentity, Revision, Source};
use store::{
    Actor, App, Location, NewDeploy, NewPush, NewRevision, Object, ObjectKind, Oid, RefChange, ScheduleRun,
    Store,
};
use tempfile::TempDir;

use super::*;
use crate::page::PageRequest;
use crate::recording::{RecordLimits, Writer};

/// An app with one schedule `tick`, live since [`Day::at`] 00:00:00, and nodes that run it.
struct Day {
    _folder: TempDir,
    store: Store,
    app: App,
}

fn at(time: &str) -> DateTime<Utc> {
    format!("2026-05-01T{time}Z").parse().unwrap()
}

fn tick() -> JobName {
    JobName::new("tick").unwrap()
}

fn oid(digit: u64) -> Oid {
    Oid::new([u8::try_from(digit).unwrap(); 20])
}

fn manifest(schedule: &str) -> String {
    format!("sdk = \"1.1\"\n[[schedules]]\nname = \"tick\"\nscript = \"tick.rhai\"\n{schedule}\n")
}

impl Day {
    async fn begin() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(&Location::Sqlite(folder.path().join("picloud.db"))).await.unwrap();
        let app = push(&store, 1, at("00:00:00")).await;
        Self { _folder: folder, store, app }
    }

    /// A node that serves a deploy.
    fn node(&self, name: &str, deploy: u64, manifest: &str, script: &str) -> Scheduler {
        let table = Arc::new(LiveTable::new(MemoryBudget::unbounded()));
        self.serve(&table, deploy, manifest, script);
        let node = NodeIdentity { id: Uuid::new_v4(), name: name.to_owned() };
        let (recorder, _) =
            Writer::new(self.store.clone(), node.name.clone(), RecordLimits::default(), Clock::default());
        Scheduler::new(self.store.clone(), table, recorder, node, ScheduleLimits::default(), Clock::default())
    }

    fn serve(&self, table: &LiveTable, deploy: u64, manifest: &str, script: &str) {
        let scripts = BTreeSet::from(["tick.rhai".to_owned()]);
        let context = ParseContext::new(&Ceiling::UNBOUNDED, &scripts);
        let manifest = parse(manifest.as_bytes(), context).unwrap().manifest;
        let sources =
            BTreeMap::from([(ScriptPath::new("tick.rhai").unwrap(), Arc::new(Source::new(script)))]);
        let identity = AppIdentity { id: self.app.id.as_uuid(), name: self.app.name.clone() };
        let revision = Revision::new(identity, oid(deploy).to_string(), manifest, sources, None).unwrap();
        table.replace(&self.app.name, Branch::production("main"), revision, deploy);
    }

    /// The schedule of production.
    fn tick(&self) -> ScheduleId {
        ScheduleId { app: self.app.id, branch: "main".to_owned(), name: tick() }
    }

    /// The rows in chronological order: last due time, number of due times, and outcome.
    async fn rows(&self) -> Vec<(String, u32, String)> {
        let rows = self.store.runs(&self.tick(), None, 1000).await.unwrap();
        let format = |row: ScheduleRun| {
            let outcome = row.outcome.map_or("going", RunOutcome::as_str);
            (row.due.last.format("%H:%M:%S").to_string(), row.due.count, outcome.to_owned())
        };
        rows.into_iter().rev().map(format).collect()
    }
}

async fn push(store: &Store, digit: u64, at: DateTime<Utc>) -> App {
    let commit =
        Object { oid: oid(digit), kind: ObjectKind::Commit, base: None, depth: 0, size: 1, zlib: vec![1] };
    let revision = NewRevision {
        commit: oid(digit),
        sdk: "1.1".to_owned(),
        subject: String::new(),
        author: String::new(),
        validated_at: at,
    };
    let old = (digit > 1).then(|| oid(digit - 1));
    let push = NewPush {
        app: AppName::new("clock").unwrap(),
        may_create: true,
        new_app: AppId::random(),
        by: Actor::named("ada"),
        at,
        node: None,
        refs: vec![RefChange { name: "refs/heads/main".to_owned(), old, new: Some(oid(digit)) }],
        objects: &vec![commit],
        gc_id: None,
        dangling: Vec::new(),
        shallow: Vec::new(),
        unshallow: Vec::new(),
        revisions: vec![revision],
        deploys: vec![NewDeploy { branch: "main".to_owned(), commit: oid(digit) }],
        domains: None,
        proven: Vec::new(),
        requires: Vec::new(),
        message: None,
        limits: store::PushLimits::NONE,
    };
    store.push(&push).await.unwrap().app
}

impl Scheduler {
    /// Runs a tick at `now` and everything it starts.
    async fn run_until_idle(&self, now: DateTime<Utc>) {
        self.tick(now);
        let begun = std::time::Instant::now();
        while begun.elapsed() < Duration::from_secs(60) {
            tokio::time::sleep(Duration::from_millis(2)).await;
            let busy = !self.0.tasks.is_empty() || self.queue().is_registering();
            let due = self.queue().next().is_some_and(|next| next <= now);
            match (busy, due) {
                (true, _) => {}
                (false, true) => self.tick(now),
                (false, false) => return,
            }
        }
        panic!("does not finish");
    }
}

const FIVE: &str = "cron = \"*/5 * * * *\"";
const SECOND: &str = "cron = \"* * * * * *\"";

fn row(due: &str, count: u32, outcome: &str) -> (String, u32, String) {
    (due.to_owned(), count, outcome.to_owned())
}

#[tokio::test]
async fn due_run_executes_once_across_nodes() {
    let day = Day::begin().await;
    let nodes = [day.node("a", 1, &manifest(FIVE), "1"), day.node("b", 1, &manifest(FIVE), "1")];
    for now in ["00:04:59", "00:05:00", "00:05:00", "00:05:01", "00:10:02"] {
        for node in &nodes {
            node.run_until_idle(at(now)).await;
        }
    }
    assert_eq!(day.rows().await, [row("00:05:00", 1, "succeeded"), row("00:10:00", 1, "succeeded")]);
    for node in &nodes {
        assert_eq!(node.queue().next(), Some(at("00:15:00")));
        assert_eq!(node.0.alarm.time().map(|time| time <= at("00:15:00")), Some(true));
    }
    let rows = day.store.runs(&day.tick(), None, 1).await.unwrap();
    assert_eq!((rows[0].lateness(), rows[0].commit), (TimeDelta::seconds(2), Some(oid(1))));
    assert_eq!(rows[0].node.as_ref().unwrap().name, "a");
}

#[tokio::test]
async fn rate_limited_runs_are_recorded_in_one_row() {
    let day = Day::begin().await;
    let nodes = [day.node("a", 1, &manifest(SECOND), "1"), day.node("b", 1, &manifest(SECOND), "1")];
    for node in &nodes {
        node.0.table.grant(&day.app.name, GrantedLimits { schedule_runs: 3, ..GrantedLimits::default() });
    }
    for second in 1..=125 {
        for node in &nodes {
            node.run_until_idle(at("00:00:00") + TimeDelta::seconds(second)).await;
        }
        if second == 30 {
            let running = ["00:00:01", "00:00:02", "00:00:03"].map(|due| row(due, 1, "succeeded"));
            assert_eq!(day.rows().await, running, "nothing is written while waiting");
            assert!(nodes.iter().all(|node| node.queue().next() == Some(at("00:01:00"))));
        }
    }
    let minute = |first: u32, begin: &str| {
        (first..first + 3).map(|second| row(&format!("{begin}:{second:02}"), 1, "succeeded")).collect()
    };
    let expected: [Vec<_>; 5] = [
        minute(1, "00:00"),
        vec![row("00:00:59", 56, "skipped")],
        minute(0, "00:01"),
        vec![row("00:01:59", 57, "skipped")],
        minute(0, "00:02"),
    ];
    assert_eq!(day.rows().await, expected.concat());
    let rows = day.store.runs(&day.tick(), Some(at("00:00:59")), 1).await.unwrap();
    let reason = rows[0].detail.as_deref().unwrap();
    assert!(
        reason.starts_with("the schedules of the app reached their limit of 3 runs per minute")
            && reason.ends_with("picloud apps limits clock --schedule-runs-per-minute N"),
        "{reason}"
    );
}

#[tokio::test]
async fn schedule_continues_after_clock_is_set_back() {
    let day = Day::begin().await;
    let node = day.node("a", 1, &manifest(SECOND), "1");
    node.run_until_idle(at("00:00:01")).await;
    // Set forward by an hour, then back by an hour.
    for now in ["01:00:00", "00:00:02", "00:30:00", "01:00:00", "01:00:01"] {
        node.run_until_idle(at(now)).await;
    }
    let expected = [
        row("00:00:01", 1, "succeeded"),
        row("00:30:00", 1001, "succeeded"),
        row("01:00:00", 1001, "succeeded"),
        // The repeated due time is a microsecond later.
        row("01:00:00", 1001, "succeeded"),
        row("01:00:01", 1, "succeeded"),
    ];
    assert_eq!(day.rows().await, expected);
    // A jump of seconds is waited for without repeated runs.
    node.run_until_idle(at("00:59:50")).await;
    assert_eq!(day.rows().await, expected);
    node.run_until_idle(at("23:00:00")).await;
    node.run_until_idle(at("02:00:00")).await;
    node.run_until_idle(at("02:00:01")).await;
    let rows = day.rows().await;
    assert_eq!(rows[5..], [row("02:00:01", 1, "succeeded"), row("23:00:00", 1001, "succeeded")]);
}

#[tokio::test]
async fn hourly_run_is_not_repeated_after_clock_is_set_back() {
    let day = Day::begin().await;
    let node = day.node("a", 1, &manifest("cron = \"0 * * * *\""), "1");
    for now in ["01:00:00", "00:10:00", "01:00:00", "02:00:00"] {
        node.run_until_idle(at(now)).await;
    }
    assert_eq!(day.rows().await, [row("01:00:00", 1, "succeeded"), row("02:00:00", 1, "succeeded")]);
}

#[tokio::test]
async fn node_down_for_a_year_writes_one_row() {
    let day = Day::begin().await;
    let year = TimeDelta::days(365);
    let none = format!("{SECOND}\ncatch_up = \"none\"");
    day.node("a", 1, &manifest(&none), "1").run_until_idle(at("00:00:01") + year).await;
    assert_eq!(day.rows().await, [row("00:00:01", 1001, "succeeded")], "the last one is not late");
    // Down until a time that is not due: nothing is caught up, and the row is missed.
    let day = Day::begin().await;
    let daily = "cron = \"0 0 * * *\"\ncatch_up = \"none\"";
    day.node("a", 1, &manifest(daily), "1").run_until_idle(at("12:00:00") + year).await;
    assert_eq!(day.rows().await, [row("00:00:00", 365, "missed")]);
    let rows = day.store.runs(&day.tick(), None, 1).await.unwrap();
    assert_eq!(
        (rows[0].due.first, rows[0].due.last),
        (at("00:00:00") + TimeDelta::days(1), at("00:00:00") + year)
    );
}

#[tokio::test]
async fn missed_run_is_caught_up_within_window() {
    let daily = "cron = \"0 6 * * *\"";
    let day = Day::begin().await;
    day.node("a", 1, &manifest(daily), "1").run_until_idle(at("20:00:00")).await;
    assert_eq!(day.rows().await, [row("06:00:00", 1, "succeeded")]);
    let day = Day::begin().await;
    let monthly = "cron = \"0 0 2 * *\"";
    day.node("a", 1, &manifest(monthly), "1").run_until_idle(at("20:00:00") + TimeDelta::days(3)).await;
    assert_eq!(day.rows().await, [row("00:00:00", 1, "missed")]);
    let rows = day.store.runs(&day.tick(), None, 1).await.unwrap();
    assert_eq!(rows[0].detail.as_deref(), Some("missed by more than 1440 minutes"));
}

#[tokio::test]
async fn only_live_deploy_runs_and_next_deploy_continues() {
    let day = Day::begin().await;
    let old = day.node("old", 1, &manifest(FIVE), "1");
    old.run_until_idle(at("00:05:00")).await;
    // A push just before the next due time, whose notification this node misses.
    push(&day.store, 2, at("00:09:59")).await;
    let later = at("00:10:00");
    old.tick(later);
    while !old.0.tasks.is_empty() || old.queue().is_registering() {
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    assert_eq!(day.rows().await.len(), 1, "not live any more");
    let new = day.node("new", 2, &manifest(FIVE), "throw \"why\"");
    new.run_until_idle(at("00:10:01")).await;
    assert_eq!(day.rows().await, [row("00:05:00", 1, "succeeded"), row("00:10:00", 1, "failed")]);
    let rows = day.store.runs(&day.tick(), None, 1).await.unwrap();
    assert!(rows[0].detail.as_deref().unwrap().contains("why"), "{rows:?}");
}

#[tokio::test]
async fn script_sees_its_earlier_runs() {
    let day = Day::begin().await;
    let manifest = manifest("cron = \"* * * * *\"").replace("1.1", "1.3");
    let script = "let s = ctx.schedule; if s.missed != 2 { throw `${s.last_success} ${s.missed}` }";
    let node = day.node("a", 1, &manifest, script);
    for now in ["00:01:00", "00:02:00", "00:03:00", "00:04:00"] {
        node.run_until_idle(at(now)).await;
    }
    let live = node.0.table.get_production(day.app.name.as_str()).unwrap();
    let schedule = live.revision.manifest().schedules[0].clone();
    let ran = node.run_now(live, schedule, &Actor::named("ada")).await.unwrap().unwrap();
    let mut details: Vec<_> =
        day.store.runs(&day.tick(), None, 9).await.unwrap().into_iter().map(|row| row.detail).collect();
    details.reverse();
    let success = at("00:03:00").timestamp_millis();
    let ends = [":  0", ":  1", "", &format!(": {success} 0")];
    for (detail, end) in details.iter().zip(ends) {
        assert!(detail.as_deref().unwrap_or_default().ends_with(end), "{details:?}");
    }
    assert!(ran.detail.unwrap().contains(&format!("{success} 1")), "the manual run");
}

#[tokio::test]
async fn due_times_of_replaced_expression_are_recorded() {
    let day = Day::begin().await;
    day.node("a", 1, &manifest(FIVE), "1").run_until_idle(at("00:05:00")).await;
    push(&day.store, 2, at("00:21:00")).await;
    day.node("a", 2, &manifest("cron = \"30 * * * *\""), "1").run_until_idle(at("00:30:00")).await;
    let expected =
        [row("00:05:00", 1, "succeeded"), row("00:20:00", 3, "missed"), row("00:30:00", 1, "succeeded")];
    assert_eq!(day.rows().await, expected);
    let rows = day.store.runs(&day.tick(), None, 9).await.unwrap();
    assert_eq!(rows[1].detail.as_deref(), Some("a deploy replaced the expression before the run"));
}

#[tokio::test]
async fn running_run_prevents_overlap_on_other_nodes() {
    let day = Day::begin().await;
    let slow = "let n = 0; while n < 3_000_000 { n += 1; }";
    let limits = "[limits]\ntimeout = \"30s\"\noperations = 100_000_000";
    for (overlap, second) in [("skip", "skipped"), ("allow", "succeeded")] {
        let day = if overlap == "skip" { &day } else { &Day::begin().await };
        let schedule = manifest(&format!("{SECOND}\noverlap = \"{overlap}\"\n{limits}"));
        let nodes = [day.node("a", 1, &schedule, slow), day.node("b", 1, &schedule, "1")];
        nodes[0].tick(at("00:00:01"));
        while !day.rows().await.contains(&row("00:00:01", 1, "going")) {
            nodes[0].tick(at("00:00:01"));
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        nodes[1].run_until_idle(at("00:00:02")).await;
        nodes[0].run_until_idle(at("00:00:02")).await;
        let second = row("00:00:02", 1, second);
        assert_eq!(day.rows().await, [row("00:00:01", 1, "succeeded"), second], "{overlap}");
    }
}

#[tokio::test]
async fn run_of_dead_node_is_lost_and_not_repeated() {
    let day = Day::begin().await;
    let dead = day.node("dead", 1, &manifest(FIVE), "1");
    let live = dead.0.table.scheduled().remove(0);
    let schedule = live.revision.manifest().schedules[0].clone();
    dead.states(&live).await.unwrap();
    let claim = NewRun { now: at("00:05:00"), ..dead.claim(&live, &schedule, false, at("00:05:00")) };
    assert_eq!(day.store.claim_run(&claim).await.unwrap(), Claim::Granted);
    let other = day.node("other", 1, &manifest(FIVE), "1");
    for now in ["00:05:10", "00:05:20", "00:05:29", "00:05:31", "00:10:00"] {
        other.run_until_idle(at(now)).await;
        while other.0.maintenance.is_checking() {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        let lost = day.rows().await[0].2 == "lost";
        assert_eq!(lost, now >= "00:05:31", "{now}: the lease must be seen as expired twice");
    }
    assert_eq!(day.rows().await, [row("00:05:00", 1, "lost"), row("00:10:00", 1, "succeeded")]);
    let rows = day.store.runs(&day.tick(), None, 9).await.unwrap();
    assert_eq!(rows[1].detail.as_deref(), Some("the lease of node dead expired during the run"));
}

#[tokio::test]
async fn paused_schedule_is_skipped_in_one_row_and_can_run_manually() {
    let day = Day::begin().await;
    let node = day.node("a", 1, &manifest(SECOND), "1");
    let live = node.0.table.scheduled().remove(0);
    let schedule = live.revision.manifest().schedules[0].clone();
    node.run_until_idle(Utc::now() - TimeDelta::seconds(3)).await;
    assert!(node.pause(&live, &schedule, &Actor::named("ada")).await.unwrap());
    assert!(!node.pause(&live, &schedule, &Actor::named("bob")).await.unwrap());
    node.run_until_idle(Utc::now() + TimeDelta::seconds(1)).await;
    assert_eq!(day.rows().await.len(), 1);
    let listed = node.scheduled(&live).await.unwrap().remove(0);
    assert_eq!((listed.paused.unwrap().by.as_str(), listed.next.len()), ("ada", 0));
    let run = node.run_now(Arc::clone(&live), schedule.clone(), &Actor::named("ada")).await.unwrap().unwrap();
    assert_eq!((run.manual, run.outcome), (true, Some(RunOutcome::Succeeded)));
    assert!(node.resume(&live, &schedule, &Actor::named("ada")).await.unwrap());
    assert!(!node.resume(&live, &schedule, &Actor::named("ada")).await.unwrap());
    let all = node.runs(&live, &schedule, None, PageRequest { cursor: None, limit: 9 }).await.unwrap();
    let skipped = all.items.iter().find(|run| run.outcome == Some(RunOutcome::Skipped)).unwrap();
    assert!(
        skipped.due.count >= 1 && skipped.detail.as_deref().unwrap().starts_with("paused by ada at "),
        "{skipped:?}"
    );
    let listed = node.scheduled(&live).await.unwrap().remove(0);
    assert_eq!((listed.paused, listed.next.len()), (None, 3));
    node.run_until_idle(Utc::now() + TimeDelta::seconds(1)).await;
    let first = node.runs(&live, &schedule, None, PageRequest { cursor: None, limit: 1 }).await.unwrap();
    let last = &first.items[0];
    assert_eq!((last.manual, last.outcome), (false, Some(RunOutcome::Succeeded)));
    let rest = PageRequest { cursor: first.next, limit: 9 };
    let rest = node.runs(&live, &schedule, None, rest).await.unwrap();
    assert_eq!((rest.items, rest.next), (all.items, None), "the next page starts where the first one ended");
}
