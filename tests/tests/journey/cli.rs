//! The verbs that need no server.

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
fn a_starter_app_passes_the_check_and_goes_live() {
    let folder = tempfile::tempdir().unwrap();
    let (code, text) = run(folder.path(), &["init", "hello"]);
    assert_eq!(code, Some(0), "{text}");
    let app = folder.path().join("hello");
    let (code, text) = run(&app, &["check"]);
    assert_eq!(code, Some(0), "{text}");
    assert!(text.contains("success: 2 scripts, 2 routes, 1 schedule"), "{text}");
    let (code, text) = run(folder.path(), &["init", "hello"]);
    assert!(code == Some(1) && text.contains("is there already"), "{text}");

    let server = Server::start(Database::sqlite());
    let repository = Repository::new();
    for file in std::fs::read_dir(&app).unwrap() {
        let file = file.unwrap();
        repository.write(file.file_name().to_str().unwrap(), std::fs::read(file.path()).unwrap());
    }
    repository.commit("starter");
    repository.push(&server.git_url("hello"), &["main"]).succeeded().says("+ tick  */5 * * * *  UTC");
    assert_eq!(server.get("/hello/greet/Ann").body, r#"{"message":"Hello, Ann"}"#);
}

#[test]
fn a_check_says_what_a_push_would_say() {
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
fn a_check_speaks_json_to_editors() {
    let repository = Repository::hello();
    let check = || {
        let (code, text) = run(repository.path(), &["check", "--json"]);
        (code, serde_json::from_str::<serde_json::Value>(&text).expect("one JSON object"))
    };
    let (code, passed) = check();
    assert_eq!((code, &passed["ok"], &passed["faults"]), (Some(0), &true.into(), &serde_json::json!([])));
    repository.write("greet.rhai", "let x = 1;\n\nlgo::info(\"hi\");\n");
    let (code, refused) = check();
    let fault = &refused["faults"][0];
    assert_eq!((code, &refused["ok"], &refused["errors"]), (Some(1), &false.into(), &1.into()));
    assert_eq!(
        (&fault["file"], &fault["line"], &fault["column"]),
        (&"greet.rhai".into(), &3.into(), &1.into())
    );
    assert_eq!(fault["message"], "unknown function `lgo::info`");
    assert_eq!(fault["advice"], "did you mean `log::info`?");
}

#[test]
fn the_schema_is_printed_for_editors() {
    let (code, text) = run(Path::new("/"), &["schema"]);
    let schema: serde_json::Value = serde_json::from_str(&text).expect("JSON");
    assert_eq!((code, schema["title"].as_str()), (Some(0), Some("picloud.toml")));
    assert!(schema["properties"]["routes"].is_object(), "{text}");
}

#[test]
fn a_reader_that_leaves_early_is_no_failure() {
    let repository = Repository::hello();
    repository.write("greet.rhai", "nope();\n".repeat(100));
    let shell = format!("{} check | head -c 1", picloud().display());
    let output = Command::new("sh").args(["-c", &shell]).current_dir(repository.path()).output().unwrap();
    assert_eq!((output.stdout.as_slice(), output.stderr.as_slice()), (&b"e"[..], &b""[..]));
}

#[test]
fn misuse_exits_with_two_and_failure_with_one() {
    let folder = tempfile::tempdir().unwrap();
    assert_eq!(run(folder.path(), &["serve", "--nonsense"]).0, Some(2));
    assert_eq!(run(folder.path(), &[]).0, Some(2));
    let server = Server::start(Database::sqlite());
    let (code, text) = run(folder.path(), &["serve", "--listen", &server.address]);
    assert!(code == Some(1) && text.contains("cannot listen on"), "{text}");
    let (code, text) = run(folder.path(), &["serve", "--listen", "127.0.0.1:0", "--admin-token", "short"]);
    assert!(code == Some(1) && text.contains("32"), "{text}");
}

#[test]
fn the_demo_walks_through_the_whole_day() {
    let folder = tempfile::tempdir().unwrap();
    let (code, text) = run(folder.path(), &["demo", "--listen", "127.0.0.1:0", "--exit"]);
    assert_eq!(code, Some(0), "{text}");
    for words in
        ["LIVE as deploy 1", "Hello, Ann", "Good morning, Ann", "unknown function", "tick was due at"]
    {
        assert!(text.contains(words), "{words}: {text}");
    }
}
