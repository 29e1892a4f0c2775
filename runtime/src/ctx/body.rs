//! The body of a request by its content type.

use bytes::Bytes;
use rhai::Dynamic;

use crate::failure::{Failure, FailureKind};
use crate::json;

/// How a script sees a body.
enum BodyKind {
    Json,
    Utf8,
    Latin1,
    Blob,
}

fn body_kind(content_type: &str) -> BodyKind {
    let lower = content_type.to_ascii_lowercase();
    let (essence, parameters) = lower.split_once(';').unwrap_or((&lower, ""));
    let essence = essence.trim();
    if essence == "application/json" || essence == "text/json" || essence.ends_with("+json") {
        return BodyKind::Json;
    }
    let text = essence.starts_with("text/")
        || essence.ends_with("+xml")
        || matches!(
            essence,
            "application/x-www-form-urlencoded" | "application/xml" | "application/javascript"
        );
    let latin1 = parameters.split(';').any(|parameter| {
        let (name, value) = parameter.split_once('=').unwrap_or((parameter, ""));
        name.trim() == "charset" && matches!(value.trim().trim_matches('"'), "iso-8859-1" | "latin1")
    });
    match (text, latin1) {
        (false, _) => BodyKind::Blob,
        (true, true) => BodyKind::Latin1,
        (true, false) => BodyKind::Utf8,
    }
}

/// The body as a script sees it.
///
/// # Errors
/// It is declared as JSON but is not valid JSON.
pub(super) fn read(content_type: &str, body: &Bytes) -> Result<Dynamic, Failure> {
    if body.is_empty() {
        return Ok(Dynamic::UNIT);
    }
    Ok(match body_kind(content_type) {
        BodyKind::Json => json::read(body).map_err(|error| {
            Failure::new(FailureKind::InvalidJson, format!("the body is not valid JSON: {error}"))
        })?,
        BodyKind::Utf8 => String::from_utf8_lossy(body).into_owned().into(),
        BodyKind::Latin1 => body.iter().map(|byte| char::from(*byte)).collect::<String>().into(),
        BodyKind::Blob => Dynamic::from_blob(body.to_vec()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn body_is_parsed_by_its_content_type() {
        let read = |content_type, bytes: &'static [u8]| read(content_type, &Bytes::from_static(bytes));
        assert!(read("application/problem+json; charset=utf-8", b"[1]").unwrap().is_array());
        assert_eq!(read("application/json", b"{").unwrap_err().kind, FailureKind::InvalidJson);
        assert_eq!(read("Text/Plain; charset=ISO-8859-1", b"\xe9").unwrap().into_string().unwrap(), "é");
        assert_eq!(read("text/plain", b"\xe9").unwrap().into_string().unwrap(), "\u{fffd}");
        assert!(read("application/x-www-form-urlencoded", b"a=1").unwrap().is_string());
        assert!(read("", b"a").unwrap().is_blob() && read("image/png", b"a").unwrap().is_blob());
        assert!(read("application/json", b"").unwrap().is_unit());
    }
}
