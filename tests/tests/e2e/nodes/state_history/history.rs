//! What clients have seen: their transactions, with the times when they began and ended.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

/// The values of keys, in the order in which they were appended.
pub(super) type Lists = BTreeMap<String, Vec<u64>>;

/// A step of a transaction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// No value is appended more than once.
    Append { key: String, value: u64 },
    /// An absent key has no values.
    Read { key: String, values: Vec<u64> },
}

/// What a client knows of the end of its transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// It has got the response of the script.
    Committed,
    /// It has got no response, or one that does not say that nothing was stored. Nothing is known of what it read.
    Unknown,
    /// The response says that nothing was stored.
    Refused,
}

#[derive(Clone, Debug)]
pub(super) struct Transaction {
    pub(super) client: usize,
    pub(super) node: usize,
    /// Before the request was sent.
    pub(super) began: Duration,
    /// After the response was received. A transaction with an unknown outcome can take effect later.
    pub(super) ended: Duration,
    pub(super) outcome: Outcome,
    pub(super) steps: Vec<Step>,
}

impl Transaction {
    pub(super) fn appends(&self) -> impl Iterator<Item = (&str, u64)> {
        self.steps.iter().filter_map(|step| match step {
            Step::Append { key, value } => Some((key.as_str(), *value)),
            Step::Read { .. } => None,
        })
    }
}

impl fmt::Display for Transaction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { client, node, began, ended, outcome, steps } = self;
        write!(f, "client {client} at node {node}, {began:.6?} to {ended:.6?}, {outcome:?}:")?;
        for step in steps {
            match step {
                Step::Append { key, value } => write!(f, " append {value} to {key};")?,
                Step::Read { key, values } => match values.as_slice() {
                    [] => write!(f, " {key} is empty;")?,
                    [.., last] => write!(f, " {key} has {} values up to {last};", values.len())?,
                },
            }
        }
        Ok(())
    }
}
