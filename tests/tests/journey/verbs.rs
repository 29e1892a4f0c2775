//! The rest of git's own verbs and options.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Output;

use tests::repository::{command, command_of};
use tests::{Database, Pushed, Repository, Server};

/// A clone made with more options, which is well-formed, and what git printed meanwhile.
fn clone(url: &str, options: &[&str]) -> (Repository, String) {
    let folder = tempfile::tempdir().unwrap();
    let cloned = command(folder.path(), &[&["clone", url, "."], options].concat()).output().unwrap();
    let text = String::from_utf8_lossy(&cloned.stderr).into_owned();
    assert!(cloned.status.success(), "clone {options:?}: {text}");
    let clone = Repository::made_in(folder);
    well_formed(&clone);
    (clone, text)
}

fn well_formed(repository: &Repository) {
    repository.git(&["fsck", "--strict", "--full"]);
}

/// The number of commits that HEAD or another revision reaches.
fn commits(repository: &Repository, revision: &str) -> String {
    repository.git(&["rev-list", "--count", revision])
}

/// A repository of `count` commits, an hour apart, each tagged `c1` and so on.
fn history(count: u32) -> Repository {
    let repository = Repository::hello();
    for number in 1..=count {
        repository.write("greet.rhai", number.to_string());
        repository.git(&["add", "-A"]);
        let made = command(repository.path(), &["commit", "-q", "-m", &format!("number {number}")])
            .env("GIT_COMMITTER_DATE", format!("2026-01-01T{number:02}:00:00Z"))
            .status();
        assert!(made.unwrap().success());
        repository.git(&["tag", &format!("c{number}")]);
    }
    repository
}

#[test]
fn an_atomic_push_with_one_bad_ref_is_refused_whole() {
    let server = Server::start(Database::sqlite());
    let url = server.git_url("hello");
    let repository = Repository::hello();
    repository.push(&url, &["main"]).succeeded();
    let before = repository.git(&["ls-remote", &url]);
    repository.write("greet.rhai", "2");
    repository.commit("second");
    repository.git(&["tag", "v1"]);
    repository
        .push(&url, &["--atomic", "main", "v1", "main:refs/notes/commits"])
        .refused()
        .says("main -> main (another ref of this atomic push was rejected)")
        .says("v1 -> v1 (another ref of this atomic push was rejected)")
        .says("only branches and tags are kept here");
    assert_eq!(repository.git(&["ls-remote", &url]), before);
    repository.push(&url, &["--atomic", "main", "v1"]).succeeded().says("LIVE as deploy 2").says("STORED v1");
}

#[test]
fn tags_are_pushed_and_deleted_by_the_handful() {
    let server = Server::start(Database::sqlite());
    let url = server.git_url("hello");
    let repository = history(2);
    repository.git(&["tag", "-a", "-m", "release", "v1"]);
    repository.git(&["tag", "-a", "-m", "a tag of a tag", "v1-signed", "v1"]);
    repository.git(&["tag", "a-file", "HEAD:greet.rhai"]);
    repository.git(&["tag", "a-folder", "HEAD^{tree}"]);
    repository.push(&url, &["main"]).succeeded();
    repository.push(&url, &["--tags"]).succeeded().says("STORED c1").says("STORED a-file");
    let local = repository.git(&["for-each-ref", "--format=%(objectname)\t%(refname)", "refs/tags"]);
    assert_eq!(repository.git(&["ls-remote", "--refs", "--tags", &url]), local);
    let (copy, _) = clone(&url, &["--mirror"]);
    assert_eq!(copy.git(&["for-each-ref", "--format=%(objectname)\t%(refname)", "refs/tags"]), local);
    repository.push(&url, &["--delete", "v1-signed", "c1", "a-file"]).succeeded();
    repository.push(&url, &["--tags", "--force", "main~1:refs/tags/v1"]).succeeded();
    repository.push(&url, &["--delete", "nowhere"]).refused().says("remote ref does not exist");
    // An annotated tag that the branch reaches goes along.
    repository.git(&["tag", "-a", "-m", "next release", "v2"]);
    repository.write("greet.rhai", "9");
    repository.commit("ninth");
    repository.push(&url, &["--follow-tags", "main"]).succeeded().says("STORED v2");
}

