//! How far back a shallow fetch goes (gitprotocol-v2, `deepen` and its relatives), and so which commits are to be the
//! last ones that the client has.

use std::collections::HashSet;

use gix_hash::ObjectId;
use gix_object::Kind;

use super::commits::Commits;
use super::{UploadError, Wishes};
use crate::advertise::{PEEL_MAX, sorted_refs};
use crate::links::{self, Commit};
use crate::{CorruptObjectError, Repository, content};

/// The depth that git asks for when it wants no end, as `git fetch --unshallow` does.
const NO_END: usize = 0x7fff_ffff;

/// The most refs whose history one request can leave out.
const NOT_MAX: usize = 100;

/// What ends the history that a client asks for: a number of commits, or commits that it does not want.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Depth {
    /// How many commits deep.
    commits: Option<usize>,
    /// They are counted from where the client's history ends now, not from what it wants.
    pub(super) relative: bool,
    /// Commits before this time are not wanted, in seconds since 1970.
    since: Option<i64>,
    /// What these refs reach is not wanted.
    not: Vec<String>,
}

impl Depth {
    /// Whether the client's history is to go on from wherever it ends now, also from what is not wanted again.
    pub(super) fn goes_on_everywhere(&self) -> bool {
        self.relative || self.commits == Some(NO_END)
    }

    /// Takes one of the arguments that tell a depth; `false` where it is none.
    pub(super) fn take(into: &mut Option<Self>, word: &str, value: &str) -> Result<bool, UploadError> {
        let bad = || UploadError::Refused(format!("bad line `{} {}`", word, value.escape_debug()));
        match word {
            "deepen" => {
                let commits = value.parse().ok().filter(|commits| *commits > 0).ok_or_else(bad)?;
                into.get_or_insert_default().commits = Some(commits);
            }
            "deepen-relative" => into.get_or_insert_default().relative = true,
            "deepen-since" => into.get_or_insert_default().since = Some(value.parse().map_err(|_| bad())?),
            "deepen-not" if into.as_ref().is_some_and(|depth| depth.not.len() >= NOT_MAX) => {
                return Err(UploadError::Refused(format!("more than {NOT_MAX} lines of deepen-not")));
            }
            "deepen-not" => into.get_or_insert_default().not.push(value.to_owned()),
            _ => return Ok(false),
        }
        Ok(true)
    }
}

/// The commits at which the history of `wants` is to end: their parents are not sent.
pub(super) async fn ends<R: Repository>(
    commits: &mut Commits<'_, R>,
    wants: &[ObjectId],
    wishes: &Wishes,
) -> Result<HashSet<ObjectId>, UploadError> {
    let Some(depth) = &wishes.depth else { return Ok(HashSet::new()) };
    let selects = depth.since.is_some() || !depth.not.is_empty();
    match depth.commits {
        Some(_) if selects => Err(UploadError::Refused(
            "deepen and deepen-since (or deepen-not) cannot be used together".to_owned(),
        )),
        Some(count) if depth.relative => {
            below(commits, &wishes.client_shallow, count.saturating_add(1)).await
        }
        Some(count) => below(commits, wants, count).await,
        None if selects => {
            let mut unwanted = Vec::with_capacity(depth.not.len());
            for name in &depth.not {
                unwanted.push(commit_of(commits.repository(), name).await?);
            }
            let unwanted = reach(commits, &unwanted, |_, _| true).await?;
            let young = |commit: &Commit| depth.since.is_none_or(|since| commit.time >= since);
            let wanted = |id: &ObjectId, commit: &Commit| young(commit) && !unwanted.contains(id);
            youngest(commits, wants, &wishes.client_shallow, wanted).await
        }
        None => Ok(HashSet::new()),
    }
}

