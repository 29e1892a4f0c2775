//! The validation of a snapshot: every fault at once, without running anything. A push and `picloud check` share it.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};
use manifest_schema::fault::{Fault, Faults, Place};
use manifest_schema::limits::Ceiling;
use manifest_schema::manifest::{self, Manifest};
use manifest_schema::name::ScriptPath;
use manifest_schema::parse::{self, Refused, Surroundings, parse};
use manifest_schema::sdk::SdkVersion;
use manifest_schema::zone::{Source, ZoneData, zone_data};
use runtime::{Script, Secrets};

use super::snapshot::{File, Snapshot};
use crate::revision::Prepared;

/// The most bytes of manifest and scripts together: what one revision may weigh in memory.
const SNAPSHOT_MAX: u64 = 32 * 1024 * 1024;

/// How long the scripts of one snapshot may take to check, all together; beyond, the rest is not looked at.
const TIME_MAX: Duration = Duration::from_secs(30);

/// How many bytes of source are kept compiled; a compiled script can take two hundred times the memory. The rest is
/// compiled again when it first runs.
const COMPILED_MAX: usize = 1024 * 1024;

/// A snapshot that keeps the contract.
#[derive(Clone, Debug)]
pub struct Checked {
    /// What it declares, and the scripts that it names; they are compiled as far as that takes little memory.
    pub prepared: Prepared,
    /// What its author should look at; no error is among it.
    pub warnings: Faults,
}

/// Checks `snapshot` against the contract and the most that the server grants, and whether the secrets that it needs are
/// among `secrets`, where those are known.
///
/// # Errors
/// Every fault of the manifest and of every script, at least one of them an error; the manifest's first.
pub fn check(snapshot: &Snapshot, ceiling: &Ceiling, secrets: Option<&Secrets>) -> Result<Checked, Faults> {
    if snapshot.bytes() > SNAPSHOT_MAX {
        let words =
            format!("manifest and scripts take more than {} MiB together", SNAPSHOT_MAX / (1024 * 1024));
        return Err(Fault::error("the app", None, words).advise("split it into several").into());
    }
    let bytes = manifest_bytes(snapshot.manifest.as_ref())?;
    let known: BTreeSet<String> = snapshot.scripts.keys().cloned().collect();
    let parsed = parse(bytes, Surroundings { ceiling, scripts: &known });
    let (manifest, mut faults, sdk, named) = match parsed {
        Ok(parsed) => {
            let sdk = parsed.manifest.sdk;
            let named = parsed.manifest.scripts().into_iter().cloned().collect();
            let mut faults = parsed.warnings;
            warn_of_old_zones(&parsed.manifest, zone_data(), Utc::now(), &mut faults);
            if let Some(secrets) = secrets {
                refuse_unset(&parsed.manifest, secrets, &mut faults);
            }
            (Some(parsed.manifest), faults, sdk, named)
        }
        // What can be understood is enough to look at the scripts too.
        Err(Refused { faults, sdk, scripts }) => {
            let all = || known.iter().filter_map(|path| ScriptPath::new(path).ok()).collect();
            (None, faults, sdk.unwrap_or(SdkVersion::NEWEST), scripts.unwrap_or_else(all))
        }
    };
    let scripts = check_scripts(TIME_MAX, snapshot, sdk, named, &mut faults);
    match manifest {
        Some(manifest) if faults.errors() == 0 => {
            let Scripts { sources, compiled } = scripts;
            let prepared = Prepared::new(manifest, sources, compiled)
                .map_err(|error| Fault::error(manifest::FILE_NAME, None, error.to_string()))?;
            Ok(Checked { prepared, warnings: faults })
        }
        _ => Err(faults),
    }
}

/// A fault for every secret that the manifest requires and that is not set.
pub(super) fn refuse_unset(manifest: &Manifest, secrets: &Secrets, faults: &mut Faults) {
    for name in &manifest.secrets.required {
        if secrets.iter().all(|(set, _)| set != name.as_str()) {
            let words = format!("secret {name} is required and not set");
            let fault = Fault::error(manifest::FILE_NAME, None, words);
            faults.add(fault.advise(format!("picloud secrets set {name}")));
        }
    }
}

