//! Flags for the most that connections, pushes and schedules may take of a node.

use std::time::Duration;

use clap::Args;
use platform::deploy::DeployLimits;
use platform::gc::DeployRetention;
use platform::recording::{ByteRate, RecordLimits};
use platform::schedules::ScheduleLimits;

use super::quantity::{Size, Time};
use crate::edge::listener::ConnectionLimits;
use crate::edge::{BodyLimits, MinRate, PushLimits};
use crate::settings::Settings;

const HOUR: Duration = Duration::from_secs(60 * 60);

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// What a ref takes in a push, with its name.
const COMMAND_BYTES: usize = 512;

/// The most of everything that connections may take.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Limits of connections")]
pub(crate) struct ConnectionFlags {
    /// How many connections may be open at once; for one more, the one that has been idle for longest is closed.
    #[arg(long, env = "PICLOUD_CONNECTIONS", default_value_t = ConnectionFlags::default().connections, value_parser = clap::builder::RangedU64ValueParser::<usize>::new().range(1..=1_000_000))]
    pub(crate) connections: usize,

    /// How long the head of a request may take from its first byte to its last.
    #[arg(long, env = "PICLOUD_HEAD_TIME", default_value_t = ConnectionFlags::default().head_time)]
    pub(crate) head_time: Time,

    /// How long the body of a request may take.
    #[arg(long, env = "PICLOUD_BODY_TIME", default_value_t = ConnectionFlags::default().body_time)]
    pub(crate) body_time: Time,

    /// The least rate a second at which a client sends a body, as an average over 10s, and takes an answer, as one over
    /// --answer-time; 0B for any.
    #[arg(long, env = "PICLOUD_MIN_RATE", value_name = "SIZE", default_value_t = ConnectionFlags::default().min_rate)]
    pub(crate) min_rate: Size,

    /// How long a client may take nothing of its answer, or less than --min-rate.
    #[arg(long, env = "PICLOUD_ANSWER_TIME", default_value_t = ConnectionFlags::default().answer_time)]
    pub(crate) answer_time: Time,

    /// How long a connection may be open without a request.
    #[arg(long, env = "PICLOUD_IDLE_TIME", default_value_t = ConnectionFlags::default().idle_time)]
    pub(crate) idle_time: Time,

    /// How long a node that is told to stop says that it is not ready, before it takes no more connections.
    #[arg(long, env = "PICLOUD_UNREADY_TIME", default_value_t = ConnectionFlags::default().unready_time)]
    pub(crate) unready_time: Time,

    /// How long running requests may go on after that, once connections that are kept had 5s for a last one.
    #[arg(long, env = "PICLOUD_DRAIN_TIME", default_value_t = ConnectionFlags::default().drain_time)]
    pub(crate) drain_time: Time,
}

/// The most of everything that pushes may take.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Limits of pushes")]
pub(crate) struct PushFlags {
    /// The bytes of one push, as it is sent.
    #[arg(long, env = "PICLOUD_PUSH_BYTES", default_value_t = PushFlags::default().push_bytes)]
    pub(crate) push_bytes: Size,

    /// The objects of one push.
    #[arg(long, env = "PICLOUD_PUSH_OBJECTS", default_value_t = PushFlags::default().push_objects)]
    pub(crate) push_objects: usize,

    /// The bytes of one object.
    #[arg(long, env = "PICLOUD_OBJECT_BYTES", default_value_t = PushFlags::default().object_bytes)]
    pub(crate) object_bytes: Size,

    /// The bytes of all objects of one push together, inflated.
    #[arg(long, env = "PICLOUD_INFLATED_BYTES", default_value_t = PushFlags::default().inflated_bytes)]
    pub(crate) inflated_bytes: Size,

    /// The files and folders of a commit that is served.
    #[arg(long, env = "PICLOUD_TREE_ENTRIES", default_value_t = PushFlags::default().tree_entries)]
    pub(crate) tree_entries: usize,

    /// The bytes of a path in a commit that is served.
    #[arg(long, env = "PICLOUD_PATH_BYTES", default_value_t = PushFlags::default().path_bytes)]
    pub(crate) path_bytes: usize,

    /// How long one push may take to arrive.
    #[arg(long, env = "PICLOUD_PUSH_TIME", default_value_t = PushFlags::default().push_time)]
    pub(crate) push_time: Time,

    /// The branches and tags of one app.
    #[arg(long, env = "PICLOUD_REFS_PER_APP", default_value_t = PushFlags::default().refs_per_app)]
    pub(crate) refs_per_app: usize,

