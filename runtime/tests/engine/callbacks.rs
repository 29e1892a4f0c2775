//! What happens within a function that a native function calls: `exit` ends the run, a limit ends it, an error is an error.
//!
//! The table has a line for each native function that takes a function. It is compared with what the engine has, so that none
//! can be left out.

use std::collections::BTreeSet;
use std::sync::Arc;

use manifest_schema::sdk::SdkVersion;
use runtime::{Native, natives_of};

use super::support::{Call, OnLog, script};
use super::{FailureKind, ignores, inline_here, run_here, run_with, short};

/// What a native function asks of the function that it is given.
#[derive(Clone, Copy, PartialEq)]
enum Wants {
    /// What it gives is not looked at, or kept whatever it is.
    Anything,
    /// True or false.
    Condition,
    /// Which of two comes first.
    Order,
    /// It is not called.
    NoCall,
}

/// A native function by its name and what it takes, how it is called with `F` for the function, and what it wants of it.
struct Row(&'static str, &'static str, &'static str, Wants);

use Wants::{Anything, Condition, NoCall, Order};

const TABLE: &[Row] = &[
    Row("for_each", "an array, a function", "[1, 2].for_each(F)", Anything),
    Row("map", "an array, a function", "[1, 2].map(F)", Anything),
    Row("filter", "an array, a function", "[1, 2].filter(F)", Condition),
    Row("some", "an array, a function", "[1, 2].some(F)", Condition),
    Row("all", "an array, a function", "[1, 2].all(F)", Condition),
    Row("find", "an array, a function", "[1, 2].find(F)", Condition),
    Row("find", "an array, a function, an integer", "[1, 2].find(F, 0)", Condition),
    Row("find_map", "an array, a function", "[1, 2].find_map(F)", Anything),
    Row("find_map", "an array, a function, an integer", "[1, 2].find_map(F, 0)", Anything),
    Row("index_of", "an array, a function", "[1, 2].index_of(F)", Condition),
    Row("index_of", "an array, a function, an integer", "[1, 2].index_of(F, 0)", Condition),
    Row("reduce", "an array, a function", "[1, 2].reduce(F)", Anything),
    Row("reduce", "an array, a function, any value", "[1, 2].reduce(F, 0)", Anything),
    Row("reduce_rev", "an array, a function", "[1, 2].reduce_rev(F)", Anything),
    Row("reduce_rev", "an array, a function, any value", "[1, 2].reduce_rev(F, 0)", Anything),
    Row("zip", "an array, an array, a function", "[1, 2].zip([3, 4], F)", Anything),
    Row("sort", "an array, a function", "let a = [2, 1]; a.sort(F)", Order),
    Row("sort_by", "an array, a function", "let a = [2, 1]; a.sort_by(F)", Order),
    Row("order", "an array, a function", "[2, 1].order(F)", Order),
    Row("order_by", "an array, a function", "[2, 1].order_by(F)", Order),
    Row("dedup", "an array, a function", "let a = [2, 1]; a.dedup(F)", Condition),
    Row("drain", "an array, a function", "let a = [1, 2]; a.drain(F)", Condition),
    Row("retain", "an array, a function", "let a = [1, 2]; a.retain(F)", Condition),
    Row("map", "a map, a function", "#{ a: 1, b: 2 }.map(F)", Anything),
    Row("filter", "a map, a function", "#{ a: 1, b: 2 }.filter(F)", Condition),
    Row("drain", "a map, a function", "let m = #{ a: 1, b: 2 }; m.drain(F)", Condition),
    Row("retain", "a map, a function", "let m = #{ a: 1, b: 2 }; m.retain(F)", Condition),
    // By name.
    Row("map", "an array, a string", "let a = [1, 2]; a.map(\"f\")", Anything),
    Row("filter", "an array, a string", "let a = [1, 2]; a.filter(\"f\")", Condition),
    Row("some", "an array, a string", "[1, 2].some(\"f\")", Condition),
    Row("all", "an array, a string", "[1, 2].all(\"f\")", Condition),
    Row("reduce", "an array, a string", "[1, 2].reduce(\"f\")", Anything),
    Row("reduce", "an array, a string, any value", "[1, 2].reduce(\"f\", 0)", Anything),
    Row("reduce_rev", "an array, a string", "[1, 2].reduce_rev(\"f\")", Anything),
    Row("reduce_rev", "an array, a string, any value", "[1, 2].reduce_rev(\"f\", 0)", Anything),
    Row("sort", "an array, a string", "let a = [2, 1]; a.sort(\"f\")", Order),
    Row("dedup", "an array, a string", "let a = [2, 1]; a.dedup(\"f\")", Condition),
    Row("drain", "an array, a string", "let a = [1, 2]; a.drain(\"f\")", Condition),
    Row("retain", "an array, a string", "let a = [1, 2]; a.retain(\"f\")", Condition),
    // A value that is searched for, see below.
    Row("index_of", "an array, a string", "", NoCall),
    Row("index_of", "an array, a string, an integer", "", NoCall),
    // Of the function itself.
    Row("name", "a function", "", NoCall),
    Row("is_anonymous", "a function", "", NoCall),
    Row("to_debug", "a function", "", NoCall),
    Row("debug", "a function", "", NoCall),
    Row("get$name", "a function", "", NoCall),
    Row("get$is_anonymous", "a function", "", NoCall),
];

/// How many arguments the function of a line is called with at the least, behind `this`.
fn arguments(row: &Row) -> usize {
    match row.0 {
        "sort" | "sort_by" | "order" | "order_by" | "dedup" | "zip" => 2,
        "reduce" | "reduce_rev" => 2,
        _ if row.1.starts_with("a map") => 2,
        "for_each" => 0,
        _ => 1,
    }
}

/// The line as a script whose function has this body, in statements where `{}` stands for the call.
fn with(row: &Row, body: &str, statements: &str) -> String {
    let parameters = ["", "x", "x, y"][arguments(row)];
    let (function, call) = if row.2.contains("\"f\"") {
        (format!("fn f({parameters}) {{ {body} }} "), row.2.to_owned())
    } else {
        (String::new(), row.2.replace('F', &format!("|{parameters}| {{ {body} }}")))
    };
    format!("{function}{}", statements.replace("{}", &call))
}

fn calling() -> impl Iterator<Item = &'static Row> {
    TABLE.iter().filter(|row| row.3 != NoCall)
}

