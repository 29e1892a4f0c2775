//! What serves repositories: where pushes go, and what they may take.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use platform::apps::Apps;
use platform::deploy::Deployer;
use platform::memory::MemoryBudget;
use platform::repository::ReadTurns;
use tokio::sync::Semaphore;

use crate::edge::credentials::Door;
use crate::edge::pace::MinRate;
use crate::numbers::Numbers;
use platform::executor::threads::PushThreads;

/// How many pushes may be arriving or waiting for their turn at once, each in a file of its own.
const ARRIVING_MAX: usize = 256;

/// How many fetches read at once, and of one app: SQLite has four connections that read. Those that wait for their clients do not count.
const READS_MAX: usize = 3;
const READS_OF_APP_MAX: usize = 2;

/// What pushes may take.
#[derive(Clone, Debug)]
pub(crate) struct PushBounds {
    /// What one may hold.
    pub(crate) limits: git_receiver::Limits,
    /// How long one may take to arrive.
    pub(crate) time: Duration,
    /// How many are unpacked at once; each may hold a whole pack in memory.
    pub(crate) at_once: usize,
}

impl Default for PushBounds {
    fn default() -> Self {
        Self { limits: git_receiver::Limits::default(), time: Duration::from_secs(300), at_once: 4 }
    }
}

/// How pushes are taken in.
#[derive(Clone, Debug)]
pub(crate) struct Pushes {
    /// What they may take.
    pub(crate) bounds: PushBounds,
    /// The folder in which large ones wait until they are whole.
    pub(crate) spool: PathBuf,
    /// Whether the first push to a name creates the app.
    pub(crate) create_apps: bool,
    /// Where they are counted.
    pub(crate) numbers: Arc<Numbers>,
    /// Where they are worked on.
    pub(crate) threads: Arc<PushThreads>,
}

/// Serves repositories.
#[derive(Clone)]
pub(crate) struct GitEdge {
    pub(super) apps: Apps,
    pub(super) deployer: Deployer,
    pub(super) door: Door,
    pub(super) pushes: Pushes,
    pub(super) arriving: Arc<Semaphore>,
    pub(super) places: Arc<Semaphore>,
    /// Which fetches read.
    pub(super) fetches: ReadTurns,
    /// The memory that the apps share.
    pub(super) memory: MemoryBudget,
    /// The least rate of a client.
    pub(super) min_rate: MinRate,
}

impl GitEdge {
    pub(crate) fn new(
        apps: Apps,
        deployer: Deployer,
        door: Door,
        pushes: Pushes,
        memory: MemoryBudget,
        min_rate: MinRate,
    ) -> Self {
        let places = Arc::new(Semaphore::new(pushes.bounds.at_once));
        let arriving = Arc::new(Semaphore::new(ARRIVING_MAX));
        let fetches = ReadTurns::new(READS_MAX, READS_OF_APP_MAX);
        Self { apps, deployer, door, pushes, arriving, places, fetches, memory, min_rate }
    }

    /// How many pushes arrive or wait for their turn, and how many are worked on.
    pub(crate) fn queue(&self) -> (usize, usize) {
        let arriving = ARRIVING_MAX.saturating_sub(self.arriving.available_permits());
        (arriving, self.pushes.bounds.at_once.saturating_sub(self.places.available_permits()))
    }
}
