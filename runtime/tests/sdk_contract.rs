//! The SDK contract: everything of SDK 1.0 and 1.1 that the author of a script can see.
//!
//! **Editing this file is an SDK version bump.** Scripts that people deployed rely on every line of it. A test may be
//! added to pin what was always so; changing or removing one means a new version of the SDK, a line in the versioning
//! document, and a server that keeps the old behaviour for scripts that ask for the old version.
//!
//! Whether the engine works right is asked in `engine.rs`; here is only what scripts are promised. No test needs a
//! network, a database or a file.

#![expect(clippy::unwrap_used, reason = "a test that cannot be set up has failed")]

mod support;

use manifest_schema::name::ScriptPath;
use manifest_schema::sdk::SdkVersion;
use runtime::{Answer, CountingAllocator, FailureKind, Level, compile};
use support::{APP, Call, script};
use uuid::Uuid;

#[global_allocator]
static ALLOCATOR: CountingAllocator = CountingAllocator;

fn header<'a>(answer: &'a Answer, name: &str) -> Option<&'a str> {
    answer.headers.iter().find(|(held, _)| held == name).map(|(_, value)| value.as_str())
}

fn parts(answer: &Answer) -> (u16, Option<&str>, &[u8]) {
    (answer.status, header(answer, "content-type"), &answer.body)
}

fn fault(source: &str) -> String {
    let faults = compile(SdkVersion::V1_1, &ScriptPath::new("main.rhai").unwrap(), source).unwrap_err();
    faults.iter().next().unwrap().message.clone()
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
    assert_eq!(fault("ctx.request.body = 1;"), "`ctx` is read-only");
    assert_eq!(
        with_json("[1]", "let body = ctx.request.body; body.push(2); [body, ctx.request.body]"),
        "[[1,2],[1]]"
    );
}

