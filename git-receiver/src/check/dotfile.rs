//! Names that are not just names: `.git`, and the files that git itself reads, also as HFS and NTFS disguise them.

use gix_object::bstr::ByteSlice as _;

/// What a blob is to git, besides a file, under some name in a tree.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Special {
    /// `.gitmodules`: where submodules come from.
    Modules,
    /// `.gitattributes`: how files are treated.
    Attributes,
}

/// Letters that HFS passes over in names.
const IGNORED_BY_HFS: [char; 16] = [
    '\u{200c}', '\u{200d}', '\u{200e}', '\u{200f}', '\u{202a}', '\u{202b}', '\u{202c}', '\u{202d}',
    '\u{202e}', '\u{206a}', '\u{206b}', '\u{206c}', '\u{206d}', '\u{206e}', '\u{206f}', '\u{feff}',
];

impl Special {
    /// Its name as it appears in the words of faults.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Modules => "gitmodules",
            Self::Attributes => "gitattributes",
        }
    }

    /// What NTFS may begin its short name with, where the simple ones are taken: a hash of the long one.
    fn short_name(self) -> &'static [u8] {
        match self {
            Self::Modules => b"gi7eba",
            Self::Attributes => b"gi7d29",
        }
    }

    fn is_called(self, name: &[u8]) -> bool {
        let on_ntfs = |name: &[u8]| is_on_ntfs(name, self.name().as_bytes(), self.short_name());
        let in_folder = self == Self::Modules && behind_backslashes(name).any(on_ntfs);
        in_folder || on_ntfs(name) || is_on_hfs(name, self.name())
    }
}

/// Everything that a file of that name is to git. A few names can be both: the shortest of NTFS.
pub(super) fn specials(name: &[u8]) -> impl Iterator<Item = Special> {
    let candidates: &[Special] =
        if may_be_disguise(name) { &[Special::Modules, Special::Attributes] } else { &[] };
    candidates.iter().copied().filter(move |special| special.is_called(name))
}

/// Whether a file system can take `name` for `.git`.
pub(super) fn is_git(name: &[u8]) -> bool {
    let on_ntfs = |name: &[u8]| {
        [&b".git"[..], b"git~1"].iter().any(|git| {
            strip_letters(name, git).is_some_and(|rest| {
                matches!(rest.trim_start_with(ends_on_ntfs).first(), None | Some(b':' | b'\\'))
            })
        })
    };
    may_be_disguise(name)
        && (on_ntfs(name) || behind_backslashes(name).any(on_ntfs) || is_on_hfs(name, "git"))
}

/// Almost no name is a disguise, and almost none begins as one.
fn may_be_disguise(name: &[u8]) -> bool {
    matches!(name.first(), Some(b'.' | b'g' | b'G' | b'~' | 0xe2 | 0xef)) || name.contains(&b'\\')
}

/// What Windows takes for the names of files in folders.
fn behind_backslashes(name: &[u8]) -> impl Iterator<Item = &[u8]> {
    name.iter().enumerate().filter(|(_, byte)| **byte == b'\\').map(|(at, _)| &name[at + 1..])
}

fn strip_letters<'a>(name: &'a [u8], start: &[u8]) -> Option<&'a [u8]> {
    let (head, rest) = name.split_at_checked(start.len())?;
    head.eq_ignore_ascii_case(start).then_some(rest)
}

/// Blanks and dots at its end are not part of a name on NTFS.
fn ends_on_ntfs(letter: char) -> bool {
    letter == ' ' || letter == '.'
}

/// Whether NTFS takes `name` for `.` and `long`: with a stream behind a colon, or as a short name, which is the first six
/// letters with a number up to four, or the beginning of `short` with any.
fn is_on_ntfs(name: &[u8], long: &[u8], short: &[u8]) -> bool {
    let ends = |rest: &[u8]| matches!(rest.trim_start_with(ends_on_ntfs).first(), None | Some(b':'));
    if name.strip_prefix(b".").and_then(|rest| strip_letters(rest, long)).is_some_and(ends) {
        return true;
    }
    let Some((head, rest)) = name.split_at_checked(8) else { return false };
    let Some((stem, number)) = head.split_once_str("~") else { return false };
    let simple = stem.eq_ignore_ascii_case(&long[..6]) && matches!(number, [b'1'..=b'4']);
    let hashed = short.get(..stem.len()).is_some_and(|short| stem.eq_ignore_ascii_case(short))
        && matches!(number, [b'1'..=b'9', digits @ ..] if digits.iter().all(u8::is_ascii_digit));
    (simple || hashed) && ends(rest)
}

