//! Closures that hold themselves are freed, however the execution ends.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use runtime::{CountingAllocator, FailureKind, STACK_SIZE};

use super::support::{Call, script};
use super::{MIB, OnLog, failure_kind, ignoring_host, run_here, run_with};

/// The memory that the engine and the standard library retain, in bytes.
const RETAINED_MAX: i64 = 4 * 1024;

/// Executes twice on a new thread; returns the second outcome and the bytes retained by it.
fn retained_by(call: &Call) -> (Result<String, FailureKind>, i64) {
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
            let before = CountingAllocator::allocated_bytes();
            let end = once();
            let text = end.as_ref().map_or(0, String::capacity);
            (end, CountingAllocator::allocated_bytes() - before - i64::try_from(text).unwrap())
        };
        std::thread::Builder::new().stack_size(STACK_SIZE).spawn_scoped(scope, run).unwrap().join().unwrap()
    })
}

#[track_caller]
fn assert_freed(call: &Call, end: Result<&str, FailureKind>) {
    let (ended, retained) = retained_by(call);
    assert_eq!(ended.as_ref().map(String::as_str).map_err(|kind| *kind), end, "{}", call.source);
    assert!(retained <= RETAINED_MAX, "{retained} bytes are retained of {}", call.source);
}

fn with_memory(source: &str) -> Call {
    script(source).limits(|limits| limits.memory = 256 * MIB)
}

#[test]
fn closure_cycles_at_the_top_level_are_freed() {
    assert_freed(
        &with_memory("for i in 0..7 { let b = [blob(32000000)]; let f = || b; b += f; } 1"),
        Ok("1"),
    );
    assert_freed(&script("let a = []; a += || a; a += || a; a.len()"), Ok("2"));
}

#[test]
fn closure_cycles_in_functions_are_freed() {
    let source = "fn make(n) { let b = [blob(100000)]; let f = || b; b += f; if n > 0 { make(n - 1) } else { 0 } } make(20)";
    assert_freed(&script(source), Ok("0"));
    // A captured parameter.
    assert_freed(&script("fn keep(b) { b += || b; b.len() } keep([blob(100000)])"), Ok("2"));
}

#[test]
fn closure_cycles_in_nested_closures_are_freed() {
    let nested = "let b = [blob(100000)]; let f = || { let g = || { let h = || b; b += h; b.len() }; g.call() }; f.call()";
    assert_freed(&script(nested), Ok("2"));
    let of_parameters = "[1, 2].map(|x| { let b = [blob(100000), x]; b += || b; b.len() })";
    assert_freed(&script(of_parameters), Ok("[3,3]"));
}

#[test]
fn closure_cycles_through_maps_and_closures_are_freed() {
    assert_freed(&script("let m = #{ b: blob(100000) }; m.f = || m; m.g = || m; m.len()"), Ok("3"));
    let ring = "let a = [blob(100000)]; let b = [blob(100000)]; a += || b; b += || a; a.len() + b.len()";
    assert_freed(&script(ring), Ok("4"));
    let curried =
        "let a = [blob(100000)]; let share = || a; a += curry(Fn(\"f\"), share); fn f(x) {} a.len()";
    assert_freed(&script(curried), Ok("2"));
    // The value of a constant can reach itself through its captures.
    let constant = "let a = [blob(100000)]; const F = || a; let g = || F; a += g; a.len()";
    assert_freed(&script(constant), Ok("2"));
}

#[test]
fn closure_cycles_of_failed_executions_are_freed() {
    let cycle = "let b = [blob(1000000)]; let f = || b; b += f;";
    assert_freed(&script(&format!("{cycle} throw b")), Err(FailureKind::Script));
    assert_freed(&script(&format!("{cycle} throw f")), Err(FailureKind::Script));
    assert_freed(&script(&format!("{cycle} b")), Err(FailureKind::InvalidResponse));
    assert_freed(&script(&format!("{cycle} exit(f)")), Err(FailureKind::InvalidResponse));
    assert_freed(&script(&format!("loop {{ {cycle} }}")), Err(FailureKind::Memory));
    let operations = script(&format!("{cycle} loop {{}}")).limits(|limits| limits.operations = 1000);
    assert_freed(&operations, Err(FailureKind::Operations));
    let timeout = script(&format!("{cycle} loop {{}}")).limits(|limits| {
        limits.operations = u64::MAX;
        limits.timeout = Duration::from_millis(50);
    });
    assert_freed(&timeout, Err(FailureKind::Timeout));
    let depth = "fn f(b) { b += || b; f(b) } f([blob(1000)])";
    assert_freed(&script(depth), Err(FailureKind::Depth));
}

