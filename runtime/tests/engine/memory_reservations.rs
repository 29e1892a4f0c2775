//! Memory of executions and compilations is reserved in advance; without a reservation they fail with `node_memory`.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use manifest_schema::sdk::SdkVersion;
use runtime::{
    CompileBudget, CompileError, Execution, FailureKind, Host, HostCall, InlineOutcome, Libraries, LogLine,
    OutOfMemoryError, Pending, Program, SOURCE_MAX, Source, UNRESERVED_MEMORY_MAX, compile_within,
};

use super::support::{Call, script};
use super::{MIB, invocation, path, run_with};

/// Grants up to `most` bytes.
struct Grants {
    most: u64,
    requests: Mutex<Vec<u64>>,
}

impl Grants {
    fn up_to(most: u64) -> Arc<Self> {
        Arc::new(Self { most, requests: Mutex::default() })
    }

    fn requests(&self) -> Vec<u64> {
        self.requests.lock().unwrap().clone()
    }

    fn last(&self) -> u64 {
        self.requests().last().copied().unwrap_or(0)
    }

    fn grant(&self, bytes: u64) -> Result<(), OutOfMemoryError> {
        if bytes > self.most {
            return Err(OutOfMemoryError(format!("{} bytes available, {bytes} requested", self.most)));
        }
        self.requests.lock().unwrap().push(bytes);
        Ok(())
    }
}

impl Host for Grants {
    fn log(&self, _: LogLine) -> HostCall<()> {
        HostCall::Ready(())
    }

    fn wait(&self, _: Pending, _: &AtomicBool) -> Duration {
        unreachable!("no pending calls")
    }

    fn reserve_memory(&self, bytes: u64) -> Result<(), OutOfMemoryError> {
        self.grant(bytes)
    }
}

impl CompileBudget for Grants {
    fn reserve(&self, bytes: u64) -> Result<(), OutOfMemoryError> {
        self.grant(bytes)
    }
}

fn run(call: &Call, host: &Arc<Grants>) -> Execution {
    run_with(call, &call.revision(), Arc::<Grants>::clone(host))
}

fn with_memory(source: &str) -> Call {
    script(source).limits(|limits| {
        limits.memory = 256 * MIB;
        limits.operations = u64::MAX;
        limits.timeout = Duration::from_secs(60);
    })
}

#[test]
fn small_execution_reserves_nothing() {
    let host = Grants::up_to(0);
    let execution = run(&script("let a = []; for i in 0..1000 { a.push(i) } a.len()"), &host);
    assert_eq!(execution.outcome.unwrap().body, "1000");
    assert!(execution.memory_peak_bytes < UNRESERVED_MEMORY_MAX, "{}", execution.memory_peak_bytes);
}

#[test]
fn growing_execution_reserves_in_steps() {
    let host = Grants::up_to(u64::MAX);
    let call = with_memory(
        "let a = []; let s = \"\"; s.pad(1000, 'x'); for i in 0..5000 { a.push(`${i} ${s}`) } a.len()",
    );
    let execution = run(&call, &host);
    assert_eq!(execution.outcome.unwrap().body, "5000");
    let requests = host.requests();
    assert!(requests.is_sorted() && requests.iter().all(|bytes| bytes.is_multiple_of(MIB)), "{requests:?}");
    assert!(requests.len() > 3, "{requests:?}");
    // Includes a copy of all values.
    let (granted, peak) = (host.last(), execution.memory_peak_bytes);
    assert!(granted >= peak && granted <= 2 * peak + 4 * MIB, "{granted} for {peak}");
}

