//! The host of a running script: its log and its memory.

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use manifest_schema::name::ScriptPath;
use runtime::{Host, HostCall, Invocation, LogLine, OutOfMemoryError, Pending, SealingKey, SealingKeyId};
use uuid::Uuid;

use crate::executor::CpuPermit;
use crate::live::Live;
use crate::memory::{GrowingReservation, Purpose};
use crate::recording::Recorder;

/// The host of an inline pass, which buffers log lines until the pass ends.
pub(super) struct InlineHost {
    live: Arc<Live>,
    lines: Mutex<Vec<LogLine>>,
    memory: GrowingReservation,
}

impl InlineHost {
    pub(super) fn new(live: Arc<Live>) -> Arc<Self> {
        Arc::new(Self { live, lines: Mutex::default(), memory: GrowingReservation::new(Purpose::Scripts) })
    }

    pub(super) fn live(&self) -> &Live {
        &self.live
    }

    /// Returns the revision and the log lines after the pass.
    pub(super) fn into_parts(self: Arc<Self>) -> (Arc<Live>, Vec<LogLine>) {
        let own = |lines: Mutex<Vec<LogLine>>| lines.into_inner().unwrap_or_else(PoisonError::into_inner);
        match Arc::try_unwrap(self) {
            Ok(host) => (host.live, own(host.lines)),
            // Unreachable after the pass, which drops its reference.
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

    /// An inline pass ends instead of waiting.
    fn wait(&self, _: Pending, _: &AtomicBool) -> Duration {
        Duration::ZERO
    }

    fn reserve_memory(&self, bytes: u64) -> Result<(), OutOfMemoryError> {
        reserve(&self.memory, &self.live, bytes)
    }

    fn sealing_key(&self, id: Option<SealingKeyId>) -> HostCall<Result<Option<SealingKey>, String>> {
        self.live.sealing_key(id)
    }

    fn note_leaked(&self, bytes: u64) {
        self.live.memory().charge_leaked(bytes);
    }
}

/// Grows the reservation of a run to `bytes`.
fn reserve(memory: &GrowingReservation, live: &Live, bytes: u64) -> Result<(), OutOfMemoryError> {
    memory.grow_to(live.memory(), bytes).map_err(|error| {
        live.report_out_of_memory(Purpose::Scripts, &error);
        OutOfMemoryError(error.to_string())
    })
}

/// The host of a run on a worker, which streams log lines to the recorder.
pub(super) struct ThreadHost {
    recorder: Recorder,
    live: Arc<Live>,
    script: ScriptPath,
    execution: Uuid,
    cpu: Arc<CpuPermit>,
    lines: AtomicU32,
    memory: GrowingReservation,
}

impl ThreadHost {
    pub(super) fn new(
        recorder: Recorder,
        live: Arc<Live>,
        invocation: &Invocation,
        cpu: Arc<CpuPermit>,
    ) -> Self {
        let (script, execution) = (invocation.script.clone(), invocation.execution_id);
        let memory = GrowingReservation::new(Purpose::Scripts);
        Self { recorder, live, script, execution, cpu, lines: AtomicU32::new(0), memory }
    }

    /// The number of streamed lines.
    pub(super) fn lines(&self) -> u32 {
        self.lines.load(Ordering::Relaxed)
    }
}

impl Host for ThreadHost {
    fn log(&self, line: LogLine) -> HostCall<()> {
        self.lines.fetch_add(1, Ordering::Relaxed);
        self.recorder.record_line(&self.live, &self.script, self.execution, line, SystemTime::now());
        HostCall::Ready(())
    }

    fn wait(&self, pending: Pending, stop: &AtomicBool) -> Duration {
        self.cpu.wait(pending, || stop.load(Ordering::Relaxed))
    }

    fn yield_cpu(&self, stop: &AtomicBool) -> Duration {
        self.cpu.yield_to_others(|| stop.load(Ordering::Relaxed))
    }

    fn reserve_memory(&self, bytes: u64) -> Result<(), OutOfMemoryError> {
        reserve(&self.memory, &self.live, bytes)
    }

    fn sealing_key(&self, id: Option<SealingKeyId>) -> HostCall<Result<Option<SealingKey>, String>> {
        self.live.sealing_key(id)
    }

    fn note_leaked(&self, bytes: u64) {
        self.live.memory().charge_leaked(bytes);
    }
}
