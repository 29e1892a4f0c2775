//! What makes an object well-formed: what `git fsck --strict` accepts, and what an object names.

use std::cmp::Ordering;

use gix_hash::ObjectId;
use gix_object::Kind;
use gix_object::bstr::ByteSlice as _;
use gix_object::tree::name_order;
use gix_validate::path::component;

/// The longest name of a tree's entry, in bytes: what file systems take.
const ENTRY_NAME_MAX: usize = 255;

/// An object that is not well-formed, and why, in fsck's terms.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct BadObject(pub(crate) String);

/// An object that another one names, and as what.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Named {
    pub(crate) id: ObjectId,
    pub(crate) kind: Kind,
    /// It is named as a commit's parent.
    pub(crate) parent: bool,
}

fn bad<T>(why: impl Into<String>) -> Result<T, BadObject> {
    Err(BadObject(why.into()))
}

/// Checks an object and returns what it names, links to other repositories left out.
pub(crate) fn object(kind: Kind, content: &[u8]) -> Result<Vec<Named>, BadObject> {
    match kind {
        Kind::Blob => Ok(Vec::new()),
        Kind::Tree => tree(content),
        Kind::Commit => commit(content),
        Kind::Tag => tag(content),
    }
}

/// One entry of a tree.
#[derive(Clone, Copy, Debug)]
pub(crate) struct TreeEntry<'a> {
    pub(crate) mode: Mode,
    pub(crate) name: &'a [u8],
    pub(crate) id: ObjectId,
}

/// The modes that git writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    Tree,
    Regular,
    Executable,
    Symlink,
    Submodule,
}

impl Mode {
    fn parse(octal: &[u8]) -> Option<Self> {
        match octal {
            b"40000" => Some(Self::Tree),
            b"100644" => Some(Self::Regular),
            b"100755" => Some(Self::Executable),
            b"120000" => Some(Self::Symlink),
            b"160000" => Some(Self::Submodule),
            _ => None,
        }
    }
}

/// Splits the first entry off a tree's content: `<mode> <name>\0<id>`.
pub(crate) fn next_entry<'a>(content: &mut &'a [u8]) -> Result<Option<TreeEntry<'a>>, BadObject> {
    if content.is_empty() {
        return Ok(None);
    }
    let Some((mode, rest)) = content.split_once_str(" ") else { return bad("badTree: entry without a mode") };
    let Some((name, rest)) = rest.split_once_str("\0") else { return bad("badTree: entry without a name") };
    let Some((id, rest)) = rest.split_at_checked(20) else { return bad("badTree: entry is cut off") };
    let Some(mode) = Mode::parse(mode) else {
        return bad(format!("badFilemode: `{}`", mode.as_bstr().to_str_lossy().escape_debug()));
    };
    *content = rest;
    Ok(Some(TreeEntry { mode, name, id: ObjectId::from_bytes_or_panic(id) }))
}

fn tree(mut content: &[u8]) -> Result<Vec<Named>, BadObject> {
    let mut named = Vec::new();
    let mut before: Option<TreeEntry<'_>> = None;
    // A file `a` and a folder `a` need not be neighbours: `a.b` sorts between them.
    let mut files: Vec<&[u8]> = Vec::new();
    while let Some(entry) = next_entry(&mut content)? {
        let shown = || entry.name.to_str_lossy().escape_debug().to_string();
        entry_name(&entry)?;
        if entry.id.is_null() {
            return bad(format!("nullSha1: `{}`", shown()));
        }
        let is_tree = entry.mode == Mode::Tree;
        if let Some(before) = before {
            match name_order(before.name, before.mode == Mode::Tree, entry.name, is_tree) {
                Ordering::Less => {}
                Ordering::Equal => return bad(format!("duplicateEntries: `{}`", shown())),
                Ordering::Greater => return bad(format!("treeNotSorted: `{}`", shown())),
            }
        }
        if is_tree {
            // Everything that sorts between a file and the folder of its name begins with that name.
            let clash = files.iter().rev().take_while(|file| file.starts_with(entry.name));
            if clash.into_iter().any(|file| *file == entry.name) {
                return bad(format!("duplicateEntries: `{}`", shown()));
            }
        } else {
            files.push(entry.name);
        }
        let kind = match entry.mode {
            Mode::Tree => Some(Kind::Tree),
            Mode::Submodule => None,
            Mode::Regular | Mode::Executable | Mode::Symlink => Some(Kind::Blob),
        };
        named.extend(kind.map(|kind| Named { id: entry.id, kind, parent: false }));
        before = Some(entry);
    }
    Ok(named)
}

