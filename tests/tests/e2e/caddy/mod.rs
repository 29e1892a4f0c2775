//! The shipped Caddyfiles with real Caddy: Debian's version and the newest one.

mod domain;
mod lan;
mod nodes;

use std::fs;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use tempfile::TempDir;
use tests::{Repository, SetOnDrop, until};

/// A supported Caddy release.
#[derive(Clone, Copy, Debug)]
enum Release {
    /// Debian's package.
    Debian,
    /// The newest release.
    Newest,
}

impl Release {
    const ALL: [Self; 2] = [Self::Debian, Self::Newest];

    fn command(self) -> Command {
        match self {
            Self::Debian => Command::new("/usr/bin/caddy"),
            Self::Newest => {
                Command::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../target/caddy-venv/bin/caddy"))
            }
        }
    }
}

/// Declares a test of each function for each release.
macro_rules! with_each_release {
    ($($test:ident),+ $(,)?) => {
        mod debian {
            $(#[test] fn $test() { super::$test(crate::caddy::Release::Debian); })+
        }
        mod newest {
            $(#[test] fn $test() { super::$test(crate::caddy::Release::Newest); })+
        }
    };
}
use with_each_release;

/// The domain of the nodes behind Caddy.
const DOMAIN: &str = "picloud.test";

/// A running Caddy and its ports.
struct Caddy {
    process: Child,
    folder: TempDir,
    http: u16,
    https: u16,
}

/// The output of `curl`.
#[derive(Debug)]
struct CurlOutput {
    /// 0 if there was no response.
    status: u16,
    version: String,
    body: String,
    output: String,
}

impl Caddy {
    /// Runs one of the Caddyfiles with a local certificate authority.
    fn start(release: Release, file: &str, environment: &[(&str, &str)]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let (http, https) = (free_port(), free_port());
        let log = fs::File::create(folder.path().join("log")).unwrap();
        let options = format!("local_certs\nskip_install_trust\nhttp_port {http}\nhttps_port {https}");
        let process = release
            .command()
            .args(["run", "--adapter", "caddyfile", "--config"])
            .arg(shipped(file))
            .env("HOME", folder.path())
            .env("XDG_DATA_HOME", folder.path())
            .env("XDG_CONFIG_HOME", folder.path())
            .env("PICLOUD_DOMAIN", DOMAIN)
            .env("PICLOUD_CADDY_ADMIN", "off")
            .env("PICLOUD_CADDY_OPTIONS", options)
            .envs(environment.iter().copied())
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .expect("caddy is installed");
        Self { process, folder, http, https }
    }

    fn authority(&self) -> PathBuf {
        self.folder.path().join("caddy/pki/authorities/local/root.crt")
    }

    /// Runs `curl` with TLS; every name resolves to this machine.
    fn curl(&self, name: &str, path: &str, arguments: &[&str]) -> CurlOutput {
        let output = Command::new("curl")
            .args(["--silent", "--show-error", "--max-time", "60", "--connect-to"])
            .arg(format!("::127.0.0.1:{}", self.https))
            .arg("--cacert")
            .arg(self.authority())
            .args(["--write-out", "\n%{http_code} %{http_version}"])
            .args(arguments)
            .arg(format!("https://{name}:{}{path}", self.https))
            .output()
            .expect("curl is installed");
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let (body, end) = text.rsplit_once('\n').unwrap_or_default();
        let (status, version) = end.split_once(' ').unwrap_or_default();
        let output = String::from_utf8_lossy(&output.stderr).into_owned();
        CurlOutput {
            status: status.parse().unwrap_or(0),
            version: version.to_owned(),
            body: body.to_owned(),
            output,
        }
    }

    /// Waits until the control plane responds.
    fn ready(&self) {
        until("the proxy responds", || {
            (self.curl(DOMAIN, "/-/health/ready", &[]).status == 200).then_some(())
        });
    }

    /// Configures git to trust this Caddy and to resolve every name to it.
    fn for_git(&self, repository: &Repository) {
        repository.git(&["config", "http.sslCAInfo", self.authority().to_str().unwrap()]);
        let resolve = format!("{DOMAIN}:{}:127.0.0.1", self.https);
        repository.git(&["config", "http.curloptResolve", &resolve]);
    }

    fn git_url(&self, app: &str) -> String {
        format!("https://ada:{}@{DOMAIN}:{}/{app}.git", tests::TOKEN, self.https)
    }

    fn log(&self) -> String {
        fs::read_to_string(self.folder.path().join("log")).unwrap_or_default()
    }
}

impl Drop for Caddy {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
        if std::thread::panicking() {
            eprintln!("--- log of the proxy\n{}", self.log());
        }
    }
}

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

fn shipped(file: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../caddy").join(file)
}

/// Sends requests from several threads while `meanwhile` runs. Every request must succeed.
fn send_requests_during(send: impl Fn() -> Result<(), String> + Sync, meanwhile: impl FnOnce()) -> usize {
    let (done, requests) = (AtomicBool::new(false), AtomicUsize::new(0));
    std::thread::scope(|scope| {
        let clients: Vec<_> = (0..4)
            .map(|_| {
                scope.spawn(|| {
                    while !done.load(Ordering::SeqCst) {
                        send()?;
                        requests.fetch_add(1, Ordering::SeqCst);
                    }
                    Ok::<_, String>(())
                })
            })
            .collect();
        // Also when this panics: the scope waits for the clients.
        let stop = SetOnDrop(&done);
        until("there is load", || (requests.load(Ordering::SeqCst) > 20).then_some(()));
        meanwhile();
        let before = requests.load(Ordering::SeqCst);
        until("there is still load", || (requests.load(Ordering::SeqCst) > before + 20).then_some(()));
        drop(stop);
        for client in clients {
            client.join().unwrap().unwrap();
        }
    });
    requests.into_inner()
}

const FILES: [&str; 3] = ["Caddyfile", "Caddyfile.lan", "Caddyfile.nodes"];

/// Runs Caddy with these arguments and returns its output.
fn caddy(release: Release, folder: &Path, arguments: &[&str], file: &Path) -> String {
    let output = release
        .command()
        .args(arguments)
        .arg(file)
        .env("HOME", folder)
        .env("PICLOUD_DOMAIN", DOMAIN)
        .env("PICLOUD_NODES", "127.0.0.1:8080 127.0.0.1:8081")
        .output()
        .expect("caddy is installed");
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{release:?} {arguments:?} {}: {text}", file.display());
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn caddyfiles_are_valid_and_formatted() {
    let folder = tempfile::tempdir().unwrap();
    for (release, name) in Release::ALL.into_iter().flat_map(|release| FILES.map(|name| (release, name))) {
        let file = folder.path().join(name);
        let shipped = fs::read_to_string(shipped(name)).unwrap();
        fs::write(&file, &shipped).unwrap();
        caddy(release, folder.path(), &["validate", "--adapter", "caddyfile", "--config"], &file);
        caddy(release, folder.path(), &["fmt", "--overwrite"], &file);
        assert_eq!(fs::read_to_string(&file).unwrap(), shipped, "{release:?} {name}");
    }
}

#[test]
fn caddyfiles_set_timeouts_and_limits_on_every_server() {
    let folder = tempfile::tempdir().unwrap();
    for (release, name) in Release::ALL.into_iter().flat_map(|release| FILES.map(|name| (release, name))) {
        let adapt = ["adapt", "--adapter", "caddyfile", "--config"];
        let adapted = caddy(release, folder.path(), &adapt, &shipped(name));
        let adapted: serde_json::Value = serde_json::from_str(&adapted).unwrap();
        let servers = adapted["apps"]["http"]["servers"].as_object().unwrap();
        assert!(!servers.is_empty());
        for (server, settings) in servers {
            for bound in ["read_header_timeout", "read_timeout", "idle_timeout", "max_header_bytes"] {
                assert!(settings[bound].is_number(), "{release:?} {name} {server}: {bound}");
            }
        }
    }
}
