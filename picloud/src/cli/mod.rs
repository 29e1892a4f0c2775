//! The command line. Exit codes: 0 success, 1 failure, 2 usage error.
//!
//! - [`commands`]: all commands
//! - [`app`]: arguments of the commands about an app; [`access`]: of those about apps, tokens, secrets and the audit log
//! - [`listing`]: arguments of list commands
//! - [`test_args`]: arguments of `picloud test`
//! - [`serve_flags`]: the settings of a node, as flags; they resolve to [`crate::settings`]
//! - [`limits`]: flags for limits of connections, pushes, schedules and records; [`app_limits`]: for limits of apps
//! - [`telemetry`]: flags for the log, metrics and traces
//! - [`configuration`]: the precedence of flags, environment and config file; [`effective_setting`]: the result
//! - [`removed_flags`]: flags of earlier versions and their replacements
//! - [`secrets`]: secrets, which are never flags
//! - [`address`], [`units`], [`payload`]: value types
//! - [`examples`]: the examples in `--help`; [`habits`]: help for commands of other platforms
//! - [`usage_error`]: errors of usage

mod access;
mod address;
mod app;
mod app_limits;
mod commands;
mod configuration;
mod effective_setting;
mod examples;
mod habits;
mod kv;
mod limits;
mod listing;
mod payload;
mod removed_flags;
mod secrets;
mod serve_flags;
mod telemetry;
mod test_args;
mod units;
mod usage_error;

pub(crate) use access::{
    AppArgument, AppsArgs, AppsCommand, AuditArgs, CreateTokenArgs, PruneArgs, SecretArgs, SecretsCommand,
    TokensCommand,
};
pub(crate) use address::ListenAddress;
pub(crate) use app::{
    AppArgs, DeploysArgs, DeploysCommand, DomainArgs, DomainsCommand, ExecutionArgs, ExecutionsArgs,
    ExecutionsCommand, ListDeploysArgs, ListExecutionsArgs, LogsArgs, PreviewArgs, PreviewsArgs,
    PreviewsCommand, RollbackArgs,
};
pub(crate) use app_limits::{AppLimitsArgs, OrDefault};
pub(crate) use commands::{
    BackupArgs, Command, CredentialCommand, DemoArgs, DevArgs, InvokeArgs, ListSchedulesArgs, LoginArgs,
    LogoutArgs, RestoreArgs, ResumeArgs, RoutesArgs, RunsArgs, ScheduleArgs, SchedulesArgs, SchedulesCommand,
    command,
};
pub(crate) use configuration::{Parsed, parse};
pub(crate) use effective_setting::report;
pub(crate) use kv::{KvArgs, KvCommand};
pub(crate) use listing::{IdPrefix, PageArgs};
pub(crate) use payload::Payload;
pub(crate) use test_args::TestArgs;
pub(crate) use units::DurationValue;
pub(crate) use usage_error::UsageError;

#[cfg(test)]
mod help_snapshots;