#[test]
fn a_variable_of_ones_own_may_be_called_ctx() {
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
fn a_repeated_header_is_joined() {
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
}

#[test]
fn a_json_body_is_its_value() {
    assert_eq!(with_json(r#"{"a":[1,{"b":null}]}"#, "ctx.request.body.a[1]"), r#"{"b":null}"#);
    let problem = script("ctx.request.body").body("application/problem+json; charset=utf-8", "[1]");
    assert_eq!(problem.text(), "[1]");
}

#[test]
fn a_text_body_is_a_string() {
    for content_type in ["text/plain", "text/csv; charset=utf-8", "application/x-www-form-urlencoded"] {
        let call = script("[type_of(ctx.request.body), ctx.request.body]").body(content_type, "a=é");
        assert_eq!(call.text(), r#"["string","a=é"]"#);
    }
}

#[test]
fn any_other_body_is_a_blob() {
    let source = "[type_of(ctx.request.body), ctx.request.body.len(), ctx.request.body[0]]";
    assert_eq!(script(source).body("image/png", &b"\xff\0a"[..]).text(), r#"["blob",3,255]"#);
    assert_eq!(script(source).also(|request| request.body = "abc".into()).text(), r#"["blob",3,97]"#);
}

#[test]
fn an_empty_body_is_unit() {
    assert_eq!(script("type_of(ctx.request.body)").body("application/json", "").text(), r#""()""#);
    assert_eq!(script("ctx.request.body == ()").text(), "true");
}

#[test]
fn a_body_that_is_not_the_json_it_says_is_the_clients_mistake() {
    let call = script("log::info(\"ran\"); ctx.request.body").body("application/json", "{oops");
    let ran = call.run();
    assert_eq!(ran.execution.outcome.unwrap_err().kind, FailureKind::InvalidJson);
    assert!(ran.log.is_empty());
    assert_eq!(script("1").body("application/json", "{oops").text(), "1");
}

#[test]
fn a_function_reads_its_payload_as_body() {
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
fn a_log_message_need_not_be_a_string() {
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
fn log_returns_nothing_and_may_be_the_last_statement() {
    assert_eq!(script("log::info(\"x\")").text(), "null");
}

// ---- the answer ----

#[test]
fn a_bare_value_is_200_with_that_value_as_json() {
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
            parts(&script(source).answer()),
            (200, Some("application/json"), json.as_bytes()),
            "{source}"
        );
    }
}

#[test]
fn a_bare_blob_is_200_with_its_bytes() {
    assert_eq!(parts(&script("blob(2, 7)").answer()), (200, Some("application/octet-stream"), &[7, 7][..]));
}

#[test]
fn a_map_without_status_code_is_a_plain_value() {
    let answer = script(r#"#{ status: 404, body: "x", headers: #{ a: "b" } }"#).answer();
    let json = r#"{"body":"x","headers":{"a":"b"},"status":404}"#;
    assert_eq!(parts(&answer), (200, Some("application/json"), json.as_bytes()));
}

#[test]
fn status_code_passes_through() {
    for status in [200, 201, 302, 404, 418, 500, 599] {
        let answer = script(&format!("#{{ statusCode: {status}, body: #{{ ok: true }} }}")).answer();
        assert_eq!(parts(&answer), (status, Some("application/json"), &br#"{"ok":true}"#[..]));
    }
}

#[test]
fn a_response_without_body_is_empty() {
    assert_eq!(parts(&script("#{ statusCode: 204 }").answer()), (204, None, &b""[..]));
    assert_eq!(parts(&script("#{ statusCode: 200, body: () }").answer()), (200, None, &b""[..]));
}

#[test]
fn a_string_body_is_sent_as_it_is() {
    let plain = script(r#"#{ statusCode: 200, body: "<p>é" }"#).answer();
    assert_eq!(parts(&plain), (200, Some("text/plain; charset=utf-8"), "<p>é".as_bytes()));
    let html =
        script(r#"#{ statusCode: 200, headers: #{ "Content-Type": "text/html" }, body: "<p>" }"#).answer();
    assert_eq!(parts(&html), (200, Some("text/html"), &b"<p>"[..]));
}

#[test]
fn a_blob_body_is_sent_as_bytes() {
    let blob = script("#{ statusCode: 200, body: blob(2, 255) }").answer();
    assert_eq!(parts(&blob), (200, Some("application/octet-stream"), &[255, 255][..]));
    let png = script(r#"#{ statusCode: 200, headers: #{ "content-type": "image/png" }, body: blob(1, 1) }"#)
        .answer();
    assert_eq!(header(&png, "content-type"), Some("image/png"));
}

#[test]
fn any_other_body_is_json_also_under_a_content_type_of_its_own() {
    let source =
        r#"#{ statusCode: 422, headers: #{ "content-type": "application/problem+json" }, body: [1] }"#;
    assert_eq!(parts(&script(source).answer()), (422, Some("application/problem+json"), &b"[1]"[..]));
}

#[test]
fn headers_may_be_repeated_with_an_array() {
    let answer =
        script(r#"#{ statusCode: 200, headers: #{ "set-cookie": ["a=1", "b=2"], "x-n": 5 } }"#).answer();
    let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    assert_eq!(answer.headers, [pair("set-cookie", "a=1"), pair("set-cookie", "b=2"), pair("x-n", "5")]);
}

#[test]
fn a_status_code_that_is_no_integer_or_out_of_range_is_an_invalid_response() {
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
fn an_uncaught_throw_is_a_script_error_with_its_message_and_place() {
    let failure = script("let x = 1;\n  throw \"no such name\";").failure();
    assert_eq!((failure.kind, failure.message.as_str()), (FailureKind::Script, "no such name"));
    assert_eq!(failure.place.unwrap().to_string(), "main.rhai:2:3");
    assert_eq!(script("throw #{ code: 7 };").failure().message, r#"{"code":7}"#);
}

#[test]
fn a_caught_throw_is_none() {
    assert_eq!(script("try { throw 1 } catch (e) { e + 1 }").text(), "null");
    assert_eq!(script("let x = 0; try { throw 1 } catch (e) { x = e + 1; } x").text(), "2");
}

// ---- the sandbox ----

#[test]
fn import_is_blocked() {
    assert_eq!(fault("import \"other\" as other;"), "`import` is disabled");
}

#[test]
fn print_and_debug_are_disabled() {
    assert_eq!(fault("print(\"x\")"), "`print` is disabled");
    assert_eq!(fault("debug(\"x\")"), "`debug` is disabled");
    assert_eq!(script("let f = Fn(\"pri\" + \"nt\"); f.call(1)").failure().kind, FailureKind::Script);
}

#[test]
fn eval_is_disabled() {
    assert_eq!(fault("eval(\"40 + 2\")"), "`eval` is disabled");
    assert_eq!(script("let f = Fn(\"ev\" + \"al\"); f.call(\"1\")").failure().kind, FailureKind::Script);
}

#[test]
fn log_debug_is_rejected() {
    assert!(fault("log::debug(\"x\")").starts_with("`log::debug` does not exist"));
}

#[test]
fn a_script_cannot_sleep() {
    assert_eq!(fault("sleep(1)"), "`sleep` is disabled");
    assert_eq!(script("let f = Fn(\"sle\" + \"ep\"); f.call(3600)").failure().kind, FailureKind::Script);
}

// ---- JSON keeps its kinds ----

#[test]
fn json_kinds_are_rhai_kinds() {
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
fn of_equal_keys_the_last_counts() {
    assert_eq!(with_json(r#"{"a":1,"a":2}"#, "ctx.request.body.a"), "2");
}

#[test]
fn what_has_no_json_form_is_an_invalid_response() {
    for source in ["|x| x", "[Fn(\"f\")]", "#{ f: || 1 }", "0.0 / 0.0", "[1.0 / 0.0]", "[blob(1)]", "0..3"] {
        assert_eq!(script(source).failure().kind, FailureKind::InvalidResponse, "{source}");
    }
}

#[test]
fn parse_json_and_to_json_follow_the_same_rules() {
    assert_eq!(script(r#"parse_json("[1, 1.0, {\"a\": null}]")"#).text(), r#"[1,1.0,{"a":null}]"#);
    assert_eq!(script(r#"#{ a: [1, 1.0, ()] }.to_json()"#).text(), r#""{\"a\":[1,1.0,null]}""#);
}
