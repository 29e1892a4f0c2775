//! Accepts finished runs and log lines without blocking their callers. What does not fit is counted per app.
//!
//! There are two queues, so that notable runs are kept under load.

use std::collections::{HashMap, VecDeque};
use std::mem;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use manifest_schema::execution::TriggerKind;
use manifest_schema::method::Method;
use manifest_schema::name::{AppName, ScriptPath};
use runtime::{Execution, Failure, Invocation, LogLine, ScheduledRun, Trigger};
use store::AppId;
use tokio::sync::Notify;
use uuid::Uuid;

use super::fair_queue::{FairQueue, Queued};
use crate::live::Live;
use crate::memory::Account;

/// The maximum bytes of routine runs, which succeeded and logged nothing: some five hundred runs.
const ROUTINE_BYTES_MAX: usize = 256 << 10;

/// The maximum bytes of notable runs, which failed or logged something, including streamed lines of long
/// runs.
const NOTABLE_BYTES_MAX: usize = 8 << 20;

/// The sending end of the recording. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Recorder(Arc<Inbox>);

/// The receiving end, with counts of dropped records.
#[derive(Debug)]
pub(super) struct Inbox {
    queues: Mutex<Queues>,
    /// Incremented by every take. An app whose record was dropped is dropped again in the same round without
    /// locking the queues.
    round: AtomicU64,
    /// Notified when empty queues get an entry, and when entries remain.
    arrived: Notify,
}

#[derive(Debug)]
struct Queues {
    routine: FairQueue<Entry>,
    notable: FairQueue<Entry>,
    /// The apps with drops in this round.
    dropping: HashMap<AppId, (AppName, Arc<DropCounters>)>,
}

/// Counters of dropped records of an app. One per live app.
#[derive(Debug, Default)]
pub(crate) struct DropCounters {
    /// The last round with a drop, for routine and for notable runs. The first round is 1.
    dropped_in: [AtomicU64; 2],
    executions: AtomicU64,
    lines: AtomicU64,
}

/// The queue of an entry.
#[derive(Clone, Copy, Debug)]
enum Kind {
    /// A run that succeeded and logged nothing.
    Routine,
    /// A run that failed or logged something, or a line of a running one.
    Notable,
}

/// The number of dropped records.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct DropCounts {
    pub(super) executions: u64,
    pub(super) lines: u64,
}

/// The entries taken from the queues.
#[derive(Debug)]
pub(super) struct Taken {
    notable: FairQueue<Entry>,
    routine: VecDeque<(Account, Entry)>,
    /// The drops by app.
    pub(super) drops: Vec<(AppId, AppName, DropCounts)>,
}

/// An entry of the queues.
#[derive(Debug)]
pub(super) enum Entry {
    /// A finished run.
    Run(FinishedRun),
    /// A line of a running script.
    Line(Line),
}

/// A finished run.
#[derive(Debug)]
pub(crate) struct FinishedRun {
    pub(super) live: Arc<Live>,
    pub(super) script: ScriptPath,
    pub(super) id: Uuid,
    pub(super) request: Uuid,
    pub(super) trigger: TriggerKind,
    /// The method of a request.
    pub(super) method: Option<Method>,
    /// The path of a request, or the name of a function or schedule.
    pub(super) target: String,
    /// The status of the response.
    pub(super) outcome: Result<u16, Failure>,
    pub(super) ended: SystemTime,
    pub(super) duration: Duration,
    pub(super) operations: u64,
    pub(super) memory: u64,
    pub(super) logs: CapturedLogs,
    pub(super) lines_dropped: u64,
}

/// The log lines of a run.
#[derive(Debug)]
pub(crate) enum CapturedLogs {
    /// All lines.
    Buffered(Vec<LogLine>),
    /// The number of lines that were streamed while it ran.
    Streamed(u32),
}

/// A line of a running script.
#[derive(Debug)]
pub(super) struct Line {
    pub(super) live: Arc<Live>,
    pub(super) script: ScriptPath,
    pub(super) execution: Uuid,
    pub(super) line: LogLine,
    pub(super) at: SystemTime,
}

