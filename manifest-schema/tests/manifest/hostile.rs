//! Hostile manifests: no panic, no stack overflow, no long run time.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use manifest_schema::diagnostic::{Diagnostics, Severity};
use manifest_schema::limits::Ceiling;
use manifest_schema::parse::{ParseContext, ParseError, Parsed, parse};
use proptest::prelude::*;

/// The maximum size of a manifest, in bytes.
const MANIFEST_MAX: usize = 256 * 1024;

/// Generous for a slow machine, but far below the time of a quadratic algorithm.
const PARSE_TIME_MAX: Duration = Duration::from_secs(20);

const WHOLE: &str = r#"
sdk = "1.1"
[app]
description = "everything"
[[routes]]
path = "/a/{x}"
methods = ["GET", "POST"]
script = "a.rhai"
[[schedules]]
name = "tick"
cron = "*/5 * * * *"
timezone = "Europe/Berlin"
script = "a.rhai"
[[functions]]
name = "f"
script = "a.rhai"
[limits]
timeout = "500ms"
body = 4096
"#;

fn parse_with_scripts(scripts: &BTreeSet<String>, text: &[u8]) -> Result<Parsed, ParseError> {
    parse(text, ParseContext::new(&Ceiling::DEFAULT, scripts))
}

fn read(text: &[u8]) -> Result<Parsed, ParseError> {
    parse_with_scripts(&BTreeSet::from(["a.rhai".to_owned()]), text)
}

/// Parses `text` with the stack that a server thread may have left.
fn parse_on_small_stack(text: &str) -> Diagnostics {
    std::thread::scope(|scope| {
        let thread = std::thread::Builder::new().stack_size(256 * 1024);
        let reading =
            thread.spawn_scoped(scope, || read(text.as_bytes()).err().map(|refused| refused.diagnostics));
        reading.ok().and_then(|reading| reading.join().ok()).flatten().unwrap_or_default()
    })
}

#[test]
fn manifest_of_ten_megabytes_is_rejected_without_parsing() {
    let diagnostics = read(&vec![b'='; 10_000_000]).unwrap_err().diagnostics;
    let diagnostics: Vec<_> =
        diagnostics.iter().map(|diagnostic| (diagnostic.message.as_str(), &diagnostic.span)).collect();
    assert_eq!(diagnostics, [("the manifest is larger than 256 KiB", &None)]);
}

#[test]
fn nesting_does_not_overflow_the_stack() {
    let key = ["a"; 75].join(".");
    let nested = format!("{}1{}", format!("{key} = {{").repeat(75), "}".repeat(75));
    for deep in [
        "[".repeat(MANIFEST_MAX),
        format!("x = {}", "[".repeat(100_000)),
        "x = {x = ".repeat(20_000),
        format!("x{} = 1", ".y".repeat(100_000)),
        format!("[x{}]", ".y".repeat(100_000)),
        nested.clone(),
        format!("{nested}\n{nested}"),
        format!("[{key}]\n{nested}"),
        format!("{key} = {{").repeat(1000),
        format!("x = [{nested}]"),
    ] {
        let deep = &deep[..deep.len().min(MANIFEST_MAX)];
        assert!(!parse_on_small_stack(deep).is_empty());
    }
}

#[test]
fn deepest_valid_nesting_fits_a_small_stack() {
    let (tables, array) = ("{a.a = ".repeat(40), format!("{}{}", "[".repeat(35), "]".repeat(35)));
    let deepest = format!("[a{}]\na = {tables}{array}{}", ".a".repeat(60), "}".repeat(40));
    let diagnostics = parse_on_small_stack(&deepest);
    // Valid TOML at the maximum depth; only its meaning is invalid.
    let messages: Vec<_> = diagnostics.iter().take(2).map(|diagnostic| diagnostic.message.as_str()).collect();
    assert_eq!(messages, ["the manifest has no `sdk`", "unknown key `a`"]);
}

