//! Shallow clones, and pushes from them.

use crate::host::on_every_transport;

#[test]
fn shallow_clones_deepen_and_push() {
    on_every_transport(|host| {
        host.create_work_tree("work");
        for number in 0..5 {
            host.commit("work", &format!("number {number}"));
        }
        host.git("work", &["push", "-q", "origin", "main"]).ok();
        for version in ["0", "2"] {
            let protocol = format!("protocol.version={version}");
            let count = || host.git(version, &["rev-list", "--count", "HEAD"]).ok().trim().to_owned();
            host.git("", &["-c", &protocol, "clone", "-q", "--depth", "2", &host.url(), version]).ok();
            assert_eq!(count(), "2");
            host.git(version, &["-c", &protocol, "fetch", "-q", "--depth", "4", "origin"]).ok();
            assert_eq!(count(), "4");
            let new = host.commit(version, "from a shallow clone");
            let branch = format!("main:from-{version}");
            host.git(version, &["-c", &protocol, "push", "-q", "origin", &branch]).ok();
            assert_eq!(host.id("app.git", &format!("from-{version}")), new);
            host.git(version, &["-c", &protocol, "fetch", "-q", "--unshallow", "origin"]).ok();
            assert_eq!(count(), "7");
            host.git(version, &["fsck", "--strict"]).ok();
        }
        // A push that would make the repository shallow is rejected.
        host.git("", &["clone", "-q", "--depth", "1", &host.url(), "cut"]).ok();
        host.git("", &["init", "-q", "--bare", "other.git"]).ok();
        let other = host.url().replace("app.git", "other.git");
        host.git("cut", &["push", &other, "main"]).fails(&["(shallow update not allowed)"]);
    });
}

#[test]
fn history_of_exactly_the_requested_depth_can_be_deepened() {
    on_every_transport(|host| {
        host.create_work_tree("work");
        host.git("work", &["push", "-q", "origin", "main"]).ok();
        for version in ["0", "2"] {
            let protocol = format!("protocol.version={version}");
            host.git("", &["-c", &protocol, "clone", "-q", "--depth", "1", &host.url(), version]).ok();
            // git does not check the parents of the last commit that it sends.
            let shallow = || host.git(version, &["rev-parse", "--is-shallow-repository"]).ok();
            assert_eq!(shallow().trim(), "true");
            host.git(version, &["-c", &protocol, "fetch", "-q", "--unshallow", "origin"]).ok();
            assert_eq!(shallow().trim(), "false");
        }
    });
}
