//! Options of `git clone`, `git fetch`, `git pull` and `git ls-remote`.

use tests::{Database, Repository, Server};

use super::{clone, commits, fsck, history};

#[test]
fn pull_merges_or_rebases_pushed_commits() {
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
    merging.push("origin", &["main"]).succeeded().says("LIVE as deploy 3");
    rebasing.write("rebased.md", "rebased");
    rebasing.commit("rebased");
    rebasing.git(&["pull", "-q", "--rebase"]);
    rebasing.push("origin", &["main"]).succeeded().says("LIVE as deploy 4");
    let (last, _) = clone(&url, &[]);
    assert_eq!(commits(&last, "HEAD"), "5");
    assert_eq!(last.git(&["ls-files", "*.md"]), "merged.md\nrebased.md\ntheirs.md");
}

#[test]
fn shallow_clone_is_deepened_by_every_option() {
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
            fsck(&shallow);
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
fn deepen_counts_from_the_tip_during_pushes() {
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
    fsck(&shallow);
    assert_eq!((commits(&shallow, "HEAD"), commits(&shallow, "origin/main")), ("3".into(), "6".into()));
}

#[test]
fn shallow_clone_after_rollback_is_deepened() {
    let server = Server::start(Database::sqlite());
    let url = server.git_url("hello");
    let repository = history(6);
    repository.push(&url, &["main"]).succeeded();
    for (options, left) in [(&["--deepen", "2"][..], "3"), (&["--unshallow"], "7")] {
        let (shallow, _) = clone(&url, &["--depth", "1"]);
        repository.push(&url, &["-f", "main~4:main"]).succeeded();
        shallow.git(&[&["fetch", "-q"], options].concat());
        fsck(&shallow);
        assert_eq!(
            (commits(&shallow, "HEAD").as_str(), commits(&shallow, "origin/main").as_str()),
            (left, "3")
        );
        repository.push(&url, &["main"]).succeeded();
    }
}

#[test]
fn clone_of_one_branch_or_partial_history_works() {
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
fn clone_of_app_without_production_checks_out_the_production_branch() {
    let server = Server::start(Database::sqlite());
    let url = server.git_url("hello");
    Repository::hello().push(&url, &["main:refs/heads/try"]).succeeded();
    let (unborn, _) = clone(&url, &["-c", "init.defaultBranch=elsewhere"]);
    assert_eq!(unborn.git(&["symbolic-ref", "HEAD"]), "refs/heads/main");
    unborn.git(&["merge", "-q", "origin/try"]);
    unborn.push("origin", &["main"]).succeeded().says("LIVE as deploy 2");
}

#[test]
fn filter_is_ignored_with_a_warning() {
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
fn fetch_prunes_deleted_refs() {
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
fn deploy_refs_are_fetched_and_unknown_objects_are_not() {
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
        fsck(&copy);
        for (deploy, commit) in [("refs/deploys/1", "c2"), ("refs/deploys/2", "c4")] {
            assert_eq!(copy.git(&["rev-parse", deploy]), repository.git(&["rev-parse", commit]));
            let one = Repository::new();
            one.git(&["-c", &version, "fetch", "-q", "--depth", "1", &url, deploy]);
            assert_eq!(commits(&one, "FETCH_HEAD"), "1");
            // CI fetches a commit of a ref by its id.
            let one = Repository::new();
            one.git(&["-c", &version, "fetch", "-q", &url, &repository.git(&["rev-parse", commit])]);
        }
        let unknown = repository.commit("never pushed");
        let refused = Repository::new().try_git(&["-c", &version, "fetch", &url, &unknown]).refused();
        let expected = ["not our ref", "Server does not allow request for unadvertised object"];
        assert!(expected.iter().any(|expected| refused.text.contains(expected)), "{}", refused.text);
    }
}
