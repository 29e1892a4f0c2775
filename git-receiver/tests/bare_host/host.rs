//! A host to test: git itself, or `examples/bare-host` over pipes or HTTP.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use tempfile::TempDir;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Transport {
    /// git's own programs, which define the expected behaviour.
    Git,
    /// Through pipes, with `git push --receive-pack=...` and `git fetch --upload-pack=...`.
    Stdio,
    Http,
}

/// A host with one bare repository, `app.git`, in a directory with space for clones.
pub(crate) struct Host {
    pub(crate) transport: Transport,
    pub(crate) dir: TempDir,
    pub(crate) server: Option<(Child, String)>,
}

impl Drop for Host {
    fn drop(&mut self) {
        if let Some((server, _)) = &mut self.server {
            let _ = server.kill();
            let _ = server.wait();
        }
    }
}

/// Standard output and standard error of a command, and whether it succeeded.
#[derive(Debug)]
pub(crate) struct CommandOutput {
    pub(crate) text: String,
    pub(crate) success: bool,
}

impl CommandOutput {
    #[track_caller]
    pub(crate) fn ok(self) -> String {
        assert!(self.success, "{}", self.text);
        self.text
    }

    #[track_caller]
    pub(crate) fn fails(self, with: &[&str]) -> String {
        assert!(!self.success, "it succeeded: {}", self.text);
        for messages in with {
            assert!(self.text.contains(messages), "no `{messages}` in: {}", self.text);
        }
        self.text
    }
}

/// The example in the target directory of the test. `cargo test --test bare_host` does not build it.
pub(crate) fn program() -> PathBuf {
    let test = std::env::current_exe().expect("the test's path");
    let target = test.parent().and_then(Path::parent).expect("the target directory");
    let program = target.join("examples/bare-host");
    assert!(program.is_file(), "build it with `cargo build -p git-receiver --examples`");
    program
}

pub(crate) fn run(command: &mut Command) -> CommandOutput {
    let output = command.output().expect("spawn");
    let text = [output.stdout, output.stderr].concat();
    CommandOutput { text: String::from_utf8_lossy(&text).into_owned(), success: output.status.success() }
}

impl Host {
    pub(crate) fn start(transport: Transport) -> Self {
        let dir = tempfile::tempdir().expect("a directory");
        let mut host = Self { transport, dir, server: None };
        host.git("", &["init", "-q", "--bare", "-b", "main", "app.git"]).ok();
        // The receiver always accepts push options, git only if configured.
        host.configure("receive.advertisePushOptions", "true");
        if transport == Transport::Http {
            let log = fs::File::create(host.path("server.log")).expect("a log");
            let mut server = host
                .command(program())
                .args(["serve", "--listen", "127.0.0.1:0"])
                .arg(host.dir.path())
                .stdout(Stdio::piped())
                .stderr(log)
                .spawn()
                .expect("the host starts");
            let mut line = String::new();
            let output = server.stdout.take().expect("stdout");
            BufReader::new(output).read_line(&mut line).expect("the address line");
            let address = line.trim().strip_prefix("listening on ").expect("an address").to_owned();
            host.server = Some((server, address));
        }
        host
    }

    pub(crate) fn path(&self, below: &str) -> PathBuf {
        self.dir.path().join(below)
    }

    pub(crate) fn url(&self) -> String {
        match &self.server {
            Some((_, address)) => format!("{address}app.git"),
            None => format!("file://{}", self.path("app.git").display()),
        }
    }

    /// A command without user or system configuration.
    pub(crate) fn command(&self, program: impl AsRef<std::ffi::OsStr>) -> Command {
        let mut command = Command::new(program);
        command
            .env("HOME", self.dir.path())
            .env("GIT_CONFIG_NOSYSTEM", "1")
            .env("GIT_CONFIG_GLOBAL", "/dev/null")
            .env("GIT_TERMINAL_PROMPT", "0")
            .env("NO_PROXY", "*")
            .envs([("GIT_AUTHOR_NAME", "Ada"), ("GIT_AUTHOR_EMAIL", "ada@example.org")])
            .envs([("GIT_COMMITTER_NAME", "Ada"), ("GIT_COMMITTER_EMAIL", "ada@example.org")]);
        command
    }

