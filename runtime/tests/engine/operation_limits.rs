//! Limits of time and operations, and cancellation.

use super::*;

#[test]
fn endless_loop_stops_at_its_operation_limit() {
    let call = script("loop {}").limits(|limits| limits.operations = 1000);
    let execution = assert_fails(&call, FailureKind::Operations);
    assert_eq!(execution.operations, 1001);
}

#[test]
fn endless_loop_stops_at_its_time_limit() {
    let execution = assert_fails(&short("loop {}"), FailureKind::Timeout);
    assert!(execution.duration >= Duration::from_millis(100));
}

#[test]
fn operations_in_native_functions_count() {
    for source in [
        "[1].map(|x| { loop {} })",
        "loop { [1, 2].filter(|x| { for i in 0..100 { x += i; } true }); }",
        "loop { [[1], [2]] == [[1], [3]]; [3, 1, 2].sort(); }",
    ] {
        let call = script(source).limits(|limits| limits.operations = 100_000);
        assert_fails(&call, FailureKind::Operations);
    }
}

#[test]
fn limit_is_not_discarded_by_a_comparer() {
    assert_fails(&short("let a = [3, 2, 1]; loop { a.sort(|x, y| { loop {} }); }"), FailureKind::Timeout);
}

#[test]
fn limit_cannot_be_caught() {
    assert_fails(&short("loop { try { loop {} } catch { } }"), FailureKind::Timeout);
}

#[test]
fn script_that_returns_after_its_limit_fails() {
    let call =
        script("let a = [2, 1]; a.sort(|x, y| { loop {} }); 1").limits(|limits| limits.operations = 500);
    assert_fails(&call, FailureKind::Operations);
}

#[test]
fn stop_flag_stops_an_execution() {
    let call = script("log::info(\"begun\"); loop {}").limits(|limits| {
        limits.timeout = Duration::from_secs(30);
        limits.operations = u64::MAX;
    });
    let revision = call.revision();
    let (started, has_started) = mpsc::channel();
    let stop = Arc::clone(&call.stop);
    let stopper = std::thread::spawn(move || {
        has_started.recv().unwrap();
        stop.store(true, Ordering::Relaxed);
    });
    let host = OnLog(move |_| {
        let _ = started.send(());
    });
    let execution = run_with(&call, &revision, Arc::new(host));
    stopper.join().unwrap();
    assert_eq!(execution.outcome.unwrap_err().kind, FailureKind::Stopped);
    assert!(execution.duration < Duration::from_secs(30));
}
