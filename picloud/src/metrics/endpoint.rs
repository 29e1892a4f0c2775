//! The metrics endpoint of a node.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use axum::body::Body;
use axum::http::{HeaderValue, Response, header};
use chrono::{DateTime, Utc};
use manifest_schema::execution::TriggerKind;
use manifest_schema::zone::zone_data;
use platform::clock::Clock;
use platform::health::DatabaseHealth;
use platform::histogram::Buckets;
use platform::live::{AppMetrics, LiveTable};
use platform::nodes::ClusterState;
use platform::request_metrics::{LATENCY_BUCKETS, RejectReason};
use platform::schedules::Scheduler;
use platform::state::{GROUP_BOUNDS, State};
use runtime::FailureKind;
use std::sync::atomic::Ordering;
use store::Store;
use store::cluster::Disk;

use super::edge_metrics::{CloseReason, EdgeMetrics, Handler, VERDICTS};
use super::exposition::{CONTENT_TYPE, Exposition, Kind};
use super::process;

/// Timeout of the database checks.
const DATABASE_TIMEOUT: Duration = Duration::from_secs(2);

/// The `app` label of the apps beyond the cardinality limit.
const OTHERS: &str = "other";

/// The `status` labels.
const STATUS_CLASSES: [&str; 5] = ["1xx", "2xx", "3xx", "4xx", "5xx"];

/// The sources of the metrics.
#[derive(Clone)]
pub(crate) struct MetricsEndpoint {
    pub(crate) edge: Arc<EdgeMetrics>,
    pub(crate) table: Arc<LiveTable>,
    pub(crate) state: State,
    pub(crate) store: Store,
    pub(crate) database_health: DatabaseHealth,
    pub(crate) scheduler: Scheduler,
    pub(crate) clock: Clock,
    /// The number of waiting and of running pushes.
    pub(crate) pushes: Arc<dyn Fn() -> (usize, usize) + Send + Sync>,
    /// Set if several nodes can share the database.
    pub(crate) presence: Option<ClusterState>,
    pub(crate) started: SystemTime,
    /// The data folder.
    pub(crate) data_dir: PathBuf,
}

/// Values that are read for each scrape.
struct Probes {
    /// The duration of the database ping; `None` if the database is down.
    ping: Option<Duration>,
    /// The time of the last backup.
    last_backup: Option<DateTime<Utc>>,
    /// The file system of the data folder.
    disk: Option<Disk>,
}

