//! Native functions and the language take time and memory linear in their arguments. Each is measured with n and 2n;
//! twice the size can take twice as long, but never four times.
//!
//! The time is the CPU time of the thread, the minimum of several measurements, without the creation of the values.

#![expect(clippy::unwrap_used, reason = "a test that cannot be set up has failed")]

#[path = "complexity/forms.rs"]
mod forms;
#[path = "complexity/imports.rs"]
mod imports;
#[path = "complexity/sdk.rs"]
mod sdk;
mod support;

use std::fmt::Write as _;
use std::time::Duration;

use manifest_schema::limits::Limits;
use runtime::{CountingAllocator, NativeFunction, STACK_SIZE, native_functions};
use sdk::CALLS_OF_SDK;
use support::{Call, SdkVersion, script};

#[global_allocator]
static ALLOCATOR: CountingAllocator = CountingAllocator;

/// The initial size of values; also the number of calls if each takes constant time.
const SIZE: usize = 4_000;

/// The number of calls of a function that takes linear time.
const CALLS: usize = 8;

/// Times below this are not compared.
const COMPARED_MIN: Duration = Duration::from_millis(2);

/// The maximum ratio: 2 for linear time, 4 for quadratic time.
const RATIO_MAX: f64 = 3.0;

/// Functions with constant time per call; they are called as often as the value is large. All others can take linear
/// time.
const CONSTANT: &[&str] = &[
    "push(an array, any value)",
    "push(a blob, an integer)",
    "append(a blob, an integer)",
    "append(a blob, a character)",
    "pop(an array)",
    "pop(a blob)",
    "pop(a string)",
    "get(an array, an integer)",
    "get(a blob, an integer)",
    "get(a map, a string)",
    "set(an array, an integer, any value)",
    "set(a blob, an integer, an integer)",
    "set(a map, a string, any value)",
    "remove(a map, a string)",
    "contains(a map, a string)",
    "len(an array)",
    "len(a blob)",
    "len(a map)",
    "get$len(an array)",
    "get$len(a blob)",
    "bytes(a string)",
    "get$bytes(a string)",
    "is_empty(an array)",
    "is_empty(a blob)",
    "is_empty(a map)",
    "is_empty(a string)",
    "get$is_empty(an array)",
    "get$is_empty(a blob)",
    "get$is_empty(a string)",
    "get(a string, an integer)",
    "index_of(a string, a character)",
    "index_of(a string, a string)",
    "starts_with(a string, a character)",
    "starts_with(a string, a string)",
    "sub_string(a string, an integer, an integer)",
    "sub_string(a string, a range)",
    "extract(an array, an integer, an integer)",
    "extract(an array, a range)",
    "extract(a blob, an integer, an integer)",
    "extract(a blob, a range)",
    "truncate(an array, an integer)",
    "truncate(a blob, an integer)",
    "find(an array, a function)",
    "some(an array, a function)",
    "index_of(an array, a function)",
    "index_of(an array, any value)",
    "contains(an array, any value)",
    "contains(a string, a character)",
    "contains(a string, a string)",
    "drain(an array, an integer, an integer)",
    "take(any value)",
    "tag(any value)",
    "get$tag(any value)",
    "set_tag(any value, an integer)",
    "+=(a string, a character)",
    "+=(a string, any value)",
    "append(a string, any value)",
    "parse_le_int(a blob, an integer, an integer)",
    "parse_be_int(a blob, an integer, an integer)",
    "write_le(a blob, an integer, an integer, an integer)",
    "write_be(a blob, an integer, an integer, an integer)",
];