#[test]
fn a_mirror_can_be_pushed_back() {
    let server = Server::start(Database::sqlite());
    let url = server.git_url("hello");
    let repository = history(1);
    repository.push(&url, &["main", "c1", "main:refs/heads/try"]).succeeded();
    let (mirror, _) = clone(&url, &["--mirror"]);
    mirror.push(&url, &["--mirror"]).succeeded().says("Everything up-to-date");
    repository.write("greet.rhai", "`mirrored`");
    repository.commit("mirrored");
    repository.git(&[
        "push",
        "-q",
        mirror.path().to_str().unwrap(),
        "main",
        ":refs/heads/try",
        "main:refs/tags/new",
    ]);
    mirror.push(&url, &["--mirror"]).succeeded().says("LIVE as deploy 3").says("STORED try is deleted");
    assert_eq!(server.get("/hello/greet/Ann").body, "\"mirrored\"");
    assert_eq!(server.get("/hello@try/greet/Ann").status, 404);
    // The mirror has not heard of the third deploy and would delete it.
    mirror
        .push(&url, &["--mirror"])
        .refused()
        .says("refs/deploys/3 (refs/deploys/ is written by the server alone)");
    mirror.git(&["fetch", "-q"]);
    mirror.push(&url, &["--mirror"]).succeeded().says("Everything up-to-date");
}

#[test]
fn push_options_are_taken() {
    let server = Server::start(Database::sqlite());
    let url = server.git_url("hello");
    let repository = Repository::hello();
    repository
        .push(&url, &["-o", "ci.skip", "-o", "", "-o", "reviewer=Ann Lee", "main"])
        .succeeded()
        .says("LIVE");
}

#[test]
fn a_quiet_push_tells_the_verdict_alone() {
    let server = Server::start(Database::sqlite());
    let url = server.git_url("hello");
    let repository = Repository::hello();
    let quiet = repository.try_git(&["push", "--quiet", &url, "main"]).succeeded().says("LIVE as deploy 1");
    assert_eq!(quiet.text.lines().count(), 1, "{}", quiet.text);
    repository.write("greet.rhai", "oops(");
    repository.commit("broken");
    repository.try_git(&["push", "--quiet", &url, "main"]).refused().says("greet.rhai:1:").says("1 problem");
}

#[test]
fn a_lease_holds_or_is_stale() {
    let server = Server::start(Database::sqlite());
    let url = server.git_url("hello");
    let repository = Repository::hello();
    repository.push(&url, &["main"]).succeeded();
    let (ours, _) = clone(&url, &[]);
    let (theirs, _) = clone(&url, &[]);
    for (clone, body) in [(&ours, "`ours`"), (&theirs, "`theirs`")] {
        clone.write("greet.rhai", body);
        clone.git(&["commit", "-q", "-a", "--amend", "-m", body]);
    }
    ours.try_git(&["push", "--force-with-lease", "origin", "main"]).succeeded().says("LIVE as deploy 2");
    theirs.try_git(&["push", "--force-with-lease", "origin", "main"]).refused().says("stale info");
    assert_eq!(server.get("/hello/greet/Ann").body, "\"ours\"");
    let lease = format!("--force-with-lease=main:{}", ours.head());
    theirs.try_git(&["push", &lease, "origin", "main"]).succeeded().says("LIVE as deploy 3");
    assert_eq!(server.get("/hello/greet/Ann").body, "\"theirs\"");
    let (fresh, _) = clone(&url, &[]);
    fresh.try_git(&["push", "--force-with-lease=new:", "origin", "HEAD:refs/heads/new"]).succeeded();
    fresh.commit("newer");
    fresh
        .try_git(&["push", "--force-with-lease=new:", "origin", "HEAD:refs/heads/new"])
        .refused()
        .says("stale info");
}

