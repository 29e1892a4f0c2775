//! Confines the cookies of an app to its host, so that none reaches another app or the control plane.

use axum::http::header::{HeaderMap, HeaderValue, SET_COOKIE};

/// Removes `Domain` from cookies that would be sent to more hosts than `host`; `None` where the app was requested by path and shares its
/// host with other apps.
pub(super) fn confine(headers: &mut HeaderMap, host: Option<&str>) {
    if !headers.contains_key(SET_COOKIE) {
        return;
    }
    let cookies: Vec<HeaderValue> = headers.get_all(SET_COOKIE).iter().cloned().collect();
    headers.remove(SET_COOKIE);
    for cookie in cookies {
        headers.append(SET_COOKIE, confined(cookie, host));
    }
}

/// The cookie without `Domain` attributes of other hosts (RFC 6265 section 5.2.3).
fn confined(cookie: HeaderValue, host: Option<&str>) -> HeaderValue {
    let is_confined = |attribute: &[u8]| match attribute_of(attribute, b"domain") {
        Some(domain) => {
            let domain = domain.strip_prefix(b".").unwrap_or(domain);
            host.is_some_and(|host| domain.eq_ignore_ascii_case(host.as_bytes()))
        }
        None => true,
    };
    let mut parts = cookie.as_bytes().split(|byte| *byte == b';');
    let pair = parts.next().unwrap_or_default();
    if parts.clone().all(is_confined) {
        return cookie;
    }
    let mut kept = pair.to_vec();
    for attribute in parts.filter(|attribute| is_confined(attribute)) {
        kept.push(b';');
        kept.extend_from_slice(attribute);
    }
    // The parts of a valid value are valid.
    HeaderValue::from_bytes(&kept).unwrap_or(HeaderValue::from_static(""))
}

/// The value of the attribute, if it has this name.
fn attribute_of<'a>(attribute: &'a [u8], name: &[u8]) -> Option<&'a [u8]> {
    let at = attribute.iter().position(|byte| *byte == b'=').unwrap_or(attribute.len());
    let (found, value) = attribute.split_at(at);
    let is_it = found.trim_ascii().eq_ignore_ascii_case(name);
    is_it.then(|| value.strip_prefix(b"=").unwrap_or_default().trim_ascii())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sent(cookies: &[&'static str], host: Option<&str>) -> Vec<String> {
        let mut headers = HeaderMap::new();
        for cookie in cookies {
            headers.append(SET_COOKIE, HeaderValue::from_static(cookie));
        }
        confine(&mut headers, host);
        headers.get_all(SET_COOKIE).iter().map(|cookie| cookie.to_str().unwrap().to_owned()).collect()
    }

    #[test]
    fn cookie_reaches_only_its_app() {
        let host = Some("hello.pi.test");
        for (cookie, left) in [
            ("a=1", "a=1"),
            ("a=1; Path=/; HttpOnly", "a=1; Path=/; HttpOnly"),
            ("a=1; Domain=pi.test; Path=/", "a=1; Path=/"),
            ("a=1;domain = .PI.test;Secure", "a=1;Secure"),
            ("a=1; Domain=hello.pi.test", "a=1; Domain=hello.pi.test"),
            ("a=1; DOMAIN=.Hello.pi.test; Path=/", "a=1; DOMAIN=.Hello.pi.test; Path=/"),
            ("a=1; Domain=hello.pi.test; Domain=pi.test", "a=1; Domain=hello.pi.test"),
            ("a=1; Domain=other.pi.test", "a=1"),
            ("a=1; Domain", "a=1"),
            ("a=Domain=pi.test; Path=/", "a=Domain=pi.test; Path=/"),
        ] {
            assert_eq!(sent(&[cookie], host), [left], "{cookie}");
        }
        assert_eq!(sent(&["a=1; Domain=pi.test", "b=2"], None), ["a=1", "b=2"]);
        assert!(sent(&[], host).is_empty());
    }
}
