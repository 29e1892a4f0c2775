//! The validation of a snapshot: every fault at once, without running anything. A push and `picloud check` share it.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use manifest_schema::fault::{Fault, Faults, Place};
use manifest_schema::limits::Limits;
use manifest_schema::manifest::{self, Manifest};
use manifest_schema::name::ScriptPath;
use manifest_schema::parse::{self, Refused, Surroundings, parse};
use manifest_schema::sdk::SdkVersion;
use runtime::Script;

use super::snapshot::{File, Snapshot};

/// How long the scripts of one snapshot may take to check, all together; beyond, the rest is not looked at.
const TIME_MAX: Duration = Duration::from_secs(30);

/// How many bytes of source are kept compiled; a compiled script can take two hundred times the memory. The rest is
/// compiled again when it first runs.
const COMPILED_MAX: usize = 1024 * 1024;

/// A snapshot that keeps the contract.
#[derive(Clone, Debug)]
pub struct Checked {
    /// What it declares.
    pub manifest: Manifest,
    /// The manifest's text.
    pub manifest_source: String,
    /// The text of every script that the manifest names.
    pub sources: BTreeMap<ScriptPath, String>,
    /// The same scripts, compiled, as far as that takes little memory.
    pub compiled: BTreeMap<ScriptPath, Script>,
    /// What its author should look at; no error is among it.
    pub warnings: Faults,
}

/// Checks `snapshot` against the contract and the most that the server grants.
///
/// # Errors
/// Every fault of the manifest and of every script, at least one of them an error; the manifest's first.
pub fn check(snapshot: &Snapshot, ceiling: &Limits) -> Result<Checked, Faults> {
    let bytes = manifest_bytes(snapshot.manifest.as_ref())?;
    let known: BTreeSet<String> = snapshot.scripts.keys().cloned().collect();
    let parsed = parse(bytes, Surroundings { ceiling, scripts: &known });
    let (manifest, mut faults, sdk, named) = match parsed {
        Ok(parsed) => {
            let sdk = parsed.manifest.sdk;
            let named = parsed.manifest.scripts().into_iter().cloned().collect();
            (Some(parsed.manifest), parsed.warnings, sdk, named)
        }
        // What can be understood is enough to look at the scripts too.
        Err(Refused { faults, sdk, scripts }) => {
            let all = || known.iter().filter_map(|path| ScriptPath::new(path).ok()).collect();
            (None, faults, sdk.unwrap_or(SdkVersion::NEWEST), scripts.unwrap_or_else(all))
        }
    };
    let scripts = check_scripts(snapshot, sdk, named, &mut faults);
    match manifest {
        Some(manifest) if faults.errors() == 0 => {
            let manifest_source = String::from_utf8_lossy(bytes).into_owned();
            let Scripts { sources, compiled } = scripts;
            Ok(Checked { manifest, manifest_source, sources, compiled, warnings: faults })
        }
        _ => Err(faults),
    }
}

/// The scripts that passed.
#[derive(Default)]
struct Scripts {
    sources: BTreeMap<ScriptPath, String>,
    compiled: BTreeMap<ScriptPath, Script>,
}

fn check_scripts(
    snapshot: &Snapshot,
    sdk: SdkVersion,
    named: BTreeSet<ScriptPath>,
    faults: &mut Faults,
) -> Scripts {
    let deadline = Instant::now() + TIME_MAX;
    let mut scripts = Scripts::default();
    let mut compiled_bytes = 0;
    let mut left = named.len();
    for path in named {
        if Instant::now() > deadline {
            let words = format!(
                "checking took longer than {} s; {left} scripts were not looked at",
                TIME_MAX.as_secs()
            );
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
