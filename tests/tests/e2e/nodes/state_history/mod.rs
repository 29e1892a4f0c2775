//! Random transactions at three nodes are strictly serializable, through failures of nodes and connections.
//!
//! - `clients`: send transactions, and note what they see
//! - `failures`: kill, freeze and disconnect nodes meanwhile
//! - `history`: the transactions
//! - `checker`: decides whether a history is right, with the dependencies in `graph`, and says what is wrong (`anomaly`)
//! - `synthetic`: what the checker finds

mod anomaly;
mod checker;
mod clients;
mod failures;
mod graph;
mod history;
mod synthetic;

use std::path::PathBuf;
use std::thread;

use tests::faults::{SeededRandom, rounds};
use tests::{Database, Proxy, Server, SetOnDrop, until};

use self::checker::check;
use self::clients::{Load, SCRIPTS};
use self::failures::{Cluster, plan};
use self::history::{Lists, Outcome, Transaction};
use crate::state::repository;

const CLIENTS: usize = 8;

/// The lists in the database.
fn stored(database: &Database) -> Lists {
    // What a killed node has sent is not necessarily over.
    until("no transaction is open", || {
        let open = "SELECT count(*) FROM pg_stat_activity
            WHERE datname = current_database() AND pid <> pg_backend_pid() AND backend_xid IS NOT NULL";
        (database.query(open) == "0").then_some(())
    });
    let rows = database.query("SELECT key, convert_from(value, 'UTF8') FROM kv_entries");
    let rows = rows.lines().map(|row| row.split_once('|').expect("two columns"));
    rows.map(|(key, list)| (key.to_owned(), serde_json::from_str(list).expect("a list"))).collect()
}

/// Saves a history in `target/history`, with all values.
fn save(name: &str, history: &[Transaction]) -> PathBuf {
    let mut history = history.to_vec();
    history.sort_by_key(|transaction| transaction.began);
    let lines = history.iter().map(|transaction| format!("{transaction} {:?}\n", transaction.steps));
    let tests = std::env::current_exe().expect("a path");
    let target = tests.ancestors().nth(3).expect("target/<profile>/deps/<test>");
    std::fs::create_dir_all(target.join("history")).expect("a folder");
    let file = target.join("history").join(name);
    std::fs::write(&file, lines.collect::<String>()).expect("a file");
    file
}

/// Runs random transactions at so many nodes while these fail, and checks what clients have seen.
fn check_random_transactions(name: &str, nodes: usize, rounds: u32) {
    let mut random = SeededRandom::new(name);
    let database = Database::postgres();
    let url = database.url().expect("PostgreSQL");
    let (server, path) = url.rsplit_once('/').expect("a database");
    let port = server.rsplit_once(':').and_then(|(_, port)| port.parse().ok()).expect("a port");
    let proxies: Vec<Proxy> = (0..nodes).map(|_| Proxy::to(port)).collect();
    let started = proxies.iter().map(|proxy| {
        let url = format!("postgres://picloud@127.0.0.1:{}/{path}", proxy.port());
        Server::start(Database::at(&url))
    });
    let mut cluster = Cluster::new(&proxies, started.collect());
    repository(SCRIPTS).push(&cluster.nodes[0].git_url("app"), &["main"]).succeeded();
    cluster.wait_until_available();
    let load = Load::new(cluster.nodes.iter().map(|node| node.address.clone()));
    thread::scope(|scope| {
        let _over = SetOnDrop(&load.is_over);
        for client in 0..CLIENTS {
            let (load, random) = (&load, random.fork());
            scope.spawn(move || load.run(client, random));
        }
        for failure in plan(&mut random, nodes, rounds) {
            cluster.cause(&failure, &load);
        }
    });
    let counts = [Outcome::Committed, Outcome::Unknown, Outcome::Refused].map(|outcome| load.count(outcome));
    cluster.wait_until_available();
    (0..nodes).for_each(|node| load.read_all(node));
    let stored = stored(&database);
    let (reruns, cuts) = (cluster.reruns(), cluster.cuts());
    eprintln!("committed, unknown, refused: {counts:?}; {reruns} reruns, {cuts} cut commits");
    let history = load.history.into_inner().expect("no panic");
    let found = check(&history, &stored);
    if !found.is_empty() {
        let text: Vec<String> = found.iter().map(ToString::to_string).collect();
        let file = save(name, &history);
        panic!("not strictly serializable: {}\nthe history is in {}", text.join("\n"), file.display());
    }
    // The failures have happened, and clients have noticed.
    assert!(counts.iter().all(|count| *count > 0), "{counts:?}");
    assert!(reruns > 0.0 && cuts > 0, "{reruns} reruns, {cuts} cut commits");
}

#[test]
fn random_transactions_at_three_nodes_are_strictly_serializable() {
    let name = "random_transactions_at_three_nodes_are_strictly_serializable";
    check_random_transactions(name, 3, rounds(1, 25));
}

#[test]
fn random_transactions_at_one_node_are_strictly_serializable() {
    check_random_transactions("random_transactions_at_one_node_are_strictly_serializable", 1, rounds(1, 10));
}
