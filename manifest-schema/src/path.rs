//! Route paths: `/greet/{name}`, `/files/{*rest}`.
//!
//! Paths are written percent-decoded. Requests are matched segment by segment after percent-decoding, so a path can
//! contain any character that a URL segment can encode (RFC 3986 section 3.3).

mod notation;

use std::fmt;
use std::ops::Range;

use crate::diagnostic::quoted;
use notation::ForeignCapture;

/// Maximum length in bytes.
pub const PATH_MAX: usize = 1024;

/// Maximum number of segments: the depth of the router.
pub const SEGMENTS_MAX: usize = 64;

/// A valid route path.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct RoutePath {
    text: String,
    segments: Vec<Segment>,
}

/// A segment of a route path.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Segment {
    /// Literal text; empty after a trailing slash.
    Literal(String),
    /// `{name}`: captures one segment, never empty.
    Capture(String),
    /// `{*name}`: captures the remaining segments, never empty; only at the end.
    Rest(String),
}

/// An invalid route path: the broken rule, and where.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("path {} {rule}", quoted(text))]
pub struct PathError {
    text: String,
    /// The broken rule.
    pub rule: PathRule,
    /// The byte range that breaks it.
    pub range: Range<usize>,
}

/// A rule of route paths. Its message follows the path.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PathRule {
    /// It does not begin with `/`.
    #[error("must begin with `/`")]
    NoLeadingSlash,
    /// It is longer than [`PATH_MAX`].
    #[error("is longer than {PATH_MAX} bytes")]
    TooLong,
    /// It has more than [`SEGMENTS_MAX`] segments.
    #[error("has more than {SEGMENTS_MAX} segments")]
    TooManySegments,
    /// Two adjacent slashes.
    #[error("has an empty segment")]
    EmptySegment,
    /// A segment `.` or `..`, which clients resolve before the request.
    #[error("has a segment `.` or `..`, which clients resolve before the request")]
    DotSegment,
    /// A `?`, which begins the query.
    #[error("has a `?`; routes do not match queries")]
    Query,
    /// A pattern of another router: `{id:\d+}`, `:id(\d+)`.
    #[error("has a pattern; routes only match whole segments")]
    Pattern,
    /// An optional segment of another router.
    #[error("has an optional segment")]
    Optional,
    /// A `#`, which begins the fragment.
    #[error("has a `#`; clients do not send fragments")]
    Fragment,
    /// A `%`, since paths are written decoded.
    #[error("has a `%`; paths are written decoded, such as `ü` for `%C3%BC`")]
    Encoded,
    /// A backslash, which browsers replace by a slash.
    #[error("has a `\\`, which browsers send as `/`")]
    Backslash,
    /// A control character.
    #[error("has a control character")]
    ControlCharacter,
    /// Braces that do not enclose a whole segment.
    #[error("has braces in a part of a segment; a capture must be a whole segment")]
    Braces,
    /// An invalid capture name.
    #[error(
        "has a capture with an invalid name; names have letters, digits and `_`, and do not begin with a digit"
    )]
    CaptureName,
    /// Two captures with the same name.
    #[error("has two captures of one name")]
    DuplicateCapture,
    /// A segment after `{*name}`.
    #[error("has segments after a capture of the remaining ones")]
    RestNotLast,
}

impl RoutePath {
    /// Parses a path.
    ///
    /// # Errors It breaks a rule; the first one from the left is reported.
    pub fn parse(text: &str) -> Result<Self, PathError> {
        parse_segments(text)
            .map(|segments| Self { text: text.to_owned(), segments })
            .map_err(|(rule, range)| PathError { text: text.to_owned(), rule, range })
    }

    /// The path as written.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The segments in order. `/` is one empty literal.
    pub fn segments(&self) -> &[Segment] {
        &self.segments
    }

    /// Literal segments that another router would capture, such as `:id`: their byte ranges, and the equivalent
    /// captures.
    pub(crate) fn foreign_captures(&self) -> Vec<(Range<usize>, String)> {
        let locate = |ForeignCapture { index, capture }| {
            let start = 1 + self.text[1..].split('/').take(index).map(|part| part.len() + 1).sum::<usize>();
            let part = self.text[start..].split('/').next().unwrap_or_default();
            (start..start + part.len(), capture)
        };
        notation::foreign_captures(&self.segments).into_iter().map(locate).collect()
    }

