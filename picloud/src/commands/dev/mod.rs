//! `picloud dev`: serves the working tree of an app, and again whenever a file is saved.
//!
//! [`watch`] tells that something has changed, the folder is read and checked as a push is, and what is good is swapped in
//! ([`platform::dev`]). Requests are answered by the edge that a node has; [`console`] shows what happens.

mod console;
mod watch;

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use platform::deploy::Snapshot;
use platform::dev::{DevDeployer, SaveOutcome, run_schedules};
use platform::live::{Live, LiveTable};
use platform::memory::MemoryBudget;
use platform::recording::journal::Journal;
use runtime::Secrets;
use tokio::sync::{oneshot, watch as latest};

use super::error::CommandError;
use super::folder::{self, ReadError};
use super::output::say;
use super::stop_signals::StopSignals;
use crate::cli::{DevOptions, ListenAddress};
use crate::edge::listener::{self, ConnectionLimits};
use crate::edge::{DevApp, Edge, Shutdown};
use crate::node::StartError;
use crate::settings::{Settings, USUAL_ADDRESS};
use crate::words::dev as words;
use console::Console;
use platform::executor::threads::{ThreadsError, main_runtime};
use watch::Watch;

/// What nobody serves and nobody waits for.
const PASSED_OVER: [&str; 3] = [".git", "target", "node_modules"];

/// Where secrets can be kept for it.
const ENV_FILE: &str = ".env";

/// A save with diagnostics is told when it has stayed so: it may be half of one.
const FAULTS_STAY: Duration = Duration::from_millis(60);

/// Serves until it is told to stop.
pub(crate) fn dev(options: &DevOptions) -> Result<(), CommandError> {
    // What cannot be read now is most likely a slip.
    let first = folder::read(&options.folder, &PASSED_OVER, &[])?;
    let folder = options.folder.canonicalize().unwrap_or_else(|_| options.folder.clone());
    let app = options.app.clone().unwrap_or_else(|| folder::app_name(&folder));
    let table = Arc::new(LiveTable::new(MemoryBudget::unbounded()));
    Console::start(Arc::clone(&table), app.clone());
    let threads = main_runtime().map_err(StartError::from)?;
    let served = threads.block_on(async {
        let listener = listen(options.listen.map(|ListenAddress(address)| address))?;
        let address =
            listener.local_addr().map_err(|source| StartError::Listen { address: USUAL_ADDRESS, source })?;
        say(words::greeting(&app, &folder, address, listener::reachable(address), options.schedules))?;
        let settings = Settings::default();
        let (recorder, journal) = Journal::new();
        tokio::spawn(journal.run());
        let served = DevApp { app: app.clone(), hosts: options.hosts.clone() };
        let edge = Edge::for_dev(Arc::clone(&table), recorder.clone(), served, settings.bodies);
        let (tell, live) = latest::channel(None);
        if options.schedules {
            tokio::spawn(run_schedules(recorder, live));
        }
        let (ready, is_ready) = oneshot::channel();
        let workbench = DevDeployer::new(table, app, Secrets::default());
        let mut bench = Bench { folder, workbench, tell, last: None, told: None };
        // It ends with the process.
        let working = std::thread::Builder::new().spawn(move || {
            bench.take(first.snapshot, Instant::now(), &mut Watch::new());
            let _ = ready.send(());
            bench.work();
        });
        working.map_err(|error| StartError::Threads(ThreadsError(error)))?;
        let _ = is_ready.await;
        let mut signals = StopSignals::new();
        let stop = async move { signals.next().await };
        // Nothing is lost with connections that a browser keeps.
        let bounds = ConnectionLimits { final_request_timeout: Duration::ZERO, ..settings.connections };
        listener::serve(listener, Arc::new(edge), bounds, Arc::new(Shutdown::default()), stop).await;
        Ok(())
    });
    threads.shutdown_background();
    served
}

/// What secrets are taken from: the variables of the environment, and of the file `.env` in the folder those that are not set there.
/// Scripts read those that the manifest names. The second is what is wrong with the file.
fn secrets(folder: &Path) -> (Secrets, Option<String>) {
    let text =
        |(name, value): (OsString, OsString)| Some((name.into_string().ok()?, value.into_string().ok()?));
    let (mut all, wrong) = match env_file(&folder.join(ENV_FILE)) {
        Ok(written) => (written, None),
        Err(wrong) => (BTreeMap::new(), Some(wrong)),
    };
    all.extend(std::env::vars_os().filter_map(text));
    (Secrets::new(all.into_iter().filter(|(_, value)| !value.is_empty()).collect()), wrong)
}

