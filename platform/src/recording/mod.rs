//! Recording of executions and their logs.
//!
//! Apps do not affect each other: each has its share of the memory for pending records, of the write rate,
//! and of the node's own log.
//!
//! - `recorder`: accepts executions and log lines without blocking
//! - `writer`: writes batches into the database, and lines into the node's log
//! - `fair_queue`: a bounded queue per app, served round-robin
//! - `buffer`: records that are not written yet
//! - `token_bucket`: the write rate of an app
//! - `dropped`: counts of dropped records
//! - `records`: converts executions to records
//! - [`journal`]: the node's own log of executions
//! - [`tail`]: follows new records of all nodes
//! - `followers`: limits of log streams

mod buffer;
mod dropped;
mod fair_queue;
mod followers;
pub mod journal;
mod recorder;
mod records;
pub mod tail;
mod token_bucket;
mod writer;

pub use followers::FollowError;
pub(crate) use followers::Followers;
pub use recorder::Recorder;
pub(crate) use recorder::{CapturedLogs, DropCounters, FinishedRun};
pub use token_bucket::ByteRate;
pub use writer::{RecordLimits, Writer};
