//! Which refs a push wants to move, and which names are allowed.

use std::collections::{HashMap, HashSet};

use gix_hash::ObjectId;
use gix_object::Kind;
use gix_object::bstr::ByteSlice as _;

use crate::Reference;

/// The longest name of a new ref, in bytes.
const NAME_MAX: usize = 1024;

/// One ref to be created, moved or deleted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Command {
    /// The full name.
    pub name: String,
    /// Where the client believes it to be; `None`: it does not exist.
    pub old: Option<ObjectId>,
    /// Where it is to be; `None`: it is to be deleted.
    pub new: Option<ObjectId>,
}

/// A command and what git's own rules say to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CheckedCommand {
    /// The command.
    pub command: Command,
    /// Whether the rules allow it, or which one does not.
    pub result: Result<(), CommandError>,
}

/// Why git's own rules forbid to move a ref, in git's kind of words.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CommandError {
    /// The name is none.
    #[error("funny refname")]
    InvalidRefName,
    /// An earlier command of the push names the ref.
    #[error("multiple updates for ref")]
    Duplicate,
    /// The new object is neither in the pack nor in the repository.
    #[error("missing necessary objects")]
    MissingObject,
    /// A branch must point to a commit.
    #[error("a branch must point to a commit, not a {0}")]
    NotACommit(Kind),
    /// `a` and `a/b` cannot both be refs.
    #[error("cannot be beside ref {0}")]
    Conflict(String),
    /// The ref to be deleted is not there. Where the client did not see it either, git itself only warns.
    #[error("there is no such ref to delete")]
    NoSuchRef,
}

/// A line that is no command.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a command is not `<old> <new> <ref>`")]
pub(crate) struct NotACommand;

impl Command {
    /// Reads `<old> <new> <ref>`, without capabilities.
    pub(crate) fn parse(line: &[u8]) -> Result<Self, NotACommand> {
        let mut parts = line.splitn(3, |byte| *byte == b' ');
        let mut id = || ObjectId::from_hex(parts.next().ok_or(NotACommand)?).map_err(|_| NotACommand);
        let (old, new) = (id()?, id()?);
        let name = parts.next().and_then(|name| std::str::from_utf8(name).ok()).ok_or(NotACommand)?;
        if name.is_empty() {
            return Err(NotACommand);
        }
        let some = |id: ObjectId| (!id.is_null()).then_some(id);
        Ok(Self { name: name.to_owned(), old: some(old), new: some(new) })
    }

    fn is_branch(&self) -> bool {
        self.name.starts_with("refs/heads/")
    }
}

/// Whether a new ref may bear this name: git's rules, and at least two slashes, so that nothing stands beside `refs/heads`.
fn is_ref_name(name: &str) -> bool {
    let shape = name.strip_prefix("refs/").is_some_and(|rest| rest.contains('/'));
    shape && name.len() <= NAME_MAX && may_be_deleted(name)
}

/// Whether this may be the name of a ref that came to be in another way than by a push.
fn may_be_deleted(name: &str) -> bool {
    name.starts_with("refs/") && gix_validate::reference::name(name.as_bytes().as_bstr()).is_ok()
}

/// What git's own rules say to each of `commands`. `kinds` has the kind of every object that a command points to and that
/// is there, `existing` the refs of the repository.
pub(crate) fn judge(
    commands: Vec<Command>,
    kinds: &HashMap<ObjectId, Kind>,
    existing: &[Reference],
) -> Vec<CheckedCommand> {
    let mut seen = HashSet::new();
    let alone: Vec<Result<(), CommandError>> = commands
        .iter()
        .map(|command| {
            let name_fits = if command.new.is_some() { is_ref_name } else { may_be_deleted };
            if !name_fits(&command.name) {
                Err(CommandError::InvalidRefName)
            } else if !seen.insert(&command.name) {
                Err(CommandError::Duplicate)
            } else {
                judge_target(command, kinds, existing)
            }
        })
        .collect();
    let deleted: HashSet<&str> = commands
        .iter()
        .zip(&alone)
        .filter(|(command, verdict)| command.new.is_none() && verdict.is_ok())
        .map(|(command, _)| command.name.as_str())
        .collect();
    let mut names: HashSet<String> = existing
        .iter()
        .map(|found| found.name.as_str())
        .filter(|name| !deleted.contains(name))
        .map(str::to_owned)
        .collect();
    let judged = commands.into_iter().zip(alone).map(|(command, alone)| {
        let verdict = alone.and_then(|()| claim_name(&command, &mut names));
        CheckedCommand { command, result: verdict }
    });
    judged.collect()
}

/// Whether a command points to what its ref can be, or deletes a ref that is there.
fn judge_target(
    command: &Command,
    kinds: &HashMap<ObjectId, Kind>,
    existing: &[Reference],
) -> Result<(), CommandError> {
    match command.new.map(|new| kinds.get(&new)) {
        None if existing.iter().all(|found| found.name != command.name) => Err(CommandError::NoSuchRef),
        None | Some(Some(Kind::Commit)) => Ok(()),
        Some(None) => Err(CommandError::MissingObject),
        Some(Some(kind)) if command.is_branch() => Err(CommandError::NotACommit(*kind)),
        Some(Some(_)) => Ok(()),
    }
}

