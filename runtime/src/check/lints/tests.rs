use std::any::TypeId;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::{Range, RangeInclusive};

use manifest_schema::diagnostic::Severity;
use manifest_schema::name::ScriptPath;
use manifest_schema::sdk::SdkVersion;
use rhai::{Array, Blob, Dynamic, FnPtr, ImmutableString, Map};

use super::callbacks::CALLERS;
use super::flow::Type;
use super::members::{MUTATING, RETURN_UNIT};
use crate::check::compile;
use crate::sandbox::Sandbox;

/// The findings in a script of SDK 1.3: `E` for an error, `W` for a warning.
pub(super) fn report(source: &str) -> Vec<String> {
    let path = ScriptPath::new("a.rhai").unwrap();
    let diagnostics = match compile(SdkVersion::V1_3, &path, source) {
        Ok(script) => script.warnings().clone(),
        Err(diagnostics) => diagnostics,
    };
    let shown = diagnostics.iter().map(|diagnostic| {
        let severity = if diagnostic.severity == Severity::Error { "E" } else { "W" };
        let place = diagnostic
            .span
            .as_ref()
            .map_or(String::new(), |place| format!("{}:{}", place.line, place.column));
        let help = diagnostic.help.as_ref().map(|help| format!(" | {help}")).unwrap_or_default();
        format!("{severity} {place} {}{help}", diagnostic.message)
    });
    shown.collect()
}

#[track_caller]
fn assert_reports(source: &str, expected: &[&str]) {
    assert_eq!(report(source), expected, "{source}");
}

#[test]
fn new_errors_are_warnings_for_older_versions() {
    let path = ScriptPath::new("a.rhai").unwrap();
    for sdk in [SdkVersion::V1_0, SdkVersion::V1_1, SdkVersion::V1_2] {
        let script = compile(sdk, &path, "\"a\".length").unwrap();
        assert_eq!((script.warnings().errors(), script.warnings().warnings()), (0, 1), "{sdk}");
    }
    assert_eq!(compile(SdkVersion::V1_3, &path, "\"a\".length").unwrap_err().errors(), 1);
}

#[test]
fn missing_properties_are_errors() {
    assert_reports("\"a\".length", &["E 1:5 a string has no property `length` | write `len()`"]);
    assert_reports("[1].length", &["E 1:5 an array has no property `length` | write `len()`"]);
    assert_reports("let s = \"a\"; s.size", &["E 1:16 a string has no property `size` | write `len()`"]);
    assert_reports(
        "let s = `a${1}`; s.to_upper",
        &["E 1:20 a string has no property `to_upper` | it is a method: `to_upper()`"],
    );
    assert_reports("let n = 1.5; n.flor", &["E 1:16 a float has no property `flor` | did you mean `floor`?"]);
    assert_reports("ctx.request.path.length", &["E 1:18 a string has no property `length` | write `len()`"]);
    assert_reports(
        "let parts = ctx.request.path.split(\"/\"); parts.count",
        &["E 1:48 an array has no property `count` | write `len()`"],
    );
    assert_reports(
        "fn f(s) { s.length } f(\"a\") + f(\"b\")",
        &["E 1:13 a string has no property `length` | write `len()`"],
    );
    assert_reports(
        "let s = \"a\"; let f = || s.length; f.call()",
        &["E 1:27 a string has no property `length` | write `len()`"],
    );
}

#[test]
fn missing_methods_are_errors() {
    assert_reports("\"a\".push(\"b\")", &["E 1:5 a string has no method `push`"]);
    assert_reports("[1].to_upper()", &["E 1:5 an array has no method `to_upper`"]);
    assert_reports("let a = [1]; a.split(1, 2)", &["E 1:16 `split` takes 1 argument, not 2"]);
}

