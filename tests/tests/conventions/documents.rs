//! `docs/install.md` is tested: `tests/document-inside` runs its indented lines section by section, and code in its
//! sentences is a tested command or an existing message.

use std::fs;

use super::{read, root, rust_files};

const DOCUMENT: &str = "docs/install.md";
const RUNNER: &str = "tests/document-inside";

/// Programs that commands begin with.
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

/// The crates with user-visible messages.
const CRATES_WITH_MESSAGES: [&str; 4] = ["picloud", "platform", "store", "git-receiver"];

/// The headings of sections with indented lines.
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

/// The code spans in sentences and tables.
fn quoted(document: &str) -> Vec<String> {
    let sentences = document.lines().filter(|line| !line.starts_with("    "));
    let spans = sentences.flat_map(|line| line.split('`').skip(1).step_by(2));
    // Tables escape `|`.
    spans.map(|span| span.replace("\\|", "|")).collect()
}

fn is_command(span: &str) -> bool {
    span.split_once(' ').is_some_and(|(program, _)| PROGRAMS.contains(&program))
}

/// The messages in the troubleshooting table, split at `…`.
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

/// The source code of the crates, with the line continuations of string literals removed.
fn program_strings() -> String {
    let files = CRATES_WITH_MESSAGES.iter().flat_map(|name| rust_files(&root().join(name).join("src")));
    let text: String = files.map(|path| fs::read_to_string(path).expect("code")).collect();
    text.replace("\\`", "`").split('\\').map(str::trim_start).collect()
}

#[test]
fn sections_of_the_installation_are_tested() {
    let (document, runner) = (read(DOCUMENT), read(RUNNER));
    let sections = sections_with_commands(&document);
    assert!(sections.len() > 5, "{sections:?}");
    for section in sections {
        let followed = format!("\nfollow '{section}'\n");
        assert!(runner.contains(&followed), "{RUNNER} does not follow `## {section}` of {DOCUMENT}");
    }
}

#[test]
fn commands_in_sentences_are_tested() {
    let document = read(DOCUMENT);
    let indented: String = document.lines().filter(|line| line.starts_with("    ")).collect();
    let run = [read(RUNNER), read("tests/package"), read("Makefile"), indented].concat();
    let commands: Vec<String> = quoted(&document).into_iter().filter(|span| is_command(span)).collect();
    assert!(commands.len() > 4, "{commands:?}");
    for command in commands {
        let production_code =
            command.strip_prefix("make ").map_or(command.clone(), |target| format!("\n{target}:"));
        assert!(
            run.contains(&production_code),
            "{DOCUMENT} has the command `{command}`, which {RUNNER} does not run"
        );
    }
}

#[test]
fn quoted_messages_exist_in_the_program() {
    let (messages, strings) = (messages(&read(DOCUMENT)), program_strings());
    assert!(messages.len() > 7, "{messages:?}");
    for message in messages {
        assert!(strings.contains(&message), "{DOCUMENT} quotes `{message}`, which is not in the program");
    }
}

/// Code spans that look like test names: lower case with three underscores or more.
fn test_names(document: &str) -> Vec<String> {
    let is_name = |span: &String| {
        span.matches('_').count() > 2 && span.bytes().all(|byte| byte == b'_' || byte.is_ascii_lowercase())
    };
    quoted(document).into_iter().filter(is_name).collect()
}

#[test]
fn tests_named_in_the_threat_model_exist() {
    let names = test_names(&read("docs/security.md"));
    assert!(names.len() > 40, "{names:?}");
    let files =
        ["tests/tests", "git-receiver/tests", "runtime/tests"].map(|name| rust_files(&root().join(name)));
    let code: String =
        files.into_iter().flatten().map(|path| fs::read_to_string(path).expect("code")).collect();
    for name in names {
        assert!(
            code.contains(&format!("fn {name}(")),
            "docs/security.md names the test `{name}`, which does not exist"
        );
    }
}

#[test]
fn sections_commands_and_messages_are_extracted() {
    let document = "## One\n\n    git push\n    ls\n\nSay `sudo rm x` or `x`.\n\n## Two\n\ntext\n\n## Three\n\n    \
                    ls\n\n| `cannot … it; a \\| b` | x |\n";
    assert_eq!(sections_with_commands(document), ["One", "Three"]);
    assert_eq!(quoted(document), ["sudo rm x", "x", "cannot … it; a | b"]);
    assert_eq!(test_names("`a_b_c_d` `a_b_c` `--a_b_c_d`"), ["a_b_c_d"]);
    assert!(is_command("sudo rm x") && !is_command("x") && !is_command("sudo"));
    assert_eq!(messages(document), ["cannot", "it; a \\| b"]);
}
