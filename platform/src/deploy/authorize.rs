//! Authorization of the commands of a push.

use git_receiver::{Command, QuarantineView};

use super::candidate::DeployError;
use super::intent::Intent;
use super::{FAST_FORWARD_COMMITS_MAX, PushContext, Rejection};
use crate::repository::AppRepository;
use crate::tokens::Right;

impl PushContext<'_> {
    /// Authorizes the pusher for a command, and for the creation of the app if there is none yet.
    pub(super) fn authorize(&self, intent: Intent) -> Result<Intent, Rejection> {
        let right = intent.required_right();
        if !self.by.caller.can(right, self.name) {
            return Err(Rejection::Forbidden(right));
        }
        let creates = self.repository.app().is_none() && !matches!(intent, Intent::Check { .. });
        match creates && !self.by.can_create(self.name) {
            true if self.by.creates => Err(Rejection::UnknownApp),
            true => Err(Rejection::CreationDisabled),
            false => Ok(intent),
        }
    }

    /// Whether a command is a non-fast-forward update of a protected branch, and the pusher has no right to it.
    pub(super) async fn is_forbidden_by_protection(
        &self,
        quarantine: &QuarantineView<'_, AppRepository>,
        command: &Command,
    ) -> Result<bool, DeployError> {
        let protected = self.repository.app().is_some_and(|app| app.protected)
            && !self.by.caller.can(Right::ForcePush, self.name);
        match (command.old, command.new) {
            (Some(old), Some(new)) if protected && old != new => {
                Ok(!quarantine.descends(new, old, FAST_FORWARD_COMMITS_MAX).await?)
            }
            _ => Ok(false),
        }
    }
}