    /// A git command in a subdirectory of the host's; commands with a remote use the transport of the host.
    pub(crate) fn git_command(&self, below: &str, arguments: &[&str]) -> Command {
        let mut all: Vec<String> = arguments.iter().map(|argument| (*argument).to_owned()).collect();
        let verbs = ["push", "clone", "fetch", "pull", "ls-remote"];
        if let Some(at) = all.iter().position(|argument| verbs.contains(&argument.as_str()))
            && self.transport == Transport::Stdio
        {
            let service = if all[at] == "push" { "receive-pack" } else { "upload-pack" };
            all.insert(at + 1, format!("--{service}='{}' {service}", program().display()));
        }
        let mut command = self.command("git");
        command.arg("-C").arg(self.path(below)).args(all);
        command
    }

    pub(crate) fn git(&self, below: &str, arguments: &[&str]) -> CommandOutput {
        run(&mut self.git_command(below, arguments))
    }

    pub(crate) fn host_git(&self, arguments: &[&str]) -> String {
        self.git("app.git", arguments).ok().trim().to_owned()
    }

    pub(crate) fn configure(&self, key: &str, value: &str) {
        self.host_git(&["config", "--add", key, value]);
    }

    /// Creates a work tree with one commit, whose remote is the host.
    pub(crate) fn create_work_tree(&self, name: &str) {
        self.git("", &["init", "-q", "-b", "main", name]).ok();
        self.git(name, &["remote", "add", "origin", &self.url()]).ok();
        self.commit(name, "first");
    }

    pub(crate) fn commit(&self, name: &str, message: &str) -> String {
        fs::write(self.path(name).join(message), message).expect("a file");
        self.git(name, &["add", "."]).ok();
        self.git(name, &["commit", "-q", "-m", message]).ok();
        self.id(name, "HEAD")
    }

    pub(crate) fn id(&self, below: &str, name: &str) -> String {
        self.git(below, &["rev-parse", "--verify", name]).ok().trim().to_owned()
    }

    pub(crate) fn has_no(&self, name: &str) {
        self.git("app.git", &["rev-parse", "--verify", name]).fails(&[]);
    }

    pub(crate) fn hook(&self, name: &str, script: &str) {
        let path = self.path("app.git/hooks").join(name);
        fs::write(&path, format!("#!/bin/sh\n{script}\n")).expect("a hook");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).expect("set permissions");
    }

    pub(crate) fn objects(&self, below: &str) -> usize {
        self.git(below, &["cat-file", "--batch-all-objects", "--batch-check"]).ok().lines().count()
    }

    pub(crate) fn advertised_refs(&self) -> Vec<String> {
        let advertised_refs = self.git("", &["ls-remote", &self.url()]).ok();
        advertised_refs.lines().filter_map(|line| line.split('\t').nth(1)).map(str::to_owned).collect()
    }

    /// Checks that the repository is intact and that no quarantine is left behind.
    pub(crate) fn fsck(&self) {
        self.host_git(&["fsck", "--strict"]);
        let entries = fs::read_dir(self.path("app.git/objects")).expect("objects");
        let left: Vec<_> = entries
            .map(|entry| entry.expect("an entry").file_name().to_string_lossy().into_owned())
            .filter(|name| name.starts_with("tmp_"))
            .collect();
        assert!(left.is_empty(), "{left:?}");
    }
}

/// Runs a test with git's own programs and with both transports of the host.
pub(crate) fn on_every_transport(test: impl Fn(&Host)) {
    for transport in [Transport::Git, Transport::Stdio, Transport::Http] {
        let host = Host::start(transport);
        test(&host);
        host.fsck();
    }
}
