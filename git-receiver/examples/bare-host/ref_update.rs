//! The state of a command while a push is applied.

use git_receiver::Command;

/// One ref update.
pub(crate) struct RefUpdate {
    pub(crate) command: Command,
    /// Why it is rejected, once that is known.
    pub(crate) error: Option<String>,
    pub(crate) action: Action,
}

/// How an update is applied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Action {
    /// The ref is updated.
    Update,
    /// A symbolic ref, which is updated with its target, the update at this index.
    WithTarget(usize),
    /// The ref to delete does not exist, as the client expected.
    Noop,
}
