//! Carries out a push: quarantine, `pre-receive`, the repository's rules and `update` for each ref, the refs, and the hooks
//! that are told afterwards.

use std::ffi::OsString;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use git_receiver::{CheckedCommand, Command, CommandError, ObjectId, Pack, Push, report};
use gix_lock::acquire::Fail;
use gix_ref::Target;
use gix_ref::transaction::{PreviousValue, RefEdit};
use tokio::io::{AsyncWrite, AsyncWriteExt as _};

use crate::Failure;
use crate::aliases;
use crate::hooks::Hook;
use crate::order::{Course, Order};
use crate::quarantine::QuarantineDir;
use crate::repository::DiskRepository;
use crate::rules;

/// How long another push's lock is waited for.
const LOCK_WAIT: Duration = Duration::from_secs(1);

/// How many pieces of what hooks print wait for a slow client; then the hooks wait.
const TOLD_AT_ONCE: usize = 16;

/// How often a silent host says that it is still there.
const KEEPALIVE: Duration = Duration::from_secs(5);

/// Carries out a push and answers it. It goes on when the client is gone.
pub(crate) async fn answer(
    repository: Arc<DiskRepository>,
    push: Push,
    output: &mut (impl AsyncWrite + Send + Unpin),
) -> Result<(), Failure> {
    let capabilities = push.request.capabilities.clone();
    let unpacked = push.unpacked.as_ref().map(|_| ()).map_err(ToString::to_string);
    let (sender, mut told) = tokio::sync::mpsc::channel::<Vec<u8>>(TOLD_AT_ONCE);
    let carrying_out = tokio::task::spawn_blocking(move || {
        carry_out(&repository, push, &|text: &[u8]| {
            let _ = sender.blocking_send(text.to_owned());
        })
    });
    loop {
        let bytes = match tokio::time::timeout(KEEPALIVE, told.recv()).await {
            Ok(Some(text)) if capabilities.sideband() => {
                report::progress(&capabilities, &String::from_utf8_lossy(&text))
            }
            // Where there is no way to the client, the host's own log has it.
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
    let orders = carrying_out.await?;
    let results: Vec<(&str, Result<(), String>)> = orders
        .iter()
        .map(|order| (order.command.name.as_str(), order.refused.clone().map_or(Ok(()), Err)))
        .collect();
    let unpacked = unpacked.as_ref().copied().map_err(String::as_str);
    output.write_all(&report::report(&capabilities, unpacked, &results)).await?;
    Ok(output.flush().await?)
}

/// Carries out a push, telling what hooks and rules say. Blocking.
fn carry_out(repository: &DiskRepository, push: Push, tell: &dyn Fn(&[u8])) -> Vec<Order> {
    let atomic = push.request.capabilities.atomic();
    let (mut orders, pack): (Vec<Order>, Pack) = match push.unpacked {
        Ok(unpacked) => {
            let is_shallow = !unpacked.shallow.is_empty();
            let commands = unpacked.commands.into_iter();
            (commands.map(|judged| ordered(repository, judged, is_shallow)).collect(), unpacked.pack)
        }
        Err(_) => {
            let refused = || Some("unpacker error".to_owned());
            let commands = push.request.commands.into_iter();
            let orders = commands.map(|command| Order { command, refused: refused(), course: Course::Move });
            (orders.collect(), Pack::default())
        }
    };
    aliases::judge(repository, &mut orders, tell);
    all_or_none(&mut orders, atomic);
    let options = options(&push.request.options);
    if let Err(reason) = let_in(repository, &orders, &pack, &options, tell) {
        refuse_rest(&mut orders, &reason);
    }
    for order in orders
        .iter_mut()
        .filter(|order| order.refused.is_none() && !matches!(order.course, Course::Follow(_)))
    {
        order.refused = why_not(repository, &order.command, tell);
        if order.refused.is_some() {
            continue;
        }
        warn_of_deletion(repository, order, tell);
        if order.course == Course::Move && !atomic {
            let change =
                if order.command.new.is_some() { "failed to update ref" } else { "failed to delete" };
            order.refused = move_refs(repository, &[&order.command]).err().map(|_| change.to_owned());
        }
    }
    if atomic {
        all_or_none(&mut orders, atomic);
        let accepted: Vec<&Command> = taking(&orders, |course| course == Course::Move).collect();
        if move_refs(repository, &accepted).is_err() {
            refuse_rest(&mut orders, "atomic transaction failed");
        }
    }
    aliases::follow(&mut orders);
    tell_afterwards(repository, &orders, options, tell);
    orders
}

/// Lets the objects in, if `pre-receive` agrees, which sees them as if they were.
fn let_in(
    repository: &DiskRepository,
    orders: &[Order],
    pushed: &Pack,
    options: &[(String, OsString)],
    tell: &dyn Fn(&[u8]),
) -> Result<(), String> {
    if accepted(orders).next().is_none() {
        return Ok(());
    }
    let folder = repository.git_dir.join("objects");
    let quarantine =
        QuarantineDir::write(repository, pushed).map_err(|error| format!("objects not stored: {error}"))?;
    let path = quarantine.path().as_os_str();
    let mut environment = options.to_vec();
    environment.push(("GIT_QUARANTINE_PATH".to_owned(), path.to_owned()));
    environment.push(("GIT_OBJECT_DIRECTORY".to_owned(), path.to_owned()));
    environment.push(("GIT_ALTERNATE_OBJECT_DIRECTORIES".to_owned(), folder.clone().into_os_string()));
    let hook =
        Hook { name: "pre-receive", arguments: Vec::new(), input: lines(accepted(orders)), environment };
    if !hook.agrees(repository, tell) {
        return Err("pre-receive hook declined".to_owned());
    }
    quarantine.migrate(&folder).map_err(|_| "unable to migrate objects to permanent storage".to_owned())
}

/// Why one ref may not be moved, by the config or by the `update` hook.
fn why_not(repository: &DiskRepository, command: &Command, tell: &dyn Fn(&[u8])) -> Option<String> {
    match rules::forbidden(repository, command, tell) {
        Ok(None) => {}
        Ok(refused) => return refused,
        Err(error) => return Some(error.to_string()),
    }
    let arguments = vec![command.name.clone(), hex(command.old), hex(command.new)];
    let hook = Hook { name: "update", arguments, input: String::new(), environment: Vec::new() };
    if hook.agrees(repository, tell) {
        return None;
    }
    tell(format!("error: hook declined to update {}\n", command.name).as_bytes());
    Some("hook declined".to_owned())
}

/// What a command comes to at first, by git's rules and those of the repository.
fn ordered(repository: &DiskRepository, judged: CheckedCommand, is_shallow: bool) -> Order {
    let CheckedCommand { command, result } = judged;
    // A ref is to be deleted that neither the client has seen nor is there: git takes it for done.
    let is_nothing = result == Err(CommandError::NoSuchRef) && command.old.is_none();
    let fault = || result.as_ref().err().filter(|_| !is_nothing).map(ToString::to_string);
    let shallow = || (is_shallow && command.new.is_some()).then(|| "shallow update not allowed".to_owned());
    let refused = rules::hidden(repository, &command).or_else(fault).or_else(shallow);
    Order { command, refused, course: if is_nothing { Course::Nothing } else { Course::Move } }
}

fn warn_of_deletion(repository: &DiskRepository, order: &Order, tell: &dyn Fn(&[u8])) {
    let Command { old, new, .. } = order.command;
    if order.course == Course::Nothing {
        tell(b"warning: deleting a non-existent ref\n");
    } else if new.is_none() && old.is_some_and(|old| !repository.has(old)) {
        tell(b"warning: allowing deletion of corrupt ref\n");
    }
}

/// Moves refs that still are where the client believes them to be: all of them or none.
fn move_refs(repository: &DiskRepository, commands: &[&Command]) -> Result<(), Failure> {
    let edit = |command: &&Command| {
        let name: gix_ref::FullName = command.name.as_str().try_into()?;
        let expected = command
            .old
            .map_or(PreviousValue::MustNotExist, |old| PreviousValue::MustExistAndMatch(Target::Object(old)));
        Ok::<_, Failure>(match command.new {
            Some(new) => RefEdit::update(name, new, expected, "push").with_deref(true),
            None => RefEdit::delete(name, expected).with_deref(true),
        })
    };
    let edits = commands.iter().map(edit).collect::<Result<Vec<_>, _>>()?;
    let (name, address) = &repository.settings.committer;
    let now = SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs();
    let time = format!("{now} +0000");
    let committer =
        gix_actor::SignatureRef { name: name.as_str().into(), email: address.as_str().into(), time: &time };
    let wait = Fail::AfterDurationWithBackoff(LOCK_WAIT);
    repository.ref_store().transaction().prepare(edits, wait, wait)?.commit(committer)?;
    Ok(())
}

/// The hooks that can change nothing any more.
fn tell_afterwards(
    repository: &DiskRepository,
    orders: &[Order],
    options: Vec<(String, OsString)>,
    tell: &dyn Fn(&[u8]),
) {
    let moved = || taking(orders, |course| course != Course::Nothing);
    let names: Vec<String> = moved().map(|command| command.name.clone()).collect();
    if names.is_empty() {
        return;
    }
    let post_receive =
        Hook { name: "post-receive", arguments: Vec::new(), input: lines(moved()), environment: options };
    let post_update =
        Hook { name: "post-update", arguments: names, input: String::new(), environment: Vec::new() };
    for hook in [post_receive, post_update] {
        hook.agrees(repository, tell);
    }
}

fn accepted(orders: &[Order]) -> impl Iterator<Item = &Command> {
    orders.iter().filter(|order| order.refused.is_none()).map(|order| &order.command)
}

/// The accepted commands that take such a course.
fn taking(orders: &[Order], such: impl Fn(Course) -> bool) -> impl Iterator<Item = &Command> {
    let taken = orders.iter().filter(move |order| order.refused.is_none() && such(order.course));
    taken.map(|order| &order.command)
}

fn refuse_rest(orders: &mut [Order], reason: &str) {
    for order in orders.iter_mut().filter(|order| order.refused.is_none()) {
        order.refused = Some(reason.to_owned());
    }
}

/// Where one of an atomic push is refused, all are.
fn all_or_none(orders: &mut [Order], atomic: bool) {
    if atomic && orders.iter().any(|order| order.refused.is_some()) {
        refuse_rest(orders, "atomic push failure");
    }
}

/// What the hooks read: old, new and name of each ref.
fn lines<'c>(commands: impl Iterator<Item = &'c Command>) -> String {
    commands.map(|command| format!("{} {} {}\n", hex(command.old), hex(command.new), command.name)).collect()
}

fn hex(id: Option<ObjectId>) -> String {
    id.unwrap_or_else(|| ObjectId::null(gix_hash::Kind::Sha1)).to_string()
}

/// What the user said with `--push-option`, as hooks are told.
fn options(options: &[String]) -> Vec<(String, OsString)> {
    if options.is_empty() {
        return Vec::new();
    }
    let count = ("GIT_PUSH_OPTION_COUNT".to_owned(), OsString::from(options.len().to_string()));
    let each = options.iter().enumerate();
    std::iter::once(count)
        .chain(each.map(|(index, option)| (format!("GIT_PUSH_OPTION_{index}"), OsString::from(option))))
        .collect()
}
