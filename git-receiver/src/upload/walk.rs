//! Selects the objects to send: everything reachable from the wants, except what the client has. The graph is walked level
//! by level.

use std::collections::{BTreeSet, HashSet};
use std::sync::Arc;

use gix_hash::ObjectId;
use gix_object::Kind;

use super::commits::Commits;
use super::deepen::{self, Deepen};
use super::tree_contents::tree_contents;
use super::tree_reader::TreeReader;
use super::{FetchRequest, UploadError};
use crate::advertise::{PEEL_MAX, peel, sorted_refs};
use crate::memory::Reservation;
use crate::pkt_line::write;
use crate::{Object, Repository, content, parse};

/// The memory of a selected object until it is sent: in the order, in the set of unread objects, and in the offsets of the
/// pack.
const SELECTED_OBJECT_BYTES: u64 = 200;

/// The objects to send.
pub(super) struct Selection {
    /// The objects, commits first.
    pub(super) objects: Vec<ObjectId>,
    /// Objects that the client has next to the selected ones; they can be bases of a thin pack.
    pub(super) client_has: gix_hashtable::HashSet,
    /// Selected objects that the walk already read.
    pub(super) read: Vec<Object>,
    /// Reserved for the selection until the pack is sent.
    pub(super) reservation: Reservation,
    pub(super) shallow_info: ShallowInfo,
}

/// Changes of the client's shallow boundary, the shallow-info section of protocol v2.
#[derive(Default)]
pub(super) struct ShallowInfo {
    shallow: Vec<ObjectId>,
    unshallow: Vec<ObjectId>,
}

impl ShallowInfo {
    pub(super) fn is_empty(&self) -> bool {
        self.shallow.is_empty() && self.unshallow.is_empty()
    }

    /// Without line feeds, as git sends them; libgit2 accepts nothing else.
    pub(super) fn write_lines(&self, out: &mut Vec<u8>) {
        for id in &self.shallow {
            write(out, format!("shallow {id}").as_bytes());
        }
        for id in &self.unshallow {
            write(out, format!("unshallow {id}").as_bytes());
        }
    }
}

/// Computes the client's new shallow boundary before the haves are known.
pub(super) async fn shallow_info<R: Repository>(
    repository: &R,
    request: &FetchRequest,
) -> Result<ShallowInfo, UploadError> {
    let roots = Roots::of(repository, &request.wants).await?;
    Ok(HistoryWalk::walk(repository, &roots.commits, request).await?.shallow_info)
}

/// Selects the objects to send.
pub(super) async fn select<R: Repository>(
    repository: &R,
    request: &FetchRequest,
) -> Result<Selection, UploadError> {
    let roots = Roots::of(repository, &request.wants).await?;
    let mut trees = TreeReader::of(repository);
    let history = HistoryWalk::walk(repository, &roots.commits, request);
    let history =
        if request.everything() { tokio::try_join!(history, trees.prefetch())?.0 } else { history.await? };
    let mut objects = history.new;
    objects.extend(roots.others);
    if request.include_tag {
        let refs = sorted_refs(repository).await?;
        let sent: HashSet<ObjectId> = objects.iter().copied().collect();
        let tags = peel(repository, &refs).await?.into_iter().filter(|(_, target)| sent.contains(target));
        objects.extend(tags.map(|(tag, _)| tag));
    }
    let client_has = tree_contents(&trees, history.client_trees, &Arc::default()).await?;
    // Released once the selection has its own reservation.
    let (client_has, _client_reservation) = (Arc::new(client_has.seen), client_has.reservation);
    let new_trees = roots.trees.into_iter().chain(history.new_trees).collect();
    let new_objects = tree_contents(&trees, new_trees, &client_has).await?;
    objects.extend(new_objects.order);
    let mut reservation = Reservation::new(&repository.memory());
    reservation.try_resize((objects.len() + client_has.len()) as u64 * SELECTED_OBJECT_BYTES)?;
    let mut seen = HashSet::with_capacity(objects.len());
    objects.retain(|id| seen.insert(*id));
    let client_has = Arc::unwrap_or_clone(client_has);
    Ok(Selection {
        objects,
        client_has,
        read: new_objects.read,
        reservation,
        shallow_info: history.shallow_info,
    })
}

/// The wants, peeled.
#[derive(Default)]
struct Roots {
    commits: Vec<ObjectId>,
    trees: Vec<ObjectId>,
    /// Blobs, and the tags that were peeled.
    others: Vec<ObjectId>,
}

