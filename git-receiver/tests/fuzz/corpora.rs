//! Generates the corpora: recorded requests of the real git, and recipes, some of them with the objects of those requests.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use git_receiver::{Kind, ObjectId};

use super::harness::base::base;
use super::harness::repository::DecodedObject;
use super::harness::{Outcome, Target};
use super::real_git::{git, git_ok, repository};

/// Pushes: name, commands to run in a clone first, refspecs.
const PUSHES: &[(&str, &str, &[&str])] = &[
    ("change", "echo more >>README.md; git commit -qam 'A change'", &["HEAD:main"]),
    (
        "branch-and-tag",
        "mkdir -p a/b; echo 1 >a/b/c; git add a; git commit -qm 'A folder'; git tag -am 'A tag' v2",
        &["HEAD:refs/heads/topic", "v2"],
    ),
    (
        "merge",
        "git checkout -q -b side HEAD~1; echo 2 >side.txt; git add side.txt; git commit -qm Side; \
         git tag -am 'To be merged' side-tag; git checkout -q main; \
         git -c i18n.commitEncoding=ISO-8859-1 merge -q --no-ff -m 'A merge' side-tag",
        &["HEAD:refs/heads/merged"],
    ),
    (
        "deltas",
        "for n in 1 2 3; do sed -i \"s/greeting/greeting, $n/\" README.md; git commit -qam \"Change $n\"; done",
        &["HEAD:refs/heads/deltas"],
    ),
    ("orphan", "git checkout -q --orphan new; git commit -qm 'A new beginning'", &["+HEAD:main"]),
    ("known", "true", &["HEAD:refs/heads/known", "HEAD~1:refs/tags/known"]),
    ("delete", "true", &[":refs/heads/old", ":refs/tags/v1"]),
    ("atomic", "git commit -q --allow-empty -m Empty", &["--atomic", "HEAD:main", "HEAD:refs/heads/two"]),
    ("options", "git commit -q --allow-empty -m Empty", &["-o", "one", "-o", "two=2", "HEAD:main"]),
    (
        "shallow",
        "git fetch -q --depth 1 origin main; echo 3 >new; git add new; git commit -qm New",
        &["HEAD:main"],
    ),
];

/// Fetches: name, protocol, arguments to `git`.
const FETCHES: &[(&str, &str, &[&str])] = &[
    ("v0-clone", "0", &["clone", "--bare"]),
    ("v2-clone", "2", &["clone", "--bare"]),
    ("v0-more", "0", &["clone", "--bare", "--single-branch", "--branch", "old"]),
    ("v2-more", "2", &["clone", "--bare", "--single-branch", "--branch", "old"]),
    ("v0-depth", "0", &["clone", "--bare", "--depth", "1"]),
    ("v2-depth", "2", &["clone", "--bare", "--depth", "1", "--no-single-branch"]),
];

