//! Clients that send random transactions to random nodes, and note what they see.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tests::faults::SeededRandom;
use tests::{Client, Response};

use super::history::{Outcome, Step, Transaction};

/// What runs the steps of a transaction, and responds with what they have read.
pub(super) const SCRIPTS: &[(&str, &str)] = &[(
    "run",
    "let seen = [];
     for step in ctx.request.body {
         let name = step[1];
         switch step[0] {
             \"get\" => seen.push(kv::get(name)),
             \"get_many\" => seen.push(kv::get_many(name)),
             \"list\" => seen.push(kv::list(name, step[2]).map(|entry| [entry.key, entry.value])),
             \"append\" => { kv::append(name, step[2]); seen.push(()); }
             \"push\" => {
                 let values = kv::get(name);
                 seen.push(values);
                 if values == () { values = []; }
                 values.push(step[2]);
                 kv::set(name, values);
             }
             \"wait\" => { let sum = 0; for n in 0..step[1] { sum += n; } seen.push(()); }
             \"fail\" => throw \"as planned\"
         }
     }
     seen",
)];

/// The keys of a group, in the order of a list.
const KEYS: [&str; 4] = ["a", "b", "c", "d"];

/// How many values are appended to the keys of a group, about, before clients go on to the next one. So lists stay short,
/// and keys are absent again and again.
const VALUES_OF_GROUP: u64 = 60;

const RETRY_DELAY: Duration = Duration::from_millis(10);

/// What a request does.
#[derive(Clone, Debug)]
enum Call {
    Get(String),
    GetMany(Vec<String>),
    /// The keys of a group, as many as `limit`.
    List {
        group: u64,
        limit: usize,
        reverse: bool,
    },
    /// Without reading.
    Append(String, u64),
    /// Reads, then stores the longer list.
    Push(String, u64),
    /// Takes some time.
    Wait(u64),
    /// The script throws.
    Fail,
}

/// What all clients share.
pub(super) struct Load {
    /// The address of each node, which changes if it is started again.
    pub(super) addresses: Vec<Mutex<String>>,
    pub(super) history: Mutex<Vec<Transaction>>,
    pub(super) is_over: AtomicBool,
    started_at: Instant,
    next_value: AtomicU64,
}

impl Load {
    pub(super) fn new(addresses: impl IntoIterator<Item = String>) -> Self {
        Self {
            addresses: addresses.into_iter().map(Mutex::new).collect(),
            history: Mutex::default(),
            is_over: AtomicBool::new(false),
            started_at: Instant::now(),
            next_value: AtomicU64::new(0),
        }
    }

    /// The number of groups that were begun.
    pub(super) fn groups(&self) -> u64 {
        self.next_value.load(Ordering::SeqCst) / VALUES_OF_GROUP + 1
    }

    fn value(&self) -> u64 {
        self.next_value.fetch_add(1, Ordering::SeqCst)
    }

    pub(super) fn committed(&self) -> usize {
        self.count(Outcome::Committed)
    }

    pub(super) fn count(&self, outcome: Outcome) -> usize {
        let history = self.history.lock().expect("no panic");
        history.iter().filter(|transaction| transaction.outcome == outcome).count()
    }

    /// Runs random transactions until the load is over.
    pub(super) fn run(&self, client: usize, mut random: SeededRandom) {
        let mut connections: Vec<Option<Client>> = self.addresses.iter().map(|_| None).collect();
        while !self.is_over.load(Ordering::SeqCst) {
            let node = random.below(connections.len() as u64) as usize;
            let address = self.addresses[node].lock().expect("no panic").clone();
            let connection = &mut connections[node];
            if !connection.as_ref().is_some_and(|client| client.is_at(&address)) {
                *connection = Some(Client::at(&address));
            }
            let calls = self.plan(&mut random);
            if let Some(connection) = connection {
                // Some clients do not wait for the response.
                let leaves = random.below(40) == 0;
                self.send((client, node), connection, &calls, leaves);
            }
        }
    }

    fn plan(&self, random: &mut SeededRandom) -> Vec<Call> {
        let newest = self.groups() - 1;
        let group = match random.below(20) {
            0 => random.below(newest + 1),
            1..4 => newest.saturating_sub(1),
            _ => newest,
        };
        let key = |random: &mut SeededRandom| key_of(group, KEYS[random.below(KEYS.len() as u64) as usize]);
        let call = |random: &mut SeededRandom| match random.below(12) {
            0..3 => Call::Get(key(random)),
            3 => {
                let start = random.below(KEYS.len() as u64) as usize;
                let names = KEYS.iter().cycle().skip(start).take(2 + random.below(2) as usize);
                Call::GetMany(names.map(|name| key_of(group, name)).collect())
            }
            4 | 5 => Call::List {
                group,
                limit: 1 + random.below(KEYS.len() as u64 + 1) as usize,
                reverse: random.below(2) == 0,
            },
            6..8 => Call::Append(key(random), self.value()),
            8..11 => Call::Push(key(random), self.value()),
            _ => Call::Wait(random.below(5_000)),
        };
        let mut calls: Vec<Call> = (0..1 + random.below(4)).map(|_| call(random)).collect();
        if random.below(30) == 0 {
            calls.push(Call::Fail);
        }
        calls
    }

