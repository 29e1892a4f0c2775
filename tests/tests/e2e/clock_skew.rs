//! Clocks that change while a node runs, and clocks that differ from the database clock.

use std::time::{Duration, Instant};

use chrono::{DateTime, TimeDelta, Utc};
use tests::clock::Clock;
use tests::{Database, Repository, Server, TOKEN, on_both_databases, until};

on_both_databases!(schedules_continue_after_clock_is_set_back);

/// A node with an adjustable clock and an app that runs every second.
struct NodeWithClock {
    server: Server,
    clock: Clock,
}

impl NodeWithClock {
    /// A node whose clock is so many seconds ahead.
    fn start(database: Database, ahead: i64) -> Self {
        let clock = Clock::start(ahead);
        Self { server: Server::start_by(&clock, database, &[]), clock }
    }

    /// Sets the clock so many seconds ahead.
    fn set(&self, ahead: i64) {
        self.clock.set(ahead);
    }

    /// Pushes a script that runs every second, and returns the time of the push.
    fn push(&self) -> DateTime<Utc> {
        let repository = Repository::new();
        let schedule = "name = \"tick\"\ncron = \"* * * * * *\"\nscript = \"tick.rhai\"\n";
        repository.write("picloud.toml", format!("sdk = \"1.1\"\n\n[[schedules]]\n{schedule}"));
        repository.write("tick.rhai", "log::info(\"it ran\")");
        repository.commit("first");
        let start = Utc::now();
        repository.push(&self.server.git_url("clock"), &["main"]).succeeded();
        start
    }

    fn ran(&self) -> usize {
        self.server.log().matches("it ran").count()
    }

    /// Waits for three more runs, up to the maximum time to recovery.
    fn runs_again(&self, what: &str) {
        let (start, before) = (Instant::now(), self.ran());
        until(what, || (self.ran() >= before + 3).then_some(()));
        tests::faults::recovered(what, start);
    }

    /// The runs of the schedule, latest due time first.
    fn runs(&self) -> Vec<serde_json::Value> {
        let bearer = format!("Bearer {TOKEN}");
        let path = "/-/api/v1/apps/clock/schedules/tick/runs?limit=1000";
        let response = self.server.request("GET", path, &[("authorization", &bearer)], None);
        assert_eq!(response.status, 200, "{}", response.body);
        response.json()["runs"].as_array().expect("runs").clone()
    }
}

fn schedules_continue_after_clock_is_set_back(database: Database) {
    let node = NodeWithClock::start(database, 0);
    node.push();
    node.runs_again("the first runs");
    for hours in [-1, -5] {
        node.set(hours * 3600);
        node.runs_again(&format!("runs after the clock was set to {hours} h"));
    }
    node.set(0);
    node.runs_again("runs after the clock was set right");
    // Still once a second, without a burst.
    let (start, before) = (Instant::now(), node.ran());
    until("five seconds", || (start.elapsed() > Duration::from_secs(5)).then_some(()));
    let (ran, seconds) = (node.ran() - before, start.elapsed().as_secs() as usize);
    assert!(ran <= seconds + 3, "{ran} runs in {seconds} seconds");
    let log = node.server.log();
    for expected in ["was set back by 1 h 0 min", "was set back by 4 h 0 min", "was set forward by 5 h 0 min"]
    {
        assert_eq!(log.matches(expected).count(), 1, "{expected} once: {log}");
    }
}

#[test]
fn clock_ten_years_ahead_prunes_nothing() {
    let node = NodeWithClock::start(Database::sqlite(), 0);
    node.push();
    node.runs_again("the first runs");
    let first = node.runs().pop().expect("a row")["due_at"].clone();
    node.set(10 * 365 * 24 * 3600);
    node.runs_again("runs ten years ahead");
    until("a warning", || {
        node.server.log().contains("are kept: the system clock was set forward by 3650 d").then_some(())
    });
    node.set(0);
    node.runs_again("runs after the clock was set right");
    let rows = node.runs();
    assert_eq!(rows.last().expect("a row")["due_at"], first, "the first row is there: {rows:?}");
    // A run ten years in the future does not suppress runs until then.
    let bearer = format!("Bearer {TOKEN}");
    let listed =
        node.server.request("GET", "/-/api/v1/apps/clock/schedules", &[("authorization", &bearer)], None);
    let last: DateTime<Utc> = listed.json()["schedules"][0]["last_run"]["due_at"]
        .as_str()
        .expect("a last run")
        .parse()
        .expect("a time");
    assert!((last - Utc::now()).abs() < TimeDelta::minutes(5), "{last}");
}

#[test]
fn schedules_start_by_database_clock() {
    for ahead in [200, -200] {
        let database = Database::postgres();
        let node = NodeWithClock::start(database, ahead);
        let pushed = node.push();
        node.runs_again(&format!("runs of a node that is {ahead} s ahead"));
        let first = node.runs().pop().expect("a row");
        let due: DateTime<Utc> = first["first_due_at"]
            .as_str()
            .or(first["due_at"].as_str())
            .expect("a time")
            .parse()
            .expect("a time");
        assert!(due > pushed - TimeDelta::seconds(2), "due before the deploy at {pushed}: {first}");
        assert!(node.server.log().contains("min 20 s"), "{}", node.server.log());
    }
}
