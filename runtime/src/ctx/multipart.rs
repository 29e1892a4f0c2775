//! `multipart/form-data` (RFC 7578, RFC 2046 section 5.1), from the bytes in memory.
//!
//! An own reader: multer, the crate for it, reads an asynchronous stream and copies it, and cannot stop at the limits
//! of an execution. Here the body is searched once, and the data of a part is a slice of it.
//!
//! As browsers write it, a `"` or a line break in a name is `%22`, `%0D` or `%0A` (HTML standard, section 4.10.22.8),
//! and names are UTF-8.

use std::borrow::Cow;

use memchr::memmem::Finder;
use rhai::ImmutableString;

use super::form::{FILES_MAX, File, Form, FormError, charge, text};
use super::header_parameters::{MalformedParameters, essence, parameter, parameters};
use crate::percent;

/// The maximum length of the headers of a part, in bytes: the name of the field, and the name and the type of a file.
pub(super) const HEADER_BYTES_MAX: usize = 8 * 1024;

/// The maximum length of a boundary, in bytes (RFC 2046).
const BOUNDARY_BYTES_MAX: usize = 70;

/// The maximum number of spaces after a boundary. Nobody writes any; RFC 2046 allows what a gateway added.
const PADDING_BYTES_MAX: usize = 64;

/// The number of bytes that are searched at once, between two polls of the limits.
const SEARCHED_BYTES: usize = 256 * 1024;

/// The content type of a file that has none (RFC 7578 section 4.4).
const DEFAULT_CONTENT_TYPE: &str = "text/plain";

/// Parses a body.
///
/// # Errors
/// It is malformed, or a limit of the execution was reached.
pub(super) fn read<'b>(content_type: &str, body: &'b [u8]) -> Result<Form<'b>, FormError> {
    let boundary = boundary(content_type).ok_or(FormError::Boundary)?;
    let delimiter = format!("\r\n--{boundary}");
    let delimiter = Finder::new(&delimiter);
    let mut form = Form::default();
    // The first delimiter begins the body, or follows a preamble.
    let first = &delimiter.needle()[2..];
    let mut at = if body.starts_with(first) {
        first.len()
    } else {
        find(&delimiter, body, 0)?.ok_or(FormError::Truncated)? + delimiter.needle().len()
    };
    loop {
        let Some(headers) = after_delimiter(body, at)? else { return Ok(form) };
        let data = headers_end(body, headers)?;
        // An empty part can have the line break of the delimiter only.
        let end = find(&delimiter, body, data - 2)?.ok_or(FormError::Truncated)?;
        let part = Part::new(&body[headers..data], &body[data..end.max(data)])?;
        part.add_to(&mut form)?;
        at = end + delimiter.needle().len();
    }
}

/// The boundary in a content type.
fn boundary(content_type: &str) -> Option<String> {
    let parameters = parameters(content_type).ok()?;
    let boundary = parameter(&parameters, "boundary").ok()??;
    let is_allowed =
        |character: char| character.is_ascii_alphanumeric() || "'()+_,-./:=? ".contains(character);
    let valid = (1..=BOUNDARY_BYTES_MAX).contains(&boundary.len())
        && boundary.chars().all(is_allowed)
        && !boundary.ends_with(' ');
    valid.then(|| boundary.to_owned())
}

/// The position of `needle` from `from` on.
fn find(needle: &Finder<'_>, body: &[u8], from: usize) -> Result<Option<usize>, FormError> {
    let mut from = from;
    loop {
        let end = body.len().min(from + SEARCHED_BYTES + needle.needle().len());
        let found = needle.find(&body[from..end]);
        charge(found.unwrap_or(end - from))?;
        match found {
            Some(at) => return Ok(Some(from + at)),
            None if end == body.len() => return Ok(None),
            None => from += SEARCHED_BYTES,
        }
    }
}

