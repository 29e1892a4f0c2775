//! The git service: its limits, and the slots of pushes and fetches.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use platform::apps::Apps;
use platform::deploy::Deployer;
use platform::memory::MemoryBudget;
use platform::repository::AppId;

use crate::edge::authenticator::Authenticator;
use crate::edge::min_rate::MinRate;
use crate::metrics::EdgeMetrics;
use platform::executor::app_semaphores::AppSemaphores;
use platform::executor::evictable_slots::{EvictableSlots, SlotLimits};
use platform::executor::fair_semaphore::FairSemaphore;
use platform::executor::threads::BackgroundRuntime;
use tokio::sync::Semaphore;

/// The maximum number of pushes that are received, queued or running. Beyond it, a push of the largest holder is evicted.
const PUSHES_MAX: usize = 256;

/// The spool space, as a number of pushes of maximum size: of all apps and of one. Most pushes are much smaller.
const LARGE_PUSHES_MAX: u64 = 16;
const LARGE_PUSHES_OF_APP_MAX: u64 = 8;

/// The maximum number of fetches, including those that wait for their client. Beyond it, a fetch of the largest holder is evicted.
const FETCHES_MAX: usize = 128;

/// The maximum number of pushes beyond the limits that are read and discarded at once, to reject them in git's protocol.
const REJECTED_MAX: usize = 64;

/// The maximum number of fetches that read from the database, of all apps and of one: SQLite has four read connections. A fetch that waits for
/// its client does not count.
const READS_MAX: usize = 3;
const READS_OF_APP_MAX: usize = 2;

/// The limits of pushes.
#[derive(Clone, Debug)]
pub(crate) struct PushLimits {
    /// The limits of the pack and its objects.
    pub(crate) limits: git_receiver::Limits,
    /// The maximum time to receive a push.
    pub(crate) timeout: Duration,
    /// How many pushes are unpacked at once; each can hold a whole pack in memory.
    pub(crate) max_concurrent: usize,
}

impl Default for PushLimits {
    fn default() -> Self {
        Self { limits: git_receiver::Limits::default(), timeout: Duration::from_secs(300), max_concurrent: 4 }
    }
}

impl PushLimits {
    /// The maximum size of a request: the commands and the pack.
    pub(super) fn request_bytes_max(&self) -> u64 {
        self.limits.request_bytes.saturating_add(self.limits.head_bytes as u64)
    }
}

/// The configuration of pushes and fetches.
#[derive(Clone, Debug)]
pub(crate) struct PushConfig {
    /// The limits of pushes.
    pub(crate) limits: PushLimits,
    /// The directory of spool files.
    pub(crate) spool_dir: PathBuf,
    /// Whether the first push to a name creates the app.
    pub(crate) create_apps: bool,
    pub(crate) numbers: Arc<EdgeMetrics>,
    /// The threads that run pushes.
    pub(crate) threads: Arc<BackgroundRuntime>,
    /// The threads that run fetches.
    pub(crate) fetch_threads: Arc<BackgroundRuntime>,
}

/// Serves repositories. Cheap to clone.
#[derive(Clone)]
pub(crate) struct GitService {
    pub(super) apps: Apps,
    pub(super) deployer: Deployer,
    pub(super) authenticator: Authenticator,
    pub(super) config: PushConfig,
    /// The slots of pushes that are received, queued or running.
    pub(super) push_slots: EvictableSlots,
    /// The permits of pushes that are read only to reject them.
    pub(super) rejecting: Arc<Semaphore>,
    /// The permits of running pushes.
    pub(super) push_permits: FairSemaphore,
    /// The slots of fetches.
    pub(super) fetch_slots: EvictableSlots,
    /// The permits of fetches that read from the database.
    pub(super) read_permits: AppSemaphores<AppId>,
    /// The memory budget of all apps.
    pub(super) memory: MemoryBudget,
    /// The minimum rate of clients.
    pub(super) min_rate: MinRate,
}

impl GitService {
    pub(crate) fn new(
        apps: Apps,
        deployer: Deployer,
        authenticator: Authenticator,
        config: PushConfig,
        memory: MemoryBudget,
        min_rate: MinRate,
    ) -> Self {
        let max_concurrent = config.limits.max_concurrent;
        let push_bytes = config.limits.request_bytes_max();
        Self {
            apps,
            deployer,
            authenticator,
            config,
            push_slots: EvictableSlots::new(SlotLimits {
                slots: PUSHES_MAX,
                app_slots: PUSHES_MAX,
                bytes: push_bytes.saturating_mul(LARGE_PUSHES_MAX),
                app_bytes: push_bytes.saturating_mul(LARGE_PUSHES_OF_APP_MAX),
            }),
            rejecting: Arc::new(Semaphore::new(REJECTED_MAX)),
            // With several, one holder leaves at least one to the others.
            push_permits: FairSemaphore::new(max_concurrent, max_concurrent.saturating_sub(1).max(1)),
            fetch_slots: EvictableSlots::new(SlotLimits {
                slots: FETCHES_MAX,
                app_slots: FETCHES_MAX,
                bytes: 0,
                app_bytes: 0,
            }),
            read_permits: AppSemaphores::new(READS_MAX, READS_OF_APP_MAX),
            memory,
            min_rate,
        }
    }

    /// The number of waiting (received or queued) and of running pushes.
    pub(crate) fn pushes_in_progress(&self) -> (usize, usize) {
        let running = self.push_permits.in_use();
        (self.push_slots.in_use().saturating_sub(running), running)
    }
}
