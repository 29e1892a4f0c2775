//! A node that is killed at any moment of a push: ref, live answer and what the client was told always agree.

use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use tests::repository::command;
use tests::{Database, Pushed, Repository, Server, on_both_databases, until};

on_both_databases!(a_push_that_was_told_is_there_and_nothing_is_half_there);

/// How often a node is killed, on each database.
const ROUNDS: u32 = 150;

/// A push that goes on by itself.
fn start_push(repository: &Repository, url: &str) -> Child {
    let mut push = command(repository.path(), &["push", url, "main"]);
    push.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("git is installed")
}

fn ended(push: Child) -> Pushed {
    let output = push.wait_with_output().expect("git's output");
    let text = [output.stdout, output.stderr].concat();
    Pushed { accepted: output.status.success(), text: String::from_utf8_lossy(&text).into_owned() }
}

/// Commits a script that answers `round`.
fn commit(repository: &Repository, round: u32) -> String {
    repository.write("picloud.toml", "sdk = \"1.1\"\n\n[[routes]]\npath = \"/\"\nscript = \"round.rhai\"\n");
    repository.write("round.rhai", format!("\"round {round}\""));
    repository.commit(&format!("round {round}"))
}

/// What the branch points to, as a node tells git.
fn main_of(repository: &Repository, node: &Server) -> String {
    let refs = repository.git(&["ls-remote", &node.git_url("app"), "refs/heads/main"]);
    refs.split_whitespace().next().unwrap_or_default().to_owned()
}

/// The revision that answers at a node.
fn live_at(node: &Server) -> String {
    node.get("/app/").header("picloud-revision").unwrap_or_default().to_owned()
}

/// Moments spread evenly over `most`, the same in every run (a Weyl sequence).
fn moment(round: u32, most: Duration) -> Duration {
    most.mul_f64((f64::from(round) * 0.618_033_988_749_895).fract())
}

fn a_push_that_was_told_is_there_and_nothing_is_half_there(database: Database) {
    // By a name of its own it is known again at once, and not waited for.
    let mut server = Server::start_with(database, &["--node-name", "one"]);
    let repository = Repository::new();
    let mut before = commit(&repository, 0);
    let since = Instant::now();
    ended(start_push(&repository, &server.git_url("app"))).succeeded();
    // Follows how long pushes take while other tests run: half of the kills come after the push has ended.
    let mut most = since.elapsed().mul_f64(2.0);
    let (mut told, mut moved) = (0, 0);
    for round in 1..=ROUNDS {
        let pushed = commit(&repository, round);
        let push = start_push(&repository, &server.git_url("app"));
        std::thread::sleep(moment(round, most));
        server.kill();
        let answer = ended(push);
        server.restart();
        let now = main_of(&repository, &server);
        assert_eq!(live_at(&server), now, "round {round}: what answers is not what the branch points to");
        if answer.accepted || answer.text.contains("LIVE as deploy") {
            assert_eq!(now, pushed, "round {round}: it was told that it is live\n{}", answer.text);
            told += 1;
            most = most.mul_f64(0.97);
        } else {
            most = most.mul_f64(1.03);
            assert!(now == before || now == pushed, "round {round}: the branch points to {now}");
        }
        moved += u32::from(now == pushed);
        before = now;
    }
    // Neither all too early nor all too late: the kills went through the whole push.
    assert!(told > 0 && moved < ROUNDS, "{told} of {ROUNDS} were told, {moved} moved");
}

#[test]
fn a_node_killed_in_the_middle_of_a_push_leaves_the_others_true() {
    let database = Database::postgres();
    let mut nodes: Vec<Server> = ["one", "two", "three"]
        .map(|name| Server::start_with(database.clone(), &["--node-name", name]))
        .into();
    let repository = Repository::new();
    commit(&repository, 0);
    let since = Instant::now();
    ended(start_push(&repository, &nodes[0].git_url("app"))).succeeded();
    let usual = since.elapsed();
    for round in 1..=30 {
        let killed = round as usize % 3;
        let pushed = commit(&repository, round);
        let push = start_push(&repository, &nodes[killed].git_url("app"));
        std::thread::sleep(moment(round, usual.mul_f64(1.2)));
        nodes[killed].kill();
        let answer = ended(push);
        let others = [&nodes[(killed + 1) % 3], &nodes[(killed + 2) % 3]];
        let now = main_of(&repository, others[0]);
        if answer.accepted {
            assert_eq!(now, pushed, "round {round}: it was told that it is live\n{}", answer.text);
        }
        for other in others {
            until("the other node serves what the branch points to", || {
                (live_at(other) == now).then_some(())
            });
        }
        nodes[killed].restart();
        assert_eq!(live_at(&nodes[killed]), now, "round {round}");
    }
}