impl Roots {
    async fn of<R: Repository>(repository: &R, wants: &[ObjectId]) -> Result<Self, UploadError> {
        let mut roots = Self::default();
        let mut level = wants.to_vec();
        // Chains of tags end at a commit, a tree or a blob.
        for _ in 0..PEEL_MAX {
            let mut next = Vec::new();
            content::for_each(repository, &level, |id, kind, content| {
                match kind {
                    Kind::Commit => roots.commits.push(id),
                    Kind::Tree => roots.trees.push(id),
                    Kind::Blob => roots.others.push(id),
                    Kind::Tag => {
                        roots.others.push(id);
                        next.push(parse::tag(id, content)?);
                    }
                }
                Ok::<_, UploadError>(())
            })
            .await?;
            level = next;
            if level.is_empty() {
                break;
            }
        }
        Ok(roots)
    }
}

/// The commits to send and the trees on both sides of the boundary between server and client.
#[derive(Default)]
struct HistoryWalk {
    new: Vec<ObjectId>,
    new_trees: Vec<ObjectId>,
    /// Trees of boundary commits that the client has; most of the new trees' entries are in them too.
    client_trees: Vec<ObjectId>,
    shallow_info: ShallowInfo,
}

/// Commits that a walk has reached but not passed, newest last.
type Frontier = BTreeSet<(i64, ObjectId)>;

impl HistoryWalk {
    /// Walks back from the wants and from the common commits. The side with the newer frontier advances, so that both meet
    /// where the histories do; skewed commit times only make the pack larger. Ends when the wants' frontier is empty.
    async fn walk<R: Repository>(
        repository: &R,
        wants: &[ObjectId],
        request: &FetchRequest,
    ) -> Result<Self, UploadError> {
        let mut commits = Commits::of(repository).await?;
        let new_shallow = deepen::shallow_commits(&mut commits, wants, request).await?;
        let client_shallow: HashSet<ObjectId> = request.client_shallow.iter().copied().collect();
        let mut client_has: HashSet<ObjectId> =
            request.common.iter().chain(&request.client_shallow).copied().collect();
        let mut starts = wants.to_vec();
        if request.depth.as_ref().is_some_and(Deepen::extends_every_boundary) {
            starts.extend(&request.client_shallow);
        }
        let mut reached: HashSet<ObjectId> = starts.iter().copied().collect();
        let mut order = Vec::new();
        let mut history = Self::default();
        let mut our_frontier = frontier(&mut commits, &starts).await?;
        let mut client_frontier = frontier(&mut commits, &request.common).await?;
        while let Some((our_newest, _)) = our_frontier.last().copied() {
            let first = ObjectId::null(gix_hash::Kind::Sha1);
            let batch = match client_frontier.last() {
                Some((newest, _)) => our_frontier.split_off(&(newest.saturating_add(1), first)),
                None => std::mem::take(&mut our_frontier),
            };
            let mut next = Vec::new();
            for (_, id) in &batch {
                let Some(commit) = commits.get(id) else { continue };
                order.push(*id);
                // A shallow commit of this repository becomes shallow at the client too.
                let cut = commits.is_shallow(id) && !client_has.contains(id);
                if (cut || new_shallow.contains(id)) && !client_shallow.contains(id) {
                    history.shallow_info.shallow.push(*id);
                }
                if new_shallow.contains(id) {
                    continue;
                }
                if client_shallow.contains(id) {
                    // Without a deepen request, nothing below the client's shallow commits is sent.
                    if request.depth.is_none() {
                        continue;
                    }
                    if !commits.is_shallow(id) {
                        history.shallow_info.unshallow.push(*id);
                    }
                }
                // With a deepen request, the walk continues below what the client has.
                let goes_on = |id: &ObjectId| request.depth.is_some() || !client_has.contains(id);
                if goes_on(id) {
                    let parents = commit.parents.iter().filter(|parent| goes_on(parent));
                    next.extend(parents.filter(|parent| reached.insert(**parent)));
                }
            }
            our_frontier.append(&mut frontier(&mut commits, &next).await?);
            let back = client_frontier.split_off(&(our_newest, first));
            let back = back.iter().map(|(_, id)| id).filter(|id| !client_shallow.contains(*id));
            let below = back.filter_map(|id| commits.get(id)).flat_map(|commit| &commit.parents);
            let below: Vec<ObjectId> = below.filter(|id| client_has.insert(**id)).copied().collect();
            client_frontier.append(&mut frontier(&mut commits, &below).await?);
        }
        for id in order {
            let Some(commit) = commits.get(&id) else { continue };
            if client_has.contains(&id) {
                history.client_trees.push(commit.tree);
            } else {
                history.new.push(id);
                history.new_trees.push(commit.tree);
            }
        }
        let frontier = request.common.iter().filter_map(|id| Some(commits.get(id)?.tree));
        history.client_trees.extend(frontier);
        Ok(history)
    }
}

