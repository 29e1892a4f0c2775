//! What an operator has to look at, found when somebody asks.
//!
//! [`Watched::status`] reads the database and what this node knows; nothing is watched meanwhile. Each kind of problem is listed up to
//! a bound.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use crate::live::LiveTable;
use chrono::{DateTime, TimeDelta, Utc};
use store::cluster::{Disk, NotServed};
use store::{
    DroppedRecords, FailingApp, FailingSchedule, KnownTime, LastBackup, ScheduleHold, Store, StoreError,
};

use crate::activation::Activation;
use crate::certificates::{PreviewCertificates, RefusedCertificate};
use crate::clock::{Clock, ClockStatus, Jump, RetentionPaused};
use crate::health::DatabaseHealth;
use crate::nodes::{Node, Roster};

/// The problems of one kind that are listed.
const LISTED_MAX: u32 = 50;

/// Executions that failed for longer than this are history.
const FAILURES_OF: TimeDelta = TimeDelta::hours(1);

/// The same of dropped records.
const DROPPED_OF: TimeDelta = TimeDelta::hours(24);

/// The same of a clock that was set.
const JUMPS_OF: TimeDelta = TimeDelta::hours(24);

/// The share of an app's executions, in percent, from which on failures are an error and no warning.
const FAILED_PERCENT_ERROR: u64 = 10;

/// How far a clock may be off.
const SKEW_WARN: TimeDelta = TimeDelta::seconds(5);

/// How far it may be off before schedules run at wrong times: a node does not start with such a clock.
const SKEW_ERROR: TimeDelta = TimeDelta::minutes(5);

/// How much a problem matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// Something does not work.
    Error,
    /// Something will not work, or did not work and does again.
    Warning,
}

/// Something that is not as it should be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Problem {
    /// A node cannot write to the database.
    DatabaseNotWritable {
        /// The name of the node.
        node: String,
        /// Why, without what the database said itself.
        reason: String,
    },
    /// A node is not ready.
    NodeNotReady {
        /// Its name.
        node: String,
        /// Why.
        reason: String,
    },
    /// A node cannot serve an app as the latest push left it.
    AppNotServed(NotServed),
    /// The last run of a schedule failed or was lost.
    ScheduleFailing {
        /// Which.
        schedule: FailingSchedule,
        /// Whether it is one of a preview.
        preview: bool,
    },
    /// No schedule of any app runs by the clock.
    SchedulesHeld(ScheduleHold),
    /// Executions of an app failed within the last hour.
    ExecutionsFailing(FailingApp),
    /// Records of executions were dropped within the last day.
    RecordsDropped(DroppedRecords),
    /// No backup was ever made.
    BackupMissing {
        /// Since when there could have been one.
        since: DateTime<Utc>,
    },
    /// The latest backup is older than it should be.
    BackupOld {
        /// When it was made.
        made_at: DateTime<Utc>,
    },
    /// The clocks of a node and of the database differ.
    ClockSkew {
        /// The name of the node.
        node: String,
        /// How far it is ahead; negative where it is behind.
        ahead: TimeDelta,
    },
    /// The clock of this node is behind what was written already.
    ClockBehind {
        /// The name of the node.
        node: String,
        /// The time of the latest entry.
        latest: DateTime<Utc>,
    },
    /// The clock of a node was set within the last day, while the node was running.
    ClockJump {
        /// The name of the node.
        node: String,
        /// The last time that it was set.
        jump: Jump,
    },
    /// A node deletes nothing by age, since its clock cannot be right.
    RetentionPaused {
        /// The name of the node.
        node: String,
        /// Why.
        reason: RetentionPaused,
    },
    /// A preview has no certificate, and so does not answer over TLS: there were too many new ones within a week.
    PreviewWithoutCertificate {
        /// The name of the node that was asked.
        node: String,
        /// The last one.
        refused: RefusedCertificate,
    },
    /// A preview reads the secrets of production, since it was pushed before there were any of previews.
    PreviewReadsProduction {
        /// The app.
        app: String,
        /// The branch.
        branch: String,
    },
    /// A node has little room left for its files.
    DiskNearlyFull {
        /// The name of the node.
        node: String,
        /// How little.
        disk: Disk,
    },
}

