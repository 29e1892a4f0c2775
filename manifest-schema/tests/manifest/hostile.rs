//! Manifests that mean harm: none panics, overflows a stack or takes long.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use manifest_schema::diagnostic::{Diagnostics, Severity};
use manifest_schema::limits::Ceiling;
use manifest_schema::parse::{ParseContext, ParseError, Parsed, parse};
use proptest::prelude::*;

/// The most a manifest may have, in bytes.
const MOST: usize = 256 * 1024;

/// Wide of what a slow machine takes, and far below what anything quadratic would.
const SOON: Duration = Duration::from_secs(20);

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

fn read_among(scripts: &BTreeSet<String>, text: &[u8]) -> Result<Parsed, ParseError> {
    parse(text, ParseContext { ceiling: &Ceiling::DEFAULT, scripts })
}

fn read(text: &[u8]) -> Result<Parsed, ParseError> {
    read_among(&BTreeSet::from(["a.rhai".to_owned()]), text)
}

/// The diagnostics of `text`, read with what little a server's thread may have left of its stack.
fn on_a_small_stack(text: &str) -> Diagnostics {
    std::thread::scope(|scope| {
        let thread = std::thread::Builder::new().stack_size(256 * 1024);
        let reading =
            thread.spawn_scoped(scope, || read(text.as_bytes()).err().map(|refused| refused.diagnostics));
        reading.ok().and_then(|reading| reading.join().ok()).flatten().unwrap_or_default()
    })
}

#[test]
fn a_manifest_of_ten_megabytes_is_refused_unread() {
    let diagnostics = read(&vec![b'='; 10_000_000]).unwrap_err().diagnostics;
    let diagnostics: Vec<_> =
        diagnostics.iter().map(|diagnostic| (diagnostic.message.as_str(), &diagnostic.span)).collect();
    assert_eq!(diagnostics, [("the manifest is larger than 256 KiB", &None)]);
}

#[test]
fn nesting_overflows_no_stack() {
    let key = ["a"; 75].join(".");
    let nested = format!("{}1{}", format!("{key} = {{").repeat(75), "}".repeat(75));
    for deep in [
        "[".repeat(MOST),
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
        let deep = &deep[..deep.len().min(MOST)];
        assert!(!on_a_small_stack(deep).is_empty());
    }
}

#[test]
fn the_deepest_nesting_that_is_let_through_fits_a_small_stack() {
    let (tables, array) = ("{a.a = ".repeat(40), format!("{}{}", "[".repeat(35), "]".repeat(35)));
    let deepest = format!("[a{}]\na = {tables}{array}{}", ".a".repeat(60), "}".repeat(40));
    let diagnostics = on_a_small_stack(&deepest);
    // It is TOML, as deep as TOML goes; what is wrong with it is what it says.
    let messages: Vec<_> = diagnostics.iter().take(2).map(|diagnostic| diagnostic.message.as_str()).collect();
    assert_eq!(messages, ["the manifest has no `sdk`", "unknown key `a`"]);
}

#[test]
fn the_largest_manifests_of_nothing_but_faults_are_read_soon() {
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
        let text = repeated.repeat(MOST / repeated.len());
        let start = Instant::now();
        let diagnostics = read(text.as_bytes()).unwrap_err().diagnostics;
        assert!(start.elapsed() < SOON, "{repeated:?} took {:?}", start.elapsed());
        let kept = diagnostics.iter().count();
        assert!(diagnostics.errors() > 0 && kept <= Diagnostics::KEPT_MAX + 1, "{repeated:?}: {kept} faults");
    }
}

#[test]
fn a_list_of_a_hundred_thousand_methods_is_read_soon() {
    let text =
        format!("sdk='1.1'\n[[routes]]\npath='/'\nscript='a.rhai'\nmethods=[{}]", "'a',".repeat(60_000));
    let start = Instant::now();
    assert!(read(text.as_bytes()).is_err());
    assert!(start.elapsed() < SOON, "{:?}", start.elapsed());
}

#[test]
fn misspelt_scripts_among_many_are_told_soon() {
    let scripts: BTreeSet<String> =
        (0..20_000).map(|number| format!("scripts/number/{number}.rhai")).collect();
    let function =
        |number: usize| format!("[[functions]]\nname='f{number}'\nscript='scripts/numbr/{number}.rhai'\n");
    let text: String = std::iter::once("sdk='1.1'\n".to_owned()).chain((0..1500).map(function)).collect();
    let start = Instant::now();
    assert!(read_among(&scripts, text.as_bytes()).is_err());
    assert!(start.elapsed() < SOON, "{:?}", start.elapsed());
}

#[test]
fn unnamed_scripts_beyond_a_thousand_are_counted() {
    let scripts: BTreeSet<String> = (0..1500).map(|number| format!("{number}.rhai")).collect();
    let warnings = read_among(&scripts, b"sdk='1.1'").unwrap().warnings;
    assert_eq!((warnings.iter().count(), warnings.warnings()), (Diagnostics::KEPT_MAX, 1500));
}

#[test]
fn more_entries_than_are_read_are_refused() {
    let text = format!("sdk='1.1'\n{}", "[[routes]]\n".repeat(2001));
    let diagnostics = read(text.as_bytes()).unwrap_err().diagnostics;
    assert_eq!(diagnostics.iter().next().unwrap().message, "`routes` has 2001 entries, more than 2000");
}

/// What holds of whatever comes out.
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
    fn any_bytes_are_a_manifest_or_faults(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        check(&bytes)?;
    }

    #[test]
    fn any_text_of_toml_like_pieces_is_a_manifest_or_faults(
        pieces in prop::collection::vec(prop::sample::select(vec![
            "[", "]", "{", "}", "=", ".", ",", "\n", "\"", "'", "\"\"\"", "#", "\\", " ", "1", "sdk", "\"1.1\"", "[[routes]]\n",
            "[limits]\n", "path", "methods", "script", "[[schedules]]\n", "cron", "\"* * * * *\"", "timeout", "ü", "\r\n", "true", "[app]",
        ]), 0..60),
    ) {
        check(pieces.concat().as_bytes())?;
    }

    #[test]
    fn any_damage_to_a_whole_manifest_is_a_manifest_or_faults(
        from in 0..WHOLE.len(), length in 0..12usize, with in "[\\[\\]{}=\".a0\\n#'-]{0,3}",
    ) {
        let mut damaged = WHOLE.to_owned();
        damaged.replace_range(from..(from + length).min(WHOLE.len()), &with);
        check(damaged.as_bytes())?;
    }
}
