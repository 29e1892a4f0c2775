//! fsck of commits and tags.

use gix_hash::ObjectId;
use gix_object::Kind;
use gix_object::bstr::ByteSlice as _;

use super::{FsckError, FsckReport, FsckWarning, ObjectRef, bad};

pub(super) fn fsck_commit(content: &[u8]) -> Result<FsckReport, FsckError> {
    check_header(content)?;
    let mut lines = Header { rest: content };
    let mut refs = vec![ObjectRef::new(lines.id("tree")?, Kind::Tree)];
    while let Some(parent) = lines.optional("parent") {
        refs.push(ObjectRef {
            is_parent: true,
            ..ObjectRef::new(id(parent, "badParentSha1")?, Kind::Commit)
        });
    }
    identity(lines.required("author")?)?;
    if lines.optional("author").is_some() {
        return bad("multipleAuthors: a commit has several author lines");
    }
    identity(lines.required("committer")?)?;
    let warnings = if content.contains(&0) { vec![FsckWarning::NulInCommit] } else { Vec::new() };
    Ok(FsckReport { refs, warnings })
}

/// Verifies that the header ends with an empty line, or is the whole object and ends with a line feed.
fn check_header(content: &[u8]) -> Result<(), FsckError> {
    let header = content.find(b"\n\n").map_or(content, |end| &content[..end + 1]);
    if header.contains(&0) {
        return bad("nulInHeader: NUL byte in the header");
    }
    if !header.ends_with(b"\n") {
        return bad("unterminatedHeader: the header does not end");
    }
    Ok(())
}

/// git does not parse shorter tags, whatever they contain.
const TAG_BYTES_MIN: usize = 64;

pub(super) fn fsck_tag(content: &[u8]) -> Result<Vec<ObjectRef>, FsckError> {
    if content.len() < TAG_BYTES_MIN {
        return bad("badTag: a tag is too short to be read");
    }
    check_header(content)?;
    let mut lines = Header { rest: content };
    let target = lines.id("object")?;
    let Ok(kind) = Kind::from_bytes(lines.required("type")?) else {
        return bad("badType: the tag names no kind");
    };
    // fsck only informs about an invalid tag name (badTagName); no ref is created from it.
    lines.required("tag")?;
    // Tags of early git versions have no tagger.
    if let Some(tagger) = lines.optional("tagger") {
        identity(tagger)?;
    }
    Ok(vec![ObjectRef::new(target, kind)])
}

/// The header lines of a commit or tag.
struct Header<'a> {
    rest: &'a [u8],
}

impl<'a> Header<'a> {
    /// The value of the next line, if it has that name.
    fn optional(&mut self, name: &str) -> Option<&'a [u8]> {
        let value = self.rest.strip_prefix(name.as_bytes())?.strip_prefix(b" ")?;
        let (value, rest) = value.split_once_str("\n")?;
        self.rest = rest;
        Some(value)
    }

    fn required(&mut self, name: &str) -> Result<&'a [u8], FsckError> {
        let entry = if matches!(name, "type" | "tag") { "Entry" } else { "" };
        let missing = || bad(format!("missing{}{entry}: no `{name}` line where it belongs", capital(name)));
        self.optional(name).map_or_else(missing, Ok)
    }

    fn id(&mut self, name: &str) -> Result<ObjectId, FsckError> {
        id(self.required(name)?, &format!("bad{}Sha1", capital(name)))
    }
}

fn capital(name: &str) -> String {
    name[..1].to_ascii_uppercase() + &name[1..]
}

fn id(hex: &[u8], msg_id: &str) -> Result<ObjectId, FsckError> {
    match ObjectId::from_hex(hex) {
        Ok(id) if hex.len() == 40 && !id.is_null() => Ok(id),
        _ => bad(format!("{msg_id}: not the name of an object")),
    }
}

/// `name <email> seconds timezone`.
fn identity(line: &[u8]) -> Result<(), FsckError> {
    let end_of_name = line.find_byteset(b"<>").unwrap_or(line.len());
    let (name, rest) = line.split_at(end_of_name);
    let rest = match rest.split_first() {
        Some((b'<', rest)) => rest,
        Some(_) => return bad("badName: an identity's name has a `>`"),
        None => return bad("missingEmail: an identity has no mail address"),
    };
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
    // One space is usual; git accepts more whitespace.
    let rest = rest.trim_start_with(|letter| letter == ' ' || letter == '\t');
    let Some((seconds, zone)) = rest.split_once_str(" ") else { return bad("badDate: a date has no zone") };
    if !seconds.first().is_some_and(u8::is_ascii_digit) {
        return bad("badDate: a date is not a number");
    }
    if seconds.len() > 1 && seconds[0] == b'0' {
        return bad("zeroPaddedDate: a date begins with 0");
    }
    if !seconds.iter().all(u8::is_ascii_digit) {
        return bad("badDate: a date is not a number");
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
    use super::super::fsck_object;
    use super::super::tests::msg_id_of;
    use super::*;

    #[test]
    fn commits_follow_fsck_rules() {
        let id = "1".repeat(40);
        let good = format!(
            "tree {id}\nparent {id}\nauthor A <a@b> 1 +0000\ncommitter A <a@b> 1 -0130\ngpgsig x\n y\n\nmessage"
        );
        assert_eq!(fsck_object(Kind::Commit, good.as_bytes()).unwrap().refs.len(), 2);
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
            ("gpgsig", "gpg\0sig", "nulInHeader"),
            ("A <a@b> 1 +0000", "A> 1 +0000", "badName"),
            ("A <a@b> 1 +0000", "A <a@b>  \t1 +0000", "fine"),
            ("A <a@b> 1 +0000", "A <a@b> 1x +0000", "badDate"),
            ("\n\nmessage", "", "unterminatedHeader"),
            ("\n\nmessage", "\n", "fine"),
        ];
        for (from, to, expected) in table {
            assert_eq!(msg_id_of(Kind::Commit, good.replacen(from, to, 1).as_bytes()), expected, "{to}");
        }
        let nul = good.replacen("message", "mess\0age", 1);
        assert_eq!(fsck_object(Kind::Commit, nul.as_bytes()).unwrap().warnings, [FsckWarning::NulInCommit]);
    }

    #[test]
    fn tags_follow_fsck_rules() {
        let good =
            format!("object {}\ntype commit\ntag v1\ntagger A <a@b> 1 +0000\n\nrelease", "1".repeat(40));
        assert_eq!(fsck_object(Kind::Tag, good.as_bytes()).unwrap().refs[0].kind, Kind::Commit);
        let short = |name: &str| format!("object {}\ntype tag\ntag {name}\n", "1".repeat(40));
        assert_eq!(msg_id_of(Kind::Tag, short("v").as_bytes()), "badTag");
        assert_eq!(msg_id_of(Kind::Tag, short("v1").as_bytes()), "fine");
        for (from, to, expected) in [
            ("type commit", "type thing", "badType"),
            ("tag v1", "tag v..1", "fine"),
            ("tag v1", "tagged v1", "missingTagEntry"),
            ("type commit", "typo commit", "missingTypeEntry"),
            ("release", "rele\0ase", "fine"),
            ("object", "objekt", "missingObject"),
        ] {
            assert_eq!(msg_id_of(Kind::Tag, good.replacen(from, to, 1).as_bytes()), expected);
        }
    }
}
