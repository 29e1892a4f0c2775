//! What the commands of a push come to, on their way through the rules.

use git_receiver::Command;

/// What one command comes to.
pub(crate) struct Order {
    pub(crate) command: Command,
    /// Why it is refused, as soon as that is known.
    pub(crate) refused: Option<String>,
    pub(crate) course: Course,
}

/// How a command is carried out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Course {
    /// Its ref is moved.
    Move,
    /// Its ref stands for that of another command, the one at this place, which moves both.
    Follow(usize),
    /// There is nothing to delete, as the client saw too.
    Nothing,
}
