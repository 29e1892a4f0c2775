//! The search for imports takes time linear in the text, and less memory than the text. Linking takes time and memory
//! linear in the script and its libraries.

use runtime::{CountingAllocator, imported_files};

use super::support::{Call, SdkVersion, script};
use super::{Line, assert_linear, cpu_time, on_a_deep_stack};

/// The size of a text whose tokens are not so large that the allocator maps them.
const SIZE: usize = 32 * 1024;

/// Texts of repeated parts.
const TEXTS: &[(&str, &str)] = &[
    ("statements", "let x = [1, #{ a: 2 }];\n"),
    ("names", "a b c d e f g h "),
    ("imports of one file", "import\"a\";"),
    ("strings", "\"import\" "),
    ("texts in texts", "`${"),
    ("texts with braces", "`${{}}}`"),
    ("open braces", "`${{"),
    ("comments", "/* "),
    ("quotes", "\""),
    ("wrong symbols", "=== \\ "),
    ("numbers", "1e"),
];

fn text(unit: &str, size: usize) -> String {
    format!("import \"lib/a\" as a; {}", unit.repeat(size / unit.len()))
}

#[test]
fn search_for_imports_takes_linear_time_and_little_memory() {
    let lines = TEXTS.iter().map(|(what, unit)| {
        let largest = text(unit, runtime::SOURCE_MAX);
        let (found, peak) = CountingAllocator::peak_bytes(|| imported_files(SdkVersion::V1_3, &largest));
        assert!(!found.is_empty(), "{what}");
        assert!(peak <= 4 * largest.len() as u64, "{what}: {peak} bytes");
        let (first, second) = (text(unit, SIZE), text(unit, 2 * SIZE));
        let time = |text: &str| {
            let begun = cpu_time();
            let _ = imported_files(SdkVersion::V1_3, text);
            cpu_time().saturating_sub(begun)
        };
        Line::compare(what, "1", || (time(&first), time(&second)))
    });
    assert_linear(lines.collect());
}

/// A commit of about this size: the script, and its libraries by path.
type Commit = (&'static str, usize, fn(usize) -> (String, Vec<(String, String)>));

fn functions(count: usize) -> String {
    (0..count).map(|n| format!("fn f{n}(x) {{ if x > {n} {{ f{n}(x - 1) }} else {{ x }} }}\n")).collect()
}

const COMMITS: &[Commit] = &[
    ("a long function", 5_000, |size| {
        let text = format!("fn f(x) {{\n{}x }}", "x += 1;\n".repeat(size));
        ("import \"l\" as l; l::f(1)".to_owned(), vec![("l.rhai".to_owned(), text)])
    }),
    ("calls of a library", 4_000, |size| {
        let script = format!("import \"l\" as l;\n{}", "l::f0(1);\n".repeat(size));
        (script, vec![("l.rhai".to_owned(), functions(1))])
    }),
    ("names like unique names", 60_000, |size| {
        let names = (0..size.isqrt()).map(|n| format!("\"{}lib_0_f0\",\n", "x".repeat(n)));
        let text = format!("fn g() {{ [{}] }}\n{}", names.collect::<String>(), functions(1));
        ("import \"l\" as l; l::f0(1)".to_owned(), vec![("l.rhai".to_owned(), text)])
    }),
];

fn commit(of: &Commit, size: usize) -> Call {
    let (source, files) = of.2(size);
    // They live as long as the test.
    let leak = |text: String| -> &'static str { Box::leak(text.into_boxed_str()) };
    let libraries = files.into_iter().map(|(path, text)| (leak(path), leak(text))).collect();
    Call { sdk: SdkVersion::V1_3, libraries, ..script(&source) }
}

#[test]
fn linking_takes_linear_time_and_memory() {
    on_a_deep_stack(|| {
        let lines = COMMITS.iter().map(|of| {
            let (first, second) = (commit(of, of.1), commit(of, 2 * of.1));
            let measure = |call: &Call| {
                let begun = cpu_time();
                let (checked, peak) = CountingAllocator::peak_bytes(|| call.check());
                let taken = cpu_time().saturating_sub(begun);
                assert!(checked.is_ok(), "{}: {:?}", of.0, checked.err());
                (taken, peak)
            };
            let (small, large) = (measure(&first).1, measure(&second).1);
            println!("{}: {} and {} KiB", of.0, small / 1024, large / 1024);
            assert!(large <= 3 * small + 1024 * 1024, "{}: {small} and {large} bytes", of.0);
            Line::compare(of.0, "1", || (measure(&first).0, measure(&second).0))
        });
        assert_linear(lines.collect());
    });
}