/// Recipes besides those of the recorded pushes.
const RECIPES: &[(&str, &str)] = &[
    (
        "accepted-deltas",
        "blob\none\ntwo\nthree\n\n%%\nofs 0\none\n2\nthree\n\n%%\nref 1\none\n2\n3\n\n%%\nofs 2 deflated\n1\n2\n3\n",
    ),
    (
        "accepted-thin",
        "ref r0\n# Greeter\n\n%%\nofs 0\n# Greeter, again\n\n%%\nref r4\n100644 a\0{1}40000 src\0{r3}\n%%\nref r7\ntree {2}\nparent {r7}\nauthor Ada <ada@example.org> 1 +0000\ncommitter Ada <ada@example.org> 1 +0000\n\nThin\n",
    ),
    (
        "accepted-reverse",
        "reverse\n\n%%\nblob\nbase\n\n%%\nref 0\nbase and more\n\n%%\nofs 1\nbase and even more\n",
    ),
    ("accepted-raw-delta", "blob\nabcdef\n%%\nofs-raw 0\n\x06\x06\x06XYZ123"),
    ("refused-raw-delta", "blob\nabcdef\n\n%%\nofs-raw 0\n\x06\x05\x06XYZ123"),
    ("refused-size", "blob size+1\nabcdef\n"),
    ("refused-huge", "blob huge\nabcdef\n"),
    ("refused-cut", "blob\nabcdef\n\n%%\nblob cut\nghi\n"),
    ("refused-count", "count 1\n\n%%\nblob\nabcdef\n"),
    ("refused-tail", "tail\nmore\n\n%%\nblob\nabcdef\n"),
    ("refused-type", "type 5\nabcdef\n"),
    ("refused-itself", "blob\nabc\n\n%%\nat 0\n\x01\x01\u{90}\x01"),
    (
        "refused-depth",
        "blob\n0\n\n%%\nofs 0\n1\n\n%%\nofs 1\n2\n\n%%\nofs 2\n3\n\n%%\nofs 3\n4\n\n%%\nofs 4\n5\n\n%%\nofs 5\n6\n\n%%\nofs 6\n7\n\n%%\nofs 7\n8\n\n%%\nofs 8\n9\n",
    ),
    (
        "accepted-shallow",
        "commit\ntree {r4}\nparent 7777777777777777777777777777777777777777\nauthor A <a@b> 1 +0000\ncommitter A <a@b> 1 +0000\n\nShallow\n\n%%\nshallow {0}\n\n%%\ncommand refs/heads/shallow {0} {r5}",
    ),
    (
        "refused-parent",
        "commit\ntree {r4}\nparent 7777777777777777777777777777777777777777\nauthor A <a@b> 1 +0000\ncommitter A <a@b> 1 +0000\n\nNot shallow\n",
    ),
    (
        "accepted-options",
        "blob\na\n\n%%\ncapabilities\n report-status push-options atomic quiet\n%%\noption\none\n%%\noption\ntwo\n%%\ncommand refs/tags/a {0}\n%%\ncommand refs/heads/old - {r6}",
    ),
    (
        "accepted-modules",
        "blob\n[submodule \"greetings\"]\n\tpath = lib/greetings\n\turl = ../greetings.git\n\tupdate = rebase\n\n%%\ntree\n100644 .gitmodules\0{0}100644 README.md\0{r0}160000 lib\0bbbbbbbbbbbbbbbbbbbb\n%%\nofs 0\n[submodule \"greetings\"]\n\tpath = lib/greetings\n\turl = https://example.org/greetings.git\n\n%%\ntree\n100644 .gitmodules\0{2}\n%%\ntree\n40000 a\0{1}40000 b\0{3}",
    ),
    (
        "accepted-attributes",
        "blob\n* text=auto\n*.png binary\n\n%%\ntree\n100644 .gitattributes\0{0}100644 gitatt~1\0{r0}",
    ),
    // A malformed config, which is harmless, and a malicious one under a harmless name.
    ("accepted-no-modules", "tree\n100644 .gitmodules\0{r0}"),
    (
        "accepted-not-modules",
        "blob\n[submodule \"..\"]\n\turl = -a\n\n%%\ntree\n100644 a.gitmodules\0{0}100644 gitmod~5\0{0}",
    ),
    ("refused-modules", "blob\n[submodule \"a\"]\n\turl = -a\n\n%%\ntree\n100644 .gitmodules\0{0}"),
    (
        "refused-modules-first",
        "reverse\n\n%%\nblob\n[submodule \"a\"]\n\tpath = -a\n\n%%\ntree\n100644 gitmod~1\0{0}\n%%\ntree\n40000 a\0{1}",
    ),
    (
        "refused-modules-delta",
        "blob\n[submodule \"a\"]\n\tpath = a\n\turl = ../a\n\n%%\nofs 0\n[submodule \"a\"]\n\tpath = a\n\tupdate = !a\n\n%%\ntree\n100644 .gitmodules\0{1}",
    ),
    ("refused-modules-name", "blob\n[submodule \"../a\"]\n\tpath = a\n\n%%\ntree\n100755 .gitmodules\0{0}"),
    (
        "accepted-names",
        "blob\na\n\n%%\ncommand refs/tags/a/b {0}\n%%\ncommand refs/tags/a {0}\n%%\ncommand refs/heads/.x {r7}\n%%\ncommand refs/heads/x.lock {r7}\n%%\ncommand refs/notes/x@y {r7}",
    ),
];

/// The valid author and committer lines of a commit.
const BY: &str =
    "author Ada <ada@example.org> 1700000000 +0100\ncommitter Ada <ada@example.org> 1700000000 +0100\n";

