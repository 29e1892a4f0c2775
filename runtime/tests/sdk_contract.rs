//! The SDK contract: everything of SDK 1.0 and 1.1 that script authors can see.
//!
//! **Editing this file is an SDK version bump.** Deployed scripts rely on every line of it. A change raises `CONTRACT` in
//! `manifest-schema/src/sdk.rs` and adds a row to the table of contracts in `docs/versioning.md`:
//!
//! - a patch pins existing behavior, or fixes a contradiction to the documentation; no script needs to change
//! - a minor version adds names, which scripts of older versions do not see
//! - a major version changes or removes; the server keeps the old behavior for scripts that request the old version
//!
//! `tests/tests/house` fails if the file has changed and the version has not.
//!
//! The engine itself is tested in `engine/`; this file only has the promises to scripts. No test needs a network, a
//! database or a file.

#![expect(clippy::unwrap_used, reason = "a test that cannot be set up has failed")]

mod support;

use support::{
    APP, Call, CountingAllocator, FailureKind, Level, Response, ScriptPath, SdkVersion, callable_functions,
    compile, script,
};
use uuid::Uuid;

#[global_allocator]
static ALLOCATOR: CountingAllocator = CountingAllocator;

fn header<'a>(response: &'a Response, name: &str) -> Option<&'a str> {
    response.headers.iter().find(|(held, _)| held == name).map(|(_, value)| value.as_str())
}

fn parts(response: &Response) -> (u16, Option<&str>, &[u8]) {
    (response.status, header(response, "content-type"), &response.body)
}

fn first_error(source: &str) -> String {
    let errors = compile(SdkVersion::V1_1, &ScriptPath::new("main.rhai").unwrap(), source).unwrap_err();
    errors.iter().next().unwrap().message.clone()
}

/// The value of an expression, as JSON, with a JSON body to read.
#[track_caller]
fn with_json(body: &str, source: &str) -> String {
    script(source).body("application/json", body.to_owned()).text()
}

// ---- ctx ----

