//! The rules of HTTP that every request must meet, whatever its target (RFC 9110, 9112 and 9113).
//!
//! hyper has parsed the message and rejected malformed request lines and header fields, contradictory lengths and oversized heads. These are
//! the rules about the parsed request.

use axum::body::Body;
use axum::http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, Uri, Version, header};
use serde_json::json;

use super::response;

/// The maximum length of path and query. RFC 9112 section 3 recommends at least 8000.
const TARGET_MAX: usize = 16 * 1024;

/// The methods that routes can declare.
const METHODS: &str = "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS";

/// The response to an invalid request or to `OPTIONS *`; `None` for a request to dispatch.
pub(super) fn early_response<B: hyper::body::Body>(request: &Request<B>) -> Option<Response<Body>> {
    if let Err(message) = check_host(request) {
        return Some(rejected(StatusCode::BAD_REQUEST, message));
    }
    // CONNECT, TRACE and unknown methods are not implemented for any target.
    if !is_known(request.method()) {
        return Some(rejected(StatusCode::NOT_IMPLEMENTED, "method not implemented"));
    }
    let uri = request.uri();
    if uri.path().len() + uri.query().map_or(0, str::len) > TARGET_MAX {
        return Some(rejected(StatusCode::URI_TOO_LONG, "URI too long"));
    }
    if uri.path() == "*" && request.method() == Method::OPTIONS {
        let mut response = response::text(StatusCode::NO_CONTENT, "");
        response.headers_mut().insert(header::ALLOW, HeaderValue::from_static(METHODS));
        return Some(response);
    }
    if !uri.path().starts_with('/') || uri.scheme_str().is_some_and(|scheme| !is_http(scheme)) {
        return Some(rejected(StatusCode::BAD_REQUEST, "malformed request target"));
    }
    // A transfer coding needs a body without a length.
    if request.body().size_hint().exact().is_none() {
        let mut codings = request.headers().get_all(header::TRANSFER_ENCODING).iter();
        if codings.next().is_some_and(|coding| !coding.as_bytes().eq_ignore_ascii_case(b"chunked")) {
            let message = "unsupported transfer coding; only chunked is supported";
            return Some(rejected(StatusCode::NOT_IMPLEMENTED, message));
        }
        if codings.next().is_some() {
            return Some(rejected(StatusCode::BAD_REQUEST, "duplicate Transfer-Encoding header"));
        }
    }
    None
}

/// The requested host: the authority of HTTP/2 and of absolute request targets, otherwise `Host`.
pub(super) fn host<'h>(uri: &'h Uri, headers: &'h HeaderMap) -> &'h str {
    match uri.authority() {
        Some(authority) => authority.as_str(),
        None => headers.get(header::HOST).and_then(|value| value.to_str().ok()).unwrap_or_default(),
    }
}

fn rejected(status: StatusCode, message: &str) -> Response<Body> {
    response::json(status, &json!({"error": message}))
}

fn is_known(method: &Method) -> bool {
    matches!(
        *method,
        Method::GET
            | Method::HEAD
            | Method::POST
            | Method::PUT
            | Method::PATCH
            | Method::DELETE
            | Method::OPTIONS
    )
}

fn is_http(scheme: &str) -> bool {
    scheme.eq_ignore_ascii_case("http") || scheme.eq_ignore_ascii_case("https")
}

/// RFC 9112 section 3.2: exactly one valid `Host`, which only HTTP/1.0 can omit. RFC 9113 section 8.3.1: `Host` must not differ from the
/// authority. In HTTP/1.1 an absolute target overrides it.
fn check_host<B>(request: &Request<B>) -> Result<(), &'static str> {
    let mut hosts = request.headers().get_all(header::HOST).iter();
    let host = hosts.next().map(HeaderValue::as_bytes);
    if hosts.next().is_some() {
        return Err("duplicate Host header");
    }
    let authority = request.uri().authority().map(|authority| authority.as_str().as_bytes());
    if [host, authority].into_iter().flatten().any(|host| !is_host(host)) {
        return Err("malformed Host header");
    }
    match (host, authority, request.version()) {
        (None, _, Version::HTTP_11) | (None, None, Version::HTTP_2) => Err("missing Host header"),
        (Some(host), Some(authority), Version::HTTP_2) if !host.eq_ignore_ascii_case(authority) => {
            Err("Host header differs from the authority")
        }
        _ => Ok(()),
    }
}