    fn send(&self, (client, node): (usize, usize), connection: &mut Client, calls: &[Call], leaves: bool) {
        let body = Value::from_iter(calls.iter().map(Call::body)).to_string();
        let began = self.started_at.elapsed();
        let Ok(sent) = connection.send("/app/run", Some(&body)) else {
            // The node is down.
            thread::sleep(RETRY_DELAY);
            return;
        };
        let response = if leaves { None } else { connection.receive(sent).ok() };
        let ended = self.started_at.elapsed();
        let (outcome, seen) = response.map_or((Outcome::Unknown, Value::Null), |response| outcome(&response));
        let steps = match outcome {
            Outcome::Committed => {
                let seen = seen.as_array().expect("what each step has seen");
                assert_eq!(seen.len(), calls.len());
                calls.iter().zip(seen).flat_map(|(call, seen)| call.steps(seen)).collect()
            }
            Outcome::Unknown | Outcome::Refused => calls.iter().filter_map(Call::append).collect(),
        };
        let transaction = Transaction { client, node, began, ended, outcome, steps };
        self.history.lock().expect("no panic").push(transaction);
    }

    /// Reads everything at a node, as transactions of their own.
    pub(super) fn read_all(&self, node: usize) {
        let mut connection = Client::at(&self.addresses[node].lock().expect("no panic"));
        for group in 0..self.groups() {
            let all = Call::List { group, limit: 1_000, reverse: group % 2 == 0 };
            self.send((usize::MAX, node), &mut connection, &[all], false);
        }
    }
}

/// What a response says of its transaction.
fn outcome(response: &Response) -> (Outcome, Value) {
    match response.status {
        200 => (Outcome::Committed, response.json()),
        // The state could not be stored, or could not be read. A COMMIT without a response can have succeeded.
        503 if response.body.contains("the state of the app is not available now") => {
            (Outcome::Unknown, Value::Null)
        }
        // The script has thrown or has reached its timeout, or it has not run.
        500 | 503 | 504 | 404 => (Outcome::Refused, Value::Null),
        _ => panic!("{response:?}"),
    }
}

fn key_of(group: u64, key: &str) -> String {
    format!("g{group}/{key}")
}

fn values(seen: &Value) -> Vec<u64> {
    let seen = seen.as_array().map(Vec::as_slice).unwrap_or_default();
    seen.iter().map(|value| value.as_u64().expect("a value")).collect()
}

impl Call {
    /// Its part of the request.
    fn body(&self) -> Value {
        match self {
            Self::Get(key) => json!(["get", key]),
            Self::GetMany(keys) => json!(["get_many", keys]),
            Self::List { group, limit, reverse } => {
                json!(["list", key_of(*group, ""), {"limit": limit, "reverse": reverse}])
            }
            Self::Append(key, value) => json!(["append", key, value]),
            Self::Push(key, value) => json!(["push", key, value]),
            Self::Wait(rounds) => json!(["wait", rounds]),
            Self::Fail => json!(["fail", ""]),
        }
    }

    /// The value that it appends.
    fn append(&self) -> Option<Step> {
        match self {
            Self::Append(key, value) | Self::Push(key, value) => {
                Some(Step::Append { key: key.clone(), value: *value })
            }
            _ => None,
        }
    }

    /// What it has done and read.
    fn steps(&self, seen: &Value) -> Vec<Step> {
        let read = |key: &str, seen: &Value| Step::Read { key: key.to_owned(), values: values(seen) };
        match self {
            Self::Get(key) => vec![read(key, seen)],
            Self::GetMany(keys) => keys.iter().map(|key| read(key, &seen[key])).collect(),
            Self::List { group, limit, reverse } => list_steps(*group, *limit, *reverse, seen),
            Self::Push(key, _) => {
                let mut steps = vec![read(key, seen)];
                steps.extend(self.append());
                steps
            }
            Self::Append(..) => self.append().into_iter().collect(),
            Self::Wait(_) | Self::Fail => Vec::new(),
        }
    }
}

/// A list reads all keys of its group as far as it went, also those that are absent.
fn list_steps(group: u64, limit: usize, reverse: bool, seen: &Value) -> Vec<Step> {
    let entries = seen.as_array().expect("a list");
    let found: Vec<(&str, Vec<u64>)> =
        entries.iter().map(|entry| (entry[0].as_str().expect("a key"), values(&entry[1]))).collect();
    let mut keys: Vec<String> = KEYS.iter().map(|key| key_of(group, key)).collect();
    if reverse {
        keys.reverse();
    }
    let expected: Vec<&String> =
        keys.iter().filter(|key| found.iter().any(|(name, _)| name == key)).collect();
    assert_eq!(
        found.iter().map(|(key, _)| *key).collect::<Vec<_>>(),
        expected,
        "in order, and no other keys"
    );
    if found.len() == limit {
        let last = found.last().map(|(key, _)| *key);
        let walked = keys.iter().position(|key| Some(key.as_str()) == last).map_or(0, |at| at + 1);
        keys.truncate(walked);
    }
    let of = |key: &String| found.iter().find(|(name, _)| name == key).map(|(_, values)| values.clone());
    keys.iter().map(|key| Step::Read { key: key.clone(), values: of(key).unwrap_or_default() }).collect()
}