impl MetricsEndpoint {
    /// Responds to a scrape. The database checks have a timeout.
    pub(crate) async fn response(&self) -> Response<Body> {
        let checked = tokio::time::timeout(DATABASE_TIMEOUT, self.database_health.check()).await;
        let ping = checked.ok().and_then(Result::ok);
        let last_backup = match ping {
            Some(_) => tokio::time::timeout(DATABASE_TIMEOUT, self.store.last_backup()).await.ok(),
            None => None,
        };
        let last_backup = last_backup.and_then(|found| found.ok()?.made_at);
        let probes = Probes { ping, last_backup, disk: platform::disk::usage(&self.data_dir).await };
        let mut response = Response::new(Body::from(self.text(&probes)));
        response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(CONTENT_TYPE));
        response
    }

    fn text(&self, probes: &Probes) -> String {
        let mut page = Exposition::default();
        let version = env!("CARGO_PKG_VERSION");
        page.family("picloud_build_info", Kind::Gauge, "Version of PiCloud.")
            .sample(&[("version", version)], 1);
        let (zones, help) = (zone_data(), "Version and source of the time zone data.");
        let version = zones.version().unwrap_or_default();
        page.family("picloud_tzdata_info", Kind::Gauge, help)
            .sample(&[("version", &version), ("source", zones.source().as_str())], 1);
        self.clock(&mut page);
        page.single("picloud_apps", Kind::Gauge, "Apps with a live deploy.", self.table.apps());
        let apps = self.table.metrics();
        requests(&mut page, &apps);
        executions(&mut page, &apps);
        self.memory(&mut page);
        self.state(&mut page);
        self.http_requests(&mut page);
        self.connections(&mut page);
        self.pushes(&mut page);
        self.schedules(&mut page);
        self.database(&mut page, probes.ping);
        storage(&mut page, probes);
        process::write(&mut page, self.started);
        page.into_text()
    }

    fn clock(&self, page: &mut Exposition) {
        let clock = self.clock.status();
        let help = "Number of times the system clock was set while the node was running.";
        page.single("picloud_clock_jumps_total", Kind::Counter, help, clock.jumps);
        if let Some(skew) = clock.skew {
            let help = "Offset of the system clock from the clock of the database.";
            page.single("picloud_clock_skew_seconds", Kind::Gauge, help, skew.as_seconds_f64());
        }
        let help = "Whether retention is paused because the system clock is in doubt.";
        let paused = u8::from(clock.retention_paused.is_some());
        page.single("picloud_retention_paused", Kind::Gauge, help, paused);
    }

    fn state(&self, page: &mut Exposition) {
        let counts = self.state.metrics().counts();
        let help = "Commits of state that were accepted. They are answered once they are stored.";
        page.single("picloud_state_accepted_commits_total", Kind::Counter, help, counts.accepted);
        let help = "Commits of state that were stored together.";
        page.histogram("picloud_state_group_commits", help).number_buckets(
            &GROUP_BOUNDS,
            &counts.groups,
            counts.commits,
        );
        let help = "Groups of commits that could not be stored.";
        page.single("picloud_state_failed_groups_total", Kind::Counter, help, counts.failed_groups);
        let help = "Groups of commits that were refused because another node had committed first.";
        page.single("picloud_state_outdated_groups_total", Kind::Counter, help, counts.outdated_groups);
        let help = "Executions that ran again because what they had read had changed.";
        page.single("picloud_state_reruns_total", Kind::Counter, help, counts.reruns);
        let help = "Keys of the state that were read from the database, because they were not in memory.";
        page.single("picloud_state_cache_misses_total", Kind::Counter, help, counts.cache_misses);
        let help = "Lists of keys that were read from the database.";
        page.single("picloud_state_lists_total", Kind::Counter, help, counts.lists);
        let help = "Values of the state in memory.";
        page.single("picloud_state_cache_bytes", Kind::Gauge, help, self.state.cached_bytes());
    }

    fn memory(&self, page: &mut Exposition) {
        let usage = self.table.memory().usage();
        let help = "Used bytes of the memory budget, by purpose.";
        let mut family = page.family("picloud_memory_used_bytes", Kind::Gauge, help);
        for (purpose, bytes) in usage.by_purpose {
            family.sample(&[("purpose", purpose.as_str())], bytes);
        }
        let help = "Memory budget of the node for apps and their clients.";
        page.single("picloud_memory_budget_bytes", Kind::Gauge, help, usage.total_bytes);
        let help = "Requests for memory that the budget rejected.";
        page.single("picloud_memory_rejections_total", Kind::Counter, help, usage.rejections);
    }

    fn http_requests(&self, page: &mut Exposition) {
        let help = "HTTP requests that were not served by an app, by handler and status class.";
        let mut family = page.family("picloud_http_requests_total", Kind::Counter, help);
        for handler in Handler::ALL {
            for (class, count) in STATUS_CLASSES.iter().zip(&self.edge.responses[handler as usize]) {
                let count = count.load(Ordering::Relaxed);
                if count > 0 {
                    family.sample(&[("handler", handler.as_str()), ("status", class)], count);
                }
            }
        }
    }

    fn connections(&self, page: &mut Exposition) {
        let help = "Connections that were evicted at the connection limit, by reason: idle, or slow headers or body.";
        let mut family = page.family("picloud_connections_closed_total", Kind::Counter, help);
        for reason in CloseReason::ALL {
            let count = self.edge.closed[reason as usize].load(Ordering::Relaxed);
            family.sample(&[("reason", reason.as_str())], count);
        }
    }

    fn pushes(&self, page: &mut Exposition) {
        let help = "Refs of pushes, by verdict.";
        let mut family = page.family("picloud_pushes_total", Kind::Counter, help);
        for (verdict, count) in VERDICTS.iter().zip(&self.edge.verdicts) {
            family.sample(&[("verdict", verdict)], count.load(Ordering::Relaxed));
        }
        page.histogram(
            "picloud_push_duration_seconds",
            "Duration of pushes from the first byte to the verdict.",
        )
        .buckets(&[], &self.edge.pushes.buckets());
        let (waiting, running) = (self.pushes)();
        let help = "Pushes in progress: waiting (being received or queued) or running.";
        let mut family = page.family("picloud_pushes_in_progress", Kind::Gauge, help);
        family.sample(&[("state", "waiting")], waiting);
        family.sample(&[("state", "running")], running);
    }

    fn schedules(&self, page: &mut Exposition) {
        let runs = self.scheduler.metrics();
        let help = "Schedule runs that this node claimed, by outcome.";
        let mut family = page.family("picloud_schedule_runs_total", Kind::Counter, help);
        runs.outcomes().for_each(|(outcome, count)| family.sample(&[("outcome", outcome)], count));
        page.histogram("picloud_schedule_lateness_seconds", "Delay of schedule runs after their due time.")
            .buckets(&[], &runs.lateness());
    }

    fn database(&self, page: &mut Exposition, ping: Option<Duration>) {
        let up = u8::from(ping.is_some());
        page.single("picloud_database_up", Kind::Gauge, "Whether the database accepts writes.", up);
        if let Some(ping) = ping {
            let help = "Duration of a write to the database, measured at most 10 seconds ago.";
            page.single("picloud_database_ping_duration_seconds", Kind::Gauge, help, ping.as_secs_f64());
        }
        if let Some((open, idle)) = self.store.connections() {
            let help = "Connections of the database pool, by state.";
            let mut family = page.family("picloud_database_connections", Kind::Gauge, help);
            family.sample(&[("state", "idle")], idle);
            family.sample(&[("state", "used")], open.saturating_sub(idle));
        }
        if let Some(presence) = &self.presence {
            let away = presence.down_for().unwrap_or_default().as_secs_f64();
            let help = "Time since the last successful heartbeat to the database.";
            page.single("picloud_database_down_seconds", Kind::Gauge, help, away);
        }
    }
}

