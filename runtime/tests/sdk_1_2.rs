//! The additions of SDK 1.2 as script authors see them: `ctx.env` and `ctx.secrets`.
//!
//! As in `sdk_contract.rs`, every test here is a promise. A changed or removed test is a version bump; an added one
//! pins behavior that 1.2 always had, or comes with a later version in its own file.

mod support;

use manifest_schema::name::ScriptPath;
use manifest_schema::sdk::SdkVersion;
use runtime::{CountingAllocator, callable_functions, compile};
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
fn undeclared_setting_is_unit() {
    assert_eq!(call("ctx.env.NOPE == () && ctx.secrets.NOPE == ()").text(), "true");
}

#[test]
fn secrets_are_strings_in_ctx_secrets() {
    assert_eq!(call("ctx.secrets.API_KEY == \"tanger\" + \"ine\"").text(), "true");
    assert_eq!(call("ctx.secrets.keys()").text(), r#"["API_KEY","PIN"]"#);
    assert_eq!(call("fn key() { ctx.secrets.API_KEY } key().len()").text(), "9");
}

#[test]
fn env_and_secrets_exist_for_every_trigger() {
    let source = "ctx.env.GREETING.len() + ctx.secrets.PIN.len()";
    assert_eq!(call(source).function("null").text(), "9");
    assert_eq!(call(source).scheduled().text(), "9");
}

#[test]
fn env_and_secrets_are_empty_maps_without_declarations() {
    let bare = Call { env: Vec::new(), secrets: Vec::new(), ..call("[ctx.env, ctx.secrets]") };
    assert_eq!(bare.text(), "[{},{}]");
}

#[test]
fn log_line_redacts_secrets() {
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
fn failure_redacts_secrets() {
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
            let message = &diagnostics.iter().next().unwrap().message;
            assert_eq!(message, &format!("`ctx.{property}` requires sdk 1.2, the manifest has {sdk}"));
        }
        let whole = Call { sdk, ..call("ctx.keys()") };
        assert!(!whole.text().contains("env") && !whole.text().contains("secrets"));
    }
    assert!(call("ctx.keys()").text().contains(r#""env""#));
}

#[test]
fn version_adds_no_function() {
    assert!(callable_functions(SdkVersion::V1_2).eq(callable_functions(SdkVersion::V1_1)));
}
