//! Client commands: how they find the server and the token, and what they print.

use std::path::Path;
use std::process::{Command, Output};

use serde_json::{Value, json};
use tests::repository::environment;
use tests::server::picloud;
use tests::{Database, Repository, Server, TOKEN};

/// Runs a command in a repository with git's usual environment; returns exit code, stdout and stderr.
pub(crate) fn run(folder: &Path, arguments: &[&str]) -> (Option<i32>, String, String) {
    let mut command = Command::new(picloud());
    environment(&mut command, folder);
    let Output { status, stdout, stderr } =
        command.args(arguments).current_dir(folder).output().expect("the binary");
    let text = |bytes| String::from_utf8(bytes).expect("text");
    (status.code(), text(stdout), text(stderr))
}

fn serve_a_function() -> (Server, Repository) {
    let server = Server::start(Database::sqlite());
    let repository = Repository::hello();
    let manifest = format!(
        "{}\n[[functions]]\nname = \"double\"\nscript = \"double.rhai\"\n",
        tests::repository::HELLO_MANIFEST
    );
    repository.write("picloud.toml", manifest);
    repository.write("double.rhai", "ctx.request.body.n * 2");
    repository.commit("a function");
    repository.git(&["remote", "add", "picloud", &server.git_url("hello")]);
    repository.push("picloud", &["main"]).succeeded();
    (server, repository)
}

#[test]
fn command_reads_server_app_and_token_from_remote() {
    let (_server, repository) = serve_a_function();
    let (code, text, _) = run(repository.path(), &["apps"]);
    let commit = &repository.head()[..7];
    let listed = format!("APP    BRANCH  DEPLOY  COMMIT   DISK\nhello  main    1       {commit}  2.");
    assert!(code == Some(0) && text.starts_with(&listed) && text.ends_with(" KiB\n"), "{text}");
    let (code, text, _) = run(repository.path(), &["apps", "--json"]);
    let apps: Value = serde_json::from_str(&text).expect("JSON");
    assert_eq!(code, Some(0));
    let app = &apps["apps"][0];
    assert_eq!(
        apps,
        json!({"apps": [{
            "name": "hello",
            "production_branch": "main",
            "protected": false,
            "created_at": app["created_at"],
            "disk_bytes": app["disk_bytes"],
            "stopped": null,
            "live": {"deploy": 1, "commit": repository.head()},
        }]})
    );
    assert_eq!(
        run(repository.path(), &["invoke", "double", "--data", "{\"n\": 21}"]),
        (Some(0), "42\n".to_owned(), String::new())
    );
}

#[test]
fn command_uses_git_credential_helper() {
    let (server, repository) = serve_a_function();
    repository.git(&["remote", "set-url", "picloud", &format!("http://{}/hello.git", server.address)]);
    let (code, _, text) = run(repository.path(), &["apps"]);
    assert_eq!(code, Some(1));
    assert!(text.contains("no token for http://127.0.0.1:"), "{text}");
    let remembered = repository.path().join(".git/remembered");
    let helper = format!("store --file={}", remembered.display());
    repository.git(&["config", "credential.helper", &helper]);
    std::fs::write(&remembered, format!("http://ada:{TOKEN}@{}\n", server.address)).expect("a file");
    assert_eq!(run(repository.path(), &["apps"]).0, Some(0));
    // An invalid token is erased from the helper, as git does.
    std::fs::write(&remembered, format!("http://ada:wrong@{}\n", server.address)).expect("a file");
    let (code, _, text) = run(repository.path(), &["apps"]);
    assert_eq!(code, Some(1));
    assert!(text.contains("rejected the token"), "{text}");
    assert_eq!(std::fs::read_to_string(&remembered).expect("a file"), "");
}

