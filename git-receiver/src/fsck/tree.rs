//! fsck of trees: sorted entries without duplicates, and safe names.

use std::cmp::Ordering;

use gix_hash::ObjectId;
use gix_object::Kind;
use gix_object::bstr::ByteSlice as _;
use gix_object::tree::name_order;

use super::dotgit::{self, BlobToFsck};
use super::{FsckError, FsckReport, FsckWarning, ObjectRef, bad, shown};

/// The longest entry name without an fsck warning, in bytes. No file system supports longer names.
const ENTRY_NAME_MAX: usize = 4096;

/// A tree entry.
#[derive(Clone, Copy, Debug)]
pub(crate) struct TreeEntry<'a> {
    pub(crate) mode: Mode,
    /// Whether the mode has a leading zero.
    is_padded: bool,
    pub(crate) name: &'a [u8],
    pub(crate) id: ObjectId,
}

/// The entry's type, from its mode.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    Tree,
    Regular,
    Executable,
    Symlink,
    Submodule,
}

impl Mode {
    /// Parses an octal mode like git, which uses the low 16 bits. Other programs, and early git, wrote full permissions
    /// (100664, 40755); only the owner's executable bit matters, and fsck informs about the rest (badFilemode). Unknown
    /// types are treated like submodules: git does not follow them.
    fn parse(octal: &[u8]) -> Option<Self> {
        let digit = |mode: u16, digit: &u8| match digit {
            b'0'..=b'7' => Some(mode << 3 | u16::from(digit - b'0')),
            _ => None,
        };
        let mode = octal.iter().try_fold(0, digit).filter(|_| !octal.is_empty())?;
        Some(match mode & 0o170_000 {
            0o040_000 => Self::Tree,
            0o100_000 if mode & 0o100 == 0 => Self::Regular,
            0o100_000 => Self::Executable,
            0o120_000 => Self::Symlink,
            _ => Self::Submodule,
        })
    }
}

/// Parses the first entry of a tree: `<mode> <name>\0<id>`.
pub(crate) fn next_entry<'a>(content: &mut &'a [u8]) -> Result<Option<TreeEntry<'a>>, FsckError> {
    if content.is_empty() {
        return Ok(None);
    }
    let Some((mode, rest)) = content.split_once_str(" ") else { return bad("badTree: entry without a mode") };
    let Some((name, rest)) = rest.split_once_str("\0") else { return bad("badTree: entry without a name") };
    let Some((id, rest)) = rest.split_at_checked(20) else { return bad("badTree: entry is cut off") };
    let is_padded = mode.first() == Some(&b'0');
    let Some(mode) = Mode::parse(mode) else {
        return bad(format!("badTree: `{}` is no mode", shown(mode)));
    };
    if name.is_empty() {
        return bad("badTree: entry with an empty name");
    }
    *content = rest;
    Ok(Some(TreeEntry { mode, is_padded, name, id: ObjectId::from_bytes_or_panic(id) }))
}

