//! Everything that a hostile app, token holder or visitor is known to do, at once, on one node with little memory.
//!
//! `make adversary` runs it for ten minutes with forty apps and the release binary, and by itself it is some seconds with few. The
//! node must not end, hold more than it has, or keep an honest app from its visitors; afterwards it must be as it was before.

mod attacks;

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

/// What one attacker works with until it is over.
struct Siege<'s> {
    server: &'s Server,
    /// The token of those who push what takes long to check.
    checker: &'s str,
    over: AtomicBool,
}

impl Siege<'_> {
    fn goes_on(&self) -> bool {
        !self.over.load(Ordering::Relaxed)
    }
}

/// How long visitors of the honest app wait, the slowest of a hundred left out.
#[derive(Clone, Copy)]
struct Waits {
    p99: Duration,
}

/// Visits the honest app for a while, from a process of its own: it waits for nothing but the node.
fn visit(server: &Server, time: Duration) -> Waits {
    let visitor = Command::new(std::env::current_exe().expect("this program"))
        .args(["--exact", "adversary::visitor", "--ignored", "--nocapture"])
        .env("VISITED_NODE", &server.address)
        .env("VISITED_MILLIS", time.as_millis().to_string())
        .output()
        .expect("a process");
    let said =
        String::from_utf8_lossy(&visitor.stdout).into_owned() + &String::from_utf8_lossy(&visitor.stderr);
    let micros = said.lines().find_map(|line| line.strip_prefix("p99 ")?.strip_suffix(" us")?.parse().ok());
    let p99 = Duration::from_micros(micros.unwrap_or_else(|| panic!("the visitor says {said}")));
    Waits { p99 }
}

