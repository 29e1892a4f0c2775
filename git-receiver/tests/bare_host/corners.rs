//! What clients rarely ask, and git's own test suite does.

use super::*;

/// A name that only just fits into a path.
fn long_name() -> String {
    format!("refs/heads/{}", vec!["0".repeat(40); 36].join("/"))
}

#[test]
fn a_head_that_is_on_no_branch_is_cloned_as_such() {
    every_way(|host| {
        host.work("work");
        let first = host.id("work", "HEAD");
        host.commit("work", "second");
        host.git("work", &["push", "-q", "origin", "main"]).ok();
        host.host_git(&["update-ref", "--no-deref", "HEAD", &first]);
        assert_eq!(host.listed(), ["HEAD", "refs/heads/main"]);
        for version in ["0", "2"] {
            let protocol = format!("protocol.version={version}");
            host.git("", &["-c", &protocol, "clone", "-q", "--depth", "1", &host.url(), version]).ok();
            assert_eq!(host.id(version, "HEAD"), first);
            host.git(version, &["symbolic-ref", "-q", "HEAD"]).fails(&[]);
        }
        host.git("work", &["push", "-q", "origin", ":main"]).ok();
    });
}

#[test]
fn what_is_not_there_can_be_deleted() {
    every_way(|host| {
        host.work("work");
        let new = host.id("work", "HEAD");
        for name in ["pre-receive", "post-receive"] {
            host.hook(name, &format!("cat >>{name}.log"));
        }
        host.hook("update", "echo \"$1\" >>update.log");
        host.configure("receive.denyDeletes", "true");
        let said = host.git("work", &["push", "origin", "main", ":refs/heads/none"]).ok();
        assert!(said.contains("remote: warning: deleting a non-existent ref"), "{said}");
        let zero = "0".repeat(40);
        let main = format!("{zero} {new} refs/heads/main\n");
        let log = |name: &str| fs::read_to_string(host.path("app.git").join(name)).unwrap_or_default();
        assert_eq!(log("pre-receive.log"), format!("{main}{zero} {zero} refs/heads/none\n"));
        assert_eq!(log("update.log"), "refs/heads/main\nrefs/heads/none\n");
        assert_eq!(log("post-receive.log"), main);
        host.git("work", &["push", "-q", "--atomic", "origin", ":refs/heads/none", "main:side"]).ok();
        assert_eq!(host.id("app.git", "side"), new);
    });
}

#[test]
fn names_that_could_not_be_made_can_be_deleted() {
    every_way(|host| {
        host.work("work");
        host.git("work", &["push", "-q", "origin", "main"]).ok();
        for name in ["refs/onelevel", &long_name()] {
            host.host_git(&["update-ref", name, "main"]);
            host.git("work", &["push", "-q", "origin", "--delete", name]).ok();
            host.has_no(name);
        }
        host.git("work", &["push", "origin", "main:refs/onelevel"]).fails(&["(funny refname)"]);
    });
}

#[test]
fn a_ref_to_nothing_is_deleted_but_not_passed_over_when_cloned() {
    every_way(|host| {
        host.work("work");
        let gone = host.id("work", "HEAD");
        host.git("work", &["push", "-q", "origin", "main", "main:side"]).ok();
        let object = host.path("app.git/objects").join(&gone[..2]).join(&gone[2..]);
        let aside = host.path("aside");
        fs::rename(&object, &aside).expect("it is set aside");
        host.git("", &["clone", "-q", &host.url(), "clone"]).fails(&[]);
        let said = host.git("work", &["push", "origin", "--delete", "side"]).ok();
        assert!(said.contains("remote: warning: allowing deletion of corrupt ref"), "{said}");
        host.has_no("side");
        fs::create_dir_all(object.parent().expect("a folder")).expect("a folder");
        fs::rename(&aside, &object).expect("it is back");
    });
}

#[test]
fn of_all_that_hides_refs_the_last_line_of_the_config_decides() {
    every_way(|host| {
        host.work("work");
        host.git("work", &["push", "-q", "origin", "main", "main:refs/tags/a", "main:refs/tags/b"]).ok();
        host.configure("uploadpack.hideRefs", "refs/tags");
        host.configure("transfer.hideRefs", "!refs/tags/b");
        assert_eq!(host.listed(), ["HEAD", "refs/heads/main", "refs/tags/b"]);
    });
}

#[test]
fn a_symbolic_ref_moves_with_its_target() {
    every_way(|host| {
        host.work("work");
        host.git("work", &["push", "-q", "origin", "main", "main:target"]).ok();
        host.host_git(&["symbolic-ref", "refs/heads/alias", "refs/heads/target"]);
        let second = host.commit("work", "second");
        host.git("work", &["push", "-q", "origin", "main:alias", "main:target"]).ok();
        assert_eq!(host.id("app.git", "target"), second);
        let third = host.commit("work", "third");
        let words = ["refusing inconsistent update", "(inconsistent aliased update)"];
        host.git("work", &["push", "-f", "origin", "main:target", "main~2:alias"]).fails(&words);
        assert_eq!(host.id("app.git", "target"), second);
        host.git("work", &["push", "-q", "origin", "main:alias"]).ok();
        assert_eq!(host.id("app.git", "target"), third);
        assert_eq!(host.host_git(&["symbolic-ref", "refs/heads/alias"]), "refs/heads/target");
    });
}

