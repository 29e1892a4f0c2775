//! Serves one app from its files, without git and without a store, for `picloud dev`: a saved version is
//! checked and activated like a push. [`run_schedules`] runs its schedules.

mod scheduler;

use std::sync::Arc;

use crate::live::{Branch, Live, LiveTable};
use manifest_schema::diagnostic::{Diagnostic, Diagnostics, Severity};
use manifest_schema::limits::Ceiling;
use manifest_schema::manifest;
use manifest_schema::name::AppName;
use runtime::{AppIdentity, Secrets};
use store::AppId;
use uuid::Uuid;

pub use scheduler::{ManualRun, ScheduleHistories, run_schedule, run_schedules};

use crate::deploy::{
    Checked, EventSender, Planned, PushDeadline, RevisionContent, Snapshot, check_for, due_times, plan,
};
use crate::dry_run::{DryRun, run_checks};
use crate::revision::Prepared;
use crate::scripts::CheckError;
use crate::secrets::SealingKeys;

/// The only branch.
const BRANCH: &str = "main";

/// Serves an app from its files.
#[derive(Debug)]
pub struct DevDeployer {
    table: Arc<LiveTable>,
    app: AppIdentity,
    /// Scripts can only read the secrets required by the manifest.
    secrets: Secrets,
    /// The number of activated revisions.
    revisions: u64,
}

/// The outcome of a save.
#[derive(Clone, Debug)]
pub enum SaveOutcome {
    /// It is live.
    Live {
        /// The plan.
        planned: Box<Planned>,
        /// Warnings.
        warnings: Diagnostics,
    },
    /// It is invalid. The previous version stays live.
    Rejected(Diagnostics),
}

impl DevDeployer {
    /// Creates the server of `app`, the only one in `table`, with these secrets.
    pub fn new(table: Arc<LiveTable>, app: AppName, secrets: Secrets) -> Self {
        table.set_sealing_keys(SealingKeys::Development);
        // Script ids are derived from it, so that they are stable across restarts.
        let id = Uuid::new_v5(&Uuid::NAMESPACE_URL, app.as_str().as_bytes());
        Self { table, app: AppIdentity { id, name: app }, secrets, revisions: 0 }
    }

    /// Sets the secrets for later updates.
    pub fn set_secrets(&mut self, secrets: Secrets) {
        self.secrets = secrets;
    }

    /// The live revision.
    pub fn live(&self) -> Option<Arc<Live>> {
        self.table.get_production(self.app.name.as_str())
    }

    /// Checks a saved version and makes it live if it is valid.
    pub fn update(&mut self, snapshot: &Snapshot) -> SaveOutcome {
        let scripts = self.table.scripts().of(AppId::from_uuid(self.app.id));
        let deadline = PushDeadline::start(&EventSender::sink());
        let Checked { prepared, mut warnings } =
            match check_for(&scripts, true, snapshot, &Ceiling::DEFAULT, None, &deadline) {
                Ok(checked) => checked,
                Err(CheckError::Diagnostics(diagnostics)) => return SaveOutcome::Rejected(diagnostics),
                Err(CheckError::NoMemory(error)) => {
                    return SaveOutcome::Rejected(
                        Diagnostic::error("the app", None, error.to_string()).into(),
                    );
                }
            };
        for name in &prepared.manifest.secrets.required {
            if self.secrets.iter().all(|(set, _)| set != name.as_str()) {
                let message = format!("required secret {name} is not set; scripts that read it will fail");
                let diagnostic = Diagnostic::warning(manifest::FILE_NAME, None, message);
                warnings.add(diagnostic.with_help(format!("{name}=… picloud dev")));
            }
        }
        let live = self.live();
        let live_content = live.as_ref().map(|live| RevisionContent::of(&live.revision));
        let planned = Box::new(Planned {
            plan: plan(live_content, prepared.content()),
            upcoming: Some(due_times(&prepared.manifest)),
        });
        // There is no commit, so use the counter.
        let commit = format!("{:040x}", self.revisions + 1);
        let checked = prepared.clone();
        match prepared.into_revision_of(self.app.clone(), commit) {
            Ok(revision) => {
                self.revisions += 1;
                self.table.replace(
                    &self.app.name,
                    Branch::production(BRANCH),
                    revision.with_secrets(&self.secrets),
                    self.revisions,
                );
                warnings.append(self.failed_checks(checked, snapshot));
                SaveOutcome::Live { planned, warnings }
            }
            Err(error) => {
                SaveOutcome::Rejected(Diagnostic::error(manifest::FILE_NAME, None, error.to_string()).into())
            }
        }
    }

