//! `picloud restore`: a database from a backup.

use std::fs::File;
use std::io;
use std::path::Path;
use std::time::Instant;

use store::backup::{Contents, Restoring, restore as restore_from};
use store::scratch::ScratchFolder;

use super::backup::STANDARD;
use super::backup_error::NotRestored;
use super::error::{CommandError, VerbError};
use super::output::print;
use super::stop_signals::StopSignals;
use crate::cli::RestoreOptions;
use crate::data_folder;
use crate::node::StartError;
use crate::progress::Progress;
use crate::settings::Storage;
use crate::words;
use platform::executor::threads::main_runtime;

pub(crate) fn restore(options: &RestoreOptions, storage: &Storage) -> Result<(), CommandError> {
    let began = Instant::now();
    let contents = if options.file == Path::new(STANDARD) {
        // It is looked at from its beginning to its end before anything of it is taken.
        let folder = ScratchFolder::new().map_err(NotRestored::Pass)?;
        let file = folder.path().join("backup");
        let mut copy = File::create_new(&file).map_err(NotRestored::Pass)?;
        io::copy(&mut io::stdin().lock(), &mut copy).map_err(NotRestored::Pass)?;
        read(options, storage, &file)?
    } else {
        read(options, storage, &options.file)?
    };
    let held = !options.run_schedules;
    print(words::backup::restored(&contents, &storage.location(), began.elapsed(), held))
}

fn read(options: &RestoreOptions, storage: &Storage, file: &Path) -> Result<Contents, CommandError> {
    let into = storage.location();
    if let store::Location::Sqlite(_) = &into {
        data_folder::make_private(&storage.data_dir)?;
    }
    let how = Restoring { replace: options.replace, run_schedules: options.run_schedules };
    let _restoring = Progress::of("restoring");
    main_runtime().map_err(StartError::from)?.block_on(async {
        let mut signals = StopSignals::new();
        tokio::select! {
            restored = restore_from(file, &into, how) => Ok(restored.map_err(NotRestored::Restore)?),
            () = signals.next() => Err(VerbError::Stopped.into()),
        }
    })
}
