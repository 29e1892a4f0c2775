//! One validated commit of an app with the secrets that it reads, and what its executions can use.
//!
//! The [`Program`] is what the commit holds: manifest, routes, scripts and what is compiled of them. It is built once; a secret's
//! new value, or another limit, makes a new [`Revision`] of the same program.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use manifest_schema::limits::Limits;
use manifest_schema::manifest::Manifest;
use manifest_schema::name::{AppName, ScriptPath};
use manifest_schema::sdk::SdkVersion;
use uuid::Uuid;

use crate::check::{Script, recompile};
use crate::failure::{Failure, FailureKind, FailurePlace};
use crate::route::{RouteConflict, RouteTable, Routed};
use crate::secrets::Secrets;

/// How many bytes the runs of one script of one revision may lose for good before it is not run any more. Nothing is known that
/// is lost ([`crate::captures`] frees closures that hold themselves); this is the net for what is not known.
const LOST_MAX: u64 = 32 * 1024 * 1024;

/// What a run may keep without it being a loss: the answer's own slack and what the engine sets up on first use.
const LOST_UNNOTICED: u64 = 4 * 1024;

/// Which app a revision belongs to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AppIdentity {
    /// The app's id, the same whatever it is named.
    pub id: Uuid,
    /// The app's name.
    pub name: AppName,
}

/// A revision that can be served. It never changes; requests that began on it end on it. A clone shares everything.
#[derive(Clone)]
pub struct Revision {
    program: Arc<Program>,
    secrets: Arc<Secrets>,
    /// What each of its executions can use: what its manifest asks for, as far as that is granted.
    limits: Limits,
}

/// What a commit holds, ready to run.
///
/// A script is compiled when it first runs, so that apps nobody calls cost little. What was compiled for validation is
/// handed in and not compiled again.
struct Program {
    app: AppIdentity,
    commit: String,
    /// The same, to be sent without a copy.
    commit_bytes: Bytes,
    manifest: Manifest,
    sources: BTreeMap<ScriptPath, String>,
    scripts: BTreeMap<ScriptPath, ScriptEntry>,
    routes: RouteTable,
}

/// A script of a program, and what its runs have shown.
pub(crate) struct ScriptEntry {
    pub(crate) id: Uuid,
    compiled: OnceLock<Result<Script, Failure>>,
    lost: AtomicU64,
    /// The last run took longer than others should wait for.
    long: AtomicBool,
}

/// Why a revision cannot be served.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RevisionError {
    /// Two routes match the same requests.
    #[error(transparent)]
    Conflict(#[from] RouteConflict),
    /// The manifest names a script whose source is not there.
    #[error("script `{0}` is not among the sources")]
    MissingScript(ScriptPath),
}

impl Revision {
    /// The revision of `app` at `commit` (40 hexadecimal digits) with the text of its scripts, and those of them that are
    /// compiled already for the manifest's SDK.
    ///
    /// # Errors
    /// Two routes match the same requests, or a script is missing.
    pub fn new(
        app: AppIdentity,
        commit: String,
        manifest: Manifest,
        sources: BTreeMap<ScriptPath, String>,
        mut compiled: BTreeMap<ScriptPath, Script>,
    ) -> Result<Self, RevisionError> {
        let routes = RouteTable::new(&manifest.routes)?;
        if let Some(missing) = manifest.scripts().into_iter().find(|script| !sources.contains_key(script)) {
            return Err(RevisionError::MissingScript(missing.clone()));
        }
        let scripts = sources
            .keys()
            .map(|path| {
                let known = compiled.remove(path).filter(|script| script.sdk() == manifest.sdk);
                let entry = ScriptEntry {
                    id: script_id(app.id, path),
                    compiled: known.map_or_else(OnceLock::new, |script| OnceLock::from(Ok(script))),
                    lost: AtomicU64::new(0),
                    long: AtomicBool::new(false),
                };
                (path.clone(), entry)
            })
            .collect();
        let commit_bytes = Bytes::from(commit.clone());
        let limits = manifest.limits.clone();
        let program = Program { app, commit, commit_bytes, manifest, sources, scripts, routes };
        Ok(Self { program: Arc::new(program), secrets: Arc::default(), limits })
    }

    /// The same program with the values of those secrets that its manifest names. Nothing is read, parsed or compiled.
    pub fn with_secrets(&self, secrets: &Secrets) -> Self {
        Self { secrets: Arc::new(self.own_secrets(secrets)), ..self.clone() }
    }

    /// The same program, where no execution can use more than `ceiling`, whatever its manifest was granted before.
    pub fn limited_to(&self, ceiling: &Limits) -> Self {
        Self { limits: self.program.manifest.limits.within(ceiling), ..self.clone() }
    }

    /// What each of its executions can use.
    pub fn limits(&self) -> &Limits {
        &self.limits
    }

    fn own_secrets(&self, secrets: &Secrets) -> Secrets {
        secrets.only(self.program.manifest.secrets.required.iter().map(|name| name.as_str()))
    }

    /// The secrets that its scripts read. Whatever is shown of what they say is redacted for these.
    pub fn secrets(&self) -> &Arc<Secrets> {
        &self.secrets
    }