/// Every version in which scripts can be written.
const VERSIONS: [SdkVersion; 2] = [SdkVersion::V1_2, SdkVersion::V1_3];

#[track_caller]
fn run(sdk: SdkVersion, source: &str) -> Result<String, (FailureKind, String)> {
    let call = Call { sdk, ..script(source) }.limits(|limits| limits.operations = 100_000);
    let outcome = call.run().execution.outcome;
    let answered =
        outcome.map(|answer| format!("{} {}", answer.status, String::from_utf8_lossy(&answer.body)));
    answered.map_err(|failure| (failure.kind, failure.message))
}

#[test]
fn every_native_that_takes_a_function_is_in_the_table() {
    let lines: BTreeSet<(&str, &str)> = TABLE.iter().map(|row| (row.0, row.1)).collect();
    assert_eq!(lines.len(), TABLE.len(), "a line comes twice");
    for sdk in VERSIONS {
        let natives = natives_of(sdk);
        let takes = |native: &&Native| native.parameters.contains(&"a function");
        let names: BTreeSet<&str> = natives.iter().filter(takes).map(|native| native.name.as_str()).collect();
        // Of those names, what takes a text where the others take the function.
        let by_name = |native: &&Native| {
            names.contains(native.name.as_str()) && native.parameters.starts_with(&["an array", "a string"])
        };
        let wanted: BTreeSet<(String, String)> = natives
            .iter()
            .filter(|native| takes(native) || by_name(native))
            .map(|native| (native.name.clone(), native.parameters.join(", ")))
            .collect();
        let known: BTreeSet<(String, String)> =
            lines.iter().map(|(name, takes)| ((*name).to_owned(), (*takes).to_owned())).collect();
        assert_eq!(known, wanted, "{sdk:?}");
    }
}