/// Reads commits into a frontier; other objects are skipped.
async fn frontier<R: Repository>(
    commits: &mut Commits<'_, R>,
    ids: &[ObjectId],
) -> Result<Frontier, UploadError> {
    commits.read(ids).await?;
    Ok(ids.iter().filter_map(|id| Some((commits.get(id)?.time, *id))).collect())
}

/// One of `wanted` that is not reachable from `tips` through commits, if there is one.
pub(super) async fn first_unreachable<R: Repository>(
    repository: &R,
    tips: HashSet<ObjectId>,
    mut wanted: HashSet<ObjectId>,
) -> Result<Option<ObjectId>, UploadError> {
    if wanted.is_empty() {
        return Ok(None);
    }
    let ids: Vec<ObjectId> = wanted.iter().copied().collect();
    let known = repository.object_info(&ids).await?;
    // Only for stored commits is the walk necessary.
    let is_commit = |id: &ObjectId| known.get(id).is_some_and(|known| known.kind == Kind::Commit);
    if let Some(other) = ids.iter().find(|id| !is_commit(id)) {
        return Ok(Some(*other));
    }
    let mut commits = Commits::of(repository).await?;
    let mut level: Vec<ObjectId> = tips.iter().copied().collect();
    let mut seen = tips;
    while !level.is_empty() && !wanted.is_empty() {
        commits.read(&level).await?;
        let parents = level.iter().filter_map(|id| commits.get(id)).flat_map(|commit| &commit.parents);
        level = parents.filter(|id| seen.insert(**id)).copied().collect();
        wanted.retain(|id| !seen.contains(id));
    }
    Ok(wanted.into_iter().next())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_repo::TestRepo;

    #[tokio::test]
    async fn history_below_client_shallow_commits_is_not_sent() {
        let (repo, ids) = TestRepo::linear(6);
        let mut request = FetchRequest {
            wants: vec![ids[3]],
            common: vec![ids[5]],
            client_shallow: vec![ids[3]],
            ..FetchRequest::default()
        };
        let sent = |selection: Selection| -> Vec<ObjectId> {
            ids.iter().filter(|id| selection.objects.contains(id)).copied().collect()
        };
        assert!(sent(select(&repo, &request).await.unwrap()).is_empty());
        for line in ["deepen 1", "deepen-relative"] {
            request.take(line, &mut Vec::new()).unwrap();
        }
        let deepened = select(&repo, &request).await.unwrap();
        assert_eq!(
            (&deepened.shallow_info.shallow, &deepened.shallow_info.unshallow),
            (&vec![ids[2]], &vec![ids[3]])
        );
        assert_eq!(sent(deepened), [ids[2]]);
    }

    #[tokio::test]
    async fn branch_from_old_commit_is_sent_without_its_ancestors() {
        let (mut repo, ids) = TestRepo::linear(50);
        let branch = repo.commit(&[ids[10]]);
        let request = FetchRequest { wants: vec![branch], common: vec![ids[49]], ..FetchRequest::default() };
        assert_eq!(select(&repo, &request).await.unwrap().objects, [branch]);
        let merge = repo.commit(&[branch, ids[30]]);
        let request = FetchRequest { wants: vec![merge], common: vec![ids[20]], ..FetchRequest::default() };
        let sent = select(&repo, &request).await.unwrap().objects;
        assert_eq!(sent.len(), 12, "the merge, the branch, and ten of the line");
        assert!(!sent.contains(&ids[20]) && sent.contains(&ids[21]));
    }

    #[tokio::test]
    async fn history_that_is_not_wanted_is_deepened_too() {
        let (mut repo, ids) = TestRepo::linear(6);
        let elsewhere = repo.commit(&[ids[0]]);
        for (lines, deepened) in
            [(&["deepen 2147483647"][..], &ids[..4]), (&["deepen 2", "deepen-relative"], &ids[2..4])]
        {
            let client_shallow = vec![ids[4]];
            let mut request =
                FetchRequest { wants: vec![elsewhere], client_shallow, ..FetchRequest::default() };
            for line in lines {
                request.take(line, &mut Vec::new()).unwrap();
            }
            let selection = select(&repo, &request).await.unwrap();
            assert_eq!(selection.shallow_info.unshallow, [ids[4]]);
            let sent: Vec<_> = ids[1..].iter().filter(|id| selection.objects.contains(id)).collect();
            assert_eq!(sent, deepened.iter().filter(|id| **id != ids[0]).collect::<Vec<_>>());
        }
    }

    #[test]
    fn shallow_lines_have_no_line_feed() {
        let id = ObjectId::null(gix_hash::Kind::Sha1);
        let mut out = Vec::new();
        ShallowInfo { shallow: vec![id], unshallow: vec![id] }.write_lines(&mut out);
        assert_eq!(String::from_utf8(out).unwrap(), format!("0034shallow {id}0036unshallow {id}"));
    }
}
