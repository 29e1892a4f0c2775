//! Finds the tests of a folder.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use bytes::Bytes;
use manifest_schema::diagnostic::{Diagnostic, Diagnostics, Span};
use manifest_schema::limits::Ceiling;
use manifest_schema::manifest::{self, Manifest};
use manifest_schema::name::{AppName, ScriptPath};
use runtime::Secrets;
use runtime::notation::{self, Answer, Dialect, Kind, Notation, Start};

use super::settings::Settings;
use crate::deploy::{Checked, File, Snapshot, check};
use crate::dry_run::DryRun;

/// The end of the names of files of tests, which are no part of the app.
pub const TEST_SUFFIX: &str = manifest_schema::manifest::TEST_SUFFIX;

/// The files of tests by their paths.
pub type TestFiles = BTreeMap<String, File>;

/// The tests of an app.
#[derive(Debug)]
pub struct Suite {
    /// The app.
    pub app: DryRun,
    /// The warnings of its check.
    pub warnings: Diagnostics,
    pub(super) tests: Vec<ScriptTest>,
    /// The files of tests that are scripts, with the libraries of the app.
    pub(super) files: Option<DryRun>,
    pub(super) secrets: Secrets,
    pub(super) manifest_text: Bytes,
}

/// A claim to be tested.
#[derive(Debug)]
pub(super) struct ScriptTest {
    pub(super) file: String,
    pub(super) span: Span,
    /// The claim as it is written.
    pub(super) text: String,
    /// The script with the claim; `None` in a file of tests.
    pub(super) script: Option<ScriptPath>,
    pub(super) settings: Settings,
    pub(super) start: Start,
    pub(super) answer: Answer,
    pub(super) expectations: Vec<Expectation>,
}

/// What else a claim says.
#[derive(Clone, Debug)]
pub(super) enum Expectation {
    Header { name: String, value: String },
    Contains(String),
    Logs(String),
    Fails(String),
}

impl Suite {
    /// Checks the app as a push does, and reads its tests.
    ///
    /// # Errors
    /// The app is invalid, or a line is meant as a claim and wrong.
    pub fn of_folder(
        snapshot: &Snapshot,
        test_files: &TestFiles,
        name: AppName,
        secrets: &Secrets,
    ) -> Result<Self, Diagnostics> {
        let Checked { prepared, warnings } = check(snapshot, &Ceiling::DEFAULT)?;
        let manifest = prepared.manifest.clone();
        let app = DryRun::of_folder(name.clone(), prepared, secrets).map_err(|error| {
            Diagnostics::from(Diagnostic::error(manifest::FILE_NAME, None, error.to_string()))
        })?;
        let mut found = Found { manifest: &manifest, tests: Vec::new(), errors: Diagnostics::default() };
        let declared: BTreeSet<&ScriptPath> = manifest.scripts().into_iter().collect();
        for (path, file) in &snapshot.scripts {
            // Files that are no scripts are not used by the manifest, which the check reports.
            let (Ok(script), Some(text)) = (ScriptPath::new(path), text(file)) else { continue };
            let notation = notation::parse(path, text, Dialect::Script);
            let is_declared = declared.contains(&script);
            found.add(path, Some(script).filter(|_| is_declared), notation, is_declared);
        }
        let mut with_code = Vec::new();
        for (path, file) in test_files {
            let Some(text) = text(file) else {
                found.errors.add(Diagnostic::error(path, None, "the file of tests is no UTF-8 text"));
                continue;
            };
            let notation = notation::parse(path, text, Dialect::TestFile);
            if notation.has_code {
                with_code.push((path.as_str(), file));
            }
            found.add(path, None, notation, true);
        }
        let Found { tests, mut errors, .. } = found;
        let files = match with_code[..] {
            [] => None,
            _ if errors.errors() > 0 => None,
            _ => match test_scripts(snapshot, &with_code, &manifest, name, secrets) {
                Ok(files) => Some(files),
                Err(diagnostics) => {
                    errors.append(diagnostics);
                    None
                }
            },
        };
        if errors.errors() > 0 {
            return Err(errors);
        }
        Ok(Self {
            app,
            warnings,
            tests,
            files,
            secrets: secrets.clone(),
            manifest_text: snapshot.manifest_text().unwrap_or_default(),
        })
    }

    /// The number of tests.
    pub fn len(&self) -> usize {
        self.tests.len()
    }

    /// Whether there are no tests.
    pub fn is_empty(&self) -> bool {
        self.tests.is_empty()
    }
}

fn text(file: &File) -> Option<&str> {
    match file {
        File::Bytes(bytes) => std::str::from_utf8(bytes).ok(),
        _ => None,
    }
}

/// What was found so far.
struct Found<'m> {
    manifest: &'m Manifest,
    tests: Vec<ScriptTest>,
    errors: Diagnostics,
}