impl Problem {
    /// How much it matters.
    pub fn severity(&self) -> Severity {
        let error = match self {
            Self::DatabaseNotWritable { .. } | Self::NodeNotReady { .. } => true,
            Self::AppNotServed(_) | Self::ScheduleFailing { .. } => true,
            Self::ExecutionsFailing(app) => app.failed * 100 >= app.executions * FAILED_PERCENT_ERROR,
            Self::ClockSkew { ahead, .. } => ahead.abs() > SKEW_ERROR,
            Self::ClockBehind { .. } => true,
            Self::DiskNearlyFull { disk, .. } => disk.free_bytes.saturating_mul(100) < disk.size_bytes,
            Self::SchedulesHeld(_) | Self::RecordsDropped(_) => false,
            Self::BackupMissing { .. } | Self::BackupOld { .. } => false,
            Self::ClockJump { .. } | Self::RetentionPaused { .. } => false,
            Self::PreviewWithoutCertificate { .. } => false,
            Self::PreviewReadsProduction { .. } => false,
        };
        if error { Severity::Error } else { Severity::Warning }
    }
}

/// What an operator sees first.
#[derive(Clone, Debug)]
pub struct Status {
    /// What was read from the database; `None`: it cannot be read.
    pub counts: Option<Counts>,
    /// How many apps have something live in production.
    pub apps_live: usize,
    /// All problems that there are, the kinds in a fixed order.
    pub problems: Vec<Problem>,
}

/// How much of everything there is.
#[derive(Clone, Copy, Debug)]
pub struct Counts {
    /// The nodes.
    pub nodes: usize,
    /// Those that are ready.
    pub nodes_ready: usize,
    /// The apps.
    pub apps: usize,
    /// Those of them that are stopped.
    pub apps_stopped: usize,
    /// Those that are deleted and can be brought back.
    pub apps_deleted: usize,
    /// When the latest backup was made, as far as the database knows.
    pub last_backup_at: Option<DateTime<Utc>>,
}

/// What is looked at. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Watched {
    /// The database.
    pub store: Store,
    /// Whether this node can write to it.
    pub database: DatabaseHealth,
    /// The clock of this node.
    pub clock: Clock,
    /// What is live.
    pub table: Arc<LiveTable>,
    /// What this node can serve.
    pub activation: Activation,
    /// The nodes, this one among them.
    pub nodes: Roster,
    /// Which previews can have certificates.
    pub certificates: PreviewCertificates,
    /// The age from which on the latest backup is too old; `None`: backups are made by other means.
    pub backup_max_age: Option<Duration>,
}

impl Watched {
    /// The name of this node.
    pub fn node(&self) -> &str {
        &self.nodes.this().identity.name
    }

    /// Whether several nodes may share the database.
    pub fn is_shared(&self) -> bool {
        self.store.cluster().is_some()
    }

    /// Whether all is well. While the database cannot be read, that is what this node knows by itself.
    ///
    /// # Errors
    /// The database failed, and is not away.
    pub async fn status(&self) -> Result<Status, StoreError> {
        let apps_live = self.table.apps_in_production();
        match self.read().await {
            Ok((counts, problems)) => Ok(Status { counts: Some(counts), apps_live, problems }),
            Err(error) if error.is_unavailable() => {
                Ok(Status { counts: None, apps_live, problems: self.problems_without_database(&error) })
            }
            Err(error) => Err(error),
        }
    }

    async fn read(&self) -> Result<(Counts, Vec<Problem>), StoreError> {
        let nodes = self.nodes.list().await?;
        let apps = self.store.apps().await?;
        let counts = Counts {
            nodes: nodes.len(),
            nodes_ready: nodes.iter().filter(|node| node.trouble.is_none()).count(),
            apps: apps.len(),
            apps_stopped: apps.iter().filter(|app| app.stopped_at.is_some()).count(),
            apps_deleted: self.store.deleted_apps().await?.iter().filter(|app| !app.purging).count(),
            last_backup_at: self.store.last_backup().await?.made_at,
        };
        Ok((counts, self.problems(&nodes).await?))
    }

