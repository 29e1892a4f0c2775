//! Limits of memory and of the size of values.

use super::*;

#[test]
fn memory_limit_is_enforced_during_execution() {
    for source in [
        "let s = \"x\"; s.pad(1000000, 'x'); let all = []; loop { all.push(s + all.len()); }",
        "let a = [1]; loop { a += a; }",
        "let big = []; big.pad(20000, 1); fn f(a, b, c, d) { f(a, b, c, d) } f(big, big, big, big)",
        "let all = []; loop { let s = `${all.len()}`; s.pad(100000, '.'); all.push(|| s); }",
    ] {
        let call = script(source).limits(|limits| limits.memory = 16 * MIB);
        let execution = assert_fails(&call, FailureKind::Memory);
        assert!(
            execution.memory_peak_bytes > 16 * MIB && execution.memory_peak_bytes < 40 * MIB,
            "{}",
            execution.memory_peak_bytes
        );
    }
}

#[test]
fn finished_execution_holds_no_memory() {
    let call = script("let s = \"x\"; s.pad(10000000, 'x'); s.len()");
    let revision = call.revision();
    for _ in 0..20 {
        let execution = call.run_on(&revision).execution;
        assert_eq!(execution.outcome.unwrap().body, "10000000");
        assert!(execution.memory_peak_bytes >= 10_000_000);
    }
}

#[test]
fn result_size_of_one_call_is_checked_in_advance() {
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
        let execution = assert_fails(&script(source), FailureKind::Size);
        assert!(execution.memory_peak_bytes < 48 * MIB, "{source}: {}", execution.memory_peak_bytes);
    }
    let pieces = script("let s = \"\"; s.pad(4000000, 'x'); s.split(\"\").len()");
    assert!(assert_fails(&pieces, FailureKind::Memory).memory_peak_bytes < 48 * MIB);
}

#[test]
fn replacements_match_the_originals() {
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
fn large_bodies_can_be_processed() {
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
fn body_beyond_memory_limit_fails_before_the_script_starts() {
    let body = format!("[{}0]", "[1],".repeat(200_000));
    let call = script("ctx.request.body.len()").body("application/json", body);
    assert_fails(&call.limits(|limits| limits.memory = MIB), FailureKind::Memory);
}

#[test]
fn response_size_is_limited() {
    let failure = script("let s = \"\"; s.pad(9000000, 'x'); #{ statusCode: 200, body: s }").failure();
    assert_eq!(failure.kind, FailureKind::InvalidResponse);
    assert_eq!(failure_kind("let s = \"\"; s.pad(5000000, 'x'); [s, s]"), FailureKind::InvalidResponse);
}
