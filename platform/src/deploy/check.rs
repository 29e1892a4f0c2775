//! Validation of a snapshot: all diagnostics at once, without running anything. Shared by pushes and `picloud
//! check`.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use chrono::{DateTime, Utc};
use manifest_schema::diagnostic::{Diagnostic, Diagnostics, Span};
use manifest_schema::limits::Ceiling;
use manifest_schema::manifest::{self, Manifest};
use manifest_schema::name::ScriptPath;
use manifest_schema::parse::{self, ParseContext, ParseError, parse};
use manifest_schema::sdk::SdkVersion;
use manifest_schema::zone::{self, ZoneData, zone_data};
use runtime::{Libraries, ManifestNames, RenderedTemplates, Secrets, Source};
use store::{AppId, Environment};
use uuid::Uuid;

use super::deadline::PushDeadline;
use super::libraries::{self, SnapshotImports};
use super::report::EventSender;
use super::snapshot::{File, SNAPSHOT_BYTES_MAX, Snapshot};
use super::templates::CheckedTemplates;
use crate::memory::MemoryBudget;
use crate::revision::{PrepareError, Prepared, measure_memory};
use crate::scripts::{AppScripts, CheckError, CheckedScript, Scripts};

/// How many bytes of source are kept compiled; a compiled script can take two hundred times its source and that of
/// its libraries. The rest is compiled again on its first run.
const COMPILED_SOURCE_BYTES_MAX: usize = 1024 * 1024;

/// A snapshot that passed validation.
#[derive(Clone, Debug)]
pub struct Checked {
    /// The manifest and its scripts; scripts are compiled as far as memory allows.
    pub prepared: Prepared,
    /// Warnings; no errors.
    pub warnings: Diagnostics,
}

/// Checks `snapshot` against the contract and the default limits, on the machine of its author.
///
/// # Errors
/// All diagnostics, at least one of them an error, those of the manifest first.
pub fn check(snapshot: &Snapshot, ceiling: &Ceiling) -> Result<Checked, Diagnostics> {
    let scripts = Scripts::new(MemoryBudget::unbounded()).of(AppId::from_uuid(Uuid::nil()));
    let deadline = PushDeadline::start(&EventSender::sink());
    check_for(&scripts, false, snapshot, ceiling, None, &deadline).map_err(|error| match error {
        CheckError::Diagnostics(diagnostics) => diagnostics,
        CheckError::NoMemory(_) => unreachable!("the budget is unbounded"),
    })
}

