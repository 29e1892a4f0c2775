//! Closures that hold themselves: what a run leaves of them is nothing, however it ends.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use runtime::{CountingAllocator, FailureKind, STACK};

use super::support::{Call, script};
use super::{MIB, OnLog, run_here};

/// What the engine and the standard library keep for themselves, in bytes.
const KEPT_UNNOTICED: i64 = 4 * 1024;

/// Runs on a thread of its own, for the first time and again; gives back how it ended and how many bytes that left.
fn left_by(call: &Call) -> (Result<String, FailureKind>, i64) {
    let revision = call.revision();
    std::thread::scope(|scope| {
        let run = || {
            let once = || {
                let outcome = call.run_here(&revision).execution.outcome;
                outcome
                    .map(|answer| String::from_utf8(answer.body.to_vec()).unwrap())
                    .map_err(|failure| failure.kind)
            };
            drop(once());
            let before = CountingAllocator::held();
            let end = once();
            let text = end.as_ref().map_or(0, String::capacity);
            (end, CountingAllocator::held() - before - i64::try_from(text).unwrap())
        };
        std::thread::Builder::new().stack_size(STACK).spawn_scoped(scope, run).unwrap().join().unwrap()
    })
}

#[track_caller]
fn leaves_nothing(call: &Call, end: Result<&str, FailureKind>) {
    let (ended, left) = left_by(call);
    assert_eq!(ended.as_ref().map(String::as_str).map_err(|kind| *kind), end, "{}", call.source);
    assert!(left <= KEPT_UNNOTICED, "{left} bytes are left of {}", call.source);
}

fn roomy(source: &str) -> Call {
    script(source).limits(|limits| limits.memory = 256 * MIB)
}

#[test]
fn closure_cycles_at_the_top_level_leave_nothing() {
    leaves_nothing(&roomy("for i in 0..7 { let b = [blob(32000000)]; let f = || b; b += f; } 1"), Ok("1"));
    leaves_nothing(&script("let a = []; a += || a; a += || a; a.len()"), Ok("2"));
}

#[test]
fn closure_cycles_in_functions_leave_nothing() {
    let source = "fn make(n) { let b = [blob(100000)]; let f = || b; b += f; if n > 0 { make(n - 1) } else { 0 } } make(20)";
    leaves_nothing(&script(source), Ok("0"));
    // A parameter is captured.
    leaves_nothing(&script("fn keep(b) { b += || b; b.len() } keep([blob(100000)])"), Ok("2"));
}

#[test]
fn closure_cycles_in_nested_closures_leave_nothing() {
    let nested = "let b = [blob(100000)]; let f = || { let g = || { let h = || b; b += h; b.len() }; g.call() }; f.call()";
    leaves_nothing(&script(nested), Ok("2"));
    let of_parameters = "[1, 2].map(|x| { let b = [blob(100000), x]; b += || b; b.len() })";
    leaves_nothing(&script(of_parameters), Ok("[3,3]"));
}

#[test]
fn closure_cycles_through_maps_and_one_another_leave_nothing() {
    leaves_nothing(&script("let m = #{ b: blob(100000) }; m.f = || m; m.g = || m; m.len()"), Ok("3"));
    let ring = "let a = [blob(100000)]; let b = [blob(100000)]; a += || b; b += || a; a.len() + b.len()";
    leaves_nothing(&script(ring), Ok("4"));
    let curried =
        "let a = [blob(100000)]; let share = || a; a += curry(Fn(\"f\"), share); fn f(x) {} a.len()";
    leaves_nothing(&script(curried), Ok("2"));
    // What a constant holds can reach itself through what it has captured.
    let constant = "let a = [blob(100000)]; const F = || a; let g = || F; a += g; a.len()";
    leaves_nothing(&script(constant), Ok("2"));
}

#[test]
fn closure_cycles_of_runs_that_fail_leave_nothing() {
    let cycle = "let b = [blob(1000000)]; let f = || b; b += f;";
    leaves_nothing(&script(&format!("{cycle} throw b")), Err(FailureKind::Script));
    leaves_nothing(&script(&format!("{cycle} throw f")), Err(FailureKind::Script));
    leaves_nothing(&script(&format!("{cycle} b")), Err(FailureKind::InvalidResponse));
    leaves_nothing(&script(&format!("{cycle} exit(f)")), Err(FailureKind::InvalidResponse));
    leaves_nothing(&script(&format!("loop {{ {cycle} }}")), Err(FailureKind::Memory));
    let operations = script(&format!("{cycle} loop {{}}")).limits(|limits| limits.operations = 1000);
    leaves_nothing(&operations, Err(FailureKind::Operations));
    let timeout = script(&format!("{cycle} loop {{}}")).limits(|limits| {
        limits.operations = u64::MAX;
        limits.timeout = Duration::from_millis(50);
    });
    leaves_nothing(&timeout, Err(FailureKind::Timeout));
    let depth = "fn f(b) { b += || b; f(b) } f([blob(1000)])";
    leaves_nothing(&script(depth), Err(FailureKind::Depth));
}

#[test]
fn closure_cycles_of_a_run_that_is_stopped_leave_nothing() {
    let call = script("let b = [blob(1000000)]; let f = || b; b += f; log::info(1); loop {}");
    let revision = call.revision();
    let left = std::thread::scope(|scope| {
        let run = || {
            let once = || {
                call.stop.store(false, Ordering::Relaxed);
                let stop = Arc::clone(&call.stop);
                let host = Arc::new(OnLog(move |_| stop.store(true, Ordering::Relaxed)));
                run_here(&call, &revision, host).outcome.map_err(|failure| failure.kind)
            };
            drop(once());
            let before = CountingAllocator::held();
            assert_eq!(once().map(drop), Err(FailureKind::Stopped));
            CountingAllocator::held() - before
        };
        std::thread::Builder::new().stack_size(STACK).spawn_scoped(scope, run).unwrap().join().unwrap()
    });
    assert!(left <= KEPT_UNNOTICED, "{left} bytes are left");
}

#[test]
fn a_variable_is_shared_only_from_its_closure_on() {
    let source = "
        let a = [1]; let seen = [is_shared(a)];
        a += 2; seen += is_shared(a);
        let f = || a; seen += is_shared(a);
        a += 3; seen += f.call().len(); seen
    ";
    assert_eq!(script(source).text(), "[false,false,true,3]");
    // The inner one of two variables of a name.
    let shadowed = "let x = 1; { let x = [2]; let f = || { x += 3; x.len() }; f.call(); } x";
    assert_eq!(script(shadowed).text(), "1");
    let constants =
        "const X = [1]; let f = || X.len(); let g = || { let h = || X; h.call() }; [f.call(), g.call()]";
    assert_eq!(script(constants).text(), "[1,[1]]");
}

#[test]
fn many_short_captures_take_no_more_memory_than_a_few() {
    let peak = |turns: u32| {
        let source = format!(
            "let sum = 0; for i in 0..{turns} {{ let x = [i]; let f = || x; sum += f.call().len(); }} sum"
        );
        let call = script(&source).limits(|limits| limits.operations = u64::MAX);
        let execution = call.run().execution;
        assert_eq!(execution.outcome.unwrap().body, turns.to_string());
        execution.memory_peak
    };
    let (few, many) = (peak(2_000), peak(200_000));
    assert!(many < few + 16 * 1024, "{few} bytes for few, {many} for many");
}
