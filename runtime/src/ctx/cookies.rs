//! The cookies of a request.

use rhai::Map;

use crate::invocation::HttpRequest;

/// The cookies of a request (RFC 6265 section 5.4). Of several with one name, the browser sends the most specific one
/// first.
pub(super) fn read(http: &HttpRequest) -> Map {
    let mut cookies = Map::new();
    http.headers.for_each(&mut |name, value| {
        if !name.eq_ignore_ascii_case("cookie") {
            return;
        }
        for pair in String::from_utf8_lossy(value).split(';') {
            let Some((name, value)) = pair.split_once('=') else { continue };
            let (name, value) = (name.trim(), value.trim());
            let unquoted = value.strip_prefix('"').and_then(|value| value.strip_suffix('"'));
            if !name.is_empty() && !cookies.contains_key(name) {
                cookies.insert(name.into(), unquoted.unwrap_or(value).into());
            }
        }
    });
    cookies
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use rhai::Dynamic;

    use super::*;
    use crate::json;

    #[test]
    fn first_of_repeated_cookies_counts() {
        let header = |value: &str| ("Cookie".to_owned(), value.as_bytes().to_vec());
        let sent = vec![header("a=1; b=\"2 3\";c=x=y; a=4; d; =e"), header("f=5")];
        let http = HttpRequest { headers: Arc::new(sent), ..HttpRequest::default() };
        let written = json::write_text(&Dynamic::from_map(read(&http)), 1000).unwrap();
        assert_eq!(written, r#"{"a":"1","b":"2 3","c":"x=y","f":"5"}"#);
    }
}
