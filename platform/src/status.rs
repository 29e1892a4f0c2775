//! The status for operators, computed on request.
//!
//! [`StatusChecker::status`] reads the database and the state of this node; nothing is monitored in between.
//! The number of listed problems is limited per kind.

use std::cmp::Reverse;
use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use crate::live::LiveTable;
use chrono::{DateTime, TimeDelta, Utc};
use store::cluster::{Disk, UnservedApp};
use store::{
    App, AppId, DatabaseTime, DroppedRecordsSummary, FailingApp, FailingSchedule, LastBackup, ScheduleHold,
    Store, StoreError,
};

use crate::activation::Activation;
use crate::certificates::{PreviewCertificates, RejectedCertificate};
use crate::clock::{Clock, ClockStatus, Jump, RetentionPaused};
use crate::health::DatabaseHealth;
use crate::nodes::{Node, NodeList};

/// The maximum number of problems of one kind.
const LISTED_MAX: u32 = 50;

/// The window of failed executions.
const FAILURE_WINDOW: TimeDelta = TimeDelta::hours(1);

/// The window of dropped records.
const DROP_WINDOW: TimeDelta = TimeDelta::hours(24);

/// The window of clock jumps.
const CLOCK_JUMP_WINDOW: TimeDelta = TimeDelta::hours(24);

/// The percentage of failed executions that is an error instead of a warning.
const FAILURE_PERCENT_ERROR: u64 = 10;

/// The percentage of its quota from which on state is a warning, and an error.
const STATE_PERCENT_WARN: u64 = 80;
const STATE_PERCENT_ERROR: u64 = 99;

/// The clock skew that is a warning.
const SKEW_WARN: TimeDelta = TimeDelta::seconds(5);

/// The clock skew that is an error: a node does not start with such a clock.
const SKEW_ERROR: TimeDelta = TimeDelta::minutes(5);

/// The severity of a problem.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// Something does not work.
    Error,
    /// Something will fail, or has failed and works again.
    Warning,
}

/// A problem.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Problem {
    /// A node cannot write to the database.
    DatabaseNotWritable {
        /// The name of the node.
        node: String,
        /// Why, without details of the database.
        reason: String,
    },
    /// A node is not ready.
    NodeNotReady {
        /// Its name.
        node: String,
        /// Why.
        reason: String,
    },
    /// A node cannot serve the latest generation of an app.
    AppNotServed(UnservedApp),
    /// The last run of a schedule failed or was lost.
    ScheduleFailing {
        /// The schedule.
        schedule: FailingSchedule,
        /// Whether it belongs to a preview.
        preview: bool,
    },
    /// The schedules of all apps are held.
    SchedulesHeld(ScheduleHold),
    /// Executions of an app failed within the last hour.
    ExecutionsFailing(FailingApp),
    /// Records of executions were dropped within the last day.
    RecordsDropped(DroppedRecordsSummary),
    /// There is no backup.
    BackupMissing {
        /// The age of the database.
        since: DateTime<Utc>,
    },
    /// The latest backup is too old.
    BackupOld {
        /// When it was made.
        made_at: DateTime<Utc>,
    },
    /// The clocks of a node and of the database differ.
    ClockSkew {
        /// The name of the node.
        node: String,
        /// How far it is ahead; negative if it is behind.
        ahead: TimeDelta,
    },
    /// The clock of this node is behind the latest entry.
    ClockBehind {
        /// The name of the node.
        node: String,
        /// The time of the latest entry.
        latest: DateTime<Utc>,
    },
    /// The clock of a node jumped within the last day.
    ClockJump {
        /// The name of the node.
        node: String,
        /// The last jump.
        jump: Jump,
    },
    /// A node paused retention, since its clock is not trusted.
    RetentionPaused {
        /// The name of the node.
        node: String,
        /// Why.
        reason: RetentionPaused,
    },
    /// A preview has no certificate: there were too many new ones within a week.
    PreviewWithoutCertificate {
        /// The name of the node that rejected it.
        node: String,
        /// The last rejection.
        rejected: RejectedCertificate,
    },
    /// A preview reads production secrets, since it was pushed before previews had secrets of their own.
    PreviewReadsProduction {
        /// The app.
        app: String,
        /// The branch.
        branch: String,
    },
    /// The state of an app or of one of its previews has nearly reached its quota.
    StateNearlyFull {
        /// The app.
        app: String,
        /// The branch of the preview; `None`: production.
        branch: Option<String>,
        /// The stored bytes.
        bytes: u64,
        /// The quota in bytes.
        quota_bytes: u64,
        /// Whether a higher limit of the app raises it.
        is_limit: bool,
    },
    /// The disk of a node is nearly full.
    DiskNearlyFull {
        /// The name of the node.
        node: String,
        /// Its disk usage.
        disk: Disk,
    },
}