impl Recorder {
    /// Creates a recorder with its inbox.
    pub(super) fn new() -> (Self, Arc<Inbox>) {
        let queues = Mutex::new(Queues::default());
        let inbox = Arc::new(Inbox { queues, round: AtomicU64::new(1), arrived: Notify::new() });
        (Self(Arc::clone(&inbox)), inbox)
    }

    /// Records a finished run. `run` is not called if the record would be dropped.
    pub(crate) fn record(
        &self,
        live: Arc<Live>,
        execution: &Execution,
        logs: CapturedLogs,
        run: impl FnOnce(Arc<Live>, CapturedLogs) -> FinishedRun,
    ) {
        let lines = match &logs {
            CapturedLogs::Buffered(lines) => lines.len() as u64,
            CapturedLogs::Streamed(_) => 0,
        };
        let is_routine = execution.outcome.is_ok() && lines == 0 && matches!(logs, CapturedLogs::Buffered(_));
        let kind = if is_routine { Kind::Routine } else { Kind::Notable };
        let drops = DropCounts { executions: 1, lines };
        self.0.push(live, kind, drops, |live| Entry::Run(run(live, logs)));
    }

    /// Records a line of a running script.
    pub(crate) fn record_line(
        &self,
        live: &Arc<Live>,
        script: &ScriptPath,
        execution: Uuid,
        line: LogLine,
        at: SystemTime,
    ) {
        let drops = DropCounts { executions: 0, lines: 1 };
        self.0.push(Arc::clone(live), Kind::Notable, drops, |live| {
            Entry::Line(Line { live, script: script.clone(), execution, line, at })
        });
    }
}

impl Inbox {
    /// Adds the result of `entry`, or counts it as dropped.
    fn push(&self, live: Arc<Live>, kind: Kind, drops: DropCounts, entry: impl FnOnce(Arc<Live>) -> Entry) {
        let round = self.round.load(Ordering::SeqCst);
        if live.records().dropped_in[kind as usize].load(Ordering::SeqCst) == round {
            live.records().count(drops);
            // If the round has ended, its drops can have been summed up already.
            if self.round.load(Ordering::SeqCst) != round {
                self.queues().mark_dropping(&live);
                self.arrived.notify_one();
            }
            return;
        }
        let account = live.memory().clone();
        let entry = entry(live);
        let (dropped, was_empty) = {
            let mut queues = self.queues();
            let was_empty = queues.routine.is_empty() && queues.notable.is_empty();
            let dropped = queues.of(kind).push(&account, entry);
            let round = self.round.load(Ordering::SeqCst);
            for entry in &dropped {
                queues.mark_dropping(entry.live());
                let counters = entry.live().records();
                counters.count(entry.drops());
                counters.dropped_in[kind as usize].store(round, Ordering::SeqCst);
            }
            (dropped, was_empty)
        };
        // Drop outside the lock.
        drop(dropped);
        if was_empty {
            self.arrived.notify_one();
        }
    }

    /// Waits for entries, which can have been taken in the meantime.
    pub(super) async fn arrived(&self) {
        self.arrived.notified().await;
    }

    /// Takes all notable entries, and up to `routine_max` routine runs.
    pub(super) fn take(&self, routine_max: usize) -> Taken {
        let mut queues = self.queues();
        self.round.fetch_add(1, Ordering::SeqCst);
        let notable = mem::replace(&mut queues.notable, FairQueue::new(NOTABLE_BYTES_MAX));
        let routine = std::iter::from_fn(|| queues.routine.pop()).take(routine_max).collect();
        queues.routine.release_taken();
        let dropping = mem::take(&mut queues.dropping);
        if !queues.routine.is_empty() {
            self.arrived.notify_one();
        }
        drop(queues);
        let drops =
            dropping.into_iter().map(|(app, (name, counters))| (app, name, counters.take_counts())).collect();
        Taken { notable, routine, drops }
    }

