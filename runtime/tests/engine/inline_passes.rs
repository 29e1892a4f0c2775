//! Inline passes and their budget.

use super::*;

#[test]
fn slow_script_is_restarted_without_side_effects() {
    let call = script("log::info(\"started\"); let x = 0; for i in 0..5000 { x += i } x");
    let revision = call.revision();
    assert!(inline_here(&call, &revision).is_none());
    let ran = call.run_on(&revision);
    assert_eq!(ran.execution.outcome.unwrap().body, "12497500");
    assert_eq!(ran.log.len(), 1);
    assert!(inline_here(&call, &revision).is_none());
}

#[test]
fn short_execution_finishes_inline_after_a_slow_one() {
    let source = "log::info(\"a\"); if ctx.request.body == () { let x = 0; for i in 0..5000 { x += i } } 1";
    let call = script(source).function("0");
    let revision = call.revision();
    assert!(inline_here(&call, &revision).is_none(), "without a body");
    let whole = call.run_on(&revision);
    let short = invocation(&call, Bytes::from_static(b"0"));
    let (inline, lines) = inline_with(&revision, &short).unwrap();
    assert_eq!((inline.outcome, inline.operations), (whole.execution.outcome, whole.execution.operations));
    let logged: Vec<String> = whole.log.into_iter().map(|line| line.message).collect();
    assert_eq!((lines, logged), (vec!["a".to_owned()], vec!["a".to_owned()]));
}

#[test]
fn failures_of_inline_passes_are_reported() {
    let limits = Limits { operations: 100, ..Limits::DEFAULT };
    for (source, kind) in [
        ("throw 1", FailureKind::Script),
        ("loop {}", FailureKind::Operations),
        ("#{ statusCode: 1 }", FailureKind::InvalidResponse),
    ] {
        let call = Call { limits: limits.clone(), ..script(source) };
        let (inline, _) = inline_here(&call, &call.revision()).unwrap();
        assert_eq!(inline.outcome.unwrap_err().kind, kind, "{source}");
    }
}

#[test]
fn large_body_is_not_read_inline() {
    let call = script("ctx.request.body");
    let revision = call.revision();
    let inline = |bytes: usize| {
        let payload = format!("\"{}\"", "x".repeat(bytes));
        inline_with(&revision, &invocation(&call, payload.into()))
    };
    assert!(inline(1000).is_some());
    assert!(inline(1_000_000).is_none());
}

#[test]
fn large_form_is_not_read_inline() {
    let call = Call { sdk: SdkVersion::V1_3, ..script("ctx.request.form.a.len()") };
    let call = call.header("content-type", "application/x-www-form-urlencoded");
    let inline = |bytes: usize| {
        let call =
            call.clone().with_request(|request| request.body = format!("a={}", "x".repeat(bytes)).into());
        let invocation = Invocation { trigger: call.trigger.clone(), ..invocation(&call, Bytes::new()) };
        inline_with(&call.revision(), &invocation)
    };
    assert_eq!(inline(1000).unwrap().0.outcome.unwrap().body, "1000");
    assert!(inline(100_000).is_none());
}
