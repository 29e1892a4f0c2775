//! What each command of a push asks of PiCloud.

use git_receiver::{CheckedCommand, ObjectId};

use super::report::Rejection;
use crate::repository::DEPLOY_REFS;
use crate::tokens::Right;

/// The magic ref that validates a commit and keeps nothing; never advertised.
pub const CHECK_REF: &str = "refs/picloud/check";

/// What one command asks.
#[derive(Clone, Debug)]
pub(super) enum Intent {
    /// Serve the commit as production.
    Production { branch: String, commit: ObjectId },
    /// Serve the commit at the branch's own address.
    Preview { branch: String, commit: ObjectId },
    /// Keep or move a tag.
    Keep,
    /// Delete a preview's branch.
    End,
    /// Delete a tag.
    Delete,
    /// Say whether the commit would be accepted.
    Check { commit: ObjectId },
}

impl Intent {
    /// What whoever pushes needs for it.
    pub(super) fn right(&self) -> Right {
        match self {
            Self::Production { .. } | Self::Keep | Self::Delete => Right::DeployProduction,
            Self::Preview { .. } | Self::End | Self::Check { .. } => Right::DeployPreviews,
        }
    }
}

/// Reads a command to an app whose production branch is `production`.
pub(super) fn intent(judged: &CheckedCommand, production: &str) -> Result<Intent, Rejection> {
    let CheckedCommand { command, result } = judged;
    result.as_ref().map_err(|fault| Rejection::Git(fault.clone()))?;
    let name = command.name.as_str();
    if name == CHECK_REF {
        return match command.new {
            Some(commit) => Ok(Intent::Check { commit }),
            None => Err(Rejection::OtherRef),
        };
    }
    if name.starts_with(DEPLOY_REFS) {
        return Err(Rejection::DeployRef);
    }
    if let Some(branch) = name.strip_prefix("refs/heads/") {
        let branch = branch.to_owned();
        return match command.new {
            None if branch == production => Err(Rejection::ProductionBranch),
            None => Ok(Intent::End),
            Some(commit) if branch == production => Ok(Intent::Production { branch, commit }),
            Some(commit) => Ok(Intent::Preview { branch, commit }),
        };
    }
    if name.starts_with("refs/tags/") {
        return Ok(if command.new.is_some() { Intent::Keep } else { Intent::Delete });
    }
    Err(Rejection::OtherRef)
}
