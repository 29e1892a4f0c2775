//! Limits of connections, pushes, schedules and records, as flags of `picloud serve`.

use std::time::Duration;

use clap::Args;
use clap::builder::RangedU64ValueParser;
use platform::deploy::DeployLimits;
use platform::gc::DeployRetention;
use platform::recording::{ByteRate, RecordLimits};
use platform::schedules::ScheduleLimits;

use super::units::{
    DurationOrOff, DurationValue, Rate, RateOrOff, Size, parse_retention, parse_retention_or_off,
    parse_window,
};
use crate::edge::listener::ConnectionLimits;
use crate::edge::{BodyLimits, MinRate, PushLimits};
use crate::settings::Settings;

/// The bytes of a ref and its name in a push request.
const COMMAND_BYTES: usize = 512;

/// Limits of connections.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Connection limits")]
pub(crate) struct ConnectionFlags {
    /// Maximum number of open connections. At the limit, a new connection evicts the connection that has been idle the longest.
    #[arg(long, env = "PICLOUD_MAX_CONNECTIONS", value_name = "NUMBER", default_value_t = ConnectionFlags::default().max_connections, value_parser = RangedU64ValueParser::<usize>::new().range(1..=1_000_000))]
    pub(crate) max_connections: usize,

    /// Timeout for the headers of a request, from their first byte to their last.
    #[arg(long, env = "PICLOUD_HEADER_TIMEOUT", value_name = "DURATION", default_value_t = ConnectionFlags::default().header_timeout)]
    pub(crate) header_timeout: DurationValue,

    /// Timeout for the body of a request.
    #[arg(long, env = "PICLOUD_BODY_TIMEOUT", value_name = "DURATION", default_value_t = ConnectionFlags::default().body_timeout)]
    pub(crate) body_timeout: DurationValue,

    /// Minimum transfer rate of a client: the average over 10s for a request body, and over --write-timeout for a response.
    /// `off` accepts any rate.
    #[arg(long, env = "PICLOUD_MIN_RATE", value_name = "RATE", default_value_t = ConnectionFlags::default().min_rate)]
    pub(crate) min_rate: RateOrOff,

    /// Write timeout: how long to wait for a client that does not read its response, or reads it more slowly than --min-rate.
    #[arg(long, env = "PICLOUD_WRITE_TIMEOUT", value_name = "DURATION", default_value_t = ConnectionFlags::default().write_timeout)]
    pub(crate) write_timeout: DurationValue,

    /// Idle timeout: how long a connection can stay open without a request.
    #[arg(long, env = "PICLOUD_IDLE_TIMEOUT", value_name = "DURATION", default_value_t = ConnectionFlags::default().idle_timeout)]
    pub(crate) idle_timeout: DurationValue,

    /// How long to report "not ready" after SIGTERM before the node closes its listener.
    #[arg(long, env = "PICLOUD_SHUTDOWN_DELAY", value_name = "DURATION", default_value_t = ConnectionFlags::default().shutdown_delay)]
    pub(crate) shutdown_delay: DurationValue,

    /// How long running requests can continue after the listener has closed. Keep-alive connections accept a last request for
    /// the first 5s.
    #[arg(long, env = "PICLOUD_SHUTDOWN_TIMEOUT", value_name = "DURATION", default_value_t = ConnectionFlags::default().shutdown_timeout)]
    pub(crate) shutdown_timeout: DurationValue,
}

/// Limits of pushes, previews and deploys.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Push limits")]
pub(crate) struct PushFlags {
    /// Maximum size of a push as sent.
    #[arg(long, env = "PICLOUD_MAX_PUSH_SIZE", value_name = "SIZE", default_value_t = PushFlags::default().max_push_size)]
    pub(crate) max_push_size: Size,

    /// Maximum number of objects in a push.
    #[arg(long, env = "PICLOUD_MAX_PUSH_OBJECTS", value_name = "NUMBER", default_value_t = PushFlags::default().max_push_objects)]
    pub(crate) max_push_objects: usize,

    /// Maximum size of an object.
    #[arg(long, env = "PICLOUD_MAX_OBJECT_SIZE", value_name = "SIZE", default_value_t = PushFlags::default().max_object_size)]
    pub(crate) max_object_size: Size,

    /// Maximum total size of the unpacked objects of a push.
    #[arg(long, env = "PICLOUD_MAX_UNPACKED_SIZE", value_name = "SIZE", default_value_t = PushFlags::default().max_unpacked_size)]
    pub(crate) max_unpacked_size: Size,

    /// Maximum number of files and folders in a deployed commit.
    #[arg(long, env = "PICLOUD_MAX_TREE_ENTRIES", value_name = "NUMBER", default_value_t = PushFlags::default().max_tree_entries)]
    pub(crate) max_tree_entries: usize,

    /// Maximum length of a path in a deployed commit.
    #[arg(long, env = "PICLOUD_MAX_PATH_LENGTH", value_name = "SIZE", default_value_t = PushFlags::default().max_path_length)]
    pub(crate) max_path_length: Size,