#[test]
fn a_pull_merges_or_rebases_what_others_pushed() {
    let server = Server::start(Database::sqlite());
    let url = server.git_url("hello");
    let repository = Repository::hello();
    repository.push(&url, &["main"]).succeeded();
    let (merging, _) = clone(&url, &[]);
    let (rebasing, _) = clone(&url, &[]);
    repository.write("theirs.md", "theirs");
    repository.commit("theirs");
    repository.push(&url, &["main"]).succeeded();
    merging.write("merged.md", "merged");
    merging.commit("merged");
    merging.try_git(&["push", "origin", "main"]).refused().says("fetch first");
    merging.git(&["pull", "-q", "--no-rebase", "--no-edit"]);
    merging.try_git(&["push", "origin", "main"]).succeeded().says("LIVE as deploy 3");
    rebasing.write("rebased.md", "rebased");
    rebasing.commit("rebased");
    rebasing.git(&["pull", "-q", "--rebase"]);
    rebasing.try_git(&["push", "origin", "main"]).succeeded().says("LIVE as deploy 4");
    let (last, _) = clone(&url, &[]);
    assert_eq!(commits(&last, "HEAD"), "5");
    assert_eq!(last.git(&["ls-files", "*.md"]), "merged.md\nrebased.md\ntheirs.md");
}

#[test]
fn a_shallow_clone_is_deepened_by_every_measure() {
    let server = Server::start(Database::sqlite());
    let url = server.git_url("hello");
    let repository = history(9);
    repository.push(&url, &["main", "--tags"]).succeeded();
    for version in ["0", "1", "2"] {
        let version = format!("protocol.version={version}");
        let (shallow, _) = clone(&url, &["--depth", "2", "-c", &version]);
        assert_eq!(commits(&shallow, "HEAD"), "2", "{version}");
        let fetch = |options: &[&str]| {
            shallow.git(&[&["fetch", "-q", "origin"], options].concat());
            well_formed(&shallow);
            commits(&shallow, "HEAD")
        };
        assert_eq!(fetch(&["--deepen", "1"]), "3", "{version}");
        assert_eq!(fetch(&["--deepen", "2"]), "5", "{version}");
        assert_eq!(fetch(&["--depth", "4"]), "4", "{version}");
        assert_eq!(fetch(&["--shallow-since", "2026-01-01T04:00:00Z"]), "6", "{version}");
        assert_eq!(fetch(&["--shallow-exclude", "c7"]), "2", "{version}");
        assert_eq!(fetch(&["--deepen", "100"]), "10", "{version}");
        assert_eq!(shallow.git(&["rev-parse", "--is-shallow-repository"]), "false", "{version}");
        shallow.git(&["fetch", "-q", "--depth", "1"]);
        assert_eq!(fetch(&["--unshallow"]), "10", "{version}");
        shallow
            .try_git(&["fetch", "--shallow-since", "2030-01-01", "origin"])
            .refused()
            .says("no commits selected");
        shallow.try_git(&["fetch", "--shallow-exclude", "nowhere", "origin"]).refused().says("nowhere");
    }
}

#[test]
fn deepening_counts_from_the_end_while_others_push() {
    let server = Server::start(Database::sqlite());
    let url = server.git_url("hello");
    let repository = history(5);
    repository.push(&url, &["main"]).succeeded();
    let (shallow, _) = clone(&url, &["--depth", "2"]);
    for number in 0..3 {
        repository.write("greet.rhai", format!("`later {number}`"));
        repository.commit("later");
    }
    repository.push(&url, &["main"]).succeeded();
    shallow.git(&["fetch", "-q", "--deepen", "1"]);
    well_formed(&shallow);
    assert_eq!((commits(&shallow, "HEAD"), commits(&shallow, "origin/main")), ("3".into(), "6".into()));
}

#[test]
fn a_clone_of_what_was_rolled_back_is_deepened_too() {
    let server = Server::start(Database::sqlite());
    let url = server.git_url("hello");
    let repository = history(6);
    repository.push(&url, &["main"]).succeeded();
    for (options, left) in [(&["--deepen", "2"][..], "3"), (&["--unshallow"], "7")] {
        let (shallow, _) = clone(&url, &["--depth", "1"]);
        repository.push(&url, &["-f", "main~4:main"]).succeeded();
        shallow.git(&[&["fetch", "-q"], options].concat());
        well_formed(&shallow);
        assert_eq!(
            (commits(&shallow, "HEAD").as_str(), commits(&shallow, "origin/main").as_str()),
            (left, "3")
        );
        repository.push(&url, &["main"]).succeeded();
    }
}

