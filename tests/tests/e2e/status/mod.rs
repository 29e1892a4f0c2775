//! `picloud status` reports each kind of problem with its cause, until it is solved.
//!
//! - `clock_changes`: clocks that change while nodes run
//! - `database`: databases that accept no writes

mod clock_changes;
mod database;

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use serde_json::Value;
use tests::server::picloud;
use tests::{Database, Repository, Server, TOKEN, clock, on_both_databases, until};

use crate::disk_faults::serve_in;

on_both_databases!(failures_are_reported_until_resolved, old_backup_is_reported_until_replaced,);

fn status(address: &str, flags: &[&str]) -> (Option<i32>, String) {
    let mut command = Command::new(picloud());
    command.arg("status").args(flags).args(["--url", &format!("http://{address}")]);
    let output = command.env("PICLOUD_TOKEN", TOKEN).output().expect("picloud");
    let text = [output.stdout, output.stderr].concat();
    (output.status.code(), String::from_utf8(text).expect("text"))
}

/// The exit code of `picloud status --json`, and the problems.
pub(crate) fn problems(address: &str) -> (Option<i32>, Vec<Value>) {
    let (code, text) = status(address, &["--json"]);
    let status: Value = serde_json::from_str(&text).unwrap_or_else(|_| panic!("no JSON: {text}"));
    let problems = status["problems"].as_array().expect("problems").clone();
    assert_eq!(status["healthy"], problems.is_empty(), "{text}");
    assert_eq!(code, Some(i32::from(!problems.is_empty())), "{text}");
    (code, problems)
}

/// The message of the problem of a kind, if there is one.
fn problem(address: &str, kind: &str) -> Option<String> {
    let (_, problems) = problems(address);
    let mut of_kind = problems.iter().filter(|problem| problem["kind"] == kind);
    let problem = of_kind.next()?;
    assert!(of_kind.next().is_none(), "{problems:?}");
    Some(problem["message"].as_str().expect("a message").to_owned())
}

fn push(server: &Server, script: &str) {
    let repository = Repository::new();
    let manifest = r#"
        sdk = "1.1"
        [[routes]]
        path = "/"
        script = "job.rhai"
        [[schedules]]
        name = "tick"
        cron = "* * * * * *"
        script = "job.rhai"
    "#;
    repository.write("picloud.toml", manifest);
    repository.write("job.rhai", script);
    repository.commit("first");
    repository.push(&server.git_url("shop"), &["-f", "main"]).succeeded();
}

fn failures_are_reported_until_resolved(database: Database) {
    let server = Server::start(database);
    push(&server, "log::info(`ticked`)");
    until("the schedule runs", || server.log().contains("ticked").then_some(()));
    assert_eq!(status(&server.address, &[]).0, Some(0));
    push(&server, "throw \"no luck\"");
    let schedule = until("the failing schedule is reported", || problem(&server.address, "schedule_failing"));
    assert!(schedule.starts_with("schedule tick of app shop: the last run, due 20"), "{schedule}");
    assert!(schedule.ends_with(" UTC, failed: script_error at job.rhai:1:1: no luck"), "{schedule}");
    let executions =
        until("failing executions are reported", || problem(&server.address, "executions_failing"));
    assert!(executions.starts_with("app shop: ") && executions.ends_with(" of the last hour failed"));
    let (code, text) = status(&server.address, &[]);
    for expected in [
        "2 problems\n",
        "\nerror: schedule tick of app shop: ",
        "\n  hint: run  picloud schedules --app shop --runs tick\n",
        "\n  hint: run  picloud executions --app shop --failed\n",
    ] {
        assert!(code == Some(1) && text.contains(expected), "{expected:?} is not in:\n{text}");
    }
    push(&server, "2");
    until("the schedule succeeds", || problem(&server.address, "schedule_failing").is_none().then_some(()));
}

/// Makes a backup with a wrong clock.
fn back_up(server: &Server, file: &Path, offset: &str) {
    let mut command = server.command(&["backup", "--replace"]);
    let output = clock::with_clock_offset(command.arg(file), offset).output().expect("picloud");
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success() && !text.contains("warning"), "{text}");
}

