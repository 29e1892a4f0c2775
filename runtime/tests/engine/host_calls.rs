//! Pending host calls: a script that is blocked at any host call ends as if it was not.

use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bytes::Bytes;
use runtime::{Execution, Host, HostCall, InlineOutcome, LogLine, Pending};

use super::support::{Call, program, script};
use super::{invocation, path, run_with};

/// Scripts with host calls wherever a stop could be caught, discarded or observed.
const CORPUS: &[&str] = &[
    "1",
    "log::info(1); log::info(2); log::info(3); 4",
    "try { log::info(1); log::info(2) } catch { log::info(\"caught\") } log::info(3)",
    "try { log::info(1); throw 2 } catch (e) { log::info(e); log::warn(\"again\") } 5",
    "try { try { log::info(1) } catch { log::info(\"inner\") } throw 1 } catch { log::info(\"outer\") }",
    "fn f(x) { log::info(x); x + 1 } f(f(f(1)))",
    "fn f(x) { try { log::info(x); g(x) } catch { log::info(\"in f\"); -1 } } fn g(x) { log::info(`g ${x}`); if x == 2 { throw x } x } f(1) + f(2)",
    "fn deep(n) { log::info(n); if n > 0 { deep(n - 1) } else { 0 } } deep(10)",
    "let a = [3, 1, 2]; a.sort(|x, y| { log::info(`${x} ${y}`); x - y }); a",
    "let a = [3, 1, 2]; try { a.sort(|x, y| { log::info(\"compares\"); x - y }) } catch { log::info(\"caught\") } a",
    "[1, 2, 3].map(|x| { log::info(x); x * 2 })",
    "[1, 2, 3].filter(|x| { log::info(x); x > 1 })",
    "[1, 2, 3].reduce(|sum, x| { log::info(x); (if sum == () { 0 } else { sum }) + x })",
    "let said = []; let say = |x| { log::info(x); said.push(x); said.len() }; say.call(1); say.call(2); said",
    "for i in 0..5 { log::info(i); if i == 3 { break } }",
    "let i = 0; while i < 4 { i += 1; if i % 2 == 0 { continue } log::info(i) } i",
    "let i = 0; loop { log::trace(i); i += 1; if i == 3 { break } } i",
    "do { log::error(\"once\") } while false",
    "for x in [#{ a: 1 }, #{ a: 2 }] { log::info(\"line\", x) }",
    "let m = #{ a: { log::info(\"a\"); 1 }, b: { log::info(\"b\"); 2 } }; m.a + m.b",
    "`${log::info(\"in text\")} ${{ log::info(\"in a block\"); 1 }}`",
    "switch { log::info(\"switch\"); 2 } { 1 => log::info(\"one\"), 2 => log::info(\"two\") }",
    "fn says(x) { log::info(x); x } if says(false) || says(true) { log::info(\"then\") }",
    "let f = Fn(\"g\"); fn g(x) { log::info(x); x } f.call({ log::info(\"argument\"); 7 })",
    "log::info(1); throw \"on purpose\"",
    "log::info(1); #{ statusCode: 1 }",
    "log::info(1); let a = []; a[5]",
    "let x = ctx.request.body; log::info(x); x",
];

/// Returns at once, except that one numbered call is pending the first time. Counts lines across passes and keeps
/// each once.
struct BlocksOnce {
    at: usize,
    in_pass: AtomicUsize,
    stopped: AtomicBool,
    has_permit: AtomicBool,
    waits: AtomicUsize,
    lines: Mutex<Vec<String>>,
}

impl BlocksOnce {
    fn new(at: usize) -> Arc<Self> {
        Arc::new(Self {
            at,
            in_pass: AtomicUsize::new(0),
            stopped: AtomicBool::new(false),
            has_permit: AtomicBool::new(true),
            waits: AtomicUsize::new(0),
            lines: Mutex::default(),
        })
    }

    fn lines(&self) -> Vec<String> {
        self.lines.lock().unwrap().clone()
    }
}

impl Host for BlocksOnce {
    fn log(&self, line: LogLine) -> HostCall<()> {
        assert!(self.has_permit.load(Ordering::SeqCst), "computes without a permit");
        let number = self.in_pass.load(Ordering::SeqCst);
        if number == self.at && !self.stopped.swap(true, Ordering::SeqCst) {
            return HostCall::Pending(Box::pin(std::future::ready(())));
        }
        self.in_pass.store(number + 1, Ordering::SeqCst);
        let mut lines = self.lines.lock().unwrap();
        match lines.get(number) {
            Some(before) => assert_eq!(*before, line.message, "passes differ"),
            None => lines.push(line.message),
        }
        HostCall::Ready(())
    }

    fn wait(&self, pending: Pending, _: &AtomicBool) -> Duration {
        self.has_permit.store(false, Ordering::SeqCst);
        self.waits.fetch_add(1, Ordering::SeqCst);
        complete(pending);
        self.has_permit.store(true, Ordering::SeqCst);
        Duration::from_millis(1)
    }
}

fn complete(mut pending: Pending) {
    assert_eq!(Pin::new(&mut pending).poll(&mut Context::from_waker(Waker::noop())), Poll::Ready(()));
}