/// A warning where schedules go by rules of zones that may have changed meanwhile.
fn warn_of_old_zones(manifest: &Manifest, data: &ZoneData, now: DateTime<Utc>, faults: &mut Faults) {
    let zoned = manifest.schedules.iter().find(|schedule| !schedule.cron.zone().is_utc());
    if let Some(schedule) = zoned.filter(|_| data.is_old(now)) {
        let words = format!(
            "the time zone data ({data}) is more than a year old; schedule `{}` in {} can be due at a wrong time",
            schedule.name,
            schedule.cron.zone()
        );
        let help = match data.source() {
            Source::System => "upgrade the system's package tzdata on the server, and restart PiCloud",
            Source::Bundled => "install the system's package tzdata on the server, or a newer PiCloud",
        };
        faults.add(Fault::warning(manifest::FILE_NAME, None, words).advise(help.to_owned()));
    }
}

/// The scripts that passed.
#[derive(Default)]
struct Scripts {
    sources: BTreeMap<ScriptPath, String>,
    compiled: BTreeMap<ScriptPath, Script>,
}

fn check_scripts(
    time: Duration,
    snapshot: &Snapshot,
    sdk: SdkVersion,
    named: BTreeSet<ScriptPath>,
    faults: &mut Faults,
) -> Scripts {
    let deadline = Instant::now() + time;
    let mut scripts = Scripts::default();
    let mut compiled_bytes = 0;
    let mut left = named.len();
    for path in named {
        if Instant::now() >= deadline {
            let words = format!("checking took longer than {time:?}; {left} scripts were not looked at");
            faults.add(Fault::error(manifest::FILE_NAME, None, words).advise("deploy them as several apps"));
            break;
        }
        left -= 1;
        // A script that is not there is a fault of the manifest, told there.
        let Some(file) = snapshot.scripts.get(path.as_str()) else { continue };
        match script(sdk, &path, file) {
            Ok((source, script)) => {
                compiled_bytes += source.len();
                if compiled_bytes <= COMPILED_MAX {
                    scripts.compiled.insert(path.clone(), script);
                }
                scripts.sources.insert(path, source.to_owned());
            }
            Err(found) => faults.append(found),
        }
    }
    scripts
}

/// The source of a script, and what it compiles to.
fn script<'a>(sdk: SdkVersion, path: &ScriptPath, file: &'a File) -> Result<(&'a str, Script), Faults> {
    let source = text(path, bytes(path.as_str(), file, || runtime::too_large(path))?)?;
    Ok((source, runtime::compile(sdk, path, source)?))
}

fn manifest_bytes(file: Option<&File>) -> Result<&[u8], Fault> {
    let Some(file) = file else {
        let missing =
            Fault::error(manifest::FILE_NAME, None, "the repository has no picloud.toml at its root");
        return Err(missing.advise("`picloud init` writes a first one"));
    };
    bytes(manifest::FILE_NAME, file, parse::too_large)
}

fn bytes<'a>(path: &str, file: &'a File, too_large: impl FnOnce() -> Fault) -> Result<&'a [u8], Fault> {
    match file {
        File::Bytes(bytes) => Ok(bytes),
        File::Symlink => {
            Err(Fault::error(path, None, "the file is a symbolic link, which is never followed"))
        }
        File::Submodule => Err(Fault::error(path, None, "the file is a submodule, which is never followed")),
        File::TooLarge => Err(too_large()),
    }
}

