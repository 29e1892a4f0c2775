//! State: runs that overlap are serializable, and only those run again that have read what was changed.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;

use serde_json::json;
use tests::wait::SetOnDrop;
use tests::{Client, Database, Server, Wire, on_both_databases, until};

use crate::state::{repository, serve};

on_both_databases!(
    one_of_two_runs_that_read_what_the_other_writes_runs_again,
    pages_have_no_gap_during_inserts,
    readers_of_newest_entries_do_not_run_again_for_older_ones,
);

fn get(path: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nHost: test\r\n\r\n")
}

fn reruns(server: &Server) -> f64 {
    server.metric("picloud_state_reruns_total")
}

/// Two doctors leave their shift at once, each because the other is still there.
fn one_of_two_runs_that_read_what_the_other_writes_runs_again(database: Database) {
    // It waits for a key that it does not depend on, which the test sets when both have read.
    let leave = |own: &str, other: &str| {
        format!(
            "let is_there = kv::get(\"{other}\");
             log::info(`{own} sees ${{is_there}}`);
             let sum = 0;
             while kv::peek(\"go\") != true {{ for n in 0..10_000 {{ sum += n; }} }}
             if is_there {{ kv::set(\"{own}\", false); \"left\" }} else {{ \"stayed\" }}"
        )
    };
    let (ann, bob) = (leave("ann", "bob"), leave("bob", "ann"));
    let app = repository(&[
        ("begin", "kv::set(\"ann\", true); kv::set(\"bob\", true); kv::set(\"go\", false); 1"),
        ("ann", &ann),
        ("bob", &bob),
        ("go", "kv::set(\"go\", true); 1"),
        ("end", "kv::get_many([\"ann\", \"bob\"])"),
    ]);
    let manifest = std::fs::read_to_string(app.path().join("picloud.toml")).expect("a manifest");
    let limits = "\n[limits]\ntimeout = \"60s\"\noperations = 1_000_000_000\n";
    app.write("picloud.toml", manifest + limits);
    app.commit("long runs");
    let server = Server::start(database);
    app.push(&server.git_url("app"), &["main"]).succeeded();
    assert_eq!(server.get("/app/begin").status, 200);
    let [mut ann, mut bob] = ["ann", "bob"].map(|doctor| Wire::sent(&server, get(&format!("/app/{doctor}"))));
    until("both have read", || {
        let log = server.log();
        (log.contains("ann sees true") && log.contains("bob sees true")).then_some(())
    });
    let before = reruns(&server);
    assert_eq!(server.get("/app/go").status, 200);
    let ends = BTreeSet::from([ann.response().body, bob.response().body]);
    assert_eq!(ends, BTreeSet::from(["\"left\"".to_owned(), "\"stayed\"".to_owned()]), "one after the other");
    let there = server.get("/app/end").json();
    assert!(
        [json!({"ann": true, "bob": false}), json!({"ann": false, "bob": true})].contains(&there),
        "{there}"
    );
    assert!(server.metric("picloud_state_conflicts_total{app=\"app\"}") >= 1.0);
    assert!(reruns(&server) > before);
    // The record of the one that ran again says so.
    let log = until("the second pass is in the log", || {
        Some(server.log()).filter(|log| log.contains("sees false"))
    });
    assert!(log.contains("ran again because its state had changed; its last line is superseded"), "{log}");
}

/// Inserts on several connections until `read` has ended, and returns how many there were.
fn during_inserts(server: &Server, path: &str, read: impl FnOnce(&AtomicU64)) -> u64 {
    let (is_over, next, inserted) = (AtomicBool::new(false), AtomicU64::new(0), AtomicU64::new(0));
    thread::scope(|scope| {
        let _over = SetOnDrop(&is_over);
        for _ in 0..8 {
            scope.spawn(|| {
                let mut client = Client::of(server);
                while !is_over.load(Ordering::SeqCst) {
                    client.get(&format!("{path}?id={:06}", next.fetch_add(1, Ordering::SeqCst)));
                    inserted.fetch_add(1, Ordering::SeqCst);
                }
            });
        }
        read(&inserted);
    });
    inserted.into_inner()
}

/// The number of inserts during which pages are read.
const INSERTS: u64 = 1500;

fn pages_have_no_gap_during_inserts(database: Database) {
    let server = serve(
        database,
        &[
            ("insert", "let n = kv::incr(\"n\"); kv::set(`post/${1_000_000 + n}`, n)"),
            (
                "page",
                "let options = #{ limit: 20, reverse: true };
                 if ctx.request.query.before != () { options.before = ctx.request.query.before; }
                 kv::list(\"post/\", options).map(|entry| entry.value)",
            ),
        ],
    );
    (0..40).for_each(|_| assert_eq!(server.get("/app/insert").status, 200));
    let inserted = during_inserts(&server, "/app/insert", |inserted| {
        let mut client = Client::of(&server);
        let mut page = |query: &str| -> Vec<u64> {
            let page = client.get(&format!("/app/page{query}"));
            serde_json::from_str(&page).unwrap_or_else(|_| panic!("numbers: {page}"))
        };
        let (mut pages, mut newest) = (0, 0);
        while pages < 100 || inserted.load(Ordering::SeqCst) < INSERTS {
            let first = page("");
            assert!(first[0] >= newest, "a later page is of a later moment");
            newest = first[0];
            let second = page(&format!("?before=post/{}", 1_000_000 + first[19]));
            let expected: Vec<u64> = (0..40).map(|back| newest - back).collect();
            assert_eq!([first, second].concat(), expected);
            pages += 2;
        }
    });
    assert!(inserted >= INSERTS);
}

fn readers_of_newest_entries_do_not_run_again_for_older_ones(database: Database) {
    // It takes some time, and it writes too, so that what it has read is compared with what was written meanwhile.
    let reader = |prefix: &str| {
        format!(
            "let page = kv::keys(\"{prefix}\", #{{ limit: 20, reverse: true }});
             let sum = 0; for n in 0..10_000 {{ sum += n; }}
             kv::add(\"reads\", 1); page"
        )
    };
    let server = serve(
        database,
        &[
            ("fill", "for n in 0..30 { kv::set(`post/9${100 + n}`, n); } 1"),
            ("insert", "kv::set(`post/1${ctx.request.query.id}`, 1); 1"),
            ("newest", &reader("post/")),
            // What every insert changes.
            ("newest-inserted", &reader("post/1")),
        ],
    );
    assert_eq!(server.get("/app/fill").status, 200);
    let expected: Vec<String> = (0..20).map(|back| format!("post/9{}", 129 - back)).collect();
    let before = reruns(&server);
    during_inserts(&server, "/app/insert", |inserted| {
        let mut client = Client::of(&server);
        let mut pages = 0;
        while pages < 100 || inserted.load(Ordering::SeqCst) < INSERTS {
            let page = client.get("/app/newest");
            assert_eq!(serde_json::from_str::<Vec<String>>(&page).expect("keys"), expected);
            pages += 1;
        }
        assert_eq!(reruns(&server), before, "no insert is in the range that was walked");
        until("a reader of what is inserted runs again", || {
            client.get("/app/newest-inserted");
            (reruns(&server) > before).then_some(())
        });
    });
}
