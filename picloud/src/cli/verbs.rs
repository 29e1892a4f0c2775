//! The verbs, and what may be said to each.

use std::path::PathBuf;
use std::str::FromStr;

use clap::{Args, Command, CommandFactory as _, Parser, Subcommand};
use clap_complete::Shell;
use clap_complete::engine::ArgValueCompleter;
use manifest_schema::name::{AppName, JobName};
use manifest_schema::zone::zone_data;
use serde::de::IgnoredAny;

use super::address::ListenAddress;
use super::app::{DeploysNoun, DomainsVerb, ExecutionsNoun, LogsOptions, PreviewsOptions, RollbackOptions};
use super::examples;
use super::listing::PageOptions;
use super::people::{AppsOptions, AuditOptions, SecretsVerb, TokensVerb};
use super::serve_flags::{ServeFlags, StorageFlags};
use crate::client::{AppOption, ClientOptions, completing};
use crate::settings::USUAL_ADDRESS;

/// A self-hosted serverless platform that you deploy to with git push.
#[derive(Debug, Parser)]
#[command(version, long_version = long_version(), arg_required_else_help = true)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) verb: Verb,
}

/// The version, and on a line of its own that of the time zone data.
fn long_version() -> String {
    format!("{}\ntime zone data {}", env!("CARGO_PKG_VERSION"), zone_data())
}

/// All that may be said, with what `--help` teaches.
pub(crate) fn command() -> Command {
    examples::taught(Cli::command())
}

#[derive(Debug, Subcommand)]
pub(crate) enum Verb {
    /// Run a node: receive pushes, answer requests, run schedules.
    Serve(Box<ServeFlags>),
    /// See it all at once: serve, push an example, call it, roll back, and keep serving.
    Demo(DemoOptions),
    /// Write a starter app.
    Init {
        /// The folder to write it to; made where it does not exist.
        #[arg(default_value = ".")]
        folder: PathBuf,
    },
    /// Validate an app as a push would, without a server.
    Check {
        /// The folder with picloud.toml.
        #[arg(default_value = ".")]
        folder: PathBuf,

        /// Print one JSON object for editors and CI instead of words for people.
        #[arg(long)]
        json: bool,
    },
    /// Keep a token for a server, so that verbs find it, and git.
    Login(LoginOptions),
    /// Forget the token that is kept for a server.
    Logout(LogoutOptions),
    /// Answer git, as its credential helper: with the token that `picloud login` has kept.
    #[command(subcommand)]
    Credential(CredentialVerb),
    /// List the apps of a server and what is live; create and protect them.
    Apps(AppsOptions),
    /// Create, list and revoke tokens.
    #[command(subcommand)]
    Tokens(TokensVerb),
    /// Set, list and unset the secrets of an app.
    #[command(subcommand)]
    Secrets(SecretsVerb),
    /// List the domains of an app's own; prove, approve and release one.
    #[command(subcommand)]
    Domains(DomainsVerb),
    /// List who did what, when and from where.
    Audit(AuditOptions),
    /// Serve the folder of an app without git, and again whenever a file is saved.
    Dev(DevOptions),
    /// Call a function of an app and print what it answers.
    Invoke(InvokeOptions),
    /// List what was live when, and by whom; go back in it.
    Deploys(DeploysNoun),
    /// Make an earlier deploy live again, without a repository: short for `deploys rollback`.
    Rollback(RollbackOptions),
    /// List what is live on each branch: production and previews; let the schedules of one run.
    Previews(PreviewsOptions),
    /// List the routes and functions of what is live.
    Routes(RoutesOptions),
    /// Print what an app logged, and with -f what it logs.
    Logs(LogsOptions),
    /// List what ran, or show one run whole.
    Executions(ExecutionsNoun),
    /// Say whether all is well.
    Status(ClientOptions),
    /// List the nodes of a server, and what each of them serves.
    Nodes(ClientOptions),
    /// List the schedules of an app, or the runs of one; run, pause and resume them.
    Schedules(SchedulesNoun),
    /// Run a schedule now, and say what came of it: short for `schedules run`.
    Run(ScheduleOptions),
    /// Pause a schedule on all nodes, until it is resumed: short for `schedules pause`.
    Pause(ScheduleOptions),
    /// Resume a paused schedule, or those of all apps that a restore holds: short for `schedules resume`.
    Resume(ResumeOptions),
    /// Print the JSON Schema of picloud.toml, by which editors complete and check it.
    Schema,
    /// Write the whole platform to one file, while nodes are running.
    Backup(BackupOptions),
    /// Fill an empty database from a backup.
    Restore(RestoreOptions),
    /// Print what lets a shell complete verbs, flags, and the names of apps, branches, schedules and functions.
    Completions {
        /// The shell.
        shell: Shell,
    },
    /// Write the manual: a page for the program and one for each verb.
    #[command(hide = true)]
    Man {
        /// The folder to write it to; made where it does not exist.
        folder: PathBuf,
    },
}