#[test]
fn exit_ends_the_run_wherever_it_stands() {
    for (sdk, row) in VERSIONS.iter().flat_map(|sdk| calling().map(move |row| (*sdk, row))) {
        let body = "exit(#{ statusCode: 403, body: \"no\" })";
        for statements in [
            "{}",
            "{}; \"private\"",
            "try { {} } catch { } log::info(\"on\"); \"private\"",
            "try { {} } catch { }",
            "[7].map(|n| { {} }); \"private\"",
            "fn within() { {}; 1 } within() + within()",
        ] {
            let source = with(row, body, statements);
            assert_eq!(run(sdk, &source), Ok("403 no".to_owned()), "{sdk:?} {source}");
        }
    }
}

#[test]
fn limit_within_a_callback_ends_the_run_and_is_not_caught() {
    let deep = "fn deep(n) { deep(n + 1) }";
    let large = "fn large() { let s = \"\"; s.pad(9223372036854775807, 'x'); s }";
    for (sdk, row) in VERSIONS.iter().flat_map(|sdk| calling().map(move |row| (*sdk, row))) {
        for (body, before, kind) in [
            ("deep(0)", deep, FailureKind::Depth),
            ("large()", large, FailureKind::Size),
            ("loop { }", "", FailureKind::Operations),
        ] {
            for statements in ["{}", "{}; 1", "try { {} } catch { } 1", "try { {} } catch { }"] {
                let source = format!("{before} {}", with(row, body, statements));
                let failed = run(sdk, &source).unwrap_err();
                assert_eq!(failed.0, kind, "{sdk:?} {source}: {}", failed.1);
            }
        }
    }
}

#[test]
fn error_within_a_callback_is_an_error() {
    for row in calling() {
        let source = with(row, "throw \"no\"", "{}; 1");
        let thrown = Err((FailureKind::Script, "no".to_owned()));
        assert_eq!(run(SdkVersion::V1_3, &source), thrown, "{source}");
        // Scripts that were written for it before go on without it.
        let swallowed = row.3 == Order || row.0 == "dedup";
        let before = if swallowed { Ok("200 1".to_owned()) } else { thrown };
        assert_eq!(run(SdkVersion::V1_2, &source), before, "{source}");
        let caught = with(row, "throw \"no\"", "try { {} } catch (e) { return e; } 1");
        assert_eq!(run(SdkVersion::V1_3, &caught), Ok("200 \"no\"".to_owned()), "{caught}");
    }
}

#[test]
fn what_a_callback_gives_is_of_the_kind_that_is_asked_for() {
    for row in calling().filter(|row| row.3 != Anything) {
        for (body, given) in
            [("\"yes\"", "a string"), ("()", "nothing"), ("1.5", "a float"), ("[]", "an array")]
        {
            let source = with(row, body, "{}; 1");
            let (kind, message) = run(SdkVersion::V1_3, &source).unwrap_err();
            assert_eq!(kind, FailureKind::Script, "{source}");
            assert!(
                message.starts_with(&format!("the function that `{}` calls must give ", row.0)),
                "{message}"
            );
            assert!(message.ends_with(&format!(", not {given}")), "{message}");
            assert_eq!(run(SdkVersion::V1_2, &source), Ok("200 1".to_owned()), "{source}");
        }
    }
    for row in calling().filter(|row| row.3 == Anything) {
        let source = with(row, "[]", "{}; 1");
        assert_eq!(run(SdkVersion::V1_3, &source), Ok("200 1".to_owned()), "{source}");
    }
}

