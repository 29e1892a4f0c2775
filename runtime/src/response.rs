//! Converts the value of a script to a response, by the response convention of the SDK.
//!
//! Any value is a response with status 200 and the value as JSON; a blob is sent as bytes. A map with `statusCode` is
//! a response of three parts:
//!
//! - `statusCode`: an integer from 100 to 599
//! - `headers`: a map from names to strings, numbers, booleans, or arrays of them for repeated headers
//! - `body`: a string and a blob are sent as they are, any other value as JSON; without a body, or with `()`, the
//!   response is empty
//!
//! If the headers have no content type, it follows from the body: JSON, `text/plain` or bytes. Scripts cannot set
//! headers of the connection and of the server. A value that breaks a rule is [`FailureKind::InvalidResponse`].

use bytes::Bytes;
use rhai::{Array, Blob, Dynamic, ImmutableString, Map};

use crate::failure::{Failure, FailureKind};
use crate::json;
use crate::type_name::type_name;

/// The maximum length of a body, in bytes. It is held in memory.
pub(crate) const BODY_MAX: usize = 8 * 1024 * 1024;

/// The maximum number of headers; clients and proxies reject many more.
const HEADERS_MAX: usize = 64;

/// The maximum size of all names and values, in bytes; nginx and many clients accept 8 to 16 KiB.
const HEADER_BYTES_MAX: usize = 16 * 1024;

/// Headers of the connection (RFC 9110 section 7.6.1) and of the body length, which the server sets.
const FORBIDDEN_HEADERS: [&str; 9] = [
    "connection",
    "content-length",
    "keep-alive",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "http2-settings",
];

/// The prefix of the server's own headers.
const RESERVED_PREFIX: &str = "picloud-";

const JSON: &str = "application/json";
const TEXT: &str = "text/plain; charset=utf-8";
const BYTES: &str = "application/octet-stream";

/// A script's response. Names and values of its headers are safe to send.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Response {
    /// The status, 100 to 599. Interim responses (1xx) are invalid as a response to a request; the sender rejects
    /// them.
    pub status: u16,
    /// The headers with names in lower case, including a content type if there is a body.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: Bytes,
}

/// Converts the value of a script.
pub(crate) fn from_value(value: Dynamic) -> Result<Response, Failure> {
    if let Some(map) = value.read_lock::<Map>()
        && let Some(status) = map.get("statusCode")
    {
        return from_map(status, map.get("headers"), map.get("body"));
    }
    let (body, content_type) = match value.read_lock::<Blob>() {
        Some(blob) => (bytes(&blob)?, BYTES),
        None => (json_bytes(&value)?, JSON),
    };
    Ok(Response { status: 200, headers: vec![("content-type".to_owned(), content_type.to_owned())], body })
}

fn invalid(message: impl Into<String>) -> Failure {
    Failure::new(FailureKind::InvalidResponse, message)
}

fn from_map(
    status: &Dynamic,
    headers: Option<&Dynamic>,
    body: Option<&Dynamic>,
) -> Result<Response, Failure> {
    let status = self::status(status)?;
    let mut headers = match headers {
        Some(headers) if !headers.is::<()>() => read_headers(headers)?,
        _ => Vec::new(),
    };
    let (body, content_type) = match body {
        Some(body) if !body.is::<()>() => {
            let (body, content_type) = self::body(body)?;
            (body, Some(content_type))
        }
        _ => (Bytes::new(), None),
    };
    let typed = headers.iter().any(|(name, _)| name == "content-type");
    if let Some(content_type) = content_type
        && !typed
    {
        headers.push(("content-type".to_owned(), content_type.to_owned()));
    }
    Ok(Response { status, headers, body })
}

/// Parses the status of a response.
pub(crate) fn status(status: &Dynamic) -> Result<u16, Failure> {
    match status.as_int() {
        Ok(status @ 100..=599) => Ok(status as u16),
        Ok(status) => Err(invalid(format!("statusCode {status} is out of range 100-599"))),
        Err(_) => Err(invalid(format!("statusCode must be an integer, not {}", type_name(status)))),
    }
}

/// Encodes the body, and returns its content type.
pub(crate) fn body(body: &Dynamic) -> Result<(Bytes, &'static str), Failure> {
    if let Some(text) = body.read_lock::<ImmutableString>() {
        return Ok((bytes(text.as_bytes())?, TEXT));
    }
    if let Some(blob) = body.read_lock::<Blob>() {
        return Ok((bytes(&blob)?, BYTES));
    }
    Ok((json_bytes(body)?, JSON))
}

fn bytes(body: &[u8]) -> Result<Bytes, Failure> {
    if body.len() > BODY_MAX {
        return Err(invalid(format!("the body is longer than {BODY_MAX} bytes")));
    }
    Ok(Bytes::copy_from_slice(body))
}

fn json_bytes(value: &Dynamic) -> Result<Bytes, Failure> {
    json::write(value, BODY_MAX).map(Bytes::from).map_err(|error| invalid(error.to_string()))
}

fn read_headers(headers: &Dynamic) -> Result<Vec<(String, String)>, Failure> {
    let Some(map) = headers.read_lock::<Map>() else {
        return Err(invalid(format!("headers must be a map, not {}", type_name(headers))));
    };
    let mut read = Vec::new();
    let mut size = 0;
    for (name, value) in map.iter() {
        let name = header_name(name)?;
        let mut add = |value: &Dynamic| {
            let value = header_value(&name, value)?;
            size += name.len() + value.len();
            if read.len() == HEADERS_MAX || size > HEADER_BYTES_MAX {
                return Err(too_many_headers());
            }
            read.push((name.clone(), value));
            Ok(())
        };
        match value.read_lock::<Array>() {
            Some(values) => values.iter().try_for_each(add)?,
            None => add(value)?,
        }
    }
    Ok(read)
}

