//! The validation of a snapshot: every diagnostic at once, without running anything. A push and `picloud check` share it.

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
use runtime::{ManifestNames, Secrets, Source};
use store::{AppId, Environment};
use uuid::Uuid;

use super::push_time::PushTime;
use super::report::Tell;
use super::snapshot::{File, SNAPSHOT_MAX, Snapshot};
use crate::memory::MemoryBudget;
use crate::revision::{PrepareError, Prepared, measured};
use crate::scripts::{AppScripts, CheckError, CheckedScript, Scripts};

/// How many bytes of source are kept compiled; a compiled script can take two hundred times the memory. The rest is
/// compiled again when it first runs.
const COMPILED_MAX: usize = 1024 * 1024;

/// A snapshot that keeps the contract.
#[derive(Clone, Debug)]
pub struct Checked {
    /// What it declares, and the scripts that it names; they are compiled as far as that takes little memory.
    pub prepared: Prepared,
    /// What its author should look at; no error is among it.
    pub warnings: Diagnostics,
}

/// Checks `snapshot` against the contract and the most that the server grants, on the machine of its author.
///
/// # Errors
/// Every diagnostic of the manifest and of every script, at least one of them an error; the manifest's first.
pub fn check(snapshot: &Snapshot, ceiling: &Ceiling) -> Result<Checked, Diagnostics> {
    let scripts = Scripts::new(MemoryBudget::unbounded()).of(AppId::from_uuid(Uuid::nil()));
    let time = PushTime::begin(&Tell::to_nobody());
    check_for(&scripts, false, snapshot, ceiling, None, &time).map_err(|error| match error {
        CheckError::Diagnostics(diagnostics) => diagnostics,
        CheckError::NoMemory(_) => unreachable!("there is room for everything"),
    })
}

/// Checks `snapshot` for an app, and whether the secrets that it needs are among `secrets`, those of its environment, where they are known. It is compiled
/// script by script in memory of the app, and what fits is kept compiled, where it `keeps` it.
///
/// # Errors
/// Every diagnostic of the manifest and of every script, at least one of them an error; the manifest's first. Or there is no room.
pub(crate) fn check_for(
    app: &AppScripts,
    keeps: bool,
    snapshot: &Snapshot,
    ceiling: &Ceiling,
    secrets: Option<(&Secrets, Environment)>,
    time: &PushTime,
) -> Result<Checked, CheckError> {
    if snapshot.bytes() > SNAPSHOT_MAX {
        let words =
            format!("manifest and scripts take more than {} MiB together", SNAPSHOT_MAX / (1024 * 1024));
        return Err(Diagnostic::error("the app", None, words).with_help("split it into several").into());
    }
    let bytes = manifest_bytes(snapshot.manifest.as_ref())?;
    let known: BTreeSet<String> = snapshot.scripts.keys().cloned().collect();
    let (parsed, parsed_bytes) = measured(|| parse(bytes, ParseContext { ceiling, scripts: &known }));
    let (manifest, mut diagnostics, sdk, named) = match parsed {
        Ok(parsed) => {
            let sdk = parsed.manifest.sdk;
            let named = parsed.manifest.scripts().into_iter().cloned().collect();
            let mut diagnostics = parsed.warnings;
            warn_of_old_zones(&parsed.manifest, zone_data(), Utc::now(), &mut diagnostics);
            if let Some((secrets, environment)) = secrets {
                refuse_unset(&parsed.manifest, secrets, environment, &mut diagnostics);
            }
            (Some(parsed.manifest), diagnostics, sdk, named)
        }
        // What can be understood is enough to look at the scripts too.
        Err(ParseError { diagnostics, sdk, scripts }) => {
            let all = || known.iter().filter_map(|path| ScriptPath::new(path).ok()).collect();
            (None, diagnostics, sdk.unwrap_or(SdkVersion::NEWEST), scripts.unwrap_or_else(all))
        }
    };
    let expected = Expected { sdk, manifest: manifest.as_ref() };
    let passed = check_scripts(time, app, keeps, snapshot, &expected, named, &mut diagnostics)?;
    match manifest {
        Some(manifest) if diagnostics.errors() == 0 => {
            let sources = passed.held(app)?;
            match Prepared::new((manifest, parsed_bytes), sources, app) {
                Ok(prepared) => Ok(Checked { prepared, warnings: diagnostics }),
                Err(PrepareError::Routes(error)) => {
                    Err(Diagnostic::error(manifest::FILE_NAME, None, error.to_string()).into())
                }
                Err(PrepareError::NoMemory(refused)) => Err(CheckError::NoMemory(refused)),
            }
        }
        _ => Err(diagnostics.into()),
    }
}