fn storage(page: &mut Exposition, probes: &Probes) {
    if let Some(made_at) = probes.last_backup {
        let help = "Unix time of the last backup.";
        page.single("picloud_last_backup_timestamp_seconds", Kind::Gauge, help, made_at.timestamp());
    }
    if let Some(Disk { free_bytes, size_bytes }) = probes.disk {
        let help = "Free bytes of the file system of the data folder.";
        page.single("picloud_data_dir_free_bytes", Kind::Gauge, help, free_bytes);
        let help = "Size of the file system of the data folder.";
        page.single("picloud_data_dir_size_bytes", Kind::Gauge, help, size_bytes);
    }
}

fn name(app: &AppMetrics) -> &str {
    app.app.as_deref().unwrap_or(OTHERS)
}

fn requests(page: &mut Exposition, apps: &[AppMetrics]) {
    let help = "Requests that were served by apps, by status class.";
    let mut family = page.family("picloud_requests_total", Kind::Counter, help);
    for app in apps {
        for (class, responses) in STATUS_CLASSES.iter().zip(&app.counts.responses) {
            let count: u64 = responses.iter().sum();
            if count > 0 {
                family.sample(&[("app", name(app)), ("status", class)], count);
            }
        }
    }
    let help = "Duration of requests to apps from their headers to the response.";
    let mut family = page.histogram("picloud_request_duration_seconds", help);
    for app in apps {
        let responses = &app.counts.responses;
        let counts = (0..=LATENCY_BUCKETS.len())
            .map(|class| responses.iter().map(|counts| counts[class]).sum())
            .collect();
        let buckets = Buckets { bounds: &LATENCY_BUCKETS, counts, sum: app.counts.response_time };
        family.buckets(&[("app", name(app))], &buckets);
    }
}

fn executions(page: &mut Exposition, apps: &[AppMetrics]) {
    let outcomes = || std::iter::once("ok").chain(FailureKind::ALL.iter().map(|kind| kind.as_str()));
    let help = "Script executions, by trigger and outcome.";
    let mut family = page.family("picloud_executions_total", Kind::Counter, help);
    for app in apps {
        for (trigger, ended) in TriggerKind::ALL.iter().zip(&app.counts.executions) {
            for (outcome, count) in outcomes().zip(ended).filter(|(_, count)| **count > 0) {
                let labels = [("app", name(app)), ("trigger", trigger.as_str()), ("outcome", outcome)];
                family.sample(&labels, count);
            }
        }
    }
    let help = "Limit hits, by limit: limits of executions, concurrency, bodies and memory.";
    let mut family = page.family("picloud_limit_hits_total", Kind::Counter, help);
    for app in apps {
        let of_runs =
            FailureKind::ALL.iter().enumerate().filter(|(_, kind)| kind.is_limit()).map(|(at, kind)| {
                (kind.as_str(), app.counts.executions.iter().map(|ended| ended[at + 1]).sum::<u64>())
            });
        let before = RejectReason::ALL.map(RejectReason::as_str).into_iter().zip(app.counts.rejections);
        for (limit, count) in of_runs.chain(before).filter(|(_, count)| *count > 0) {
            family.sample(&[("app", name(app)), ("limit", limit)], count);
        }
    }
    let help = "Executions whose changes of state were not accepted because what they had read had changed.";
    let mut family = page.family("picloud_state_conflicts_total", Kind::Counter, help);
    for app in apps.iter().filter(|app| app.counts.state_conflicts > 0) {
        family.sample(&[("app", name(app))], app.counts.state_conflicts);
    }
    let help = "Executions in progress: running, or waiting for the concurrency limit of their app.";
    let mut family = page.family("picloud_executions_in_progress", Kind::Gauge, help);
    for app in apps {
        family.sample(&[("app", name(app)), ("state", "waiting")], app.waiting);
        family.sample(&[("app", name(app)), ("state", "running")], app.running);
    }
}
