//! The comments of a script that are whole lines. Comments within texts are none.

/// A comment.
pub(super) struct Comment<'t> {
    /// Its line, from 1.
    pub(super) line: usize,
    /// The byte at which it begins.
    pub(super) start: usize,
    /// The line with its `//`.
    pub(super) text: &'t str,
}

pub(super) struct Comments<'t> {
    pub(super) lines: Vec<Comment<'t>>,
    /// Whether there is anything else.
    pub(super) has_code: bool,
}

/// What surrounds a place.
enum Inside {
    /// A text in backticks.
    Backticks,
    /// Code in such a text, with the number of open braces.
    Interpolation(usize),
}

/// The lines that begin with `//`.
pub(super) fn of(text: &str) -> Comments<'_> {
    let bytes = text.as_bytes();
    let (mut lines, mut has_code) = (Vec::new(), false);
    let mut inside = Vec::new();
    let (mut at, mut line, mut at_line_start) = (0, 1, true);
    while at < bytes.len() {
        let rest = &bytes[at..];
        let started = at;
        match inside.last_mut() {
            Some(Inside::Backticks) => match rest {
                [b'`', b'`', ..] => at += 2,
                [b'`', ..] => {
                    inside.pop();
                    at += 1;
                }
                [b'$', b'{', ..] => {
                    inside.push(Inside::Interpolation(1));
                    at += 2;
                }
                _ => at += 1,
            },
            code => match rest {
                [b'/', b'/', ..] => {
                    let end = rest.iter().position(|byte| *byte == b'\n').map_or(bytes.len(), |end| at + end);
                    if at_line_start && code.is_none() {
                        lines.push(Comment { line, start: at, text: &text[at..end] });
                    }
                    at = end;
                }
                [b'/', b'*', ..] => at = after_block(bytes, at),
                [quote @ (b'"' | b'\''), ..] => {
                    has_code = true;
                    at = after_text(bytes, at, *quote);
                }
                [b'`', ..] => {
                    has_code = true;
                    inside.push(Inside::Backticks);
                    at += 1;
                }
                [byte, ..] => {
                    has_code |= !byte.is_ascii_whitespace();
                    if let Some(Inside::Interpolation(open)) = code {
                        match byte {
                            b'{' => *open += 1,
                            b'}' => *open -= 1,
                            _ => {}
                        }
                        if *open == 0 {
                            inside.pop();
                        }
                    }
                    at += 1;
                }
                [] => break,
            },
        }
        let passed = &bytes[started..at];
        line += passed.iter().filter(|byte| **byte == b'\n').count();
        at_line_start = passed.last() == Some(&b'\n');
    }
    Comments { lines, has_code }
}

/// The place after a block comment, which can contain others.
fn after_block(bytes: &[u8], start: usize) -> usize {
    let (mut at, mut open) = (start, 0usize);
    while at < bytes.len() {
        match &bytes[at..] {
            [b'/', b'*', ..] => {
                open += 1;
                at += 2;
            }
            [b'*', b'/', ..] => {
                open = open.saturating_sub(1);
                at += 2;
                if open == 0 {
                    return at;
                }
            }
            _ => at += 1,
        }
    }
    bytes.len()
}

/// The place after a text in quotes; one without end ends with its line.
fn after_text(bytes: &[u8], start: usize, quote: u8) -> usize {
    let mut at = start + 1;
    while at < bytes.len() {
        match bytes[at] {
            b'\\' => at += 2,
            b'\n' => return at,
            byte if byte == quote => return at + 1,
            _ => at += 1,
        }
    }
    bytes.len()
}
