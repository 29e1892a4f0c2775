//! Does the engine work right: limits, the sandbox, panics, routing on a revision, and swaps of the live table.
//!
//! What scripts are promised is pinned in `sdk_contract.rs`; here may change what no author sees.

#![expect(clippy::unwrap_used, reason = "a test that cannot be set up has failed")]

#[path = "engine/blobs.rs"]
mod blobs;
#[path = "engine/callbacks.rs"]
mod callbacks;
#[path = "engine/constants.rs"]
mod constants;
#[path = "engine/cycles.rs"]
mod cycles;
#[path = "engine/guards.rs"]
mod guards;
#[path = "engine/host_calls.rs"]
mod host_calls;
#[path = "engine/memory.rs"]
mod memory;
#[path = "engine/messages.rs"]
mod messages;
mod support;

use std::collections::BTreeMap;
use std::sync::atomic::Ordering;
use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant};

use bytes::Bytes;
use manifest_schema::limits::Limits;
use manifest_schema::manifest::{App, Manifest, Route};
use manifest_schema::method::MethodSet;
use manifest_schema::name::{AppName, JobName, ScriptPath};
use manifest_schema::path::RoutePath;
use manifest_schema::sdk::SdkVersion;
use runtime::{
    AppIdentity, CountingAllocator, Execution, FailureKind, Host, Invocation, LogLine, Pass, Revision,
    RevisionError, RouteConflict, Routed, Secrets, Source, Trigger, compile,
};
use support::{APP, Call, Lines, OnLog, program, script};
use uuid::Uuid;

#[global_allocator]
static ALLOCATOR: CountingAllocator = CountingAllocator;

const MIB: u64 = 1024 * 1024;

fn kind(source: &str) -> FailureKind {
    script(source).failure().kind
}

/// A call with a short time, for scripts that would go on for ever.
fn short(source: &str) -> Call {
    script(source).limits(|limits| {
        limits.timeout = Duration::from_millis(100);
        limits.operations = u64::MAX;
    })
}

#[track_caller]
fn ends_soon(call: &Call, kind: FailureKind) -> Execution {
    let execution = call.run().execution;
    assert_eq!(execution.outcome.as_ref().map_err(|failure| failure.kind), Err(kind));
    assert!(execution.duration < Duration::from_secs(10), "{:?}", execution.duration);
    execution
}

// ---- time and operations ----

#[test]
fn an_endless_loop_ends_at_its_operations() {
    let call = script("loop {}").limits(|limits| limits.operations = 1000);
    let execution = ends_soon(&call, FailureKind::Operations);
    assert_eq!(execution.operations, 1001);
}

#[test]
fn an_endless_loop_ends_at_its_time() {
    let execution = ends_soon(&short("loop {}"), FailureKind::Timeout);
    assert!(execution.duration >= Duration::from_millis(100));
}

#[test]
fn operations_within_native_functions_count() {
    for source in [
        "[1].map(|x| { loop {} })",
        "loop { [1, 2].filter(|x| { for i in 0..100 { x += i; } true }); }",
        "loop { [[1], [2]] == [[1], [3]]; [3, 1, 2].sort(); }",
    ] {
        let call = script(source).limits(|limits| limits.operations = 100_000);
        ends_soon(&call, FailureKind::Operations);
    }
}

#[test]
fn a_limit_is_not_swallowed_by_a_comparer() {
    ends_soon(&short("let a = [3, 2, 1]; loop { a.sort(|x, y| { loop {} }); }"), FailureKind::Timeout);
}

#[test]
fn a_limit_is_not_caught_by_the_script() {
    ends_soon(&short("loop { try { loop {} } catch { } }"), FailureKind::Timeout);
}

#[test]
fn a_script_that_ends_normally_behind_its_limit_has_failed() {
    let call =
        script("let a = [2, 1]; a.sort(|x, y| { loop {} }); 1").limits(|limits| limits.operations = 500);
    ends_soon(&call, FailureKind::Operations);
}

