//! Functions called by native functions: `exit` stops the script, a limit stops it, an error is an error.
//!
//! The table has a row for each native function with a callback, and is compared with the engine, so that none is
//! missing.

use std::collections::BTreeSet;
use std::sync::Arc;

use manifest_schema::sdk::SdkVersion;
use runtime::{NativeFunction, native_functions};

use super::support::{Call, OnLog, script};
use super::{FailureKind, ignoring_host, inline_here, run_here, run_with, short};

/// The result that a native function expects from its callback.
#[derive(Clone, Copy, PartialEq)]
enum Wants {
    /// Any result.
    Anything,
    /// True or false.
    Condition,
    /// The order of two values.
    Order,
    /// It is not called.
    NoCall,
}

/// A native function by name and parameters, how it is called with `F` for the callback, and the expected result.
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

/// The minimum number of callback arguments, besides `this`.
fn arguments(row: &Row) -> usize {
    match row.0 {
        "sort" | "sort_by" | "order" | "order_by" | "dedup" | "zip" => 2,
        "reduce" | "reduce_rev" => 2,
        _ if row.1.starts_with("a map") => 2,
        "for_each" => 0,
        _ => 1,
    }
}

/// A script with this callback body, in statements where `{}` stands for the call.
fn with(row: &Row, body: &str, statements: &str) -> String {
    let parameters = ["", "x", "x, y"][arguments(row)];
    let (function, call) = if row.2.contains("\"f\"") {
        (format!("fn f({parameters}) {{ {body} }} "), row.2.to_owned())
    } else {
        (String::new(), row.2.replace('F', &format!("|{parameters}| {{ {body} }}")))
    };
    format!("{function}{}", statements.replace("{}", &call))
}

fn rows_with_call() -> impl Iterator<Item = &'static Row> {
    TABLE.iter().filter(|row| row.3 != NoCall)
}

/// The SDK versions with different rules.
const VERSIONS: [SdkVersion; 2] = [SdkVersion::V1_2, SdkVersion::V1_3];

#[track_caller]
fn run(sdk: SdkVersion, source: &str) -> Result<String, (FailureKind, String)> {
    let call = Call { sdk, ..script(source) }.limits(|limits| limits.operations = 100_000);
    let outcome = call.run().execution.outcome;
    let shown =
        outcome.map(|response| format!("{} {}", response.status, String::from_utf8_lossy(&response.body)));
    shown.map_err(|failure| (failure.kind, failure.message))
}

