//! Decides whether a history is strictly serializable, from what clients have seen and nothing else.
//!
//! As Elle does (Kingsbury and Alvaro, "Elle: inferring isolation anomalies from experimental observations", VLDB 2020):
//! transactions append unique values to lists and read them, so each list shows the order in which its values were written.
//! From that order follow the dependencies: who has overwritten whom, who has read whose value, and who has not read
//! whose. With the order of real time, a history is right if they have no cycle.

use std::collections::{BTreeMap, BTreeSet};

use super::anomaly::Anomaly;
use super::graph::{Dependency, Graph};
use super::history::{Lists, Outcome, Step, Transaction};

/// Anomalies of a kind that are reported.
const REPORTED_MAX: usize = 5;

/// What is wrong with a history, nothing if it is strictly serializable. `stored` is what the database has at the end.
pub(super) fn check(history: &[Transaction], stored: &Lists) -> Vec<Anomaly> {
    let mut checker = Checker { history, writers: writers(history), anomalies: Vec::new() };
    let reads = checker.reads();
    checker.check_values(&reads, stored);
    checker.check_orders(&reads, stored);
    checker.check_lost(stored);
    if checker.anomalies.is_empty() {
        let graph = checker.graph(&reads, stored);
        checker.check_cycles(&graph);
    }
    checker.anomalies
}

/// The first read of a key by a transaction, without what it has appended itself.
struct Read<'h> {
    reader: usize,
    key: &'h str,
    values: &'h [u64],
}

struct Checker<'h> {
    history: &'h [Transaction],
    writers: BTreeMap<(&'h str, u64), usize>,
    anomalies: Vec<Anomaly>,
}

fn writers(history: &[Transaction]) -> BTreeMap<(&str, u64), usize> {
    let mut writers = BTreeMap::new();
    for (number, transaction) in history.iter().enumerate() {
        for append in transaction.appends() {
            assert_eq!(writers.insert(append, number), None, "{append:?} is not unique");
        }
    }
    writers
}

impl<'h> Checker<'h> {
    fn transaction(&self, number: usize) -> Transaction {
        self.history[number].clone()
    }

    fn writer(&self, key: &str, value: u64) -> Option<usize> {
        self.writers.get(&(key, value)).copied()
    }