#[test]
#[ignore = "it is the visitor of the test below"]
fn visitor() {
    let told = |name: &str| std::env::var(name).expect("what the test below says");
    let address = told("VISITED_NODE");
    let end = Instant::now() + Duration::from_millis(told("VISITED_MILLIS").parse().expect("a number"));
    let (mut waits, mut answer) = (Vec::new(), Vec::new());
    while Instant::now() < end {
        let asked = Instant::now();
        let mut stream = TcpStream::connect(&address).expect("a connection");
        stream
            .write_all(b"GET /honest/greet/Ann HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n")
            .expect("a node that reads");
        answer.clear();
        stream.read_to_end(&mut answer).expect("an answer");
        waits.push(asked.elapsed());
        assert!(answer.starts_with(b"HTTP/1.1 200 "), "{}", String::from_utf8_lossy(&answer));
        assert!(answer.ends_with(br#"{"message":"Hello, Ann"}"#), "{}", String::from_utf8_lossy(&answer));
        std::thread::sleep(Duration::from_millis(5));
    }
    waits.sort();
    println!("\np99 {} us", waits[waits.len() * 99 / 100].as_micros());
}

/// What a node held when it held most: of memory, and of that in its budget.
struct Watch(Vec<String>);

impl Watch {
    /// Looks while `goes_on`.
    fn keep(server: &Server, goes_on: impl Fn() -> bool) -> Self {
        let (mut most, mut held) = (0, Vec::new());
        while goes_on() {
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

/// Prints a line that is seen also where the test passes.
fn report(line: &str) {
    let _ = writeln!(std::io::stderr(), "adversary  {line}");
}

#[test]
fn node_survives_all_attacks_at_once() {
    // In a cgroup of 512 MiB a node has 60 percent of it for its apps.
    const BUDGET: u64 = 307 * MIB;
    const MOST: u64 = 512 * MIB;
    let [rehearsal, time] =
        [(5, 60), (15, 600)].map(|(short, long)| Duration::from_secs(rounds(short, long).into()));
    let server = Server::start_with(Database::sqlite(), &["--memory", &format!("{}MiB", BUDGET / MIB)]);
    Repository::hello().push(&server.git_url("honest"), &["main"]).succeeded();
    let hostile = Hostile::push(&server);
    let cold = server.memory();

    // The first time, a node fills what it has for good: caches of SQLite's, threads. What grows from time to time is lost.
    hostile.besiege(&server, rehearsal);
    let before = settled(&server, |_| true);
    let quiet = visit(&server, Duration::from_secs(2));
    let besieged = hostile.besiege(&server, time);
    let peak = server.peak_memory();
    report(&format!("hello p99 quiet {:?}, under attack {:?}", quiet.p99, besieged.p99));
    Repository::hello().push(&server.git_url("fresh"), &["main"]).succeeded();
    assert_eq!(server.get("/fresh/greet/Ann").status, 200);
    // Beside other tests, memory lies where it is found.
    let back = before + before / if long() { 10 } else { 3 };
    let after = settled(&server, |memory| memory <= back);
    let mib = [cold, before, peak, after].map(|bytes| bytes / MIB);
    report(&format!(
        "memory: cold {} MiB, before {} MiB, peak {} MiB, after {} MiB",
        mib[0], mib[1], mib[2], mib[3]
    ));
    assert!(peak < MOST, "the node took {} MiB", peak / MIB);
    assert!(after <= back, "{} MiB, and {} MiB before", after / MIB, before / MIB);
    assert!(!long() || besieged.p99 < quiet.p99 * 10, "{:?} and {:?}", quiet.p99, besieged.p99);
}

/// What the node holds once that stays the same for some seconds and is `enough`, or half a minute is over.
fn settled(server: &Server, enough: impl Fn(u64) -> bool) -> u64 {
    let (began, mut held, mut since) = (Instant::now(), server.memory(), Instant::now());
    loop {
        std::thread::sleep(Duration::from_millis(100));
        let now = server.memory();
        if now.abs_diff(held) > MIB / 2 {
            (held, since) = (now, Instant::now());
        }
        let is_settled = since.elapsed() > Duration::from_secs(4) && enough(now);
        if is_settled || began.elapsed() > Duration::from_secs(30) {
            return now;
        }
    }
}

/// The attackers, each with an app.
struct Hostile {
    repository: Repository,
    apps: u32,
    /// The commit whose schedules do not run yet.
    calm: String,
    checker: String,
}

impl Hostile {
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

    /// All attacks at once, and how long visitors of the honest app wait meanwhile.
    fn besiege(&self, server: &Server, time: Duration) -> Waits {
        let only = std::env::var("ADVERSARY_OF").ok();
        for app in 0..self.apps {
            self.repository.push(&server.git_url(&attacks::name(app)), &["main"]).succeeded();
        }
        let siege = Siege { server, checker: &self.checker, over: AtomicBool::new(false) };
        let waits = scope(|scope| {
            let watch = scope.spawn(|| Watch::keep(server, || siege.goes_on()));
            for app in 0..self.apps {
                for (name, attack) in ATTACKS {
                    let (siege, is_asked) = (&siege, only.as_ref().is_none_or(|only| name.contains(only)));
                    let attack = move || {
                        give_way();
                        while is_asked && siege.goes_on() {
                            attack(siege, app);
                        }
                    };
                    let thread = std::thread::Builder::new().name((*name).to_owned()).stack_size(256 * 1024);
                    thread.spawn_scoped(scope, attack).expect("a thread");
                }
            }
            let waits = std::panic::catch_unwind(|| visit(server, time));
            siege.over.store(true, Ordering::Relaxed);
            watch.join().expect("the watch").0.iter().for_each(|line| report(line));
            waits
        });
        // What attackers left is theirs, until they take it back.
        for app in 0..self.apps {
            let url = server.git_url(&attacks::name(app));
            self.repository.push(&url, &["--prune", "refs/heads/*"]).succeeded();
            self.repository.push(&url, &[&format!("+{}:refs/heads/main", self.calm)]).succeeded();
        }
        waits.unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    }
}

/// Attackers have machines of their own. Here this thread, and what it starts, take the processor time that the node leaves: with a policy
/// of their own, since hundreds of the lowest priority together would have more than the node.
fn give_way() {
    let thread = rustix::thread::gettid().as_raw_nonzero().to_string();
    let policy =
        Command::new("chrt").args(["--idle", "--pid", "0", &thread]).status().expect("chrt of util-linux");
    assert!(policy.success());
}
