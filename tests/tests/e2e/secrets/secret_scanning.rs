//! Pushes that contain a secret.

use tests::{Database, Server};

use super::{app, secrets};

const VALUE: &str = "tangerine \"dream\" 1";

#[test]
fn push_containing_a_secret_is_rejected_with_file_and_line() {
    let server = Server::start(Database::sqlite());
    let repository = app();
    let url = server.git_url("hello");
    secrets(&server, &["set", "API_KEY"], VALUE).succeeded();
    repository.push(&url, &["main"]).succeeded();
    let good = repository.head();
    let refused = |refspec: &str, expected: &str| {
        let pushed = repository.push(&url, &["-f", refspec]).refused().says(expected);
        assert!(!pushed.text.contains("tangerine"), "{}", pushed.text);
    };
    repository.write("notes/todo.txt", format!("one\ntwo {VALUE}\n"));
    repository.write("broken.rhai", format!("let x = \"{VALUE}\"; oops("));
    repository.commit(&format!("with {VALUE}"));
    refused("main", "error: notes/todo.txt:2  contains the value of secret API_KEY");
    refused("main:next", "nothing changed");
    refused("main:refs/tags/v1", "contains the value of secret API_KEY");
    refused("main:refs/picloud/check", "notes/todo.txt:2");
    // Escaped as JSON, and in a binary file.
    repository.git(&["reset", "-q", "--hard", &good]);
    repository.write("data.json", format!("{{\"key\":\n{}}}", serde_json::to_string(VALUE).expect("JSON")));
    repository.write("blob.bin", [b"\0\n\xff\n\n".as_slice(), VALUE.as_bytes()].concat());
    repository.commit("other forms");
    refused("main", "error: data.json:2  contains the value of secret API_KEY");
    refused("main", "error: blob.bin:4  contains the value of secret API_KEY");
    // A removed secret is still in the history.
    repository.git(&["rm", "-q", "data.json", "blob.bin"]);
    repository.commit("taken out");
    refused("main", "of an earlier commit contains the value of secret API_KEY");
    repository.git(&["reset", "-q", "--hard", &good]);
    repository.write("more.txt", "tangerine alone is no secret");
    repository.commit("fine");
    repository.push(&url, &["main"]).succeeded();
}

#[test]
fn value_pushed_before_it_became_a_secret_is_rejected_later() {
    let server = Server::start(Database::sqlite());
    let repository = app();
    let url = server.git_url("hello");
    repository.write("config.txt", "tangerine-1");
    repository.commit("before");
    secrets(&server, &["set", "API_KEY"], "something else").succeeded();
    repository.push(&url, &["main"]).succeeded();
    secrets(&server, &["set", "API_KEY"], "tangerine-1").succeeded();
    repository.commit("again");
    repository.push(&url, &["main"]).refused().says("config.txt:1  contains the value of secret API_KEY");
}

#[test]
fn secrets_are_found_in_commit_messages_and_file_names() {
    let server = Server::start(Database::sqlite());
    let (repository, url) = (app(), server.git_url("hello"));
    const VALUE: &str = "tangerine-4711-dream";
    secrets(&server, &["set", "API_KEY", "--preview"], "clementine-0815-tree").succeeded();
    secrets(&server, &["set", "API_KEY"], VALUE).succeeded();
    repository.push(&url, &["main"]).succeeded();
    let good = repository.head();
    let refused = |refspec: &str, expected: &str| {
        let pushed = repository.push(&url, &["-f", refspec]).refused().says(expected);
        let output = pushed.text.lines().filter(|line| line.starts_with("remote:"));
        // git prints the names of the refs itself.
        assert!(
            !output.clone().any(|line| line.contains("4711")) || refspec.contains("4711"),
            "{}",
            pushed.text
        );
        repository.git(&["reset", "-q", "--hard", &good]);
    };
    repository.commit(&format!("subject\n\nand {VALUE} below it"));
    refused("main", "the message of commit");
    repository.git(&[
        "commit",
        "-q",
        "--allow-empty",
        "--author",
        &format!("{VALUE} <a@b>"),
        "-m",
        "by whom",
    ]);
    refused("main:next", "the author, or another header, of commit");
    repository.write(&format!("notes/{VALUE}.txt"), "nothing");
    repository.commit("a name");
    refused("main", "the path of a file  contains the value of secret API_KEY");
    // In an earlier one of the pushed commits.
    repository.write(&format!("{VALUE}.txt"), "nothing");
    repository.commit("a name");
    repository.git(&["mv", &format!("{VALUE}.txt"), "fine.txt"]);
    repository.commit("another name");
    refused("main", "the name of a file in tree");
    repository.git(&["tag", "-a", "v1", "-m", &format!("with {VALUE}")]);
    refused("refs/tags/v1", "the message of tag");
    refused(
        &format!("main:refs/heads/{VALUE}"),
        "the name of a branch or tag  contains the value of secret API_KEY",
    );
    refused(
        &format!("main:refs/tags/{VALUE}"),
        "the name of a branch or tag  contains the value of secret API_KEY",
    );
    repository.write("notes.txt", "clementine-0815-tree");
    repository.commit("one of previews");
    refused("main", "notes.txt:1  contains the value of secret API_KEY");
    repository.commit("fine");
    repository.push(&url, &["main"]).succeeded();
    assert!(!server.log().contains("4711"), "{}", server.log());
}

#[test]
fn preview_token_cannot_probe_production_secrets() {
    let server = Server::start(Database::sqlite());
    let (repository, url) = (app(), server.git_url("hello"));
    let preview = crate::access::token(&server, "reviewer", &["hello:preview"]);
    secrets(&server, &["set", "API_KEY"], "a-long-enough-value-1").succeeded();
    secrets(&server, &["set", "PIN"], "4711").succeeded();
    repository.push(&url, &["main"]).succeeded();
    repository.write("picloud.toml", "sdk = \"1.2\"\n");
    let guesses: String = (0..10_000).map(|guess| format!("{guess:04}\n")).collect();
    repository.write("guesses.txt", guesses);
    repository.commit("guesses");
    let as_preview = crate::access::url(&server, &preview, "hello");
    repository.push(&as_preview, &["main:try", "main:refs/picloud/check"]).succeeded();
    repository.push(&url, &["main"]).refused().says("guesses.txt:4712  contains the value of secret PIN");
    repository.write("long.txt", "a-long-enough-value-1");
    repository.commit("what nobody guesses");
    repository
        .push(&as_preview, &["main:try"])
        .refused()
        .says("long.txt:1  contains the value of secret API_KEY");
}