#[test]
fn command_names_missing_settings() {
    let server = Server::start(Database::sqlite());
    let repository = Repository::hello();
    let fails = |arguments: &[&str], expected: &str| {
        let (code, _, text) = run(repository.path(), arguments);
        assert_eq!(code, Some(1), "{text}");
        assert!(text.contains(expected), "{text}");
    };
    let url = format!("http://{}", server.address);
    fails(&["apps"], "has no remote `picloud`");
    let file = repository.path().join(".git/token");
    std::fs::write(&file, format!("{TOKEN}\n")).expect("a file");
    let file = file.to_str().expect("a path");
    let with_token = ["--url", &url, "--token-file", file];
    fails(&[&["invoke", "double"][..], &with_token].concat(), "set --app");
    fails(&[&["invoke", "double", "--app", "hello"][..], &with_token].concat(), "app not found");
    fails(
        &["apps", "--url", "http://127.0.0.1:1", "--token-file", file],
        "cannot connect to http://127.0.0.1:1: ",
    );
    fails(
        &["apps", "--url", "git@example.com:a", "--token-file", file],
        "which is not an http:// or https:// URL",
    );
    // Arguments are visible to all users of the machine, and in the output of a failed command.
    let (code, _, text) = run(repository.path(), &["apps", "--url", &url, "--token", TOKEN]);
    assert!(code == Some(1) && text.contains("a token must not be an argument"), "{text}");
    assert!(
        text.contains("PICLOUD_TOKEN") && text.contains("--token-file") && !text.contains(TOKEN),
        "{text}"
    );
    fails(&["apps", "--url", &url, "--token-file", "/dev/null"], "invalid token in /dev/null: it is empty");
    assert_eq!(run(repository.path(), &["invoke", "no name"]).0, Some(2));
    let (code, text, _) = run(repository.path(), &[&["apps"][..], &with_token].concat());
    assert_eq!((code, text.as_str()), (Some(0), "no apps; the first push to a name creates an app\n"));
}

#[test]
fn schedules_are_listed_run_paused_and_resumed() {
    let (_server, repository) = serve_a_function();
    let manifest = format!(
        "{}\n[[schedules]]\nname = \"newyear\"\ncron = \"0 0 1 1 *\"\nscript = \"greet.rhai\"\n",
        tests::repository::HELLO_MANIFEST
    );
    repository.write("picloud.toml", manifest);
    repository.write("greet.rhai", "1");
    repository.commit("a schedule");
    repository.push("picloud", &["main"]).succeeded();
    let says = |arguments: &[&str], expected: &[&str]| {
        let (code, text, errors) = run(repository.path(), arguments);
        assert_eq!(code, Some(0), "{errors}");
        for word in expected {
            assert!(text.contains(word), "{word} is not in:\n{text}");
        }
    };
    says(&["schedules"], &["NAME     CRON", "newyear  0 0 1 1 *  UTC", "-01-01 00:00:00, "]);
    says(&["schedules", "--runs", "newyear"], &["no runs yet"]);
    let commit = &repository.head()[..7];
    says(&["run", "newyear"], &[" (manual)", "succeeded", commit]);
    says(&["schedules", "--runs", "newyear"], &["DUE", " (manual)", "succeeded"]);
    says(&["pause", "newyear"], &["paused by admin at "]);
    says(&["schedules", "--json"], &["\"paused\": {", "\"next\": []"]);
    says(&["resume", "newyear"], &["succeeded ", "-01-01 00:00:00"]);
    let (code, _, text) = run(repository.path(), &["run", "noon"]);
    assert_eq!((code, text.as_str()), (Some(1), "error: schedule not found\n"));
}

