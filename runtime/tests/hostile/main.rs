//! Scripts that loop, nest, grow, pad, overflow, throw odd values, forge headers and reach for what is disabled. Each comes
//! to the end that it names, within its limits; what it held is given back, and the thread runs the next script as if
//! nothing had been.
//!
//! A script is a file, in a folder named for what it tries. Its first lines are comments that say what that is, and:
//!
//! - `// ends: timeout` the name of the failure that the run ends with
//! - `// answers: 200 [1]` status and body, where it does no harm and no more
//! - `// refused: ...` how the message of the first diagnostic begins, where it does not compile
//! - `// limits: timeout=100ms operations=1000 memory=16MiB` those that are not the usual ones
//! - `// body: application/json [1]` what the request brings
//! - `// stored` it got past the checks of an earlier server: only the wall and the limits stand
//!
//! One of the first three is needed. Everywhere in a file, `«3×ab»` stands for `ababab`.

#![expect(clippy::unwrap_used, reason = "a test that cannot be set up has failed")]

#[path = "../support/mod.rs"]
mod support;

use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use manifest_schema::limits::Limits;
use manifest_schema::name::ScriptPath;
use runtime::{CountingAllocator, Execution, STACK, compile};
use support::{Call, script};

#[global_allocator]
static ALLOCATOR: CountingAllocator = CountingAllocator;

const MIB: u64 = 1024 * 1024;

/// How much longer than its time a run may take: one native function over the largest values, unoptimised, on a machine
/// that does other things too.
const TIME_SLACK: Duration = Duration::from_secs(2);

/// How many operations may be begun beyond the limit: each function that was called notices it for itself.
const OPERATIONS_SLACK: u64 = 64;

/// What a run may hold beyond its limit before that is noticed, in bytes: one copy of what it holds, and one string.
fn memory_slack(limits: &Limits) -> u64 {
    limits.memory + 32 * MIB
}

/// What may stay on the thread, in bytes: what the engine and the standard library keep for themselves.
const KEPT_UNNOTICED: i64 = 4 * 1024;

/// Held by each test: one looks at the whole process.
static PROCESS: Mutex<()> = Mutex::new(());

fn alone() -> MutexGuard<'static, ()> {
    // As the server has it: a backtrace takes long, and its symbols stay in memory.
    std::panic::set_hook(Box::new(|panic| eprintln!("{panic}")));
    PROCESS.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A script of the folder.
struct Hostile {
    name: String,
    call: Call,
    end: End,
}

/// What must come of it.
#[derive(Debug, PartialEq)]
enum End {
    Fails(String),
    Answers(String),
    Refused(String),
}

/// `«3×ab»` written out.
fn written_out(text: &str) -> String {
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
    let said: Vec<String> =
        text.lines().map_while(|line| line.strip_prefix("// ")).map(written_out).collect();
    // What is said is not part of the script, so that it may bring a large body; its lines are.
    let script_lines = text.lines().skip(said.len()).map(|line| format!("{line}\n"));
    let source = format!("{}{}", "\n".repeat(said.len()), written_out(&script_lines.collect::<String>()));
    let mut call = script(&source).limits(|limits| {
        limits.timeout = Duration::from_secs(20);
        limits.operations = 1_000_000;
    });
    let (mut end, mut tries) = (None, 0);
    for line in &said {
        match line.split_once(": ") {
            Some(("ends", kind)) => end = Some(End::Fails(kind.to_owned())),
            Some(("answers", answer)) => end = Some(End::Answers(answer.to_owned())),
            Some(("refused", diagnostic)) => end = Some(End::Refused(diagnostic.to_owned())),
            Some(("limits", limits)) => limits.split(' ').for_each(|limit| lower(&mut call.limits, limit)),
            Some(("body", body)) => {
                let (content_type, body) = body.split_once(' ').unwrap();
                call = call.body(content_type, body.to_owned());
            }
            _ if line == "stored" => call = call.stored(),
            _ => tries += 1,
        }
    }
    assert!(tries > 0, "{name} does not say what it tries");
    let end = end.unwrap_or_else(|| panic!("{name} does not say what must come of it"));
    Hostile { name: name.to_owned(), call, end }
}

fn lower(limits: &mut Limits, limit: &str) {
    let (name, value) = limit.split_once('=').unwrap();
    let number = |unit: &str| value.strip_suffix(unit).unwrap().parse::<u64>().unwrap();
    match name {
        "timeout" => limits.timeout = Duration::from_millis(number("ms")),
        "operations" => limits.operations = number(""),
        "memory" => limits.memory = number("MiB") * MIB,
        other => panic!("{other} is no limit"),
    }
}

/// Every script of the folder, in the order of their names.
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

/// What came of an execution, as files say it.
fn end_of(execution: &Execution) -> End {
    match &execution.outcome {
        Err(failure) => End::Fails(failure.kind.as_str().to_owned()),
        Ok(answer) => End::Answers(format!("{} {}", answer.status, String::from_utf8_lossy(&answer.body))),
    }
}

