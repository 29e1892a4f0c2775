//! The database is set back to an older copy while nodes run: a node serves what the database has, and nothing of the
//! lost history, also if the new one has reached the same versions.

use serde_json::{Value, json};
use tests::faults::{SeededRandom, rounds};
use tests::{Database, Postgres, Server, until};

use super::{get_when_available, serve};

const SCRIPTS: &[(&str, &str)] = &[
    ("set", "kv::set(ctx.request.query.key, ctx.request.query.value); true"),
    ("get", "[kv::get(\"changed\"), kv::get(\"kept\"), kv::get(\"new\"), kv::get(\"later\")]"),
    ("list", "kv::list(\"\").map(|entry| [entry.key, entry.value])"),
];

fn set(node: &Server, key: &str, value: &str) {
    assert_eq!(get_when_available(node, &format!("/app/set?key={key}&value={value}")), "true");
}

fn is_ready(node: &Server) -> Option<()> {
    (node.get("/-/health/ready").body == "ok\n").then_some(())
}

/// What a node responds to each kind of read, the list first or last.
fn reads(node: &Server, list_first: bool) -> [Value; 2] {
    let read = |path| serde_json::from_str(&get_when_available(node, path)).expect("JSON");
    match list_first {
        true => {
            let list = read("/app/list");
            [read("/app/get"), list]
        }
        false => [read("/app/get"), read("/app/list")],
    }
}

/// The versions of the namespace and of its keys.
fn versions(database: &Database) -> String {
    database.query("SELECT version, (SELECT max(version) FROM kv_entries) FROM kv_namespaces")
}

/// Writes `lost` commits, sets the database back, and writes `again` others while the second node is frozen.
fn set_back(postgres: &Postgres, database: &Database, nodes: &[Server], lost: u64, again: u64) {
    set(&nodes[0], "changed", "first");
    set(&nodes[0], "kept", "first");
    let earlier = postgres.copy();
    nodes.iter().for_each(|node| until("the node has reconnected", || is_ready(node)));
    // What is in the memory of the nodes.
    let first = [json!(["first", "first", null, null]), json!([["changed", "first"], ["kept", "first"]])];
    nodes.iter().for_each(|node| assert_eq!(reads(node, false), first));
    for number in 1..lost {
        set(&nodes[number as usize % 2], "changed", &format!("lost-{number}"));
    }
    set(&nodes[0], "new", "lost");
    for node in nodes {
        assert_eq!(reads(node, true)[0][2], "lost");
    }
    let lost_versions = versions(database);
    nodes[1].freeze();
    postgres.restore_copy(&earlier);
    if again == 0 {
        assert_eq!(reads(&nodes[0], true), first, "a node that was running");
    }
    for number in 1..again {
        set(&nodes[0], "changed", &format!("again-{number}"));
    }
    if again > 0 {
        set(&nodes[0], "later", "again");
    }
    let expected = match again {
        0 => first,
        1 => [
            json!(["first", "first", null, "again"]),
            json!([["changed", "first"], ["kept", "first"], ["later", "again"]]),
        ],
        _ => {
            let changed = format!("again-{}", again - 1);
            [
                json!([changed, "first", null, "again"]),
                json!([["changed", changed], ["kept", "first"], ["later", "again"]]),
            ]
        }
    };
    if lost == again {
        assert_eq!(versions(database), lost_versions, "both histories have the same versions");
    }
    nodes[1].thaw();
    for list_first in [true, false] {
        for node in nodes.iter().rev() {
            assert_eq!(reads(node, list_first), expected, "{lost} commits are lost, {again} are new");
        }
    }
    // What they write belongs to the new history.
    for (number, node) in nodes.iter().enumerate() {
        set(node, "kept", &format!("{number}"));
        nodes.iter().for_each(|other| assert_eq!(reads(other, false)[0][1], format!("{number}")));
    }
}

#[test]
fn nodes_serve_the_state_of_a_database_that_was_set_back() {
    let mut random = SeededRandom::new("nodes_serve_the_state_of_a_database_that_was_set_back");
    let mut commits = vec![(4, 4), (5, 0)];
    // Fewer, as many, and more commits than were lost.
    commits.extend((0..rounds(0, 12)).map(|_| (1 + random.below(6), random.below(7))));
    for (lost, again) in commits {
        let postgres = Postgres::start();
        let database = Database::on(postgres.url());
        let nodes = serve(&database, &["one", "two"], SCRIPTS);
        set_back(&postgres, &database, &nodes, lost, again);
    }
}