/// A diagnostic for every secret that the manifest requires and that is not set.
pub(super) fn refuse_unset(
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
            let words = format!("secret {name} is required and not set{of}");
            let diagnostic = Diagnostic::error(manifest::FILE_NAME, None, words);
            diagnostics.add(diagnostic.with_help(format!("picloud secrets set {name}{flag}")));
        }
    }
}

/// A warning where schedules go by rules of zones that may have changed meanwhile.
fn warn_of_old_zones(
    manifest: &Manifest,
    data: &ZoneData,
    now: DateTime<Utc>,
    diagnostics: &mut Diagnostics,
) {
    let zoned = manifest.schedules.iter().find(|schedule| !schedule.cron.zone().is_utc());
    if let Some(schedule) = zoned.filter(|_| data.is_old(now)) {
        let words = format!(
            "the time zone data ({data}) is more than a year old; schedule `{}` in {} can be due at a wrong time",
            schedule.name,
            schedule.cron.zone()
        );
        let help = match data.source() {
            zone::Source::System => "upgrade the system's package tzdata on the server, and restart PiCloud",
            zone::Source::Bundled => "install the system's package tzdata on the server, or a newer PiCloud",
        };
        diagnostics.add(Diagnostic::warning(manifest::FILE_NAME, None, words).with_help(help.to_owned()));
    }
}

/// What scripts are checked against.
struct Expected<'m> {
    sdk: SdkVersion,
    /// `None` where it is not understood.
    manifest: Option<&'m Manifest>,
}

/// The scripts that passed, by their texts.
#[derive(Default)]
struct Passed<'s> {
    paths: Vec<(ScriptPath, &'s str)>,
    /// What they are compiled to, as far as it is kept; `None` where it is not.
    compiled: HashMap<&'s str, Option<CheckedScript>>,
    compiled_bytes: usize,
}

impl<'s> Passed<'s> {
    fn add(&mut self, text: &'s str, script: CheckedScript, keeps: bool) {
        if self.compiled.contains_key(text) {
            return;
        }
        self.compiled_bytes += text.len();
        let kept = (keeps && self.compiled_bytes <= COMPILED_MAX).then_some(script);
        self.compiled.insert(text, kept);
    }

    /// Keeps nothing compiled, and says whether that gave anything back.
    fn let_go(&mut self) -> bool {
        self.compiled.values_mut().filter_map(Option::take).count() > 0
    }

    /// The same, held for the app: each text once, with what is kept compiled of it.
    fn held(mut self, app: &AppScripts) -> Result<BTreeMap<ScriptPath, Arc<Source>>, CheckError> {
        let mut sources = BTreeMap::new();
        for (path, text) in self.paths {
            let source = app.source(text).map_err(CheckError::NoMemory)?;
            if let Some(script) = self.compiled.remove(text).flatten() {
                app.keep(&source, script);
            }
            sources.insert(path, source);
        }
        Ok(sources)
    }
}

