//! Finds what to send: everything the wants reach, less what the client has. Objects are read a level of the graph at a
//! time.

use std::collections::{BTreeSet, HashSet};
use std::sync::Arc;

use gix_hash::ObjectId;
use gix_object::Kind;

use super::commits::Commits;
use super::depth::{self, Depth};
use super::files::files;
use super::trees::Trees;
use super::{UploadError, Wishes};
use crate::advertise::{PEEL_MAX, peel, sorted_refs};
use crate::memory::Reservation;
use crate::pkt_line::write;
use crate::{Object, Repository, content, links};

/// What an object takes from when it is selected until it is sent: in the order, in the set of what is left to be read, and with
/// its place in the pack.
const SELECTED_BYTES: u64 = 200;

/// What to send.
pub(super) struct Selection {
    /// The objects, commits first.
    pub(super) objects: Vec<ObjectId>,
    /// What the client has of what lies next to it.
    pub(super) had: gix_hashtable::HashSet,
    /// Some of the objects, which were read on the way.
    pub(super) read: Vec<Object>,
    /// What is held for all of them, until the pack is sent.
    pub(super) held: Reservation,
    pub(super) boundary: Boundary,
}

/// Where the client's history ends after the fetch, as far as that changes.
#[derive(Default)]
pub(super) struct Boundary {
    shallow: Vec<ObjectId>,
    unshallow: Vec<ObjectId>,
}

impl Boundary {
    pub(super) fn is_empty(&self) -> bool {
        self.shallow.is_empty() && self.unshallow.is_empty()
    }

    /// Without line breaks, as git itself sends them: libgit2 takes no others.
    pub(super) fn write_lines(&self, out: &mut Vec<u8>) {
        for id in &self.shallow {
            write(out, format!("shallow {id}").as_bytes());
        }
        for id in &self.unshallow {
            write(out, format!("unshallow {id}").as_bytes());
        }
    }
}

/// Finds where the client's history will end, before anything is known of what it has.
pub(super) async fn boundary<R: Repository>(
    repository: &R,
    wishes: &Wishes,
) -> Result<Boundary, UploadError> {
    let roots = Roots::of(repository, &wishes.wants).await?;
    Ok(History::walk(repository, &roots.commits, wishes).await?.boundary)
}

/// Finds what to send.
pub(super) async fn select<R: Repository>(repository: &R, wishes: &Wishes) -> Result<Selection, UploadError> {
    let roots = Roots::of(repository, &wishes.wants).await?;
    let mut trees = Trees::of(repository);
    let history = History::walk(repository, &roots.commits, wishes);
    let history =
        if wishes.everything() { tokio::try_join!(history, trees.read_ahead())?.0 } else { history.await? };
    let mut objects = history.new;
    objects.extend(roots.others);
    if wishes.include_tag {
        let refs = sorted_refs(repository).await?;
        let sent: HashSet<ObjectId> = objects.iter().copied().collect();
        let tags = peel(repository, &refs).await?.into_iter().filter(|(_, target)| sent.contains(target));
        objects.extend(tags.map(|(tag, _)| tag));
    }
    let had = files(&trees, history.had_trees, &Arc::default()).await?;
    // Until all that is held for what is selected.
    let (had, _had_held) = (Arc::new(had.seen), had.held);
    let new_trees = roots.trees.into_iter().chain(history.new_trees).collect();
    let files = files(&trees, new_trees, &had).await?;
    objects.extend(files.order);
    let mut held = Reservation::new(&repository.memory());
    held.try_resize((objects.len() + had.len()) as u64 * SELECTED_BYTES)?;
    let mut seen = HashSet::with_capacity(objects.len());
    objects.retain(|id| seen.insert(*id));
    let had = Arc::unwrap_or_clone(had);
    Ok(Selection { objects, had, read: files.read, held, boundary: history.boundary })
}

/// What the wants lead to.
#[derive(Default)]
struct Roots {
    commits: Vec<ObjectId>,
    trees: Vec<ObjectId>,
    /// Blobs, and the tags on the way.
    others: Vec<ObjectId>,
}