    /// The path with `{}` and `{*}` for captures. Two paths of one shape match the same requests.
    pub fn shape(&self) -> String {
        let mut shape = String::with_capacity(self.text.len());
        for segment in &self.segments {
            shape.push('/');
            // Literals have no braces, so shapes are unambiguous.
            shape.push_str(match segment {
                Segment::Literal(text) => text,
                Segment::Capture(_) => "{}",
                Segment::Rest(_) => "{*}",
            });
        }
        shape
    }
}

impl PathError {
    /// How to fix it. Code in it replaces [`PathError::range`].
    pub fn help(&self) -> Option<String> {
        let broken = &self.text[self.range.clone()];
        let write = |code: String| Some(format!("write `{code}`"));
        match self.rule {
            PathRule::NoLeadingSlash => write(from_root(&self.text)?),
            PathRule::TooLong | PathRule::TooManySegments => None,
            PathRule::EmptySegment => write("/".to_owned()),
            PathRule::DotSegment | PathRule::ControlCharacter => Some("leave it out".to_owned()),
            PathRule::Pattern => write(notation::repair_pattern(broken, self.is_last())?),
            PathRule::Optional => Some("write two routes, one without it".to_owned()),
            PathRule::Query => Some("remove it: scripts read it as `ctx.request.query`".to_owned()),
            PathRule::Fragment => Some("remove it: clients do not send it".to_owned()),
            PathRule::Encoded => write(decoded(broken)?),
            PathRule::Backslash => write("/".to_owned()),
            PathRule::Braces => {
                let capture = notation::repair_capture(broken, self.is_last())?;
                let before = broken.find('{').is_some_and(|at| at > 0);
                let after = broken.find('}').is_some_and(|at| at + 1 < broken.len());
                Some(match before || after {
                    true => format!("write `{capture}`, and parse the rest of the segment in the script"),
                    false => format!("write `{capture}`"),
                })
            }
            PathRule::CaptureName => Some(
                notation::repair_capture(broken, self.is_last())
                    .map_or_else(|| "such as `{name}`".to_owned(), |capture| format!("write `{capture}`")),
            ),
            PathRule::DuplicateCapture => {
                let name = broken.trim_matches(|c| matches!(c, '{' | '}' | '*'));
                let taken: Vec<String> = self
                    .text
                    .split('/')
                    .map(|part| part.trim_matches(|c| matches!(c, '{' | '}' | '*')).to_owned())
                    .collect();
                write(broken.replace(name, &notation::unique(name, &taken)))
            }
            PathRule::RestNotLast => {
                Some(format!("write `{}` for one segment, or end the path with it", broken.replace('*', "")))
            }
        }
    }

    /// Whether nothing follows the broken range.
    fn is_last(&self) -> bool {
        self.range.end == self.text.len()
    }
}

/// Whether the `?` at byte `at` marks an optional segment, as in `/:id?` or `/{id?}`, and not a query.
fn makes_optional(text: &str, at: usize) -> bool {
    let part = text[..at].rsplit('/').next().unwrap_or_default();
    let after = text[at + 1..].split('/').next().unwrap_or_default();
    part.starts_with([':', '{', '<', '[', '(']) && matches!(after, "" | "}" | ">" | "]" | ")")
}

/// The likely path for text without a leading slash: `greet`, `GET /greet`, `https://example.org/greet`.
fn from_root(text: &str) -> Option<String> {
    let without_method =
        text.split_once(' ').filter(|(method, _)| crate::method::Method::parse(method).is_some());
    let text = without_method.map_or(text, |(_, path)| path).trim();
    let path = match text.split_once("://") {
        Some((_, address)) => address.find('/').map_or("/", |at| &address[at..]),
        None => text.trim_start_matches("./"),
    };
    // Anchors of a regular expression.
    let path = path.strip_prefix('^').map_or(path, |path| path.trim_end_matches('$'));
    let mut path = format!("/{}", path.trim_start_matches('/'));
    let other = RoutePath::parse(&path).ok()?.foreign_captures();
    for (part, capture) in other.into_iter().rev() {
        path.replace_range(part, &capture);
    }
    RoutePath::parse(&path).is_ok().then_some(path)
}