/// What is served while it is worked on.
#[derive(Clone, Debug, Args)]
pub(crate) struct DevOptions {
    /// The folder with picloud.toml; .git, target and node_modules in it are not read.
    #[arg(default_value = ".")]
    pub(crate) folder: PathBuf,

    /// The app's name in its address; without it that of the folder.
    #[arg(long)]
    pub(crate) app: Option<AppName>,

    /// The address to listen on; without it 127.0.0.1:8080, or a free port where that one is in use.
    #[arg(long, value_name = "ADDRESS")]
    pub(crate) listen: Option<ListenAddress>,

    /// A name at which it answers, beside addresses and localhost; can be given several times. It answers at no other: pages of
    /// other sites could reach it by names of theirs.
    #[arg(long = "host", value_name = "NAME")]
    pub(crate) hosts: Vec<String>,

    /// Run the schedules, too: what is due from now on, and nothing that was due before.
    #[arg(long)]
    pub(crate) schedules: bool,
}

/// What runs by the clock: a list, the runs of one, and what is done to one.
#[derive(Clone, Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(crate) struct SchedulesNoun {
    #[command(subcommand)]
    pub(crate) verb: Option<SchedulesVerb>,

    /// List the latest runs of this schedule instead: short for `schedules runs`.
    #[arg(long, value_name = "SCHEDULE", add = ArgValueCompleter::new(completing::schedules))]
    pub(crate) runs: Option<JobName>,

    #[command(flatten)]
    pub(crate) page: PageOptions,

    #[command(flatten)]
    pub(crate) list: SchedulesOptions,
}

#[derive(Clone, Debug, Subcommand)]
pub(crate) enum SchedulesVerb {
    /// List the schedules of an app, when each is due next, and how its last run ended.
    List(SchedulesOptions),
    /// List the latest runs of a schedule.
    Runs(RunsOptions),
    /// Run a schedule now, and say what came of it.
    Run(ScheduleOptions),
    /// Pause a schedule on all nodes, until it is resumed.
    Pause(ScheduleOptions),
    /// Resume a paused schedule, or the schedules of all apps that a restore holds.
    Resume(ResumeOptions),
}

/// Whose routes are listed.
#[derive(Clone, Debug, Args)]
pub(crate) struct RoutesOptions {
    /// Those of this branch's preview; without it those of production.
    #[arg(long, add = ArgValueCompleter::new(completing::branches))]
    pub(crate) branch: Option<String>,

    #[command(flatten)]
    pub(crate) app: AppOption,

    #[command(flatten)]
    pub(crate) client: ClientOptions,
}

/// Which schedules are listed.
#[derive(Clone, Debug, Args)]
pub(crate) struct SchedulesOptions {
    /// Those of this branch's preview; without it those of production.
    #[arg(long, add = ArgValueCompleter::new(completing::branches))]
    pub(crate) branch: Option<String>,

    #[command(flatten)]
    pub(crate) app: AppOption,

    #[command(flatten)]
    pub(crate) client: ClientOptions,
}

/// Whose runs are listed.
#[derive(Clone, Debug, Args)]
pub(crate) struct RunsOptions {
    /// The schedule.
    #[arg(add = ArgValueCompleter::new(completing::schedules))]
    pub(crate) schedule: JobName,

    #[command(flatten)]
    pub(crate) page: PageOptions,

    #[command(flatten)]
    pub(crate) list: SchedulesOptions,
}

/// One schedule of an app.
#[derive(Clone, Debug, Args)]
pub(crate) struct ScheduleOptions {
    /// The schedule.
    #[arg(add = ArgValueCompleter::new(completing::schedules))]
    pub(crate) schedule: JobName,

    /// That of this branch's preview; without it that of production.
    #[arg(long, add = ArgValueCompleter::new(completing::branches))]
    pub(crate) branch: Option<String>,

    #[command(flatten)]
    pub(crate) app: AppOption,

    #[command(flatten)]
    pub(crate) client: ClientOptions,
}

/// Which schedules go on.
#[derive(Clone, Debug, Args)]
pub(crate) struct ResumeOptions {
    /// The schedule.
    #[arg(required_unless_present = "all", add = ArgValueCompleter::new(completing::schedules))]
    pub(crate) schedule: Option<JobName>,