#[test]
fn a_push_may_be_too_large() {
    every_way(|host| {
        host.work("work");
        host.configure("receive.maxInputSize", "100");
        host.git("work", &["push", "origin", "main"]).fails(&["(unpacker error)"]);
        host.has_no("main");
        host.configure("receive.maxInputSize", "1k");
        host.git("work", &["push", "-q", "origin", "main"]).ok();
    });
}

#[test]
fn a_repository_is_found_by_less_than_its_path() {
    every_way(|host| {
        host.work("work");
        host.git("work", &["push", "-q", "origin", "main"]).ok();
        fs::create_dir(host.path("linked")).expect("a folder");
        fs::write(host.path("linked/.git"), "gitdir: ../app.git\n").expect("a file");
        for name in ["app", "linked"] {
            let clone = format!("clone-of-{name}");
            host.git("", &["clone", "-q", &host.url().replace("app.git", name), &clone]).ok();
            assert_eq!(host.id(&clone, "HEAD"), host.id("work", "HEAD"));
        }
    });
}

#[test]
fn a_branch_of_another_work_tree_is_left_alone() {
    every_way(|host| {
        host.work("work");
        host.git("work", &["push", "-q", "origin", "main"]).ok();
        host.host_git(&["worktree", "add", "-q", "-b", "tree", "../tree", "main"]);
        host.commit("work", "second");
        host.git("work", &["push", "origin", "main:tree"]).fails(&["(branch is currently checked out)"]);
        host.git("work", &["push", "origin", ":tree"]).fails(&["(branch is currently checked out)"]);
        host.git("work", &["push", "-q", "origin", "main"]).ok();
    });
}

#[test]
fn options_for_the_server_are_taken() {
    every_way(|host| {
        host.work("work");
        host.git("work", &["push", "-q", "origin", "main"]).ok();
        let [ls, fetch] = [["ls-remote", "-o", "a=b", "origin"], ["fetch", "-o", "c", "origin"]];
        for command in [ls, fetch] {
            host.git("work", &[&["-c", "protocol.version=2"], &command[..]].concat()).ok();
        }
    });
}

#[test]
fn a_history_as_deep_as_was_asked_for_may_go_on() {
    every_way(|host| {
        host.work("work");
        host.git("work", &["push", "-q", "origin", "main"]).ok();
        for version in ["0", "2"] {
            let protocol = format!("protocol.version={version}");
            host.git("", &["-c", &protocol, "clone", "-q", "--depth", "1", &host.url(), version]).ok();
            // git does not look behind the last commit that it sends.
            let shallow = || host.git(version, &["rev-parse", "--is-shallow-repository"]).ok();
            assert_eq!(shallow().trim(), "true");
            host.git(version, &["-c", &protocol, "fetch", "-q", "--unshallow", "origin"]).ok();
            assert_eq!(shallow().trim(), "false");
        }
    });
}

#[test]
fn a_branch_in_common_says_nothing_of_the_others() {
    every_way(|host| {
        host.work("work");
        for number in 0..3 {
            host.commit("work", &format!("number {number}"));
        }
        host.git("work", &["push", "-q", "origin", "main"]).ok();
        for version in ["0", "2"] {
            let protocol = format!("protocol.version={version}");
            host.git("", &["clone", "-q", &host.url(), version]).ok();
            for number in 0..40 {
                let message = format!("own {number}");
                host.git(version, &["commit", "-q", "--allow-empty", "-m", &message]).ok();
            }
            // What both have of this one is among the first things that the client tells.
            let aside = format!("aside-{version}");
            host.git("work", &["checkout", "-q", "--orphan", &aside]).ok();
            host.commit("work", &format!("on {aside}"));
            host.git("work", &["push", "-q", "origin", &aside]).ok();
            host.git(version, &["fetch", "-q", "origin", &aside]).ok();
            host.git(version, &["branch", &aside, "FETCH_HEAD"]).ok();
            host.git("work", &["checkout", "-q", "main"]).ok();
            host.commit("work", &format!("for {version}"));
            host.git("work", &["push", "-q", "origin", "main"]).ok();
            host.git(version, &["repack", "-q", "-a", "-d"]).ok();
            let packed = || {
                let counts = host.git(version, &["count-objects", "-v"]).ok();
                let line = counts.lines().find_map(|line| line.strip_prefix("in-pack: ")).expect("a count");
                line.parse::<usize>().expect("a number")
            };
            let before = packed();
            let fetch = ["-c", &protocol, "-c", "fetch.unpackLimit=1", "fetch", "-q", "origin", "main"];
            host.git(version, &fetch).ok();
            let new = packed() - before;
            assert!(
                (3..6).contains(&new),
                "protocol {version}: a commit, a tree and a file, not {new} objects"
            );
        }
    });
}
