//! Which executions run when, and on which threads. Knows nothing of scripts.
//!
//! - `slots`: how many executions of an app go on at once
//! - `cpu`: which of them compute on a thread of their own
//! - `worker_pool`: those threads, and their priorities
//! - [`threads`]: the threads of the node itself
//! - [`turns`]: which work on repositories goes on at once
//!
//! An execution takes a slot of its app. Where it takes longer than others should wait for, it takes a CPU permit too, and a
//! worker.

mod cpu;
mod slots;
pub mod threads;
pub mod turns;
pub(crate) mod worker_pool;

pub(crate) use cpu::AppCpu;
pub use cpu::CpuPermit;
pub use slots::SlotPermit;
pub(crate) use slots::Slots;
