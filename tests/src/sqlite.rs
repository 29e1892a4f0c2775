//! Access to an embedded database by another program.

use std::path::Path;
use std::process::Command;

/// Runs statements one after the other, and prints one row per line.
const RUN: &str = "
import sqlite3, sys
database = sqlite3.connect(sys.argv[1])
for statement in sys.argv[2:]:
    for row in database.execute(statement):
        print(*row, sep='|')
database.commit()
";

/// Runs statements, and returns one row per line with bars between the columns. Creates a missing file.
///
/// # Panics
/// A statement fails.
pub fn run(file: &Path, statements: &[&str]) -> String {
    // Debian's own Python, which includes SQLite.
    let output = Command::new("/usr/bin/python3")
        .args(["-c", RUN])
        .arg(file)
        .args(statements)
        .output()
        .expect("Python is installed by `make test`");
    assert!(output.status.success(), "{statements:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("UTF-8").trim().to_owned()
}
