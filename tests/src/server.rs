//! Starts, kills and restarts nodes, and sends HTTP requests to them.

use std::fs::File;
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use tempfile::TempDir;

use crate::clock::Clock;
use crate::{Database, TOKEN, until};

/// An address without a DNS server, where queries fail at once.
const NO_DNS: &str = "127.0.0.1:9";

/// Any free port.
const ANY_PORT: &str = "127.0.0.1:0";

/// A running node.
#[derive(Debug)]
pub struct Server {
    process: Child,
    /// Its address: `127.0.0.1:port`.
    pub address: String,
    /// Its database.
    pub database: Database,
    data: TempDir,
    log: PathBuf,
    flags: Vec<String>,
    files: Option<String>,
    environment: Vec<(String, String)>,
}

/// An HTTP response.
#[derive(Clone, Debug)]
pub struct Response {
    /// The status.
    pub status: u16,
    /// The headers, names in lower case.
    pub headers: Vec<(String, String)>,
    /// The body as text.
    pub body: String,
}

impl Response {
    /// The value of a header.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(found, _)| found == name).map(|(_, value)| value.as_str())
    }

    /// The body as JSON.
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.body).unwrap_or_else(|_| panic!("not JSON: {}", self.body))
    }
}

impl Server {
    /// A node on `database`, ready.
    pub fn start(database: Database) -> Self {
        Self::start_with(database, &[])
    }

    /// A node with more flags.
    pub fn start_with(database: Database, flags: &[&str]) -> Self {
        Self::start_under(database, flags, None)
    }

    /// A node with more flags, and with limits of open files set by `ulimit`, such as `-Sn 64`.
    pub fn start_under(database: Database, flags: &[&str], files: Option<&str>) -> Self {
        Self::start_as(database, flags, files, &[])
    }

    /// A node with more environment variables.
    pub fn start_in(database: Database, environment: &[(&str, &str)]) -> Self {
        Self::start_as(database, &[], None, environment)
    }

    /// A node with more flags that uses a test's clock.
    pub fn start_by(clock: &Clock, database: Database, flags: &[&str]) -> Self {
        let environment = clock.environment();
        let environment: Vec<_> = environment.iter().map(|(name, value)| (*name, value.as_str())).collect();
        Self::start_as(database, flags, None, &environment)
    }

    fn start_as(
        database: Database,
        flags: &[&str],
        files: Option<&str>,
        environment: &[(&str, &str)],
    ) -> Self {
        let data = tempfile::tempdir().expect("a temporary folder");
        let flags: Vec<String> = flags.iter().map(|flag| (*flag).to_owned()).collect();
        let environment: Vec<(String, String)> =
            environment.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        let log = data.path().with_extension("log");
        let (process, address) = spawn(ANY_PORT, &database, data.path(), &log, &flags, files, &environment);
        Self { process, address, database, data, log, flags, files: files.map(str::to_owned), environment }
    }

    /// Kills the process, as in a crash.
    pub fn kill(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }

    /// The same during requests. [`Server::kill`] waits for its exit.
    pub fn send_kill(&self) {
        self.signal("-KILL");
    }

    /// Sends SIGTERM, and waits until the process has exited.
    pub fn stop(&mut self) {
        self.terminate();
        until("the server exits", || self.has_stopped().then_some(()));
    }

    /// Sends SIGTERM.
    pub fn terminate(&self) {
        self.signal("-TERM");
    }

    /// Suspends the process, like one that is starved or debugged.
    pub fn freeze(&self) {
        self.signal("-STOP");
    }

    /// Resumes a suspended process.
    pub fn thaw(&self) {
        self.signal("-CONT");
    }

    fn signal(&self, signal: &str) {
        let pid = self.process.id().to_string();
        let status = Command::new("kill").args([signal, &pid]).status().expect("kill");
        assert!(status.success());
    }

    /// Whether the process has exited.
    pub fn has_stopped(&mut self) -> bool {
        self.process.try_wait().expect("a child").is_some()
    }