/// Whether HFS takes `name` for `.` and `needle`.
fn is_on_hfs(name: &[u8], needle: &str) -> bool {
    let mut letters = readable_part(name).chars().filter(|letter| !IGNORED_BY_HFS.contains(letter));
    letters.next() == Some('.')
        && needle
            .chars()
            .all(|letter| letters.next().is_some_and(|found| found.eq_ignore_ascii_case(&letter)))
        && letters.next().is_none()
}

/// What stands before the first bytes that are no UTF-8, or one of the two letters that Unicode keeps free: to git, a name
/// ends there where HFS would be reading it.
fn readable_part(name: &[u8]) -> &str {
    let valid = name.utf8_chunks().next().map_or("", |chunk| chunk.valid());
    valid.split(['\u{fffe}', '\u{ffff}']).next().unwrap_or(valid)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dot_git_is_found_in_its_disguises() {
        for name in [
            &b".git"[..],
            b".GIT",
            b".git ",
            b".git. .",
            b".git::$INDEX_ALLOCATION",
            b"git~1",
            b"GIT~1.",
            b"git~1:x",
            b"a\\.git",
            b"a\\b\\GIT~1",
            b".git\\a",
            b".git .\\a",
            ".g\u{200c}it".as_bytes(),
            "\u{feff}.git\u{206f}".as_bytes(),
            b".git\xff",
            b".g\xe2\x80\x8cit\xc3",
            ".git\u{ffff}x".as_bytes(),
        ] {
            assert!(is_git(name), "{}", name.escape_ascii());
        }
        for name in [
            &b""[..],
            b"git",
            b".gi",
            b".gitx",
            b".git.x",
            b"git~2",
            b"git~11",
            b"~1",
            b"a.git",
            b"a\\git",
            b".\xff",
            b"git\xff",
            b"\xff",
            ".g\u{2028}it".as_bytes(),
            "a\\.g\u{200c}it".as_bytes(),
        ] {
            assert!(!is_git(name), "{}", name.escape_ascii());
        }
    }

    #[test]
    fn files_that_git_reads_are_found_in_their_disguises() {
        use Special::{Attributes, Modules};
        let table: &[(&[u8], &[Special])] = &[
            (b".gitmodules", &[Modules]),
            (b".GitModules", &[Modules]),
            (b".gitmodules . ", &[Modules]),
            (b".gitmodules .:x", &[Modules]),
            (b".gitmodules\xffx", &[Modules]),
            (b"gitmod~1", &[Modules]),
            (b"GITMOD~4 ", &[Modules]),
            (b"gi7eba~1", &[Modules]),
            (b"gi7e~123", &[Modules]),
            (b"a\\.gitmodules", &[Modules]),
            (".git\u{200c}modules".as_bytes(), &[Modules]),
            (b".gitattributes", &[Attributes]),
            (b"gitatt~2.:", &[Attributes]),
            (b"gi7d29~9", &[Attributes]),
            (".gitattribute\u{202e}s".as_bytes(), &[Attributes]),
            (b"gi7~1000", &[Modules, Attributes]),
            (b"~9999999", &[Modules, Attributes]),
            (b"a\\~1234567", &[Modules]),
            (b"a\\.gitattributes", &[]),
            ("a\\.git\u{200c}modules".as_bytes(), &[]),
            (b".gitmodules\\x", &[]),
            (b".gitmodules2", &[]),
            (b"gitmodules", &[]),
            (b"gitmod~5", &[]),
            (b"gitmod~11", &[]),
            (b"gi7eba~0", &[]),
            (b"gi7eba~", &[]),
            (b"gi7eb~1x", &[]),
            (b"~012345", &[]),
            (b"README.md", &[]),
            (b"", &[]),
        ];
        for (name, expected) in table {
            assert_eq!(&specials(name).collect::<Vec<_>>(), expected, "{}", name.escape_ascii());
        }
    }
}