#[test]
fn execution_without_reservation_fails_with_node_memory() {
    let growing = "let a = []; let s = \"\"; s.pad(1000, 'x'); loop { a.push(`${a.len()} ${s}`) }";
    let doubling = "let a = [1]; loop { a += a; }";
    let native = "let a = []; loop { a.push(blob(1000000)) }";
    let padded = "let s = \"\"; loop { s.pad(s.len() + 1000000, 'x'); }";
    let parsed =
        "let a = []; let t = `[${\"1,\" * 100000}1]`; fn repeat(t) { t } loop { a.push(parse_json(t)) }";
    let parsed = &parsed.replace("\"1,\" * 100000", "\"1,1,1,1,1,1,1,1,1,1,1,1,1,1\"");
    for source in [growing, doubling, native, padded, parsed] {
        let host = Grants::up_to(8 * MIB);
        let execution = run(&with_memory(source), &host);
        let failure = execution.outcome.unwrap_err();
        assert_eq!(failure.kind, FailureKind::NodeMemory, "{source}: {failure}");
        assert_eq!(failure.kind.http_status(), 503);
        assert!(failure.message.starts_with("8388608 bytes available, "), "{failure}");
        assert!(execution.memory_peak_bytes <= 12 * MIB, "{source}: {} bytes", execution.memory_peak_bytes);
    }
    // Catching the error does not continue the script.
    let caught = "let a = []; try { loop { a.push(blob(100000)) } } catch { a = (); } 1";
    let failure = run(&with_memory(caught), &Grants::up_to(8 * MIB)).outcome.unwrap_err();
    assert_eq!(failure.kind, FailureKind::NodeMemory);
}

#[test]
fn large_request_reserves_before_the_script_starts() {
    let body = format!("[{}1]", "[],".repeat(100_000));
    let call = with_memory("ctx.request.body.len()").body("application/json", body);
    let host = Grants::up_to(u64::MAX);
    assert_eq!(run_http(&call, &host).outcome.unwrap().body, "100001");
    assert!(host.last() > 4 * MIB, "{:?}", host.requests());
    let failure = run_http(&call, &Grants::up_to(2 * MIB)).outcome.unwrap_err();
    assert_eq!(failure.kind, FailureKind::NodeMemory);
}

fn run_http(call: &Call, host: &Arc<Grants>) -> Execution {
    let revision = call.revision();
    let program = super::program(&revision, &path(&call.script));
    let invocation = runtime::Invocation { trigger: call.trigger.clone(), ..invocation(call, Bytes::new()) };
    runtime::run(&revision, &program, &invocation, Arc::<Grants>::clone(host), &call.stop).into_finished()
}

#[test]
fn inline_pass_reserves_memory() {
    let call = with_memory("let a = []; for i in 0..20 { a.push(blob(100000)) } a.len()");
    let revision = call.revision();
    let inline = |host: &Arc<Grants>| match runtime::run_inline(
        &revision,
        &invocation(&call, Bytes::new()),
        Arc::<Grants>::clone(host),
    ) {
        InlineOutcome::Finished(execution) => Some(execution.outcome.map_err(|failure| failure.kind)),
        _ => None,
    };
    assert_eq!(inline(&Grants::up_to(MIB)).unwrap().unwrap_err(), FailureKind::NodeMemory);
    let host = Grants::up_to(u64::MAX);
    assert_eq!(inline(&host).unwrap().unwrap().body, "20");
    assert!(host.last() >= 4 * MIB);
}

#[test]
fn deep_stack_is_reserved_and_stops_an_inline_pass() {
    let nested = format!("{}g(n - 1){}", "(1 + ".repeat(40), ")".repeat(40));
    let source = format!("fn g(n) {{ if n == 0 {{ 0 }} else {{ {nested} }} }} g(50)");
    let call = script(&source).limits(|limits| limits.operations = u64::MAX);
    let host = Grants::up_to(u64::MAX);
    assert_eq!(run(&call, &host).outcome.unwrap().body, "2000");
    let stack = host.last();
    assert!(stack >= 2 * MIB, "{stack}");
    assert_eq!(run(&call, &Grants::up_to(MIB)).outcome.unwrap_err().kind, FailureKind::NodeMemory);
    std::thread::scope(|scope| {
        let inline = || {
            let revision = call.revision();
            let pass =
                runtime::run_inline(&revision, &invocation(&call, Bytes::new()), Grants::up_to(u64::MAX));
            assert!(matches!(pass, InlineOutcome::OverBudget), "a shared thread keeps no deep stack");
        };
        std::thread::Builder::new().stack_size(runtime::STACK_SIZE).spawn_scoped(scope, inline).unwrap();
    });
}