#[test]
fn settings_are_not_maps_since_sdk_1_3() {
    let has = "available: get, contains, keys, len and is_empty";
    assert_reports(
        "ctx.env.filter(|k, v| true)",
        &[&format!("E 1:9 `ctx.env` has no method `filter` | {has}")],
    );
    assert_reports("let s = ctx.secrets; s.get()", &["E 1:24 `get` takes 1 argument, not 0"]);
    assert_reports(
        "ctx.secrets.to_json()",
        &["E 1:13 `to_json` would expose all secrets | read secrets by name"],
    );
    assert_reports(
        "[ctx.env.to_json(), ctx.env.keys(), ctx.secrets.contains(\"A\"), ctx.env.to_string()]",
        &[],
    );
    let path = ScriptPath::new("a.rhai").unwrap();
    let older =
        compile(SdkVersion::V1_2, &path, "[ctx.env.filter(|k, v| true), ctx.secrets.to_json()]").unwrap();
    assert!(older.warnings().is_empty());
}

#[test]
fn functions_without_a_module_are_methods_of_their_types() {
    assert_reports(
        "let a = [1, 2]; let s = \" a \"; [a.join(\",\"), a.sum(), a.first(), s.trimmed().lines().last(), join(a, '-')]",
        &[],
    );
    assert_reports("let s = \"a\"; s.join(\",\")", &["E 1:16 a string has no method `join`"]);
    assert_reports("let a = [1]; a.join()", &["E 1:16 `join` takes 1 argument, not 0"]);
    assert_reports("fn join(list) { `${list}` } let a = [1]; join(a)", &[]);
    assert_reports(
        "let x = ctx.request.body; x.replaceAll(\"a\", \"b\")",
        &["E 1:29 unknown method `replaceAll` | write `replaced`"],
    );
    let path = ScriptPath::new("a.rhai").unwrap();
    for (source, help) in [
        ("let a = [1]; a.join(\",\")", "write `list.reduce(|text, item| text + item, \"\")`"),
        ("let s = \"a\"; s.trimmed()", "write `trim`"),
    ] {
        let older = compile(SdkVersion::V1_2, &path, source).unwrap_err();
        assert_eq!(older.iter().next().unwrap().help.as_deref(), Some(help), "{source}");
    }
}

#[test]
fn unit_results_are_reported() {
    let trim = "`trim` changes its receiver in place and returns `()`";
    assert_reports(
        "let x = \" a \"; let s = x.trim(); s",
        &[&format!("W 1:26 {trim} | `trimmed` returns a changed copy")],
    );
    assert_reports(
        "let s = ctx.request.body; s = s.trim(); s",
        &[&format!("E 1:33 {trim} | `trimmed` returns a changed copy")],
    );
    assert_reports(
        "let s = ctx.request.body; s.trim().len()",
        &[&format!("E 1:29 {trim} | `trimmed` returns a changed copy")],
    );
    assert_reports(
        "let s = \"a\"; `${s.trim()}`",
        &[&format!("E 1:19 {trim} | `trimmed` returns a changed copy")],
    );
    assert_reports(
        "let a = [2, 1]; let b = a.sort(); b",
        &["W 1:27 `sort` changes its receiver in place and returns `()` | `order` returns a changed copy"],
    );
    assert_reports(
        "let s = \"a-b\"; let t = s.replace(\"-\", \"+\"); t",
        &[
            "W 1:26 `replace` changes its receiver in place and returns `()` | `replaced` returns a changed copy",
        ],
    );
    assert_reports(
        "fn clean(s) { s.trim() } clean(\"a\")",
        &[&format!("W 1:17 {trim} | `trimmed` returns a changed copy")],
    );
    assert_reports(
        "[\" a\"].map(|s| s.trim())",
        &[&format!("W 1:18 {trim} | `trimmed` returns a changed copy")],
    );
    assert_reports(
        "let s = \"ab\"; let t = s.remove(\"a\"); t",
        &[
            "W 1:25 `remove` changes its receiver in place and returns `()` | call it as a separate statement, then use `s`",
        ],
    );
}

