//! `[[checks]]`.

use std::collections::BTreeSet;

use manifest_schema::limits::Ceiling;
use manifest_schema::manifest::{CHECKS_MAX, Check, Expect, Manifest};
use manifest_schema::method::Method;
use manifest_schema::name::JobName;
use manifest_schema::parse::{ParseContext, check_span, parse};
use serde_json::json;

use super::diagnostics::errors;

const SDK: &str = "sdk = \"1.3\"\n";

fn read(text: &str) -> Manifest {
    let scripts = BTreeSet::from(["a.rhai".to_owned()]);
    let context = ParseContext::new(&Ceiling::DEFAULT, &scripts);
    parse(text.as_bytes(), context).expect("a valid manifest").manifest
}

/// A manifest with a check in lines 2 to 4, which ends with this line.
fn check(line: &str) -> String {
    format!("{SDK}[[checks]]\nname = \"a\"\n{line}\n")
}

#[test]
fn check_has_a_request_and_an_expected_answer() {
    let text = format!(
        "{SDK}[secrets]\nrequired = [\"KEY\"]\n\
         [[checks]]\nname = \"health\"\nrequest = \"GET /\"\n\
         [[checks]]\nname = \"order\"\nrequest = \"POST /orders?dry=1\"\nheaders = {{ X-Key = \"1\" }}\n\
         body = {{ id = 7, at = 1.5, tags = [\"a\", true] }}\nsecrets = {{ KEY = \"tangerine\" }}\n\
         expect = {{ status = 201, headers = {{ Location = \"/orders/7\" }}, json = {{ id = 7 }}, contains = \"7\" }}\n"
    );
    let checks = read(&text).checks;
    let [health, order]: [Check; 2] = checks.try_into().unwrap();
    assert_eq!((health.request.to_string(), health.expect), ("GET /".to_owned(), Expect::default()));
    assert_eq!((order.request.method, order.request.target.as_str()), (Method::Post, "/orders?dry=1"));
    assert_eq!(order.headers.into_iter().collect::<Vec<_>>(), [("x-key".to_owned(), "1".to_owned())]);
    assert_eq!(order.body, Some(json!({"id": 7, "at": 1.5, "tags": ["a", true]})));
    assert_eq!(order.secrets.values().collect::<Vec<_>>(), ["tangerine"]);
    assert_eq!(order.expect.headers["location"], "/orders/7");
    assert_eq!((order.expect.status, order.expect.json), (201, Some(json!({"id": 7}))));
    let span = check_span(text.as_bytes(), &JobName::new("order").unwrap()).unwrap();
    assert_eq!((span.line, span.column), (9, 11));
}

#[test]
fn wrong_checks_are_reported_at_their_place() {
    for (line, expected) in [
        ("", "2:1 [[checks]] has no `request`"),
        ("request = \"get /\"", "4:11 `get /` is not a method and a path | write `\"GET /\"`"),
        ("request = \"/a\"", "4:11 `/a` is not a method and a path | write `\"GET /a\"`"),
        (
            "request = \"GET https://x.example/a\"",
            "4:11 `GET https://x.example/a` is not a method and a path | write `\"GET /a\"`",
        ),
        (
            "request = \"FETCH /\"",
            "4:11 `FETCH /` is not a method and a path | expected one of GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS",
        ),
        (
            "request = \"GET /a b\"",
            "4:11 `GET /a b` is not a method and a path | write a method and a path, such as `\"GET /\"`; encode other \
             characters as `%20`",
        ),
        ("request = \"GET /\"\nexpect = { status = 101 }", "5:21 `status` must be between 200 and 599"),
        ("request = \"GET /\"\nexpect = { jsn = 1 }", "5:12 unknown key `jsn` | did you mean `json`?"),
        (
            "request = \"GET /\"\nexpect = { json = 2026-12-01 }",
            "5:19 JSON has no dates | write `\"2026-12-01\"`",
        ),
        ("request = \"GET /\"\nbody = [1, nan]", "5:12 `nan` is no number of JSON"),
        ("request = \"GET /\"\nheaders = { \"a b\" = \"1\" }", "5:13 `a b` is not the name of a header"),
        (
            "request = \"GET /\"\nheaders = { a = \"1\\n2\" }",
            "5:17 the value of header `a` has control characters",
        ),
        (
            "request = \"GET /\"\nsecrets = { KEY = \"1\" }",
            "5:13 the manifest declares no secret `KEY` | add it to `required` of [secrets]",
        ),
        ("request = \"GET /\"\nhttp = {}", "5:1 `http` is not yet supported by this server"),
    ] {
        assert_eq!(errors(&check(line)), [expected], "{line}");
    }
    let twice = format!("{}[[checks]]\nname = \"a\"\nrequest = \"GET /\"\n", check("request = \"GET /\""));
    assert_eq!(errors(&twice), ["6:8 check `a` is already declared in line 3"]);
    assert_eq!(
        errors(&check("request = \"GET /\"").replace("1.3", "1.2")),
        ["2:3 `checks` requires sdk 1.3, this manifest has 1.2 | set `sdk = \"1.3\"`"]
    );
    let many: String =
        (0..=CHECKS_MAX).map(|n| format!("[[checks]]\nname = \"c{n}\"\nrequest = \"GET /\"\n")).collect();
    assert_eq!(
        errors(&format!("{SDK}{many}")),
        ["2:1 `checks` has 101 entries, more than 100 | test the rest with  picloud test"]
    );
}
