//! `kv`: values and their copies, lists, blind operations, and what a call refuses.

use std::time::Duration;

use runtime::{FailureKind, KvKey, KvValue};

use super::{call, fails};

#[test]
fn values_of_every_kind_are_read_as_they_were_stored() {
    for value in ["1", "1.5", "-7", "true", "\"é\"", "[]", "[1,[2.0,null]]", "{}", "{\"a\":{\"b\":\"c\"}}"] {
        let source = format!("let value = `{value}`.parse_json(); kv::set(\"k\", value); kv::get(\"k\")");
        assert_eq!(call(&source).text(), value);
    }
    assert_eq!(call("kv::set(\"k\", 'x'); kv::get(\"k\")").text(), "\"x\"");
    assert_eq!(
        call("let b = blob(3, 7); kv::set(\"k\", b); [kv::get(\"k\") == b, type_of(kv::get(\"k\"))]").text(),
        r#"[true,"blob"]"#
    );
    let state = call("kv::set(\"k\", blob(2, 65)); 1").run().state;
    assert_eq!(state.entries[&KvKey::new("k").unwrap()].0, KvValue::Blob("AA".into()));
}

#[test]
fn absent_key_is_unit_and_not_there() {
    assert_eq!(
        call("[kv::get(\"k\"), kv::peek(\"k\"), kv::has(\"k\"), kv::get_many([\"k\"]), kv::keys(\"\")]")
            .text(),
        "[null,null,false,{},[]]"
    );
    assert_eq!(call("kv::delete(\"k\"); kv::has(\"k\")").text(), "false");
}