#[test]
fn a_run_is_stopped_from_outside() {
    let call = script("log::info(\"begun\"); loop {}").limits(|limits| {
        limits.timeout = Duration::from_secs(30);
        limits.operations = u64::MAX;
    });
    let revision = call.revision();
    let (begun, has_begun) = mpsc::channel();
    let stop = Arc::clone(&call.stop);
    let stopper = std::thread::spawn(move || {
        has_begun.recv().unwrap();
        stop.store(true, Ordering::Relaxed);
    });
    let begins = OnLog(move |_| {
        let _ = begun.send(());
    });
    let execution = run_with(&call, &revision, Arc::new(begins));
    stopper.join().unwrap();
    assert_eq!(execution.outcome.unwrap_err().kind, FailureKind::Stopped);
    assert!(execution.duration < Duration::from_secs(30));
}

// ---- memory and size ----

#[test]
fn memory_is_counted_while_the_script_runs() {
    for source in [
        "let s = \"x\"; s.pad(1000000, 'x'); let all = []; loop { all.push(s + all.len()); }",
        "let a = [1]; loop { a += a; }",
        "let big = []; big.pad(20000, 1); fn f(a, b, c, d) { f(a, b, c, d) } f(big, big, big, big)",
        "let all = []; loop { let s = `${all.len()}`; s.pad(100000, '.'); all.push(|| s); }",
    ] {
        let call = script(source).limits(|limits| limits.memory = 16 * MIB);
        let execution = ends_soon(&call, FailureKind::Memory);
        assert!(
            execution.memory_peak > 16 * MIB && execution.memory_peak < 40 * MIB,
            "{}",
            execution.memory_peak
        );
    }
}

#[test]
fn a_run_that_has_ended_holds_nothing() {
    let call = script("let s = \"x\"; s.pad(10000000, 'x'); s.len()");
    let revision = call.revision();
    for _ in 0..20 {
        let execution = call.run_on(&revision).execution;
        assert_eq!(execution.outcome.unwrap().body, "10000000");
        assert!(execution.memory_peak >= 10_000_000);
    }
}

#[test]
fn what_one_call_makes_is_bounded_before_it_is_made() {
    for source in [
        "let s = \"x\"; s.pad(281474976710656, 'x'); s",
        "let s = \"x\"; s.pad(281474976710656, \"xyz\"); s",
        "let a = []; let b = []; b.pad(10000, 1); a.pad(281474976710656, b);",
        "let a = []; let b = []; b.pad(10000, 1); a.pad(10000, b);",
        "let b = blob(); b.pad(9223372036854775807, 1); b",
        "blob(9223372036854775807)",
        "let s = \"\"; s.pad(1000000, 'x'); s.replace(\"x\", s); s",
        "let s = \"\"; s.pad(1000000, 'x'); let t = \"\"; t.pad(100, 'y'); s.replace(\"\", t); s",
        "let s = \"\"; s.pad(1000000, 'x'); s.replace('x', \"0123456789012345678901234567890123456789\"); s",
        "let s = \"\"; s.pad(4000000, 'x'); s.to_chars().len()",
        "blob(4000000).to_array().len()",
    ] {
        let execution = ends_soon(&script(source), FailureKind::Size);
        assert!(execution.memory_peak < 48 * MIB, "{source}: {}", execution.memory_peak);
    }
    let pieces = script("let s = \"\"; s.pad(4000000, 'x'); s.split(\"\").len()");
    assert!(ends_soon(&pieces, FailureKind::Memory).memory_peak < 48 * MIB);
}

