//! What a repository's config forbids, in git's words.

use git_receiver::{Command, Repository as _};

use crate::Failure;
use crate::repository::DiskRepository;
use crate::settings::Deny;

/// Why a ref may not be touched at all; the first thing that is asked.
pub(crate) fn hidden(repository: &DiskRepository, command: &Command) -> Option<String> {
    let verb = if command.new.is_some() { "updating" } else { "deleting" };
    repository.settings.hides(&command.name).then(|| format!("deny {verb} a hidden ref"))
}

/// Why a ref may not be moved as it is to be; `tell` takes what git says about it besides.
pub(crate) fn forbidden(
    repository: &DiskRepository,
    command: &Command,
    tell: &dyn Fn(&[u8]),
) -> Result<Option<String>, Failure> {
    let Command { name, old, new, .. } = command;
    let settings = &repository.settings;
    let say = |text: String| tell(format!("{text}\n").as_bytes());
    let refuse = |error: String, reason: &str| {
        say(format!("error: {error}"));
        Ok(Some(reason.to_owned()))
    };
    let checked_out = repository.is_checked_out(name);
    if checked_out {
        match settings.deny_current_branch {
            Deny::Ignore => {}
            Deny::Warn => say("warning: updating the current branch".to_owned()),
            Deny::Refuse => {
                let error = format!("refusing to update checked out branch: {name}");
                return refuse(error, "branch is currently checked out");
            }
        }
    }
    let branch = name.starts_with("refs/heads/");
    let Some(new) = new else {
        if old.is_none() {
            return Ok(None);
        }
        if settings.deny_deletes && branch {
            return refuse(format!("denying ref deletion for {name}"), "deletion prohibited");
        }
        if checked_out || repository.head() == Some(name.as_str()) {
            match settings.deny_delete_current {
                Deny::Ignore => {}
                Deny::Warn => say("warning: deleting the current branch".to_owned()),
                Deny::Refuse => {
                    let error = format!("refusing to delete the current branch: {name}");
                    return refuse(error, "deletion of the current branch prohibited");
                }
            }
        }
        return Ok(None);
    };
    if let Some(old) = old
        && settings.deny_non_fast_forwards
        && branch
        && !repository.is_fast_forward(*old, *new)?
    {
        let error = format!("denying non-fast-forward {name} (you should pull first)");
        return refuse(error, "non-fast-forward");
    }
    Ok(None)
}
