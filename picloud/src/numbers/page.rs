//! All numbers of a node on one page.

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
use runtime::FailureKind;
use std::sync::atomic::Ordering;
use store::Store;
use store::cluster::Disk;

use super::counters::{Closed, Handler, Numbers, VERDICTS};
use super::exposition::{CONTENT_TYPE, Exposition, Kind};
use super::process;

/// How long the database may take to answer before it counts as away.
const DATABASE_TIME_MAX: Duration = Duration::from_secs(2);

/// The name of the apps that are counted together.
const OTHERS: &str = "other";

/// The classes of status, as labels.
const STATUS: [&str; 5] = ["1xx", "2xx", "3xx", "4xx", "5xx"];

/// Where the numbers come from.
#[derive(Clone)]
pub(crate) struct Page {
    pub(crate) numbers: Arc<Numbers>,
    pub(crate) table: Arc<LiveTable>,
    pub(crate) store: Store,
    pub(crate) database_health: DatabaseHealth,
    pub(crate) scheduler: Scheduler,
    pub(crate) clock: Clock,
    /// How many pushes arrive or wait, and how many are worked on.
    pub(crate) pushes: Arc<dyn Fn() -> (usize, usize) + Send + Sync>,
    /// Where several nodes may share the database.
    pub(crate) presence: Option<ClusterState>,
    pub(crate) started: SystemTime,
    /// The folder in which the node keeps its files.
    pub(crate) data_dir: PathBuf,
}

/// What was asked for the page.
struct Asked {
    /// How long the database took to answer; `None`: it is away.
    ping: Option<Duration>,
    /// When the latest backup was made, if any was.
    last_backup: Option<DateTime<Utc>>,
    /// The file system with the data folder.
    disk: Option<Disk>,
}

