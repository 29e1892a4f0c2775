//! Names with a special meaning: `.git`, and the files that git reads itself, with their aliases on HFS+ and NTFS.

use gix_object::bstr::ByteSlice as _;

/// A blob that git reads itself, because of its name in a tree.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum BlobToFsck {
    /// `.gitmodules`: URLs and paths of submodules.
    Gitmodules,
    /// `.gitattributes`: attributes of paths.
    Gitattributes,
}

/// Characters that HFS+ ignores in names.
const IGNORED_BY_HFS: [char; 16] = [
    '\u{200c}', '\u{200d}', '\u{200e}', '\u{200f}', '\u{202a}', '\u{202b}', '\u{202c}', '\u{202d}',
    '\u{202e}', '\u{206a}', '\u{206b}', '\u{206c}', '\u{206d}', '\u{206e}', '\u{206f}', '\u{feff}',
];

impl BlobToFsck {
    /// The name as in fsck's messages.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Gitmodules => "gitmodules",
            Self::Gitattributes => "gitattributes",
        }
    }

    /// The prefix of the hashed NTFS short name, used when the numbered ones are taken.
    fn ntfs_short_name(self) -> &'static [u8] {
        match self {
            Self::Gitmodules => b"gi7eba",
            Self::Gitattributes => b"gi7d29",
        }
    }

    fn is_named(self, name: &[u8]) -> bool {
        let on_ntfs = |name: &[u8]| is_ntfs_dot(name, self.name().as_bytes(), self.ntfs_short_name());
        let in_folder = self == Self::Gitmodules && after_backslashes(name).any(on_ntfs);
        in_folder || on_ntfs(name) || is_hfs_dot(name, self.name())
    }
}

/// Every special meaning of the name. Very short NTFS names can have both.
pub(super) fn blobs_to_fsck(name: &[u8]) -> impl Iterator<Item = BlobToFsck> {
    let candidates: &[BlobToFsck] =
        if may_be_alias(name) { &[BlobToFsck::Gitmodules, BlobToFsck::Gitattributes] } else { &[] };
    candidates.iter().copied().filter(move |blob| blob.is_named(name))
}

/// Whether a file system can take `name` for `.git`.
pub(super) fn is_dotgit(name: &[u8]) -> bool {
    let on_ntfs = |name: &[u8]| {
        [&b".git"[..], b"git~1"].iter().any(|git| {
            strip_prefix_ignore_case(name, git).is_some_and(|rest| {
                matches!(rest.trim_start_with(is_ignored_by_ntfs).first(), None | Some(b':' | b'\\'))
            })
        })
    };
    may_be_alias(name) && (on_ntfs(name) || after_backslashes(name).any(on_ntfs) || is_hfs_dot(name, "git"))
}

/// A quick filter: almost no name can be an alias.
fn may_be_alias(name: &[u8]) -> bool {
    matches!(name.first(), Some(b'.' | b'g' | b'G' | b'~' | 0xe2 | 0xef)) || name.contains(&b'\\')
}

/// The file names that Windows sees after backslashes.
fn after_backslashes(name: &[u8]) -> impl Iterator<Item = &[u8]> {
    name.iter().enumerate().filter(|(_, byte)| **byte == b'\\').map(|(at, _)| &name[at + 1..])
}

fn strip_prefix_ignore_case<'a>(name: &'a [u8], start: &[u8]) -> Option<&'a [u8]> {
    let (head, rest) = name.split_at_checked(start.len())?;
    head.eq_ignore_ascii_case(start).then_some(rest)
}

/// NTFS ignores spaces and dots at the end of a name.
fn is_ignored_by_ntfs(letter: char) -> bool {
    letter == ' ' || letter == '.'
}

/// Whether NTFS takes `name` for `.` and `long`: also with an alternate data stream after a colon, or as a short name, which
/// is the first six characters with `~1` to `~4`, or a prefix of `short` with any number.
fn is_ntfs_dot(name: &[u8], long: &[u8], short: &[u8]) -> bool {
    let ends = |rest: &[u8]| matches!(rest.trim_start_with(is_ignored_by_ntfs).first(), None | Some(b':'));
    if name.strip_prefix(b".").and_then(|rest| strip_prefix_ignore_case(rest, long)).is_some_and(ends) {
        return true;
    }
    let Some((head, rest)) = name.split_at_checked(8) else { return false };
    let Some((stem, number)) = head.split_once_str("~") else { return false };
    let simple = stem.eq_ignore_ascii_case(&long[..6]) && matches!(number, [b'1'..=b'4']);
    let hashed = short.get(..stem.len()).is_some_and(|short| stem.eq_ignore_ascii_case(short))
        && matches!(number, [b'1'..=b'9', digits @ ..] if digits.iter().all(u8::is_ascii_digit));
    (simple || hashed) && ends(rest)
}

/// Whether HFS+ takes `name` for `.` and `needle`.
fn is_hfs_dot(name: &[u8], needle: &str) -> bool {
    let mut letters = valid_prefix(name).chars().filter(|letter| !IGNORED_BY_HFS.contains(letter));
    letters.next() == Some('.')
        && needle
            .chars()
            .all(|letter| letters.next().is_some_and(|found| found.eq_ignore_ascii_case(&letter)))
        && letters.next().is_none()
}

/// The part before invalid UTF-8 or one of the noncharacters U+FFFE and U+FFFF, where git stops comparing HFS+ names.
fn valid_prefix(name: &[u8]) -> &str {
    let valid = name.utf8_chunks().next().map_or("", |chunk| chunk.valid());
    valid.split(['\u{fffe}', '\u{ffff}']).next().unwrap_or(valid)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dotgit_aliases_are_detected() {
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
            assert!(is_dotgit(name), "{}", name.escape_ascii());
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
            assert!(!is_dotgit(name), "{}", name.escape_ascii());
        }
    }

    #[test]
    fn aliases_of_special_files_are_detected() {
        use BlobToFsck::{Gitattributes, Gitmodules};
        let table: &[(&[u8], &[BlobToFsck])] = &[
            (b".gitmodules", &[Gitmodules]),
            (b".GitModules", &[Gitmodules]),
            (b".gitmodules . ", &[Gitmodules]),
            (b".gitmodules .:x", &[Gitmodules]),
            (b".gitmodules\xffx", &[Gitmodules]),
            (b"gitmod~1", &[Gitmodules]),
            (b"GITMOD~4 ", &[Gitmodules]),
            (b"gi7eba~1", &[Gitmodules]),
            (b"gi7e~123", &[Gitmodules]),
            (b"a\\.gitmodules", &[Gitmodules]),
            (".git\u{200c}modules".as_bytes(), &[Gitmodules]),
            (b".gitattributes", &[Gitattributes]),
            (b"gitatt~2.:", &[Gitattributes]),
            (b"gi7d29~9", &[Gitattributes]),
            (".gitattribute\u{202e}s".as_bytes(), &[Gitattributes]),
            (b"gi7~1000", &[Gitmodules, Gitattributes]),
            (b"~9999999", &[Gitmodules, Gitattributes]),
            (b"a\\~1234567", &[Gitmodules]),
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
            assert_eq!(&blobs_to_fsck(name).collect::<Vec<_>>(), expected, "{}", name.escape_ascii());
        }
    }
}