#[test]
fn text_that_is_searched_for_calls_nothing() {
    let names = ["a", "f", "len", "exit", "is_empty"];
    let array = "fn f(x) { exit(\"called\") } let a = [\"a\", \"f\", \"len\", \"exit\", \"is_empty\"];";
    for (at, name) in names.iter().enumerate() {
        let source = format!("{array} [a.index_of(\"{name}\"), a.index_of(\"{name}\", {at})]");
        assert_eq!(run(SdkVersion::V1_3, &source), Ok(format!("200 [{at},{at}]")), "{source}");
    }
    // Before, a function of the script was called; never `exit`, which a client could name.
    let source = |name: &str| format!("{array} a.index_of(\"{name}\")");
    assert_eq!(run(SdkVersion::V1_2, &source("f")), Ok("200 \"called\"".to_owned()));
    assert_eq!(run(SdkVersion::V1_2, &source("exit")), Ok("200 3".to_owned()));
    let found = "fn f(x) { x == 2 } [1, 2].index_of(\"f\")";
    assert_eq!(run(SdkVersion::V1_2, found), Ok("200 1".to_owned()));
}

#[test]
fn exit_ends_the_run_in_functions_called_by_other_ways() {
    for source in [
        "fn f(x) { exit(x) } try { Fn(\"f\").call(7) } catch { } 1",
        "try { call(Fn(\"exit\"), 7) } catch { } 1",
        "try { curry(Fn(\"exit\"), 7).call() } catch { } 1",
        "let m = #{ f: |x| exit(x) }; try { m.f(7) } catch { } 1",
        "fn f() { exit(this) } try { 7.f() } catch { } 1",
        "try { [7].map(Fn(\"exit\")) } catch { } 1",
        "let x = 7; let f = || exit(x); try { [1].for_each(f) } catch { } 1",
        "let list = [7]; let f = || list; try { f.call().map(|n| list.map(|m| exit(m))) } catch { } 1",
        "try { try { exit(7) } catch { 2 } } catch { 3 } 1",
        "`${exit(7)}`",
        "let a = [1, exit(7)]; a",
        "for x in [1, 2] { while true { switch x { 1 => exit(7) } } }",
        "fn f() { try { [3, 2, 1].order_by(|a, b| { try { exit(7) } catch { } 0 }) } catch { } 5 } f(); f()",
        "7.exit()",
    ] {
        for sdk in VERSIONS {
            assert_eq!(run(sdk, source), Ok("200 7".to_owned()), "{sdk:?} {source}");
        }
    }
}

#[test]
fn nothing_happens_behind_exit() {
    let call = script("try { [1].map(|x| exit(7)) } catch { log::info(\"caught\"); } log::info(\"on\"); 1");
    let ran = call.run();
    assert_eq!(ran.execution.outcome.unwrap().body, "7");
    assert!(ran.log.is_empty());
    let (inline, lines) = inline_here(&call, &call.revision()).unwrap();
    assert_eq!((inline.outcome.unwrap().body.as_ref(), lines.len()), (&b"7"[..], 0));
}

#[test]
fn exit_ends_a_run_within_another_and_not_the_one_around_it() {
    let inner = script("[1].map(|x| exit(7)); 1");
    let inner_revision = inner.revision();
    let outer = script("log::info(\"x\"); [1].map(|x| { log::info(\"y\"); x + 1 })");
    let nests = OnLog(move |_| {
        assert_eq!(run_here(&inner, &inner_revision, ignores()).outcome.unwrap().body, "7");
    });
    assert_eq!(run_with(&outer, &outer.revision(), Arc::new(nests)).outcome.unwrap().body, "[2]");
}