#[test]
fn largest_manifests_full_of_errors_are_parsed_quickly() {
    let zone = "[[schedules]]\nname='a'\ncron='0 0 30 2 *'\ntimezone='Europa/Balin'\nscript='z/b.rhai'\n";
    let long_names = format!(
        "sdk = '{0}'\n[{0}x]\n[[functions]]\nname = '{0}'\nscript = '{0}.rhai'\n",
        "n".repeat(50_000)
    );
    for repeated in [
        "=",
        "a=\n",
        "\u{1}\n",
        "[[routes]]\n",
        "[[a]]\n",
        "[a]\n",
        "'",
        "\"\"\"\n",
        "a=[",
        zone,
        &long_names,
    ] {
        let text = repeated.repeat(MANIFEST_MAX / repeated.len());
        let start = Instant::now();
        let diagnostics = read(text.as_bytes()).unwrap_err().diagnostics;
        assert!(start.elapsed() < PARSE_TIME_MAX, "{repeated:?} took {:?}", start.elapsed());
        let kept = diagnostics.iter().count();
        assert!(
            diagnostics.errors() > 0 && kept <= Diagnostics::KEPT_MAX + 1,
            "{repeated:?}: {kept} diagnostics"
        );
    }
}

#[test]
fn long_list_of_methods_is_parsed_quickly() {
    let text =
        format!("sdk='1.1'\n[[routes]]\npath='/'\nscript='a.rhai'\nmethods=[{}]", "'a',".repeat(60_000));
    let start = Instant::now();
    assert!(read(text.as_bytes()).is_err());
    assert!(start.elapsed() < PARSE_TIME_MAX, "{:?}", start.elapsed());
}

#[test]
fn misspelt_scripts_among_many_are_reported_quickly() {
    let scripts: BTreeSet<String> =
        (0..20_000).map(|number| format!("scripts/number/{number}.rhai")).collect();
    let function =
        |number: usize| format!("[[functions]]\nname='f{number}'\nscript='scripts/numbr/{number}.rhai'\n");
    let text: String = std::iter::once("sdk='1.1'\n".to_owned()).chain((0..1500).map(function)).collect();
    let start = Instant::now();
    assert!(parse_with_scripts(&scripts, text.as_bytes()).is_err());
    assert!(start.elapsed() < PARSE_TIME_MAX, "{:?}", start.elapsed());
}

#[test]
fn unused_scripts_beyond_the_maximum_are_counted() {
    let scripts: BTreeSet<String> = (0..1500).map(|number| format!("{number}.rhai")).collect();
    let warnings = parse_with_scripts(&scripts, b"sdk='1.1'").unwrap().warnings;
    assert_eq!((warnings.iter().count(), warnings.warnings()), (Diagnostics::KEPT_MAX, 1500));
}

#[test]
fn too_many_entries_are_rejected() {
    let text = format!("sdk='1.1'\n{}", "[[routes]]\n".repeat(2001));
    let diagnostics = read(text.as_bytes()).unwrap_err().diagnostics;
    assert_eq!(diagnostics.iter().next().unwrap().message, "`routes` has 2001 entries, more than 2000");
}

/// Invariants of every result.
fn check(text: &[u8]) -> Result<(), TestCaseError> {
    let Err(ParseError { diagnostics, .. }) = read(text) else { return Ok(()) };
    prop_assert!(diagnostics.errors() > 0);
    for severity in [Severity::Error, Severity::Warning] {
        let placed = diagnostics.iter().filter(|diagnostic| diagnostic.severity == severity);
        let places =
            placed.filter_map(|diagnostic| diagnostic.span.as_ref()).map(|span| (span.line, span.column));
        prop_assert!(places.is_sorted());
    }
    prop_assert!(diagnostics.iter().all(|diagnostic| !diagnostic.message.contains('\n')));
    Ok(())
}

proptest! {
    #[test]
    fn arbitrary_bytes_are_a_manifest_or_diagnostics(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        check(&bytes)?;
    }

    #[test]
    fn arbitrary_toml_pieces_are_a_manifest_or_diagnostics(
        pieces in prop::collection::vec(prop::sample::select(vec![
            "[", "]", "{", "}", "=", ".", ",", "\n", "\"", "'", "\"\"\"", "#", "\\", " ", "1", "sdk", "\"1.1\"", "[[routes]]\n",
            "[limits]\n", "path", "methods", "script", "[[schedules]]\n", "cron", "\"* * * * *\"", "timeout", "ü", "\r\n", "true", "[app]",
        ]), 0..60),
    ) {
        check(pieces.concat().as_bytes())?;
    }

    #[test]
    fn damaged_manifest_is_a_manifest_or_diagnostics(
        from in 0..WHOLE.len(), length in 0..12usize, with in "[\\[\\]{}=\".a0\\n#'-]{0,3}",
    ) {
        let mut damaged = WHOLE.to_owned();
        damaged.replace_range(from..(from + length).min(WHOLE.len()), &with);
        check(damaged.as_bytes())?;
    }
}
