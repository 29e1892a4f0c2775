//! Pushes that hold a secret.

use tests::{Database, Server};

use super::{app, secrets};

const VALUE: &str = "tangerine \"dream\" 1";

#[test]
fn a_push_that_holds_a_secret_is_rejected_with_file_and_line() {
    let server = Server::start(Database::sqlite());
    let repository = app();
    let url = server.git_url("hello");
    secrets(&server, &["set", "API_KEY"], VALUE).succeeded();
    repository.push(&url, &["main"]).succeeded();
    let good = repository.head();
    let refused = |refspec: &str, words: &str| {
        let pushed = repository.push(&url, &["-f", refspec]).refused().says(words);
        assert!(!pushed.text.contains("tangerine"), "{}", pushed.text);
    };
    repository.write("notes/todo.txt", format!("one\ntwo {VALUE}\n"));
    repository.write("broken.rhai", format!("let x = \"{VALUE}\"; oops("));
    repository.commit(&format!("with {VALUE}"));
    refused("main", "error: notes/todo.txt:2  holds the value of secret API_KEY");
    refused("main:next", "nothing changed");
    refused("main:refs/tags/v1", "holds the value of secret API_KEY");
    refused("main:refs/picloud/check", "notes/todo.txt:2");
    // As JSON has it, and in a binary file.
    repository.git(&["reset", "-q", "--hard", &good]);
    repository.write("data.json", format!("{{\"key\":\n{}}}", serde_json::to_string(VALUE).expect("JSON")));
    repository.write("blob.bin", [b"\0\n\xff\n\n".as_slice(), VALUE.as_bytes()].concat());
    repository.commit("other forms");
    refused("main", "error: data.json:2  holds");
    refused("main", "error: blob.bin:4  holds");
    // What was taken out again is in the history all the same.
    repository.git(&["rm", "-q", "data.json", "blob.bin"]);
    repository.commit("taken out");
    refused("main", "which an earlier commit has, holds the value of secret API_KEY");
    repository.git(&["reset", "-q", "--hard", &good]);
    repository.write("more.txt", "tangerine alone is no secret");
    repository.commit("fine");
    repository.push(&url, &["main"]).succeeded();
}

#[test]
fn what_was_pushed_before_it_became_a_secret_is_not_pushed_again() {
    let server = Server::start(Database::sqlite());
    let repository = app();
    let url = server.git_url("hello");
    repository.write("config.txt", "tangerine-1");
    repository.commit("before");
    secrets(&server, &["set", "API_KEY"], "something else").succeeded();
    repository.push(&url, &["main"]).succeeded();
    secrets(&server, &["set", "API_KEY"], "tangerine-1").succeeded();
    repository.commit("again");
    repository.push(&url, &["main"]).refused().says("config.txt:1  holds the value of secret API_KEY");
}
