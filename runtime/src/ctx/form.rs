//! The form in the body of a request: `application/x-www-form-urlencoded` (WHATWG URL standard, section 5) or
//! `multipart/form-data`.
//!
//! It is parsed before the execution, from the bytes in memory, if the script reads `form`, `form_all` or `files`.
//! Browsers and clients never write a malformed form, so nothing is guessed: a form that is not valid as a whole is an
//! error of the client and fails the execution with [`FailureKind::InvalidForm`]. Otherwise a script could decide on
//! other values than a proxy in front of it.

use bytes::Bytes;
use memchr::{memchr, memchr2};
use rhai::{Array, Dynamic, ImmutableString, Map};

use super::header_parameters::essence;
use super::multipart;
use crate::failure::{Failure, FailureKind};
use crate::json::BYTES_PER_STEP;
use crate::run_context;

/// The maximum number of fields: the default of PHP, Django and Express. Each costs some allocations, whatever its
/// length.
pub(super) const FIELDS_MAX: usize = 1000;

/// The maximum number of files, as in Django. Each costs a map.
pub(super) const FILES_MAX: usize = 100;

/// The number of bytes that are decoded between two polls of the limits.
const DECODED_BYTES: usize = 4096;

/// Why a body is not a form.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum FormError {
    #[error("`%` is not followed by two hexadecimal digits")]
    PercentEncoding,
    #[error("a name or a value is not UTF-8")]
    NotUtf8,
    #[error("it has more than {FIELDS_MAX} fields")]
    TooManyFields,
    #[error("it has more than {FILES_MAX} files")]
    TooManyFiles,
    #[error("the content type has no valid boundary")]
    Boundary,
    #[error("a boundary is followed by other text")]
    Delimiter,
    #[error("the headers of a part are longer than {} bytes", multipart::HEADER_BYTES_MAX)]
    LongHeaders,
    #[error("a header of a part is malformed")]
    Header,
    #[error("a part has no name")]
    NoName,
    #[error("a part has a content-transfer-encoding, which forms do not have")]
    TransferEncoding,
    #[error("it ends before its last boundary")]
    Truncated,
    /// A limit of the current execution was reached.
    #[error("a limit was reached")]
    LimitReached,
}

/// A form.
#[derive(Debug, Default)]
pub(super) struct Form<'b> {
    /// Names and values, in order.
    pub(super) fields: Vec<(ImmutableString, ImmutableString)>,
    /// The files, in order.
    pub(super) files: Vec<File<'b>>,
}

/// A file of a form.
#[derive(Debug)]
pub(super) struct File<'b> {
    /// The name of its field.
    pub(super) field: ImmutableString,
    /// Its name at the client, as sent.
    pub(super) name: ImmutableString,
    pub(super) content_type: ImmutableString,
    pub(super) data: &'b [u8],
}

impl<'b> Form<'b> {
    /// Parses a body; a body that is no form is an empty one.
    ///
    /// # Errors
    /// The body is declared as a form but is not a valid one, or a limit of the execution was reached.
    pub(super) fn read(content_type: &str, body: &'b Bytes) -> Result<Self, Failure> {
        let essence = essence(content_type);
        let form = if body.is_empty() {
            Ok(Self::default())
        } else if essence.eq_ignore_ascii_case("application/x-www-form-urlencoded") {
            url_encoded(body)
        } else if essence.eq_ignore_ascii_case("multipart/form-data") {
            multipart::read(content_type, body)
        } else {
            Ok(Self::default())
        };
        form.map_err(|error| {
            Failure::new(FailureKind::InvalidForm, format!("the body is not a valid form: {error}"))
        })
    }

    /// Adds a field.
    pub(super) fn add(&mut self, name: ImmutableString, value: ImmutableString) -> Result<(), FormError> {
        if self.fields.len() == FIELDS_MAX {
            return Err(FormError::TooManyFields);
        }
        self.fields.push((name, value));
        Ok(())
    }

    /// The value of each name; the last one of several counts.
    pub(super) fn last_values(&self) -> Map {
        self.fields.iter().map(|(name, value)| (name.as_str().into(), value.clone().into())).collect()
    }

    /// All values of each name, in order.
    pub(super) fn all_values(&self) -> Map {
        let mut all = Map::new();
        for (name, value) in &self.fields {
            let values = all.entry(name.as_str().into()).or_insert_with(|| Dynamic::from_array(Array::new()));
            if let Some(mut values) = values.write_lock::<Array>() {
                values.push(value.clone().into());
            }
        }
        all
    }

