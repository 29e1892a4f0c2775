//! Faults: what is wrong with a file of a repository, where, and what to do about it.
//!
//! A fault is a value. The words around it (colours, carets, summaries) are made where people read it.

use std::ops::Range;

/// The longest piece of a source line that a fault carries, in characters.
pub const SOURCE_LINE_MAX: usize = 160;

/// The longest name that is compared with others, in bytes: the comparison costs their lengths multiplied.
const NEAREST_MAX: usize = 128;

/// The longest piece of a text that a message quotes, in characters.
const QUOTED_MAX: usize = 80;

/// Whether a fault stops a deploy.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// The deploy is refused.
    Error,
    /// The deploy goes on; the author should look.
    Warning,
}

/// One thing that is wrong with one file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// Whether it stops a deploy.
    pub severity: Severity,
    /// The file's path in the repository, such as `picloud.toml`.
    pub file: String,
    /// Where in the file; `None` when the fault is about the file as a whole.
    pub place: Option<Place>,
    /// What is wrong, in one line without the place: ``unknown function `lgo::info` ``.
    pub message: String,
    /// What to do, printed beside the caret: ``did you mean `log::info`?``.
    pub advice: Option<String>,
}

impl Fault {
    /// An error in `file` at `place`.
    pub fn error(file: impl Into<String>, place: Option<Place>, message: impl Into<String>) -> Self {
        Self { severity: Severity::Error, file: file.into(), place, message: message.into(), advice: None }
    }

    /// A warning in `file` at `place`.
    pub fn warning(file: impl Into<String>, place: Option<Place>, message: impl Into<String>) -> Self {
        Self { severity: Severity::Warning, ..Self::error(file, place, message) }
    }

    /// The same fault with a word on what to do.
    pub fn advise(self, advice: impl Into<String>) -> Self {
        Self { advice: Some(advice.into()), ..self }
    }
}

/// A place in a source text, with the line it stands on, so that whoever prints it needs no file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// The line, counted from 1.
    pub line: usize,
    /// The column in characters, counted from 1.
    pub column: usize,
    /// How many characters are meant, at least 1; never past the end of the line.
    pub width: usize,
    /// The piece of the line that is shown, at most [`SOURCE_LINE_MAX`] characters, without its line break.
    pub source: String,
    /// How many characters of the line come before `source`.
    pub source_offset: usize,
}

impl Place {
    /// The place of the byte range `span` of `text`. Offsets outside the text or within a character are moved to the
    /// nearest one before; a range over several lines is shown on its first.
    pub fn of_span(text: &str, span: Range<usize>) -> Self {
        let start = text.floor_char_boundary(span.start.min(text.len()));
        let line_start = text[..start].rfind('\n').map_or(0, |at| at + 1);
        let line = text[..line_start].matches('\n').count() + 1;
        let column = text[line_start..start].chars().count() + 1;
        let end = text.floor_char_boundary(span.end.clamp(start, text.len()));
        Self::on_line(&text[line_start..], line, column, text[start..end].chars().count())
    }

    /// The place at `line` and `column`, both counted from 1, `width` characters wide.
    pub fn of_position(text: &str, line: usize, column: usize, width: usize) -> Self {
        let from_line = text.split_inclusive('\n').skip(line.saturating_sub(1)).collect::<Vec<_>>().concat();
        Self::on_line(&from_line, line.max(1), column.max(1), width)
    }

    fn on_line(from_line: &str, line: usize, column: usize, width: usize) -> Self {
        let whole = from_line.lines().next().unwrap_or_default();
        let length = whole.chars().count();
        let column = column.min(length + 1);
        let width = width.clamp(1, (length + 1 - column).max(1));
        let source_offset = if column + width > SOURCE_LINE_MAX {
            (column - 1).saturating_sub(SOURCE_LINE_MAX / 2)
        } else {
            0
        };
        let source = whole.chars().skip(source_offset).take(SOURCE_LINE_MAX).collect();
        Self { line, column, width, source, source_offset }
    }
}

