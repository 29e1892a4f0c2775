//! The host of a running script: its log, its memory, and its state.

use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use manifest_schema::execution::LogLevel;
use manifest_schema::name::ScriptPath;
use runtime::{
    Callee, CalleeError, ChangeMark, Host, HostCall, Invocation, KvChange, KvError, KvKey, KvList,
    KvReadMode, KvValue, LogLine, OutOfMemoryError, Pending, SealingKey, SealingKeyId,
};
use uuid::Uuid;

use crate::executor::CpuPermit;
use crate::live::Live;
use crate::memory::{GrowingReservation, Purpose};
use crate::recording::Recorder;
use crate::state::{PassState, Session, Transaction};

/// The host of an inline pass, which buffers log lines until the pass ends.
pub(super) struct InlineHost {
    live: Arc<Live>,
    lines: Mutex<Vec<LogLine>>,
    memory: GrowingReservation,
    state: PassState,
}

/// What remains of an inline pass.
pub(super) struct InlinePass {
    pub(super) live: Arc<Live>,
    pub(super) lines: Vec<LogLine>,
    pub(super) session: Option<Arc<Session>>,
    pub(super) transaction: Option<Box<Transaction>>,
}

impl InlineHost {
    pub(super) fn new(live: Arc<Live>, session: Option<Arc<Session>>, invocation: &Invocation) -> Arc<Self> {
        Arc::new(Self {
            live,
            lines: Mutex::default(),
            memory: GrowingReservation::new(Purpose::Scripts),
            state: PassState::of(session, invocation),
        })
    }

    pub(super) fn live(&self) -> &Live {
        &self.live
    }

