//! Negotiation of common commits.

use std::fs;
use std::io::Write as _;
use std::process::Stdio;

use crate::host::{on_every_transport, run};

#[test]
fn common_commits_are_found_in_several_rounds() {
    on_every_transport(|host| {
        host.create_work_tree("work");
        host.git("work", &["push", "-q", "origin", "main"]).ok();
        for version in ["0", "2"] {
            host.git("", &["clone", "-q", &host.url(), version]).ok();
            // With two hundred local commits, the client's first haves are unknown to the host.
            let mut own = String::new();
            for number in 0..200 {
                let from = if number == 0 { "from refs/heads/main^0\n" } else { "" };
                own += &format!(
                    "commit refs/heads/main\ncommitter A <a@example.org> 2000000000 +0000\ndata 0\n{from}\n"
                );
            }
            let mut import = host.git_command(version, &["fast-import", "--quiet"]);
            let mut import = import.stdin(Stdio::piped()).spawn().expect("spawn");
            import.stdin.take().expect("stdin").write_all(own.as_bytes()).expect("write");
            assert!(import.wait().expect("exit status").success());
            let new = host.commit("work", &format!("while {version} was busy"));
            host.git("work", &["push", "-q", "origin", "main"]).ok();
            let before = host.objects(version);
            let trace = host.path(&format!("trace-{version}"));
            let protocol = format!("protocol.version={version}");
            let mut fetch = host.git_command(version, &["-c", &protocol, "fetch", "-q", "origin"]);
            run(fetch.env("GIT_TRACE_PACKET", &trace)).ok();
            assert_eq!(host.id(version, "origin/main"), new);
            assert_eq!(host.objects(version), before + 3, "a commit, a tree and a file, and nothing again");
            let trace = fs::read_to_string(trace).expect("a trace");
            // Over HTTP, `fetch-pack` does what `fetch` does itself over a connection.
            let heard = |word: &str| {
                let lines = trace.lines().filter_map(|line| line.split_once(" fetch")?.1.split_once("< "));
                lines.filter(|(_, output)| output.starts_with(word)).count()
            };
            let unknown = heard("NAK");
            assert!(unknown > 2, "{unknown} rounds without a commit in common");
            assert!(heard("ACK") > 0, "no commit was acknowledged");
        }
    });
}

#[test]
fn common_branch_does_not_end_negotiation_for_others() {
    on_every_transport(|host| {
        host.create_work_tree("work");
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
            // Its common commit is among the client's first haves.
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
