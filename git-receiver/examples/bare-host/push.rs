//! Applies a push: quarantine, `pre-receive`, config and `update` hook for each ref, the ref updates, and the post hooks.

use std::ffi::OsString;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use git_receiver::{CheckedCommand, Command, CommandError, ObjectId, Pack, Push, report};
use gix_lock::acquire::Fail;
use gix_ref::Target;
use gix_ref::transaction::{PreviousValue, RefEdit};
use tokio::io::{AsyncWrite, AsyncWriteExt as _};

use crate::BoxError;
use crate::hooks::Hook;
use crate::policy;
use crate::quarantine::QuarantineDir;
use crate::ref_update::{Action, RefUpdate};
use crate::repository::DiskRepository;
use crate::symrefs;

/// How long to wait for the lock of a concurrent push.
const LOCK_TIMEOUT: Duration = Duration::from_secs(1);

/// How many chunks of progress are queued for a slow client; then the hooks block.
const PROGRESS_QUEUE_MAX: usize = 16;

/// How often a keepalive packet is sent.
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(5);

/// Applies a push and sends the report. It continues if the client disconnects.
pub(crate) async fn respond(
    repository: Arc<DiskRepository>,
    push: Push,
    output: &mut (impl AsyncWrite + Send + Unpin),
) -> Result<(), BoxError> {
    let capabilities = push.request.capabilities.clone();
    let unpacked = push.unpacked.as_ref().map(|_| ()).map_err(ToString::to_string);
    let (sender, mut progress) = tokio::sync::mpsc::channel::<Vec<u8>>(PROGRESS_QUEUE_MAX);
    let apply_task = tokio::task::spawn_blocking(move || {
        apply(&repository, push, &|text: &[u8]| {
            let _ = sender.blocking_send(text.to_owned());
        })
    });
    loop {
        let bytes = match tokio::time::timeout(KEEPALIVE_INTERVAL, progress.recv()).await {
            Ok(Some(text)) if capabilities.sideband() => {
                report::progress(&capabilities, &String::from_utf8_lossy(&text))
            }
            // Without a sideband, progress goes to the host's own log.
            Ok(Some(text)) => {
                eprint!("{}", String::from_utf8_lossy(&text));
                continue;
            }
            Ok(None) => break,
            Err(_) => report::keepalive(&capabilities),
        };
        let _ = output.write_all(&bytes).await;
        let _ = output.flush().await;
    }
    let updates = apply_task.await?;
    let results: Vec<(&str, Result<(), String>)> = updates
        .iter()
        .map(|update| (update.command.name.as_str(), update.error.clone().map_or(Ok(()), Err)))
        .collect();
    let unpacked = unpacked.as_ref().copied().map_err(String::as_str);
    output.write_all(&report::report(&capabilities, unpacked, &results)).await?;
    Ok(output.flush().await?)
}

/// Applies a push, and sends messages of hooks and checks as progress. Blocking.
fn apply(repository: &DiskRepository, push: Push, send_progress: &dyn Fn(&[u8])) -> Vec<RefUpdate> {
    let atomic = push.request.capabilities.atomic();
    let (mut updates, pack): (Vec<RefUpdate>, Pack) = match push.unpacked {
        Ok(unpacked) => {
            let is_shallow = !unpacked.shallow.is_empty();
            let commands = unpacked.commands.into_iter();
            (commands.map(|checked| initial_update(repository, checked, is_shallow)).collect(), unpacked.pack)
        }
        Err(_) => {
            let error = || Some("unpacker error".to_owned());
            let commands = push.request.commands.into_iter();
            let updates =
                commands.map(|command| RefUpdate { command, error: error(), action: Action::Update });
            (updates.collect(), Pack::default())
        }
    };
    symrefs::resolve(repository, &mut updates, send_progress);
    fail_all_if_any_failed(&mut updates, atomic);
    let options = push_option_env(&push.request.options);
    if let Err(reason) = store_objects(repository, &updates, &pack, &options, send_progress) {
        fail_remaining(&mut updates, &reason);
    }
    for update in updates
        .iter_mut()
        .filter(|update| update.error.is_none() && !matches!(update.action, Action::WithTarget(_)))
    {
        update.error = check_update(repository, &update.command, send_progress);
        if update.error.is_some() {
            continue;
        }
        warn_about_deletion(repository, update, send_progress);
        if update.action == Action::Update && !atomic {
            let change =
                if update.command.new.is_some() { "failed to update ref" } else { "failed to delete" };
            update.error = update_refs(repository, &[&update.command]).err().map(|_| change.to_owned());
        }
    }
    if atomic {
        fail_all_if_any_failed(&mut updates, atomic);
        let accepted: Vec<&Command> = with_action(&updates, |action| action == Action::Update).collect();
        if update_refs(repository, &accepted).is_err() {
            fail_remaining(&mut updates, "atomic transaction failed");
        }
    }
    symrefs::copy_errors_from_targets(&mut updates);
    run_post_hooks(repository, &updates, options, send_progress);
    updates
}

