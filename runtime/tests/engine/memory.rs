//! What runs and compilations hold is granted beforehand; where it is not, they end by name.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use manifest_schema::sdk::SdkVersion;
use runtime::{
    Execution, FailureKind, Host, HostCall, LogLine, MEMORY_FREE, NoMemory, NotCompiled, Pass, Pending,
    Program, Room, SOURCE_MAX, compile_within,
};

use super::support::{Call, script};
use super::{MIB, invocation, path, run_with};

/// Grants up to `most` bytes.
struct Grants {
    most: u64,
    asked: Mutex<Vec<u64>>,
}

impl Grants {
    fn up_to(most: u64) -> Arc<Self> {
        Arc::new(Self { most, asked: Mutex::default() })
    }

    fn asked(&self) -> Vec<u64> {
        self.asked.lock().unwrap().clone()
    }

    fn last(&self) -> u64 {
        self.asked().last().copied().unwrap_or(0)
    }

    fn grant(&self, bytes: u64) -> Result<(), NoMemory> {
        if bytes > self.most {
            return Err(NoMemory(format!("there are {} bytes and not {bytes}", self.most)));
        }
        self.asked.lock().unwrap().push(bytes);
        Ok(())
    }
}

impl Host for Grants {
    fn log(&self, _: LogLine) -> HostCall<()> {
        HostCall::Ready(())
    }

    fn wait(&self, _: Pending, _: &AtomicBool) -> Duration {
        unreachable!("nothing is left pending")
    }

    fn grow_memory(&self, bytes: u64) -> Result<(), NoMemory> {
        self.grant(bytes)
    }
}

impl Room for Grants {
    fn grow(&self, bytes: u64) -> Result<(), NoMemory> {
        self.grant(bytes)
    }
}

fn run(call: &Call, host: &Arc<Grants>) -> Execution {
    run_with(call, &call.revision(), Arc::<Grants>::clone(host))
}

fn roomy(source: &str) -> Call {
    script(source).limits(|limits| {
        limits.memory = 256 * MIB;
        limits.operations = u64::MAX;
        limits.timeout = Duration::from_secs(60);
    })
}

#[test]
fn run_that_holds_little_asks_for_nothing() {
    let host = Grants::up_to(0);
    let execution = run(&script("let a = []; for i in 0..1000 { a.push(i) } a.len()"), &host);
    assert_eq!(execution.outcome.unwrap().body, "1000");
    assert!(execution.memory_peak < MEMORY_FREE, "{}", execution.memory_peak);
}

#[test]
fn run_that_grows_asks_in_steps_before_it_grows() {
    let host = Grants::up_to(u64::MAX);
    let call =
        roomy("let a = []; let s = \"\"; s.pad(1000, 'x'); for i in 0..5000 { a.push(`${i} ${s}`) } a.len()");
    let execution = run(&call, &host);
    assert_eq!(execution.outcome.unwrap().body, "5000");
    let asked = host.asked();
    assert!(asked.is_sorted() && asked.iter().all(|bytes| bytes.is_multiple_of(MIB)), "{asked:?}");
    assert!(asked.len() > 3, "{asked:?}");
    // A copy of all that it holds fits too.
    let (granted, peak) = (host.last(), execution.memory_peak);
    assert!(granted >= peak && granted <= 2 * peak + 4 * MIB, "{granted} for {peak}");
}

#[test]
fn run_that_is_granted_no_more_ends_by_name() {
    let growing = "let a = []; let s = \"\"; s.pad(1000, 'x'); loop { a.push(`${a.len()} ${s}`) }";
    let doubling = "let a = [1]; loop { a += a; }";
    let native = "let a = []; loop { a.push(blob(1000000)) }";
    let padded = "let s = \"\"; loop { s.pad(s.len() + 1000000, 'x'); }";
    let parsed =
        "let a = []; let t = `[${\"1,\" * 100000}1]`; fn repeat(t) { t } loop { a.push(parse_json(t)) }";
    let parsed = &parsed.replace("\"1,\" * 100000", "\"1,1,1,1,1,1,1,1,1,1,1,1,1,1\"");
    for source in [growing, doubling, native, padded, parsed] {
        let host = Grants::up_to(8 * MIB);
        let execution = run(&roomy(source), &host);
        let failure = execution.outcome.unwrap_err();
        assert_eq!(failure.kind, FailureKind::NodeMemory, "{source}: {failure}");
        assert_eq!(failure.kind.http_status(), 503);
        assert!(failure.message.starts_with("there are 8388608 bytes and not "), "{failure}");
        assert!(execution.memory_peak <= 12 * MIB, "{source}: {} bytes", execution.memory_peak);
    }
    // What it catches it cannot go on with.
    let caught = "let a = []; try { loop { a.push(blob(100000)) } } catch { a = (); } 1";
    let failure = run(&roomy(caught), &Grants::up_to(8 * MIB)).outcome.unwrap_err();
    assert_eq!(failure.kind, FailureKind::NodeMemory);
}

