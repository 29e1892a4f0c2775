//! The depth of a shallow fetch (gitprotocol-v2: `deepen`, `deepen-since`, `deepen-not`, `deepen-relative`), which
//! determines the client's new shallow commits.

use std::collections::HashSet;

use gix_hash::ObjectId;
use gix_object::Kind;

use super::commits::Commits;
use super::{FetchRequest, UploadError};
use crate::advertise::{PEEL_MAX, sorted_refs};
use crate::parse::{self, Commit};
use crate::{CorruptObjectError, Repository, content};

/// git's INFINITE_DEPTH, the depth of `git fetch --unshallow`.
const INFINITE_DEPTH: usize = 0x7fff_ffff;

/// The most `deepen-not` lines of a request.
const DEEPEN_NOT_MAX: usize = 100;

/// The limits of the history that a client requests: a number of commits, a time, or excluded refs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Deepen {
    /// The number of commits.
    commits: Option<usize>,
    /// `commits` counts from the client's current shallow commits instead of the wants.
    pub(super) relative: bool,
    /// Commits before this time are excluded, in seconds since 1970.
    since: Option<i64>,
    /// Commits reachable from these refs are excluded.
    not: Vec<String>,
}

impl Deepen {
    /// Whether the history is extended below all of the client's shallow commits, even those that no want reaches.
    pub(super) fn extends_every_boundary(&self) -> bool {
        self.relative || self.commits == Some(INFINITE_DEPTH)
    }

    /// Parses a deepen argument; `false` for any other argument.
    pub(super) fn take(into: &mut Option<Self>, word: &str, value: &str) -> Result<bool, UploadError> {
        let bad = || UploadError::Rejected(format!("bad line `{} {}`", word, value.escape_debug()));
        match word {
            "deepen" => {
                let commits = value.parse().ok().filter(|commits| *commits > 0).ok_or_else(bad)?;
                into.get_or_insert_default().commits = Some(commits);
            }
            "deepen-relative" => into.get_or_insert_default().relative = true,
            "deepen-since" => into.get_or_insert_default().since = Some(value.parse().map_err(|_| bad())?),
            "deepen-not" if into.as_ref().is_some_and(|depth| depth.not.len() >= DEEPEN_NOT_MAX) => {
                return Err(UploadError::Rejected(format!("more than {DEEPEN_NOT_MAX} lines of deepen-not")));
            }
            "deepen-not" => into.get_or_insert_default().not.push(value.to_owned()),
            _ => return Ok(false),
        }
        Ok(true)
    }
}

/// The client's new shallow commits for `wants`: their parents are not sent.
pub(super) async fn shallow_commits<R: Repository>(
    commits: &mut Commits<'_, R>,
    wants: &[ObjectId],
    request: &FetchRequest,
) -> Result<HashSet<ObjectId>, UploadError> {
    let Some(depth) = &request.depth else { return Ok(HashSet::new()) };
    let selects = depth.since.is_some() || !depth.not.is_empty();
    match depth.commits {
        Some(_) if selects => Err(UploadError::Rejected(
            "deepen and deepen-since (or deepen-not) cannot be used together".to_owned(),
        )),
        Some(count) if depth.relative => {
            at_depth(commits, &request.client_shallow, count.saturating_add(1)).await
        }
        Some(count) => at_depth(commits, wants, count).await,
        None if selects => {
            let mut unwanted = Vec::with_capacity(depth.not.len());
            for name in &depth.not {
                unwanted.push(commit_of(commits.repository(), name).await?);
            }
            let unwanted = reachable(commits, &unwanted, |_, _| true).await?;
            let young = |commit: &Commit| depth.since.is_none_or(|since| commit.time >= since);
            let wanted = |id: &ObjectId, commit: &Commit| young(commit) && !unwanted.contains(id);
            selected_boundary(commits, wants, &request.client_shallow, wanted).await
        }
        None => Ok(HashSet::new()),
    }
}