    /// After how many days without a push a preview is ended; 0 for never.
    #[arg(long, env = "PICLOUD_PREVIEW_DAYS", default_value_t = PushFlags::default().preview_days)]
    pub(crate) preview_days: u32,

    /// How many deploys of each app to production are kept, to go back to. What is live always is.
    #[arg(long, env = "PICLOUD_DEPLOYS_KEPT", default_value_t = PushFlags::default().deploys_kept)]
    pub(crate) deploys_kept: usize,

    /// For how many days deploys are kept; 0 for ever.
    #[arg(long, env = "PICLOUD_DEPLOYS_DAYS", default_value_t = PushFlags::default().deploys_days)]
    pub(crate) deploys_days: u32,

    /// How long objects stay that no branch, tag or deploy reaches any more: fetches that have begun end meanwhile.
    #[arg(long, env = "PICLOUD_COLLECT_AFTER", default_value_t = PushFlags::default().collect_after)]
    pub(crate) collect_after: Time,

    /// How many pushes are worked on at once; each may hold all its objects in memory.
    #[arg(long, env = "PICLOUD_PUSHES_AT_ONCE", default_value_t = PushFlags::default().pushes_at_once, value_parser = clap::builder::RangedU64ValueParser::<usize>::new().range(1..=1024))]
    pub(crate) pushes_at_once: usize,
}

/// What becomes of schedules' runs.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Schedules")]
pub(crate) struct ScheduleFlags {
    /// How many hours late a missed run may still be caught up.
    #[arg(long, env = "PICLOUD_CATCH_UP_HOURS", default_value_t = ScheduleFlags::default().catch_up_hours)]
    pub(crate) catch_up_hours: u32,

    /// For how many days runs are remembered.
    #[arg(long, env = "PICLOUD_RUNS_DAYS", default_value_t = ScheduleFlags::default().runs_days, value_parser = clap::value_parser!(u32).range(1..=36_500))]
    pub(crate) runs_days: u32,

    /// How many runs of each schedule are remembered.
    #[arg(long, env = "PICLOUD_RUNS_KEPT", default_value_t = ScheduleFlags::default().runs_kept, value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) runs_kept: u32,
}

/// What is kept of executions and of what they logged.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Executions and logs")]
pub(crate) struct RecordFlags {
    /// For how many days they are kept …
    #[arg(long, env = "PICLOUD_LOGS_DAYS", default_value_t = RecordFlags::default().logs_days, value_parser = clap::value_parser!(u32).range(1..=36_500))]
    pub(crate) logs_days: u32,

    /// … and about how much of what scripts logged.
    #[arg(long, env = "PICLOUD_LOGS_BYTES", default_value_t = RecordFlags::default().logs_bytes)]
    pub(crate) logs_bytes: Size,

    /// About how much is kept of the executions themselves, some 250 bytes each.
    #[arg(long, env = "PICLOUD_EXECUTIONS_BYTES", default_value_t = RecordFlags::default().executions_bytes)]
    pub(crate) executions_bytes: Size,

    /// How much of each app a node records within a second, and sixteen times as much after a pause.
    #[arg(long, env = "PICLOUD_APP_RECORD_RATE", default_value_t = RecordFlags::default().app_record_rate)]
    pub(crate) app_record_rate: Size,

    /// How much of what each app logs stands also in the node's own log, within a second, and sixteen times as much after a pause; 0 for
    /// nothing of it.
    #[arg(long, env = "PICLOUD_APP_LOG_RATE", default_value_t = RecordFlags::default().app_log_rate)]
    pub(crate) app_log_rate: Size,
}

impl RecordFlags {
    pub(super) fn resolve(&self) -> RecordLimits {
        RecordLimits {
            keep_for: DAY * self.logs_days,
            executions_bytes: self.executions_bytes.0,
            logs_bytes: self.logs_bytes.0,
            write_rate: ByteRate { bytes_per_second: self.app_record_rate.0 },
            journal_rate: ByteRate { bytes_per_second: self.app_log_rate.0 },
        }
    }
}

impl Default for RecordFlags {
    fn default() -> Self {
        let RecordLimits { keep_for, executions_bytes, logs_bytes, write_rate, journal_rate } =
            RecordLimits::default();
        Self {
            logs_days: whole(keep_for, DAY),
            logs_bytes: Size(logs_bytes),
            executions_bytes: Size(executions_bytes),
            app_record_rate: Size(write_rate.bytes_per_second),
            app_log_rate: Size(journal_rate.bytes_per_second),
        }
    }
}

