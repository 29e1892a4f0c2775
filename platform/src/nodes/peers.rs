//! What a push wants to know of the other nodes: whether they serve it.

use std::time::Duration;

use manifest_schema::name::AppName;
use store::cluster::{Cluster, Serving};
use store::{App, StoreError};
use tokio::time::{Instant, sleep_until, timeout_at};
use uuid::Uuid;

use super::OwnAct;
use super::membership::Presence;

/// How long a push waits for the word of all nodes.
const WAIT_MAX: Duration = Duration::from_secs(5);

/// The same where the database answers and was away: nodes notice its return within seconds, and are waited for.
const RETURN_WAIT_MAX: Duration = Duration::from_secs(15);

/// How often the nodes' words are looked up while none is heard.
const LOOK: Duration = Duration::from_millis(500);

/// The nodes, as one of them asks for them.
#[derive(Clone, Debug)]
pub struct Peers {
    cluster: Cluster,
    presence: Presence,
    /// The node that asks.
    pub(crate) node: Uuid,
}

/// How far a push has come.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reach {
    /// How many nodes serve it.
    pub live: usize,
    /// The nodes that do not.
    pub lagging: Vec<Lagging>,
    /// The database went away before the nodes could be asked.
    pub unknown: bool,
}

/// A node that does not serve a push.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lagging {
    /// The node's name.
    pub node: String,
    /// Why it cannot; `None`: it has not said anything in time.
    pub fault: Option<String>,
}

impl Reach {
    /// How many nodes there are.
    pub fn nodes(&self) -> usize {
        self.live + self.lagging.len()
    }
}

impl Peers {
    /// The nodes of the cluster, heard of through the membership of `node`.
    pub fn new(cluster: Cluster, presence: Presence, node: Uuid) -> Self {
        Self { cluster, presence, node }
    }

    /// An act of this node on the app begins, which serves here what comes of it.
    pub(crate) fn begin_act(&self, app: &AppName) -> OwnAct {
        self.presence.own_acts.begin(app)
    }

    /// Waits until every node has said that it serves the app as a push has just left it, or that it cannot; but not for long.
    pub(crate) async fn wait_for(&self, app: &App) -> Reach {
        let began = Instant::now();
        let mut give_up = began + WAIT_MAX;
        let mut heard = self.presence.heard.clone();
        let mut reach = Reach { unknown: true, ..Reach::default() };
        loop {
            heard.borrow_and_update();
            match timeout_at(give_up, self.reach(app)).await {
                Ok(Ok((found, waits))) => {
                    let settled = self.presence.is_settled();
                    reach = Reach { unknown: !settled, ..found };
                    if settled && !waits {
                        return reach;
                    }
                    if !settled {
                        give_up = began + RETURN_WAIT_MAX;
                    }
                }
                Ok(Err(error)) if Instant::now() < give_up => {
                    tracing::warn!(app = %app.name, %error, "cannot ask how far other nodes are");
                }
                Ok(Err(_)) | Err(_) => return reach,
            }
            let look = (Instant::now() + LOOK).min(give_up);
            tokio::select! {
                changed = heard.changed() => if changed.is_err() { sleep_until(look).await },
                () = sleep_until(look) => {}
            }
            if Instant::now() >= give_up {
                return reach;
            }
        }
    }

    /// How far the push is, and whether there is somebody to wait for.
    async fn reach(&self, app: &App) -> Result<(Reach, bool), StoreError> {
        let serving = self.cluster.serving(app.id, app.generation).await?;
        let mut reach = Reach::default();
        let mut waits = false;
        for Serving { name, there, fault, .. } in serving {
            match (there, fault) {
                (true, None) => reach.live += 1,
                (true, fault) => reach.lagging.push(Lagging { node: name, fault }),
                (false, _) => {
                    waits = true;
                    reach.lagging.push(Lagging { node: name, fault: None });
                }
            }
        }
        Ok((reach, waits))
    }
}