fn entry_name(entry: &TreeEntry<'_>) -> Result<(), BadObject> {
    // Names that only Windows itself cannot hold, such as `aux.txt`, are git's to keep.
    let options = component::Options { protect_windows: false, protect_hfs: true, protect_ntfs: true };
    let mode = (entry.mode == Mode::Symlink).then_some(component::Mode::Symlink);
    if entry.name.len() > ENTRY_NAME_MAX {
        return bad("largePathname: a name is longer than 255 bytes");
    }
    let shown = || entry.name.to_str_lossy().escape_debug().to_string();
    if let Err(error) = gix_validate::path::component(entry.name.as_bstr(), mode, options) {
        return bad(format!("badName: `{}`: {error}", shown()));
    }
    // To git, what is no Unicode ends a name where HFS would be reading it.
    let readable = readable_part(entry.name);
    let options = component::Options { protect_ntfs: false, ..options };
    let may_be_dotgit = readable.len() < entry.name.len() && readable.len() >= ".git".len();
    if may_be_dotgit && gix_validate::path::component(readable.as_bstr(), mode, options).is_err() {
        return bad(format!("hasDotgit: `{}`", shown()));
    }
    Ok(())
}

/// What stands before the first bytes that are no UTF-8, or one of the two letters that Unicode keeps free.
fn readable_part(name: &[u8]) -> &[u8] {
    let valid = name.utf8_chunks().next().map_or("", |chunk| chunk.valid());
    valid.split(['\u{fffe}', '\u{ffff}']).next().unwrap_or(valid).as_bytes()
}

fn commit(content: &[u8]) -> Result<Vec<Named>, BadObject> {
    if content.contains(&0) {
        return bad("nulInCommit: a commit holds a NUL byte");
    }
    let mut lines = Header { rest: content };
    let mut named = vec![Named { id: lines.id("tree")?, kind: Kind::Tree, parent: false }];
    while let Some(parent) = lines.optional("parent") {
        named.push(Named { id: id(parent, "badParentSha1")?, kind: Kind::Commit, parent: true });
    }
    identity(lines.required("author")?)?;
    if lines.optional("author").is_some() {
        return bad("multipleAuthors: a commit has several author lines");
    }
    identity(lines.required("committer")?)?;
    lines.skip_to_message()?;
    Ok(named)
}

fn tag(content: &[u8]) -> Result<Vec<Named>, BadObject> {
    if content.contains(&0) {
        return bad("nulInHeader: a tag holds a NUL byte");
    }
    let mut lines = Header { rest: content };
    let target = lines.id("object")?;
    let Ok(kind) = Kind::from_bytes(lines.required("type")?) else {
        return bad("badType: a tag names no kind");
    };
    let name = lines.required("tag")?;
    if gix_validate::tag::name(name.as_bstr()).is_err() {
        return bad(format!("badTagName: `{}`", name.to_str_lossy().escape_debug()));
    }
    // Tags of git's first years have no tagger.
    if let Some(tagger) = lines.optional("tagger") {
        identity(tagger)?;
    }
    lines.skip_to_message()?;
    Ok(vec![Named { id: target, kind, parent: false }])
}

/// The lines of a commit or tag before its message.
struct Header<'a> {
    rest: &'a [u8],
}

