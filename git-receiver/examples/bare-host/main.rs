//! A minimal git server over repositories on disk, to run git clients and git's own test suite against the receiver, with
//! git's rules and no others.
//!
//! - `bare-host receive-pack DIR` and `bare-host upload-pack DIR` replace `git receive-pack` and `git upload-pack`. Links to
//!   the program with the names `git-receive-pack` and `git-upload-pack` work too: in a `GIT_EXEC_PATH` directory with links
//!   to git's other programs, git's test suite runs against it.
//! - `bare-host serve --listen ADDRESS ROOT` serves the repositories below `ROOT` over smart HTTP, without authentication.
//!
//! Not supported, although git's own tests use it: partial clone filters, ref-in-want, wants of unreachable objects, other
//! object formats, namespaces, alternates, linked work trees as repositories, pushes into a work tree, pushes that make the
//! repository shallow, push certificates, the `proc-receive` hook, configurable fsck severities, and traces or progress of
//! the server.
//!
//! Layout: [`stdio`] and [`http`] are the transports. [`repository`] implements the receiver's trait, [`config`] reads the
//! repository's config. [`push`] applies a push, one [`ref_update`] per command, with [`symrefs`], [`quarantine`],
//! [`policy`] and [`hooks`]. Repositories must be complete: every object that a stored object refers to is stored too.

mod config;
mod hooks;
mod http;
mod policy;
mod push;
mod quarantine;
mod ref_update;
mod repository;
mod service;
mod stdio;
mod symrefs;

use std::ffi::{OsStr, OsString};
use std::path::Path;
use std::process::ExitCode;

use service::Service;

/// The agent string.
const AGENT: &str = concat!("bare-host/", env!("CARGO_PKG_VERSION"));

const USAGE: &str = "usage: bare-host receive-pack DIR | upload-pack DIR | serve --listen ADDRESS ROOT";

/// Errors are only printed here.
type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// Higher limits than the defaults, which suit repositories of scripts.
fn limits(config: &config::Config) -> git_receiver::Limits {
    const MIB: u64 = 1024 * 1024;
    let max = 256 * MIB;
    git_receiver::Limits {
        request_bytes: config.input_max.filter(|bytes| *bytes > 0).map_or(max, |bytes| bytes.min(max)),
        commands: 10_000,
        head_bytes: 8 << 20,
        objects: 500_000,
        object_bytes: 128 * MIB,
        inflated_bytes: 1024 * MIB,
        delta_depth: 4096,
    }
}

enum Command {
    Connection(Service, OsString),
    Serve { listen: String, root: OsString },
}

impl Command {
    fn read(arguments: &[OsString]) -> Option<Self> {
        let program = Path::new(arguments.first()?).file_name()?.to_str()?;
        let rest: Vec<&OsStr> = arguments[1..].iter().map(OsString::as_os_str).collect();
        if let Some(service) = Service::from_name(program) {
            let [dir] = rest[..] else { return None };
            return Some(Self::Connection(service, dir.to_owned()));
        }
        match rest[..] {
            [command, dir] => {
                let service = Service::from_name(&format!("git-{}", command.to_str()?))?;
                Some(Self::Connection(service, dir.to_owned()))
            }
            [command, option, listen, root] if command == "serve" && option == "--listen" => {
                Some(Self::Serve { listen: listen.to_str()?.to_owned(), root: root.to_owned() })
            }
            _ => None,
        }
    }
}

fn main() -> ExitCode {
    let arguments: Vec<OsString> = std::env::args_os().collect();
    let Some(command) = Command::read(&arguments) else {
        eprintln!("{USAGE}");
        return ExitCode::from(129);
    };
    match run(command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("fatal: {error}");
            ExitCode::from(128)
        }
    }
}

fn run(command: Command) -> Result<(), BoxError> {
    let runtime = tokio::runtime::Runtime::new()?;
    let ended = runtime.block_on(async {
        match command {
            Command::Connection(service, dir) => stdio::serve(service, Path::new(&dir)).await,
            Command::Serve { listen, root } => http::serve(&listen, Path::new(&root)).await,
        }
    });
    // Does not wait for a pending read of standard input.
    runtime.shutdown_background();
    ended
}
