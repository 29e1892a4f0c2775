//! Nodes that change the same keys: nothing is lost, nothing fails, and each node gets a fair part.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Barrier, Mutex};
use std::thread;
use std::time::Instant;

use tests::faults::{long, rounds};
use tests::{Client, Database, Server};

use super::serve;
use crate::state::repository;

const COUNTER: &[(&str, &str)] = &[("hits", "kv::incr(\"hits\")")];

/// Counts with so many clients until there are `requests`; client `n` is at node `n % nodes.len()`. Returns the
/// numbers that the clients of each node got.
fn count(nodes: &[Server], clients: usize, requests: u32) -> Vec<Vec<u32>> {
    let (next, begin) = (AtomicU32::new(0), Barrier::new(clients));
    let counts: Vec<Mutex<Vec<u32>>> = nodes.iter().map(|_| Mutex::default()).collect();
    thread::scope(|scope| {
        for client in 0..clients {
            let at = client % nodes.len();
            let (mut client, counts, next, begin) = (Client::of(&nodes[at]), &counts[at], &next, &begin);
            scope.spawn(move || {
                begin.wait();
                while next.fetch_add(1, Ordering::SeqCst) < requests {
                    let number = client.get("/app/hits").parse().expect("a number");
                    counts.lock().unwrap().push(number);
                }
            });
        }
    });
    counts.into_iter().map(|counts| counts.into_inner().unwrap()).collect()
}

fn conflicts(nodes: &[Server]) -> f64 {
    nodes.iter().map(|node| node.metric("picloud_state_conflicts_total{app=\"app\"}")).sum()
}

#[test]
fn sum_of_64_clients_on_three_nodes_is_right() {
    const CLIENTS: usize = 64;
    let nodes = serve(&Database::postgres(), &["one", "two", "three"], COUNTER);
    let requests = rounds(1_000, 10_000);
    let counts = count(&nodes, CLIENTS, requests);
    let sorted: BTreeSet<u32> = counts.concat().into_iter().collect();
    assert_eq!(sorted, (1..=requests).collect(), "each request got another number");
    // All see it.
    for (already, node) in (1..).zip(&nodes) {
        assert_eq!(Client::of(node).get("/app/hits"), format!("{}", requests + already));
    }
    assert!(conflicts(&nodes) > 0.0);
    if long() {
        assert_throughput(&nodes, CLIENTS, requests);
    }
}

/// Three nodes count at least half as fast as one of them.
fn assert_throughput(nodes: &[Server], clients: usize, requests: u32) {
    let seconds = |nodes: &[Server]| {
        let started_at = Instant::now();
        count(nodes, clients, requests);
        started_at.elapsed().as_secs_f64()
    };
    let mut ratios: Vec<f64> = (0..5).map(|_| seconds(&nodes[..1]) / seconds(nodes)).collect();
    ratios.sort_by(f64::total_cmp);
    assert!(ratios[2] > 0.5, "the throughput of three nodes, compared with one: {ratios:?}");
}

#[test]
fn nodes_that_change_one_key_get_fair_parts() {
    let nodes = serve(&Database::postgres(), &["one", "two"], COUNTER);
    for clients in [2, 16] {
        let requests = rounds(600, 6_000);
        let parts: Vec<u32> =
            count(&nodes, clients, requests).iter().map(|counts| counts.len() as u32).collect();
        let least = *parts.iter().min().expect("two nodes");
        assert!(least >= requests / 5, "{clients} clients: {parts:?}");
    }
}

/// Two apps, each at both nodes, write the same keys in both orders.
#[test]
fn apps_on_two_nodes_never_deadlock() {
    let write = |order: &str| {
        format!(
            "for number in {order} {{ kv::add(`k${{number}}`, 1); }}
             kv::set(`last/${{ctx.request.query.n}}`, 1); kv::delete(`last/${{ctx.request.query.n}}`); true"
        )
    };
    let (upward, downward) = (write("0..40"), write("range(39, -1, -1)"));
    let scripts =
        [("up", upward.as_str()), ("down", &downward), ("sums", "kv::list(\"k\").map(|entry| entry.value)")];
    run_apps_in_both_orders(&scripts, rounds(30, 2_000));
}

/// Both apps run at both nodes, in both orders: each execution once, no deadlock.
fn run_apps_in_both_orders(scripts: &[(&str, &str)], requests: u32) {
    let database = Database::postgres();
    let mut nodes = serve(&database, &["one", "two"], scripts);
    repository(scripts).push(&nodes[1].git_url("other"), &["main"]).succeeded().says("on 2/2 nodes");
    thread::scope(|scope| {
        for number in 0..8 {
            // Each combination of node, app and order.
            let (node, app) = (&nodes[number % 2], ["app", "other"][number / 2 % 2]);
            let order = ["up", "down"][number / 4];
            scope.spawn(move || {
                let mut client = Client::of(node);
                for n in 0..requests {
                    client.get(&format!("/{app}/{order}?n={n}"));
                }
            });
        }
    });
    for node in &nodes {
        for app in ["app", "other"] {
            let sums: Vec<u32> =
                serde_json::from_str(&Client::of(node).get(&format!("/{app}/sums"))).expect("numbers");
            assert_eq!(sums, vec![4 * requests; 40], "{app}");
        }
    }
    // A connection that is closed has reported everything to the statistics.
    nodes.iter_mut().for_each(Server::stop);
    let deadlocks = "SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()";
    assert_eq!(database.query(deadlocks), "0");
}

/// Two apps, each at both nodes, read and change the same keys in both orders. Contention alone never fails an execution.
#[test]
fn execution_that_changes_many_keys_is_not_starved_by_another_node() {
    let write = |order: &str| {
        format!(
            "for number in {order} {{
                 let key = `k${{number}}`;
                 if number % 3 == 0 {{ kv::incr(key); }} else {{ kv::add(key, 1); }}
             }}
             kv::delete(`gone${{ctx.request.query.n}}`); true"
        )
    };
    let upward = write("0..40");
    // Rhai has no range that goes down.
    let downward = write("range(39, -1, -1)");
    let scripts =
        [("up", upward.as_str()), ("down", &downward), ("sums", "kv::list(\"k\").map(|entry| entry.value)")];
    run_apps_in_both_orders(&scripts, rounds(60, 2_000));
}
