//! `ctx` and `ctx.request`.

use std::net::IpAddr;

use manifest_schema::method::Method;
use manifest_schema::name::JobName;
use runtime::{Origin, ScheduledRun, Scheme, Trigger};

use super::call;

#[test]
fn request_has_its_method_and_its_origin() {
    let origin = Origin {
        scheme: Scheme::Https,
        host: "shop.example.org:8443".to_owned(),
        client: IpAddr::from([192, 0, 2, 7]),
        base: "/shop@next".to_owned(),
    };
    let source = "let r = ctx.request; [r.method, r.scheme, r.host, r.ip, r.base]";
    let call = call(source).with_request(|request| {
        request.method = Method::Delete;
        request.origin = origin;
    });
    assert_eq!(call.text(), r#"["DELETE","https","shop.example.org:8443","192.0.2.7","/shop@next"]"#);
}

#[test]
fn cookies_and_all_values_of_the_query_are_maps() {
    let source = "[ctx.request.cookies, ctx.request.query_all, ctx.request.query]";
    let call = call(source)
        .header("cookie", "a=1; b=2; a=3")
        .with_request(|request| request.query = "x=1&y=2&x=3".to_owned());
    assert_eq!(call.text(), r#"[{"a":"1","b":"2"},{"x":["1","3"],"y":["2"]},{"x":"3","y":"2"}]"#);
}

#[test]
fn bytes_are_the_body_as_it_was_sent() {
    let source = "[ctx.request.bytes.len(), ctx.request.bytes.as_string(), ctx.request.body.a]";
    assert_eq!(call(source).body("application/json", "{ \"a\": 1 }").text(), r#"[10,"{ \"a\": 1 }",1]"#);
    assert_eq!(call("ctx.request.bytes.to_array()").body("image/png", vec![1_u8, 255]).text(), "[1,255]");
    assert_eq!(call("ctx.request.bytes.as_string()").function("{}").text(), "\"{}\"");
    // What is read as bytes only is not parsed.
    assert_eq!(call("ctx.request.bytes.len()").body("application/json", "{").text(), "1");
}

#[test]
fn whole_request_has_its_bytes_if_the_script_names_them() {
    assert!(call("ctx.request").text().starts_with(r#"{"base":"","body":null,"cookies":{},"#));
    assert_eq!(call("\"bytes\" in ctx.request").text(), "true");
    assert_eq!(call("let r = ctx.request; r.bytes.len()").body("text/plain", "abc").text(), "3");
    assert_eq!(call("fn size(r) { r.bytes.len() } size(ctx.request)").body("text/plain", "abc").text(), "3");
}

#[test]
fn context_names_the_app_and_its_commit() {
    let call = call("[ctx.app, ctx.branch, ctx.commit, ctx.schedule]");
    let revision = call.revision().on_branch("main");
    let response = call.run_on(&revision).execution.outcome.unwrap();
    let expected = format!("[\"hello\",\"main\",\"{}\",null]", "a".repeat(40));
    assert_eq!(String::from_utf8_lossy(&response.body), expected);
}

#[test]
fn schedule_is_described() {
    let run = ScheduledRun {
        name: JobName::new("tick").unwrap(),
        due_at_ms: 1_767_225_600_000,
        last_success_ms: Some(1_767_225_540_000),
        missed: 3,
    };
    let call = super::Call { trigger: Trigger::Scheduled(run.clone()), ..call("ctx.schedule") };
    assert_eq!(call.text(), r#"{"due":1767225600000,"last_success":1767225540000,"missed":3,"name":"tick"}"#);
    let first = ScheduledRun { last_success_ms: None, missed: 0, ..run };
    let call = super::Call { trigger: Trigger::Scheduled(first), ..call };
    assert_eq!(call.text(), r#"{"due":1767225600000,"last_success":null,"missed":0,"name":"tick"}"#);
}

#[test]
fn request_of_other_triggers_is_empty() {
    let source = "let r = ctx.request; [r.method, r.scheme, r.host, r.ip, r.base, r.cookies, r.query_all]";
    for call in [call(source).function("null"), call(source).scheduled()] {
        assert_eq!(call.text(), r#"["","","","","",{},{}]"#);
    }
    assert_eq!(call("ctx.request.bytes.len()").scheduled().text(), "0");
}
