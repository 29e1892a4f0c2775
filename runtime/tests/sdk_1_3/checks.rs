//! What a push finds in calls of the SDK, and which words can be names.

use super::{Call, SdkVersion, call};

/// The diagnostics of a push, in the form `line:column: message`.
fn found(source: &str) -> Vec<String> {
    let diagnostics = match call(source).check() {
        Ok((mut script, _)) => script.take_warnings(),
        Err(diagnostics) => diagnostics,
    };
    let written = diagnostics.iter().map(|diagnostic| {
        let at = diagnostic.span.as_ref().map(|span| format!("{}:{}", span.line, span.column));
        format!("{}: {}", at.unwrap_or_default(), diagnostic.message)
    });
    written.collect()
}

#[test]
fn arguments_and_options_are_checked_where_they_are_written_out() {
    for (source, expected) in [
        ("random::int(1)", "1:1: `random::int` takes 2 arguments, not 1"),
        ("random::nope()", "1:1: unknown function `random::nope`"),
        ("random::int(\"1\", 6)", "1:13: `low` must be an integer, not a string"),
        ("let n = \"1\"; random::int(n, 6)", "1:26: `low` must be an integer, not a string"),
        ("base64::encode([1])", "1:16: `data` must be a string or a blob, not an array"),
        ("[1].map(|x| hex::encode(x))", ""),
        ("[1].map(|x| hex::encode(x == 1 || x == 2))", "1:27: `data` must be a string or a blob, not a bool"),
        ("random.int(1, 6)", "1:1: unknown variable `random`"),
        ("hex::decode(`${1}`)", ""),
        (
            "cookie::make(\"a\", \"b\", #{ sameSite: \"Lax\" })",
            "1:27: unknown option `sameSite`; did you mean `same_site`?",
        ),
        (
            "cookie::make(\"a\", \"b\", #{ same_site: \"lax\" })",
            "1:38: `same_site` must be \"Lax\" or \"Strict\" or \"None\", not \"lax\"",
        ),
        (
            "cookie::make(\"a\", \"b\", #{ secure: 1 })",
            "1:35: `secure` must be true or false, not an integer",
        ),
        (
            "cookie::make(\"a\", \"b\", #{ max_age: \"1 day\" })",
            "1:36: `max_age` must be a duration such as \"5m\", not \"1 day\"",
        ),
        ("cookie::make(\"a\", \"b\", #{ max_age: (), path: \"/\" })", ""),
        ("fn f() { random::int(1.5, 2) } f()", "1:22: `low` must be an integer, not a float"),
        ("time::now", "1:1: unknown name `time::now`"),
    ] {
        let expected: Vec<&str> = if expected.is_empty() { Vec::new() } else { vec![expected] };
        assert_eq!(found(source), expected, "{source}");
    }
}

#[test]
fn every_word_can_be_the_name_of_a_property() {
    let body =
        r#"{"private":1,"default":2,"in":3,"call":4,"null":5,"match":6,"if":7,"type":8,"this":9,"fn":10}"#;
    let source = "let b = ctx.request.body;
                  [b.private, b.default, b.in, b.null, b.match, b.if, b?.type, b.fn, b.private.to_string()]";
    assert_eq!(call(source).body("application/json", body).text(), "[1,2,3,5,6,7,8,10,\"1\"]");
    assert_eq!(call(source).body("application/json", body).stored().text(), "[1,2,3,5,6,7,8,10,\"1\"]");
    let source =
        "let m = #{ default: 1, in: [2, 3], with: #{ new: 4, if: if true { 5 } else { 6 } }, null: () };
                  m.match = 7; m.with.static = 8; m";
    assert_eq!(
        call(source).text(),
        r#"{"default":1,"in":[2,3],"match":7,"null":null,"with":{"if":5,"new":4,"static":8}}"#
    );
    assert_eq!(call("let f = |x| x + 1; [f.call(1), f.curry(2).call()]").text(), "[2,3]");
    assert_eq!(call("let m = #{ f: |x| x }; [m.f(1), m.f.type_of(), m.f.call(2)]").text(), "[1,\"Fn\",2]");
    assert_eq!(
        call("let x = 1; let m = #{ a: if x == 1 { [1, 2] } else { [] }, b: x }; m.b in m.a").text(),
        "true"
    );
}

#[test]
fn reserved_words_stay_reserved_elsewhere_and_before() {
    assert!(!found("let private = 1; private").is_empty());
    assert!(!found("default").is_empty());
    let older = Call { sdk: SdkVersion::V1_2, ..call("ctx.request.body.private") };
    assert!(older.check().is_err());
}
