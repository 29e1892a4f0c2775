//! Tests for the existence of functions, variables and newer properties.

use manifest_schema::sdk::SdkVersion;

use super::support::{Call, script};

#[test]
fn tested_functions_need_not_exist() {
    for (source, json) in [
        ("if is_def_fn(\"f\", 1) { f(1) } else { \"none\" }", "\"none\""),
        ("fn f(x) { x + 1 } if is_def_fn(\"f\", 1) { f(1) } else { \"none\" }", "2"),
        ("fn f(x) { x + 1 } if is_def_fn(\"f\", 2) { 3 } else { \"none\" }", "\"none\""),
        ("let x = 1; if is_def_fn(\"f\", 0) { x.f() } else { \"none\" }", "\"none\""),
        ("fn g() { if is_def_fn(\"f\", 0) { f() } else { 5 } } g()", "5"),
        ("if is_def_fn(\"f\", 0) { [1].map(Fn(\"f\")) } else { 5 }", "5"),
        ("if is_def_var(\"x\") { x } else { 5 }", "5"),
        ("let x = 7; if is_def_var(\"x\") { x } else { 5 }", "7"),
    ] {
        for sdk in SdkVersion::ALL {
            assert_eq!(Call { sdk, ..script(source) }.text(), json, "{sdk:?} {source}");
        }
    }
}

#[test]
fn newer_properties_can_be_read_after_a_version_check() {
    let checked = "
        let parts = ctx.sdk_version.split(\".\").map(|part| part.parse_int());
        if parts[1] >= 2 { ctx.env.GREETING } else if parts[1] >= 1 { [ctx.request.rest] } else { \"old\" }
    ";
    let run = |sdk: SdkVersion| Call { sdk, env: vec![("GREETING", "Hello")], ..script(checked) }.text();
    assert_eq!(run(SdkVersion::V1_0), "\"old\"");
    assert_eq!(run(SdkVersion::V1_1), "[null]");
    assert_eq!(run(SdkVersion::V1_2), "\"Hello\"");
    assert_eq!(run(SdkVersion::V1_3), "\"Hello\"");
    // Without the check it reads as `()`.
    let read = "[ctx.sdk_version, ctx.request.rest, ctx.env]";
    assert_eq!(Call { sdk: SdkVersion::V1_0, ..script(read) }.text(), "[\"1.0\",null,null]");
}