/// Checks `snapshot` for an app; also that the required secrets are among `secrets`, those of its
/// environment, if given. Scripts are compiled one by one in memory of the app, and kept compiled as far as
/// they fit if `keep_compiled`.
///
/// # Errors
/// All diagnostics, at least one of them an error, those of the manifest first; or memory is short.
pub(crate) fn check_for(
    app: &AppScripts,
    keep_compiled: bool,
    snapshot: &Snapshot,
    ceiling: &Ceiling,
    secrets: Option<(&Secrets, Environment)>,
    deadline: &PushDeadline,
) -> Result<Checked, CheckError> {
    if snapshot.bytes() > SNAPSHOT_BYTES_MAX {
        let message = format!("manifest and scripts exceed {} MiB", SNAPSHOT_BYTES_MAX / (1024 * 1024));
        return Err(Diagnostic::error("the app", None, message)
            .with_help("split it into several apps")
            .into());
    }
    let bytes = manifest_bytes(snapshot.manifest.as_ref())?;
    let paths: BTreeSet<String> = snapshot.scripts.keys().cloned().collect();
    let imports = SnapshotImports::of(snapshot, deadline);
    let imports_of = |script: &ScriptPath| imports.paths(script);
    let context = ParseContext { ceiling, scripts: &paths, imports_of: &imports_of };
    let (parsed, parsed_bytes) = measure_memory(|| parse(bytes, context));
    let (manifest, mut diagnostics, sdk, declared) = match parsed {
        Ok(parsed) => {
            let sdk = parsed.manifest.sdk;
            let declared = parsed.manifest.scripts().into_iter().cloned().collect();
            let mut diagnostics = parsed.warnings;
            warn_about_old_zone_data(&parsed.manifest, zone_data(), Utc::now(), &mut diagnostics);
            if let Some((secrets, environment)) = secrets {
                reject_unset_secrets(&parsed.manifest, secrets, environment, &mut diagnostics);
            }
            (Some(parsed.manifest), diagnostics, sdk, declared)
        }
        // The valid part of the manifest suffices to check the scripts too.
        Err(ParseError { diagnostics, sdk, scripts }) => {
            let all = || paths.iter().filter_map(|path| ScriptPath::new(path).ok()).collect();
            (None, diagnostics, sdk.unwrap_or(SdkVersion::NEWEST), scripts.unwrap_or_else(all))
        }
    };
    let templates = CheckedTemplates::check(snapshot, sdk, &mut diagnostics);
    let names = manifest.as_ref().map(|manifest| templates.add_names(ManifestNames::of_library(manifest)));
    let libraries =
        libraries::check_snapshot((sdk, names.as_ref()), &imports, &declared, app, &mut diagnostics)?;
    let expected =
        Expected { sdk, manifest: manifest.as_ref(), libraries: &libraries, templates: &templates };
    let mut checked_scripts =
        check_scripts(deadline, app, keep_compiled, snapshot, &expected, declared, &mut diagnostics)?;
    match manifest {
        Some(manifest) if diagnostics.errors() == 0 => {
            checked_scripts.rendered.append(libraries.rendered().clone());
            templates.warn_of_unused(&checked_scripts.rendered, &mut diagnostics);
            let sources = checked_scripts.into_sources(&libraries, app)?;
            match Prepared::new((manifest, parsed_bytes), sources, app) {
                Ok(mut prepared) => {
                    prepared.templates = templates.into_sources(app).map_err(CheckError::NoMemory)?;
                    Ok(Checked { prepared, warnings: diagnostics })
                }
                Err(PrepareError::Routes(error)) => {
                    Err(Diagnostic::error(manifest::FILE_NAME, None, error.to_string()).into())
                }
                Err(PrepareError::NoMemory(error)) => Err(CheckError::NoMemory(error)),
            }
        }
        _ => Err(diagnostics.into()),
    }
}

/// Adds an error for every required secret that is not set.
pub(super) fn reject_unset_secrets(
    manifest: &Manifest,
    secrets: &Secrets,
    environment: Environment,
    diagnostics: &mut Diagnostics,
) {
    let (of, flag) = match environment {
        Environment::Production => ("", ""),
        Environment::Preview => (" for previews", " --preview"),
    };
    for name in &manifest.secrets.required {
        if secrets.iter().all(|(set, _)| set != name.as_str()) {
            let message = format!("required secret {name} is not set{of}");
            let diagnostic = Diagnostic::error(manifest::FILE_NAME, None, message);
            diagnostics.add(diagnostic.with_help(format!("picloud secrets set {name}{flag}")));
        }
    }
}

/// Adds a warning if schedules use time zone rules that can be outdated.
fn warn_about_old_zone_data(
    manifest: &Manifest,
    data: &ZoneData,
    now: DateTime<Utc>,
    diagnostics: &mut Diagnostics,
) {
    let zoned = manifest.schedules.iter().find(|schedule| !schedule.cron.zone().is_utc());
    if let Some(schedule) = zoned.filter(|_| data.is_old(now)) {
        let message = format!(
            "the time zone data ({data}) is more than a year old; schedule `{}` in {} can run at a wrong time",
            schedule.name,
            schedule.cron.zone()
        );
        let help = match data.source() {
            zone::Source::System => "upgrade the system's package tzdata on the server, and restart PiCloud",
            zone::Source::Bundled => "install the system's package tzdata on the server, or a newer PiCloud",
        };
        diagnostics.add(Diagnostic::warning(manifest::FILE_NAME, None, message).with_help(help.to_owned()));
    }
}

/// What scripts are checked against.
struct Expected<'m> {
    sdk: SdkVersion,
    /// `None` if it is invalid.
    manifest: Option<&'m Manifest>,
    libraries: &'m Libraries<'m>,
    templates: &'m CheckedTemplates<'m>,
}

/// The scripts that passed, by text.
#[derive(Default)]
struct CheckedScripts<'s> {
    paths: Vec<(ScriptPath, &'s str)>,
    /// The compiled scripts; `None` if not kept.
    compiled: HashMap<&'s str, Option<CheckedScript>>,
    compiled_bytes: usize,
    /// The templates that they render.
    rendered: RenderedTemplates,
}

