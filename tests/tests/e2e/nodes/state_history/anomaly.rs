//! What cannot be in a history that is strictly serializable.

use std::fmt;

use super::graph::{Cycle, Dependency};
use super::history::Transaction;

#[derive(Clone, Debug)]
pub(super) enum Anomaly {
    /// A value that nobody has appended to this key.
    NeverAppended { reader: Option<Transaction>, key: String, value: u64 },
    /// A value of a transaction that was refused: an aborted read (G1a).
    Refused { writer: Transaction, key: String, value: u64 },
    /// A value is in a list twice.
    Twice { reader: Option<Transaction>, key: String, value: u64 },
    /// A part of what another transaction has appended: an intermediate read (G1b).
    Intermediate { reader: Transaction, writer: Transaction, key: String },
    /// Two reads of a transaction are of different moments, or it does not see its own changes.
    Inconsistent { reader: Transaction, key: String },
    /// Neither of two lists is the beginning of the other.
    Diverged { key: String, list: Vec<u64>, other: Vec<u64>, reader: Transaction },
    /// A change that is not there at the end.
    Lost { writer: Transaction, key: String, value: u64 },
    /// Transactions that each must come before the next one, in a circle.
    Cycle { cycle: Cycle, transactions: Vec<Transaction> },
}

impl Anomaly {
    /// Its name in the literature.
    pub(super) fn name(&self) -> &'static str {
        match self {
            Self::NeverAppended { .. } => "read of a value that was never appended",
            Self::Refused { .. } => "aborted read",
            Self::Twice { .. } => "value that was appended twice",
            Self::Intermediate { .. } => "intermediate read",
            Self::Inconsistent { .. } => "internal inconsistency",
            Self::Diverged { .. } => "incompatible orders",
            Self::Lost { .. } => "lost update",
            Self::Cycle { cycle, .. } => cycle_name(cycle),
        }
    }
}

fn cycle_name(cycle: &Cycle) -> &'static str {
    let count = |of: fn(&Dependency) -> bool| cycle.iter().filter(|edge| of(&edge.dependency)).count();
    let is_real_time = count(|dependency| *dependency == Dependency::RealTime) > 0;
    let read_writes = count(|dependency| matches!(dependency, Dependency::ReadWrite { .. }));
    let write_reads = count(|dependency| matches!(dependency, Dependency::WriteRead { .. }));
    match (read_writes, write_reads, is_real_time) {
        (0, 0, false) => "dirty write (G0)",
        (0, _, false) => "circular information flow (G1c)",
        (1, _, false) => "read skew (G-single)",
        (_, _, false) => "write skew (G2)",
        (0, _, true) => "writes against real time",
        (1, _, true) => "stale read (G-single with real time)",
        (_, _, true) => "write skew with real time",
    }
}

impl fmt::Display for Anomaly {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.name())?;
        let reader_of = |reader: &Option<Transaction>| match reader {
            Some(reader) => reader.to_string(),
            None => "the database at the end".to_owned(),
        };
        match self {
            Self::NeverAppended { reader, key, value } | Self::Twice { reader, key, value } => {
                write!(f, "  {value} of {key} in {}", reader_of(reader))
            }
            Self::Refused { writer, key, value } | Self::Lost { writer, key, value } => {
                write!(f, "  {value} of {key}, written by {writer}")
            }
            Self::Intermediate { reader, writer, key } => {
                write!(f, "  a part of what was appended to {key}\n  by {writer}\n  in {reader}")
            }
            Self::Inconsistent { reader, key } => write!(f, "  {key} in {reader}"),
            Self::Diverged { key, list, other, reader } => {
                write!(f, "  {key} was {list:?}\n  and {other:?}\n  in {reader}")
            }
            Self::Cycle { cycle, transactions } => {
                for (edge, transaction) in cycle.iter().zip(transactions) {
                    writeln!(f, "  T{} is {transaction}", edge.from)?;
                }
                for edge in cycle {
                    writeln!(f, "  T{} before T{}: {}", edge.from, edge.to, edge.dependency)?;
                }
                Ok(())
            }
        }
    }
}
