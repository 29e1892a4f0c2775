//! The real git against `examples/plain-host`: the receiver alone, over repositories on disk, over a connection and over
//! HTTP.

mod corners;

use std::fs;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use tempfile::TempDir;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    /// git's own programs: what is expected of the host is how they behave.
    Git,
    /// As `git push --receive-pack=...` and `git fetch --upload-pack=...` start it.
    Connection,
    Http,
}

/// A host with one bare repository, `app.git`, and room for clones.
struct Host {
    way: Way,
    folder: TempDir,
    server: Option<(Child, String)>,
}

impl Drop for Host {
    fn drop(&mut self) {
        if let Some((server, _)) = &mut self.server {
            let _ = server.kill();
            let _ = server.wait();
        }
    }
}

/// What a command said, on both outputs, and whether it succeeded.
#[derive(Debug)]
struct Said {
    text: String,
    success: bool,
}

impl Said {
    #[track_caller]
    fn ok(self) -> String {
        assert!(self.success, "{}", self.text);
        self.text
    }

    #[track_caller]
    fn fails(self, with: &[&str]) -> String {
        assert!(!self.success, "it succeeded: {}", self.text);
        for words in with {
            assert!(self.text.contains(words), "no `{words}` in: {}", self.text);
        }
        self.text
    }
}

/// The example stands beside the test's own program. `cargo test --test plain_host` alone does not build it.
fn program() -> PathBuf {
    let test = std::env::current_exe().expect("the test's path");
    let target = test.parent().and_then(Path::parent).expect("the target folder");
    let program = target.join("examples/plain-host");
    assert!(program.is_file(), "build it with `cargo build -p git-receiver --examples`");
    program
}

fn run(command: &mut Command) -> Said {
    let output = command.output().expect("it runs");
    let text = [output.stdout, output.stderr].concat();
    Said { text: String::from_utf8_lossy(&text).into_owned(), success: output.status.success() }
}

