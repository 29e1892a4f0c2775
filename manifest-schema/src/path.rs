//! Route paths: `/greet/{name}`, `/files/{*rest}`.
//!
//! A path is written decoded, as people read it. Requests are matched part by part after percent-decoding, so a path
//! may hold any character that can stand between two slashes of a URL (RFC 3986 section 3.3).

mod notation;

use std::fmt;
use std::ops::Range;

use crate::diagnostic::quoted;
use notation::Foreign;

/// The longest path, in bytes: longer ones are in no address that a person wrote.
pub const PATH_MAX: usize = 1024;

/// The most parts of a path: the router's depth.
pub const SEGMENTS_MAX: usize = 64;

/// A checked route path.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct RoutePath {
    text: String,
    segments: Vec<Segment>,
}

/// One part of a route path, between slashes.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Segment {
    /// Text that must be there; empty for the part behind a trailing slash.
    Literal(String),
    /// `{name}`: captures one part, never empty.
    Capture(String),
    /// `{*name}`: captures the remainder, never empty; only at the end.
    Rest(String),
}

/// A text that is no route path: which rule it breaks, and where.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("path {} {rule}", quoted(text))]
pub struct PathError {
    text: String,
    /// The rule that is broken.
    pub rule: PathRule,
    /// The bytes of the text that break it.
    pub range: Range<usize>,
}

/// A rule of route paths that can be broken; its words follow the path.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PathRule {
    /// It begins with something else than `/`.
    #[error("must begin with `/`")]
    NoSlash,
    /// It is longer than [`PATH_MAX`].
    #[error("is longer than {PATH_MAX} bytes")]
    TooLong,
    /// It has more parts than [`SEGMENTS_MAX`].
    #[error("has more than {SEGMENTS_MAX} parts")]
    TooManyParts,
    /// Two slashes stand side by side.
    #[error("has an empty part")]
    EmptyPart,
    /// A part is `.` or `..`, which clients resolve before they ask.
    #[error("has a part `.` or `..`, which never arrives")]
    Dots,
    /// A `?` begins the query, which is no part of the path.
    #[error("has a `?`; queries are no part of a path")]
    Query,
    /// A pattern for a part, as other routers have it: `{id:\d+}`, `:id(\d+)`.
    #[error("has a pattern, which a route does not look at")]
    Pattern,
    /// A part that can be missing, as other routers have it.
    #[error("has an optional part")]
    Optional,
    /// A `#` begins the fragment, which is never sent.
    #[error("has a `#`; fragments are no part of a path")]
    Fragment,
    /// A `%`: the path is percent-encoded.
    #[error("has a `%`; paths are written decoded, such as `ü` for `%C3%BC`")]
    Encoded,
    /// A backslash, which browsers turn into a slash.
    #[error("has a `\\`, which browsers send as `/`")]
    Backslash,
    /// A control character.
    #[error("has a control character")]
    Control,
    /// A brace that is no whole part `{name}` or `{*name}`.
    #[error("has braces that are no whole part: a capture is all that stands between two slashes")]
    Braces,
    /// A capture's name that is none.
    #[error("has a capture whose name is not letters, digits and `_`, beginning with no digit")]
    CaptureName,
    /// Two captures of one name.
    #[error("captures one name twice")]
    CapturedTwice,
    /// A part behind `{*name}`.
    #[error("has parts behind a capture of the remainder")]
    RestNotLast,
}

impl RoutePath {
    /// Reads a path.
    ///
    /// # Errors
    /// It breaks a rule; the first one from the left is named.
    pub fn parse(text: &str) -> Result<Self, PathError> {
        parse_segments(text)
            .map(|segments| Self { text: text.to_owned(), segments })
            .map_err(|(rule, range)| PathError { text: text.to_owned(), rule, range })
    }

    /// The path as the manifest has it.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Its parts, in order. `/` is one empty literal.
    pub fn segments(&self) -> &[Segment] {
        &self.segments
    }

