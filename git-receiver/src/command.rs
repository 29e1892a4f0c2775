//! The ref update commands of a push, and git's rules for them.

use std::collections::{HashMap, HashSet};

use gix_hash::ObjectId;
use gix_object::Kind;
use gix_object::bstr::ByteSlice as _;

use crate::Reference;

/// The longest name of a new ref, in bytes.
const NAME_BYTES_MAX: usize = 1024;

/// One ref to create, update or delete.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Command {
    /// The full ref name.
    pub name: String,
    /// The old value that the client expects; `None` if the ref does not exist.
    pub old: Option<ObjectId>,
    /// The new value; `None` to delete the ref.
    pub new: Option<ObjectId>,
}

/// A command with the result of git's checks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CheckedCommand {
    /// The command.
    pub command: Command,
    /// Whether git's rules accept it.
    pub result: Result<(), CommandError>,
}

/// Why git's rules reject a ref update, in git's wording.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CommandError {
    /// The ref name is malformed.
    #[error("funny refname")]
    InvalidRefName,
    /// An earlier command of the push updates the same ref.
    #[error("multiple updates for ref")]
    Duplicate,
    /// The new object is neither in the pack nor in the repository.
    #[error("missing necessary objects")]
    MissingObject,
    /// A branch must point to a commit.
    #[error("a branch must point to a commit, not a {0}")]
    NotACommit(Kind),
    /// Directory/file conflict: `a` and `a/b` cannot both be refs.
    #[error("conflicts with ref {0}")]
    Conflict(String),
    /// The ref to delete does not exist. If the client did not expect it either, git only warns.
    #[error("no such ref")]
    NoSuchRef,
}

/// A malformed command.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a command is not `<old> <new> <ref>`")]
pub(crate) struct ParseCommandError;

impl Command {
    /// Parses `<old> <new> <ref>`, without capabilities.
    pub(crate) fn parse(line: &[u8]) -> Result<Self, ParseCommandError> {
        let mut parts = line.splitn(3, |byte| *byte == b' ');
        let mut id =
            || ObjectId::from_hex(parts.next().ok_or(ParseCommandError)?).map_err(|_| ParseCommandError);
        let (old, new) = (id()?, id()?);
        let name = parts.next().and_then(|name| std::str::from_utf8(name).ok()).ok_or(ParseCommandError)?;
        if name.is_empty() {
            return Err(ParseCommandError);
        }
        let some = |id: ObjectId| (!id.is_null()).then_some(id);
        Ok(Self { name: name.to_owned(), old: some(old), new: some(new) })
    }

    fn is_branch(&self) -> bool {
        self.name.starts_with("refs/heads/")
    }
}

/// Whether `name` is allowed for a new ref: git's rules, and at least two slashes, so that refs are only created in a
/// directory below `refs/`.
fn is_valid_new_name(name: &str) -> bool {
    let shape = name.strip_prefix("refs/").is_some_and(|rest| rest.contains('/'));
    shape && name.len() <= NAME_BYTES_MAX && is_valid_existing_name(name)
}

/// Whether `name` is well-formed for a ref that was created by other means than a push.
fn is_valid_existing_name(name: &str) -> bool {
    name.starts_with("refs/") && gix_validate::reference::name(name.as_bytes().as_bstr()).is_ok()
}

/// Checks `commands` against git's rules. `kinds` contains the kinds of all existing target objects, `existing` the refs of
/// the repository.
pub(crate) fn check_commands(
    commands: Vec<Command>,
    kinds: &HashMap<ObjectId, Kind>,
    existing: &[Reference],
) -> Vec<CheckedCommand> {
    let mut seen = HashSet::new();
    let checked: Vec<Result<(), CommandError>> = commands
        .iter()
        .map(|command| {
            let is_valid = if command.new.is_some() { is_valid_new_name } else { is_valid_existing_name };
            if !is_valid(&command.name) {
                Err(CommandError::InvalidRefName)
            } else if !seen.insert(&command.name) {
                Err(CommandError::Duplicate)
            } else {
                check_target(command, kinds, existing)
            }
        })
        .collect();
    let deleted: HashSet<&str> = commands
        .iter()
        .zip(&checked)
        .filter(|(command, result)| command.new.is_none() && result.is_ok())
        .map(|(command, _)| command.name.as_str())
        .collect();
    let mut names: HashSet<String> = existing
        .iter()
        .map(|found| found.name.as_str())
        .filter(|name| !deleted.contains(name))
        .map(str::to_owned)
        .collect();
    let commands = commands.into_iter().zip(checked).map(|(command, checked)| {
        let result = checked.and_then(|()| reserve_name(&command, &mut names));
        CheckedCommand { command, result }
    });
    commands.collect()
}