impl Host {
    fn start(way: Way) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let mut host = Self { way, folder, server: None };
        host.git("", &["init", "-q", "--bare", "-b", "main", "app.git"]).ok();
        // The receiver always takes push options, git where it is told.
        host.configure("receive.advertisePushOptions", "true");
        if way == Way::Http {
            let log = fs::File::create(host.path("server.log")).expect("a log");
            let mut server = host
                .command(program())
                .args(["serve", "--listen", "127.0.0.1:0"])
                .arg(host.folder.path())
                .stdout(Stdio::piped())
                .stderr(log)
                .spawn()
                .expect("the host starts");
            let mut line = String::new();
            let output = server.stdout.take().expect("its output");
            BufReader::new(output).read_line(&mut line).expect("its address");
            let address = line.trim().strip_prefix("listening on ").expect("an address").to_owned();
            host.server = Some((server, address));
        }
        host
    }

    fn path(&self, below: &str) -> PathBuf {
        self.folder.path().join(below)
    }

    fn url(&self) -> String {
        match &self.server {
            Some((_, address)) => format!("{address}app.git"),
            None => format!("file://{}", self.path("app.git").display()),
        }
    }

    /// A command with no one's configuration but the test's.
    fn command(&self, program: impl AsRef<std::ffi::OsStr>) -> Command {
        let mut command = Command::new(program);
        command
            .env("HOME", self.folder.path())
            .env("GIT_CONFIG_NOSYSTEM", "1")
            .env("GIT_CONFIG_GLOBAL", "/dev/null")
            .env("GIT_TERMINAL_PROMPT", "0")
            .env("NO_PROXY", "*")
            .envs([("GIT_AUTHOR_NAME", "Ada"), ("GIT_AUTHOR_EMAIL", "ada@example.org")])
            .envs([("GIT_COMMITTER_NAME", "Ada"), ("GIT_COMMITTER_EMAIL", "ada@example.org")]);
        command
    }

    /// git in a folder of the host's; what talks to a remote is pointed to the host.
    fn git_command(&self, below: &str, arguments: &[&str]) -> Command {
        let mut all: Vec<String> = arguments.iter().map(|argument| (*argument).to_owned()).collect();
        let verbs = ["push", "clone", "fetch", "pull", "ls-remote"];
        if let Some(at) = all.iter().position(|argument| verbs.contains(&argument.as_str()))
            && self.way == Way::Connection
        {
            let service = if all[at] == "push" { "receive-pack" } else { "upload-pack" };
            all.insert(at + 1, format!("--{service}='{}' {service}", program().display()));
        }
        let mut command = self.command("git");
        command.arg("-C").arg(self.path(below)).args(all);
        command
    }

    fn git(&self, below: &str, arguments: &[&str]) -> Said {
        run(&mut self.git_command(below, arguments))
    }

    fn host_git(&self, arguments: &[&str]) -> String {
        self.git("app.git", arguments).ok().trim().to_owned()
    }

    fn configure(&self, key: &str, value: &str) {
        self.host_git(&["config", "--add", key, value]);
    }

    /// A work tree with one commit, whose remote is the host.
    fn work(&self, name: &str) {
        self.git("", &["init", "-q", "-b", "main", name]).ok();
        self.git(name, &["remote", "add", "origin", &self.url()]).ok();
        self.commit(name, "first");
    }

    fn commit(&self, name: &str, message: &str) -> String {
        fs::write(self.path(name).join(message), message).expect("a file");
        self.git(name, &["add", "."]).ok();
        self.git(name, &["commit", "-q", "-m", message]).ok();
        self.id(name, "HEAD")
    }

    fn id(&self, below: &str, name: &str) -> String {
        self.git(below, &["rev-parse", "--verify", name]).ok().trim().to_owned()
    }

    fn has_no(&self, name: &str) {
        self.git("app.git", &["rev-parse", "--verify", name]).fails(&[]);
    }

    fn hook(&self, name: &str, script: &str) {
        let path = self.path("app.git/hooks").join(name);
        fs::write(&path, format!("#!/bin/sh\n{script}\n")).expect("a hook");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).expect("it may run");
    }

    fn objects(&self, below: &str) -> usize {
        self.git(below, &["cat-file", "--batch-all-objects", "--batch-check"]).ok().lines().count()
    }

    fn listed(&self) -> Vec<String> {
        let listed = self.git("", &["ls-remote", &self.url()]).ok();
        listed.lines().filter_map(|line| line.split('\t').nth(1)).map(str::to_owned).collect()
    }

    /// Nothing is broken or left behind, whatever happened.
    fn fsck(&self) {
        self.host_git(&["fsck", "--strict"]);
        let entries = fs::read_dir(self.path("app.git/objects")).expect("objects");
        let left: Vec<_> = entries
            .map(|entry| entry.expect("an entry").file_name().to_string_lossy().into_owned())
            .filter(|name| name.starts_with("tmp_"))
            .collect();
        assert!(left.is_empty(), "{left:?}");
    }
}

/// git's own programs and the host's two ways behave alike.
fn every_way(test: impl Fn(&Host)) {
    for way in [Way::Git, Way::Connection, Way::Http] {
        let host = Host::start(way);
        test(&host);
        host.fsck();
    }
}

#[test]
fn what_is_pushed_is_cloned_back_in_every_protocol() {
    every_way(|host| {
        host.work("work");
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
        assert_eq!(host.listed(), ["HEAD", "refs/heads/main", "refs/tags/v1", "refs/tags/v1^{}"]);
        assert_eq!(host.git("work", &["push", "origin", "main"]).ok().trim(), "Everything up-to-date");
    });
}

