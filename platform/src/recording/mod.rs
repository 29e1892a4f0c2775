//! What ran and what it logged, on its way into the database.
//!
//! No app takes anything from another: of the memory in which records wait, of the turns in which they are written, and of the
//! node's own log, each has its part.
//!
//! - `recorder`: takes both without making anything wait
//! - `writer`: writes them into the database in batches, and into the node's log
//! - `fair_queue`: what waits, of every app in a queue of its own
//! - `buffer`: what is not written yet
//! - `token_bucket`: how much of an app is written within a time
//! - `losses`: what there was no room for
//! - `records`: from a run to its record
//! - [`journal`]: the node's own log of it
//! - [`tail`]: reads what is recorded as it comes in, on any node
//! - `followers`: how many can read so at once

mod buffer;
mod fair_queue;
mod followers;
pub mod journal;
mod losses;
mod recorder;
mod records;
pub mod tail;
mod token_bucket;
mod writer;

pub use followers::FollowError;
pub(crate) use followers::Followers;
pub use recorder::Recorder;
pub(crate) use recorder::{CapturedLogs, FinishedRun, RecordShare};
pub use token_bucket::ByteRate;
pub use writer::{RecordLimits, Writer};
