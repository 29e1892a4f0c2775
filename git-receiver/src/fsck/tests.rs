//! Helpers of the fsck tests, and comparisons with git itself.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use proptest::prelude::*;

use super::*;

/// The message id of a result, or `fine`.
pub(super) fn msg_id(result: Result<(), FsckError>) -> String {
    result.map_or_else(|FsckError(why)| why.split(':').next().unwrap().to_owned(), |()| "fine".to_owned())
}

pub(super) fn msg_id_of(kind: Kind, content: &[u8]) -> String {
    msg_id(fsck_object(kind, content).map(|_| ()))
}

/// Runs git in `dir`, without user or system configuration.
pub(super) fn git(dir: &Path, arguments: &[&str], input: &[u8]) -> Output {
    let mut git = Command::new("git");
    git.current_dir(dir).args(arguments).env("LC_ALL", "C");
    git.env("GIT_CONFIG_NOSYSTEM", "1")
        .env("GIT_CONFIG_GLOBAL", "/dev/null")
        .env("GIT_CEILING_DIRECTORIES", "/");
    let mut child = git.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    // A failing git does not read its whole input.
    let _ = child.stdin.take().unwrap().write_all(input);
    child.wait_with_output().unwrap()
}

/// A repository of the real git.
pub(super) struct Repository(tempfile::TempDir);

impl Repository {
    pub(super) fn new() -> Self {
        let repository = Self(tempfile::tempdir().unwrap());
        repository.git(&["init", "--quiet", "--bare", "."], b"");
        repository
    }

    pub(super) fn path(&self) -> &Path {
        self.0.path()
    }