#[test]
fn empty_and_packed_repositories_are_served() {
    every_way(|host| {
        let said = host.git("", &["clone", &host.url(), "empty"]).ok();
        assert!(said.contains("empty repository"), "{said}");
        host.work("work");
        host.git("work", &["push", "-q", "origin", "main", "main:refs/heads/old"]).ok();
        host.host_git(&["gc", "-q"]);
        host.host_git(&["pack-refs", "--all"]);
        let new = host.commit("work", "second");
        host.git("work", &["push", "-q", "origin", "main", ":old"]).ok();
        host.git("", &["clone", "-q", &host.url(), "clone"]).ok();
        assert_eq!(host.id("clone", "origin/main"), new);
        assert_eq!(host.listed(), ["HEAD", "refs/heads/main"]);
    });
}

#[test]
fn a_name_that_was_a_folder_of_names_becomes_free_again() {
    every_way(|host| {
        host.work("work");
        host.git("work", &["push", "-q", "origin", "main", "main:refs/heads/a/b"]).ok();
        host.git("work", &["push", "-q", "origin", "main:refs/heads/a"]).fails(&["refs/heads/a/b"]);
        host.git("work", &["push", "-q", "origin", ":a/b"]).ok();
        host.git("work", &["push", "-q", "origin", "main:refs/heads/a"]).ok();
    });
}

#[test]
fn history_is_rewritten_only_where_the_config_allows() {
    every_way(|host| {
        host.work("work");
        let first = host.id("work", "HEAD");
        let second = host.commit("work", "second");
        host.git("work", &["push", "-q", "origin", "main", "main:side"]).ok();
        host.git("work", &["reset", "-q", "--hard", &first]).ok();
        host.commit("work", "other");
        host.git("work", &["push", "origin", "main"]).fails(&["non-fast-forward"]);
        host.git("work", &["push", "-q", "-f", "origin", "main"]).ok();
        host.configure("receive.denyNonFastForwards", "true");
        let words = ["remote: error: denying non-fast-forward refs/heads/side", "(non-fast-forward)"];
        host.git("work", &["push", "-f", "origin", "main:side"]).fails(&words);
        assert_eq!(host.id("app.git", "side"), second);
        // Tags are no branches.
        host.git("work", &["push", "-q", "origin", "main:refs/tags/t"]).ok();
        host.git("work", &["push", "-q", "-f", "origin", &format!("{second}:refs/tags/t")]).ok();
        host.commit("work", "on top");
        host.git("work", &["push", "-q", "origin", "main"]).ok();
    });
}

#[test]
fn refs_are_deleted_only_where_the_config_allows() {
    every_way(|host| {
        host.work("work");
        host.git("work", &["push", "-q", "origin", "main", "main:a", "main:b", "main:refs/tags/t"]).ok();
        host.git("work", &["push", "-q", "origin", "--delete", "a"]).ok();
        let words = ["refusing to delete the current branch", "(deletion of the current branch prohibited)"];
        host.git("work", &["push", "origin", "--delete", "main"]).fails(&words);
        host.configure("receive.denyDeletes", "true");
        let words = ["remote: error: denying ref deletion for refs/heads/b", "(deletion prohibited)"];
        host.git("work", &["push", "origin", "--delete", "b", "t"]).fails(&words);
        assert_eq!(host.host_git(&["for-each-ref", "--format=%(refname)"]), "refs/heads/b\nrefs/heads/main");
    });
}

