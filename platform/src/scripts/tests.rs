use manifest_schema::limits::Limits;
use manifest_schema::manifest::{App, Function, Manifest, SecretNames};
use manifest_schema::name::{AppName, JobName};
use runtime::AppIdentity;
use std::collections::BTreeMap;
use uuid::Uuid;

use super::*;
use crate::memory::Evict as _;

const MIB: u64 = 1024 * 1024;
const SDK: SdkVersion = SdkVersion::V1_2;

fn scripts() -> Scripts {
    Scripts::new(MemoryBudget::new(64 * MIB))
}

fn app(scripts: &Scripts, id: u128) -> AppScripts {
    scripts.of(AppId::from_uuid(Uuid::from_u128(id)))
}

fn path() -> ScriptPath {
    ScriptPath::new("main.rhai").unwrap()
}

/// A revision with one script.
fn revision(app: &AppScripts, text: &str) -> Revision {
    let function = Function { name: JobName::new("main").unwrap(), script: path() };
    let manifest = Manifest {
        sdk: SDK,
        app: App::default(),
        routes: Vec::new(),
        schedules: Vec::new(),
        functions: vec![function],
        env: BTreeMap::new(),
        secrets: SecretNames::default(),
        limits: Limits::DEFAULT,
        checks: Vec::new(),
    };
    let sources = BTreeMap::from([(path(), app.source(text).unwrap())]);
    let identity = AppIdentity { id: app.app().as_uuid(), name: AppName::new("a").unwrap() };
    Revision::new(identity, "a".repeat(40), manifest, sources, None).unwrap()
}

#[test]
fn text_is_shared_within_app_and_released_with_last_reference() {
    let scripts = scripts();
    let (one, other) = (app(&scripts, 1), app(&scripts, 2));
    let text = "x".repeat(MIB as usize);
    let first = one.source(&text).unwrap();
    let again = app(&scripts, 1).source(&text).unwrap();
    assert!(Arc::ptr_eq(&first, &again));
    let foreign = other.source(&text).unwrap();
    assert!(!Arc::ptr_eq(&first, &foreign), "texts are not shared between apps");
    assert!((MIB..MIB + 1024).contains(&one.account().used_bytes()));
    drop(first);
    assert!(one.account().used_bytes() >= MIB);
    drop(again);
    assert_eq!(
        (one.account().used_bytes(), format!("{:?}", scripts.texts)),
        (0, "Texts { held: 1 }".to_owned())
    );
}

#[test]
fn text_beyond_share_is_rejected_without_eviction_of_live_texts() {
    let scripts = scripts();
    let app = app(&scripts, 1);
    let texts: Vec<String> = (0..40).map(|n| format!("{n}{}", "x".repeat(MIB as usize))).collect();
    let live: Vec<_> = texts.iter().map_while(|text| app.source(text).ok()).collect();
    assert_eq!(live.len(), 23, "three quarters of its share, which is half of the budget");
    assert!(matches!(app.source(&texts[31]), Err(OutOfMemory::App { .. })));
    assert!(app.source(&texts[0]).is_ok(), "an existing text takes no more memory");
}

#[test]
fn program_is_shared_and_compiled_again_after_eviction() {
    let scripts = scripts();
    let app = app(&scripts, 1);
    let (production, preview) = (revision(&app, "1 + 1"), revision(&app, "1 + 1"));
    let sources = app.account().used_bytes();
    let program = app.program(&production, &path()).unwrap();
    assert!(Arc::ptr_eq(&program, &app.program(&preview, &path()).unwrap()));
    assert!(app.account().used_bytes() > sources);
    let running = Arc::downgrade(&program);
    drop(program);
    assert!(scripts.programs.evict(None, 1) > 0);
    assert!(running.upgrade().is_none());
    assert_eq!(app.account().used_bytes(), sources, "live texts stay");
    assert!(app.program(&preview, &path()).is_ok());
}