/// Checks that the target suits the ref, or that the ref to delete exists.
fn check_target(
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

/// Adds the ref to `names`, unless it conflicts with one of them as a file does with a directory.
fn reserve_name(command: &Command, names: &mut HashSet<String>) -> Result<(), CommandError> {
    if command.new.is_none() {
        return Ok(());
    }
    let mut parents = command.name.match_indices('/').map(|(at, _)| &command.name[..at]);
    let below = format!("{}/", command.name);
    let conflict = parents
        .find(|parent| names.contains(*parent))
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

    fn errors(commands: Vec<Command>, existing: &[&str]) -> Vec<Option<CommandError>> {
        let kinds = HashMap::from([(id(1), Kind::Commit), (id(2), Kind::Blob)]);
        let existing: Vec<_> =
            existing.iter().map(|name| Reference { name: (*name).to_owned(), target: id(1) }).collect();
        check_commands(commands, &kinds, &existing).into_iter().map(|checked| checked.result.err()).collect()
    }

    #[test]
    fn command_is_two_ids_and_a_ref_name() {
        let line = format!("{} {} refs/heads/main", "0".repeat(40), "1".repeat(40));
        let command = Command::parse(line.as_bytes()).unwrap();
        assert_eq!(
            (command.name.as_str(), command.old, command.new),
            ("refs/heads/main", None, Some(ObjectId::from_hex(&[b'1'; 40]).unwrap()))
        );
        // git sends this to delete a ref that was not advertised.
        let unseen = format!("{0} {0} refs/heads/main", "0".repeat(40));
        let command = Command::parse(unseen.as_bytes()).unwrap();
        assert_eq!((command.old, command.new), (None, None));
        for bad in ["", "a b c", &line[..80]] {
            assert!(Command::parse(bad.as_bytes()).is_err(), "{bad}");
        }
    }

    #[test]
    fn ref_names_follow_git_and_need_a_directory_below_refs() {
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
            assert_eq!(errors(vec![create(bad)], &[]), [Some(CommandError::InvalidRefName)], "{bad}");
        }
        let long = format!("refs/heads/{}", "a".repeat(NAME_BYTES_MAX));
        assert_eq!(errors(vec![create(&long)], &[]), [Some(CommandError::InvalidRefName)]);
        assert_eq!(errors(vec![create("refs/heads/a/b.c")], &[]), [None]);
        for there in ["refs/main", &long] {
            assert_eq!(errors(vec![delete(there)], &[there]), [None], "{there}");
        }
        for none in ["main", "HEAD", "refs/", "refs/a..b"] {
            assert_eq!(errors(vec![delete(none)], &[none]), [Some(CommandError::InvalidRefName)], "{none}");
        }
    }

    #[test]
    fn ref_conflicts_with_ref_below_it() {
        let conflict = |other: &str| Some(CommandError::Conflict(other.to_owned()));
        assert_eq!(errors(vec![create("refs/heads/a/b")], &["refs/heads/a"]), [conflict("refs/heads/a")]);
        assert_eq!(errors(vec![create("refs/heads/a")], &["refs/heads/a/b"]), [conflict("refs/heads/a/b")]);
        assert_eq!(
            errors(vec![create("refs/heads/a"), create("refs/heads/a/b")], &[]),
            [None, conflict("refs/heads/a")]
        );
        assert_eq!(
            errors(vec![delete("refs/heads/a"), create("refs/heads/a/b")], &["refs/heads/a"]),
            [None, None]
        );
    }

    #[test]
    fn ref_target_must_exist_and_suit_the_ref() {
        let to = |name: &str, digit| Command { new: Some(id(digit)), ..create(name) };
        assert_eq!(
            errors(
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
        assert_eq!(errors(twice, &[]), [None, again(), again()]);
        // A rejected command does not reserve its name.
        let odd = vec![create("refs/main"), delete("refs/main")];
        assert_eq!(errors(odd, &["refs/main"]), [Some(CommandError::InvalidRefName), None]);
    }
}
