//! A change of the SDK contract needs a new version: `runtime/tests/sdk_contract.rs`, `CONTRACT` in
//! `manifest-schema/src/sdk.rs` and the contract table in `docs/versioning.md` change together, and existing rows of
//! the table never change.

use std::path::Path;
use std::process::Command;

use manifest_schema::sdk::{CONTRACT, SdkVersion};

use super::{read, root};

const FILE: &str = "runtime/tests/sdk_contract.rs";
const TABLE: &str = "docs/versioning.md";

/// The number of hexadecimal digits of the file's git object ID in the table.
const DIGITS: usize = 12;

/// A row of the contract table.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Row {
    /// The contract version, such as `1.1.0`.
    version: String,
    /// The abbreviated `git hash-object` of the contract file.
    id: String,
}

/// The rows of the contract table.
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

/// The violation of the rule, if any. `now` is the current table, `earlier` are all committed tables, `id` is the ID
/// of the contract file, and `contract` the version in the code.
fn violation(now: &[Row], earlier: &[Vec<Row>], id: &str, contract: &str) -> Option<String> {
    let Some(newest) = now.last() else { return Some(format!("{TABLE} has no contract table")) };
    if let Some(row) = now.iter().find(|row| numbers(&row.version).is_none()) {
        return Some(format!("{TABLE}: `{}` is not a version of three numbers", row.version));
    }
    if !now.is_sorted_by(|a, b| numbers(&a.version) < numbers(&b.version)) {
        return Some(format!("{TABLE}: contract versions are not in ascending order"));
    }
    if let Some(row) = earlier.iter().flatten().find(|row| !now.contains(row)) {
        return Some(format!(
            "{TABLE}: the row of contract {} was changed or removed; add a row instead",
            row.version
        ));
    }
    if newest.id != id {
        return Some(format!(
            "{FILE} has changed since contract {}: raise CONTRACT in manifest-schema/src/sdk.rs, and add a row to the \
             table in {TABLE}: | <the new version> | `{id}` | <what changed> |",
            newest.version
        ));
    }
    (newest.version != contract)
        .then(|| format!("CONTRACT is {contract}, but the last row of {TABLE} is {}", newest.version))
}

fn git(arguments: &[&str]) -> String {
    let output = Command::new("git").args(arguments).current_dir(root()).output().expect("git is installed");
    assert!(output.status.success(), "git {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// The rows of every committed version of the table; none outside a git checkout.
fn history() -> Vec<Vec<Row>> {
    if !Path::new(&root().join(".git")).exists() {
        return Vec::new();
    }
    let commits = git(&["log", "--format=%H", "--", TABLE]);
    commits.lines().map(|commit| rows(&git(&["show", &format!("{commit}:{TABLE}")]))).collect()
}

#[test]
fn contract_file_changes_with_version_and_documented_row() {
    let id = git(&["hash-object", FILE])[..DIGITS].to_owned();
    assert_eq!(violation(&rows(&read(TABLE)), &history(), &id, CONTRACT), None);
}

#[test]
fn contract_version_is_of_the_newest_sdk() {
    assert_eq!(CONTRACT.rsplit_once('.').map(|(sdk, _)| sdk), Some(SdkVersion::NEWEST.as_str()));
    assert_eq!(SdkVersion::ALL.iter().rfind(|version| !version.is_draft()), Some(&SdkVersion::NEWEST));
}

#[test]
fn sdk_versions_are_documented() {
    let document = read(TABLE);
    for version in SdkVersion::ALL {
        assert!(document.contains(&format!("| {version} |")), "{version}");
    }
}

#[test]
fn violations_of_the_rule_are_found() {
    let row = |version: &str, id: &str| Row { version: version.to_owned(), id: id.to_owned() };
    let [old, new] = [row("1.1.0", "aaa"), row("1.1.1", "bbb")];
    let earlier = [vec![old.clone()]];
    let violation_of =
        |now: &[Row], id: &str, contract: &str| violation(now, &earlier, id, contract).unwrap_or_default();
    assert_eq!(violation_of(&[old.clone(), new.clone()], "bbb", "1.1.1"), "");
    assert_eq!(violation_of(std::slice::from_ref(&old), "aaa", "1.1.0"), "");
    // Only the file changes; file and code change; the ID of a row changes; a row is replaced; the version decreases.
    assert!(
        violation_of(std::slice::from_ref(&old), "bbb", "1.1.0").contains("has changed since contract 1.1.0")
    );
    assert!(violation_of(std::slice::from_ref(&old), "bbb", "1.1.1").contains("add a row"));
    assert!(violation_of(&[old.clone(), new.clone()], "bbb", "1.1.0").contains("CONTRACT is 1.1.0"));
    assert!(violation_of(&[row("1.1.0", "bbb")], "bbb", "1.1.0").contains("was changed or removed"));
    assert!(violation_of(std::slice::from_ref(&new), "bbb", "1.1.1").contains("was changed or removed"));
    assert!(
        violation_of(&[old.clone(), row("1.0.9", "bbb")], "bbb", "1.0.9").contains("not in ascending order")
    );
    assert!(violation_of(&[old, row("2", "bbb")], "bbb", "2").contains("three numbers"));
    assert!(violation_of(&[], "bbb", "1.1.0").contains("no contract table"));
}

#[test]
fn rows_are_only_read_from_the_contract_table() {
    let document = "| version |\n| --- |\n| 9 |\n\n| contract | file | what |\n| --- | --- | --- |\n| 1.1.0 | `ab` | x |\n\n| 2 |";
    assert_eq!(rows(document), [Row { version: "1.1.0".to_owned(), id: "ab".to_owned() }]);
}