impl<'a> Header<'a> {
    /// The value of the next line, if it is of that name.
    fn optional(&mut self, name: &str) -> Option<&'a [u8]> {
        let value = self.rest.strip_prefix(name.as_bytes())?.strip_prefix(b" ")?;
        let (value, rest) = value.split_once_str("\n")?;
        self.rest = rest;
        Some(value)
    }

    fn required(&mut self, name: &str) -> Result<&'a [u8], BadObject> {
        self.optional(name)
            .map_or_else(|| bad(format!("missing{}: no `{name}` line where it belongs", capital(name))), Ok)
    }

    fn id(&mut self, name: &str) -> Result<ObjectId, BadObject> {
        id(self.required(name)?, &format!("bad{}Sha1", capital(name)))
    }

    /// Passes over whatever other lines there are, up to the empty one before the message.
    fn skip_to_message(&mut self) -> Result<(), BadObject> {
        while !self.rest.is_empty() {
            let Some((line, rest)) = self.rest.split_once_str("\n") else {
                return bad("unterminatedHeader: the header does not end");
            };
            self.rest = rest;
            if line.is_empty() {
                break;
            }
        }
        Ok(())
    }
}

fn capital(name: &str) -> String {
    name[..1].to_ascii_uppercase() + &name[1..]
}

fn id(hex: &[u8], fault: &str) -> Result<ObjectId, BadObject> {
    match ObjectId::from_hex(hex) {
        Ok(id) if hex.len() == 40 && !id.is_null() => Ok(id),
        _ => bad(format!("{fault}: not the name of an object")),
    }
}