impl ScheduleFlags {
    pub(super) fn resolve(&self) -> ScheduleLimits {
        ScheduleLimits {
            catch_up_window: HOUR * self.catch_up_hours,
            keep_for: DAY * self.runs_days,
            keep: self.runs_kept,
        }
    }
}

impl Default for ScheduleFlags {
    fn default() -> Self {
        let ScheduleLimits { catch_up_window, keep_for, keep } = ScheduleLimits::default();
        Self {
            catch_up_hours: whole(catch_up_window, HOUR),
            runs_days: whole(keep_for, DAY),
            runs_kept: keep,
        }
    }
}

impl ConnectionFlags {
    pub(super) fn resolve(&self) -> ConnectionLimits {
        let drain = self.drain_time.0;
        ConnectionLimits {
            max_connections: self.connections,
            header_timeout: self.head_time.0,
            write_timeout: self.answer_time.0,
            min_rate: self.min_rate(),
            idle_timeout: self.idle_time.0,
            shutdown_delay: self.unready_time.0,
            final_request_timeout: ConnectionLimits::default().final_request_timeout.min(drain),
            shutdown_timeout: drain,
        }
    }

    /// How long a client may take to send a body.
    pub(super) fn bodies(&self) -> BodyLimits {
        BodyLimits { timeout: self.body_time.0, min_rate: self.min_rate() }
    }

    fn min_rate(&self) -> MinRate {
        MinRate { bytes_per_second: self.min_rate.0 }
    }
}

impl Default for ConnectionFlags {
    fn default() -> Self {
        let (bounds, bodies) = (ConnectionLimits::default(), BodyLimits::default());
        Self {
            connections: bounds.max_connections,
            head_time: Time(bounds.header_timeout),
            body_time: Time(bodies.timeout),
            min_rate: Size(bodies.min_rate.bytes_per_second),
            answer_time: Time(bounds.write_timeout),
            idle_time: Time(bounds.idle_timeout),
            unready_time: Time(bounds.shutdown_delay),
            drain_time: Time(bounds.shutdown_timeout),
        }
    }
}

impl PushFlags {
    pub(super) fn resolve(&self) -> PushLimits {
        let usual = git_receiver::Limits::default();
        // One push can name every ref that an app has.
        let commands = usual.commands.max(self.refs_per_app);
        let limits = git_receiver::Limits {
            commands,
            head_bytes: usual.head_bytes.max(commands.saturating_mul(COMMAND_BYTES)),
            request_bytes: self.push_bytes.0,
            objects: self.push_objects,
            object_bytes: self.object_bytes.0,
            inflated_bytes: self.inflated_bytes.0,
            ..usual
        };
        PushLimits { limits, timeout: self.push_time.0, max_concurrent: self.pushes_at_once }
    }

    /// How old a preview may become without a push.
    pub(super) fn preview_age(&self) -> Option<Duration> {
        (self.preview_days > 0).then(|| DAY * self.preview_days)
    }

    /// Which deploys are kept.
    pub(super) fn retention(&self) -> DeployRetention {
        DeployRetention {
            kept: self.deploys_kept,
            age: (self.deploys_days > 0).then(|| DAY * self.deploys_days),
            gc_grace_period: self.collect_after.0,
        }
    }

    /// What a deploy may hold.
    pub(super) fn deploys(&self) -> DeployLimits {
        let usual = DeployLimits::default();
        let tree =
            git_receiver::TreeLimits { files: self.tree_entries, path_bytes: self.path_bytes, ..usual.tree };
        DeployLimits { tree, refs: self.refs_per_app }
    }
}

impl Default for PushFlags {
    fn default() -> Self {
        let PushLimits { limits, timeout, max_concurrent } = PushLimits::default();
        let DeployLimits { tree, refs } = DeployLimits::default();
        let DeployRetention { kept, age, gc_grace_period } = DeployRetention::default();
        Self {
            push_bytes: Size(limits.request_bytes),
            push_objects: limits.objects,
            object_bytes: Size(limits.object_bytes),
            inflated_bytes: Size(limits.inflated_bytes),
            tree_entries: tree.files,
            path_bytes: tree.path_bytes,
            push_time: Time(timeout),
            refs_per_app: refs,
            preview_days: Settings::default().preview_age.map_or(0, |age| whole(age, DAY)),
            deploys_kept: kept,
            deploys_days: age.map_or(0, |age| whole(age, DAY)),
            collect_after: Time(gc_grace_period),
            pushes_at_once: max_concurrent,
        }
    }
}

/// How many whole units a span of time has.
pub(super) fn whole(span: Duration, unit: Duration) -> u32 {
    u32::try_from(span.as_secs() / unit.as_secs()).unwrap_or(u32::MAX)
}
