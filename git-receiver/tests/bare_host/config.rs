//! The repository's config: denied updates, hidden refs, reflogs, sizes.

use crate::host::{Transport, on_every_transport};

#[test]
fn non_fast_forwards_follow_the_config() {
    on_every_transport(|host| {
        host.create_work_tree("work");
        let first = host.id("work", "HEAD");
        let second = host.commit("work", "second");
        host.git("work", &["push", "-q", "origin", "main", "main:side"]).ok();
        host.git("work", &["reset", "-q", "--hard", &first]).ok();
        host.commit("work", "other");
        host.git("work", &["push", "origin", "main"]).fails(&["non-fast-forward"]);
        host.git("work", &["push", "-q", "-f", "origin", "main"]).ok();
        host.configure("receive.denyNonFastForwards", "true");
        let messages = ["remote: error: denying non-fast-forward refs/heads/side", "(non-fast-forward)"];
        host.git("work", &["push", "-f", "origin", "main:side"]).fails(&messages);
        assert_eq!(host.id("app.git", "side"), second);
        // Tags can be updated without fast-forward.
        host.git("work", &["push", "-q", "origin", "main:refs/tags/t"]).ok();
        host.git("work", &["push", "-q", "-f", "origin", &format!("{second}:refs/tags/t")]).ok();
        host.commit("work", "on top");
        host.git("work", &["push", "-q", "origin", "main"]).ok();
    });
}

#[test]
fn deletions_follow_the_config() {
    on_every_transport(|host| {
        host.create_work_tree("work");
        host.git("work", &["push", "-q", "origin", "main", "main:a", "main:b", "main:refs/tags/t"]).ok();
        host.git("work", &["push", "-q", "origin", "--delete", "a"]).ok();
        let messages =
            ["refusing to delete the current branch", "(deletion of the current branch prohibited)"];
        host.git("work", &["push", "origin", "--delete", "main"]).fails(&messages);
        host.configure("receive.denyDeletes", "true");
        let messages = ["remote: error: denying ref deletion for refs/heads/b", "(deletion prohibited)"];
        host.git("work", &["push", "origin", "--delete", "b", "t"]).fails(&messages);
        assert_eq!(host.host_git(&["for-each-ref", "--format=%(refname)"]), "refs/heads/b\nrefs/heads/main");
    });
}

#[test]
fn checked_out_branch_follows_deny_current_branch() {
    on_every_transport(|host| {
        host.create_work_tree("work");
        host.git("", &["init", "-q", "-b", "main", "tree.git"]).ok();
        let url = host.url().replace("app.git", "tree.git");
        let push = || host.git("work", &["push", &url, "main"]);
        let messages =
            ["remote: error: refusing to update checked out branch", "(branch is currently checked out)"];
        push().fails(&messages);
        let config = |value: &str| host.git("tree.git", &["config", "receive.denyCurrentBranch", value]).ok();
        if host.transport != Transport::Git {
            // It would have to change the work tree, which the host does not support.
            config("updateInstead");
            push().fails(&messages);
        }
        host.git("work", &["push", "-q", &url, "main:side"]).ok();
        config("warn");
        let output = push().ok();
        assert!(output.contains("remote: warning: updating the current branch"), "{output}");
        host.commit("work", "second");
        config("ignore");
        let output = push().ok();
        assert!(!output.contains("remote:"), "{output}");
    });
}

#[test]
fn branch_of_linked_work_tree_is_not_updated() {
    on_every_transport(|host| {
        host.create_work_tree("work");
        host.git("work", &["push", "-q", "origin", "main"]).ok();
        host.host_git(&["worktree", "add", "-q", "-b", "tree", "../tree", "main"]);
        host.commit("work", "second");
        host.git("work", &["push", "origin", "main:tree"]).fails(&["(branch is currently checked out)"]);
        host.git("work", &["push", "origin", ":tree"]).fails(&["(branch is currently checked out)"]);
        host.git("work", &["push", "-q", "origin", "main"]).ok();
    });
}