    fn git(&self, arguments: &[&str], input: &[u8]) -> Vec<u8> {
        let output = git(self.0.path(), arguments, input);
        assert!(output.status.success(), "git {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        output.stdout
    }

    /// Adds objects without any check.
    pub(super) fn add(&self, kind: &str, contents: &[Vec<u8>]) -> Vec<ObjectId> {
        let dir = tempfile::tempdir().unwrap();
        let paths = contents.iter().enumerate().map(|(at, content)| {
            let path = dir.path().join(at.to_string());
            std::fs::write(&path, content).unwrap();
            format!("{}\n", path.display())
        });
        let paths: String = paths.collect();
        let ids =
            self.git(&["hash-object", "-w", "--literally", "-t", kind, "--stdin-paths"], paths.as_bytes());
        ids.lines().map(|id| ObjectId::from_hex(id).unwrap()).collect()
    }

    /// The errors of `git fsck --strict`: message ids by object.
    fn fsck_errors(&self) -> BTreeMap<ObjectId, Vec<String>> {
        let output = git(self.0.path(), &["fsck", "--strict", "--no-dangling"], b"");
        let mut errors: BTreeMap<ObjectId, Vec<String>> = BTreeMap::new();
        for line in [output.stdout, output.stderr].concat().to_str_lossy().lines() {
            let Some(rest) = line.strip_prefix("error in ") else { continue };
            let (object, rest) = rest.split_once(": ").unwrap();
            let id = ObjectId::from_hex(object.split_once(' ').unwrap().1.as_bytes()).unwrap();
            errors.entry(id).or_default().push(rest.split(':').next().unwrap().to_owned());
        }
        errors
    }
}

pub(super) fn tree_of(mode: &str, name: &[u8], id: ObjectId) -> Vec<u8> {
    [mode.as_bytes(), b" ", name, b"\0", id.as_slice()].concat()
}

/// Compares `fsck_blob` with git's fsck for `contents` under `name`; returns the first message id of git for each.
fn compare_with_fsck(special: BlobToFsck, name: &str, contents: &[Vec<u8>]) -> Vec<String> {
    let repository = Repository::new();
    let ids = repository.add("blob", contents);
    let trees: Vec<_> = ids.iter().map(|id| tree_of("100644", name.as_bytes(), *id)).collect();
    repository.add("tree", &trees);
    let errors = repository.fsck_errors();
    let first = |id| errors.get(id).map_or("fine", |errors| errors[0].as_str());
    for (content, object) in contents.iter().zip(&ids) {
        // Content that fsck does not see but a clone does: it is rejected anyway.
        let is_hidden = content.starts_with(b"\xef\xbb\xbf") || content.contains(&0xff);
        let (our_result, git_result) = (msg_id(super::fsck_blob(special, content)), first(object));
        if !is_hidden {
            assert_eq!(our_result, git_result, "{}", content.escape_ascii());
        }
        assert!(our_result != "fine" || git_result == "fine", "{git_result}: {}", content.escape_ascii());
    }
    ids.iter().map(|id| first(id).to_owned()).collect()
}

#[test]
fn gitmodules_results_match_git() {
    let urls = [
        "../a",
        "./a",
        "-a",
        "./-a",
        "../../a",
        "../:a",
        "..//a",
        ".././../:a",
        "..\\../:a",
        "..\\/a",
        "..\\:a",
        "./:a",
        "./%0a",
        "./%0A:x",
        "./a:%0a",
        "./%0a:a",
        "./%250a",
        "./%%0a",
        "../\\n",
        "git://h/a",
        "git://h/%0a",
        "https://h/a",
        "https://h/%0a",
        "https://h/%0a/../b",
        "https://h?%0a",
        "https://u%0a@h/",
        "https://u:p@h/",
        "https:///a",
        "https://h:0/",
        "https://h:65536/",
        "https://h:00443",
        "https://h:/",
        "https://h:x",
        "https://[::1]:80/",
        "https://h/../a",
        "https://h/b/../../a",
        "https://h/b/..",
        "https://h/%2e%2e/a",
        "https://h/%zz",
        "https://h_/",
        "https://h!/",
        "https::h",
        "http:::a",
        "http::https://h/%0a",
        "http::ftp://h",
        "ftps::file:///a",
        "http::file://:1/a",
        "http::a_b://h",
        "HTTP://",
        "ssh://h/%0a",
        "data://a%0ab",
        "ext::sh -c x",
        "a@h:b",
        "",
        "a",
        "https://h/\\n",
        "https://h/ü",
        "https://ü/",
    ];
    let of_urls = urls.map(|url| format!("[submodule \"a\"]\n\tpath = a\n\turl = \"{url}\"\n"));
    let others = [
        "",
        "[submodule \"a\"]\n\tpath = -a\n",
        "[submodule \"a\"]\n\tpath = ./-a\n",
        "[submodule \"a\"]\n\tPath = \"\" -a\n",
        "[submodule \"a\"]\n\tupdate = !a\n",
        "[submodule \"a\"]\n\tupdate = none!\n",
        "[submodule \"..\"]\n\tupdate = none\n",
        "[submodule \"..\"]\n",
        "[submodule \"\"]\n\tx\n",
        "[submodule \"a/../b\"]\n\tx\n",
        "[submodule \"a\\\\..\"]\n\tx\n",
        "[submodule \"a..\"]\n\tx\n",
        "[submodule]\n\turl = -a\n",
        "[submodule.a]\n\turl = -a\n",
        "[submodule.]\n\turl = a\n",
        "[SubModule.A \"b\"]\n\turl = -a\n",
        "[submodul \"a\"]\n\turl = -a\n",
        "[submodule \"a\"]\n\turl\n\tpath\n\tupdate\n",
        "[submodule \"a\"]\n\turl = \\\n-a\n",
        "[submodule \"a\"]\n\turl = -a\n[broken",
        "[submodule \"a\"]\nbroken line\n\turl = -a\n",
        "[submodule \"a\"]\r\n\turl = -a\r\n",
        "[submodule \"a\"]\n\turl = a # -b\n",
        "[submodule \"a\"]\n\tpath = -a\n\turl = -a\n",
        "[submodule \"a.url\0\"]\n\tx = -a\n",
        "[submodule \"a\0\"]\n\turl = -a\n",
        "[submodule \"...x\0\"]\n\tx\n",
        "[submodule \"a\"]\n\turl = a\0\n\tpath = -a",
        "\u{feff}[submodule \"a\"]\n\turl = -a\n",
        "url = -a\n[submodule \"a\"]\n",
    ];
    let others = others.map(str::to_owned);
    let contents: Vec<_> = of_urls.into_iter().chain(others).map(String::into_bytes).collect();
    let verdicts = compare_with_fsck(BlobToFsck::Gitmodules, ".gitmodules", &contents);
    for expected in ["fine", "gitmodulesName", "gitmodulesUrl", "gitmodulesPath", "gitmodulesUpdate"] {
        assert!(verdicts.iter().any(|verdict| verdict == expected), "git never reports {expected}");
    }
}

#[test]
fn gitattributes_results_match_git() {
    let long = "x".repeat(2048);
    let contents = [
        String::new(),
        "* text\n".to_owned(),
        long[1..].to_owned(),
        long.clone(),
        format!("a\n{long}"),
        format!("{}\r\n", &long[1..]),
        format!("a\0{long}"),
    ];
    let verdicts =
        compare_with_fsck(BlobToFsck::Gitattributes, ".gitattributes", &contents.map(String::into_bytes));
    assert_eq!(verdicts.iter().filter(|verdict| *verdict == "gitattributesLineLength").count(), 3);
}

/// Removes duplicates, which would be the same object.
fn distinct(mut texts: Vec<Vec<u8>>) -> Vec<Vec<u8>> {
    texts.sort_unstable();
    texts.dedup();
    texts
}

/// Concatenated fragments of a `.gitmodules`.
fn random_gitmodules() -> impl Strategy<Value = Vec<u8>> {
    let fragments = prop::sample::select(vec![
        &b"[submodule \"a\"]\nurl="[..],
        b"[submodule \"a\"]\npath=",
        b"[submodule \"",
        b"\"]\n",
        b"[submodule.",
        b"]\n",
        b"\nurl = ",
        b"\nupdate = ",
        b"https://",
        b"http::",
        b"git://",
        b"../",
        b"..\\",
        b"./",
        b"..",
        b"/",
        b":",
        b"%0a",
        b"%2e",
        b"%",
        b"\\n",
        b"\"",
        b"\n",
        b"\r",
        b" ",
        b"-",
        b"!",
        b"#",
        b"\0",
        b"\xff",
        b"a",
        b"@",
        b"80",
        b"?",
        b"[",
        b"\\",
    ]);
    prop::collection::vec(fragments, 1..14).prop_map(|fragments| fragments.concat())
}

/// Concatenated fragments of aliases.
fn random_names() -> impl Strategy<Value = Vec<u8>> {
    let fragments = prop::sample::select(vec![
        &b".git"[..],
        b".gitmodules",
        b".gitattributes",
        b"git",
        b"GITMOD",
        b"gi7eba",
        b"gi7d29",
        b"gi7",
        b"~1",
        b"~4",
        b"~12345",
        b"~",
        b"5",
        b".",
        b" ",
        b":",
        b"\\",
        b"\xe2\x80\x8c",
        b"\xef\xbb\xbf",
        b"\xef\xbf\xbe",
        b"\xff",
        b"a",
        b"modules",
    ]);
    prop::collection::vec(fragments, 1..6).prop_map(|fragments| fragments.concat())
}

proptest! {
    // Each case has a few hundred texts.
    #![proptest_config(ProptestConfig::with_cases(3))]

    #[test]
    fn random_gitmodules_results_match_git(
        contents in prop::collection::vec(random_gitmodules(), 300)
    ) {
        compare_with_fsck(BlobToFsck::Gitmodules, ".gitmodules", &distinct(contents));
    }

    #[test]
    fn random_names_have_the_same_meaning_as_in_git(names in prop::collection::vec(random_names(), 300)) {
        let names = distinct(names);
        let repository = Repository::new();
        // Each blob is invalid both as `.gitmodules` and as `.gitattributes`, and has one name, so that fsck shows which
        // meaning it sees.
        let long = "x".repeat(2048);
        let blob = |at| format!("#{at}\n[submodule \"a\"]\nurl = -a\n#{long}\n").into_bytes();
        let modes = ["100644", "120000", "40000", "160000"];
        let blobs = repository.add("blob", &(0..names.len()).map(blob).collect::<Vec<_>>());
        let directory_of = |(at, blob): (usize, &ObjectId)| tree_of("100644", at.to_string().as_bytes(), *blob);
        let directories = repository.add("tree", &blobs.iter().enumerate().map(directory_of).collect::<Vec<_>>());
        let made: Vec<_> = names
            .iter()
            .enumerate()
            .map(|(at, name)| {
                let mode = modes[at % modes.len()];
                let named = match mode {
                    "40000" => directories[at],
                    "160000" => ObjectId::from_hex(format!("{:040x}", at + 1).as_bytes()).unwrap(),
                    _ => blobs[at],
                };
                (tree_of(mode, name, named), named)
            })
            .collect();
        let trees = repository.add("tree", &made.iter().map(|(tree, _)| tree.clone()).collect::<Vec<_>>());
        let errors = repository.fsck_errors();
        for ((content, named), tree) in made.iter().zip(&trees) {
            let of = |id| errors.get(id).into_iter().flatten().cloned();
            let git_result: Vec<String> = of(tree).chain(of(named)).collect();
            let shown = content.escape_ascii();
            match fsck_object(Kind::Tree, content) {
                Err(error) => prop_assert!(git_result.contains(&msg_id(Err(error.clone()))), "{error:?}, {git_result:?}: {shown}"),
                Ok(found) => {
                    let mut our_result: Vec<&str> = found.refs.iter().filter_map(|named| named.blob_to_fsck).map(|special| {
                        if special == BlobToFsck::Gitmodules { "gitmodulesUrl" } else { "gitattributesLineLength" }
                    }).collect();
                    let mut git_result: Vec<&str> = git_result.iter().map(String::as_str).collect();
                    our_result.sort_unstable();
                    git_result.sort_unstable();
                    prop_assert_eq!(our_result, git_result, "{}", shown);
                }
            }
        }
    }
}

proptest! {
    #[test]
    fn arbitrary_bytes_do_not_panic(bytes in prop::collection::vec(any::<u8>(), 0..100), random in random_gitmodules()) {
        for content in [bytes, random] {
            let _ = fsck_blob(BlobToFsck::Gitmodules, &content);
            let _ = fsck_blob(BlobToFsck::Gitattributes, &content);
        }
    }
}
