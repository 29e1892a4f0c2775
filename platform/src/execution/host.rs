//! What a script reaches outside while it runs: so far its log.

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use manifest_schema::name::ScriptPath;
use runtime::{Host, HostCall, Invocation, LogLine, Pending};
use uuid::Uuid;

use crate::executor::CpuPermit;
use crate::live::Live;
use crate::recording::Recorder;

/// The host of an inline pass: what the script logs is kept until the pass has ended.
#[derive(Default)]
pub(super) struct InlineHost {
    lines: Mutex<Vec<LogLine>>,
}

impl InlineHost {
    pub(super) fn take_lines(&self) -> Vec<LogLine> {
        std::mem::take(&mut self.lines.lock().unwrap_or_else(PoisonError::into_inner))
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
}

/// The host of a run on a thread of its own: what the script logs is recorded as it is written.
pub(super) struct ThreadHost {
    recorder: Recorder,
    live: Arc<Live>,
    script: ScriptPath,
    execution: Uuid,
    cpu: Arc<CpuPermit>,
    lines: AtomicU32,
}

impl ThreadHost {
    pub(super) fn new(
        recorder: Recorder,
        live: Arc<Live>,
        invocation: &Invocation,
        cpu: Arc<CpuPermit>,
    ) -> Self {
        let (script, execution) = (invocation.script.clone(), invocation.execution_id);
        Self { recorder, live, script, execution, cpu, lines: AtomicU32::new(0) }
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
}
