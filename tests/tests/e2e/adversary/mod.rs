//! All known attacks of a hostile app, token holder or visitor at once, on one node with little memory.
//!
//! `make adversary` runs them for ten minutes with forty apps and the release binary; by default they run for some seconds with few
//! apps. The node must not exit, exceed its memory, or starve an honest app; afterwards it must be as before.

mod attacks;
mod state;

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::scope;
use std::time::{Duration, Instant};

use tests::faults::{long, rounds};
use tests::{Database, Repository, Server, TOKEN};

use attacks::ATTACKS;

use crate::access::token;

const MIB: u64 = 1024 * 1024;

/// What the attackers share until the end.
struct AttackContext<'s> {
    server: &'s Server,
    /// The token of the pushes that are slow to check.
    checker: &'s str,
    over: AtomicBool,
}

impl AttackContext<'_> {
    fn is_running(&self) -> bool {
        !self.over.load(Ordering::Relaxed)
    }
}

/// The response times of the honest app.
#[derive(Clone, Copy)]
struct ResponseTimes {
    p99: Duration,
    /// Of a request that writes state.
    state_p99: Duration,
}

/// Requests the honest app for a while, from a separate process, so that it waits for nothing but the node.
fn measure_response_times(server: &Server, time: Duration) -> ResponseTimes {
    let visitor = Command::new(std::env::current_exe().expect("this program"))
        .args(["--exact", "adversary::visitor", "--ignored", "--nocapture"])
        .env("VISITED_NODE", &server.address)
        .env("VISITED_MILLIS", time.as_millis().to_string())
        .output()
        .expect("a process");
    let output =
        String::from_utf8_lossy(&visitor.stdout).into_owned() + &String::from_utf8_lossy(&visitor.stderr);
    let time = |name: &str| {
        let mut lines = output.lines();
        let micros = lines.find_map(|line| line.strip_prefix(name)?.strip_suffix(" us")?.parse().ok());
        Duration::from_micros(micros.unwrap_or_else(|| panic!("unexpected visitor output: {output}")))
    };
    ResponseTimes { p99: time("p99 "), state_p99: time("state p99 ") }
}

