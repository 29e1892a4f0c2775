//! Clones and fetches.

use crate::host::on_every_transport;

#[test]
fn push_is_cloned_back_in_every_protocol() {
    on_every_transport(|host| {
        host.create_work_tree("work");
        host.git("work", &["tag", "-a", "-m", "one", "v1"]).ok();
        for version in ["0", "1", "2"] {
            let protocol = format!("protocol.version={version}");
            let new = host.commit("work", &format!("in protocol {version}"));
            host.git("work", &["-c", &protocol, "push", "origin", "main", "--tags"]).ok();
            let clone = format!("clone-{version}");
            host.git("", &["-c", &protocol, "clone", "-q", &host.url(), &clone]).ok();
            assert_eq!(host.id(&clone, "HEAD"), new);
            assert_eq!(host.id(&clone, "v1"), host.id("work", "v1"));
            host.git(&clone, &["fsck", "--strict"]).ok();
            let newer = host.commit("work", &format!("later in protocol {version}"));
            host.git("work", &["-c", &protocol, "push", "origin", "main"]).ok();
            host.git(&clone, &["-c", &protocol, "pull", "-q", "--ff-only", "origin"]).ok();
            assert_eq!(host.id(&clone, "HEAD"), newer);
        }
        assert_eq!(host.advertised_refs(), ["HEAD", "refs/heads/main", "refs/tags/v1", "refs/tags/v1^{}"]);
        assert_eq!(host.git("work", &["push", "origin", "main"]).ok().trim(), "Everything up-to-date");
    });
}

#[test]
fn empty_and_packed_repositories_are_served() {
    on_every_transport(|host| {
        let output = host.git("", &["clone", &host.url(), "empty"]).ok();
        assert!(output.contains("empty repository"), "{output}");
        host.create_work_tree("work");
        host.git("work", &["push", "-q", "origin", "main", "main:refs/heads/old"]).ok();
        host.host_git(&["gc", "-q"]);
        host.host_git(&["pack-refs", "--all"]);
        let new = host.commit("work", "second");
        host.git("work", &["push", "-q", "origin", "main", ":old"]).ok();
        host.git("", &["clone", "-q", &host.url(), "clone"]).ok();
        assert_eq!(host.id("clone", "origin/main"), new);
        assert_eq!(host.advertised_refs(), ["HEAD", "refs/heads/main"]);
    });
}

#[test]
fn detached_head_is_cloned_detached() {
    on_every_transport(|host| {
        host.create_work_tree("work");
        let first = host.id("work", "HEAD");
        host.commit("work", "second");
        host.git("work", &["push", "-q", "origin", "main"]).ok();
        host.host_git(&["update-ref", "--no-deref", "HEAD", &first]);
        assert_eq!(host.advertised_refs(), ["HEAD", "refs/heads/main"]);
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
fn server_options_are_accepted() {
    on_every_transport(|host| {
        host.create_work_tree("work");
        host.git("work", &["push", "-q", "origin", "main"]).ok();
        let [ls, fetch] = [["ls-remote", "-o", "a=b", "origin"], ["fetch", "-o", "c", "origin"]];
        for command in [ls, fetch] {
            host.git("work", &[&["-c", "protocol.version=2"], &command[..]].concat()).ok();
        }
    });
}
