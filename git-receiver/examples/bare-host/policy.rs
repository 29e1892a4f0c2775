//! Ref updates that a repository's config denies, with git's messages.

use git_receiver::{Command, Repository as _};

use crate::BoxError;
use crate::config::Deny;
use crate::repository::DiskRepository;

/// The error for a hidden ref, which is checked first.
pub(crate) fn hidden_ref_error(repository: &DiskRepository, command: &Command) -> Option<String> {
    let action = if command.new.is_some() { "updating" } else { "deleting" };
    repository.config.hides(&command.name).then(|| format!("deny {action} a hidden ref"))
}

/// The error for an update that the config denies; `send_progress` sends git's warnings.
pub(crate) fn denied(
    repository: &DiskRepository,
    command: &Command,
    send_progress: &dyn Fn(&[u8]),
) -> Result<Option<String>, BoxError> {
    let Command { name, old, new, .. } = command;
    let config = &repository.config;
    let send_line = |text: String| send_progress(format!("{text}\n").as_bytes());
    let deny = |error: String, reason: &str| {
        send_line(format!("error: {error}"));
        Ok(Some(reason.to_owned()))
    };
    let checked_out = repository.is_checked_out(name);
    if checked_out {
        match config.deny_current_branch {
            Deny::Ignore => {}
            Deny::Warn => send_line("warning: updating the current branch".to_owned()),
            Deny::Refuse => {
                let error = format!("refusing to update checked out branch: {name}");
                return deny(error, "branch is currently checked out");
            }
        }
    }
    let branch = name.starts_with("refs/heads/");
    let Some(new) = new else {
        if old.is_none() {
            return Ok(None);
        }
        if config.deny_deletes && branch {
            return deny(format!("denying ref deletion for {name}"), "deletion prohibited");
        }
        if checked_out || repository.head() == Some(name.as_str()) {
            match config.deny_delete_current {
                Deny::Ignore => {}
                Deny::Warn => send_line("warning: deleting the current branch".to_owned()),
                Deny::Refuse => {
                    let error = format!("refusing to delete the current branch: {name}");
                    return deny(error, "deletion of the current branch prohibited");
                }
            }
        }
        return Ok(None);
    };
    if let Some(old) = old
        && config.deny_non_fast_forwards
        && branch
        && !repository.is_fast_forward(*old, *new)?
    {
        let error = format!("denying non-fast-forward {name} (you should pull first)");
        return deny(error, "non-fast-forward");
    }
    Ok(None)
}
