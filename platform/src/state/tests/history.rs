//! A checker of histories: random transactions are serializable, in an order that agrees with real time.
//!
//! Every transaction records what it read and wrote, the times on the clock when it began and ended, and its place: a
//! version and a moment. The checker replays all of them in the order of their places, and compares what each one has
//! read with what it would have read alone.

use std::collections::BTreeMap;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};

use super::*;

const KEYS: u32 = 8;

/// One step of a transaction, with what it has seen.
#[derive(Clone, Debug)]
enum Step {
    Get(String, Option<String>),
    List { limit: u32, reverse: bool, keys: Vec<String> },
    Set(String, String, Option<u64>),
    Add(String, i64),
    Delete(String),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    Committed,
    ReadOnly,
    Failed,
}

#[derive(Clone, Debug)]
pub(super) struct Record {
    steps: Vec<Step>,
    pub(super) end: End,
    /// Raised when groups failed, on one node.
    epoch: u64,
    version: u64,
    at_ms: i64,
    began: Instant,
    ended: Instant,
    began_ms: i64,
    ended_ms: i64,
}

/// Plans the steps of a transaction; what they see is filled in by a pass.
fn plan(random: &mut StdRng, number: u64, with_ttl: bool) -> Vec<Step> {
    let name = |random: &mut StdRng| format!("k{}", random.random_range(0..KEYS));
    (0..random.random_range(1..5))
        .map(|step| match random.random_range(0..10) {
            0..4 => Step::Get(name(random), None),
            4 | 5 => {
                Step::List { limit: random.random_range(1..5), reverse: random.random(), keys: Vec::new() }
            }
            6 | 7 => {
                let ttl = (with_ttl && random.random_bool(0.4)).then(|| random.random_range(1..30));
                Step::Set(name(random), format!("{}", number * 10 + step), ttl)
            }
            8 => Step::Add(name(random), random.random_range(1..5)),
            _ => Step::Delete(name(random)),
        })
        .collect()
}

async fn run(
    namespace: &Arc<Namespace>,
    clock: &AtomicI64,
    mut steps: Vec<Step>,
    seed: u64,
    with_ttl: bool,
) -> Record {
    let mut random = StdRng::seed_from_u64(seed);
    let (began, began_ms) = (Instant::now(), clock.load(Ordering::SeqCst));
    loop {
        let mut pass = Pass::begin(namespace).await;
        let mut is_outdated = false;
        for step in &mut steps {
            if random.random_bool(0.5) {
                tokio::task::yield_now().await;
            }
            let seen = match step {
                Step::Get(name, value) => pass.get(name).await.map(|found| *value = found),
                Step::List { limit, reverse, keys } => {
                    pass.keys(&list("k", *limit, *reverse)).await.map(|found| *keys = found)
                }
                Step::Set(name, value, ttl) => {
                    let ttl = ttl.map(Duration::from_millis);
                    pass.change(name, KvChange::Set { value: json(value), ttl }).map_err(drop)
                }
                Step::Add(name, number) => {
                    let number = runtime::KvNumber::Integer(*number);
                    pass.change(name, KvChange::Add { number, ttl: None }).map_err(drop)
                }
                Step::Delete(name) => pass.change(name, KvChange::Delete).map_err(drop),
            };
            if seen.is_err() {
                is_outdated = true;
                break;
            }
        }
        if is_outdated {
            pass.0.session().take_failure();
            continue;
        }
        let snapshot = pass.0.snapshot;
        let is_read_only = pass.0.has_no_writes();
        // Without TTLs, no time is compared.
        let record = |end, epoch, version, at_ms| Record {
            steps: steps.clone(),
            end,
            epoch: if with_ttl { epoch } else { 0 },
            version,
            at_ms: if with_ttl { at_ms } else { 0 },
            began,
            ended: Instant::now(),
            began_ms,
            ended_ms: clock.load(Ordering::SeqCst),
        };
        let accepted = match namespace.accept_when_ready(&pass.0).await {
            Ok(accepted) => accepted,
            Err(NotAccepted::Failed(failure)) => panic!("{failure}"),
            Err(_) => continue,
        };
        let place = accepted.place;
        let stored = namespace.stored(accepted).await;
        if stored == Err(NotStored::Outdated) {
            continue;
        }
        let (end, version, at_ms) = match snapshot {
            // The place of a transaction that only reads is its snapshot. What it has seen nothing of may never be stored,
            // and other nodes store something else.
            Some(snapshot) if is_read_only && !with_ttl && pass.0.reads.seen <= place.stored => {
                (End::ReadOnly, snapshot.version.min(place.stored), snapshot.now_ms)
            }
            Some(snapshot) if is_read_only => (End::ReadOnly, snapshot.version, snapshot.now_ms),
            _ if place.is_commit => (End::Committed, place.version, place.at_ms),
            // Its deletes found nothing.
            _ => (End::ReadOnly, place.version, place.at_ms),
        };
        return record(if stored.is_ok() { end } else { End::Failed }, place.epoch, version, at_ms);
    }
}

