//! What a script asks for before it uses it: functions, variables, and what a version of the SDK has.

use manifest_schema::sdk::SdkVersion;

use super::support::{Call, script};

#[test]
fn function_that_is_asked_for_need_not_be_there() {
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
fn what_a_later_version_has_can_be_read_where_the_version_is_asked_for() {
    let guarded = "
        let parts = ctx.sdk_version.split(\".\").map(|part| part.parse_int());
        if parts[1] >= 2 { ctx.env.GREETING } else if parts[1] >= 1 { [ctx.request.rest] } else { \"old\" }
    ";
    let run = |sdk: SdkVersion| Call { sdk, env: vec![("GREETING", "Hello")], ..script(guarded) }.text();
    assert_eq!(run(SdkVersion::V1_0), "\"old\"");
    assert_eq!(run(SdkVersion::V1_1), "[null]");
    assert_eq!(run(SdkVersion::V1_2), "\"Hello\"");
    assert_eq!(run(SdkVersion::V1_3), "\"Hello\"");
    // Where it is read all the same, there is nothing.
    let read = "[ctx.sdk_version, ctx.request.rest, ctx.env]";
    assert_eq!(Call { sdk: SdkVersion::V1_0, ..script(read) }.text(), "[\"1.0\",null,null]");
}
