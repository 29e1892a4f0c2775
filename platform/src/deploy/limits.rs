//! The limits of deploys that are the same for all apps.

use git_receiver::TreeLimits;

/// The limits of a deploy. The limits per app are in [`crate::limits`].
#[derive(Clone, Debug)]
pub struct DeployLimits {
    /// The limits of a served commit's tree.
    pub tree: TreeLimits,
    /// The maximum number of branches and tags of an app.
    pub refs: usize,
}

impl Default for DeployLimits {
    fn default() -> Self {
        Self { tree: TreeLimits::default(), refs: 1000 }
    }
}
