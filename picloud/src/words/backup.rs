//! What is said of backups.

use std::path::Path;
use std::time::Duration;

use chrono::SecondsFormat;
use store::backup::{BackupError, Contents, RestoreError};
use store::{Location, OpenError};

use super::schedules::RESUME_ALL;
use super::{count, printable, size, with_causes};

/// A backup was made.
pub(crate) fn made(file: &Path, contents: &Contents, took: Duration) -> String {
    format!(
        "{}: {}, {}, from {} in {:.1} s\n",
        printable(&file.display().to_string()),
        amounts(contents),
        size(contents.bytes),
        printable(&contents.database),
        took.as_secs_f64()
    )
}

/// Older ones went.
pub(crate) fn removed(older: usize) -> String {
    if older == 0 { String::new() } else { format!("removed {}\n", count(older, "older backup")) }
}

/// A backup was restored.
pub(crate) fn restored(contents: &Contents, into: &Location, took: Duration, held: bool) -> String {
    let schedules = match held {
        true => format!(
            "schedules are held: none runs by the clock until  {RESUME_ALL}  (a restore with --run-schedules leaves them running)\n"
        ),
        false => "schedules run by the clock as soon as a node starts\n".to_owned(),
    };
    format!(
        "restored {} into {}, as PiCloud {} found them in {} at {}, in {:.1} s\n{schedules}",
        amounts(contents),
        match into {
            Location::Postgres(_) => "PostgreSQL".to_owned(),
            Location::Sqlite(path) => format!("SQLite in {}", printable(&path.display().to_string())),
        },
        printable(&contents.version),
        printable(&contents.database),
        contents.made_at.to_rfc3339_opts(SecondsFormat::Secs, true),
        took.as_secs_f64()
    )
}

fn amounts(contents: &Contents) -> String {
    let amount = |number: u64, thing| count(usize::try_from(number).unwrap_or(usize::MAX), thing);
    format!(
        "{}, {}, {}",
        amount(contents.apps, "app"),
        amount(contents.deploys, "deploy"),
        amount(contents.objects, "object")
    )
}

/// A backup was not made.
pub(crate) fn not_made(error: &BackupError) -> String {
    let advice = match error {
        BackupError::Exists(_) => "; add --replace to put a newer backup in its place",
        BackupError::SomethingElse(_) => ", and is left as it is",
        BackupError::Nothing => "; are --data-dir and DATABASE_URL those of the node?",
        BackupError::Older { .. } => {
            "; back it up with that version, or start this one on it once, which brings it up to date"
        }
        BackupError::Note(_) => "; picloud status goes on counting from the one before",
        BackupError::Open(_)
        | BackupError::Read(_)
        | BackupError::Write { .. }
        | BackupError::File { .. } => "",
    };
    with_causes(error) + advice
}

/// A backup was not restored.
pub(crate) fn not_restored(error: &RestoreError) -> String {
    let advice = match error {
        RestoreError::NoBackup(_) => "; nothing was changed",
        RestoreError::Damaged { .. } => "; nothing was changed, take another one",
        RestoreError::Newer { .. } => "; nothing was changed, restore it with that version or a later one",
        RestoreError::NotEmpty { apps } => {
            let apps = count(usize::try_from(*apps).unwrap_or(usize::MAX), "app");
            return format!(
                "there {} {apps} in the database; nothing was changed, add --replace to put the backup in the place of \
                 everything that is there",
                if apps.starts_with("1 ") { "is" } else { "are" }
            );
        }
        RestoreError::InUse { .. } => "; stop the node that works with it, and restore again",
        RestoreError::Open(OpenError::Newer { .. }) => "",
        RestoreError::File { .. } | RestoreError::Open(_) | RestoreError::Database(_) => {
            "; nothing was changed"
        }
    };
    with_causes(error) + advice
}