/// The name among `known` that `wrong` was probably meant to be, for "did you mean"; the first of equals. The same name
/// in other letter cases is always it; a huge name has none.
pub fn nearest<'a>(wrong: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    if wrong.len() > NEAREST_MAX {
        return None;
    }
    known
        .into_iter()
        .filter(|name| name.len() <= NEAREST_MAX)
        .map(|name| match name.eq_ignore_ascii_case(wrong) {
            true => (1.0, name),
            false => (strsim::normalized_damerau_levenshtein(wrong, name), name),
        })
        .filter(|(likeness, _)| *likeness >= 0.5)
        .min_by(|(a, _), (b, _)| b.total_cmp(a))
        .map(|(_, name)| name)
}

/// `text` as it is shown within a message: between backquotes, what cannot be printed escaped, a long one cut.
pub(crate) fn quoted(text: &str) -> String {
    let mut shown: String = text.chars().take(QUOTED_MAX).flat_map(shown_char).collect();
    if text.chars().nth(QUOTED_MAX).is_some() {
        shown.push('…');
    }
    format!("`{shown}`")
}

/// Quotation marks and backslashes stay as they are: they are what people have written.
fn shown_char(c: char) -> impl Iterator<Item = char> {
    let plain = matches!(c, '"' | '\'' | '\\');
    plain.then_some(c).into_iter().chain((!plain).then(|| c.escape_debug()).into_iter().flatten())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_span_is_placed_by_line_and_column_in_characters() {
        let place = Place::of_span("a = 1\nübel = 2\n", 6..11);
        assert_eq!((place.line, place.column, place.width, place.source.as_str()), (2, 1, 4, "übel = 2"));
    }

    #[test]
    fn a_span_past_the_end_stands_behind_the_last_character() {
        let place = Place::of_span("abc", 90..99);
        assert_eq!((place.line, place.column, place.width), (1, 4, 1));
    }

    #[test]
    fn a_span_over_lines_is_cut_at_the_first() {
        let place = Place::of_span("one\ntwo", 0..7);
        assert_eq!((place.line, place.column, place.width), (1, 1, 3));
    }

    #[test]
    fn a_position_is_the_same_as_its_span() {
        let text = "let x = 1;\nlgo::info(\"hi\");\n";
        assert_eq!(Place::of_position(text, 2, 1, 9), Place::of_span(text, 11..20));
    }

    #[test]
    fn a_long_line_is_cut_around_the_place() {
        let text = format!("{}HERE{}", "x".repeat(1000), "y".repeat(1000));
        let place = Place::of_span(&text, 1000..1004);
        assert_eq!(place.column, 1001);
        assert!(place.source.chars().count() <= SOURCE_LINE_MAX);
        let shown: String =
            place.source.chars().skip(place.column - 1 - place.source_offset).take(place.width).collect();
        assert_eq!(shown, "HERE");
    }

    #[test]
    fn the_nearest_name_is_offered_and_a_far_one_is_not() {
        assert_eq!(nearest("pth", ["path", "methods"]), Some("path"));
        assert_eq!(nearest("zzz", ["path", "methods"]), None);
    }

    #[test]
    fn the_same_name_in_other_letters_is_nearest() {
        assert_eq!(nearest("get", ["PUT", "GET"]), Some("GET"));
    }

    #[test]
    fn a_huge_name_is_compared_with_nothing() {
        let huge = "x".repeat(100_000);
        assert_eq!(nearest(&huge, [huge.as_str()]), None);
    }

    #[test]
    fn a_quoted_text_is_short_and_printable() {
        assert_eq!(quoted("a\n\u{1b}\"b\\"), "`a\\n\\u{1b}\"b\\`");
        assert_eq!(quoted(&"x".repeat(81)), format!("`{}…`", "x".repeat(80)));
    }
}
