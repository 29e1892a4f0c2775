//! One app that is served from its files, without git and without a store: what was saved is checked as a push is, and swapped
//! in as a push is. [`keep_time`] runs its schedules, which nobody remembers here.

mod clock;

use std::sync::Arc;

use crate::live::{Branch, Live, LiveTable};
use manifest_schema::diagnostic::{Diagnostic, Diagnostics};
use manifest_schema::limits::Ceiling;
use manifest_schema::manifest;
use manifest_schema::name::AppName;
use runtime::{AppIdentity, Secrets};
use store::AppId;
use uuid::Uuid;

pub use clock::{HandRun, keep_time, run_by_hand};

use crate::deploy::{Checked, Planned, PushTime, Side, Snapshot, Tell, check_for, due_times, plan};
use crate::scripts::CheckError;

/// The only branch there is.
const BRANCH: &str = "main";

/// Serves the files of one app.
#[derive(Debug)]
pub struct Workbench {
    table: Arc<LiveTable>,
    app: AppIdentity,
    /// What scripts may read of these is what the manifest names.
    secrets: Secrets,
    /// How many revisions were swapped in.
    taken: u64,
}

/// What became of what was saved.
#[derive(Clone, Debug)]
pub enum Saved {
    /// It is live.
    Live {
        /// What it changes.
        planned: Box<Planned>,
        /// What its author should look at.
        warnings: Diagnostics,
    },
    /// It breaks the contract. What was live before still is.
    Refused(Diagnostics),
}

impl Workbench {
    /// Serves `app` in `table`, where it is the only one, with these secrets.
    pub fn new(table: Arc<LiveTable>, app: AppName, secrets: Secrets) -> Self {
        // Ids of scripts follow from it: they stay the same from one start to the next.
        let id = Uuid::new_v5(&Uuid::NAMESPACE_URL, app.as_str().as_bytes());
        Self { table, app: AppIdentity { id, name: app }, secrets, taken: 0 }
    }

    /// Has what is taken from now on read these secrets.
    pub fn set_secrets(&mut self, secrets: Secrets) {
        self.secrets = secrets;
    }

    /// What is live.
    pub fn live(&self) -> Option<Arc<Live>> {
        self.table.get_production(self.app.name.as_str())
    }

    /// Checks what was saved and makes it live, unless it breaks the contract.
    pub fn take(&mut self, snapshot: &Snapshot) -> Saved {
        let scripts = self.table.scripts().of(AppId::from_uuid(self.app.id));
        let time = PushTime::begin(&Tell::to_nobody());
        let Checked { prepared, mut warnings } =
            match check_for(&scripts, true, snapshot, &Ceiling::DEFAULT, None, &time) {
                Ok(checked) => checked,
                Err(CheckError::Diagnostics(diagnostics)) => return Saved::Refused(diagnostics),
                Err(CheckError::NoMemory(refused)) => {
                    return Saved::Refused(Diagnostic::error("the app", None, refused.to_string()).into());
                }
            };
        for name in &prepared.manifest.secrets.required {
            if self.secrets.iter().all(|(set, _)| set != name.as_str()) {
                let words = format!("secret {name} is required and not set; scripts that read it will fail");
                let diagnostic = Diagnostic::warning(manifest::FILE_NAME, None, words);
                warnings.add(diagnostic.with_help(format!("{name}=… picloud dev")));
            }
        }
        let live = self.live();
        let side = live
            .as_ref()
            .map(|live| Side { manifest: live.revision.manifest(), sources: live.revision.sources() });
        let planned = Box::new(Planned {
            plan: plan(side, Side { manifest: &prepared.manifest, sources: &prepared.sources }),
            due: Some(due_times(&prepared.manifest)),
        });
        // There is no commit; the count takes its place.
        let commit = format!("{:040x}", self.taken + 1);
        match prepared.into_revision_of(self.app.clone(), commit) {
            Ok(revision) => {
                self.taken += 1;
                self.table.replace(
                    &self.app.name,
                    Branch::production(BRANCH),
                    revision.with_secrets(&self.secrets),
                    self.taken,
                );
                Saved::Live { planned, warnings }
            }
            Err(error) => {
                Saved::Refused(Diagnostic::error(manifest::FILE_NAME, None, error.to_string()).into())
            }
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
    fn what_is_good_is_swapped_in_and_what_is_not_leaves_the_last_good_one() {
        let table = Arc::new(LiveTable::new(MemoryBudget::unbounded()));
        let mut bench = Workbench::new(Arc::clone(&table), AppName::new("a").unwrap(), Secrets::default());
        assert!(
            matches!(bench.take(&saved("nope()")), Saved::Refused(diagnostics) if diagnostics.errors() == 1)
        );
        assert!(bench.live().is_none());
        let Saved::Live { planned, .. } = bench.take(&saved("1")) else { panic!("it is good") };
        assert_eq!((planned.plan.routes.lines.len(), planned.plan.routes.unchanged), (1, 0));
        assert!(matches!(bench.take(&saved("nope()")), Saved::Refused(_)));
        let live = table.get_production("a").unwrap();
        assert_eq!((live.deploy, live.revision.sources().values().next().unwrap().text()), (1, "1"));
        let before = live.revision.script_id(live.revision.sources().keys().next().unwrap());
        assert!(matches!(bench.take(&saved("2")), Saved::Live { .. }));
        let live = bench.live().unwrap();
        assert_eq!(live.deploy, 2);
        assert_eq!(live.revision.script_id(live.revision.sources().keys().next().unwrap()), before);
    }
}