#[test]
fn sdk_version_is_the_one_the_manifest_asks_for() {
    assert_eq!(script("ctx.sdk_version").text(), r#""1.1""#);
    assert_eq!(Call { sdk: SdkVersion::V1_0, ..script("ctx.sdk_version") }.text(), r#""1.0""#);
}

#[test]
fn sdk_version_is_two_numbers_that_scripts_compare_to_detect_features() {
    let source = r#"
        let parts = ctx.sdk_version.split(".").map(|part| part.parse_int());
        [parts.len(), parts[0] == 1, parts[0] > 1 || parts[1] >= 1]
    "#;
    assert_eq!(script(source).text(), "[2,true,true]");
    assert_eq!(Call { sdk: SdkVersion::V1_0, ..script(source) }.text(), "[2,true,false]");
}

#[test]
fn execution_id_is_the_id_of_this_run() {
    let id = Uuid::now_v7();
    let text = Call { execution_id: id, ..script("ctx.execution_id") }.text();
    assert_eq!(text, format!("\"{id}\""));
}

#[test]
fn execution_id_differs_per_execution_and_other_ids_do_not() {
    let source = "[ctx.execution_id, ctx.request_id, ctx.script_id]";
    let run = |id: u128| Call { execution_id: Uuid::from_u128(id), ..script(source) }.text();
    let (first, second): (Vec<String>, Vec<String>) =
        (serde_json::from_str(&run(1)).unwrap(), serde_json::from_str(&run(2)).unwrap());
    assert_ne!(first[0], second[0]);
    assert_eq!(first[1..], second[1..]);
}

#[test]
fn ids_are_uuids_in_lower_case_with_hyphens() {
    let text = script("`${ctx.execution_id} ${ctx.request_id} ${ctx.script_id}`").text();
    let ids: Vec<&str> = text.trim_matches('"').split(' ').collect();
    assert_eq!(ids.len(), 3);
    for id in ids {
        assert_eq!(Uuid::try_parse(id).unwrap().hyphenated().to_string(), id);
    }
}

#[test]
fn request_id_is_kept_from_the_incoming_request() {
    let id = Uuid::from_u128(0xabcdef);
    for call in [
        script("ctx.request_id"),
        script("ctx.request_id").function(""),
        script("ctx.request_id").scheduled(),
    ] {
        assert_eq!(Call { request_id: id, ..call }.text(), format!("\"{id}\""));
    }
}

#[test]
fn script_id_is_the_same_in_every_revision() {
    let first = Call { commit: "1".repeat(40), ..script("ctx.script_id") };
    let second = Call { commit: "2".repeat(40), ..script("ctx.script_id + \"\"") };
    assert_eq!(first.text(), second.text());
    let expected = Uuid::new_v5(&APP, b"main.rhai");
    assert_eq!(first.text(), format!("\"{expected}\""));
    assert_eq!(first.revision().script_id(&ScriptPath::new("main.rhai").unwrap()), expected);
}

#[test]
fn script_id_differs_from_script_to_script() {
    let other = Call { script: "other.rhai".to_owned(), ..script("ctx.script_id") };
    assert_ne!(other.text(), script("ctx.script_id").text());
}

#[test]
fn script_name_is_the_path_without_its_ending() {
    assert_eq!(script("ctx.script_name").text(), r#""main""#);
    assert_eq!(
        Call { script: "jobs/tick.rhai".to_owned(), ..script("ctx.script_name") }.text(),
        r#""jobs/tick""#
    );
}

#[test]
fn invocation_type_says_what_started_the_script() {
    let call = script("ctx.invocation_type");
    assert_eq!(call.text(), r#""http""#);
    assert_eq!(call.clone().function("{}").text(), r#""function""#);
    assert_eq!(call.scheduled().text(), r#""scheduled""#);
}

#[test]
fn ctx_is_a_map_with_seven_properties() {
    assert_eq!(
        script("[type_of(ctx), ctx.keys()]").text(),
        r#"["map",["execution_id","invocation_type","request","request_id","script_id","script_name","sdk_version"]]"#
    );
}

#[test]
fn ctx_is_seen_in_functions_and_closures() {
    let source = r#"
        fn name() { ctx.script_name }
        fn deeper() { let f = || ctx.script_name; f.call() + name() }
        let closure = |suffix| ctx.script_name + suffix;
        [name(), deeper(), closure.call("!")]
    "#;
    assert_eq!(script(source).text(), r#"["main","mainmain","main!"]"#);
}

#[test]
fn ctx_is_read_only_and_what_is_copied_from_it_is_not() {
    assert_eq!(first_error("ctx.request.body = 1;"), "`ctx` is read-only");
    assert_eq!(
        with_json("[1]", "let body = ctx.request.body; body.push(2); [body, ctx.request.body]"),
        "[[1,2],[1]]"
    );
}

#[test]
fn own_variable_can_be_named_ctx() {
    assert_eq!(script("fn f(ctx) { ctx + 1 } let ctx = 1; f(ctx)").text(), "2");
}

// ---- ctx.request ----

#[test]
fn request_path_is_the_decoded_path_within_the_app() {
    assert_eq!(
        script("ctx.request.path").routed("/greet/{name}", "/greet/J%C3%B6rg?x=1").text(),
        r#""/greet/Jörg""#
    );
}

#[test]
fn request_headers_are_a_map_by_lower_case_name() {
    let call =
        script(r#"[ctx.request.headers["x-trace"], ctx.request.headers.host, ctx.request.headers["none"]]"#)
            .header("X-Trace", "A b")
            .header("HOST", "pi");
    assert_eq!(call.text(), r#"["A b","pi",null]"#);
}

#[test]
fn repeated_headers_are_joined() {
    let call = script("[ctx.request.headers.accept, ctx.request.headers.cookie]")
        .header("accept", "a")
        .header("Accept", "b")
        .header("cookie", "x=1")
        .header("cookie", "y=2");
    assert_eq!(call.text(), r#"["a, b","x=1; y=2"]"#);
}

#[test]
fn request_params_are_what_the_route_captured_decoded() {
    let call = script("ctx.request.params").routed("/u/{id}/{tab}", "/u/a%2Fb/c+d");
    assert_eq!(call.text(), r#"{"id":"a/b","tab":"c+d"}"#);
    assert_eq!(script("ctx.request.params.none ?? \"default\"").text(), r#""default""#);
}

#[test]
fn request_query_is_a_map_of_decoded_strings_where_the_last_of_a_key_counts() {
    let call = script("ctx.request.query").routed("/q", "/q?a=1&b=x+y%26z&a=2&flag");
    assert_eq!(call.text(), r#"{"a":"2","b":"x y&z","flag":""}"#);
}

#[test]
fn request_rest_is_the_remainder_whatever_its_name() {
    let call =
        script("[ctx.request.rest, ctx.request.params]").routed("/f/{kind}/{*where}", "/f/img/a/b%20c/");
    assert_eq!(call.text(), r#"["a/b c/",{"kind":"img","where":"a/b c/"}]"#);
    assert_eq!(script("ctx.request.rest").text(), "null");
}

#[test]
fn request_rest_came_with_sdk_1_1() {
    let call = Call { sdk: SdkVersion::V1_0, ..script("ctx.request.keys()") };
    assert_eq!(call.text(), r#"["body","headers","params","path","query"]"#);
    assert_eq!(script("ctx.request.keys()").text(), r#"["body","headers","params","path","query","rest"]"#);
    let errors =
        compile(SdkVersion::V1_0, &ScriptPath::new("main.rhai").unwrap(), "ctx.request.rest").unwrap_err();
    let words = &errors.iter().next().unwrap().message;
    assert_eq!(words, "`ctx.request.rest` requires sdk 1.1, the manifest has 1.0");
}

#[test]
fn json_body_is_its_value() {
    assert_eq!(with_json(r#"{"a":[1,{"b":null}]}"#, "ctx.request.body.a[1]"), r#"{"b":null}"#);
    let problem = script("ctx.request.body").body("application/problem+json; charset=utf-8", "[1]");
    assert_eq!(problem.text(), "[1]");
}

#[test]
fn text_body_is_a_string() {
    for content_type in ["text/plain", "text/csv; charset=utf-8", "application/x-www-form-urlencoded"] {
        let call = script("[type_of(ctx.request.body), ctx.request.body]").body(content_type, "a=é");
        assert_eq!(call.text(), r#"["string","a=é"]"#);
    }
}

#[test]
fn other_bodies_are_blobs() {
    let source = "[type_of(ctx.request.body), ctx.request.body.len(), ctx.request.body[0]]";
    assert_eq!(script(source).body("image/png", &b"\xff\0a"[..]).text(), r#"["blob",3,255]"#);
    assert_eq!(script(source).with_request(|request| request.body = "abc".into()).text(), r#"["blob",3,97]"#);
}

#[test]
fn empty_body_is_unit() {
    assert_eq!(script("type_of(ctx.request.body)").body("application/json", "").text(), r#""()""#);
    assert_eq!(script("ctx.request.body == ()").text(), "true");
}

#[test]
fn invalid_json_body_is_a_client_error() {
    let call = script("log::info(\"ran\"); ctx.request.body").body("application/json", "{oops");
    let ran = call.run();
    assert_eq!(ran.execution.outcome.unwrap_err().kind, FailureKind::InvalidJson);
    assert!(ran.log.is_empty());
    assert_eq!(script("1").body("application/json", "{oops").text(), "1");
}

#[test]
fn function_reads_its_payload_as_body() {
    assert_eq!(script("ctx.request.body.times * 2").function(r#"{"times":3}"#).text(), "6");
    assert_eq!(script("ctx.request.body").function("").text(), "null");
    assert_eq!(script("ctx.request.body").function("{").failure().kind, FailureKind::InvalidJson);
}

#[test]
fn functions_and_schedules_have_an_empty_request() {
    let empty = r#"{"body":null,"headers":{},"params":{},"path":"","query":{},"rest":null}"#;
    assert_eq!(script("ctx.request").function("").text(), empty);
    assert_eq!(script("ctx.request").scheduled().text(), empty);
}

// ---- log ----

#[test]
fn log_has_four_levels() {
    let ran = script(r#"log::trace("a"); log::info("b"); log::warn("c"); log::error("d");"#).run();
    let lines: Vec<_> =
        ran.log.iter().map(|line| (line.level, line.message.as_str(), line.data.as_deref())).collect();
    let expected = [
        (Level::Trace, "a", None),
        (Level::Info, "b", None),
        (Level::Warn, "c", None),
        (Level::Error, "d", None),
    ];
    assert_eq!(lines, expected);
}

#[test]
fn log_takes_data_of_any_kind() {
    let ran =
        script(r#"log::info("a", #{ n: 1, list: [true, ()] }); log::warn("b", 2.5); log::error("c", ());"#)
            .run();
    let data: Vec<_> = ran.log.iter().map(|line| line.data.as_deref().unwrap()).collect();
    assert_eq!(data, [r#"{"list":[true,null],"n":1}"#, "2.5", "null"]);
}

#[test]
fn log_message_can_be_any_value() {
    let ran = script("log::info(42); log::info(#{ a: 1 }); log::info(`${1 + 1}`);").run();
    let messages: Vec<_> = ran.log.iter().map(|line| line.message.as_str()).collect();
    assert_eq!(messages, ["42", r#"{"a":1}"#, "2"]);
}

#[test]
fn log_lines_know_where_they_were_written() {
    let ran = script("\nfn f() {\n  log::info(\"x\");\n}\nf();\nlog::info(\"y\");").run();
    assert_eq!(ran.log.iter().map(|line| line.line).collect::<Vec<_>>(), [Some(3), Some(6)]);
}

#[test]
fn log_returns_unit_and_can_be_the_last_statement() {
    assert_eq!(script("log::info(\"x\")").text(), "null");
}

// ---- the response ----

#[test]
fn bare_value_is_200_with_json() {
    for (source, json) in [
        ("\"text\"", "\"text\""),
        ("42", "42"),
        ("1.0", "1.0"),
        ("true", "true"),
        ("()", "null"),
        ("", "null"),
        ("[1, \"a\", ()]", "[1,\"a\",null]"),
        ("#{ b: 1, a: #{} }", "{\"a\":{},\"b\":1}"),
        ("'c'", "\"c\""),
    ] {
        assert_eq!(
            parts(&script(source).response()),
            (200, Some("application/json"), json.as_bytes()),
            "{source}"
        );
    }
}

#[test]
fn bare_blob_is_200_with_its_bytes() {
    assert_eq!(parts(&script("blob(2, 7)").response()), (200, Some("application/octet-stream"), &[7, 7][..]));
}

#[test]
fn map_without_status_code_is_a_plain_value() {
    let response = script(r#"#{ status: 404, body: "x", headers: #{ a: "b" } }"#).response();
    let json = r#"{"body":"x","headers":{"a":"b"},"status":404}"#;
    assert_eq!(parts(&response), (200, Some("application/json"), json.as_bytes()));
}

#[test]
fn status_code_passes_through() {
    for status in [200, 201, 302, 404, 418, 500, 599] {
        let response = script(&format!("#{{ statusCode: {status}, body: #{{ ok: true }} }}")).response();
        assert_eq!(parts(&response), (status, Some("application/json"), &br#"{"ok":true}"#[..]));
    }
}

#[test]
fn response_without_body_is_empty() {
    assert_eq!(parts(&script("#{ statusCode: 204 }").response()), (204, None, &b""[..]));
    assert_eq!(parts(&script("#{ statusCode: 200, body: () }").response()), (200, None, &b""[..]));
}

#[test]
fn string_body_is_sent_as_it_is() {
    let plain = script(r#"#{ statusCode: 200, body: "<p>é" }"#).response();
    assert_eq!(parts(&plain), (200, Some("text/plain; charset=utf-8"), "<p>é".as_bytes()));
    let html =
        script(r#"#{ statusCode: 200, headers: #{ "Content-Type": "text/html" }, body: "<p>" }"#).response();
    assert_eq!(parts(&html), (200, Some("text/html"), &b"<p>"[..]));
}

#[test]
fn blob_body_is_sent_as_bytes() {
    let blob = script("#{ statusCode: 200, body: blob(2, 255) }").response();
    assert_eq!(parts(&blob), (200, Some("application/octet-stream"), &[255, 255][..]));
    let png = script(r#"#{ statusCode: 200, headers: #{ "content-type": "image/png" }, body: blob(1, 1) }"#)
        .response();
    assert_eq!(header(&png, "content-type"), Some("image/png"));
}

#[test]
fn other_bodies_are_json_under_any_content_type() {
    let source =
        r#"#{ statusCode: 422, headers: #{ "content-type": "application/problem+json" }, body: [1] }"#;
    assert_eq!(parts(&script(source).response()), (422, Some("application/problem+json"), &b"[1]"[..]));
}

#[test]
fn headers_are_repeated_with_an_array() {
    let response =
        script(r#"#{ statusCode: 200, headers: #{ "set-cookie": ["a=1", "b=2"], "x-n": 5 } }"#).response();
    let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    assert_eq!(response.headers, [pair("set-cookie", "a=1"), pair("set-cookie", "b=2"), pair("x-n", "5")]);
}

#[test]
fn invalid_status_code_is_an_invalid_response() {
    for status in ["\"200\"", "200.0", "()", "true", "99", "600", "-1", "0", "[200]"] {
        let failure = script(&format!("#{{ statusCode: {status} }}")).failure();
        assert_eq!(failure.kind, FailureKind::InvalidResponse, "{status}");
    }
}

#[test]
fn return_and_exit_end_the_script_with_their_value() {
    assert_eq!(script("return 1; 2").text(), "1");
    assert_eq!(script("fn f() { exit(7) } f(); 2").text(), "7");
}

#[test]
fn uncaught_throw_is_a_script_error_with_message_and_location() {
    let failure = script("let x = 1;\n  throw \"no such name\";").failure();
    assert_eq!((failure.kind, failure.message.as_str()), (FailureKind::Script, "no such name"));
    assert_eq!(failure.location.unwrap().to_string(), "main.rhai:2:3");
    assert_eq!(script("throw #{ code: 7 };").failure().message, r#"{"code":7}"#);
}

#[test]
fn caught_throw_is_no_failure() {
    assert_eq!(script("try { throw 1 } catch (e) { e + 1 }").text(), "null");
    assert_eq!(script("let x = 0; try { throw 1 } catch (e) { x = e + 1; } x").text(), "2");
}

// ---- the sandbox ----

#[test]
fn import_is_blocked() {
    assert_eq!(first_error("import \"other\" as other;"), "`import` is disabled");
}

#[test]
fn print_and_debug_are_disabled() {
    assert_eq!(first_error("print(\"x\")"), "`print` is disabled");
    assert_eq!(first_error("debug(\"x\")"), "`debug` is disabled");
    assert_eq!(script("let f = Fn(\"pri\" + \"nt\"); f.call(1)").failure().kind, FailureKind::Script);
}

#[test]
fn eval_is_disabled() {
    assert_eq!(first_error("eval(\"40 + 2\")"), "`eval` is disabled");
    assert_eq!(script("let f = Fn(\"ev\" + \"al\"); f.call(\"1\")").failure().kind, FailureKind::Script);
}

#[test]
fn log_debug_is_rejected() {
    assert!(first_error("log::debug(\"x\")").starts_with("`log::debug` does not exist"));
}

#[test]
fn sleep_is_disabled() {
    assert_eq!(first_error("sleep(1)"), "`sleep` is disabled");
    assert_eq!(script("let f = Fn(\"sle\" + \"ep\"); f.call(3600)").failure().kind, FailureKind::Script);
}

#[test]
fn timestamp_is_disabled() {
    assert_eq!(first_error("timestamp()"), "`timestamp` is disabled");
}

// ---- the language and its functions ----

/// Every function of the SDK with the numbers of arguments it takes, in both versions.
const FUNCTIONS: &str = "
    E/0 PI/0 abs/1 acos/1 acosh/1 all/2 append/2 as_string/1 asin/1 asinh/1 atan/1/2 atanh/1 bits/1/2/3
    blob/0/1/2 bytes/1 ceiling/1 chars/1/2/3 chop/2 clear/1 contains/2 cos/1 cosh/1 crop/2/3 dedup/1/2
    drain/2/3 end/1 ends_with/2 exit/0/1 exp/1 extract/2/3 fill_with/2 filter/2 find/2/3 find_map/2/3
    floor/1 for_each/2 fraction/1 get/2 get_bit/2 get_bits/2/3 get_fn_metadata_list/0/1/2 hypot/2
    index_of/2/3 insert/3 int/1 is_anonymous/1 is_empty/1 is_even/1 is_exclusive/1 is_finite/1
    is_inclusive/1 is_infinite/1 is_nan/1 is_odd/1 is_zero/1 keys/1 len/1 ln/1 log/1/2 log::error/1/2
    log::info/1/2 log::trace/1/2 log::warn/1/2 make_lower/1 make_upper/1 map/2 max/2 min/2 mixin/2 name/1
    order/1/2 order_by/2 order_desc/1 pad/3 parse_be_float/2/3 parse_be_int/2/3 parse_float/1 parse_int/1/2
    parse_json/1 parse_le_float/2/3 parse_le_int/2/3 pop/1/2 push/2 range/2/3 reduce/2/3 reduce_rev/2/3
    remove/2 replace/3 retain/2/3 reverse/1 round/1 set/3 set_bit/3 set_bits/3/4 set_tag/2 shift/1 sign/1
    sin/1 sinh/1 some/2 sort/1/2 sort_by/2 sort_desc/1 splice/3/4 split/1/2/3 split_rev/2/3 sqrt/1 start/1
    starts_with/2 sub_string/2/3 tag/1 take/1 tan/1 tanh/1 to_array/1 to_binary/1 to_blob/1 to_chars/1
    to_debug/1 to_degrees/1 to_float/1 to_hex/1 to_int/1 to_json/1 to_lower/1 to_octal/1 to_radians/1
    to_string/1 to_upper/1 trim/1 truncate/2 values/1 write_ascii/3/4 write_be/3/4 write_le/3/4
    write_utf8/3/4 zip/3
";

#[test]
fn scripts_see_exactly_the_functions_of_their_version() {
    for sdk in [SdkVersion::V1_0, SdkVersion::V1_1] {
        let shown = |(name, counts): (&str, &[usize])| {
            counts.iter().fold(name.to_owned(), |shown, count| format!("{shown}/{count}"))
        };
        let seen: Vec<String> = callable_functions(sdk).map(shown).collect();
        assert_eq!(seen, FUNCTIONS.split_whitespace().collect::<Vec<_>>(), "{sdk}");
    }
}

#[test]
fn numbers_are_64_bits_wide_and_never_wrap() {
    for (source, json) in [
        ("9223372036854775807", "9223372036854775807"),
        ("7 / 2", "3"),
        ("-7 % 3", "-1"),
        ("7.0 / 2", "3.5"),
        ("1 + 2.5", "3.5"),
        ("2 ** 10", "1024"),
        ("0xff + 0b11 + 0o17 + 1_000", "1273"),
        ("1 == 1.0", "true"),
        ("3.99.to_int()", "3"),
        ("2.5.round()", "3.0"),
        ("parse_int(\"42\") + parse_float(\"0.5\")", "42.5"),
        ("parse_int(\"ff\", 16)", "255"),
        ("[1, 5, 3].reduce(|a, b| max(a, b), 0)", "5"),
    ] {
        assert_eq!(script(source).text(), json, "{source}");
    }
    for source in
        ["9223372036854775807 + 1", "let zero = 0; 1 / zero", "let big = -9223372036854775807; big - 2"]
    {
        assert_eq!(script(source).failure().kind, FailureKind::Script, "{source}");
    }
}

#[test]
fn strings_are_values_of_characters() {
    for (source, json) in [
        ("`1 + 1 is ${1 + 1}`", r#""1 + 1 is 2""#),
        ("\"äb\" + 1 + true + ()", r#""äb1true""#),
        ("\"äöü\".len()", "3"),
        ("\"äöü\"[1]", r#""ö""#),
        ("\"äöü\"[-1]", r#""ü""#),
        ("\"hello\".sub_string(1, 3)", r#""ell""#),
        ("\"a,b,,c\".split(\",\")", r#"["a","b","","c"]"#),
        ("\" x \".trim(); let s = \" x \"; s.trim(); s", r#""x""#),
        ("let s = \"aXbX\"; s.replace(\"X\", \"-\"); s", r#""a-b-""#),
        ("\"abc\".to_upper() + \"ABC\".to_lower()", r#""ABCabc""#),
        ("\"abc\".contains(\"b\") && \"b\" in \"abc\" && \"abc\".starts_with(\"ab\")", "true"),
        ("[\"abc\".index_of(\"c\"), \"abc\".index_of(\"x\")]", "[2,-1]"),
        ("\"a\" < \"b\" && \"a\" != 1", "true"),
        ("let a = \"x\"; let b = a; b += \"y\"; [a, b]", r#"["x","xy"]"#),
    ] {
        assert_eq!(script(source).text(), json, "{source}");
    }
}

#[test]
fn arrays_and_maps_are_values() {
    for (source, json) in [
        ("let a = [1]; let b = a; b.push(2); [a, b]", "[[1],[1,2]]"),
        ("let a = [3, 1, 2]; a.sort(); a", "[1,2,3]"),
        ("[1, 2, 3, 4].filter(|x| x % 2 == 0).map(|x| x * 10)", "[20,40]"),
        ("[1, 2, 3].map(|x, i| x * i)", "[0,2,6]"),
        (
            "[[1, 2, 3][-1], [1, 2, 3].find(|x| x > 1), [1].some(|x| x > 1), [1].all(|x| x == 1)]",
            "[3,2,false,true]",
        ),
        ("[1, 2] + [3] == [1, 2, 3] && 2 in [1, 2]", "true"),
        ("let a = [1, 2, 3]; [a.pop(), a.shift(), a.len(), a]", "[3,1,1,[2]]"),
        ("let m = #{ b: 1 }; m.a = 2; m[\"c d\"] = 3; m", r#"{"a":2,"b":1,"c d":3}"#),
        (
            "let m = #{ a: #{ b: 1 } }; [m.a.b, m.none, m?.none?.deeper, m.none ?? \"default\"]",
            r#"[1,null,null,"default"]"#,
        ),
        (
            "let m = #{ b: 1, a: 2 }; [m.keys(), m.values(), m.len(), \"a\" in m, m.remove(\"a\"), m]",
            r#"[["a","b"],[2,1],2,true,2,{"b":1}]"#,
        ),
        ("let m = #{ a: 1 } + #{ a: 2, b: 3 }; m", r#"{"a":2,"b":3}"#),
        ("[1, #{ a: [()] }] == [1, #{ a: [()] }]", "true"),
    ] {
        assert_eq!(script(source).text(), json, "{source}");
    }
    for source in ["[1][5]", "let x = (); x.a", "let a = 1; a.len()", "\"x\" - 1"] {
        assert_eq!(script(source).failure().kind, FailureKind::Script, "{source}");
    }
}

#[test]
fn statements_are_expressions_and_functions_are_values() {
    for (source, json) in [
        ("let x = if 1 > 2 { \"a\" } else { \"b\" }; x", r#""b""#),
        ("switch 5 { 1 => \"one\", 2..9 if false => \"no\", 2..=9 => \"few\", _ => \"many\" }", r#""few""#),
        ("let n = 0; for i in 0..5 { if i == 1 { continue; } if i == 4 { break; } n += i; } n", "5"),
        ("let n = 0; for (c, i) in \"ab\".chars() { n += i; } n", "1"),
        ("let n = 0; while n < 3 { n += 1; } do { n += 1; } while n < 5; n", "5"),
        ("let x = loop { break 7; }; x", "7"),
        ("fn add(a, b) { a + b } fn add(a) { a } [add(1, 2), add(1)]", "[3,1]"),
        ("fn double() { this *= 2; } let x = 4; x.double(); x", "8"),
        ("let n = 1; let f = |x| { n += x; n }; [f.call(2), n]", "[3,3]"),
        ("let add = |a, b| a + b; let inc = add.curry(1); inc.call(2)", "3"),
        ("let o = #{ n: 1, up: |by| this.n += by }; o.up(2); o.n", "3"),
        ("const A = 2; fn f() { global::A * 2 } f()", "4"),
        (
            "type_of(1) + type_of(1.0) + type_of('a') + type_of(\"\") + type_of(|| 1)",
            r#""i64f64charstringFn""#,
        ),
    ] {
        assert_eq!(script(source).text(), json, "{source}");
    }
}

// ---- JSON keeps its kinds ----

#[test]
fn json_types_are_rhai_types() {
    let kinds = r#"["string", 1, 1.5, true, null, [], {}]"#;
    assert_eq!(
        with_json(kinds, "ctx.request.body.map(|value| type_of(value))"),
        r#"["string","i64","f64","bool","()","array","map"]"#
    );
}

#[test]
fn strings_come_back_as_they_were() {
    for json in [r#""""#, r#""a\"b\\c\n\t""#, r#""é😀\u0000""#, r#""42""#] {
        assert_eq!(with_json(json, "ctx.request.body"), json);
    }
}

#[test]
fn integers_come_back_as_integers() {
    for json in ["0", "-1", "9223372036854775807", "-9223372036854775808"] {
        assert_eq!(with_json(json, "ctx.request.body"), json);
    }
}

#[test]
fn floats_come_back_as_floats() {
    for json in ["1.0", "-0.5", "3.141592653589793", "1e+300", "5e-324"] {
        assert_eq!(with_json(json, "ctx.request.body"), json);
    }
}

#[test]
fn whole_numbers_beyond_64_bits_are_floats() {
    assert_eq!(with_json("9223372036854775808", "type_of(ctx.request.body)"), r#""f64""#);
}

#[test]
fn numbers_at_the_edges_are_decided() {
    // Digits beyond what a float holds are rounded; what is beyond every float is not read.
    assert_eq!(with_json("123456789012345678901234567890", "ctx.request.body"), "1.2345678901234568e+29");
    assert_eq!(with_json("[1E2, 1e-400, -0]", "ctx.request.body"), "[100.0,0.0,-0.0]");
    for body in ["1e999", "-1e999", "NaN", "Infinity", "01", "1.", "+1", "0x10"] {
        let failure = script("ctx.request.body").body("application/json", body).failure();
        assert_eq!(failure.kind, FailureKind::InvalidJson, "{body}");
    }
}

#[test]
fn text_that_is_no_unicode_is_no_json() {
    let rejected =
        |body: &'static [u8]| script("ctx.request.body").body("application/json", body).failure().kind;
    assert_eq!(rejected(br#""\ud800""#), FailureKind::InvalidJson);
    assert_eq!(rejected(b"\"\xff\""), FailureKind::InvalidJson);
    assert_eq!(rejected(b"\xef\xbb\xbf1"), FailureKind::InvalidJson);
    assert_eq!(with_json(r#""\ud83d\ude00""#, "ctx.request.body"), r#""😀""#);
}

#[test]
fn nesting_is_127_deep_both_ways() {
    let nested = |depth: usize| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
    assert_eq!(with_json(&nested(127), "ctx.request.body"), nested(127));
    let failure = script("ctx.request.body").body("application/json", nested(128)).failure();
    assert_eq!(failure.kind, FailureKind::InvalidJson);
    let failure = script("let a = []; for i in 0..127 { a = [a]; } a").failure();
    assert_eq!(failure.kind, FailureKind::InvalidResponse);
}

#[test]
fn booleans_and_null_come_back() {
    assert_eq!(with_json("[true,false,null]", "ctx.request.body"), "[true,false,null]");
}

#[test]
fn arrays_and_objects_come_back_nested_with_sorted_keys() {
    let json = r#"{"z":[[],[{"deep":[1,{"deeper":null}]}]],"a":{"":{}}}"#;
    assert_eq!(
        with_json(json, "ctx.request.body"),
        r#"{"a":{"":{}},"z":[[],[{"deep":[1,{"deeper":null}]}]]}"#
    );
}

#[test]
fn last_of_duplicate_keys_wins() {
    assert_eq!(with_json(r#"{"a":1,"a":2}"#, "ctx.request.body.a"), "2");
}

#[test]
fn value_without_json_form_is_an_invalid_response() {
    for source in
        ["|x| x", "fn f() { } [Fn(\"f\")]", "#{ f: || 1 }", "0.0 / 0.0", "[1.0 / 0.0]", "[blob(1)]", "0..3"]
    {
        assert_eq!(script(source).failure().kind, FailureKind::InvalidResponse, "{source}");
    }
}

#[test]
fn parse_json_and_to_json_follow_the_same_rules() {
    assert_eq!(script(r#"parse_json("[1, 1.0, {\"a\": null}]")"#).text(), r#"[1,1.0,{"a":null}]"#);
    assert_eq!(script(r#"#{ a: [1, 1.0, ()] }.to_json()"#).text(), r#""{\"a\":[1,1.0,null]}""#);
}