impl Page {
    /// The page as it is now. The database is asked whether it takes writes, within a bound.
    pub(crate) async fn answer(&self) -> Response<Body> {
        let asked = tokio::time::timeout(DATABASE_TIME_MAX, self.database_health.check()).await;
        let ping = asked.ok().and_then(Result::ok);
        let last_backup = match ping {
            Some(_) => tokio::time::timeout(DATABASE_TIME_MAX, self.store.last_backup()).await.ok(),
            None => None,
        };
        let last_backup = last_backup.and_then(|found| found.ok()?.made_at);
        let asked = Asked { ping, last_backup, disk: platform::disk::usage(&self.data_dir).await };
        let mut response = Response::new(Body::from(self.text(&asked)));
        response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(CONTENT_TYPE));
        response
    }

    fn text(&self, asked: &Asked) -> String {
        let mut page = Exposition::default();
        let version = env!("CARGO_PKG_VERSION");
        page.family("picloud_build_info", Kind::Gauge, "The version of PiCloud.")
            .number(&[("version", version)], 1);
        let (zones, help) = (zone_data(), "The version of the time zone data, and where it comes from.");
        let version = zones.version().unwrap_or_default();
        page.family("picloud_tzdata_info", Kind::Gauge, help)
            .number(&[("version", &version), ("source", zones.source().as_str())], 1);
        self.clock(&mut page);
        page.single("picloud_apps", Kind::Gauge, "Apps of which something is live.", self.table.apps());
        let apps = self.table.metrics();
        requests(&mut page, &apps);
        executions(&mut page, &apps);
        self.memory(&mut page);
        self.planes(&mut page);
        self.connections(&mut page);
        self.pushes(&mut page);
        self.schedules(&mut page);
        self.database(&mut page, asked.ping);
        storage(&mut page, asked);
        process::write(&mut page, self.started);
        page.into_text()
    }

    fn clock(&self, page: &mut Exposition) {
        let clock = self.clock.status();
        let help = "How often the clock of this machine was set while the node was running.";
        page.single("picloud_clock_jumps_total", Kind::Counter, help, clock.jumps);
        if let Some(skew) = clock.skew {
            let help = "How far the clock of this machine is ahead of the database's.";
            page.single("picloud_clock_skew_seconds", Kind::Gauge, help, skew.as_seconds_f64());
        }
        let help = "Whether nothing is deleted by age, since the clock cannot be right.";
        let paused = u8::from(clock.retention_paused.is_some());
        page.single("picloud_retention_paused", Kind::Gauge, help, paused);
    }

    fn memory(&self, page: &mut Exposition) {
        let usage = self.table.memory().usage();
        let help = "Bytes of the memory budget that are held, by purpose.";
        let mut family = page.family("picloud_memory_used_bytes", Kind::Gauge, help);
        for (purpose, bytes) in usage.by_purpose {
            family.number(&[("purpose", purpose.as_str())], bytes);
        }
        let help = "The memory budget: the most bytes that apps and their clients can make the node hold.";
        page.single("picloud_memory_budget_bytes", Kind::Gauge, help, usage.total_bytes);
        let help = "How often the memory budget had no room.";
        page.single("picloud_memory_refused_total", Kind::Counter, help, usage.rejections);
    }

    fn planes(&self, page: &mut Exposition) {
        let help = "Requests that no app answered, by what they were for and by class of status.";
        let mut family = page.family("picloud_other_requests_total", Kind::Counter, help);
        for plane in Handler::ALL {
            for (class, count) in STATUS.iter().zip(&self.numbers.answers[plane as usize]) {
                let count = count.load(Ordering::Relaxed);
                if count > 0 {
                    family.number(&[("plane", plane.as_str()), ("status", class)], count);
                }
            }
        }
    }

    fn connections(&self, page: &mut Exposition) {
        let help = "Connections that were closed to make room for others: idle ones, and those with a slow head or body.";
        let mut family = page.family("picloud_connections_closed_total", Kind::Counter, help);
        for why in Closed::ALL {
            let count = self.numbers.closed[why as usize].load(Ordering::Relaxed);
            family.number(&[("reason", why.as_str())], count);
        }
    }

    fn pushes(&self, page: &mut Exposition) {
        let help = "Refs of pushes, by verdict.";
        let mut family = page.family("picloud_pushes_total", Kind::Counter, help);
        for (verdict, count) in VERDICTS.iter().zip(&self.numbers.reports) {
            family.number(&[("verdict", verdict)], count.load(Ordering::Relaxed));
        }
        page.histogram("picloud_push_seconds", "How long pushes took, from the first byte to the verdict.")
            .classes(&[], &self.numbers.pushes.buckets());
        let (waiting, working) = (self.pushes)();
        let help = "Pushes that arrive or wait for their turn.";
        page.single("picloud_pushes_waiting", Kind::Gauge, help, waiting);
        page.single("picloud_pushes_working", Kind::Gauge, "Pushes that are worked on.", working);
    }

    fn schedules(&self, page: &mut Exposition) {
        let runs = self.scheduler.metrics();
        let help = "Runs of schedules that this node has claimed, by outcome.";
        let mut family = page.family("picloud_schedule_runs_total", Kind::Counter, help);
        runs.outcomes().for_each(|(outcome, count)| family.number(&[("outcome", outcome)], count));
        page.histogram("picloud_schedule_lateness_seconds", "How late runs of schedules began.")
            .classes(&[], &runs.lateness());
    }

    fn database(&self, page: &mut Exposition, ping: Option<Duration>) {
        let up = u8::from(ping.is_some());
        page.single("picloud_database_up", Kind::Gauge, "Whether the database takes writes.", up);
        if let Some(ping) = ping {
            let help = "How long the database took to write a row, at most 10 seconds ago.";
            page.single("picloud_database_ping_seconds", Kind::Gauge, help, ping.as_secs_f64());
        }
        if let Some((open, idle)) = self.store.connections() {
            let help = "Connections to the database, by state.";
            let mut family = page.family("picloud_database_connections", Kind::Gauge, help);
            family.number(&[("state", "idle")], idle);
            family.number(&[("state", "used")], open.saturating_sub(idle));
        }
        if let Some(presence) = &self.presence {
            let away = presence.down_for().unwrap_or_default().as_secs_f64();
            let help = "For how long this node has heard nothing of the database.";
            page.single("picloud_database_away_seconds", Kind::Gauge, help, away);
        }
    }
}