    /// The queues. No code panics while holding the lock.
    fn queues(&self) -> MutexGuard<'_, Queues> {
        self.queues.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Default for Queues {
    fn default() -> Self {
        Self {
            routine: FairQueue::new(ROUTINE_BYTES_MAX),
            notable: FairQueue::new(NOTABLE_BYTES_MAX),
            dropping: HashMap::new(),
        }
    }
}

impl Queues {
    fn of(&mut self, kind: Kind) -> &mut FairQueue<Entry> {
        match kind {
            Kind::Routine => &mut self.routine,
            Kind::Notable => &mut self.notable,
        }
    }

    /// Marks an app to sum up its drops at the end of this round.
    fn mark_dropping(&mut self, live: &Live) {
        let app = AppId::from_uuid(live.revision.app_id());
        let noted = || (live.revision.app().clone(), Arc::clone(live.records()));
        self.dropping.entry(app).or_insert_with(noted);
    }
}

impl Taken {
    /// The next entry, round-robin over apps, with the app's account.
    pub(super) fn next(&mut self) -> Option<(Account, Entry)> {
        self.notable.pop().or_else(|| self.routine.pop_front())
    }
}

impl DropCounters {
    fn count(&self, drops: DropCounts) {
        self.executions.fetch_add(drops.executions, Ordering::SeqCst);
        self.lines.fetch_add(drops.lines, Ordering::SeqCst);
    }

    /// The drops since the last call.
    fn take_counts(&self) -> DropCounts {
        DropCounts {
            executions: self.executions.swap(0, Ordering::SeqCst),
            lines: self.lines.swap(0, Ordering::SeqCst),
        }
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
            Trigger::Http(request) => {
                let method = request.method;
                // The execution has ended, so that nothing else refers to its request.
                let path = Arc::try_unwrap(request).map_or_else(|shared| shared.path.clone(), |own| own.path);
                (Some(method), path)
            }
            Trigger::Function { name, .. } | Trigger::Scheduled(ScheduledRun { name, .. }) => {
                (None, name.to_string())
            }
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
            memory: execution.memory_peak_bytes,
            logs,
            lines_dropped: execution.log_lines_dropped,
        }
    }
}

impl Entry {
    /// The revision.
    pub(super) fn live(&self) -> &Arc<Live> {
        match self {
            Self::Run(run) => &run.live,
            Self::Line(line) => &line.live,
        }
    }

    /// What is dropped with this entry.
    fn drops(&self) -> DropCounts {
        match self {
            Self::Line(_) => DropCounts { executions: 0, lines: 1 },
            Self::Run(FinishedRun { logs: CapturedLogs::Buffered(lines), .. }) => {
                DropCounts { executions: 1, lines: lines.len() as u64 }
            }
            Self::Run(_) => DropCounts { executions: 1, lines: 0 },
        }
    }
}

impl Queued for Entry {
    fn app(&self) -> AppId {
        AppId::from_uuid(self.live().revision.app_id())
    }

