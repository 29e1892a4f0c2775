//! Every message id of `git fsck` with its default severity, and the result of a push with such an object, compared with git
//! itself. `cargo test -p git-receiver msg_ids -- --nocapture` prints the table.

use std::collections::BTreeMap;

use gix_hash::ObjectId;
use gix_object::Kind;
use gix_object::bstr::ByteSlice as _;

use super::tests::{Repository, git, tree_of};
use super::{FsckError, fsck_blob, fsck_object};

/// The severities of git's fsck.h. FATAL is an error that no setting can downgrade.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Severity {
    Fatal,
    Error,
    Warn,
    Info,
}

use Severity::{Error, Fatal, Info, Warn};

/// An object that causes a message.
enum Example {
    Tree(&'static [(&'static str, &'static [u8], Entry)]),
    /// A file with this name and content.
    File(&'static str, &'static [u8]),
    Commit(&'static [u8]),
    Tag(&'static [u8]),
    /// No object can cause it, for this reason.
    None(&'static str),
}

use Example::{Commit, File, Tag, Tree};

/// The target of a tree entry.
#[derive(Clone, Copy)]
enum Entry {
    Blob,
    Directory,
    Null,
    Missing,
}

use Entry::{Blob, Directory, Missing, Null};

/// Warnings of git that are rejected anyway.
const REFUSED_WARNINGS: &[&str] = &["hasDot", "hasDotdot", "hasDotgit", "fullPathname"];

const LONG: [u8; 4097] = [b'a'; 4097];
const LONG_LINE: [u8; 2048] = [b'a'; 2048];

const ABOUT_REFS: Example = Example::None("is about refs, which a push updates by commands");
const SHADOWED: Example = Example::None("is another message before it is reached");

/// The messages of git 2.47's fsck.h, in its order. `{tree}`, `{blob}` and `{commit}` stand for ids of the fixture.
const MESSAGES: &[(&str, Severity, Example)] = &[
    ("nulInHeader", Fatal, Commit(b"tree {tree}\nauth\0or A <a@b> 1 +0000\n\n")),
    ("unterminatedHeader", Fatal, Commit(b"tree {tree}\nauthor A <a@b> 1 +0000\ncommitter A <a@b> 1 +0000")),
    ("badDate", Error, Commit(b"tree {tree}\nauthor A <a@b> x +0000\ncommitter A <a@b> 1 +0000\n\n")),
    (
        "badDateOverflow",
        Error,
        Commit(b"tree {tree}\nauthor A <a@b> 18446744073709551616 +0000\ncommitter A <a@b> 1 +0000\n\n"),
    ),
    ("badEmail", Error, Commit(b"tree {tree}\nauthor A <a<b> 1 +0000\ncommitter A <a@b> 1 +0000\n\n")),
    ("badName", Error, Commit(b"tree {tree}\nauthor A> 1 +0000\ncommitter A <a@b> 1 +0000\n\n")),
    (
        "badObjectSha1",
        Error,
        Tag(b"object xx\ntype commit\ntag v1\ntagger A <a@b> 1 +0000\n\nlong enough to be read\n"),
    ),
    (
        "badParentSha1",
        Error,
        Commit(b"tree {tree}\nparent xx\nauthor A <a@b> 1 +0000\ncommitter A <a@b> 1 +0000\n\n"),
    ),
    ("badRefFiletype", Error, ABOUT_REFS),
    ("badRefName", Error, ABOUT_REFS),
    ("badTimezone", Error, Commit(b"tree {tree}\nauthor A <a@b> 1 +00\ncommitter A <a@b> 1 +0000\n\n")),
    ("badTree", Error, Tree(&[("10064x", b"a", Blob)])),
    ("badTreeSha1", Error, Commit(b"tree xx\nauthor A <a@b> 1 +0000\ncommitter A <a@b> 1 +0000\n\n")),
    ("badType", Error, Tag(b"object {commit}\ntype thing\ntag v1\ntagger A <a@b> 1 +0000\n\n")),
    ("duplicateEntries", Error, Tree(&[("100644", b"a", Blob), ("100644", b"a", Blob)])),
    ("missingAuthor", Error, Commit(b"tree {tree}\ncommitter A <a@b> 1 +0000\n\n")),
    ("missingCommitter", Error, Commit(b"tree {tree}\nauthor A <a@b> 1 +0000\n\n")),
    ("missingEmail", Error, Commit(b"tree {tree}\nauthor A 1 +0000\ncommitter A <a@b> 1 +0000\n\n")),
    (
        "missingNameBeforeEmail",
        Error,
        Commit(b"tree {tree}\nauthor <a@b> 1 +0000\ncommitter A <a@b> 1 +0000\n\n"),
    ),
    (
        "missingObject",
        Error,
        Tag(b"tree {tree}\ntype commit\ntag v1\ntagger A <a@b> 1 +0000\n\nlong enough to be read\n"),
    ),
    (
        "missingSpaceBeforeDate",
        Error,
        Commit(b"tree {tree}\nauthor A <a@b>1 +0000\ncommitter A <a@b> 1 +0000\n\n"),
    ),
    (
        "missingSpaceBeforeEmail",
        Error,
        Commit(b"tree {tree}\nauthor A<a@b> 1 +0000\ncommitter A <a@b> 1 +0000\n\n"),
    ),
    ("missingTag", Error, SHADOWED),
    ("missingTagEntry", Error, Tag(b"object {commit}\ntype commit\ntagger A <a@b> 1 +0000\n\n")),
    ("missingTree", Error, Commit(b"author A <a@b> 1 +0000\ncommitter A <a@b> 1 +0000\n\n")),
    ("missingType", Error, SHADOWED),
    ("missingTypeEntry", Error, Tag(b"object {commit}\ntag v1\ntagger A <a@b> 1 +0000\n\n")),
    (
        "multipleAuthors",
        Error,
        Commit(b"tree {tree}\nauthor A <a@b> 1 +0000\nauthor B <a@b> 1 +0000\ncommitter A <a@b> 1 +0000\n\n"),
    ),
    ("treeNotSorted", Error, Tree(&[("100644", b"b", Blob), ("100644", b"a", Blob)])),
    ("unknownType", Error, Example::None("no pack has an object of no type")),
    ("zeroPaddedDate", Error, Commit(b"tree {tree}\nauthor A <a@b> 01 +0000\ncommitter A <a@b> 1 +0000\n\n")),
    ("gitmodulesMissing", Error, Tree(&[("160000", b".gitmodules", Missing)])),
    ("gitmodulesBlob", Error, Tree(&[("40000", b".gitmodules", Directory)])),
    ("gitmodulesLarge", Error, Example::None("a file of 512 MiB; see `modules`")),
    ("gitmodulesName", Error, File(".gitmodules", b"[submodule \"..\"]\nx\n")),
    ("gitmodulesSymlink", Error, Tree(&[("120000", b".gitmodules", Blob)])),
    ("gitmodulesUrl", Error, File(".gitmodules", b"[submodule \"a\"]\nurl = -a\n")),
    ("gitmodulesPath", Error, File(".gitmodules", b"[submodule \"a\"]\npath = -a\n")),
    ("gitmodulesUpdate", Error, File(".gitmodules", b"[submodule \"a\"]\nupdate = !a\n")),
    ("gitattributesMissing", Error, Tree(&[("160000", b".gitattributes", Missing)])),
    ("gitattributesLarge", Error, Example::None("a file of 100 MiB; see `attributes`")),
    ("gitattributesLineLength", Error, File(".gitattributes", &LONG_LINE)),
    ("gitattributesBlob", Error, Tree(&[("40000", b".gitattributes", Directory)])),
    ("emptyName", Warn, Example::None("is `badTree` since git 2.12: no reader takes an empty name")),
    ("fullPathname", Warn, Tree(&[("100644", b"a/b", Blob)])),
    ("hasDot", Warn, Tree(&[("100644", b".", Blob)])),
    ("hasDotdot", Warn, Tree(&[("40000", b"..", Directory)])),
    ("hasDotgit", Warn, Tree(&[("40000", b".git", Directory)])),
    ("nullSha1", Warn, Tree(&[("160000", b"a", Null)])),
    ("zeroPaddedFilemode", Warn, Tree(&[("0100644", b"a", Blob), ("040000", b"b", Directory)])),
    (
        "nulInCommit",
        Warn,
        Commit(b"tree {tree}\nauthor A <a@b> 1 +0000\ncommitter A <a@b> 1 +0000\n\nmess\0age\n"),
    ),
    ("largePathname", Warn, Tree(&[("100644", &LONG, Blob)])),
    (
        "badFilemode",
        Info,
        Tree(&[("100640", b"a", Blob), ("40755", b"b", Directory), ("644", b"c", Missing)]),
    ),
    ("gitmodulesParse", Info, File(".gitmodules", b"[broken\n")),
    ("gitignoreSymlink", Info, Tree(&[("120000", b".gitignore", Blob)])),
    ("gitattributesSymlink", Info, Tree(&[("120000", b".gitattributes", Blob)])),
    ("mailmapSymlink", Info, Tree(&[("120000", b".mailmap", Blob)])),
    ("badTagName", Info, Tag(b"object {commit}\ntype commit\ntag v..1\ntagger A <a@b> 1 +0000\n\n")),
    ("missingTaggerEntry", Info, Tag(b"object {commit}\ntype commit\ntag v1\n\n")),
];

/// A repository with objects to refer to.
struct Fixture {
    repository: Repository,
    blob: ObjectId,
    tree: ObjectId,
    commit: ObjectId,
}

impl Fixture {
    fn new() -> Self {
        let repository = Repository::new();
        let add = |kind: &str, content: Vec<u8>| repository.add(kind, &[content])[0];
        let blob = add("blob", b"text".to_vec());
        let tree = add("tree", tree_of("100644", b"a", blob));
        let by = "A <a@b> 1 +0000";
        let commit =
            add("commit", format!("tree {tree}\nauthor {by}\ncommitter {by}\n\nfirst\n").into_bytes());
        Self { repository, blob, tree, commit }
    }

    fn id(&self, entry: Entry) -> ObjectId {
        match entry {
            Blob => self.blob,
            Directory => self.tree,
            Null => ObjectId::null(gix_hash::Kind::Sha1),
            Missing => ObjectId::Sha1([7; 20]),
        }
    }

    /// The object of an example, and the content of the file in it.
    fn object(&self, sample: &Example) -> Option<(Kind, Vec<u8>, &'static [u8])> {
        let filled = |text: &[u8]| {
            let text = text.replace("{tree}", self.tree.to_string());
            text.replace("{commit}", self.commit.to_string())
        };
        Some(match sample {
            Tree(entries) => {
                let entry = |(mode, name, id): &(&str, &[u8], Entry)| tree_of(mode, name, self.id(*id));
                (Kind::Tree, entries.iter().flat_map(entry).collect(), &b""[..])
            }
            File(name, content) => {
                let blob = self.repository.add("blob", &[content.to_vec()])[0];
                (Kind::Tree, tree_of("100644", name.as_bytes(), blob), *content)
            }
            Commit(text) => (Kind::Commit, filled(text), &b""[..]),
            Tag(text) => (Kind::Tag, filled(text), &b""[..]),
            Example::None(_) => return None,
        })
    }

    /// The messages of git's fsck for an object, with their severities.
    fn fsck_messages(&self, kind: Kind, content: &[u8]) -> BTreeMap<String, &'static str> {
        let run_fsck = |arguments: &[&str], before: &str| {
            let output = git(self.repository.path(), arguments, content);
            let messages = [output.stdout, output.stderr].concat();
            let of = |line: &str| {
                let mut severities = ["error", "warning"].into_iter();
                let (severity, rest) = severities
                    .find_map(|word| Some((word, line.strip_prefix(word)?.strip_prefix(before)?)))?;
                // `fsck` names the object first.
                let rest = if before == " in " { rest.split_once(": ")?.1 } else { rest };
                Some((rest.split(':').next()?.to_owned(), severity))
            };
            messages.to_str_lossy().lines().filter_map(of).collect::<BTreeMap<_, _>>()
        };
        let mut messages = match kind {
            Kind::Tag => run_fsck(&["mktag", "--no-strict"], ": tag input does not pass fsck: "),
            _ => run_fsck(&["fsck", "--no-dangling"], " in "),
        };
        // For objects that it cannot parse, `fsck` reports no message id.
        if messages.is_empty() {
            messages =
                run_fsck(&["hash-object", "-t", &kind.to_string(), "--stdin"], ": object fails fsck: ");
        }
        messages
    }
}

/// The result of a push with the object.
fn our_verdict(kind: Kind, content: &[u8], file: &[u8]) -> (&'static str, String) {
    let accepted = match fsck_object(kind, content) {
        Err(FsckError(why)) => return ("refused", why),
        Ok(accepted) => accepted,
    };
    for found in accepted.refs.iter().filter_map(|named| named.blob_to_fsck) {
        if let Err(FsckError(why)) = fsck_blob(found, file) {
            return ("refused", why);
        }
    }
    match accepted.warnings.first() {
        Some(warning) => ("warned of", warning.to_string()),
        None => ("accepted", String::new()),
    }
}

#[test]
fn push_result_follows_fsck_severity() {
    println!("{:<25}{:<9}{:<11}ours", "message", "severity", "git fsck");
    for (id, severity, sample) in MESSAGES {
        let fixture = Fixture::new();
        let Some((kind, content, file)) = fixture.object(sample) else {
            let Example::None(why) = sample else { unreachable!() };
            println!("{id:<25}{:<9}{:<11}{why}", format!("{severity:?}"), "-");
            continue;
        };
        fixture.repository.add(&kind.to_string(), std::slice::from_ref(&content));
        let messages = fixture.fsck_messages(kind, &content);
        let gits = messages.get(*id).copied();
        // git shows infos as warnings.
        let expected = if matches!(severity, Fatal | Error) { "error" } else { "warning" };
        assert_eq!(gits, Some(expected), "{id}: git reports {messages:?}");
        let (verdict, why) = our_verdict(kind, &content, file);
        let expected = match severity {
            Fatal | Error => "refused",
            Warn if REFUSED_WARNINGS.contains(id) => "refused",
            Warn => "warned of",
            Info => "accepted",
        };
        assert_eq!(verdict, expected, "{id}: {why}");
        assert!(verdict == "accepted" || why.starts_with(&format!("{id}:")), "{id} is called {why}");
        println!("{id:<25}{:<9}{expected:<11}{verdict}", format!("{severity:?}"), expected = gits.unwrap());
    }
}