impl Hostile {
    /// Runs it on this thread, where it compiles; gives back the execution, or what is wrong with the end of it.
    fn run(&self) -> Result<Option<Execution>, String> {
        let path = ScriptPath::new(&self.call.script).unwrap();
        let compiled =
            if self.call.stored { None } else { compile(self.call.sdk, &path, &self.call.source).err() };
        let (end, told, execution) = match compiled {
            Some(diagnostics) => {
                let message = diagnostics.iter().next().unwrap().message.clone();
                (End::Refused(message.clone()), message, None)
            }
            None => {
                let execution = self.call.run_here(&self.call.revision()).execution;
                let told = execution.outcome.as_ref().err().map(ToString::to_string).unwrap_or_default();
                (end_of(&execution), told, Some(execution))
            }
        };
        let as_said = match (&end, &self.end) {
            (End::Refused(message), End::Refused(beginning)) => message.starts_with(beginning),
            (end, expected) => end == expected,
        };
        if as_said { Ok(execution) } else { Err(format!("{}: {end:?}, {told}", self.name)) }
    }

    fn is_within_limits(&self, execution: &Execution) -> Result<(), String> {
        let limits = &self.call.limits;
        let (took, operations, peak) = (execution.duration, execution.operations, execution.memory_peak);
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

    /// Runs it on this thread and looks at all that it may not do.
    fn is_harmless(&self) -> Result<(), String> {
        let before = CountingAllocator::held();
        let resident_before = process::resident_now();
        if let Some(execution) = self.run()? {
            self.is_within_limits(&execution)?;
            let limits = &self.call.limits;
            let grown = process::resident_at_most().saturating_sub(resident_before);
            if grown > limits.memory + memory_slack(limits) + STACK as u64 {
                return Err(format!("{}: the process grew by {} MiB", self.name, grown / MIB));
            }
        }
        let kept = CountingAllocator::held() - before;
        if kept > KEPT_UNNOTICED {
            return Err(format!("{} kept {kept} bytes", self.name));
        }
        the_next_one_runs(&self.name)
    }
}

/// An ordinary script, on this thread.
fn the_next_one_runs(after: &str) -> Result<(), String> {
    let next = script("let doubled = [1, 2, 3].map(|x| x * 2); #{ statusCode: 200, body: doubled }");
    let execution = next.run_here(&next.revision()).execution;
    let end = end_of(&execution);
    if end == End::Answers("200 [2,4,6]".to_owned()) {
        Ok(())
    } else {
        Err(format!("after {after}: {end:?}"))
    }
}

fn on_a_thread_of_its_own(work: impl FnOnce() + Send) {
    std::thread::scope(|scope| {
        std::thread::Builder::new().stack_size(STACK).spawn_scoped(scope, work).unwrap().join().unwrap();
    });
}

/// How much memory the process has, in bytes, as the kernel counts it.
#[cfg(target_os = "linux")]
mod process {
    fn status(which: &str) -> u64 {
        let status = std::fs::read_to_string("/proc/self/status").unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix(which)).unwrap();
        line.split_whitespace().next().unwrap().parse::<u64>().unwrap() * 1024
    }

    /// Now; the most is counted from here on.
    pub(super) fn resident_now() -> u64 {
        std::fs::write("/proc/self/clear_refs", "5").unwrap();
        status("VmRSS:")
    }

    pub(super) fn resident_at_most() -> u64 {
        status("VmHWM:")
    }
}

/// Other systems do not tell.
#[cfg(not(target_os = "linux"))]
mod process {
    pub(super) fn resident_now() -> u64 {
        0
    }

    pub(super) fn resident_at_most() -> u64 {
        0
    }
}

#[test]
fn every_script_comes_to_the_end_that_it_names_and_leaves_nothing_behind() {
    let _alone = alone();
    let scripts = all();
    assert!(scripts.len() >= 60, "{}", scripts.len());
    on_a_thread_of_its_own(|| {
        the_next_one_runs("nothing").unwrap();
        let wrong: Vec<_> = scripts.iter().filter_map(|script| script.is_harmless().err()).collect();
        assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    });
}

#[test]
fn at_once_on_several_threads_they_come_to_the_same_ends() {
    let _alone = alone();
    let scripts = all();
    let wrong = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for thread in 0..3 {
            let (scripts, wrong) = (&scripts, &wrong);
            let run = move || {
                let (first, second) = scripts.split_at(scripts.len() * thread / 3);
                for script in second.iter().chain(first) {
                    let ran = script.run().and_then(|_| the_next_one_runs(&script.name));
                    wrong.lock().unwrap().extend(ran.err());
                }
            };
            std::thread::Builder::new().stack_size(STACK).spawn_scoped(scope, run).unwrap();
        }
    });
    let wrong = wrong.into_inner().unwrap();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
