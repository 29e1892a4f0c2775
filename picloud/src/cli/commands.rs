//! The commands and their arguments.

use std::path::PathBuf;

use clap::{Args, CommandFactory as _, Parser, Subcommand};
use clap_complete::Shell;
use clap_complete::engine::ArgValueCompleter;
use manifest_schema::name::{AppName, JobName};
use manifest_schema::sdk::SdkVersion;
use manifest_schema::zone::zone_data;

use super::access::{AppsArgs, AuditArgs, SecretsCommand, TokensCommand};
use super::address::ListenAddress;
use super::app::{DeploysArgs, DomainsCommand, ExecutionsArgs, LogsArgs, PreviewsArgs, RollbackArgs};
use super::examples;
use super::kv::KvCommand;
use super::listing::PageArgs;
use super::payload::Payload;
use super::serve_flags::{ServeFlags, StorageFlags};
use super::test_args::TestArgs;
use crate::client::{AppArg, ClientArgs, completion};
use crate::settings::DEFAULT_ADDRESS;

/// A self-hosted serverless platform that you deploy to with git push.
#[derive(Debug, Parser)]
#[command(version, long_version = long_version(), arg_required_else_help = true)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// The version, followed by that of the time zone data on its own line.
fn long_version() -> String {
    format!("{}\ntime zone data {}", env!("CARGO_PKG_VERSION"), zone_data())
}

/// The command line, with the examples in `--help`.
pub(crate) fn command() -> clap::Command {
    examples::with_examples(Cli::command())
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Run a node, which accepts pushes, serves apps and runs schedules.
    Serve(Box<ServeFlags>),
    /// Run a tour: start a node, push an example, call it, roll back, and keep the node running.
    Demo(DemoArgs),
    /// Create a starter app.
    Init {
        /// Target folder, created if missing.
        #[arg(default_value = ".")]
        folder: PathBuf,
    },
    /// Validate an app as a push does, without a server.
    Check {
        /// Folder with picloud.toml.
        #[arg(default_value = ".")]
        folder: PathBuf,

        /// Output JSON, for editors and CI.
        #[arg(long)]
        json: bool,
    },
    /// Run the tests of an app, without a server: claims in its scripts and in files `*.test.rhai`.
    Test(TestArgs),
    /// Store the token of a server for client commands and git.
    Login(LoginArgs),
    /// Remove the stored token of a server.
    Logout(LogoutArgs),
    /// Act as git's credential helper, with the tokens of `picloud login`.
    #[command(subcommand)]
    Credential(CredentialCommand),
    /// List, create and manage apps.
    Apps(AppsArgs),
    /// Create, list and revoke tokens.
    #[command(subcommand)]
    Tokens(TokensCommand),
    /// Set, list and unset secrets of an app.
    #[command(subcommand)]
    Secrets(SecretsCommand),
    /// Read and change the state of an app.
    #[command(subcommand)]
    Kv(KvCommand),
    /// List, verify, approve and release custom domains of an app.
    #[command(subcommand)]
    Domains(DomainsCommand),
    /// List audit events.
    Audit(AuditArgs),
    /// Serve the folder of an app locally, and reload when a file is saved.
    Dev(DevArgs),
    /// Call a function of an app and print its response.
    Invoke(InvokeArgs),
    /// List the deploys of an app, or roll back to one.
    Deploys(DeploysArgs),
    /// Roll back to an earlier deploy: short for `deploys rollback`.
    Rollback(RollbackArgs),
    /// List production and previews, or enable the schedules of a preview.
    Previews(PreviewsArgs),
    /// List the routes and functions of the live deploy.
    Routes(RoutesArgs),
    /// Print an app's logs; -f follows.
    Logs(LogsArgs),
    /// List executions, or show one with its log.
    Executions(ExecutionsArgs),
    /// Show server status.
    Status(ClientArgs),
    /// List the nodes of a server and their state.
    Nodes(ClientArgs),
    /// List schedules and their runs; run, pause and resume a schedule.
    Schedules(SchedulesArgs),
    /// Run a schedule now and print the result: short for `schedules run`.
    Run(ScheduleArgs),
    /// Pause a schedule: short for `schedules pause`.
    Pause(ScheduleArgs),
    /// Resume a paused schedule, or all schedules after a restore: short for `schedules resume`.
    Resume(ResumeArgs),
    /// Print the JSON Schema of picloud.toml, for editor completion.
    Schema,
    /// Write definitions of the SDK's functions, for editors with Rhai's language server.
    Definitions {
        /// Folder for the `.d.rhai` files, created if missing.
        #[arg(default_value = "definitions")]
        folder: PathBuf,
        /// SDK version, as in the manifest.
        #[arg(long, value_name = "VERSION", default_value = "1.3", value_parser = sdk_version)]
        sdk: SdkVersion,
    },
    /// Back up all data to a file, while nodes are running.
    Backup(BackupArgs),
    /// Restore a backup into an empty database.
    Restore(RestoreArgs),
    /// Generate shell completions.
    Completions {
        /// Shell.
        shell: Shell,
    },
    /// Generate man pages.
    #[command(hide = true)]
    Man {
        /// Target folder, created if missing.
        folder: PathBuf,
    },
}