/// The commit that a ref names, the ref by as much of its name as git needs to find it.
async fn commit_of<R: Repository>(repository: &R, name: &str) -> Result<ObjectId, UploadError> {
    let refs = sorted_refs(repository).await?;
    let named = |full: String| refs.iter().find(|found| found.name == full);
    let found =
        ["", "refs/", "refs/tags/", "refs/heads/"].iter().find_map(|folder| named(format!("{folder}{name}")));
    let refused = || UploadError::Refused(format!("deepen-not is not a ref: {}", name.escape_debug()));
    let mut target = found.ok_or_else(refused)?.target;
    for _ in 0..PEEL_MAX {
        let mut next = None;
        content::each(repository, &[target], |id, kind, content| {
            next = Some(if kind == Kind::Tag { links::tag(id, content)? } else { id });
            Ok::<_, UploadError>(())
        })
        .await?;
        let next = next.ok_or(CorruptObjectError(target))?;
        if next == target {
            break;
        }
        target = next;
    }
    Ok(target)
}

/// Everything from `from` downwards, as far as `goes_on` says; those at which it stops included.
async fn reach<R: Repository>(
    commits: &mut Commits<'_, R>,
    from: &[ObjectId],
    goes_on: impl Fn(&ObjectId, &Commit) -> bool,
) -> Result<HashSet<ObjectId>, UploadError> {
    let mut reached: HashSet<ObjectId> = from.iter().copied().collect();
    let mut level: Vec<ObjectId> = from.to_vec();
    while !level.is_empty() {
        commits.read(&level).await?;
        let read = level.iter().filter_map(|id| Some((id, commits.get(id)?)));
        let below = read.filter(|(id, commit)| goes_on(id, commit)).flat_map(|(_, commit)| &commit.parents);
        level = below.filter(|parent| reached.insert(**parent)).copied().collect();
    }
    Ok(reached)
}

/// The commits that stand `count` deep, counted from 1. As with git, that of the first commit too: who got as much as was
/// asked for may always ask for more.
async fn below<R: Repository>(
    commits: &mut Commits<'_, R>,
    from: &[ObjectId],
    count: usize,
) -> Result<HashSet<ObjectId>, UploadError> {
    let mut reached: HashSet<ObjectId> = from.iter().copied().collect();
    let mut level: Vec<ObjectId> = from.to_vec();
    for _ in 1..count {
        commits.read(&level).await?;
        let parents = level.iter().filter_map(|id| commits.get(id)).flat_map(|commit| &commit.parents);
        level = parents.filter(|parent| reached.insert(**parent)).copied().collect();
        if level.is_empty() {
            break;
        }
    }
    commits.read(&level).await?;
    Ok(level.into_iter().filter(|id| commits.get(id).is_some()).collect())
}

