//! Schedules executions onto threads, and limits concurrency. Independent of scripts.
//!
//! - `slots`: the concurrent executions of an app
//! - `cpu`: the permits to compute on a worker
//! - `worker_pool`: the worker threads and their priorities
//! - [`threads`]: the async runtimes of the node
//! - [`app_semaphores`]: concurrent reads of repositories, per app and in total
//! - [`fair_semaphore`]: concurrent work on pushes
//! - [`evictable_slots`]: concurrent uploads of pushes and downloads of fetches, with eviction
//! - `holder`: the identities among which permits are shared
//!
//! An execution acquires a slot of its app. If it runs for long, it acquires a CPU permit too, and moves to a
//! worker.

pub mod app_semaphores;
mod cpu;
pub mod evictable_slots;
pub mod fair_semaphore;
mod holder;
mod slots;
pub mod threads;
pub(crate) mod worker_pool;

pub(crate) use cpu::AppCpu;
pub use cpu::CpuPermit;
pub use holder::{Holder, Principal};
pub use slots::SlotPermit;
pub(crate) use slots::Slots;