/// Operations of the language in a loop as long as the values: statements before it, and the repeated operation.
const LANGUAGE: &[(&str, &str, &str)] = &[
    ("a[i]", "", "a[i]"),
    ("a[i] = x", "", "a[i] = 7"),
    ("a[i] += x", "", "a[i] += 7"),
    ("a += x", "", "a += 7"),
    ("m.k", "", "m.k1"),
    ("m.k = x", "", "m.k1 = 7"),
    ("m[k]", "", "m[\"k1\"]"),
    ("m[k] = x of new keys", "", "m[`n${i}`] = 7"),
    ("k in m", "", "\"k1\" in m"),
    ("m?.k", "", "m?.k1"),
    ("b[i]", "", "b[i]"),
    ("b[i] = x", "", "b[i] = 7"),
    ("b += x", "", "b += 7"),
    ("s += text", "", "s += \"ab\""),
    ("s += character", "", "s += 'c'"),
    ("s += number", "", "s += i"),
    ("s[0]", "", "s[0]"),
    ("nested a[0][i]", "let outer = [a];", "outer[0][i]"),
    ("nested m.a[i] = x", "let outer = #{ a: a };", "outer.a[i] = 7"),
    ("nested m.a.push(x)", "let outer = #{ a: a };", "outer.a.push(7)"),
    ("nested m.m.k", "let outer = #{ m: m };", "outer.m.k1"),
    ("method of a script", "", "a.first()"),
    ("method of a script that pushes", "", "a.add(i)"),
    ("closure that captured an array", "let f = |n| a[n];", "f.call(i)"),
    ("closure that pushes into a captured array", "let f = |n| a.push(n);", "f.call(i)"),
    ("closure that captured a map", "let f = |n| m.k1;", "f.call(i)"),
    ("function that is given a string", "", "given(s)"),
    ("interpolation of little", "", "`${i} and ${i}`"),
    ("try within a loop", "", "try { throw i } catch (e) { e }"),
    ("switch", "", "switch i { 1 => a[1], _ => a[2] }"),
    ("property of a map within an array", "let rows = []; rows.pad(100, #{ id: 1 });", "rows[i % 100].id"),
];

/// Statements that take linear time.
const LINEAR: &[(&str, &str, &str)] = &[
    ("for x in a", "let sum = 0;", "for x in a { sum += x; }"),
    ("for (x, i) in a", "let sum = 0;", "for (x, i) in a { sum += i; }"),
    ("for x in b", "let sum = 0;", "for x in b { sum = x; }"),
    ("for c in s", "let sum = 0;", "for c in s { sum += 1; }"),
    ("for k in m.keys()", "let sum = 0;", "for k in m.keys() { sum += 1; }"),
    ("function that is given an array", "", "given(a)"),
    ("function that is given a map", "", "given(m)"),
    ("[a, a]", "", "[a, a]"),
    ("#{ a: a }", "", "#{ a: a }"),
    ("let b = a", "", "let c = a;"),
    ("a == a", "", "a == a"),
    ("m == m", "", "m == m"),
    ("`${s}`", "", "`${s}`"),
    ("`${a}`", "", "`${a}`"),
    ("s + s", "", "s + s"),
    ("a + a", "", "a + a"),
    ("x in a", "", "9 in a"),
    ("a in rows", "let rows = []; rows.pad(3, [a]);", "[a2] in rows"),
    ("a.map(f) that captures an array", "let other = [1, 2, 3];", "a.map(|x| x + other[0])"),
    ("function that gives an array back", "", "back(a)"),
    ("reduce into a map", "", "a.reduce(|all, x| { all.k = x; all }, #{})"),
    ("nested map and filter", "", "a.map(|x| [x]).filter(|x| x.len() > 0)"),
    ("fill an array by an index", "let c = []; c.pad(a.len(), 0);", "for i in 0..a.len() { c[i] = i; }"),
    ("a text made of parts", "", "let t = \"\"; for x in a { t += `${x},`; }"),
    ("take an array apart", "let c = a;", "while c.len() > 0 { c.pop(); }"),
    ("sort by a key", "", "a.order_by(|x, y| x - y)"),
];

/// The number of appended pieces: copying the whole text each time would exceed the caches.
const PIECES: usize = 100_000;

/// Statements that append to a text.
const GROWING: &[&str] = &[
    "t += i",
    "t += 1.5",
    "t += true",
    "t += [1]",
    "t += piece",
    "t.append(i)",
    "t.append(piece)",
    "held.t += i",
    "list[0] += i",
];

/// Functions that scripts cannot call, or that stop them.
const NOT_CALLED: &[&str] = &["print", "debug", "sleep", "exit"];

