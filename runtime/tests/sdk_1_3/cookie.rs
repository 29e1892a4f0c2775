use std::net::IpAddr;

use runtime::{Origin, Scheme};

use super::{Call, call, fails};

fn at(source: &str, scheme: Scheme, base: &str) -> Call {
    let client = IpAddr::from([192, 0, 2, 1]);
    let origin = Origin { scheme, host: "example.org".to_owned(), client, base: base.to_owned() };
    call(source).with_request(|request| request.origin = origin)
}

#[test]
fn defaults_follow_the_request() {
    let source = "cookie::make(\"id\", \"a1\")";
    assert_eq!(at(source, Scheme::Https, "").text(), "\"id=a1; Path=/; SameSite=Lax; Secure; HttpOnly\"");
    assert_eq!(
        at(source, Scheme::Http, "/shop@x").text(),
        "\"id=a1; Path=/shop@x/; SameSite=Lax; HttpOnly\""
    );
    assert_eq!(call(source).function("null").text(), "\"id=a1; Path=/; SameSite=Lax; HttpOnly\"");
}

#[test]
fn options_replace_defaults() {
    let source = "cookie::make(\"id\", \"\", #{ max_age: \"30d\", path: \"/a\", domain: \"example.org\", \
                  same_site: \"None\", secure: true, http_only: false })";
    assert_eq!(
        call(source).text(),
        "\"id=; Max-Age=2592000; Path=/a; Domain=example.org; SameSite=None; Secure\""
    );
    assert_eq!(
        call("cookie::make(\"a\", \"b\", #{ path: () })").text(),
        "\"a=b; Path=/; SameSite=Lax; HttpOnly\""
    );
}

#[test]
fn clear_expires_the_cookie() {
    assert_eq!(call("cookie::clear(\"id\")").text(), "\"id=; Max-Age=0; Path=/; SameSite=Lax; HttpOnly\"");
    assert!(call("cookie::clear(\"id\", #{ path: \"/a\" })").text().contains("Path=/a;"));
}

#[test]
fn what_a_browser_would_misread_is_refused() {
    for (source, part) in [
        ("cookie::make(\"a b\", \"\")", "`a b` is not the name of a cookie"),
        ("cookie::make(\"\", \"\")", "`` is not the name of a cookie"),
        ("cookie::make(\"a\", \"b; Domain=evil\")", "`value` contains `;`"),
        ("cookie::make(\"a\", \"b\\r\\nX: y\")", "`value` contains `\\r`"),
        ("cookie::make(\"a\", \"ü\")", "`value` contains `ü`"),
        ("cookie::make(\"a\", \"b\", #{ path: \"/; Domain=x\" })", "`path` cannot be \"/; Domain=x\""),
        ("cookie::make(\"a\", \"b\", #{ domain: \"\" })", "`domain` cannot be \"\""),
        ("cookie::make(\"a\", \"b\", #{ same_site: \"None\" })", "not `secure: true`"),
        ("let age = \"1 day\"; cookie::make(\"a\", \"b\", #{ max_age: age })", "a duration such as \"5m\""),
        (
            "let o = #{ sameSite: \"Lax\" }; cookie::make(\"a\", \"b\", o)",
            "unknown option `sameSite`; did you mean `same_site`?",
        ),
        (
            "let o = #{ same_site: \"lax\" }; cookie::make(\"a\", \"b\", o)",
            "must be \"Lax\" or \"Strict\" or \"None\", not \"lax\"",
        ),
        ("let v = \"\"; v.pad(5000, 'x'); cookie::make(\"a\", v)", "longer than 4096 bytes"),
    ] {
        let message = fails(source);
        assert!(message.starts_with("cookie::make: ") && message.contains(part), "{source}: {message}");
    }
}
