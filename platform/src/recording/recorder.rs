//! Takes what ran, and what it logged, off the hands of whatever ran it. Nobody waits: what there is no room for is counted, for the
//! app whose it is.
//!
//! There are two queues, so that under load those runs are kept about which there is something to tell.

use std::collections::{HashMap, VecDeque};
use std::mem;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use manifest_schema::execution::TriggerKind;
use manifest_schema::method::Method;
use manifest_schema::name::{AppName, ScriptPath};
use runtime::{Execution, Failure, Invocation, LogLine, Trigger};
use store::AppId;
use tokio::sync::Notify;
use uuid::Uuid;

use super::fair_queue::{FairQueue, Waiting};
use crate::live::Live;
use crate::memory::Account;

/// How many bytes of runs can wait that answered and logged nothing: some five hundred runs.
const ROUTINE_BYTES_MAX: usize = 256 << 10;

/// How many bytes of runs can wait that failed or logged something, with their lines, each line of those that take long by itself.
const NOTABLE_BYTES_MAX: usize = 8 << 20;

/// Where what ran is handed in. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Recorder(Arc<Inbox>);

/// What was handed in, and what did not get in.
#[derive(Debug)]
pub(super) struct Inbox {
    queues: Mutex<Queues>,
    /// Raised when something is taken out. What was refused before is refused until then, without a look at the queues.
    round: AtomicU64,
    /// Notified when something comes into queues that were empty, and when something is left there.
    arrived: Notify,
}

#[derive(Debug)]
struct Queues {
    routine: FairQueue<Entry>,
    notable: FairQueue<Entry>,
    /// The apps that lost something in this round.
    losing: HashMap<AppId, (AppName, Arc<RecordShare>)>,
}

/// What an app had no room for in the queues of records. There is one of each app that is live.
#[derive(Debug, Default)]
pub(crate) struct RecordShare {
    /// The rounds in which it was refused, of routine and of notable runs. The first round is 1.
    refused_in: [AtomicU64; 2],
    lost_executions: AtomicU64,
    lost_lines: AtomicU64,
}

/// Which of the queues.
#[derive(Clone, Copy, Debug)]
enum Kind {
    /// A run that answered and logged nothing.
    Routine,
    /// A run that failed or logged something, or a line of one that goes on.
    Notable,
}

/// Records that are lost.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Lost {
    pub(super) executions: u64,
    pub(super) lines: u64,
}

/// What was in the queues.
#[derive(Debug)]
pub(super) struct Taken {
    notable: FairQueue<Entry>,
    routine: VecDeque<(Account, Entry)>,
    /// What did not get in, by app.
    pub(super) lost: Vec<(AppId, AppName, Lost)>,
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
    pub(super) fn new() -> (Self, Arc<Inbox>) {
        let queues = Mutex::new(Queues::default());
        let inbox = Arc::new(Inbox { queues, round: AtomicU64::new(1), arrived: Notify::new() });
        (Self(Arc::clone(&inbox)), inbox)
    }

    /// Takes a run that is over. Under load there is no room for most of them: those are not even made.
    pub(crate) fn take(
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
        let lost = Lost { executions: 1, lines };
        self.0.hand_in(live, kind, lost, |live| Entry::Run(run(live, logs)));
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
        let lost = Lost { executions: 0, lines: 1 };
        self.0.hand_in(Arc::clone(live), Kind::Notable, lost, |live| {
            Entry::Line(Line { live, script: script.clone(), execution, line, at })
        });
    }
}

impl Inbox {
    /// Adds what `entry` makes, or counts it as lost.
    fn hand_in(&self, live: Arc<Live>, kind: Kind, lost: Lost, entry: impl FnOnce(Arc<Live>) -> Entry) {
        let round = self.round.load(Ordering::SeqCst);
        if live.records().refused_in[kind as usize].load(Ordering::SeqCst) == round {
            live.records().lose(lost);
            // Where the round has ended, what was lost in it may have been added up already.
            if self.round.load(Ordering::SeqCst) != round {
                self.queues().note_losing(&live);
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
                queues.note_losing(entry.live());
                let share = entry.live().records();
                share.lose(entry.lost());
                share.refused_in[kind as usize].store(round, Ordering::SeqCst);
            }
            (dropped, was_empty)
        };
        // Not while others wait for the queues.
        drop(dropped);
        if was_empty {
            self.arrived.notify_one();
        }
    }

    /// Waits until something is there, which can be taken by now.
    pub(super) async fn arrived(&self) {
        self.arrived.notified().await;
    }

    /// Takes everything that tells something, and so many of the other runs at most.
    pub(super) fn take(&self, routine_max: usize) -> Taken {
        let mut queues = self.queues();
        self.round.fetch_add(1, Ordering::SeqCst);
        let notable = mem::replace(&mut queues.notable, FairQueue::new(NOTABLE_BYTES_MAX));
        let routine = std::iter::from_fn(|| queues.routine.pop()).take(routine_max).collect();
        queues.routine.settle();
        let losing = mem::take(&mut queues.losing);
        if !queues.routine.is_empty() {
            self.arrived.notify_one();
        }
        drop(queues);
        let lost = losing.into_iter().map(|(app, (name, share))| (app, name, share.take_lost())).collect();
        Taken { notable, routine, lost }
    }