/// Where the headers of the part behind the delimiter that ends at `at` begin; `None` if it is the last delimiter.
fn after_delimiter(body: &[u8], at: usize) -> Result<Option<usize>, FormError> {
    let is_last = body[at..].starts_with(b"--");
    let line = if is_last { at + 2 } else { at };
    let padding = &body[line..body.len().min(line + PADDING_BYTES_MAX)];
    let spaces = padding.iter().take_while(|byte| matches!(byte, b' ' | b'\t')).count();
    let rest = &body[line + spaces..];
    match (is_last, rest.starts_with(b"\r\n")) {
        (false, true) => Ok(Some(line + spaces + 2)),
        (true, ends) if ends || rest.is_empty() => Ok(None),
        _ if b"\r\n".starts_with(rest) || rest == b"-" => Err(FormError::Truncated),
        _ => Err(FormError::Delimiter),
    }
}

/// Where the data of a part begins, whose headers begin at `from`.
fn headers_end(body: &[u8], from: usize) -> Result<usize, FormError> {
    // With the line break before them, so that a part without headers is found.
    let start = from - 2;
    let end = body.len().min(from + HEADER_BYTES_MAX);
    match memchr::memmem::find(&body[start..end], b"\r\n\r\n") {
        Some(at) => Ok(start + at + 4),
        None if end == body.len() => Err(FormError::Truncated),
        None => Err(FormError::LongHeaders),
    }
}

/// A part of a form.
struct Part<'b> {
    name: ImmutableString,
    /// The name of the file, if it is one.
    file: Option<ImmutableString>,
    content_type: Option<&'b str>,
    data: &'b [u8],
}

impl<'b> Part<'b> {
    fn new(headers: &'b [u8], data: &'b [u8]) -> Result<Self, FormError> {
        charge(headers.len())?;
        let headers = std::str::from_utf8(headers).map_err(|_| FormError::NotUtf8)?;
        let (mut disposition, mut content_type) = (None, None);
        for line in headers.split("\r\n").filter(|line| !line.is_empty()) {
            // A line that begins with a space would continue the one before; no client writes that.
            let (name, value) = line.split_once(':').ok_or(FormError::Header)?;
            if name.is_empty() || name.contains(|character: char| !character.is_ascii_graphic()) {
                return Err(FormError::Header);
            }
            let value = value.trim();
            if name.eq_ignore_ascii_case("content-disposition") {
                if disposition.replace(value).is_some() {
                    return Err(FormError::Header);
                }
            } else if name.eq_ignore_ascii_case("content-type") {
                content_type = content_type.or(Some(value));
            } else if name.eq_ignore_ascii_case("content-transfer-encoding")
                && !["7bit", "8bit", "binary"].iter().any(|identity| value.eq_ignore_ascii_case(identity))
            {
                return Err(FormError::TransferEncoding);
            }
        }
        let disposition = disposition.ok_or(FormError::NoName)?;
        let parameters = parameters(disposition)?;
        let name = parameter(&parameters, "name")?.ok_or(FormError::NoName)?;
        if !essence(disposition).eq_ignore_ascii_case("form-data") {
            return Err(FormError::NoName);
        }
        let file = match (parameter(&parameters, "filename")?, parameter(&parameters, "filename*")?) {
            (Some(name), _) => Some(unescape(name)),
            (None, Some(name)) => Some(extended(name).ok_or(FormError::Header)?),
            (None, None) => None,
        };
        Ok(Self { name: unescape(name), file, content_type, data })
    }

    fn add_to(self, form: &mut Form<'b>) -> Result<(), FormError> {
        match self.file {
            // What a browser sends for a file input where nothing was chosen.
            Some(name) if name.is_empty() && self.data.is_empty() => Ok(()),
            Some(_) if form.files.len() == FILES_MAX => Err(FormError::TooManyFiles),
            Some(name) => {
                let content_type = self.content_type.unwrap_or(DEFAULT_CONTENT_TYPE).into();
                form.files.push(File { field: self.name, name, content_type, data: self.data });
                Ok(())
            }
            None => {
                charge(self.data.len())?;
                form.add(self.name, text(self.data)?)
            }
        }
    }
}

impl From<MalformedParameters> for FormError {
    fn from(_: MalformedParameters) -> Self {
        Self::Header
    }
}

/// A name with the characters that browsers escape.
fn unescape(name: &str) -> ImmutableString {
    if !name.contains('%') {
        return name.into();
    }
    name.replace("%22", "\"").replace("%0D", "\r").replace("%0A", "\n").into()
}

