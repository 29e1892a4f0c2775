//! `picloud dev`: serves the working tree of an app, and reloads it when a file is saved.
//!
//! [`watch`] reports changes. The folder is then read and validated as a push is, and a valid snapshot becomes live
//! ([`platform::dev`]). The edge of a node serves requests; [`console`] prints events.

mod console;
mod watch;

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use platform::clock::Clock;
use platform::deploy::Snapshot;
use platform::dev::{DevDeployer, SaveOutcome, ScheduleHistories, run_schedules};
use platform::dry_run::RunOptions;
use platform::live::{Live, LiveTable};
use platform::memory::MemoryBudget;
use platform::recording::journal::Journal;
use platform::script_tests::{Suite, TestFiles, run_tests};
use platform::state::State;
use runtime::Secrets;
use store::scratch::ScratchDir;
use store::{OpenError, StateStore};
use tokio::sync::{oneshot, watch as latest};

use super::error::CommandError;
use super::folder::{self, ReadError, Tree};
use super::output::print_styled;
use super::stop_signals::StopSignals;
use crate::cli::{DevArgs, ListenAddress};
use crate::data_folder;
use crate::edge::listener::{self, ConnectionLimits};
use crate::edge::{DevApp, Edge, Shutdown};
use crate::node::StartError;
use crate::render::{dev as render, diagnostics, script_tests};
use crate::settings::{DEFAULT_ADDRESS, Settings};
use console::Console;
use platform::executor::threads::{ThreadsError, main_runtime};
use watch::Watch;

/// Folders that are not read.
const EXCLUDED: [&str; 4] = [".git", STATE_FOLDER, "target", "node_modules"];

/// The folder with the state of the app, which stays between two starts.
const STATE_FOLDER: &str = ".picloud";
const STATE_FILE: &str = "state.db";

/// The file with secrets.
const ENV_FILE: &str = ".env";

/// How long a snapshot with errors must be unchanged before it is reported: it can be half of a save.
const ERROR_DEBOUNCE: Duration = Duration::from_millis(60);

/// Serves until SIGTERM or SIGINT.
pub(crate) fn dev(options: &DevArgs) -> Result<(), CommandError> {
    // An unreadable folder at the start is an error; later, it is only reported.
    let first = folder::read(&options.folder, &EXCLUDED, &[])?;
    let folder = options.folder.canonicalize().unwrap_or_else(|_| options.folder.clone());
    let app = options.app.clone().unwrap_or_else(|| folder::app_name(&folder));
    let table = Arc::new(LiveTable::new(MemoryBudget::unbounded()));
    Console::start(Arc::clone(&table), app.clone());
    let threads = main_runtime().map_err(StartError::from)?;
    let result = threads.block_on(async {
        let listener = listen(options.listen.map(|ListenAddress(address)| address))?;
        let address = listener
            .local_addr()
            .map_err(|source| StartError::Listen { address: DEFAULT_ADDRESS, source })?;
        let (store, _scratch) = open_state(&folder).await?;
        table.set_state(State::new(store.clone(), Clock::default(), MemoryBudget::unbounded()));
        print_styled(render::greeting(
            &app,
            &folder,
            address,
            listener::reachable(address),
            options.schedules,
        ))?;
        let settings = Settings::default();
        let (recorder, journal) = Journal::new();
        tokio::spawn(journal.run());
        let histories = ScheduleHistories::default();
        let folder_app =
            DevApp { app: app.clone(), hosts: options.hosts.clone(), histories: histories.clone() };
        let edge = Edge::for_dev(Arc::clone(&table), recorder.clone(), folder_app, settings.bodies);
        let (live_sender, live) = latest::channel(None);
        if options.schedules {
            tokio::spawn(run_schedules(recorder, histories, live));
        }
        let (ready, is_ready) = oneshot::channel();
        let deployer = DevDeployer::new(table, app, Secrets::default());
        let mut reloader = Reloader {
            folder,
            deployer,
            live: live_sender,
            last: None,
            reported: None,
            version: Arc::default(),
        };
        // The thread ends with the process.
        let thread = std::thread::Builder::new().spawn(move || {
            let loaded = reloader.loaded(first);
            reloader.load(loaded, Instant::now(), &mut Watch::new());
            let _ = ready.send(());
            reloader.run();
        });
        thread.map_err(|error| StartError::Threads(ThreadsError(error)))?;
        let _ = is_ready.await;
        let mut signals = StopSignals::new();
        let stop = async move { signals.next().await };
        // Idle connections of browsers are closed at once.
        let bounds = ConnectionLimits { final_request_timeout: Duration::ZERO, ..settings.connections };
        listener::serve(listener, Arc::new(edge), bounds, Arc::new(Shutdown::default()), stop).await;
        store.close().await;
        Ok(())
    });
    threads.shutdown_background();
    result
}

