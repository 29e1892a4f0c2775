//! The search for imports takes time linear in the text, and less memory than the text.

use runtime::{CountingAllocator, imported_files};

use super::support::SdkVersion;
use super::{Line, assert_linear, cpu_time};

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
