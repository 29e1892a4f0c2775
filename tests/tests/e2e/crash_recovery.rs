//! A node that is killed at any moment: the ref, the live response and the reported outcomes always agree.

use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use tests::faults::{self, SeededRandom};
use tests::repository::command;
use tests::{CommandOutput, Database, Repository, Server, TOKEN, on_both_databases, until};

on_both_databases!(acknowledged_changes_survive_kills_and_no_change_is_partial);

/// A push that runs in the background.
fn start_push(repository: &Repository, url: &str) -> Child {
    let mut push = command(repository.path(), &["push", url, "main"]);
    push.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("git is installed")
}

fn ended(push: Child) -> CommandOutput {
    let output = push.wait_with_output().expect("git's output");
    let text = [output.stdout, output.stderr].concat();
    CommandOutput { accepted: output.status.success(), text: String::from_utf8_lossy(&text).into_owned() }
}

/// Commits a script that returns `round`.
fn commit(repository: &Repository, round: u32) -> String {
    repository.write("picloud.toml", "sdk = \"1.1\"\n\n[[routes]]\npath = \"/\"\nscript = \"round.rhai\"\n");
    repository.write("round.rhai", format!("\"round {round}\""));
    repository.commit(&format!("round {round}"))
}

/// The commit of the branch, as git reads it from a node.
fn branch_commit(repository: &Repository, node: &Server) -> String {
    let refs = repository.git(&["ls-remote", &node.git_url("app"), "refs/heads/main"]);
    refs.split_whitespace().next().unwrap_or_default().to_owned()
}

/// The revision that serves requests at a node.
fn live_revision(node: &Server) -> String {
    node.get("/app/").header("picloud-revision").unwrap_or_default().to_owned()
}

/// The state of a secret as known from the responses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum SecretState {
    Set,
    Unset,
    /// The node was killed before it responded.
    Either,
}

/// The secrets that are set and unset during the pushes.
const SECRETS: usize = 16;

fn secret_path(number: usize) -> String {
    format!("/-/api/v1/apps/app/secrets/S{number}")
}

/// Sets the secret if it was unset and the reverse, and returns the resulting state.
fn toggle_secret(node: &Server, number: usize, before: SecretState) -> SecretState {
    let bearer = format!("Bearer {TOKEN}");
    let headers = [("authorization", bearer.as_str()), ("content-type", "application/json")];
    let (after, response) = match before {
        SecretState::Set => {
            (SecretState::Unset, node.try_request("DELETE", &secret_path(number), &headers, None))
        }
        SecretState::Unset | SecretState::Either => {
            let value = br#"{"value": "correct horse battery staple"}"#;
            (SecretState::Set, node.try_request("PUT", &secret_path(number), &headers, Some(value)))
        }
    };
    match response {
        Ok(response) if response.status < 300 => after,
        Ok(response) => panic!("secret {number}: {response:?}"),
        Err(_) => SecretState::Either,
    }
}

/// The numbers of the secrets that the node has.
fn secret_numbers(node: &Server) -> Vec<usize> {
    let bearer = format!("Bearer {TOKEN}");
    let response = node.request("GET", "/-/api/v1/apps/app/secrets", &[("authorization", &bearer)], None);
    let all = response.json();
    let names = all["secrets"].as_array().expect("a list").iter();
    names
        .map(|secret| secret["name"].as_str().and_then(|name| name[1..].parse().ok()).expect("a name"))
        .collect()
}