#[test]
fn value_is_a_copy_in_both_directions() {
    let source =
        "let list = [1]; kv::set(\"k\", list); list.push(2); let read = kv::get(\"k\"); read.push(3);
        [list, read, kv::get(\"k\")]";
    assert_eq!(call(source).text(), "[[1,2],[1,3],[1]]");
    // A captured variable is shared, but not with the state.
    let source = "let list = [1]; let grow = || list.push(2); kv::set(\"k\", #{ list: list }); grow.call();
        [list, kv::get(\"k\").list]";
    assert_eq!(call(source).text(), "[[1,2],[1]]");
}

#[test]
fn stored_settings_are_maps_and_secrets_are_refused() {
    assert_eq!(call("kv::set(\"env\", ctx.env); kv::get(\"env\").GREETING").text(), "\"Hello\"");
    assert_eq!(
        fails("kv::set(\"s\", ctx.secrets)"),
        "kv::set: `ctx.secrets` cannot be written as a whole; read its secrets by name"
    );
}

#[test]
fn values_without_a_stored_form_fail_at_the_call() {
    for (source, message) in [
        ("let x = (); kv::set(\"k\", x)", "kv::set: `()` is no value that is stored; use `kv::delete`"),
        ("let x = (); kv::insert(\"k\", x)", "kv::insert: `()` is no value that is stored; use `kv::delete`"),
        ("kv::set(\"k\", [0.0/0.0])", "kv::set: the number NaN cannot be converted to JSON"),
        ("kv::set(\"k\", #{ f: |x| x })", "kv::set: a function cannot be converted to JSON"),
        (
            "kv::set(\"k\", [blob(1)])",
            "kv::set: a blob is only stored as a whole value, not within an array or a map",
        ),
        (
            "kv::append(\"k\", blob(1))",
            "kv::append: a blob is only stored as a whole value, not within an array or a map",
        ),
        (
            "kv::set(\"k\", \"x\".repeat(1048575))",
            "kv::set: a value has at most 1048576 bytes, as JSON or as a blob",
        ),
        ("kv::set(\"k\", blob(1048577))", "kv::set: a value has at most 1048576 bytes, as JSON or as a blob"),
        ("kv::add(\"k\", 1.0 / 0.0)", "kv::add: `number` must be finite, not inf"),
        ("let key = \"\"; kv::get(key)", "kv::get: a key must not be empty"),
        ("kv::get(\"é\".repeat(300))", "kv::get: a key has at most 512 bytes, not 600"),
        ("kv::get_many([\"a\", \"a\\x00\"])", "kv::get_many: a key must not contain NUL"),
        ("kv::get_many([\"a\", 1])", "kv::get_many: item 1 of `keys` is an integer, not a string"),
        (
            "let t = \"10ms\"; kv::set(\"k\", 1, #{ ttl: t })",
            "kv::set: `ttl` must be from \"1s\" to \"3650d\", not \"10ms\"",
        ),
        ("let n = 1001; kv::keys(\"\", #{ limit: n })", "kv::keys: `limit` must be from 1 to 1000, not 1001"),
        (
            "let n = 0; kv::append(\"k\", 1, #{ keep: n })",
            "kv::append: `keep` must be from 1 to 1000000, not 0",
        ),
    ] {
        assert_eq!(fails(source), message, "{source}");
    }
    // The longest that fit.
    assert_eq!(call("kv::set(\"k\", \"x\".repeat(1048574)); kv::set(\"b\", blob(1048576)); 1").text(), "1");
}

#[test]
fn nested_item_can_be_read_after_it_was_appended() {
    let nested = "let value = 1; for i in 0..N { value = [value]; }";
    let source = format!("{nested} kv::append(\"k\", value); kv::get(\"k\").len()");
    assert_eq!(call(&source.replace('N', "126")).text(), "1");
    assert_eq!(
        call(&source.replace('N', "127")).failure().message,
        "kv::append: the value is nested deeper than 127 levels"
    );
}

#[test]
fn lists_are_sorted_bounded_and_paged() {
    let fill = "for i in 0..7 { kv::set(`n/${i}`, i); } kv::set(\"m\", 0); kv::set(\"n0\", 0);";
    let lists = |of: &str| call(&format!("{fill} {of}")).text();
    assert_eq!(
        lists("kv::list(\"n/\", #{ limit: 2 })"),
        r#"[{"key":"n/0","value":0},{"key":"n/1","value":1}]"#
    );
    assert_eq!(lists("kv::keys(\"n/\", #{ after: \"n/1\", before: \"n/4\" })"), r#"["n/2","n/3"]"#);
    assert_eq!(lists("kv::keys(\"n/\", #{ reverse: true, limit: 2, before: \"n/5\" })"), r#"["n/4","n/3"]"#);
    assert_eq!(lists("kv::keys(\"\").len()"), "9");
    // An absent option, as a query without it gives.
    assert_eq!(lists("kv::keys(\"n/\", #{ after: ctx.request.query.page }).len()"), "7");
    let source = "for i in 0..150 { kv::set(`n${i}`, i); } [kv::keys(\"n\").len(), kv::list(\"n\", #{ limit: 1000 }).len()]";
    assert_eq!(call(source).text(), "[100,150]");
    assert_eq!(
        fails("kv::keys(\"n/\", #{ after: \"3\" })"),
        "kv::keys: `after` must begin with the prefix \"n/\", as all keys of the list do, not \"3\""
    );
}

#[test]
fn numbers_are_added_and_counted() {
    assert_eq!(
        call("kv::add(\"n\", 2); kv::add(\"n\", -5); [kv::incr(\"n\"), kv::incr(\"n\", 10), kv::get(\"n\")]")
            .text(),
        "[-2,8,8]"
    );
    assert_eq!(call("kv::set(\"n\", 1); [kv::incr(\"n\", 0.5), kv::incr(\"n\")]").text(), "[1.5,2.5]");
    for function in ["incr", "add"] {
        let fails_with = |value: &str| {
            call(&format!("kv::set(\"n\", {value}); kv::{function}(\"n\", 1)")).failure().message
        };
        assert_eq!(fails_with("\"1\""), format!("kv::{function}: `n` holds no number"));
        assert_eq!(fails_with("blob(1)"), format!("kv::{function}: `n` holds no number"));
        assert_eq!(
            fails_with("9223372036854775807"),
            format!("kv::{function}: the sum at `n` does not fit into 64 bits")
        );
    }
}

#[test]
fn time_of_a_key_ends_with_set_and_stays_otherwise() {
    let minute = Some(Duration::from_secs(60));
    let ttl = |source: &str| call(&format!("{source}; 1")).run().state.ttl("k");
    assert_eq!(ttl("kv::set(\"k\", 1, #{ ttl: \"1m\" })"), minute);
    assert_eq!(ttl("kv::set(\"k\", 1, #{ ttl: \"1m\" }); kv::incr(\"k\"); kv::add(\"k\", 1)"), minute);
    assert_eq!(
        ttl("kv::set(\"k\", 1, #{ ttl: \"1m\" }); kv::add(\"k\", 1, #{ ttl: \"2m\" })"),
        minute.map(|m| m * 2)
    );
    assert_eq!(ttl("kv::append(\"k\", 1, #{ ttl: \"1m\" }); kv::append(\"k\", 2)"), minute);
    assert_eq!(ttl("kv::insert(\"k\", 1, #{ ttl: \"1m\" })"), minute);
    assert_eq!(ttl("kv::set(\"k\", 1, #{ ttl: \"1m\" }); kv::set(\"k\", 1)"), None);
}

#[test]
fn insert_keeps_what_is_there() {
    assert_eq!(call("[kv::insert(\"k\", 1), kv::insert(\"k\", 2), kv::get(\"k\")]").text(), "[true,false,1]");
}

#[test]
fn append_keeps_the_newest_items() {
    assert_eq!(
        call("for i in 0..5 { kv::append(\"k\", #{ n: i }, #{ keep: 2 }); } kv::get(\"k\")").text(),
        r#"[{"n":3},{"n":4}]"#
    );
    assert_eq!(
        call("kv::set(\"k\", 1); kv::append(\"k\", 1)").failure().message,
        "kv::append: `k` holds no array"
    );
    let large = "kv::append(\"k\", \"x\".repeat(600000)); kv::append(\"k\", \"x\".repeat(600000))";
    assert_eq!(
        call(large).failure().message,
        "kv::append: the value of `k` would have 1200007 bytes; at most 1048576 are stored"
    );
}

#[test]
fn errors_of_the_state_can_be_caught_and_change_nothing() {
    let source =
        "kv::set(\"k\", \"a\"); try { kv::add(\"k\", 1) } catch (e) { kv::set(\"e\", e); } kv::get(\"e\")";
    assert_eq!(call(source).text(), "\"kv::add: `k` holds no number\"");
    let state = call(source).run().state;
    assert_eq!((state.changes.len(), state.text("k").as_deref()), (2, Some("\"a\"")));
}

#[test]
fn state_counts_for_the_limits_of_the_execution() {
    // The value takes ten times the memory of its JSON.
    let limited = |source: &str| call(source).limits(|limits| limits.memory = 8 * 1024 * 1024).failure().kind;
    let fill = "let a = []; a.pad(500000, 0); kv::set(\"k\", a); a = ();";
    assert_eq!(
        limited(&format!("{fill} let all = []; loop {{ all.push(kv::get(\"k\")); }}")),
        FailureKind::Memory
    );
    assert_eq!(
        limited("kv::set(\"b\", blob(1000000)); let all = []; loop { all.push(kv::get(\"b\")); }"),
        FailureKind::Memory
    );
}

#[test]
fn stored_values_are_no_leak() {
    let source = "for i in 0..40 { kv::set(`k${i}`, \"x\".repeat(90000)); kv::get(`k${i}`); } 1";
    let call = call(source);
    let revision = call.revision();
    // Thirteen times three megabytes are above what a script can leak.
    for _ in 0..20 {
        assert!(call.run_on(&revision).execution.outcome.is_ok());
    }
}