#[test]
fn the_replacements_do_what_the_originals_did() {
    for (source, json) in [
        ("let s = \"ab\"; s.pad(5, '-'); s", "\"ab---\""),
        ("let s = \"ab\"; s.pad(5, \"xy\"); s", "\"abxyxy\""),
        ("let s = \"ab\"; s.pad(1, '-'); s.pad(-1, '-'); s.pad(9, \"\"); s", "\"ab\""),
        ("let a = [1]; a.pad(3, 0); a", "[1,0,0]"),
        ("let b = blob(1, 7); b.pad(3, 258); b.to_array()", "[7,2,2]"),
        (
            "let s = \"a-b-c\"; s.replace(\"-\", \"+\"); s.replace('a', 'z'); s.replace(\"b\", '!'); s",
            "\"z+!+c\"",
        ),
        ("let s = \"abc\"; s.replace('b', \"\"); s", "\"ac\""),
        ("\"a b  c\".split()", "[\"a\",\"b\",\"c\"]"),
        ("\"a,b,c\".split(\",\")", "[\"a\",\"b\",\"c\"]"),
        ("\"a,b,c\".split(',', 2)", "[\"a\",\"b,c\"]"),
        ("\"a,b,c\".split_rev(\",\", 2)", "[\"c\",\"a,b\"]"),
        ("\"abc\".split(1)", "[\"a\",\"bc\"]"),
        ("\"\".split(\",\")", "[\"\"]"),
        ("\"aé\".to_chars()", "[\"a\",\"é\"]"),
        ("[1, [2.0, \"x\"], #{ a: () }].to_string()", "\"[1, [2.0, \\\"x\\\"], #{\\\"a\\\": ()}]\""),
        ("`${[1]} ${#{ b: 'c' }}`", "\"[1] #{\\\"b\\\": 'c'}\""),
        (
            "[[1, [2]] == [1, [2]], [1] == [1.0], [1] == [2], [1] == [1, 2], [1] != [2], [\"1\"] == [1]]",
            "[true,true,false,false,true,false]",
        ),
        ("[#{ a: [1] } == #{ a: [1] }, #{ a: 1 } == #{ b: 1 }, #{ a: 1 } != #{ a: 2 }]", "[true,false,true]"),
        ("[[1, 2], [3]].contains([3])", "true"),
    ] {
        assert_eq!(script(source).text(), json, "{source}");
    }
}

#[test]
fn a_body_of_any_allowed_size_can_be_worked_with() {
    let numbers = format!("[{}0]", "1,".repeat(400_000));
    let call = |source: &str| script(source).limits(|limits| limits.memory = 256 * MIB);
    let json = |source: &str| call(source).body("application/json", numbers.clone()).text();
    assert_eq!(json("let all = ctx.request.body; all.push(1); all.len()"), "400002");
    assert_eq!(json("ctx.request.body.filter(|n| n == 0)"), "[0]");
    let text = "x".repeat(5_000_000);
    assert_eq!(call("ctx.request.body.to_upper().len()").body("text/plain", text.clone()).text(), "5000000");
    assert_eq!(call("let b = ctx.request.body; b[0] = 0; b.len()").body("image/png", text).text(), "5000000");
}

#[test]
fn a_body_that_does_not_fit_ends_the_run_before_it_begins() {
    let body = format!("[{}0]", "[1],".repeat(200_000));
    let call = script("ctx.request.body.len()").body("application/json", body);
    ends_soon(&call.limits(|limits| limits.memory = MIB), FailureKind::Memory);
}

#[test]
fn an_answer_is_bounded() {
    let failure = script("let s = \"\"; s.pad(9000000, 'x'); #{ statusCode: 200, body: s }").failure();
    assert_eq!(failure.kind, FailureKind::InvalidResponse);
    assert_eq!(kind("let s = \"\"; s.pad(5000000, 'x'); [s, s]"), FailureKind::InvalidResponse);
}

// ---- depth ----

#[test]
fn functions_that_call_one_another_for_ever_are_too_deep() {
    for source in [
        "fn f(n) { f(n + 1) } f(0)",
        "fn f(n) { g(n) } fn g(n) { f(n) } f(0)",
        "let f = |g| g.call(g); f.call(f)",
        "fn f(a) { a.map(|x| f([x])) } f([1])",
        "fn f() { try { f() } catch { f() } } f()",
    ] {
        assert_eq!(kind(source), FailureKind::Depth, "{source}");
    }
}

#[test]
fn the_deepest_nesting_called_the_deepest_ends_within_the_stack() {
    for (open, close) in
        [("1+(", ")"), ("[", "]"), ("f(", ")"), ("[1].map(|x| ", ")"), ("`${", "}`"), ("try {", "} catch {}")]
    {
        let nested = |levels: usize| {
            let (open, close) = (open.repeat(levels), close.repeat(levels));
            format!("fn f(x) {{ x }} fn g(n) {{ if n > 0 {{ {open}g(n - 1){close} }} }} g(1000)")
        };
        let path = path("main.rhai");
        let compiles = |levels: &usize| compile(SdkVersion::V1_1, &path, &nested(*levels)).is_ok();
        let deepest = (1..200).rev().find(compiles).unwrap();
        assert!(deepest < 128, "{open}");
        assert_eq!(kind(&nested(deepest)), FailureKind::Depth, "{open}");
    }
}

