//! fsck of `.gitattributes`: any content, within limits.

use gix_object::bstr::ByteSlice as _;

use super::{FsckError, bad};

/// The largest file that git reads.
const FILE_MAX: usize = 100 << 20;
/// git ignores lines from this length on.
const LINE_END: usize = 2048;

pub(super) fn fsck_gitattributes(content: &[u8]) -> Result<(), FsckError> {
    if content.len() > FILE_MAX {
        return bad("gitattributesLarge: a `.gitattributes` is larger than 100 MiB");
    }
    // git stops at the first NUL.
    let text = content.split(|byte| *byte == 0).next().unwrap_or_default();
    if text.split_str("\n").any(|line| line.len() >= LINE_END) {
        return bad("gitattributesLineLength: a line of a `.gitattributes` has 2048 bytes or more");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::tests::msg_id;
    use super::*;

    #[test]
    fn file_and_line_sizes_are_limited() {
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
            assert_eq!(msg_id(fsck_gitattributes(text.as_bytes())), expected, "{} bytes", text.len());
        }
        let lines = "line of 16 bytes\n".repeat(FILE_MAX / 17);
        assert_eq!(msg_id(fsck_gitattributes(lines.as_bytes())), "fine");
        assert_eq!(
            msg_id(fsck_gitattributes(format!("{lines}a line more\n").as_bytes())),
            "gitattributesLarge"
        );
    }
}
