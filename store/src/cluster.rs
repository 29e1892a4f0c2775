//! What nodes that share a PostgreSQL tell each other: who is there, what changed, and what each of them serves.

use std::time::Duration;

use chrono::{DateTime, Utc};
use manifest_schema::name::AppName;
use sqlx::postgres::PgListener;
use uuid::Uuid;

use crate::column::{Id, Unsigned};
use crate::error::StoreError;
use crate::id::AppId;
use crate::postgres::attempts::attempt;
use crate::postgres::connections::Connections;
use crate::postgres::nodes;
use crate::record::Generation;

/// A node that was not heard of for so long is gone, and is not waited for.
pub const GONE_AFTER: Duration = Duration::from_secs(15);

/// A node that joins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewNode {
    /// Its id: another one for each process.
    pub id: Uuid,
    /// What people call it.
    pub name: String,
    /// What it does: `all`, `manager` or `node`.
    pub role: &'static str,
    /// Its version of PiCloud.
    pub program: String,
    /// Where it listens.
    pub address: String,
}

/// A node that is there.
#[derive(Clone, Debug, PartialEq, Eq, sqlx::FromRow)]
pub struct Node {
    /// Its id.
    #[sqlx(try_from = "Id")]
    pub id: Uuid,
    /// What people call it.
    pub name: String,
    /// What it does: `all`, `manager` or `node`.
    pub role: String,
    /// Its version of PiCloud.
    pub program: String,
    /// Where it listens.
    pub address: String,
    /// When it was started.
    pub started_at: DateTime<Utc>,
    /// When it was heard of.
    pub seen_at: DateTime<Utc>,
    /// Why it is not ready, if it is not.
    pub trouble: Option<String>,
    /// How many apps it serves as the latest push left them.
    #[sqlx(try_from = "Unsigned<u64>")]
    pub current: u64,
    /// How many it does not.
    #[sqlx(try_from = "Unsigned<u64>")]
    pub behind: u64,
    /// When it last took up a push.
    pub since: Option<DateTime<Utc>>,
    /// How far its clock is ahead of the database's, in milliseconds, as it last said.
    pub clock_skew_ms: Option<i64>,
    /// The file system with its data folder, as it last said.
    #[sqlx(flatten, try_from = "nodes::DiskColumns")]
    pub disk: Option<Disk>,
}

/// What a node says of itself every few seconds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Heartbeat {
    /// Why it is not ready, if it is not.
    pub trouble: Option<String>,
    /// The file system with its data folder, where that is known.
    pub disk: Option<Disk>,
}

/// How full a file system is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Disk {
    /// The bytes that can still be written.
    pub free_bytes: u64,
    /// The bytes that it has.
    pub size_bytes: u64,
}

/// A file system is nearly full that has less free than this …
const FREE_BYTES_MIN: u64 = 1 << 30;

/// … and less than this share of what it has.
const FREE_PERCENT_MIN: u64 = 10;

impl Disk {
    /// Whether somebody should make room.
    pub fn is_nearly_full(&self) -> bool {
        self.free_bytes < FREE_BYTES_MIN
            && self.free_bytes.saturating_mul(100) < self.size_bytes.saturating_mul(FREE_PERCENT_MIN)
    }
}

/// An app that a node cannot serve as the latest push left it.
#[derive(Clone, Debug, PartialEq, Eq, sqlx::FromRow)]
pub struct NotServed {
    /// The name of the node.
    pub node: String,
    /// The name of the app.
    pub app: String,
    /// Why.
    pub fault: String,
}

/// How far a node is with one app.
#[derive(Clone, Debug, PartialEq, Eq, sqlx::FromRow)]
pub struct Serving {
    /// The node.
    #[sqlx(try_from = "Id")]
    pub node: Uuid,
    /// What people call it.
    pub name: String,
    /// Whether it has taken up the generation that was asked for, or one that came after it.
    pub there: bool,
    /// Why it cannot serve what it has taken up, if it cannot.
    pub fault: Option<String>,
}

/// That a node has taken up a generation of an app.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TakenUp {
    /// The app.
    pub app: AppId,
    /// The generation.
    pub generation: Generation,
    /// Why it cannot be served, if it cannot.
    pub fault: Option<String>,
}

