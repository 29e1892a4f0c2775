//! systemd: the shipped units, and the notifications between node and service manager.

use std::fs;
use std::net::TcpListener;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tempfile::TempDir;
use tests::server::picloud;
use tests::{SetOnDrop, TOKEN};

const UNITS: [&str; 4] =
    ["picloud.service", "picloud.socket", "picloud-backup.service", "picloud-backup.timer"];

fn shipped(unit: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../systemd").join(unit)
}

fn analyze(arguments: &[&str], units: &[PathBuf]) {
    let output =
        Command::new("systemd-analyze").args(arguments).args(units).output().expect("systemd is installed");
    let text = [output.stdout, output.stderr].concat();
    let text = String::from_utf8_lossy(&text);
    assert!(output.status.success(), "{text}");
    assert!(arguments[0] != "verify" || text.trim().is_empty(), "{text}");
}

#[test]
fn systemd_units_are_valid() {
    let folder = tempfile::tempdir().unwrap();
    let units: Vec<PathBuf> = UNITS
        .iter()
        .map(|unit| {
            let text = fs::read_to_string(shipped(unit)).unwrap();
            let here = folder.path().join(unit);
            fs::write(&here, text.replace("/usr/bin/picloud", picloud().to_str().unwrap())).unwrap();
            here
        })
        .collect();
    analyze(&["verify", "--man=no"], &units);
}

/// 15 means 1.5 of 10.
#[test]
fn systemd_services_are_hardened() {
    let services: Vec<PathBuf> =
        UNITS.iter().filter(|unit| unit.ends_with(".service")).map(|unit| shipped(unit)).collect();
    analyze(&["security", "--offline=true", "--threshold=15", "--no-pager"], &services);
}

/// A node under a service manager, which is this test.
struct Service {
    socket: TcpListener,
    manager: UnixDatagram,
    folder: TempDir,
}

impl Service {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let manager = UnixDatagram::bind(folder.path().join("notify")).unwrap();
        manager.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
        Self { socket: TcpListener::bind("127.0.0.1:0").unwrap(), manager, folder }
    }

    /// Starts the node with the socket as the first passed file descriptor (sd_listen_fds(3)).
    fn start(&self) -> Child {
        self.start_watched("0")
    }

    /// The same with a watchdog timeout in microseconds. The test has to read the notifications: the node waits.
    fn start_watched(&self, microseconds: &str) -> Child {
        let socket: OwnedFd = self.socket.try_clone().unwrap().into();
        let log = fs::File::options().create(true).append(true).open(self.folder.path().join("log")).unwrap();
        let hand_over = "LISTEN_PID=$$ LISTEN_FDS=1 exec \"$0\" serve 3<&0 </dev/null";
        Command::new("sh")
            .args(["-c", hand_over])
            .arg(picloud())
            .env("PICLOUD_DATA_DIR", self.folder.path().join("data"))
            .env("PICLOUD_ADMIN_TOKEN", TOKEN)
            .env("NOTIFY_SOCKET", self.folder.path().join("notify"))
            .env("WATCHDOG_USEC", microseconds)
            .env_remove("WATCHDOG_PID")
            .env_remove("DATABASE_URL")
            .stdin(socket)
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .unwrap()
    }

    /// Waits for a notification with this prefix.
    fn receives(&self, expected: &str) -> String {
        let mut message = [0; 4096];
        loop {
            let length = self.manager.recv(&mut message).unwrap_or_else(|error| {
                let log = fs::read_to_string(self.folder.path().join("log")).unwrap_or_default();
                panic!("{expected}: {error}\n{log}")
            });
            let output = String::from_utf8_lossy(&message[..length]).into_owned();
            if output.starts_with(expected) {
                return output;
            }
        }
    }

    fn url(&self) -> String {
        format!("http://{}/-/health/live", self.socket.local_addr().unwrap())
    }
}

fn signal(node: &Child, signal: &str) {
    assert!(Command::new("kill").args([signal, &node.id().to_string()]).status().unwrap().success());
}

#[test]
fn node_notifies_ready_watchdog_and_stopping() {
    let service = Service::new();
    let mut node = service.start_watched("200000");
    assert!(service.receives("READY=1").contains("STATUS=listening on 127.0.0.1:"));
    assert_eq!(ureq::get(service.url()).call().unwrap().status(), 200);
    for _ in 0..3 {
        service.receives("WATCHDOG=1");
    }
    signal(&node, "-TERM");
    service.receives("STOPPING=1");
    assert!(node.wait().unwrap().success());
}