/// Objects, one per file: name, head and content; `BY` stands for author and committer lines.
const OBJECTS: &[(&str, &str)] = &[
    (
        "accepted-tree",
        "tree\n100644 a\0{r0}100644 a.b\0{r1}120000 link\0{r2}40000 src\0{r3}160000 sub\0bbbbbbbbbbbbbbbbbbbb",
    ),
    ("accepted-commit", "commit\ntree {r4}\nparent {r7}\nparent {r6}\nBYencoding ISO-8859-1\n\nA merge\n"),
    (
        "accepted-signed",
        "commit\ntree {r3}\nBYgpgsig -----BEGIN PGP SIGNATURE-----\n \n iQ==\n -----END PGP SIGNATURE-----\n\nSigned\n",
    ),
    (
        "accepted-mergetag",
        "commit\ntree {r3}\nparent {r7}\nparent {r6}\nBYmergetag object {r7}\n type commit\n tag v1\n tagger Ada <a@b> 1 +0000\n \n Text\n\nA merge\n",
    ),
    ("accepted-no-message", "commit\ntree {r3}\nBY\n"),
    (
        "accepted-tag",
        "tag\nobject {r7}\ntype commit\ntag v2\ntagger Ada <ada@example.org> 1700000000 +0100\n\nA release\n",
    ),
    (
        "accepted-tag-of-a-tree",
        "tag\nobject {r3}\ntype tree\ntag tree\ntagger Ada <ada@example.org> 0 -0000\n\n",
    ),
    ("accepted-old-tag", "tag\nobject {r8}\ntype tag\ntag v3\n\nWithout a tagger\n"),
    ("accepted-blob", "blob\nanything"),
    ("refused-dot-git", "tree\n40000 .git\0{r3}"),
    ("refused-dot-git-hfs", "tree\n40000 .g\u{200c}it\0{r3}"),
    ("refused-dot-git-ntfs", "tree\n40000 git~1\0{r3}"),
    ("refused-dot-git-backslash", "tree\n100644 a\\.git\0{r0}"),
    ("refused-modules-link", "tree\n120000 .gitmodules\0{r0}"),
    ("refused-modules-folder", "tree\n40000 .gitmodules\0{r3}"),
    ("refused-modules-submodule", "tree\n160000 gitmod~1\0bbbbbbbbbbbbbbbbbbbb"),
    ("refused-attributes-folder", "tree\n40000 .gitattributes\0{r3}"),
    ("refused-dots", "tree\n40000 ..\0{r3}"),
    ("refused-slash", "tree\n100644 a/b\0{r0}"),
    ("refused-order", "tree\n100644 b\0{r0}100644 a\0{r0}"),
    ("refused-twice", "tree\n100644 a\0{r0}100644 a.b\0{r0}40000 a\0{r3}"),
    ("accepted-mode-of-old", "tree\n100664 a\0{r0}"),
    ("refused-wrong-kind", "tree\n40000 a\0{r0}"),
    ("refused-missing", "tree\n100644 a\0cccccccccccccccccccc"),
    ("refused-cut-tree", "tree\n100644 a\0{r0}100644"),
    ("accepted-mode-padded", "tree\n0100644 a\0{r0}040000 b\0{r3}"),
    ("accepted-mode-of-no-type", "tree\n0 a\0bbbbbbbbbbbbbbbbbbbb140000 b\0{r3}"),
    ("accepted-mode-of-a-folder", "tree\n40755 a\0{r3}"),
    ("accepted-submodule-of-nothing", "tree\n160000 a\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0"),
    ("accepted-nul", "commit\ntree {r3}\nBY\nmess\0age"),
    ("refused-mode", "tree\n100684 a\0{r0}"),
    ("refused-nul-in-header", "commit\ntree {r3}\nBYgpg\0sig\n\nmessage"),
    ("refused-authors", "commit\ntree {r3}\nauthor A <a@b> 1 +0000\nBY\nTwo"),
    (
        "refused-date",
        "commit\ntree {r3}\nauthor A <a@b> 18446744073709551616 +0000\ncommitter A <a@b> 1 +0000\n\nLate",
    ),
    ("refused-zone", "commit\ntree {r3}\nauthor A <a@b> 1 +00\ncommitter A <a@b> 1 +0000\n\nNowhere"),
    ("refused-no-name", "commit\ntree {r3}\nauthor <a@b> 1 +0000\ncommitter A <a@b> 1 +0000\n\nNobody"),
    ("refused-mail", "commit\ntree {r3}\nauthor A a@b 1 +0000\ncommitter A <a@b> 1 +0000\n\nNobody"),
    ("refused-tag-kind", "tag\nobject {r7}\ntype tree\ntag v2\ntagger A <a@b> 1 +0000\n\nA lie\n"),
    (
        "accepted-tag-name-of-no-ref",
        "tag\nobject {r7}\ntype commit\ntag v..2\ntagger A <a@b> 1 +0000\n\nA name\n",
    ),
];