    async fn problems(&self, nodes: &[Node]) -> Result<Vec<Problem>, StoreError> {
        let now = self.clock.now();
        let store = &self.store;
        let written = self.database.check().await;
        let mut problems = Vec::from_iter(written.err().map(|error| not_writable(self.node(), &error)));
        problems.extend(nodes.iter().filter_map(not_ready));
        problems.extend(self.not_served().await?.into_iter().map(Problem::AppNotServed));
        problems.extend(self.failing_schedules().await?);
        problems.extend(store.schedule_hold().await?.map(Problem::SchedulesHeld));
        let failing = store.failing_apps(now - FAILURES_OF, LISTED_MAX).await?;
        problems.extend(failing.into_iter().map(Problem::ExecutionsFailing));
        let dropped = store.dropped_records(now - DROPPED_OF, LISTED_MAX).await?;
        problems.extend(dropped.into_iter().map(Problem::RecordsDropped));
        if let Some(max_age) = self.backup_max_age {
            problems.extend(backup(store.last_backup().await?, max_age, now));
        }
        problems.extend(nodes.iter().filter_map(skew));
        if let KnownTime::NotBefore(latest) = store.time().await?
            && latest - Utc::now() > SKEW_ERROR
        {
            problems.push(Problem::ClockBehind { node: self.node().to_owned(), latest });
        }
        problems.extend(clock(self.node(), self.clock.status(), Utc::now()));
        let refused = self.certificates.last_refused(Utc::now());
        problems.extend(
            refused
                .map(|refused| Problem::PreviewWithoutCertificate { node: self.node().to_owned(), refused }),
        );
        problems.extend(self.previews_that_read_production());
        problems.extend(nodes.iter().filter_map(nearly_full));
        Ok(problems)
    }

    /// The problems that this node knows of by itself while the database, which failed with `error`, cannot be read.
    fn problems_without_database(&self, error: &StoreError) -> Vec<Problem> {
        let reason = self.activation.trouble();
        let not_ready = reason.map(|reason| Problem::NodeNotReady { node: self.node().to_owned(), reason });
        let clock = clock(self.node(), self.clock.status(), Utc::now());
        std::iter::once(not_writable(self.node(), error)).chain(not_ready).chain(clock).collect()
    }

    /// Those that were not pushed to since there are secrets of previews.
    fn previews_that_read_production(&self) -> impl Iterator<Item = Problem> {
        let live = self.table.previews_that_read_production().into_iter();
        let problem = |(app, branch)| Problem::PreviewReadsProduction { app, branch };
        live.take(LISTED_MAX as usize).map(problem)
    }

    /// The apps that nodes cannot serve: this node by its own word, the others by what they said.
    async fn not_served(&self) -> Result<Vec<NotServed>, StoreError> {
        if let Some(cluster) = self.store.cluster() {
            return cluster.not_served(LISTED_MAX).await;
        }
        let taken = self.activation.taken_up().into_iter();
        let faulty = taken.filter_map(|(app, taken)| {
            Some(NotServed { node: self.node().to_owned(), app: app.to_string(), fault: taken.fault? })
        });
        Ok(faulty.take(LISTED_MAX as usize).collect())
    }

    /// Those that are declared and run by the clock.
    async fn failing_schedules(&self) -> Result<Vec<Problem>, StoreError> {
        let failing = self.store.failing_schedules(LISTED_MAX).await?;
        if failing.is_empty() {
            return Ok(Vec::new());
        }
        let live = self.table.scheduled();
        let mut production = HashSet::new();
        let mut preview = HashSet::new();
        for live in &live {
            let of = if live.branch.production { &mut production } else { &mut preview };
            let names = live.revision.manifest().schedules.iter().map(|schedule| schedule.name.as_str());
            of.extend(names.map(|name| (live.revision.app().as_str(), live.branch.name.as_str(), name)));
        }
        let found = |schedule: FailingSchedule| {
            let name = (schedule.app.as_str(), schedule.branch.as_str(), schedule.name.as_str());
            let preview = preview.contains(&name);
            (preview || production.contains(&name)).then_some(Problem::ScheduleFailing { schedule, preview })
        };
        Ok(failing.into_iter().filter_map(found).collect())
    }
}

