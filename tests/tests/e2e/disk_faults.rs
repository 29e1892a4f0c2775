//! Full and unwritable disks: an error at start or at the push, and no damage.

use std::fs::File;
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Instant;

use tests::server::picloud;
use tests::{Repository, TOKEN, until};

/// A node whose data folder is on a small file system of its own, which `prepare` fills or locks. Needs no root.
pub(crate) fn serve_in(folder: &Path, size: &str, prepare: &str) -> Command {
    let script = format!(
        "mount -t tmpfs -o size={size} tmpfs . && cd \"$PWD\" && {prepare} && \
         exec \"$0\" serve --listen 127.0.0.1:0 --data-dir data"
    );
    let mut command = Command::new("unshare");
    command.args(["--user", "--map-root-user", "--mount", "sh", "-c", &script]).arg(picloud());
    command
        .current_dir(folder)
        .env("PICLOUD_ADMIN_TOKEN", TOKEN)
        .env_remove("DATABASE_URL")
        .stdin(Stdio::null());
    command
}

#[test]
fn node_on_unwritable_disk_fails_to_start() {
    let folder = tempfile::tempdir().unwrap();
    let full = "mkdir data && { head -c 2M /dev/zero >fill || true; } 2>/dev/null";
    for (prepare, expected) in [
        (full, "data/picloud.db"),
        ("mount -o remount,ro .", "cannot create the data folder data: Read-only file system"),
        (
            "mkdir -m 700 data && mount -o remount,ro .",
            "cannot write the database data/picloud.db: Read-only file system",
        ),
        (
            "mkdir -m 755 data && mount -o remount,ro .",
            "the data folder data is accessible to other users, and its mode cannot be changed: Read-only file system",
        ),
        ("touch data", "cannot create the data folder data"),
    ] {
        let output = serve_in(folder.path(), "1m", prepare).output().unwrap();
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.code() == Some(1) && text.contains(expected), "{prepare}: {text}");
    }
}

/// A node with its data on a small disk.
pub(crate) struct Node {
    process: Child,
    pub(crate) address: String,
}

impl Node {
    pub(crate) fn start(folder: &Path, size: &str) -> Self {
        // A write beyond the file size limit is then an error instead of a signal.
        let mut command = serve_in(folder, size, "trap '' XFSZ");
        let mut process = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        let first =
            BufReader::new(process.stdout.take().unwrap()).lines().map_while(Result::ok).next().unwrap();
        let (_, address) = first.split_once("http://").unwrap();
        Self { process, address: address.trim().to_owned() }
    }

    pub(crate) fn git_url(&self) -> String {
        format!("http://ada:{TOKEN}@{}/hello.git", self.address)
    }

    /// A file next to the data folder, visible in the node's mount namespace.
    fn file(&self, name: &str) -> PathBuf {
        format!("/proc/{}/cwd/{name}", self.process.id()).into()
    }

    pub(crate) fn fill_disk(&self) {
        let mut fill = File::create(self.file("fill")).unwrap();
        let mut piece = vec![0; 1 << 16];
        while !piece.is_empty() {
            if fill.write_all(&piece).is_err() {
                piece.truncate(piece.len() / 2);
            }
        }
    }

    pub(crate) fn free_space(&self) {
        std::fs::remove_file(self.file("fill")).unwrap();
    }

    /// Limits the size of files: writes fail with another error than on a full disk.
    fn limit_files(&self, bytes: &str) {
        let pid = self.process.id().to_string();
        let limited = Command::new("prlimit").args(["--pid", &pid, &format!("--fsize={bytes}:")]).status();
        assert!(limited.unwrap().success());
    }

    /// The status and body of a response.
    pub(crate) fn request(&self, method: &str, path: &str, body: Option<&str>) -> (u16, String) {
        let agent: ureq::Agent = ureq::Agent::config_builder().http_status_as_error(false).build().into();
        let url = format!("http://{}{path}", self.address);
        let request = ureq::http::Request::builder()
            .method(method)
            .uri(url)
            .header("authorization", format!("Bearer {TOKEN}"));
        let response = match body {
            Some(body) => {
                agent.run(request.header("content-type", "application/json").body(body.to_owned()).unwrap())
            }
            None => agent.run(request.body(()).unwrap()),
        };
        let mut response = response.unwrap();
        (response.status().as_u16(), response.body_mut().read_to_string().unwrap())
    }