#[test]
fn hanging_node_sends_no_watchdog_notification() {
    let service = Service::new();
    let mut node = service.start_watched("200000");
    service.receives("WATCHDOG=1");
    signal(&node, "-STOP");
    service.manager.set_nonblocking(true).unwrap();
    let mut message = [0; 4096];
    while service.manager.recv(&mut message).is_ok() {}
    // Twice the watchdog timeout, to see that no notification comes.
    std::thread::sleep(Duration::from_millis(500));
    assert!(service.manager.recv(&mut message).is_err());
    signal(&node, "-KILL");
    let _ = node.wait();
}

#[test]
fn restart_with_socket_activation_drops_no_connection() {
    let service = Service::new();
    let done = AtomicBool::new(false);
    let mut node = service.start();
    service.receives("READY=1");
    let requests = std::thread::scope(|scope| {
        let config = ureq::Agent::config_builder().timeout_global(Some(Duration::from_secs(20))).build();
        let agent: ureq::Agent = config.into();
        let (service, done) = (&service, &done);
        let ask = move |connection: &'static str| {
            let mut requests = 0;
            while !done.load(Ordering::SeqCst) {
                let response = agent.get(service.url()).header("connection", connection).call();
                assert_eq!(response.unwrap().status(), 200);
                requests += 1;
            }
            requests
        };
        // A connection waits in the socket while the node is down, and is kept alive until a response closes it.
        let each = ["close", "close", "keep-alive", "keep-alive"].into_iter();
        let clients: Vec<_> = each
            .map(|each| {
                scope.spawn({
                    let ask = ask.clone();
                    move || ask(each)
                })
            })
            .collect();
        let stop = SetOnDrop(done);
        for _ in 0..3 {
            signal(&node, "-TERM");
            assert!(node.wait().unwrap().success());
            node = service.start();
            service.receives("READY=1");
        }
        drop(stop);
        clients.into_iter().map(|client| client.join().unwrap()).sum::<usize>()
    });
    assert!(requests > 12, "{requests}");
    signal(&node, "-KILL");
    let _ = node.wait();
}

#[test]
fn unsupported_socket_type_is_rejected() {
    let folder = tempfile::tempdir().unwrap();
    let socket: OwnedFd = UnixDatagram::unbound().unwrap().into();
    let hand_over = "LISTEN_PID=$$ LISTEN_FDS=1 exec \"$0\" serve 3<&0 </dev/null";
    let mut command = Command::new("sh");
    command.args(["-c", hand_over]).arg(picloud()).env("PICLOUD_DATA_DIR", folder.path());
    let output = command.env_remove("DATABASE_URL").stdin(socket).output().unwrap();
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.code() == Some(1) && text.contains("is not a listening TCP socket"), "{text}");
}

#[test]
fn backup_folder_keeps_the_newest() {
    let server = tests::Server::start(tests::Database::sqlite());
    tests::Repository::hello().push(&server.git_url("hello"), &["main"]).succeeded();
    let folder = tempfile::tempdir().unwrap();
    let backups = folder.path().join("backups");
    fs::create_dir(&backups).unwrap();
    for old in
        ["picloud-20200101T000000Z.picloud", "picloud-20210101T000000Z.picloud", "picloud-mine.picloud"]
    {
        fs::write(backups.join(old), "").unwrap();
    }
    let output = server.command(&["backup", "--keep", "2", backups.to_str().unwrap()]).output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(
        output.status.success() && text.contains("1 app,") && text.contains("removed 1 older backup"),
        "{text}"
    );
    let mut names: Vec<_> = fs::read_dir(&backups)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    assert_eq!(names.len(), 3, "{names:?}");
    assert!(!names.contains(&"picloud-20200101T000000Z.picloud".to_owned()), "{names:?}");
    assert!(names.contains(&"picloud-mine.picloud".to_owned()));
    // The next ones may come within the same second.
    let newest = names[1].clone();
    let again = server.command(&["backup", "--keep", "1", backups.to_str().unwrap()]).output().unwrap();
    assert!(String::from_utf8_lossy(&again.stdout).contains("removed 2 older backups"), "{again:?}");
    assert!(!backups.join(newest).exists());
    for _ in 0..3 {
        let output = server.command(&["backup", "--keep", "9", backups.to_str().unwrap()]).output().unwrap();
        assert!(output.status.success(), "{output:?}");
    }
    assert_eq!(fs::read_dir(&backups).unwrap().count(), 5);
}
