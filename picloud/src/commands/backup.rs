//! `picloud backup`: writes all data to a file.

use std::fs::File;
use std::io::{self, IsTerminal as _};
use std::path::{Path, PathBuf};
use std::time::Instant;

use chrono::{NaiveDateTime, Utc};
use store::backup::{BackupInfo, back_up, note_backup};
use store::scratch::ScratchDir;

use super::backup_error::BackupCommandError;
use super::error::{CommandError, IoError};
use super::output::print;
use super::stop_signals::StopSignals;
use crate::cli::BackupArgs;
use crate::data_folder;
use crate::node::StartError;
use crate::progress::Progress;
use crate::render;
use crate::settings::Storage;
use platform::executor::threads::main_runtime;

/// The file name for standard output and standard input.
pub(super) const STDIO: &str = "-";

pub(crate) fn backup(options: &BackupArgs, storage: &Storage) -> Result<(), CommandError> {
    let began = Instant::now();
    if let Some(keep) = options.keep {
        let file = timestamped(&options.file)?;
        let contents = write(options, storage, &file)?;
        record(storage, &contents);
        let removed = remove_older(&options.file, keep as usize)
            .map_err(|source| BackupCommandError::Folder { path: options.file.clone(), source })?;
        return print(
            render::backup::written(&file, &contents, began.elapsed())
                + render::backup::removed(removed).as_str(),
        );
    }
    if options.file != Path::new(STDIO) {
        let contents = write(options, storage, &options.file)?;
        record(storage, &contents);
        return print(render::backup::written(&options.file, &contents, began.elapsed()));
    }
    let mut output = io::stdout().lock();
    if output.is_terminal() {
        return Err(BackupCommandError::Terminal.into());
    }
    // SQLite needs a seekable file, which is copied to standard output when it is complete.
    let folder = ScratchDir::new().map_err(BackupCommandError::Stdout)?;
    let file = folder.path().join("backup");
    let contents = write(options, storage, &file)?;
    File::open(file)
        .and_then(|mut file| io::copy(&mut file, &mut output))
        .map_err(BackupCommandError::Stdout)?;
    record(storage, &contents);
    Ok(())
}

/// Records the backup in the database, for `picloud status`. A failure is only a warning: the database can be a read-only
/// standby.
fn record(storage: &Storage, contents: &BackupInfo) {
    let location = storage.location();
    let Ok(threads) = main_runtime() else { return };
    if let Err(error) = threads.block_on(note_backup(&location, contents.made_at)) {
        eprintln!("warning: {}; `picloud status` does not know of this backup", render::with_causes(&error));
    }
}

fn write(options: &BackupArgs, storage: &Storage, file: &Path) -> Result<BackupInfo, CommandError> {
    let from = storage.location();
    let _progress = Progress::start("backing up");
    main_runtime().map_err(StartError::from)?.block_on(async {
        let mut signals = StopSignals::new();
        tokio::select! {
            written = back_up(&from, file, options.replace) => Ok(written.map_err(BackupCommandError::Backup)?),
            () = signals.next() => Err(IoError::Interrupted.into()),
        }
    })
}

/// The prefix, time formats and suffix of backups in a folder. Names sort by time; earlier versions wrote seconds instead of
/// milliseconds.
const TIMESTAMPED: (&str, [&str; 2], &str) =
    ("picloud-", ["%Y%m%dT%H%M%S%.3fZ", "%Y%m%dT%H%M%SZ"], ".picloud");

/// A file in `folder` named by the current time. Creates the folder if missing.
fn timestamped(folder: &Path) -> Result<PathBuf, CommandError> {
    data_folder::create(folder)?;
    let (prefix, [time, _], suffix) = TIMESTAMPED;
    Ok(folder.join(format!("{prefix}{}{suffix}", Utc::now().format(time))))
}

/// Removes all but the newest `keep` timestamped backups and returns how many were removed. Backups with a time in the future are
/// ignored, since a clock was wrong.
fn remove_older(folder: &Path, keep: usize) -> io::Result<usize> {
    let ((prefix, times, suffix), now) = (TIMESTAMPED, Utc::now().naive_utc());
    let is_backup = |name: &str| {
        let timestamp = name.strip_prefix(prefix).and_then(|name| name.strip_suffix(suffix));
        let timestamp = timestamp.and_then(|timestamp| {
            times.iter().find_map(|time| NaiveDateTime::parse_from_str(timestamp, time).ok())
        });
        timestamp.is_some_and(|timestamp| timestamp <= now)
    };
    let entries = std::fs::read_dir(folder)?.map(|entry| entry.map(|entry| entry.file_name()));
    let mut names: Vec<_> = entries.collect::<io::Result<_>>()?;
    names.retain(|name| name.to_str().is_some_and(is_backup));
    names.sort_unstable();
    let older = names.len().saturating_sub(keep);
    names[..older].iter().try_for_each(|name| std::fs::remove_file(folder.join(name)))?;
    Ok(older)
}
