//! Executions that are stopped at one of their host calls, by a wait or because their state has changed. They must end as
//! if they were not: with the same response, lines and changes.

use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use runtime::{
    Callee, CalleeError, ChangeMark, Failure, Host, HostCall, InlineOutcome, Invocation, KvChange, KvError,
    KvKey, KvList, KvReadMode, KvValue, LogLine, Pending, Response, Revision, RunOutcome, STACK_SIZE,
    SealingKey, SealingKeyId,
};

use super::{APP, Call, TestState, program};

/// How an execution is stopped.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Stop {
    Wait,
    Restart,
}

/// Stops one call, once.
pub(crate) struct StopsOnce {
    revision: Arc<Revision>,
    stop: Stop,
    at: usize,
    calls: AtomicUsize,
    is_stopped: AtomicBool,
    state: Mutex<TestState>,
    lines: Mutex<Vec<LogLine>>,
}

/// All that an execution leaves.
#[derive(Debug, PartialEq)]
pub(crate) struct End {
    outcome: Result<Response, Failure>,
    lines: Vec<LogLine>,
    changes: Vec<(KvKey, KvChange)>,
}

/// Beyond this number, not every host call is stopped.
const STOPS_MAX: usize = 32;

impl StopsOnce {
    /// Stops the call of this number.
    pub(crate) fn new(revision: &Arc<Revision>, stop: Stop, at: usize) -> Arc<Self> {
        Arc::new(Self {
            revision: Arc::clone(revision),
            stop,
            at,
            calls: AtomicUsize::new(0),
            is_stopped: AtomicBool::new(false),
            state: Mutex::default(),
            lines: Mutex::default(),
        })
    }

    /// Nothing of a pass is kept for the next.
    pub(crate) fn begin_pass(&self) {
        self.calls.store(0, Ordering::SeqCst);
        *self.state.lock().unwrap() = TestState::default();
        self.lines.lock().unwrap().clear();
    }

    fn call<T>(&self, ready: impl FnOnce() -> T) -> HostCall<T> {
        let number = self.calls.load(Ordering::SeqCst);
        if number == self.at && !self.is_stopped.swap(true, Ordering::SeqCst) {
            return match self.stop {
                Stop::Wait => HostCall::Pending(Box::pin(std::future::ready(()))),
                Stop::Restart => HostCall::Restart,
            };
        }
        self.calls.store(number + 1, Ordering::SeqCst);
        HostCall::Ready(ready())
    }

    fn end(&self, outcome: Result<Response, Failure>) -> End {
        let state = std::mem::take(&mut *self.state.lock().unwrap());
        End { outcome, lines: self.lines.lock().unwrap().clone(), changes: state.changes }
    }
}

impl Host for StopsOnce {
    fn log(&self, line: LogLine) -> HostCall<()> {
        self.call(|| self.lines.lock().unwrap().push(LogLine { elapsed: Duration::ZERO, ..line }))
    }

    fn wait(&self, mut pending: Pending, _: &AtomicBool) -> Duration {
        complete(&mut pending);
        Duration::from_millis(1)
    }

    fn kv_get(&self, keys: &[KvKey], _: KvReadMode) -> HostCall<Result<Vec<Option<KvValue>>, KvError>> {
        self.call(|| self.state.lock().unwrap().get(keys))
    }

    fn kv_list(&self, list: &KvList) -> HostCall<Result<Vec<(KvKey, KvValue)>, KvError>> {
        self.call(|| self.state.lock().unwrap().list(list))
    }

    fn kv_change(&self, key: &KvKey, change: KvChange) -> HostCall<Result<(), KvError>> {
        self.call(|| self.state.lock().unwrap().change(key, change))
    }

    fn mark_changes(&self) -> ChangeMark {
        self.state.lock().unwrap().mark()
    }

    fn undo_changes(&self, mark: ChangeMark) {
        self.state.lock().unwrap().undo(mark);
    }

    fn function(&self, name: &str, _: bool) -> Result<Callee, CalleeError> {
        Callee::find(&self.revision, name, Some(&|of, path| Ok(program(of, path))))
    }

    fn sealing_key(&self, id: Option<SealingKeyId>) -> HostCall<Result<Option<SealingKey>, String>> {
        let key = SealingKey::for_development(APP);
        self.call(|| Ok(Some(key).filter(|key| id.is_none_or(|id| id == key.id()))))
    }
}

fn complete(pending: &mut Pending) {
    assert_eq!(Pin::new(pending).poll(&mut Context::from_waker(Waker::noop())), Poll::Ready(()));
}

/// Runs to the end, inline as far as that goes.
fn run(invocation: &Invocation, host: &Arc<StopsOnce>, inline: bool) -> End {
    let program = program(&host.revision, &invocation.script);
    let mut inline = inline;
    for _ in 1..10 {
        host.begin_pass();
        let running = Arc::<StopsOnce>::clone(host);
        if inline {
            match runtime::run_inline(&host.revision, invocation, running) {
                InlineOutcome::Finished(execution) => return host.end(execution.outcome),
                InlineOutcome::Blocked { mut pending, .. } => complete(&mut pending),
                InlineOutcome::Restart { .. } => {}
                InlineOutcome::OverBudget => inline = false,
            }
            continue;
        }
        match runtime::run(&host.revision, &program, invocation, running, &Arc::default()) {
            RunOutcome::Finished(execution) => return host.end(execution.outcome),
            RunOutcome::Restart { .. } => {}
        }
    }
    panic!("does not finish");
}

/// Asserts that a call ends the same inline, on a worker, and stopped at any host call, and returns the number of stops.
#[track_caller]
pub(crate) fn assert_stops_change_nothing(call: &Call, place: &str) -> usize {
    std::thread::scope(|scope| {
        let thread = std::thread::Builder::new().stack_size(STACK_SIZE);
        let check = || stops_that_change_nothing(call, place);
        thread
            .spawn_scoped(scope, check)
            .unwrap()
            .join()
            .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}

/// The same on a thread with the full stack.
pub(crate) fn stops_that_change_nothing(call: &Call, place: &str) -> usize {
    let revision = Arc::new(call.revision());
    for script in revision.sources().keys() {
        program(&revision, script);
    }
    let unstopped = StopsOnce::new(&revision, Stop::Wait, usize::MAX);
    let expected = run(&call.invocation(), &unstopped, false);
    let calls = unstopped.calls.load(Ordering::SeqCst);
    let inline = run(&call.invocation(), &StopsOnce::new(&revision, Stop::Wait, usize::MAX), true);
    assert_eq!(inline, expected, "{place}, inline");
    let mut stops = 0;
    for at in (0..calls).step_by(calls.div_ceil(STOPS_MAX).max(1)) {
        for (stop, inline) in
            [(Stop::Wait, true), (Stop::Wait, false), (Stop::Restart, true), (Stop::Restart, false)]
        {
            let host = StopsOnce::new(&revision, stop, at);
            let end = run(&call.invocation(), &host, inline);
            assert_eq!(end, expected, "{place}\n{stop:?} at {at}, inline: {inline}");
            assert!(host.is_stopped.load(Ordering::SeqCst), "{place}\n{stop:?} at {at}");
            stops += 1;
        }
    }
    stops
}