#[test]
fn closure_cycles_of_stopped_executions_are_freed() {
    let call = script("let b = [blob(1000000)]; let f = || b; b += f; log::info(1); loop {}");
    let revision = call.revision();
    let retained = std::thread::scope(|scope| {
        let run = || {
            let once = || {
                call.stop.store(false, Ordering::Relaxed);
                let stop = Arc::clone(&call.stop);
                let host = Arc::new(OnLog(move |_| stop.store(true, Ordering::Relaxed)));
                run_here(&call, &revision, host).outcome.map_err(|failure| failure.kind)
            };
            drop(once());
            let before = CountingAllocator::allocated_bytes();
            assert_eq!(once().map(drop), Err(FailureKind::Stopped));
            CountingAllocator::allocated_bytes() - before
        };
        std::thread::Builder::new().stack_size(STACK_SIZE).spawn_scoped(scope, run).unwrap().join().unwrap()
    });
    assert!(retained <= RETAINED_MAX, "{retained} bytes are retained");
}

#[test]
fn variable_is_shared_from_its_first_closure() {
    let source = "
        let a = [1]; let seen = [is_shared(a)];
        a += 2; seen += is_shared(a);
        let f = || a; seen += is_shared(a);
        a += 3; seen += f.call().len(); seen
    ";
    assert_eq!(script(source).text(), "[false,false,true,3]");
    // The inner of two variables with the same name.
    let shadowed = "let x = 1; { let x = [2]; let f = || { x += 3; x.len() }; f.call(); } x";
    assert_eq!(script(shadowed).text(), "1");
    let constants =
        "const X = [1]; let f = || X.len(); let g = || { let h = || X; h.call() }; [f.call(), g.call()]";
    assert_eq!(script(constants).text(), "[1,[1]]");
}

#[test]
fn short_captures_do_not_accumulate() {
    let peak = |turns: u32| {
        let source = format!(
            "let sum = 0; for i in 0..{turns} {{ let x = [i]; let f = || x; sum += f.call().len(); }} sum"
        );
        let call = script(&source).limits(|limits| limits.operations = u64::MAX);
        let execution = call.run().execution;
        assert_eq!(execution.outcome.unwrap().body, turns.to_string());
        execution.memory_peak_bytes
    };
    let (few, many) = (peak(2_000), peak(200_000));
    assert!(many < few + 16 * 1024, "{few} bytes for few, {many} for many");
}

#[test]
fn cyclic_closure_cannot_be_converted_to_json() {
    let cycle = "let m = #{}; m.f = || m;";
    assert_eq!(failure_kind(&format!("{cycle} m")), FailureKind::InvalidResponse);
    assert_eq!(failure_kind(&format!("{cycle} m.to_json()")), FailureKind::Script);
    assert_eq!(failure_kind(&format!("{cycle} log::info(\"m\", m)")), FailureKind::Script);
    assert!(script(&format!("{cycle} `${{m}}`")).text().contains("Fn("));
}

#[test]
fn script_with_cyclic_closures_is_never_quarantined() {
    let call = script("let m = #{ big: \"x\" }; m.big.pad(8000000, 'x'); m.f = || m; 1");
    let revision = call.revision();
    for _ in 0..20 {
        assert!(call.run_on(&revision).execution.outcome.is_ok());
    }
}

#[test]
fn script_without_leaks_is_never_quarantined() {
    let call =
        script("let f = |x| x + 1; log::info(\"x\", [1, 2, 3].map(f)); #{ statusCode: 200, body: \"y\" }");
    let revision = call.revision();
    for _ in 0..2000 {
        assert!(run_with(&call, &revision, ignoring_host()).outcome.is_ok());
    }
}