impl<'s> CheckedScripts<'s> {
    /// Adds a script of `bytes` with its libraries, of which each script has a compiled copy.
    fn add(&mut self, (text, bytes): (&'s str, usize), script: CheckedScript, keep_compiled: bool) {
        if self.compiled.contains_key(text) {
            return;
        }
        self.compiled_bytes += bytes;
        let kept = (keep_compiled && self.compiled_bytes <= COMPILED_SOURCE_BYTES_MAX).then_some(script);
        self.compiled.insert(text, kept);
    }

    /// Drops all compiled scripts. Returns whether there were any.
    fn drop_compiled(&mut self) -> bool {
        self.compiled.values_mut().filter_map(Option::take).count() > 0
    }

    /// Converts into sources of the app: one per text, with its compiled script if kept.
    fn into_sources(
        mut self,
        libraries: &Libraries<'_>,
        app: &AppScripts,
    ) -> Result<BTreeMap<ScriptPath, Arc<Source>>, CheckError> {
        let mut sources = BTreeMap::new();
        for (path, text) in self.paths {
            let files = libraries::linked_files(&path, libraries, app);
            let source =
                files.and_then(|files| app.linked_source(text, files)).map_err(CheckError::NoMemory)?;
            if let Some(script) = self.compiled.remove(text).flatten() {
                app.keep(&source, script);
            }
            sources.insert(path, source);
        }
        Ok(sources)
    }
}

fn check_scripts<'s>(
    deadline: &PushDeadline,
    app: &AppScripts,
    keep_compiled: bool,
    snapshot: &'s Snapshot,
    expected: &Expected<'_>,
    declared: BTreeSet<ScriptPath>,
    diagnostics: &mut Diagnostics,
) -> Result<CheckedScripts<'s>, CheckError> {
    let mut checked_scripts = CheckedScripts::default();
    // What each text was checked against: the same text at two paths can have different routes.
    let mut checked_for = HashMap::new();
    let mut remaining = declared.len();
    for path in declared {
        if deadline.check().is_err() {
            let limit = deadline.limit();
            let message = format!(
                "the check exceeded its time limit of {limit:?}; {remaining} scripts were not checked"
            );
            diagnostics.add(
                Diagnostic::error(manifest::FILE_NAME, None, message)
                    .with_help("deploy them as several apps"),
            );
            break;
        }
        remaining -= 1;
        // A missing script is reported by the check of the manifest.
        let Some(file) = snapshot.scripts.get(path.as_str()) else { continue };
        let text = match script_text(&path, file) {
            Ok(text) => text,
            Err(diagnostic) => {
                diagnostics.add(diagnostic);
                continue;
            }
        };
        let provided = expected
            .manifest
            .map(|manifest| expected.templates.add_names(ManifestNames::of(manifest, &path)));
        if checked_for.get(text) != Some(&provided) {
            let check = || app.check(expected.sdk, &path, text, provided.as_ref(), expected.libraries);
            let mut checked = check();
            if matches!(checked, Err(CheckError::NoMemory(_))) && checked_scripts.drop_compiled() {
                checked = check();
            }
            match checked {
                Ok(mut script) => {
                    diagnostics.append(script.take_warnings());
                    checked_scripts.rendered.append(script.take_rendered());
                    let linked = expected.libraries.linked_with(&path).into_iter();
                    let bytes = text.len() + linked.map(|(_, text)| text.len()).sum::<usize>();
                    checked_scripts.add((text, bytes), script, keep_compiled);
                    checked_for.insert(text, provided);
                }
                Err(CheckError::Diagnostics(found)) => {
                    diagnostics.append(found);
                    continue;
                }
                Err(error @ CheckError::NoMemory(_)) => return Err(error),
            }
        }
        checked_scripts.paths.push((path, text));
    }
    Ok(checked_scripts)
}

pub(super) fn script_text<'a>(path: &ScriptPath, file: &'a File) -> Result<&'a str, Diagnostic> {
    text(path, bytes(path.as_str(), file, || runtime::script_too_large(path))?)
}

fn manifest_bytes(file: Option<&File>) -> Result<&[u8], Diagnostic> {
    let Some(file) = file else {
        let missing =
            Diagnostic::error(manifest::FILE_NAME, None, "the repository has no picloud.toml at its root");
        return Err(missing.with_help("create one with  picloud init"));
    };
    bytes(manifest::FILE_NAME, file, parse::too_large)
}

