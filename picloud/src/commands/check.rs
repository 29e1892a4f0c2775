//! `picloud check`: the validation of a push on a folder, without a server.

use std::fs;
use std::path::Path;
use std::process::ExitCode;

use manifest_schema::diagnostic::Diagnostic;
use manifest_schema::limits::Ceiling;
use manifest_schema::manifest;
use platform::deploy::{Checked, check as validate};
use platform::revision::Prepared;

use super::error::CommandError;
use super::folder::{self, Tree};
use super::output::{print, say};
use super::unsent;
use crate::words::paint::{green, red};
use crate::words::{count, diagnostic};

/// How the verdict is given.
#[derive(Clone, Copy)]
pub(crate) enum Form {
    /// For people: each diagnostic with its line and a caret.
    Text,
    /// For editors and CI: one JSON object, see [`diagnostic::to_json`].
    Json,
}

pub(crate) fn check(folder: &Path, form: Form) -> Result<ExitCode, CommandError> {
    let manifest = fs::read(folder.join(manifest::FILE_NAME)).unwrap_or_default();
    let manifest = String::from_utf8_lossy(&manifest);
    // Thousands of files of other programs are no part of an app either.
    let mut ignored = unsent::ignored_folders(folder);
    ignored.retain(|path| !manifest.contains(&format!("{path}/")));
    let Tree { mut snapshot, passed_by, .. } = folder::read(folder, &[".git"], &ignored)?;
    let repository = unsent::look(folder, &|path| manifest.contains(path));
    // What nobody asks for and git ignores is no part of the app.
    snapshot.scripts.retain(|path, _| manifest.contains(path.as_str()) || !repository.ignored.contains(path));
    // What is as it is committed is judged as a push sends it, whatever a filter or a sparse checkout makes of it here.
    if let Some(committed) = &repository.committed {
        let same = |path: &str| !repository.differing.contains(path);
        let scripts = committed.scripts.iter().filter(|(path, _)| same(path));
        snapshot.scripts.extend(scripts.map(|(path, file)| (path.clone(), file.clone())));
        if same(manifest::FILE_NAME) {
            snapshot.manifest.clone_from(&committed.manifest);
        }
    }
    let (mut diagnostics, done) = match validate(&snapshot, &Ceiling::DEFAULT) {
        Ok(checked) => (checked.warnings.clone(), Some(summary(&checked))),
        Err(diagnostics) => (diagnostics, None),
    };
    for (path, why) in passed_by.iter().filter(|(path, _)| manifest.contains(&format!("{path}/"))) {
        diagnostics.add(
            Diagnostic::warning(path, None, why.to_string())
                .with_help("keep the app's scripts in this repository"),
        );
    }
    repository.diagnostics.into_iter().for_each(|diagnostic| diagnostics.add(diagnostic));
    if !repository.differing.is_empty()
        && let Some(committed) = &repository.committed
        && let Err(refused) = validate(committed, &Ceiling::DEFAULT)
    {
        let problems = diagnostic::problems(refused.errors(), refused.errors_by_file().len());
        let words = format!("what is committed would be refused by a push: {problems}");
        diagnostics
            .add(Diagnostic::warning("HEAD", None, words).with_help("commit what is right, and check again"));
    }
    match form {
        Form::Json => print(format!(
            "{}\n",
            diagnostic::to_json(
                &diagnostics,
                snapshot.scripts.len() + usize::from(snapshot.manifest.is_some())
            )
        ))?,
        Form::Text => {
            let problems = || diagnostic::problems(diagnostics.errors(), diagnostics.errors_by_file().len());
            let last = match &done {
                Some(summary) => format!("{}: {summary}\n", green("success")),
                None => format!("{}: {}\n", red("error"), problems()),
            };
            say(diagnostic::painted(&diagnostics, diagnostic::SHOWN_MAX) + last.as_str())?;
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