    /// Whether its secrets have the values that they have in `secrets`.
    pub fn has_values_of(&self, secrets: &Secrets) -> bool {
        *self.secrets == self.own_secrets(secrets)
    }

    /// The name of the app.
    pub fn app(&self) -> &AppName {
        &self.program.app.name
    }

    /// The id of the app.
    pub fn app_id(&self) -> Uuid {
        self.program.app.id
    }

    /// The commit, as 40 hexadecimal digits.
    pub fn commit(&self) -> &str {
        &self.program.commit
    }

    /// The same, to be sent: every answer names it, and shares these bytes.
    pub fn commit_bytes(&self) -> Bytes {
        self.program.commit_bytes.clone()
    }

    /// What the app declares.
    pub fn manifest(&self) -> &Manifest {
        &self.program.manifest
    }

    /// The text of its scripts.
    pub fn sources(&self) -> &BTreeMap<ScriptPath, String> {
        &self.program.sources
    }

    /// The id of a script: the same in every revision of the app (a version 5 UUID of the app's id and the path).
    pub fn script_id(&self, script: &ScriptPath) -> Uuid {
        script_id(self.program.app.id, script)
    }

    /// What a request for `method` and `path` leads to. The path begins with `/`, is as it was sent, and has no query.
    pub fn route(&self, method: &str, path: &str) -> Routed {
        self.program.routes.route(method, path)
    }

    /// The script at `path` if it is compiled already, and may run.
    pub(crate) fn compiled(&self, path: &ScriptPath) -> Option<(&ScriptEntry, &Script)> {
        let entry = self.program.scripts.get(path)?;
        let script = entry.compiled.get()?.as_ref().ok()?;
        (!entry.is_quarantined()).then_some((entry, script))
    }

    /// The script at `path`, ready to run. It may have to be compiled.
    pub(crate) fn entry(&self, path: &ScriptPath) -> Result<(&ScriptEntry, &Script), Failure> {
        let absent = || Failure::new(FailureKind::Compile, format!("the revision has no script `{path}`"));
        let entry = self.program.scripts.get(path).ok_or_else(absent)?;
        let compiled = entry.compiled.get_or_init(|| {
            let source = self.program.sources.get(path).ok_or_else(absent)?;
            compile_again(self.program.manifest.sdk, path, source)
        });
        let script = compiled.as_ref().map_err(Failure::clone)?;
        if entry.is_quarantined() {
            let message = format!(
                "earlier runs of `{path}` lost more than {} MiB for good, which no script should be able to; push a change of it",
                LOST_MAX / (1024 * 1024)
            );
            return Err(Failure::new(FailureKind::Quarantined, message));
        }
        Ok((entry, script))
    }
}

impl ScriptEntry {
    /// Whether the last run took long.
    pub(crate) fn is_long(&self) -> bool {
        self.long.load(Ordering::Relaxed)
    }

    /// Notes whether a run took long.
    pub(crate) fn note_long(&self, long: bool) {
        // Most often nothing changes, and then no other processor's copy need be made anew.
        if self.is_long() != long {
            self.long.store(long, Ordering::Relaxed);
        }
    }

    /// Whether its runs have lost so much that it is not run any more.
    fn is_quarantined(&self) -> bool {
        self.lost.load(Ordering::Relaxed) > LOST_MAX
    }

    /// Notes how many bytes a run has not given back.
    pub(crate) fn note_lost(&self, bytes: u64) {
        if bytes > LOST_UNNOTICED {
            self.lost.fetch_add(bytes, Ordering::Relaxed);
        }
    }
}

fn script_id(app: Uuid, path: &ScriptPath) -> Uuid {
    Uuid::new_v5(&app, path.as_str().as_bytes())
}

/// Compiles what was validated when it was pushed.
fn compile_again(sdk: SdkVersion, path: &ScriptPath, source: &str) -> Result<Script, Failure> {
    recompile(sdk, path, source).map_err(|faults| {
        let Some(fault) = faults.iter().next() else {
            return Failure::new(FailureKind::Compile, "the script does not compile");
        };
        let place = fault.place.as_ref().map(|place| FailurePlace {
            script: path.clone(),
            line: place.line,
            column: place.column,
        });
        Failure { kind: FailureKind::Compile, message: fault.message.clone(), place }
    })
}

impl fmt::Debug for Revision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Revision")
            .field("app", &self.program.app)
            .field("commit", &self.program.commit)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn script_that_loses_memory_for_good_is_not_run_any_more() {
        let entry = ScriptEntry {
            id: Uuid::nil(),
            compiled: OnceLock::new(),
            lost: AtomicU64::new(0),
            long: AtomicBool::new(false),
        };
        (0..1_000_000).for_each(|_| entry.note_lost(LOST_UNNOTICED));
        assert!(!entry.is_quarantined(), "what the engine keeps for itself is no loss");
        (0..8).for_each(|_| entry.note_lost(LOST_MAX / 8));
        assert!(!entry.is_quarantined());
        entry.note_lost(LOST_UNNOTICED + 1);
        assert!(entry.is_quarantined());
    }
}
