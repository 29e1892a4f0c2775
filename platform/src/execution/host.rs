//! What a script reaches outside while it runs: so far its log, and the node's memory.

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use manifest_schema::name::ScriptPath;
use runtime::{Host, HostCall, Invocation, LogLine, OutOfMemoryError, Pending};
use uuid::Uuid;

use crate::executor::CpuPermit;
use crate::live::Live;
use crate::memory::{Growing, Purpose};
use crate::recording::Recorder;

/// The host of an inline pass: what the script logs is kept until the pass has ended.
pub(super) struct InlineHost {
    live: Arc<Live>,
    lines: Mutex<Vec<LogLine>>,
    memory: Growing,
}

impl InlineHost {
    pub(super) fn new(live: Arc<Live>) -> Arc<Self> {
        Arc::new(Self { live, lines: Mutex::default(), memory: Growing::new(Purpose::Scripts) })
    }

    pub(super) fn live(&self) -> &Live {
        &self.live
    }

    /// What was run, and what it logged; the pass has ended.
    pub(super) fn into_parts(self: Arc<Self>) -> (Arc<Live>, Vec<LogLine>) {
        let own = |lines: Mutex<Vec<LogLine>>| lines.into_inner().unwrap_or_else(PoisonError::into_inner);
        match Arc::try_unwrap(self) {
            Ok(host) => (host.live, own(host.lines)),
            // The pass has given its own back; this is for the compiler.
            Err(host) => {
                let lines = std::mem::take(&mut *host.lines.lock().unwrap_or_else(PoisonError::into_inner));
                (Arc::clone(&host.live), lines)
            }
        }
    }
}

impl Host for InlineHost {
    fn log(&self, line: LogLine) -> HostCall<()> {
        self.lines.lock().unwrap_or_else(PoisonError::into_inner).push(line);
        HostCall::Ready(())
    }

    /// An inline pass ends instead.
    fn wait(&self, _: Pending, _: &AtomicBool) -> Duration {
        Duration::ZERO
    }

    fn reserve_memory(&self, bytes: u64) -> Result<(), OutOfMemoryError> {
        grow(&self.memory, &self.live, bytes)
    }

    fn note_leaked(&self, bytes: u64) {
        self.live.memory().charge_lost(bytes);
    }
}

/// Holds `bytes` for a run in all.
fn grow(memory: &Growing, live: &Live, bytes: u64) -> Result<(), OutOfMemoryError> {
    memory.grow_to(live.memory(), bytes).map_err(|refused| {
        live.note_out_of_memory(Purpose::Scripts, &refused);
        OutOfMemoryError(refused.to_string())
    })
}

/// The host of a run on a thread of its own: what the script logs is recorded as it is written.
pub(super) struct ThreadHost {
    recorder: Recorder,
    live: Arc<Live>,
    script: ScriptPath,
    execution: Uuid,
    cpu: Arc<CpuPermit>,
    lines: AtomicU32,
    memory: Growing,
}

impl ThreadHost {
    pub(super) fn new(
        recorder: Recorder,
        live: Arc<Live>,
        invocation: &Invocation,
        cpu: Arc<CpuPermit>,
    ) -> Self {
        let (script, execution) = (invocation.script.clone(), invocation.execution_id);
        let memory = Growing::new(Purpose::Scripts);
        Self { recorder, live, script, execution, cpu, lines: AtomicU32::new(0), memory }
    }

    /// How many lines were recorded.
    pub(super) fn lines(&self) -> u32 {
        self.lines.load(Ordering::Relaxed)
    }
}

impl Host for ThreadHost {
    fn log(&self, line: LogLine) -> HostCall<()> {
        self.lines.fetch_add(1, Ordering::Relaxed);
        self.recorder.take_line(&self.live, &self.script, self.execution, line, SystemTime::now());
        HostCall::Ready(())
    }

    fn wait(&self, pending: Pending, stop: &AtomicBool) -> Duration {
        self.cpu.wait(pending, || stop.load(Ordering::Relaxed))
    }

    fn yield_cpu(&self, stop: &AtomicBool) -> Duration {
        self.cpu.yield_to_others(|| stop.load(Ordering::Relaxed))
    }

    fn reserve_memory(&self, bytes: u64) -> Result<(), OutOfMemoryError> {
        grow(&self.memory, &self.live, bytes)
    }

    fn note_leaked(&self, bytes: u64) {
        self.live.memory().charge_lost(bytes);
    }
}