/// The variables of a file of lines such as `NAME=VALUE`; none where there is no file.
fn env_file(path: &Path) -> Result<BTreeMap<String, String>, String> {
    let text = match std::fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(BTreeMap::new()),
        Err(error) => return Err(words::unread_env_file(&error.to_string())),
    };
    dotenvy::from_read_iter(text.as_bytes()).collect::<Result<_, _>>().map_err(|error| match error {
        dotenvy::Error::LineParse(line, _) => {
            let number = text.lines().position(|other| other.trim().ends_with(line.trim()));
            words::malformed_env_file(number.map(|number| number + 1))
        }
        error => words::unread_env_file(&error.to_string()),
    })
}

/// The address that is wanted, or the usual one, or a free one where that is taken.
fn listen(wanted: Option<SocketAddr>) -> Result<tokio::net::TcpListener, StartError> {
    let bind = |address| listener::bind(address).map_err(|source| StartError::Listen { address, source });
    match wanted {
        Some(address) => bind(address),
        None => match bind(USUAL_ADDRESS) {
            Err(StartError::Listen { source, .. }) if source.kind() == io::ErrorKind::AddrInUse => {
                bind(SocketAddr::new(USUAL_ADDRESS.ip(), 0))
            }
            bound => bound,
        },
    }
}

/// What is saved, from the folder to what is live.
struct Bench {
    folder: PathBuf,
    workbench: DevDeployer,
    /// Who runs the schedules.
    tell: latest::Sender<Option<Arc<Live>>>,
    /// What was looked at last, with what the file of secrets held.
    last: Option<(Snapshot, Option<Vec<u8>>)>,
    /// What was last said of the folder itself.
    told: Option<String>,
}

impl Bench {
    fn work(&mut self) -> ! {
        let mut watch = Watch::new();
        let mut changed = Instant::now();
        loop {
            match folder::read(&self.folder, &PASSED_OVER, &[]) {
                Ok(tree) => {
                    if watch.follow(&tree.folders) {
                        // What came into a new folder before it was watched is seen now.
                        continue;
                    }
                    self.tell_once(watch.trouble().map(words::unwatched));
                    let is_new = self.last.as_ref().is_none_or(|(snapshot, secrets)| {
                        *snapshot != tree.snapshot || *secrets != self.secrets_text()
                    });
                    if is_new && !self.take(tree.snapshot, changed, &mut watch) {
                        changed = watch.wait();
                        continue;
                    }
                }
                Err(error) => {
                    if matches!(error, ReadError::Read { .. }) {
                        watch.forget();
                    }
                    self.last = None;
                    let live = self.workbench.live().is_some();
                    self.tell_once(Some(words::unreadable(&error, live)));
                }
            }
            changed = watch.wait();
        }
    }

    /// Takes what was saved; `false` where it is not over yet, and nothing was said.
    fn take(&mut self, snapshot: Snapshot, changed: Instant, watch: &mut Watch) -> bool {
        let first = self.workbench.live().is_none();
        let held = self.secrets_text();
        let (secrets, wrong) = secrets(&self.folder);
        self.workbench.set_secrets(secrets);
        let text = match self.workbench.update(&snapshot) {
            SaveOutcome::Live { planned, warnings } => {
                let _ = self.tell.send(self.workbench.live());
                words::live(first, &planned, &warnings, changed.elapsed())
            }
            SaveOutcome::Rejected(diagnostics) => {
                if !watch.is_quiet_for(FAULTS_STAY) {
                    return false;
                }
                words::refused(&diagnostics, !first)
            }
        };
        self.last = Some((snapshot, held));
        let _ = say(wrong.unwrap_or_default() + text.as_str());
        true
    }

    fn secrets_text(&self) -> Option<Vec<u8>> {
        std::fs::read(self.folder.join(ENV_FILE)).ok()
    }

    /// Says what is wrong with the folder itself, until it is something else.
    fn tell_once(&mut self, text: Option<String>) {
        if let Some(text) = &text
            && self.told.as_ref() != Some(text)
        {
            let _ = say(text);
        }
        self.told = text;
    }
}
