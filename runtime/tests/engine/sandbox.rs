//! The sandbox: disabled functions, arithmetic errors, panics and nested executions.

use super::*;

#[test]
fn disabled_functions_cannot_be_called_indirectly() {
    for source in [
        "let f = Fn(\"eval\"); f.call(\"1\")",
        "call(Fn(\"ev\" + \"al\"), \"1\")",
        "let f = Fn(\"print\"); f.call(1)",
        "let f = Fn(\"sleep\"); f.call(100.0)",
        "[100].map(Fn(\"sleep\"))",
        "curry(Fn(\"sleep\"), 100).call()",
    ] {
        let started = Instant::now();
        // The checks are not the only protection.
        assert_eq!(script(source).stored().failure().kind, FailureKind::Script, "{source}");
        assert!(started.elapsed() < Duration::from_secs(10));
    }
}

#[test]
fn arithmetic_errors_fail_only_the_script() {
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
        assert_eq!(failure_kind(source), FailureKind::Script, "{source}");
    }
}

#[test]
fn panic_fails_only_its_execution() {
    let panics = OnLog(|_| panic!("the log is on fire"));
    let call = script("log::info(\"x\"); 1");
    let revision = call.revision();
    let failure = run_with(&call, &revision, Arc::new(panics)).outcome.unwrap_err();
    assert_eq!(failure.kind, FailureKind::Panic);
    assert_eq!(failure.message, "the engine panicked: the log is on fire");
    assert_eq!(run_with(&call, &revision, ignoring_host()).outcome.unwrap().body, "1");
}

#[test]
fn executions_can_nest_on_one_thread() {
    let inner = script("fn f() { ctx.script_name } log::info(\"x\"); f()");
    let inner = Call { script: "inner.rhai".to_owned(), ..inner };
    let inner_revision = inner.revision();
    let outer = script("fn f() { ctx.script_name } log::info(\"outer\"); f()");
    let revision = outer.revision();
    let nests = OnLog(move |line: LogLine| {
        let response = run_here(&inner, &inner_revision, ignoring_host()).outcome.unwrap();
        assert_eq!((line.message.as_str(), &response.body[..]), ("outer", &b"\"inner\""[..]));
    });
    let response = run_with(&outer, &revision, Arc::new(nests)).outcome.unwrap();
    assert_eq!(response.body, "\"main\"");
}