pub(super) fn fsck_tree(mut content: &[u8]) -> Result<FsckReport, FsckError> {
    let mut refs = Vec::new();
    let mut warnings = Vec::new();
    let mut before: Option<TreeEntry<'_>> = None;
    // A file `a` and a directory `a` are not necessarily adjacent: `a.b` sorts between them.
    let mut files: Vec<&[u8]> = Vec::new();
    while let Some(entry) = next_entry(&mut content)? {
        entry_name(&entry)?;
        let warns = [
            (entry.name.len() > ENTRY_NAME_MAX, FsckWarning::LargePathname),
            (entry.id.is_null(), FsckWarning::NullSha1),
            (entry.is_padded, FsckWarning::ZeroPaddedFilemode),
        ];
        for (_, warning) in warns.into_iter().filter(|(warns, _)| *warns) {
            if !warnings.contains(&warning) {
                warnings.push(warning);
            }
        }
        let is_tree = entry.mode == Mode::Tree;
        if let Some(before) = before {
            match name_order(before.name, before.mode == Mode::Tree, entry.name, is_tree) {
                Ordering::Less => {}
                Ordering::Equal => return bad(format!("duplicateEntries: `{}`", shown(entry.name))),
                Ordering::Greater => return bad(format!("treeNotSorted: `{}`", shown(entry.name))),
            }
        }
        if is_tree {
            // All entries between a file and the directory of the same name start with that name.
            let conflicts = files.iter().rev().take_while(|file| file.starts_with(entry.name));
            if conflicts.into_iter().any(|file| *file == entry.name) {
                return bad(format!("duplicateEntries: `{}`", shown(entry.name)));
            }
        } else {
            files.push(entry.name);
        }
        let kind = match entry.mode {
            Mode::Tree => Some(Kind::Tree),
            Mode::Submodule => None,
            Mode::Regular | Mode::Executable | Mode::Symlink => Some(Kind::Blob),
        };
        refs.extend(kind.map(|kind| ObjectRef::new(entry.id, kind)));
        add_blobs_to_fsck(&entry, &mut refs)?;
        before = Some(entry);
    }
    Ok(FsckReport { refs, warnings })
}

/// Adds the reference as a blob to fsck, if git reads the file itself.
fn add_blobs_to_fsck(entry: &TreeEntry<'_>, refs: &mut Vec<ObjectRef>) -> Result<(), FsckError> {
    for special in dotgit::blobs_to_fsck(entry.name) {
        let (name, shown) = (special.name(), || shown(entry.name));
        match (entry.mode, special) {
            (Mode::Regular | Mode::Executable, _) => {
                // Most such names have one meaning, which is set on the reference that was just added.
                match refs.last_mut() {
                    Some(last) if last.blob_to_fsck.is_none() => last.blob_to_fsck = Some(special),
                    _ => refs.push(ObjectRef {
                        blob_to_fsck: Some(special),
                        ..ObjectRef::new(entry.id, Kind::Blob)
                    }),
                }
            }
            (Mode::Symlink, BlobToFsck::Gitmodules) => return bad(format!("{name}Symlink: `{}`", shown())),
            (Mode::Symlink, BlobToFsck::Gitattributes) => {}
            (Mode::Tree, _) => return bad(format!("{name}Blob: `{}` is a directory", shown())),
            // git looks for a blob and does not find it.
            (Mode::Submodule, _) => return bad(format!("{name}Missing: `{}` is a submodule", shown())),
        }
    }
    Ok(())
}

fn entry_name(entry: &TreeEntry<'_>) -> Result<(), FsckError> {
    let msg_id = match entry.name {
        b"." => "hasDot",
        b".." => "hasDotdot",
        name if name.contains(&b'/') => "fullPathname",
        name if dotgit::is_dotgit(name) => "hasDotgit",
        _ => return Ok(()),
    };
    bad(format!("{msg_id}: `{}`", shown(entry.name)))
}

#[cfg(test)]
mod tests {
    use super::super::fsck_object;
    use super::super::tests::msg_id_of;
    use super::*;

    fn entries(list: &[(&str, &str)]) -> Vec<u8> {
        list.iter()
            .flat_map(|(mode, name)| [mode.as_bytes(), b" ", name.as_bytes(), b"\0", &[7; 20]].concat())
            .collect()
    }

    #[test]
    fn trees_written_by_git_are_accepted() {
        let good = entries(
            &[
                ("100644", "a.b"),
                ("40000", "a"),
                ("100755", "b"),
                ("120000", "c"),
                ("160000", "d"),
                ("100644", "aux.txt"),
            ]
            .map(|e| e)[..5],
        );
        assert_eq!(
            fsck_object(Kind::Tree, &good).unwrap().refs.len(),
            4,
            "a link to another repository is not followed"
        );
        assert_eq!(msg_id_of(Kind::Tree, &entries(&[("100644", "aux.txt"), ("100644", "con")])), "fine");
        assert_eq!(msg_id_of(Kind::Tree, b""), "fine");
    }