#[test]
fn constants_are_not_changed() {
    assert_reports(
        "const A = []; A.push(1)",
        &[
            "E 1:17 `push` cannot be called on a constant | declare `A` with `let`, or change a copy: `let copy = A;`",
        ],
    );
    assert_reports(
        "const A = #{ list: [] }; A.list.push(1); A",
        &[
            "E 1:33 `push` cannot be called on a constant | declare `A` with `let`, or change a copy: `let copy = A;`",
        ],
    );
    assert_reports(
        "ctx.request.body.items.push(1)",
        &[
            "E 1:24 `push` cannot be called on a constant | `ctx` is read-only; change a copy: `let body = ctx.request.body;`",
        ],
    );
    assert_reports(
        "const A = [1]; A[0] = 2; A",
        &["E 1:16 `A` is a constant | declare it with `let` to change it"],
    );
    assert_reports(
        "const A = #{}; A.x = 2; A",
        &["E 1:16 `A` is a constant | declare it with `let` to change it"],
    );
    for (before, change) in [
        ("const A = #{}; ", "A.x += 1; A"),
        ("const A = #{}; ", "A[\"x\"] = 2; A"),
        ("const A = #{}; try { ", "A.x = 1; } catch {} A"),
        ("const A = #{ b: #{} }; ", "A.b.c = 1; A"),
        ("const A = #{ b: #{} }; ", "A[\"b\"].c += 1; A"),
        ("const A = #{ b: [[1]] }; ", "A.b[0][0] = 1; A"),
    ] {
        let expected =
            format!("E 1:{} `A` is a constant | declare it with `let` to change it", before.len() + 1);
        assert_reports(&format!("{before}{change}"), &[&expected]);
    }
    // Another variable of the name is meant, or can be.
    for source in [
        "const A = #{}; for A in [#{}] { A.x = 1; } A",
        "const A = #{}; for (x, A) in [#{}] { x.y = A; } A",
        "const A = #{}; try { throw #{} } catch (A) { A.x = 1; } A",
        "const A = #{}; { let A = #{}; A.x = 1; } A",
        "const A = #{}; fn f(A) { A.x = 1; A } f(A)",
        "const A = #{}; fn f(A) { A.x.y = 1; A } A",
        "const A = #{}; let f = |A| { A.x = 1; A }; f.call(A)",
    ] {
        assert_reports(source, &[]);
    }
}

#[test]
fn callbacks_of_wrong_arity_are_errors() {
    assert_reports(
        "[1].map(|a, b, c| a)",
        &["E 1:9 `map` calls a function with 0, 1 or 2 arguments; this one takes 3"],
    );
    assert_reports(
        "let a = [2, 1]; a.sort(|x| x); a",
        &[
            "E 1:24 `sort` calls a function with 2 arguments; this one takes 1 | it compares two elements: `|a, b| a.price - b.price`",
        ],
    );
    assert_reports(
        "[1].reduce(|| 1)",
        &[
            "E 1:12 `reduce` calls a function with 1, 2 or 3 arguments; this one takes 0 | write `|sum, x| sum + x`",
        ],
    );
    assert_reports(
        "let n = 1; [1].filter(|a, b, c| a > n)",
        &["E 1:23 `filter` calls a function with 0, 1 or 2 arguments; this one takes 3"],
    );
    assert_reports(
        "fn three(a, b, c) { a + b + c } [1].map(three)",
        &["E 1:41 `map` calls a function with 0, 1 or 2 arguments; this one takes 3"],
    );
    assert_reports(
        "fn three(a, b, c) { a + b + c } [1].map(Fn(\"three\"))",
        &["E 1:41 `map` calls a function with 0, 1 or 2 arguments; this one takes 3"],
    );
    assert_reports(
        "let f = |a, b, c| a; [1].map(f)",
        &["E 1:30 `map` calls a function with 0, 1 or 2 arguments; this one takes 3"],
    );
    assert_reports(
        "[1].for_each(|x, i| log::info(x))",
        &[
            "E 1:14 `for_each` calls a function with 0 or 1 arguments; this one takes 2 | the element is `this`: `|| this.name`, or `for x in list { ... }`",
        ],
    );
}

#[test]
fn interpolations_in_double_quotes_are_warnings() {
    let expected = "`${...}` is not interpolated in double quotes | use backquotes";
    assert_reports("let name = \"a\"; \"Hello ${name}\"", &[&format!("W 1:17 {expected}")]);
    assert_reports("\"Hello ${ctx.request.params.name}!\"", &[&format!("W 1:1 {expected}")]);
    assert_reports("let n = 1; #{ a: \"${n + 1}\" }", &[&format!("W 1:18 {expected}")]);
}