/// `UTF-8''caf%C3%A9.txt` (RFC 8187), which some clients write although RFC 7578 forbids it.
fn extended(value: &str) -> Option<ImmutableString> {
    let (charset, rest) = value.split_once('\'')?;
    let (_, encoded) = rest.split_once('\'')?;
    let text: Cow<'_, str> = percent::decode_text(encoded)?;
    charset.eq_ignore_ascii_case("utf-8").then(|| text.as_ref().into())
}

#[cfg(test)]
mod tests {
    use super::*;

    const TYPE: &str = "multipart/form-data; boundary=xy";

    type Files = Vec<(String, String, String, Vec<u8>)>;

    fn parse(content_type: &str, body: &[u8]) -> Result<(Vec<(String, String)>, Files), FormError> {
        let form = read(content_type, body)?;
        let fields = form.fields.into_iter().map(|(name, value)| (name.into_owned(), value.into_owned()));
        let files = form.files.into_iter().map(|file| {
            let File { field, name, content_type, data } = file;
            (field.into_owned(), name.into_owned(), content_type.into_owned(), data.to_vec())
        });
        Ok((fields.collect(), files.collect()))
    }

    fn fields(body: &[u8]) -> Result<Vec<(String, String)>, FormError> {
        parse(TYPE, body).map(|(fields, _)| fields)
    }

    fn field(disposition: &str, value: &str) -> Vec<u8> {
        format!("--xy\r\nContent-Disposition: {disposition}\r\n\r\n{value}\r\n--xy--\r\n").into_bytes()
    }

    fn pair(name: &str, value: &str) -> (String, String) {
        (name.to_owned(), value.to_owned())
    }

    #[test]
    fn fields_and_files_are_read() {
        let body = b"--xy\r\nContent-Disposition: form-data; name=\"a\"\r\n\r\n1\r\n2\r\n\
            --xy\r\ncontent-disposition: form-data; name=f; filename=\"p.png\"\r\nContent-Type: image/png\r\n\r\n\x89\r\n--x\r\n--xy \t\r\n\
            Content-Disposition: form-data; name=\"a\"\r\n\r\n\r\n--xy--";
        let (fields, files) = parse(TYPE, body).unwrap();
        assert_eq!(fields, [pair("a", "1\r\n2"), pair("a", "")]);
        let file = ("f".to_owned(), "p.png".to_owned(), "image/png".to_owned(), b"\x89\r\n--x".to_vec());
        assert_eq!(files, [file]);
    }

    #[test]
    fn preamble_and_epilogue_are_ignored() {
        let mut body = b"preamble --xy\r\n".to_vec();
        body.extend(field("form-data; name=a", "1"));
        body.extend(b"epilogue\r\n--xy\r\n");
        assert_eq!(fields(&body).unwrap(), [pair("a", "1")]);
        assert_eq!(fields(b"--xy--").unwrap(), []);
        // A part without data of its own, and one that ends with the delimiter at once.
        assert_eq!(
            fields(b"--xy\r\nContent-Disposition: form-data; name=a\r\n\r\n--xy--").unwrap(),
            [pair("a", "")]
        );
    }

