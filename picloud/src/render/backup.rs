//! Messages of `picloud backup` and `picloud restore`.

use std::path::Path;
use std::time::Duration;

use chrono::SecondsFormat;
use store::Location;
use store::backup::BackupInfo;

use super::schedules::RESUME_ALL;
use super::{count, printable, size};

/// A backup was written.
pub(crate) fn written(file: &Path, contents: &BackupInfo, took: Duration) -> String {
    format!(
        "{}: {}, {}, from {} in {:.1} s\n",
        printable(&file.display().to_string()),
        amounts(contents),
        size(contents.bytes),
        printable(&contents.database),
        took.as_secs_f64()
    )
}

/// Older backups were removed.
pub(crate) fn removed(older: usize) -> String {
    if older == 0 { String::new() } else { format!("removed {}\n", count(older, "older backup")) }
}

/// A backup was restored.
pub(crate) fn restored(contents: &BackupInfo, into: &Location, took: Duration, held: bool) -> String {
    let schedules = match held {
        true => format!("schedules are held until  {RESUME_ALL}  (use --run-schedules to run them)\n"),
        false => "schedules run when a node starts\n".to_owned(),
    };
    format!(
        "restored {} into {}, from a backup of PiCloud {} with {} at {}, in {:.1} s\n{schedules}",
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

fn amounts(contents: &BackupInfo) -> String {
    let amount = |number: u64, thing| count(usize::try_from(number).unwrap_or(usize::MAX), thing);
    format!(
        "{}, {}, {}",
        amount(contents.apps, "app"),
        amount(contents.deploys, "deploy"),
        amount(contents.objects, "object")
    )
}
