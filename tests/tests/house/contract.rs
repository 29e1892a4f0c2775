//! The SDK contract changes with its version: `runtime/tests/sdk_contract.rs`, `CONTRACT` in
//! `manifest-schema/src/sdk.rs` and the table of contracts in `docs/versioning.md` move together, and what the table once
//! said of a version it says for ever.

use std::path::Path;
use std::process::Command;

use manifest_schema::sdk::{CONTRACT, SdkVersion};

use super::{read, root};

const FILE: &str = "runtime/tests/sdk_contract.rs";
const TABLE: &str = "docs/versioning.md";

/// How many hexadecimal digits of the file's git object id the table holds.
const DIGITS: usize = 12;

/// A line of the table of contracts.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Row {
    /// `1.1.0`
    version: String,
    /// The first digits of `git hash-object` of the contract file.
    id: String,
}

/// The rows of the table whose first column is headed `contract`.
fn rows(document: &str) -> Vec<Row> {
    let cells = |line: &str| -> Vec<String> {
        line.split('|').map(|cell| cell.trim().trim_matches('`').to_owned()).collect()
    };
    document
        .lines()
        .skip_while(|line| !line.starts_with("| contract |"))
        .skip(2)
        .take_while(|line| line.starts_with('|'))
        .map(cells)
        .map(|cells| Row { version: cells[1].clone(), id: cells[2].clone() })
        .collect()
}

fn numbers(version: &str) -> Option<Vec<u32>> {
    let numbers: Option<Vec<u32>> = version.split('.').map(|number| number.parse().ok()).collect();
    numbers.filter(|numbers| numbers.len() == 3)
}

/// How the rule is broken, if it is: `now` are the rows of the table, `earlier` those of each earlier table, `id` is the
/// contract file's and `contract` the version that the code names.
fn broken(now: &[Row], earlier: &[Vec<Row>], id: &str, contract: &str) -> Option<String> {
    let Some(newest) = now.last() else { return Some(format!("{TABLE} has no table of contracts")) };
    if let Some(row) = now.iter().find(|row| numbers(&row.version).is_none()) {
        return Some(format!("{TABLE}: `{}` is not a version of three numbers", row.version));
    }
    if !now.is_sorted_by(|a, b| numbers(&a.version) < numbers(&b.version)) {
        return Some(format!("{TABLE}: the versions of the contract do not rise from line to line"));
    }
    if let Some(row) = earlier.iter().flatten().find(|row| !now.contains(row)) {
        return Some(format!(
            "{TABLE}: the line of contract {} was changed or taken away; it is history: add a line instead",
            row.version
        ));
    }
    if newest.id != id {
        return Some(format!(
            "{FILE} has changed since contract {}: raise CONTRACT in manifest-schema/src/sdk.rs, and add a line to the \
             table in {TABLE}: | <the new version> | `{id}` | <what changed> |",
            newest.version
        ));
    }
    (newest.version != contract).then(|| {
        format!("the code names contract {contract}, the last line of {TABLE} is {}", newest.version)
    })
}

fn git(arguments: &[&str]) -> String {
    let output = Command::new("git").args(arguments).current_dir(root()).output().expect("git is installed");
    assert!(output.status.success(), "git {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// The rows of every committed state of the table; none where the sources are not a git checkout.
fn history() -> Vec<Vec<Row>> {
    if !Path::new(&root().join(".git")).exists() {
        return Vec::new();
    }
    let commits = git(&["log", "--format=%H", "--", TABLE]);
    commits.lines().map(|commit| rows(&git(&["show", &format!("{commit}:{TABLE}")]))).collect()
}

#[test]
fn the_contract_file_changes_with_the_version_and_a_line_in_the_documents() {
    let id = git(&["hash-object", FILE])[..DIGITS].to_owned();
    assert_eq!(broken(&rows(&read(TABLE)), &history(), &id, CONTRACT), None);
}

#[test]
fn the_contract_is_that_of_the_newest_sdk() {
    assert_eq!(CONTRACT.rsplit_once('.').map(|(sdk, _)| sdk), Some(SdkVersion::NEWEST.as_str()));
    assert_eq!(SdkVersion::ALL.iter().rfind(|version| !version.is_draft()), Some(&SdkVersion::NEWEST));
}

#[test]
fn every_sdk_version_is_in_the_documents() {
    let document = read(TABLE);
    for version in SdkVersion::ALL {
        assert!(document.contains(&format!("| {version} |")), "{version}");
    }
}

#[test]
fn each_way_around_the_rule_is_noticed() {
    let row = |version: &str, id: &str| Row { version: version.to_owned(), id: id.to_owned() };
    let [old, new] = [row("1.1.0", "aaa"), row("1.1.1", "bbb")];
    let landed = [vec![old.clone()]];
    let told = |now: &[Row], id: &str, contract: &str| broken(now, &landed, id, contract).unwrap_or_default();
    assert_eq!(told(&[old.clone(), new.clone()], "bbb", "1.1.1"), "");
    assert_eq!(told(std::slice::from_ref(&old), "aaa", "1.1.0"), "");
    // The file alone, the file and the code, the line's id rewritten in place, the line replaced, a version that falls.
    assert!(told(std::slice::from_ref(&old), "bbb", "1.1.0").contains("has changed since contract 1.1.0"));
    assert!(told(std::slice::from_ref(&old), "bbb", "1.1.1").contains("add a line"));
    assert!(told(&[old.clone(), new.clone()], "bbb", "1.1.0").contains("the code names contract 1.1.0"));
    assert!(told(&[row("1.1.0", "bbb")], "bbb", "1.1.0").contains("was changed or taken away"));
    assert!(told(std::slice::from_ref(&new), "bbb", "1.1.1").contains("was changed or taken away"));
    assert!(told(&[old.clone(), row("1.0.9", "bbb")], "bbb", "1.0.9").contains("do not rise"));
    assert!(told(&[old, row("2", "bbb")], "bbb", "2").contains("three numbers"));
    assert!(told(&[], "bbb", "1.1.0").contains("no table"));
}

#[test]
fn rows_are_read_from_the_table_of_contracts_alone() {
    let document = "| version |\n| --- |\n| 9 |\n\n| contract | file | what |\n| --- | --- | --- |\n| 1.1.0 | `ab` | x |\n\n| 2 |";
    assert_eq!(rows(document), [Row { version: "1.1.0".to_owned(), id: "ab".to_owned() }]);
}