fn acknowledged_changes_survive_kills_and_no_change_is_partial(database: Database) {
    let rounds = faults::rounds(60, 1000);
    let mut moments = SeededRandom::new("acknowledged_changes_outlive_kills");
    let keys = tempfile::NamedTempFile::new().expect("a file");
    std::fs::write(keys.path(), "ab".repeat(32)).expect("a key");
    // Under its own name the node is known again at once; other nodes do not wait for the old one.
    let flags = ["--node-name", "one", "--secret-key-file", keys.path().to_str().expect("a path")];
    let mut server = Server::start_with(database, &flags);
    let repository = Repository::new();
    let mut before = commit(&repository, 0);
    let since = Instant::now();
    ended(start_push(&repository, &server.git_url("app"))).succeeded();
    // Follows the duration of pushes while other tests run: half of the kills come after the end of the push.
    let mut most = since.elapsed().mul_f64(2.0);
    let (mut acknowledged, mut moved, mut slowest) = (0, 0, Duration::ZERO);
    let mut secrets = [SecretState::Unset; SECRETS];
    for round in 1..=rounds {
        let pushed = commit(&repository, round);
        let push = start_push(&repository, &server.git_url("app"));
        let secret = round as usize % SECRETS;
        let moment = moments.within(most);
        secrets[secret] = std::thread::scope(|scope| {
            let changed = scope.spawn(|| toggle_secret(&server, secret, secrets[secret]));
            std::thread::sleep(moment);
            server.send_kill();
            changed.join().expect("a change")
        });
        server.kill();
        let response = ended(push);
        let killed = Instant::now();
        server.restart();
        let now = branch_commit(&repository, &server);
        assert_eq!(
            live_revision(&server),
            now,
            "round {round}: the live revision is not the commit of the branch"
        );
        slowest = slowest.max(killed.elapsed());
        if response.accepted || response.text.contains("LIVE as deploy") {
            assert_eq!(now, pushed, "round {round}: the push was acknowledged\n{}", response.text);
            acknowledged += 1;
            most = most.mul_f64(0.97);
        } else {
            most = most.mul_f64(1.03);
            assert!(now == before || now == pushed, "round {round}: the branch points to {now}");
        }
        moved += u32::from(now == pushed);
        before = now;
        let found = secret_numbers(&server);
        for (number, known) in secrets.iter_mut().enumerate() {
            let there = if found.contains(&number) { SecretState::Set } else { SecretState::Unset };
            assert!(
                *known == there || *known == SecretState::Either,
                "round {round}: secret {number} is {there:?}, not {known:?}"
            );
            *known = there;
        }
    }
    // The kills are spread over the whole push.
    assert!(acknowledged > 0 && moved < rounds, "{acknowledged} of {rounds} acknowledged, {moved} moved");
    let summary = format!("node killed {rounds} times, {acknowledged} pushes acknowledged (slowest start)");
    faults::recovered_in(&summary, slowest);
}

#[test]
fn node_killed_during_push_leaves_other_nodes_consistent() {
    let database = Database::postgres();
    let mut nodes: Vec<Server> = ["one", "two", "three"]
        .map(|name| Server::start_with(database.clone(), &["--node-name", name]))
        .into();
    let repository = Repository::new();
    commit(&repository, 0);
    let since = Instant::now();
    ended(start_push(&repository, &nodes[0].git_url("app"))).succeeded();
    let usual = since.elapsed();
    let mut moments = SeededRandom::new("a_node_killed_in_the_middle_of_a_push");
    for round in 1..=faults::rounds(20, 300) {
        let killed = round as usize % 3;
        let pushed = commit(&repository, round);
        let push = start_push(&repository, &nodes[killed].git_url("app"));
        std::thread::sleep(moments.within(usual.mul_f64(1.2)));
        nodes[killed].kill();
        let response = ended(push);
        let others = [&nodes[(killed + 1) % 3], &nodes[(killed + 2) % 3]];
        let now = branch_commit(&repository, others[0]);
        if response.accepted {
            assert_eq!(now, pushed, "round {round}: the push was acknowledged\n{}", response.text);
        }
        for other in others {
            until("the other node serves the commit of the branch", || {
                (live_revision(other) == now).then_some(())
            });
        }
        nodes[killed].restart();
        assert_eq!(live_revision(&nodes[killed]), now, "round {round}");
    }
}
