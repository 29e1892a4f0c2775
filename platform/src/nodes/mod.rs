//! Nodes that share a PostgreSQL: each hears of what others were pushed, and says what it serves.
//!
//! - [`membership`]: a node's own part, for as long as it runs
//! - `own_acts`: what this node does itself, and so does not follow the news of
//! - [`peers`]: what a push wants to know of the others
//! - [`roster`]: which there are
//!
//! PostgreSQL carries the news (LISTEN and NOTIFY). What is missed while a connection is lost is found by comparing the
//! generations of all apps, when it is there again and every 20 seconds. They are compared for being the same, not for
//! being newer: a database that was set back is right all the same.

mod membership;
mod own_acts;
mod peers;
mod roster;

pub use membership::{Membership, Presence};
pub(crate) use own_acts::OwnAct;
pub use peers::{Lagging, Peers, Reach};
pub use roster::{Disk, Node, Role, Roster, ThisNode};
pub use store::NodeIdentity;