impl Problem {
    /// The severity.
    pub fn severity(&self) -> Severity {
        let error = match self {
            Self::DatabaseNotWritable { .. } | Self::NodeNotReady { .. } => true,
            Self::AppNotServed(_) | Self::ScheduleFailing { .. } => true,
            Self::ExecutionsFailing(app) => app.failed * 100 >= app.executions * FAILURE_PERCENT_ERROR,
            Self::ClockSkew { ahead, .. } => ahead.abs() > SKEW_ERROR,
            Self::ClockBehind { .. } => true,
            Self::DiskNearlyFull { disk, .. } => disk.free_bytes.saturating_mul(100) < disk.size_bytes,
            Self::SchedulesHeld(_) | Self::RecordsDropped(_) => false,
            Self::BackupMissing { .. } | Self::BackupOld { .. } => false,
            Self::ClockJump { .. } | Self::RetentionPaused { .. } => false,
            Self::PreviewWithoutCertificate { .. } => false,
            Self::PreviewReadsProduction { .. } => false,
            Self::StateNearlyFull { bytes, quota_bytes, .. } => {
                percent(*bytes, *quota_bytes) >= STATE_PERCENT_ERROR
            }
        };
        if error { Severity::Error } else { Severity::Warning }
    }
}

/// The status of the server.
#[derive(Clone, Debug)]
pub struct Status {
    /// Counts from the database; `None`: it is down.
    pub counts: Option<StatusCounts>,
    /// The number of apps with live production.
    pub apps_live: usize,
    /// The problems, ordered by kind.
    pub problems: Vec<Problem>,
}

/// Counts of nodes and apps.
#[derive(Clone, Copy, Debug)]
pub struct StatusCounts {
    /// The nodes.
    pub nodes: usize,
    /// The ready nodes.
    pub nodes_ready: usize,
    /// The apps.
    pub apps: usize,
    /// The stopped apps.
    pub apps_stopped: usize,
    /// The deleted apps that can be restored.
    pub apps_deleted: usize,
    /// The time of the latest backup recorded in the database.
    pub last_backup_at: Option<DateTime<Utc>>,
}

/// Checks the status. Cheap to clone.
#[derive(Clone, Debug)]
pub struct StatusChecker {
    /// The database.
    pub store: Store,
    /// The health check of the database.
    pub database: DatabaseHealth,
    /// The clock of this node.
    pub clock: Clock,
    /// The live table.
    pub table: Arc<LiveTable>,
    /// The activation of this node.
    pub activation: Activation,
    /// The nodes of the cluster.
    pub nodes: NodeList,
    /// The certificates of previews.
    pub certificates: PreviewCertificates,
    /// The maximum age of the latest backup; `None`: backups are made by other means.
    pub backup_max_age: Option<Duration>,
}

impl StatusChecker {
    /// The name of this node.
    pub fn node(&self) -> &str {
        &self.nodes.this().identity.name
    }

    /// Whether several nodes can share the database.
    pub fn is_shared(&self) -> bool {
        self.store.cluster().is_some()
    }

