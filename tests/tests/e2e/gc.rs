//! Garbage collection: deleted branches, old deploys, secrets that were pushed by mistake.

use std::io::Write as _;
use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tests::{Database, Repository, Server, TOKEN, on_both_databases, until};

use super::access::{api, cli, cli_as, token};
use super::postgres::lock_contention::Psql;

on_both_databases!(
    deleted_branch_frees_its_space,
    partly_rejected_push_stores_no_rejected_objects,
    old_deploys_are_pruned_and_live_ones_kept,
    deleted_preview_keeps_no_deploys,
    pushed_secret_can_be_removed,
    gc_deletes_no_pushed_objects,
    node_killed_during_gc_keeps_no_partly_deleted_commit,
);

/// Incompressible bytes, different for each seed.
pub(crate) fn incompressible(length: usize, seed: u32) -> Vec<u8> {
    let mut state = seed.wrapping_mul(2_654_435_761) ^ 0x9e37_79b9;
    let byte = |_| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 24) as u8
    };
    (0..length).map(byte).collect()
}

/// The disk usage of the app, as the API reports it.
fn disk_bytes(server: &Server) -> u64 {
    let limits = api(server, TOKEN, "GET", "apps/hello/limits", None).json();
    limits["used"]["disk_bytes"].as_u64().unwrap()
}

/// The size of the files in a folder.
fn folder_bytes(folder: &Path) -> u64 {
    std::fs::read_dir(folder).unwrap().map(|file| file.unwrap().metadata().map_or(0, |file| file.len())).sum()
}

/// An orphan branch with files that no route serves.
fn orphan(repository: &Repository, branch: &str, files: &[(&str, Vec<u8>)]) {
    repository.git(&["checkout", "-q", "--orphan", branch]);
    repository.git(&["rm", "-q", "-rf", "."]);
    for (path, content) in files {
        repository.write(path, content);
    }
    repository.commit(branch);
    repository.git(&["checkout", "-q", "-f", "main"]);
}

fn assert_clones_cleanly(url: &str) {
    Repository::clone_of(url).git(&["fsck", "--strict", "--full"]);
}

fn deleted_branch_frees_its_space(database: Database) {
    let is_embedded = database.url().is_none();
    let server = Server::start_with(database, &["--gc-grace-period", "0s"]);
    let url = server.git_url("hello");
    let repository = Repository::hello();
    repository.push(&url, &["main"]).succeeded();
    let (empty, empty_folder) = (disk_bytes(&server), folder_bytes(server.data_dir()));
    let files: Vec<_> = (0..20).map(|seed| (format!("{seed}.bin"), incompressible(1 << 20, seed))).collect();
    let files: Vec<_> = files.iter().map(|(path, content)| (path.as_str(), content.clone())).collect();
    orphan(&repository, "large", &files);
    repository.push(&url, &["large"]).succeeded().says("STORED");
    let (full, full_folder) = (disk_bytes(&server), folder_bytes(server.data_dir()));
    assert!(full > 20 << 20, "{full}");
    repository.push(&url, &[":large"]).succeeded();
    let start = Instant::now();
    until("the space is freed", || (disk_bytes(&server) == empty).then_some(()));
    println!("{} bytes collected within {:?} of the deletion", full - empty, start.elapsed());
    if is_embedded {
        assert!(full_folder > 20 << 20, "{full_folder}");
        // Some pages are kept for reuse, and the write-ahead log is truncated.
        let most = empty_folder + (13 << 20);
        until("the file is smaller", || (folder_bytes(server.data_dir()) < most).then_some(()));
        println!("folder: {empty_folder}, {full_folder}, {}", folder_bytes(server.data_dir()));
    }
    assert_eq!(server.get("/hello/greet/Ann").status, 200);
    assert_clones_cleanly(&url);
    // Deleted objects can be pushed again.
    repository.push(&url, &["large"]).succeeded();
    assert_eq!(disk_bytes(&server), full);
    assert_clones_cleanly(&url);
}

