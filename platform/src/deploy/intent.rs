//! What each command of a push requests.

use git_receiver::{CheckedCommand, ObjectId};

use super::report::Rejection;
use crate::repository::DEPLOY_REFS;
use crate::tokens::Right;

/// The ref that validates a commit and stores nothing; never advertised.
pub const CHECK_REF: &str = "refs/picloud/check";

/// The request of one command.
#[derive(Clone, Debug)]
pub(super) enum Intent {
    /// Serve the commit as production.
    Production { branch: String, commit: ObjectId },
    /// Serve the commit at the branch's own host name.
    Preview { branch: String, commit: ObjectId },
    /// Create or update a tag.
    UpdateTag,
    /// Delete the branch of a preview.
    DeletePreview,
    /// Delete a tag.
    DeleteTag,
    /// Report whether the commit would be accepted.
    Check { commit: ObjectId },
}

impl Intent {
    /// The right that the pusher needs.
    pub(super) fn required_right(&self) -> Right {
        match self {
            Self::Production { .. } | Self::UpdateTag | Self::DeleteTag => Right::DeployProduction,
            Self::Preview { .. } | Self::DeletePreview | Self::Check { .. } => Right::DeployPreviews,
        }
    }
}

/// Interprets a command to an app whose production branch is `production`.
pub(super) fn parse(checked: &CheckedCommand, production: &str) -> Result<Intent, Rejection> {
    let CheckedCommand { command, result } = checked;
    result.as_ref().map_err(|error| Rejection::Git(error.clone()))?;
    let name = command.name.as_str();
    if name == CHECK_REF {
        return match command.new {
            Some(commit) => Ok(Intent::Check { commit }),
            None => Err(Rejection::UnsupportedRef),
        };
    }
    if name.starts_with(DEPLOY_REFS) {
        return Err(Rejection::ReservedRef);
    }
    if let Some(branch) = name.strip_prefix("refs/heads/") {
        let branch = branch.to_owned();
        return match command.new {
            None if branch == production => Err(Rejection::ProductionBranch),
            None => Ok(Intent::DeletePreview),
            Some(commit) if branch == production => Ok(Intent::Production { branch, commit }),
            Some(commit) => Ok(Intent::Preview { branch, commit }),
        };
    }
    if name.starts_with("refs/tags/") {
        return Ok(if command.new.is_some() { Intent::UpdateTag } else { Intent::DeleteTag });
    }
    Err(Rejection::UnsupportedRef)
}