/// What is heard from the database.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum News {
    /// An app was pushed to.
    App {
        /// The app.
        name: AppName,
        /// The node that it was pushed to, where that is known.
        node: Option<Uuid>,
    },
    /// A node has taken something up.
    TakenUp,
    /// Anything may have changed: the connection was lost and is there again, or everything was replaced.
    Anything,
}

/// The nodes that share a PostgreSQL.
#[derive(Clone, Debug)]
pub struct Cluster(pub(crate) Connections);

impl Cluster {
    /// Makes the node one of them. One of its name that was there before is taken for its earlier process, and for gone.
    ///
    /// # Errors
    /// The database failed.
    pub async fn join(&self, node: &NewNode) -> Result<(), StoreError> {
        attempt!(nodes::replace(&self.0, node))?;
        attempt!(nodes::join(&self.0, node))
    }

    /// Makes the node one of them again, whether it still is or not, and leaves the others alone.
    ///
    /// # Errors
    /// The database failed.
    pub async fn rejoin(&self, node: &NewNode) -> Result<(), StoreError> {
        attempt!(nodes::join(&self.0, node))
    }

    /// Says that the node is there and how it is; deletes those that are gone. Returns what the database's clock shows; `None`:
    /// the node was taken for gone itself and has to join again.
    ///
    /// # Errors
    /// The database failed.
    pub async fn beat(&self, node: Uuid, heartbeat: &Heartbeat) -> Result<Option<DateTime<Utc>>, StoreError> {
        attempt!(nodes::beat(&self.0, node, heartbeat))
    }

    /// Says goodbye.
    ///
    /// # Errors
    /// The database failed.
    pub async fn leave(&self, node: Uuid) -> Result<(), StoreError> {
        attempt!(nodes::leave(&self.0, node))
    }

    /// Says what the node has taken up, and tells whoever waits for it. `sequence` grows with each time that it does.
    ///
    /// # Errors
    /// The database failed.
    pub async fn take_up(&self, node: Uuid, sequence: u64, taken: &[TakenUp]) -> Result<(), StoreError> {
        attempt!(nodes::take_up(&self.0, node, sequence, taken))
    }

    /// All nodes that are not gone, by name.
    ///
    /// # Errors
    /// The database failed.
    pub async fn nodes(&self) -> Result<Vec<Node>, StoreError> {
        attempt!(nodes::nodes(&self.0))
    }

    /// See [`Store::all_notice_deletions`](crate::Store::all_notice_deletions).
    pub(crate) async fn all_notice_deletions(&self) -> Result<bool, StoreError> {
        attempt!(nodes::all_notice_deletions(&self.0))
    }

    /// The apps that nodes cannot serve, by node and app: at most `limit`.
    ///
    /// # Errors
    /// The database failed.
    pub async fn not_served(&self, limit: u32) -> Result<Vec<NotServed>, StoreError> {
        attempt!(nodes::not_served(&self.0, limit))
    }

    /// Which nodes have taken up a generation of an app, by the nodes' names. One of a database that was set back since is
    /// nobody's any more.
    ///
    /// # Errors
    /// The database failed.
    pub async fn serving(&self, app: AppId, generation: Generation) -> Result<Vec<Serving>, StoreError> {
        attempt!(nodes::serving(&self.0, app, generation))
    }

    /// A connection that hears the news.
    ///
    /// # Errors
    /// The database failed.
    pub async fn listen(&self) -> Result<Listener, StoreError> {
        let mut listener = self.0.listener().await?;
        listener.listen_all([nodes::APPS, nodes::TAKEN_UP]).await?;
        Ok(Listener(listener))
    }
}

/// A connection that hears the news. What is said while it is lost is not heard: [`News::Anything`] tells of that.
#[derive(Debug)]
pub struct Listener(PgListener);

impl Listener {
    /// Waits for the next news.
    ///
    /// # Errors
    /// The connection is lost and cannot be had again now. Asked once more, it is tried once more.
    pub async fn next(&mut self) -> Result<News, StoreError> {
        // `None`: the connection is lost; it is made anew by the next call, but news may have been missed from here on.
        let Some(heard) = self.0.try_recv().await? else { return Ok(News::Anything) };
        if heard.channel() == nodes::TAKEN_UP {
            return Ok(News::TakenUp);
        }
        let (name, node) = heard.payload().split_once(' ').unwrap_or((heard.payload(), ""));
        let app = |name| News::App { name, node: Uuid::try_parse(node).ok() };
        Ok(AppName::new(name).map_or(News::Anything, app))
    }
}