/// Stores the objects if `pre-receive` accepts them; the hook sees them in quarantine.
fn store_objects(
    repository: &DiskRepository,
    updates: &[RefUpdate],
    pushed: &Pack,
    options: &[(String, OsString)],
    send_progress: &dyn Fn(&[u8]),
) -> Result<(), String> {
    if accepted(updates).next().is_none() {
        return Ok(());
    }
    let dir = repository.git_dir.join("objects");
    let quarantine =
        QuarantineDir::write(repository, pushed).map_err(|error| format!("objects not stored: {error}"))?;
    let path = quarantine.path().as_os_str();
    let mut environment = options.to_vec();
    environment.push(("GIT_QUARANTINE_PATH".to_owned(), path.to_owned()));
    environment.push(("GIT_OBJECT_DIRECTORY".to_owned(), path.to_owned()));
    environment.push(("GIT_ALTERNATE_OBJECT_DIRECTORIES".to_owned(), dir.clone().into_os_string()));
    let hook = Hook {
        name: "pre-receive",
        arguments: Vec::new(),
        input: ref_update_lines(accepted(updates)),
        environment,
    };
    if !hook.succeeds(repository, send_progress) {
        return Err("pre-receive hook declined".to_owned());
    }
    quarantine.migrate(&dir).map_err(|_| "unable to migrate objects to permanent storage".to_owned())
}

/// The error for one ref, from the config or the `update` hook.
fn check_update(
    repository: &DiskRepository,
    command: &Command,
    send_progress: &dyn Fn(&[u8]),
) -> Option<String> {
    match policy::denied(repository, command, send_progress) {
        Ok(None) => {}
        Ok(error) => return error,
        Err(error) => return Some(error.to_string()),
    }
    let arguments = vec![command.name.clone(), hex(command.old), hex(command.new)];
    let hook = Hook { name: "update", arguments, input: String::new(), environment: Vec::new() };
    if hook.succeeds(repository, send_progress) {
        return None;
    }
    send_progress(format!("error: hook declined to update {}\n", command.name).as_bytes());
    Some("hook declined".to_owned())
}

/// The update for a command, with the errors of git's checks, of hidden refs and of shallow pushes.
fn initial_update(repository: &DiskRepository, checked: CheckedCommand, is_shallow: bool) -> RefUpdate {
    let CheckedCommand { command, result } = checked;
    // The ref to delete is unknown to both sides: for git, that is done already.
    let is_noop = result == Err(CommandError::NoSuchRef) && command.old.is_none();
    let git_error = || result.as_ref().err().filter(|_| !is_noop).map(ToString::to_string);
    let shallow = || (is_shallow && command.new.is_some()).then(|| "shallow update not allowed".to_owned());
    let error = policy::hidden_ref_error(repository, &command).or_else(git_error).or_else(shallow);
    RefUpdate { command, error, action: if is_noop { Action::Noop } else { Action::Update } }
}

fn warn_about_deletion(repository: &DiskRepository, update: &RefUpdate, send_progress: &dyn Fn(&[u8])) {
    let Command { old, new, .. } = update.command;
    if update.action == Action::Noop {
        send_progress(b"warning: deleting a non-existent ref\n");
    } else if new.is_none() && old.is_some_and(|old| !repository.has(old)) {
        send_progress(b"warning: allowing deletion of corrupt ref\n");
    }
}