    /// Checks the status. While the database is down, it only covers this node.
    ///
    /// # Errors
    /// The database failed for a reason other than being down.
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

    async fn read(&self) -> Result<(StatusCounts, Vec<Problem>), StoreError> {
        let nodes = self.nodes.list().await?;
        let apps = self.store.apps().await?;
        let counts = StatusCounts {
            nodes: nodes.len(),
            nodes_ready: nodes.iter().filter(|node| node.not_ready_reason.is_none()).count(),
            apps: apps.len(),
            apps_stopped: apps.iter().filter(|app| app.stopped_at.is_some()).count(),
            apps_deleted: self.store.deleted_apps().await?.iter().filter(|app| !app.purging).count(),
            last_backup_at: self.store.last_backup().await?.made_at,
        };
        Ok((counts, self.problems(&nodes, &apps).await?))
    }

    async fn problems(&self, nodes: &[Node], apps: &[App]) -> Result<Vec<Problem>, StoreError> {
        let now = self.clock.now();
        let store = &self.store;
        let written = self.database.check().await;
        let mut problems = Vec::from_iter(written.err().map(|error| not_writable(self.node(), &error)));
        problems.extend(nodes.iter().filter_map(not_ready));
        problems.extend(self.not_served().await?.into_iter().map(Problem::AppNotServed));
        problems.extend(self.failing_schedules().await?);
        problems.extend(store.schedule_hold().await?.map(Problem::SchedulesHeld));
        let failing = store.failing_apps(now - FAILURE_WINDOW, LISTED_MAX).await?;
        problems.extend(failing.into_iter().map(Problem::ExecutionsFailing));
        let dropped = store.dropped_records_summary(now - DROP_WINDOW, LISTED_MAX).await?;
        problems.extend(dropped.into_iter().map(Problem::RecordsDropped));
        if let Some(max_age) = self.backup_max_age {
            problems.extend(backup(store.last_backup().await?, max_age, now));
        }
        problems.extend(nodes.iter().filter_map(skew));
        if let DatabaseTime::NotBefore(latest) = store.time().await?
            && latest - Utc::now() > SKEW_ERROR
        {
            problems.push(Problem::ClockBehind { node: self.node().to_owned(), latest });
        }
        problems.extend(clock(self.node(), self.clock.status(), Utc::now()));
        let rejected = self.certificates.last_rejected(Utc::now());
        problems.extend(
            rejected.map(|rejected| Problem::PreviewWithoutCertificate {
                node: self.node().to_owned(),
                rejected,
            }),
        );
        problems.extend(self.previews_that_read_production());
        problems.extend(self.nearly_full_state(apps).await?);
        problems.extend(nodes.iter().filter_map(nearly_full));
        Ok(problems)
    }

    /// The problems of this node while the database, which failed with `error`, cannot be read.
    fn problems_without_database(&self, error: &StoreError) -> Vec<Problem> {
        let reason = self.activation.not_ready_reason();
        let not_ready = reason.map(|reason| Problem::NodeNotReady { node: self.node().to_owned(), reason });
        let clock = clock(self.node(), self.clock.status(), Utc::now());
        std::iter::once(not_writable(self.node(), error)).chain(not_ready).chain(clock).collect()
    }

    /// The previews that were not pushed to since previews have their own secrets.
    fn previews_that_read_production(&self) -> impl Iterator<Item = Problem> {
        let live = self.table.previews_that_read_production().into_iter();
        let problem = |(app, branch)| Problem::PreviewReadsProduction { app, branch };
        live.take(LISTED_MAX as usize).map(problem)
    }

