//! What is replaced does what Rhai's own function does, wherever that one keeps within bounds.

use manifest_schema::sdk::SdkVersion;
use rhai::packages::{Package, StandardPackage};
use rhai::{Dynamic, Engine};

use crate::sandbox::Sandbox;

const TEXTS: [&str; 7] = [
    "\"\"",
    "\"a\"",
    "\"abcabc\"",
    "\"\u{e4}b\u{1f600}c\"",
    "\"\u{3b1}\u{3a3} \u{df}\"",
    "\"ABC\"",
    "\" 12 \"",
];

const NUMBERS: [&str; 11] =
    ["0", "1", "2", "-1", "-2", "3", "6", "7", "-9", "9223372036854775807", "(-9223372036854775807 - 1)"];

const ARRAYS: [&str; 9] = [
    "[]",
    "[1]",
    "[3, 1, 2, 1, 1]",
    "[\"b\", \"a\", \"a\"]",
    "[1.5, -2.0, 1.5]",
    "['b', 'a']",
    "[true, false, true]",
    "[(), ()]",
    "[1, \"a\", [2], [2]]",
];

/// Value or error of `source`, as text.
fn outcome(engine: &Engine, source: &str) -> String {
    match engine.eval::<Dynamic>(source) {
        Ok(value) => format!("{value:?}"),
        Err(error) => format!("fails: {error}"),
    }
}

/// Compares the sandbox with Rhai as it comes on every source.
fn all_the_same(sources: impl Iterator<Item = String>) {
    let mut plain = Engine::new_raw();
    plain.register_global_module(StandardPackage::new().as_shared_module());
    let bounded = &Sandbox::of(SdkVersion::V1_1).engine;
    let mut compared = 0;
    for source in sources {
        assert_eq!(outcome(bounded, &source), outcome(&plain, &source), "{source}");
        compared += 1;
    }
    assert!(compared > 0);
}

#[test]
fn functions_of_text_and_a_number_are_rhais() {
    let each = TEXTS.iter().flat_map(|text| NUMBERS.iter().map(move |number| (text, number)));
    all_the_same(each.flat_map(|(text, n)| {
        [
            format!("let s = {text}; s.sub_string({n})"),
            format!("let s = {text}; s.crop({n}); s"),
            format!("let s = {text}; let p = s.pop({n}); [s, p]"),
            format!("let s = {text}; s.set({n}, '\u{fc}'); s"),
            format!("let s = {text}; s.index_of(\"b\", {n})"),
            format!("let s = {text}; s.index_of('c', {n})"),
            format!("let s = {text}; s.index_of(\"\", {n})"),
            format!("let a = []; for c in {text}.chars({n}) {{ a.push(c); }} a"),
            format!("parse_int({text}, {n})"),
        ]
    }));
}

#[test]
fn functions_of_text_and_two_numbers_are_rhais() {
    let each = TEXTS.iter().flat_map(|text| NUMBERS.iter().map(move |number| (text, number)));
    all_the_same(each.flat_map(|(text, n)| {
        NUMBERS.iter().flat_map(move |m| {
            [
                format!("let s = {text}; s.sub_string({n}, {m})"),
                format!("let s = {text}; s.sub_string({n}..{m})"),
                format!("let s = {text}; s.sub_string({n}..={m})"),
                format!("let s = {text}; s.crop({n}, {m}); s"),
                format!("let s = {text}; s.crop({n}..{m}); s"),
                format!("let s = {text}; s.crop({n}..={m}); s"),
                format!("let a = []; for c in {text}.chars({n}, {m}) {{ a.push(c); }} a"),
                format!("let a = []; for c in {text}.chars({n}..{m}) {{ a.push(c); }} a"),
                format!("let a = []; for c in {text}.chars({n}..={m}) {{ a.push(c); }} a"),
            ]
        })
    }));
}

#[test]
fn functions_of_text_are_rhais() {
    all_the_same(TEXTS.iter().flat_map(|text| {
        [
            format!("{text}.to_upper()"),
            format!("{text}.to_lower()"),
            format!("let s = {text}; s.make_upper(); s"),
            format!("let s = {text}; s.make_lower(); s"),
            format!("{text}.to_debug()"),
            format!("let a = []; for c in {text} {{ a.push(c); }} a"),
            format!("let a = []; for c in {text}.chars {{ a.push(c); }} a"),
            format!("{text}.to_blob().as_string()"),
            format!("let b = {text}.to_blob(); b.chop(2); b.as_string()"),
            format!("let b = {text}.to_blob(); b.chop(2); \"x\" + b"),
            format!("let b = {text}.to_blob(); b.truncate(4); b + \"x\""),
            format!("let b = {text}.to_blob(); b.chop(3); let s = \"x\"; s += b; s.append(b); s"),
            format!("parse_int({text})"),
            format!("parse_float({text})"),
        ]
    }));
}

#[test]
fn functions_of_arrays_are_rhais() {
    all_the_same(ARRAYS.iter().flat_map(|array| {
        let with_numbers = NUMBERS.iter().flat_map(move |n| {
            [format!("let a = {array}; a.insert({n}, 7); a"), format!("let a = {array}; a.set({n}, 7); a")]
        });
        let alone = [
            "a.push(7); a",
            "a.sort(); a",
            "a.sort_desc(); a",
            "a.order()",
            "a.order_desc()",
            "a.sort(|x, y| y - x); a",
            "a.sort_by(|x, y| x > y); a",
            "a.order_by(|x, y| throw 1)",
            "a.dedup(); a",
            "a.dedup(|x, y| x != y); a",
            "a.dedup(|x, y| throw 1); a",
            "a == a",
            "const C = a; [C.order().len()]",
            "const C = a; C == a",
        ];
        with_numbers.chain(alone.into_iter().map(move |end| format!("let a = {array}; {end}")))
    }));
}

#[test]
fn what_changes_a_value_refuses_a_constant_as_in_rhai() {
    let changing = [
        "const A = [2, 1]; A.push(1); A",
        "const A = [2, 1]; A.sort(); A",
        "const A = [2, 1]; A.pad(5, 1); A",
        "const A = #{ a: 1 }; A.set(\"a\", 2); A",
        "const A = #{ a: 1 }; A.to_json()",
        "const S = \"abc\"; S.make_upper(); S",
        "const S = \"abc\"; S.crop(1); S",
        "const S = \"abc\"; S.pad(5, ' '); S",
        "const S = \"abc\"; S.replace(\"a\", \"b\"); S",
        "const S = \"abc\"; [S.to_upper(), S.sub_string(1), S.split(\"b\").len()]",
    ];
    all_the_same(changing.iter().map(|source| (*source).to_owned()));
}
