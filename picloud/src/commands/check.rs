//! `picloud check`: validates a folder as a push does, without a server.

use std::fs;
use std::path::Path;
use std::process::ExitCode;

use manifest_schema::diagnostic::{Diagnostic, Diagnostics, Severity};
use manifest_schema::limits::Ceiling;
use manifest_schema::manifest;
use platform::deploy::{Checked, Snapshot, check as validate};
use platform::dry_run::{DryRun, run_checks};
use platform::revision::Prepared;
use platform::script_tests::TestFiles;

use super::dev;
use super::error::CommandError;
use super::folder::{self, SkipReason, Tree};
use super::git_status;
use super::output::{print, print_styled};
use crate::render::style::{green, red};
use crate::render::{count, counts, diagnostics};

/// The output format.
#[derive(Clone, Copy)]
pub(crate) enum Format {
    /// Diagnostics with source lines.
    Text,
    /// A JSON object, see [`diagnostics::to_json`].
    Json,
}

/// The app in a working tree, as a push of all its files would send it.
pub(super) struct WorkingTree {
    /// The files that are part of the app.
    pub(super) snapshot: Snapshot,
    /// The files of tests.
    pub(super) tests: TestFiles,
    manifest: String,
    skipped: Vec<(String, SkipReason)>,
    repository: git_status::Repository,
}

/// Reads the app in `folder`.
pub(super) fn working_tree(folder: &Path) -> Result<WorkingTree, CommandError> {
    let manifest = fs::read(folder.join(manifest::FILE_NAME)).unwrap_or_default();
    let manifest = String::from_utf8_lossy(&manifest).into_owned();
    // Ignored folders can contain thousands of files of other programs.
    let mut ignored = git_status::ignored_folders(folder);
    ignored.retain(|path| !manifest.contains(&format!("{path}/")));
    let Tree { mut snapshot, tests, skipped, .. } = folder::read(folder, &[".git"], &ignored)?;
    let repository = git_status::inspect(folder, &|path| manifest.contains(path));
    // Ignored scripts are not part of the app unless the manifest names them.
    snapshot.scripts.retain(|path, _| manifest.contains(path.as_str()) || !repository.ignored.contains(path));
    snapshot.templates.retain(|path, _| !repository.ignored.contains(path));
    // Unchanged files are validated as committed, since a filter or a sparse checkout can alter them in the working tree.
    if let Some(committed) = &repository.committed {
        let same = |path: &str| !repository.differing.contains(path);
        let scripts = committed.scripts.iter().filter(|(path, _)| same(path));
        snapshot.scripts.extend(scripts.map(|(path, file)| (path.clone(), file.clone())));
        let templates = committed.templates.iter().filter(|(path, _)| same(path));
        snapshot.templates.extend(templates.map(|(path, file)| (path.clone(), file.clone())));
        if same(manifest::FILE_NAME) {
            snapshot.manifest.clone_from(&committed.manifest);
        }
    }
    Ok(WorkingTree { snapshot, tests, manifest, skipped, repository })
}

pub(crate) fn check(folder: &Path, format: Format) -> Result<ExitCode, CommandError> {
    let WorkingTree { snapshot, manifest, skipped, repository, .. } = working_tree(folder)?;
    let (mut diagnostics, done) = match validate(&snapshot, &Ceiling::DEFAULT) {
        Ok(checked) => {
            let (mut diagnostics, done) = (checked.warnings.clone(), summary(&checked));
            diagnostics.append(failed_checks(folder, &snapshot, checked));
            (diagnostics, Some(done))
        }
        Err(diagnostics) => (diagnostics, None),
    };
    let done = done.filter(|_| diagnostics.errors() == 0);
    for (path, why) in skipped.iter().filter(|(path, _)| manifest.contains(&format!("{path}/"))) {
        diagnostics.add(
            Diagnostic::warning(path, None, why.to_string())
                .with_help("move the scripts into this repository"),
        );
    }
    repository.diagnostics.into_iter().for_each(|diagnostic| diagnostics.add(diagnostic));
    if !repository.differing.is_empty()
        && let Some(committed) = &repository.committed
        && let Err(rejected) = validate(committed, &Ceiling::DEFAULT)
    {
        let problems = diagnostics::count_by_file(rejected.errors(), rejected.errors_by_file().len());
        let message = format!("a push of HEAD would be rejected: {problems}");
        diagnostics.add(Diagnostic::warning("HEAD", None, message).with_help("commit the fixed files"));
    }
    match format {
        Format::Json => print(format!(
            "{}\n",
            diagnostics::to_json(
                &diagnostics,
                snapshot.scripts.len() + usize::from(snapshot.manifest.is_some())
            )
        ))?,
        Format::Text => {
            let problems =
                || diagnostics::count_by_file(diagnostics.errors(), diagnostics.errors_by_file().len());
            let last = match &done {
                Some(summary) => format!("{}: {summary}\n", green("success")),
                None => format!("{}: {}\n", red("error"), problems()),
            };
            print_styled(diagnostics::render_styled(&diagnostics, diagnostics::SHOWN_MAX) + last.as_str())?;
        }
    }
    Ok(if done.is_some() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// The checks of the manifest that fail with the secrets of the environment and `.env`. The server can have a secret that
/// is missing here: then it is a warning.
fn failed_checks(folder: &Path, snapshot: &Snapshot, checked: Checked) -> Diagnostics {
    if checked.prepared.manifest.checks.is_empty() {
        return Diagnostics::default();
    }
    let (secrets, _) = dev::secrets(folder);
    let folder = folder.canonicalize().unwrap_or_else(|_| folder.to_owned());
    match DryRun::of_folder(folder::app_name(&folder), checked.prepared, &secrets) {
        Ok(app) => {
            let text = snapshot.manifest_text();
            let mut diagnostics = Diagnostics::default();
            for failed in run_checks(&app, &secrets).failed {
                let is_certain = failed.missing_secret.is_none();
                let severity = if is_certain { Severity::Error } else { Severity::Warning };
                diagnostics.add(failed.diagnostic(severity, text.as_deref()));
            }
            diagnostics
        }
        Err(error) => Diagnostic::error(manifest::FILE_NAME, None, error.to_string()).into(),
    }
}

fn summary(checked: &Checked) -> String {
    let Prepared { manifest, sources, templates, .. } = &checked.prepared;
    let checks = match manifest.checks.len() {
        0 => String::new(),
        checks => format!(", {}", count(checks, "check")),
    };
    format!(
        "{}, {}, {}, {}{checks}, sdk {}",
        counts(sources.len(), checked.prepared.libraries(), templates.len()),
        count(manifest.routes.len(), "route"),
        count(manifest.schedules.len(), "schedule"),
        count(manifest.functions.len(), "function"),
        manifest.sdk
    )
}
