//! Settings: precedence of flags, environment and file; errors with their place; secrets from files only.

use std::fs;
use std::path::Path;
use std::process::Command;

use tests::server::picloud;
use tests::{TOKEN, until};

/// Runs the program without user configuration.
fn picloud_in(folder: &Path) -> Command {
    let mut command = Command::new(picloud());
    command.current_dir(folder).env_clear().env("PATH", "/usr/bin:/bin");
    command
}

/// The exit code and all output.
fn ran(command: &mut Command) -> (Option<i32>, String) {
    let output = command.output().unwrap();
    let text = [output.stdout, output.stderr].concat();
    (output.status.code(), String::from_utf8_lossy(&text).into_owned())
}

fn checked(folder: &Path, file: &str, flags: &[&str], variables: &[(&str, &str)]) -> (Option<i32>, String) {
    fs::write(folder.join("picloud.conf"), file).unwrap();
    let mut command = picloud_in(folder);
    command.args(["serve", "--config", "picloud.conf", "--check-config"]).args(flags);
    ran(command.envs(variables.iter().copied()))
}

#[test]
fn flags_override_environment_which_overrides_file() {
    let folder = tempfile::tempdir().unwrap();
    let file = "domain = \"pi.example\"\nlisten = \"127.0.0.1:1\"\nmax_connections = 5_000\nidle_timeout = \"1m\"\n\
                trusted_proxies = [\"10.0.0.1\", \"10.1.0.0/16\"]\n";
    let variables = [("PICLOUD_LISTEN", "127.0.0.1:2"), ("PICLOUD_MAX_CONNECTIONS", "6000")];
    let (code, text) = checked(folder.path(), file, &["--max-connections", "7000"], &variables);
    assert_eq!(code, Some(0), "{text}");
    let rows: Vec<Vec<&str>> = text.lines().map(|line| line.split_whitespace().collect()).collect();
    for row in [
        ["max_connections", "7000", "--max-connections"],
        ["listen", "127.0.0.1:2", "PICLOUD_LISTEN"],
        ["domain", "pi.example", "picloud.conf:1"],
        ["idle_timeout", "1m", "picloud.conf:4"],
        ["trusted_proxies", "10.0.0.1,10.1.0.0/16", "picloud.conf:5"],
    ] {
        assert!(rows.contains(&row.to_vec()), "{row:?}: {text}");
    }
    let (code, text) = ran(picloud_in(folder.path()).args(["serve", "--check-config"]));
    assert_eq!((code, text.lines().count()), (Some(0), 1), "{text}");
}

#[test]
fn configuration_file_errors_have_file_and_line() {
    let folder = tempfile::tempdir().unwrap();
    let file = "lisen = \"127.0.0.1:1\"\nmax_connections = 0\nrole = \"boss\"\ndata-dir = \"x\"\nidle_timeout = 3\n\
                domain = \"https://pi\"\nadmin_token = \"hunter2\"\nwhatever = true\n";
    let (code, text) = checked(folder.path(), file, &[], &[]);
    assert_eq!(code, Some(2));
    for expected in [
        "picloud.conf:1:1  unknown setting `lisen`",
        "did you mean `listen`?",
        "picloud.conf:2:19  `max_connections`: 0 is not in 1..=1000000",
        "picloud.conf:3:8  `role`: must be one of all, manager, node",
        "picloud.conf:4:1  unknown setting `data-dir`",
        "did you mean `data_dir`?",
        "picloud.conf:5:16  `idle_timeout`: write a duration such as 500ms, 30s, 5m, 2h or 30d",
        "picloud.conf:6:10  `domain`: write a host name such as pi.example.com",
        "picloud.conf:7:1  `admin_token` is a secret and must not be in this file",
        "picloud.conf:8:1  unknown setting `whatever`",
        "8 invalid settings",
    ] {
        assert!(text.contains(expected), "{expected}: {text}");
    }
    assert!(!text.contains("hunter2"), "no secret is printed: {text}");
    let (code, text) = checked(folder.path(), "listen = ", &[], &[]);
    assert!(code == Some(2) && text.contains("picloud.conf:1:"), "{text}");
    let (code, text) = ran(picloud_in(folder.path()).args(["serve", "--config=nowhere.conf"]));
    assert!(
        code == Some(2) && text.contains("cannot read the config file nowhere.conf: No such file"),
        "{text}"
    );
}

