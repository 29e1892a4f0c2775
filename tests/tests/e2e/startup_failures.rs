//! Startup failures: an error message, an exit code, and no changes.

use std::fs;
use std::path::Path;
use std::process::Command;

use tests::repository::HELLO_MANIFEST;
use tests::server::picloud;
use tests::{Database, Repository, Server, TOKEN, on_both_databases, until};

on_both_databases!(port_in_use_is_reported, newer_database_is_rejected_and_unchanged,);

const ANN: &str = r#"{"message":"Hello, Ann"}"#;

/// A node with the app `hello` live.
fn serve_hello(database: Database) -> (Server, Repository) {
    let server = Server::start(database);
    let repository = Repository::hello();
    repository.push(&server.git_url("hello"), &["main"]).succeeded();
    (server, repository)
}

#[track_caller]
fn assert_serves(server: &Server) {
    assert_eq!(server.get("/hello/greet/Ann").body, ANN);
}

fn port_in_use_is_reported(database: Database) {
    let (server, _) = serve_hello(database);
    let elsewhere = tempfile::tempdir().unwrap();
    let data = elsewhere.path().to_str().unwrap();
    let output = Command::new(picloud())
        .args(["serve", "--listen", &server.address, "--data-dir", data])
        .env_remove("DATABASE_URL")
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    let expected = format!("error: cannot listen on {}: ", server.address);
    assert!(output.status.code() == Some(1) && text.starts_with(&expected), "{text}");
    assert!(text.contains("\nhint: use another address, such as  --listen 127.0.0.1:"), "{text}");
    assert_serves(&server);
}

fn newer_database_is_rejected_and_unchanged(database: Database) {
    let (mut server, repository) = serve_hello(database);
    server.stop();
    let (bytes, now) = match server.database.url() {
        Some(_) => ("'\\x00'", "now()"),
        None => ("x'00'", "0"),
    };
    let later = format!("INSERT INTO _sqlx_migrations VALUES (999, 'later', {now}, true, {bytes}, 0)");
    server.execute_sql(&[&later]);
    let (code, output) = server.fails_to_start(&[]);
    let expected = "error: the database belongs to a newer PiCloud (schema 999); install that version, or restore a backup";
    assert!(code == Some(1) && output.trim_end().ends_with(expected), "{output}");
    server.execute_sql(&["DELETE FROM _sqlx_migrations WHERE version = 999"]);
    server.restart();
    assert_serves(&server);
    repository.commit("next");
    repository.push(&server.git_url("hello"), &["main"]).succeeded().says("LIVE as deploy 2");
}

/// PostgreSQL reports a full disk by this error, which needs no full disk here. `disk_faults` uses a really full disk with the
/// embedded database; with PostgreSQL that needs a file system of its own, and root.
#[test]
fn postgresql_without_space_rejects_only_the_push() {
    let (server, repository) = serve_hello(Database::postgres());
    server.execute_sql(&[
        "CREATE FUNCTION no_space() RETURNS trigger LANGUAGE plpgsql AS \
         $$ BEGIN RAISE EXCEPTION 'could not extend file' USING ERRCODE = 'disk_full'; END $$",
        "CREATE TRIGGER no_space BEFORE INSERT ON objects FOR EACH ROW EXECUTE FUNCTION no_space()",
    ]);
    repository.write("more.md", "more");
    repository.commit("more");
    let refused = repository.push(&server.git_url("hello"), &["main"]).refused();
    refused.says("the disk of the server is full; nothing was changed");
    assert_serves(&server);
    server.execute_sql(&["DROP TRIGGER no_space ON objects"]);
    repository.push(&server.git_url("hello"), &["main"]).succeeded().says("LIVE as deploy 2");
}

