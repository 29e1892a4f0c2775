//! What every request must be before anything looks at what it is for (RFC 9110, 9112 and 9113).
//!
//! hyper has read the message by then and has refused what cannot be read: bad request lines and header lines, lengths
//! that contradict themselves, heads beyond the bounds. What is left are rules about what was read.

use axum::body::Body;
use axum::http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, Uri, Version, header};
use serde_json::json;

use super::reply;

/// The longest target, in bytes of path and query. RFC 9112 section 3 asks for 8000 at the least.
const TARGET_MAX: usize = 16 * 1024;

/// The methods that some route may declare.
const METHODS: &str = "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS";

/// The answer to a request that is for nobody in particular or breaks a rule; `None` where it is for an app, a repository
/// or the control plane.
pub(super) fn answer<B: hyper::body::Body>(request: &Request<B>) -> Option<Response<Body>> {
    if let Err(words) = check_host(request) {
        return Some(refused(StatusCode::BAD_REQUEST, words));
    }
    // Nothing here tunnels (CONNECT), echoes (TRACE) or knows others: not implemented, whatever the target.
    if !is_known(request.method()) {
        return Some(refused(StatusCode::NOT_IMPLEMENTED, "method not implemented"));
    }
    let uri = request.uri();
    if uri.path().len() + uri.query().map_or(0, str::len) > TARGET_MAX {
        return Some(refused(StatusCode::URI_TOO_LONG, "the address is too long"));
    }
    if uri.path() == "*" && request.method() == Method::OPTIONS {
        let mut response = reply::text(StatusCode::NO_CONTENT, "");
        response.headers_mut().insert(header::ALLOW, HeaderValue::from_static(METHODS));
        return Some(response);
    }
    if !uri.path().starts_with('/') || uri.scheme_str().is_some_and(|scheme| !is_http(scheme)) {
        return Some(refused(StatusCode::BAD_REQUEST, "malformed request target"));
    }
    // Only a body without a length may be transferred in another way.
    if request.body().size_hint().exact().is_none() {
        let mut codings = request.headers().get_all(header::TRANSFER_ENCODING).iter();
        if codings.next().is_some_and(|coding| !coding.as_bytes().eq_ignore_ascii_case(b"chunked")) {
            let words = "only chunked is understood as transfer coding";
            return Some(refused(StatusCode::NOT_IMPLEMENTED, words));
        }
        if codings.next().is_some() {
            return Some(refused(StatusCode::BAD_REQUEST, "more than one Transfer-Encoding"));
        }
    }
    None
}

/// The name the client asked for: the authority of HTTP/2 and of absolute request targets, or else `Host`.
pub(super) fn host<'h>(uri: &'h Uri, headers: &'h HeaderMap) -> &'h str {
    match uri.authority() {
        Some(authority) => authority.as_str(),
        None => headers.get(header::HOST).and_then(|value| value.to_str().ok()).unwrap_or_default(),
    }
}

fn refused(status: StatusCode, words: &str) -> Response<Body> {
    reply::json(status, &json!({"error": words}))
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

/// RFC 9112 section 3.2: one `Host` and a valid one, or the request is refused; before HTTP/1.1 there may be none. RFC 9113
/// section 8.3.1: with an authority, `Host` must not name another one. In HTTP/1.1 an absolute target outdoes it.
fn check_host<B>(request: &Request<B>) -> Result<(), &'static str> {
    let mut hosts = request.headers().get_all(header::HOST).iter();
    let host = hosts.next().map(HeaderValue::as_bytes);
    if hosts.next().is_some() {
        return Err("more than one Host");
    }
    let authority = request.uri().authority().map(|authority| authority.as_str().as_bytes());
    if [host, authority].into_iter().flatten().any(|host| !is_host(host)) {
        return Err("malformed Host");
    }
    match (host, authority, request.version()) {
        (None, _, Version::HTTP_11) | (None, None, Version::HTTP_2) => Err("Host is missing"),
        (Some(host), Some(authority), Version::HTTP_2) if !host.eq_ignore_ascii_case(authority) => {
            Err("Host is not the authority")
        }
        _ => Ok(()),
    }
}

/// Whether this is a host with or without a port (RFC 9110 section 7.2): a name or an address, or an address in brackets.
/// No name in use has any other of the characters that RFC 3986 allows, and no user is named here.
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
        answer(&request.body(Body::empty()).unwrap()).map(|response| response.status().as_u16())
    }

    #[test]
    fn hosts_are_names_or_addresses_with_or_without_a_port() {
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
    fn a_request_names_one_host() {
        assert_eq!(status(Version::HTTP_11, "GET", "/", &["a"]), None);
        assert_eq!(status(Version::HTTP_11, "GET", "/", &[]), Some(400));
        assert_eq!(status(Version::HTTP_11, "GET", "/", &["a", "a"]), Some(400));
        assert_eq!(status(Version::HTTP_11, "GET", "/", &[""]), Some(400));
        assert_eq!(status(Version::HTTP_10, "GET", "/", &[]), None);
        assert_eq!(status(Version::HTTP_10, "GET", "/", &["a b"]), Some(400));
        // An absolute target is what counts, and `Host` must be there all the same.
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
    fn methods_and_targets_that_are_for_nobody() {
        let ask = |method, target| status(Version::HTTP_11, method, target, &["a"]);
        for method in ["CONNECT", "TRACE", "PROPFIND", "get"] {
            assert_eq!(ask(method, "/"), Some(501), "{method}");
        }
        assert_eq!(ask("CONNECT", "b:80"), Some(501));
        assert_eq!((ask("OPTIONS", "*"), ask("GET", "*")), (Some(204), Some(400)));
        assert_eq!((ask("GET", "b:80"), ask("GET", "ftp://b/")), (Some(400), Some(400)));
        assert_eq!(ask("GET", "https://b/"), None);
        let long = format!("/{}", "a".repeat(TARGET_MAX));
        assert_eq!((ask("GET", &long[..TARGET_MAX]), ask("GET", &long)), (None, Some(414)));
    }

    #[test]
    fn no_transfer_coding_but_chunked_is_understood() {
        let stream =
            || Body::from_stream(futures_util::stream::empty::<Result<&'static [u8], std::io::Error>>());
        let ask = |codings: &[&str]| {
            let mut request = Request::builder().uri("/").header(header::HOST, "a");
            for coding in codings {
                request = request.header(header::TRANSFER_ENCODING, *coding);
            }
            answer(&request.body(stream()).unwrap()).map(|response| response.status().as_u16())
        };
        assert_eq!((ask(&[]), ask(&["Chunked"])), (None, None));
        assert_eq!(ask(&["gzip, chunked"]), Some(501));
        assert_eq!(ask(&["chunked", "chunked"]), Some(400));
    }
}
