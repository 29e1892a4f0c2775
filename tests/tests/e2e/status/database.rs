//! Databases that accept no writes, for several reasons.

use std::io::Write as _;
use std::process::{Command, Stdio};
use std::time::Instant;

use tests::faults::recovered;
use tests::{Database, Postgres, Server, on_both_databases, until};

use super::{problem, problems, status};
use crate::disk_faults;

on_both_databases!(locked_database_is_reported);

const KIND: &str = "database_not_writable";

/// Waits until `status` reports the database with its `reason`.
fn assert_reported(address: &str, reason: &str) {
    let expected = format!(" cannot write to the database: {reason}");
    until(reason, || problem(address, KIND).filter(|output| output.contains(&expected)));
}

fn assert_healthy(address: &str, fault: &str, since: Instant) {
    until("the node is healthy", || problem(address, KIND).is_none().then_some(()));
    recovered(&format!("{fault}: status"), since);
}

#[test]
fn full_disk_is_reported() {
    let folder = tempfile::tempdir().unwrap();
    let node = disk_faults::Node::start(folder.path(), "16m");
    assert_eq!(problems(&node.address), (Some(0), vec![]));
    node.fill_disk();
    assert_reported(&node.address, "the disk of the database is full");
    node.free_space();
    assert_healthy(&node.address, "a full disk", Instant::now());
    assert_eq!(problems(&node.address), (Some(0), vec![]));
}

#[test]
fn read_only_database_is_reported() {
    let postgres = Postgres::start();
    let server = Server::start(Database::on(postgres.url()));
    assert_eq!(problems(&server.address), (Some(0), vec![]));
    server.database.query("ALTER SYSTEM SET default_transaction_read_only = on");
    server.database.query("SELECT pg_reload_conf()");
    assert_reported(&server.address, "the database is read-only");
    server.database.query("ALTER SYSTEM RESET default_transaction_read_only");
    server.database.query("SELECT pg_reload_conf()");
    assert_healthy(&server.address, "a read-only database", Instant::now());
}

#[test]
fn database_outage_is_reported_from_memory() {
    let postgres = Postgres::start();
    let server = Server::start(Database::on(postgres.url()));
    tests::Repository::hello().push(&server.git_url("hello"), &["main"]).succeeded();
    assert_eq!(problems(&server.address), (Some(0), vec![]));
    postgres.stop();
    // The connection is refused or times out, depending on when the process was stopped.
    assert_reported(&server.address, "the database ");
    let (code, text) = status(&server.address, &[]);
    assert_eq!(code, Some(1), "{text}");
    assert!(
        text.starts_with("1 problem\n")
            && text.contains("\n  apps      1 live; the database is unavailable\n"),
        "{text}"
    );
    postgres.restart();
    assert_healthy(&server.address, "PostgreSQL was down", Instant::now());
    assert!(status(&server.address, &[]).1.contains("\n  apps      1, 1 live\n"));
}

/// Holds the write lock of an embedded database until its standard input ends.
const HOLD_LOCK: &str = "
import sqlite3, sys
database = sqlite3.connect(sys.argv[1], isolation_level=None)
database.execute('BEGIN IMMEDIATE')
print('held', flush=True)
sys.stdin.read()
";

fn locked_database_is_reported(database: Database) {
    let server = Server::start(database);
    let mut command = match server.database.url() {
        Some(url) => {
            let mut psql = Command::new("psql");
            psql.args(["--no-psqlrc", "--quiet"]).arg(url);
            psql
        }
        None => {
            let mut python = Command::new("/usr/bin/python3");
            python.args(["-c", HOLD_LOCK]).arg(server.data_dir().join("picloud.db"));
            python
        }
    };
    let mut holder = command.stdin(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
    let mut input = holder.stdin.take().unwrap();
    if server.database.url().is_some() {
        writeln!(input, "BEGIN; LOCK TABLE transaction_outcomes IN ACCESS EXCLUSIVE MODE;").unwrap();
    }
    assert_reported(&server.address, "the database ");
    drop(input);
    holder.wait().unwrap();
    assert_healthy(&server.address, "somebody locked the database", Instant::now());
}