#[test]
fn values_nested_deeply_are_walked_safely() {
    let nested = "let a = []; for i in 0..2000 { a = [a]; } let b = a;";
    assert_eq!(script(&format!("{nested} a.to_string().len() < 1000")).text(), "true");
    assert_eq!(kind(&format!("{nested} a == b")), FailureKind::Script);
    assert_eq!(kind(&format!("{nested} [a].contains(b)")), FailureKind::Script);
    assert_eq!(kind(&format!("{nested} a")), FailureKind::InvalidResponse);
    assert_eq!(script(&format!("{nested} [b].len()")).text(), "1");
}

#[test]
fn nesting_for_ever_ends_at_the_time() {
    for source in ["let a = []; loop { a = [a]; }", "let a = #{}; loop { a = #{ a: a }; }"] {
        ends_soon(&short(source), FailureKind::Timeout);
    }
}

#[test]
fn chains_of_closures_end_while_the_stack_can_still_free_them() {
    for source in [
        "let f = || 1; loop { let g = f; f = || g; }",
        "let f = || 1; loop { let g = [f]; f = || g; }",
        "let f = || 1; loop { let g = #{ f: f }; f = || g; }",
    ] {
        ends_soon(&script(source), FailureKind::Memory);
    }
}

#[test]
fn a_chain_of_closures_can_be_printed() {
    let source = "let f = || 1; for i in 0..50000 { let g = f; f = || g; } `${f}${[f]}${#{ f: f }}${f.to_debug()}`.len() < 1000";
    assert_eq!(script(source).text(), "true");
}

// ---- closures that hold themselves ----

#[test]
fn a_closure_that_holds_itself_has_no_json_form_and_no_endless_one() {
    let cycle = "let m = #{}; m.f = || m;";
    assert_eq!(kind(&format!("{cycle} m")), FailureKind::InvalidResponse);
    assert_eq!(kind(&format!("{cycle} m.to_json()")), FailureKind::Script);
    assert_eq!(kind(&format!("{cycle} log::info(\"m\", m)")), FailureKind::Script);
    assert!(script(&format!("{cycle} `${{m}}`")).text().contains("Fn("));
}

#[test]
fn a_script_whose_closures_hold_themselves_is_run_for_ever() {
    let call = script("let m = #{ big: \"x\" }; m.big.pad(8000000, 'x'); m.f = || m; 1");
    let revision = call.revision();
    for _ in 0..20 {
        assert!(call.run_on(&revision).execution.outcome.is_ok());
    }
}

#[test]
fn a_script_that_gives_all_back_is_run_for_ever() {
    let call =
        script("let f = |x| x + 1; log::info(\"x\", [1, 2, 3].map(f)); #{ statusCode: 200, body: \"y\" }");
    let revision = call.revision();
    for _ in 0..2000 {
        assert!(run_with(&call, &revision, ignores()).outcome.is_ok());
    }
}

// ---- the sandbox ----

#[test]
fn what_is_refused_is_refused_by_other_names_too() {
    for source in [
        "let f = Fn(\"eval\"); f.call(\"1\")",
        "call(Fn(\"ev\" + \"al\"), \"1\")",
        "let f = Fn(\"print\"); f.call(1)",
        "let f = Fn(\"sleep\"); f.call(100.0)",
        "[100].map(Fn(\"sleep\"))",
        "curry(Fn(\"sleep\"), 100).call()",
    ] {
        let started = Instant::now();
        // The checks are not the only wall.
        assert_eq!(script(source).stored().failure().kind, FailureKind::Script, "{source}");
        assert!(started.elapsed() < Duration::from_secs(10));
    }
}

