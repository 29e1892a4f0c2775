//! Failures of nodes and of their connections to the database, in an order from a seed.

use std::thread;
use std::time::Duration;

use tests::faults::SeededRandom;
use tests::{Cut, Proxy, Server, until};

use super::clients::Load;

/// Transactions that are committed after each failure, before the next one.
const PROGRESS: usize = 100;

/// How long a cut waits for a transaction.
const CUT_MAX: Duration = Duration::from_secs(5);

#[derive(Clone, Copy, Debug)]
enum Kind {
    /// SIGKILL, and another node with an empty folder.
    Kill,
    /// SIGSTOP and SIGCONT.
    Freeze(Duration),
    /// A node is frozen while another one is killed.
    FreezeAndKill,
    /// The connection is cut at a COMMIT.
    Cut(Cut),
    /// All connections are cut.
    Disconnect,
    /// All connections are cut, and new ones are rejected for some time.
    Reject(Duration),
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Failure {
    /// From the progress after the last one.
    pause: Duration,
    node: usize,
    kind: Kind,
}

/// Rounds of all kinds of failures, in random order at random nodes.
pub(super) fn plan(random: &mut SeededRandom, nodes: usize, rounds: u32) -> Vec<Failure> {
    let mut plan = Vec::new();
    for _ in 0..rounds {
        let mut kinds = vec![
            Kind::Kill,
            Kind::Freeze(random.within(Duration::from_millis(1_000))),
            Kind::FreezeAndKill,
            Kind::Cut(Cut::BeforeCommit),
            Kind::Cut(Cut::AfterCommit),
            Kind::Disconnect,
            Kind::Disconnect,
            Kind::Reject(random.within(Duration::from_millis(500))),
        ];
        while !kinds.is_empty() {
            let kind = kinds.swap_remove(random.below(kinds.len() as u64) as usize);
            let pause = random.within(Duration::from_millis(200));
            plan.push(Failure { pause, node: random.below(nodes as u64) as usize, kind });
        }
    }
    plan
}

/// The nodes, each behind its proxy.
pub(super) struct Cluster<'p> {
    proxies: &'p [Proxy],
    pub(super) nodes: Vec<Server>,
    /// The highest sum of all nodes.
    most_reruns: f64,
}

impl<'p> Cluster<'p> {
    pub(super) fn new(proxies: &'p [Proxy], nodes: Vec<Server>) -> Self {
        Self { proxies, nodes, most_reruns: 0.0 }
    }

    /// Causes a failure, and waits until transactions are committed again.
    pub(super) fn cause(&mut self, failure: &Failure, load: &Load) {
        thread::sleep(failure.pause);
        eprintln!("{failure:?} after {} committed transactions", load.committed());
        let Failure { node, kind, .. } = *failure;
        // Before a node is killed.
        self.most_reruns = self.most_reruns.max(self.reruns());
        match kind {
            Kind::Kill => self.kill(node, load),
            Kind::Freeze(time) => {
                self.nodes[node].freeze();
                thread::sleep(time);
                self.nodes[node].thaw();
            }
            Kind::FreezeAndKill => {
                self.nodes[node].freeze();
                // With one node, it is the one that is frozen.
                self.kill((node + 1) % self.nodes.len(), load);
                self.nodes[node].thaw();
            }
            Kind::Cut(cut) => self.cut(node, cut, load),
            Kind::Disconnect => self.proxies[node].disconnect(),
            Kind::Reject(time) => {
                self.proxies[node].reject_connections();
                thread::sleep(time);
                self.proxies[node].accept_connections();
            }
        }
        let before = load.committed();
        until("transactions are committed again", || (load.committed() >= before + PROGRESS).then_some(()));
    }

    fn kill(&mut self, node: usize, load: &Load) {
        let server = &mut self.nodes[node];
        server.kill();
        server.restart();
        load.addresses[node].lock().expect("no panic").clone_from(&server.address);
    }

    /// Cuts the connection at the COMMIT of the next transaction that changes a key of the newest group.
    fn cut(&self, node: usize, cut: Cut, load: &Load) {
        let before = self.proxies[node].cuts();
        let since = std::time::Instant::now();
        while self.proxies[node].cuts() == before && since.elapsed() < CUT_MAX {
            self.proxies[node].cut(cut, &format!("g{}/", load.groups() - 1));
            thread::sleep(Duration::from_millis(20));
        }
    }

    /// Waits until each node answers.
    pub(super) fn wait_until_available(&self) {
        for node in &self.nodes {
            until("the node is available", || {
                let body = Some(&br#"[["list", "g0/", {}]]"#[..]);
                let json = [("content-type", "application/json")];
                (node.request("POST", "/app/run", &json, body).status == 200).then_some(())
            });
        }
    }

    /// The transactions that were cut at their COMMIT.
    pub(super) fn cuts(&self) -> usize {
        self.proxies.iter().map(Proxy::cuts).sum()
    }

    /// The executions that ran again at the nodes that run. Those of killed nodes are in an earlier sum.
    pub(super) fn reruns(&self) -> f64 {
        let running: f64 = self.nodes.iter().map(|node| node.metric("picloud_state_reruns_total")).sum();
        running.max(self.most_reruns)
    }
}
