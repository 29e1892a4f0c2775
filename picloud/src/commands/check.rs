//! `picloud check`: the validation of a push on a folder, without a server.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use manifest_schema::limits::Limits;
use platform::deploy::{Checked, FILE_MAX, File, Snapshot, check as validate};

use super::{CommandError, print};
use crate::words::{count, fault};

/// The most files that are looked at; a server takes no more either.
const FILES_MAX: usize = 20_000;

/// Why a folder cannot be checked.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ReadError {
    #[error("cannot read {}", path.display())]
    Read { path: PathBuf, source: io::Error },
    #[error("{} holds more than {FILES_MAX} files; is it the folder of an app?", .0.display())]
    TooMany(PathBuf),
}

/// How the verdict is given.
#[derive(Clone, Copy)]
pub(crate) enum Form {
    /// For people: each fault with its line and a caret.
    Text,
    /// For editors and CI: one JSON object, see [`fault::to_json`].
    Json,
}

pub(crate) fn check(folder: &Path, form: Form) -> Result<ExitCode, CommandError> {
    let snapshot = read(folder)?;
    let (faults, done) = match validate(&snapshot, &Limits::CEILING) {
        Ok(checked) => (checked.warnings.clone(), Some(summary(&checked))),
        Err(faults) => (faults, None),
    };
    let text = match form {
        Form::Json => format!("{}\n", fault::to_json(&faults)),
        Form::Text => {
            let problems = || fault::problems(faults.errors(), faults.errors_by_file().len());
            let last = match &done {
                Some(summary) => format!("success: {summary}\n"),
                None => format!("error: {}\n", problems()),
            };
            fault::list(&faults, fault::SHOWN_MAX) + last.as_str()
        }
    };
    print(&text)?;
    Ok(if done.is_some() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
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
            // git keeps no pipes, sockets and devices.
            if !kind.is_file() && !kind.is_symlink() {
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
    if fs::metadata(path).map_err(failed)?.len() > FILE_MAX {
        return Ok(File::TooLarge);
    }
    fs::read(path).map(File::Bytes).map_err(failed)
}
