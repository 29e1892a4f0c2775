//! How the client commands and git get a token, and where it is stored.

use std::fs;
use std::io::{Read as _, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Command, Stdio};

use tests::server::picloud;
use tests::{Database, Repository, Server, TOKEN};

use crate::getting_started::shell;

/// A repository with a node as its remote, without a token in its URL.
fn cloned(server: &Server) -> Repository {
    let repository = Repository::hello();
    repository.git(&["remote", "add", "picloud", &format!("http://{}/hello.git", server.address)]);
    repository
}

fn stored_token(repository: &Repository) -> String {
    fs::read_to_string(repository.path().join(".config/picloud/credentials")).unwrap_or_default()
}

#[test]
fn login_stores_token_for_commands_and_git() {
    let server = Server::start(Database::sqlite());
    let repository = cloned(&server);
    let here = repository.path();
    let url = format!("http://{}", server.address);
    let refused = shell(here, "printf wrong | picloud login 2>&1 || echo $?");
    let expected = "error: the server rejected the token\nhint: run  picloud login , or set PICLOUD_TOKEN to a valid token\n1\n";
    assert_eq!((refused.as_str(), stored_token(&repository).as_str()), (expected, ""));

    let output = shell(here, &format!("echo {TOKEN} | picloud login"));
    let (first, command) = output.split_once("\nhint: let git use it with\n  ").unwrap();
    let file = here.join(".config/picloud/credentials");
    assert_eq!(first, format!("logged in to {url}; the token is stored in {}", file.display()));
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode(&file), mode(file.parent().unwrap())), (0o600, 0o700));
    assert!(shell(here, "picloud apps").contains("no apps; the first push to a name creates an app"));

    // git has its own configuration here; it is set up as the output of `login` says.
    let with_git = |line: &str| shell(here, &format!("export GIT_CONFIG_GLOBAL=$HOME/.gitconfig; {line}"));
    with_git(command);
    let pushed = with_git("git push picloud main 2>&1");
    assert!(pushed.contains("LIVE as deploy 1"), "{pushed}");
    assert!(stored_token(&repository).contains(TOKEN), "git stores it once");
    assert_eq!(stored_token(&repository).lines().count(), 1);

    // Another server does not get this token, and has its own line in the file.
    let other = "printf 'protocol=https\\nhost=elsewhere.example\\n\\n' | picloud credential get";
    assert_eq!(shell(here, other), "");
    let second = Server::start(Database::sqlite());
    shell(here, &format!("echo {TOKEN} | picloud login http://{}", second.address));
    assert_eq!(stored_token(&repository).lines().count(), 2);
    let out = shell(here, &format!("picloud logout http://{}", second.address));
    assert_eq!(
        out,
        format!(
            "logged out of http://{}; the token remains valid until  picloud tokens revoke\n",
            second.address
        )
    );
    assert_eq!(stored_token(&repository).lines().count(), 1);

    // A revoked token is erased, as with any credential helper.
    let short = shell(here, "picloud tokens create short --scope hello:deploy 2>/dev/null");
    let short = short.trim();
    shell(here, &format!("echo {short} | picloud login && echo {TOKEN} > token"));
    shell(here, "picloud tokens revoke short --token-file token");
    repository.commit("next");
    let refused = with_git("git push picloud main 2>&1 || true");
    assert!(refused.contains("Authentication failed"), "{refused}");
    assert_eq!(stored_token(&repository), "");
    assert_eq!(
        shell(here, "picloud apps 2>&1 || true"),
        format!("error: no token for {url}\nhint: run  picloud login , or set PICLOUD_TOKEN\n")
    );
}

/// As in `docs/credentials.md`.
#[test]
fn ci_deploys_as_documented() {
    let document = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/credentials.md");
    let document = fs::read_to_string(document).unwrap();
    let lines: Vec<&str> = document
        .lines()
        .map(str::trim_start)
        .filter_map(|line| {
            Some(line.strip_prefix("- run: ").unwrap_or(line)).filter(|line| line.starts_with("git -c "))
        })
        .collect();
    assert_eq!(lines.len(), 2, "{lines:?}");
    let server = Server::start(Database::sqlite());
    let url = format!("http://{}", server.address);
    for line in lines {
        let repository = Repository::hello();
        // CI checks out a commit, not a branch.
        repository.git(&["checkout", "-q", "--detach"]);
        repository.commit(line);
        let line = line.replace("https://pi.example.com", &url);
        let output = shell(
            repository.path(),
            &format!("export PICLOUD_URL={url} PICLOUD_TOKEN={TOKEN}; {line} -f 2>&1"),
        );
        assert!(output.contains("LIVE as deploy"), "{line}: {output}");
    }
    // The token from the environment is used for its server only.
    let command = "printf 'protocol=https\\nhost=elsewhere.example\\n\\n' | picloud credential get";
    let environment = format!("export PICLOUD_URL={url} PICLOUD_TOKEN={TOKEN}");
    assert_eq!(shell(Path::new("/tmp"), &format!("{environment}; {command}")), "");
}