    /// The reads of transactions with a response. Reports those that differ within one transaction.
    fn reads(&mut self) -> Vec<Read<'h>> {
        let mut all = Vec::new();
        let history = self.history;
        for (reader, transaction) in history.iter().enumerate() {
            if transaction.outcome != Outcome::Committed {
                continue;
            }
            let mut of_two_moments = BTreeSet::new();
            let mut own: BTreeMap<&str, Vec<u64>> = BTreeMap::new();
            let mut seen: BTreeMap<&str, &[u64]> = BTreeMap::new();
            for step in &transaction.steps {
                match step {
                    Step::Append { key, value } => own.entry(key).or_default().push(*value),
                    Step::Read { key, values } => {
                        let appended = own.get(key.as_str()).map_or(&[][..], Vec::as_slice);
                        let others = values.strip_suffix(appended);
                        let first = others.map(|others| *seen.entry(key).or_insert(others));
                        if first.is_none() || first != others {
                            of_two_moments.insert(key);
                        }
                    }
                }
            }
            self.anomalies.extend(
                of_two_moments
                    .into_iter()
                    .map(|key| Anomaly::Inconsistent { reader: transaction.clone(), key: key.clone() }),
            );
            all.extend(seen.into_iter().map(|(key, values)| Read { reader, key, values }));
        }
        self.anomalies.truncate(REPORTED_MAX);
        all
    }

    /// Every value was appended once, by a transaction that was not refused.
    fn check_values(&mut self, reads: &[Read<'h>], stored: &Lists) {
        let by_clients = reads.iter().map(|read| (Some(read.reader), read.key, read.values));
        let at_the_end = stored.iter().map(|(key, values)| (None, key.as_str(), values.as_slice()));
        let mut found = Vec::new();
        for (reader, key, values) in by_clients.chain(at_the_end) {
            let reader = reader.map(|reader| self.transaction(reader));
            let mut before = BTreeSet::new();
            for value in values.iter().copied() {
                let (of, key) = (self.writer(key, value), key.to_owned());
                if !before.insert(value) {
                    found.push(Anomaly::Twice { reader: reader.clone(), key, value });
                } else if of.is_none() {
                    found.push(Anomaly::NeverAppended { reader: reader.clone(), key, value });
                } else if let Some(writer) = of.filter(|of| self.history[*of].outcome == Outcome::Refused) {
                    found.push(Anomaly::Refused { writer: self.transaction(writer), key, value });
                }
            }
            if found.len() >= REPORTED_MAX {
                break;
            }
        }
        self.anomalies.extend(found);
    }

    /// What was read is the beginning of the list at the end, with all or nothing of each transaction.
    fn check_orders(&mut self, reads: &[Read<'h>], stored: &Lists) {
        let mut found = Vec::new();
        for Read { reader, key, values } in reads {
            let list = stored.get(*key).map_or(&[][..], Vec::as_slice);
            let Some(later) = list.strip_prefix(*values) else {
                found.push(Anomaly::Diverged {
                    key: (*key).to_owned(),
                    list: list.to_vec(),
                    other: values.to_vec(),
                    reader: self.transaction(*reader),
                });
                continue;
            };
            let writer = values.last().and_then(|value| self.writer(key, *value));
            if let Some(writer) = writer
                && later.first().and_then(|value| self.writer(key, *value)) == Some(writer)
            {
                found.push(Anomaly::Intermediate {
                    reader: self.transaction(*reader),
                    writer: self.transaction(writer),
                    key: (*key).to_owned(),
                });
            }
        }
        found.truncate(REPORTED_MAX);
        self.anomalies.extend(found);
    }

    /// Everything that a committed transaction has appended is there at the end, and in its order.
    fn check_lost(&mut self, stored: &Lists) {
        let place = |key: &str, value: u64| {
            let list = stored.get(key)?;
            list.iter().position(|found| *found == value)
        };
        let mut found = Vec::new();
        for transaction in self.history {
            let is_visible = transaction.appends().any(|(key, value)| place(key, value).is_some());
            let is_committed = transaction.outcome == Outcome::Committed || is_visible;
            if !is_committed || transaction.outcome == Outcome::Refused {
                continue;
            }
            let mut last: BTreeMap<&str, usize> = BTreeMap::new();
            for (key, value) in transaction.appends() {
                let Some(at) = place(key, value) else {
                    found.push(Anomaly::Lost { writer: transaction.clone(), key: key.to_owned(), value });
                    continue;
                };
                if last.insert(key, at).is_some_and(|before| before > at) {
                    let reader = transaction.clone();
                    found.push(Anomaly::Inconsistent { reader, key: key.to_owned() });
                }
            }
        }
        found.truncate(REPORTED_MAX);
        self.anomalies.extend(found);
    }

    fn graph(&self, reads: &[Read<'h>], stored: &Lists) -> Graph {
        let mut graph = Graph::new(self.history.len());
        for (key, list) in stored {
            for pair in list.windows(2) {
                let [value, next] = [pair[0], pair[1]];
                if let (Some(from), Some(to)) = (self.writer(key, value), self.writer(key, next)) {
                    graph.add(from, to, Dependency::WriteWrite { key: key.clone(), value, next });
                }
            }
        }
        for Read { reader, key, values } in reads {
            let read = values.last().and_then(|value| Some((*value, self.writer(key, *value)?)));
            if let Some((value, writer)) = read {
                graph.add(writer, *reader, Dependency::WriteRead { key: (*key).to_owned(), value });
            }
            let next = stored.get(*key).and_then(|list| list.get(values.len()));
            if let Some((next, writer)) = next.and_then(|next| Some((*next, self.writer(key, *next)?))) {
                graph.add(*reader, writer, Dependency::ReadWrite { key: (*key).to_owned(), next });
            }
        }
        self.add_real_time(&mut graph, stored);
        graph
    }

    fn add_real_time(&self, graph: &mut Graph, stored: &Lists) {
        let is_stored = |transaction: &Transaction| {
            let mut appends = transaction.appends();
            appends.any(|(key, value)| stored.get(key).is_some_and(|list| list.contains(&value)))
        };
        let committed = self.history.iter().enumerate();
        let committed = committed.filter(|(_, transaction)| transaction.outcome == Outcome::Committed);
        let mut ended: Vec<usize> = committed.map(|(number, _)| number).collect();
        ended.sort_by_key(|number| self.history[*number].ended);
        let mut moments = Vec::with_capacity(ended.len());
        for number in &ended {
            let moment = graph.add_moment();
            graph.add(*number, moment, Dependency::RealTime);
            if let Some(before) = moments.last() {
                graph.add(*before, moment, Dependency::RealTime);
            }
            moments.push(moment);
        }
        for (number, transaction) in self.history.iter().enumerate() {
            let earlier = ended.partition_point(|other| self.history[*other].ended < transaction.began);
            let takes_part = transaction.outcome == Outcome::Committed || is_stored(transaction);
            if earlier > 0 && takes_part {
                graph.add(moments[earlier - 1], number, Dependency::RealTime);
            }
        }
    }

    /// Cycles of the simplest kind that there is.
    fn check_cycles(&mut self, graph: &Graph) {
        let is_write = |dependency: &Dependency| matches!(dependency, Dependency::WriteWrite { .. });
        let is_flow = |dependency: &Dependency| {
            is_write(dependency) || matches!(dependency, Dependency::WriteRead { .. })
        };
        let found = graph
            .cycle(is_write)
            .or_else(|| graph.cycle(is_flow))
            .or_else(|| graph.cycle(|dependency| *dependency != Dependency::RealTime))
            .or_else(|| graph.cycle(|_| true));
        if let Some(cycle) = found {
            let transactions = cycle.iter().map(|edge| self.transaction(edge.from)).collect();
            self.anomalies.push(Anomaly::Cycle { cycle, transactions });
        }
    }
}
