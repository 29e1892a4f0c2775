//! One validated commit of an app with the secrets that it reads, and what its executions can use.
//!
//! The [`Content`] is what the commit holds: manifest, routes and scripts. It is built once; a secret's new value, or another
//! limit, makes a new [`Revision`] of the same content.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use bytes::Bytes;
use manifest_schema::limits::Limits;
use manifest_schema::manifest::Manifest;
use manifest_schema::name::{AppName, ScriptPath};
use uuid::Uuid;

use crate::failure::{Failure, FailureKind};
use crate::route::{RouteConflict, RouteTable, Routed};
use crate::secrets::Secrets;
use crate::source::{Held, Source};

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
    content: Arc<Content>,
    secrets: Arc<Secrets>,
    /// What each of its executions can use: what its manifest asks for, as far as that is granted.
    limits: Limits,
}

/// What a commit holds, ready to run.
///
/// A script is compiled when it first runs, so that apps nobody calls cost little.
struct Content {
    app: AppIdentity,
    commit: String,
    /// The same, to be sent without a copy.
    commit_bytes: Bytes,
    manifest: Manifest,
    sources: BTreeMap<ScriptPath, Arc<Source>>,
    scripts: BTreeMap<ScriptPath, ScriptEntry>,
    routes: RouteTable,
    _held: Option<Held>,
}

/// A script of a revision, and what its runs have shown.
pub(crate) struct ScriptEntry {
    pub(crate) id: Uuid,
    source: Arc<Source>,
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
    /// The revision of `app` at `commit` (40 hexadecimal digits) with its scripts, and what accounts for the memory of all else.
    ///
    /// # Errors
    /// Two routes match the same requests, or a script is missing.
    pub fn new(
        app: AppIdentity,
        commit: String,
        manifest: Manifest,
        sources: BTreeMap<ScriptPath, Arc<Source>>,
        held: Option<Held>,
    ) -> Result<Self, RevisionError> {
        let routes = RouteTable::new(&manifest.routes)?;
        if let Some(missing) = manifest.scripts().into_iter().find(|script| !sources.contains_key(script)) {
            return Err(RevisionError::MissingScript(missing.clone()));
        }
        let scripts = sources
            .iter()
            .map(|(path, source)| {
                let entry = ScriptEntry {
                    id: script_id(app.id, path),
                    source: Arc::clone(source),
                    lost: AtomicU64::new(0),
                    long: AtomicBool::new(false),
                };
                (path.clone(), entry)
            })
            .collect();
        let commit_bytes = Bytes::from(commit.clone());
        let limits = manifest.limits.clone();
        let content = Content { app, commit, commit_bytes, manifest, sources, scripts, routes, _held: held };
        Ok(Self { content: Arc::new(content), secrets: Arc::default(), limits })
    }

    /// The same content with the values of those secrets that its manifest names. Nothing is read, parsed or compiled.
    pub fn with_secrets(&self, secrets: &Secrets) -> Self {
        Self { secrets: Arc::new(self.own_secrets(secrets)), ..self.clone() }
    }

    /// The same content, where no execution can use more than `ceiling`, whatever its manifest was granted before.
    pub fn limited_to(&self, ceiling: &Limits) -> Self {
        Self { limits: self.content.manifest.limits.within(ceiling), ..self.clone() }
    }

    /// What each of its executions can use.
    pub fn limits(&self) -> &Limits {
        &self.limits
    }

    fn own_secrets(&self, secrets: &Secrets) -> Secrets {
        secrets.only(self.content.manifest.secrets.required.iter().map(|name| name.as_str()))
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
        &self.content.app.name
    }

    /// The id of the app.
    pub fn app_id(&self) -> Uuid {
        self.content.app.id
    }

    /// The commit, as 40 hexadecimal digits.
    pub fn commit(&self) -> &str {
        &self.content.commit
    }

    /// The same, to be sent: every answer names it, and shares these bytes.
    pub fn commit_bytes(&self) -> Bytes {
        self.content.commit_bytes.clone()
    }

    /// What the app declares.
    pub fn manifest(&self) -> &Manifest {
        &self.content.manifest
    }

    /// Its scripts.
    pub fn sources(&self) -> &BTreeMap<ScriptPath, Arc<Source>> {
        &self.content.sources
    }

    /// The id of a script: the same in every revision of the app (a version 5 UUID of the app's id and the path).
    pub fn script_id(&self, script: &ScriptPath) -> Uuid {
        script_id(self.content.app.id, script)
    }

    /// What a request for `method` and `path` leads to. The path begins with `/`, is as it was sent, and has no query.
    pub fn route(&self, method: &str, path: &str) -> Routed {
        self.content.routes.route(method, path)
    }

    /// The script at `path`, if its revision has it and it may run.
    pub(crate) fn entry(&self, path: &ScriptPath) -> Result<&ScriptEntry, Failure> {
        let absent = || Failure::new(FailureKind::Compile, format!("the revision has no script `{path}`"));
        let entry = self.content.scripts.get(path).ok_or_else(absent)?;
        if entry.is_quarantined() {
            let message = format!(
                "earlier runs of `{path}` lost more than {} MiB for good, which no script should be able to; push a change of it",
                LOST_MAX / (1024 * 1024)
            );
            return Err(Failure::new(FailureKind::Quarantined, message));
        }
        Ok(entry)
    }
}

impl ScriptEntry {
    pub(crate) fn source(&self) -> &Source {
        &self.source
    }

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

    /// Notes how many bytes a run has not given back, and says whether they are a loss.
    pub(crate) fn note_lost(&self, bytes: u64) -> bool {
        let is_loss = bytes > LOST_UNNOTICED;
        if is_loss {
            self.lost.fetch_add(bytes, Ordering::Relaxed);
        }
        is_loss
    }
}

fn script_id(app: Uuid, path: &ScriptPath) -> Uuid {
    Uuid::new_v5(&app, path.as_str().as_bytes())
}

impl fmt::Debug for Revision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Revision")
            .field("app", &self.content.app)
            .field("commit", &self.content.commit)
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
            source: Arc::new(Source::new("")),
            lost: AtomicU64::new(0),
            long: AtomicBool::new(false),
        };
        assert!((0..1_000_000).all(|_| !entry.note_lost(LOST_UNNOTICED)));
        assert!(!entry.is_quarantined(), "what the engine keeps for itself is no loss");
        assert!((0..8).all(|_| entry.note_lost(LOST_MAX / 8)));
        assert!(!entry.is_quarantined());
        entry.note_lost(LOST_UNNOTICED + 1);
        assert!(entry.is_quarantined());
    }
}
