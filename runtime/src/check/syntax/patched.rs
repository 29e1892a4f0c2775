//! A text with replacements that maps its positions to the original source.

use std::ops::Range;

use rhai::Position;

use super::tokens::Lines;

/// A script in which unparsable code is replaced, so that the rest can be parsed.
#[derive(Clone)]
pub(in crate::check) struct PatchedSource {
    text: String,
    lines: Lines,
    written_lines: Lines,
    written: String,
    /// In text order, without gaps.
    pieces: Vec<Piece>,
}

/// A part of the text, up to the start of the next one.
#[derive(Clone, Copy)]
struct Piece {
    /// The start in the text.
    start: usize,
    /// The start in the source; for inserted text, the position of the insertion.
    written: usize,
    is_inserted: bool,
}

impl PatchedSource {
    pub(super) fn new(written: &str) -> Self {
        Self {
            text: written.to_owned(),
            lines: Lines::of(written),
            written_lines: Lines::of(written),
            written: written.to_owned(),
            pieces: vec![Piece { start: 0, written: 0, is_inserted: false }],
        }
    }

    pub(in crate::check) fn text(&self) -> &str {
        &self.text
    }

    /// The source.
    pub(super) fn written_text(&self) -> &str {
        &self.written
    }

    /// The byte offset of a position of Rhai in the text.
    pub(in crate::check) fn offset(&self, position: Position) -> usize {
        self.lines.offset(&self.text, position)
    }

    /// The source line of an `offset` of the text, from 1.
    pub(super) fn written_line(&self, offset: usize) -> usize {
        self.written_lines.line(self.written(offset))
    }

    /// Replaces a part of the text.
    pub(super) fn replace(&mut self, range: Range<usize>, with: &str) {
        let mut pieces: Vec<Piece> = Vec::with_capacity(self.pieces.len() + 2);
        pieces.extend(self.pieces.iter().take_while(|piece| piece.start < range.start));
        if !with.is_empty() {
            pieces.push(Piece { start: range.start, written: self.written(range.start), is_inserted: true });
        }
        let rest = self.piece(range.end);
        pieces.push(Piece { start: range.start + with.len(), written: self.written(range.end), ..rest });
        let moved = |start: usize| start - range.len() + with.len();
        let following = self.pieces.iter().filter(|piece| piece.start > range.end);
        pieces.extend(following.map(|piece| Piece { start: moved(piece.start), ..*piece }));
        self.pieces = pieces;
        self.text.replace_range(range, with);
        self.lines = Lines::of(&self.text);
    }

    fn piece(&self, offset: usize) -> Piece {
        let rest = self.pieces.partition_point(|piece| piece.start <= offset);
        self.pieces[rest.saturating_sub(1)]
    }

    /// The source offset of an `offset` of the text; the next source position for inserted text.
    pub(in crate::check) fn written(&self, offset: usize) -> usize {
        let piece = self.piece(offset);
        if piece.is_inserted { piece.written } else { piece.written + offset - piece.start }
    }

    /// The source position of a position of the text; `None` for inserted text.
    pub(in crate::check) fn position(&self, position: Position) -> Option<Position> {
        if position.is_none() {
            return Some(position);
        }
        let offset = self.lines.offset(&self.text, position);
        let is_written = !self.piece(offset).is_inserted || offset > 0 && !self.piece(offset - 1).is_inserted;
        is_written.then(|| self.written_lines.position(&self.written, self.written(offset)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn positions_map_to_the_source() {
        let mut patched = PatchedSource::new("let a = 1\nlet b == 2;\nc d");
        patched.replace(9..9, ";");
        assert_eq!(patched.text(), "let a = 1;\nlet b == 2;\nc d");
        let eq = patched.text().find("==").unwrap();
        patched.replace(eq..eq + 2, "=");
        patched.replace(0..10, "");
        assert_eq!(patched.text(), "\nlet b = 2;\nc d");
        let at = |patched: &PatchedSource, sign: &str| patched.written(patched.text().find(sign).unwrap());
        assert_eq!((at(&patched, "b"), at(&patched, "2"), at(&patched, "d")), (14, 19, 24));
        assert_eq!(
            patched.position(Position::new(2, 9)),
            Some(Position::new(2, 10)),
            "after a shorter operator"
        );
        assert_eq!(patched.position(Position::new(3, 3)), Some(Position::new(3, 3)));
        let blank = patched.text().find("let b").unwrap()..patched.text().find("\nc").unwrap();
        patched.replace(blank, ";;");
        assert_eq!(patched.text(), "\n;;\nc d");
        assert_eq!(patched.position(Position::new(2, 2)), None, "inserted text");
        assert_eq!(at(&patched, "c d"), 22);
    }
}
