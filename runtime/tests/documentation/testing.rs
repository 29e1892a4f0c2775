//! `docs/testing.md` and `docs/checks.md`: their examples hold, and what they call a claim is one.

use runtime::notation::{self, Dialect, Notation};

use super::{Call, SdkVersion, accepts, blocks, holds_in, read, root, script, statements};

const TESTING: &str = "docs/testing.md";
const CHECKS: &str = "docs/checks.md";

#[test]
fn examples_of_testing_hold() {
    let mut held = 0;
    for (line, example) in blocks(&read(&root().join(TESTING)), "rhai") {
        let place = format!("{TESTING}:{line}");
        assert!(!statements(&place, &example).is_empty(), "{place}: no claims");
        // What the text around the example says: the route of the app, and the library.
        let base = Call {
            sdk: SdkVersion::V1_3,
            libraries: vec![("lib/math.rhai", "fn double(n) { n * 2 }")],
            ..script(&format!("{example}// route /greet/{{name}}\n// sdk 1.3\n"))
        };
        holds_in(&base, &place);
        held += 1;
    }
    assert!(held >= 2, "{held}");
}

#[test]
fn manifests_of_checks_are_accepted() {
    let before = "sdk = \"1.3\"\n[secrets]\nrequired = [\"GITHUB_SECRET\"]\n[[routes]]\npath = \"/hook\"\n\
                  methods = [\"POST\"]\nscript = \"hook.rhai\"\n";
    let manifests = blocks(&read(&root().join(CHECKS)), "toml");
    assert!(manifests.len() >= 2);
    for (line, manifest) in manifests {
        accepts(&format!("{CHECKS}:{line}"), &manifest, before);
    }
}

/// A section of `docs/testing.md`.
fn section(heading: &str) -> String {
    let document = read(&root().join(TESTING));
    let (_, rest) = document.split_once(&format!("\n## {heading}\n")).unwrap();
    rest.split("\n## ").next().unwrap().to_owned()
}

/// The first words in backticks of each row of a table.
fn rows(section: &str) -> Vec<String> {
    let lines = section.lines().filter_map(|line| line.strip_prefix("| `"));
    lines.map(|line| line.split('`').next().unwrap().to_owned()).collect()
}

/// A line in a file of tests with code, or in a script, behind `before`.
fn parsed(before: &str, line: &str, dialect: Dialect) -> Notation {
    notation::parse("a.rhai", &format!("1;\n{before}// {line}\n"), dialect)
}

#[test]
fn what_testing_calls_a_line_of_the_notation_is_one() {
    let claim = "// GET / => 200\n";
    let mut lines = 0;
    for (heading, before) in [("Claims", ""), ("After a claim", claim), ("Settings", "")] {
        for line in rows(&section(heading)) {
            let expected = if before.is_empty() { 1 } else { 2 };
            let is_one = [Dialect::Script, Dialect::TestFile].into_iter().any(|dialect| {
                let notation = parsed(before, &line, dialect);
                notation.errors.is_empty() && notation.statements.len() == expected
            });
            assert!(is_one, "{heading}: {line}");
            lines += 1;
        }
    }
    assert!(lines >= 15, "{lines}");
}

#[test]
fn what_testing_calls_prose_or_wrong_is_that() {
    let section = section("What is not a claim");
    let of = |begin: &str| -> Vec<String> {
        let line = section.lines().find(|line| line.starts_with(begin)).unwrap();
        let words = line.split('`').skip(1).step_by(2).filter(|words| words.contains(' '));
        words.map(str::to_owned).collect()
    };
    let (prose, wrong) = (of("In a script, "), of("What is clearly meant"));
    assert_eq!((prose.len(), wrong.len()), (3, 2), "{prose:?} {wrong:?}");
    for line in prose {
        let notation = parsed("", &line, Dialect::Script);
        assert!(notation.statements.is_empty() && notation.errors.is_empty(), "{line}: {notation:?}");
    }
    for line in wrong {
        assert_eq!(parsed("", &line, Dialect::Script).errors.len(), 1, "{line}");
    }
}
