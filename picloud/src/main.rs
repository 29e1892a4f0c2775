//! PiCloud: a self-hosted, event-driven serverless platform that you deploy to with `git push`.
//!
//! This crate is the `picloud` program: the HTTP and git server, the command line, configuration and text output.
//!
//! # Layout
//!
//! - [`cli`]: the command line: flags, environment, config file; it resolves to [`settings`]
//! - [`commands`]: the commands, a module each
//! - [`client`]: the client of the REST API, for commands that need a server
//! - [`node`]: assembles store, platform and edge to a running server; [`service`] notifies systemd
//! - [`edge`]: HTTP and git, from the connection to the response: listener, dispatch, control plane, apps, git
//! - [`api_types`]: the types of the REST API, for server and client
//! - [`render`]: all text output: push reports, tables, diagnostics
//! - [`metrics`]: the Prometheus endpoint; [`traces`]: the OpenTelemetry exporter; [`log`]: the log
//! - [`data_folder`], [`clock_skew`]: checks at the start of a node
//! - [`hint`], [`progress`]: errors with hints, progress lines
//!
//! # Invariants
//!
//! - The data flow of a push: `edge::git` -> `git_receiver::receive` -> `platform::deploy` -> `store::push` ->
//!   `platform::activation`; `render::push` reports it. Of a request: `edge::dispatch` -> the live table -> `edge::app` ->
//!   `platform::execution`.
//! - Modules import one way, without cycles. `edge` does not name the store, and nothing imports `commands` but this file.
//! - Secrets are never flags, and `Debug` hides them. Untrusted text is escaped with `render::printable` before it is printed.
//! - A doc comment of a flag is its `--help`; a doc comment in `api_types` is the documentation of the API.

#![allow(
    rustdoc::bare_urls,
    rustdoc::invalid_html_tags,
    reason = "`--help` prints the doc comments of flags"
)]

mod api_types;
mod cli;
mod client;
mod clock_skew;
mod commands;
mod data_folder;
mod edge;
mod hint;
mod log;
mod metrics;
mod node;
mod progress;
mod render;
mod service;
mod settings;
mod traces;

use std::process::ExitCode;

use cli::{Command, Parsed, UsageError};
use commands::CommandError;
use commands::check::Format;
use render::style::red;

/// Accounts the memory of each script, for its limit.
#[global_allocator]
static ALLOCATOR: runtime::CountingAllocator = runtime::CountingAllocator;

/// The exit code of usage errors.
const USAGE_ERROR: u8 = 2;

fn main() -> ExitCode {
    runtime::CountingAllocator::set_purge_delay();
    match run() {
        Ok(code) => code,
        // Also prints the output of --help and --version.
        Err(Failure::UsageError(UsageError::Flags(error))) => error.exit(),
        Err(Failure::UsageError(error)) => {
            eprint!("{}", error.message());
            ExitCode::from(USAGE_ERROR)
        }
        Err(Failure::Command(error)) => {
            anstream::eprintln!("{}: {}", red("error"), render::with_causes(&error));
            if let Some(hint) = error.hint() {
                anstream::eprintln!("hint: {hint}");
            }
            ExitCode::FAILURE
        }
    }
}

/// Why the program failed.
enum Failure {
    UsageError(UsageError),
    Command(CommandError),
}

impl From<UsageError> for Failure {
    fn from(error: UsageError) -> Self {
        Self::UsageError(error)
    }
}

fn run() -> Result<ExitCode, Failure> {
    if let Some(shell) = std::env::var_os(commands::shell::COMPLETE).filter(|shell| !shell.is_empty()) {
        return commands::shell::complete(&shell).map(succeeded).map_err(Failure::Command);
    }
    let Parsed { command, settings } = cli::parse(std::env::args_os().collect())?;
    let done = match command {
        Command::Serve(flags) if flags.check_config => {
            commands::print_styled(cli::report(settings, &flags.resolve()?)).map(succeeded)
        }
        Command::Serve(flags) => commands::serve::serve(&flags.resolve()?).map(succeeded),
        Command::Demo(args) => commands::demo::demo(args).map(succeeded),
        Command::Init { folder } => commands::init::init(&folder).map(succeeded),
        Command::Dev(args) => commands::dev::dev(&args).map(succeeded),
        Command::Login(args) => commands::login::login(&args).map(succeeded),
        Command::Logout(args) => commands::login::logout(&args).map(succeeded),
        Command::Credential(args) => commands::login::credential(&args).map(succeeded),
        Command::Apps(args) => commands::apps::apps(&args).map(succeeded),
        Command::Tokens(args) => commands::tokens::tokens(&args).map(succeeded),
        Command::Kv(args) => commands::kv::kv(&args).map(succeeded),
        Command::Secrets(args) => commands::secrets::secrets(&args).map(succeeded),
        Command::Domains(args) => commands::domains::domains(&args).map(succeeded),
        Command::Audit(args) => commands::audit::audit(&args).map(succeeded),
        Command::Invoke(args) => commands::invoke::invoke(&args),
        Command::Deploys(args) => commands::deploys::deploys(&args).map(succeeded),
        Command::Rollback(args) => commands::deploys::rollback(&args).map(succeeded),
        Command::Previews(args) => commands::deploys::previews(&args).map(succeeded),
        Command::Routes(args) => commands::deploys::routes(&args).map(succeeded),
        Command::Status(args) => commands::status::status(&args),
        Command::Logs(args) => commands::logs::logs(&args).map(succeeded),
        Command::Executions(args) => commands::executions::executions(&args).map(succeeded),
        Command::Nodes(args) => commands::nodes::nodes(&args).map(succeeded),
        Command::Schedules(args) => commands::schedules::schedules(&args),
        Command::Run(args) => commands::schedules::run(&args),
        Command::Pause(args) => commands::schedules::pause(&args).map(succeeded),
        Command::Resume(args) => commands::schedules::resume(&args).map(succeeded),
        Command::Schema => commands::schema::schema().map(succeeded),
        Command::Definitions { folder, sdk } => {
            commands::definitions::definitions(&folder, sdk).map(succeeded)
        }
        Command::Backup(args) => commands::backup::backup(&args, &args.storage.resolve()?).map(succeeded),
        Command::Restore(args) => commands::restore::restore(&args, &args.storage.resolve()?).map(succeeded),
        Command::Completions { shell } => commands::shell::completions(shell).map(succeeded),
        Command::Man { folder } => commands::shell::man(&folder).map(succeeded),
        Command::Test(args) => commands::test::test(&args),
        Command::Check { folder, json } => {
            let format = if json { Format::Json } else { Format::Text };
            commands::check::check(&folder, format)
        }
    };
    done.map_err(Failure::Command)
}

fn succeeded(_: ()) -> ExitCode {
    ExitCode::SUCCESS
}