fn too_many_headers() -> Failure {
    invalid(format!("more than {HEADERS_MAX} headers or {HEADER_BYTES_MAX} bytes of headers"))
}

/// The name of a header in lower case, if scripts can set it.
pub(crate) fn header_name(name: &str) -> Result<String, Failure> {
    // RFC 9110 section 5.6.2.
    let token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    if name.len() > HEADER_BYTES_MAX {
        return Err(too_many_headers());
    }
    let shown: String = name.chars().take(80).flat_map(char::escape_debug).collect();
    if name.is_empty() || !name.bytes().all(token) {
        return Err(invalid(format!("invalid header name `{shown}`")));
    }
    let name = name.to_ascii_lowercase();
    if FORBIDDEN_HEADERS.contains(&name.as_str()) || name.starts_with(RESERVED_PREFIX) {
        return Err(invalid(format!("header `{shown}` is set by the server")));
    }
    Ok(name)
}

/// Encodes the value of a header.
pub(crate) fn header_value(name: &str, value: &Dynamic) -> Result<String, Failure> {
    let text = if let Some(text) = value.read_lock::<ImmutableString>() {
        if text.len() > HEADER_BYTES_MAX {
            return Err(too_many_headers());
        }
        text.trim_matches([' ', '\t']).to_owned()
    } else if value.is::<i64>() || value.is::<f64>() || value.is::<bool>() {
        value.to_string()
    } else {
        return Err(invalid(format!("header `{name}` must be a string, not {}", type_name(value))));
    };
    // RFC 9110 section 5.5; control characters could end the header or hide its rest.
    if text.chars().any(|character| character.is_control() && character != '\t') {
        return Err(invalid(format!("the value of header `{name}` contains a control character")));
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(entries: &[(&str, Dynamic)]) -> Dynamic {
        let map: Map = entries.iter().map(|(key, value)| ((*key).into(), value.clone())).collect();
        map.into()
    }

    fn with_headers(entries: &[(&str, Dynamic)]) -> Result<Response, Failure> {
        from_value(map(&[("statusCode", 200_i64.into()), ("headers", map(entries))]))
    }

    fn rejected(response: Result<Response, Failure>) -> String {
        let failure = response.unwrap_err();
        assert_eq!(failure.kind, FailureKind::InvalidResponse);
        failure.message
    }

    #[test]
    fn status_is_an_integer_in_range() {
        let status = |status: Dynamic| from_value(map(&[("statusCode", status)]));
        assert_eq!(
            status(204_i64.into()).unwrap(),
            Response { status: 204, headers: vec![], body: Bytes::new() }
        );
        assert_eq!(rejected(status(600_i64.into())), "statusCode 600 is out of range 100-599");
        assert_eq!(rejected(status(99_i64.into())), "statusCode 99 is out of range 100-599");
        assert_eq!(rejected(status(200.0.into())), "statusCode must be an integer, not a float");
        assert_eq!(rejected(status("200".into())), "statusCode must be an integer, not a string");
        assert_eq!(rejected(status(Dynamic::UNIT)), "statusCode must be an integer, not nothing");
    }

    #[test]
    fn invalid_and_reserved_headers_are_rejected() {
        for name in ["", "a b", "a:b", "a\r\nb", "é", "(a)"] {
            assert!(rejected(with_headers(&[(name, "x".into())])).contains("invalid header name"), "{name}");
        }
        for name in ["Content-Length", "transfer-encoding", "Connection", "picloud-revision"] {
            assert!(rejected(with_headers(&[(name, "x".into())])).contains("set by the server"), "{name}");
        }
        for value in ["a\r\nSet-Cookie: x=1", "a\nb", "a\0b", "\u{7f}", "\u{85}"] {
            assert!(
                rejected(with_headers(&[("x", value.into())])).contains("control character"),
                "{value:?}"
            );
        }
        assert!(rejected(with_headers(&[("x", Dynamic::UNIT)])).contains("must be a string"));
    }

    #[test]
    fn headers_are_bounded() {
        let many: Array = vec!["x".into(); HEADERS_MAX + 1];
        assert!(rejected(with_headers(&[("x", many.into())])).contains("more than 64 headers"));
        assert!(rejected(with_headers(&[("x", "x".repeat(HEADER_BYTES_MAX).into())])).contains("more than"));
        let long = "x".repeat(HEADER_BYTES_MAX / HEADERS_MAX);
        let values: Array = vec![Dynamic::UNIT; 1 << 20];
        assert!(rejected(with_headers(&[("x", values.into())])).contains("must be a string"));
        let values: Array = vec!["".into(); HEADERS_MAX];
        assert!(with_headers(&[(&long, values.clone().into())]).is_ok());
        assert!(rejected(with_headers(&[(&(long + "x"), values.into())])).contains("more than"));
    }

    #[test]
    fn header_values_can_be_numbers_and_lists() {
        let values: Array = vec!["a=1".into(), "b=2".into()];
        let response = with_headers(&[("Set-Cookie", values.into()), ("Age", 5_i64.into())]).unwrap();
        let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        assert_eq!(
            response.headers,
            [pair("age", "5"), pair("set-cookie", "a=1"), pair("set-cookie", "b=2")]
        );
    }
}
