//! Failures and log lines.

use super::*;

#[test]
fn error_has_the_position_of_the_innermost_call() {
    let failure = script("fn g(x) {\n  x.nothing.at_all\n}\nfn f() { g(#{}) }\nf()").failure();
    assert_eq!(failure.location.unwrap().to_string(), "main.rhai:2:13");
    assert!(!failure.message.contains("line"), "{}", failure.message);
}

#[test]
fn failure_messages_are_cut_off() {
    assert!(script("let s = \"\"; s.pad(4000000, 'é'); throw s").failure().message.len() <= 4096);
}

#[test]
fn log_lines_are_limited_and_dropped_ones_counted() {
    let many = script("for i in 0..1500 { log::info(`line ${i}`); }").run();
    assert_eq!((many.log.len(), many.execution.log_lines_dropped), (1000, 500));
    let long = script("let s = \"\"; s.pad(100000, 'é'); for i in 0..100 { log::info(s); }").run();
    assert!(long.log.iter().all(|line| line.message.len() <= 8 * 1024));
    assert_eq!(long.log.len() as u64 + long.execution.log_lines_dropped, 100);
    assert!(long.execution.log_lines_dropped > 0);
}

#[test]
fn stored_script_is_only_checked_for_the_sandbox() {
    // A later server can check more than the one that accepted the script; accepted scripts keep working.
    assert_eq!(script("if ctx.request.path == \"/x\" { nope(); }\n1").stored().text(), "1");
    for (source, message) in [
        ("let x = 1;\nlet y = ;", "compile at main.rhai:2:9: unexpected `;`"),
        ("let x = 1;\neval(\"x\");", "compile at main.rhai:2:1: `eval` is disabled"),
        ("import \"x\" as x;", "compile at main.rhai:1:1: `import` is disabled"),
    ] {
        assert_eq!(script(source).stored().failure().to_string(), message);
    }
}

#[test]
fn missing_script_fails() {
    let revision = script("1").revision();
    let call = Call { script: "other.rhai".to_owned(), ..script("1") };
    assert_eq!(call.run_on(&revision).execution.outcome.unwrap_err().kind, FailureKind::Compile);
}