fn old_backup_is_reported_until_replaced(database: Database) {
    let server = Server::start(database);
    let folder = tempfile::tempdir().unwrap();
    let back_up = |offset: &str| back_up(&server, &folder.path().join("all"), offset);
    back_up("-6d");
    assert_eq!(problems(&server.address), (Some(0), vec![]));
    back_up("-10d");
    let old = problem(&server.address, "backup_old").expect("a problem");
    assert!(old.starts_with("the last backup is from 20"), "{old}");
    back_up("+10d");
    assert!(problem(&server.address, "backup_old").is_some(), "a backup from the future does not count");
    back_up("-0d");
    assert_eq!(problems(&server.address), (Some(0), vec![]));
}

/// A node that prints its address.
struct Node(Child, String);

impl Node {
    fn spawn(mut command: Command) -> Self {
        let mut process = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().expect("picloud");
        let lines = BufReader::new(process.stdout.take().expect("a pipe")).lines().map_while(Result::ok);
        let first = lines.take(1).collect::<String>();
        let (_, address) = first.split_once("http://").expect("an address");
        let address = address.trim().to_owned();
        Self(process, address)
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn clock_skew_is_reported_by_every_node() {
    let server = Server::start(Database::postgres());
    let folder = tempfile::tempdir().unwrap();
    let mut command = Command::new(picloud());
    command
        .args(["serve", "--listen", "127.0.0.1:0", "--node-name", "late", "--data-dir"])
        .arg(folder.path());
    command.env("DATABASE_URL", server.database.url().unwrap()).env("PICLOUD_ADMIN_TOKEN", TOKEN);
    clock::with_clock_offset(&mut command, "-60s");
    let late = Node::spawn(command);
    for address in [&server.address, &late.1] {
        let skew = until("the clock skew is reported", || problem(address, "clock_skew"));
        assert!(
            skew.starts_with("the clock of node late is ")
                && skew.ends_with(" s behind the clock of the database")
        );
    }
    drop(late);
    until("it has exited", || problems(&server.address).1.is_empty().then_some(()));
}

#[test]
fn clock_behind_database_is_reported() {
    let mut server = Server::start(Database::sqlite());
    push(&server, "1");
    server.stop();
    let mut command = Command::new(picloud());
    command.args(["serve", "--listen", "127.0.0.1:0", "--data-dir"]).arg(server.data_dir());
    command.env_remove("DATABASE_URL").env("PICLOUD_ADMIN_TOKEN", TOKEN);
    clock::with_clock_offset(&mut command, "-2h");
    let node = Node::spawn(command);
    let behind = problem(&node.1, "clock_skew").expect("a problem");
    assert!(behind.contains(" is behind the latest entry in the database, from 20"), "{behind}");
}

#[test]
fn nearly_full_disk_is_reported_until_space_is_freed() {
    let folder = tempfile::tempdir().unwrap();
    let mut command = serve_in(folder.path(), "16m", "true");
    command.env("PICLOUD_NODE_NAME", "pi");
    let node = Node::spawn(command);
    let (pid, address) = (node.0.id(), &node.1);
    assert_eq!(problems(address), (Some(0), vec![]));
    // The folder in the node's mount namespace, with the small file system in it.
    let inside = Path::new("/proc").join(pid.to_string()).join("cwd");
    assert!(inside.join("data/picloud.db").exists(), "the database is on the disk");
    let file = inside.join("fill");
    let written = fs::write(&file, vec![1; 17 << 20]);
    assert!(written.is_err(), "it is larger than the file system");
    let full = fs::metadata(&file).unwrap().len();
    fs::File::options().write(true).open(&file).unwrap().set_len(full - (512 << 10)).unwrap();
    let expected = problem(address, "disk_nearly_full").expect("a problem");
    assert!(
        expected.starts_with("the disk of the data folder of node pi has 5")
            && expected.ends_with(" of 16.0 MiB")
    );
    fs::remove_file(&file).unwrap();
    assert_eq!(problems(address), (Some(0), vec![]));
}
