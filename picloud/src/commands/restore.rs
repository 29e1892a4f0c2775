//! `picloud restore`: fills a database from a backup.

use std::fs::File;
use std::io;
use std::path::Path;
use std::time::Instant;

use store::backup::{BackupInfo, RestoreMode, restore as restore_from};
use store::scratch::ScratchDir;

use super::backup::STDIO;
use super::backup_error::RestoreCommandError;
use super::error::{CommandError, IoError};
use super::output::print;
use super::stop_signals::StopSignals;
use crate::cli::RestoreArgs;
use crate::data_folder;
use crate::node::StartError;
use crate::progress::Progress;
use crate::render;
use crate::settings::Storage;
use platform::executor::threads::main_runtime;

pub(crate) fn restore(options: &RestoreArgs, storage: &Storage) -> Result<(), CommandError> {
    let began = Instant::now();
    let contents = if options.file == Path::new(STDIO) {
        // The backup is read twice: it is validated completely before it is restored.
        let folder = ScratchDir::new().map_err(RestoreCommandError::Stdin)?;
        let file = folder.path().join("backup");
        let mut copy = File::create_new(&file).map_err(RestoreCommandError::Stdin)?;
        io::copy(&mut io::stdin().lock(), &mut copy).map_err(RestoreCommandError::Stdin)?;
        read(options, storage, &file)?
    } else {
        read(options, storage, &options.file)?
    };
    let held = !options.run_schedules;
    print(render::backup::restored(&contents, &storage.location(), began.elapsed(), held))
}

fn read(options: &RestoreArgs, storage: &Storage, file: &Path) -> Result<BackupInfo, CommandError> {
    let into = storage.location();
    if let store::Location::Sqlite(_) = &into {
        data_folder::create_private(&storage.data_dir)?;
    }
    let how = RestoreMode { replace: options.replace, run_schedules: options.run_schedules };
    let _progress = Progress::start("restoring");
    main_runtime().map_err(StartError::from)?.block_on(async {
        let mut signals = StopSignals::new();
        tokio::select! {
            restored = restore_from(file, &into, how) => Ok(restored.map_err(RestoreCommandError::Restore)?),
            () = signals.next() => Err(IoError::Interrupted.into()),
        }
    })
}