#[test]
fn statements_without_effect_are_warnings() {
    assert_reports(
        "fn f(x) { x == 1; x } f(2)",
        &["W 1:13 unused result of a comparison | use `=` to assign"],
    );
    assert_reports("return 1; 2", &["W 1:11 unreachable statement after `return`"]);
    assert_reports("fn f() { throw \"no\"; 2 } f()", &["W 1:22 unreachable statement after `throw`"]);
    assert_reports("loop { break; 2 }", &["W 1:15 unreachable statement after `break`"]);
}

#[test]
fn invalid_responses_are_errors() {
    assert_reports("#{ statusCode: 999 }", &["E 1:16 statusCode 999 is out of range 100-599"]);
    assert_reports(
        "#{ statusCode: \"200\", body: 1 }",
        &["E 1:16 statusCode must be an integer, not a string | write `200`"],
    );
    assert_reports(
        "let s = ctx.request.path; #{ statusCode: s }",
        &["E 1:42 statusCode must be an integer, not a string | convert it with `parse_int`"],
    );
    assert_reports(
        "#{ statusCode: 200, headers: #{ \"x\": \"a\\r\\nb: 1\" } }",
        &["E 1:38 the value of header `x` contains a control character"],
    );
    assert_reports(
        "let t = 1; #{ statusCode: 200, headers: #{ x: `a${t}\n` } }",
        &["E 1:47 the value of header `x` contains a control character"],
    );
    assert_reports(
        "#{ statusCode: 200, headers: #{ \"set-cookie\": [\"a\", 'b'] } }",
        &["E 1:53 header `set-cookie` must be a string, not a character"],
    );
    assert_reports(
        "#{ statusCode: 200, headers: [\"x: 1\"] }",
        &["E 1:30 headers must be a map, not an array | write `#{ \"content-type\": \"text/html\" }`"],
    );
    assert_reports("#{ statusCode: 200, body: 0..5 }", &["E 1:28 a range cannot be converted to JSON"]);
}

#[test]
fn responses_are_checked_at_every_end_of_a_script() {
    let refused = "statusCode 999 is out of range 100-599";
    for (source, place) in [
        ("if ctx.request.body == () { return #{ statusCode: 999 }; } 1", "1:51"),
        ("if true { 1 } else { #{ statusCode: 999 } }", "1:37"),
        ("switch 1 { 1 => #{ statusCode: 999 }, _ => 2 }", "1:32"),
        ("fn f() { exit(#{ statusCode: 999 }); } f()", "1:30"),
        ("fn fail() { #{ statusCode: 999 } } if true { return fail(); } 1", "1:28"),
        ("let answer = #{ statusCode: 999 }; answer", "1:29"),
        ("let x = if true { #{ a: 1 } } else { exit(#{ statusCode: 999 }) }; x", "1:58"),
    ] {
        assert_reports(source, &[&format!("E {place} {refused}")]);
    }
}

#[test]
fn maps_that_resemble_responses_are_warnings() {
    let data = "a map without `statusCode` is not a response: it is sent as JSON with status 200";
    assert_reports("#{ status: 404, body: \"x\" }", &[&format!("W 1:4 {data} | write `statusCode`")]);
    assert_reports("#{ status: 404 }", &[&format!("W 1:4 {data} | write `statusCode`")]);
    assert_reports(
        "let s = 1 + 1; #{ status_code: s, headers: #{} }",
        &[&format!("W 1:19 {data} | write `statusCode`")],
    );
    assert_reports("#{ headers: #{}, body: 1 }", &[&format!("W 1:1 {data} | add `statusCode: 200`")]);
    assert_reports(
        "#{ statusCode: 200, header: #{} }",
        &["W 1:21 unknown response field `header` is ignored | did you mean `headers`?"],
    );
    assert_reports(
        "#{ statusCode: 200, content_type: \"text/html\", body: 1 }",
        &[
            "W 1:21 unknown response field `content_type` is ignored | write `headers: #{ \"content-type\": ... }`",
        ],
    );
    assert_reports(
        "#{ statusCode: 101 }",
        &["W 1:16 status 101 is not a final response: the client gets 500"],
    );
}

