//! One validated commit of an app with its secrets and the limits of its executions.
//!
//! The [`Content`] holds the files of the commit: manifest, routes and scripts. It is built once. A new secret value
//! or another limit creates a new [`Revision`] with the same content.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use manifest_schema::limits::Limits;
use manifest_schema::manifest::{Manifest, Schedule};
use manifest_schema::name::{AppName, ScriptPath};
use manifest_schema::sdk::SdkVersion;
use uuid::Uuid;

use crate::failure::{Failure, FailureKind};
use crate::route::{RouteConflict, RouteOutcome, RouteTable};
use crate::secrets::Secrets;
use crate::source::{MemoryGuard, Source};
use crate::template::Templates;

/// The maximum number of bytes that the executions of one script of one revision can leak before the script is
/// quarantined. No leak is known ([`crate::captures`] frees closures that hold themselves); this is a safety net.
const LEAK_MAX: u64 = 32 * 1024 * 1024;

/// Below this, retained memory is not a leak: spare capacity of the response, and the engine's own data on first use.
const LEAK_MIN: u64 = 4 * 1024;

/// The app of a revision.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AppIdentity {
    /// The id of the app, independent of its name.
    pub id: Uuid,
    /// The name of the app.
    pub name: AppName,
}

/// A servable revision. It is immutable; requests that began on it finish on it. Clones share everything.
#[derive(Clone)]
pub struct Revision {
    content: Arc<Content>,
    secrets: Arc<Secrets>,
    /// The limits of its executions: those of its manifest, as far as the server grants them.
    limits: Limits,
    /// What the server grants as the timeout of a schedule.
    schedule_timeout_max: Duration,
    /// The branch that serves it.
    branch: Arc<str>,
    /// The templates of the commit.
    templates: Arc<Templates>,
}

/// The content of a commit.
///
/// A script is compiled when it first runs, so that unused apps cost little.
struct Content {
    app: AppIdentity,
    commit: String,
    /// The same, to be sent without a copy.
    commit_bytes: Bytes,
    manifest: Manifest,
    sources: BTreeMap<ScriptPath, Arc<Source>>,
    scripts: BTreeMap<ScriptPath, ScriptEntry>,
    routes: RouteTable,
    _memory: Option<MemoryGuard>,
}

/// A script of a revision, and the statistics of its executions.
pub(crate) struct ScriptEntry {
    pub(crate) id: Uuid,
    source: Arc<Source>,
    leaked_bytes: AtomicU64,
    /// Whether the last execution exceeded the inline budget.
    slow: AtomicBool,
}

/// Why a revision cannot be served.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RevisionError {
    /// Two routes match the same requests.
    #[error(transparent)]
    Conflict(#[from] RouteConflict),
    /// The manifest names a script without a source file.
    #[error("script `{0}` does not exist")]
    MissingScript(ScriptPath),
}