/// Percent-decodes text, if the result is valid in a path.
fn decoded(encoded: &str) -> Option<String> {
    let bytes: Option<Vec<u8>> =
        encoded.split('%').skip(1).map(|byte| u8::from_str_radix(byte, 16).ok()).collect();
    let text = String::from_utf8(bytes?).ok()?;
    (!text.contains(['/', '{', '}']) && check_characters(&text).is_ok()).then_some(text)
}

impl fmt::Display for RoutePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// A broken rule and its byte range.
type Violation = (PathRule, Range<usize>);

fn parse_segments(text: &str) -> Result<Vec<Segment>, Violation> {
    if text.len() > PATH_MAX {
        return Err((PathRule::TooLong, 0..text.len()));
    }
    if !text.starts_with('/') {
        return Err((PathRule::NoLeadingSlash, 0..text.len()));
    }
    check_characters(text)?;
    let mut segments: Vec<Segment> = Vec::new();
    let mut start = 1;
    for part in text[1..].split('/') {
        let range = start..start + part.len();
        start = range.end + 1;
        let last = range.end == text.len();
        if segments.len() == SEGMENTS_MAX {
            return Err((PathRule::TooManySegments, range.start..text.len()));
        }
        if part.is_empty() && !last {
            return Err((PathRule::EmptySegment, range.start - 1..range.end + 1));
        }
        let segment = parse_segment(part).map_err(|rule| (rule, range.clone()))?;
        if let Segment::Capture(name) | Segment::Rest(name) = &segment
            && segments.iter().any(|earlier| captured(earlier) == Some(name))
        {
            return Err((PathRule::DuplicateCapture, range));
        }
        if matches!(segment, Segment::Rest(_)) && !last {
            return Err((PathRule::RestNotLast, range));
        }
        segments.push(segment);
    }
    Ok(segments)
}

fn check_characters(text: &str) -> Result<(), Violation> {
    for (at, c) in text.char_indices() {
        let rule = match c {
            '?' if makes_optional(text, at) => PathRule::Optional,
            '?' => PathRule::Query,
            '#' => PathRule::Fragment,
            '%' => PathRule::Encoded,
            '\\' => PathRule::Backslash,
            c if c.is_control() => PathRule::ControlCharacter,
            _ => continue,
        };
        let rest = &text[at..];
        let length = match rule {
            // The help applies to the whole text.
            PathRule::Query if !rest[1..].contains('/') => rest.len(),
            PathRule::Fragment => rest.len(),
            PathRule::Encoded => encoded_length(rest),
            _ => c.len_utf8(),
        };
        let segment_start = text[..at].rfind('/').map_or(0, |slash| slash + 1);
        let part = text[segment_start..].split('/').next().unwrap_or_default();
        if rule == PathRule::Backslash && part.starts_with(['{', ':', '(', '<']) {
            return Err((PathRule::Pattern, segment_start..segment_start + part.len()));
        }
        return Err((rule, at..at + length));
    }
    Ok(())
}

/// The length of the percent-encoded prefix of `text`; at least the `%`.
fn encoded_length(text: &str) -> usize {
    let is_encoded = |three: &&[u8]| matches!(three, [b'%', high, low] if high.is_ascii_hexdigit() && low.is_ascii_hexdigit());
    (text.as_bytes().chunks(3).take_while(is_encoded).count() * 3).max(1)
}

fn parse_segment(part: &str) -> Result<Segment, PathRule> {
    if matches!(part, "." | "..") {
        return Err(PathRule::DotSegment);
    }
    if !part.contains(['{', '}']) {
        return Ok(Segment::Literal(part.to_owned()));
    }
    let inner = part.strip_prefix('{').and_then(|part| part.strip_suffix('}')).ok_or(PathRule::Braces)?;
    if inner.contains(['{', '}']) {
        return Err(PathRule::Braces);
    }
    let (name, rest) = inner.strip_prefix('*').map_or((inner, false), |name| (name, true));
    let begins = name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_');
    if !begins || !name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_') {
        return Err(PathRule::CaptureName);
    }
    Ok(if rest { Segment::Rest(name.to_owned()) } else { Segment::Capture(name.to_owned()) })
}