#[test]
fn hostile_responses_are_reported_as_at_run_time() {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/hostile/headers");
    // Created at run time.
    let made = [
        "body_bytes_in_a_list",
        "body_holding_itself",
        "body_huge",
        "body_nested",
        "huge_name",
        "huge_name_of_many_values",
        "huge_value",
        "many",
        "many_values",
    ];
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let source = std::fs::read_to_string(&path).unwrap();
        let name = path.file_stem().unwrap().to_string_lossy().into_owned();
        let errors = report(&source).iter().filter(|diagnostic| diagnostic.starts_with('E')).count();
        let is_visible = source.contains("// fails: invalid_response") && !made.contains(&name.as_str());
        assert_eq!(errors, usize::from(is_visible), "{name}: {:?}", report(&source));
    }
}

#[test]
fn request_headers_in_upper_case_are_errors() {
    let never = |name| format!("`ctx.request.headers` never contains `{name}`: header names are lower case");
    assert_reports(
        "ctx.request.headers.Authorization",
        &[&format!("E 1:21 {} | write `authorization`", never("Authorization"))],
    );
    assert_reports(
        "ctx.request.headers[\"Content-Type\"]",
        &[&format!("E 1:21 {} | write `[\"content-type\"]`", never("Content-Type"))],
    );
    assert_reports(
        "let h = ctx.request.headers; h.Accept",
        &[&format!("E 1:32 {} | write `accept`", never("Accept"))],
    );
    assert_reports(
        "let r = ctx.request; r.headers.contentType",
        &[&format!("E 1:32 {} | write `[\"content-type\"]`", never("contentType"))],
    );
    assert_reports(
        "fn f(h) { h.Accept } f(ctx.request.headers)",
        &[&format!("E 1:13 {} | write `accept`", never("Accept"))],
    );
    assert_reports(
        "ctx.request.headers.get(\"X-Id\")",
        &[&format!("E 1:25 {} | write `[\"x-id\"]`", never("X-Id"))],
    );
    assert_reports(
        "\"X-Id\" in ctx.request.headers",
        &[&format!("E 1:1 {} | write `[\"x-id\"]`", never("X-Id"))],
    );
    assert_reports(
        "ctx.request.headers.user_agent",
        &["W 1:21 no header is named `user_agent` | write `[\"user-agent\"]`"],
    );
    assert_reports(
        "let r = ctx.request; r.heads",
        &["E 1:24 `ctx.request` has no `heads` | did you mean `headers`?"],
    );
}

#[test]
fn comparisons_of_strings_with_numbers_are_errors() {
    let never = "comparison of a string and an integer is always false | convert it with `parse_int`";
    assert_reports("ctx.request.query.page > 1", &[&format!("E 1:24 {never}")]);
    assert_reports("let id = ctx.request.params.id; if id == 5 { 1 }", &[&format!("E 1:39 {never}")]);
    assert_reports("5 == ctx.request.headers.age", &[&format!("E 1:3 {never}")]);
    assert_reports("ctx.env.DEBUG != true", &["E 1:15 comparison of a string and a bool is always true"]);
    assert_reports("(ctx.request.query.page ?? \"1\") == 1", &[&format!("E 1:33 {never}")]);
    assert_reports(
        "#{ statusCode: ctx.request.params.code }",
        &["E 1:16 statusCode must be an integer, not a string | convert it with `parse_int`"],
    );
    assert_reports(
        "ctx.request.params.name.length",
        &["E 1:25 a string has no property `length` | write `len()`"],
    );
    for (operator, expected) in
        [("==", false), ("<", false), (">", false), ("<=", false), (">=", false), ("!=", true)]
    {
        for other in ["5", "1.5", "true"] {
            for source in [format!("\"5\" {operator} {other}"), format!("{other} {operator} \"5\"")] {
                assert_eq!(eval(&source).unwrap().as_bool(), Ok(expected), "{source}");
            }
        }
    }
}

