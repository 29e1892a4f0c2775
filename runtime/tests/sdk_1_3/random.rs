use std::sync::Arc;

use runtime::{InlineOutcome, Invocation, Seed};
use uuid::Uuid;

use super::support::{Lines, ScriptPath, program};
use super::{Call, call, fails};

/// The response of an execution with this seed, inline and on its own thread.
fn with_seed(call: &Call, seed: &Seed) -> [Vec<u8>; 2] {
    let revision = call.revision();
    let script = ScriptPath::new(&call.script).unwrap();
    let program = program(&revision, &script);
    let invocation = Invocation::new(script, Uuid::nil(), Uuid::nil(), call.trigger.clone());
    let invocation = Invocation { seed: seed.clone(), started_at_ms: 1_700_000_000_000, ..invocation };
    let host = || Arc::new(Lines::default());
    let InlineOutcome::Finished(inline) = runtime::run_inline(&revision, &invocation, host()) else {
        panic!("it is short")
    };
    let own = runtime::run(&revision, &program, &invocation, host(), &call.stop).into_finished();
    [inline, own].map(|execution| execution.outcome.unwrap().body.to_vec())
}

#[test]
fn every_pass_gets_the_same_numbers_and_every_execution_others() {
    let source = "[random::int(1, 1000000), random::float(), random::token(20), random::bytes(9).to_array(), \
                  random::uuid(), random::uuid7(), random::pick([1, 2, 3]), random::shuffle([1, 2, 3, 4, 5])]";
    let [inline, own] = with_seed(&call(source), &Seed::fixed(7));
    assert_eq!(inline, own);
    assert_ne!(with_seed(&call(source), &Seed::fixed(8))[0], inline);
    assert_ne!(with_seed(&call(source), &Seed::random())[0], inline);
}

#[test]
fn numbers_stay_within_their_range() {
    let source = "let seen = #{}; for i in 0..200 { seen[`${random::int(1, 3)}`] = true; } seen.keys()";
    assert_eq!(call(source).text(), r#"["1","2","3"]"#);
    let all = "random::int(-9223372036854775807 - 1, 9223372036854775807).type_of()";
    assert_eq!(call(all).text(), "\"i64\"");
    assert_eq!(call("random::int(5, 5)").text(), "5");
    let source = "let ok = true; for i in 0..200 { let x = random::float(); ok &= x >= 0.0 && x < 1.0; } ok";
    assert_eq!(call(source).text(), "true");
    assert_eq!(
        fails("random::int(2, 1)"),
        "random::int: `low` must not be greater than `high`, but 2 is greater than 1"
    );
}

#[test]
fn tokens_and_bytes_have_their_length() {
    assert_eq!(
        call("[random::token(0), random::bytes(0).len(), random::token(65536).len()]").text(),
        "[\"\",0,65536]"
    );
    assert_eq!(call("random::token(1000).to_chars().all(|c| c in \"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz\")").text(), "true");
    assert_eq!(fails("random::token(-1)"), "random::token: `length` must be between 0 and 65536, not -1");
    assert_eq!(
        fails("random::bytes(65537)"),
        "random::bytes: `length` must be between 0 and 65536, not 65537"
    );
}

#[test]
fn uuids_have_their_version() {
    assert_eq!(call("random::uuid()[14]").text(), "\"4\"");
    let uuid = call("random::uuid7()").text();
    let uuid = Uuid::parse_str(uuid.trim_matches('"')).unwrap();
    let (seconds, nanoseconds) = uuid.get_timestamp().unwrap().to_unix();
    let ms = seconds * 1000 + u64::from(nanoseconds) / 1_000_000;
    assert_eq!(ms, u64::try_from(super::support::STARTED_AT_MS).unwrap());
}

#[test]
fn items_are_picked_and_shuffled() {
    assert_eq!(call("random::pick([])").text(), "null");
    assert_eq!(call("random::pick([7])").text(), "7");
    let source = "let a = []; for i in 0..50 { a.push(i); } let b = random::shuffle(a); [a == b, { b.sort(); a == b }]";
    assert_eq!(call(source).text(), "[false,true]");
}
