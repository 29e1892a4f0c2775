//! The workflows in `.github` pass the linter.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use super::root;

fn lint(files: &[PathBuf]) -> (bool, String) {
    let output = Command::new("node")
        .arg(root().join("tests/workflows/lint.mjs"))
        .arg(root().join("target/workflows-node/node_modules"))
        .args(files)
        .output()
        .expect("`make setup` installs node");
    (output.status.success(), String::from_utf8_lossy(&output.stderr).into_owned())
}

#[test]
fn workflows_pass_the_linter() {
    let folder = fs::read_dir(root().join(".github/workflows")).expect("workflows");
    let files: Vec<PathBuf> = folder.map(|entry| entry.expect("a file").path()).collect();
    assert!(files.len() >= 3, "{files:?}");
    let (passed, said) = lint(&files);
    assert!(passed, "{said}");
}

#[test]
fn linter_finds_an_error_in_a_workflow() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("test.yml");
    fs::write(&file, "on: push\njobs:\n  test:\n    runs-on: ubuntu-latest\n    steps:\n      - run: echo ${{ github.nope }}\n").expect("a file");
    let (passed, said) = lint(&[file]);
    assert!(!passed && said.contains("property \"nope\" is not defined"), "{said}");
}