/// `name <mail> seconds zone`.
fn identity(line: &[u8]) -> Result<(), BadObject> {
    let Some((name, rest)) = line.split_once_str("<") else {
        return bad("missingEmail: an identity has no mail address");
    };
    if name.contains(&b'>') {
        return bad("badName: an identity's name has a `>`");
    }
    if name.is_empty() {
        return bad("missingNameBeforeEmail: an identity has no name");
    }
    if !name.ends_with(b" ") {
        return bad("missingSpaceBeforeEmail: an identity has no blank before its mail address");
    }
    let Some((mail, rest)) = rest.split_once_str(">") else {
        return bad("badEmail: a mail address does not end");
    };
    if mail.contains(&b'<') {
        return bad("badEmail: a mail address has a `<`");
    }
    let Some(rest) = rest.strip_prefix(b" ") else {
        return bad("missingSpaceBeforeDate: no blank before a date");
    };
    let Some((seconds, zone)) = rest.split_once_str(" ") else { return bad("badDate: a date has no zone") };
    if seconds.is_empty() || !seconds.iter().all(u8::is_ascii_digit) {
        return bad("badDate: a date is not a number");
    }
    if seconds.len() > 1 && seconds[0] == b'0' {
        return bad("zeroPaddedDate: a date begins with 0");
    }
    if seconds.to_str_lossy().parse::<i64>().is_err() {
        return bad("badDateOverflow: a date is too large");
    }
    match zone {
        [b'+' | b'-', digits @ ..] if digits.len() == 4 && digits.iter().all(u8::is_ascii_digit) => Ok(()),
        _ => bad("badTimezone: a zone is not a sign and four digits"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entries(list: &[(&str, &str)]) -> Vec<u8> {
        list.iter()
            .flat_map(|(mode, name)| [mode.as_bytes(), b" ", name.as_bytes(), b"\0", &[7; 20]].concat())
            .collect()
    }

    fn fault(kind: Kind, content: &[u8]) -> String {
        object(kind, content)
            .map_or_else(|BadObject(why)| why.split(':').next().unwrap().to_owned(), |_| "fine".to_owned())
    }

    #[test]
    fn trees_are_accepted_as_git_writes_them() {
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
            object(Kind::Tree, &good).unwrap().len(),
            4,
            "a link to another repository is not followed"
        );
        assert_eq!(fault(Kind::Tree, &entries(&[("100644", "aux.txt"), ("100644", "con")])), "fine");
        assert_eq!(fault(Kind::Tree, b""), "fine");
    }

    #[test]
    fn trees_that_lie_or_escape_are_refused() {
        let table: &[(&[(&str, &str)], &str)] = &[
            (&[("100644", "..")], "badName"),
            (&[("100644", ".")], "badName"),
            (&[("100644", "")], "badName"),
            (&[("100644", "a/b")], "badName"),
            (&[("40000", ".git")], "badName"),
            (&[("40000", ".GIT")], "badName"),
            (&[("40000", "git~1")], "badName"),
            (&[("40000", ".g\u{200c}it")], "badName"),
            (&[("40000", ".git ")], "badName"),
            (&[("120000", ".gitmodules")], "badName"),
            (&[("100664", "a")], "badFilemode"),
            (&[("040000", "a")], "badFilemode"),
            (&[("0", "a")], "badFilemode"),
            (&[("100644", "b"), ("100644", "a")], "treeNotSorted"),
            (&[("100644", "a"), ("100644", "a")], "duplicateEntries"),
            (&[("100644", "a"), ("100644", "a.b"), ("40000", "a")], "duplicateEntries"),
        ];
        for (list, expected) in table {
            assert_eq!(fault(Kind::Tree, &entries(list)), *expected, "{list:?}");
        }
        for name in
            [&b".git\xff"[..], b".git\xffmodules", b".g\xe2\x80\x8cit\xc3", ".git\u{ffff}x".as_bytes()]
        {
            let tree = [b"40000 ", name, b"\0", &[7; 20]].concat();
            assert_eq!(fault(Kind::Tree, &tree), "hasDotgit", "{}", name.escape_ascii());
        }
        for name in [&b".gitx\xff"[..], b".\xff", b"git\xff", b"\xff"] {
            let tree = [b"40000 ", name, b"\0", &[7; 20]].concat();
            assert_eq!(fault(Kind::Tree, &tree), "fine", "{}", name.escape_ascii());
        }
        let null = [&b"100644 a\0"[..], &[0; 20]].concat();
        assert_eq!(fault(Kind::Tree, &null), "nullSha1");
        for cut in ["1", "100644 a", "100644 a\0short"] {
            assert_eq!(fault(Kind::Tree, cut.as_bytes()), "badTree", "{cut}");
        }
    }

    #[test]
    fn commits_are_held_to_fscks_rules() {
        let id = "1".repeat(40);
        let good = format!(
            "tree {id}\nparent {id}\nauthor A <a@b> 1 +0000\ncommitter A <a@b> 1 -0130\ngpgsig x\n y\n\nmessage"
        );
        assert_eq!(object(Kind::Commit, good.as_bytes()).unwrap().len(), 2);
        let table = [
            ("tree", "tre", "missingTree"),
            (&id[..], "0", "badTreeSha1"),
            ("author A", "author B <b@c> 1 +0000\nauthor A", "multipleAuthors"),
            ("A <a@b> 1 +0000", "A a@b 1 +0000", "missingEmail"),
            ("A <a@b> 1 +0000", "A<a@b> 1 +0000", "missingSpaceBeforeEmail"),
            ("A <a@b> 1 +0000", "<a@b> 1 +0000", "missingNameBeforeEmail"),
            ("A <a@b> 1 +0000", "A <a@b> 01 +0000", "zeroPaddedDate"),
            ("A <a@b> 1 +0000", "A <a@b> 99999999999999999999 +0000", "badDateOverflow"),
            ("A <a@b> 1 +0000", "A <a@b> 1 0000", "badTimezone"),
            ("A <a@b> 1 +0000", "A <a@b>1 +0000", "missingSpaceBeforeDate"),
            ("committer", "comitter", "missingCommitter"),
            ("message", "mess\0age", "nulInCommit"),
        ];
        for (from, to, expected) in table {
            assert_eq!(fault(Kind::Commit, good.replacen(from, to, 1).as_bytes()), expected, "{to}");
        }
    }

    #[test]
    fn tags_are_held_to_fscks_rules() {
        let good =
            format!("object {}\ntype commit\ntag v1\ntagger A <a@b> 1 +0000\n\nrelease", "1".repeat(40));
        assert_eq!(object(Kind::Tag, good.as_bytes()).unwrap()[0].kind, Kind::Commit);
        for (from, to, expected) in [
            ("type commit", "type thing", "badType"),
            ("tag v1", "tag v..1", "badTagName"),
            ("object", "objekt", "missingObject"),
        ] {
            assert_eq!(fault(Kind::Tag, good.replacen(from, to, 1).as_bytes()), expected);
        }
    }
}