    /// Timeout for receiving a push.
    #[arg(long, env = "PICLOUD_PUSH_TIMEOUT", value_name = "DURATION", default_value_t = PushFlags::default().push_timeout)]
    pub(crate) push_timeout: DurationValue,

    /// Maximum number of branches and tags of an app.
    #[arg(long, env = "PICLOUD_MAX_REFS", value_name = "NUMBER", default_value_t = PushFlags::default().max_refs)]
    pub(crate) max_refs: usize,

    /// Maximum number of pushes processed at once. Each can hold all its objects in memory.
    #[arg(long, env = "PICLOUD_MAX_CONCURRENT_PUSHES", value_name = "NUMBER", default_value_t = PushFlags::default().max_concurrent_pushes, value_parser = RangedU64ValueParser::<usize>::new().range(1..=1024))]
    pub(crate) max_concurrent_pushes: usize,

    /// Time after the last push to a branch until its preview is deleted. `off` keeps previews.
    #[arg(long, env = "PICLOUD_PREVIEW_TTL", help_heading = RETENTION, value_name = "DURATION", default_value_t = PushFlags::default().preview_ttl, value_parser = parse_retention_or_off)]
    pub(crate) preview_ttl: DurationOrOff,

    /// Number of production deploys to keep of each app, for rollbacks. The live deploy is always kept.
    #[arg(long, env = "PICLOUD_DEPLOY_HISTORY_LIMIT", help_heading = RETENTION, value_name = "NUMBER", default_value_t = PushFlags::default().deploy_history_limit)]
    pub(crate) deploy_history_limit: usize,

    /// How long to keep deploys. `off` keeps them regardless of age.
    #[arg(long, env = "PICLOUD_DEPLOY_RETENTION", help_heading = RETENTION, value_name = "DURATION", default_value_t = PushFlags::default().deploy_retention, value_parser = parse_retention_or_off)]
    pub(crate) deploy_retention: DurationOrOff,

    /// How long garbage collection keeps unreachable objects, so that running fetches can finish.
    #[arg(long, env = "PICLOUD_GC_GRACE_PERIOD", help_heading = RETENTION, value_name = "DURATION", default_value_t = PushFlags::default().gc_grace_period)]
    pub(crate) gc_grace_period: DurationValue,
}

/// The heading of the flags for previews and deploys.
const RETENTION: &str = "Previews and deploys";

/// Limits of schedule runs.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Schedules")]
pub(crate) struct ScheduleFlags {
    /// How late a missed run can still be caught up.
    #[arg(long, env = "PICLOUD_CATCH_UP_WINDOW", value_name = "DURATION", default_value_t = ScheduleFlags::default().catch_up_window, value_parser = parse_window)]
    pub(crate) catch_up_window: DurationValue,

    /// How long to keep schedule runs.
    #[arg(long, env = "PICLOUD_RUN_RETENTION", value_name = "DURATION", default_value_t = ScheduleFlags::default().run_retention, value_parser = parse_retention)]
    pub(crate) run_retention: DurationValue,

    /// Number of runs to keep of each schedule.
    #[arg(long, env = "PICLOUD_RUN_HISTORY_LIMIT", value_name = "NUMBER", default_value_t = ScheduleFlags::default().run_history_limit, value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) run_history_limit: u32,
}

/// Limits of execution records and logs.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Executions and logs")]
pub(crate) struct RecordFlags {
    /// How long to keep executions and their logs.
    #[arg(long, env = "PICLOUD_EXECUTION_RETENTION", value_name = "DURATION", default_value_t = RecordFlags::default().execution_retention, value_parser = parse_retention)]
    pub(crate) execution_retention: DurationValue,

    /// Approximate maximum size of all stored logs. The oldest are deleted first.
    #[arg(long, env = "PICLOUD_MAX_LOG_STORAGE", value_name = "SIZE", default_value_t = RecordFlags::default().max_log_storage)]
    pub(crate) max_log_storage: Size,

    /// Approximate maximum size of all stored executions, some 250 bytes each. The oldest are deleted first.
    #[arg(long, env = "PICLOUD_MAX_EXECUTION_STORAGE", value_name = "SIZE", default_value_t = RecordFlags::default().max_execution_storage)]
    pub(crate) max_execution_storage: Size,

    /// Maximum rate at which a node records executions and logs of an app. The burst is 16 seconds of this rate.
    #[arg(long, env = "PICLOUD_APP_RECORD_RATE", value_name = "RATE", default_value_t = RecordFlags::default().app_record_rate)]
    pub(crate) app_record_rate: Rate,

    /// Maximum rate at which logs of an app are copied to the node's own log. The burst is 16 seconds of this rate. `off` copies
    /// nothing.
    #[arg(long, env = "PICLOUD_APP_LOG_RATE", value_name = "RATE", default_value_t = RecordFlags::default().app_log_rate)]
    pub(crate) app_log_rate: RateOrOff,
}