/// Parses an SDK version.
fn sdk_version(text: &str) -> Result<SdkVersion, String> {
    SdkVersion::parse(text).ok_or_else(|| {
        let known: Vec<&str> = SdkVersion::ALL.into_iter().map(SdkVersion::as_str).collect();
        format!("this version supports {}", known.join(", "))
    })
}

/// Arguments of `picloud dev`.
#[derive(Clone, Debug, Args)]
pub(crate) struct DevArgs {
    /// Folder with picloud.toml. Its subfolders .git, target and node_modules are ignored.
    #[arg(default_value = ".")]
    pub(crate) folder: PathBuf,

    /// Name of the app in its URL. The default is the name of the folder.
    #[arg(long)]
    pub(crate) app: Option<AppName>,

    /// Address to listen on. The default is 127.0.0.1:8080, or a free port if 8080 is in use.
    #[arg(long, value_name = "ADDRESS")]
    pub(crate) listen: Option<ListenAddress>,

    /// Host name to accept in requests, in addition to IP addresses and localhost; can be repeated. Other host names are rejected
    /// as protection against DNS rebinding.
    #[arg(long = "host", value_name = "NAME")]
    pub(crate) hosts: Vec<String>,

    /// Run schedules from now on.
    #[arg(long)]
    pub(crate) schedules: bool,
}

/// Arguments of `picloud schedules`.
#[derive(Clone, Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(crate) struct SchedulesArgs {
    #[command(subcommand)]
    pub(crate) command: Option<SchedulesCommand>,

    /// List the latest runs of this schedule: short for `schedules runs`.
    #[arg(long, value_name = "SCHEDULE", add = ArgValueCompleter::new(completion::schedules))]
    pub(crate) runs: Option<JobName>,

    #[command(flatten)]
    pub(crate) page: PageArgs,

    #[command(flatten)]
    pub(crate) list: ListSchedulesArgs,
}

#[derive(Clone, Debug, Subcommand)]
pub(crate) enum SchedulesCommand {
    /// List the schedules of an app with their next due times and last runs.
    List(ListSchedulesArgs),
    /// List the latest runs of a schedule.
    Runs(RunsArgs),
    /// Run a schedule now and print the result.
    Run(ScheduleArgs),
    /// Pause a schedule on all nodes.
    Pause(ScheduleArgs),
    /// Resume a paused schedule, or all schedules after a restore.
    Resume(ResumeArgs),
}

/// Arguments of `picloud routes`.
#[derive(Clone, Debug, Args)]
pub(crate) struct RoutesArgs {
    /// Branch of a preview. The default is production.
    #[arg(long, add = ArgValueCompleter::new(completion::branches))]
    pub(crate) branch: Option<String>,

    #[command(flatten)]
    pub(crate) app: AppArg,

    #[command(flatten)]
    pub(crate) client: ClientArgs,
}

/// Arguments of `picloud schedules list`.
#[derive(Clone, Debug, Args)]
pub(crate) struct ListSchedulesArgs {
    /// Branch of a preview. The default is production.
    #[arg(long, add = ArgValueCompleter::new(completion::branches))]
    pub(crate) branch: Option<String>,

    #[command(flatten)]
    pub(crate) app: AppArg,

    #[command(flatten)]
    pub(crate) client: ClientArgs,
}

/// Arguments of `picloud schedules runs`.
#[derive(Clone, Debug, Args)]
pub(crate) struct RunsArgs {
    /// Name of the schedule.
    #[arg(add = ArgValueCompleter::new(completion::schedules))]
    pub(crate) schedule: JobName,

    #[command(flatten)]
    pub(crate) page: PageArgs,

    #[command(flatten)]
    pub(crate) list: ListSchedulesArgs,
}

/// A schedule of an app.
#[derive(Clone, Debug, Args)]
pub(crate) struct ScheduleArgs {
    /// Name of the schedule.
    #[arg(add = ArgValueCompleter::new(completion::schedules))]
    pub(crate) schedule: JobName,