fn partly_rejected_push_stores_no_rejected_objects(database: Database) {
    let server = Server::start_with(database, &["--gc-grace-period", "0s"]);
    let url = server.git_url("hello");
    let repository = Repository::hello();
    repository.push(&url, &["main"]).succeeded();
    orphan(&repository, "a", &[("a.txt", incompressible(300_000, 1))]);
    repository.push(&url, &["a"]).succeeded();
    let before = disk_bytes(&server);
    repository.git(&["checkout", "-q", "-b", "wrong"]);
    repository.write("greet.rhai", "nope();");
    repository.write("large", incompressible(1_000_000, 2));
    repository.commit("wrong");
    orphan(&repository, "b", &[("b.txt", b"b".to_vec())]);
    repository.push(&url, &["wrong", "b"]).refused().says("STORED b").says("REJECTED wrong");
    let small = disk_bytes(&server);
    until("rejected objects are deleted", || (disk_bytes(&server) < before + 2000).then_some(()));
    assert!(small > before + 1_000_000, "accepted objects of the same pack are kept: {before} {small}");
    assert_clones_cleanly(&url);
}

/// The deploy refs that clients see.
fn deploy_refs(repository: &Repository, url: &str) -> Vec<String> {
    let listed = repository.git(&["ls-remote", url, "refs/deploys/*"]);
    let names = listed.lines().filter_map(|line| line.split_once("refs/deploys/"));
    let mut names: Vec<String> = names.map(|(_, number)| number.to_owned()).collect();
    names.sort_by_key(|name| name.parse::<u64>().unwrap());
    names
}

