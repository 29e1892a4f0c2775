//! Generated scripts that are stopped at each of their host calls, by a wait or because their state has changed: each
//! ends as if it was not, with the same response, lines and changes.

use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bytes::Bytes;
use manifest_schema::sdk::SdkVersion;
use runtime::{
    Callee, CalleeError, ChangeMark, Failure, Host, HostCall, InlineOutcome, Invocation, KvChange, KvError,
    KvKey, KvList, KvReadMode, KvValue, LogLine, Pending, Response, Revision, RunOutcome, Seed,
};

use super::support::{Call, TestState, program, script};
use super::{invocation, path};

/// Expressions that call the host.
const CALLS: [&str; 7] = [
    "log::info(`line ${kv::get(\"n\")}`, #{ a: 1 })",
    "kv::set(\"a\", random::int(0, 1000))",
    "kv::incr(\"n\")",
    "kv::list(\"\", #{ reverse: true }).len()",
    "kv::append(\"list\", kv::peek(\"a\"))",
    "functions::invoke(\"f\", 2)",
    "functions::invoke(\"throws\", 2)",
];

/// Places where a stop could be caught, discarded or observed; `A` and `B` are two of the calls.
const PLACES: [&str; 9] = [
    "A; B; kv::keys(\"\")",
    "try { A; B; throw 1 } catch (e) { log::warn(e); A; }",
    "try { try { A } catch { log::info(\"inner\"); B } } catch { log::info(\"outer\") } 1",
    "let list = [3, 1, 2]; list.sort(|x, y| { A; B; x - y }); list",
    "let list = [2, 1]; try { list.sort(|x, y| { A; x - y }) } catch { log::info(\"caught\"); B } list",
    "let seen = []; let f = |x| { A; seen.push(x); B }; [1, 2].map(f); seen",
    "for i in 0..3 { A; if i == 1 { B; break } }",
    "fn g(n) { if n > 0 { try { A } catch { B } g(n - 1) } else { n } } g(2)",
    "import \"lib/text\" as text; A; text::twice(2); B; text::twice(3)",
];

const LIBRARY: &str = "fn twice(x) { kv::add(\"n\", x); try { log::info(x); kv::get(\"n\") } catch { 0 } }";
const FUNCTION: &str = "try { kv::incr(\"f\", ctx.request.body) } catch { log::info(\"in f\") }
    [1, 2].map(|x| { log::info(x); x }); if random::int(0, 1) == 0 { exit(kv::get(\"f\")) } kv::get(\"n\")";
const THROWS: &str = "kv::set(\"thrown\", 1); log::info(\"throws\"); kv::incr(\"n\"); throw \"on purpose\"";

#[derive(Clone, Copy, Debug, PartialEq)]
enum Stop {
    Wait,
    Restart,
}

/// Stops one call, once.
struct StopsOnce {
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
struct End {
    outcome: Result<Response, Failure>,
    lines: Vec<LogLine>,
    changes: Vec<(KvKey, KvChange)>,
}

impl StopsOnce {
    fn new(revision: &Arc<Revision>, stop: Stop, at: usize) -> Arc<Self> {
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
    fn begin_pass(&self) {
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
}

fn complete(pending: &mut Pending) {
    assert_eq!(Pin::new(pending).poll(&mut Context::from_waker(Waker::noop())), Poll::Ready(()));
}

/// Runs to the end, inline as far as that goes, and returns the number of passes.
fn run(call: &Call, host: &Arc<StopsOnce>, inline: bool) -> (End, usize) {
    let (revision, invocation) = (&host.revision, invocation(call, Bytes::from_static(b"1")));
    let invocation = Invocation { seed: Seed::fixed(7), started_at_ms: 0, ..invocation };
    let program = program(revision, &invocation.script);
    let mut inline = inline;
    for passes in 1..10 {
        host.begin_pass();
        let running = Arc::<StopsOnce>::clone(host);
        if inline {
            match runtime::run_inline(revision, &invocation, running) {
                InlineOutcome::Finished(execution) => return (host.end(execution.outcome), passes),
                InlineOutcome::Blocked { mut pending, .. } => complete(&mut pending),
                InlineOutcome::Restart { .. } => {}
                InlineOutcome::OverBudget => inline = false,
            }
            continue;
        }
        match runtime::run(revision, &program, &invocation, running, &Arc::default()) {
            RunOutcome::Finished(execution) => return (host.end(execution.outcome), passes),
            RunOutcome::Restart { .. } => {}
        }
    }
    panic!("does not finish: {}", call.source);
}

#[test]
fn generated_script_stopped_at_any_host_call_ends_the_same() {
    let check = || {
        let mut stops = 0;
        for (place, a, b) in PLACES
            .iter()
            .flat_map(|place| CALLS.iter().flat_map(move |a| CALLS.iter().map(move |b| (place, a, b))))
        {
            let source = place.replace('A', "\u{1}").replace('B', b).replace('\u{1}', a);
            let call = Call {
                sdk: SdkVersion::V1_3,
                libraries: vec![("lib/text.rhai", LIBRARY)],
                ..script(&source).function_named("f", FUNCTION).function_named("throws", THROWS)
            };
            let revision = Arc::new(call.revision());
            for function in ["f.rhai", "throws.rhai"] {
                program(&revision, &path(function));
            }
            let unstopped = StopsOnce::new(&revision, Stop::Wait, usize::MAX);
            let (expected, _) = run(&call, &unstopped, false);
            let calls = unstopped.calls.load(Ordering::SeqCst);
            for (stop, at, inline) in (0..=calls).flat_map(|at| {
                [
                    (Stop::Wait, at, true),
                    (Stop::Wait, at, false),
                    (Stop::Restart, at, true),
                    (Stop::Restart, at, false),
                ]
            }) {
                let host = StopsOnce::new(&revision, stop, at);
                let (end, _) = run(&call, &host, inline);
                assert_eq!(end, expected, "{source}\n{stop:?} at {at}, inline: {inline}");
                assert_eq!(host.is_stopped.load(Ordering::SeqCst), at < calls, "{source}\n{stop:?} at {at}");
                stops += usize::from(at < calls);
            }
        }
        assert!(stops > 5_000, "{stops}");
    };
    std::thread::scope(|scope| {
        let thread = std::thread::Builder::new().stack_size(runtime::STACK_SIZE);
        thread.spawn_scoped(scope, check).unwrap().join().unwrap();
    });
}
