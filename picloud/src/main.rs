//! PiCloud: a self-hosted, event-driven serverless platform that you deploy to with `git push`.
//!
//! This crate is the edge of the house: sockets, words for people, the command line, configuration. Layout:
//!
//! - `cli`: what may be said on the command line
//! - `commands`: one room a verb
//! - `node`: wires store, platform and edge into one running server
//! - `data_folder`: where a node keeps what it keeps, for itself
//! - `clock`: whether the clock of the machine can be right
//! - `settings`: how it runs
//! - `service`: what it and its service manager say to each other
//! - `edge`: HTTP and git, from a connection to an answer
//! - `hint`: what helps against an error
//! - `log`: where and how it is logged
//! - `numbers`: what is counted of a node, for whoever watches it
//! - `client`: the server that a verb asks, and as whom
//! - `rest`: the documents that servers and clients exchange
//! - `traces`: spans for an OpenTelemetry collector
//! - `progress`: a word to people who wait
//! - `words`: every sentence that people read
//!
//! A push: `edge::git` -> `git_receiver::receive` -> `platform::deploy` -> `store::push` -> `platform::activation`, told
//! by `words::push`. A request: `edge::target` -> the live table -> `edge::app` -> `platform::execution`.

#![allow(
    rustdoc::bare_urls,
    rustdoc::invalid_html_tags,
    reason = "`--help` prints the docs of flags as they stand"
)]

mod cli;
mod client;
mod clock;
mod commands;
mod data_folder;
mod edge;
mod hint;
mod log;
mod node;
mod numbers;
mod progress;
mod rest;
mod service;
mod settings;
mod traces;
mod words;

use std::process::ExitCode;

use cli::{Misuse, Parsed, Verb};
use commands::CommandError;
use commands::check::Form;
use words::paint::red;

/// Counts what each script holds, for its memory limit.
#[global_allocator]
static ALLOCATOR: runtime::CountingAllocator = runtime::CountingAllocator;

/// The exit code of who was misused.
const MISUSE: u8 = 2;

fn main() -> ExitCode {
    runtime::CountingAllocator::set_purge_delay();
    match run() {
        Ok(code) => code,
        // Help and versions are asked for that way too.
        Err(Failure::Misuse(Misuse::Flags(error))) => error.exit(),
        Err(Failure::Misuse(misuse)) => {
            eprint!("{}", misuse.message());
            ExitCode::from(MISUSE)
        }
        Err(Failure::Verb(error)) => {
            anstream::eprintln!("{}: {}", red("error"), words::with_causes(&error));
            if let Some(hint) = error.hint() {
                anstream::eprintln!("hint: {hint}");
            }
            ExitCode::FAILURE
        }
    }
}

/// Why the program did not do what it was asked.
enum Failure {
    Misuse(Misuse),
    Verb(CommandError),
}

impl From<Misuse> for Failure {
    fn from(misuse: Misuse) -> Self {
        Self::Misuse(misuse)
    }
}

fn run() -> Result<ExitCode, Failure> {
    if let Some(shell) = std::env::var_os(commands::shell::COMPLETE).filter(|shell| !shell.is_empty()) {
        return commands::shell::complete(&shell).map(succeeded).map_err(Failure::Verb);
    }
    let Parsed { verb, given } = cli::read(std::env::args_os().collect())?;
    let done = match verb {
        Verb::Serve(flags) if flags.check_config => {
            commands::say(cli::listed(given, &flags.resolve()?)).map(succeeded)
        }
        Verb::Serve(flags) => commands::serve::serve(&flags.resolve()?).map(succeeded),
        Verb::Demo(options) => commands::demo::demo(options).map(succeeded),
        Verb::Init { folder } => commands::init::init(&folder).map(succeeded),
        Verb::Dev(options) => commands::dev::dev(&options).map(succeeded),
        Verb::Login(options) => commands::login::login(&options).map(succeeded),
        Verb::Logout(options) => commands::login::logout(&options).map(succeeded),
        Verb::Credential(verb) => commands::login::credential(&verb).map(succeeded),
        Verb::Apps(options) => commands::apps::apps(&options).map(succeeded),
        Verb::Tokens(verb) => commands::tokens::tokens(&verb).map(succeeded),
        Verb::Secrets(verb) => commands::secrets::secrets(&verb).map(succeeded),
        Verb::Domains(verb) => commands::domains::domains(&verb).map(succeeded),
        Verb::Audit(options) => commands::audit::audit(&options).map(succeeded),
        Verb::Invoke(options) => commands::invoke::invoke(&options),
        Verb::Deploys(noun) => commands::deploys::noun(&noun).map(succeeded),
        Verb::Rollback(options) => commands::deploys::rollback(&options).map(succeeded),
        Verb::Previews(options) => commands::deploys::previews(&options).map(succeeded),
        Verb::Routes(options) => commands::deploys::routes(&options).map(succeeded),
        Verb::Status(options) => commands::status::status(&options),
        Verb::Logs(options) => commands::logs::logs(&options).map(succeeded),
        Verb::Executions(noun) => commands::executions::executions(&noun).map(succeeded),
        Verb::Nodes(options) => commands::nodes::nodes(&options).map(succeeded),
        Verb::Schedules(noun) => commands::schedules::schedules(&noun),
        Verb::Run(options) => commands::schedules::run(&options),
        Verb::Pause(options) => commands::schedules::pause(&options).map(succeeded),
        Verb::Resume(options) => commands::schedules::resume(&options).map(succeeded),
        Verb::Schema => commands::schema::schema().map(succeeded),
        Verb::Backup(options) => {
            commands::backup::backup(&options, &options.storage.resolve()?).map(succeeded)
        }
        Verb::Restore(options) => {
            commands::restore::restore(&options, &options.storage.resolve()?).map(succeeded)
        }
        Verb::Completions { shell } => commands::shell::completions(shell).map(succeeded),
        Verb::Man { folder } => commands::shell::man(&folder).map(succeeded),
        Verb::Check { folder, json } => {
            let form = if json { Form::Json } else { Form::Text };
            commands::check::check(&folder, form)
        }
    };
    done.map_err(Failure::Verb)
}

fn succeeded(_: ()) -> ExitCode {
    ExitCode::SUCCESS
}