    fn bytes(&self) -> usize {
        let line = |line: &LogLine| {
            size_of::<LogLine>() + line.message.len() + line.data.as_ref().map_or(0, String::len)
        };
        let texts = match self {
            Self::Line(one) => line(&one.line),
            Self::Run(run) => {
                let failure = run.outcome.as_ref().err().map_or(0, |failure| failure.message.len());
                let lines = match &run.logs {
                    CapturedLogs::Buffered(lines) => lines.iter().map(line).sum(),
                    CapturedLogs::Streamed(_) => 0,
                };
                run.target.len() + failure + lines
            }
        };
        size_of::<Self>() + texts
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use runtime::Secrets;
    use tokio::time::timeout;

    use super::*;
    use crate::deploy::{File, Snapshot};
    use crate::dev::DevDeployer;
    use crate::execution::execute;
    use crate::live::LiveTable;
    use crate::memory::MemoryBudget;

    /// An app with a function that runs `script`.
    fn live(table: &Arc<LiveTable>, app: &str, script: &str) -> Arc<Live> {
        let mut dev = DevDeployer::new(Arc::clone(table), AppName::new(app).unwrap(), Secrets::default());
        let mut snapshot = Snapshot::default();
        let manifest = "sdk = \"1.1\"\n[[functions]]\nname = \"f\"\nscript = \"a.rhai\"\n";
        for (path, text) in [("picloud.toml", manifest), ("a.rhai", script)] {
            snapshot.add(path, || File::Bytes(text.as_bytes().to_vec().into()));
        }
        dev.update(&snapshot);
        dev.live().unwrap()
    }

    async fn run(recorder: &Recorder, live: &Arc<Live>) {
        let trigger = Trigger::Function {
            name: manifest_schema::name::JobName::new("f").unwrap(),
            payload: bytes::Bytes::new(),
        };
        let script = ScriptPath::new("a.rhai").unwrap();
        let ids = (Uuid::now_v7(), Uuid::nil());
        let invocation = Invocation::new(script, ids.0, ids.1, trigger);
        execute(recorder, Arc::clone(live), invocation).await.unwrap();
    }

    /// Takes all entries, and counts kept and dropped executions by app.
    async fn count(inbox: &Inbox, counts: &mut BTreeMap<String, (u64, u64)>) {
        while timeout(Duration::ZERO, inbox.arrived()).await.is_ok() {
            let mut taken = inbox.take(100);
            while let Some((_, entry)) = taken.next() {
                counts.entry(entry.live().revision.app().to_string()).or_default().0 +=
                    entry.drops().executions;
            }
            for (_, app, drops) in taken.drops {
                counts.entry(app.to_string()).or_default().1 += drops.executions;
            }
        }
    }

    /// The writer takes some hundred at a time; the remaining entries are processed though no later one
    /// arrives.
    #[tokio::test]
    async fn runs_are_recorded_or_counted_and_quiet_app_loses_none() {
        for script in ["1", "log::info(\"x\"); 1", "throw 1"] {
            let table = Arc::new(LiveTable::new(MemoryBudget::unbounded()));
            let (busy, quiet) = (live(&table, "busy", script), live(&table, "quiet", script));
            let (recorder, inbox) = Recorder::new();
            let mut counts = BTreeMap::new();
            for round in 0..40 {
                for _ in 0..500 {
                    run(&recorder, &busy).await;
                }
                run(&recorder, &quiet).await;
                if round % 10 == 5 {
                    count(&inbox, &mut counts).await;
                }
            }
            count(&inbox, &mut counts).await;
            let (kept, drops) = counts["busy"];
            assert_eq!(kept + drops, 20_000, "{script}");
            assert_eq!(counts["quiet"], (40, 0), "{script}");
            assert!(drops > 1000 || script != "1", "{drops} routine runs are dropped");
        }
    }

    #[test]
    fn drops_are_counted_exactly_across_threads() {
        let table = Arc::new(LiveTable::new(MemoryBudget::unbounded()));
        let live = live(&table, "busy", "1");
        let (recorder, inbox) = Recorder::new();
        let pushing = AtomicU64::new(4);
        let mut counted = 0;
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for _ in 0..20_000 {
                        let drops = DropCounts { executions: 0, lines: 1 };
                        recorder.0.push(Arc::clone(&live), Kind::Routine, drops, |live| {
                            Entry::Line(Line {
                                live,
                                script: ScriptPath::new("a.rhai").unwrap(),
                                execution: Uuid::nil(),
                                line: line(),
                                at: SystemTime::UNIX_EPOCH,
                            })
                        });
                    }
                    pushing.fetch_sub(1, Ordering::SeqCst);
                });
            }
            loop {
                let is_done = pushing.load(Ordering::SeqCst) == 0;
                let mut taken = inbox.take(100);
                let kept = std::iter::from_fn(|| taken.next()).count() as u64;
                counted += kept + taken.drops.iter().map(|(.., drops)| drops.lines).sum::<u64>();
                if is_done && kept == 0 {
                    break;
                }
            }
        });
        assert_eq!(counted, 80_000);
    }

    fn line() -> LogLine {
        LogLine {
            number: 0,
            level: manifest_schema::execution::LogLevel::Info,
            message: "x".to_owned(),
            data: None,
            library: None,
            line: None,
            column: None,
            elapsed: Duration::ZERO,
        }
    }
}