#[test]
fn odd_numbers_are_errors_and_never_the_end() {
    for source in [
        "9223372036854775807 + 1",
        "(-9223372036854775807 - 1) / -1",
        "(-9223372036854775807 - 1) % -1",
        "(-9223372036854775807 - 1).abs()",
        "10 ** 1000",
        "1 / 0",
        "let a = [1]; a[9223372036854775807]",
        "let a = [1]; a[-9223372036854775807 - 1]",
        "parse_int(\"zz\", 99)",
        "1e300.to_int()",
        "range(0, 10, 0)",
        "1.get_bits(-9223372036854775807 - 1, 9223372036854775807)",
    ] {
        assert_eq!(kind(source), FailureKind::Script, "{source}");
    }
}

#[test]
fn a_panic_is_the_end_of_its_run_and_of_nothing_else() {
    let panics = OnLog(|_| panic!("the log is on fire"));
    let call = script("log::info(\"x\"); 1");
    let revision = call.revision();
    let failure = run_with(&call, &revision, Arc::new(panics)).outcome.unwrap_err();
    assert_eq!(failure.kind, FailureKind::Panic);
    assert_eq!(failure.message, "the engine failed: the log is on fire");
    assert_eq!(run_with(&call, &revision, ignores()).outcome.unwrap().body, "1");
}

#[test]
fn a_run_may_be_within_another_on_the_same_thread() {
    let inner = script("fn f() { ctx.script_name } log::info(\"x\"); f()");
    let inner = Call { script: "inner.rhai".to_owned(), ..inner };
    let inner_revision = inner.revision();
    let outer = script("fn f() { ctx.script_name } log::info(\"outer\"); f()");
    let revision = outer.revision();
    let nests = OnLog(move |line: LogLine| {
        let ran = run_here(&inner, &inner_revision, ignores()).outcome.unwrap();
        assert_eq!((line.message.as_str(), &ran.body[..]), ("outer", &b"\"inner\""[..]));
    });
    let answer = run_with(&outer, &revision, Arc::new(nests)).outcome.unwrap();
    assert_eq!(answer.body, "\"main\"");
}

// ---- failures and logs ----

#[test]
fn an_error_is_placed_where_it_happened_below_the_calls() {
    let failure = script("fn g(x) {\n  x.nothing.at_all\n}\nfn f() { g(#{}) }\nf()").failure();
    assert_eq!(failure.place.unwrap().to_string(), "main.rhai:2:13");
    assert!(!failure.message.contains("line"), "{}", failure.message);
}

#[test]
fn messages_are_bounded() {
    assert!(script("let s = \"\"; s.pad(4000000, 'é'); throw s").failure().message.len() <= 4096);
}

#[test]
fn log_lines_are_bounded_and_the_rest_is_counted() {
    let many = script("for i in 0..1500 { log::info(`line ${i}`); }").run();
    assert_eq!((many.log.len(), many.execution.log_lines_dropped), (1000, 500));
    let long = script("let s = \"\"; s.pad(100000, 'é'); for i in 0..100 { log::info(s); }").run();
    assert!(long.log.iter().all(|line| line.message.len() <= 8 * 1024));
    assert_eq!(long.log.len() as u64 + long.execution.log_lines_dropped, 100);
    assert!(long.execution.log_lines_dropped > 0);
}

#[test]
fn a_stored_script_is_not_judged_again_but_the_wall_stands() {
    // A later server may check more than the one that accepted the script; what never ran wrong goes on running.
    assert_eq!(script("if ctx.request.path == \"/x\" { nope(); }\n1").stored().text(), "1");
    for (source, told) in [
        ("let x = 1;\nlet y = ;", "compile at main.rhai:2:9: unexpected `;`"),
        ("let x = 1;\neval(\"x\");", "compile at main.rhai:2:1: `eval` is disabled"),
        ("import \"x\" as x;", "compile at main.rhai:1:1: `import` is disabled"),
    ] {
        assert_eq!(script(source).stored().failure().to_string(), told);
    }
}

#[test]
fn a_script_that_is_not_there_fails() {
    let revision = script("1").revision();
    let call = Call { script: "other.rhai".to_owned(), ..script("1") };
    assert_eq!(call.run_on(&revision).execution.outcome.unwrap_err().kind, FailureKind::Compile);
}

// ---- revisions ----

fn app() -> AppIdentity {
    AppIdentity { id: APP, name: AppName::new("hello").unwrap() }
}

fn path(path: &str) -> ScriptPath {
    ScriptPath::new(path).unwrap()
}

