//! A node's own part: it is there, takes up what was pushed anywhere, and says so.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use manifest_schema::name::AppName;
use store::StoreError;
use store::cluster::{self, Cluster, Heartbeat, NewNode, News};
use tokio::sync::watch;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep, timeout};

use super::own_acts::OwnActs;
use crate::activation::{Activation, SYNC_MAX, TakenUp};
use crate::clock::Clock;
use crate::disk;

/// How often a node says that it is there. Twice it may fail before the others take it for gone.
const BEAT: Duration = Duration::from_secs(5);

/// How often everything is compared, in case that news were lost, or that the tables were replaced without any.
const POLL: Duration = Duration::from_secs(20);

/// How long the database may take to answer before it is taken for away.
const ANSWER_MAX: Duration = Duration::from_secs(5);

/// How long a node waits before it tries to reach a database that is away once more: at first, and at most.
const AWAY_MIN: Duration = Duration::from_millis(200);
const AWAY_MAX: Duration = Duration::from_secs(2);

/// How long after its return every node has noticed it, and is one of the others again.
const SETTLED_AFTER: Duration = Duration::from_secs(4);

/// Whether the database can be reached, as far as a node knows, and that others said something.
#[derive(Clone, Debug)]
pub struct Presence {
    away: watch::Receiver<Option<Instant>>,
    returned: watch::Receiver<Option<Instant>>,
    pub(super) heard: watch::Receiver<()>,
    pub(super) own_acts: OwnActs,
}

impl Presence {
    /// For how long the database has been away, if it is.
    pub fn away_for(&self) -> Option<Duration> {
        self.away.borrow().map(|since| since.elapsed())
    }

    /// Whether the nodes that the database knows are all that there are. While it is away it hears of none, and takes those for
    /// gone that have not noticed its return.
    pub(super) fn is_settled(&self) -> bool {
        self.away.borrow().is_none()
            && self.returned.borrow().is_none_or(|returned| returned.elapsed() >= SETTLED_AFTER)
    }
}

/// A node's part in the cluster, for as long as it runs.
#[derive(Debug)]
pub struct Membership {
    cluster: Cluster,
    node: NewNode,
    activation: Activation,
    clock: Clock,
    data_dir: PathBuf,
    away: watch::Sender<Option<Instant>>,
    returned: watch::Sender<Option<Instant>>,
    heard: watch::Sender<()>,
    own_acts: OwnActs,
    /// How often something was said.
    sequence: AtomicU64,
}

/// What was said of apps, as it is believed to stand in the database.
type Said = BTreeMap<AppName, TakenUp>;

impl Membership {
    /// The part of `node`, which takes up through `activation` what was pushed, tells `clock` what the database's shows, and keeps
    /// its files in `data_dir`.
    pub fn new(
        cluster: Cluster,
        node: NewNode,
        activation: Activation,
        clock: Clock,
        data_dir: PathBuf,
    ) -> Self {
        let (away, returned) = (watch::Sender::new(None), watch::Sender::new(None));
        let (heard, own_acts) = (watch::Sender::new(()), OwnActs::default());
        let sequence = AtomicU64::new(0);
        Self { cluster, node, activation, clock, data_dir, away, returned, heard, own_acts, sequence }
    }

    /// What is known from hearing the others.
    pub fn presence(&self) -> Presence {
        let own_acts = self.own_acts.clone();
        let (away, returned) = (self.away.subscribe(), self.returned.subscribe());
        Presence { away, returned, heard: self.heard.subscribe(), own_acts }
    }

    /// Makes the node known, before it answers anything.
    ///
    /// # Errors
    /// The database failed.
    pub async fn join(&self) -> Result<(), StoreError> {
        self.cluster.join(&self.node).await?;
        self.say(&mut Said::new()).await
    }