    /// The namespaces that have nearly reached their quota, the fullest first.
    async fn nearly_full_state(&self, apps: &[App]) -> Result<Vec<Problem>, StoreError> {
        let apps: HashMap<AppId, &App> = apps.iter().map(|app| (app.id, app)).collect();
        let namespaces = self.store.state().namespaces(None).await?;
        let mut found: Vec<(u64, Problem)> = namespaces
            .into_iter()
            .filter_map(|namespace| {
                // Those of deleted apps are no problem.
                let app = apps.get(&namespace.app)?;
                let granted = self.activation.limits().with(&app.limits);
                let quota_bytes = granted.state_quota(&namespace.name);
                let percent = percent(namespace.bytes, quota_bytes);
                let problem = Problem::StateNearlyFull {
                    app: app.name.to_string(),
                    branch: namespace.name.into_branch(),
                    bytes: namespace.bytes,
                    quota_bytes,
                    is_limit: quota_bytes == granted.state,
                };
                (percent >= STATE_PERCENT_WARN).then_some((percent, problem))
            })
            .collect();
        found.sort_by_key(|(percent, _)| Reverse(*percent));
        Ok(found.into_iter().take(LISTED_MAX as usize).map(|(_, problem)| problem).collect())
    }

    /// The apps that nodes cannot serve, as reported by each node.
    async fn not_served(&self) -> Result<Vec<UnservedApp>, StoreError> {
        if let Some(cluster) = self.store.cluster() {
            return cluster.unserved_apps(LISTED_MAX).await;
        }
        let applied = self.activation.applied().into_iter();
        let failing = applied.filter_map(|(app, applied)| {
            Some(UnservedApp { node: self.node().to_owned(), app: app.to_string(), error: applied.error? })
        });
        Ok(failing.take(LISTED_MAX as usize).collect())
    }

    /// The failing ones among declared and enabled schedules.
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

/// `bytes` as a percentage of `quota`.
fn percent(bytes: u64, quota: u64) -> u64 {
    bytes.saturating_mul(100) / quota.max(1)
}

fn not_writable(node: &str, error: &StoreError) -> Problem {
    Problem::DatabaseNotWritable { node: node.to_owned(), reason: error.public_reason() }
}

fn not_ready(node: &Node) -> Option<Problem> {
    Some(Problem::NodeNotReady { node: node.name.clone(), reason: node.not_ready_reason.clone()? })
}

fn backup(last: LastBackup, max_age: Duration, now: DateTime<Utc>) -> Option<Problem> {
    let is_old = |since: DateTime<Utc>| (now - since).to_std().is_ok_and(|age| age > max_age);
    match last.made_at {
        // A backup from the future was made with a wrong clock.
        Some(made_at) if is_old(made_at) || now - made_at < -SKEW_ERROR => {
            Some(Problem::BackupOld { made_at })
        }
        None if is_old(last.recorded_since) => Some(Problem::BackupMissing { since: last.recorded_since }),
        _ => None,
    }
}

fn skew(node: &Node) -> Option<Problem> {
    let ahead = TimeDelta::milliseconds(node.clock_skew_ms?);
    (ahead.abs() > SKEW_WARN).then(|| Problem::ClockSkew { node: node.name.clone(), ahead })
}

/// The problems of a node's clock, which shows `now`.
fn clock(node: &str, status: ClockStatus, now: DateTime<Utc>) -> impl Iterator<Item = Problem> {
    let node = || node.to_owned();
    let jump = status.last_jump.filter(|jump| now - jump.at < CLOCK_JUMP_WINDOW);
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
    fn backup_is_old_by_age_and_not_missing_in_new_database() {
        let now = DateTime::from_timestamp(2_000_000_000, 0).unwrap();
        let (week, days) = (Duration::from_secs(7 * 86_400), |days| now - TimeDelta::days(days));
        let found = |made_at, recorded_since| backup(LastBackup { recorded_since, made_at }, week, now);
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
    fn disk_is_nearly_full_by_free_bytes_and_percentage() {
        let disk = |free_bytes, size_bytes| Disk { free_bytes, size_bytes }.is_nearly_full();
        assert!(disk(90 << 20, 1 << 30) && !disk(200 << 20, 1 << 30));
        assert!(!disk(2 << 30, 1 << 40), "2 GiB suffice on any disk");
    }
}