fn storage(page: &mut Exposition, asked: &Asked) {
    if let Some(made_at) = asked.last_backup {
        let help = "When the latest backup was made, in seconds since 1970.";
        page.single("picloud_last_backup_timestamp_seconds", Kind::Gauge, help, made_at.timestamp());
    }
    if let Some(Disk { free_bytes, size_bytes }) = asked.disk {
        let help = "Bytes that can still be written to the file system with the data folder.";
        page.single("picloud_data_dir_free_bytes", Kind::Gauge, help, free_bytes);
        let help = "Bytes of the file system with the data folder.";
        page.single("picloud_data_dir_size_bytes", Kind::Gauge, help, size_bytes);
    }
}

fn name(app: &AppMetrics) -> &str {
    app.app.as_deref().unwrap_or(OTHERS)
}

fn requests(page: &mut Exposition, apps: &[AppMetrics]) {
    let help = "Requests that apps answered, by class of status.";
    let mut family = page.family("picloud_requests_total", Kind::Counter, help);
    for app in apps {
        for (class, answers) in STATUS.iter().zip(&app.counts.responses) {
            let count: u64 = answers.iter().sum();
            if count > 0 {
                family.number(&[("app", name(app)), ("status", class)], count);
            }
        }
    }
    let help = "How long requests to apps took, from their head to their answer.";
    let mut family = page.histogram("picloud_request_seconds", help);
    for app in apps {
        let answers = &app.counts.responses;
        let counts =
            (0..=LATENCY_BUCKETS.len()).map(|class| answers.iter().map(|of| of[class]).sum()).collect();
        let classes = Buckets { bounds: &LATENCY_BUCKETS, counts, sum: app.counts.response_time };
        family.classes(&[("app", name(app))], &classes);
    }
}

fn executions(page: &mut Exposition, apps: &[AppMetrics]) {
    let outcomes = || std::iter::once("ok").chain(FailureKind::ALL.iter().map(|kind| kind.as_str()));
    let help = "Executions of scripts, by what started them and how they ended.";
    let mut family = page.family("picloud_executions_total", Kind::Counter, help);
    for app in apps {
        for (trigger, ended) in TriggerKind::ALL.iter().zip(&app.counts.executions) {
            for (outcome, count) in outcomes().zip(ended).filter(|(_, count)| **count > 0) {
                let labels = [("app", name(app)), ("trigger", trigger.as_str()), ("outcome", outcome)];
                family.number(&labels, count);
            }
        }
    }
    let help = "Limits that were hit: of executions, of how many there are at once, of bodies, of memory.";
    let mut family = page.family("picloud_limits_hit_total", Kind::Counter, help);
    for app in apps {
        let of_runs =
            FailureKind::ALL.iter().enumerate().filter(|(_, kind)| kind.is_limit()).map(|(at, kind)| {
                (kind.as_str(), app.counts.executions.iter().map(|ended| ended[at + 1]).sum::<u64>())
            });
        let before = RejectReason::ALL.map(RejectReason::as_str).into_iter().zip(app.counts.rejections);
        for (limit, count) in of_runs.chain(before).filter(|(_, count)| *count > 0) {
            family.number(&[("app", name(app)), ("limit", limit)], count);
        }
    }
    let help = "Executions that go on now.";
    let mut family = page.family("picloud_executions_running", Kind::Gauge, help);
    apps.iter().for_each(|app| family.number(&[("app", name(app))], app.running));
    let help = "Requests that wait for a place among the executions of their app.";
    let mut family = page.family("picloud_executions_waiting", Kind::Gauge, help);
    apps.iter().for_each(|app| family.number(&[("app", name(app))], app.waiting));
}