impl Found<'_> {
    /// Adds the tests of a file. `can_run`: whether claims in it are about something that runs.
    fn add(&mut self, file: &str, script: Option<ScriptPath>, notation: Notation, can_run: bool) {
        notation.errors.into_iter().for_each(|error| self.errors.add(error));
        let before = self.tests.len();
        let mut for_file = Settings::default();
        for group in notation.statements.chunk_by(|left, right| left.group == right.group) {
            let mut settings = for_file.clone();
            let first = self.tests.len();
            for statement in group {
                if let Kind::WithSecret { name, .. } = &statement.kind
                    && self.manifest.secrets.required.iter().all(|required| required.as_str() != name)
                {
                    let message = format!("the manifest declares no secret `{name}` in [secrets]");
                    let error = Diagnostic::error(file, Some(statement.span.clone()), message);
                    self.errors.add(error.with_help(format!("required = [\"{name}\"]")));
                }
                if settings.apply(&statement.kind) {
                    continue;
                }
                let test = |start: Start, answer: Answer| ScriptTest {
                    file: file.to_owned(),
                    span: statement.span.clone(),
                    text: statement.text.clone(),
                    script: script.clone(),
                    settings: settings.clone(),
                    start,
                    answer,
                    expectations: Vec::new(),
                };
                let expectation = match &statement.kind {
                    Kind::Claim { start: Start::Script, .. } if !notation.has_code => {
                        let message = "the file has no code that ends with a value";
                        let error = Diagnostic::error(file, Some(statement.span.clone()), message);
                        self.errors
                            .add(error.with_help("write what answers before  => , as in  GET / => 200"));
                        continue;
                    }
                    Kind::Claim { .. } if !can_run => {
                        let message =
                            "no route, schedule or function runs this script, so it cannot have claims";
                        let error = Diagnostic::error(file, Some(statement.span.clone()), message);
                        let stem = file.strip_suffix(".rhai").unwrap_or(file);
                        self.errors.add(error.with_help(format!("test it in {stem}{TEST_SUFFIX}")));
                        continue;
                    }
                    Kind::Claim { start, answer } => {
                        self.tests.push(test(start.clone(), answer.clone()));
                        continue;
                    }
                    Kind::Fails(words) if self.tests.len() == first => {
                        self.tests.push(test(Start::Script, Answer::default()));
                        Expectation::Fails(words.clone())
                    }
                    Kind::Fails(words) => Expectation::Fails(words.clone()),
                    Kind::Logs(line) => Expectation::Logs(line.clone()),
                    Kind::Contains(part) => Expectation::Contains(part.clone()),
                    Kind::Header { name, value } => {
                        Expectation::Header { name: name.clone(), value: value.clone() }
                    }
                    _ => continue,
                };
                if let Some(test) = self.tests.get_mut(first..).and_then(<[_]>::last_mut) {
                    test.expectations.push(expectation);
                }
            }
            if self.tests.len() == first {
                for_file = settings;
            }
        }
        if file.ends_with(TEST_SUFFIX) && self.tests.len() == before && self.errors.errors() == 0 {
            let error = Diagnostic::error(file, None, "the file of tests has no claims");
            self.errors.add(error.with_help("write one as  // GET / => 200 , or  // => value  behind code"));
        }
    }
}

/// The files of tests with code as the scripts of an app of their own, which can import what the app can.
fn test_scripts(
    snapshot: &Snapshot,
    files: &[(&str, &File)],
    of: &Manifest,
    name: AppName,
    secrets: &Secrets,
) -> Result<DryRun, Diagnostics> {
    let mut manifest = format!("sdk = \"{}\"\n", of.sdk);
    // A JSON string is a TOML string too.
    let quoted = |text: &str| serde_json::Value::from(text).to_string();
    if !of.env.is_empty() {
        manifest.push_str("[env]\n");
        for (name, value) in &of.env {
            let _ = writeln!(manifest, "{name} = {}", quoted(value));
        }
    }
    if !of.secrets.required.is_empty() {
        let names: Vec<String> = of.secrets.required.iter().map(|name| quoted(name.as_str())).collect();
        let _ = writeln!(manifest, "[secrets]\nrequired = [{}]", names.join(", "));
    }
    let mut snapshot = snapshot.clone();
    for (index, (path, file)) in files.iter().enumerate() {
        let _ = writeln!(manifest, "[[functions]]\nname = \"test-{index}\"\nscript = {}", quoted(path));
        snapshot.scripts.insert((*path).to_owned(), (*file).clone());
    }
    snapshot.manifest = Some(File::Bytes(manifest.into()));
    let checked = check(&snapshot, &Ceiling::UNBOUNDED)?;
    DryRun::of_folder(name, checked.prepared, secrets)
        .map_err(|error| Diagnostic::error(manifest::FILE_NAME, None, error.to_string()).into())
}