    /// The resident memory of the process in bytes.
    pub fn memory(&self) -> u64 {
        memory_of(self.process.id(), "VmRSS:")
    }

    /// The peak resident memory of the process in bytes.
    pub fn peak_memory(&self) -> u64 {
        peak_memory(self.process.id())
    }

    /// A value from the metrics page, such as that of `picloud_apps`; 0 if it is missing.
    pub fn metric(&self, series: &str) -> f64 {
        let bearer = format!("Bearer {TOKEN}");
        let page = self.request("GET", "/-/metrics", &[("authorization", bearer.as_str())], None);
        assert_eq!(page.status, 200, "{page:?}");
        let mut lines = page.body.lines();
        let value = lines.find_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
        value.map_or(0.0, |value| value.parse().expect("a number"))
    }

    /// Starts the node again after [`Server::kill`] or [`Server::stop`]. With a database outside the data folder, the folder is emptied
    /// first: a node must not need it.
    pub fn restart(&mut self) {
        self.restart_at(ANY_PORT);
    }

    /// The same with other flags.
    pub fn restart_with(&mut self, flags: &[&str]) {
        self.flags = flags.iter().map(|flag| (*flag).to_owned()).collect();
        self.restart();
    }

    /// The same at an address, for clients that keep it.
    pub fn restart_at(&mut self, listen: &str) {
        if self.database.is_external() {
            self.data = tempfile::tempdir().expect("a temporary folder");
        }
        (self.process, self.address) = spawn(
            listen,
            &self.database,
            self.data.path(),
            &self.log,
            &self.flags,
            self.files.as_deref(),
            &self.environment,
        );
    }

    /// Starts the node again at the same address with the same data folder, like an upgraded service.
    pub fn restart_in_place(&mut self) {
        (self.process, self.address) = spawn(
            &self.address,
            &self.database,
            self.data.path(),
            &self.log,
            &self.flags,
            self.files.as_deref(),
            &self.environment,
        );
    }

    /// The process id.
    pub fn pid(&self) -> u32 {
        self.process.id()
    }

    /// Another process of the program, for a command on the same database.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(picloud());
        command.args(arguments).arg("--data-dir").arg(self.data_dir()).env_remove("DATABASE_URL");
        if let Some(url) = self.database.url() {
            command.env("DATABASE_URL", url);
        }
        command
    }

    /// Runs another process that would be this node, which fails; its exit code and output.
    pub fn fails_to_start(&self, flags: &[&str]) -> (Option<i32>, String) {
        let output =
            self.command(&[&["serve", "--listen", ANY_PORT], flags].concat()).output().expect("picloud");
        let text = [output.stdout, output.stderr].concat();
        (output.status.code(), String::from_utf8_lossy(&text).into_owned())
    }

    /// Changes the tables directly.
    pub fn execute_sql(&self, statements: &[&str]) -> String {
        match self.database.url() {
            Some(_) => statements.iter().map(|sql| self.database.query(sql)).collect(),
            None => crate::sqlite::run(&self.data_dir().join("picloud.db"), statements),
        }
    }

    /// The data folder of the node.
    pub fn data_dir(&self) -> &Path {
        self.data.path()
    }

    /// The log of the node so far.
    pub fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// The URL of an app's repository, with the admin token.
    pub fn git_url(&self, app: &str) -> String {
        format!("http://ada:{TOKEN}@{}/{app}.git", self.address)
    }

    /// GET.
    pub fn get(&self, path: &str) -> Response {
        self.request("GET", path, &[], None)
    }

    /// Any request.
    pub fn request(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: Option<&[u8]>,
    ) -> Response {
        let response = self.try_request(method, path, headers, body);
        response.unwrap_or_else(|error| panic!("{method} {path}: {error}\n{}", self.log()))
    }

    /// Any request, to a node that can be killed meanwhile.
    ///
    /// # Errors
    /// There is no complete response.
    pub fn try_request(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: Option<&[u8]>,
    ) -> Result<Response, ureq::Error> {
        let agent: ureq::Agent = ureq::Agent::config_builder()
            .http_status_as_error(false)
            .timeout_global(Some(Duration::from_secs(60)))
            .max_redirects(0)
            .allow_non_standard_methods(true)
            .build()
            .into();
        let mut request =
            ureq::http::Request::builder().method(method).uri(format!("http://{}{path}", self.address));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        // The API takes JSON.
        let has_content_type = headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("content-type"));
        if path.starts_with("/-/api/") && body.is_some() && !has_content_type {
            request = request.header("content-type", "application/json");
        }
        let response = match body {
            Some(body) => agent.run(request.body(body).expect("a request")),
            None => agent.run(request.body(()).expect("a request")),
        };
        let mut response = response?;
        let headers = response
            .headers()
            .iter()
            .map(|(name, value)| (name.to_string(), String::from_utf8_lossy(value.as_bytes()).into_owned()))
            .collect();
        let status = response.status().as_u16();
        Ok(Response { status, headers, body: response.body_mut().read_to_string()? })
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.kill();
        if std::thread::panicking() {
            let log = self.log();
            // Lines of scripts are left out, since they can flood the log.
            let lines: Vec<&str> =
                log.lines().rev().filter(|line| !line.contains(" script: ")).take(500).collect();
            eprintln!("--- end of the node's log");
            lines.iter().rev().for_each(|line| eprintln!("{line}"));
        }
        let _ = std::fs::remove_file(&self.log);
    }
}

