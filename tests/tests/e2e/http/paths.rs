//! Percent-encoding, dot segments and slashes.

use tests::{Response, Server, Wire};

use super::{echo, exchange};

fn get(server: &Server, path: &str) -> Response {
    exchange(server, &format!("GET {path} HTTP/1.1"))
}

#[test]
fn path_segments_are_decoded_separately() {
    let server = echo(&[]);
    let path = |path: &str| get(&server, path).json()["path"].as_str().map(str::to_owned);
    assert_eq!(path("/app/echo/J%C3%B6rg").as_deref(), Some("/echo/Jörg"));
    assert_eq!(path("/app/echo/a%2Fb/c").as_deref(), Some("/echo/a/b/c"));
    assert_eq!(path("/app/%65cho/a").as_deref(), Some("/echo/a"), "letters can be percent-encoded");
    assert_eq!(path("/app/echo/a+b%20c%25").as_deref(), Some("/echo/a+b c%"));
    assert_eq!(path("/app/echo//a//").as_deref(), Some("/echo//a//"));
    assert_eq!(path("/app/echo/a;v=1?x=%zz").as_deref(), Some("/echo/a;v=1"));
    // An encoded slash does not split a segment.
    assert_eq!(get(&server, "/app%2Fhello").status, 404);
    assert_eq!(get(&server, "/app/echo%2Fa").status, 404);
}

#[test]
fn unencoded_path_text_is_accepted() {
    let server = echo(&[]);
    let mut wire = Wire::sent(&server, "GET /app/echo/Jörg HTTP/1.1\r\nHost: test\r\n\r\n");
    assert_eq!(wire.response().json()["path"], "/echo/Jörg");
    let latin = Wire::sent(&server, b"GET /app/echo/J\xf6rg HTTP/1.1\r\nHost: test\r\n\r\n").response();
    assert_eq!(latin.status, 400);
}

#[test]
fn malformed_paths_are_rejected() {
    let server = echo(&[]);
    for path in ["%", "%4", "%zz", "%ff", "%00", "a%00b", "%c3%28"] {
        assert_eq!(get(&server, &format!("/app/echo/{path}")).status, 400, "{path}");
    }
    let deep = format!("/app/echo{}", "/a".repeat(600));
    assert_eq!(get(&server, &deep).status, 400);
    for byte in ["\u{1}", "\t", " ", "\u{7f}"] {
        assert_eq!(get(&server, &format!("/app/echo/a{byte}b")).status, 400, "{byte:?}");
    }
}

#[test]
fn dot_segments_are_rejected() {
    let server = echo(&[]);
    for dots in [".", "..", "%2e", "%2E%2e", ".%2e"] {
        for path in
            [format!("/app/echo/{dots}"), format!("/app/{dots}/-/health/live"), format!("/app/{dots}")]
        {
            assert_eq!(get(&server, &path).status, 400, "{path}");
        }
        for path in [format!("/{dots}/app/hello"), format!("/-/{dots}/app/hello"), format!("/{dots}")] {
            assert_eq!(get(&server, &path).status, 404, "{path}");
        }
    }
    assert_eq!(get(&server, "/app/echo/...").status, 200);
    assert_eq!(get(&server, "/app/echo/.well-known").status, 200);
}

#[test]
fn app_names_in_paths_are_not_decoded() {
    let server = echo(&[]);
    for path in
        ["/%61pp/hello", "/App/hello", "//app/hello", "/app%00/hello", "/%2d/health/live", "/-%2fhealth/live"]
    {
        assert_eq!(get(&server, path).status, 404, "{path}");
    }
    let moved = get(&server, "/app?a=1");
    assert_eq!((moved.status, moved.header("location")), (308, Some("/app/?a=1")));
    for absent in ["/absent", "/app@absent", "/absent?a=1"] {
        assert_eq!(get(&server, absent).status, 404, "{absent}");
    }
}
