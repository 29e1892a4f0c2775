//! Limits of call depth and nesting.

use super::*;

#[test]
fn infinite_recursion_fails_with_depth() {
    for source in [
        "fn f(n) { f(n + 1) } f(0)",
        "fn f(n) { g(n) } fn g(n) { f(n) } f(0)",
        "let f = |g| g.call(g); f.call(f)",
        "fn f(a) { a.map(|x| f([x])) } f([1])",
        "fn f() { try { f() } catch { f() } } f()",
    ] {
        assert_eq!(failure_kind(source), FailureKind::Depth, "{source}");
    }
}

#[test]
fn deepest_nesting_at_deepest_call_fits_the_stack() {
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
        assert_eq!(failure_kind(&nested(deepest)), FailureKind::Depth, "{open}");
    }
}

#[test]
fn deeply_nested_values_are_walked_safely() {
    let nested = "let a = []; for i in 0..2000 { a = [a]; } let b = a;";
    assert_eq!(script(&format!("{nested} a.to_string().len() < 1000")).text(), "true");
    assert_eq!(failure_kind(&format!("{nested} a == b")), FailureKind::Script);
    assert_eq!(failure_kind(&format!("{nested} [a].contains(b)")), FailureKind::Script);
    assert_eq!(failure_kind(&format!("{nested} a")), FailureKind::InvalidResponse);
    assert_eq!(script(&format!("{nested} [b].len()")).text(), "1");
}

#[test]
fn endless_nesting_stops_at_the_time_limit() {
    for source in ["let a = []; loop { a = [a]; }", "let a = #{}; loop { a = #{ a: a }; }"] {
        assert_fails(&short(source), FailureKind::Timeout);
    }
}

#[test]
fn chains_of_closures_stop_before_the_stack_limit() {
    for source in [
        "let f = || 1; loop { let g = f; f = || g; }",
        "let f = || 1; loop { let g = [f]; f = || g; }",
        "let f = || 1; loop { let g = #{ f: f }; f = || g; }",
    ] {
        assert_fails(&script(source), FailureKind::Memory);
    }
}

#[test]
fn chain_of_closures_can_be_printed() {
    let source = "let f = || 1; for i in 0..50000 { let g = f; f = || g; } `${f}${[f]}${#{ f: f }}${f.to_debug()}`.len() < 1000";
    assert_eq!(script(source).text(), "true");
}