/// The commit of a ref, which can be abbreviated as in git.
async fn commit_of<R: Repository>(repository: &R, name: &str) -> Result<ObjectId, UploadError> {
    let refs = sorted_refs(repository).await?;
    let named = |full: String| refs.iter().find(|found| found.name == full);
    let found =
        ["", "refs/", "refs/tags/", "refs/heads/"].iter().find_map(|dir| named(format!("{dir}{name}")));
    let refused = || UploadError::Rejected(format!("deepen-not is not a ref: {}", name.escape_debug()));
    let mut target = found.ok_or_else(refused)?.target;
    for _ in 0..PEEL_MAX {
        let mut next = None;
        content::for_each(repository, &[target], |id, kind, content| {
            next = Some(if kind == Kind::Tag { parse::tag(id, content)? } else { id });
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

/// All commits reachable from `from`, walking on from those that match `goes_on`. The commits where the walk stops are
/// included.
async fn reachable<R: Repository>(
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

/// The commits at depth `count`, where `from` has depth 1. As in git, root commits are included, so that a client can always
/// deepen a history that has exactly the requested depth.
async fn at_depth<R: Repository>(
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

/// The oldest selected commits: one of their parents is not selected. Below the client's `shallow` commits, the walk only
/// continues from selected ones.
async fn selected_boundary<R: Repository>(
    commits: &mut Commits<'_, R>,
    from: &[ObjectId],
    shallow: &[ObjectId],
    wanted: impl Fn(&ObjectId, &Commit) -> bool,
) -> Result<HashSet<ObjectId>, UploadError> {
    let reached = reachable(commits, from, &wanted).await?;
    let is_wanted = |id: &ObjectId| commits.get(id).is_some_and(|commit| wanted(id, commit));
    if from.iter().any(|id| commits.get(id).is_some()) && !from.iter().any(is_wanted) {
        return Err(UploadError::Rejected("no commits selected for shallow requests".to_owned()));
    }
    // As in git, a want is sent even if it is too old, with all its ancestors.
    let is_last = |id: &ObjectId| commits.get(id).is_some_and(|commit| !commit.parents.iter().all(is_wanted));
    let last = reached.into_iter().filter(|id| is_wanted(id) && is_last(id));
    Ok(last.chain(shallow.iter().copied().filter(|id| !is_wanted(id))).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Reference;
    use crate::test_repo::TestRepo;

    /// The new shallow commits for `want`, from a client with these deepen lines and these shallow commits.
    async fn ends_of(
        repo: &TestRepo,
        want: ObjectId,
        client_shallow: &[ObjectId],
        lines: &[&str],
    ) -> Result<Vec<ObjectId>, String> {
        let mut request = FetchRequest { client_shallow: client_shallow.to_vec(), ..FetchRequest::default() };
        for line in lines {
            assert!(request.take(line, &mut Vec::new()).map_err(|error| error.to_string())?, "{line}");
        }
        let mut commits = Commits::of(repo).await.unwrap();
        let found =
            shallow_commits(&mut commits, &[want], &request).await.map_err(|error| error.to_string())?;
        let mut found: Vec<ObjectId> = found.into_iter().collect();
        found.sort_unstable();
        Ok(found)
    }

    #[tokio::test]
    async fn depth_counts_from_the_wants() {
        let (repo, ids) = TestRepo::linear(6);
        assert_eq!(ends_of(&repo, ids[5], &[], &["deepen 1"]).await, Ok(vec![ids[5]]));
        assert_eq!(ends_of(&repo, ids[5], &[], &["deepen 3"]).await, Ok(vec![ids[3]]));
        assert_eq!(ends_of(&repo, ids[5], &[], &["deepen 6"]).await, Ok(vec![ids[0]]));
        for all in ["deepen 7", "deepen 2147483647"] {
            assert_eq!(ends_of(&repo, ids[5], &[ids[4]], &[all]).await, Ok(vec![]), "{all}");
        }
    }

    #[tokio::test]
    async fn relative_depth_counts_from_client_shallow_commits() {
        let (repo, ids) = TestRepo::linear(6);
        let ends = |number| ends_of(&repo, ids[5], &ids[3..4], number);
        assert_eq!(ends(&["deepen-relative", "deepen 1"]).await, Ok(vec![ids[2]]));
        assert_eq!(ends(&["deepen 2", "deepen-relative"]).await, Ok(vec![ids[1]]));
        assert_eq!(ends(&["deepen 3", "deepen-relative"]).await, Ok(vec![ids[0]]));
        assert_eq!(ends(&["deepen 4", "deepen-relative"]).await, Ok(vec![]));
    }

    #[tokio::test]
    async fn time_or_ref_excludes_older_history() {
        let (mut repo, ids) = TestRepo::linear(6);
        repo.refs.push(Reference { name: "refs/tags/v1".to_owned(), target: ids[2] });
        assert_eq!(ends_of(&repo, ids[5], &[], &["deepen-since 4"]).await, Ok(vec![ids[4]]));
        for name in ["v1", "tags/v1", "refs/tags/v1"] {
            let line = format!("deepen-not {name}");
            assert_eq!(ends_of(&repo, ids[5], &[], &[&line]).await, Ok(vec![ids[3]]), "{line}");
        }
        assert_eq!(ends_of(&repo, ids[5], &ids[1..2], &["deepen-not v1"]).await.unwrap().len(), 2);
        let both = ["deepen-since 1", "deepen-not v1"];
        assert_eq!(ends_of(&repo, ids[5], &[], &both).await, Ok(vec![ids[3]]));
    }

    #[tokio::test]
    async fn merge_with_excluded_parent_is_shallow() {
        let (mut repo, ids) = TestRepo::linear(3);
        let (old, main) = (repo.commit(&[ids[0]]), repo.commit(&[ids[2]]));
        let merge = repo.commit(&[main, old]);
        assert!(ends_of(&repo, merge, &[], &["deepen-since 4"]).await.unwrap().contains(&merge));
        let mut two = vec![main, old];
        two.sort_unstable();
        assert_eq!(ends_of(&repo, merge, &[], &["deepen 2"]).await, Ok(two));
    }

    #[tokio::test]
    async fn shallow_repository_needs_no_new_boundary() {
        let (mut repo, ids) = TestRepo::linear(6);
        repo.shallow.push(ids[3]);
        assert_eq!(ends_of(&repo, ids[5], &[], &["deepen 4"]).await, Ok(vec![]));
        assert_eq!(ends_of(&repo, ids[5], &[], &["deepen-since 1"]).await, Ok(vec![]));
    }

    #[tokio::test]
    async fn invalid_deepen_requests_are_rejected() {
        let (repo, ids) = TestRepo::linear(2);
        for (lines, why) in [
            (&["deepen-since 99"][..], "no commits selected"),
            (&["deepen-not v9"], "deepen-not is not a ref: v9"),
            (&["deepen 1", "deepen-since 1"], "cannot be used together"),
            (&["deepen 0"], "bad line"),
            (&["deepen-since tomorrow"], "bad line"),
            (&["deepen-not x"; 101], "more than 100"),
        ] {
            let refused = ends_of(&repo, ids[1], &[], lines).await.unwrap_err();
            assert!(refused.contains(why), "{refused}");
        }
    }
}
