//! The numbers of a node, for whoever watches it.
//!
//! What apps do is counted by the runtime, runs of schedules by the platform; [`counters`] has what only the edge sees.
//! [`page`] gathers all of it, [`exposition`] writes it in Prometheus' text format, and [`process`] asks the system what
//! the process takes.

mod counters;
mod exposition;
mod page;
mod process;

pub(crate) use counters::{Closed, Handler, Numbers};
pub(crate) use page::Page;
