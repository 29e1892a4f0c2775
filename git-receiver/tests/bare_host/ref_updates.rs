//! Ref updates: creation, update and deletion, separately and atomically.

use std::fs;

use crate::host::on_every_transport;

/// The longest name that fits into a path.
fn long_name() -> String {
    format!("refs/heads/{}", vec!["0".repeat(40); 36].join("/"))
}

#[test]
fn ref_name_is_free_after_conflicting_ref_is_deleted() {
    on_every_transport(|host| {
        host.create_work_tree("work");
        host.git("work", &["push", "-q", "origin", "main", "main:refs/heads/a/b"]).ok();
        host.git("work", &["push", "-q", "origin", "main:refs/heads/a"]).fails(&["refs/heads/a/b"]);
        host.git("work", &["push", "-q", "origin", ":a/b"]).ok();
        host.git("work", &["push", "-q", "origin", "main:refs/heads/a"]).ok();
    });
}

#[test]
fn atomic_push_updates_all_refs_or_none() {
    on_every_transport(|host| {
        host.create_work_tree("work");
        host.git("work", &["push", "-q", "origin", "main", "main:other"]).ok();
        let before = host.id("app.git", "main");
        host.configure("receive.denyNonFastForwards", "true");
        host.git("work", &["commit", "-q", "--amend", "-m", "rewritten"]).ok();
        let refs = ["main:fresh", "main:other"];
        let push = ["push", "-f", "--atomic", "origin", refs[0], refs[1]];
        host.git("work", &push).fails(&["(atomic push failure)", "(non-fast-forward)"]);
        host.has_no("fresh");
        host.git("work", &["push", "-f", "origin", refs[0], refs[1]]).fails(&["(non-fast-forward)"]);
        assert_eq!(host.id("app.git", "fresh"), host.id("work", "HEAD"));
        assert_eq!(host.id("app.git", "other"), before);
        host.git("work", &["push", "-q", "--atomic", "origin", "main:x", "main:y", ":fresh"]).ok();
        assert_eq!(host.id("app.git", "x"), host.id("app.git", "y"));
        host.has_no("fresh");
    });
}

#[test]
fn concurrently_updated_ref_is_not_overwritten() {
    on_every_transport(|host| {
        host.create_work_tree("work");
        host.git("work", &["push", "-q", "origin", "main", "main:elsewhere"]).ok();
        let meanwhile = host.commit("work", "meanwhile");
        host.git("work", &["push", "-q", "origin", "main:refs/tags/meanwhile"]).ok();
        host.commit("work", "late");
        host.hook("update", &format!("git update-ref refs/heads/main {meanwhile}"));
        host.git("work", &["push", "origin", "main"]).fails(&["(failed to update ref)"]);
        assert_eq!(host.id("app.git", "main"), meanwhile);
        host.hook("update", "git update-ref refs/heads/main refs/heads/elsewhere");
        let push = ["push", "--atomic", "origin", "main", "main:fresh"];
        host.git("work", &push).fails(&["(atomic transaction failed)"]);
        host.has_no("fresh");
    });
}

#[test]
fn concurrent_pushes_all_succeed() {
    on_every_transport(|host| {
        host.create_work_tree("work");
        host.git("work", &["push", "-q", "origin", "main"]).ok();
        for number in 0..6 {
            host.git("", &["clone", "-q", &host.url(), &format!("clone-{number}")]).ok();
            host.commit(&format!("clone-{number}"), &format!("of {number}"));
        }
        std::thread::scope(|scope| {
            for number in 0..6 {
                let branch = format!("main:branch-{number}");
                scope.spawn(move || host.git(&format!("clone-{number}"), &["push", "origin", &branch]).ok());
            }
        });
        for number in 0..6 {
            let pushed = host.id("app.git", &format!("branch-{number}"));
            assert_eq!(pushed, host.id(&format!("clone-{number}"), "HEAD"));
        }
    });
}

#[test]
fn nonexistent_ref_can_be_deleted() {
    on_every_transport(|host| {
        host.create_work_tree("work");
        let new = host.id("work", "HEAD");
        for name in ["pre-receive", "post-receive"] {
            host.hook(name, &format!("cat >>{name}.log"));
        }
        host.hook("update", "echo \"$1\" >>update.log");
        host.configure("receive.denyDeletes", "true");
        let output = host.git("work", &["push", "origin", "main", ":refs/heads/none"]).ok();
        assert!(output.contains("remote: warning: deleting a non-existent ref"), "{output}");
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
fn refs_with_disallowed_names_can_be_deleted() {
    on_every_transport(|host| {
        host.create_work_tree("work");
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
fn corrupt_ref_can_be_deleted_but_fails_a_clone() {
    on_every_transport(|host| {
        host.create_work_tree("work");
        let gone = host.id("work", "HEAD");
        host.git("work", &["push", "-q", "origin", "main", "main:side"]).ok();
        let object = host.path("app.git/objects").join(&gone[..2]).join(&gone[2..]);
        let aside = host.path("aside");
        fs::rename(&object, &aside).expect("rename");
        host.git("", &["clone", "-q", &host.url(), "clone"]).fails(&[]);
        let output = host.git("work", &["push", "origin", "--delete", "side"]).ok();
        assert!(output.contains("remote: warning: allowing deletion of corrupt ref"), "{output}");
        host.has_no("side");
        fs::create_dir_all(object.parent().expect("a directory")).expect("a directory");
        fs::rename(&aside, &object).expect("rename back");
    });
}

#[test]
fn symbolic_ref_is_updated_with_its_target() {
    on_every_transport(|host| {
        host.create_work_tree("work");
        host.git("work", &["push", "-q", "origin", "main", "main:target"]).ok();
        host.host_git(&["symbolic-ref", "refs/heads/alias", "refs/heads/target"]);
        let second = host.commit("work", "second");
        host.git("work", &["push", "-q", "origin", "main:alias", "main:target"]).ok();
        assert_eq!(host.id("app.git", "target"), second);
        let third = host.commit("work", "third");
        let messages = ["refusing inconsistent update", "(inconsistent aliased update)"];
        host.git("work", &["push", "-f", "origin", "main:target", "main~2:alias"]).fails(&messages);
        assert_eq!(host.id("app.git", "target"), second);
        host.git("work", &["push", "-q", "origin", "main:alias"]).ok();
        assert_eq!(host.id("app.git", "target"), third);
        assert_eq!(host.host_git(&["symbolic-ref", "refs/heads/alias"]), "refs/heads/target");
    });
}
