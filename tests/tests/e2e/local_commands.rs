//! Commands that need no server.

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use tests::server::picloud;
use tests::{Database, Repository, Server};

fn run(folder: &Path, arguments: &[&str]) -> (Option<i32>, String) {
    let Output { status, stdout, stderr } =
        Command::new(picloud()).args(arguments).current_dir(folder).output().unwrap();
    (status.code(), String::from_utf8([stdout, stderr].concat()).unwrap())
}

#[test]
fn starter_app_passes_check_and_goes_live() {
    let folder = tempfile::tempdir().unwrap();
    let (code, text) = run(folder.path(), &["init", "hello"]);
    assert_eq!(code, Some(0), "{text}");
    let app = folder.path().join("hello");
    let (code, text) = run(&app, &["check"]);
    assert_eq!(code, Some(0), "{text}");
    assert!(text.contains("success: 2 scripts, 2 routes, 1 schedule"), "{text}");
    let (code, text) = run(folder.path(), &["init", "hello"]);
    assert!(code == Some(1) && text.contains("already exists"), "{text}");

    let server = Server::start(Database::sqlite());
    let repository = Repository::new();
    let files = std::fs::read_dir(&app).unwrap().map(Result::unwrap);
    for file in files.filter(|file| file.path().is_file()) {
        repository.write(file.file_name().to_str().unwrap(), std::fs::read(file.path()).unwrap());
    }
    repository.commit("starter");
    repository.push(&server.git_url("hello"), &["main"]).succeeded().says("+ tick  */5 * * * *  UTC");
    assert_eq!(server.get("/hello/greet/Ann").body, r#"{"message":"Hello, Ann"}"#);
}

#[test]
fn check_reports_the_same_as_push() {
    let repository = Repository::hello();
    repository.write("greet.rhai", "let x = 1;\n\nlgo::info(\"hi\");\n");
    let (code, text) = run(repository.path(), &["check", "."]);
    assert_eq!(code, Some(1));
    assert!(text.contains("error: greet.rhai:3:1  unknown function `lgo::info`"), "{text}");
    assert!(text.contains("error: 1 problem in 1 file"), "{text}");
    let (code, text) = run(repository.path(), &["check", "nowhere"]);
    assert!(code == Some(1) && text.contains("cannot read nowhere"), "{text}");
}

#[test]
fn check_prints_json_for_editors() {
    let repository = Repository::hello();
    let check = || {
        let (code, text) = run(repository.path(), &["check", "--json"]);
        (code, serde_json::from_str::<serde_json::Value>(&text).expect("one JSON object"))
    };
    let (code, passed) = check();
    assert_eq!(
        (code, &passed["ok"], &passed["diagnostics"]),
        (Some(0), &true.into(), &serde_json::json!([]))
    );
    repository.write("greet.rhai", "let x = 1;\n\nlgo::info(\"hi\");\n");
    let (code, refused) = check();
    let diagnostic = &refused["diagnostics"][0];
    assert_eq!((code, &refused["ok"], &refused["errors"]), (Some(1), &false.into(), &1.into()));
    assert_eq!(
        (&diagnostic["file"], &diagnostic["line"], &diagnostic["column"]),
        (&"greet.rhai".into(), &3.into(), &1.into())
    );
    assert_eq!(diagnostic["message"], "unknown function `lgo::info`");
    assert_eq!(diagnostic["help"], "did you mean `log::info`?");
}

#[test]
fn schema_is_printed_for_editors() {
    let (code, text) = run(Path::new("/"), &["schema"]);
    let schema: serde_json::Value = serde_json::from_str(&text).expect("JSON");
    assert_eq!((code, schema["title"].as_str()), (Some(0), Some("picloud.toml")));
    assert!(schema["properties"]["routes"].is_object(), "{text}");
}

#[test]
fn definitions_are_written_for_editors() {
    let folder = tempfile::tempdir().unwrap();
    let (code, text) = run(folder.path(), &["definitions"]);
    assert!(text.starts_with("wrote ") && text.ends_with(" files for SDK 1.3 to definitions\n"), "{text}");
    let random = std::fs::read_to_string(folder.path().join("definitions/random.d.rhai")).unwrap();
    assert_eq!(code, Some(0));
    assert!(random.contains("fn int(low: int, high: int) -> int;"), "{random}");
    let (code, _) = run(folder.path(), &["definitions", "--sdk", "1.2", "old"]);
    assert_eq!((code, std::fs::read_dir(folder.path().join("old")).unwrap().count()), (Some(0), 1));
    assert_eq!(run(folder.path(), &["definitions", "--sdk", "9.9"]).0, Some(2));
}

#[test]
fn closed_output_pipe_is_no_failure() {
    let repository = Repository::hello();
    repository.write("greet.rhai", "nope();\n".repeat(100));
    let shell = format!("{} check | head -c 1", picloud().display());
    let output = Command::new("sh").args(["-c", &shell]).current_dir(repository.path()).output().unwrap();
    assert_eq!((output.stdout.as_slice(), output.stderr.as_slice()), (&b"e"[..], &b""[..]));
}

#[test]
fn usage_error_exits_2_and_failure_exits_1() {
    let folder = tempfile::tempdir().unwrap();
    assert_eq!(run(folder.path(), &["serve", "--nonsense"]).0, Some(2));
    assert_eq!(run(folder.path(), &[]).0, Some(2));
    let server = Server::start(Database::sqlite());
    let (code, text) = run(folder.path(), &["serve", "--listen", &server.address]);
    assert!(code == Some(1) && text.contains("cannot listen on"), "{text}");
    let short = folder.path().join("short");
    fs::write(&short, "short\n").unwrap();
    let short = short.to_str().unwrap();
    let (code, text) = run(folder.path(), &["serve", "--listen", "127.0.0.1:0", "--admin-token-file", short]);
    assert!(code == Some(1) && text.contains("32"), "{text}");
}

/// The commands that `picloud --help` lists.
fn commands() -> Vec<String> {
    let (code, text) = run(Path::new("/"), &["--help"]);
    assert_eq!(code, Some(0));
    let (_, list) = text.split_once("Commands:\n").expect("a list");
    let lines = list.lines().take_while(|line| line.starts_with("  "));
    let commands: Vec<_> =
        lines.filter_map(|line| line.split_whitespace().next()).map(str::to_owned).collect();
    assert!(commands.len() > 10, "{text}");
    commands.into_iter().filter(|name| name != "help").collect()
}

/// `picloud COMMAND --help`, and that of the subcommands of a group.
fn help_texts(command: &str) -> Vec<String> {
    let expected: Vec<&str> = command.split(' ').collect();
    let (code, text) = run(Path::new("/"), &[expected.as_slice(), &["--help"]].concat());
    assert_eq!(code, Some(0), "{command}: {text}");
    let Some((_, list)) = text.split_once("Commands:\n") else { return vec![text] };
    let inner = list.lines().take_while(|line| line.starts_with("  "));
    let inner = inner.filter_map(|line| line.split_whitespace().next()).filter(|name| *name != "help");
    inner.flat_map(|name| help_texts(&format!("{command} {name}"))).collect()
}

#[test]
fn every_command_has_examples_and_exit_codes() {
    let folder = tempfile::tempdir().unwrap();
    let nobody = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let mut requests = 0;
    let token = folder.path().join("token");
    std::fs::write(&token, "x").unwrap();
    let token = token.to_str().unwrap();
    for command in commands() {
        assert_eq!(run(folder.path(), &[&command, "--nonsense"]).0, Some(2), "{command}");
        for help in help_texts(&command) {
            let (_, examples) = help.split_once("Examples:\n").unwrap_or_else(|| panic!("{command}: {help}"));
            // A client command fails without a server, and prints a hint.
            if !help.contains("--url") {
                continue;
            }
            let line = examples.lines().next().unwrap().trim().strip_prefix("picloud ").unwrap();
            let url = format!("http://{nobody}");
            // Without a terminal there is no confirmation.
            let yes = if help.contains("--yes") { &["--yes"][..] } else { &[] };
            let app = if help.contains("--app") { &["--app", "hello"][..] } else { &[] };
            let expected: Vec<String> = line
                .split('\'')
                .enumerate()
                .flat_map(|(at, piece)| match at % 2 {
                    0 => piece.split_whitespace().map(str::to_owned).collect(),
                    _ => vec![piece.to_owned()],
                })
                .collect();
            let expected: Vec<&str> = expected.iter().map(String::as_str).collect();
            let all = [expected.as_slice(), &["--url", &url, "--token-file", token], app, yes].concat();
            let (code, text) = run(folder.path(), &all);
            assert_eq!(code, Some(1), "{line}: {text}");
            assert!(
                text.contains("error: cannot connect to ") && text.contains("\nhint: "),
                "{line}: {text}"
            );
            requests += 1;
        }
    }
    assert!(requests >= 6, "only {requests} commands send requests");
}

/// The output of a command on a terminal.
fn terminal_output(folder: &Path, line: &str, environment: &[(&str, &str)]) -> String {
    let shell = format!("{} {line}", picloud().display());
    let output = Command::new("script")
        .args(["--quiet", "--return", "--command", &shell, "/dev/null"])
        .env("TERM", "xterm")
        .env_remove("NO_COLOR")
        .envs(environment.iter().copied())
        .current_dir(folder)
        .stdin(std::process::Stdio::null())
        .output()
        .expect("script(1) of util-linux");
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn colors_are_printed_to_terminals_or_on_request() {
    let repository = Repository::hello();
    repository.write("greet.rhai", "nope();\n");
    let coloured = terminal_output(repository.path(), "check", &[]);
    assert!(coloured.contains("\u{1b}[") && coloured.contains("unknown function `nope`"), "{coloured:?}");
    let plain = terminal_output(repository.path(), "check", &[("NO_COLOR", "1")]);
    assert!(!plain.contains('\u{1b}') && plain.contains("error: greet.rhai:1:1"), "{plain:?}");
    assert!(!run(repository.path(), &["check"]).1.contains('\u{1b}'));
}

#[test]
fn progress_is_shown_on_a_terminal_after_a_second() {
    use std::io::{Read as _, Write as _};
    let folder = tempfile::tempdir().unwrap();
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let slow = std::thread::spawn(move || {
        for wait in [1500, 0] {
            let (mut stream, _) = listener.accept().unwrap();
            let _ = stream.read(&mut [0; 4096]).unwrap();
            // The case under test: a slow response.
            std::thread::sleep(std::time::Duration::from_millis(wait));
            let response = "HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 11\r\n\r\n{\"apps\":[]}";
            stream.write_all(response.as_bytes()).unwrap();
        }
    });
    let (line, token) = (format!("apps --url http://{address}"), [("PICLOUD_TOKEN", "x")]);
    let slowly = terminal_output(folder.path(), &line, &token);
    assert!(slowly.contains(&format!("waiting for http://{address} … 1 s")), "{slowly:?}");
    assert!(slowly.contains("no apps; the first push"), "{slowly:?}");
    let quickly = terminal_output(folder.path(), &line, &token);
    assert!(!quickly.contains("waiting") && quickly.contains("no apps; the first push"), "{quickly:?}");
    slow.join().unwrap();
}

#[test]
fn shell_completes_commands_and_flags() {
    let folder = tempfile::tempdir().unwrap();
    for shell in ["bash", "zsh", "fish"] {
        let (code, script) = run(folder.path(), &["completions", shell]);
        assert!(code == Some(0) && script.contains("PICLOUD_COMPLETE"), "{shell}");
    }
    let complete = |line: &str| completions(folder.path(), line);
    assert_eq!(complete("picloud che"), "check");
    assert_eq!(complete("picloud serve --log-f"), "--log-format");
    assert_eq!(complete("picloud serve --log-format "), "text json");
}

/// bash's completions of the last word of a line, in a folder.
fn completions(folder: &Path, line: &str) -> String {
    let expected: Vec<_> = line.split(' ').collect();
    let (last, before) = (expected[expected.len() - 1], expected[expected.len() - 2]);
    let script = format!(
        "source <(picloud completions bash); COMP_WORDS=({}); COMP_CWORD={}; \
         _clap_complete_picloud picloud '{last}' '{before}'; echo \"${{COMPREPLY[@]}}\"",
        expected.iter().map(|word| format!("'{word}'")).collect::<Vec<_>>().join(" "),
        expected.len() - 1
    );
    let path = std::env::var("PATH").unwrap();
    let path = format!("{}:{path}", picloud().parent().unwrap().display());
    let mut command = Command::new("bash");
    command.args(["--norc", "-c", &script]).env("PATH", path).env("HOME", folder).current_dir(folder);
    let output = command.env_remove("PICLOUD_TOKEN").output().unwrap();
    assert!(output.stderr.is_empty(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

#[test]
fn shell_completes_names_from_the_server() {
    let server = Server::start(Database::sqlite());
    let repository = Repository::hello();
    let manifest = format!(
        "{}\n[[functions]]\nname = \"double\"\nscript = \"tick.rhai\"\n[[schedules]]\nname = \"newyear\"\ncron = \"0 0 1 1 *\"\nscript = \"tick.rhai\"\n",
        tests::repository::HELLO_MANIFEST
    );
    repository.write("picloud.toml", manifest);
    repository.write("tick.rhai", "1");
    repository.commit("a schedule and a function");
    repository.git(&["remote", "add", "picloud", &server.git_url("hello")]);
    repository.push("picloud", &["main", "main:feature"]).succeeded();
    repository.push(&server.git_url("help-me"), &["main"]).succeeded();
    for (line, offered) in [
        ("picloud logs --app hel", "hello help-me"),
        ("picloud apps stop help", "help-me"),
        ("picloud apps delete hello", "hello"),
        ("picloud schedules run ", "newyear"),
        ("picloud pause new", "newyear"),
        ("picloud schedules list --branch f", "feature"),
        ("picloud previews schedule ", "feature main"),
        ("picloud invoke d", "double"),
    ] {
        let mut expected: Vec<_> =
            completions(repository.path(), line).split_whitespace().map(str::to_owned).collect();
        expected.retain(|word| !word.starts_with('-'));
        expected.sort();
        assert_eq!(expected.join(" "), offered, "{line}");
    }
    // Without a server or a token, completion offers nothing, prints nothing and sends nothing.
    let nowhere = tempfile::tempdir().unwrap();
    assert_eq!(completions(nowhere.path(), "picloud logs --app hel"), "");
    let requests = format!("picloud logs --url http://{} --app hel", server.address);
    assert_eq!(completions(nowhere.path(), &requests), "");
}

#[test]
fn every_command_has_a_man_page() {
    let folder = tempfile::tempdir().unwrap();
    let (code, text) = run(folder.path(), &["man", "pages"]);
    assert_eq!(code, Some(0), "{text}");
    let page = |name: &str| std::fs::read_to_string(folder.path().join("pages").join(name)).expect(name);
    assert!(page("picloud.1").contains("Exit codes"), "{}", page("picloud.1"));
    for command in commands() {
        let page = page(&format!("picloud-{command}.1"));
        assert!(page.contains(".TH ") && page.contains("Examples:") && !page.contains('\u{1b}'), "{page}");
    }
    let serve = page("picloud-serve.1");
    for expected in [
        ".SH ENVIRONMENT",
        "PICLOUD_ADMIN_TOKEN",
        "The same as \\-\\-listen.",
        ".SH FILES",
        "/etc/picloud/picloud.conf",
        "Possible values:",
        "on\\-first\\-push",
    ] {
        assert!(serve.contains(expected), "{expected}: {serve}");
    }
    let logs = page("picloud-logs.1");
    assert!(logs.contains("PICLOUD_TOKEN") && logs.contains("picloud/credentials"), "{logs}");
    assert_eq!(run(folder.path(), &["man", "/proc/nowhere"]).0, Some(1));
}

#[test]
fn demo_runs_all_steps() {
    let folder = tempfile::tempdir().unwrap();
    let (code, text) = run(folder.path(), &["demo", "--listen", "127.0.0.1:0", "--exit"]);
    assert_eq!(code, Some(0), "{text}");
    for expected in [
        "LIVE as deploy 1",
        "Hello, Ann",
        "Good morning, Ann",
        "unknown function",
        "302 https://example.org/",
        "\"visits\":2",
        "tick was due at",
    ] {
        assert!(text.contains(expected), "{expected}: {text}");
    }
}