/// The peak resident memory of a process in bytes.
pub fn peak_memory(pid: u32) -> u64 {
    memory_of(pid, "VmHWM:")
}

/// A value of `/proc/PID/status` (proc(5)), in bytes.
fn memory_of(pid: u32, name: &str) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).expect("a process");
    let line = status.lines().find_map(|line| line.strip_prefix(name)).expect("its memory");
    line.trim().trim_end_matches(" kB").parse::<u64>().expect("a number") * 1024
}

/// The binary that was built with these tests, or the one in `PICLOUD_BINARY`.
pub fn picloud() -> PathBuf {
    if let Some(binary) = std::env::var_os("PICLOUD_BINARY") {
        return binary.into();
    }
    let tests = std::env::current_exe().expect("a path");
    let folder = tests.parent().and_then(Path::parent).expect("target/<profile>/deps/<test>");
    let binary = folder.join("picloud");
    assert!(binary.exists(), "{} is not built; run `cargo build` first, or `make test`", binary.display());
    binary
}

fn spawn(
    listen: &str,
    database: &Database,
    data: &Path,
    log: &Path,
    flags: &[String],
    files: Option<&str>,
    environment: &[(String, String)],
) -> (Child, String) {
    let log_file = File::options().create(true).append(true).open(log).expect("a log file");
    let mut command = match files {
        None => Command::new(picloud()),
        Some(files) => {
            let mut shell = Command::new("sh");
            shell.args(["-c", &format!("ulimit {files} && exec \"$0\" \"$@\"")]).arg(picloud());
            shell
        }
    };
    command
        .args(["serve", "--listen", listen, "--data-dir"])
        .arg(data)
        .args(flags)
        .env_remove("DATABASE_URL")
        .env("PICLOUD_ADMIN_TOKEN", TOKEN)
        // No DNS queries leave the machine.
        .env("PICLOUD_DNS_SERVER", NO_DNS)
        .envs(environment.iter().map(|(name, value)| (name, value)))
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(log_file);
    if let Some(url) = database.url() {
        command.env("DATABASE_URL", url);
    }
    let mut process = command.spawn().expect("the server starts");
    let stdout = process.stdout.take().expect("a pipe");
    let first =
        BufReader::new(stdout).lines().map_while(Result::ok).find(|line| line.contains("listening on"));
    let Some(first) = first else {
        let _ = process.wait();
        panic!("the server did not start:\n{}", std::fs::read_to_string(log).unwrap_or_default());
    };
    let (_, address) = first.split_once("http://").expect("an address");
    (process, address.trim().to_owned())
}
