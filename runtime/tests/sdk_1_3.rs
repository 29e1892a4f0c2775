//! The additions of SDK 1.3 as script authors see them. A draft until PiCloud 0.1.0 is released: until then this file
//! can change.
//!
//! - here: `ctx.env` and `ctx.secrets`, which know the names that the manifest declares
//! - the other modules: the rest of `ctx`, and the functions of the module of that name

#![expect(clippy::unwrap_used, reason = "a test that cannot be set up has failed")]

#[path = "sdk_1_3/base64.rs"]
mod base64;
#[path = "sdk_1_3/checks.rs"]
mod checks;
#[path = "sdk_1_3/cookie.rs"]
mod cookie;
#[path = "sdk_1_3/crypto/mod.rs"]
mod crypto;
#[path = "sdk_1_3/csv.rs"]
mod csv;
#[path = "sdk_1_3/feed.rs"]
mod feed;
#[path = "sdk_1_3/form.rs"]
mod form;
#[path = "sdk_1_3/functions.rs"]
mod functions;
#[path = "sdk_1_3/hex.rs"]
mod hex;
#[path = "sdk_1_3/html.rs"]
mod html;
#[path = "sdk_1_3/imports.rs"]
mod imports;
#[path = "sdk_1_3/kv.rs"]
mod kv;
#[path = "sdk_1_3/markdown.rs"]
mod markdown;
#[path = "sdk_1_3/random.rs"]
mod random;
#[path = "sdk_1_3/regex.rs"]
mod regex;
#[path = "sdk_1_3/request.rs"]
mod request;
#[path = "sdk_1_3/response.rs"]
mod response;
mod support;
#[path = "sdk_1_3/time.rs"]
mod time;
#[path = "sdk_1_3/url.rs"]
mod url;
#[path = "sdk_1_3/values.rs"]
mod values;
#[path = "sdk_1_3/webhook.rs"]
mod webhook;

use manifest_schema::sdk::SdkVersion;
use runtime::{CountingAllocator, FailureKind, callable_functions};
use support::{Call, script};

#[global_allocator]
static ALLOCATOR: CountingAllocator = CountingAllocator;

fn call(source: &str) -> Call {
    Call {
        sdk: SdkVersion::V1_3,
        env: vec![("GREETING", "Hello"), ("EMPTY", "")],
        secrets: vec![("API_KEY", "tangerine"), ("PIN", "1234")],
        ..script(source)
    }
}

/// The message of a script whose check by a push is left out, so that it fails when it runs.
fn fails(source: &str) -> String {
    let failure = call(source).stored().failure();
    assert_eq!(failure.kind, FailureKind::Script);
    failure.message
}

#[test]
fn ctx_sdk_version_is_1_3() {
    assert_eq!(call("ctx.sdk_version").text(), "\"1.3\"");
}

#[test]
fn declared_names_are_strings() {
    assert_eq!(call("ctx.env.GREETING + `, ${ctx.env[\"EMPTY\"]}!`").text(), "\"Hello, !\"");
    assert_eq!(call("ctx.secrets.API_KEY == \"tanger\" + \"ine\"").text(), "true");
    assert_eq!(call("let secrets = ctx.secrets; secrets.get(\"PIN\")").text(), "\"1234\"");
    assert_eq!(call("fn key() { ctx.secrets.API_KEY } key().len()").text(), "9");
    assert_eq!(call("let f = |name| ctx.env[name]; f.call(\"GREETING\")").text(), "\"Hello\"");
    assert_eq!(call("ctx?.env?.GREETING.to_upper()").text(), "\"HELLO\"");
}

#[test]
fn undeclared_name_is_an_error() {
    assert_eq!(fails("ctx.secrets.TOKEN"), "the manifest declares no secret `TOKEN` in [secrets]");
    assert_eq!(
        fails("let key = \"API_KY\"; ctx.secrets[key]"),
        "the manifest declares no secret `API_KY` in [secrets]; did you mean `API_KEY`?"
    );
    assert_eq!(fails("ctx.env.get(\"NOPE\")"), "the manifest declares no setting `NOPE` in [env]");
    assert_eq!(
        fails("let copy = ctx.secrets; copy.TOKEN"),
        "the manifest declares no secret `TOKEN` in [secrets]"
    );
    assert_eq!(call("try { ctx.env.NOPE } catch (error) { \"caught\" }").text(), "null");
    let place = call("\n  ctx.secrets.TOKEN").failure().location.unwrap();
    assert_eq!(place.line, 2);
    // An authorization check that an undeclared secret would disable.
    let check =
        "if ctx.request.headers.authorization != ctx.secrets.TOKEN { return #{ statusCode: 401 }; } \"in\"";
    assert_eq!(fails(check), "the manifest declares no secret `TOKEN` in [secrets]");
}

#[test]
fn declared_secret_without_value_is_unit() {
    let call = call("[ctx.secrets.API_KEY, \"API_KEY\" in ctx.secrets, ctx.secrets.len()]");
    let revision = call.revision().with_secrets(&runtime::Secrets::default());
    let response = call.run_on(&revision).execution.outcome.unwrap();
    assert_eq!(&response.body[..], b"[null,false,2]");
}