/// Opens the state of the app in its folder, which git ignores. If another server has it open, this one begins with an
/// empty state, which ends with it.
async fn open_state(folder: &Path) -> Result<(StateStore, Option<ScratchDir>), CommandError> {
    let folder = folder.join(STATE_FOLDER);
    data_folder::create(&folder).map_err(StartError::from)?;
    let ignore = folder.join(".gitignore");
    if !ignore.exists() {
        let file_error = |source| OpenError::File { path: ignore.clone(), source };
        std::fs::write(&ignore, "*\n").map_err(file_error).map_err(StartError::from)?;
    }
    match StateStore::open_file(&folder.join(STATE_FILE)).await {
        Err(OpenError::InUse { .. }) => {
            print_styled(render::state_in_use())?;
            let file_error = |source| OpenError::File { path: std::env::temp_dir(), source };
            let scratch = ScratchDir::new().map_err(file_error).map_err(StartError::from)?;
            let store = StateStore::open_file(&scratch.path().join(STATE_FILE)).await;
            Ok((store.map_err(StartError::from)?, Some(scratch)))
        }
        opened => Ok((opened.map_err(StartError::from)?, None)),
    }
}

/// The secrets from the environment and, with lower precedence, from `.env` in the folder, and a warning about the file. Scripts
/// only get the secrets of the manifest.
pub(super) fn secrets(folder: &Path) -> (Secrets, Option<String>) {
    let text =
        |(name, value): (OsString, OsString)| Some((name.into_string().ok()?, value.into_string().ok()?));
    let (mut all, warning) = match read_env_file(&folder.join(ENV_FILE)) {
        Ok(variables) => (variables, None),
        Err(warning) => (BTreeMap::new(), Some(warning)),
    };
    all.extend(std::env::vars_os().filter_map(text));
    (Secrets::new(all.into_iter().filter(|(_, value)| !value.is_empty()).collect()), warning)
}

/// Parses a file of lines such as `NAME=VALUE`; a missing file is empty.
fn read_env_file(path: &Path) -> Result<BTreeMap<String, String>, String> {
    let text = match std::fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(BTreeMap::new()),
        Err(error) => return Err(render::unreadable_env_file(&error.to_string())),
    };
    dotenvy::from_read_iter(text.as_bytes()).collect::<Result<_, _>>().map_err(|error| match error {
        dotenvy::Error::LineParse(line, _) => {
            let number = text.lines().position(|other| other.trim().ends_with(line.trim()));
            render::invalid_env_file(number.map(|number| number + 1))
        }
        error => render::unreadable_env_file(&error.to_string()),
    })
}

/// Binds the requested address, or the default one, or a free port if the default is in use.
fn listen(requested: Option<SocketAddr>) -> Result<tokio::net::TcpListener, StartError> {
    let bind = |address| listener::bind(address).map_err(|source| StartError::Listen { address, source });
    match requested {
        Some(address) => bind(address),
        None => match bind(DEFAULT_ADDRESS) {
            Err(StartError::Listen { source, .. }) if source.kind() == io::ErrorKind::AddrInUse => {
                bind(SocketAddr::new(DEFAULT_ADDRESS.ip(), 0))
            }
            bound => bound,
        },
    }
}

