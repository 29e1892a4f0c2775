use super::{call, fails};

#[test]
fn parts_of_a_url() {
    assert_eq!(
        call("url::parse(\"HTTPS://User:pw@Example.org:8443/a b/%2F?x=1&y=a+b&x=2&z#top\")").text(),
        r##"{"hash":"top","host":"example.org","href":"https://User:pw@example.org:8443/a%20b/%2F?x=1&y=a+b&x=2&z#top","path":"/a%20b/%2F","port":8443,"query":{"x":"2","y":"a b","z":""},"scheme":"https"}"##
    );
    assert_eq!(
        call("let u = url::parse(\"https://example.org:443\"); [u.port, u.path, u.query, u.hash]").text(),
        "[null,\"/\",{},null]"
    );
    assert_eq!(call("url::parse(\"https://bücher.example/\").host").text(), "\"xn--bcher-kva.example\"");
    assert_eq!(call("url::parse(\"mailto:a@example.org\").host").text(), "null");
    for text in
        ["", "/path", "example.org", "https://", "http://[::1", "https://exa mple.org", "http://a:99999"]
    {
        assert_eq!(call(&format!("url::parse(\"{text}\")")).text(), "null", "{text}");
    }
    assert_eq!(call("let t = \"https://example.org/\"; t.pad(16385, 'x'); url::parse(t)").text(), "null");
}

#[test]
fn queries_are_encoded() {
    assert_eq!(
        call("url::query(#{ q: \"a b&c=ü\", n: 1, tags: [\"x\", \"y\"], none: (), empty: [], on: true })")
            .text(),
        "\"n=1&on=true&q=a+b%26c%3D%C3%BC&tags=x&tags=y\""
    );
    assert_eq!(call("url::query(#{})").text(), "\"\"");
    assert_eq!(
        call("url::parse(\"http://a/?\" + url::query(#{ \"k=\": \"+&\" })).query").text(),
        r#"{"k=":"+&"}"#
    );
    assert_eq!(
        fails("url::query(#{ a: #{ b: 1 } })"),
        "url::query: `a` must be a string, a number, true or false, not a map"
    );
}

#[test]
fn parts_are_encoded_and_decoded() {
    assert_eq!(call("url::encode(\"a b/ü?&=+~-._\")").text(), "\"a%20b%2F%C3%BC%3F%26%3D%2B~-._\"");
    assert_eq!(call("url::decode(\"a%20b%2F%C3%BC+\")").text(), "\"a b/ü+\"");
    assert_eq!(call("url::decode(url::encode(\"100 % ü\"))").text(), "\"100 % ü\"");
    for text in ["%", "%2", "%zz", "%ff"] {
        assert_eq!(call(&format!("url::decode(\"{text}\")")).text(), "null", "{text}");
    }
}

#[test]
fn links_are_resolved() {
    for (base, path, expected) in [
        ("https://example.org/a/b", "c", "https://example.org/a/c"),
        ("https://example.org/a/b/", "../c?d=1", "https://example.org/a/c?d=1"),
        ("https://example.org/a", "/c", "https://example.org/c"),
        ("https://example.org/a", "?b", "https://example.org/a?b"),
        ("https://example.org/a", "//other.example/", "https://other.example/"),
        ("https://example.org/a", "https://other.example/b", "https://other.example/b"),
    ] {
        let source = format!("url::join(\"{base}\", \"{path}\")");
        assert_eq!(call(&source).text(), format!("\"{expected}\""), "{source}");
    }
    assert_eq!(
        fails("url::join(\"/a\", \"b\")"),
        "url::join: `base` must be an absolute URL such as https://example.org/, not \"/a\""
    );
    assert_eq!(
        fails("url::join(\"https://example.org\", \"https://[\")"),
        "url::join: `path` is not a URL below `base`: \"https://[\""
    );
}
