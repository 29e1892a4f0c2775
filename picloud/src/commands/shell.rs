//! `picloud completions` and `picloud man`: what a shell and a manual know of the command line.

use std::fs;
use std::path::Path;

use clap_complete::Shell;

use super::error::{CommandError, VerbError};
use super::output::print;
use crate::cli::command;

/// Prints what lets a shell complete verbs and flags.
pub(crate) fn completions(shell: Shell) -> Result<(), CommandError> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut command(), "picloud", &mut script);
    print(script)
}

/// Writes a page for the program and one for each verb.
pub(crate) fn man(folder: &Path) -> Result<(), CommandError> {
    let failed = |source| VerbError::Write { path: folder.to_owned(), source };
    fs::create_dir_all(folder).map_err(failed)?;
    // A page says nothing of the machine that it was made on.
    let command = command().long_version(env!("CARGO_PKG_VERSION"));
    Ok(clap_mangen::generate_to(command, folder).map_err(failed)?)
}
