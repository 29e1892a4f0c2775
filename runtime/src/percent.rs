//! Percent-decoding (RFC 3986 section 2.1).

use std::borrow::Cow;

/// The bytes that `text` encodes; `None` if a `%` is not followed by two hexadecimal digits.
pub(crate) fn decode(text: &str) -> Option<Cow<'_, [u8]>> {
    if !text.contains('%') {
        return Some(Cow::Borrowed(text.as_bytes()));
    }
    let mut decoded = Vec::with_capacity(text.len());
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        if byte == b'%' {
            let high = char::from(bytes.next()?).to_digit(16)?;
            let low = char::from(bytes.next()?).to_digit(16)?;
            decoded.push((high * 16 + low) as u8);
        } else {
            decoded.push(byte);
        }
    }
    Some(Cow::Owned(decoded))
}

/// The text that `text` encodes; `None` if it is malformed or not UTF-8.
pub(crate) fn decode_text(text: &str) -> Option<Cow<'_, str>> {
    match decode(text)? {
        Cow::Borrowed(_) => Some(Cow::Borrowed(text)),
        Cow::Owned(bytes) => String::from_utf8(bytes).ok().map(Cow::Owned),
    }
}

/// Decodes a key or a value of a query, where `+` is a space (form encoding of the WHATWG URL standard). Lenient as
/// in browsers: a stray `%` stays, and invalid UTF-8 becomes U+FFFD.
pub(crate) fn decode_form(text: &str) -> String {
    let spaced = text.replace('+', " ");
    match decode(&spaced) {
        Some(bytes) => String::from_utf8_lossy(&bytes).into_owned(),
        None => spaced,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_decoded_strictly() {
        assert_eq!(decode_text("a%20b%C3%A9").as_deref(), Some("a bé"));
        assert_eq!(decode_text("a+b").as_deref(), Some("a+b"));
        for malformed in ["%", "%2", "%zz", "%+1", "%ff", "a%"] {
            assert_eq!(decode_text(malformed), None, "{malformed}");
        }
    }

    #[test]
    fn forms_are_decoded_leniently() {
        assert_eq!(decode_form("a+b%2B%C3%A9"), "a b+é");
        assert_eq!(decode_form("100%"), "100%");
        assert_eq!(decode_form("%ff"), "\u{fffd}");
    }
}