    /// Returns the revision, the log lines and the state after the pass.
    pub(super) fn into_pass(self: Arc<Self>) -> InlinePass {
        let (session, transaction) = (self.state.session(), self.state.take_transaction());
        let own = |lines: Mutex<Vec<LogLine>>| lines.into_inner().unwrap_or_else(PoisonError::into_inner);
        match Arc::try_unwrap(self) {
            Ok(host) => InlinePass { live: host.live, lines: own(host.lines), session, transaction },
            // Unreachable after the pass, which drops its reference.
            Err(host) => {
                let lines = std::mem::take(&mut *host.lines.lock().unwrap_or_else(PoisonError::into_inner));
                InlinePass { live: Arc::clone(&host.live), lines, session, transaction }
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

    fn kv_get(&self, keys: &[KvKey], mode: KvReadMode) -> HostCall<Result<Vec<Option<KvValue>>, KvError>> {
        self.state.get(self.live.namespace(), keys, mode)
    }

    fn kv_list(&self, list: &KvList) -> HostCall<Result<Vec<(KvKey, KvValue)>, KvError>> {
        self.state.list(self.live.namespace(), list)
    }

    fn kv_change(&self, key: &KvKey, change: KvChange) -> HostCall<Result<(), KvError>> {
        self.state.change(self.live.namespace(), key, change)
    }

    fn mark_changes(&self) -> ChangeMark {
        self.state.mark()
    }

    fn undo_changes(&self, mark: ChangeMark) {
        self.state.undo_to(mark);
    }

    fn function(&self, name: &str, _: bool) -> Result<Callee, CalleeError> {
        Callee::find(&self.live.revision, name, None)
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

/// The log of an execution on a worker, which is streamed to the recorder. Passes repeat lines, which are recorded
/// once.
#[derive(Debug, Default)]
pub(super) struct StreamedLog {
    /// The hashes of the recorded lines.
    recorded: Mutex<Vec<u64>>,
    lines: AtomicU32,
}

impl StreamedLog {
    /// The number of recorded lines.
    pub(super) fn lines(&self) -> u32 {
        self.lines.load(Ordering::Relaxed)
    }

    /// Whether a pass repeats its line of this number; else it and all later lines are new. The second value is the
    /// number of recorded lines that the pass has not repeated.
    fn repeats(&self, number: usize, line: &LogLine) -> (bool, usize) {
        let mut hasher = DefaultHasher::new();
        (line.level.as_str(), &line.message, &line.data, line.line).hash(&mut hasher);
        let hash = hasher.finish();
        let mut recorded = self.recorded.lock().unwrap_or_else(PoisonError::into_inner);
        if recorded.get(number) == Some(&hash) {
            return (true, 0);
        }
        let superseded = recorded.len().saturating_sub(number);
        recorded.truncate(number);
        recorded.push(hash);
        (false, superseded)
    }
}

/// The host of a run on a worker, which streams log lines to the recorder.
pub(super) struct ThreadHost {
    recorder: Recorder,
    live: Arc<Live>,
    script: ScriptPath,
    execution: Uuid,
    cpu: Arc<CpuPermit>,
    log: Arc<StreamedLog>,
    /// The number of lines of this pass.
    pass_lines: AtomicU32,
    memory: GrowingReservation,
    state: PassState,
}

impl ThreadHost {
    pub(super) fn new(
        recorder: Recorder,
        live: Arc<Live>,
        invocation: &Invocation,
        cpu: Arc<CpuPermit>,
        log: Arc<StreamedLog>,
        session: Option<Arc<Session>>,
    ) -> Self {
        let (script, execution) = (invocation.script.clone(), invocation.execution_id);
        let memory = GrowingReservation::new(Purpose::Scripts);
        let (pass_lines, state) = (AtomicU32::new(0), PassState::of(session, invocation));
        Self { recorder, live, script, execution, cpu, log, pass_lines, memory, state }
    }

    pub(super) fn state(&self) -> &PassState {
        &self.state
    }

    fn record_line(&self, line: LogLine) {
        self.log.lines.fetch_add(1, Ordering::Relaxed);
        self.recorder.record_line(&self.live, &self.script, self.execution, line, SystemTime::now());
    }
}

impl Host for ThreadHost {
    fn log(&self, line: LogLine) -> HostCall<()> {
        let number = self.pass_lines.fetch_add(1, Ordering::Relaxed);
        let (is_repeated, superseded) = self.log.repeats(number as usize, &line);
        if is_repeated {
            return HostCall::Ready(());
        }
        if superseded > 0 {
            let lines = match superseded {
                1 => "line is".to_owned(),
                lines => format!("{lines} lines are"),
            };
            let message =
                format!("the execution ran again because its state had changed; its last {lines} superseded");
            let (level, data) = (LogLevel::Info, None);
            self.record_line(LogLine { level, message, data, ..line.clone() });
        }
        self.record_line(line);
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

    fn kv_get(&self, keys: &[KvKey], mode: KvReadMode) -> HostCall<Result<Vec<Option<KvValue>>, KvError>> {
        self.state.get(self.live.namespace(), keys, mode)
    }

    fn kv_list(&self, list: &KvList) -> HostCall<Result<Vec<(KvKey, KvValue)>, KvError>> {
        self.state.list(self.live.namespace(), list)
    }

    fn kv_change(&self, key: &KvKey, change: KvChange) -> HostCall<Result<(), KvError>> {
        self.state.change(self.live.namespace(), key, change)
    }

    fn mark_changes(&self) -> ChangeMark {
        self.state.mark()
    }

    fn undo_changes(&self, mark: ChangeMark) {
        self.state.undo_to(mark);
    }

    fn function(&self, name: &str, _: bool) -> Result<Callee, CalleeError> {
        Callee::find(&self.live.revision, name, Some(&|of, path| self.live.scripts().program(of, path)))
    }

    fn note_leaked(&self, bytes: u64) {
        self.live.memory().charge_leaked(bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn repeated_lines_are_recorded_once() {
        let line = |message: &str| LogLine {
            number: 0,
            level: LogLevel::Info,
            message: message.to_owned(),
            data: None,
            library: None,
            line: Some(1),
            column: Some(1),
            elapsed: Duration::ZERO,
        };
        let log = StreamedLog::default();
        assert_eq!(log.repeats(0, &line("a")), (false, 0));
        assert_eq!(log.repeats(1, &line("b")), (false, 0));
        assert_eq!(log.repeats(2, &line("c")), (false, 0));
        assert_eq!(log.repeats(0, &line("a")), (true, 0));
        assert_eq!(log.repeats(1, &line("x")), (false, 2));
        assert_eq!(log.repeats(2, &line("c")), (false, 0));
        assert_eq!(log.repeats(1, &line("x")), (true, 0));
    }
}
