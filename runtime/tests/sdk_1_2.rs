//! What SDK 1.2 adds, as the author of a script sees it: `ctx.env` and `ctx.secrets`.
//!
//! A rule as in `sdk_contract.rs`: what stands here once it has landed is a promise. A test that is changed or taken away is a
//! version bump; what is added here belongs to 1.2 and was always so, or comes with a later version and a file of its own.

mod support;

use manifest_schema::name::ScriptPath;
use manifest_schema::sdk::SdkVersion;
use runtime::{CountingAllocator, compile, functions};
use support::{Call, script};

#[global_allocator]
static ALLOCATOR: CountingAllocator = CountingAllocator;

fn call(source: &str) -> Call {
    Call {
        sdk: SdkVersion::V1_2,
        env: vec![("GREETING", "Hello"), ("EMPTY", "")],
        secrets: vec![("API_KEY", "tangerine"), ("PIN", "1234")],
        ..script(source)
    }
}

#[test]
fn ctx_sdk_version_is_1_2() {
    assert_eq!(call("ctx.sdk_version").text(), "\"1.2\"");
}

#[test]
fn settings_are_strings_in_ctx_env() {
    assert_eq!(call("ctx.env.GREETING + `, ${ctx.env[\"EMPTY\"]}!`").text(), "\"Hello, !\"");
    assert_eq!(call("ctx.env").text(), r#"{"EMPTY":"","GREETING":"Hello"}"#);
    assert_eq!(call("type_of(ctx.env.GREETING)").text(), "\"string\"");
}

#[test]
fn a_setting_that_is_not_declared_is_nothing() {
    assert_eq!(call("ctx.env.NOPE == () && ctx.secrets.NOPE == ()").text(), "true");
}

#[test]
fn secrets_are_strings_in_ctx_secrets() {
    assert_eq!(call("ctx.secrets.API_KEY == \"tanger\" + \"ine\"").text(), "true");
    assert_eq!(call("ctx.secrets.keys()").text(), r#"["API_KEY","PIN"]"#);
    assert_eq!(call("fn key() { ctx.secrets.API_KEY } key().len()").text(), "9");
}

#[test]
fn both_are_there_whatever_started_the_script() {
    let source = "ctx.env.GREETING.len() + ctx.secrets.PIN.len()";
    assert_eq!(call(source).function("null").text(), "9");
    assert_eq!(call(source).scheduled().text(), "9");
}

#[test]
fn both_are_maps_without_entries_where_nothing_is_declared() {
    let bare = Call { env: Vec::new(), secrets: Vec::new(), ..call("[ctx.env, ctx.secrets]") };
    assert_eq!(bare.text(), "[{},{}]");
}

#[test]
fn a_log_line_shows_a_secret_by_its_name() {
    let log = call(
        "log::info(`key ${ctx.secrets.API_KEY}`, #{ pin: ctx.secrets.PIN, all: [ctx.secrets] }); log::warn(ctx.secrets.API_KEY)",
    )
    .run()
    .log;
    assert_eq!(log[0].message, "key [secret API_KEY]");
    let data = r#"{"all":[{"API_KEY":"[secret API_KEY]","PIN":"[secret PIN]"}],"pin":"[secret PIN]"}"#;
    assert_eq!(log[0].data.as_deref(), Some(data));
    assert_eq!(log[1].message, "[secret API_KEY]");
}

#[test]
fn a_failure_shows_a_secret_by_its_name() {
    let thrown = call("throw `no ${ctx.secrets.API_KEY}`").failure();
    assert_eq!(thrown.message, "no [secret API_KEY]");
    let cut = call("let s = \"\"; s.pad(4090, 'x'); throw s + ctx.secrets.API_KEY").failure();
    assert!(!cut.message.contains("tang"), "{}", cut.message);
    let refused = call("parse_int(ctx.secrets.API_KEY)").failure();
    assert!(!refused.message.contains("tangerine"), "{}", refused.message);
}

#[test]
fn scripts_of_older_versions_see_neither() {
    for sdk in [SdkVersion::V1_0, SdkVersion::V1_1] {
        for (source, property) in [("ctx.env.A", "env"), ("ctx.secrets.A", "secrets")] {
            let path = ScriptPath::new("main.rhai").unwrap();
            let diagnostics = compile(sdk, &path, source).unwrap_err();
            let told = &diagnostics.iter().next().unwrap().message;
            assert_eq!(told, &format!("`ctx.{property}` requires sdk 1.2, this manifest has {sdk}"));
        }
        let whole = Call { sdk, ..call("ctx.keys()") };
        assert!(!whole.text().contains("env") && !whole.text().contains("secrets"));
    }
    assert!(call("ctx.keys()").text().contains(r#""env""#));
}

#[test]
fn it_adds_no_function() {
    assert!(functions(SdkVersion::V1_2).eq(functions(SdkVersion::V1_1)));
}
