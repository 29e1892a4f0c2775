use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use manifest_schema::limits::{Limits, RouteLimits};
use manifest_schema::manifest::{App, Manifest, Route, SecretNames};
use manifest_schema::method::MethodSet;
use manifest_schema::name::{JobName, ScriptPath};
use manifest_schema::path::RoutePath;
use manifest_schema::sdk::SdkVersion;
use runtime::{AppIdentity, Host, HostCall, Invocation, LogLine, Pending, Source, Trigger};
use uuid::Uuid;

use super::*;
use crate::memory::MemoryBudget;

fn revision(commit: char, source: &str) -> Revision {
    let script = ScriptPath::new("main.rhai").unwrap();
    let route = Route {
        path: RoutePath::parse("/").unwrap(),
        methods: MethodSet::ALL,
        script: script.clone(),
        limits: RouteLimits::default(),
    };
    let manifest = Manifest {
        sdk: SdkVersion::V1_1,
        app: App::default(),
        routes: vec![route],
        schedules: Vec::new(),
        functions: Vec::new(),
        env: BTreeMap::new(),
        secrets: SecretNames::default(),
        limits: Limits { concurrency: 2, ..Limits::DEFAULT },
        checks: Vec::new(),
    };
    let app = AppIdentity { id: Uuid::nil(), name: AppName::new("hello").unwrap() };
    let sources = BTreeMap::from([(script, Arc::new(Source::new(source)))]);
    Revision::new(app, commit.to_string().repeat(40), manifest, sources, None).unwrap()
}

struct NoHost;

impl Host for NoHost {
    fn log(&self, _: LogLine) -> HostCall<()> {
        HostCall::Ready(())
    }

    fn wait(&self, _: Pending, _: &AtomicBool) -> Duration {
        unreachable!("nothing is pending")
    }
}

#[test]
fn branch_is_live_until_replaced_or_removed() {
    let table = LiveTable::new(MemoryBudget::unbounded());
    let hello = AppName::new("hello").unwrap();
    assert!(table.get("hello", "main").is_none() && table.get_production("hello").is_none());
    table.replace(&hello, Branch::production("main"), revision('a', "1"), 1);
    table.replace(&hello, Branch::preview("feature", "feature", false), revision('b', "2"), 2);
    assert_eq!(table.get("hello", "main").unwrap().deploy, 1);
    assert_eq!(table.get("hello", "feature").unwrap().revision.commit(), "b".repeat(40));
    assert_eq!(table.get_production("hello").unwrap().deploy, 1);
    assert_eq!(table.scheduled().len(), 1);
    table.replace(&hello, Branch::production("main"), revision('c', "3"), 3);
    assert_eq!(table.get_production("hello").unwrap().deploy, 3);
    table.retain(&hello, &known(&["main"]));
    assert!(table.get("hello", "feature").is_none());
    table.retain(&hello, &KnownBranches::default());
    assert!(table.get_production("hello").is_none() && table.scheduled().is_empty());
}

/// Known branches, the first is production.
fn known(labels: &[&str]) -> KnownBranches {
    KnownBranches {
        labels: labels.iter().map(|label| (*label).to_owned()).collect(),
        production: labels.first().map(|label| (*label).to_owned()),
        ..KnownBranches::default()
    }
}

#[test]
fn known_branch_that_cannot_be_served_is_unserved() {
    let table = LiveTable::new(MemoryBudget::unbounded());
    let hello = AppName::new("hello").unwrap();
    let domain = DomainName::new("hello.example.com").unwrap();
    let domains = vec![domain.clone()];
    table.retain(&hello, &KnownBranches { domains, ..known(&["main", "feature"]) });
    assert!(matches!(table.find_production("hello"), Some(LiveState::Unserved)));
    assert!(matches!(table.find("hello", "feature"), Some(LiveState::Unserved)));
    assert!(matches!(table.find_by_domain(domain.as_str()), Some(LiveState::Unserved)));
    assert!(table.find("hello", "other").is_none() && table.get_production("hello").is_none());
    assert_eq!(table.apps(), 0);
    // A domain stays with the app until the store releases it, independent of the manifest.
    table.replace(&hello, Branch::production("main"), revision('a', "1"), 1);
    assert_eq!(table.get_production("hello").unwrap().deploy, 1);
    assert!(matches!(table.find_by_domain(domain.as_str()), Some(LiveState::Live(_))));
    // A served revision stays while the next one cannot be served.
    table.retain(&hello, &known(&["main"]));
    assert!(matches!(table.find_production("hello"), Some(LiveState::Live(_))));
    assert!(table.find("hello", "feature").is_none());
    assert!(table.find_by_domain(domain.as_str()).is_none());
    assert_eq!(table.apps(), 1);
}