#[test]
fn embedded_database_of_another_program_is_unchanged() {
    let file = |folder: &Path| folder.join("picloud.db");
    let refused = |data: &Path| {
        let before = fs::read(file(data)).unwrap();
        let mut command = Command::new(picloud());
        command.args(["serve", "--listen", "127.0.0.1:0", "--data-dir"]).arg(data);
        let output = command.env_remove("DATABASE_URL").output().unwrap();
        assert_eq!(output.status.code(), Some(1));
        assert_eq!(fs::read(file(data)).unwrap(), before, "the file was changed");
        String::from_utf8_lossy(&output.stderr).into_owned()
    };
    for table in ["photos", "deploys"] {
        let data = tempfile::tempdir().unwrap();
        fs::set_permissions(data.path(), std::os::unix::fs::PermissionsExt::from_mode(0o700)).unwrap();
        tests::sqlite::run(&file(data.path()), &[&format!("CREATE TABLE {table} (what text)")]);
        let output = refused(data.path());
        let expected = format!(
            "error: the database belongs to another program: it has a table {table}; give PiCloud a database of its own"
        );
        assert_eq!(output.trim_end(), expected);
    }
    let data = tempfile::tempdir().unwrap();
    fs::write(file(data.path()), HELLO_MANIFEST.repeat(100)).unwrap();
    let output = refused(data.path());
    assert!(output.contains("is it a PiCloud database, and is its directory writable?"), "{output}");
}

#[test]
fn postgresql_database_with_foreign_table_is_unchanged() {
    let database = Database::postgres();
    database.query("CREATE TABLE photos (what text)");
    let folder = tempfile::tempdir().unwrap();
    let mut command = Command::new(picloud());
    command.args(["serve", "--listen", "127.0.0.1:0", "--data-dir"]).arg(folder.path());
    let output = command.env("DATABASE_URL", database.url().unwrap()).output().unwrap();
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.code() == Some(1) && text.contains("it has a table photos;"), "{text}");
    assert_eq!(database.query("SELECT count(*) FROM pg_tables WHERE schemaname = 'public'"), "1");
}

/// Runs the node with a clock that is wrong by `offset`, until it exits or has printed `expected`.
fn run_with_clock(server: &Server, offset: &str, expected: &str) -> (Option<i32>, String) {
    let log = tempfile::NamedTempFile::new().unwrap();
    let mut command = Command::new(picloud());
    tests::clock::with_clock_offset(&mut command, offset);
    command.args(["serve", "--listen", "127.0.0.1:0", "--data-dir"]).arg(server.data_dir());
    command.env_remove("DATABASE_URL").env("PICLOUD_ADMIN_TOKEN", TOKEN);
    if let Some(url) = server.database.url() {
        command.env("DATABASE_URL", url);
    }
    let output = || fs::File::options().append(true).open(log.path()).unwrap();
    command.stdout(output()).stderr(output());
    let mut node = command.spawn().expect("picloud");
    let ended = until(expected, || {
        let ended = node.try_wait().unwrap();
        (ended.is_some() || fs::read_to_string(log.path()).unwrap().contains(expected)).then_some(ended)
    });
    let _ = node.kill();
    let _ = node.wait();
    (ended.and_then(|status| status.code()), fs::read_to_string(log.path()).unwrap())
}

#[test]
fn clock_far_from_database_clock_prevents_start() {
    let (server, _) = serve_hello(Database::postgres());
    for offset in ["-3h", "+3h", "-20000d"] {
        let (code, output) = run_with_clock(&server, offset, "listening on");
        let expected = [
            "error: the clock of this machine (",
            " and the clock of the database (",
            " differ: correct the wrong one",
        ];
        assert!(
            code == Some(1) && expected.iter().all(|expected| output.contains(expected)),
            "{offset}: {output}"
        );
    }
    let (code, output) = run_with_clock(&server, "-60s", "listening on");
    assert!(code.is_none() && output.contains("1 min 0 s behind the database clock"), "{output}");
    let (code, output) = run_with_clock(&server, "-1s", "listening on");
    assert!(code.is_none() && !output.contains("the database clock"), "{output}");
    assert_serves(&server);
}

