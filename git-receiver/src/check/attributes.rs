//! What a `.gitattributes` may hold: anything, within bounds.

use gix_object::bstr::ByteSlice as _;

use super::{BadObject, bad};

/// The largest file that git reads.
const FILE_MAX: usize = 100 << 20;
/// The first length of a line that git does not read.
const LINE_END: usize = 2048;

pub(super) fn attributes(content: &[u8]) -> Result<(), BadObject> {
    if content.len() > FILE_MAX {
        return bad("gitattributesLarge: a `.gitattributes` is larger than 100 MiB");
    }
    // To git it is a string of C.
    let text = content.split(|byte| *byte == 0).next().unwrap_or_default();
    if text.split_str("\n").any(|line| line.len() >= LINE_END) {
        return bad("gitattributesLineLength: a line of a `.gitattributes` has 2048 bytes or more");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::tests::id;
    use super::*;

    #[test]
    fn files_and_their_lines_are_bounded() {
        let long = "x".repeat(LINE_END);
        for (text, expected) in [
            ("", "fine"),
            ("*.png binary\n[attr]x", "fine"),
            (&long[1..], "fine"),
            (&format!("{}\n{}", &long[1..], &long[1..]), "fine"),
            (&format!("a\0{long}"), "fine"),
            (&long, "gitattributesLineLength"),
            (&format!("a\n{long}\nb"), "gitattributesLineLength"),
            (&format!("{}\r\n", &long[1..]), "gitattributesLineLength"),
        ] {
            assert_eq!(id(attributes(text.as_bytes())), expected, "{} bytes", text.len());
        }
        let lines = "line of 16 bytes\n".repeat(FILE_MAX / 17);
        assert_eq!(id(attributes(lines.as_bytes())), "fine");
        assert_eq!(id(attributes(format!("{lines}a line more\n").as_bytes())), "gitattributesLarge");
    }
}
