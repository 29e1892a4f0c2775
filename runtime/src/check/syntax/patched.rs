//! A text with replacements, which knows where each part of it was written.

use std::ops::Range;

use rhai::Position;

use super::tokens::Lines;

/// A script in which what does not parse is replaced, so that what follows can be read.
#[derive(Clone)]
pub(in crate::check) struct Patched {
    text: String,
    lines: Lines,
    written_lines: Lines,
    written: String,
    /// In the order of the text, without gaps.
    pieces: Vec<Piece>,
}

/// A part of the text, to where the next begins.
#[derive(Clone, Copy)]
struct Piece {
    /// Where it begins in the text.
    start: usize,
    /// Where it begins in what was written; for what was put in, where that stands.
    written: usize,
    is_ours: bool,
}

impl Patched {
    pub(super) fn new(written: &str) -> Self {
        Self {
            text: written.to_owned(),
            lines: Lines::of(written),
            written_lines: Lines::of(written),
            written: written.to_owned(),
            pieces: vec![Piece { start: 0, written: 0, is_ours: false }],
        }
    }

    pub(in crate::check) fn text(&self) -> &str {
        &self.text
    }

    /// What was written.
    pub(super) fn written_text(&self) -> &str {
        &self.written
    }

    /// Where in the text a position of Rhai is.
    pub(in crate::check) fn offset(&self, position: Position) -> usize {
        self.lines.offset(&self.text, position)
    }

    /// The line on which `offset` of the text was written, counted from 1.
    pub(super) fn written_line(&self, offset: usize) -> usize {
        self.written_lines.line(self.written(offset))
    }

    /// Replaces a part of the text.
    pub(super) fn replace(&mut self, range: Range<usize>, with: &str) {
        let mut pieces: Vec<Piece> = Vec::with_capacity(self.pieces.len() + 2);
        pieces.extend(self.pieces.iter().take_while(|piece| piece.start < range.start));
        if !with.is_empty() {
            pieces.push(Piece { start: range.start, written: self.written(range.start), is_ours: true });
        }
        let behind = self.piece(range.end);
        pieces.push(Piece { start: range.start + with.len(), written: self.written(range.end), ..behind });
        let moved = |start: usize| start - range.len() + with.len();
        let following = self.pieces.iter().filter(|piece| piece.start > range.end);
        pieces.extend(following.map(|piece| Piece { start: moved(piece.start), ..*piece }));
        self.pieces = pieces;
        self.text.replace_range(range, with);
        self.lines = Lines::of(&self.text);
    }

    fn piece(&self, offset: usize) -> Piece {
        let behind = self.pieces.partition_point(|piece| piece.start <= offset);
        self.pieces[behind.saturating_sub(1)]
    }

    /// Where `offset` of the text was written; the next place of what was written, for what was put in.
    pub(in crate::check) fn written(&self, offset: usize) -> usize {
        let piece = self.piece(offset);
        if piece.is_ours { piece.written } else { piece.written + offset - piece.start }
    }

    /// Where a position of the text was written, unless what stands there was put in.
    pub(in crate::check) fn position(&self, position: Position) -> Option<Position> {
        if position.is_none() {
            return Some(position);
        }
        let offset = self.lines.offset(&self.text, position);
        let is_written = !self.piece(offset).is_ours || offset > 0 && !self.piece(offset - 1).is_ours;
        is_written.then(|| self.written_lines.position(&self.written, self.written(offset)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn place_in_a_patched_text_is_where_it_was_written() {
        let mut patched = Patched::new("let a = 1\nlet b == 2;\nc d");
        patched.replace(9..9, ";");
        assert_eq!(patched.text(), "let a = 1;\nlet b == 2;\nc d");
        let eq = patched.text().find("==").unwrap();
        patched.replace(eq..eq + 2, "=");
        patched.replace(0..10, "");
        assert_eq!(patched.text(), "\nlet b = 2;\nc d");
        let at = |patched: &Patched, sign: &str| patched.written(patched.text().find(sign).unwrap());
        assert_eq!((at(&patched, "b"), at(&patched, "2"), at(&patched, "d")), (14, 19, 24));
        assert_eq!(
            patched.position(Position::new(2, 9)),
            Some(Position::new(2, 10)),
            "behind a shorter sign"
        );
        assert_eq!(patched.position(Position::new(3, 3)), Some(Position::new(3, 3)));
        let blank = patched.text().find("let b").unwrap()..patched.text().find("\nc").unwrap();
        patched.replace(blank, ";;");
        assert_eq!(patched.text(), "\n;;\nc d");
        assert_eq!(patched.position(Position::new(2, 2)), None, "nobody wrote that");
        assert_eq!(at(&patched, "c d"), 22);
    }
}