#[test]
fn a_clone_takes_a_branch_or_a_part_of_the_history() {
    let server = Server::start(Database::sqlite());
    let url = server.git_url("hello");
    let repository = history(6);
    repository.push(&url, &["main", "c1", "c5", "c3:refs/heads/try"]).succeeded();
    let branches =
        |clone: &Repository| clone.git(&["for-each-ref", "--format=%(refname:lstrip=3)", "refs/remotes"]);

    let (one, _) = clone(&url, &["--depth", "1", "--branch", "try"]);
    assert_eq!(
        (commits(&one, "HEAD").as_str(), one.git(&["branch", "--show-current"]).as_str()),
        ("1", "try")
    );
    assert_eq!(branches(&one), "try");
    let (single, _) = clone(&url, &["--single-branch"]);
    assert_eq!((commits(&single, "HEAD").as_str(), branches(&single).as_str()), ("7", "HEAD\nmain"));
    let (tag, _) = clone(&url, &["--branch", "c5"]);
    assert_eq!((commits(&tag, "HEAD").as_str(), tag.git(&["tag"]).as_str()), ("6", "c1\nc5"));
    let (since, _) = clone(&url, &["--shallow-since", "2026-01-01T04:00:00Z"]);
    assert_eq!(commits(&since, "HEAD"), "3");
    let (exclude, _) = clone(&url, &["--shallow-exclude", "c1"]);
    assert_eq!(commits(&exclude, "HEAD"), "5");
    let (bare, _) = clone(&url, &["--bare", "--depth", "3", "--no-single-branch", "--no-tags"]);
    assert_eq!((commits(&bare, "main").as_str(), commits(&bare, "try").as_str()), ("3", "3"));
    let nowhere = repository.try_git(&["clone", "--branch", "nowhere", &url, "elsewhere"]);
    nowhere.refused().says("Remote branch nowhere not found");
}

#[test]
fn a_clone_of_an_app_without_production_is_on_the_production_branch() {
    let server = Server::start(Database::sqlite());
    let url = server.git_url("hello");
    Repository::hello().push(&url, &["main:refs/heads/try"]).succeeded();
    let (unborn, _) = clone(&url, &["-c", "init.defaultBranch=elsewhere"]);
    assert_eq!(unborn.git(&["symbolic-ref", "HEAD"]), "refs/heads/main");
    unborn.git(&["merge", "-q", "origin/try"]);
    unborn.try_git(&["push", "origin", "main"]).succeeded().says("LIVE as deploy 2");
}

#[test]
fn a_filter_is_passed_over_with_a_warning() {
    let server = Server::start(Database::sqlite());
    let url = server.git_url("hello");
    let repository = history(3);
    repository.push(&url, &["main"]).succeeded();
    for version in ["0", "2"] {
        let version = format!("protocol.version={version}");
        let (whole, text) = clone(&url, &["--filter=blob:none", "-c", &version]);
        assert!(text.contains("filtering not recognized by server, ignoring"), "{text}");
        assert_eq!(whole.git(&["rev-list", "--objects", "--all", "--missing=print"]).matches('?').count(), 0);
        repository.commit("later");
        repository.push(&url, &["main"]).succeeded();
        whole.git(&["pull", "-q"]);
        assert_eq!(whole.head(), repository.head());
    }
}

#[test]
fn refs_are_listed_by_kind_and_pattern() {
    let server = Server::start(Database::sqlite());
    let url = server.git_url("hello");
    let repository = Repository::hello();
    repository.git(&["tag", "-a", "-m", "one", "v1"]);
    repository.push(&url, &["main", "v1", "main:refs/heads/try/one"]).succeeded();
    let (head, tag) = (repository.head(), repository.git(&["rev-parse", "v1"]));
    for version in ["0", "1", "2"] {
        let version = format!("protocol.version={version}");
        let list = |arguments: &[&str]| {
            let (options, patterns): (Vec<&str>, Vec<&str>) =
                arguments.iter().partition(|word| word.starts_with("--"));
            let arguments =
                [&["-c", &version, "ls-remote"], &options[..], &[url.as_str()], &patterns[..]].concat();
            repository.git(&arguments)
        };
        assert_eq!(list(&["--heads"]), format!("{head}\trefs/heads/main\n{head}\trefs/heads/try/one"));
        assert_eq!(list(&["--tags"]), format!("{tag}\trefs/tags/v1\n{head}\trefs/tags/v1^{{}}"));
        assert_eq!(list(&["--tags", "--refs"]), format!("{tag}\trefs/tags/v1"));
        assert_eq!(list(&["--symref", "HEAD"]), format!("ref: refs/heads/main\tHEAD\n{head}\tHEAD"));
        assert_eq!(list(&["one"]), format!("{head}\trefs/heads/try/one"));
        assert_eq!(list(&["nothing"]), "");
        repository.try_git(&["-c", &version, "ls-remote", "--exit-code", &url, "nothing"]).refused();
    }
}