#[test]
fn swap_of_one_app_does_not_affect_another() {
    let table = LiveTable::new(MemoryBudget::unbounded());
    let (one, two) = (AppName::new("one").unwrap(), AppName::new("two").unwrap());
    table.replace(&one, Branch::production("main"), revision('a', "1"), 1);
    let before = table.get("one", "main").unwrap();
    table.replace(&two, Branch::production("main"), revision('b', "2"), 1);
    table.retain(&two, &KnownBranches::default());
    assert!(Arc::ptr_eq(&before, &table.get("one", "main").unwrap()));
}

#[test]
fn slots_belong_to_app_and_survive_swap() {
    let table = LiveTable::new(MemoryBudget::unbounded());
    let hello = AppName::new("hello").unwrap();
    table.replace(&hello, Branch::production("main"), revision('a', "1"), 1);
    let first = table.get_production("hello").unwrap().try_acquire_slot().unwrap();
    table.replace(&hello, Branch::production("main"), revision('b', "2"), 2);
    table.replace(&hello, Branch::preview("preview", "preview", false), revision('c', "3"), 3);
    table.replace(&hello, Branch::preview("other", "other", false), revision('c', "3"), 4);
    // Two for production, and one for all previews.
    let second = table.get("hello", "preview").unwrap().try_acquire_slot().unwrap();
    assert!(table.get("hello", "other").unwrap().try_acquire_slot().is_none());
    let third = table.get_production("hello").unwrap().try_acquire_slot().unwrap();
    assert!(table.get_production("hello").unwrap().try_acquire_slot().is_none());
    drop(first);
    assert!(table.get_production("hello").unwrap().try_acquire_slot().is_some());
    drop((second, third));
}

#[test]
fn request_sees_one_consistent_revision_during_swaps() {
    let table = LiveTable::new(MemoryBudget::unbounded());
    let hello = AppName::new("hello").unwrap();
    let letters = ['a', 'b', 'c', 'd'];
    let deploy = |number: u64| {
        let letter = letters[(number % 4) as usize];
        table.replace(&hello, Branch::production("main"), revision(letter, &format!("\"{letter}\"")), number);
    };
    deploy(1);
    let done = AtomicBool::new(false);
    let trigger = Trigger::Function { name: JobName::new("main").unwrap(), payload: Bytes::new() };
    let script = ScriptPath::new("main.rhai").unwrap();
    let call = Invocation::new(script, Uuid::nil(), Uuid::nil(), trigger);
    std::thread::scope(|scope| {
        let readers: Vec<_> = (0..2)
            .map(|_| {
                scope.spawn(|| {
                    let (mut requests, mut newest) = (0, 0);
                    while !done.load(Ordering::Relaxed) || requests == 0 {
                        let live = table.get_production("hello").unwrap();
                        assert!(live.deploy >= newest, "went back from {newest} to {}", live.deploy);
                        newest = live.deploy;
                        let program = live.scripts().program(&live.revision, &call.script).unwrap();
                        let response =
                            runtime::run(&live.revision, &program, &call, Arc::new(NoHost), &Arc::default())
                                .into_finished()
                                .outcome
                                .unwrap();
                        let letter = live.revision.commit().chars().next().unwrap();
                        assert_eq!(letter, letters[(live.deploy % 4) as usize]);
                        assert_eq!(response.body, format!("\"{letter}\""));
                        requests += 1;
                    }
                    requests
                })
            })
            .collect();
        (2..300).for_each(deploy);
        done.store(true, Ordering::Relaxed);
        assert!(readers.into_iter().map(|reader| reader.join().unwrap()).sum::<u64>() > 0);
    });
}

#[test]
fn apps_beyond_limit_share_metrics_and_idle_apps_have_none() {
    let table = LiveTable::new(MemoryBudget::unbounded());
    let answered = |number: usize| {
        let entry = table.entry(&AppName::new(&format!("a{number}")).unwrap());
        entry.metrics.observe(200, Duration::ZERO);
    };
    (0..METRIC_APPS_MAX).for_each(|number| drop(table.entry(&AppName::new(&format!("a{number}")).unwrap())));
    assert!(table.metrics().is_empty());
    [0, 7, METRIC_APPS_MAX, METRIC_APPS_MAX + 1].into_iter().for_each(answered);
    let metrics = table.metrics();
    let names: Vec<_> = metrics.iter().map(|metrics| metrics.app.as_deref()).collect();
    assert_eq!(names, [Some("a0"), Some("a7"), None]);
    assert_eq!(metrics[2].counts.responses[1][0], 2);
    // Shared counters stay, and a removed app frees its own set for the next one.
    table.retain(&AppName::new("a7").unwrap(), &KnownBranches::default());
    answered(METRIC_APPS_MAX + 2);
    let names: Vec<_> = table.metrics().into_iter().map(|metrics| metrics.app).collect();
    assert_eq!(names, [Some("a0".to_owned()), Some(format!("a{}", METRIC_APPS_MAX + 2)), None]);
}