#[test]
fn running_program_is_not_evicted() {
    let scripts = scripts();
    let app = app(&scripts, 1);
    let (one, two) = (revision(&app, "1"), revision(&app, "2"));
    let running = app.program(&one, &path()).unwrap();
    drop(app.program(&two, &path()).unwrap());
    let held = app.account().used_bytes();
    assert_eq!(scripts.programs.evict(None, u64::MAX), 1, "only the idle one");
    assert!(app.account().used_bytes() < held);
    assert!(Arc::ptr_eq(&running, &app.program(&one, &path()).unwrap()));
}

#[test]
fn recently_used_programs_are_evicted_last() {
    let scripts = scripts();
    let app = app(&scripts, 1);
    let revisions: Vec<_> = (0..10).map(|n| revision(&app, &n.to_string())).collect();
    let programs: Vec<_> = revisions.iter().map(|revision| app.program(revision, &path()).unwrap()).collect();
    let weak: Vec<_> = programs.iter().map(Arc::downgrade).collect();
    drop(programs);
    let is_compiled = || weak.iter().map(|program| program.upgrade().is_some()).collect::<Vec<_>>();
    scripts.programs.evict_idle();
    assert_eq!(is_compiled(), [true; 10], "all are new");
    let host = Arc::new(NoHost);
    let trigger =
        runtime::Trigger::Function { name: JobName::new("main").unwrap(), payload: bytes::Bytes::new() };
    let invocation = runtime::Invocation::new(path(), Uuid::nil(), Uuid::nil(), trigger);
    assert!(matches!(
        runtime::run_inline(&revisions[3], &invocation, host),
        runtime::InlineOutcome::Finished(_)
    ));
    scripts.programs.evict(None, 1);
    let left = is_compiled();
    assert!(left[3] && !left[0], "{left:?}");
    scripts.programs.evict_idle();
    assert!(
        is_compiled()[3] && is_compiled().iter().filter(|is_compiled| **is_compiled).count() == 1,
        "all unused ones are evicted"
    );
    scripts.programs.evict_idle();
    assert_eq!(is_compiled(), [false; 10], "not used since");
}

#[test]
fn app_above_equal_part_only_evicts_its_own_programs() {
    let scripts = scripts();
    let (greedy, other) = (app(&scripts, 1), app(&scripts, 2));
    greedy.account().set_share(96 * MIB);
    let revisions = [revision(&greedy, "1"), revision(&other, "2")];
    let own = Arc::downgrade(&greedy.program(&revisions[0], &path()).unwrap());
    let others = Arc::downgrade(&other.program(&revisions[1], &path()).unwrap());
    let _others = other.account().try_reserve(Purpose::Sources, 2 * MIB).unwrap();
    let mut held = greedy.account().try_reserve(Purpose::Sources, 0).unwrap();
    while held.try_grow(MIB).is_ok() {}
    assert!(held.bytes() >= 40 * MIB);
    assert!(own.upgrade().is_none() && others.upgrade().is_some());
}

#[test]
fn compile_without_memory_fails_with_reason() {
    let scripts = Scripts::new(MemoryBudget::new(2 * MIB));
    let app = app(&scripts, 1);
    let revision = revision(&app, "1");
    let held = app.account().try_reserve(Purpose::Scripts, MIB - 1024).unwrap();
    let failure = app.program(&revision, &path()).unwrap_err();
    assert_eq!(failure.kind, FailureKind::NodeMemory);
    assert!(
        failure.message.starts_with("cannot compile `main.rhai`: out of memory: the app uses 1.0 MiB"),
        "{failure}"
    );
    drop(held);
    assert!(app.program(&revision, &path()).is_ok());
}

struct NoHost;

impl runtime::Host for NoHost {
    fn log(&self, _: runtime::LogLine) -> runtime::HostCall<()> {
        runtime::HostCall::Ready(())
    }

    fn wait(&self, _: runtime::Pending, _: &std::sync::atomic::AtomicBool) -> Duration {
        Duration::ZERO
    }
}