    fn set_secret(&self, name: &str) -> (u16, String) {
        let path = format!("/-/api/v1/apps/hello/secrets/{name}");
        self.request("PUT", &path, Some(r#"{"value":"tangerine"}"#))
    }

    fn create_token(&self, name: &str) -> (u16, String) {
        let token = format!(r#"{{"name":"{name}","scopes":["hello:read"]}}"#);
        self.request("POST", "/-/api/v1/tokens", Some(&token))
    }

    /// How many runs of the schedule and calls of the route are recorded.
    fn recorded(&self) -> [usize; 2] {
        let count = |trigger: &str| {
            let path = format!("/-/api/v1/apps/hello/executions?limit=1000&trigger={trigger}");
            let (status, body) = self.request("GET", &path, None);
            assert_eq!(status, 200, "{body}");
            body.matches("\"trigger\"").count()
        };
        [count("scheduled"), count("http")]
    }

    /// Everything that writes recovers without intervention.
    fn recovers(&self, name: &str, fault: Option<&str>) {
        let (before, since) = (self.recorded(), Instant::now());
        until("executions and runs are recorded again", || {
            assert_eq!(self.request("GET", "/hello/", None).0, 200);
            let after = self.recorded();
            (after[0] > before[0] && after[1] > before[1]).then_some(())
        });
        until("the database is healthy", || {
            (self.request("GET", "/-/health/database", None).0 == 200).then_some(())
        });
        assert_eq!(self.set_secret(name).0, 200);
        assert_eq!(self.create_token(&name.to_lowercase()).0, 201);
        if let Some(fault) = fault {
            tests::faults::recovered(fault, since);
        }
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// An app with a route, and a schedule that is due every second.
fn ticking() -> Repository {
    let repository = Repository::new();
    let manifest = "sdk = \"1.2\"\n\n[[routes]]\npath = \"/\"\nscript = \"a.rhai\"\n\n\
                    [[schedules]]\nname = \"tick\"\ncron = \"* * * * * *\"\nscript = \"a.rhai\"\n";
    repository.write("picloud.toml", manifest);
    repository.write("a.rhai", "1");
    repository.commit("ticking");
    repository
}

#[test]
fn writes_recover_after_disk_was_full() {
    let folder = tempfile::tempdir().unwrap();
    let node = Node::start(folder.path(), "16m");
    let repository = ticking();
    repository.push(&node.git_url(), &["main"]).succeeded();
    node.recovers("BEFORE", None);
    node.fill_disk();
    let full =
        until("the disk is full", || Some(node.set_secret("DURING")).filter(|response| response.0 != 200));
    assert!(
        full.0 == 507 && full.1.contains("the disk of the database is full; nothing was changed"),
        "{full:?}"
    );
    let full = node.create_token("during");
    assert!(full.0 == 507 && full.1.contains("the disk of the database is full"), "{full:?}");
    let full = until("the health check reports it", || {
        Some(node.request("GET", "/-/health/database", None)).filter(|response| response.0 != 200)
    });
    assert!(full.0 == 503 && full.1.contains("the disk of the database is full"), "{full:?}");
    repository.commit("again");
    repository.push(&node.git_url(), &["main"]).refused().says("the disk of the server is full");
    assert_eq!(node.request("GET", "/hello/", None).0, 200);
    node.free_space();
    node.recovers("AFTER", Some("a full disk: executions, schedules, secrets, tokens and health"));
    repository.push(&node.git_url(), &["main"]).succeeded().says("LIVE as deploy 2");
}

#[test]
fn writes_recover_after_disk_failed() {
    let folder = tempfile::tempdir().unwrap();
    let node = Node::start(folder.path(), "16m");
    ticking().push(&node.git_url(), &["main"]).succeeded();
    node.recovers("BEFORE", None);
    node.limit_files("4096");
    let failed =
        until("the disk fails", || Some(node.set_secret("DURING")).filter(|response| response.0 != 200));
    assert!(failed.0 == 503 && failed.1.contains("the disk of the database failed"), "{failed:?}");
    let failed = until("the health check reports it", || {
        Some(node.request("GET", "/-/health/database", None)).filter(|response| response.0 != 200)
    });
    assert!(failed.0 == 503 && failed.1.contains("the disk of the database failed"), "{failed:?}");
    node.limit_files("unlimited");
    node.recovers("AFTER", Some("a failing disk: executions, schedules, secrets, tokens and health"));
}

#[test]
fn push_on_full_disk_is_rejected_and_next_one_accepted() {
    let folder = tempfile::tempdir().unwrap();
    let node = Node::start(folder.path(), "6m");
    let url = node.git_url();
    let repository = Repository::hello();
    let before = repository.push(&url, &["main"]);
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let large: Vec<u8> = std::iter::repeat_with(|| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state as u8
    })
    .take(7_000_000)
    .collect();
    repository.write("large.bin", large);
    repository.commit("large");
    let refused = repository.push(&url, &["main"]);
    repository.git(&["reset", "-q", "--hard", "HEAD~1"]);
    repository.write("more.md", "more");
    repository.commit("small");
    let after = repository.push(&url, &["main"]);
    before.succeeded();
    refused.refused().says("the disk of the server is full");
    after.succeeded().says("LIVE as deploy 2");
}
