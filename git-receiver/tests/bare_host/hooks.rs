//! Hooks of a push.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use crate::host::on_every_transport;

#[test]
fn hooks_run_as_git_runs_them() {
    on_every_transport(|host| {
        host.create_work_tree("work");
        let new = host.id("work", "HEAD");
        let options = "$GIT_PUSH_OPTION_COUNT $GIT_PUSH_OPTION_0 $GIT_PUSH_OPTION_1";
        let log = format!("cat >>log; pwd >>log; echo \"$GIT_DIR {options}\" >>log");
        // The hook sees the pushed objects in quarantine.
        let sees = format!("git cat-file -e {new} && test -n \"$GIT_QUARANTINE_PATH\" || exit 1");
        host.hook("pre-receive", &format!("echo before; {sees}; {log}"));
        host.hook("update", "echo \"update $1 $2 $3\" >&2; test \"$1\" != refs/heads/no");
        host.hook("post-receive", &format!("echo after; {log}"));
        host.hook("post-update", "echo \"updated $*\"");
        let push = ["push", "-o", "a=b", "-o", "c d", "origin", "main", "main:no", "main:yes"];
        let output = host.git("work", &push).fails(&["[remote rejected] main -> no (hook declined)"]);
        let zero = "0".repeat(40);
        for line in [
            "remote: before",
            &format!("remote: update refs/heads/main {zero} {new}"),
            &format!("remote: update refs/heads/no {zero} {new}"),
            "remote: error: hook declined to update refs/heads/no",
            "remote: after",
            "remote: updated refs/heads/main refs/heads/yes",
        ] {
            assert!(output.lines().any(|found| found.trim_end() == line), "no `{line}` in: {output}");
        }
        let git_dir = fs::canonicalize(host.path("app.git")).expect("a path");
        let [main, no, yes] = ["main", "no", "yes"].map(|name| format!("{zero} {new} refs/heads/{name}\n"));
        let place = format!("{}\n. 2 a=b c d\n", git_dir.display());
        let log = fs::read_to_string(host.path("app.git/log")).expect("a log");
        assert_eq!(log, format!("{main}{no}{yes}{place}{main}{yes}{place}"));
        host.has_no("no");
    });
}

#[test]
fn push_declined_by_pre_receive_stores_nothing() {
    on_every_transport(|host| {
        host.create_work_tree("work");
        host.git("work", &["push", "-q", "origin", "main"]).ok();
        host.commit("work", "second");
        let (before, objects) = (host.id("app.git", "main"), host.objects("app.git"));
        host.hook("pre-receive", "echo not today; exit 1");
        host.hook("post-receive", "touch ran");
        let messages = [
            "remote: not today",
            "main -> main (pre-receive hook declined)",
            "fresh (pre-receive hook declined)",
        ];
        host.git("work", &["push", "origin", "main", "main:fresh"]).fails(&messages);
        assert_eq!((host.id("app.git", "main"), host.objects("app.git")), (before, objects));
        assert!(!host.path("app.git/ran").exists());
        // A hook that cannot be executed declines the push; one without permission to execute is skipped.
        let hook = host.path("app.git/hooks/pre-receive");
        fs::write(&hook, "#!/no/such/program\n").expect("a hook");
        host.git("work", &["push", "origin", "main"]).fails(&["cannot exec", "(pre-receive hook declined)"]);
        fs::set_permissions(&hook, fs::Permissions::from_mode(0o644)).expect("set permissions");
        host.git("work", &["push", "-q", "origin", "main"]).ok();
        assert!(host.path("app.git/ran").exists());
    });
}
