//! A separate PostgreSQL that a test stops, kills and starts.

use std::ffi::OsStr;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

use crate::clock::Clock;

/// A PostgreSQL for one test, killed when dropped.
#[derive(Debug)]
pub struct Postgres {
    folder: TempDir,
    programs: PathBuf,
    port: u16,
    settings: String,
    environment: Vec<(&'static str, String)>,
}

impl Postgres {
    /// Starts PostgreSQL on a free port of loopback.
    pub fn start() -> Self {
        Self::start_with("")
    }

    /// Starts it with more command line options, such as `-c max_connections=20`.
    ///
    /// # Panics
    /// It cannot be started.
    pub fn start_with(settings: &str) -> Self {
        Self::start_as(settings, Vec::new())
    }

    /// Starts it with a test's clock.
    pub fn start_by(clock: &Clock) -> Self {
        chown_to_postgres(clock.folder());
        Self::start_as("", clock.environment())
    }

    fn start_as(settings: &str, environment: Vec<(&'static str, String)>) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let settings = settings.to_owned();
        let mut postgres = Self { folder, programs: programs(), port: 0, settings, environment };
        postgres.chown_to_postgres(postgres.folder.path());
        postgres.run(
            "initdb",
            &["--username=picloud", "--auth=trust", "--encoding=UTF8", "--locale=C", "--no-sync"],
        );
        // Another process can take a free port in the meantime; then another port is tried.
        for _ in 0..5 {
            postgres.port = free_port();
            if postgres.try_start() {
                return postgres;
            }
        }
        panic!("PostgreSQL does not start:\n{}", postgres.log());
    }

    /// The folder of its files; the data directory is `data/` in it.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// The URL of the administrator's database.
    pub fn url(&self) -> String {
        format!("postgres://picloud@127.0.0.1:{}/postgres", self.port)
    }

    /// The port on which it listens.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Stops it and closes all connections.
    pub fn stop(&self) {
        self.run("pg_ctl", &["--mode=fast", "--wait", "stop"]);
    }

    /// Stops it as in a crash.
    pub fn kill(&self) {
        self.run("pg_ctl", &["--mode=immediate", "--wait", "stop"]);
    }

    /// Suspends all its processes: connections stay open, and nothing responds.
    ///
    /// # Panics
    /// It does not run.
    pub fn freeze(&self) -> Frozen<'_> {
        self.signal("-STOP");
        Frozen(self)
    }

    fn thaw(&self) {
        self.signal("-CONT");
    }

    /// Signals the server and all its processes, also those that start meanwhile.
    fn signal(&self, signal: &str) {
        let pid = self.folder.path().join("data/postmaster.pid");
        let pid = std::fs::read_to_string(pid).expect("PostgreSQL runs");
        let server = pid.lines().next().expect("a process").to_owned();
        let mut signaled = Vec::new();
        loop {
            let all = std::iter::once(server.clone()).chain(children(&server));
            let new: Vec<String> = all.filter(|process| !signaled.contains(process)).collect();
            if new.is_empty() {
                return;
            }
            // An exited process cannot be signaled.
            let _ = Command::new("kill").arg(signal).args(&new).stderr(std::process::Stdio::null()).status();
            signaled.extend(new);
        }
    }

    /// Starts it again on the same port.
    ///
    /// # Panics
    /// It cannot be started.
    pub fn restart(&self) {
        assert!(self.try_start(), "PostgreSQL does not start again:\n{}", self.log());
    }

    /// Copies the data directory, and starts it again.
    pub fn copy(&self) -> TempDir {
        let copy = tempfile::tempdir().expect("a temporary folder");
        self.stop();
        copy_folder(&self.folder.path().join("data"), &copy.path().join("data"));
        self.restart();
        copy
    }

    /// Restores the copied data directory, and starts it again: later commits are lost.
    pub fn restore_copy(&self, copy: &TempDir) {
        self.kill();
        let data = self.folder.path().join("data");
        std::fs::remove_dir_all(&data).expect("its files");
        copy_folder(&copy.path().join("data"), &data);
        self.restart();
    }

