//! What may be said on the command line. Exit codes: 0 done, 1 refused or failed, 2 misuse.
//!
//! - `verbs`: all of them
//! - `examples`: what `--help` teaches
//! - `serve_flags`: how a node runs, as flags; what they mean is [`crate::settings`]
//! - `limits`: the most that connections, pushes and schedules may take of it
//! - `app_limits`: what every app is granted, and an app of its own
//! - `app`: verbs about an app
//! - `listing`: what all lists are asked with
//! - `habits`: what people type who come from elsewhere
//! - `people`: who may what, and who did what
//! - `observing`: its log and its numbers
//! - `address`: addresses as people write them
//! - `quantity`: sizes and times as they are written
//! - `configuration`: flags, environment and file, and which of them counts
//! - `secrets`: what is never said on the command line
//! - `given`: which settings are set; `misuse`: why nothing is begun

mod address;
mod app;
mod app_limits;
mod configuration;
mod examples;
mod given;
mod habits;
mod limits;
mod listing;
mod misuse;
mod observing;
mod people;
mod quantity;
mod secrets;
mod serve_flags;
mod verbs;

pub(crate) use address::ListenAddress;
pub(crate) use app::{
    DeploysNoun, DeploysOptions, DeploysVerb, DomainOption, DomainsVerb, ExecutionOption, ExecutionsNoun,
    ExecutionsOptions, ExecutionsVerb, LogsOptions, PreviewOption, PreviewsOptions, PreviewsVerb,
    RollbackOptions,
};
pub(crate) use app_limits::{AppLimitsOption, OrDefault};
pub(crate) use configuration::{Parsed, read};
pub(crate) use given::listed;
pub(crate) use listing::{IdPrefix, PageOptions};
pub(crate) use misuse::Misuse;
pub(crate) use people::{
    AppArgument, AppsOption, AppsOptions, AppsVerb, AuditOptions, CreateToken, PruneOption, SecretOption,
    SecretsVerb, TokensVerb,
};
pub(crate) use quantity::Age;
pub(crate) use verbs::{
    BackupOptions, CredentialVerb, DemoOptions, DevOptions, InvokeOptions, LoginOptions, LogoutOptions,
    Payload, RestoreOptions, ResumeOptions, RoutesOptions, RunsOptions, ScheduleOptions, SchedulesNoun,
    SchedulesOptions, SchedulesVerb, Verb, command,
};
