//! PostgreSQL in production setups.
//!
//! - `unresponsive`: a server that does not respond
//! - `lock_contention`: locks of other sessions, conflicting transactions
//! - `pgbouncer`: a connection pooler in front of it

pub(crate) mod lock_contention;
mod pgbouncer;
mod unresponsive;

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Command;

use tests::server::picloud;
use tests::{Database, Postgres, Repository, Server, until};

fn openssl(folder: &Path, arguments: &[&str]) {
    let output = Command::new("openssl").args(arguments).current_dir(folder).output().expect("openssl");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

/// A certificate authority, as `NAME.crt` and `NAME.key`.
fn make_authority(folder: &Path, name: &str) {
    let (key, certificate) = (format!("{name}.key"), format!("{name}.crt"));
    let curve = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"];
    let made = ["req", "-x509", "-nodes", "-days", "2", "-keyout", &key, "-out", &certificate];
    openssl(folder, &[&made[..], &curve, &["-subj", &format!("/CN={name}")]].concat());
}

/// A certificate for localhost, signed by the authority `ca`.
fn make_certificate(folder: &Path) {
    let request = ["req", "-nodes", "-keyout", "server.key", "-out", "server.csr", "-subj", "/CN=localhost"];
    openssl(folder, &[&request[..], &["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"]].concat());
    fs::write(folder.join("names"), "subjectAltName=DNS:localhost\n").unwrap();
    let sign = ["x509", "-req", "-in", "server.csr", "-CA", "ca.crt", "-CAkey", "ca.key", "-CAcreateserial"];
    openssl(folder, &[&sign[..], &["-days", "2", "-extfile", "names", "-out", "server.crt"]].concat());
}

fn fails_to_start(url: &str) -> String {
    let folder = tempfile::tempdir().unwrap();
    let output = Command::new(picloud())
        .args(["serve", "--listen", "127.0.0.1:0", "--data-dir"])
        .arg(folder.path())
        .env("DATABASE_URL", url)
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(1));
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn server_certificate_is_verified() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    make_authority(folder, "ca");
    make_authority(folder, "other");
    make_certificate(folder);
    let postgres = Postgres::start();
    for file in ["server.crt", "server.key"] {
        let place = postgres.folder().join("data").join(file);
        fs::copy(folder.join(file), &place).unwrap();
        fs::set_permissions(&place, fs::Permissions::from_mode(0o600)).unwrap();
        postgres.chown_to_postgres(&place);
    }
    let database = Database::on(postgres.url());
    database.query("ALTER SYSTEM SET ssl = on");
    database.query("SELECT pg_reload_conf()");
    let plain = database.url().unwrap();
    until("PostgreSQL accepts TLS", || {
        (database.query("SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()") == "t").then_some(())
    });
    let by_name = plain.replace("127.0.0.1", "localhost");
    let ca = folder.join("ca.crt");
    let verified = format!("{by_name}?sslmode=verify-full&sslrootcert={}", ca.display());
    for url in [format!("{by_name}?sslmode=require"), verified] {
        let server = Server::start(Database::at(&url));
        let ours = "FROM pg_stat_ssl JOIN pg_stat_activity USING (pid) WHERE application_name = 'picloud'";
        let encrypted = server.database.query(&format!("SELECT count(*) > 0 AND bool_and(ssl) {ours}"));
        assert_eq!(encrypted, "t", "{url}");
        Repository::hello().push(&server.git_url("hello"), &["-f", "main"]).succeeded();
        assert_eq!(server.get("/hello/greet/Ann").status, 200);
    }
    let other = folder.join("other.crt");
    let wrong = format!("{by_name}?sslmode=verify-full&sslrootcert={}", other.display());
    // The certificate names only localhost.
    let elsewhere = format!("{plain}?sslmode=verify-full&sslrootcert={}", ca.display());
    for url in [wrong, elsewhere] {
        let output = fails_to_start(&url);
        assert!(output.contains("TLS connection to the database failed"), "{url}: {output}");
    }
    let without = Database::postgres();
    let without = without.url().unwrap();
    let output = fails_to_start(&format!("{without}?sslmode=require"));
    assert!(output.contains("TLS connection to the database failed"), "{output}");
}

#[test]
fn five_nodes_start_concurrently_on_an_empty_database() {
    let database = Database::postgres();
    let nodes: Vec<Server> = std::thread::scope(|scope| {
        let starting: Vec<_> = (0..5).map(|_| scope.spawn(|| Server::start(database.clone()))).collect();
        starting.into_iter().map(|node| node.join().unwrap()).collect()
    });
    Repository::hello().push(&nodes[4].git_url("hello"), &["main"]).succeeded();
    for node in &nodes {
        until("it is ready", || (node.get("/-/health/ready").status == 200).then_some(()));
    }
}

#[test]
fn database_connections_are_limited() {
    let server = Server::start_with(Database::postgres(), &["--database-max-connections", "2"]);
    std::thread::scope(|scope| {
        for number in 0..8 {
            let server = &server;
            scope.spawn(move || {
                let repository = Repository::hello();
                repository.push(&server.git_url(&format!("app-{number}")), &["main"]).succeeded();
            });
        }
    });
    let count = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND application_name = 'picloud'";
    assert_eq!(server.database.query(count), "2");
}

#[test]
fn database_of_another_program_is_unchanged() {
    let database = Database::postgres();
    database.query("CREATE TABLE deploys (what text)");
    let output = fails_to_start(&database.url().unwrap());
    assert!(output.contains("belongs to another program: it has a table deploys"), "{output}");
    let tables =
        "SELECT string_agg(table_name, ' ') FROM information_schema.tables WHERE table_schema = 'public'";
    assert_eq!(database.query(tables), "deploys");
}