/// Puts the ref that a command creates or moves among `names`, where it is no folder of another one, as files would have it.
fn claim_name(command: &Command, names: &mut HashSet<String>) -> Result<(), CommandError> {
    if command.new.is_none() {
        return Ok(());
    }
    let mut folders = command.name.match_indices('/').map(|(at, _)| &command.name[..at]);
    let below = format!("{}/", command.name);
    let conflict = folders
        .find(|folder| names.contains(*folder))
        .map(str::to_owned)
        .or_else(|| names.iter().find(|name| name.starts_with(&below)).cloned());
    match conflict {
        Some(other) => Err(CommandError::Conflict(other)),
        None => {
            names.insert(command.name.clone());
            Ok(())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(digit: u8) -> ObjectId {
        ObjectId::Sha1([digit; 20])
    }

    fn create(name: &str) -> Command {
        Command { name: name.to_owned(), old: None, new: Some(id(1)) }
    }

    fn delete(name: &str) -> Command {
        Command { name: name.to_owned(), old: Some(id(1)), new: None }
    }

    fn judged(commands: Vec<Command>, existing: &[&str]) -> Vec<Option<CommandError>> {
        let kinds = HashMap::from([(id(1), Kind::Commit), (id(2), Kind::Blob)]);
        let existing: Vec<_> =
            existing.iter().map(|name| Reference { name: (*name).to_owned(), target: id(1) }).collect();
        judge(commands, &kinds, &existing).into_iter().map(|judged| judged.result.err()).collect()
    }

    #[test]
    fn a_command_is_two_names_and_a_ref() {
        let line = format!("{} {} refs/heads/main", "0".repeat(40), "1".repeat(40));
        let command = Command::parse(line.as_bytes()).unwrap();
        assert_eq!(
            (command.name.as_str(), command.old, command.new),
            ("refs/heads/main", None, Some(ObjectId::from_hex(&[b'1'; 40]).unwrap()))
        );
        // What git sends to delete a ref that it was not shown.
        let unseen = format!("{0} {0} refs/heads/main", "0".repeat(40));
        let command = Command::parse(unseen.as_bytes()).unwrap();
        assert_eq!((command.old, command.new), (None, None));
        for bad in ["", "a b c", &line[..80]] {
            assert!(Command::parse(bad.as_bytes()).is_err(), "{bad}");
        }
    }

    #[test]
    fn names_follow_gits_rules_and_stand_below_refs() {
        for bad in [
            "main",
            "refs/main",
            "refs/heads/a..b",
            "refs/heads/a.lock",
            "refs/heads/a b",
            "refs/heads/",
            "HEAD",
            "refs/heads/@{1}",
        ] {
            assert_eq!(judged(vec![create(bad)], &[]), [Some(CommandError::InvalidRefName)], "{bad}");
        }
        let long = format!("refs/heads/{}", "a".repeat(NAME_MAX));
        assert_eq!(judged(vec![create(&long)], &[]), [Some(CommandError::InvalidRefName)]);
        assert_eq!(judged(vec![create("refs/heads/a/b.c")], &[]), [None]);
        for there in ["refs/main", &long] {
            assert_eq!(judged(vec![delete(there)], &[there]), [None], "{there}");
        }
        for none in ["main", "HEAD", "refs/", "refs/a..b"] {
            assert_eq!(judged(vec![delete(none)], &[none]), [Some(CommandError::InvalidRefName)], "{none}");
        }
    }

    #[test]
    fn a_ref_is_never_a_folder_of_another() {
        let conflict = |other: &str| Some(CommandError::Conflict(other.to_owned()));
        assert_eq!(judged(vec![create("refs/heads/a/b")], &["refs/heads/a"]), [conflict("refs/heads/a")]);
        assert_eq!(judged(vec![create("refs/heads/a")], &["refs/heads/a/b"]), [conflict("refs/heads/a/b")]);
        assert_eq!(
            judged(vec![create("refs/heads/a"), create("refs/heads/a/b")], &[]),
            [None, conflict("refs/heads/a")]
        );
        assert_eq!(
            judged(vec![delete("refs/heads/a"), create("refs/heads/a/b")], &["refs/heads/a"]),
            [None, None]
        );
    }

    #[test]
    fn what_a_ref_points_to_must_be_there_and_fit() {
        let to = |name: &str, digit| Command { new: Some(id(digit)), ..create(name) };
        assert_eq!(
            judged(
                vec![
                    to("refs/heads/a", 3),
                    to("refs/heads/b", 2),
                    to("refs/tags/c", 2),
                    delete("refs/tags/d")
                ],
                &[]
            ),
            [
                Some(CommandError::MissingObject),
                Some(CommandError::NotACommit(Kind::Blob)),
                None,
                Some(CommandError::NoSuchRef)
            ]
        );
        let twice = vec![create("refs/heads/a"), create("refs/heads/a"), delete("refs/heads/a")];
        let again = || Some(CommandError::Duplicate);
        assert_eq!(judged(twice, &[]), [None, again(), again()]);
        // What may not be created is not named by that.
        let odd = vec![create("refs/main"), delete("refs/main")];
        assert_eq!(judged(odd, &["refs/main"]), [Some(CommandError::InvalidRefName), None]);
    }
}
