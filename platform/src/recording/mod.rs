//! What ran and what it logged, on its way into the database.
//!
//! - `recorder`: takes both without making anybody wait
//! - `writer`: writes them into the database in batches, and into the node's log
//! - `buffer`: what is not written yet, in bounded number
//! - `records`: from a run to its record
//! - [`journal`]: the node's own log of it
//! - [`tail`]: reads what is recorded as it comes in, on whichever node

mod buffer;
pub mod journal;
mod recorder;
mod records;
pub mod tail;
mod writer;

pub use recorder::Recorder;
pub(crate) use recorder::{CapturedLogs, FinishedRun};
pub use writer::{RecordLimits, Writer};