fn old_deploys_are_pruned_and_live_ones_kept(database: Database) {
    let server = Server::start_with(database, &["--deploy-history-limit", "2"]);
    let url = server.git_url("hello");
    let repository = Repository::hello();
    let first = repository.head();
    for number in 1..=5 {
        repository.push(&url, &["main"]).succeeded().says(&format!("LIVE as deploy {number}"));
        repository.write("greet.rhai", format!("`{number}`"));
        repository.write("large", incompressible(100_000, number));
        repository.commit("next");
    }
    assert_eq!(deploy_refs(&repository, &url), ["1", "2", "3", "4", "5"]);
    cli(&server, &["apps", "prune", "hello"]).succeeded().says("deleted 3 deploys and 0 objects");
    assert_eq!(deploy_refs(&repository, &url), ["4", "5"]);
    cli(&server, &["rollback", "1", "--app", "hello"])
        .refused()
        .says("deploy 1 was pruned; push its commit again");
    cli(&server, &["rollback", "9", "--app", "hello"]).refused().says("the app has no deploy 9");
    cli(&server, &["rollback", "4", "--app", "hello"]).succeeded();
    assert_eq!(server.get("/hello/greet/Ann").body, "\"3\"");
    // Its commit is an ancestor of the live one, so it still exists and is validated again.
    repository.push(&url, &["-f", &format!("{first}:main")]).succeeded().says("LIVE as deploy 7");
    assert_eq!(server.get("/hello/greet/Ann").body, r#"{"message":"Hello, Ann"}"#);
    let before = disk_bytes(&server);
    let pruned = api(&server, TOKEN, "POST", "apps/hello/prune", Some(&json!({"deploys": 0}))).json();
    assert_eq!(pruned["deploys"], json!(3));
    assert!(pruned["objects"].as_u64().unwrap() > 8, "{pruned}");
    assert_eq!(pruned["disk_bytes"], json!(disk_bytes(&server)));
    assert!(
        before - disk_bytes(&server) > 300_000 && pruned["bytes"] == json!(before - disk_bytes(&server)),
        "{pruned}"
    );
    assert_eq!(deploy_refs(&repository, &url), ["7"]);
    assert_eq!(server.get("/hello/greet/Ann").body, r#"{"message":"Hello, Ann"}"#);
    assert_clones_cleanly(&url);
    repository.push(&url, &["main"]).succeeded().says("LIVE as deploy 8");
    assert_eq!(server.get("/hello/greet/Ann").body, "\"5\"");
    cli(&server, &["audit", "--app", "hello"]).succeeded().says("app.prune").says("3 deploys, 0 objects");
    let reader = token(&server, "reader", &["hello:read,deploy,force"]);
    cli_as(&server, &reader, &["apps", "prune", "hello"]).refused().says("it needs the scope admin");
    cli(&server, &["apps", "prune", "hello", "--older-than", "1h"]).succeeded().says("deleted 0 deploys");
}

fn deleted_preview_keeps_no_deploys(database: Database) {
    let server = Server::start(database);
    let url = server.git_url("hello");
    let repository = Repository::hello();
    repository.push(&url, &["main"]).succeeded();
    repository.write("large", incompressible(500_000, 1));
    repository.commit("next");
    repository.push(&url, &["main:try"]).succeeded();
    cli(&server, &["apps", "prune", "hello"]).succeeded().says("deleted 0 deploys and 0 objects");
    repository.push(&url, &[":try"]).succeeded();
    let before = disk_bytes(&server);
    cli(&server, &["apps", "prune", "hello"]).succeeded().says("deleted 1 deploy and 3 objects");
    assert!(before - disk_bytes(&server) > 500_000);
    assert_eq!(deploy_refs(&repository, &url), ["1"]);
}

/// Whether these incompressible bytes are in the files of the node.
fn is_on_disk(server: &Server, bytes: &[u8]) -> bool {
    let files = std::fs::read_dir(server.data_dir()).unwrap();
    let mut contents = files.map(|file| std::fs::read(file.unwrap().path()).unwrap_or_default());
    let begin = &bytes[..200];
    contents.any(|content| content.windows(begin.len()).any(|window| window == begin))
}

fn pushed_secret_can_be_removed(database: Database) {
    let is_embedded = database.url().is_none();
    let server = Server::start(database);
    let url = server.git_url("hello");
    let repository = Repository::hello();
    repository.push(&url, &["main"]).succeeded();
    let secret = incompressible(20_000, 7);
    repository.write("key.bin", &secret);
    repository.write("more.txt", "more");
    let leaked = repository.commit("the key, by mistake");
    repository.push(&url, &["main"]).succeeded();
    let blob = repository.git(&["rev-parse", "HEAD:key.bin"]);
    assert!(!is_embedded || is_on_disk(&server, &secret));
    // The next version of the file is sent as a delta against it.
    let harmless = [&secret[..10_000], b"harmless".as_slice()].concat();
    repository.write("key.bin", &harmless);
    repository.git(&["commit", "-q", "-a", "--amend", "-m", "without it"]);
    repository.push(&url, &["-f", "main"]).succeeded().says("LIVE as deploy 3");
    cli(&server, &["apps", "prune", "hello", "--deploys", "0"]).succeeded().says("deleted 2 deploys");
    let fetched = |object: &str| {
        let clone = Repository::new();
        clone.try_git(&["fetch", "-q", &url, object]).accepted
    };
    assert!(!fetched(&leaked));
    let everything = Repository::clone_of(&url);
    everything.git(&["fetch", "-q", &url, "+refs/*:refs/all/*"]);
    assert!(!everything.try_git(&["cat-file", "-e", &blob]).accepted);
    everything.git(&["fsck", "--strict", "--full"]);
    assert_eq!(std::fs::read(everything.path().join("key.bin")).unwrap(), harmless);
    if is_embedded {
        assert!(!is_on_disk(&server, &secret[15_000..]));
        let backup = server.data_dir().join("backup");
        assert!(server.command(&["backup", backup.to_str().unwrap()]).status().unwrap().success());
        assert!(!is_on_disk(&server, &secret[15_000..]));
    }
}

/// The same objects are pushed, deleted and pushed again while gc runs all the time. A push that builds on objects that were just
/// deleted is unpacked again.
fn gc_deletes_no_pushed_objects(database: Database) {
    let server = Server::start_with(database, &["--gc-grace-period", "0s", "--max-concurrent-pushes", "8"]);
    let repository = Repository::hello();
    repository.push(&server.git_url("hello"), &["main"]).succeeded();
    for seed in 0..3 {
        let files: Vec<(String, Vec<u8>)> =
            (0..40).map(|file| (format!("{file}"), incompressible(2000, file))).collect();
        let mut files: Vec<_> =
            files.iter().map(|(path, content)| (path.as_str(), content.clone())).collect();
        files.push(("own", incompressible(1000, 1000 + seed)));
        orphan(&repository, &format!("b{seed}"), &files);
    }
    let end = Instant::now() + Duration::from_secs(8);
    let pushes = std::thread::scope(|scope| {
        let pruning = scope.spawn(|| {
            let mut objects = 0;
            while Instant::now() < end {
                let response = api(&server, TOKEN, "POST", "apps/hello/prune", Some(&json!({})));
                // Concurrent pushes.
                assert!(matches!(response.status, 200 | 409), "{}", response.body);
                objects += response.json()["objects"].as_u64().unwrap_or(0);
            }
            objects
        });
        let pushing: Vec<_> = (0..3)
            .map(|branch| {
                let (server, repository) = (&server, &repository);
                scope.spawn(move || {
                    let url = server.git_url("hello");
                    let name = format!("b{branch}");
                    let mut pushes = 0;
                    while Instant::now() < end {
                        let pushed = repository.push(&url, &[&name]);
                        if !pushed.accepted {
                            // Not more: the server has retried three times.
                            pushed.says("push again in a moment");
                            continue;
                        }
                        pushes += 1;
                        let clone = Repository::new();
                        clone.git(&["fetch", "-q", &url, &name]);
                        clone.git(&["fsck", "--strict", "--full"]);
                        repository.push(&url, &[&format!(":{name}")]).succeeded();
                    }
                    pushes
                })
            })
            .collect();
        let pushes: u32 = pushing.into_iter().map(|thread| thread.join().unwrap()).sum();
        let objects = pruning.join().unwrap();
        println!("{pushes} pushes, {objects} objects deleted");
        assert!(objects > 10, "{objects}");
        pushes
    });
    assert!(pushes > 3, "{pushes}");
    assert_clones_cleanly(&server.git_url("hello"));
    let status: Value = api(&server, TOKEN, "GET", "status", None).json();
    assert_eq!(status["problems"].as_array().map(Vec::len), Some(0), "{status}");
}

/// A commit with partly deleted objects does not exist for later pushes: neither for a push that builds on it, nor for one
/// that points a branch to it.
fn node_killed_during_gc_keeps_no_partly_deleted_commit(database: Database) {
    let mut server = Server::start_with(database, &["--gc-grace-period", "0s"]);
    let repository = Repository::hello();
    repository.push(&server.git_url("hello"), &["main"]).succeeded();
    let empty = disk_bytes(&server);
    let files: Vec<_> = (0..28).map(|seed| (format!("{seed}.bin"), incompressible(1 << 20, seed))).collect();
    let files: Vec<_> = files.iter().map(|(path, content)| (path.as_str(), content.clone())).collect();
    orphan(&repository, "large", &files);
    // The ref takes some bytes too.
    let full = empty + (28 << 20);
    // On a busy machine gc can finish before the node is killed.
    let mut tries = 0;
    loop {
        repository.push(&server.git_url("hello"), &["large"]).succeeded();
        repository.push(&server.git_url("hello"), &[":large"]).succeeded();
        until("objects are deleted", || (disk_bytes(&server) < full).then_some(()));
        server.kill();
        // gc runs again after a minute.
        server.restart_with(&["--gc-grace-period", "60m"]);
        let left = disk_bytes(&server);
        if left > empty && left < full {
            break;
        }
        tries += 1;
        assert!(tries < 5, "{empty} {left} {full}");
        server.kill();
        server.restart_with(&["--gc-grace-period", "0s"]);
    }
    let url = server.git_url("hello");
    let commit = repository.git(&["rev-parse", "large"]);
    crafted_push(&server, &repository, &commit, &[]).says("missing necessary objects");
    repository.git(&["checkout", "-q", "large"]);
    let next = repository.commit("on top of it");
    crafted_push(&server, &repository, &next, &[&next]).says("missing necessary objects");
    // The remaining objects are written again.
    repository.push(&url, &["large"]).succeeded().says("STORED large");
    assert_clones_cleanly(&url);
    server.kill();
    server.restart_with(&["--gc-grace-period", "0s"]);
    let url = server.git_url("hello");
    repository.push(&url, &[":large"]).succeeded();
    until("all objects are deleted", || (disk_bytes(&server) == empty).then_some(()));
    assert_clones_cleanly(&url);
}

/// Pushes a branch `crafted` that points to `tip`, with a pack of only these objects; `git` would send the referenced ones too.
fn crafted_push(server: &Server, repository: &Repository, tip: &str, objects: &[&str]) -> PushReport {
    let mut packing = tests::repository::command(repository.path(), &["pack-objects", "--stdout", "-q"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    packing.stdin.take().unwrap().write_all(objects.join("\n").as_bytes()).unwrap();
    let pack = packing.wait_with_output().unwrap().stdout;
    let line = format!("{} {tip} refs/heads/crafted\0report-status", "0".repeat(40));
    let mut body = format!("{:04x}{line}0000", line.len() + 4).into_bytes();
    body.extend(pack);
    let bearer = format!("Bearer {TOKEN}");
    let headers =
        [("authorization", bearer.as_str()), ("content-type", "application/x-git-receive-pack-request")];
    PushReport(server.request("POST", "/hello.git/git-receive-pack", &headers, Some(&body)).body)
}

/// What git's client would print.
struct PushReport(String);

impl PushReport {
    fn says(self, expected: &str) {
        assert!(self.0.contains(expected), "{}", self.0);
    }
}

/// The pushes of an earlier version do not notice that gc deletes the objects they build on.
#[test]
fn gc_waits_while_a_node_of_an_earlier_version_runs() {
    let server = Server::start_with(Database::postgres(), &["--gc-grace-period", "0s"]);
    let url = server.git_url("hello");
    let repository = Repository::hello();
    repository.push(&url, &["main"]).succeeded();
    let empty = disk_bytes(&server);
    server.database.query(
        "INSERT INTO nodes (id, name, role, version, address, started_at, seen_at)
         VALUES (gen_random_uuid(), 'old', 'all', '0.0.9', '127.0.0.1:1', now(), now() + interval '1 hour')",
    );
    orphan(&repository, "b", &[("b", incompressible(2000, 1))]);
    repository.push(&url, &["b"]).succeeded();
    repository.push(&url, &[":b"]).succeeded();
    cli(&server, &["apps", "prune", "hello"])
        .refused()
        .says("a node of an earlier version is running, and nothing is deleted meanwhile; upgrade it first");
    for apps_command in [["apps", "stop", "hello"].as_slice(), &["apps", "delete", "hello", "--yes"]] {
        cli(&server, apps_command)
            .refused()
            .says("cannot stop or delete apps while a node of an earlier version is running");
    }
    assert!(disk_bytes(&server) > empty);
    server.database.query("DELETE FROM nodes WHERE name = 'old'");
    until("the objects are deleted", || (disk_bytes(&server) == empty).then_some(()));
}

/// A push finds its files in the store and has to wait. Meanwhile gc deletes them, since nothing reaches them.
#[test]
fn waiting_push_is_unpacked_again_after_gc() {
    let server = Server::start(Database::postgres());
    let url = server.git_url("hello");
    let repository = Repository::hello();
    repository.push(&url, &["main"]).succeeded();
    orphan(&repository, "b", &[("b", incompressible(2000, 1))]);
    repository.push(&url, &["b"]).succeeded();
    repository.push(&url, &[":b"]).succeeded();
    // Another commit with the same files: the commit is in the pack, the files are found in the store.
    repository.git(&["checkout", "-q", "b"]);
    repository.git(&["commit", "-q", "--amend", "-m", "again"]);
    let somebody = Psql::locking(&server.database, "SELECT FROM apps WHERE name = 'hello' FOR NO KEY UPDATE");
    let waiting = |count: &str| {
        let sql = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()";
        until("the push waits for the lock", || (server.database.query(sql) == count).then_some(()));
    };
    std::thread::scope(|scope| {
        let pruning = scope.spawn(|| api(&server, TOKEN, "POST", "apps/hello/prune", Some(&json!({}))));
        waiting("1");
        let pushing = scope.spawn(|| repository.push(&url, &["b"]));
        waiting("2");
        drop(somebody);
        let pruned = pruning.join().unwrap();
        // All three were unreachable. Whether gc deletes two of them before the push is a race.
        assert!(matches!(pruned.json()["objects"].as_u64(), Some(1..=3)), "{}", pruned.body);
        pushing.join().unwrap().succeeded().says("STORED b");
    });
    assert_clones_cleanly(&url);
    let clone = Repository::new();
    clone.git(&["fetch", "-q", &url, "b"]);
    clone.git(&["fsck", "--strict", "--full"]);
}
