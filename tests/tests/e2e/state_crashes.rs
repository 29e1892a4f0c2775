//! A node that is killed, or loses power, at each step of a group: between acceptance and its answers.

use std::collections::BTreeSet;
use std::io::Write as _;
use std::process::{Child, Command, Stdio};
use std::sync::Mutex;
use std::thread;

use tests::hold::{Hold, Step};
use tests::{Cut, Database, Postgres, Proxy, Repository, Response, Server, TOKEN, until};

/// The runs that wait for the group that is held, and for the one after it.
const RUNS: usize = 4;

/// Each run writes two keys and a counter. The answer is the count.
fn app() -> Repository {
    let repository = Repository::new();
    repository.write(
        "pair.rhai",
        "let id = ctx.request.params.id; kv::set(`a/${id}`, 1); kv::set(`b/${id}`, 1); kv::incr(\"n\")",
    );
    repository.write("all.rhai", "#{ a: kv::keys(\"a/\"), b: kv::keys(\"b/\"), n: kv::get(\"n\") ?? 0 }");
    repository.write(
        "picloud.toml",
        "sdk = \"1.3\"\n\n[[routes]]\npath = \"/pair/{id}\"\nscript = \"pair.rhai\"\n\n[[routes]]\npath = \"/\"\nscript = \"all.rhai\"\n",
    );
    repository.commit("pairs");
    repository
}

/// The runs that are stored, each as a whole.
fn stored(node: &Server) -> BTreeSet<String> {
    let found =
        until("the app is live", || Some(node.get("/app/")).filter(|response| response.status == 200));
    let found = found.json();
    let ids = |of: &str| -> BTreeSet<String> {
        let keys = found[of].as_array().expect("keys").iter();
        keys.map(|key| key.as_str().expect("a key")[2..].to_owned()).collect()
    };
    assert_eq!(ids("a"), ids("b"), "each run has both keys or none");
    assert_eq!(found["n"], ids("a").len(), "the counter is of the same runs");
    ids("a")
}

/// A transaction that locks the namespaces, so that no group is stored.
struct RowLock(Child);

impl RowLock {
    fn take(database: &Database) -> Self {
        let mut psql = Command::new("psql")
            .args(["--no-psqlrc", "--quiet", &database.url().expect("PostgreSQL")])
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .spawn()
            .expect("psql is installed");
        let lock = b"BEGIN; SELECT FROM kv_namespaces FOR UPDATE;\n";
        psql.stdin.as_mut().expect("a pipe").write_all(lock).expect("psql reads");
        until("the rows are locked", || {
            let locks = "SELECT count(*) FROM pg_locks WHERE relation = 'kv_namespaces'::regclass AND mode = 'RowShareLock'";
            (database.query(locks) != "0").then_some(())
        });
        Self(psql)
    }
}