    /// The parts that are text here and that another router would capture, such as `:id`: their bytes, and the capture that is
    /// probably meant.
    pub(crate) fn foreign_captures(&self) -> Vec<(Range<usize>, String)> {
        let place = |Foreign { index, capture }| {
            let start = 1 + self.text[1..].split('/').take(index).map(|part| part.len() + 1).sum::<usize>();
            let part = self.text[start..].split('/').next().unwrap_or_default();
            (start..start + part.len(), capture)
        };
        notation::foreign_captures(&self.segments).into_iter().map(place).collect()
    }

    /// The path with `{}` and `{*}` for its captures: two paths of one shape match the same requests.
    pub fn shape(&self) -> String {
        let mut shape = String::with_capacity(self.text.len());
        for segment in &self.segments {
            shape.push('/');
            // No literal has a brace, so shapes cannot be mistaken for each other.
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
    /// What to do. Code in it takes the place of [`PathError::range`].
    pub fn help(&self) -> Option<String> {
        let broken = &self.text[self.range.clone()];
        let write = |code: String| Some(format!("write `{code}`"));
        match self.rule {
            PathRule::NoSlash => write(from_root(&self.text)?),
            PathRule::TooLong | PathRule::TooManyParts => None,
            PathRule::EmptyPart => write("/".to_owned()),
            PathRule::Dots | PathRule::Control => Some("leave it out".to_owned()),
            PathRule::Pattern => write(notation::capture_of_pattern(broken, self.is_last())?),
            PathRule::Optional => Some("write two routes, one without it".to_owned()),
            PathRule::Query => Some("leave it out: the script reads it as `ctx.request.query`".to_owned()),
            PathRule::Fragment => Some("leave it out: it stays in the browser".to_owned()),
            PathRule::Encoded => write(decoded(broken)?),
            PathRule::Backslash => write("/".to_owned()),
            PathRule::Braces => {
                let capture = notation::repaired(broken, self.is_last())?;
                let before = broken.find('{').is_some_and(|at| at > 0);
                let behind = broken.find('}').is_some_and(|at| at + 1 < broken.len());
                Some(match before || behind {
                    true => format!("write `{capture}`, and let the script look at the rest of the part"),
                    false => format!("write `{capture}`"),
                })
            }
            PathRule::CaptureName => Some(
                notation::repaired(broken, self.is_last())
                    .map_or_else(|| "such as `{name}`".to_owned(), |capture| format!("write `{capture}`")),
            ),
            PathRule::CapturedTwice => {
                let name = broken.trim_matches(|c| matches!(c, '{' | '}' | '*'));
                let taken: Vec<String> = self
                    .text
                    .split('/')
                    .map(|part| part.trim_matches(|c| matches!(c, '{' | '}' | '*')).to_owned())
                    .collect();
                write(broken.replace(name, &notation::unique(name, &taken)))
            }
            PathRule::RestNotLast => {
                Some(format!("write `{}` for one part, or end the path with it", broken.replace('*', "")))
            }
        }
    }

    /// Whether nothing stands behind what is wrong.
    fn is_last(&self) -> bool {
        self.range.end == self.text.len()
    }
}

/// Whether the `?` at byte `at` makes a part optional, as in `/:id?` or `/{id?}`, rather than begin a query.
fn makes_optional(text: &str, at: usize) -> bool {
    let part = text[..at].rsplit('/').next().unwrap_or_default();
    let behind = text[at + 1..].split('/').next().unwrap_or_default();
    part.starts_with([':', '{', '<', '[', '(']) && matches!(behind, "" | "}" | ">" | "]" | ")")
}

/// The path from the root that is meant by one that does not begin there: `greet`, `GET /greet`, `https://example.org/greet`.
fn from_root(text: &str) -> Option<String> {
    let without_method =
        text.split_once(' ').filter(|(method, _)| crate::method::Method::parse(method).is_some());
    let text = without_method.map_or(text, |(_, path)| path).trim();
    let path = match text.split_once("://") {
        Some((_, address)) => address.find('/').map_or("/", |at| &address[at..]),
        None => text.trim_start_matches("./"),
    };
    // As a regular expression has it.
    let path = path.strip_prefix('^').map_or(path, |path| path.trim_end_matches('$'));
    let mut path = format!("/{}", path.trim_start_matches('/'));
    let foreign = RoutePath::parse(&path).ok()?.foreign_captures();
    for (part, capture) in foreign.into_iter().rev() {
        path.replace_range(part, &capture);
    }
    RoutePath::parse(&path).is_ok().then_some(path)
}

/// The text of percent-encoded bytes, where it can be a part of a path.
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

/// A broken rule and the bytes that break it.
type Broken = (PathRule, Range<usize>);

fn parse_segments(text: &str) -> Result<Vec<Segment>, Broken> {
    if text.len() > PATH_MAX {
        return Err((PathRule::TooLong, 0..text.len()));
    }
    if !text.starts_with('/') {
        return Err((PathRule::NoSlash, 0..text.len()));
    }
    check_characters(text)?;
    let mut segments: Vec<Segment> = Vec::new();
    let mut start = 1;
    for part in text[1..].split('/') {
        let range = start..start + part.len();
        start = range.end + 1;
        let last = range.end == text.len();
        if segments.len() == SEGMENTS_MAX {
            return Err((PathRule::TooManyParts, range.start..text.len()));
        }
        if part.is_empty() && !last {
            return Err((PathRule::EmptyPart, range.start - 1..range.end + 1));
        }
        let segment = parse_segment(part).map_err(|rule| (rule, range.clone()))?;
        if let Segment::Capture(name) | Segment::Rest(name) = &segment
            && segments.iter().any(|earlier| captured(earlier) == Some(name))
        {
            return Err((PathRule::CapturedTwice, range));
        }
        if matches!(segment, Segment::Rest(_)) && !last {
            return Err((PathRule::RestNotLast, range));
        }
        segments.push(segment);
    }
    Ok(segments)
}

fn check_characters(text: &str) -> Result<(), Broken> {
    for (at, c) in text.char_indices() {
        let rule = match c {
            '?' if makes_optional(text, at) => PathRule::Optional,
            '?' => PathRule::Query,
            '#' => PathRule::Fragment,
            '%' => PathRule::Encoded,
            '\\' => PathRule::Backslash,
            c if c.is_control() => PathRule::Control,
            _ => continue,
        };
        let rest = &text[at..];
        let length = match rule {
            // What is left out, or decoded, as a whole.
            PathRule::Query if !rest[1..].contains('/') => rest.len(),
            PathRule::Fragment => rest.len(),
            PathRule::Encoded => encoded_length(rest),
            _ => c.len_utf8(),
        };
        let part_start = text[..at].rfind('/').map_or(0, |slash| slash + 1);
        let part = text[part_start..].split('/').next().unwrap_or_default();
        if rule == PathRule::Backslash && part.starts_with(['{', ':', '(', '<']) {
            return Err((PathRule::Pattern, part_start..part_start + part.len()));
        }
        return Err((rule, at..at + length));
    }
    Ok(())
}

/// How many bytes of percent-encoding `text` begins with; at least the `%`.
fn encoded_length(text: &str) -> usize {
    let is_encoded = |three: &&[u8]| matches!(three, [b'%', high, low] if high.is_ascii_hexdigit() && low.is_ascii_hexdigit());
    (text.as_bytes().chunks(3).take_while(is_encoded).count() * 3).max(1)
}

fn parse_segment(part: &str) -> Result<Segment, PathRule> {
    if matches!(part, "." | "..") {
        return Err(PathRule::Dots);
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
    fn a_path_is_read_part_by_part() {
        let path = RoutePath::parse("/a b/{b}/{*c}").unwrap();
        let [a, b, c] = ["a b", "b", "c"].map(str::to_owned);
        assert_eq!(path.segments(), [Segment::Literal(a), Segment::Capture(b), Segment::Rest(c)]);
        assert_eq!(path.as_str(), "/a b/{b}/{*c}");
    }

    #[test]
    fn the_root_and_a_trailing_slash_are_an_empty_last_part() {
        let parts = |text| RoutePath::parse(text).unwrap().segments().len();
        assert_eq!((parts("/"), parts("/a"), parts("/a/")), (1, 1, 2));
        assert_ne!(RoutePath::parse("/a").unwrap().shape(), RoutePath::parse("/a/").unwrap().shape());
    }

    #[test]
    fn shapes_forget_the_names_of_captures_only() {
        let shape = |text| RoutePath::parse(text).unwrap().shape();
        assert_eq!(shape("/a/{x}/b"), shape("/a/{y}/b"));
        assert_eq!(shape("/{*x}"), shape("/{*y}"));
        assert_ne!(shape("/a/{x}"), shape("/a/{*x}"));
        assert_ne!(shape("/a/{x}"), shape("/a/x"));
    }

    #[test]
    fn each_broken_rule_is_named_with_its_bytes() {
        let long = format!("/{}", "x".repeat(PATH_MAX));
        let deep = "/a".repeat(SEGMENTS_MAX + 1);
        for (text, rule, broken) in [
            ("", PathRule::NoSlash, ""),
            ("greet", PathRule::NoSlash, "greet"),
            (&long, PathRule::TooLong, &long),
            (&deep, PathRule::TooManyParts, "a"),
            ("//", PathRule::EmptyPart, "//"),
            ("/a//b", PathRule::EmptyPart, "//"),
            ("/a/./b", PathRule::Dots, "."),
            ("/..", PathRule::Dots, ".."),
            ("/a?b=c", PathRule::Query, "?b=c"),
            ("/a?/b", PathRule::Query, "?"),
            ("/a#b", PathRule::Fragment, "#b"),
            ("/%C3%BC", PathRule::Encoded, "%C3%BC"),
            ("/100%", PathRule::Encoded, "%"),
            ("/a\\b", PathRule::Backslash, "\\"),
            ("/a\u{7f}", PathRule::Control, "\u{7f}"),
            ("/x{a}", PathRule::Braces, "x{a}"),
            ("/{a}.json", PathRule::Braces, "{a}.json"),
            ("/{a", PathRule::Braces, "{a"),
            ("/}{", PathRule::Braces, "}{"),
            ("/{{a}}", PathRule::Braces, "{{a}}"),
            ("/{}", PathRule::CaptureName, "{}"),
            ("/{*}", PathRule::CaptureName, "{*}"),
            ("/{1a}", PathRule::CaptureName, "{1a}"),
            ("/{ä}", PathRule::CaptureName, "{ä}"),
            ("/{a}/{a}", PathRule::CapturedTwice, "{a}"),
            ("/{a}/{*a}", PathRule::CapturedTwice, "{*a}"),
            ("/{*a}/b", PathRule::RestNotLast, "{*a}"),
            ("/{*a}/", PathRule::RestNotLast, "{*a}"),
        ] {
            let error = RoutePath::parse(text).unwrap_err();
            assert_eq!((error.rule, &text[error.range]), (rule, broken), "{text}");
        }
    }

    #[test]
    fn the_longest_and_the_deepest_path_are_taken() {
        assert!(RoutePath::parse(&format!("/{}", "x".repeat(PATH_MAX - 1))).is_ok());
        assert!(RoutePath::parse(&"/a".repeat(SEGMENTS_MAX)).is_ok());
    }

    #[test]
    fn an_error_names_the_path_and_the_rule() {
        let error = RoutePath::parse("/x{a}").unwrap_err().to_string();
        assert_eq!(
            error,
            "path `/x{a}` has braces that are no whole part: a capture is all that stands between two slashes"
        );
    }

    proptest! {
        #[test]
        fn any_text_is_a_path_or_an_error_within_it(text in "[/{}*.a%?\u{e4} -]{0,40}") {
            match RoutePath::parse(&text) {
                Ok(path) => prop_assert_eq!(path.as_str(), text),
                Err(error) => prop_assert!(text.get(error.range).is_some()),
            }
        }
    }
}
