//! The Caddyfiles that ship, with the real Caddy.

mod domain;
mod lan;
mod nodes;

use std::fs;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use tempfile::TempDir;
use tests::{Repository, until};

/// The domain of the nodes behind it.
const DOMAIN: &str = "picloud.test";

/// A running Caddy, and the ports that it answers at.
struct Caddy {
    process: Child,
    folder: TempDir,
    http: u16,
    https: u16,
}

/// What `curl` got.
#[derive(Debug)]
struct Got {
    /// 0 where there was no answer at all.
    status: u16,
    version: String,
    body: String,
    said: String,
}

impl Caddy {
    /// Runs one of the Caddyfiles, with certificates of an authority of its own, until `ready` answers.
    fn start(file: &str, environment: &[(&str, &str)]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let (http, https) = (free_port(), free_port());
        let log = fs::File::create(folder.path().join("log")).unwrap();
        let options = format!("local_certs\nskip_install_trust\nhttp_port {http}\nhttps_port {https}");
        let process = Command::new("caddy")
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

    /// `curl` with TLS, every name leading here.
    fn curl(&self, name: &str, path: &str, arguments: &[&str]) -> Got {
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
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        Got { status: status.parse().unwrap_or(0), version: version.to_owned(), body: body.to_owned(), said }
    }

    /// Waits until the control plane answers.
    fn ready(&self) {
        until("the proxy answers", || {
            (self.curl(DOMAIN, "/-/health/ready", &[]).status == 200).then_some(())
        });
    }

    /// Makes git trust this Caddy, and find every name here.
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

/// Asks from several threads, again and again, while `meanwhile` does something. Every answer must be right.
fn under_load(ask: impl Fn() -> Result<(), String> + Sync, meanwhile: impl FnOnce()) -> usize {
    let (done, asked) = (AtomicBool::new(false), AtomicUsize::new(0));
    std::thread::scope(|scope| {
        let clients: Vec<_> = (0..4)
            .map(|_| {
                scope.spawn(|| {
                    while !done.load(Ordering::SeqCst) {
                        ask()?;
                        asked.fetch_add(1, Ordering::SeqCst);
                    }
                    Ok::<_, String>(())
                })
            })
            .collect();
        until("there is load", || (asked.load(Ordering::SeqCst) > 20).then_some(()));
        meanwhile();
        let before = asked.load(Ordering::SeqCst);
        until("there still is", || (asked.load(Ordering::SeqCst) > before + 20).then_some(()));
        done.store(true, Ordering::SeqCst);
        for client in clients {
            client.join().unwrap().unwrap();
        }
    });
    asked.into_inner()
}

#[test]
fn the_caddyfiles_are_valid_and_formatted() {
    let folder = tempfile::tempdir().unwrap();
    for name in ["Caddyfile", "Caddyfile.lan", "Caddyfile.nodes"] {
        let file = folder.path().join(name);
        let shipped = fs::read_to_string(shipped(name)).unwrap();
        fs::write(&file, &shipped).unwrap();
        let caddy = |arguments: &[&str]| {
            let output = Command::new("caddy")
                .args(arguments)
                .arg(&file)
                .env("HOME", folder.path())
                .env("PICLOUD_DOMAIN", DOMAIN)
                .env("PICLOUD_NODES", "127.0.0.1:8080 127.0.0.1:8081")
                .output()
                .unwrap();
            let text = [output.stdout, output.stderr].concat();
            assert!(output.status.success(), "{name}: {}", String::from_utf8_lossy(&text));
        };
        caddy(&["validate", "--adapter", "caddyfile", "--config"]);
        caddy(&["fmt", "--overwrite"]);
        assert_eq!(fs::read_to_string(&file).unwrap(), shipped, "{name}");
    }
}