#[test]
fn misspelled_flag_or_variable_gets_a_suggestion() {
    let folder = tempfile::tempdir().unwrap();
    let (code, text) = checked(folder.path(), "", &["--lisen", "127.0.0.1:1"], &[]);
    assert!(code == Some(2) && text.contains("'--listen'"), "{text}");
    let (code, text) = checked(folder.path(), "", &[], &[("PICLOUD_LISTN", "127.0.0.1:1")]);
    let expected = "unknown variable PICLOUD_LISTN\nhint: did you mean `PICLOUD_LISTEN`?\n";
    assert!(code == Some(2) && text.contains(expected), "{text}");
    // Variables of other programs can have that prefix.
    let others =
        [("PICLOUD_SITE", "http://pi.local"), ("PICLOUD_NODES", "a b"), ("PICLOUD_CADDY_OPTIONS", "")];
    assert_eq!(checked(folder.path(), "", &[], &others).0, Some(0));
}

#[test]
fn secrets_are_read_from_files_and_credentials_never_from_flags() {
    let folder = tempfile::tempdir().unwrap();
    for flag in ["--admin-token", "--database-url"] {
        let (code, text) = checked(folder.path(), "", &[flag, "x"], &[]);
        assert!(code == Some(2) && text.contains("unexpected argument"), "{text}");
    }
    let credentials = folder.path().join("credentials");
    fs::create_dir(&credentials).unwrap();
    fs::write(credentials.join("admin-token"), format!("{TOKEN}\n")).unwrap();
    fs::write(folder.path().join("url"), "postgres://ada:hunter2@127.0.0.1:1/x\n").unwrap();
    let directory = [("CREDENTIALS_DIRECTORY", credentials.to_str().unwrap())];
    let (code, text) = checked(folder.path(), "database_url_file = \"url\"\n", &[], &directory);
    assert_eq!(code, Some(0), "{text}");
    assert!(text.contains("the credential admin-token") && text.contains("picloud.conf:1"), "{text}");
    assert!(!text.contains(TOKEN) && !text.contains("hunter2"), "{text}");
    let (code, text) = checked(folder.path(), "admin_token_file = \"none\"\n", &[], &[]);
    assert!(code == Some(2) && text.contains("cannot read the admin token from none"), "{text}");

    // The token is read from the node's files, and not from the configuration file.
    let mut serve = picloud_in(folder.path());
    serve.args(["serve", "--listen", "127.0.0.1:0"]).envs(directory);
    let log = fs::File::create(folder.path().join("log")).unwrap();
    let mut node = serve.stdout(log.try_clone().unwrap()).stderr(log).spawn().unwrap();
    let output = until("the node listens", || {
        let output = fs::read_to_string(folder.path().join("log")).ok()?;
        output.contains("first push").then_some(output)
    });
    let (_, address) = output.split_once("is listening on http://").unwrap();
    let address = address.lines().next().unwrap();
    let response = ureq::get(format!("http://{address}/-/api/v1/apps"))
        .header("authorization", &format!("Bearer {TOKEN}"))
        .call();
    let _ = node.kill();
    let _ = node.wait();
    assert_eq!(response.unwrap().status(), 200);
    assert!(output.contains("set by the credential admin-token"), "{output}");
    assert!(!folder.path().join("picloud-data/admin-token").exists());
}

#[test]
fn backup_reads_the_configuration_file() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("picloud.conf"), "data_dir = \"here\"\nmax_connections = 10\n").unwrap();
    fs::create_dir(folder.path().join("here")).unwrap();
    fs::write(folder.path().join("here/picloud.db"), "something else ".repeat(100)).unwrap();
    let mut command = picloud_in(folder.path());
    command.env("PICLOUD_CONFIG", "picloud.conf").args(["backup", "b.picloud"]);
    let (code, text) = ran(&mut command);
    assert!(code == Some(1) && text.contains("here/picloud.db"), "{text}");
}