/// Runs the tests of a saved version. `None` without tests.
fn test_report(snapshot: &Snapshot, tests: &TestFiles, folder: &Path) -> Option<String> {
    let (secrets, _) = secrets(folder);
    match Suite::of_folder(snapshot, tests, folder::app_name(folder), &secrets) {
        Ok(suite) if suite.is_empty() => None,
        Ok(suite) => Some(script_tests::report(&run_tests(&suite, None, &RunOptions::default()))),
        Err(errors) => Some(diagnostics::render_styled(&errors, diagnostics::SHOWN_MAX)),
    }
}

/// What was loaded from the folder.
#[derive(PartialEq, Eq)]
struct Loaded {
    snapshot: Snapshot,
    tests: TestFiles,
    env_file: Option<Vec<u8>>,
}

/// Reloads the app when a file is saved.
struct Reloader {
    folder: PathBuf,
    deployer: DevDeployer,
    /// The live app, for the scheduler.
    live: latest::Sender<Option<Arc<Live>>>,
    /// The last snapshot, its files of tests, and the contents of the secrets file.
    last: Option<Loaded>,
    /// The last reported problem of the folder.
    reported: Option<String>,
    /// Counts the versions whose tests ran.
    version: Arc<AtomicU64>,
}

impl Reloader {
    fn run(&mut self) -> ! {
        let mut watch = Watch::new();
        let mut changed = Instant::now();
        loop {
            match folder::read(&self.folder, &EXCLUDED, &[]) {
                Ok(tree) => {
                    if watch.set_folders(&tree.folders) {
                        // New folders can contain files from before the watch.
                        continue;
                    }
                    self.report_once(watch.error().map(render::unwatched));
                    let loaded = self.loaded(tree);
                    if self.last.as_ref() != Some(&loaded) && !self.load(loaded, changed, &mut watch) {
                        changed = watch.wait();
                        continue;
                    }
                }
                Err(error) => {
                    if matches!(error, ReadError::Read { .. }) {
                        watch.clear();
                    }
                    self.last = None;
                    let live = self.deployer.live().is_some();
                    self.report_once(Some(render::unreadable(&error, live)));
                }
            }
            changed = watch.wait();
        }
    }

    /// Loads a snapshot. Returns `false` if files are still changing and nothing was reported.
    fn load(&mut self, loaded: Loaded, changed: Instant, watch: &mut Watch) -> bool {
        let first = self.deployer.live().is_none();
        let (secrets, warning) = secrets(&self.folder);
        self.deployer.set_secrets(secrets);
        let mut is_live = false;
        let text = match self.deployer.update(&loaded.snapshot) {
            SaveOutcome::Live { planned, warnings } => {
                let _ = self.live.send(self.deployer.live());
                is_live = true;
                render::live(first, &planned, &warnings, changed.elapsed())
            }
            SaveOutcome::Rejected(diagnostics) => {
                if !watch.is_quiet_for(ERROR_DEBOUNCE) {
                    return false;
                }
                render::rejected(&diagnostics, !first)
            }
        };
        let _ = print_styled(warning.unwrap_or_default() + text.as_str());
        if is_live {
            self.run_tests(&loaded);
        }
        self.last = Some(loaded);
        true
    }

    /// Runs the tests on a thread, since the next save does not wait for them. Its results replace theirs.
    fn run_tests(&self, loaded: &Loaded) {
        let (snapshot, tests, folder) = (loaded.snapshot.clone(), loaded.tests.clone(), self.folder.clone());
        let version = self.version.fetch_add(1, Ordering::Relaxed) + 1;
        let newest = Arc::clone(&self.version);
        let run = move || {
            let report = test_report(&snapshot, &tests, &folder);
            if let Some(report) = report.filter(|_| newest.load(Ordering::Relaxed) == version) {
                let _ = print_styled(report);
            }
        };
        // Without a thread, the next save can succeed.
        let _ = std::thread::Builder::new().spawn(run);
    }

    fn loaded(&self, tree: Tree) -> Loaded {
        let env_file = std::fs::read(self.folder.join(ENV_FILE)).ok();
        Loaded { snapshot: tree.snapshot, tests: tree.tests, env_file }
    }

    /// Reports a problem of the folder, unless it was the last report.
    fn report_once(&mut self, text: Option<String>) {
        if let Some(text) = &text
            && self.reported.as_ref() != Some(text)
        {
            let _ = print_styled(text);
        }
        self.reported = text;
    }
}
