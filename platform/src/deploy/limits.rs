//! The bounds of what is deployed that are the same for all apps.

use git_receiver::TreeLimits;

/// The most that a deploy can hold of any app. What each app is granted is in [`crate::limits`].
#[derive(Clone, Debug)]
pub struct DeployLimits {
    /// The tree of a commit that is served.
    pub tree: TreeLimits,
    /// The branches and tags of one app.
    pub refs: usize,
}

impl Default for DeployLimits {
    fn default() -> Self {
        Self { tree: TreeLimits::default(), refs: 1000 }
    }
}
