//! Arguments of the commands about an app: logs, executions, previews, domains, deploys.

use clap::{Args, Subcommand, ValueEnum};
use clap_complete::engine::ArgValueCompleter;
use manifest_schema::name::{DomainName, NameError};

use super::listing::{IdPrefix, PageArgs};
use super::units::DurationValue;
use crate::client::{AppArg, ClientArgs, completion};

/// Arguments of `picloud logs`.
#[derive(Clone, Debug, Args)]
pub(crate) struct LogsArgs {
    /// Follow: print new lines of all nodes until Ctrl-C.
    #[arg(short, long)]
    pub(crate) follow: bool,

    /// Only lines of this script, such as greet.rhai.
    #[arg(long, value_name = "PATH")]
    pub(crate) script: Option<String>,

    /// Minimum level.
    #[arg(long, value_enum)]
    pub(crate) level: Option<Level>,

    /// Only lines of this execution: the id in the `picloud-execution` response header, or a unique prefix of it.
    #[arg(long, value_name = "ID")]
    pub(crate) execution: Option<IdPrefix>,

    /// Only lines of the last DURATION, such as 90s, 10m, 2h or 7d.
    #[arg(long, value_name = "DURATION")]
    pub(crate) since: Option<DurationValue>,

    /// Maximum number of existing lines to print.
    #[arg(short = 'n', long, value_name = "NUMBER", default_value_t = 100, value_parser = clap::value_parser!(u32).range(0..=1000))]
    pub(crate) limit: u32,

    /// Print lines before this cursor. The last line of a page prints the cursor of the next page.
    #[arg(long, value_name = "CURSOR", conflicts_with = "follow")]
    pub(crate) before: Option<String>,

    #[command(flatten)]
    pub(crate) app: AppArg,

    #[command(flatten)]
    pub(crate) client: ClientArgs,
}

/// Arguments of `picloud executions`.
#[derive(Clone, Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(crate) struct ExecutionsArgs {
    #[command(subcommand)]
    pub(crate) command: Option<ExecutionsCommand>,

    /// Show this execution: short for `executions show`.
    #[arg(value_name = "ID")]
    pub(crate) execution: Option<IdPrefix>,

    #[command(flatten)]
    pub(crate) list: ListExecutionsArgs,
}

#[derive(Clone, Debug, Subcommand)]
pub(crate) enum ExecutionsCommand {
    /// List the latest executions.
    List(ListExecutionsArgs),
    /// Show an execution with its log and, if it failed, the source line.
    Show(ExecutionArgs),
}

/// Arguments of `picloud executions show`.
#[derive(Clone, Debug, Args)]
pub(crate) struct ExecutionArgs {
    /// Id of the execution, or a unique prefix of it.
    #[arg(value_name = "ID")]
    pub(crate) execution: IdPrefix,

    #[command(flatten)]
    pub(crate) app: AppArg,

    #[command(flatten)]
    pub(crate) client: ClientArgs,
}

/// Arguments of `picloud executions list`.
#[derive(Clone, Debug, Args)]
pub(crate) struct ListExecutionsArgs {
    /// Only this branch.
    #[arg(long, add = ArgValueCompleter::new(completion::branches))]
    pub(crate) branch: Option<String>,

    /// Only failed executions.
    #[arg(long)]
    pub(crate) failed: bool,

    /// Only executions of this script, such as greet.rhai.
    #[arg(long, value_name = "PATH")]
    pub(crate) script: Option<String>,

    /// Only executions with this trigger.
    #[arg(long, value_enum)]
    pub(crate) trigger: Option<Trigger>,

    #[command(flatten)]
    pub(crate) page: PageArgs,

    #[command(flatten)]
    pub(crate) app: AppArg,

    #[command(flatten)]
    pub(crate) client: ClientArgs,
}

/// A log level.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Level {
    Trace,
    Info,
    Warn,
    Error,
}

/// The trigger of an execution.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Trigger {
    Http,
    Function,
    Scheduled,
}

impl Level {
    /// The name in the API.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Trace => "trace",
            Self::Info => "info",
            Self::Warn => "warn",
            Self::Error => "error",
        }
    }
}