/// Runs random transactions in parallel and returns their history.
async fn history(test: &TestState, tasks: u64, transactions: u64, seed: u64) -> Vec<Record> {
    let is_over = Arc::new(AtomicBool::new(false));
    let ticking = {
        let (clock, is_over) = (Arc::clone(&test.clock_ms), Arc::clone(&is_over));
        tokio::spawn(async move {
            while !is_over.load(Ordering::SeqCst) {
                clock.fetch_add(1, Ordering::SeqCst);
                tokio::time::sleep(Duration::from_micros(200)).await;
            }
        })
    };
    let load = Load { tasks, transactions, seed, with_ttl: true };
    let records = history_of(&[test.namespace()], &test.clock_ms, load).await;
    is_over.store(true, Ordering::SeqCst);
    ticking.await.unwrap();
    records
}

/// What runs in parallel.
#[derive(Clone, Copy)]
pub(super) struct Load {
    pub(super) tasks: u64,
    pub(super) transactions: u64,
    pub(super) seed: u64,
    pub(super) with_ttl: bool,
}

/// Runs random transactions on the same namespace at several nodes.
pub(super) async fn history_of(nodes: &[Arc<Namespace>], clock: &Arc<AtomicI64>, load: Load) -> Vec<Record> {
    let Load { tasks, transactions, seed, with_ttl } = load;
    let running: Vec<_> = (0..tasks)
        .zip(nodes.iter().cycle())
        .map(|(task, namespace)| {
            let (namespace, clock) = (Arc::clone(namespace), Arc::clone(clock));
            tokio::spawn(async move {
                let mut random = StdRng::seed_from_u64(seed * 1000 + task);
                let mut records = Vec::new();
                for number in 0..transactions {
                    let steps = plan(&mut random, task * transactions + number, with_ttl);
                    records.push(run(&namespace, &clock, steps, random.random(), with_ttl).await);
                }
                records
            })
        })
        .collect();
    let mut records = Vec::new();
    for task in running {
        records.extend(task.await.unwrap());
    }
    records
}

pub(super) type Model = BTreeMap<String, (String, Option<i64>)>;

/// Replays a transaction on the model. `Err`: it saw something else.
fn replay(model: &mut Model, record: &Record) -> Result<(), String> {
    let at_ms = record.at_ms;
    let is_there = |(_, until): &(String, Option<i64>)| until.is_none_or(|until| until > at_ms);
    for step in &record.steps {
        match step {
            Step::Get(name, seen) => {
                let there = model.get(name).filter(|entry| is_there(entry)).map(|(value, _)| value);
                if there != seen.as_ref() {
                    return Err(format!(
                        "{name} was {seen:?}, not {there:?} ({:?}): {record:?}",
                        model.get(name)
                    ));
                }
            }
            Step::List { limit, reverse, keys } => {
                let all = model.iter().filter(|(_, entry)| is_there(entry)).map(|(name, _)| name.clone());
                let mut there: Vec<String> = all.collect();
                if *reverse {
                    there.reverse();
                }
                there.truncate(*limit as usize);
                if there != *keys {
                    return Err(format!("the list was {keys:?}, not {there:?}: {record:?}"));
                }
            }
            Step::Set(name, value, ttl) => {
                let until = ttl.map(|ttl| at_ms + i64::try_from(ttl).unwrap());
                model.insert(name.clone(), (value.clone(), until));
            }
            Step::Add(name, number) => {
                let (value, until) = match model.get(name).filter(|entry| is_there(entry)) {
                    Some((value, until)) => (value.parse::<i64>().unwrap(), *until),
                    None => (0, None),
                };
                model.insert(name.clone(), ((value + number).to_string(), until));
            }
            Step::Delete(name) => drop(model.remove(name)),
        }
    }
    Ok(())
}