/// The directory of a corpus without its generated files. Files found by fuzzing are kept.
fn empty_corpus(target: Target) -> PathBuf {
    let dir = super::dir().join("corpus").join(target.name());
    fs::create_dir_all(&dir).expect("a directory");
    for entry in fs::read_dir(&dir).expect("a directory") {
        let path = entry.expect("a file").path();
        let name = path.file_name().expect("a name").to_string_lossy();
        if name.starts_with("accepted-") || name.starts_with("refused-") {
            fs::remove_file(&path).expect("a file");
        }
    }
    dir
}

fn shell(dir: &Path, script: &str) {
    let path = std::env::var("PATH").expect("a path");
    let mut command = git(dir, &["-c", &format!("alias.run=!set -e; {script}"), "run"]);
    command
        .env("PATH", path)
        .env("GIT_AUTHOR_DATE", "1700001000 +0000")
        .env("GIT_COMMITTER_DATE", "1700001000 +0000");
    for who in ["AUTHOR", "COMMITTER"] {
        command.env(format!("GIT_{who}_NAME"), "Eve").env(format!("GIT_{who}_EMAIL"), "eve@example.org");
    }
    let output = command.output().expect("git");
    assert!(output.status.success(), "{script}: {}", String::from_utf8_lossy(&output.stderr));
}

/// A program that records what a client sends to git's `service`.
fn recorder(dir: &Path, service: &str, record: &Path) -> String {
    let path = dir.join(format!("recorder-{service}"));
    let script = format!("#!/bin/sh\ntee '{}' | git {service} \"$@\"\n", record.display());
    fs::write(&path, script).expect("a file");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).expect("a program");
    path.display().to_string()
}

#[test]
#[ignore = "regenerates the corpora"]
fn regenerate_corpora() {
    let dir = tempfile::tempdir().expect("a directory");
    let git_dir = dir.path().join("base.git");
    fs::create_dir(&git_dir).expect("a directory");
    repository(&git_dir, base());
    let (requests, packs) = (empty_corpus(Target::Request), empty_corpus(Target::Pack));
    for (name, before, what) in PUSHES {
        let request = recorded_push(dir.path(), name, before, what);
        fs::write(requests.join(format!("accepted-{name}")), &request).expect("a file");
        let Outcome::Accepted(push) = Target::Request.run(&request) else {
            panic!("git's `{name}` is refused")
        };
        if !push.objects.is_empty() {
            fs::write(packs.join(format!("accepted-git-{name}")), recipe(&push.objects)).expect("a file");
        }
    }
    for (name, text) in [("probe", &b"0000"[..]), ("empty", b""), ("cut", b"00a50000"), ("length", b"0003")] {
        fs::write(requests.join(format!("refused-{name}")), text).expect("a file");
    }
    for (name, text) in RECIPES {
        fs::write(packs.join(name), raw(text)).expect("a file");
    }
    let objects = empty_corpus(Target::Object);
    for (name, text) in OBJECTS {
        fs::write(objects.join(name), text.replacen("BY", BY, 1)).expect("a file");
    }
    let not_utf_8 = b"tree\n40000 .git\xff\0{r3}";
    fs::write(objects.join("refused-dot-git-not-utf-8"), not_utf_8).expect("a file");
    let uploads = empty_corpus(Target::Upload);
    for (name, protocol, arguments) in FETCHES {
        for (at, request) in recorded_fetch(dir.path(), name, protocol, arguments).into_iter().enumerate() {
            fs::write(uploads.join(format!("accepted-{name}-{at}")), request).expect("a file");
        }
    }
}

/// A recipe's bytes: each character is one byte (Latin-1).
fn raw(text: &str) -> Vec<u8> {
    text.chars().map(|letter| u8::try_from(u32::from(letter)).expect("a byte")).collect()
}