impl Trigger {
    /// The name in the API.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Function => "function",
            Self::Scheduled => "scheduled",
        }
    }
}

/// The app and the server of a command.
#[derive(Clone, Debug, Args)]
pub(crate) struct AppArgs {
    #[command(flatten)]
    pub(crate) app: AppArg,

    #[command(flatten)]
    pub(crate) client: ClientArgs,
}

/// Arguments of `picloud previews`.
#[derive(Clone, Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(crate) struct PreviewsArgs {
    #[command(subcommand)]
    pub(crate) command: Option<PreviewsCommand>,

    #[command(flatten)]
    pub(crate) app: AppArg,

    #[command(flatten)]
    pub(crate) client: ClientArgs,
}

#[derive(Clone, Debug, Subcommand)]
pub(crate) enum PreviewsCommand {
    /// List the live deploy of each branch.
    List(AppArgs),
    /// Enable the schedules of a preview.
    Schedule(PreviewArgs),
    /// Disable the schedules of a preview.
    Unschedule(PreviewArgs),
}

/// A preview.
#[derive(Clone, Debug, Args)]
pub(crate) struct PreviewArgs {
    /// Git branch of the preview.
    #[arg(add = ArgValueCompleter::new(completion::branches))]
    pub(crate) branch: String,

    #[command(flatten)]
    pub(crate) app: AppArg,

    #[command(flatten)]
    pub(crate) client: ClientArgs,
}

#[derive(Clone, Debug, Subcommand)]
pub(crate) enum DomainsCommand {
    /// List the domains of an app, and the DNS records that verify pending ones.
    List {
        #[command(flatten)]
        app: AppArg,

        #[command(flatten)]
        client: ClientArgs,
    },
    /// Verify a domain by its DNS record, and serve the app there.
    Verify(DomainArgs),
    /// Approve a domain without a DNS record; requires an admin token.
    Approve(DomainArgs),
    /// Release a domain, so that another app can use it.
    Release(DomainArgs),
}

/// A domain of an app.
#[derive(Clone, Debug, Args)]
pub(crate) struct DomainArgs {
    /// Domain in the manifest.
    #[arg(value_parser = parse_domain)]
    pub(crate) domain: DomainName,

    #[command(flatten)]
    pub(crate) app: AppArg,

    #[command(flatten)]
    pub(crate) client: ClientArgs,
}

fn parse_domain(text: &str) -> Result<DomainName, NameError> {
    DomainName::new(&text.to_ascii_lowercase())
}

/// Arguments of `picloud deploys`.
#[derive(Clone, Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(crate) struct DeploysArgs {
    #[command(subcommand)]
    pub(crate) command: Option<DeploysCommand>,

    #[command(flatten)]
    pub(crate) list: ListDeploysArgs,
}

#[derive(Clone, Debug, Subcommand)]
pub(crate) enum DeploysCommand {
    /// List the latest deploys.
    List(ListDeploysArgs),
    /// Roll back to an earlier deploy, without a repository.
    Rollback(RollbackArgs),
}

/// Arguments of `picloud deploys list`.
#[derive(Clone, Debug, Args)]
pub(crate) struct ListDeploysArgs {
    /// Only this branch.
    #[arg(long, add = ArgValueCompleter::new(completion::branches))]
    pub(crate) branch: Option<String>,

    #[command(flatten)]
    pub(crate) page: PageArgs,

    #[command(flatten)]
    pub(crate) app: AppArg,

    #[command(flatten)]
    pub(crate) client: ClientArgs,
}

/// Arguments of `picloud rollback`.
#[derive(Clone, Debug, Args)]
pub(crate) struct RollbackArgs {
    /// Deploy to roll back to, by its number in `picloud deploys`. The default is the deploy before the live commit was first
    /// deployed.
    #[arg(value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) deploy: Option<u64>,

    /// Reason for the rollback, shown by `picloud deploys`.
    #[arg(short = 'm', long, value_name = "TEXT")]
    pub(crate) message: Option<String>,

    #[command(flatten)]
    pub(crate) app: AppArg,

    #[command(flatten)]
    pub(crate) client: ClientArgs,
}
