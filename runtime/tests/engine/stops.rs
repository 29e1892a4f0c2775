//! Generated scripts that are stopped at each of their host calls, by a wait or because their state has changed: each
//! ends as if it was not, with the same response, lines and changes.

use manifest_schema::sdk::SdkVersion;

use super::*;
use crate::support::stops::{Stop, StopsOnce, stops_that_change_nothing};

/// Expressions that call the host.
const CALLS: [&str; 7] = [
    "log::info(`line ${kv::get(\"n\")}`, #{ a: 1 })",
    "kv::set(\"a\", random::int(0, 1000))",
    "kv::incr(\"n\")",
    "kv::list(\"\", #{ reverse: true }).len()",
    "kv::append(\"list\", kv::peek(\"a\"))",
    "functions::invoke(\"f\", 2)",
    "functions::invoke(\"throws\", 2)",
];

/// Places where a stop could be caught, discarded or observed; `A` and `B` are two of the calls.
const PLACES: [&str; 9] = [
    "A; B; kv::keys(\"\")",
    "try { A; B; throw 1 } catch (e) { log::warn(e); A; }",
    "try { try { A } catch { log::info(\"inner\"); B } } catch { log::info(\"outer\") } 1",
    "let list = [3, 1, 2]; list.sort(|x, y| { A; B; x - y }); list",
    "let list = [2, 1]; try { list.sort(|x, y| { A; x - y }) } catch { log::info(\"caught\"); B } list",
    "let seen = []; let f = |x| { A; seen.push(x); B }; [1, 2].map(f); seen",
    "for i in 0..3 { A; if i == 1 { B; break } }",
    "fn g(n) { if n > 0 { try { A } catch { B } g(n - 1) } else { n } } g(2)",
    "import \"lib/text\" as text; A; text::twice(2); B; text::twice(3)",
];

const LIBRARY: &str = "fn twice(x) { kv::add(\"n\", x); try { log::info(x); kv::get(\"n\") } catch { 0 } }";
const FUNCTION: &str = "try { kv::incr(\"f\", ctx.request.body) } catch { log::info(\"in f\") }
    [1, 2].map(|x| { log::info(x); x }); if random::int(0, 1) == 0 { exit(kv::get(\"f\")) } kv::get(\"n\")";
const THROWS: &str = "kv::set(\"thrown\", 1); log::info(\"throws\"); kv::incr(\"n\"); throw \"on purpose\"";

#[test]
fn generated_script_stopped_at_any_host_call_ends_the_same() {
    let check = || {
        let mut stops = 0;
        for (place, a, b) in PLACES
            .iter()
            .flat_map(|place| CALLS.iter().flat_map(move |a| CALLS.iter().map(move |b| (place, a, b))))
        {
            let source = place.replace('A', "\u{1}").replace('B', b).replace('\u{1}', a);
            let call = Call {
                sdk: SdkVersion::V1_3,
                libraries: vec![("lib/text.rhai", LIBRARY)],
                ..script(&source).function_named("f", FUNCTION).function_named("throws", THROWS).function("1")
            };
            stops += stops_that_change_nothing(&call, &source);
        }
        assert!(stops > 5_000, "{stops}");
    };
    std::thread::scope(|scope| {
        let thread = std::thread::Builder::new().stack_size(runtime::STACK_SIZE);
        thread.spawn_scoped(scope, check).unwrap().join().unwrap();
    });
}

#[test]
fn next_pass_takes_the_hash_of_a_password_from_the_journal() {
    let source = "let hash = crypto::hash_password(\"tangerine\"); kv::get(\"a\"); hash";
    let call = Call { sdk: SdkVersion::V1_3, ..script(source) };
    let invocation = call.invocation();
    // A hash is only computed on a thread of its own, so a pass that ends inline has not computed it. Each has a
    // revision of its own, since later executions of a slow script do not begin inline.
    let inline = |invocation: &Invocation| {
        let revision = Arc::new(call.revision());
        program(&revision, &invocation.script);
        let host = StopsOnce::new(&revision, Stop::Wait, usize::MAX);
        match runtime::run_inline(&revision, invocation, host) {
            InlineOutcome::Finished(execution) => Some(execution.outcome.unwrap().body),
            InlineOutcome::OverBudget => None,
            InlineOutcome::Blocked { .. } | InlineOutcome::Restart { .. } => {
                unreachable!("no call is stopped")
            }
        }
    };
    let on_thread = |invocation: &Invocation, stop_at: usize| {
        let revision = Arc::new(call.revision());
        let host = StopsOnce::new(&revision, Stop::Restart, stop_at);
        let program = program(&revision, &invocation.script);
        runtime::run(&revision, &program, invocation, host, &Arc::default())
    };
    assert_eq!(inline(&invocation), None);
    assert!(matches!(on_thread(&invocation, 0), RunOutcome::Restart { .. }));
    let second = inline(&invocation).unwrap();
    assert!(second.starts_with(b"\"$argon2id$"), "{second:?}");
    let again = on_thread(&call.invocation(), usize::MAX).into_finished();
    assert_eq!(again.outcome.unwrap().body, second, "the journal has what was computed");
}