#[test]
fn clock_before_last_push_is_reported_and_apps_are_served() {
    let (mut server, _) = serve_hello(Database::sqlite());
    server.stop();
    let (code, output) = run_with_clock(&server, "-20000d", "listening on");
    let expected = [
        "the clock of this machine (19",
        "is behind the latest entry in the database (20",
        "correct the clock",
    ];
    assert!(code.is_none() && expected.iter().all(|expected| output.contains(expected)), "{output}");
    server.restart();
    assert_serves(&server);
    assert!(!server.log().contains("the clock of this machine ("), "{}", server.log());
}

/// Two nodes on one file would each serve only their own pushes.
#[test]
fn data_folder_in_use_prevents_start() {
    let (mut server, repository) = serve_hello(Database::sqlite());
    let holder = format!("is in use by process {} on ", server.pid());
    for _ in 0..2 {
        let (code, output) = server.fails_to_start(&[]);
        assert!(code == Some(1) && output.contains("error: the database "), "{output}");
        assert!(
            output.contains(&holder) && output.contains("stop that process, or choose another --data-dir"),
            "{output}"
        );
        assert_serves(&server);
    }
    let backups = tempfile::tempdir().unwrap();
    let backup = backups.path().join("backup");
    let run = |server: &Server, arguments: &[&str]| {
        let output = server.command(arguments).arg(&backup).output().unwrap();
        (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
    };
    assert_eq!(run(&server, &["backup"]).0, Some(0), "a backup runs next to the node");
    let (code, output) = run(&server, &["restore", "--replace"]);
    assert!(code == Some(1) && output.contains(&holder) && output.contains("stop the node"), "{output}");
    repository.commit("next");
    repository.push(&server.git_url("hello"), &["main"]).succeeded().says("LIVE as deploy 2");
    // However the node ends, the folder is free then; the content of the file is not a lock.
    server.kill();
    assert!(fs::read_to_string(server.data_dir().join("picloud.db.lock")).unwrap().starts_with("process "));
    assert_eq!(run(&server, &["restore", "--replace"]).0, Some(0));
    server.restart();
    assert_serves(&server);
}

/// A folder that was created by hand, or by an older installer.
#[test]
fn data_folder_readable_by_others_is_closed_or_rejected() {
    use std::os::unix::fs::PermissionsExt as _;
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o7777;
    let (mut server, _) = serve_hello(Database::sqlite());
    server.stop();
    fs::set_permissions(server.data_dir(), fs::Permissions::from_mode(0o755)).unwrap();
    server.restart();
    assert_eq!(mode(server.data_dir()), 0o700);
    assert!(server.log().contains("was accessible to other users"), "{}", server.log());
    assert_serves(&server);

    // Folders that others work with stay as they are.
    let home = tempfile::tempdir().unwrap();
    fs::write(home.path().join("letter.txt"), "").unwrap();
    fs::set_permissions(home.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let output = Command::new(picloud())
        .args(["serve", "--listen", "127.0.0.1:0", "--data-dir", home.path().to_str().unwrap()])
        .env_remove("DATABASE_URL")
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{text}");
    assert!(text.contains("is accessible to other users") && text.contains("chmod 700"), "{text}");
    assert_eq!((mode(home.path()), fs::read_dir(home.path()).unwrap().count()), (0o755, 1));
}

/// With little address space left, thread stacks cannot be allocated. A node starts, or reports why it does not.
#[test]
fn thread_creation_failure_is_reported_without_panic() {
    let folder = tempfile::tempdir().unwrap();
    let mut refused = 0;
    for mebibytes in (200..2_000).step_by(100) {
        let data = folder.path().join(mebibytes.to_string());
        let script = format!(
            "ulimit -v {}; exec timeout 5 \"$0\" serve --listen 127.0.0.1:0 --data-dir \"$1\"",
            mebibytes * 1024
        );
        let output = Command::new("sh")
            .args(["-c", &script])
            .arg(picloud())
            .arg(&data)
            .env_remove("DATABASE_URL")
            .output()
            .unwrap();
        let output = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
        assert!(!output.contains("panicked"), "{mebibytes} MiB: {output}");
        refused += usize::from(output.contains("the OS refuses to create more threads"));
        if output.contains("is listening on") {
            break;
        }
    }
    assert!(refused > 0, "no start failed for lack of threads");
}