/// Literals of every type that engine functions take.
const SAMPLES: [(&str, &str); 12] = [
    ("string", "\"ab\""),
    ("array", "[1, 2, 3]"),
    ("map", "#{ a: 1 }"),
    ("blob", "blob(9)"),
    ("i64", "1"),
    ("f64", "1.5"),
    ("char", "'c'"),
    ("bool", "true"),
    ("()", "()"),
    ("Fn", "|x, y| x == y"),
    ("range", "0..1"),
    ("range=", "0..=1"),
];

fn sample(of: TypeId) -> Option<&'static str> {
    let types = [
        TypeId::of::<ImmutableString>(),
        TypeId::of::<Array>(),
        TypeId::of::<Map>(),
        TypeId::of::<Blob>(),
        TypeId::of::<i64>(),
        TypeId::of::<f64>(),
        TypeId::of::<char>(),
        TypeId::of::<bool>(),
        TypeId::of::<()>(),
        TypeId::of::<FnPtr>(),
        TypeId::of::<Range<i64>>(),
        TypeId::of::<RangeInclusive<i64>>(),
    ];
    let any = TypeId::of::<Dynamic>();
    let at = types.iter().position(|known| *known == of).or_else(|| (of == any).then_some(4))?;
    Some(SAMPLES[at].1)
}

fn eval(source: &str) -> Result<Dynamic, String> {
    Sandbox::of(SdkVersion::V1_3).engine.eval(source).map_err(|error| error.to_string())
}

/// Every method of the engine with the arguments of each overload: its receiver, and the rest.
fn forms() -> impl Iterator<Item = (&'static str, &'static str, String)> {
    Sandbox::of(SdkVersion::V1_3).methods().flat_map(|(name, forms)| {
        forms.iter().filter_map(move |takes| {
            let written: Vec<_> = takes.iter().map(|of| sample(*of)).collect::<Option<_>>()?;
            let (receiver, rest) = written.split_first()?;
            Some((name, *receiver, rest.join(", ")))
        })
    })
}

#[test]
fn tables_of_mutating_methods_match_the_engine() {
    let mut returns: BTreeMap<&str, BTreeSet<bool>> = BTreeMap::new();
    let mut changes: BTreeMap<&str, BTreeSet<bool>> = BTreeMap::new();
    for (name, receiver, rest) in forms() {
        for function in ["|x, y| x == y", "|x, y| 0", "|x| true"] {
            let rest = rest.replace("|x, y| x == y", function);
            let Ok(value) = eval(&format!("let v = {receiver}; v.{name}({rest})")) else { continue };
            returns.entry(name).or_default().insert(value.is_unit());
            let constant = eval(&format!("const V = {receiver}; V.{name}({rest})"));
            changes.entry(name).or_default().insert(constant.is_err());
        }
    }
    let always = |of: &BTreeMap<&'static str, BTreeSet<bool>>| -> BTreeSet<&'static str> {
        of.iter().filter(|(_, seen)| !seen.contains(&false)).map(|(name, _)| *name).collect()
    };
    let nothing: BTreeSet<_> = RETURN_UNIT.iter().map(|(name, _)| *name).collect();
    assert_eq!(always(&returns), nothing);
    assert_eq!(always(&changes), nothing.iter().copied().chain(MUTATING).collect());
    // The alternatives return a value; functions of the SDK are not called with samples of the right kinds.
    for instead in RETURN_UNIT.iter().filter_map(|(_, instead)| *instead) {
        assert!(
            returns.get(instead).map_or(instead == "replaced", |seen| seen.contains(&false)),
            "{instead}"
        );
    }
    assert!(eval("\"ab\".remove(\"a\")").unwrap().is_unit());
}