/// A terminal in which a line runs, and its output.
fn at_a_terminal(server: &Server, line: &str, keys: &[u8]) -> String {
    let mut process = Command::new("script")
        .args(["--quiet", "--return", "--command", line, "/dev/null"])
        .env("PICLOUD_URL", format!("http://{}", server.address))
        .env("PICLOUD_TOKEN", TOKEN)
        .env("PICLOUD", picloud())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("script(1) of util-linux");
    let (mut typing, mut screen) = (process.stdin.take().unwrap(), process.stdout.take().unwrap());
    let mut shown = Vec::new();
    while !shown.ends_with(b"KEY: ") {
        let mut byte = [0];
        assert_eq!(screen.read(&mut byte).unwrap(), 1, "{}", String::from_utf8_lossy(&shown));
        shown.push(byte[0]);
    }
    typing.write_all(keys).unwrap();
    screen.read_to_end(&mut shown).unwrap();
    process.wait().unwrap();
    String::from_utf8(shown).unwrap()
}

#[test]
fn ctrl_c_at_secret_prompt_restores_terminal() {
    let server = Server::start(Database::sqlite());
    let line = "\"$PICLOUD\" secrets set KEY --app hello; echo code $?; stty -a | tr ' ;' '\\n\\n' | grep -x -e '-*echo' -e '-*icanon' -e '-*isig'";
    let shown = at_a_terminal(&server, line, b"tanger\x03");
    assert!(shown.contains(": interrupted; nothing was changed") && shown.contains("code 1"), "{shown:?}");
    for mode in ["\r\necho\r", "\r\nicanon\r", "\r\nisig\r"] {
        assert!(shown.contains(mode), "{shown:?}");
    }
    assert!(!shown.contains("tanger"), "{shown:?}");
    let shown = at_a_terminal(&server, line, b"tangerinn\x7fe-77\n");
    assert!(
        shown.contains("set KEY\r\n") && shown.contains("\r\necho\r") && !shown.contains("tanger"),
        "{shown:?}"
    );
}

const MANIFEST: &str = r#"sdk = "1.2"

[[functions]]
name = "double"
script = "double.rhai"

[[schedules]]
name = "tick"
cron = "0 0 1 1 *"
script = "tick.rhai"
"#;

fn with_functions(server: &Server) -> Repository {
    let repository = cloned(server);
    repository.write("picloud.toml", MANIFEST);
    repository.write("double.rhai", "log::info(\"doubling\");\nlet n = ctx.request.body.n;\nn * 2\n");
    repository.write("tick.rhai", "log::info(\"ticked\");\n");
    repository.commit("functions");
    repository.push(&server.git_url("hello"), &["main"]).succeeded();
    repository
}

#[test]
fn invoked_execution_is_in_logs_when_command_exits() {
    let server = Server::start(Database::sqlite());
    let repository = with_functions(&server);
    for round in 1..=5 {
        let lines = format!(
            "export PICLOUD_TOKEN={TOKEN}; picloud invoke double --data '{{\"n\": {round}}}'; picloud logs; picloud run tick >/dev/null; picloud logs"
        );
        let output = shell(repository.path(), &lines);
        let count = |expected: &str| output.matches(expected).count();
        assert_eq!((count("doubling"), count("ticked")), (2 * round, 2 * round - 1), "{output}");
    }
}

#[test]
fn invoke_shows_failure_to_readers() {
    let server = Server::start(Database::sqlite());
    let repository = with_functions(&server);
    let here = repository.path();
    let output = shell(
        here,
        &format!("PICLOUD_TOKEN={TOKEN} picloud invoke double --data '\"Ann\"' 2>&1 >/dev/null || echo $?"),
    );
    let failure = "\nerror: double.rhai:2:26  ";
    assert!(
        output.starts_with(failure)
            && output.contains("\n  2 | let n = ctx.request.body.n;\n")
            && output.ends_with("1\n"),
        "{output}"
    );
    let token = shell(
        here,
        &format!("PICLOUD_TOKEN={TOKEN} picloud tokens create caller --scope hello:invoke 2>/dev/null"),
    );
    let output = shell(
        here,
        &format!(
            "PICLOUD_TOKEN={token} picloud invoke double --data '\"Ann\"' 2>&1 >/dev/null || echo $?",
            token = token.trim()
        ),
    );
    assert!(
        output.starts_with("hint: picloud executions ")
            && output.contains("shows the failure; requires the scope hello:read"),
        "{output}"
    );
}