#[test]
fn value_of_exit_is_measured_and_redacted_as_any_other() {
    let nested = "let a = 1; for i in 0..200 { a = [a]; } [1].map(|x| exit(a))";
    assert_eq!(run(SdkVersion::V1_2, nested).unwrap_err().0, FailureKind::InvalidResponse);
    let large = "let s = \"\"; s.pad(9000000, 'x'); [1].map(|x| exit(s))";
    assert_eq!(run(SdkVersion::V1_2, large).unwrap_err().0, FailureKind::InvalidResponse);
    assert_eq!(
        run(SdkVersion::V1_2, "exit(#{ statusCode: 7 })").unwrap_err().0,
        FailureKind::InvalidResponse
    );
    // A list that closures share, which holds a closure that holds it.
    let call = script("let list = [1]; let f = || list; list += f; [1].map(|x| exit(list.len()))");
    let revision = call.revision();
    for _ in 0..50 {
        assert_eq!(call.run_on(&revision).execution.outcome.unwrap().body, "2");
    }
    let ended = short("try { [1].map(|x| { loop { } }) } catch { } exit(7)").failure();
    assert_eq!(ended.kind, FailureKind::Timeout, "a limit that came first counts");
}

#[test]
fn limit_within_a_callback_is_placed_where_the_callback_runs_into_it() {
    let source = "fn deep(n) {\n  deep(n + 1)\n}\ntry {\n  [1].map(|x| deep(x))\n} catch { }\n1";
    let failure = script(source).failure();
    assert_eq!((failure.kind, failure.place.unwrap().line), (FailureKind::Depth, 5));
}

#[test]
fn callbacks_are_called_with_what_they_take() {
    for (source, json) in [
        ("[5, 6].map(|| this + 1)", "[6,7]"),
        ("[5, 6].map(|x, i| x * i)", "[0,6]"),
        ("let a = [5, 6]; a.for_each(|| this *= 2); a", "[10,12]"),
        ("let a = [5, 6]; a.for_each(|i| this *= i); a", "[0,6]"),
        ("[5, 6, 7].reduce(|sum| (sum ?? 0) + this)", "18"),
        ("[5, 6, 7].reduce(|sum, x, i| sum + x * i, 100)", "120"),
        ("[5, 6, 7].reduce_rev(|text, x, i| text + `${i}:${x} `, \"\")", "\"2:7 1:6 0:5 \""),
        ("[1, 2].zip([3, 4, 5], |a, b, i| a + b + i)", "[4,7]"),
        ("#{ a: 1, b: 2 }.filter(|k| this > 1)", "{\"b\":2}"),
        ("#{ a: 1, b: 2 }.map(|k, v| k + v)", "{\"a\":\"a1\",\"b\":\"b2\"}"),
        ("let a = [1, 2, 3, 4, 5]; [a.drain(|x, i| i % 2 == 0), a]", "[[1,3,5],[2,4]]"),
        ("let a = [1, 2, 3, 4, 5]; [a.retain(|x| x > 3), a]", "[[1,2,3],[4,5]]"),
        (
            "let a = [1, 2, 3]; try { a.retain(|x| if x == 3 { throw 1 } else { x > 1 }) } catch { } a",
            "[2,3]",
        ),
        ("[1, 2, 3, 2].index_of(|x| x == 2, 2)", "3"),
        ("[1, 2, 3, 2].find(|x| x > 1, -2)", "3"),
        ("[\"a\", \"b\"].index_of(\"b\")", "1"),
        ("[\"ab\", \"c\"].map(Fn(\"len\"))", "[2,1]"),
        ("fn twice(x) { x * 2 } [1, 2].map(Fn(\"twice\"))", "[2,4]"),
        ("fn twice() { this * 2 } [1, 2].map(Fn(\"twice\"))", "[2,4]"),
        ("fn add(n, x) { n + x } [1, 2].map(Fn(\"add\").curry(10))", "[11,12]"),
        ("let n = 10; [1, 2].map(|x, i| n + x + i)", "[11,13]"),
        ("let total = 0; [1, 2].for_each(|| total += this); total", "3"),
    ] {
        for sdk in VERSIONS {
            assert_eq!(run(sdk, source), Ok(format!("200 {json}")), "{sdk:?} {source}");
        }
    }
}