    /// End the hold that a restore has put on the schedules of all apps.
    #[arg(long, conflicts_with_all = ["schedule", "branch"])]
    pub(crate) all: bool,

    /// That of this branch's preview; without it that of production.
    #[arg(long, add = ArgValueCompleter::new(completing::branches))]
    pub(crate) branch: Option<String>,

    #[command(flatten)]
    pub(crate) app: AppOption,

    #[command(flatten)]
    pub(crate) client: ClientOptions,
}

/// What is backed up, and to where.
#[derive(Clone, Debug, Args)]
pub(crate) struct BackupOptions {
    /// The file to write; - for standard output.
    pub(crate) file: PathBuf,

    /// Take the place of an earlier backup of that name, once this one is whole.
    #[arg(long)]
    pub(crate) replace: bool,

    /// FILE is a folder: write a file that is named by the time, and keep so many of those, the newest.
    #[arg(long, value_name = "NUMBER", conflicts_with = "replace", value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) keep: Option<u32>,

    #[command(flatten)]
    pub(crate) storage: StorageFlags,
}

/// What is restored, and into what.
#[derive(Clone, Debug, Args)]
pub(crate) struct RestoreOptions {
    /// The backup to read; - for standard input.
    pub(crate) file: PathBuf,

    /// Take the place of everything that is in the database.
    #[arg(long)]
    pub(crate) replace: bool,

    /// Let schedules run by the clock as soon as a node starts, instead of holding them until `picloud resume --all`.
    #[arg(long)]
    pub(crate) run_schedules: bool,

    #[command(flatten)]
    pub(crate) storage: StorageFlags,
}

/// How the demo runs.
#[derive(Clone, Debug, Args)]
pub(crate) struct DemoOptions {
    /// The folder to keep its database and repositories in; a temporary one where none is given.
    #[arg(long)]
    pub(crate) data_dir: Option<PathBuf>,

    /// The address to listen on; a free port is taken where this one is in use.
    #[arg(long, value_name = "ADDRESS", default_value_t = ListenAddress(USUAL_ADDRESS))]
    pub(crate) listen: ListenAddress,

    /// Stop after the tour instead of going on to serve.
    #[arg(long)]
    pub(crate) exit: bool,
}

/// A call of a function.
#[derive(Clone, Debug, Args)]
pub(crate) struct InvokeOptions {
    /// The function, as the manifest names it.
    #[arg(add = ArgValueCompleter::new(completing::functions))]
    pub(crate) function: JobName,

    /// The JSON that it is called with; `-` reads it from standard input.
    #[arg(long, value_name = "JSON", default_value = "null")]
    pub(crate) data: Payload,

    #[command(flatten)]
    pub(crate) app: AppOption,

    #[command(flatten)]
    pub(crate) client: ClientOptions,
}

/// What a function is called with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Payload {
    /// It is given.
    Json(String),
    /// It comes from standard input.
    Input,
}

impl FromStr for Payload {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == "-" {
            return Ok(Self::Input);
        }
        match serde_json::from_str::<IgnoredAny>(text) {
            Ok(_) => Ok(Self::Json(text.to_owned())),
            Err(error) => Err(format!("no JSON: {error}; text stands in quotation marks, as in '\"Ann\"'")),
        }
    }
}

/// A server, and whose token is kept for it.
#[derive(Clone, Debug, Args)]
pub(crate) struct LoginOptions {
    /// The server, such as https://pi.example.com; without it that of --url, or of the `picloud` git remote.
    #[arg(value_name = "URL")]
    server: Option<String>,

    #[command(flatten)]
    client: ClientOptions,
}

impl LoginOptions {
    /// The server, as other verbs are given it.
    pub(crate) fn client(&self) -> ClientOptions {
        let mut options = self.client.clone();
        options.url = self.server.clone().or(options.url);
        options
    }
}

/// A server, whose token is forgotten.
#[derive(Clone, Debug, Args)]
pub(crate) struct LogoutOptions {
    /// The server, such as https://pi.example.com; without it that of the `picloud` git remote.
    #[arg(value_name = "URL", env = "PICLOUD_URL")]
    pub(crate) server: Option<String>,
}

/// What git asks a credential helper.
#[derive(Clone, Copy, Debug, Subcommand)]
pub(crate) enum CredentialVerb {
    /// Which token there is for a server.
    Get,
    /// To keep one that the server took.
    Store,
    /// To forget one that the server did not take.
    Erase,
}
