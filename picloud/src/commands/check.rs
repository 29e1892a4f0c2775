//! `picloud check`: the validation of a push on a folder, without a server.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use manifest_schema::fault::{Fault, Severity};
use manifest_schema::limits::Limits;
use platform::deploy::{Checked, File, Snapshot, check as validate};

use crate::words::{count, fault, with_causes};

/// The most files that are looked at; a server takes no more either.
const FILES_MAX: usize = 20_000;

/// The largest manifest or script that is read, in bytes.
const FILE_BYTES_MAX: u64 = 1024 * 1024;

#[derive(Debug, thiserror::Error)]
enum ReadError {
    #[error("cannot read {}", path.display())]
    Read { path: PathBuf, source: io::Error },
    #[error("{} holds more than {FILES_MAX} files; is it the folder of an app?", .0.display())]
    TooMany(PathBuf),
}

pub(crate) fn check(folder: &Path) -> ExitCode {
    let snapshot = match read(folder) {
        Ok(snapshot) => snapshot,
        Err(error) => {
            eprintln!("error: {}", with_causes(&error));
            return ExitCode::FAILURE;
        }
    };
    match validate(&snapshot, &Limits::CEILING) {
        Ok(checked) => {
            print(&checked.warnings);
            println!("success: {}", summary(&checked));
            ExitCode::SUCCESS
        }
        Err(faults) => {
            print(&faults);
            let errors: Vec<_> = faults.iter().filter(|fault| fault.severity == Severity::Error).collect();
            let files: BTreeSet<_> = errors.iter().map(|fault| &fault.file).collect();
            println!("error: {} in {}", count(errors.len(), "problem"), count(files.len(), "file"));
            ExitCode::FAILURE
        }
    }
}

fn print(faults: &[Fault]) {
    faults.iter().for_each(|found| println!("{}", fault::render(found)));
}

fn summary(checked: &Checked) -> String {
    let manifest = &checked.manifest;
    format!(
        "{}, {}, {}, {}, sdk {}",
        count(checked.sources.len(), "script"),
        count(manifest.routes.len(), "route"),
        count(manifest.schedules.len(), "schedule"),
        count(manifest.functions.len(), "function"),
        manifest.sdk
    )
}

/// Reads what a commit of `folder` would hold, apart from what git ignores.
fn read(folder: &Path) -> Result<Snapshot, ReadError> {
    let mut snapshot = Snapshot::default();
    let mut folders = vec![PathBuf::new()];
    while let Some(inside) = folders.pop() {
        let here = folder.join(&inside);
        let failed = |source| ReadError::Read { path: here.clone(), source };
        for entry in fs::read_dir(&here).map_err(failed)? {
            let entry = entry.map_err(failed)?;
            let kind = entry.file_type().map_err(failed)?;
            let path = inside.join(entry.file_name());
            if kind.is_dir() {
                if entry.file_name() != ".git" {
                    folders.push(path);
                }
                continue;
            }
            // A name that is not UTF-8 can be neither the manifest nor a script.
            let name = path.to_string_lossy();
            let file = if !Snapshot::wants(&name) {
                None
            } else if kind.is_symlink() {
                Some(File::Symlink)
            } else {
                Some(contents(&entry.path())?)
            };
            snapshot.add(&name, || file.unwrap_or(File::Symlink));
            if snapshot.files > FILES_MAX {
                return Err(ReadError::TooMany(folder.to_owned()));
            }
        }
    }
    Ok(snapshot)
}

fn contents(path: &Path) -> Result<File, ReadError> {
    let failed = |source| ReadError::Read { path: path.to_owned(), source };
    let size = fs::metadata(path).map_err(failed)?.len();
    if size > FILE_BYTES_MAX {
        return Ok(File::TooLarge(size));
    }
    fs::read(path).map(File::Bytes).map_err(failed)
}