    /// Branch of a preview. The default is production.
    #[arg(long, add = ArgValueCompleter::new(completion::branches))]
    pub(crate) branch: Option<String>,

    #[command(flatten)]
    pub(crate) app: AppArg,

    #[command(flatten)]
    pub(crate) client: ClientArgs,
}

/// Arguments of `picloud resume`.
#[derive(Clone, Debug, Args)]
pub(crate) struct ResumeArgs {
    /// Name of the schedule.
    #[arg(required_unless_present = "all", add = ArgValueCompleter::new(completion::schedules))]
    pub(crate) schedule: Option<JobName>,

    /// Resume the schedules of all apps after a restore.
    #[arg(long, conflicts_with_all = ["schedule", "branch"])]
    pub(crate) all: bool,

    /// Branch of a preview. The default is production.
    #[arg(long, add = ArgValueCompleter::new(completion::branches))]
    pub(crate) branch: Option<String>,

    #[command(flatten)]
    pub(crate) app: AppArg,

    #[command(flatten)]
    pub(crate) client: ClientArgs,
}

/// Arguments of `picloud backup`.
#[derive(Clone, Debug, Args)]
pub(crate) struct BackupArgs {
    /// File to write, or - for standard output.
    pub(crate) file: PathBuf,

    /// Replace an existing backup file when the new one is complete.
    #[arg(long)]
    pub(crate) replace: bool,

    /// Treat FILE as a folder: write a file named by the current time, and keep the newest NUMBER of such files.
    #[arg(long, value_name = "NUMBER", conflicts_with = "replace", value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) keep: Option<u32>,

    #[command(flatten)]
    pub(crate) storage: StorageFlags,
}

/// Arguments of `picloud restore`.
#[derive(Clone, Debug, Args)]
pub(crate) struct RestoreArgs {
    /// Backup file, or - for standard input.
    pub(crate) file: PathBuf,

    /// Replace all data in the database.
    #[arg(long)]
    pub(crate) replace: bool,

    /// Run schedules when a node starts, instead of holding them until `picloud resume --all`.
    #[arg(long)]
    pub(crate) run_schedules: bool,

    #[command(flatten)]
    pub(crate) storage: StorageFlags,
}

/// Arguments of `picloud demo`.
#[derive(Clone, Debug, Args)]
pub(crate) struct DemoArgs {
    /// Data folder of the demo node. The default is a temporary folder.
    #[arg(long, value_name = "DIR")]
    pub(crate) data_dir: Option<PathBuf>,

    /// Address to listen on. If it is in use, the demo takes a free port.
    #[arg(long, value_name = "ADDRESS", default_value_t = ListenAddress(DEFAULT_ADDRESS))]
    pub(crate) listen: ListenAddress,

    /// Exit after the tour.
    #[arg(long)]
    pub(crate) exit: bool,
}

/// Arguments of `picloud invoke`.
#[derive(Clone, Debug, Args)]
pub(crate) struct InvokeArgs {
    /// Name of the function in the manifest.
    #[arg(add = ArgValueCompleter::new(completion::functions))]
    pub(crate) function: JobName,

    /// JSON argument of the function, or - to read it from standard input.
    #[arg(long, value_name = "JSON", default_value = "null")]
    pub(crate) data: Payload,

    #[command(flatten)]
    pub(crate) app: AppArg,

    #[command(flatten)]
    pub(crate) client: ClientArgs,
}

/// Arguments of `picloud login`.
#[derive(Clone, Debug, Args)]
pub(crate) struct LoginArgs {
    /// URL of the server, such as https://pi.example.com. The default is --url, or the server of the `picloud` git remote.
    #[arg(value_name = "URL")]
    server: Option<String>,

    #[command(flatten)]
    client: ClientArgs,
}

impl LoginArgs {
    /// The server as arguments of a client.
    pub(crate) fn client(&self) -> ClientArgs {
        let mut options = self.client.clone();
        options.url = self.server.clone().or(options.url);
        options
    }
}

/// Arguments of `picloud logout`.
#[derive(Clone, Debug, Args)]
pub(crate) struct LogoutArgs {
    /// URL of the server, such as https://pi.example.com. The default is the server of the `picloud` git remote.
    #[arg(value_name = "URL", env = "PICLOUD_URL")]
    pub(crate) server: Option<String>,
}

/// The operations of a credential helper (gitcredentials(7)).
#[derive(Clone, Copy, Debug, Subcommand)]
pub(crate) enum CredentialCommand {
    /// Print the token of a server.
    Get,
    /// Store a token that the server accepted.
    Store,
    /// Remove a token that the server rejected.
    Erase,
}
