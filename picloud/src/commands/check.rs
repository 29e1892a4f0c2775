//! `picloud check`: the validation of a push on a folder, without a server.

use std::path::Path;
use std::process::ExitCode;

use manifest_schema::limits::Ceiling;
use platform::deploy::{Checked, check as validate};
use platform::revision::Prepared;

use super::error::CommandError;
use super::folder;
use super::output::{print, say};
use crate::words::paint::{green, red};
use crate::words::{count, fault};

/// How the verdict is given.
#[derive(Clone, Copy)]
pub(crate) enum Form {
    /// For people: each fault with its line and a caret.
    Text,
    /// For editors and CI: one JSON object, see [`fault::to_json`].
    Json,
}

pub(crate) fn check(folder: &Path, form: Form) -> Result<ExitCode, CommandError> {
    // What git ignores is read too: nobody asks git here.
    let snapshot = folder::read(folder, &[".git"])?.snapshot;
    let (faults, done) = match validate(&snapshot, &Ceiling::DEFAULT) {
        Ok(checked) => (checked.warnings.clone(), Some(summary(&checked))),
        Err(faults) => (faults, None),
    };
    match form {
        Form::Json => print(format!(
            "{}\n",
            fault::to_json(&faults, snapshot.scripts.len() + usize::from(snapshot.manifest.is_some()))
        ))?,
        Form::Text => {
            let problems = || fault::problems(faults.errors(), faults.errors_by_file().len());
            let last = match &done {
                Some(summary) => format!("{}: {summary}\n", green("success")),
                None => format!("{}: {}\n", red("error"), problems()),
            };
            say(fault::painted(&faults, fault::SHOWN_MAX) + last.as_str())?;
        }
    }
    Ok(if done.is_some() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn summary(checked: &Checked) -> String {
    let Prepared { manifest, sources, .. } = &checked.prepared;
    format!(
        "{}, {}, {}, {}, sdk {}",
        count(sources.len(), "script"),
        count(manifest.routes.len(), "route"),
        count(manifest.schedules.len(), "schedule"),
        count(manifest.functions.len(), "function"),
        manifest.sdk
    )
}
