//! Replacements behave like Rhai's own functions within the limits.

use manifest_schema::sdk::SdkVersion;
use rhai::packages::{Package, StandardPackage};
use rhai::{Dynamic, Engine};

use super::STRING_MAX;
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

/// The value or the error of `source` as text.
fn outcome(engine: &Engine, source: &str) -> String {
    match engine.eval::<Dynamic>(source) {
        Ok(value) => format!("{value:?}"),
        Err(error) => format!("fails: {error}"),
    }
}

/// Compares the sandbox with plain Rhai.
fn assert_same_as_rhai(sources: impl Iterator<Item = String>) {
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
fn text_functions_with_a_number_match_rhai() {
    let each = TEXTS.iter().flat_map(|text| NUMBERS.iter().map(move |number| (text, number)));
    assert_same_as_rhai(each.flat_map(|(text, n)| {
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
fn text_functions_with_two_numbers_match_rhai() {
    let each = TEXTS.iter().flat_map(|text| NUMBERS.iter().map(move |number| (text, number)));
    assert_same_as_rhai(each.flat_map(|(text, n)| {
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
fn text_functions_match_rhai() {
    assert_same_as_rhai(TEXTS.iter().flat_map(|text| {
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
fn appending_to_text_matches_rhai() {
    const VALUES: [&str; 17] = [
        "7",
        "-7",
        "1.5",
        "2.0",
        "1e300",
        "true",
        "()",
        "'c'",
        "\"\"",
        "\"text\"",
        "[1, \"a\", [2.5], ()]",
        "#{ a: 1, b: #{ c: \"x\" } }",
        "blob(3, 0x41)",
        "blob(2, 0xff)",
        "0..3",
        "0..=3",
        "Fn(\"f\")",
    ];
    let each = TEXTS.iter().flat_map(|text| VALUES.iter().map(move |value| (text, value)));
    assert_same_as_rhai(each.flat_map(|(text, value)| {
        [
            format!("let s = {text}; s += {value}; s"),
            format!("let s = {text}; s.append({value}); s.append({value}); s"),
            format!("let s = {text}; let held = s; s += {value}; s += {value}; [s, held]"),
            format!("let m = #{{ s: {text} }}; m.s += {value}; m.s.append({value}); m"),
            format!("let a = [{text}]; a[0] += {value}; a"),
            format!("let s = {text}; let f = || s += {value}; f.call(); f.call(); s"),
        ]
    }));
}

#[test]
fn text_grows_to_its_limit() {
    let bounded = &Sandbox::of(SdkVersion::V1_3).engine;
    let grown = |value: &str| {
        outcome(bounded, &format!("let s = \"\"; s.pad({}, 'x'); s += {value}; s.bytes", STRING_MAX - 2))
    };
    assert_eq!(grown("77"), STRING_MAX.to_string());
    assert_eq!(grown("[]"), STRING_MAX.to_string());
    for value in ["777", "true", "1.5", "[1]", "blob(3, 0x41)"] {
        let refused = grown(value);
        assert!(refused.starts_with("fails: Length of string too large"), "{value}: {refused}");
    }
}

#[test]
fn array_functions_match_rhai() {
    assert_same_as_rhai(ARRAYS.iter().flat_map(|array| {
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
fn mutating_functions_reject_constants_as_in_rhai() {
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
    assert_same_as_rhai(changing.iter().map(|source| (*source).to_owned()));
}

/// Functions with callbacks that return the expected and other types, that throw, and that are called with `this`,
/// with an index, and by name.
#[test]
fn functions_with_callbacks_match_rhai() {
    let items = ["[]", "[1]", "[3, 1, 2, 2, 1]", "[\"b\", \"a\", \"c\"]", "[(), 1.5, [1]]"];
    let one = [
        "|x| true",
        "|x| false",
        "|x| x == 1",
        "|x| \"yes\"",
        "|x| ()",
        "|x, i| i > 1",
        "|| this != 2",
        "|| this",
        "|x| if x == 2 { throw 7 } else { true }",
        "Fn(\"twice\")",
        "Fn(\"kind\")",
        "Fn(\"is_one\")",
        "Fn(\"type_of\")",
    ];
    let on_items = [
        "let r = a.map(F); [r, a]",
        "let r = a.filter(F); [r, a]",
        "[a.some(F), a.all(F)]",
        "[a.find(F), a.find(F, 1), a.find(F, -2), a.find(F, 9)]",
        "[a.find_map(F), a.find_map(F, 1)]",
        "[a.index_of(F), a.index_of(F, 1), a.index_of(F, -1)]",
        "let r = a.drain(F); [r, a]",
        "let r = a.retain(F); [r, a]",
        "let r = (); try { r = a.drain(F) } catch (e) { r = e } [r, a]",
        "let r = (); try { r = a.retain(F) } catch (e) { r = e } [r, a]",
        "a.for_each(F); a",
        "const C = a; [C.map(F), C.filter(F), C.some(F), C.find(F), C.index_of(F)]",
        "const C = a; C.drain(F)",
        "const C = a; C.retain(F)",
        "const C = a; C.for_each(F)",
    ];
    let two = [
        "|x, y| x",
        "|x, y| y",
        "|x, y| [x, y]",
        "|x, y, i| i",
        "|x, y| x > y",
        "|x, y| \"no\"",
        "|x, y| throw 7",
        "Fn(\"both\")",
    ];
    let on_two = [
        "[a.reduce(F), a.reduce(F, 5)]",
        "[a.reduce_rev(F), a.reduce_rev(F, 5)]",
        "[a.zip([1, 2], F), a]",
        "a.sort(F); a",
        "[a.order_by(F), a]",
        "a.dedup(F); a",
        "const C = a; [C.reduce(F), C.zip(a, F)]",
    ];
    let by_name = [
        "a.map(\"twice\")",
        "a.filter(\"is_one\")",
        "[a.some(\"is_one\"), a.all(\"is_one\"), a.index_of(\"is_one\"), a.index_of(\"is_one\", 2)]",
        "[a.index_of(\"a\"), a.index_of(\"b\", 1), a.index_of(\"no such thing\")]",
        "[a.reduce(\"both\"), a.reduce(\"both\", 1), a.reduce_rev(\"both\"), a.reduce_rev(\"both\", 1)]",
        "a.sort(\"both\"); a",
        "a.dedup(\"both\"); a",
        "let r = a.drain(\"is_one\"); [r, a]",
        "let r = a.retain(\"is_one\"); [r, a]",
        "const C = a; [C.some(\"is_one\"), C.index_of(\"is_one\"), C.reduce(\"both\")]",
        "const C = a; C.map(\"twice\")",
        "const C = a; C.filter(\"is_one\")",
        "[a.contains(1), a.contains(\"a\"), a.contains([1]), a.index_of(1), a.index_of(1, 2), a.index_of([1]), 1 in a]",
    ];
    let on_maps = [
        "m.map(|k, v| `${k}${v}`)",
        "[m.map(|k| this), m.filter(|k| this == 1)]",
        "[m.filter(|k, v| v == 1), m.filter(|k, v| \"yes\"), m]",
        "let r = m.drain(|k, v| v == 1); [r, m]",
        "let r = m.retain(|k, v| v == 1); [r, m]",
        "const C = m; [C.map(|k, v| v), C.filter(|k, v| true)]",
        "const C = m; C.drain(|k, v| true)",
        "const C = m; C.retain(|k, v| true)",
        "m.filter(|k, v| throw 7)",
    ];
    let functions = "fn twice(x) { [x, x] } fn twice() { [this, this, 1] } fn kind(x) { type_of(x) } fn is_one(x) { x == 1 }
        fn both(x, y) { y } ";
    let of_items = items.iter().flat_map(|a| {
        let with_one = on_items.iter().flat_map(|call| one.iter().map(|f| call.replace('F', f)));
        let with_two = on_two.iter().flat_map(|call| two.iter().map(|f| call.replace('F', f)));
        let all = with_one.chain(with_two).chain(by_name.iter().map(|call| (*call).to_owned()));
        all.map(move |call| format!("{functions} let a = {a}; {call}"))
    });
    let of_maps = ["#{}", "#{ a: 1, b: 2 }"]
        .iter()
        .flat_map(|m| on_maps.iter().map(move |call| format!("{functions} let m = {m}; {call}")));
    let mut plain = Engine::new_raw();
    plain.register_global_module(StandardPackage::new().as_shared_module());
    let bounded = &Sandbox::of(SdkVersion::V1_2).engine;
    // Arity errors have other messages, and Rhai reports `index_of` for `find`.
    let result = |engine: &Engine, source: &str| match outcome(engine, source) {
        fails if fails.starts_with("fails: Function not found") => "does not fit".to_owned(),
        other => other.replace("function 'index_of'", "function 'find'"),
    };
    let all =
        of_items.chain(of_maps).map(|source| (result(bounded, &source), result(&plain, &source), source));
    let wrong: Vec<_> = all.filter(|(ours, rhais, _)| ours != rhais).collect();
    let first: Vec<_> = wrong.iter().take(12).collect();
    assert!(wrong.is_empty(), "{} are different: {first:#?}", wrong.len());
}
