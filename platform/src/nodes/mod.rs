//! Nodes that share a PostgreSQL: each applies the changes of the others and acknowledges what it serves.
//!
//! - [`heartbeat`]: the node as a cluster member: heartbeats, notifications, acknowledgements
//! - `local_changes`: running changes of this node, whose notifications it ignores
//! - [`propagation`]: waits until a push is applied by the other nodes
//! - [`node_list`]: the nodes of the cluster
//!
//! PostgreSQL carries the notifications (LISTEN and NOTIFY). Notifications missed during a disconnect are
//! recovered by comparing the generations of all apps, on reconnect and every 20 seconds. Generations are
//! compared for equality, not for order, so that a restored database works too.

mod heartbeat;
mod local_changes;
mod node_list;
mod propagation;

pub use heartbeat::{ClusterMember, ClusterState};
pub(crate) use local_changes::LocalChange;
pub use node_list::{Disk, LocalNode, Node, NodeList, Role};
pub use propagation::{Peers, Propagation, StaleNode};
pub use store::NodeIdentity;