pub(super) fn bytes<'a>(
    path: &str,
    file: &'a File,
    too_large: impl FnOnce() -> Diagnostic,
) -> Result<&'a [u8], Diagnostic> {
    match file {
        File::Bytes(_) if file.is_lfs_pointer() => {
            let diagnostic =
                Diagnostic::error(path, None, "the file is a Git LFS pointer; its content was not pushed");
            Err(diagnostic
                .with_help(format!("git lfs untrack {path}, git add --renormalize {path}, and commit")))
        }
        File::Bytes(bytes) => Ok(bytes),
        File::Symlink => {
            Err(Diagnostic::error(path, None, "the file is a symbolic link; links are not followed"))
        }
        File::Submodule => {
            Err(Diagnostic::error(path, None, "the file is a submodule; submodules are not followed"))
        }
        File::TooLarge => Err(too_large()),
    }
}

fn text<'a>(path: &ScriptPath, bytes: &'a [u8]) -> Result<&'a str, Diagnostic> {
    let text = std::str::from_utf8(bytes).map_err(|error| {
        let readable = String::from_utf8_lossy(&bytes[..error.valid_up_to()]);
        let span = Span::from_range(&format!("{readable}\u{fffd}"), error.valid_up_to()..error.valid_up_to());
        Diagnostic::error(path.as_str(), Some(span), "the script is not UTF-8").with_help("save it as UTF-8")
    })?;
    // PostgreSQL cannot store NUL in text.
    match text.find('\0') {
        Some(at) => Err(Diagnostic::error(
            path.as_str(),
            Some(Span::from_range(text, at..at + 1)),
            "the script contains a NUL byte",
        )),
        None => Ok(text),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;

    use super::*;
    use crate::memory::OutOfMemory;

    const MIB: usize = 1024 * 1024;

    /// A snapshot of functions `f0`, `f1` ... with these sources.
    fn snapshot(sources: &[&str]) -> Snapshot {
        let mut manifest = "sdk = \"1.1\"\n".to_owned();
        let mut snapshot = Snapshot::default();
        for (index, source) in sources.iter().enumerate() {
            manifest += &format!("[[functions]]\nname = \"f{index}\"\nscript = \"{index}.rhai\"\n");
            snapshot.add(&format!("{index}.rhai"), || File::Bytes((*source).to_owned().into()));
        }
        snapshot.add(manifest::FILE_NAME, || File::Bytes(manifest.into()));
        snapshot
    }

    fn messages(diagnostics: &Diagnostics) -> Vec<String> {
        diagnostics.iter().map(|diagnostic| format!("{}: {}", diagnostic.file, diagnostic.message)).collect()
    }

    #[test]
    fn check_reports_all_diagnostics_at_once() {
        let mut wrong = snapshot(&["nope();", "ctx.request.rest", "1 +", "fine"]);
        let text = "sdk = \"1.0\"\nx = 1\n[[functions]]\nname = \"a\"\nscript = \"0.rhai\"\n\
                    [[functions]]\nname = \"b\"\nscript = \"1.rhai\"\n";
        wrong.add(manifest::FILE_NAME, || File::Bytes(text.to_owned().into()));
        assert_eq!(
            messages(&check(&wrong, &Ceiling::DEFAULT).unwrap_err()),
            [
                "picloud.toml: unknown key `x`",
                "0.rhai: unknown function `nope`",
                // Checked for the sdk version of the invalid manifest.
                "1.rhai: `ctx.request.rest` requires sdk 1.1, the manifest has 1.0",
                // Not declared, so not checked.
                "2.rhai: not used by any route, schedule, function or import of picloud.toml",
                "3.rhai: not used by any route, schedule, function or import of picloud.toml",
            ]
        );
    }

    #[test]
    fn invalid_script_name_makes_check_include_all_scripts() {
        let mut wrong = snapshot(&["nope();", "2"]);
        let text = "sdk = \"1.1\"\n[[functions]]\nname = \"a\"\nscript = \"7.rhai\"\n";
        wrong.add(manifest::FILE_NAME, || File::Bytes(text.to_owned().into()));
        assert_eq!(
            messages(&check(&wrong, &Ceiling::DEFAULT).unwrap_err()),
            ["picloud.toml: script `7.rhai` is not in the repository", "0.rhai: unknown function `nope`"]
        );
    }

    #[test]
    fn undeclared_names_are_reported() {
        let mut wrong = snapshot(&[
            "[ctx.secrets.TOKN, ctx.env.GREETNG, ctx.request.params.nmae]",
            "ctx.request.params.id",
        ]);
        let text = "sdk = \"1.3\"\n[env]\nGREETING = \"Hello\"\n[secrets]\nrequired = [\"TOKEN\"]\n\
                    [[routes]]\npath = \"/a/{name}\"\nscript = \"0.rhai\"\n[[routes]]\npath = \"/b/{*rest}\"\nscript = \"0.rhai\"\n\
                    [[functions]]\nname = \"a\"\nscript = \"1.rhai\"\n";
        let diagnostics_of = |wrong: &Snapshot| match check(wrong, &Ceiling::DEFAULT) {
            Ok(checked) => checked.warnings,
            Err(diagnostics) => diagnostics,
        };
        wrong.add(manifest::FILE_NAME, || File::Bytes(text.to_owned().into()));
        let draft = "picloud.toml: sdk 1.3 is a draft: it can change until PiCloud 0.1.0 is released";
        let found = [
            "0.rhai: the manifest declares no secret `TOKN`",
            "0.rhai: the manifest declares no setting `GREETNG` in [env]",
            "0.rhai: no route of this script captures `nmae`",
            "1.rhai: no route uses this script: `ctx.request.params.id` is always `()`",
        ];
        let diagnostics = diagnostics_of(&wrong);
        assert_eq!(messages(&diagnostics), [&found[..], &[draft]].concat());
        let help: Vec<_> = diagnostics.iter().filter_map(|diagnostic| diagnostic.help.as_deref()).collect();
        assert_eq!(help[..3], ["did you mean `TOKEN`?", "did you mean `GREETING`?", "did you mean `name`?"]);
        // Warnings for older versions.
        wrong.add(manifest::FILE_NAME, || File::Bytes(text.replace("1.3", "1.2").into()));
        let diagnostics = diagnostics_of(&wrong);
        assert_eq!((diagnostics.errors(), messages(&diagnostics)), (0, found.map(str::to_owned).to_vec()));
        // An invalid manifest provides no names.
        wrong.add(manifest::FILE_NAME, || File::Bytes(text.replace("[secrets]", "[secrts]").into()));
        assert_eq!(messages(&diagnostics_of(&wrong)), ["picloud.toml: unknown key `secrts`", draft]);
    }

    #[test]
    fn libraries_are_checked_once_and_linked() {
        let mut app = snapshot(&["import \"lib/a\" as a; a::f()", "import \"lib/a\" as a; a::f() + 1"]);
        let manifest = "sdk = \"1.3\"\n[[functions]]\nname = \"f0\"\nscript = \"0.rhai\"\n\
                        [[functions]]\nname = \"f1\"\nscript = \"1.rhai\"\n";
        app.add(manifest::FILE_NAME, || File::Bytes(manifest.to_owned().into()));
        app.add("lib/a.rhai", || File::Bytes("import \"lib/b\" as b; fn f() { b::g() }".to_owned().into()));
        app.add("lib/b.rhai", || File::Bytes("fn g() { 1 }".to_owned().into()));
        app.add("lib/unused.rhai", || File::Bytes("import \"lib/b\" as b;".to_owned().into()));
        let checked = check(&app, &Ceiling::DEFAULT).unwrap();
        let unused = "lib/unused.rhai: not used by any route, schedule, function or import of picloud.toml";
        assert!(
            messages(&checked.warnings).contains(&unused.to_owned()),
            "{:?}",
            messages(&checked.warnings)
        );
        assert_eq!(messages(&checked.warnings).len(), 2, "the other one is about the draft");
        let sources: Vec<_> = checked.prepared.sources.values().collect();
        let linked = |source: &Arc<Source>| {
            source.libraries().iter().map(|file| file.path.to_string()).collect::<Vec<_>>()
        };
        assert_eq!(linked(sources[0]), ["lib/a.rhai", "lib/b.rhai"]);
        assert!(Arc::ptr_eq(&sources[0].libraries()[1].source, &sources[1].libraries()[1].source));
        // An error of a library is reported once, in its file.
        app.add("lib/b.rhai", || File::Bytes("fn g() { nope() }".to_owned().into()));
        let diagnostics = check(&app, &Ceiling::DEFAULT).unwrap_err();
        assert_eq!(
            (diagnostics.errors(), messages(&diagnostics)[0].as_str()),
            (1, "lib/b.rhai: unknown function `nope`")
        );
    }

    #[test]
    fn same_text_at_two_paths_is_checked_per_route() {
        let mut wrong =
            snapshot(&["ctx.request.params.id", "ctx.request.params.id", "ctx.request.params.id"]);
        let text = "sdk = \"1.3\"\n[[routes]]\npath = \"/a/{id}\"\nscript = \"0.rhai\"\n\
                    [[routes]]\npath = \"/b/{name}\"\nscript = \"1.rhai\"\n[[routes]]\npath = \"/c/{id}\"\nscript = \"2.rhai\"\n";
        wrong.add(manifest::FILE_NAME, || File::Bytes(text.to_owned().into()));
        let diagnostics = check(&wrong, &Ceiling::DEFAULT).unwrap_err();
        assert_eq!(messages(&diagnostics)[0], "1.rhai: no route of this script captures `id`");
        assert_eq!(
            diagnostics.iter().next().and_then(|diagnostic| diagnostic.help.as_deref()),
            Some("its routes capture name")
        );
        assert_eq!(diagnostics.errors(), 1);
    }

    #[test]
    fn scripts_beyond_the_deadline_are_not_checked() {
        let declared = ["0.rhai", "1.rhai"].map(|path| ScriptPath::new(path).unwrap()).into();
        let mut diagnostics = Diagnostics::default();
        let (app, snapshot) = (app(MemoryBudget::unbounded()), snapshot(&["1", "nope()"]));
        let deadline = PushDeadline::with_limit(Duration::ZERO, &EventSender::sink());
        let (libraries, templates) = (Libraries::default(), CheckedTemplates::default());
        let expected = Expected {
            sdk: SdkVersion::NEWEST,
            manifest: None,
            libraries: &libraries,
            templates: &templates,
        };
        check_scripts(&deadline, &app, true, &snapshot, &expected, declared, &mut diagnostics).unwrap();
        assert_eq!(
            messages(&diagnostics),
            ["picloud.toml: the check exceeded its time limit of 0ns; 2 scripts were not checked"]
        );
    }

    fn app(memory: MemoryBudget) -> AppScripts {
        Scripts::new(memory).of(AppId::random())
    }

    fn check_pushed(app: &AppScripts, keep_compiled: bool, sources: &[&str]) -> Result<Checked, CheckError> {
        let deadline = PushDeadline::start(&EventSender::sink());
        check_for(app, keep_compiled, &snapshot(sources), &Ceiling::DEFAULT, None, &deadline)
    }

    #[test]
    fn compiled_scripts_are_kept_up_to_the_limit() {
        let sources: Vec<_> = (0..6).map(|n| format!("{n}; \"{}\"", "x".repeat(MIB / 4 - 100))).collect();
        let sources: Vec<_> = sources.iter().map(String::as_str).collect();
        let app = app(MemoryBudget::unbounded());
        let compiled = |keep_compiled| {
            let sources = check_pushed(&app, keep_compiled, &sources).unwrap().prepared.sources;
            assert_eq!(sources.len(), 6);
            sources.values().filter(|source| source.program(SdkVersion::V1_1).is_some()).count()
        };
        assert_eq!((compiled(false), compiled(true)), (0, 4));
    }

    #[test]
    fn compiled_libraries_count_for_each_script() {
        let scripts: Vec<_> = (0..6).map(|n| format!("import \"lib\" as lib; lib::f() + {n}")).collect();
        let scripts: Vec<_> = scripts.iter().map(String::as_str).collect();
        let mut snapshot = snapshot(&scripts);
        let Some(File::Bytes(manifest)) = snapshot.manifest.take() else { panic!("it has a manifest") };
        let manifest = String::from_utf8(manifest.to_vec()).unwrap().replace("1.1", "1.3");
        let library = format!("fn f() {{ 1 }}\n{}", "// a comment\n".repeat((MIB / 4 - 100) / 13));
        snapshot.add(manifest::FILE_NAME, || File::Bytes(manifest.into()));
        snapshot.add("lib.rhai", || File::Bytes(library.into()));
        let app = app(MemoryBudget::unbounded());
        let deadline = PushDeadline::start(&EventSender::sink());
        let checked = check_for(&app, true, &snapshot, &Ceiling::DEFAULT, None, &deadline).unwrap();
        let sources = checked.prepared.sources.values();
        assert_eq!(sources.filter(|source| source.program(SdkVersion::V1_3).is_some()).count(), 4);
    }

    #[test]
    fn scripts_with_same_text_share_memory() {
        let memory = MemoryBudget::new(64 * MIB as u64);
        let app = app(memory.clone());
        let text = format!("\"{}\"", "x".repeat(MIB / 4 - 100));
        let (first, second) = (
            check_pushed(&app, false, &[text.as_str(); 100]).unwrap().prepared,
            check_pushed(&app, true, &[text.as_str(), "1"]).unwrap().prepared,
        );
        let path = |path| ScriptPath::new(path).unwrap();
        assert!(Arc::ptr_eq(&first.sources[&path("0.rhai")], &first.sources[&path("99.rhai")]));
        assert!(Arc::ptr_eq(&first.sources[&path("0.rhai")], &second.sources[&path("0.rhai")]));
        assert!(app.account().used_bytes() < MIB as u64, "{memory:?}");
        drop((first, second));
        assert_eq!(app.account().used_bytes(), 0);
    }

    #[test]
    fn snapshot_beyond_memory_share_is_rejected() {
        let app = app(MemoryBudget::new(12 * MIB as u64));
        let texts: Vec<_> = (0..30).map(|n| format!("{n}; \"{}\"", "x".repeat(MIB / 4 - 100))).collect();
        let texts: Vec<_> = texts.iter().map(String::as_str).collect();
        let error = check_pushed(&app, false, &texts).unwrap_err();
        assert!(matches!(error, CheckError::NoMemory(OutOfMemory::App { .. })), "{error:?}");
        assert_eq!(app.account().used_bytes(), 0, "nothing is kept");
        assert!(check_pushed(&app, false, &texts[..1]).is_ok());
    }

    #[test]
    fn files_that_cannot_be_scripts_are_reported() {
        let mut wrong = snapshot(&["1", "2", "3", "a\0", "5", "6"]);
        wrong.add("0.rhai", || File::Symlink);
        wrong.add("1.rhai", || File::Submodule);
        wrong.add("2.rhai", || File::TooLarge);
        wrong.add("4.rhai", || File::Bytes(b"1;\n\xff".to_vec().into()));
        let pointer = "version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12345\n";
        wrong.add("5.rhai", || File::Bytes(pointer.into()));
        assert_eq!(
            messages(&check(&wrong, &Ceiling::DEFAULT).unwrap_err()),
            [
                "0.rhai: the file is a symbolic link; links are not followed",
                "1.rhai: the file is a submodule; submodules are not followed",
                "2.rhai: the script is larger than 256 KiB",
                "3.rhai: the script contains a NUL byte",
                "4.rhai: the script is not UTF-8",
                "5.rhai: the file is a Git LFS pointer; its content was not pushed",
            ]
        );
        let huge = vec![b' '; MIB / 4];
        for index in 0..140 {
            wrong.add(&format!("{index}.rhai"), || File::Bytes(huge.clone().into()));
        }
        let diagnostics = check(&wrong, &Ceiling::DEFAULT).unwrap_err();
        assert_eq!(messages(&diagnostics), ["the app: manifest and scripts exceed 32 MiB"]);
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_are_accepted_or_reported(
            manifest_bytes in prop::collection::vec(any::<u8>(), 0..100),
            script_bytes in prop::collection::vec(any::<u8>(), 0..200),
        ) {
            let mut any = snapshot(&[""]);
            any.add("0.rhai", || File::Bytes(script_bytes.into()));
            let _ = check(&any, &Ceiling::DEFAULT).map_err(|diagnostics| assert!(diagnostics.errors() > 0));
            any.add(manifest::FILE_NAME, || File::Bytes(manifest_bytes.into()));
            let _ = check(&any, &Ceiling::DEFAULT).map_err(|diagnostics| assert!(diagnostics.errors() > 0));
        }
    }
}