/// Checks that the order of places explains all reads, and that it agrees with real time.
pub(super) fn check(records: &[Record]) -> Result<Model, String> {
    // A transaction that only reads, and has seen nothing of what failed later, has its place before that.
    let last_of_epoch = |epoch: u64| {
        let until = records.iter().filter(|record| record.end == End::Committed && record.epoch <= epoch);
        until.map(|record| record.version).max().unwrap_or(0)
    };
    let placed = records.iter().filter(|record| record.end != End::Failed).cloned().map(|record| {
        let version = match record.end {
            End::ReadOnly => record.version.min(last_of_epoch(record.epoch)),
            _ => record.version,
        };
        Record { version, ..record }
    });
    let placed: Vec<Record> = placed.collect();
    let mut done: Vec<&Record> = placed.iter().collect();
    // A transaction that only reads has its place after the commit with its version.
    done.sort_by_key(|record| (record.version, record.end == End::ReadOnly, record.at_ms));
    let mut model = Model::new();
    let (mut version, mut at_ms) = (0, i64::MIN);
    for record in &done {
        if record.end == End::Committed {
            if record.version == version {
                return Err(format!("two commits with version {version}"));
            }
            version = record.version;
        }
        if record.at_ms < at_ms || !(record.began_ms..=record.ended_ms).contains(&record.at_ms) {
            return Err(format!("time went from {at_ms} to {}: {record:?}", record.at_ms));
        }
        at_ms = record.at_ms;
        replay(&mut model, record)?;
    }
    // What began after another had ended has a later place.
    let mut by_begin = done.clone();
    by_begin.sort_by_key(|record| record.began);
    let mut by_end: Vec<&Record> = done;
    by_end.sort_by_key(|record| record.ended);
    let (mut ended, mut newest) = (by_end.into_iter().peekable(), 0);
    for record in by_begin {
        while let Some(before) = ended.next_if(|before| before.ended < record.began) {
            newest = newest.max(before.version);
        }
        let is_later = match record.end {
            End::Committed => record.version > newest,
            _ => record.version >= newest,
        };
        if !is_later {
            return Err(format!("version {newest} had ended before: {record:?}"));
        }
    }
    Ok(model)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn random_transactions_are_serializable_in_real_time() {
    for (seed, failing) in [(1, 0), (2, 7), (3, 3)] {
        let folder = tempfile::tempdir().unwrap();
        let test = TestState::open(folder.path()).await;
        test.state.shared.faults.switches.failing_groups.store(failing, Ordering::SeqCst);
        let records = history(&test, 8, 150, seed).await;
        test.state.shared.faults.switches.failing_groups.store(0, Ordering::SeqCst);
        let mut model = check(&records).unwrap_or_else(|error| panic!("seed {seed}: {error}"));
        let committed = records.iter().filter(|record| record.end == End::Committed).count();
        assert!(committed > 100, "{committed}");
        // What is in the database is the end of the history.
        let now_ms = test.clock_ms.load(Ordering::SeqCst);
        model.retain(|_, (_, until)| until.is_none_or(|until| until > now_ms));
        test.store.close().await;
        let clock_ms = test.clock_ms.load(Ordering::SeqCst);
        drop(test);
        let again = TestState::open(folder.path()).await;
        again.clock_ms.store(clock_ms, Ordering::SeqCst);
        let entries = again.state.list(&again.target(), &list("", 1000, false)).await.unwrap().page.items;
        let text = |entry: &ExportedEntry| String::from_utf8(entry.value.bytes().to_vec()).unwrap();
        let stored: Vec<_> = entries.iter().map(|entry| (entry.key.to_string(), text(entry))).collect();
        let expected: Vec<_> = model.into_iter().map(|(name, (value, _))| (name, value)).collect();
        assert_eq!(stored, expected);
    }
}

/// Whether the checker finds a fault within some short histories.
async fn is_found(switch_on: impl Fn(&TestState)) -> bool {
    for seed in 0..20 {
        let folder = tempfile::tempdir().unwrap();
        let test = TestState::open(folder.path()).await;
        switch_on(&test);
        let records = history(&test, 8, 100, seed).await;
        if check(&records).is_err() {
            return true;
        }
    }
    false
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn lost_range_is_found() {
    let lose = |test: &TestState| {
        test.state.shared.faults.switches.lost_range.store(true, Ordering::SeqCst);
    };
    assert!(is_found(lose).await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn skipped_log_entry_is_found() {
    let skip = |test: &TestState| {
        test.state.shared.faults.switches.skipped_log.store(true, Ordering::SeqCst);
    };
    assert!(is_found(skip).await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn acceptance_over_a_failed_group_is_found() {
    let keep = |test: &TestState| {
        let switches = &test.state.shared.faults.switches;
        switches.failing_groups.store(5, Ordering::SeqCst);
        switches.keeps_after_failure.store(true, Ordering::SeqCst);
    };
    assert!(is_found(keep).await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn wrong_clock_is_found() {
    let confuse = |test: &TestState| {
        test.state.shared.faults.switches.wrong_clock.store(true, Ordering::SeqCst);
    };
    assert!(is_found(confuse).await);
}