#[test]
fn table_has_every_native_function_with_callback() {
    let lines: BTreeSet<(&str, &str)> = TABLE.iter().map(|row| (row.0, row.1)).collect();
    assert_eq!(lines.len(), TABLE.len(), "duplicate row");
    for sdk in VERSIONS {
        let natives = native_functions(sdk);
        let takes = |native: &&NativeFunction| native.parameters.contains(&"a function");
        let names: BTreeSet<&str> = natives.iter().filter(takes).map(|native| native.name.as_str()).collect();
        // Overloads of those names that take the function by name.
        let by_name = |native: &&NativeFunction| {
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
fn exit_stops_the_script_anywhere() {
    for (sdk, row) in VERSIONS.iter().flat_map(|sdk| rows_with_call().map(move |row| (*sdk, row))) {
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
fn limit_in_a_callback_cannot_be_caught() {
    let deep = "fn deep(n) { deep(n + 1) }";
    let large = "fn large() { let s = \"\"; s.pad(9223372036854775807, 'x'); s }";
    for (sdk, row) in VERSIONS.iter().flat_map(|sdk| rows_with_call().map(move |row| (*sdk, row))) {
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
fn error_in_a_callback_is_an_error() {
    for row in rows_with_call() {
        let source = with(row, "throw \"no\"", "{}; 1");
        let thrown = Err((FailureKind::Script, "no".to_owned()));
        assert_eq!(run(SdkVersion::V1_3, &source), thrown, "{source}");
        // Older scripts ignore the error.
        let swallowed = row.3 == Order || row.0 == "dedup";
        let before = if swallowed { Ok("200 1".to_owned()) } else { thrown };
        assert_eq!(run(SdkVersion::V1_2, &source), before, "{source}");
        let caught = with(row, "throw \"no\"", "try { {} } catch (e) { return e; } 1");
        assert_eq!(run(SdkVersion::V1_3, &caught), Ok("200 \"no\"".to_owned()), "{caught}");
    }
}

#[test]
fn callback_result_must_have_the_expected_type() {
    for row in rows_with_call().filter(|row| row.3 != Anything) {
        for (body, given) in
            [("\"yes\"", "a string"), ("()", "nothing"), ("1.5", "a float"), ("[]", "an array")]
        {
            let source = with(row, body, "{}; 1");
            let (kind, message) = run(SdkVersion::V1_3, &source).unwrap_err();
            assert_eq!(kind, FailureKind::Script, "{source}");
            assert!(
                message.starts_with(&format!("the function passed to `{}` must return ", row.0)),
                "{message}"
            );
            assert!(message.ends_with(&format!(", not {given}")), "{message}");
            assert_eq!(run(SdkVersion::V1_2, &source), Ok("200 1".to_owned()), "{source}");
        }
    }
    for row in rows_with_call().filter(|row| row.3 == Anything) {
        let source = with(row, "[]", "{}; 1");
        assert_eq!(run(SdkVersion::V1_3, &source), Ok("200 1".to_owned()), "{source}");
    }
}

#[test]
fn searched_text_is_not_called() {
    let names = ["a", "f", "len", "exit", "is_empty"];
    let array = "fn f(x) { exit(\"called\") } let a = [\"a\", \"f\", \"len\", \"exit\", \"is_empty\"];";
    for (at, name) in names.iter().enumerate() {
        let source = format!("{array} [a.index_of(\"{name}\"), a.index_of(\"{name}\", {at})]");
        assert_eq!(run(SdkVersion::V1_3, &source), Ok(format!("200 [{at},{at}]")), "{source}");
    }
    // In older versions a function of the script was called, but never `exit`, which a client could send.
    let source = |name: &str| format!("{array} a.index_of(\"{name}\")");
    assert_eq!(run(SdkVersion::V1_2, &source("f")), Ok("200 \"called\"".to_owned()));
    assert_eq!(run(SdkVersion::V1_2, &source("exit")), Ok("200 3".to_owned()));
    let found = "fn f(x) { x == 2 } [1, 2].index_of(\"f\")";
    assert_eq!(run(SdkVersion::V1_2, found), Ok("200 1".to_owned()));
}

#[test]
fn exit_stops_the_script_in_indirect_calls() {
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
fn exit_skips_the_rest_of_the_script() {
    let call = script("try { [1].map(|x| exit(7)) } catch { log::info(\"caught\"); } log::info(\"on\"); 1");
    let ran = call.run();
    assert_eq!(ran.execution.outcome.unwrap().body, "7");
    assert!(ran.log.is_empty());
    let (inline, lines) = inline_here(&call, &call.revision()).unwrap();
    assert_eq!((inline.outcome.unwrap().body.as_ref(), lines.len()), (&b"7"[..], 0));
}

#[test]
fn exit_stops_only_the_inner_execution() {
    let inner = script("[1].map(|x| exit(7)); 1");
    let inner_revision = inner.revision();
    let outer = script("log::info(\"x\"); [1].map(|x| { log::info(\"y\"); x + 1 })");
    let nests = OnLog(move |_| {
        assert_eq!(run_here(&inner, &inner_revision, ignoring_host()).outcome.unwrap().body, "7");
    });
    assert_eq!(run_with(&outer, &outer.revision(), Arc::new(nests)).outcome.unwrap().body, "[2]");
}

#[test]
fn value_of_exit_is_limited_and_redacted() {
    let nested = "let a = 1; for i in 0..200 { a = [a]; } [1].map(|x| exit(a))";
    assert_eq!(run(SdkVersion::V1_2, nested).unwrap_err().0, FailureKind::InvalidResponse);
    let large = "let s = \"\"; s.pad(9000000, 'x'); [1].map(|x| exit(s))";
    assert_eq!(run(SdkVersion::V1_2, large).unwrap_err().0, FailureKind::InvalidResponse);
    assert_eq!(
        run(SdkVersion::V1_2, "exit(#{ statusCode: 7 })").unwrap_err().0,
        FailureKind::InvalidResponse
    );
    // A shared list with a closure that holds it.
    let call = script("let list = [1]; let f = || list; list += f; [1].map(|x| exit(list.len()))");
    let revision = call.revision();
    for _ in 0..50 {
        assert_eq!(call.run_on(&revision).execution.outcome.unwrap().body, "2");
    }
    let ended = short("try { [1].map(|x| { loop { } }) } catch { } exit(7)").failure();
    assert_eq!(ended.kind, FailureKind::Timeout, "an earlier limit takes precedence");
}

#[test]
fn limit_in_a_callback_has_its_location() {
    let source = "fn deep(n) {\n  deep(n + 1)\n}\ntry {\n  [1].map(|x| deep(x))\n} catch { }\n1";
    let failure = script(source).failure();
    assert_eq!((failure.kind, failure.location.unwrap().line), (FailureKind::Depth, 5));
}

#[test]
fn callbacks_get_the_arguments_they_take() {
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