#[test]
fn long_chain_reserves_the_stack_to_free_it() {
    let (open, close, first) = ("[".repeat(40), "]".repeat(40), "[0]".repeat(40));
    let longer = format!("let c = {open}1{close}; c{first} = take(a); a = take(c);");
    let call = with_memory(&format!("let a = [1]; for i in 0..250 {{ {longer} }} 1"));
    let host = Grants::up_to(u64::MAX);
    let execution = run(&call, &host);
    assert_eq!(execution.outcome.unwrap().body, "1");
    // Ten thousand links with 450 bytes of stack each.
    let granted = host.last();
    assert!(granted > 4_500_000, "{granted} for {}", execution.memory_peak_bytes);
    let failure = run(&call, &Grants::up_to(4 * MIB)).outcome.unwrap_err();
    assert_eq!(failure.kind, FailureKind::NodeMemory);
}

// ---- compilations ----

/// The result of a compilation, and the bytes granted for it.
fn compiled(source: &str, most: u64) -> (Result<u64, CompileError>, u64) {
    let host = Grants::up_to(most);
    let budget: Arc<dyn CompileBudget> = Arc::<Grants>::clone(&host) as _;
    let compiled = std::thread::scope(|scope| {
        let compile = || {
            compile_within(SdkVersion::V1_1, &path("main.rhai"), source, None, &Libraries::default(), &budget)
        };
        let thread = std::thread::Builder::new().stack_size(runtime::STACK_SIZE);
        thread.spawn_scoped(scope, compile).unwrap().join().unwrap()
    });
    (compiled.map(|script| script.bytes()), host.last())
}

fn dense(unit: &str) -> String {
    let head = "let a = 1; ";
    format!("{head}{}", unit.repeat((SOURCE_MAX - head.len()) / unit.len()))
}

#[test]
fn compilation_reserves_its_memory() {
    let worst = dense(&format!("{}a;", "!".repeat(110)));
    for source in [worst.as_str(), &dense("a.b;"), &dense("a+a;"), &dense("`${a}`;"), "let x = 1; x + 1"] {
        let (bytes, granted) = compiled(source, u64::MAX);
        let bytes = bytes.unwrap();
        assert!(bytes > 0 && granted >= bytes, "{bytes} of {granted}: {}", &source[..16]);
        assert!(granted <= 3 * bytes + 5 * MIB, "{granted} for {bytes}: {}", &source[..16]);
    }
    assert!(compiled(&worst, u64::MAX).0.unwrap() > 200 * SOURCE_MAX as u64, "as much as documented");
}

#[test]
fn compilation_stops_without_reservation() {
    let before = runtime::CountingAllocator::allocated_bytes();
    for unit in ["a.b;", "a+a;", "[a, a];", "#{ a: a };", "\"text\";"] {
        let (refused, granted) = compiled(&dense(unit), MIB);
        assert!(matches!(refused, Err(CompileError::OutOfMemory(_))), "{unit}: {refused:?}");
        assert!(granted <= MIB);
    }
    assert!(runtime::CountingAllocator::allocated_bytes() - before < 4096);
    let budget: Arc<dyn CompileBudget> = Grants::up_to(MIB);
    let again = Program::compile(SdkVersion::V1_1, &path("main.rhai"), &Source::new(dense("a.b;")), &budget);
    assert!(again.is_err(), "recompilation is limited too");
}

#[test]
fn script_with_errors_is_rejected_for_its_errors() {
    static REQUESTED: AtomicU64 = AtomicU64::new(0);
    struct Counts;
    impl CompileBudget for Counts {
        fn reserve(&self, bytes: u64) -> Result<(), OutOfMemoryError> {
            REQUESTED.store(bytes, Ordering::Relaxed);
            Ok(())
        }
    }
    let budget: Arc<dyn CompileBudget> = Arc::new(Counts);
    let refused = compile_within(
        SdkVersion::V1_1,
        &path("main.rhai"),
        "let x = ;",
        None,
        &Libraries::default(),
        &budget,
    );
    assert!(matches!(refused, Err(CompileError::Diagnostics(diagnostics)) if diagnostics.errors() == 1));
    assert!(REQUESTED.load(Ordering::Relaxed) > 0);
}