/// The argument at a position.
fn argument(native: &NativeFunction, index: usize) -> Option<String> {
    let name = native.name.as_str();
    let first = index == 0;
    let written = match native.parameters[index] {
        "an array" => {
            if first {
                "a"
            } else {
                "a2"
            }
        }
        "a string" if native.parameters[0] == "a map" => "\"k1\"",
        // A function by its name.
        "a string" if native.parameters[0] == "an array" && name != "index_of" => "\"by_name\"",
        "a string" if name.starts_with("parse_") && first => "digits",
        "a string" if first => "s",
        "a string" if matches!(name, "+" | "+=" | "append" | "max" | "min" | "==") => "s2",
        "a string" => "\"x\"",
        "a map" => {
            if first {
                "m"
            } else {
                "m2"
            }
        }
        "a blob" => {
            if first {
                "b"
            } else {
                "b2"
            }
        }
        "an integer" if name == "blob" && first => "a.len()",
        "an integer" if name == "pad" && index == 1 => "2 * a2.len()",
        "an integer" if name == "range" => return Some((index + 1).to_string()),
        // Far enough from the end for what takes parts out.
        "an integer" if matches!(name, "truncate" | "chop") => "a.len() / 2",
        "an integer"
            if name.contains("_bits") || name.starts_with("parse_") || name.starts_with("write_") =>
        {
            return Some(if name == "parse_int" { "10" } else { ["1", "1", "2", "1"][index] }.to_owned());
        }
        "an integer" => "1",
        "a float" => "1.5",
        "a character" => "'x'",
        "a bool" => "true",
        "nothing" => "()",
        "a range" => "1..2",
        "a function" => function_for(native),
        "any value" if first && matches!(name, "take") => "a",
        "any value" if matches!(name, "join" | "replaced") => "\"x\"",
        "any value" if name == "repeat" => "2",
        "any value" if name == "format_number" && index == 2 => "#{ group: \",\" }",
        "any value" if first => "1",
        "any value" => "1",
        _ => return None,
    };
    Some(written.to_owned())
}

fn function_for(native: &NativeFunction) -> &'static str {
    match (native.name.as_str(), native.parameters[0]) {
        ("sort" | "sort_by" | "order" | "order_by", _) => "|x, y| x - y",
        ("dedup", _) => "|x, y| false",
        ("zip" | "reduce" | "reduce_rev", _) => "|x, y| y",
        (_, "a map") => "|k, v| true",
        _ => "|x| true",
    }
}

/// Whether a function belongs to a module of the SDK, whose calls are written out in [`CALLS_OF_SDK`].
fn is_of_sdk_module(name: &str) -> bool {
    name.contains("::") && !name.starts_with("log::")
}

/// The call as authors write it; `None` if they cannot.
fn call(native: &NativeFunction) -> Option<String> {
    let not_called = NOT_CALLED.contains(&native.name.as_str()) || native.parameters.contains(&"an iterator");
    if not_called || is_of_sdk_module(&native.name) {
        return None;
    }
    let arguments: Vec<String> =
        (0..native.parameters.len()).map(|index| argument(native, index)).collect::<Option<_>>()?;
    let word = native.name.starts_with(|c: char| c.is_alphabetic() || c == '_');
    Some(match (native.name.split_once('$'), &arguments[..]) {
        (Some(("get", property)), [of]) => format!("({of}).{property}"),
        (Some(_), _) => return None,
        (None, [a]) if !word => format!("{}({a})", native.name),
        (None, [a, b]) if !word => format!("{a} {} {b}", native.name),
        _ => format!("{}({})", native.name, arguments.join(", ")),
    })
}

/// The CPU time of this thread.
fn cpu_time() -> Duration {
    #[cfg(target_os = "linux")]
    {
        let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
        Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
    }
    #[cfg(not(target_os = "linux"))]
    {
        use std::sync::LazyLock;
        use std::time::Instant;
        static STARTED: LazyLock<Instant> = LazyLock::new(Instant::now);
        STARTED.elapsed()
    }
}

