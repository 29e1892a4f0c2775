//! `docs/install.md` says nothing that no test does: its indented lines are run by `tests/document-inside`, section by section,
//! and what its sentences quote is either a command that is run there, or a message that the program prints.

use std::fs;

use super::{read, root, rust_files};

const DOCUMENT: &str = "docs/install.md";
const RUNNER: &str = "tests/document-inside";

/// The programs whose names begin a command.
const PROGRAMS: [&str; 12] = [
    "apt",
    "curl",
    "df",
    "git",
    "journalctl",
    "make",
    "openssl",
    "picloud",
    "printf",
    "rustup",
    "sudo",
    "systemctl",
];

/// The crates whose words people read.
const SPEAKING: [&str; 4] = ["picloud", "platform", "store", "git-receiver"];

/// The headings under which there are indented lines.
fn sections_with_commands(document: &str) -> Vec<&str> {
    let mut heading = "";
    let mut found = Vec::new();
    for line in document.lines() {
        if let Some(next) = line.strip_prefix("## ") {
            heading = next;
        } else if line.starts_with("    ") && found.last() != Some(&heading) {
            found.push(heading);
        }
    }
    found
}

/// What stands between backticks in sentences and tables.
fn quoted(document: &str) -> Vec<String> {
    let sentences = document.lines().filter(|line| !line.starts_with("    "));
    let spans = sentences.flat_map(|line| line.split('`').skip(1).step_by(2));
    // In a table a bar is escaped.
    spans.map(|span| span.replace("\\|", "|")).collect()
}

fn is_command(span: &str) -> bool {
    span.split_once(' ').is_some_and(|(program, _)| PROGRAMS.contains(&program))
}

/// The messages of the table of what can be wrong, in the pieces between what varies.
fn messages(document: &str) -> Vec<String> {
    let rows = document.lines().filter(|line| line.starts_with("| `"));
    let cells = rows.filter_map(|row| row.split(" | ").next());
    cells
        .flat_map(|cell| cell.split('`').skip(1).step_by(2))
        .flat_map(|message| message.split('…'))
        .map(|piece| piece.trim().to_owned())
        .filter(|piece| !piece.is_empty())
        .collect()
}

/// All that the crates may say, with the breaks of long literals taken out.
fn words_of_the_program() -> String {
    let files = SPEAKING.iter().flat_map(|name| rust_files(&root().join(name).join("src")));
    let text: String = files.map(|path| fs::read_to_string(path).expect("code")).collect();
    text.replace("\\`", "`").split('\\').map(str::trim_start).collect()
}

#[test]
fn every_section_of_the_installation_is_followed_by_a_test() {
    let (document, runner) = (read(DOCUMENT), read(RUNNER));
    let sections = sections_with_commands(&document);
    assert!(sections.len() > 5, "{sections:?}");
    for section in sections {
        let followed = format!("\nfollow '{section}'\n");
        assert!(runner.contains(&followed), "{RUNNER} does not follow `## {section}` of {DOCUMENT}");
    }
}

#[test]
fn every_command_in_its_sentences_is_run_by_a_test() {
    let document = read(DOCUMENT);
    let indented: String = document.lines().filter(|line| line.starts_with("    ")).collect();
    let run = [read(RUNNER), read("tests/package"), read("Makefile"), indented].concat();
    let commands: Vec<String> = quoted(&document).into_iter().filter(|span| is_command(span)).collect();
    assert!(commands.len() > 4, "{commands:?}");
    for command in commands {
        let bare = command.strip_prefix("make ").map_or(command.clone(), |target| format!("\n{target}:"));
        assert!(run.contains(&bare), "{DOCUMENT} speaks of `{command}`, which {RUNNER} does not run");
    }
}

#[test]
fn its_messages_are_those_of_the_program() {
    let (messages, words) = (messages(&read(DOCUMENT)), words_of_the_program());
    assert!(messages.len() > 7, "{messages:?}");
    for message in messages {
        assert!(words.contains(&message), "{DOCUMENT} quotes `{message}`, which no part of the program says");
    }
}

/// Names of tests: words in small letters with three underscores or more.
fn names_of_tests(document: &str) -> Vec<String> {
    let is_name = |span: &String| {
        span.matches('_').count() > 2 && span.bytes().all(|byte| byte == b'_' || byte.is_ascii_lowercase())
    };
    quoted(document).into_iter().filter(is_name).collect()
}

#[test]
fn every_test_that_the_threats_name_exists() {
    let names = names_of_tests(&read("docs/security.md"));
    assert!(names.len() > 40, "{names:?}");
    let files =
        ["tests/tests", "git-receiver/tests", "runtime/tests"].map(|name| rust_files(&root().join(name)));
    let code: String =
        files.into_iter().flatten().map(|path| fs::read_to_string(path).expect("code")).collect();
    for name in names {
        assert!(code.contains(&format!("fn {name}(")), "docs/security.md names `{name}`, which is no test");
    }
}

#[test]
fn what_is_not_followed_is_noticed() {
    let document = "## One\n\n    git push\n    ls\n\nSay `sudo rm x` or `x`.\n\n## Two\n\ntext\n\n## Three\n\n    \
                    ls\n\n| `cannot … it; a \\| b` | x |\n";
    assert_eq!(sections_with_commands(document), ["One", "Three"]);
    assert_eq!(quoted(document), ["sudo rm x", "x", "cannot … it; a | b"]);
    assert_eq!(names_of_tests("`a_b_c_d` `a_b_c` `--a_b_c_d`"), ["a_b_c_d"]);
    assert!(is_command("sudo rm x") && !is_command("x") && !is_command("sudo"));
    assert_eq!(messages(document), ["cannot", "it; a \\| b"]);
}
