//! `picloud backup`: the whole platform in one file.

use std::fs::File;
use std::io::{self, IsTerminal as _};
use std::path::Path;
use std::time::Instant;

use store::backup::{Contents, back_up};

use super::{CommandError, print};
use crate::cli::BackupOptions;
use crate::commands::serve::StopSignals;
use crate::node::threads;
use crate::progress::Progress;
use crate::words;

/// The name of standard output and standard input.
pub(super) const STANDARD: &str = "-";

pub(crate) fn backup(options: &BackupOptions) -> Result<(), CommandError> {
    let began = Instant::now();
    if options.file != Path::new(STANDARD) {
        let contents = write(options, &options.file)?;
        return print(words::backup::made(&options.file, &contents, began.elapsed()));
    }
    let mut output = io::stdout().lock();
    if output.is_terminal() {
        return Err(CommandError::Terminal);
    }
    // SQLite writes here and there; it is sent on when it is whole.
    let folder = tempfile::tempdir().map_err(CommandError::Pass)?;
    let file = folder.path().join("backup");
    write(options, &file)?;
    File::open(file).and_then(|mut file| io::copy(&mut file, &mut output)).map_err(CommandError::Pass)?;
    Ok(())
}

fn write(options: &BackupOptions, file: &Path) -> Result<Contents, CommandError> {
    let from = options.place.location();
    let _backing_up = Progress::of("backing up");
    threads()?.block_on(async {
        let mut signals = StopSignals::new();
        tokio::select! {
            made = back_up(&from, file, options.replace) => made.map_err(CommandError::Backup),
            () = signals.next() => Err(CommandError::Stopped),
        }
    })
}