impl Roots {
    async fn of<R: Repository>(repository: &R, wants: &[ObjectId]) -> Result<Self, UploadError> {
        let mut roots = Self::default();
        let mut level = wants.to_vec();
        // Tags of tags end in a commit, a tree or a blob.
        for _ in 0..PEEL_MAX {
            let mut next = Vec::new();
            content::each(repository, &level, |id, kind, content| {
                match kind {
                    Kind::Commit => roots.commits.push(id),
                    Kind::Tree => roots.trees.push(id),
                    Kind::Blob => roots.others.push(id),
                    Kind::Tag => {
                        roots.others.push(id);
                        next.push(links::tag(id, content)?);
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

/// The commits to send and the trees on both sides of the border.
#[derive(Default)]
struct History {
    new: Vec<ObjectId>,
    new_trees: Vec<ObjectId>,
    /// Trees of commits that the client has, next to what is sent: most of what is sent is there too.
    had_trees: Vec<ObjectId>,
    boundary: Boundary,
}

/// Commits that a walk has come to and not gone on from, the youngest last.
type Border = BTreeSet<(i64, ObjectId)>;

impl History {
    /// Walks back from the wants and from what the client has. The side whose border is younger goes on, so that both meet
    /// where the histories do; commits whose clock was wrong only make what is sent larger. Ends where the wants do.
    async fn walk<R: Repository>(
        repository: &R,
        wants: &[ObjectId],
        wishes: &Wishes,
    ) -> Result<Self, UploadError> {
        let mut commits = Commits::of(repository).await?;
        let ends = depth::ends(&mut commits, wants, wishes).await?;
        let client_shallow: HashSet<ObjectId> = wishes.client_shallow.iter().copied().collect();
        let mut had: HashSet<ObjectId> =
            wishes.common.iter().chain(&wishes.client_shallow).copied().collect();
        let mut starts = wants.to_vec();
        if wishes.depth.as_ref().is_some_and(Depth::goes_on_everywhere) {
            starts.extend(&wishes.client_shallow);
        }
        let mut reached: HashSet<ObjectId> = starts.iter().copied().collect();
        let mut order = Vec::new();
        let mut history = Self::default();
        let mut ours = border(&mut commits, &starts).await?;
        let mut theirs = border(&mut commits, &wishes.common).await?;
        while let Some((our_youngest, _)) = ours.last().copied() {
            let first = ObjectId::null(gix_hash::Kind::Sha1);
            let now = match theirs.last() {
                Some((youngest, _)) => ours.split_off(&(youngest.saturating_add(1), first)),
                None => std::mem::take(&mut ours),
            };
            let mut next = Vec::new();
            for (_, id) in &now {
                let Some(commit) = commits.get(id) else { continue };
                order.push(*id);
                // The history that this repository has itself may end here; then the client's does too.
                let cut = commits.is_shallow(id) && !had.contains(id);
                if (cut || ends.contains(id)) && !client_shallow.contains(id) {
                    history.boundary.shallow.push(*id);
                }
                if ends.contains(id) {
                    continue;
                }
                if client_shallow.contains(id) {
                    // Who asks for no more depth wants nothing below where its history ends.
                    if wishes.depth.is_none() {
                        continue;
                    }
                    if !commits.is_shallow(id) {
                        history.boundary.unshallow.push(*id);
                    }
                }
                // Where the client's history ends shallow and is to be deepened, the walk goes on below what it has.
                let goes_on = |id: &ObjectId| wishes.depth.is_some() || !had.contains(id);
                if goes_on(id) {
                    let parents = commit.parents.iter().filter(|parent| goes_on(parent));
                    next.extend(parents.filter(|parent| reached.insert(**parent)));
                }
            }
            ours.append(&mut border(&mut commits, &next).await?);
            let back = theirs.split_off(&(our_youngest, first));
            let back = back.iter().map(|(_, id)| id).filter(|id| !client_shallow.contains(*id));
            let below = back.filter_map(|id| commits.get(id)).flat_map(|commit| &commit.parents);
            let below: Vec<ObjectId> = below.filter(|id| had.insert(**id)).copied().collect();
            theirs.append(&mut border(&mut commits, &below).await?);
        }
        for id in order {
            let Some(commit) = commits.get(&id) else { continue };
            if had.contains(&id) {
                history.had_trees.push(commit.tree);
            } else {
                history.new.push(id);
                history.new_trees.push(commit.tree);
            }
        }
        let border = wishes.common.iter().filter_map(|id| Some(commits.get(id)?.tree));
        history.had_trees.extend(border);
        Ok(history)
    }
}

/// Reads commits for a border. What is no commit has no place in it.
async fn border<R: Repository>(
    commits: &mut Commits<'_, R>,
    ids: &[ObjectId],
) -> Result<Border, UploadError> {
    commits.read(ids).await?;
    Ok(ids.iter().filter_map(|id| Some((commits.get(id)?.time, *id))).collect())
}

/// One of `wanted` to which none of `tips` leads from commit to commit, if there is one.
pub(super) async fn out_of_reach<R: Repository>(
    repository: &R,
    tips: HashSet<ObjectId>,
    mut wanted: HashSet<ObjectId>,
) -> Result<Option<ObjectId>, UploadError> {
    if wanted.is_empty() {
        return Ok(None);
    }
    let asked: Vec<ObjectId> = wanted.iter().copied().collect();
    let known = repository.object_info(&asked).await?;
    // Only a commit that is there is worth the walk.
    let is_commit = |id: &ObjectId| known.get(id).is_some_and(|known| known.kind == Kind::Commit);
    if let Some(other) = asked.iter().find(|id| !is_commit(id)) {
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
    use crate::sample::History as Sample;

    #[tokio::test]
    async fn nothing_is_sent_below_where_the_clients_history_ends() {
        let (history, ids) = Sample::line(6);
        let mut wishes = Wishes {
            wants: vec![ids[3]],
            common: vec![ids[5]],
            client_shallow: vec![ids[3]],
            ..Wishes::default()
        };
        let sent = |selection: Selection| -> Vec<ObjectId> {
            ids.iter().filter(|id| selection.objects.contains(id)).copied().collect()
        };
        assert!(sent(select(&history, &wishes).await.unwrap()).is_empty());
        for line in ["deepen 1", "deepen-relative"] {
            wishes.take(line, &mut Vec::new()).unwrap();
        }
        let deepened = select(&history, &wishes).await.unwrap();
        assert_eq!(
            (&deepened.boundary.shallow, &deepened.boundary.unshallow),
            (&vec![ids[2]], &vec![ids[3]])
        );
        assert_eq!(sent(deepened), [ids[2]]);
    }

    #[tokio::test]
    async fn a_branch_from_an_old_commit_is_sent_without_what_is_below_it() {
        let (mut history, ids) = Sample::line(50);
        let branch = history.commit(&[ids[10]]);
        let wishes = Wishes { wants: vec![branch], common: vec![ids[49]], ..Wishes::default() };
        assert_eq!(select(&history, &wishes).await.unwrap().objects, [branch]);
        let merge = history.commit(&[branch, ids[30]]);
        let wishes = Wishes { wants: vec![merge], common: vec![ids[20]], ..Wishes::default() };
        let sent = select(&history, &wishes).await.unwrap().objects;
        assert_eq!(sent.len(), 12, "the merge, the branch, and ten of the line");
        assert!(!sent.contains(&ids[20]) && sent.contains(&ids[21]));
    }

    #[tokio::test]
    async fn what_is_not_wanted_again_is_deepened_too() {
        let (mut history, ids) = Sample::line(6);
        let elsewhere = history.commit(&[ids[0]]);
        for (lines, deepened) in
            [(&["deepen 2147483647"][..], &ids[..4]), (&["deepen 2", "deepen-relative"], &ids[2..4])]
        {
            let client_shallow = vec![ids[4]];
            let mut wishes = Wishes { wants: vec![elsewhere], client_shallow, ..Wishes::default() };
            for line in lines {
                wishes.take(line, &mut Vec::new()).unwrap();
            }
            let selection = select(&history, &wishes).await.unwrap();
            assert_eq!(selection.boundary.unshallow, [ids[4]]);
            let sent: Vec<_> = ids[1..].iter().filter(|id| selection.objects.contains(id)).collect();
            assert_eq!(sent, deepened.iter().filter(|id| **id != ids[0]).collect::<Vec<_>>());
        }
    }

    #[test]
    fn a_boundary_is_told_without_line_breaks() {
        let id = ObjectId::null(gix_hash::Kind::Sha1);
        let mut out = Vec::new();
        Boundary { shallow: vec![id], unshallow: vec![id] }.write_lines(&mut out);
        assert_eq!(String::from_utf8(out).unwrap(), format!("0034shallow {id}0036unshallow {id}"));
    }
}
