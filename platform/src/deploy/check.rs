//! The validation of a snapshot: every fault at once, without running anything. A push and `picloud check` share it.

use std::collections::{BTreeMap, BTreeSet};

use manifest_schema::fault::{Fault, Place, Severity};
use manifest_schema::limits::Limits;
use manifest_schema::manifest::{self, Manifest};
use manifest_schema::name::ScriptPath;
use manifest_schema::parse::{Parsed, Surroundings, parse};
use manifest_schema::sdk::SdkVersion;
use runtime::Script;

use super::snapshot::{File, Snapshot};

/// A snapshot that keeps the contract.
#[derive(Clone, Debug)]
pub struct Checked {
    /// What it declares.
    pub manifest: Manifest,
    /// The manifest's text.
    pub manifest_source: String,
    /// The text of every script that the manifest names.
    pub sources: BTreeMap<ScriptPath, String>,
    /// The same scripts, compiled.
    pub compiled: BTreeMap<ScriptPath, Script>,
    /// What its author should look at.
    pub warnings: Vec<Fault>,
}

/// Checks `snapshot` against the contract and the most that the server grants.
///
/// # Errors
/// Every fault of the manifest and of every script, at least one of them an error; the manifest's first.
pub fn check(snapshot: &Snapshot, ceiling: &Limits) -> Result<Checked, Vec<Fault>> {
    let scripts: BTreeSet<String> = snapshot.scripts.keys().cloned().collect();
    let parsed = manifest_bytes(snapshot.manifest.as_ref())
        .and_then(|bytes| Ok((bytes, parse(bytes, Surroundings { ceiling, scripts: &scripts })?)));
    match parsed {
        Ok((bytes, Parsed { manifest, warnings })) => {
            let mut faults = warnings;
            let mut sources = BTreeMap::new();
            let mut compiled = BTreeMap::new();
            for path in manifest.scripts() {
                let file = snapshot.scripts.get(path.as_str());
                if let Some((source, script)) = script(manifest.sdk, path, file, &mut faults) {
                    sources.insert(path.clone(), source);
                    compiled.insert(path.clone(), script);
                }
            }
            if faults.iter().any(|fault| fault.severity == Severity::Error) {
                return Err(faults);
            }
            let manifest_source = String::from_utf8_lossy(bytes).into_owned();
            Ok(Checked { manifest, manifest_source, sources, compiled, warnings: faults })
        }
        // Which scripts are named is not known then; all of them are looked at, so that one push shows every fault.
        Err(mut faults) => {
            for (path, file) in &snapshot.scripts {
                if let Ok(path) = ScriptPath::new(path) {
                    let newest = SdkVersion::ALL[SdkVersion::ALL.len() - 1];
                    script(newest, &path, Some(file), &mut faults);
                }
            }
            Err(faults)
        }
    }
}

fn manifest_bytes(file: Option<&File>) -> Result<&[u8], Vec<Fault>> {
    let Some(file) = file else {
        let missing =
            Fault::error(manifest::FILE_NAME, None, "the repository has no picloud.toml at its root");
        return Err(vec![missing.advise("`picloud init` writes a first one")]);
    };
    bytes(manifest::FILE_NAME, file).map_err(|fault| vec![fault])
}

fn bytes<'a>(path: &str, file: &'a File) -> Result<&'a [u8], Fault> {
    let why = match file {
        File::Bytes(bytes) => return Ok(bytes),
        File::Symlink => "is a symbolic link, which is never followed".to_owned(),
        File::Submodule => "is a submodule, which is never followed".to_owned(),
        File::TooLarge(size) => format!("is larger than {} KiB", size / 1024),
    };
    Err(Fault::error(path, None, format!("the file {why}")))
}

fn script(
    sdk: SdkVersion,
    path: &ScriptPath,
    file: Option<&File>,
    faults: &mut Vec<Fault>,
) -> Option<(String, Script)> {
    // A script that is not there is a fault of the manifest, told there.
    let source = match bytes(path.as_str(), file?).and_then(|bytes| text(path, bytes)) {
        Ok(source) => source,
        Err(fault) => {
            faults.push(fault);
            return None;
        }
    };
    match runtime::compile(sdk, path, source) {
        Ok(script) => Some((source.to_owned(), script)),
        Err(found) => {
            faults.extend(found);
            None
        }
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
