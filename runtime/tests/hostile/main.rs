//! Scripts that loop, nest, grow, pad, overflow, throw odd values, forge headers and call disabled functions. Each ends as
//! declared, within its limits; its memory is freed, and the thread executes the next script normally.
//!
//! Each script is a file in a folder named after its attack. Its first lines are comments: a description, and
//!
//! - `// fails: timeout` the name of the failure
//! - `// returns: 200 [1]` status and body, if it has no effect
//! - `// rejected: ...` the start of the first error message, if it does not compile
//! - `// limits: timeout=100ms operations=1000 memory=16MiB` limits other than the defaults
//! - `// body: application/json [1]` the body of the request; `↵` is a line break of a header
//! - `// sdk: 1.3` the SDK version, if not 1.1
//! - `// template: page.html {{ x }}` a template of the commit
//! - `// stored` it passed the checks of an earlier server: only the sandbox and the limits apply
//!
//! One of the first three is required. In the whole file, `«3×ab»` stands for `ababab`.

#![expect(clippy::unwrap_used, reason = "a test that cannot be set up has failed")]

#[path = "../support/mod.rs"]
mod support;

use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use manifest_schema::limits::Limits;
use manifest_schema::name::ScriptPath;
use runtime::{CountingAllocator, Execution, STACK_SIZE, compile};
use support::{Call, SdkVersion, script};

#[global_allocator]
static ALLOCATOR: CountingAllocator = CountingAllocator;

const MIB: u64 = 1024 * 1024;

/// The tolerance of the time limit: one native function on the largest values, unoptimized, on a busy machine.
const TIME_SLACK: Duration = Duration::from_secs(2);

/// The tolerance of the operation limit: each called function detects it separately.
const OPERATIONS_SLACK: u64 = 64;

/// The tolerance of the memory limit, in bytes: one copy of all values, and one string.
fn memory_slack(limits: &Limits) -> u64 {
    limits.memory + 32 * MIB
}

/// The memory that the engine and the standard library retain, in bytes.
const RETAINED_MAX: i64 = 4 * 1024;

/// Locked by each test, because one measures the whole process.
static PROCESS: Mutex<()> = Mutex::new(());

fn alone() -> MutexGuard<'static, ()> {
    // As in the server: a backtrace is slow, and its symbols stay in memory.
    std::panic::set_hook(Box::new(|panic| eprintln!("{panic}")));
    PROCESS.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A script of the folder.
struct Hostile {
    name: String,
    call: Call,
    end: End,
}

/// The expected end.
#[derive(Debug, PartialEq)]
enum End {
    Fails(String),
    Returns(String),
    Rejected(String),
}

/// Expands `«3×ab»`.
fn expand(text: &str) -> String {
    let mut out = String::new();
    let mut rest = text;
    while let Some((before, from)) = rest.split_once('«') {
        let (repeated, after) = from.split_once('»').unwrap();
        let (times, what) = repeated.split_once('×').unwrap();
        out += before;
        out += &what.repeat(times.parse().unwrap());
        rest = after;
    }
    out + rest
}

fn read(path: &Path, name: &str) -> Hostile {
    let text = std::fs::read_to_string(path).unwrap();
    let comments: Vec<String> = text.lines().map_while(|line| line.strip_prefix("// ")).map(expand).collect();
    // Comments are not part of the script, so that they can contain a large body, but their lines count.
    let script_lines = text.lines().skip(comments.len()).map(|line| format!("{line}\n"));
    let source = format!("{}{}", "\n".repeat(comments.len()), expand(&script_lines.collect::<String>()));
    let mut call = script(&source).limits(|limits| {
        limits.timeout = Duration::from_secs(20);
        limits.operations = 1_000_000;
    });
    let (mut end, mut descriptions) = (None, 0);
    for line in &comments {
        match line.split_once(": ") {
            Some(("fails", kind)) => end = Some(End::Fails(kind.to_owned())),
            Some(("returns", response)) => end = Some(End::Returns(response.to_owned())),
            Some(("rejected", message)) => end = Some(End::Rejected(message.to_owned())),
            Some(("limits", limits)) => limits.split(' ').for_each(|limit| lower(&mut call.limits, limit)),
            Some(("sdk", sdk)) => call.sdk = SdkVersion::parse(sdk).unwrap(),
            Some(("template", template)) => {
                let (name, text) = template.split_once(' ').unwrap();
                call = call.template(name, text);
            }
            Some(("body", body)) => {
                let (content_type, body) = body.split_once(' ').unwrap();
                call = call.body(content_type, body.replace('↵', "\r\n"));
            }
            _ if line == "stored" => call = call.stored(),
            _ => descriptions += 1,
        }
    }
    assert!(descriptions > 0, "{name} has no description");
    let end = end.unwrap_or_else(|| panic!("{name} has no expected end"));
    Hostile { name: name.to_owned(), call, end }
}

fn lower(limits: &mut Limits, limit: &str) {
    let (name, value) = limit.split_once('=').unwrap();
    let number = |unit: &str| value.strip_suffix(unit).unwrap().parse::<u64>().unwrap();
    match name {
        "timeout" => limits.timeout = Duration::from_millis(number("ms")),
        "operations" => limits.operations = number(""),
        "memory" => limits.memory = number("MiB") * MIB,
        other => panic!("{other} is not a limit"),
    }
}

/// Every script of the folder, by name.
fn all() -> Vec<Hostile> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/hostile");
    let entries = |folder: &Path| -> Vec<PathBuf> {
        let mut entries: Vec<_> =
            std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
        entries.sort();
        entries
    };
    let folders = entries(&root).into_iter().filter(|path| path.is_dir());
    let files = folders.flat_map(|folder| entries(&folder));
    files.map(|file| read(&file, &file.strip_prefix(&root).unwrap().to_string_lossy())).collect()
}

