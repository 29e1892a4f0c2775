//! `picloud backup`: the whole platform in one file.

use std::fs::File;
use std::io::{self, IsTerminal as _};
use std::path::{Path, PathBuf};
use std::time::Instant;

use chrono::{NaiveDateTime, Utc};
use store::backup::{Contents, back_up, note_backup};
use store::scratch::ScratchFolder;

use super::backup_error::NotBackedUp;
use super::error::{CommandError, VerbError};
use super::output::print;
use super::stop_signals::StopSignals;
use crate::cli::BackupOptions;
use crate::data_folder;
use crate::node::StartError;
use crate::progress::Progress;
use crate::settings::Storage;
use crate::words;
use platform::executor::threads::main_runtime;

/// The name of standard output and standard input.
pub(super) const STANDARD: &str = "-";

pub(crate) fn backup(options: &BackupOptions, storage: &Storage) -> Result<(), CommandError> {
    let began = Instant::now();
    if let Some(keep) = options.keep {
        let file = dated(&options.file)?;
        let contents = write(options, storage, &file)?;
        note(storage, &contents);
        let removed = remove_older(&options.file, keep as usize)
            .map_err(|source| NotBackedUp::Folder { path: options.file.clone(), source })?;
        return print(
            words::backup::made(&file, &contents, began.elapsed()) + words::backup::removed(removed).as_str(),
        );
    }
    if options.file != Path::new(STANDARD) {
        let contents = write(options, storage, &options.file)?;
        note(storage, &contents);
        return print(words::backup::made(&options.file, &contents, began.elapsed()));
    }
    let mut output = io::stdout().lock();
    if output.is_terminal() {
        return Err(NotBackedUp::Terminal.into());
    }
    // SQLite writes here and there; it is sent on when it is whole.
    let folder = ScratchFolder::new().map_err(NotBackedUp::Pass)?;
    let file = folder.path().join("backup");
    let contents = write(options, storage, &file)?;
    File::open(file).and_then(|mut file| io::copy(&mut file, &mut output)).map_err(NotBackedUp::Pass)?;
    note(storage, &contents);
    Ok(())
}

/// Notes in the database that there is a backup, for `picloud status`. It is as good where that cannot be noted, as in a
/// standby that is only read.
fn note(storage: &Storage, contents: &Contents) {
    let location = storage.location();
    let Ok(threads) = main_runtime() else { return };
    if let Err(error) = threads.block_on(note_backup(&location, contents.made_at)) {
        eprintln!(
            "warning: {}; picloud status goes on counting from the one before",
            words::with_causes(&error)
        );
    }
}

fn write(options: &BackupOptions, storage: &Storage, file: &Path) -> Result<Contents, CommandError> {
    let from = storage.location();
    let _backing_up = Progress::of("backing up");
    main_runtime().map_err(StartError::from)?.block_on(async {
        let mut signals = StopSignals::new();
        tokio::select! {
            made = back_up(&from, file, options.replace) => Ok(made.map_err(NotBackedUp::Backup)?),
            () = signals.next() => Err(VerbError::Stopped.into()),
        }
    })
}

/// How the files of a folder of backups are named, the newest last in the order of names: to the millisecond, and by earlier versions to the
/// second.
const DATED: (&str, [&str; 2], &str) = ("picloud-", ["%Y%m%dT%H%M%S%.3fZ", "%Y%m%dT%H%M%SZ"], ".picloud");

/// A file in `folder`, which is made where it is not there, named by the time.
fn dated(folder: &Path) -> Result<PathBuf, CommandError> {
    data_folder::make(folder)?;
    let (front, [time, _], end) = DATED;
    Ok(folder.join(format!("{front}{}{end}", Utc::now().format(time))))
}

/// Removes all but the newest `keep` of what was named so. Returns how many went. What is named by a time to come is of a clock that
/// was wrong, then or now: it takes nobody's place, and stays.
fn remove_older(folder: &Path, keep: usize) -> io::Result<usize> {
    let ((front, times, end), now) = (DATED, Utc::now().naive_utc());
    let named = |name: &str| {
        let moment = name.strip_prefix(front).and_then(|name| name.strip_suffix(end));
        let moment = moment.and_then(|moment| {
            times.iter().find_map(|time| NaiveDateTime::parse_from_str(moment, time).ok())
        });
        moment.is_some_and(|moment| moment <= now)
    };
    let entries = std::fs::read_dir(folder)?.map(|entry| entry.map(|entry| entry.file_name()));
    let mut names: Vec<_> = entries.collect::<io::Result<_>>()?;
    names.retain(|name| name.to_str().is_some_and(named));
    names.sort_unstable();
    let older = names.len().saturating_sub(keep);
    names[..older].iter().try_for_each(|name| std::fs::remove_file(folder.join(name)))?;
    Ok(older)
}
