//! The location of a diagnostic in a source text.

use std::ops::Range;

/// The maximum length of the source line in a diagnostic, in characters.
pub const SOURCE_LINE_MAX: usize = 160;

/// A location in a source text, with its source line, so that rendering needs no access to the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Span {
    /// The line number, from 1.
    pub line: usize,
    /// The column in characters, from 1.
    pub column: usize,
    /// The width in characters, at least 1; never past the end of the line.
    pub width: usize,
    /// An excerpt of the line, at most [`SOURCE_LINE_MAX`] characters, without the line break.
    pub source: String,
    /// The number of characters of the line before `source`.
    pub source_offset: usize,
}

impl Span {
    /// The span of a byte range of `text`. Offsets outside the text or inside a character are rounded down; a range
    /// over several lines is truncated to its first line.
    pub fn from_range(text: &str, span: Range<usize>) -> Self {
        let start = text.floor_char_boundary(span.start.min(text.len()));
        let line_start = text[..start].rfind('\n').map_or(0, |at| at + 1);
        let line = text[..line_start].matches('\n').count() + 1;
        let column = text[line_start..start].chars().count() + 1;
        let end = text.floor_char_boundary(span.end.clamp(start, text.len()));
        Self::on_line(&text[line_start..], line, column, text[start..end].chars().count())
    }

    /// The span of `width` characters at `line` and `column`, both counted from 1.
    pub fn from_position(text: &str, line: usize, column: usize, width: usize) -> Self {
        let before = text.split_inclusive('\n').take(line.saturating_sub(1)).map(str::len).sum::<usize>();
        Self::on_line(&text[before..], line.max(1), column.max(1), width)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn span_counts_columns_in_characters() {
        let span = Span::from_range("a = 1\nübel = 2\n", 6..11);
        assert_eq!((span.line, span.column, span.width, span.source.as_str()), (2, 1, 4, "übel = 2"));
    }

    #[test]
    fn span_past_the_end_is_after_the_last_character() {
        let span = Span::from_range("abc", 90..99);
        assert_eq!((span.line, span.column, span.width), (1, 4, 1));
    }

    #[test]
    fn span_over_several_lines_is_truncated_to_the_first() {
        let span = Span::from_range("one\ntwo", 0..7);
        assert_eq!((span.line, span.column, span.width), (1, 1, 3));
    }

    #[test]
    fn position_and_byte_range_give_the_same_span() {
        let text = "let x = 1;\nlgo::info(\"hi\");\n";
        assert_eq!(Span::from_position(text, 2, 1, 9), Span::from_range(text, 11..20));
    }

    #[test]
    fn long_line_is_truncated_around_the_span() {
        let text = format!("{}HERE{}", "x".repeat(1000), "y".repeat(1000));
        let span = Span::from_range(&text, 1000..1004);
        assert_eq!(span.column, 1001);
        assert!(span.source.chars().count() <= SOURCE_LINE_MAX);
        let shown: String =
            span.source.chars().skip(span.column - 1 - span.source_offset).take(span.width).collect();
        assert_eq!(shown, "HERE");
    }
}
