//! What the server grants to what is deployed.

use git_receiver::TreeLimits;
use manifest_schema::limits::Limits;

/// The most that a deploy may hold.
#[derive(Clone, Debug)]
pub struct DeployLimits {
    /// What a manifest may ask for its executions.
    pub executions: Limits,
    /// The tree of a commit that is served.
    pub tree: TreeLimits,
    /// The branches and tags of one app.
    pub refs: usize,
    /// The server's own domain: no app has it or a name below it as one of its own.
    pub domain: Option<String>,
}

impl Default for DeployLimits {
    fn default() -> Self {
        Self { executions: Limits::CEILING, tree: TreeLimits::default(), refs: 1000, domain: None }
    }
}