#[test]
#[ignore = "helper process of the test below"]
fn visitor() {
    let variable = |name: &str| std::env::var(name).expect("a variable set by the test below");
    let address = variable("VISITED_NODE");
    let end = Instant::now() + Duration::from_millis(variable("VISITED_MILLIS").parse().expect("a number"));
    let visit = |path: &str, waits: &mut Vec<Duration>| {
        let start = Instant::now();
        let mut stream = TcpStream::connect(&address).expect("a connection");
        write!(stream, "GET {path} HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n")
            .expect("write a request");
        let mut response = String::new();
        stream.read_to_string(&mut response).expect("a response");
        waits.push(start.elapsed());
        let (head, body) = response.split_once("\r\n\r\n").unwrap_or_default();
        assert!(head.starts_with("HTTP/1.1 200 "), "{path}: {response}");
        body.to_owned()
    };
    let (mut waits, mut state_waits, mut last) = (Vec::new(), Vec::new(), None);
    while Instant::now() < end {
        assert_eq!(visit("/honest/greet/Ann", &mut waits), r#"{"message":"Hello, Ann"}"#);
        // Nobody else counts.
        let count: u64 = visit("/counter/", &mut state_waits).parse().expect("a number");
        assert!(last.is_none_or(|last| count == last + 1), "{count} after {last:?}");
        last = Some(count);
        std::thread::sleep(Duration::from_millis(5));
    }
    for (name, mut waits) in [("p99", waits), ("state p99", state_waits)] {
        waits.sort();
        println!("\n{name} {} us", waits[waits.len() * 99 / 100].as_micros());
    }
}

/// The memory metrics of the node at its peak.
struct MemoryWatch(Vec<String>);

impl MemoryWatch {
    /// Samples while `is_running`.
    fn record(server: &Server, is_running: impl Fn() -> bool) -> Self {
        let (mut most, mut held) = (0, Vec::new());
        while is_running() {
            let now = server.memory();
            if now > most + most / 50 {
                let bearer = format!("Bearer {TOKEN}");
                let page = server.try_request("GET", "/-/metrics", &[("authorization", &bearer)], None);
                if let Ok(page) = page {
                    most = now;
                    held = page
                        .body
                        .lines()
                        .filter(|line| line.starts_with("picloud_memory_"))
                        .map(str::to_owned)
                        .collect();
                    held.push(format!("resident {} MiB", now >> 20));
                }
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        Self(held)
    }
}

/// Prints a line that is shown also if the test passes.
fn report(line: &str) {
    let _ = writeln!(std::io::stderr(), "adversary  {line}");
}

#[test]
fn node_survives_all_attacks_at_once() {
    // In a cgroup of 512 MiB a node has 60 percent of it for its apps.
    const BUDGET: u64 = 307 * MIB;
    const PEAK_MAX: u64 = 512 * MIB;
    let [warm_up, time] =
        [(5, 60), (15, 600)].map(|(short, long)| Duration::from_secs(rounds(short, long).into()));
    let memory = format!("{}MiB", BUDGET / MIB);
    let server = Server::start_with(Database::sqlite(), &["--memory", &memory, "--app-state", "16MiB"]);
    Repository::hello().push(&server.git_url("honest"), &["main"]).succeeded();
    state::counter().push(&server.git_url("counter"), &["main"]).succeeded();
    let hostile = Attackers::push(&server);
    let cold = server.memory();

    // The first run fills SQLite's caches and starts threads. Memory that grows after it is a leak.
    hostile.run_attacks(&server, warm_up);
    let before = stable_memory(&server, |_| true);
    let quiet = measure_response_times(&server, Duration::from_secs(2));
    let attacked = hostile.run_attacks(&server, time);
    let peak = server.peak_memory();
    report(&format!("hello p99 quiet {:?}, under attack {:?}", quiet.p99, attacked.p99));
    report(&format!("counter p99 quiet {:?}, under attack {:?}", quiet.state_p99, attacked.state_p99));
    state::assert_within_quota(&server);
    Repository::hello().push(&server.git_url("fresh"), &["main"]).succeeded();
    assert_eq!(server.get("/fresh/greet/Ann").status, 200);
    // With other tests running, memory is more fragmented.
    let back = before + before / if long() { 10 } else { 3 };
    let after = stable_memory(&server, |memory| memory <= back);
    let mib = [cold, before, peak, after].map(|bytes| bytes / MIB);
    report(&format!(
        "memory: cold {} MiB, before {} MiB, peak {} MiB, after {} MiB",
        mib[0], mib[1], mib[2], mib[3]
    ));
    assert!(peak < PEAK_MAX, "the node used {} MiB", peak / MIB);
    assert!(after <= back, "{} MiB, and {} MiB before", after / MIB, before / MIB);
    assert!(!long() || attacked.p99 < quiet.p99 * 10, "{:?} and {:?}", quiet.p99, attacked.p99);
    // A commit waits for one group of others, which has a bounded size.
    assert!(!long() || attacked.state_p99 < Duration::from_secs(2), "{:?}", attacked.state_p99);
}

/// The memory of the node once it is stable for some seconds and `enough`, or after half a minute.
fn stable_memory(server: &Server, enough: impl Fn(u64) -> bool) -> u64 {
    let (start, mut held, mut since) = (Instant::now(), server.memory(), Instant::now());
    loop {
        std::thread::sleep(Duration::from_millis(100));
        let now = server.memory();
        if now.abs_diff(held) > MIB / 2 {
            (held, since) = (now, Instant::now());
        }
        let is_settled = since.elapsed() > Duration::from_secs(4) && enough(now);
        if is_settled || start.elapsed() > Duration::from_secs(30) {
            return now;
        }
    }
}

/// The attackers, each with an app.
struct Attackers {
    repository: Repository,
    apps: u32,
    /// The commit without schedules.
    calm: String,
    checker: String,
}

impl Attackers {
    fn push(server: &Server) -> Self {
        let (repository, apps) = (attacks::hostile_app(), rounds(6, 40));
        for app in 0..apps {
            repository.push(&server.git_url(&attacks::name(app)), &["main", "main:loop"]).succeeded();
        }
        let calm = repository.head();
        attacks::schedule(&repository);
        let checker = token(server, "checker", &["*:preview"]);
        Self { repository, apps, calm, checker }
    }

    /// Runs all attacks at once, and measures the response times of the honest app meanwhile.
    fn run_attacks(&self, server: &Server, time: Duration) -> ResponseTimes {
        let only = std::env::var("ADVERSARY_OF").ok();
        for app in 0..self.apps {
            self.repository.push(&server.git_url(&attacks::name(app)), &["main"]).succeeded();
        }
        let context = AttackContext { server, checker: &self.checker, over: AtomicBool::new(false) };
        let waits = scope(|scope| {
            let watch = scope.spawn(|| MemoryWatch::record(server, || context.is_running()));
            for app in 0..self.apps {
                for (name, attack) in ATTACKS {
                    let (context, is_selected) =
                        (&context, only.as_ref().is_none_or(|only| name.contains(only)));
                    let attack = move || {
                        lower_priority();
                        while is_selected && context.is_running() {
                            attack(context, app);
                        }
                    };
                    let thread = std::thread::Builder::new().name((*name).to_owned()).stack_size(256 * 1024);
                    thread.spawn_scoped(scope, attack).expect("a thread");
                }
            }
            let waits = std::panic::catch_unwind(|| measure_response_times(server, time));
            context.over.store(true, Ordering::Relaxed);
            watch.join().expect("the watch").0.iter().for_each(|line| report(line));
            waits
        });
        // Removes what the attackers left.
        for app in 0..self.apps {
            let url = server.git_url(&attacks::name(app));
            self.repository.push(&url, &["--prune", "refs/heads/*"]).succeeded();
            self.repository.push(&url, &[&format!("+{}:refs/heads/main", self.calm)]).succeeded();
        }
        waits.unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    }
}

/// Attackers have their own machines. Here this thread and its children use only idle CPU time: by the scheduling policy, since
/// hundreds of threads of the lowest priority together would have more than the node.
fn lower_priority() {
    let thread = rustix::thread::gettid().as_raw_nonzero().to_string();
    let policy =
        Command::new("chrt").args(["--idle", "--pid", "0", &thread]).status().expect("chrt of util-linux");
    assert!(policy.success());
}