#[test]
fn a_fetch_prunes_what_is_gone() {
    let server = Server::start(Database::sqlite());
    let url = server.git_url("hello");
    let repository = Repository::hello();
    repository.push(&url, &["main", "main:refs/heads/try", "main:refs/tags/v1"]).succeeded();
    let (copy, _) = clone(&url, &[]);
    repository.push(&url, &["--delete", "try", "v1"]).succeeded();
    copy.git(&["fetch", "-q"]);
    assert!(copy.git(&["branch", "-r"]).contains("origin/try"));
    copy.git(&["fetch", "-q", "--prune", "--prune-tags"]);
    assert!(!copy.git(&["branch", "-r"]).contains("origin/try"));
    assert_eq!(copy.git(&["tag"]), "");
}

#[test]
fn deploys_are_fetched_and_what_no_ref_names_is_not() {
    let server = Server::start(Database::sqlite());
    let url = server.git_url("hello");
    let repository = history(4);
    for commit in ["c2", "c4"] {
        repository.push(&url, &[&format!("{commit}:refs/heads/main")]).succeeded();
    }
    for version in ["0", "2"] {
        let version = format!("protocol.version={version}");
        let copy = Repository::new();
        copy.git(&["-c", &version, "fetch", "-q", &url, "refs/deploys/*:refs/deploys/*"]);
        well_formed(&copy);
        for (deploy, commit) in [("refs/deploys/1", "c2"), ("refs/deploys/2", "c4")] {
            assert_eq!(copy.git(&["rev-parse", deploy]), repository.git(&["rev-parse", commit]));
            let one = Repository::new();
            one.git(&["-c", &version, "fetch", "-q", "--depth", "1", &url, deploy]);
            assert_eq!(commits(&one, "FETCH_HEAD"), "1");
            // A commit that a ref names may be asked for by its own name, as CI does.
            let one = Repository::new();
            one.git(&["-c", &version, "fetch", "-q", &url, &repository.git(&["rev-parse", commit])]);
        }
        let unnamed = repository.git(&["rev-parse", "c3"]);
        let refused = Repository::new().try_git(&["-c", &version, "fetch", &url, &unnamed]).refused();
        let words = ["not our ref", "Server does not allow request for unadvertised object"];
        assert!(words.iter().any(|words| refused.text.contains(words)), "{}", refused.text);
    }
}

#[test]
fn a_large_push_is_sent_in_pieces() {
    let server = Server::start(Database::sqlite());
    let repository = Repository::hello();
    // No two of these numbers are alike, so there is nothing to compress.
    let large = |seed: u32| -> Vec<u8> {
        (0..600_000u32)
            .flat_map(|n| (n ^ seed).wrapping_mul(2_654_435_761).rotate_left(7).to_le_bytes())
            .collect()
    };
    repository.write("large.bin", large(0));
    repository.commit("large");
    let url = server.git_url("default");
    repository.push(&url, &["main"]).succeeded().says("LIVE as deploy 1");
    assert_eq!(std::fs::read(clone(&url, &[]).0.path().join("large.bin")).unwrap(), large(0));
    for (app, option) in [
        ("small-buffer", "http.postBuffer=65536"),
        ("large-buffer", "http.postBuffer=100000000"),
        ("asks-first", "http.extraHeader=Expect: 100-continue"),
        ("uncompressed", "core.compression=0"),
    ] {
        let url = server.git_url(app);
        repository.try_git(&["-c", option, "push", &url, "main"]).succeeded().says("LIVE as deploy 1");
        assert_eq!(clone(&url, &["-c", option]).0.head(), repository.head(), "{option}");
    }
    // A refusal is read to its end too, and not taken for a broken connection.
    repository.write("large.bin", large(1 << 24));
    repository.write("greet.rhai", "oops(");
    repository.commit("broken");
    repository.push(&url, &["main"]).refused().says("greet.rhai:1:").says("deploy 1 is still live");
}