#[test]
fn reported_members_do_not_exist_in_the_engine() {
    let sandbox = Sandbox::of(SdkVersion::V1_3);
    let types = [
        (Type::Bool, "true"),
        (Type::Int, "1"),
        (Type::Float, "1.5"),
        (Type::Char, "'c'"),
        (Type::Text, "\"ab\""),
        (Type::Array, "[1, 2, 3]"),
    ];
    for (of, value) in types {
        for name in sandbox.all_properties().chain(["length", "x"]) {
            let found = eval(&format!("let v = {value}; v.{name}"));
            assert_eq!(found.is_ok(), sandbox.has_property(of.id(), name), "{value}.{name}: {found:?}");
        }
        for (name, _) in sandbox.methods() {
            let counts = sandbox.method_counts(of.id(), name);
            for count in (0..3).filter(|count| !counts.contains(count)) {
                let arguments = (0..count).fold(vec![String::new()], |lists, at| {
                    let each = |list: String| {
                        SAMPLES.map(
                            |(_, value)| if at == 0 { value.to_owned() } else { format!("{list}, {value}") },
                        )
                    };
                    lists.into_iter().flat_map(each).collect()
                });
                for arguments in arguments {
                    let called = format!("let v = {value}; v.{name}({arguments})");
                    assert!(eval(&called).is_err(), "{called} works");
                }
            }
        }
    }
}

#[test]
fn table_of_callbacks_matches_the_engine() {
    let mut accepted: BTreeMap<&str, BTreeSet<usize>> = BTreeMap::new();
    for (name, receiver, rest) in forms().filter(|(_, _, rest)| rest.contains("|x, y|")) {
        for count in 0..6 {
            let parameters = (0..count).map(|at| format!("p{at}")).collect::<Vec<_>>().join(", ");
            // A predicate returns a boolean, a comparer an integer.
            let works = ["true", "0"].into_iter().any(|value| {
                let rest = rest.replace("|x, y| x == y", &format!("|{parameters}| {value}"));
                eval(&format!("let v = {receiver}; v.{name}({rest})")).is_ok()
            });
            if works {
                accepted.entry(name).or_default().insert(count);
            }
        }
    }
    let table: BTreeMap<_, BTreeSet<_>> =
        CALLERS.iter().map(|(name, counts)| (*name, counts.iter().copied().collect())).collect();
    assert_eq!(accepted, table);
}

#[test]
fn change_of_a_copy_of_the_state_is_a_warning() {
    let warning = |position: &str, name: &str| {
        format!(
            "W {position} `{name}` changes a copy of the value, which is not stored | assign the value to a \
             variable, change that, and store it with `kv::set`"
        )
    };
    assert_reports("kv::get(\"x\").tags.push(1); 2", &[&warning("1:19", "push")]);
    assert_reports("kv::peek(\"x\")[0].sort()", &[&warning("1:18", "sort")]);
    assert_reports("if true { kv::get(\"x\").remove(\"a\"); }", &[]);
    assert_reports("kv::get(\"x\").pop(); 1", &[&warning("1:14", "pop")]);
    for fine in [
        "kv::get(\"x\").pop()",
        "let last = kv::get(\"x\").pop(); last",
        "let tags = kv::get(\"x\").tags; tags.push(1); kv::set(\"x\", tags)",
        "kv::get(\"x\").for_each(|x| log::info(x));",
        "kv::get(\"x\").tags.len()",
    ] {
        assert_reports(fine, &[]);
    }
}

#[test]
fn values_that_the_state_refuses_are_errors() {
    assert_reports("kv::get(\"\")", &["E 1:9 a key must not be empty"]);
    assert_reports("kv::set(\"k\", ())", &["E 1:14 `()` is no value that is stored; use `kv::delete`"]);
    assert_reports(
        "kv::set(\"k\", 1, #{ ttl: \"10ms\" })",
        &["E 1:25 `ttl` must be from \"1s\" to \"3650d\", not \"10ms\""],
    );
    assert_reports(
        "kv::set(\"k\", 1, #{ ttl: \"5 minutes\" })",
        &["E 1:25 `ttl` must be a duration such as \"5m\", not \"5 minutes\""],
    );
    assert_reports("kv::keys(\"a\", #{ limit: 5000 })", &["E 1:25 `limit` must be from 1 to 1000, not 5000"]);
    assert_reports(
        "kv::keys(\"a\", #{ limits: 5 })",
        &["E 1:18 unknown option `limits`; did you mean `limit`?"],
    );
    assert_reports(
        "kv.get(\"a\")",
        &["E 1:1 unknown variable `kv` | functions of a module are called with `kv::`"],
    );
    assert_reports("kv::keys(\"\", #{ after: () })", &[]);
}
