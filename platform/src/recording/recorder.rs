//! Takes what ran, and what it logged, off the hands of whoever ran it. Nobody waits: what there is no room for is counted.
//!
//! There are two queues, so that under load those runs are kept about which there is something to tell.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, SystemTime};

use manifest_schema::execution::TriggerKind;
use manifest_schema::method::Method;
use manifest_schema::name::ScriptPath;
use runtime::{Execution, Failure, Invocation, LogLine, Trigger};
use tokio::sync::mpsc::{self, Receiver, Sender};
use uuid::Uuid;

use crate::live::Live;

/// How many runs may wait that answered and logged nothing.
const PLAIN_MAX: usize = 512;

/// How many runs may wait that failed or logged something, each line of those that take long counted as well …
const TELLING_MAX: usize = 8192;

/// … and how many bytes of lines.
const BYTES_MAX: usize = 16 << 20;

/// Where what ran is handed in. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Recorder(Arc<Queues>);

#[derive(Debug)]
struct Queues {
    plain: Sender<FinishedRun>,
    telling: Sender<Entry>,
    stats: Arc<QueueStats>,
}

/// What is in the queue of what tells something, and what did not get in anywhere.
#[derive(Debug, Default)]
pub(super) struct QueueStats {
    bytes: AtomicUsize,
    lost_executions: AtomicU64,
    lost_lines: AtomicU64,
}

/// The other end.
#[derive(Debug)]
pub(super) struct Queued {
    pub(super) plain: Receiver<FinishedRun>,
    pub(super) telling: Receiver<Entry>,
    pub(super) stats: Arc<QueueStats>,
}

/// Something that there is to tell about.
#[derive(Debug)]
pub(super) enum Entry {
    /// A run that is over.
    Run(FinishedRun),
    /// A line of one that goes on.
    Line(Line),
}

/// A run that is over.
#[derive(Debug)]
pub(crate) struct FinishedRun {
    pub(super) live: Arc<Live>,
    pub(super) script: ScriptPath,
    pub(super) id: Uuid,
    pub(super) request: Uuid,
    pub(super) trigger: TriggerKind,
    /// Of a request.
    pub(super) method: Option<Method>,
    /// The path of a request, or the name of the function or the schedule.
    pub(super) target: String,
    /// The status that it answers.
    pub(super) outcome: Result<u16, Failure>,
    pub(super) ended: SystemTime,
    pub(super) duration: Duration,
    pub(super) operations: u64,
    pub(super) memory: u64,
    pub(super) logs: CapturedLogs,
    pub(super) lines_dropped: u64,
}

/// What a run logged.
#[derive(Debug)]
pub(crate) enum CapturedLogs {
    /// These lines.
    Buffered(Vec<LogLine>),
    /// So many, which were handed in as they were written.
    Streamed(u32),
}

/// A line of a run that goes on.
#[derive(Debug)]
pub(super) struct Line {
    pub(super) live: Arc<Live>,
    pub(super) script: ScriptPath,
    pub(super) execution: Uuid,
    pub(super) line: LogLine,
    pub(super) at: SystemTime,
}

impl Recorder {
    /// A recorder, and the other end of its queues.
    pub(super) fn new() -> (Self, Queued) {
        let (to_plain, plain) = mpsc::channel(PLAIN_MAX);
        let (to_telling, telling) = mpsc::channel(TELLING_MAX);
        let stats = Arc::<QueueStats>::default();
        let queues = Queues { plain: to_plain, telling: to_telling, stats: Arc::clone(&stats) };
        (Self(Arc::new(queues)), Queued { plain, telling, stats })
    }

    /// Takes a run that is over. Under load there is no room for most of them: those are not even made.
    pub(crate) fn take(
        &self,
        execution: &Execution,
        logs: CapturedLogs,
        ran: impl FnOnce(CapturedLogs) -> FinishedRun,
    ) {
        let queues = &*self.0;
        let lines = match &logs {
            CapturedLogs::Buffered(lines) => lines.len() as u64,
            CapturedLogs::Streamed(_) => 0,
        };
        let is_plain = execution.outcome.is_ok() && lines == 0 && matches!(logs, CapturedLogs::Buffered(_));
        if is_plain {
            match queues.plain.try_reserve() {
                Ok(place) => place.send(ran(logs)),
                Err(_) => queues.stats.lose(1, 0),
            }
        } else if !queues.send(Entry::Run(ran(logs))) {
            queues.stats.lose(1, lines);
        }
    }

    /// Takes a line of a run that goes on.
    pub(crate) fn take_line(
        &self,
        live: &Arc<Live>,
        script: &ScriptPath,
        execution: Uuid,
        line: LogLine,
        at: SystemTime,
    ) {
        let line = Line { live: Arc::clone(live), script: script.clone(), execution, line, at };
        if !self.0.send(Entry::Line(line)) {
            self.0.stats.lose(0, 1);
        }
    }
}

impl Queues {
    /// Whether there was room.
    fn send(&self, entry: Entry) -> bool {
        let bytes = entry.bytes();
        if self.stats.bytes.fetch_add(bytes, Ordering::Relaxed) + bytes <= BYTES_MAX
            && self.telling.try_send(entry).is_ok()
        {
            return true;
        }
        self.stats.free(bytes);
        false
    }
}

impl QueueStats {
    /// So many bytes are not in the queue any more.
    pub(super) fn free(&self, bytes: usize) {
        self.bytes.fetch_sub(bytes, Ordering::Relaxed);
    }

    /// So much is lost.
    pub(super) fn lose(&self, executions: u64, lines: u64) {
        self.lost_executions.fetch_add(executions, Ordering::Relaxed);
        self.lost_lines.fetch_add(lines, Ordering::Relaxed);
    }

    /// What was lost since this was last asked: executions and lines.
    pub(super) fn take_lost(&self) -> (u64, u64) {
        (self.lost_executions.swap(0, Ordering::Relaxed), self.lost_lines.swap(0, Ordering::Relaxed))
    }
}

impl FinishedRun {
    pub(crate) fn new(
        live: Arc<Live>,
        invocation: Invocation,
        execution: &Execution,
        logs: CapturedLogs,
    ) -> Self {
        let trigger = invocation.trigger.kind();
        let (method, target) = match invocation.trigger {
            Trigger::Http(request) => (Some(request.method), request.path),
            Trigger::Function { name, .. } | Trigger::Scheduled { name, .. } => (None, name.to_string()),
        };
        Self {
            live,
            script: invocation.script,
            id: invocation.execution_id,
            request: invocation.request_id,
            trigger,
            method,
            target,
            outcome: match &execution.outcome {
                Ok(answer) => Ok(answer.status),
                Err(failure) => Err(failure.clone()),
            },
            ended: SystemTime::now(),
            duration: execution.duration,
            operations: execution.operations,
            memory: execution.memory_peak,
            logs,
            lines_dropped: execution.log_lines_dropped,
        }
    }
}

impl Entry {
    /// The bytes of its lines.
    pub(super) fn bytes(&self) -> usize {
        let line = |line: &LogLine| {
            size_of::<LogLine>() + line.message.len() + line.data.as_ref().map_or(0, String::len)
        };
        match self {
            Self::Line(one) => line(&one.line),
            Self::Run(FinishedRun { logs: CapturedLogs::Buffered(lines), .. }) => {
                lines.iter().map(line).sum()
            }
            Self::Run(_) => 0,
        }
    }
}