#[test]
fn hidden_refs_are_neither_advertised_nor_updated() {
    on_every_transport(|host| {
        host.create_work_tree("work");
        let first = host.id("work", "HEAD");
        host.git("work", &["push", "-q", "origin", "main"]).ok();
        let secret = host.commit("work", "secret");
        for name in ["hidden/a", "hidden/shown", "unseen/b", "fixed/c"] {
            host.git("work", &["push", "-q", "origin", &format!("main:refs/{name}")]).ok();
        }
        host.configure("transfer.hideRefs", "refs/hidden");
        host.configure("transfer.hideRefs", "!refs/hidden/shown");
        host.configure("uploadpack.hideRefs", "refs/unseen/");
        host.configure("receive.hideRefs", "refs/fixed");
        assert_eq!(host.advertised_refs(), ["HEAD", "refs/fixed/c", "refs/heads/main", "refs/hidden/shown"]);
        let push = |refspec: &str| host.git("work", &["push", "-f", "origin", refspec]);
        for name in ["hidden/a", "hidden/new/one", "fixed/c"] {
            push(&format!("{first}:refs/{name}")).fails(&["(deny updating a hidden ref)"]);
        }
        push(&format!("{first}:refs/unseen/b")).ok();
        push(&format!("{first}:refs/hidden/shown")).ok();
        // From here on, no advertised ref reaches the second commit.
        host.host_git(&["update-ref", "-d", "refs/fixed/c"]);
        // In protocol v2, git serves unreachable objects by id; the receiver does not.
        for version in if host.transport == Transport::Git { &["0"][..] } else { &["0", "2"] } {
            let protocol = format!("protocol.version={version}");
            host.git("", &["clone", "-q", &host.url(), version]).ok();
            host.git(version, &["-c", &protocol, "fetch", "origin", &secret]).fails(&[]);
        }
        assert_eq!(host.id("app.git", "refs/hidden/a"), secret);
    });
}

#[test]
fn last_matching_hide_refs_line_wins() {
    on_every_transport(|host| {
        host.create_work_tree("work");
        host.git("work", &["push", "-q", "origin", "main", "main:refs/tags/a", "main:refs/tags/b"]).ok();
        host.configure("uploadpack.hideRefs", "refs/tags");
        host.configure("transfer.hideRefs", "!refs/tags/b");
        assert_eq!(host.advertised_refs(), ["HEAD", "refs/heads/main", "refs/tags/b"]);
    });
}

#[test]
fn reflogs_follow_the_config() {
    on_every_transport(|host| {
        host.create_work_tree("work");
        host.git("work", &["push", "-q", "origin", "main:quiet"]).ok();
        host.configure("core.logAllRefUpdates", "true");
        host.git("work", &["push", "-q", "origin", "main", "main:refs/tags/t"]).ok();
        host.commit("work", "second");
        host.git("work", &["push", "-q", "origin", "main"]).ok();
        let log = host.host_git(&["reflog", "show", "--format=%H %gn <%ge> %gs", "main"]);
        let [new, old] = ["HEAD", "HEAD~"].map(|name| host.id("work", name));
        let who = "Ada <ada@example.org> push";
        assert_eq!(log, format!("{new} {who}\n{old} {who}"));
        let logged = |name: &str| host.path("app.git/logs/refs").join(name).is_file();
        assert!(!logged("heads/quiet") && !logged("tags/t"));
        host.git("work", &["push", "-q", "origin", "main:gone"]).ok();
        assert!(logged("heads/gone"));
        host.git("work", &["push", "-q", "origin", ":gone"]).ok();
        assert!(!logged("heads/gone"));
    });
}

#[test]
fn push_beyond_max_input_size_is_rejected() {
    on_every_transport(|host| {
        host.create_work_tree("work");
        host.configure("receive.maxInputSize", "100");
        host.git("work", &["push", "origin", "main"]).fails(&["(unpacker error)"]);
        host.has_no("main");
        host.configure("receive.maxInputSize", "1k");
        host.git("work", &["push", "-q", "origin", "main"]).ok();
    });
}