fn not_writable(node: &str, error: &StoreError) -> Problem {
    Problem::DatabaseNotWritable { node: node.to_owned(), reason: error.public_reason() }
}

fn not_ready(node: &Node) -> Option<Problem> {
    Some(Problem::NodeNotReady { node: node.name.clone(), reason: node.trouble.clone()? })
}

fn backup(last: LastBackup, max_age: Duration, now: DateTime<Utc>) -> Option<Problem> {
    let is_old = |since: DateTime<Utc>| (now - since).to_std().is_ok_and(|age| age > max_age);
    match last.made_at {
        // One of the future was made by a clock that was wrong, and says nothing.
        Some(made_at) if is_old(made_at) || now - made_at < -SKEW_ERROR => {
            Some(Problem::BackupOld { made_at })
        }
        None if is_old(last.known_since) => Some(Problem::BackupMissing { since: last.known_since }),
        _ => None,
    }
}

fn skew(node: &Node) -> Option<Problem> {
    let ahead = TimeDelta::milliseconds(node.clock_skew_ms?);
    (ahead.abs() > SKEW_WARN).then(|| Problem::ClockSkew { node: node.name.clone(), ahead })
}

/// What a node knows of its own clock, which shows `now`.
fn clock(node: &str, status: ClockStatus, now: DateTime<Utc>) -> impl Iterator<Item = Problem> {
    let node = || node.to_owned();
    let jump = status.last_jump.filter(|jump| now - jump.at < JUMPS_OF);
    let jump = jump.map(|jump| Problem::ClockJump { node: node(), jump });
    let paused = status.retention_paused.map(|reason| Problem::RetentionPaused { node: node(), reason });
    jump.into_iter().chain(paused)
}

fn nearly_full(node: &Node) -> Option<Problem> {
    let disk = node.disk.filter(Disk::is_nearly_full)?;
    Some(Problem::DiskNearlyFull { node: node.name.clone(), disk })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_backup_is_old_by_its_age_and_never_before_there_could_be_one() {
        let now = DateTime::from_timestamp(2_000_000_000, 0).unwrap();
        let (week, days) = (Duration::from_secs(7 * 86_400), |days| now - TimeDelta::days(days));
        let found = |made_at, known_since| backup(LastBackup { known_since, made_at }, week, now);
        assert_eq!(found(None, days(6)), None);
        assert_eq!(found(None, days(8)), Some(Problem::BackupMissing { since: days(8) }));
        assert_eq!(found(Some(days(6)), days(100)), None);
        assert_eq!(found(Some(days(8)), days(100)), Some(Problem::BackupOld { made_at: days(8) }));
        assert_eq!(found(Some(days(-1)), days(100)), Some(Problem::BackupOld { made_at: days(-1) }));
    }

    #[test]
    fn clock_jump_is_a_problem_for_a_day() {
        let at = DateTime::from_timestamp(2_000_000_000, 0).unwrap();
        let jump = Jump { at, by: TimeDelta::hours(-5) };
        let status = ClockStatus { last_jump: Some(jump), jumps: 1, skew: None, retention_paused: None };
        let found = |hours| clock("pi", status.clone(), at + TimeDelta::hours(hours)).collect::<Vec<_>>();
        assert_eq!(found(23), [Problem::ClockJump { node: "pi".to_owned(), jump }]);
        assert_eq!(found(24), []);
    }

    #[test]
    fn a_disk_is_nearly_full_by_what_is_free_and_by_its_share() {
        let disk = |free_bytes, size_bytes| Disk { free_bytes, size_bytes }.is_nearly_full();
        assert!(disk(90 << 20, 1 << 30) && !disk(200 << 20, 1 << 30));
        assert!(!disk(2 << 30, 1 << 40), "2 GiB are room enough on any disk");
    }
}
