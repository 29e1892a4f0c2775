//! `ctx.request.form`, `form_all` and `files`.

use runtime::FailureKind;

use super::{Call, call};

const URL_ENCODED: &str = "application/x-www-form-urlencoded";
const MULTIPART: &str = "multipart/form-data; boundary=----WebKitFormBoundaryABC";

/// What a browser sends for two text fields and a file.
const BROWSER: &[u8] = b"------WebKitFormBoundaryABC\r\n\
    Content-Disposition: form-data; name=\"title\"\r\n\r\n\
    Gr\xc3\xbc\xc3\x9fe\r\n\
    ------WebKitFormBoundaryABC\r\n\
    Content-Disposition: form-data; name=\"tag\"\r\n\r\na\r\n\
    ------WebKitFormBoundaryABC\r\n\
    Content-Disposition: form-data; name=\"tag\"\r\n\r\nb\r\n\
    ------WebKitFormBoundaryABC\r\n\
    Content-Disposition: form-data; name=\"photo\"; filename=\"me \xc3\xa9.png\"\r\n\
    Content-Type: image/png\r\n\r\n\x89PNG\r\n\x00\r\n\
    ------WebKitFormBoundaryABC--\r\n";

const ALL: &str = "let r = ctx.request; [r.form, r.form_all, r.files]";

fn invalid(call: &Call) -> String {
    let failure = call.failure();
    assert_eq!((failure.kind, failure.location), (FailureKind::InvalidForm, None));
    failure.message
}

#[test]
fn url_encoded_form_is_read() {
    let call = call(ALL).body(URL_ENCODED, "name=Ada+L.&tag=a&tag=b%26c&empty=");
    assert_eq!(
        call.text(),
        r#"[{"empty":"","name":"Ada L.","tag":"b&c"},{"empty":[""],"name":["Ada L."],"tag":["a","b&c"]},[]]"#
    );
}

#[test]
fn multipart_form_is_read() {
    let source = "let r = ctx.request;
        let file = r.files[0];
        [r.form, r.form_all.tag, r.files.len(), file.field, file.name, file.content_type, file.data.len(), file.data[0]]";
    let call = call(source).body(MULTIPART, BROWSER);
    assert_eq!(
        call.text(),
        r#"[{"tag":"b","title":"Grüße"},["a","b"],1,"photo","me é.png","image/png",7,137]"#
    );
}

#[test]
fn content_type_is_read_in_any_case_and_with_parameters() {
    for content_type in
        ["Application/X-WWW-Form-Urlencoded; charset=UTF-8", " application/x-www-form-urlencoded ;"]
    {
        assert_eq!(call("ctx.request.form.a").body(content_type, "a=1").text(), "\"1\"", "{content_type}");
    }
}

#[test]
fn body_of_another_type_is_an_empty_form() {
    for (content_type, body) in [
        ("application/json", "{}"),
        ("text/plain", "a=1"),
        ("multipart/mixed", "x"),
        (URL_ENCODED, ""),
        (MULTIPART, ""),
    ] {
        assert_eq!(call(ALL).body(content_type, body).text(), "[{},{},[]]", "{content_type}");
    }
    assert_eq!(call(ALL).text(), "[{},{},[]]");
    assert_eq!(call(ALL).function("{\"a\":1}").text(), "[{},{},[]]");
    assert_eq!(call(ALL).scheduled().text(), "[{},{},[]]");
}

#[test]
fn malformed_form_is_an_error_of_the_client() {
    let read =
        |content_type, body: &'static [u8]| invalid(&call("ctx.request.form").body(content_type, body));
    let prefix = "the body is not a valid form: ";
    for (content_type, body, message) in [
        (URL_ENCODED, &b"a=100%"[..], "`%` is not followed by two hexadecimal digits"),
        (URL_ENCODED, b"a=%ff", "a name or a value is not UTF-8"),
        ("multipart/form-data", b"x", "the content type has no valid boundary"),
        (MULTIPART, b"x", "it ends before its last boundary"),
        (
            MULTIPART,
            b"------WebKitFormBoundaryABC\r\nA: b\r\n\r\n\r\n------WebKitFormBoundaryABC--",
            "a part has no name",
        ),
        (MULTIPART, &BROWSER[..200], "it ends before its last boundary"),
    ] {
        assert_eq!(read(content_type, body), format!("{prefix}{message}"));
    }
    for source in ["ctx.request.form_all", "ctx.request.files.len()", "let r = ctx.request; r.form"] {
        assert_eq!(invalid(&call(source).body(URL_ENCODED, "%")).len(), prefix.len() + 45, "{source}");
    }
}

#[test]
fn form_is_bounded() {
    let fields = |count: usize| call("ctx.request.form_all.a.len()").body(URL_ENCODED, "a&".repeat(count));
    assert_eq!(fields(1000).text(), "1000");
    assert_eq!(invalid(&fields(1001)), "the body is not a valid form: it has more than 1000 fields");
}

#[test]
fn form_is_parsed_only_if_it_is_read() {
    for source in
        ["ctx.request.body", "ctx.request.bytes.len()", "ctx.request", "let r = ctx.request; r.method"]
    {
        assert_eq!(call(source).body(URL_ENCODED, "%").response().status, 200, "{source}");
    }
    // The body is there as before, too.
    assert_eq!(
        call("[ctx.request.body, ctx.request.form.a]").body(URL_ENCODED, "a=1").text(),
        r#"["a=1","1"]"#
    );
}