#[test]
fn request_that_is_large_asks_before_its_script_begins() {
    let body = format!("[{}1]", "[],".repeat(100_000));
    let call = roomy("ctx.request.body.len()").body("application/json", body);
    let host = Grants::up_to(u64::MAX);
    assert_eq!(run_http(&call, &host).outcome.unwrap().body, "100001");
    assert!(host.last() > 4 * MIB, "{:?}", host.asked());
    let failure = run_http(&call, &Grants::up_to(2 * MIB)).outcome.unwrap_err();
    assert_eq!(failure.kind, FailureKind::NodeMemory);
}

fn run_http(call: &Call, host: &Arc<Grants>) -> Execution {
    let revision = call.revision();
    let program = super::program(&revision, &path(&call.script));
    let invocation = runtime::Invocation { trigger: call.trigger.clone(), ..invocation(call, Bytes::new()) };
    runtime::run(&revision, &program, &invocation, Arc::<Grants>::clone(host), &call.stop)
}

#[test]
fn inline_pass_is_granted_memory_too() {
    let call = roomy("let a = []; for i in 0..20 { a.push(blob(100000)) } a.len()");
    let revision = call.revision();
    let inline = |host: &Arc<Grants>| match runtime::run_inline(
        &revision,
        &invocation(&call, Bytes::new()),
        Arc::<Grants>::clone(host),
    ) {
        Pass::Ended(execution) => Some(execution.outcome.map_err(|failure| failure.kind)),
        _ => None,
    };
    assert_eq!(inline(&Grants::up_to(MIB)).unwrap().unwrap_err(), FailureKind::NodeMemory);
    let host = Grants::up_to(u64::MAX);
    assert_eq!(inline(&host).unwrap().unwrap().body, "20");
    assert!(host.last() >= 4 * MIB);
}

#[test]
fn deep_stack_is_granted_and_ends_an_inline_pass() {
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
            assert!(matches!(pass, Pass::OverBudget), "the thread of others keeps no deep stack");
        };
        std::thread::Builder::new().stack_size(runtime::STACK).spawn_scoped(scope, inline).unwrap();
    });
}

#[test]
fn long_chain_of_values_is_granted_the_stack_that_freeing_it_takes() {
    let (open, close, first) = ("[".repeat(40), "]".repeat(40), "[0]".repeat(40));
    let longer = format!("let c = {open}1{close}; c{first} = take(a); a = take(c);");
    let call = roomy(&format!("let a = [1]; for i in 0..250 {{ {longer} }} 1"));
    let host = Grants::up_to(u64::MAX);
    let execution = run(&call, &host);
    assert_eq!(execution.outcome.unwrap().body, "1");
    // Ten thousand links, each with 450 bytes of stack.
    let granted = host.last();
    assert!(granted > 4_500_000, "{granted} for {}", execution.memory_peak);
    let failure = run(&call, &Grants::up_to(4 * MIB)).outcome.unwrap_err();
    assert_eq!(failure.kind, FailureKind::NodeMemory);
}

// ---- compilations ----

/// What a text is compiled to, what was granted for it, and the most that was held meanwhile.
fn compiled(source: &str, most: u64) -> (Result<u64, NotCompiled>, u64) {
    let host = Grants::up_to(most);
    let room: Arc<dyn Room> = Arc::<Grants>::clone(&host) as _;
    let compiled = std::thread::scope(|scope| {
        let compile = || compile_within(SdkVersion::V1_1, &path("main.rhai"), source, None, &room);
        let thread = std::thread::Builder::new().stack_size(runtime::STACK);
        thread.spawn_scoped(scope, compile).unwrap().join().unwrap()
    });
    (compiled.map(|script| script.bytes()), host.last())
}

fn dense(unit: &str) -> String {
    let head = "let a = 1; ";
    format!("{head}{}", unit.repeat((SOURCE_MAX - head.len()) / unit.len()))
}

#[test]
fn compilation_is_granted_what_it_takes() {
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
fn compilation_ends_where_it_is_granted_no_more() {
    let before = runtime::CountingAllocator::held();
    for unit in ["a.b;", "a+a;", "[a, a];", "#{ a: a };", "\"text\";"] {
        let (refused, granted) = compiled(&dense(unit), MIB);
        assert!(matches!(refused, Err(NotCompiled::NoMemory(_))), "{unit}: {refused:?}");
        assert!(granted <= MIB);
    }
    assert!(runtime::CountingAllocator::held() - before < 4096);
    let room: Arc<dyn Room> = Grants::up_to(MIB);
    let again = Program::compile(SdkVersion::V1_1, &path("main.rhai"), &dense("a.b;"), &room);
    assert!(again.is_err(), "what is compiled again too");
}

#[test]
fn script_that_fails_to_compile_is_told_its_faults_and_not_the_memory() {
    static ASKED: AtomicU64 = AtomicU64::new(0);
    struct Counts;
    impl Room for Counts {
        fn grow(&self, bytes: u64) -> Result<(), NoMemory> {
            ASKED.store(bytes, Ordering::Relaxed);
            Ok(())
        }
    }
    let room: Arc<dyn Room> = Arc::new(Counts);
    let refused = compile_within(SdkVersion::V1_1, &path("main.rhai"), "let x = ;", None, &room);
    assert!(matches!(refused, Err(NotCompiled::Diagnostics(diagnostics)) if diagnostics.errors() == 1));
    assert!(ASKED.load(Ordering::Relaxed) > 0);
}