impl Revision {
    /// The revision of `app` at `commit` (40 hexadecimal digits) with its scripts. `memory` accounts for the memory
    /// of everything else.
    ///
    /// # Errors
    /// Two routes match the same requests, or a script is missing.
    pub fn new(
        app: AppIdentity,
        commit: String,
        manifest: Manifest,
        sources: BTreeMap<ScriptPath, Arc<Source>>,
        memory: Option<MemoryGuard>,
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
                    leaked_bytes: AtomicU64::new(0),
                    slow: AtomicBool::new(false),
                };
                (path.clone(), entry)
            })
            .collect();
        let commit_bytes = Bytes::from(commit.clone());
        let limits = manifest.limits.clone();
        let content =
            Content { app, commit, commit_bytes, manifest, sources, scripts, routes, _memory: memory };
        Ok(Self {
            content: Arc::new(content),
            secrets: Arc::default(),
            limits,
            schedule_timeout_max: Duration::MAX,
            branch: Arc::default(),
            templates: Arc::default(),
        })
    }

    /// The same content with the templates of the commit.
    pub fn with_templates(self, templates: Templates) -> Self {
        Self { templates: Arc::new(templates), ..self }
    }

    /// Its templates.
    pub fn templates(&self) -> &Arc<Templates> {
        &self.templates
    }

    /// The same content, served by `branch`.
    pub fn on_branch(&self, branch: &str) -> Self {
        Self { branch: branch.into(), ..self.clone() }
    }

    /// The branch that serves it; empty until [`Revision::on_branch`].
    pub fn branch(&self) -> &str {
        &self.branch
    }

    /// The same content with the values of the secrets in its manifest. Nothing is parsed or compiled.
    pub fn with_secrets(&self, secrets: &Secrets) -> Self {
        Self { secrets: Arc::new(self.declared_secrets(secrets)), ..self.clone() }
    }

    /// The same content with the limits of its manifest, capped at `ceiling`.
    pub fn limited_to(&self, ceiling: &Limits) -> Self {
        let limits = self.content.manifest.limits.within(ceiling);
        Self { limits, schedule_timeout_max: ceiling.timeout, ..self.clone() }
    }

    /// The limits of its executions.
    pub fn limits(&self) -> &Limits {
        &self.limits
    }

    /// The limits of the runs of a schedule; `None` for those of the app. Since SDK 1.3 a schedule has a timeout of its
    /// own: nobody waits for a run, so it can take longer than a request.
    pub fn schedule_limits(&self, schedule: &Schedule) -> Option<Limits> {
        if self.content.manifest.sdk < SdkVersion::V1_3 {
            return None;
        }
        let timeout = schedule.timeout.unwrap_or(Limits::SCHEDULE_TIMEOUT);
        Some(Limits { timeout: timeout.min(self.schedule_timeout_max), ..self.limits.clone() })
    }

    /// Whether executions have the same limits as those of `other`, which has the same content.
    pub fn has_same_limits(&self, other: &Self) -> bool {
        self.limits == other.limits && self.schedule_timeout_max == other.schedule_timeout_max
    }

    fn declared_secrets(&self, secrets: &Secrets) -> Secrets {
        secrets.subset(self.content.manifest.secrets.required.iter().map(|name| name.as_str()))
    }

    /// The secrets that its scripts read, and that are redacted in their output.
    pub fn secrets(&self) -> &Arc<Secrets> {
        &self.secrets
    }

    /// Whether its secrets have the same values as in `secrets`.
    pub fn matches_secrets(&self, secrets: &Secrets) -> bool {
        *self.secrets == self.declared_secrets(secrets)
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

    /// The same as shared bytes, which every response sends.
    pub fn commit_bytes(&self) -> Bytes {
        self.content.commit_bytes.clone()
    }

    /// The manifest of the app.
    pub fn manifest(&self) -> &Manifest {
        &self.content.manifest
    }

    /// Its scripts.
    pub fn sources(&self) -> &BTreeMap<ScriptPath, Arc<Source>> {
        &self.content.sources
    }

    /// The id of a script: the same in every revision of the app (a version 5 UUID of the app id and the path).
    pub fn script_id(&self, script: &ScriptPath) -> Uuid {
        script_id(self.content.app.id, script)
    }

    /// Routes a request. `path` begins with `/`, is percent-encoded as received, and has no query.
    pub fn route(&self, method: &str, path: &str) -> RouteOutcome {
        self.content.routes.route(method, path)
    }

    /// The script at `path`, unless it is missing or quarantined.
    pub(crate) fn entry(&self, path: &ScriptPath) -> Result<&ScriptEntry, Failure> {
        let missing = || Failure::new(FailureKind::Compile, format!("the revision has no script `{path}`"));
        let entry = self.content.scripts.get(path).ok_or_else(missing)?;
        if entry.is_quarantined() {
            let message = format!(
                "`{path}` is quarantined: its executions leaked more than {} MiB; push a changed script to run it again",
                LEAK_MAX / (1024 * 1024)
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

    /// Whether the last execution exceeded the inline budget.
    pub(crate) fn is_slow(&self) -> bool {
        self.slow.load(Ordering::Relaxed)
    }

    /// Records whether an execution exceeded the inline budget.
    pub(crate) fn note_slow(&self, slow: bool) {
        // Usually nothing changes, and other processors keep their cached copy.
        if self.is_slow() != slow {
            self.slow.store(slow, Ordering::Relaxed);
        }
    }

    /// Whether its executions leaked so much that it is no longer executed.
    fn is_quarantined(&self) -> bool {
        self.leaked_bytes.load(Ordering::Relaxed) > LEAK_MAX
    }

    /// Records the bytes that an execution did not free, and returns whether they are a leak.
    pub(crate) fn note_leaked(&self, bytes: u64) -> bool {
        let is_leak = bytes > LEAK_MIN;
        if is_leak {
            self.leaked_bytes.fetch_add(bytes, Ordering::Relaxed);
        }
        is_leak
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
    fn script_that_leaks_memory_is_quarantined() {
        let entry = ScriptEntry {
            id: Uuid::nil(),
            source: Arc::new(Source::new("")),
            leaked_bytes: AtomicU64::new(0),
            slow: AtomicBool::new(false),
        };
        assert!((0..1_000_000).all(|_| !entry.note_leaked(LEAK_MIN)));
        assert!(!entry.is_quarantined(), "memory of the engine is not a leak");
        assert!((0..8).all(|_| entry.note_leaked(LEAK_MAX / 8)));
        assert!(!entry.is_quarantined());
        entry.note_leaked(LEAK_MIN + 1);
        assert!(entry.is_quarantined());
    }
}
