//! Protection against cross-site request forgery: rejects changes that a browser sends on behalf of a page of another site.
//!
//! Browsers send `Sec-Fetch-Site`, older ones at least `Origin`. git, the command line and other programs send neither.

use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderName, StatusCode, header};

use super::api_error::ApiError;

const FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");
const FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");

/// Rejects a cross-site request with an unsafe method. `host` is the requested host; the headers have passed
/// [`super::forwarded::TrustedProxies::resolve_client`].
pub(super) fn check(parts: &Parts, host: &str) -> Result<(), ApiError> {
    if parts.method.is_safe() || !is_cross_site(&parts.headers, host) {
        return Ok(());
    }
    Err(ApiError::new(
        StatusCode::FORBIDDEN,
        "cross-site request rejected; browsers can send it only from this server's own origin",
    ))
}

fn is_cross_site(headers: &HeaderMap, host: &str) -> bool {
    if let Some(site) = headers.get(FETCH_SITE) {
        return site != "same-origin" && site != "none";
    }
    let mut origins = headers.get_all(header::ORIGIN).iter().peekable();
    let forwarded = headers.get(FORWARDED_HOST).and_then(|host| host.to_str().ok());
    let is_own = |origin: &header::HeaderValue| {
        let authority = origin.to_str().ok().and_then(|origin| Some(origin.split_once("://")?.1));
        let is_named = |name: &str| authority.is_some_and(|authority| authority.eq_ignore_ascii_case(name));
        is_named(host) || forwarded.is_some_and(is_named)
    };
    origins.peek().is_some() && !origins.all(is_own)
}

#[cfg(test)]
mod tests {
    use axum::http::Request;

    use super::*;

    fn is_rejected(method: &str, headers: &[(&str, &str)]) -> bool {
        let mut request = Request::builder().method(method).uri("/-/api/v1/tokens");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        check(&request.body(()).unwrap().into_parts().0, "pi:8080").is_err()
    }

    #[test]
    fn unsafe_cross_site_requests_are_rejected() {
        for headers in [
            &[("sec-fetch-site", "cross-site")][..],
            &[("sec-fetch-site", "same-site"), ("origin", "http://pi:8080")],
            &[("origin", "http://evil.example")],
            &[("origin", "null")],
            &[("origin", "http://pi:8081")],
            &[("origin", "http://pi:8080"), ("origin", "http://evil.example")],
        ] {
            for method in ["POST", "PUT", "PATCH", "DELETE"] {
                assert!(is_rejected(method, headers), "{method} {headers:?}");
            }
            assert!(!is_rejected("GET", headers), "{headers:?}");
        }
    }

    #[test]
    fn programs_and_same_origin_pages_are_accepted() {
        for headers in [
            &[][..],
            &[("sec-fetch-site", "same-origin"), ("origin", "http://pi:8080")],
            &[("sec-fetch-site", "none")],
            &[("origin", "http://PI:8080")],
            // A proxy that forwards to another host name.
            &[("origin", "https://pi.example.com"), ("x-forwarded-host", "pi.example.com")],
        ] {
            assert!(!is_rejected("POST", headers), "{headers:?}");
        }
    }
}