impl ConnectionFlags {
    pub(super) fn resolve(&self) -> ConnectionLimits {
        let drain = self.shutdown_timeout.0;
        ConnectionLimits {
            max_connections: self.max_connections,
            header_timeout: self.header_timeout.0,
            write_timeout: self.write_timeout.0,
            min_rate: self.min_rate(),
            idle_timeout: self.idle_timeout.0,
            shutdown_delay: self.shutdown_delay.0,
            final_request_timeout: ConnectionLimits::default().final_request_timeout.min(drain),
            shutdown_timeout: drain,
        }
    }

    /// Limits of request bodies.
    pub(super) fn bodies(&self) -> BodyLimits {
        BodyLimits { timeout: self.body_timeout.0, min_rate: self.min_rate() }
    }

    fn min_rate(&self) -> MinRate {
        MinRate { bytes_per_second: self.min_rate.0 }
    }
}

impl Default for ConnectionFlags {
    fn default() -> Self {
        let (bounds, bodies) = (ConnectionLimits::default(), BodyLimits::default());
        Self {
            max_connections: bounds.max_connections,
            header_timeout: DurationValue(bounds.header_timeout),
            body_timeout: DurationValue(bodies.timeout),
            min_rate: RateOrOff(bodies.min_rate.bytes_per_second),
            write_timeout: DurationValue(bounds.write_timeout),
            idle_timeout: DurationValue(bounds.idle_timeout),
            shutdown_delay: DurationValue(bounds.shutdown_delay),
            shutdown_timeout: DurationValue(bounds.shutdown_timeout),
        }
    }
}

impl PushFlags {
    pub(super) fn resolve(&self) -> PushLimits {
        let defaults = git_receiver::Limits::default();
        // One push can name every ref of an app.
        let commands = defaults.commands.max(self.max_refs);
        let limits = git_receiver::Limits {
            commands,
            head_bytes: defaults.head_bytes.max(commands.saturating_mul(COMMAND_BYTES)),
            request_bytes: self.max_push_size.0,
            objects: self.max_push_objects,
            object_bytes: self.max_object_size.0,
            inflated_bytes: self.max_unpacked_size.0,
            ..defaults
        };
        PushLimits { limits, timeout: self.push_timeout.0, max_concurrent: self.max_concurrent_pushes }
    }

    /// The time after the last push until a preview is deleted.
    pub(super) fn preview_ttl(&self) -> Option<Duration> {
        self.preview_ttl.0
    }

    /// Retention of deploys and unreachable objects.
    pub(super) fn retention(&self) -> DeployRetention {
        DeployRetention {
            kept: self.deploy_history_limit,
            age: self.deploy_retention.0,
            gc_grace_period: self.gc_grace_period.0,
        }
    }

    /// Limits of the tree and the refs of an app.
    pub(super) fn deploys(&self) -> DeployLimits {
        let defaults = DeployLimits::default();
        let path_bytes = usize::try_from(self.max_path_length.0).unwrap_or(usize::MAX);
        let tree = git_receiver::TreeLimits { files: self.max_tree_entries, path_bytes, ..defaults.tree };
        DeployLimits { tree, refs: self.max_refs }
    }
}

impl Default for PushFlags {
    fn default() -> Self {
        let PushLimits { limits, timeout, max_concurrent } = PushLimits::default();
        let DeployLimits { tree, refs } = DeployLimits::default();
        let DeployRetention { kept, age, gc_grace_period } = DeployRetention::default();
        Self {
            max_push_size: Size(limits.request_bytes),
            max_push_objects: limits.objects,
            max_object_size: Size(limits.object_bytes),
            max_unpacked_size: Size(limits.inflated_bytes),
            max_tree_entries: tree.files,
            max_path_length: Size(tree.path_bytes as u64),
            push_timeout: DurationValue(timeout),
            max_refs: refs,
            max_concurrent_pushes: max_concurrent,
            preview_ttl: DurationOrOff(Settings::default().preview_ttl),
            deploy_history_limit: kept,
            deploy_retention: DurationOrOff(age),
            gc_grace_period: DurationValue(gc_grace_period),
        }
    }
}

impl ScheduleFlags {
    pub(super) fn resolve(&self) -> ScheduleLimits {
        ScheduleLimits {
            catch_up_window: self.catch_up_window.0,
            keep_for: self.run_retention.0,
            keep: self.run_history_limit,
        }
    }
}

impl Default for ScheduleFlags {
    fn default() -> Self {
        let ScheduleLimits { catch_up_window, keep_for, keep } = ScheduleLimits::default();
        Self {
            catch_up_window: DurationValue(catch_up_window),
            run_retention: DurationValue(keep_for),
            run_history_limit: keep,
        }
    }
}

impl RecordFlags {
    pub(super) fn resolve(&self) -> RecordLimits {
        RecordLimits {
            keep_for: self.execution_retention.0,
            executions_bytes: self.max_execution_storage.0,
            logs_bytes: self.max_log_storage.0,
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
            execution_retention: DurationValue(keep_for),
            max_log_storage: Size(logs_bytes),
            max_execution_storage: Size(executions_bytes),
            app_record_rate: Rate(write_rate.bytes_per_second),
            app_log_rate: RateOrOff(journal_rate.bytes_per_second),
        }
    }
}