/// Updates all refs or none, if they still have the values that the client expects.
fn update_refs(repository: &DiskRepository, commands: &[&Command]) -> Result<(), BoxError> {
    let edit = |command: &&Command| {
        let name: gix_ref::FullName = command.name.as_str().try_into()?;
        let expected = command
            .old
            .map_or(PreviousValue::MustNotExist, |old| PreviousValue::MustExistAndMatch(Target::Object(old)));
        Ok::<_, BoxError>(match command.new {
            Some(new) => RefEdit::update(name, new, expected, "push").with_deref(true),
            None => RefEdit::delete(name, expected).with_deref(true),
        })
    };
    let edits = commands.iter().map(edit).collect::<Result<Vec<_>, _>>()?;
    let (name, address) = &repository.config.committer;
    let now = SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs();
    let time = format!("{now} +0000");
    let committer =
        gix_actor::SignatureRef { name: name.as_str().into(), email: address.as_str().into(), time: &time };
    let wait = Fail::AfterDurationWithBackoff(LOCK_TIMEOUT);
    repository.ref_store().transaction().prepare(edits, wait, wait)?.commit(committer)?;
    Ok(())
}

/// Runs the hooks whose result is ignored.
fn run_post_hooks(
    repository: &DiskRepository,
    updates: &[RefUpdate],
    options: Vec<(String, OsString)>,
    send_progress: &dyn Fn(&[u8]),
) {
    let applied = || with_action(updates, |action| action != Action::Noop);
    let names: Vec<String> = applied().map(|command| command.name.clone()).collect();
    if names.is_empty() {
        return;
    }
    let post_receive = Hook {
        name: "post-receive",
        arguments: Vec::new(),
        input: ref_update_lines(applied()),
        environment: options,
    };
    let post_update =
        Hook { name: "post-update", arguments: names, input: String::new(), environment: Vec::new() };
    for hook in [post_receive, post_update] {
        hook.succeeds(repository, send_progress);
    }
}

fn accepted(updates: &[RefUpdate]) -> impl Iterator<Item = &Command> {
    updates.iter().filter(|update| update.error.is_none()).map(|update| &update.command)
}

/// The commands of accepted updates with a matching action.
fn with_action(updates: &[RefUpdate], matches: impl Fn(Action) -> bool) -> impl Iterator<Item = &Command> {
    let matching = updates.iter().filter(move |update| update.error.is_none() && matches(update.action));
    matching.map(|update| &update.command)
}

fn fail_remaining(updates: &mut [RefUpdate], reason: &str) {
    for update in updates.iter_mut().filter(|update| update.error.is_none()) {
        update.error = Some(reason.to_owned());
    }
}

/// If one update of an atomic push has an error, all fail.
fn fail_all_if_any_failed(updates: &mut [RefUpdate], atomic: bool) {
    if atomic && updates.iter().any(|update| update.error.is_some()) {
        fail_remaining(updates, "atomic push failure");
    }
}

/// The standard input of hooks: old value, new value and name of each ref.
fn ref_update_lines<'c>(commands: impl Iterator<Item = &'c Command>) -> String {
    commands.map(|command| format!("{} {} {}\n", hex(command.old), hex(command.new), command.name)).collect()
}

fn hex(id: Option<ObjectId>) -> String {
    id.unwrap_or_else(|| ObjectId::null(gix_hash::Kind::Sha1)).to_string()
}

/// The environment variables with the push options.
fn push_option_env(options: &[String]) -> Vec<(String, OsString)> {
    if options.is_empty() {
        return Vec::new();
    }
    let count = ("GIT_PUSH_OPTION_COUNT".to_owned(), OsString::from(options.len().to_string()));
    let each = options.iter().enumerate();
    std::iter::once(count)
        .chain(each.map(|(index, option)| (format!("GIT_PUSH_OPTION_{index}"), OsString::from(option))))
        .collect()
}
