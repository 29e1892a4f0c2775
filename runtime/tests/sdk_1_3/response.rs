use runtime::Origin;

use super::{Call, call, fails};

fn below(source: &str, base: &str) -> Call {
    let origin = Origin { base: base.to_owned(), ..Origin::default() };
    call(source).with_request(|request| request.origin = origin)
}

/// Status, headers and body.
fn sent(call: &Call) -> (u16, String, String) {
    let response = call.response();
    let headers: Vec<_> = response.headers.iter().map(|(name, value)| format!("{name}: {value}")).collect();
    (response.status, headers.join("\n"), String::from_utf8_lossy(&response.body).into_owned())
}

#[test]
fn bodies_have_their_content_type() {
    for (source, status, content_type, body) in [
        ("html(\"<p>ü\")", 200, "text/html; charset=utf-8", "<p>ü"),
        ("html(\"gone\", 410)", 410, "text/html; charset=utf-8", "gone"),
        ("text(\"a\")", 200, "text/plain; charset=utf-8", "a"),
        ("text(\"a\", 201)", 201, "text/plain; charset=utf-8", "a"),
        ("json(#{ b: 1, a: [()] })", 200, "application/json", r#"{"a":[null],"b":1}"#),
        ("json(\"a\", 202)", 202, "application/json", "\"a\""),
        ("json(())", 200, "application/json", "null"),
        ("error(\"no \\\"such\\\" user\", 404)", 404, "application/json", r#"{"error":"no \"such\" user"}"#),
    ] {
        let expected = (status, format!("content-type: {content_type}"), body.to_owned());
        assert_eq!(sent(&call(&format!("response::{source}"))), expected, "{source}");
    }
}

#[test]
fn responses_are_maps_that_can_be_changed() {
    let source =
        "let r = response::html(\"a\"); r.headers[\"cache-control\"] = \"no-store\"; r.statusCode = 203; r";
    let (status, headers, _) = sent(&call(source));
    assert_eq!(
        (status, headers.as_str()),
        (203, "cache-control: no-store\ncontent-type: text/html; charset=utf-8")
    );
}

#[test]
fn redirects_stay_within_the_app() {
    for (to, location) in [
        ("/", "/shop/"),
        ("/a?b=c#d", "/shop/a?b=c#d"),
        ("/a b/ü", "/shop/a%20b/%C3%BC"),
        ("/../../other/", "/shop/other/"),
        ("/a/%2e%2e/%2e%2e/b", "/shop/b"),
        ("/a//b", "/shop/a//b"),
        ("?page=2", "?page=2"),
        ("#top", "#top"),
        ("https://example.org", "https://example.org/"),
        ("http://example.org:8080/a?b", "http://example.org:8080/a?b"),
        ("mailto:a@example.org", "mailto:a@example.org"),
    ] {
        let expected = (303, format!("location: {location}"), String::new());
        assert_eq!(sent(&below(&format!("response::redirect(\"{to}\")"), "/shop")), expected, "{to}");
    }
    assert_eq!(sent(&call("response::redirect(\"/a\", 308)")), (308, "location: /a".into(), String::new()));
    assert_eq!(call("response::redirect(\"/a\").headers.location").function("null").text(), "\"/a\"");
}

#[test]
fn redirects_that_surprise_are_refused() {
    for to in [
        "//evil.example",
        "/\\\\evil.example",
        "/.//evil.example",
        "/a/..//evil.example",
        "/./\\\\evil.example",
    ] {
        let message = fails(&format!("response::redirect(\"{to}\")"));
        assert!(message.starts_with("response::redirect: `to` leads to another host: \""), "{to}: {message}");
        assert!(message.ends_with("begin it with one / for a path of the app, or write out its scheme"));
    }
    for to in ["/a\\r\\nset-cookie: a=b", "/\\t/evil.example", "https://a\\n.example"] {
        assert_eq!(
            fails(&format!("response::redirect(\"{to}\")")),
            "response::redirect: `to` contains a control character",
            "{to}"
        );
    }
    for to in [
        "",
        "a",
        "evil.example",
        " //evil.example",
        "\\\\\\\\evil.example",
        "javascript:alert(1)",
        "https://",
    ] {
        let message = fails(&format!("response::redirect(\"{to}\")"));
        assert!(
            message.starts_with("response::redirect: `to` must be a path that begins with / or a URL such as https://example.org/, not \""),
            "{to}: {message}"
        );
    }
    assert_eq!(
        fails("let to = \"/\"; to.pad(8193, 'a'); response::redirect(to)"),
        "response::redirect: `to` is longer than 8192 bytes"
    );
}

#[test]
fn statuses_are_checked() {
    for (source, message) in [
        ("html(\"\", 199)", "response::html: `status` must be between 200 and 599, not 199"),
        ("json(1, 600)", "response::json: `status` must be between 200 and 599, not 600"),
        ("error(\"\", 200)", "response::error: `status` must be between 400 and 599, not 200"),
        ("redirect(\"/\", 200)", "response::redirect: `status` must be 301, 302, 303, 307 or 308, not 200"),
        ("json(0.0 / 0.0)", "response::json: the number NaN cannot be converted to JSON"),
        (
            "json(ctx.secrets)",
            "response::json: `ctx.secrets` cannot be written as a whole; read its secrets by name",
        ),
    ] {
        assert_eq!(fails(&format!("response::{source}")), message, "{source}");
    }
}

#[test]
fn files_are_saved_under_their_name() {
    for (name, disposition) in [
        ("report.pdf", "attachment; filename=\"report.pdf\""),
        ("a b.txt", "attachment; filename=\"a b.txt\""),
        (
            "Übersicht 1.pdf",
            "attachment; filename=\"_bersicht 1.pdf\"; filename*=UTF-8''%C3%9Cbersicht%201.pdf",
        ),
        ("a\\\"; x=\\\"b", "attachment; filename=\"a_; x=_b\"; filename*=UTF-8''a%22%3B%20x%3D%22b"),
        ("../../etc/passwd", "attachment; filename=\"passwd\""),
        ("C:\\\\temp\\\\a.txt", "attachment; filename=\"a.txt\""),
        ("100%.txt", "attachment; filename=\"100_.txt\"; filename*=UTF-8''100%25.txt"),
    ] {
        let source = format!("response::file(\"{name}\", \"application/pdf\", \"data\")");
        let headers = format!("content-disposition: {disposition}\ncontent-type: application/pdf");
        assert_eq!(sent(&call(&source)), (200, headers, "data".into()), "{name}");
    }
    assert_eq!(
        call("response::file(\"a\", \"text/csv; charset=utf-8\", blob(3, 65))").response().body,
        "AAA"
    );
    for name in ["", "a/", "..", "a\\r\\nb", "\\x01"] {
        let message = fails(&format!("response::file(\"{name}\", \"a/b\", \"\")"));
        assert!(
            message.starts_with("response::file: `name` must be a file name of at most 255 bytes"),
            "{name}"
        );
    }
    for content_type in ["", "pdf", "a/b\\r\\nx: y", "/", "a b/c", "a/b; x=ü"] {
        let message = fails(&format!("response::file(\"a\", \"{content_type}\", \"\")"));
        assert!(
            message
                .starts_with("response::file: `content_type` must be a type such as application/pdf, not \""),
            "{content_type}"
        );
    }
}
