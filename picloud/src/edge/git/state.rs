//! What serves repositories: where pushes go, and what they may take.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use platform::apps::Apps;
use platform::deploy::Deployer;
use platform::memory::MemoryBudget;
use platform::repository::AppId;

use crate::edge::credentials::Door;
use crate::edge::pace::MinRate;
use crate::numbers::Numbers;
use platform::executor::fair_turns::FairTurns;
use platform::executor::places::{PlaceBounds, Places};
use platform::executor::threads::BackgroundThreads;
use platform::executor::turns::Turns;
use tokio::sync::Semaphore;

/// How many pushes can be arriving, waiting for their turn or be worked on at once. Where they are more, who has most gives way.
const PUSHES_MAX: usize = 256;

/// How many of the largest pushes have room in the data folder at once, and how many of one app. Most are much smaller.
const LARGE_PUSHES_MAX: u64 = 16;
const LARGE_PUSHES_OF_APP_MAX: u64 = 8;

/// How many fetches are answered at once, those that wait for their clients among them; where they are more, who has most gives way.
const FETCHES_MAX: usize = 128;

/// How many pushes that have no place are read to their end at once, so that they can be refused in git's way.
const REFUSED_MAX: usize = 64;

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

impl PushBounds {
    /// The most bytes of a request: a pack, and what stands before it.
    pub(super) fn request_max(&self) -> u64 {
        self.limits.request_bytes.saturating_add(self.limits.head_bytes as u64)
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
    pub(crate) threads: Arc<BackgroundThreads>,
    /// And fetches.
    pub(crate) fetch_threads: Arc<BackgroundThreads>,
}

/// Serves repositories.
#[derive(Clone)]
pub(crate) struct GitEdge {
    pub(super) apps: Apps,
    pub(super) deployer: Deployer,
    pub(super) door: Door,
    pub(super) pushes: Pushes,
    /// Which pushes arrive, wait or are worked on.
    pub(super) arriving: Places,
    /// Those that have no place and are told so.
    pub(super) refusing: Arc<Semaphore>,
    /// Which pushes are worked on.
    pub(super) turns: FairTurns,
    /// Which fetches are answered.
    pub(super) fetching: Places,
    /// Which of them read.
    pub(super) reads: Turns<AppId>,
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
        let at_once = pushes.bounds.at_once;
        let push_bytes = pushes.bounds.request_max();
        Self {
            apps,
            deployer,
            door,
            pushes,
            arriving: Places::new(PlaceBounds {
                places: PUSHES_MAX,
                app_places: PUSHES_MAX,
                bytes: push_bytes.saturating_mul(LARGE_PUSHES_MAX),
                app_bytes: push_bytes.saturating_mul(LARGE_PUSHES_OF_APP_MAX),
            }),
            refusing: Arc::new(Semaphore::new(REFUSED_MAX)),
            // One is left to others, where there are several.
            turns: FairTurns::new(at_once, at_once.saturating_sub(1).max(1)),
            fetching: Places::new(PlaceBounds {
                places: FETCHES_MAX,
                app_places: FETCHES_MAX,
                bytes: 0,
                app_bytes: 0,
            }),
            reads: Turns::new(READS_MAX, READS_OF_APP_MAX),
            memory,
            min_rate,
        }
    }

    /// How many pushes arrive or wait for their turn, and how many are worked on.
    pub(crate) fn queue(&self) -> (usize, usize) {
        let working = self.turns.taken();
        (self.arriving.taken().saturating_sub(working), working)
    }
}