fn manifest(routes: &[(&str, &str)]) -> Manifest {
    let route = |(route, script): &(&str, &str)| Route {
        path: RoutePath::parse(route).unwrap(),
        methods: MethodSet::ALL,
        script: path(script),
    };
    Manifest {
        sdk: SdkVersion::V1_1,
        app: App::default(),
        routes: routes.iter().map(route).collect(),
        schedules: Vec::new(),
        functions: Vec::new(),
        env: BTreeMap::new(),
        secrets: manifest_schema::manifest::SecretNames::default(),
        limits: Limits { concurrency: 2, ..Limits::DEFAULT },
    }
}

fn sources(text: &str) -> BTreeMap<ScriptPath, Arc<Source>> {
    BTreeMap::from([(path("main.rhai"), Arc::new(Source::new(text)))])
}

fn revision(commit: char, source: &str) -> Revision {
    let manifest = manifest(&[("/", "main.rhai"), ("/{*all}", "main.rhai")]);
    Revision::new(app(), commit.to_string().repeat(40), manifest, sources(source), None).unwrap()
}

#[test]
fn a_revision_needs_every_script_it_names() {
    let manifest = manifest(&[("/", "gone.rhai")]);
    let error = Revision::new(app(), "a".repeat(40), manifest, BTreeMap::new(), None).unwrap_err();
    assert_eq!(error, RevisionError::MissingScript(path("gone.rhai")));
}

#[test]
fn a_revision_cannot_answer_one_request_twice() {
    let twice = manifest(&[("/a/{x}", "main.rhai"), ("/a/{y}", "main.rhai")]);
    assert_eq!(runtime::check_routes(&twice), Err(RouteConflict("/a/{y}".to_owned())));
    assert_eq!(runtime::check_routes(&manifest(&[("/a/{x}", "main.rhai"), ("/{*y}", "main.rhai")])), Ok(()));
}

#[test]
fn what_is_compiled_is_not_compiled_again() {
    // The source is another one on purpose: only the compiled script can answer 1.
    let compiled = compile(SdkVersion::V1_1, &path("main.rhai"), "1").unwrap();
    let sources = sources("2");
    sources[&path("main.rhai")].set_program(SdkVersion::V1_1, Arc::new(compiled.into()));
    let manifest = manifest(&[("/", "main.rhai")]);
    let revision = Revision::new(app(), "a".repeat(40), manifest, sources, None).unwrap();
    assert_eq!(script("").run_on(&revision).execution.outcome.unwrap().body, "1");
}

#[test]
fn new_secret_compiles_nothing() {
    let call =
        Call { secrets: vec![("KEY", "first")], sdk: SdkVersion::V1_2, ..script("ctx.secrets.KEY") }.stored();
    let revision = call.revision();
    assert!(inline_here(&call, &revision).is_none(), "it is not compiled yet");
    assert_eq!(call.run_on(&revision).execution.outcome.unwrap().body, "\"first\"");
    let values = BTreeMap::from([("KEY".to_owned(), "second".to_owned())]);
    let renewed = revision.with_secrets(&Secrets::new(values));
    let (brief, _) = inline_here(&call, &renewed).expect("it shares what is compiled");
    assert_eq!(brief.outcome.unwrap().body, "\"second\"");
}

#[test]
fn what_was_compiled_for_another_sdk_is_compiled_again() {
    let compiled = compile(SdkVersion::V1_0, &path("main.rhai"), "1").unwrap();
    let sources = sources("2");
    sources[&path("main.rhai")].set_program(SdkVersion::V1_0, Arc::new(compiled.into()));
    let manifest = manifest(&[("/", "main.rhai")]);
    let revision = Revision::new(app(), "a".repeat(40), manifest, sources, None).unwrap();
    assert_eq!(script("").run_on(&revision).execution.outcome.unwrap().body, "2");
}

#[test]
fn a_revision_routes_requests_to_its_scripts() {
    let revision = revision('a', "1");
    let Routed::Script(matched) = revision.route("GET", "/x/y%20z") else { panic!() };
    assert_eq!((matched.script, matched.rest.as_deref()), (path("main.rhai"), Some("x/y z")));
    assert_eq!(revision.route("GET", "/../etc"), Routed::BadPath);
}