#[test]
fn names_can_be_tested_and_listed() {
    assert_eq!(
        call("[\"PIN\" in ctx.secrets, ctx.secrets.contains(\"NOPE\"), \"GREETING\" in ctx.env]").text(),
        "[true,false,true]"
    );
    assert_eq!(
        call("[ctx.env.keys(), ctx.secrets.keys()]").text(),
        r#"[["EMPTY","GREETING"],["API_KEY","PIN"]]"#
    );
    assert_eq!(call("[ctx.env.len(), ctx.secrets.is_empty()]").text(), "[2,false]");
    assert_eq!(call("let n = 0; for name in ctx.env.keys() { n += ctx.env[name].len(); } n").text(), "5");
    let bare =
        Call { env: Vec::new(), secrets: Vec::new(), ..call("[ctx.env.is_empty(), ctx.secrets.keys()]") };
    assert_eq!(bare.text(), "[true,[]]");
}

#[test]
fn settings_are_written_as_an_object() {
    assert_eq!(call("ctx.env").text(), r#"{"EMPTY":"","GREETING":"Hello"}"#);
    assert_eq!(
        call("[ctx.env.to_json(), ctx.env.values()]").text(),
        r#"["{\"EMPTY\":\"\",\"GREETING\":\"Hello\"}",["","Hello"]]"#
    );
}

#[test]
fn secrets_cannot_be_written_as_a_whole() {
    let refused = "`ctx.secrets` cannot be written as a whole; read its secrets by name";
    for source in [
        "let all = [ctx.secrets][0]; all.to_json()",
        "let all = [ctx.secrets][0]; all.values()",
        "log::info(\"all\", #{ secrets: ctx.secrets })",
    ] {
        assert!(fails(source).contains(refused), "{source}");
    }
    for source in ["ctx.secrets", "[ctx]", "#{ statusCode: 200, body: ctx.secrets }"] {
        let failure = call(source).failure();
        assert_eq!(
            (failure.kind, failure.message.as_str()),
            (FailureKind::InvalidResponse, refused),
            "{source}"
        );
    }
    for source in [
        "`${ctx.secrets}`",
        "ctx.secrets.to_string()",
        "\"\" + ctx.secrets",
        "[ctx.secrets].to_string()",
        "ctx.secrets.to_debug()",
    ] {
        let shown = call(source).text();
        assert!(shown.contains("secrets(API_KEY, PIN)") && !shown.contains("tangerine"), "{source}: {shown}");
    }
}

#[test]
fn env_and_secrets_are_read_only() {
    for source in [
        "let e = ctx.env; e.GREETING = \"x\"",
        "let s = ctx.secrets; s[\"PIN\"] = \"x\"",
        "let s = ctx.secrets; s.NEW = 1",
    ] {
        assert_eq!(fails(source), "settings and secrets are read-only", "{source}");
    }
    assert!(fails("let e = ctx.env; e.remove(\"GREETING\")").contains("remove"));
}

#[test]
fn env_and_secrets_exist_for_every_trigger() {
    let source = "ctx.env.GREETING.len() + ctx.secrets.PIN.len()";
    assert_eq!(call(source).function("null").text(), "9");
    assert_eq!(call(source).scheduled().text(), "9");
}

#[test]
fn log_line_redacts_secrets() {
    let log = call("log::info(`key ${ctx.secrets.API_KEY}`, #{ pin: ctx.secrets.PIN })").run().log;
    assert_eq!(log[0].message, "key [secret API_KEY]");
    assert_eq!(log[0].data.as_deref(), Some(r#"{"pin":"[secret PIN]"}"#));
}

#[test]
fn older_versions_do_not_see_functions_of_1_3() {
    let older: Vec<_> = callable_functions(SdkVersion::V1_2).collect();
    assert!(older.iter().all(|(name, _)| !name.contains("::") || name.starts_with("log::")));
    let added = callable_functions(SdkVersion::V1_3).filter(|(name, _)| !name.contains("::"));
    let added: Vec<_> = added.filter(|native| !older.contains(native)).map(|(name, _)| name).collect();
    assert_eq!(
        added,
        ["first", "format_number", "join", "last", "lines", "repeat", "replaced", "sum", "trimmed"]
    );
    assert!(callable_functions(SdkVersion::V1_3).any(|(name, _)| name == "time::now"));
}

#[test]
fn arguments_of_the_wrong_kind_are_named() {
    for (source, message) in [
        ("let n = \"1\"; random::int(n, 6)", "random::int: `low` must be an integer, not a string"),
        ("let n = 1.5; random::token(n)", "random::token: `length` must be an integer, not a float"),
        ("let x = [1]; base64::encode(x)", "base64::encode: `data` must be a string or a blob, not an array"),
        ("let x = (); cookie::make(\"a\", x)", "cookie::make: `value` must be a string, not nothing"),
    ] {
        assert_eq!(fails(source), message, "{source}");
    }
}

#[test]
fn arguments_are_not_changed_and_can_be_constants() {
    assert_eq!(call("const A = [1, 2, 3]; random::shuffle(A); A").text(), "[1,2,3]");
    assert_eq!(
        call("let a = [3, 1, 2]; let b = random::shuffle(a); b.sort(); [a, b]").text(),
        "[[3,1,2],[1,2,3]]"
    );
    assert_eq!(
        call("let text = \"é\"; let f = || hex::encode(text); [f.call(), text]").text(),
        r#"["c3a9","é"]"#
    );
}