    /// Its log.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("log")).unwrap_or_default()
    }

    /// Makes PostgreSQL's user the owner of a file or folder, if it is another user.
    pub fn chown_to_postgres(&self, path: &Path) {
        chown_to_postgres(path);
    }

    fn try_start(&self) -> bool {
        let folder = self.folder.path().display();
        let log = format!("--log={folder}/log");
        let options = format!(
            "--options=-c listen_addresses=127.0.0.1 -c port={} -c unix_socket_directories={folder} \
             -c shared_buffers=16MB -c fsync=off {}",
            self.port, self.settings
        );
        self.command("pg_ctl", &[&log, &options, "--wait", "start"]).status().expect("pg_ctl").success()
    }

    fn run(&self, program: &str, arguments: &[&str]) {
        let output = self.command(program, arguments).output().expect("a program of PostgreSQL");
        assert!(output.status.success(), "{program}: {}", String::from_utf8_lossy(&output.stderr));
    }

    /// PostgreSQL refuses to run as root.
    fn command(&self, program: &str, arguments: &[&str]) -> Command {
        let mut command = Command::new(if is_root() { "setpriv" } else { "env" });
        if is_root() {
            command.args(["--reuid=postgres", "--regid=postgres", "--clear-groups", "env"]);
        }
        // Not in the environment of `setpriv`: files that libfaketime creates as root are closed to others.
        command.args(self.environment.iter().map(|(name, value)| format!("{name}={value}")));
        command.arg(self.programs.join(program));
        let data = self.folder.path().join("data");
        command.args([OsStr::new("--pgdata"), data.as_os_str()]).args(arguments).current_dir("/");
        command.stdout(std::process::Stdio::null());
        command
    }
}

/// A suspended server; resumes when dropped.
#[derive(Debug)]
#[must_use = "the server resumes as soon as it is dropped"]
pub struct Frozen<'p>(&'p Postgres);

impl Drop for Frozen<'_> {
    fn drop(&mut self) {
        self.0.thaw();
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        // A suspended server would not receive the stop request.
        if self.folder.path().join("data/postmaster.pid").exists() {
            self.thaw();
        }
        let _ = self.command("pg_ctl", &["--mode=immediate", "stop"]).output();
    }
}

fn chown_to_postgres(path: &Path) {
    if is_root() {
        let given = Command::new("chown").arg("-R").arg("postgres").arg(path).status().expect("chown");
        assert!(given.success());
    }
}

fn copy_folder(from: &Path, to: &Path) {
    let copied = Command::new("cp").arg("--archive").args([from, to]).status().expect("cp");
    assert!(copied.success());
}

/// The child processes of a process.
fn children(process: &str) -> Vec<String> {
    let parent = format!("PPid:\t{process}");
    let all = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    // Exited meanwhile.
    let is_child =
        |status: std::io::Result<String>| status.is_ok_and(|text| text.lines().any(|line| line == parent));
    all.filter(|entry| is_child(std::fs::read_to_string(entry.path().join("status"))))
        .filter_map(|entry| entry.file_name().into_string().ok())
        .collect()
}

pub(crate) fn is_root() -> bool {
    std::fs::metadata("/proc/self").is_ok_and(|process| process.uid() == 0)
}

/// Debian keeps the programs out of the PATH, in a folder for each version; this is the newest.
fn programs() -> PathBuf {
    let versions = std::fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let number = |path: &PathBuf| -> Option<u32> { path.file_name()?.to_str()?.parse().ok() };
    let newest = versions.map(|entry| entry.path()).filter(|path| number(path).is_some()).max_by_key(number);
    newest.map(|path| path.join("bin")).expect("PostgreSQL is installed by `make test`")
}

pub(crate) fn free_port() -> u16 {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    listener.local_addr().expect("its address").port()
}