fn recorded_push(dir: &Path, name: &str, before: &str, what: &[&str]) -> Vec<u8> {
    let (server, clone) = (dir.join(format!("{name}.git")), dir.join(name));
    shell(dir, &format!("cp -r base.git '{0}'; git clone -q '{0}' '{1}'", server.display(), clone.display()));
    git_ok(&server, &["config", "receive.advertisePushOptions", "true"], b"");
    shell(&clone, before);
    let record = dir.join(format!("{name}.request"));
    let recorder = recorder(dir, "receive-pack", &record);
    let url = format!("file://{}", server.display());
    let arguments = [&["push", "--quiet", "--receive-pack", &recorder, &url], what].concat();
    // Whether git's own server accepts it does not matter.
    let _ = git(&clone, &arguments).output().expect("git");
    fs::read(&record).expect("the request")
}

/// The requests of a fetch, split as over HTTP.
fn recorded_fetch(dir: &Path, name: &str, protocol: &str, arguments: &[&str]) -> Vec<Vec<u8>> {
    let record = dir.join(format!("{name}.request"));
    let recorder = recorder(dir, "upload-pack", &record);
    let clone = dir.join(format!("{name}-clone"));
    let version = format!("protocol.version={protocol}");
    let (url, clone) = (format!("file://{}", dir.join("base.git").display()), clone.display().to_string());
    let first =
        [&["-c", &version], arguments, &["--quiet", "--upload-pack", &recorder, &url, &clone]].concat();
    assert!(git(dir, &first).output().expect("git").status.success(), "{name}");
    let mut requests = split_requests(&fs::read(&record).expect("the request"), protocol);
    // Then fetch what the client lacks, with haves.
    let again = ["-c", &version, "fetch", "--quiet", "--upload-pack", &recorder, &url, "main:new"];
    assert!(git(Path::new(&clone), &again).output().expect("git").status.success(), "{name}");
    requests.extend(split_requests(&fs::read(&record).expect("the request"), protocol));
    requests.retain(|request| request.len() > 4);
    requests.sort();
    requests.dedup();
    requests
}

/// In protocol v2, each request ends with a flush packet.
fn split_requests(bytes: &[u8], protocol: &str) -> Vec<Vec<u8>> {
    if protocol == "0" {
        return vec![bytes.to_vec()];
    }
    let mut requests = vec![Vec::new()];
    let mut rest = bytes;
    while let Some((head, _)) = rest.split_at_checked(4) {
        let length =
            usize::from_str_radix(std::str::from_utf8(head).expect("a length"), 16).expect("a length");
        let (frame, after) = rest.split_at(length.max(4));
        rest = after;
        requests.last_mut().expect("a request").extend_from_slice(frame);
        if length == 0 {
            requests.push(Vec::new());
        }
    }
    requests
}

/// Writes objects as a recipe, each after the objects it refers to.
fn recipe(objects: &[DecodedObject]) -> Vec<u8> {
    let contents = objects.iter().map(|object| (object.id, object.kind, object.content.clone()));
    let mut waiting: Vec<(ObjectId, Kind, Vec<u8>)> = contents.collect();
    let mut known: Vec<(ObjectId, String)> =
        base().order.iter().enumerate().map(|(at, id)| (*id, format!("{{r{at}}}"))).collect();
    let mut sections = Vec::new();
    while !waiting.is_empty() {
        let names = |content: &[u8], id: &ObjectId| {
            let contains = |part: &[u8]| content.windows(part.len()).any(|window| window == part);
            contains(id.as_slice()) || contains(id.to_string().as_bytes())
        };
        let ready = waiting.iter().position(|(id, _, content)| {
            !waiting.iter().any(|(other, ..)| other != id && names(content, other))
        });
        let (id, kind, mut content) = waiting.remove(ready.expect("references have no cycle"));
        for (id, word) in &known {
            content = replaced(&content, id.as_slice(), word.as_bytes());
            content = replaced(&content, id.to_string().as_bytes(), word.as_bytes());
        }
        known.push((id, format!("{{{}}}", sections.len())));
        sections.push([format!("{kind}\n").as_bytes(), &content].concat());
    }
    sections.join(&b"\n%%\n"[..])
}

fn replaced(text: &[u8], from: &[u8], to: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.windows(from.len()).position(|part| part == from) {
        out.extend_from_slice(&rest[..at]);
        out.extend_from_slice(to);
        rest = &rest[at + from.len()..];
    }
    out.extend_from_slice(rest);
    out
}
