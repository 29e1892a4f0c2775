//! Verbs about an app: its logs, its executions, its deploys.

use clap::{Args, Subcommand, ValueEnum};
use clap_complete::engine::ArgValueCompleter;
use manifest_schema::name::{DomainName, NameError};

use super::listing::{IdPrefix, PageOptions};
use super::quantity::Ago;
use crate::client::{AppOption, ClientOptions, completing};

/// Which lines are printed.
#[derive(Clone, Debug, Args)]
pub(crate) struct LogsOptions {
    /// Go on printing lines as they come in, from all nodes, until Ctrl-C.
    #[arg(short, long)]
    pub(crate) follow: bool,

    /// Lines of this script alone, a path such as greet.rhai.
    #[arg(long)]
    pub(crate) script: Option<String>,

    /// Lines of this level or a higher one.
    #[arg(long, value_enum)]
    pub(crate) level: Option<Level>,

    /// Lines of this execution only: an answer's `picloud-execution`, or its beginning.
    #[arg(long, value_name = "ID")]
    pub(crate) execution: Option<IdPrefix>,

    /// Lines of so long ago or later, such as 90s, 10m, 2h or 7d.
    #[arg(long, value_name = "AGO")]
    pub(crate) since: Option<Ago>,

    /// How many of the lines that are there already are printed.
    #[arg(short = 'n', long, value_name = "NUMBER", default_value_t = 100, value_parser = clap::value_parser!(u32).range(0..=1000))]
    pub(crate) limit: u32,

    /// Lines before: where the list of those after begins, which it says.
    #[arg(long, value_name = "PLACE", conflicts_with = "follow")]
    pub(crate) before: Option<String>,

    #[command(flatten)]
    pub(crate) app: AppOption,

    #[command(flatten)]
    pub(crate) client: ClientOptions,
}

/// What ran: a list, or one of them.
#[derive(Clone, Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(crate) struct ExecutionsNoun {
    #[command(subcommand)]
    pub(crate) verb: Option<ExecutionsVerb>,

    /// Show this one: short for `executions show`.
    #[arg(value_name = "ID")]
    pub(crate) execution: Option<IdPrefix>,

    #[command(flatten)]
    pub(crate) list: ExecutionsOptions,
}

#[derive(Clone, Debug, Subcommand)]
pub(crate) enum ExecutionsVerb {
    /// List what ran.
    List(ExecutionsOptions),
    /// Show one whole, with its log and the line of the script where it failed.
    Show(ExecutionOption),
}

/// One execution.
#[derive(Clone, Debug, Args)]
pub(crate) struct ExecutionOption {
    /// Its id, or as much of the beginning as no other one has.
    #[arg(value_name = "ID")]
    pub(crate) execution: IdPrefix,

    #[command(flatten)]
    pub(crate) app: AppOption,

    #[command(flatten)]
    pub(crate) client: ClientOptions,
}

/// Which executions are listed.
#[derive(Clone, Debug, Args)]
pub(crate) struct ExecutionsOptions {
    /// Those of this branch.
    #[arg(long, add = ArgValueCompleter::new(completing::branches))]
    pub(crate) branch: Option<String>,

    /// Those that failed.
    #[arg(long)]
    pub(crate) failed: bool,

    /// Those of this script, a path such as greet.rhai.
    #[arg(long)]
    pub(crate) script: Option<String>,

    /// Those that this started.
    #[arg(long, value_enum)]
    pub(crate) trigger: Option<Trigger>,

    #[command(flatten)]
    pub(crate) page: PageOptions,

    #[command(flatten)]
    pub(crate) app: AppOption,

    #[command(flatten)]
    pub(crate) client: ClientOptions,
}

/// How much a line matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Level {
    Trace,
    Info,
    Warn,
    Error,
}

/// What starts a script.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Trigger {
    Http,
    Function,
    Scheduled,
}

impl Level {
    /// The level as the API has it.
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
    /// The trigger as the API has it.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Function => "function",
            Self::Scheduled => "scheduled",
        }
    }
}