impl Drop for RowLock {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn ids(name: &str) -> BTreeSet<String> {
    (0..RUNS).map(|number| format!("{name}-{number}")).collect()
}

/// Runs while the node is held, and then kills it. Returns those with an answer.
fn run_until_killed(node: &Server, held: impl Fn(), first: &str, second: Option<&str>) -> BTreeSet<String> {
    let answered = Mutex::new(BTreeSet::new());
    thread::scope(|scope| {
        let run = |id: String| {
            if let Ok(response) = node.try_request("GET", &format!("/app/pair/{id}"), &[], None)
                && response.status == 200
            {
                answered.lock().unwrap().insert(id);
            }
        };
        for id in ids(first) {
            scope.spawn(move || run(id));
        }
        held();
        if let Some(second) = second {
            // Accepted in memory: their answers wait for the group that is held.
            let before = node.metric("picloud_state_accepted_commits_total");
            for id in ids(second) {
                scope.spawn(move || run(id));
            }
            until("the runs are accepted", || {
                let accepted = node.metric("picloud_state_accepted_commits_total");
                (accepted >= before + RUNS as f64).then_some(())
            });
        }
        node.send_kill();
    });
    answered.into_inner().unwrap()
}

#[test]
fn node_that_dies_at_any_step_of_a_group_keeps_what_it_answered() {
    let hold = Hold::new();
    let environment = hold.environment();
    let environment = environment.each_ref().map(|(name, value)| (*name, value.as_str()));
    let mut node = Server::start_in(Database::sqlite(), &environment);
    app().push(&node.git_url("app"), &["main"]).succeeded();
    let mut expected = BTreeSet::new();
    for (number, (step, loses_power)) in [
        (Step::BeforeWrite, false),
        (Step::BeforeWrite, true),
        (Step::BeforeSync, false),
        (Step::BeforeSync, true),
        (Step::AfterSync, false),
        (Step::AfterSync, true),
    ]
    .into_iter()
    .enumerate()
    {
        let earlier = format!("{number}-earlier");
        assert_eq!(node.get(&format!("/app/pair/{earlier}")).status, 200);
        expected.insert(earlier);
        let (first, second) = (format!("{number}-first"), format!("{number}-second"));
        hold.at(step);
        let answered = run_until_killed(&node, || hold.wait(), &first, Some(&second));
        node.kill();
        hold.release(step);
        assert_eq!(answered, BTreeSet::new(), "{step:?}: nothing is answered before it is durable");
        if loses_power {
            hold.lose_power(node.data_dir());
        }
        node.restart();
        let found = stored(&node);
        assert!(found.is_superset(&expected), "{step:?}: {expected:?} is lost: {found:?}");
        let new: BTreeSet<String> = found.difference(&expected).cloned().collect();
        let is_durable = step == Step::AfterSync || (step == Step::BeforeSync && !loses_power);
        match is_durable {
            true => assert!(!new.is_empty() && new.is_subset(&ids(&first)), "{step:?}: {new:?}"),
            false => assert_eq!(new, BTreeSet::new(), "{step:?}, power lost: {loses_power}"),
        }
        expected = found;
    }
}

#[test]
fn node_that_dies_at_any_step_of_a_group_in_postgresql_keeps_what_it_answered() {
    let postgres = Postgres::start();
    let proxy = Proxy::to(postgres.port());
    let direct = Database::at(&postgres.url());
    let url = format!("postgres://picloud@127.0.0.1:{}/postgres", proxy.port());
    let mut node = Server::start(Database::at(&url));
    app().push(&node.git_url("app"), &["main"]).succeeded();
    let mut expected = BTreeSet::new();
    for (number, cut) in [None, Some(Cut::BeforeCommit), Some(Cut::AfterCommit)].into_iter().enumerate() {
        let earlier = format!("{number}-earlier");
        assert_eq!(node.get(&format!("/app/pair/{earlier}")).status, 200);
        expected.insert(earlier);
        let (first, second) = (format!("{number}-first"), format!("{number}-second"));
        let lock = match cut {
            Some(cut) => {
                // The node looks up the outcome of its commit, and gets no connection.
                proxy.cut_and_disconnect(cut, &format!("a/{first}"));
                None
            }
            None => Some(RowLock::take(&direct)),
        };
        let cuts = proxy.cuts();
        let held = || match &lock {
            Some(_) => until("the group waits for the lock", || {
                let waiting = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'";
                (direct.query(waiting) != "0").then_some(())
            }),
            None => until("the connection is cut", || (proxy.cuts() > cuts).then_some(())),
        };
        // Without the database, new keys cannot be read.
        let second = lock.is_some().then_some(second.as_str());
        let answered = run_until_killed(&node, held, &first, second);
        node.kill();
        assert_eq!(answered, BTreeSet::new(), "{cut:?}");
        drop(lock);
        until("the server has ended what it was doing", || {
            let busy = "SELECT count(*) FROM pg_stat_activity WHERE state = 'active' AND pid <> pg_backend_pid() AND backend_type = 'client backend'";
            (direct.query(busy) == "0").then_some(())
        });
        proxy.accept_connections();
        node.restart();
        let found = stored(&node);
        assert!(found.is_superset(&expected), "{cut:?}: {expected:?} is lost: {found:?}");
        let new: BTreeSet<String> = found.difference(&expected).cloned().collect();
        match cut {
            Some(Cut::AfterCommit) => {
                assert!(!new.is_empty() && new.is_subset(&ids(&first)), "{cut:?}: {new:?}");
            }
            Some(Cut::BeforeCommit) => assert_eq!(new, BTreeSet::new(), "{cut:?}"),
            // The server has the whole statement, and does not know that nobody waits for it.
            None => assert!(new.is_subset(&ids(&first)), "{new:?}"),
        }
        expected = found;
    }
}

/// The claim of a scheduled run is in another file than what it changes.
#[test]
fn scheduled_run_that_committed_before_its_node_died_has_succeeded() {
    let hold = Hold::new();
    let environment = hold.environment();
    let environment = environment.each_ref().map(|(name, value)| (*name, value.as_str()));
    let mut node = Server::start_in(Database::sqlite(), &environment);
    let app = app();
    let manifest = std::fs::read_to_string(app.path().join("picloud.toml")).expect("a manifest");
    let schedule = "[[schedules]]\nname = \"nightly\"\ncron = \"0 0 1 1 *\"\nscript = \"nightly.rhai\"\n";
    app.write("picloud.toml", format!("{manifest}\n{schedule}"));
    app.write("nightly.rhai", "kv::set(\"a/run\", 1); kv::set(\"b/run\", 1); kv::incr(\"n\")");
    app.commit("nightly");
    app.push(&node.git_url("app"), &["main"]).succeeded();
    assert_eq!(node.get("/app/pair/earlier").status, 200);
    hold.at(Step::AfterSync);
    thread::scope(|scope| {
        scope.spawn(|| api(&node, "POST", "apps/app/schedules/nightly/run"));
        hold.wait();
        node.send_kill();
    });
    node.kill();
    hold.release(Step::AfterSync);
    node.restart();
    assert_eq!(stored(&node), BTreeSet::from(["earlier".to_owned(), "run".to_owned()]));
    let run = until("the lease has expired", || {
        let runs = api(&node, "GET", "apps/app/schedules/nightly/runs").expect("a response").json();
        let run = runs["runs"][0].clone();
        (run["outcome"] != "running").then_some(run)
    });
    assert_eq!(run["outcome"], "succeeded", "{run}");
}

fn api(node: &Server, method: &str, path: &str) -> Option<Response> {
    let bearer = format!("Bearer {TOKEN}");
    node.try_request(method, &format!("/-/api/v1/{path}"), &[("authorization", &bearer)], None).ok()
}