/// The end of an execution.
fn end_of(execution: &Execution) -> End {
    match &execution.outcome {
        Err(failure) => End::Fails(failure.kind.as_str().to_owned()),
        Ok(answer) => End::Returns(format!("{} {}", answer.status, String::from_utf8_lossy(&answer.body))),
    }
}

impl Hostile {
    /// Executes it on this thread if it compiles. Returns the execution, or why its end is unexpected.
    fn run(&self) -> Result<Option<Execution>, String> {
        let path = ScriptPath::new(&self.call.script).unwrap();
        let compiled =
            if self.call.stored { None } else { compile(self.call.sdk, &path, &self.call.source).err() };
        let (end, message, execution) = match compiled {
            Some(diagnostics) => {
                let message = diagnostics.iter().next().unwrap().message.clone();
                (End::Rejected(message.clone()), message, None)
            }
            None => {
                let execution = self.call.run_here(&self.call.revision()).execution;
                let message = execution.outcome.as_ref().err().map(ToString::to_string).unwrap_or_default();
                (end_of(&execution), message, Some(execution))
            }
        };
        let matches = match (&end, &self.end) {
            (End::Rejected(message), End::Rejected(beginning)) => message.starts_with(beginning),
            (end, expected) => end == expected,
        };
        if matches { Ok(execution) } else { Err(format!("{}: {end:?}, {message}", self.name)) }
    }

    fn check_limits(&self, execution: &Execution) -> Result<(), String> {
        let limits = &self.call.limits;
        let (took, operations, peak) =
            (execution.duration, execution.operations, execution.memory_peak_bytes);
        if took > limits.timeout.saturating_add(TIME_SLACK) {
            return Err(format!("{} took {took:?}", self.name));
        }
        if operations > limits.operations.saturating_add(OPERATIONS_SLACK) {
            return Err(format!("{} ran {operations} operations", self.name));
        }
        if peak > limits.memory + memory_slack(limits) {
            return Err(format!("{} held {} MiB", self.name, peak / MIB));
        }
        Ok(())
    }

    /// Executes it on this thread and checks every limit.
    fn check(&self) -> Result<(), String> {
        let before = CountingAllocator::allocated_bytes();
        let resident_before = process::resident_now();
        if let Some(execution) = self.run()? {
            self.check_limits(&execution)?;
            let limits = &self.call.limits;
            let grown = process::resident_peak().saturating_sub(resident_before);
            if grown > limits.memory + memory_slack(limits) + STACK_SIZE as u64 {
                return Err(format!("{}: the process grew by {} MiB", self.name, grown / MIB));
            }
        }
        let kept = CountingAllocator::allocated_bytes() - before;
        if kept > RETAINED_MAX {
            return Err(format!("{} kept {kept} bytes", self.name));
        }
        run_next_script(&self.name)
    }
}

/// An ordinary script, on this thread.
fn run_next_script(after: &str) -> Result<(), String> {
    let next = script("let doubled = [1, 2, 3].map(|x| x * 2); #{ statusCode: 200, body: doubled }");
    let execution = next.run_here(&next.revision()).execution;
    let end = end_of(&execution);
    if end == End::Returns("200 [2,4,6]".to_owned()) {
        Ok(())
    } else {
        Err(format!("after {after}: {end:?}"))
    }
}

fn on_deep_stack(work: impl FnOnce() + Send) {
    std::thread::scope(|scope| {
        std::thread::Builder::new().stack_size(STACK_SIZE).spawn_scoped(scope, work).unwrap().join().unwrap();
    });
}

/// The memory of the process in bytes, from the kernel.
#[cfg(target_os = "linux")]
mod process {
    fn status(which: &str) -> u64 {
        let status = std::fs::read_to_string("/proc/self/status").unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix(which)).unwrap();
        line.split_whitespace().next().unwrap().parse::<u64>().unwrap() * 1024
    }

    /// The current value; also resets the peak.
    pub(super) fn resident_now() -> u64 {
        std::fs::write("/proc/self/clear_refs", "5").unwrap();
        status("VmRSS:")
    }

    pub(super) fn resident_peak() -> u64 {
        status("VmHWM:")
    }
}

/// Not available on other systems.
#[cfg(not(target_os = "linux"))]
mod process {
    pub(super) fn resident_now() -> u64 {
        0
    }

    pub(super) fn resident_peak() -> u64 {
        0
    }
}

#[test]
fn hostile_scripts_end_as_declared_and_free_their_memory() {
    let _alone = alone();
    let scripts = all();
    assert!(scripts.len() >= 60, "{}", scripts.len());
    on_deep_stack(|| {
        run_next_script("nothing").unwrap();
        // The engine of each version stays in memory from its first use on.
        let newest = Call { sdk: SdkVersion::V1_3, ..script("0") };
        newest.run_here(&newest.revision());
        let wrong: Vec<_> = scripts.iter().filter_map(|script| script.check().err()).collect();
        assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    });
}

#[test]
fn hostile_scripts_end_the_same_on_several_threads() {
    let _alone = alone();
    let scripts = all();
    let wrong = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for thread in 0..3 {
            let (scripts, wrong) = (&scripts, &wrong);
            let run = move || {
                let (first, second) = scripts.split_at(scripts.len() * thread / 3);
                for script in second.iter().chain(first) {
                    let ran = script.run().and_then(|_| run_next_script(&script.name));
                    wrong.lock().unwrap().extend(ran.err());
                }
            };
            std::thread::Builder::new().stack_size(STACK_SIZE).spawn_scoped(scope, run).unwrap();
        }
    });
    let wrong = wrong.into_inner().unwrap();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