#[test]
fn long_and_short_command_forms_are_equal() {
    let (_server, repository) = serve_a_function();
    let manifest = format!(
        "{}\n[[functions]]\nname = \"double\"\nscript = \"double.rhai\"\n[[schedules]]\nname = \"newyear\"\ncron = \"0 0 1 1 *\"\nscript = \"new.rhai\"\n",
        tests::repository::HELLO_MANIFEST
    );
    repository.write("picloud.toml", manifest);
    repository.write("new.rhai", "log::info(\"a new year\");");
    repository.commit("a schedule");
    repository.push("picloud", &["main"]).succeeded();
    let says = |arguments: &[&str], expected: &str| {
        let (code, text, errors) = run(repository.path(), arguments);
        assert!(code == Some(0) && text.contains(expected), "{arguments:?}: {text}{errors}");
        text
    };
    for (long, short) in [
        (&["apps", "list"][..], &["apps"][..]),
        (&["deploys", "list"], &["deploys"]),
        (&["previews", "list"], &["previews"]),
        (&["executions", "list"], &["executions"]),
        (&["schedules", "list"], &["schedules"]),
        (&["schedules", "runs", "newyear"], &["schedules", "--runs", "newyear"]),
    ] {
        let json = |arguments: &[&str]| says(&[arguments, &["--json"]].concat(), "{");
        assert_eq!(json(long), json(short), "{long:?}");
    }
    says(&["schedules", "run", "newyear"], "succeeded");
    says(&["schedules", "pause", "newyear"], "paused by admin at ");
    says(&["schedules", "resume", "newyear"], "newyear");
    says(&["deploys", "rollback"], "rolled back to deploy 1: ");
    says(&["deploys", "rollback", "2"], "rolled back to deploy 2: ");

    // The printed command gets the next page in the same format.
    let first = says(
        &["deploys", "--branch", "main", "-n", "2"],
        "hint: next page with  picloud deploys --branch main -n 2 --before ",
    );
    let more = first.lines().last().expect("a line").split_once("picloud ").expect("a command").1;
    let second = says(&more.split(' ').collect::<Vec<_>>(), "main");
    let numbers = |text: &str| -> Vec<String> {
        text.lines()
            .skip(1)
            .filter_map(|line| line.split_whitespace().next())
            .filter(|word| word.parse::<u32>().is_ok())
            .map(str::to_owned)
            .collect()
    };
    assert_eq!(
        (numbers(&first), numbers(&second)),
        (vec!["4".into(), "3".into()], vec!["2".into(), "1".into()])
    );
    for _ in 0..3 {
        run(repository.path(), &["schedules", "run", "newyear"]);
    }
    for list in
        [&["executions", "-n", "1"][..], &["schedules", "runs", "newyear", "-n", "1"], &["audit", "-n", "1"]]
    {
        let first = says(list, "hint: next page with  picloud ");
        let more = first.lines().last().expect("a line").split_once("picloud ").expect("a command").1;
        assert_ne!(says(&more.split(' ').collect::<Vec<_>>(), "ago)"), first);
    }

    // A prefix of an id is enough.
    let (_, text, _) = run(repository.path(), &["executions", "--json"]);
    let all: Value = serde_json::from_str(&text).expect("JSON");
    let ids: Vec<&str> =
        all["executions"].as_array().expect("a list").iter().filter_map(|one| one["id"].as_str()).collect();
    let id = ids[0];
    let unique = (5..=36)
        .map(|length| &id[..length])
        .find(|prefix| ids[1..].iter().all(|other| !other.starts_with(prefix)));
    let unique = unique.expect("ids differ");
    says(&["executions", "show", unique], id);
    says(&["executions", unique], id);
    says(&["logs", "--execution", unique], "a new year");
    let (code, _, errors) = run(repository.path(), &["executions", "show", &id[..4]]);
    assert!(code == Some(1) && errors.contains("the prefix "), "{errors}");
    let (code, _, errors) = run(repository.path(), &["executions", "show", "ffff"]);
    let expected =
        format!("error: no execution id among the latest {} executions starts with ffff\n", ids.len());
    assert_eq!((code, errors), (Some(1), expected));
}

#[test]
fn times_are_local_for_users_and_utc_in_json() {
    let (_server, repository) = serve_a_function();
    let zoned = |zone: &str, arguments: &[&str]| {
        let mut command = Command::new(picloud());
        environment(&mut command, repository.path());
        let output = command
            .args(arguments)
            .env("TZ", zone)
            .current_dir(repository.path())
            .output()
            .expect("the binary");
        String::from_utf8(output.stdout).expect("text")
    };
    let hour = |text: &str| -> i32 {
        let at = text.find(" ago)").and_then(|at| text[..at].rfind('(')).expect("a time");
        text[at - 9..at - 7].parse().expect("an hour")
    };
    let ahead = (hour(&zoned("Asia/Tokyo", &["deploys"])) - hour(&zoned("UTC", &["deploys"]))).rem_euclid(24);
    assert!((9..=10).contains(&ahead), "{ahead}");
    assert_eq!(zoned("Asia/Tokyo", &["deploys", "--json"]), zoned("UTC", &["deploys", "--json"]));
}