#[test]
fn atomic_pushes_move_all_refs_or_none() {
    every_way(|host| {
        host.work("work");
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
fn a_ref_that_moved_meanwhile_is_not_overwritten() {
    every_way(|host| {
        host.work("work");
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
fn hooks_run_as_git_runs_them() {
    every_way(|host| {
        host.work("work");
        let new = host.id("work", "HEAD");
        let options = "$GIT_PUSH_OPTION_COUNT $GIT_PUSH_OPTION_0 $GIT_PUSH_OPTION_1";
        let log = format!("cat >>log; pwd >>log; echo \"$GIT_DIR {options}\" >>log");
        // Before it is let in, the hook sees what was pushed.
        let sees = format!("git cat-file -e {new} && test -n \"$GIT_QUARANTINE_PATH\" || exit 1");
        host.hook("pre-receive", &format!("echo before; {sees}; {log}"));
        host.hook("update", "echo \"update $1 $2 $3\" >&2; test \"$1\" != refs/heads/no");
        host.hook("post-receive", &format!("echo after; {log}"));
        host.hook("post-update", "echo \"updated $*\"");
        let push = ["push", "-o", "a=b", "-o", "c d", "origin", "main", "main:no", "main:yes"];
        let said = host.git("work", &push).fails(&["[remote rejected] main -> no (hook declined)"]);
        let zero = "0".repeat(40);
        for line in [
            "remote: before",
            &format!("remote: update refs/heads/main {zero} {new}"),
            &format!("remote: update refs/heads/no {zero} {new}"),
            "remote: error: hook declined to update refs/heads/no",
            "remote: after",
            "remote: updated refs/heads/main refs/heads/yes",
        ] {
            assert!(said.lines().any(|found| found.trim_end() == line), "no `{line}` in: {said}");
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
fn a_push_that_pre_receive_declines_leaves_nothing() {
    every_way(|host| {
        host.work("work");
        host.git("work", &["push", "-q", "origin", "main"]).ok();
        host.commit("work", "second");
        let (before, objects) = (host.id("app.git", "main"), host.objects("app.git"));
        host.hook("pre-receive", "echo not today; exit 1");
        host.hook("post-receive", "touch ran");
        let words = [
            "remote: not today",
            "main -> main (pre-receive hook declined)",
            "fresh (pre-receive hook declined)",
        ];
        host.git("work", &["push", "origin", "main", "main:fresh"]).fails(&words);
        assert_eq!((host.id("app.git", "main"), host.objects("app.git")), (before, objects));
        assert!(!host.path("app.git/ran").exists());
        // One that cannot be run does not agree; one that may not be run is none.
        let hook = host.path("app.git/hooks/pre-receive");
        fs::write(&hook, "#!/no/such/program\n").expect("a hook");
        host.git("work", &["push", "origin", "main"]).fails(&["cannot exec", "(pre-receive hook declined)"]);
        fs::set_permissions(&hook, fs::Permissions::from_mode(0o644)).expect("it may not run");
        host.git("work", &["push", "-q", "origin", "main"]).ok();
        assert!(host.path("app.git/ran").exists());
    });
}

#[test]
fn hidden_refs_are_neither_shown_nor_moved() {
    every_way(|host| {
        host.work("work");
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
        assert_eq!(host.listed(), ["HEAD", "refs/fixed/c", "refs/heads/main", "refs/hidden/shown"]);
        let push = |refspec: &str| host.git("work", &["push", "-f", "origin", refspec]);
        for name in ["hidden/a", "hidden/new/one", "fixed/c"] {
            push(&format!("{first}:refs/{name}")).fails(&["(deny updating a hidden ref)"]);
        }
        push(&format!("{first}:refs/unseen/b")).ok();
        push(&format!("{first}:refs/hidden/shown")).ok();
        // From here on no ref that is shown leads to the second commit.
        host.host_git(&["update-ref", "-d", "refs/fixed/c"]);
        // In protocol 2 git gives it to whoever knows its name; the receiver does not.
        for version in if host.way == Way::Git { &["0"][..] } else { &["0", "2"] } {
            let protocol = format!("protocol.version={version}");
            host.git("", &["clone", "-q", &host.url(), version]).ok();
            host.git(version, &["-c", &protocol, "fetch", "origin", &secret]).fails(&[]);
        }
        assert_eq!(host.id("app.git", "refs/hidden/a"), secret);
    });
}

#[test]
fn reflogs_are_written_where_the_config_wants_them() {
    every_way(|host| {
        host.work("work");
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
fn what_both_have_is_found_in_several_rounds() {
    every_way(|host| {
        host.work("work");
        host.git("work", &["push", "-q", "origin", "main"]).ok();
        for version in ["0", "2"] {
            host.git("", &["clone", "-q", &host.url(), version]).ok();
            // Behind two hundred commits of its own, the client's first words say nothing to the host.
            let mut own = String::new();
            for number in 0..200 {
                let from = if number == 0 { "from refs/heads/main^0\n" } else { "" };
                own += &format!(
                    "commit refs/heads/main\ncommitter A <a@example.org> 2000000000 +0000\ndata 0\n{from}\n"
                );
            }
            let mut import = host.git_command(version, &["fast-import", "--quiet"]);
            let mut import = import.stdin(Stdio::piped()).spawn().expect("it starts");
            import.stdin.take().expect("its input").write_all(own.as_bytes()).expect("it is taken");
            assert!(import.wait().expect("its end").success());
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
                lines.filter(|(_, said)| said.starts_with(word)).count()
            };
            let unknown = heard("NAK");
            assert!(unknown > 2, "{unknown} rounds without a commit in common");
            assert!(heard("ACK") > 0, "nothing was found");
        }
    });
}

#[test]
fn shallow_clones_deepen_and_push() {
    every_way(|host| {
        host.work("work");
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
        // A history that ends in the air is not taken in.
        host.git("", &["clone", "-q", "--depth", "1", &host.url(), "cut"]).ok();
        host.git("", &["init", "-q", "--bare", "other.git"]).ok();
        let other = host.url().replace("app.git", "other.git");
        host.git("cut", &["push", &other, "main"]).fails(&["(shallow update not allowed)"]);
    });
}

#[test]
fn a_checked_out_branch_is_left_alone() {
    every_way(|host| {
        host.work("work");
        host.git("", &["init", "-q", "-b", "main", "tree.git"]).ok();
        let url = host.url().replace("app.git", "tree.git");
        let push = || host.git("work", &["push", &url, "main"]);
        let words =
            ["remote: error: refusing to update checked out branch", "(branch is currently checked out)"];
        push().fails(&words);
        let config = |value: &str| host.git("tree.git", &["config", "receive.denyCurrentBranch", value]).ok();
        if host.way != Way::Git {
            // It would have to change the work tree, which the host never does.
            config("updateInstead");
            push().fails(&words);
        }
        host.git("work", &["push", "-q", &url, "main:side"]).ok();
        config("warn");
        let said = push().ok();
        assert!(said.contains("remote: warning: updating the current branch"), "{said}");
        host.commit("work", "second");
        config("ignore");
        let said = push().ok();
        assert!(!said.contains("remote:"), "{said}");
    });
}

#[test]
fn pushes_at_once_all_land() {
    every_way(|host| {
        host.work("work");
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
fn large_pushes_go_through() {
    every_way(|host| {
        host.work("work");
        let noise = (0..3_000_000_u64)
            .map(|n| n.wrapping_mul(n).wrapping_mul(0x9e37_79b9_7f4a_7c15).to_be_bytes()[1]);
        fs::write(host.path("work/large"), noise.collect::<Vec<u8>>()).expect("a file");
        for number in 0..500 {
            fs::write(host.path("work").join(number.to_string()), number.to_string()).expect("a file");
        }
        let new = host.commit("work", "much");
        // Over HTTP, a push beyond the buffer begins with a probe and comes in chunks.
        host.git("work", &["-c", "http.postBuffer=65536", "push", "-q", "origin", "main"]).ok();
        host.git("", &["clone", "-q", &host.url(), "clone"]).ok();
        assert_eq!(host.id("clone", "HEAD"), new);
    });
}

#[test]
fn the_programs_name_chooses_the_service() {
    let host = Host::start(Way::Connection);
    host.work("work");
    let [receive, upload] = ["git-receive-pack", "git-upload-pack"].map(|name| {
        std::os::unix::fs::symlink(program(), host.path(name)).expect("a link");
        host.path(name).display().to_string()
    });
    let mut push = host.command("git");
    push.arg("-C").arg(host.path("work")).args(["push", "--receive-pack", &receive, "origin", "main"]);
    run(&mut push).ok();
    let mut clone = host.command("git");
    clone.args(["clone", "--upload-pack", &upload, &host.url()]).arg(host.path("clone"));
    run(&mut clone).ok();
    assert_eq!(host.id("clone", "HEAD"), host.id("work", "HEAD"));
    run(Command::new(program()).args(["upload-pack", "/nowhere"]))
        .fails(&["not appear to be a git repository"]);
    run(Command::new(program()).arg("dance")).fails(&["usage"]);
}

#[test]
fn a_client_that_keeps_its_side_open_is_answered() {
    let host = Host::start(Way::Connection);
    host.work("work");
    let new = host.id("work", "HEAD");
    let mut service = host
        .command(program())
        .arg("receive-pack")
        .arg(host.path("app.git"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("it starts");
    let mut input = service.stdin.take().expect("its input");
    let line = format!("{} {new} refs/heads/main\0 report-status", "0".repeat(40));
    write!(input, "{:04x}{line}0000", line.len() + 4).expect("a command");
    let pack = host
        .command("sh")
        .current_dir(host.path("work"))
        .args(["-c", "git rev-list --objects --all | git pack-objects --stdout -q"])
        .output()
        .expect("a pack");
    input.write_all(&pack.stdout).expect("it is taken");
    input.flush().expect("it is taken");
    let mut output = service.stdout.take().expect("its output");
    let (sender, answer) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        let mut said = String::new();
        output.read_to_string(&mut said).map(|_| sender.send(said))
    });
    let said = answer.recv_timeout(std::time::Duration::from_secs(60)).unwrap_or_else(|_| {
        service.kill().expect("its end");
        panic!("it waits for an end that never comes");
    });
    assert!(said.ends_with("unpack ok\n0017ok refs/heads/main\n0000"), "{said}");
    assert!(service.wait().expect("its end").success());
    drop(input);
    assert_eq!(host.id("app.git", "main"), new);
    host.fsck();
}

#[test]
fn http_answers_bear_the_headers_that_git_wants() {
    let host = Host::start(Way::Http);
    let (_, address) = host.server.as_ref().expect("a server");
    let authority = address.trim_start_matches("http://").trim_end_matches('/');
    let ask = |head: &str, body: &str| {
        let mut stream = TcpStream::connect(authority).expect("a connection");
        let length = body.len();
        let headers = format!("Host: x\r\nConnection: close\r\nContent-Length: {length}");
        write!(stream, "{head} HTTP/1.1\r\n{headers}\r\n\r\n{body}").expect("a request");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("an answer");
        answer
    };
    let refs = ask("GET /app.git/info/refs?service=git-upload-pack", "");
    assert!(refs.starts_with("HTTP/1.1 200 "), "{refs}");
    assert!(refs.contains("content-type: application/x-git-upload-pack-advertisement\r\n"), "{refs}");
    assert!(refs.contains("cache-control: no-cache, max-age=0, must-revalidate\r\n"), "{refs}");
    assert!(refs.contains("001e# service=git-upload-pack\n0000"), "{refs}");
    let probe = ask("POST /app.git/git-receive-pack", "0000");
    assert!(probe.starts_with("HTTP/1.1 200 ") && probe.ends_with("\r\n\r\n"), "{probe}");
    assert!(probe.contains("content-type: application/x-git-receive-pack-result\r\n"), "{probe}");
    for nowhere in
        ["/none.git/info/refs?service=git-upload-pack", "/../app.git/info/refs", "/app.git/HEAD", "/"]
    {
        assert!(ask(&format!("GET {nowhere}"), "").starts_with("HTTP/1.1 404 "), "{nowhere}");
    }
    assert!(
        ask("GET /app.git/info/refs", "").starts_with("HTTP/1.1 403 "),
        "the dumb protocol is not spoken"
    );
    assert!(ask("POST /app.git/git-receive-pack", "what?").starts_with("HTTP/1.1 400 "));
}
