//! Attacks with state, on the quota, the cache, the log of commits, the groups that are stored, and the sweep.

use std::io::Write as _;

use tests::{Repository, Server, TOKEN};

use super::AttackContext;
use super::attacks::{connect, get, name};

/// The routes of the hostile app.
pub(super) const ROUTES: [(&str, &str); 10] = [
    // As many changes as an execution can make, at random places.
    (
        "many-keys",
        "let at = random::int(0, 1_000_000); for n in 0..5000 { kv::set(`many/${at * 7919 % 1_000_003}/${n}`, n); at += 1; } 1",
    ),
    // As many bytes as an execution can write, until the quota is reached.
    (
        "large-values",
        "for n in 0..3 { kv::set(`large/${random::int(0, 40)}`, blob(1_048_576, random::int(0, 255))); }
         kv::delete(`large/${random::int(0, 40)}`); 1",
    ),
    ("lists", "let seen = 0; loop { seen += kv::keys(\"\", #{ limit: 1 + seen % 1000, reverse: seen % 2 == 0 }).len(); }"),
    ("reads", "for n in 0..9000 { kv::get(`absent/${random::int(0, 1_000_000_000)}`); } 1"),
    // Each reads what the other writes.
    (
        "hot-a",
        "let n = kv::get(\"hot/b\") ?? 0; let sum = 0; for i in 0..5_000 { sum += i; } for i in 0..50 { kv::list(\"hot/\"); } kv::set(\"hot/a\", n + 1); n",
    ),
    (
        "hot-b",
        "let n = kv::get(\"hot/a\") ?? 0; let sum = 0; for i in 0..5_000 { sum += i; } for i in 0..50 { kv::list(\"hot/\"); } kv::set(\"hot/b\", n + 1); n",
    ),
    // Each item writes a whole array.
    (
        "arrays",
        "let long = \"\"; long.pad(500_000, \"y\");
         for n in 0..12 { let at = random::int(0, 15); if kv::peek(`array/${at}`) == () { kv::set(`array/${at}`, [long]); break; } kv::append(`array/${at}`, n); } 1",
    ),
    ("expiring", "for n in 0..5000 { kv::set(`ends/${random::int(0, 100_000)}`, n, #{ ttl: \"1s\" }); } 1"),
    ("expiring-blobs", "for n in 0..3 { kv::set(`blobs/${random::int(0, 20)}`, blob(1_000_000, 1), #{ ttl: \"1s\" }); } 1"),
    // A large response waits until its write is stored.
    (
        "waiting",
        "kv::incr(\"waiting\"); let long = \"\"; long.pad(250_000, \"y\"); let all = []; for n in 0..16 { all.push(long); } all",
    ),
];

/// An honest app that counts.
pub(super) fn counter() -> Repository {
    let repository = Repository::new();
    repository.write("picloud.toml", "sdk = \"1.3\"\n[[routes]]\npath = \"/\"\nscript = \"count.rhai\"\n");
    repository.write("count.rhai", "kv::incr(\"n\")");
    repository.commit("counter");
    repository
}

/// Requests several routes at once.
fn get_all(context: &AttackContext, app: u32, routes: &[&str]) {
    std::thread::scope(|scope| {
        for route in routes {
            scope.spawn(move || get(context, &format!("/{}/{route}", name(app))));
        }
    });
}

pub(super) fn many_keys(context: &AttackContext, app: u32) {
    get_all(context, app, &["many-keys", "many-keys"]);
}

pub(super) fn large_values(context: &AttackContext, app: u32) {
    get_all(context, app, &["large-values", "large-values"]);
}

pub(super) fn lists(context: &AttackContext, app: u32) {
    get_all(context, app, &["lists", "lists", "reads"]);
}

pub(super) fn hot_keys(context: &AttackContext, app: u32) {
    get_all(context, app, &["hot-a", "hot-b", "hot-a", "hot-b"]);
}

pub(super) fn long_arrays(context: &AttackContext, app: u32) {
    get_all(context, app, &["arrays"]);
}

pub(super) fn expiring_keys(context: &AttackContext, app: u32) {
    get_all(context, app, &["expiring", "expiring-blobs"]);
}

/// Their executions go on until they are stored.
pub(super) fn clients_that_leave(context: &AttackContext, app: u32) {
    for route in ["waiting", "many-keys", "large-values", "waiting"] {
        let Some(mut stream) = connect(context) else { return };
        let _ = write!(stream, "GET /{}/{route} HTTP/1.1\r\nHost: test\r\n\r\n", name(app));
        // It leaves at once, or while its script runs.
        std::thread::sleep(std::time::Duration::from_millis(2));
    }
}

/// More and more branches, each with state of its own.
pub(super) fn previews(context: &AttackContext, app: u32) {
    let repository = super::attacks::hostile_app();
    for branch in 0..40 {
        if !context.is_running() {
            return;
        }
        repository.push(&context.server.git_url(&name(app)), &["-f", &format!("main:state-{branch}")]);
        for route in ["many-keys", "large-values", "expiring", "reads"] {
            get(context, &format!("/{}@state-{branch}/{route}", name(app)));
        }
    }
}

/// No namespace has more than its quota, and nothing failed to be stored.
pub(super) fn assert_within_quota(server: &Server) {
    let bearer = format!("Bearer {TOKEN}");
    let path = "/-/api/v1/apps/hostile-0/kv/usage";
    let usage = server.request("GET", path, &[("authorization", &bearer)], None).json();
    for namespace in usage["namespaces"].as_array().unwrap_or_else(|| panic!("{usage}")) {
        let [bytes, quota] = ["bytes", "quota_bytes"].map(|name| namespace[name].as_u64().expect("a number"));
        assert!(bytes <= quota, "{namespace}");
    }
    assert_eq!(server.metric("picloud_state_failed_groups_total"), 0.0);
}
