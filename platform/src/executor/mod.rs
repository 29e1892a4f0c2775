//! Which executions run when, and on which threads. Knows nothing of scripts.
//!
//! - `slots`: how many executions of an app go on at once
//! - `cpu`: which of them compute on a thread of their own
//! - `worker_pool`: those threads, and their priorities
//! - [`threads`]: the threads of the node itself
//! - [`turns`]: which readings of repositories go on at once
//! - [`fair_turns`]: which pushes are worked on at once
//! - [`places`]: which pushes arrive and which fetches are answered at once, and what gives way to others
//! - `holder`: among whom these are shared out
//!
//! An execution takes a slot of its app. Where it takes longer than others should wait for, it takes a CPU permit too, and a
//! worker.

mod cpu;
pub mod fair_turns;
mod holder;
pub mod places;
mod slots;
pub mod threads;
pub mod turns;
pub(crate) mod worker_pool;

pub(crate) use cpu::AppCpu;
pub use cpu::CpuPermit;
pub use holder::{Holder, Principal};
pub use slots::SlotPermit;
pub(crate) use slots::Slots;
