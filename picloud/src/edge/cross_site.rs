//! Pages of other sites, open in the browser of somebody who uses this server: what a browser sends for them changes nothing here.
//!
//! A browser says of each request whose page has made it (`Sec-Fetch-Site`), and older ones at least from where it comes (`Origin`).
//! git, the command line and other programs say neither.

use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderName, StatusCode, header};

use super::api_error::ApiError;

const FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");
const FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");

/// Refuses what changes something and comes from a page of another site. `host` is what the client has asked for; headers are those that
/// are left of what proxies said.
pub(super) fn refuse(parts: &Parts, host: &str) -> Result<(), ApiError> {
    if parts.method.is_safe() || !is_cross_site(&parts.headers, host) {
        return Ok(());
    }
    let words = "a page of another site has sent this; a browser can do so only at this server's own address";
    Err(ApiError::new(StatusCode::FORBIDDEN, words))
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

    fn refused(method: &str, headers: &[(&str, &str)]) -> bool {
        let mut request = Request::builder().method(method).uri("/-/api/v1/tokens");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        refuse(&request.body(()).unwrap().into_parts().0, "pi:8080").is_err()
    }

    #[test]
    fn what_a_page_of_another_site_sends_changes_nothing() {
        for headers in [
            &[("sec-fetch-site", "cross-site")][..],
            &[("sec-fetch-site", "same-site"), ("origin", "http://pi:8080")],
            &[("origin", "http://evil.example")],
            &[("origin", "null")],
            &[("origin", "http://pi:8081")],
            &[("origin", "http://pi:8080"), ("origin", "http://evil.example")],
        ] {
            for method in ["POST", "PUT", "PATCH", "DELETE"] {
                assert!(refused(method, headers), "{method} {headers:?}");
            }
            assert!(!refused("GET", headers), "{headers:?}");
        }
    }

    #[test]
    fn programs_and_the_servers_own_pages_are_let_in() {
        for headers in [
            &[][..],
            &[("sec-fetch-site", "same-origin"), ("origin", "http://pi:8080")],
            &[("sec-fetch-site", "none")],
            &[("origin", "http://PI:8080")],
            // Behind a proxy that asks by another name.
            &[("origin", "https://pi.example.com"), ("x-forwarded-host", "pi.example.com")],
        ] {
            assert!(!refused("POST", headers), "{headers:?}");
        }
    }
}