    /// The queues. They are changed in steps that cannot panic halfway.
    fn queues(&self) -> MutexGuard<'_, Queues> {
        self.queues.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Default for Queues {
    fn default() -> Self {
        Self {
            routine: FairQueue::new(ROUTINE_BYTES_MAX),
            notable: FairQueue::new(NOTABLE_BYTES_MAX),
            losing: HashMap::new(),
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

    /// Has what an app lost added up when this round ends.
    fn note_losing(&mut self, live: &Live) {
        let app = AppId::from_uuid(live.revision.app_id());
        let noted = || (live.revision.app().clone(), Arc::clone(live.records()));
        self.losing.entry(app).or_insert_with(noted);
    }
}

impl Taken {
    /// The next one, of each app in its turn, with the app's account.
    pub(super) fn next(&mut self) -> Option<(Account, Entry)> {
        self.notable.pop().or_else(|| self.routine.pop_front())
    }
}

impl RecordShare {
    fn lose(&self, lost: Lost) {
        self.lost_executions.fetch_add(lost.executions, Ordering::SeqCst);
        self.lost_lines.fetch_add(lost.lines, Ordering::SeqCst);
    }

    /// What was lost since this was last asked.
    fn take_lost(&self) -> Lost {
        Lost {
            executions: self.lost_executions.swap(0, Ordering::SeqCst),
            lines: self.lost_lines.swap(0, Ordering::SeqCst),
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
            memory: execution.memory_peak_bytes,
            logs,
            lines_dropped: execution.log_lines_dropped,
        }
    }
}

impl Entry {
    /// What ran.
    pub(super) fn live(&self) -> &Arc<Live> {
        match self {
            Self::Run(run) => &run.live,
            Self::Line(line) => &line.live,
        }
    }

    /// What is lost with it.
    fn lost(&self) -> Lost {
        match self {
            Self::Line(_) => Lost { executions: 0, lines: 1 },
            Self::Run(FinishedRun { logs: CapturedLogs::Buffered(lines), .. }) => {
                Lost { executions: 1, lines: lines.len() as u64 }
            }
            Self::Run(_) => Lost { executions: 1, lines: 0 },
        }
    }
}

impl Waiting for Entry {
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
    use crate::execution::execute;
    use crate::live::LiveTable;
    use crate::memory::MemoryBudget;
    use crate::workbench::Workbench;

    /// An app that answers, with a function that does what `script` says.
    fn live(table: &Arc<LiveTable>, app: &str, script: &str) -> Arc<Live> {
        let mut workbench = Workbench::new(Arc::clone(table), AppName::new(app).unwrap(), Secrets::default());
        let mut snapshot = Snapshot::default();
        let manifest = "sdk = \"1.1\"\n[[functions]]\nname = \"f\"\nscript = \"a.rhai\"\n";
        for (path, text) in [("picloud.toml", manifest), ("a.rhai", script)] {
            snapshot.add(path, || File::Bytes(text.as_bytes().to_vec().into()));
        }
        workbench.take(&snapshot);
        workbench.live().unwrap()
    }

    async fn run(recorder: &Recorder, live: &Arc<Live>) {
        let trigger = Trigger::Function {
            name: manifest_schema::name::JobName::new("f").unwrap(),
            payload: bytes::Bytes::new(),
        };
        let script = ScriptPath::new("a.rhai").unwrap();
        let ids = (Uuid::now_v7(), Uuid::nil());
        let invocation = Invocation { script, execution_id: ids.0, request_id: ids.1, trigger };
        execute(recorder, Arc::clone(live), invocation).await.unwrap();
    }

    /// Takes all that is there, and counts by app what is kept and what is lost.
    async fn count(inbox: &Inbox, counts: &mut BTreeMap<String, (u64, u64)>) {
        while timeout(Duration::ZERO, inbox.arrived()).await.is_ok() {
            let mut taken = inbox.take(100);
            while let Some((_, entry)) = taken.next() {
                counts.entry(entry.live().revision.app().to_string()).or_default().0 +=
                    entry.lost().executions;
            }
            for (_, app, lost) in taken.lost {
                counts.entry(app.to_string()).or_default().1 += lost.executions;
            }
        }
    }

    /// The writer takes some hundred at once; what is left is not forgotten though nothing comes after it.
    #[tokio::test]
    async fn every_run_is_taken_or_counted_and_those_of_a_quiet_app_are_all_taken() {
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
            let (kept, lost) = counts["busy"];
            assert_eq!(kept + lost, 20_000, "{script}");
            assert_eq!(counts["quiet"], (40, 0), "{script}");
            assert!(lost > 1000 || script != "1", "{lost} of routine runs are lost");
        }
    }

    #[test]
    fn what_is_lost_on_many_threads_is_counted_exactly() {
        let table = Arc::new(LiveTable::new(MemoryBudget::unbounded()));
        let live = live(&table, "busy", "1");
        let (recorder, inbox) = Recorder::new();
        let handing_in = AtomicU64::new(4);
        let mut counted = 0;
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for _ in 0..20_000 {
                        let lost = Lost { executions: 0, lines: 1 };
                        recorder.0.hand_in(Arc::clone(&live), Kind::Routine, lost, |live| {
                            Entry::Line(Line {
                                live,
                                script: ScriptPath::new("a.rhai").unwrap(),
                                execution: Uuid::nil(),
                                line: line(),
                                at: SystemTime::UNIX_EPOCH,
                            })
                        });
                    }
                    handing_in.fetch_sub(1, Ordering::SeqCst);
                });
            }
            loop {
                let is_over = handing_in.load(Ordering::SeqCst) == 0;
                let mut taken = inbox.take(100);
                let kept = std::iter::from_fn(|| taken.next()).count() as u64;
                counted += kept + taken.lost.iter().map(|(.., lost)| lost.lines).sum::<u64>();
                if is_over && kept == 0 {
                    break;
                }
            }
        });
        assert_eq!(counted, 80_000);
    }

    fn line() -> LogLine {
        LogLine {
            level: manifest_schema::execution::LogLevel::Info,
            message: "x".to_owned(),
            data: None,
            line: None,
            column: None,
            elapsed: Duration::ZERO,
        }
    }
}