/// A verb about an app, and nothing more.
#[derive(Clone, Debug, Args)]
pub(crate) struct AppVerb {
    #[command(flatten)]
    pub(crate) app: AppOption,

    #[command(flatten)]
    pub(crate) client: ClientOptions,
}

/// What is done about previews.
#[derive(Clone, Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(crate) struct PreviewsOptions {
    #[command(subcommand)]
    pub(crate) verb: Option<PreviewsVerb>,

    #[command(flatten)]
    pub(crate) app: AppOption,

    #[command(flatten)]
    pub(crate) client: ClientOptions,
}

#[derive(Clone, Debug, Subcommand)]
pub(crate) enum PreviewsVerb {
    /// List what is live on each branch.
    List(AppVerb),
    /// Let the schedules of a preview run by the clock, from now on.
    Schedule(PreviewOption),
    /// Let the schedules of a preview run no more.
    Unschedule(PreviewOption),
}

/// One preview.
#[derive(Clone, Debug, Args)]
pub(crate) struct PreviewOption {
    /// The branch, as git names it.
    #[arg(add = ArgValueCompleter::new(completing::branches))]
    pub(crate) branch: String,

    #[command(flatten)]
    pub(crate) app: AppOption,

    #[command(flatten)]
    pub(crate) client: ClientOptions,
}

#[derive(Clone, Debug, Subcommand)]
pub(crate) enum DomainsVerb {
    /// List the domains that an app names or holds, and what proves those that are pending.
    List {
        #[command(flatten)]
        app: AppOption,

        #[command(flatten)]
        client: ClientOptions,
    },
    /// Ask DNS whether a domain is the app's, and have the app answer there.
    Verify(DomainOption),
    /// Have the app answer at a domain without a proof, as an admin.
    Approve(DomainOption),
    /// Have the app answer at a domain no longer, so that another one can have it.
    Release(DomainOption),
}

/// One domain of an app.
#[derive(Clone, Debug, Args)]
pub(crate) struct DomainOption {
    /// The domain, as the manifest names it.
    #[arg(value_parser = parse_domain)]
    pub(crate) domain: DomainName,

    #[command(flatten)]
    pub(crate) app: AppOption,

    #[command(flatten)]
    pub(crate) client: ClientOptions,
}

fn parse_domain(text: &str) -> Result<DomainName, NameError> {
    DomainName::new(&text.to_ascii_lowercase())
}

/// What was live: a list, or going back in it.
#[derive(Clone, Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(crate) struct DeploysNoun {
    #[command(subcommand)]
    pub(crate) verb: Option<DeploysVerb>,

    #[command(flatten)]
    pub(crate) list: DeploysOptions,
}

#[derive(Clone, Debug, Subcommand)]
pub(crate) enum DeploysVerb {
    /// List what was live when, and by whom.
    List(DeploysOptions),
    /// Make an earlier deploy live again, without a repository.
    Rollback(RollbackOptions),
}

/// Which deploys are listed.
#[derive(Clone, Debug, Args)]
pub(crate) struct DeploysOptions {
    /// Those of this branch.
    #[arg(long, add = ArgValueCompleter::new(completing::branches))]
    pub(crate) branch: Option<String>,

    #[command(flatten)]
    pub(crate) page: PageOptions,

    #[command(flatten)]
    pub(crate) app: AppOption,

    #[command(flatten)]
    pub(crate) client: ClientOptions,
}

/// To which deploy is gone back.
#[derive(Clone, Debug, Args)]
pub(crate) struct RollbackOptions {
    /// The number of the deploy, as `picloud deploys` lists it; without it the one before what is live was first deployed.
    #[arg(value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) deploy: Option<u64>,

    /// Why: kept with the new deploy, and shown by `picloud deploys`.
    #[arg(short = 'm', long, value_name = "TEXT")]
    pub(crate) message: Option<String>,

    #[command(flatten)]
    pub(crate) app: AppOption,

    #[command(flatten)]
    pub(crate) client: ClientOptions,
}