fn check_scripts<'s>(
    time: &PushTime,
    app: &AppScripts,
    keeps: bool,
    snapshot: &'s Snapshot,
    expected: &Expected<'_>,
    named: BTreeSet<ScriptPath>,
    diagnostics: &mut Diagnostics,
) -> Result<Passed<'s>, CheckError> {
    let mut passed = Passed::default();
    // What each text was checked for: one text at two paths can be reached by other routes.
    let mut checked_for = HashMap::new();
    let mut left = named.len();
    for path in named {
        if time.check().is_err() {
            let most = time.most();
            let words = format!("checking took longer than {most:?}; {left} scripts were not looked at");
            diagnostics.add(
                Diagnostic::error(manifest::FILE_NAME, None, words).with_help("deploy them as several apps"),
            );
            break;
        }
        left -= 1;
        // A script that is not there is a diagnostic of the manifest, told there.
        let Some(file) = snapshot.scripts.get(path.as_str()) else { continue };
        let text = match script_text(&path, file) {
            Ok(text) => text,
            Err(diagnostic) => {
                diagnostics.add(diagnostic);
                continue;
            }
        };
        let provided = expected.manifest.map(|manifest| ManifestNames::of(manifest, &path));
        if checked_for.get(text) != Some(&provided) {
            let check = || app.check(expected.sdk, &path, text, provided.as_ref());
            let mut checked = check();
            if matches!(checked, Err(CheckError::NoMemory(_))) && passed.let_go() {
                checked = check();
            }
            match checked {
                Ok(mut script) => {
                    diagnostics.append(script.take_warnings());
                    passed.add(text, script, keeps);
                    checked_for.insert(text, provided);
                }
                Err(CheckError::Diagnostics(found)) => {
                    diagnostics.append(found);
                    continue;
                }
                Err(refused @ CheckError::NoMemory(_)) => return Err(refused),
            }
        }
        passed.paths.push((path, text));
    }
    Ok(passed)
}

fn script_text<'a>(path: &ScriptPath, file: &'a File) -> Result<&'a str, Diagnostic> {
    text(path, bytes(path.as_str(), file, || runtime::script_too_large(path))?)
}

fn manifest_bytes(file: Option<&File>) -> Result<&[u8], Diagnostic> {
    let Some(file) = file else {
        let missing =
            Diagnostic::error(manifest::FILE_NAME, None, "the repository has no picloud.toml at its root");
        return Err(missing.with_help("`picloud init` writes a first one"));
    };
    bytes(manifest::FILE_NAME, file, parse::too_large)
}

