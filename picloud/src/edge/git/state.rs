//! What serves repositories: where pushes go, and what they may take.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use manifest_schema::name::AppName;
use platform::apps::Apps;
use platform::deploy::Deployer;
use platform::memory::MemoryBudget;
use platform::repository::AppId;

use crate::edge::credentials::Door;
use crate::edge::pace::MinRate;
use crate::numbers::Numbers;
use platform::executor::threads::PushThreads;
use platform::executor::turns::Turns;

/// How many pushes can be arriving or waiting for their turn at once, each in a file of its own, and how many of one app.
const ARRIVING_MAX: usize = 256;
const ARRIVING_OF_APP_MAX: usize = 224;

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
    /// Which pushes arrive or wait.
    pub(super) arriving: Turns<AppName>,
    /// Which pushes are worked on.
    pub(super) turns: Turns<AppName>,
    /// Which fetches read.
    pub(super) fetches: Turns<AppId>,
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
        Self {
            apps,
            deployer,
            door,
            pushes,
            arriving: Turns::new(ARRIVING_MAX, ARRIVING_OF_APP_MAX),
            // One is left to others, where there are several.
            turns: Turns::new(at_once, at_once.saturating_sub(1).max(1)),
            fetches: Turns::new(READS_MAX, READS_OF_APP_MAX),
            memory,
            min_rate,
        }
    }

    /// How many pushes arrive or wait for their turn, and how many are worked on.
    pub(crate) fn queue(&self) -> (usize, usize) {
        (self.arriving.taken(), self.turns.taken())
    }
}