/// A script that creates the used values of `size` and repeats `work`.
fn measured(size: usize, times: usize, before: &str, work: &str) -> Call {
    let text = format!("{before} {work}");
    let words: Vec<&str> = text.split(|c: char| !c.is_alphanumeric() && c != '_').collect();
    let made = |names: [&str; 2], make: String| {
        if names.iter().any(|name| words.contains(name)) { make } else { String::new() }
    };
    let entries = || (0..size).map(|key| format!("\"k{key}\":{key}")).collect::<Vec<_>>().join(",");
    let values = [
        made(["m", "m2"], "let m = ctx.request.body; let m2 = m;".to_owned()),
        made(["a", "a2"], format!("let a = []; a.pad({size}, 1); let a2 = []; a2.pad({size}, 2);")),
        made(["s", "s2"], format!("let s = \"\"; s.pad({size}, 'x'); let s2 = s;")),
        made(["b", "b2"], format!("let b = blob({size}); let b2 = blob({size});")),
        made(["digits", "digits"], "let digits = \"1234\";".to_owned()),
    ];
    let source = format!(
        "fn by_name(x, y) {{ false }} fn by_name(x) {{ true }} fn given(x) {{ 1 }} fn back(x) {{ x }}
         fn first() {{ this[0] }} fn add(x) {{ this.push(x) }}
         {}
         {before}
         for i in 0..{times} {{ {work}; }}
         0",
        values.concat()
    );
    let page = "{% for x in a %}{{ x }}{% endfor %}{{ s }}{% for k, v in m %}{{ k }}{% endfor %}";
    script(&source).template("page.html", page).function(made(["m", "m2"], format!("{{{}}}", entries())))
}

/// The time of `times` calls, without the creation of the values.
fn time_of(size: usize, times: usize, before: &str, work: &str) -> Duration {
    let limits =
        Limits { operations: u64::MAX, timeout: Duration::from_secs(60), memory: 1 << 30, ..Limits::DEFAULT };
    let run = |times: usize| {
        let call =
            Call { sdk: SdkVersion::V1_3, limits: limits.clone(), ..measured(size, times, before, work) };
        let revision = call.revision();
        let once = || {
            let begun = cpu_time();
            let ran = call.run_here(&revision);
            let taken = cpu_time().saturating_sub(begun);
            let failed = ran.execution.outcome.err();
            assert!(failed.is_none(), "{work}: {}", failed.unwrap());
            taken
        };
        (0..2).map(|_| once()).min().unwrap()
    };
    run(times).saturating_sub(run(0))
}

struct Line {
    what: String,
    calls: String,
    first: Duration,
    second: Duration,
}

impl Line {
    fn measure(what: &str, constant: bool, before: &str, work: &str) -> Self {
        let (once, twice) = if constant { (SIZE, 2 * SIZE) } else { (CALLS, CALLS) };
        let calls = if constant { "n".to_owned() } else { CALLS.to_string() };
        Self::compare(what, &calls, || {
            (time_of(SIZE, once, before, work), time_of(2 * SIZE, twice, before, work))
        })
    }

    fn compare(what: &str, calls: &str, both: impl Fn() -> (Duration, Duration)) -> Self {
        let measure = || {
            let (first, second) = both();
            Self { what: what.to_owned(), calls: calls.to_owned(), first, second }
        };
        // Measured again on a busy machine.
        let mut line = measure();
        for _ in 0..4 {
            if line.ratio() < RATIO_MAX {
                break;
            }
            line = measure();
        }
        line
    }

    fn ratio(&self) -> f64 {
        (self.second + COMPARED_MIN).as_secs_f64() / (self.first + COMPARED_MIN).as_secs_f64()
    }
}

fn table(lines: &[Line]) -> String {
    let mut text = "| what | calls | n | 2n | 2n/n |\n| --- | --- | --- | --- | --- |\n".to_owned();
    for line in lines {
        let (first, second) = (line.first.as_secs_f64() * 1000.0, line.second.as_secs_f64() * 1000.0);
        writeln!(
            text,
            "| `{}` | {} | {first:.2} ms | {second:.2} ms | {:.1} |",
            line.what.replace('|', "\\|"),
            line.calls,
            line.ratio()
        )
        .unwrap();
    }
    text
}

#[track_caller]
fn assert_linear(lines: Vec<Line>) {
    println!("{}", table(&lines));
    let (wrong, _): (Vec<_>, Vec<_>) = lines.into_iter().partition(|line| line.ratio() >= RATIO_MAX);
    assert!(
        wrong.is_empty(),
        "not linear
{}",
        table(&wrong)
    );
}

fn on_a_deep_stack(work: impl FnOnce() + Send) {
    std::thread::scope(|scope| {
        std::thread::Builder::new().stack_size(STACK_SIZE).spawn_scoped(scope, work).unwrap().join().unwrap();
    });
}