// ---- inline passes ----

#[test]
fn a_run_that_takes_long_is_begun_anew_and_leaves_nothing_behind() {
    let call = script("log::info(\"begun\"); let x = 0; for i in 0..5000 { x += i } x");
    let revision = call.revision();
    assert!(inline_here(&call, &revision).is_none());
    let ran = call.run_on(&revision);
    assert_eq!(ran.execution.outcome.unwrap().body, "12497500");
    assert_eq!(ran.log.len(), 1);
    assert!(inline_here(&call, &revision).is_none());
}

#[test]
fn a_short_run_ends_where_it_began_and_a_script_does_not_stay_long() {
    let source = "log::info(\"a\"); if ctx.request.body == () { let x = 0; for i in 0..5000 { x += i } } 1";
    let call = script(source).function("0");
    let revision = call.revision();
    assert!(inline_here(&call, &revision).is_none(), "without a body");
    let whole = call.run_on(&revision);
    let short = invocation(&call, Bytes::from_static(b"0"));
    let (brief, lines) = inline_with(&revision, &short).unwrap();
    assert_eq!((brief.outcome, brief.operations), (whole.execution.outcome, whole.execution.operations));
    let logged: Vec<String> = whole.log.into_iter().map(|line| line.message).collect();
    assert_eq!((lines, logged), (vec!["a".to_owned()], vec!["a".to_owned()]));
}

#[test]
fn what_ends_a_short_run_is_told_as_ever() {
    let limits = Limits { operations: 100, ..Limits::DEFAULT };
    for (source, kind) in [
        ("throw 1", FailureKind::Script),
        ("loop {}", FailureKind::Operations),
        ("#{ statusCode: 1 }", FailureKind::InvalidResponse),
    ] {
        let call = Call { limits: limits.clone(), ..script(source) };
        let (brief, _) = inline_here(&call, &call.revision()).unwrap();
        assert_eq!(brief.outcome.unwrap_err().kind, kind, "{source}");
    }
}

#[test]
fn a_large_body_is_not_read_where_others_wait() {
    let call = script("ctx.request.body");
    let revision = call.revision();
    let brief = |bytes: usize| {
        let payload = format!("\"{}\"", "x".repeat(bytes));
        inline_with(&revision, &invocation(&call, payload.into()))
    };
    assert!(brief(1000).is_some());
    assert!(brief(1_000_000).is_none());
}

// ---- vocabulary ----

fn ignores() -> Arc<dyn Host> {
    Arc::new(OnLog(|_| ()))
}

fn run_with(call: &Call, revision: &Revision, host: Arc<dyn Host>) -> Execution {
    std::thread::scope(|scope| {
        let thread = std::thread::Builder::new().stack_size(runtime::STACK);
        thread.spawn_scoped(scope, || run_here(call, revision, host)).unwrap().join().unwrap()
    })
}

/// Runs on this thread, whose stack is small: for scripts that nest nothing.
fn run_here(call: &Call, revision: &Revision, host: Arc<dyn Host>) -> Execution {
    let invocation = invocation(call, Bytes::new());
    runtime::run(revision, &program(revision, &invocation.script), &invocation, host, &call.stop)
}

fn inline_here(call: &Call, revision: &Revision) -> Option<(Execution, Vec<String>)> {
    inline_with(revision, &invocation(call, Bytes::new()))
}

/// An inline pass that came to its end, and what it logged.
fn inline_with(revision: &Revision, invocation: &Invocation) -> Option<(Execution, Vec<String>)> {
    let lines = Arc::<Lines>::default();
    match runtime::run_inline(revision, invocation, Arc::<Lines>::clone(&lines)) {
        Pass::Ended(execution) => Some((execution, lines.messages())),
        Pass::OverBudget => None,
        Pass::Blocked { .. } => unreachable!("nothing is left pending"),
    }
}

/// A call as a function.
fn invocation(call: &Call, payload: Bytes) -> Invocation {
    Invocation {
        script: path(&call.script),
        execution_id: Uuid::from_u128(1),
        request_id: Uuid::from_u128(2),
        trigger: Trigger::Function { name: JobName::new("main").unwrap(), payload },
    }
}