    #[test]
    fn modes_of_other_programs_are_accepted() {
        for (mode, expected) in [
            ("100664", Mode::Regular),
            ("100640", Mode::Regular),
            ("100600", Mode::Regular),
            ("0100644", Mode::Regular),
            ("100775", Mode::Executable),
            ("100700", Mode::Executable),
            ("107777", Mode::Executable),
            ("40755", Mode::Tree),
            ("040000", Mode::Tree),
            ("120777", Mode::Symlink),
            ("160644", Mode::Submodule),
            ("140000", Mode::Submodule),
            ("644", Mode::Submodule),
            ("0", Mode::Submodule),
            ("77777777100644", Mode::Regular),
        ] {
            assert_eq!(Mode::parse(mode.as_bytes()), Some(expected), "{mode}");
            assert_eq!(msg_id_of(Kind::Tree, &entries(&[(mode, "a")])), "fine");
        }
    }

    #[test]
    fn malformed_and_escaping_trees_are_rejected() {
        let table: &[(&[(&str, &str)], &str)] = &[
            (&[("100644", "..")], "hasDotdot"),
            (&[("100644", ".")], "hasDot"),
            (&[("100644", "")], "badTree"),
            (&[("100644", "a/b")], "fullPathname"),
            (&[("40000", ".git")], "hasDotgit"),
            (&[("40000", ".GIT")], "hasDotgit"),
            (&[("40000", "git~1")], "hasDotgit"),
            (&[("40000", ".g\u{200c}it")], "hasDotgit"),
            (&[("40000", ".git ")], "hasDotgit"),
            (&[("120000", ".gitmodules")], "gitmodulesSymlink"),
            (&[("100644", "a\\.git")], "hasDotgit"),
            (&[("120000", "a\\.gitmodules")], "gitmodulesSymlink"),
            (&[("40000", ".gitmodules")], "gitmodulesBlob"),
            (&[("160000", ".gitmodules")], "gitmodulesMissing"),
            (&[("40000", "gitatt~1")], "gitattributesBlob"),
            (&[("160000", ".gitattributes")], "gitattributesMissing"),
            (&[("100684", "a")], "badTree"),
            (&[("", "a")], "badTree"),
            (&[("100644", "b"), ("100644", "a")], "treeNotSorted"),
            (&[("100644", "a"), ("100644", "a")], "duplicateEntries"),
            (&[("100644", "a"), ("100644", "a.b"), ("40000", "a")], "duplicateEntries"),
        ];
        for (list, expected) in table {
            assert_eq!(msg_id_of(Kind::Tree, &entries(list)), *expected, "{list:?}");
        }
        for cut in ["1", "100644 a", "100644 a\0short"] {
            assert_eq!(msg_id_of(Kind::Tree, cut.as_bytes()), "badTree", "{cut}");
        }
    }

    #[test]
    fn each_warning_is_reported_once() {
        let null = [&b"0100644 a\0"[..], &[0; 20]].concat();
        let tree = [null, entries(&[("0100644", "b"), ("100644", &"c".repeat(4097))])].concat();
        let warnings = fsck_object(Kind::Tree, &tree).unwrap().warnings;
        assert_eq!(
            warnings,
            [FsckWarning::NullSha1, FsckWarning::ZeroPaddedFilemode, FsckWarning::LargePathname]
        );
    }

    #[test]
    fn special_files_are_marked_for_fsck() {
        let tree = entries(&[
            ("120000", ".gitattributes"),
            ("100644", ".gitmodules"),
            ("100755", "GITATT~1"),
            ("100644", "a"),
            ("100644", "~1234567"),
        ]);
        let refs = fsck_object(Kind::Tree, &tree).unwrap().refs;
        let special: Vec<_> = refs.iter().map(|refs| refs.blob_to_fsck).collect();
        let (modules, attributes) = (Some(BlobToFsck::Gitmodules), Some(BlobToFsck::Gitattributes));
        assert_eq!(special, [None, modules, attributes, None, modules, attributes], "the last name is both");
    }
}
