//! A separate PgBouncer in front of a PostgreSQL.

use std::net::TcpStream;
use std::process::{Child, Command, Stdio};

use tempfile::TempDir;

use crate::postgres::{free_port, is_root};
use crate::until;

/// A PgBouncer for one test, killed when dropped.
#[derive(Debug)]
pub struct PgBouncer {
    process: Child,
    port: u16,
    database: String,
    folder: TempDir,
}

impl PgBouncer {
    /// A pooler for the database at `url`, in a mode (`session`, `transaction`, `statement`), with a pool of `size` connections;
    /// otherwise with Debian's configuration.
    ///
    /// # Panics
    /// It cannot be started.
    pub fn start(url: &str, mode: &str, size: u32) -> Self {
        let (server, database) = url.rsplit_once('/').expect("a URL with a database");
        let (_, address) = server.rsplit_once('@').expect("a user");
        let (host, server_port) = address.rsplit_once(':').expect("a port");
        let folder = tempfile::tempdir().expect("a temporary folder");
        std::fs::write(folder.path().join("users"), "\"picloud\" \"\"\n").expect("a file");
        // Another process can take a free port in the meantime; then another port is tried.
        for _ in 0..5 {
            let port = free_port();
            let settings = format!(
                "[databases]\n{database} = host={host} port={server_port}\n[pgbouncer]\nlisten_addr = 127.0.0.1\n\
                 listen_port = {port}\nunix_socket_dir =\nauth_type = trust\nauth_file = {users}\n\
                 pool_mode = {mode}\ndefault_pool_size = {size}\nlogfile = {log}\n",
                users = folder.path().join("users").display(),
                log = folder.path().join("log").display(),
            );
            std::fs::write(folder.path().join("pgbouncer.ini"), settings).expect("a file");
            let mut process = spawn(&folder);
            let running = until("PgBouncer listens or exits", || {
                let ended = process.try_wait().expect("a child").is_some();
                (ended || TcpStream::connect(("127.0.0.1", port)).is_ok()).then_some(!ended)
            });
            if running {
                return Self { process, port, database: database.to_owned(), folder };
            }
        }
        panic!("PgBouncer does not start:\n{}", log(&folder));
    }

    /// The URL of the database through the pooler.
    pub fn url(&self) -> String {
        format!("postgres://picloud@127.0.0.1:{}/{}", self.port, self.database)
    }

    /// Its log.
    pub fn log(&self) -> String {
        log(&self.folder)
    }
}

impl Drop for PgBouncer {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// PgBouncer refuses to run as root.
fn spawn(folder: &TempDir) -> Child {
    let settings = folder.path().join("pgbouncer.ini");
    let mut command = if is_root() {
        let given =
            Command::new("chown").arg("-R").arg("postgres").arg(folder.path()).status().expect("chown");
        assert!(given.success());
        let mut command = Command::new("setpriv");
        command.args(["--reuid=postgres", "--regid=postgres", "--clear-groups", "pgbouncer"]);
        command
    } else {
        Command::new("pgbouncer")
    };
    let path = std::env::var("PATH").unwrap_or_default();
    command
        .arg(settings)
        .env("PATH", format!("{path}:/usr/sbin:/sbin"))
        .current_dir("/")
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("pgbouncer is installed by `make setup`")
}

fn log(folder: &TempDir) -> String {
    std::fs::read_to_string(folder.path().join("log")).unwrap_or_default()
}