    #[test]
    fn names_are_unescaped() {
        let named = |disposition: &str| fields(&field(disposition, "1")).unwrap()[0].0.clone();
        assert_eq!(named("form-data; name=\"a%22b%0D%0Ac%41\""), "a\"b\r\nc%41");
        assert_eq!(named(r#"form-data; name="a\"b\c""#), r#"a"b\c"#);
        assert_eq!(named("Form-Data; NAME=\"é\""), "é");
        let file = |disposition: &str| parse(TYPE, &field(disposition, "1")).unwrap().1[0].clone();
        let sent = file("form-data; name=f; filename*=utf-8'en'caf%C3%A9.txt");
        assert_eq!((sent.1.as_str(), sent.2.as_str()), ("café.txt", "text/plain"));
        assert_eq!(file("form-data; name=f; filename=a; filename*=utf-8''b").1, "a");
    }

    #[test]
    fn file_that_was_not_chosen_is_no_file() {
        let body = field("form-data; name=f; filename=\"\"", "");
        assert_eq!(parse(TYPE, &body).unwrap(), (vec![], vec![]));
        let body = field("form-data; name=f; filename=\"\"", "x");
        assert_eq!(parse(TYPE, &body).unwrap().1.len(), 1);
    }

    #[test]
    fn malformed_boundaries_are_refused() {
        let body = field("form-data; name=a", "1");
        for content_type in [
            "multipart/form-data",
            "multipart/form-data; boundary=",
            "multipart/form-data; boundary=\"xy",
            "multipart/form-data; boundary=\"x\u{e9}\"",
            "multipart/form-data; boundary=\"xy \"",
            "multipart/form-data; boundary=xy; boundary=xz",
        ] {
            assert_eq!(parse(content_type, &body), Err(FormError::Boundary), "{content_type}");
        }
        let long = format!("multipart/form-data; boundary={}", "x".repeat(71));
        assert_eq!(parse(&long, &body), Err(FormError::Boundary));
        let quoted = "Multipart/Form-Data; charset=utf-8; Boundary=\"xy\"";
        assert_eq!(parse(quoted, &body).unwrap().0, [pair("a", "1")]);
    }

    #[test]
    fn every_prefix_is_truncated() {
        let body = field("form-data; name=a; filename=b", "1");
        let whole = body.len() - 2;
        for end in 1..whole {
            assert_eq!(parse(TYPE, &body[..end]), Err(FormError::Truncated), "{end}");
        }
        assert!(parse(TYPE, &body[..whole]).is_ok());
    }

    #[test]
    fn malformed_parts_are_refused() {
        for (body, error) in [
            (&b"--xyz\r\n"[..], FormError::Delimiter),
            (b"--xy--z", FormError::Delimiter),
            (b"--xy\nContent-Disposition: form-data; name=a\n\n1\n--xy--\n", FormError::Delimiter),
            (b"--xy\r\n\r\n1\r\n--xy--", FormError::NoName),
            (b"--xy\r\nA: b\r\n\r\n1\r\n--xy--", FormError::NoName),
            (b"--xy\r\nA\r\n\r\n1\r\n--xy--", FormError::Header),
            (b"--xy\r\nA: b\r\n c: d\r\n\r\n1\r\n--xy--", FormError::Header),
            (b"--xy\r\nA: \xff\r\n\r\n1\r\n--xy--", FormError::NotUtf8),
        ] {
            assert_eq!(fields(body), Err(error), "{:?}", String::from_utf8_lossy(body));
        }
        for (disposition, error) in [
            ("form-data", FormError::NoName),
            ("form-data; name=a; name=b", FormError::Header),
            ("form-data; name=a; filename=b; filename=c", FormError::Header),
            ("attachment; name=a", FormError::NoName),
            ("form-data; name=\"a", FormError::Header),
            ("form-data; name=a; filename*=a", FormError::Header),
            ("form-data; name=a\r\nContent-Disposition: form-data; name=b", FormError::Header),
            ("form-data; name=a\r\nContent-Transfer-Encoding: base64", FormError::TransferEncoding),
        ] {
            assert_eq!(fields(&field(disposition, "1")), Err(error), "{disposition}");
        }
        let mut body = field("form-data; name=a", "1");
        let value = body.iter().position(|byte| *byte == b'1').unwrap();
        body[value] = 0xff;
        assert_eq!(fields(&body), Err(FormError::NotUtf8));
    }

    #[test]
    fn headers_and_files_are_limited() {
        let long = |length: usize| field(&format!("form-data; name=a; x={}", "y".repeat(length)), "1");
        assert!(fields(&long(HEADER_BYTES_MAX - 100)).is_ok());
        assert_eq!(fields(&long(HEADER_BYTES_MAX)), Err(FormError::LongHeaders));
        let part = "--xy\r\nContent-Disposition: form-data; name=f; filename=g\r\n\r\n1\r\n";
        let files = |count: usize| parse(TYPE, (part.repeat(count) + "--xy--").as_bytes());
        assert_eq!(files(FILES_MAX).unwrap().1.len(), FILES_MAX);
        assert_eq!(files(FILES_MAX + 1), Err(FormError::TooManyFiles));
    }
}
