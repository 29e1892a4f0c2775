//! What one node has answered is seen by all others at once.

use std::sync::Mutex;
use std::thread;

use tests::faults::rounds;
use tests::{Client, Database};

use super::{clients, serve};

const WRITERS: u32 = 4;

/// The keys of a list, as many as each writer keeps.
const KEPT: u32 = 3;

const SCRIPTS: &[(&str, &str)] = &[
    (
        "write",
        "let of = ctx.request.query.of; let number = parse_int(ctx.request.query.number);
         kv::set(`value/${of}`, number);
         kv::set(`list/${of}/${1_000_000 + number}`, number);
         kv::delete(`list/${of}/${1_000_000 + number - 3}`);
         true",
    ),
    ("value", "kv::get(`value/${ctx.request.query.of}`)"),
    ("list", "kv::list(`list/${ctx.request.query.of}/`).map(|entry| entry.value)"),
    ("keys", "kv::keys(`list/${ctx.request.query.of}/`, #{ limit: 1, reverse: true })"),
    ("at", "kv::get(`list/${ctx.request.query.of}/${1_000_000 + parse_int(ctx.request.query.number)}`)"),
];

/// Writes at one node and reads at another, in turn. Returns what was read and is not the newest.
fn write_and_read(clients: &mut [Client], writer: u32, writes: u32) -> Vec<String> {
    let mut stale = Vec::new();
    for number in 1..=writes {
        let count = clients.len();
        let at = number as usize % count;
        // Each pair of two nodes, in both directions.
        let other = (at + 1 + number as usize / count % (count - 1)) % count;
        let (this, last) = (format!("number={number}"), number.saturating_sub(KEPT));
        let kept: Vec<u32> = (last + 1..=number).collect();
        let (read, expected) = match number % 5 {
            0 => ("value?".to_owned(), format!("{number}")),
            1 => ("list?".to_owned(), serde_json::json!(kept).to_string()),
            2 => ("keys?".to_owned(), format!("[\"list/{writer}/{}\"]", 1_000_000 + number)),
            // It was absent.
            3 => (format!("at?{this}&"), format!("{number}")),
            // It is deleted.
            _ => (format!("at?number={last}&"), "null".to_owned()),
        };
        let path = format!("/app/{read}of={writer}");
        // What the node then has in its memory is outdated by the write.
        let before = clients[other].get(&path);
        assert_ne!(before, expected, "{path}");
        clients[at].get(&format!("/app/write?of={writer}&{this}"));
        let after = clients[other].get(&path);
        if after != expected {
            stale.push(format!("{path} after {number} was written: {after}, not {expected}"));
        }
    }
    stale
}

#[test]
fn write_at_one_node_is_read_at_the_others_at_once() {
    let nodes = serve(&Database::postgres(), &["one", "two", "three"], SCRIPTS);
    let stale = Mutex::new(Vec::new());
    thread::scope(|scope| {
        for writer in 0..WRITERS {
            let (mut clients, stale) = (clients(&nodes), &stale);
            scope.spawn(move || {
                let found = write_and_read(&mut clients, writer, rounds(1_500, 10_000) / WRITERS);
                stale.lock().unwrap().extend(found);
            });
        }
    });
    let stale = stale.into_inner().unwrap();
    assert!(stale.is_empty(), "{} stale reads: {:#?}", stale.len(), &stale[..stale.len().min(5)]);
}

/// A node that is stopped by SIGSTOP, and has missed everything, when it wakes.
#[test]
fn node_that_was_frozen_answers_with_the_newest_value() {
    let nodes = serve(&Database::postgres(), &["one", "two", "three"], SCRIPTS);
    let mut clients = clients(&nodes);
    let mut number = 0;
    for round in 0..rounds(6, 200) as usize {
        let frozen = round % nodes.len();
        let reads = ["value?of=0", "list?of=0", "keys?of=0"];
        for path in reads {
            clients[frozen].get(&format!("/app/{path}"));
        }
        nodes[frozen].freeze();
        for write in 0..4 {
            number += 1;
            let at = (frozen + 1 + write % 2) % nodes.len();
            clients[at].get(&format!("/app/write?of=0&number={number}"));
        }
        // It gets the request before it wakes.
        let path = format!("/app/{}", reads[round / nodes.len() % reads.len()]);
        let mut wire = clients[frozen].send(&path, None).expect("it listens");
        nodes[frozen].thaw();
        let response = wire.response();
        let expected = match path.as_str() {
            "/app/value?of=0" => format!("{number}"),
            "/app/list?of=0" => serde_json::json!([number - 2, number - 1, number]).to_string(),
            _ => format!("[\"list/0/{}\"]", 1_000_000 + number),
        };
        assert_eq!((response.status, response.body), (200, expected), "round {round}: {path}");
    }
}