fn captured(segment: &Segment) -> Option<&String> {
    match segment {
        Segment::Literal(_) => None,
        Segment::Capture(name) | Segment::Rest(name) => Some(name),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn path_is_parsed_into_segments() {
        let path = RoutePath::parse("/a b/{b}/{*c}").unwrap();
        let [a, b, c] = ["a b", "b", "c"].map(str::to_owned);
        assert_eq!(path.segments(), [Segment::Literal(a), Segment::Capture(b), Segment::Rest(c)]);
        assert_eq!(path.as_str(), "/a b/{b}/{*c}");
    }

    #[test]
    fn trailing_slash_is_an_empty_last_segment() {
        let parts = |text| RoutePath::parse(text).unwrap().segments().len();
        assert_eq!((parts("/"), parts("/a"), parts("/a/")), (1, 1, 2));
        assert_ne!(RoutePath::parse("/a").unwrap().shape(), RoutePath::parse("/a/").unwrap().shape());
    }

    #[test]
    fn shape_only_drops_capture_names() {
        let shape = |text| RoutePath::parse(text).unwrap().shape();
        assert_eq!(shape("/a/{x}/b"), shape("/a/{y}/b"));
        assert_eq!(shape("/{*x}"), shape("/{*y}"));
        assert_ne!(shape("/a/{x}"), shape("/a/{*x}"));
        assert_ne!(shape("/a/{x}"), shape("/a/x"));
    }

    #[test]
    fn broken_rule_is_reported_with_its_byte_range() {
        let long = format!("/{}", "x".repeat(PATH_MAX));
        let deep = "/a".repeat(SEGMENTS_MAX + 1);
        for (text, rule, broken) in [
            ("", PathRule::NoLeadingSlash, ""),
            ("greet", PathRule::NoLeadingSlash, "greet"),
            (&long, PathRule::TooLong, &long),
            (&deep, PathRule::TooManySegments, "a"),
            ("//", PathRule::EmptySegment, "//"),
            ("/a//b", PathRule::EmptySegment, "//"),
            ("/a/./b", PathRule::DotSegment, "."),
            ("/..", PathRule::DotSegment, ".."),
            ("/a?b=c", PathRule::Query, "?b=c"),
            ("/a?/b", PathRule::Query, "?"),
            ("/a#b", PathRule::Fragment, "#b"),
            ("/%C3%BC", PathRule::Encoded, "%C3%BC"),
            ("/100%", PathRule::Encoded, "%"),
            ("/a\\b", PathRule::Backslash, "\\"),
            ("/a\u{7f}", PathRule::ControlCharacter, "\u{7f}"),
            ("/x{a}", PathRule::Braces, "x{a}"),
            ("/{a}.json", PathRule::Braces, "{a}.json"),
            ("/{a", PathRule::Braces, "{a"),
            ("/}{", PathRule::Braces, "}{"),
            ("/{{a}}", PathRule::Braces, "{{a}}"),
            ("/{}", PathRule::CaptureName, "{}"),
            ("/{*}", PathRule::CaptureName, "{*}"),
            ("/{1a}", PathRule::CaptureName, "{1a}"),
            ("/{ä}", PathRule::CaptureName, "{ä}"),
            ("/{a}/{a}", PathRule::DuplicateCapture, "{a}"),
            ("/{a}/{*a}", PathRule::DuplicateCapture, "{*a}"),
            ("/{*a}/b", PathRule::RestNotLast, "{*a}"),
            ("/{*a}/", PathRule::RestNotLast, "{*a}"),
        ] {
            let error = RoutePath::parse(text).unwrap_err();
            assert_eq!((error.rule, &text[error.range]), (rule, broken), "{text}");
        }
    }

    #[test]
    fn path_of_maximum_length_or_depth_is_valid() {
        assert!(RoutePath::parse(&format!("/{}", "x".repeat(PATH_MAX - 1))).is_ok());
        assert!(RoutePath::parse(&"/a".repeat(SEGMENTS_MAX)).is_ok());
    }

    #[test]
    fn error_shows_path_and_rule() {
        let error = RoutePath::parse("/x{a}").unwrap_err().to_string();
        assert_eq!(
            error,
            "path `/x{a}` has braces in a part of a segment; a capture must be a whole segment"
        );
    }

    proptest! {
        #[test]
        fn arbitrary_text_is_a_path_or_an_error_in_range(text in "[/{}*.a%?\u{e4} -]{0,40}") {
            match RoutePath::parse(&text) {
                Ok(path) => prop_assert_eq!(path.as_str(), text),
                Err(error) => prop_assert!(text.get(error.range).is_some()),
            }
        }
    }
}