    /// Warnings of the checks that failed. The version stays live, since its author may be repairing it.
    fn failed_checks(&self, prepared: Prepared, snapshot: &Snapshot) -> Diagnostics {
        if prepared.manifest.checks.is_empty() {
            return Diagnostics::default();
        }
        match DryRun::of_folder(self.app.name.clone(), prepared, &self.secrets) {
            Ok(candidate) => {
                let text = snapshot.manifest_text();
                run_checks(&candidate, &self.secrets).diagnostics(Severity::Warning, text.as_deref())
            }
            Err(error) => Diagnostic::error(manifest::FILE_NAME, None, error.to_string()).into(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::deploy::File;
    use crate::memory::MemoryBudget;

    fn saved(script: &str) -> Snapshot {
        let manifest = "sdk = \"1.1\"\n[[routes]]\npath = \"/\"\nscript = \"a.rhai\"\n";
        let mut snapshot = Snapshot::default();
        for (path, text) in [("picloud.toml", manifest), ("a.rhai", script)] {
            snapshot.add(path, || File::Bytes(text.to_owned().into()));
        }
        snapshot
    }

    #[test]
    fn invalid_version_keeps_last_valid_one() {
        let table = Arc::new(LiveTable::new(MemoryBudget::unbounded()));
        let mut dev = DevDeployer::new(Arc::clone(&table), AppName::new("a").unwrap(), Secrets::default());
        assert!(
            matches!(dev.update(&saved("nope()")), SaveOutcome::Rejected(diagnostics) if diagnostics.errors() == 1)
        );
        assert!(dev.live().is_none());
        let SaveOutcome::Live { planned, .. } = dev.update(&saved("1")) else { panic!("it is valid") };
        assert_eq!((planned.plan.routes.entries.len(), planned.plan.routes.unchanged), (1, 0));
        assert!(matches!(dev.update(&saved("nope()")), SaveOutcome::Rejected(_)));
        let live = table.get_production("a").unwrap();
        assert_eq!((live.deploy, live.revision.sources().values().next().unwrap().text()), (1, "1"));
        let before = live.revision.script_id(live.revision.sources().keys().next().unwrap());
        assert!(matches!(dev.update(&saved("2")), SaveOutcome::Live { .. }));
        let live = dev.live().unwrap();
        assert_eq!(live.deploy, 2);
        assert_eq!(live.revision.script_id(live.revision.sources().keys().next().unwrap()), before);
    }

    #[test]
    fn failed_check_is_a_warning() {
        let table = Arc::new(LiveTable::new(MemoryBudget::unbounded()));
        let mut dev = DevDeployer::new(Arc::clone(&table), AppName::new("a").unwrap(), Secrets::default());
        let mut snapshot = saved("2");
        let manifest = "sdk = \"1.3\"\n[[routes]]\npath = \"/\"\nscript = \"a.rhai\"\n\
                        [[checks]]\nname = \"one\"\nrequest = \"GET /\"\nexpect = { json = 1 }\n";
        snapshot.add("picloud.toml", || File::Bytes(manifest.to_owned().into()));
        let SaveOutcome::Live { warnings, .. } = dev.update(&snapshot) else { panic!("it is valid") };
        let failed = warnings.iter().find(|warning| warning.message.contains("check"));
        let failed = failed.map(|warning| (warning.message.as_str(), warning.span.as_ref().unwrap().line));
        assert_eq!(failed, Some(("check `one` failed: `GET /` the body is 2, not 1", 7)));
        assert!(dev.live().is_some());
    }
}