/// Whether this is a host with an optional port (RFC 9110 section 7.2): a name, an IPv4 address, or an IPv6 address in brackets. Further
/// characters that RFC 3986 allows occur in no host name, and user information is not allowed here.
fn is_host(host: &[u8]) -> bool {
    let (name, port) = match host.iter().rposition(|byte| matches!(byte, b':' | b']')) {
        Some(at) if host[at] == b':' => (&host[..at], &host[at + 1..]),
        _ => (host, &b""[..]),
    };
    let named = match name {
        [b'[', address @ .., b']'] => {
            std::str::from_utf8(address).is_ok_and(|text| text.parse::<std::net::Ipv6Addr>().is_ok())
        }
        name => {
            !name.is_empty()
                && name.iter().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_'))
        }
    };
    named && port.len() <= 5 && port.iter().all(u8::is_ascii_digit)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status(version: Version, method: &str, target: &str, hosts: &[&str]) -> Option<u16> {
        let mut request = Request::builder().version(version).method(method).uri(target);
        for host in hosts {
            request = request.header(header::HOST, *host);
        }
        early_response(&request.body(Body::empty()).unwrap()).map(|response| response.status().as_u16())
    }

    #[test]
    fn host_is_name_or_address_with_optional_port() {
        for host in ["a", "pi:8080", "a.b-c.example.", "127.0.0.1:80", "[::1]", "[::1]:8080", "x_y", "a:"] {
            assert!(is_host(host.as_bytes()), "{host}");
        }
        for host in
            ["", ":80", "a b", "a,b", "u@a", "a/b", "::1", "[::1", "[x]", "[::1]x", "a:b", "a:123456", "é"]
        {
            assert!(!is_host(host.as_bytes()), "{host}");
        }
    }

    #[test]
    fn request_without_exactly_one_host_is_rejected() {
        assert_eq!(status(Version::HTTP_11, "GET", "/", &["a"]), None);
        assert_eq!(status(Version::HTTP_11, "GET", "/", &[]), Some(400));
        assert_eq!(status(Version::HTTP_11, "GET", "/", &["a", "a"]), Some(400));
        assert_eq!(status(Version::HTTP_11, "GET", "/", &[""]), Some(400));
        assert_eq!(status(Version::HTTP_10, "GET", "/", &[]), None);
        assert_eq!(status(Version::HTTP_10, "GET", "/", &["a b"]), Some(400));
        // An absolute target overrides `Host`, which is required nevertheless.
        assert_eq!(status(Version::HTTP_11, "GET", "http://b/", &["a"]), None);
        assert_eq!(status(Version::HTTP_11, "GET", "http://b/", &[]), Some(400));
        assert_eq!(status(Version::HTTP_11, "GET", "http://u@b/", &["b"]), Some(400));
        assert_eq!(status(Version::HTTP_2, "GET", "http://b/", &[]), None);
        assert_eq!(status(Version::HTTP_2, "GET", "http://b/", &["B"]), None);
        assert_eq!(status(Version::HTTP_2, "GET", "http://b/", &["a"]), Some(400));
        assert_eq!(status(Version::HTTP_2, "GET", "/", &["a"]), None);
        assert_eq!(status(Version::HTTP_2, "GET", "/", &[]), Some(400));
    }

    #[test]
    fn unsupported_methods_and_targets_are_rejected() {
        let send = |method, target| status(Version::HTTP_11, method, target, &["a"]);
        for method in ["CONNECT", "TRACE", "PROPFIND", "get"] {
            assert_eq!(send(method, "/"), Some(501), "{method}");
        }
        assert_eq!(send("CONNECT", "b:80"), Some(501));
        assert_eq!((send("OPTIONS", "*"), send("GET", "*")), (Some(204), Some(400)));
        assert_eq!((send("GET", "b:80"), send("GET", "ftp://b/")), (Some(400), Some(400)));
        assert_eq!(send("GET", "https://b/"), None);
        let long = format!("/{}", "a".repeat(TARGET_MAX));
        assert_eq!((send("GET", &long[..TARGET_MAX]), send("GET", &long)), (None, Some(414)));
    }

    #[test]
    fn transfer_codings_but_chunked_are_rejected() {
        let stream =
            || Body::from_stream(futures_util::stream::empty::<Result<&'static [u8], std::io::Error>>());
        let send = |codings: &[&str]| {
            let mut request = Request::builder().uri("/").header(header::HOST, "a");
            for coding in codings {
                request = request.header(header::TRANSFER_ENCODING, *coding);
            }
            early_response(&request.body(stream()).unwrap()).map(|response| response.status().as_u16())
        };
        assert_eq!((send(&[]), send(&["Chunked"])), (None, None));
        assert_eq!(send(&["gzip, chunked"]), Some(501));
        assert_eq!(send(&["chunked", "chunked"]), Some(400));
    }
}