#[test]
fn other_refs_are_refused_in_words() {
    let server = Server::start(Database::sqlite());
    let url = server.git_url("hello");
    let repository = Repository::hello();
    repository.push(&url, &["main"]).succeeded();
    let before = repository.git(&["ls-remote", &url]);
    repository.git(&["notes", "add", "-m", "a note", "HEAD"]);
    repository.git(&["tag", "-a", "-m", "release", "v1"]);
    for (refspec, why) in [
        ("refs/notes/commits", "refs/notes/commits (only branches and tags are kept here)"),
        ("HEAD:refs/for/main", "only branches and tags are kept here"),
        ("HEAD:refs/pull/1/head", "only branches and tags are kept here"),
        ("HEAD:refs/picloud/other", "only branches and tags are kept here"),
        ("HEAD:refs/one", "funny refname"),
        ("v1:refs/heads/tagged", "a branch must point to a commit, not a tag"),
        ("HEAD^{tree}:refs/heads/tree", "a branch must point to a commit, not a tree"),
        ("main:refs/heads/main/below", "cannot be beside ref refs/heads/main"),
    ] {
        repository.push(&url, &[refspec]).refused().says(why);
    }
    assert_eq!(repository.git(&["ls-remote", &url]), before);
}

#[test]
fn a_push_may_negotiate_first() {
    let server = Server::start(Database::sqlite());
    let url = server.git_url("hello");
    let repository = history(3);
    repository.push(&url, &["main"]).succeeded();
    let head = repository.head();
    let local = repository.commit("local");
    let common = repository.git(&["fetch", "--negotiate-only", "--negotiation-tip=HEAD", &url]);
    assert!(common.contains(&head) && !common.contains(&local), "{common}");
    let pushed = repository.try_git(&["-c", "push.negotiate=true", "push", &url, "main"]).succeeded();
    assert!(!pushed.text.contains("warning"), "{}", pushed.text);
}

/// The gits of this machine by their version: the first one in the PATH, and Debian's.
fn gits() -> BTreeMap<String, PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let first = std::env::split_paths(&path).map(|folder| folder.join("git")).find(|git| git.exists());
    let debian = PathBuf::from("/usr/bin/git");
    let found = first.into_iter().chain(debian.exists().then_some(debian));
    found.map(|git| (version_of(&git), git)).collect()
}

fn version_of(git: &Path) -> String {
    let Output { stdout, .. } = command_of(git, Path::new("/"), &["--version"]).output().expect("git runs");
    String::from_utf8_lossy(&stdout).trim().to_owned()
}

#[test]
fn every_git_of_this_machine_pushes_clones_and_fetches() {
    let server = Server::start(Database::sqlite());
    for (number, (version, git)) in gits().into_iter().enumerate() {
        let run = |repository: &Repository, arguments: &[&str]| {
            let output = command_of(&git, repository.path(), arguments).output().unwrap();
            let text = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
            Pushed { accepted: output.status.success(), text: format!("{version} {arguments:?}: {text}") }
        };
        for protocol in ["0", "1", "2"] {
            let protocol_version = format!("protocol.version={protocol}");
            let url = server.git_url(&format!("by-{number}-{protocol}"));
            let repository = Repository::hello();
            let push = ["-c", &protocol_version, "push", &url, "main"];
            run(&repository, &push).succeeded().says("LIVE as deploy 1");
            let copy = Repository::made_in(tempfile::tempdir().unwrap());
            run(&copy, &["clone", "-c", &protocol_version, &url, "."]).succeeded();
            repository.write("greet.rhai", "oops(");
            repository.commit("broken");
            run(&repository, &push).refused().says("[remote rejected] main -> main (1 problem; deploy 1");
            repository.write("greet.rhai", "`mended`");
            repository.commit("mended");
            run(&repository, &push).succeeded().says("LIVE as deploy 2");
            run(&copy, &["pull", "--ff-only"]).succeeded();
            run(&copy, &["fsck", "--strict", "--full"]).succeeded();
            assert_eq!(copy.head(), repository.head(), "{version}, protocol {protocol}");
            run(&copy, &["push", "origin", "HEAD:refs/heads/try"]).succeeded().says("PREVIEW as deploy 3");
            run(&copy, &["push", "origin", "--delete", "try"]).succeeded();
        }
    }
}