fn bytes<'a>(
    path: &str,
    file: &'a File,
    too_large: impl FnOnce() -> Diagnostic,
) -> Result<&'a [u8], Diagnostic> {
    match file {
        File::Bytes(_) if file.is_lfs_pointer() => {
            let diagnostic =
                Diagnostic::error(path, None, "the file is a Git LFS pointer: the push has no more of it");
            Err(diagnostic
                .with_help(format!("git lfs untrack {path}, git add --renormalize {path}, and commit")))
        }
        File::Bytes(bytes) => Ok(bytes),
        File::Symlink => {
            Err(Diagnostic::error(path, None, "the file is a symbolic link, which is never followed"))
        }
        File::Submodule => {
            Err(Diagnostic::error(path, None, "the file is a submodule, which is never followed"))
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
    // PostgreSQL keeps no NUL in text, and no editor writes one.
    match text.find('\0') {
        Some(at) => Err(Diagnostic::error(
            path.as_str(),
            Some(Span::from_range(text, at..at + 1)),
            "the script holds a NUL",
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

    fn told(diagnostics: &Diagnostics) -> Vec<String> {
        diagnostics.iter().map(|diagnostic| format!("{}: {}", diagnostic.file, diagnostic.message)).collect()
    }

    #[test]
    fn every_fault_of_every_file_is_told_at_once() {
        let mut wrong = snapshot(&["nope();", "ctx.request.rest", "1 +", "fine"]);
        let text = "sdk = \"1.0\"\nx = 1\n[[functions]]\nname = \"a\"\nscript = \"0.rhai\"\n\
                    [[functions]]\nname = \"b\"\nscript = \"1.rhai\"\n";
        wrong.add(manifest::FILE_NAME, || File::Bytes(text.to_owned().into()));
        assert_eq!(
            told(&check(&wrong, &Ceiling::DEFAULT).unwrap_err()),
            [
                "picloud.toml: unknown key `x`",
                "0.rhai: unknown function `nope`",
                // Checked for the version that the manifest asks for, wrong though it is otherwise.
                "1.rhai: `ctx.request.rest` came with sdk 1.1, this is 1.0",
                // Named by nothing, so not looked at.
                "2.rhai: not used by any route, schedule or function of picloud.toml",
                "3.rhai: not used by any route, schedule or function of picloud.toml",
            ]
        );
    }

    #[test]
    fn where_a_name_is_not_understood_every_script_is_looked_at() {
        let mut wrong = snapshot(&["nope();", "2"]);
        let text = "sdk = \"1.1\"\n[[functions]]\nname = \"a\"\nscript = \"7.rhai\"\n";
        wrong.add(manifest::FILE_NAME, || File::Bytes(text.to_owned().into()));
        assert_eq!(
            told(&check(&wrong, &Ceiling::DEFAULT).unwrap_err()),
            ["picloud.toml: script `7.rhai` is not in the repository", "0.rhai: unknown function `nope`"]
        );
    }

    #[test]
    fn names_that_the_manifest_does_not_provide_are_told() {
        let mut wrong = snapshot(&[
            "[ctx.secrets.TOKN, ctx.env.GREETNG, ctx.request.params.nmae]",
            "ctx.request.params.id",
        ]);
        let text = "sdk = \"1.3\"\n[env]\nGREETING = \"Hello\"\n[secrets]\nrequired = [\"TOKEN\"]\n\
                    [[routes]]\npath = \"/a/{name}\"\nscript = \"0.rhai\"\n[[routes]]\npath = \"/b/{*rest}\"\nscript = \"0.rhai\"\n\
                    [[functions]]\nname = \"a\"\nscript = \"1.rhai\"\n";
        let told_of = |wrong: &Snapshot| match check(wrong, &Ceiling::DEFAULT) {
            Ok(checked) => checked.warnings,
            Err(diagnostics) => diagnostics,
        };
        wrong.add(manifest::FILE_NAME, || File::Bytes(text.to_owned().into()));
        let draft = "picloud.toml: sdk 1.3 is a draft: it can change until PiCloud 0.1.0 is released";
        let found = [
            "0.rhai: the manifest declares no secret `TOKN`",
            "0.rhai: the manifest declares no setting `GREETNG` in [env]",
            "0.rhai: no route of this script captures `nmae`",
            "1.rhai: no route leads to this script, so that `ctx.request.params.id` is always `()`",
        ];
        let diagnostics = told_of(&wrong);
        assert_eq!(told(&diagnostics), [&found[..], &[draft]].concat());
        let help: Vec<_> = diagnostics.iter().filter_map(|diagnostic| diagnostic.help.as_deref()).collect();
        assert_eq!(help[..3], ["did you mean `TOKEN`?", "did you mean `GREETING`?", "did you mean `name`?"]);
        // For older versions they are warnings.
        wrong.add(manifest::FILE_NAME, || File::Bytes(text.replace("1.3", "1.2").into()));
        let diagnostics = told_of(&wrong);
        assert_eq!((diagnostics.errors(), told(&diagnostics)), (0, found.map(str::to_owned).to_vec()));
        // What the manifest means is not known where it is wrong.
        wrong.add(manifest::FILE_NAME, || File::Bytes(text.replace("[secrets]", "[secrts]").into()));
        assert_eq!(told(&told_of(&wrong)), ["picloud.toml: unknown key `secrts`", draft]);
    }

    #[test]
    fn one_text_at_two_paths_is_judged_by_the_routes_of_each() {
        let mut wrong =
            snapshot(&["ctx.request.params.id", "ctx.request.params.id", "ctx.request.params.id"]);
        let text = "sdk = \"1.3\"\n[[routes]]\npath = \"/a/{id}\"\nscript = \"0.rhai\"\n\
                    [[routes]]\npath = \"/b/{name}\"\nscript = \"1.rhai\"\n[[routes]]\npath = \"/c/{id}\"\nscript = \"2.rhai\"\n";
        wrong.add(manifest::FILE_NAME, || File::Bytes(text.to_owned().into()));
        let diagnostics = check(&wrong, &Ceiling::DEFAULT).unwrap_err();
        assert_eq!(told(&diagnostics)[0], "1.rhai: no route of this script captures `id`");
        assert_eq!(
            diagnostics.iter().next().and_then(|diagnostic| diagnostic.help.as_deref()),
            Some("its routes capture name")
        );
        assert_eq!(diagnostics.errors(), 1);
    }

    #[test]
    fn what_takes_too_long_is_not_looked_at() {
        let named = ["0.rhai", "1.rhai"].map(|path| ScriptPath::new(path).unwrap()).into();
        let mut diagnostics = Diagnostics::default();
        let (app, snapshot) = (app(MemoryBudget::unbounded()), snapshot(&["1", "nope()"]));
        let time = PushTime::of(Duration::ZERO, &Tell::to_nobody());
        let expected = Expected { sdk: SdkVersion::NEWEST, manifest: None };
        check_scripts(&time, &app, true, &snapshot, &expected, named, &mut diagnostics).unwrap();
        assert_eq!(
            told(&diagnostics),
            ["picloud.toml: checking took longer than 0ns; 2 scripts were not looked at"]
        );
    }

    fn app(memory: MemoryBudget) -> AppScripts {
        Scripts::new(memory).of(AppId::random())
    }

    fn check_pushed(app: &AppScripts, keeps: bool, sources: &[&str]) -> Result<Checked, CheckError> {
        let time = PushTime::begin(&Tell::to_nobody());
        check_for(app, keeps, &snapshot(sources), &Ceiling::DEFAULT, None, &time)
    }

    #[test]
    fn no_more_is_kept_compiled_than_fits() {
        let sources: Vec<_> = (0..6).map(|n| format!("{n}; \"{}\"", "x".repeat(MIB / 4 - 100))).collect();
        let sources: Vec<_> = sources.iter().map(String::as_str).collect();
        let app = app(MemoryBudget::unbounded());
        let compiled = |keeps| {
            let sources = check_pushed(&app, keeps, &sources).unwrap().prepared.sources;
            assert_eq!(sources.len(), 6);
            sources.values().filter(|source| source.program(SdkVersion::V1_1).is_some()).count()
        };
        assert_eq!((compiled(false), compiled(true)), (0, 4));
    }

    #[test]
    fn scripts_with_the_same_text_are_held_once() {
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
    fn snapshot_that_has_no_room_is_refused() {
        let app = app(MemoryBudget::new(12 * MIB as u64));
        let texts: Vec<_> = (0..30).map(|n| format!("{n}; \"{}\"", "x".repeat(MIB / 4 - 100))).collect();
        let texts: Vec<_> = texts.iter().map(String::as_str).collect();
        let refused = check_pushed(&app, false, &texts).unwrap_err();
        assert!(matches!(refused, CheckError::NoMemory(OutOfMemory::App { .. })), "{refused:?}");
        assert_eq!(app.account().used_bytes(), 0, "nothing of it is kept");
        assert!(check_pushed(&app, false, &texts[..1]).is_ok());
    }

    #[test]
    fn files_that_cannot_be_scripts_are_told() {
        let mut wrong = snapshot(&["1", "2", "3", "a\0", "5", "6"]);
        wrong.add("0.rhai", || File::Symlink);
        wrong.add("1.rhai", || File::Submodule);
        wrong.add("2.rhai", || File::TooLarge);
        wrong.add("4.rhai", || File::Bytes(b"1;\n\xff".to_vec().into()));
        let pointer = "version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12345\n";
        wrong.add("5.rhai", || File::Bytes(pointer.into()));
        assert_eq!(
            told(&check(&wrong, &Ceiling::DEFAULT).unwrap_err()),
            [
                "0.rhai: the file is a symbolic link, which is never followed",
                "1.rhai: the file is a submodule, which is never followed",
                "2.rhai: the script is larger than 256 KiB",
                "3.rhai: the script holds a NUL",
                "4.rhai: the script is not UTF-8",
                "5.rhai: the file is a Git LFS pointer: the push has no more of it",
            ]
        );
        let huge = vec![b' '; MIB / 4];
        for index in 0..140 {
            wrong.add(&format!("{index}.rhai"), || File::Bytes(huge.clone().into()));
        }
        let diagnostics = check(&wrong, &Ceiling::DEFAULT).unwrap_err();
        assert_eq!(told(&diagnostics), ["the app: manifest and scripts take more than 32 MiB together"]);
    }

    proptest! {
        #[test]
        fn any_bytes_as_manifest_and_script_are_accepted_or_told(
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