/// Runs inline passes until one finishes, and returns their number.
fn inline(call: &Call, host: &Arc<BlocksOnce>) -> (Execution, usize) {
    let (revision, invocation) = (call.revision(), invocation(call, Bytes::from_static(b"\"body\"")));
    std::thread::scope(|scope| {
        let passes = || {
            for passes in 1..100 {
                host.in_pass.store(0, Ordering::SeqCst);
                match runtime::run_inline(&revision, &invocation, Arc::<BlocksOnce>::clone(host)) {
                    InlineOutcome::Finished(execution) => return (execution, passes),
                    InlineOutcome::Blocked { pending, .. } => complete(pending),
                    InlineOutcome::Restart { .. } => panic!("the host requires none"),
                    InlineOutcome::OverBudget => {
                        // On a busy machine the pass can exceed its time; the script then continues on its own thread.
                        host.in_pass.store(0, Ordering::SeqCst);
                        let run = Arc::<BlocksOnce>::clone(host);
                        let program = program(&revision, &invocation.script);
                        return (
                            runtime::run(&revision, &program, &invocation, run, &Arc::default())
                                .into_finished(),
                            passes,
                        );
                    }
                }
            }
            panic!("does not finish: {}", call.source)
        };
        std::thread::Builder::new()
            .stack_size(runtime::STACK_SIZE)
            .spawn_scoped(scope, passes)
            .unwrap()
            .join()
            .unwrap()
    })
}

fn on_a_thread(call: &Call, host: &Arc<BlocksOnce>) -> Execution {
    let (revision, invocation) = (call.revision(), invocation(call, Bytes::from_static(b"\"body\"")));
    let program = program(&revision, &invocation.script);
    std::thread::scope(|scope| {
        let host = Arc::<BlocksOnce>::clone(host);
        let run = || runtime::run(&revision, &program, &invocation, host, &Arc::default()).into_finished();
        std::thread::Builder::new()
            .stack_size(runtime::STACK_SIZE)
            .spawn_scoped(scope, run)
            .unwrap()
            .join()
            .unwrap()
    })
}

#[test]
fn execution_blocked_at_any_host_call_ends_the_same() {
    let mut stops = 0;
    for source in CORPUS {
        let call = script(source);
        let unblocked = BlocksOnce::new(usize::MAX);
        let expected = on_a_thread(&call, &unblocked);
        let calls = unblocked.lines().len();
        for at in 0..=calls {
            let host = BlocksOnce::new(at);
            let (execution, passes) = inline(&call, &host);
            assert_eq!(execution.outcome, expected.outcome, "{source}\ninline, stopped at {at}");
            assert_eq!(execution.operations, expected.operations, "{source}\ninline, stopped at {at}");
            assert_eq!(host.lines(), unblocked.lines(), "{source}\ninline, stopped at {at}");
            assert_eq!(passes, if at < calls { 2 } else { 1 }, "{source}\nstopped at {at}");

            let host = BlocksOnce::new(at);
            let execution = on_a_thread(&call, &host);
            assert_eq!(execution.outcome, expected.outcome, "{source}\non a thread, stopped at {at}");
            assert_eq!(host.lines(), unblocked.lines(), "{source}\non a thread, stopped at {at}");
            assert_eq!(host.waits.load(Ordering::SeqCst), usize::from(at < calls), "{source}");
            stops += usize::from(at < calls);
        }
    }
    assert!(stops > 50, "{stops}");
}

#[test]
fn blocked_pass_makes_no_more_host_calls() {
    // The script tries more calls while the pass stops; the host must not see any.
    let source = "try { log::info(1); log::info(2) } catch { log::info(3) } [2, 1].sort(|x, y| { log::info(4); x - y })";
    let call = script(source);
    let host = BlocksOnce::new(0);
    let revision = call.revision();
    let invocation = invocation(&call, Bytes::new());
    let pass = std::thread::scope(|scope| {
        let run = || runtime::run_inline(&revision, &invocation, Arc::<BlocksOnce>::clone(&host));
        std::thread::Builder::new()
            .stack_size(runtime::STACK_SIZE)
            .spawn_scoped(scope, run)
            .unwrap()
            .join()
            .unwrap()
    });
    assert!(matches!(pass, InlineOutcome::Blocked { .. }));
    assert!(host.lines().is_empty());
}

#[test]
fn waiting_does_not_count_for_the_timeout() {
    struct Waits;
    impl Host for Waits {
        fn log(&self, line: LogLine) -> HostCall<()> {
            match line.message.as_str() {
                "once" => HostCall::Ready(()),
                _ => HostCall::Pending(Box::pin(std::future::pending())),
            }
        }

        fn wait(&self, _: Pending, stop: &AtomicBool) -> Duration {
            // As if the client disconnected.
            stop.store(true, Ordering::SeqCst);
            Duration::from_secs(3600)
        }
    }
    let call = script("log::info(\"once\"); log::info(\"for ever\"); 1")
        .limits(|limits| limits.timeout = Duration::from_secs(10));
    assert_eq!(path(&call.script), path("main.rhai"));
    let failure = run_with(&call, &call.revision(), Arc::new(Waits)).outcome.unwrap_err();
    assert_eq!(failure.kind, runtime::FailureKind::Stopped, "{failure}");
}