#[test]
fn native_functions_take_linear_time() {
    let natives = native_functions(SdkVersion::V1_3);
    let described = |native: &NativeFunction| format!("{}({})", native.name, native.parameters.join(", "));
    let known: Vec<String> = natives.iter().map(described).collect();
    for constant in CONSTANT {
        assert!(known.iter().any(|native| native == constant), "{constant} is not a function");
    }
    on_a_deep_stack(|| {
        let lines = natives.iter().filter_map(|native| {
            let what = described(native);
            let work = call(native)?;
            Some(Line::measure(&what, CONSTANT.contains(&what.as_str()), "", &work))
        });
        assert_linear(lines.collect());
    });
}

#[test]
fn functions_of_the_sdk_take_linear_time_and_memory() {
    const MIB: u64 = 1024 * 1024;
    let listed = |name: &str| CALLS_OF_SDK.iter().any(|(function, _)| *function == name);
    let names = native_functions(SdkVersion::V1_3).into_iter().map(|native| native.name);
    let missing: Vec<String> = names.filter(|name| is_of_sdk_module(name) && !listed(name)).collect();
    assert!(missing.is_empty(), "no call of {missing:?}");
    on_a_deep_stack(|| {
        let mut wrong = String::new();
        for (_, work) in CALLS_OF_SDK {
            let run = |times: usize| {
                let limits = Limits {
                    operations: u64::MAX,
                    timeout: Duration::from_secs(60),
                    memory: u64::MAX,
                    ..Limits::DEFAULT
                };
                let call = Call { sdk: SdkVersion::V1_3, limits, ..measured(16 * SIZE, times, "", work) };
                call.run_here(&call.revision()).execution.memory_peak_bytes
            };
            let (held, most) = (run(0), run(1));
            if most > 8 * held + MIB {
                writeln!(wrong, "{work}: {most} bytes, of {held}").unwrap();
            }
        }
        assert!(wrong.is_empty(), "{wrong}");
        assert_linear(CALLS_OF_SDK.iter().map(|(_, work)| Line::measure(work, false, "", work)).collect());
    });
}

/// Functions that create values from bytes and reserve memory as they progress.
const EXPANDING: &[&str] = &["lines", "split", "split_rev", "to_array", "to_chars"];

/// The meter polls between operations: a call at most doubles the memory, or reserves as it progresses.
#[test]
fn native_functions_use_linear_memory() {
    const LARGE: usize = 300_000;
    const ENTRIES: usize = 20_000;
    const MIB: u64 = 1024 * 1024;
    let run = |native: &NativeFunction, work: &str, times: usize, memory: u64| {
        let limits =
            Limits { operations: u64::MAX, timeout: Duration::from_secs(60), memory, ..Limits::DEFAULT };
        let size = if native.parameters.contains(&"a map") { ENTRIES } else { LARGE };
        let call = Call { sdk: SdkVersion::V1_3, limits, ..measured(size, times, "", work) };
        call.run_here(&call.revision()).execution
    };
    on_a_deep_stack(|| {
        let mut wrong = String::new();
        for native in native_functions(SdkVersion::V1_3) {
            let Some(work) = call(&native) else { continue };
            let held = run(&native, &work, 0, u64::MAX).memory_peak_bytes;
            let most = if EXPANDING.contains(&native.name.as_str()) {
                run(&native, &work, 1, held + MIB).memory_peak_bytes.saturating_sub(MIB)
            } else {
                run(&native, &work, 1, u64::MAX).memory_peak_bytes
            };
            if most > 3 * held + 64 * 1024 {
                writeln!(wrong, "{work}: {most} bytes, of {held}").unwrap();
            }
        }
        assert!(wrong.is_empty(), "{wrong}");
    });
}

#[test]
fn language_takes_linear_time() {
    on_a_deep_stack(|| {
        let each = LANGUAGE.iter().map(|(what, before, work)| Line::measure(what, true, before, work));
        let whole = LINEAR.iter().map(|(what, before, work)| Line::measure(what, false, before, work));
        assert_linear(each.chain(whole).collect());
    });
}

/// A loop that builds a long text piece by piece.
#[test]
fn text_grows_in_place() {
    const BEFORE: &str =
        "let t = \"\"; let held = #{ t: \"\" }; let list = [\"\"]; let piece = blob(2, 0x37);";
    on_a_deep_stack(|| {
        let lines = GROWING.iter().map(|work| {
            Line::compare(work, "n", || {
                (time_of(1, PIECES, BEFORE, work), time_of(1, 2 * PIECES, BEFORE, work))
            })
        });
        assert_linear(lines.collect());
    });
}
