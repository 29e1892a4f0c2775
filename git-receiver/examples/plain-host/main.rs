//! A plain git host over repositories on disk, for tests: any git client and any foreign test suite can be run against
//! the receiver through it, with git's own rules and none besides.
//!
//! - `plain-host receive-pack DIR` and `plain-host upload-pack DIR` stand in for `git receive-pack` and `git upload-pack`,
//!   as do links to it that bear the names `git-receive-pack` and `git-upload-pack`; with such links among those to the rest
//!   of git's programs, in a folder that `GIT_EXEC_PATH` names, a whole test suite of git talks to it
//! - `plain-host serve --listen ADDRESS ROOT` serves the repositories below `ROOT` over smart HTTP to anyone who reaches it
//!
//! What git's own tests ask for and find nowhere here: filters of partial clones, refs by name in a want, objects that no ref
//! leads to, other object formats, namespaces, alternates, linked work trees as repositories, pushes into a work tree, of
//! shallow histories or with certificates, the hook `proc-receive`, the severities of `fsck`, and traces or progress of the
//! server.
//!
//! Layout: [`connection`] and [`http`] are the two ways in, [`repository`] is what they read, [`settings`] what its config
//! says, [`push`] carries a push out, [`order`] by order, with [`aliases`], [`quarantine`], [`rules`] and [`hooks`]. The objects
//! of a repository are taken to be whole: what a stored object names is stored too.

mod aliases;
mod connection;
mod hooks;
mod http;
mod order;
mod push;
mod quarantine;
mod repository;
mod rules;
mod service;
mod settings;

use std::ffi::{OsStr, OsString};
use std::path::Path;
use std::process::ExitCode;

use service::Service;

/// How the host names itself to clients.
const AGENT: &str = concat!("plain-host/", env!("CARGO_PKG_VERSION"));

const USAGE: &str = "usage: plain-host receive-pack DIR | upload-pack DIR | serve --listen ADDRESS ROOT";

/// Whatever goes wrong here is only told.
type Failure = Box<dyn std::error::Error + Send + Sync>;

/// A plain host's pushes may be larger than those of scripts.
fn limits(settings: &settings::Settings) -> git_receiver::Limits {
    const MIB: u64 = 1024 * 1024;
    let most = 256 * MIB;
    git_receiver::Limits {
        request_bytes: settings.input_max.filter(|bytes| *bytes > 0).map_or(most, |bytes| bytes.min(most)),
        commands: 10_000,
        head_bytes: 8 << 20,
        objects: 500_000,
        object_bytes: 128 * MIB,
        inflated_bytes: 1024 * MIB,
        delta_depth: 4096,
    }
}

enum Verb {
    Connection(Service, OsString),
    Serve { listen: String, root: OsString },
}

impl Verb {
    fn read(arguments: &[OsString]) -> Option<Self> {
        let program = Path::new(arguments.first()?).file_name()?.to_str()?;
        let rest: Vec<&OsStr> = arguments[1..].iter().map(OsString::as_os_str).collect();
        if let Some(service) = Service::named(program) {
            let [folder] = rest[..] else { return None };
            return Some(Self::Connection(service, folder.to_owned()));
        }
        match rest[..] {
            [verb, folder] => {
                let service = Service::named(&format!("git-{}", verb.to_str()?))?;
                Some(Self::Connection(service, folder.to_owned()))
            }
            [verb, option, listen, root] if verb == "serve" && option == "--listen" => {
                Some(Self::Serve { listen: listen.to_str()?.to_owned(), root: root.to_owned() })
            }
            _ => None,
        }
    }
}

fn main() -> ExitCode {
    let arguments: Vec<OsString> = std::env::args_os().collect();
    let Some(verb) = Verb::read(&arguments) else {
        eprintln!("{USAGE}");
        return ExitCode::from(129);
    };
    match run(verb) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("fatal: {error}");
            ExitCode::from(128)
        }
    }
}

fn run(verb: Verb) -> Result<(), Failure> {
    let runtime = tokio::runtime::Runtime::new()?;
    let ended = runtime.block_on(async {
        match verb {
            Verb::Connection(service, folder) => connection::serve(service, Path::new(&folder)).await,
            Verb::Serve { listen, root } => http::serve(&listen, Path::new(&root)).await,
        }
    });
    // A read of standard input that still waits is not waited for.
    runtime.shutdown_background();
    ended
}