fn text<'a>(path: &ScriptPath, bytes: &'a [u8]) -> Result<&'a str, Fault> {
    let text = std::str::from_utf8(bytes).map_err(|error| {
        let readable = String::from_utf8_lossy(&bytes[..error.valid_up_to()]);
        let place = Place::of_span(&format!("{readable}\u{fffd}"), error.valid_up_to()..error.valid_up_to());
        Fault::error(path.as_str(), Some(place), "the script is not UTF-8").advise("save it as UTF-8")
    })?;
    // PostgreSQL keeps no NUL in text, and no editor writes one.
    match text.find('\0') {
        Some(at) => {
            Err(Fault::error(path.as_str(), Some(Place::of_span(text, at..at + 1)), "the script holds a NUL"))
        }
        None => Ok(text),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const MIB: usize = 1024 * 1024;

    /// A snapshot of functions `f0`, `f1` ... with these sources.
    fn snapshot(sources: &[&str]) -> Snapshot {
        let mut manifest = "sdk = \"1.1\"\n".to_owned();
        let mut snapshot = Snapshot::default();
        for (index, source) in sources.iter().enumerate() {
            manifest += &format!("[[functions]]\nname = \"f{index}\"\nscript = \"{index}.rhai\"\n");
            snapshot.add(&format!("{index}.rhai"), || File::Bytes(source.as_bytes().to_vec()));
        }
        snapshot.add(manifest::FILE_NAME, || File::Bytes(manifest.into_bytes()));
        snapshot
    }

    fn told(faults: &Faults) -> Vec<String> {
        faults.iter().map(|fault| format!("{}: {}", fault.file, fault.message)).collect()
    }

    #[test]
    fn every_fault_of_every_file_is_told_at_once() {
        let mut wrong = snapshot(&["nope();", "ctx.request.rest", "1 +", "fine"]);
        let text = "sdk = \"1.0\"\nx = 1\n[[functions]]\nname = \"a\"\nscript = \"0.rhai\"\n\
                    [[functions]]\nname = \"b\"\nscript = \"1.rhai\"\n";
        wrong.add(manifest::FILE_NAME, || File::Bytes(text.as_bytes().to_vec()));
        assert_eq!(
            told(&check(&wrong, &Ceiling::DEFAULT, None).unwrap_err()),
            [
                "picloud.toml: unknown key `x`",
                "0.rhai: unknown function `nope`",
                // Checked for the version that the manifest asks for, wrong though it is otherwise.
                "1.rhai: `ctx.request.rest` came with sdk 1.1, this is 1.0",
                // Named by nothing, so not looked at.
                "2.rhai: no route, schedule or function of picloud.toml names it",
                "3.rhai: no route, schedule or function of picloud.toml names it",
            ]
        );
    }

    #[test]
    fn where_a_name_is_not_understood_every_script_is_looked_at() {
        let mut wrong = snapshot(&["nope();", "2"]);
        let text = "sdk = \"1.1\"\n[[functions]]\nname = \"a\"\nscript = \"7.rhai\"\n";
        wrong.add(manifest::FILE_NAME, || File::Bytes(text.as_bytes().to_vec()));
        assert_eq!(
            told(&check(&wrong, &Ceiling::DEFAULT, None).unwrap_err()),
            ["picloud.toml: script `7.rhai` is not in the repository", "0.rhai: unknown function `nope`"]
        );
    }

    #[test]
    fn what_takes_too_long_is_not_looked_at() {
        let named = ["0.rhai", "1.rhai"].map(|path| ScriptPath::new(path).unwrap()).into();
        let mut faults = Faults::default();
        check_scripts(Duration::ZERO, &snapshot(&["1", "nope()"]), SdkVersion::NEWEST, named, &mut faults);
        assert_eq!(
            told(&faults),
            ["picloud.toml: checking took longer than 0ns; 2 scripts were not looked at"]
        );
    }

    #[test]
    fn no_more_is_kept_compiled_than_fits() {
        let source = format!("\"{}\"", "x".repeat(MIB / 4 - 100));
        let checked = check(&snapshot(&[source.as_str(); 6]), &Ceiling::DEFAULT, None).unwrap();
        let Prepared { sources, compiled, .. } = checked.prepared;
        assert_eq!((sources.len(), compiled.len()), (6, 4));
    }

    #[test]
    fn files_that_cannot_be_scripts_are_told() {
        let mut wrong = snapshot(&["1", "2", "3", "a\0", "5"]);
        wrong.add("0.rhai", || File::Symlink);
        wrong.add("1.rhai", || File::Submodule);
        wrong.add("2.rhai", || File::TooLarge);
        wrong.add("4.rhai", || File::Bytes(b"1;\n\xff".to_vec()));
        assert_eq!(
            told(&check(&wrong, &Ceiling::DEFAULT, None).unwrap_err()),
            [
                "0.rhai: the file is a symbolic link, which is never followed",
                "1.rhai: the file is a submodule, which is never followed",
                "2.rhai: the script is larger than 256 KiB",
                "3.rhai: the script holds a NUL",
                "4.rhai: the script is not UTF-8",
            ]
        );
        let huge = vec![b' '; MIB / 4];
        for index in 0..140 {
            wrong.add(&format!("{index}.rhai"), || File::Bytes(huge.clone()));
        }
        let faults = check(&wrong, &Ceiling::DEFAULT, None).unwrap_err();
        assert_eq!(told(&faults), ["the app: manifest and scripts take more than 32 MiB together"]);
    }

    proptest! {
        #[test]
        fn any_bytes_as_manifest_and_script_are_accepted_or_told(
            manifest_bytes in prop::collection::vec(any::<u8>(), 0..100),
            script_bytes in prop::collection::vec(any::<u8>(), 0..200),
        ) {
            let mut any = snapshot(&[""]);
            any.add("0.rhai", || File::Bytes(script_bytes));
            let _ = check(&any, &Ceiling::DEFAULT, None).map_err(|faults| assert!(faults.errors() > 0));
            any.add(manifest::FILE_NAME, || File::Bytes(manifest_bytes));
            let _ = check(&any, &Ceiling::DEFAULT, None).map_err(|faults| assert!(faults.errors() > 0));
        }
    }
}
