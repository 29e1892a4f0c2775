//! Nodes that change the same state.

use std::collections::BTreeSet;
use std::sync::Mutex;
use std::thread;

use tests::{Database, Repository, until};

use super::{get, nodes};

#[test]
fn no_increment_is_lost_between_nodes() {
    const CLIENTS: usize = 8;
    const REQUESTS: usize = 12;
    let nodes = nodes(&Database::postgres(), &["one", "two"]);
    let repository = Repository::new();
    repository.write("hits.rhai", "kv::incr(\"hits\")");
    repository.write("ready.rhai", "true");
    let route = |name| format!("\n[[routes]]\npath = \"/{name}\"\nscript = \"{name}.rhai\"\n");
    repository.write("picloud.toml", format!("sdk = \"1.3\"\n{}{}", route("hits"), route("ready")));
    repository.commit("hits");
    repository.push(&nodes[0].git_url("app"), &["main"]).succeeded();
    for node in &nodes {
        until("the app is live", || (get(node, "/app/ready").0 == 200).then_some(()));
    }
    let counts = Mutex::new(BTreeSet::new());
    thread::scope(|scope| {
        for client in 0..CLIENTS {
            let (node, counts) = (&nodes[client % nodes.len()], &counts);
            scope.spawn(move || {
                for _ in 0..REQUESTS {
                    let (status, body) = get(node, "/app/hits");
                    assert_eq!(status, 200, "{body}");
                    counts.lock().unwrap().insert(body.parse::<usize>().expect("a number"));
                }
            });
        }
    });
    let expected: BTreeSet<usize> = (1..=CLIENTS * REQUESTS).collect();
    assert_eq!(counts.into_inner().unwrap(), expected, "each request got another number");
}