    /// Takes part until the future is dropped. While the database is away it is tried again and again.
    pub async fn run(self) -> Infallible {
        let mut pause = AWAY_MIN;
        loop {
            let Err(error) = self.take_part().await;
            let first = self.away.send_if_modified(|away| {
                let first = away.is_none();
                away.get_or_insert_with(Instant::now);
                first
            });
            if first {
                tracing::warn!(%error, "the database is away; apps go on from memory, and pushes have to wait");
                pause = AWAY_MIN;
            }
            sleep(pause).await;
            pause = (pause * 2).min(AWAY_MAX);
        }
    }

    /// Takes part until the database fails.
    async fn take_part(&self) -> Result<Infallible, StoreError> {
        let mut listener = within(ANSWER_MAX, self.cluster.listen()).await?;
        let mut changes = self.activation.changes();
        let mut said = Said::new();
        self.begin_anew(&mut said).await?;
        self.say(&mut said).await?;
        if self.away.borrow().is_some() {
            self.returned.send_replace(Some(Instant::now()));
        }
        if let Some(since) = self.away.send_replace(None) {
            tracing::info!(after = ?since.elapsed(), "the database is there again");
        }
        let mut beat = interval(BEAT);
        beat.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut poll = interval(POLL);
        poll.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                news = listener.next() => within(SYNC_MAX, self.hear(news?, &mut said)).await?,
                _ = changes.changed() => {}
                _ = beat.tick() => {
                    let heartbeat = Heartbeat {
                        trouble: self.activation.trouble(),
                        disk: disk::of(&self.data_dir).await,
                    };
                    match within(ANSWER_MAX, self.cluster.beat(self.node.id, &heartbeat)).await? {
                        Some(shown) => self.clock.database_says(shown),
                        // Taken for gone by the others, or never there: the tables may be those of another time.
                        None => self.begin_anew(&mut said).await?,
                    }
                    for name in self.own_acts.take_unread() {
                        within(SYNC_MAX, self.activation.sync_named(&name)).await?;
                    }
                }
                _ = poll.tick() => within(SYNC_MAX, self.activation.sync_all()).await?,
            }
            self.say(&mut said).await?;
        }
    }

    /// Joins, takes up everything that is not as the database says, and holds nothing to have been said: the database may
    /// have been set back to a time at which it was not.
    async fn begin_anew(&self, said: &mut Said) -> Result<(), StoreError> {
        said.clear();
        within(ANSWER_MAX, self.cluster.rejoin(&self.node)).await?;
        within(SYNC_MAX, self.activation.sync_all()).await
    }

    async fn hear(&self, news: News, said: &mut Said) -> Result<(), StoreError> {
        match news {
            // What this node is just pushed itself, it is about to serve.
            News::App { name, node } if node == Some(self.node.id) && self.own_acts.is_under_way(&name) => {
                Ok(())
            }
            News::App { name, .. } => self.activation.sync_named(&name).await,
            News::Anything => self.begin_anew(said).await,
            News::TakenUp => {
                self.heard.send_replace(());
                Ok(())
            }
        }
    }

    /// Says what was taken up and has not been said.
    async fn say(&self, said: &mut Said) -> Result<(), StoreError> {
        let taken = self.activation.taken_up();
        let unsaid: Vec<cluster::TakenUp> = taken
            .iter()
            .filter(|(name, taken)| said.get(*name) != Some(taken))
            .map(|(_, taken)| cluster::TakenUp {
                app: taken.app,
                generation: taken.generation,
                fault: taken.fault.clone(),
            })
            .collect();
        if !unsaid.is_empty() {
            let sequence = self.sequence.fetch_add(1, Ordering::Relaxed) + 1;
            within(ANSWER_MAX, self.cluster.take_up(self.node.id, sequence, &unsaid)).await?;
            *said = taken;
        }
        Ok(())
    }
}

/// A database whose machine is gone does not even say no.
async fn within<T>(
    time: Duration,
    asked: impl Future<Output = Result<T, StoreError>>,
) -> Result<T, StoreError> {
    timeout(time, asked).await.unwrap_or(Err(StoreError::Silent(time)))
}