    /// The files, as `#{field, name, content_type, data}`.
    ///
    /// # Errors
    /// A limit of the execution was reached.
    pub(super) fn files(&self) -> Result<Array, Failure> {
        let mut files = Array::with_capacity(self.files.len());
        for file in &self.files {
            if reserve(file.data.len()).and_then(|()| charge(file.data.len())).is_err() {
                // Replaced by the reached limit.
                return Err(Failure::new(FailureKind::Memory, "the files do not fit into memory"));
            }
            let entries = [
                ("field", file.field.clone().into()),
                ("name", file.name.clone().into()),
                ("content_type", file.content_type.clone().into()),
                ("data", Dynamic::from_blob(file.data.to_vec())),
            ];
            files.push(Dynamic::from_map(
                entries.into_iter().map(|(name, value)| (name.into(), value)).collect(),
            ));
        }
        Ok(files)
    }
}

fn url_encoded(body: &[u8]) -> Result<Form<'static>, FormError> {
    let mut form = Form::default();
    let mut rest = body;
    while !rest.is_empty() {
        let (pair, after) = split_at_byte(b'&', rest);
        rest = after;
        charge(pair.len())?;
        if !pair.is_empty() {
            let (name, value) = split_at_byte(b'=', pair);
            form.add(decode(name)?, decode(value)?)?;
        }
    }
    Ok(form)
}

/// The bytes before and after the first `separator`.
fn split_at_byte(separator: u8, bytes: &[u8]) -> (&[u8], &[u8]) {
    memchr(separator, bytes).map_or((bytes, &[]), |at| (&bytes[..at], &bytes[at + 1..]))
}

/// The text that is encoded with `%` and `+`.
fn decode(encoded: &[u8]) -> Result<ImmutableString, FormError> {
    let Some(plain) = memchr2(b'%', b'+', encoded) else { return text(encoded) };
    reserve(encoded.len())?;
    let mut decoded = Vec::with_capacity(encoded.len());
    decoded.extend_from_slice(&encoded[..plain]);
    let (mut rest, mut charged) = (&encoded[plain..], encoded.len() - plain);
    while let Some((byte, after)) = rest.split_first() {
        if rest.len() <= charged {
            charged = charged.saturating_sub(DECODED_BYTES);
            charge(DECODED_BYTES)?;
        }
        rest = after;
        decoded.push(match byte {
            b'+' => b' ',
            b'%' => {
                let ([high, low], after) = rest.split_first_chunk().ok_or(FormError::PercentEncoding)?;
                rest = after;
                let digit = |byte: u8| char::from(byte).to_digit(16).ok_or(FormError::PercentEncoding);
                (digit(*high)? * 16 + digit(*low)?) as u8
            }
            byte => *byte,
        });
    }
    text(&decoded)
}

/// A copy of a name or a value.
pub(super) fn text(bytes: &[u8]) -> Result<ImmutableString, FormError> {
    reserve(bytes.len())?;
    std::str::from_utf8(bytes).map(ImmutableString::from).map_err(|_| FormError::NotUtf8)
}

/// Charges the work of one part, field or escape, and of reading these bytes.
pub(super) fn charge(bytes: usize) -> Result<(), FormError> {
    run_context::charge(1 + bytes / BYTES_PER_STEP).map_or(Ok(()), |_| Err(FormError::LimitReached))
}

/// Reserves memory for a copy.
pub(super) fn reserve(bytes: usize) -> Result<(), FormError> {
    run_context::reserve(bytes).map_or(Ok(()), |_| Err(FormError::LimitReached))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fields(body: &'static [u8]) -> Result<Vec<(String, String)>, FormError> {
        let form = url_encoded(body)?;
        Ok(form.fields.into_iter().map(|(name, value)| (name.into_owned(), value.into_owned())).collect())
    }

    #[test]
    fn url_encoded_fields_are_decoded() {
        let expected = [("a", "1 2"), ("b c", "é=+"), ("a", ""), ("", "x"), ("d", "")];
        let expected = expected.map(|(name, value)| (name.to_owned(), value.to_owned()));
        assert_eq!(fields(b"a=1+2&b%20c=%C3%A9=%2b&&a=&=x&d&").unwrap(), expected);
        assert_eq!(fields(b"&&").unwrap(), []);
    }

    #[test]
    fn malformed_encodings_are_refused() {
        for body in [&b"a=%"[..], b"a=%4", b"a=%zz", b"%+1=a", b"a=100%&b=1"] {
            assert_eq!(fields(body), Err(FormError::PercentEncoding));
        }
        for body in [&b"a=\xff"[..], b"%C3=a", b"a=%C3&b=%A9"] {
            assert_eq!(fields(body), Err(FormError::NotUtf8));
        }
    }

    #[test]
    fn number_of_fields_is_limited() {
        let body = "a&".repeat(FIELDS_MAX);
        assert_eq!(url_encoded(body.as_bytes()).unwrap().fields.len(), FIELDS_MAX);
        let body = body + "a";
        assert_eq!(url_encoded(body.as_bytes()).unwrap_err(), FormError::TooManyFields);
    }
}