/// The last commits that are wanted: a parent of theirs is not. Where the client's history ends, `shallow`, it goes on
/// only from what is wanted.
async fn youngest<R: Repository>(
    commits: &mut Commits<'_, R>,
    from: &[ObjectId],
    shallow: &[ObjectId],
    wanted: impl Fn(&ObjectId, &Commit) -> bool,
) -> Result<HashSet<ObjectId>, UploadError> {
    let reached = reach(commits, from, &wanted).await?;
    let is_wanted = |id: &ObjectId| commits.get(id).is_some_and(|commit| wanted(id, commit));
    if from.iter().any(|id| commits.get(id).is_some()) && !from.iter().any(is_wanted) {
        return Err(UploadError::Refused("no commits selected for shallow requests".to_owned()));
    }
    // As git has it: what the client asked for by name is sent even where it is too old, and all below it.
    let is_last = |id: &ObjectId| commits.get(id).is_some_and(|commit| !commit.parents.iter().all(is_wanted));
    let last = reached.into_iter().filter(|id| is_wanted(id) && is_last(id));
    Ok(last.chain(shallow.iter().copied().filter(|id| !is_wanted(id))).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Reference;
    use crate::sample::History;

    /// The ends of the history of `want` for a client with these lines and this shallow commit.
    async fn ends_of(
        history: &History,
        want: ObjectId,
        client_shallow: &[ObjectId],
        lines: &[&str],
    ) -> Result<Vec<ObjectId>, String> {
        let mut wishes = Wishes { client_shallow: client_shallow.to_vec(), ..Wishes::default() };
        for line in lines {
            assert!(wishes.take(line, &mut Vec::new()).map_err(|error| error.to_string())?, "{line}");
        }
        let mut commits = Commits::of(history).await.unwrap();
        let found = ends(&mut commits, &[want], &wishes).await.map_err(|error| error.to_string())?;
        let mut found: Vec<ObjectId> = found.into_iter().collect();
        found.sort_unstable();
        Ok(found)
    }

    #[tokio::test]
    async fn a_number_counts_from_what_is_wanted() {
        let (history, ids) = History::line(6);
        assert_eq!(ends_of(&history, ids[5], &[], &["deepen 1"]).await, Ok(vec![ids[5]]));
        assert_eq!(ends_of(&history, ids[5], &[], &["deepen 3"]).await, Ok(vec![ids[3]]));
        assert_eq!(ends_of(&history, ids[5], &[], &["deepen 6"]).await, Ok(vec![ids[0]]));
        for all in ["deepen 7", "deepen 2147483647"] {
            assert_eq!(ends_of(&history, ids[5], &[ids[4]], &[all]).await, Ok(vec![]), "{all}");
        }
    }

    #[tokio::test]
    async fn a_relative_number_counts_from_where_the_client_ends() {
        let (history, ids) = History::line(6);
        let ends = |number| ends_of(&history, ids[5], &ids[3..4], number);
        assert_eq!(ends(&["deepen-relative", "deepen 1"]).await, Ok(vec![ids[2]]));
        assert_eq!(ends(&["deepen 2", "deepen-relative"]).await, Ok(vec![ids[1]]));
        assert_eq!(ends(&["deepen 3", "deepen-relative"]).await, Ok(vec![ids[0]]));
        assert_eq!(ends(&["deepen 4", "deepen-relative"]).await, Ok(vec![]));
    }

    #[tokio::test]
    async fn a_time_or_a_ref_ends_the_history_above_it() {
        let (mut history, ids) = History::line(6);
        history.refs.push(Reference { name: "refs/tags/v1".to_owned(), target: ids[2] });
        assert_eq!(ends_of(&history, ids[5], &[], &["deepen-since 4"]).await, Ok(vec![ids[4]]));
        for name in ["v1", "tags/v1", "refs/tags/v1"] {
            let line = format!("deepen-not {name}");
            assert_eq!(ends_of(&history, ids[5], &[], &[&line]).await, Ok(vec![ids[3]]), "{line}");
        }
        assert_eq!(ends_of(&history, ids[5], &ids[1..2], &["deepen-not v1"]).await.unwrap().len(), 2);
        let both = ["deepen-since 1", "deepen-not v1"];
        assert_eq!(ends_of(&history, ids[5], &[], &both).await, Ok(vec![ids[3]]));
    }

    #[tokio::test]
    async fn a_merge_with_a_parent_too_old_is_an_end() {
        let (mut history, ids) = History::line(3);
        let (old, main) = (history.commit(&[ids[0]]), history.commit(&[ids[2]]));
        let merge = history.commit(&[main, old]);
        assert!(ends_of(&history, merge, &[], &["deepen-since 4"]).await.unwrap().contains(&merge));
        let mut two = vec![main, old];
        two.sort_unstable();
        assert_eq!(ends_of(&history, merge, &[], &["deepen 2"]).await, Ok(two));
    }

    #[tokio::test]
    async fn the_history_of_a_shallow_repository_ends_by_itself() {
        let (mut history, ids) = History::line(6);
        history.shallow.push(ids[3]);
        assert_eq!(ends_of(&history, ids[5], &[], &["deepen 4"]).await, Ok(vec![]));
        assert_eq!(ends_of(&history, ids[5], &[], &["deepen-since 1"]).await, Ok(vec![]));
    }

    #[tokio::test]
    async fn what_selects_nothing_or_is_no_depth_is_refused() {
        let (history, ids) = History::line(2);
        for (lines, why) in [
            (&["deepen-since 99"][..], "no commits selected"),
            (&["deepen-not v9"], "deepen-not is not a ref: v9"),
            (&["deepen 1", "deepen-since 1"], "cannot be used together"),
            (&["deepen 0"], "bad line"),
            (&["deepen-since tomorrow"], "bad line"),
            (&["deepen-not x"; 101], "more than 100"),
        ] {
            let refused = ends_of(&history, ids[1], &[], lines).await.unwrap_err();
            assert!(refused.contains(why), "{refused}");
        }
    }
}
