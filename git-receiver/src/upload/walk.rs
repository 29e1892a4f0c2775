//! Finds what to send: everything the wants reach, less what the client has. Objects are read a level of the graph at a
//! time.

use std::collections::{BTreeSet, HashSet};

use gix_hash::ObjectId;
use gix_object::Kind;

use super::commits::Commits;
use super::depth::{self, Depth};
use super::{UploadError, Wishes};
use crate::Repository;
use crate::advertise::{PEEL_MAX, peel, sorted_refs};
use crate::check;
use crate::pkt_line::write;

/// What to send.
pub(super) struct Selection {
    /// The objects, commits first.
    pub(super) objects: Vec<ObjectId>,
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
    let mut roots = Roots::of(repository, &wishes.wants).await?;
    let history = History::walk(repository, &roots.commits, wishes).await?;
    let mut commits = history.new.clone();
    let mut objects = Vec::with_capacity(commits.len() * 3);
    objects.append(&mut commits);
    let had = files(repository, history.had_trees, HashSet::new()).await?;
    roots.trees.extend(history.new_trees);
    objects.append(&mut roots.others);
    if wishes.include_tag {
        let refs = sorted_refs(repository).await?;
        let sent: HashSet<ObjectId> = objects.iter().copied().collect();
        let tags = peel(repository, &refs).await?.into_iter().filter(|(_, target)| sent.contains(target));
        objects.extend(tags.map(|(tag, _)| tag));
    }
    let new = files(repository, roots.trees, had).await?;
    objects.extend(new);
    let mut seen = HashSet::with_capacity(objects.len());
    objects.retain(|id| seen.insert(*id));
    Ok(Selection { objects, boundary: history.boundary })
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
            for (id, kind, named) in read(repository, &level).await? {
                match kind {
                    Kind::Commit => roots.commits.push(id),
                    Kind::Tree => roots.trees.push(id),
                    Kind::Blob => roots.others.push(id),
                    Kind::Tag => {
                        roots.others.push(id);
                        next.extend(named.iter().map(|named| named.id));
                    }
                }
            }
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
                history.had_trees.extend(commit.tree);
            } else {
                history.new.push(id);
                history.new_trees.extend(commit.tree);
            }
        }
        let border = wishes.common.iter().filter_map(|id| commits.get(id)?.tree);
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
    let kinds = repository.kinds(&asked).await?;
    // Only a commit that is there is worth the walk.
    if let Some(other) = asked.into_iter().find(|id| kinds.get(id) != Some(&Kind::Commit)) {
        return Ok(Some(other));
    }
    let mut level: Vec<ObjectId> = tips.iter().copied().collect();
    let mut seen = tips;
    while !level.is_empty() && !wanted.is_empty() {
        let mut next = Vec::new();
        for (_, _, named) in read(repository, &level).await? {
            next.extend(named.iter().filter(|named| named.parent).map(|named| named.id));
        }
        next.retain(|id| seen.insert(*id));
        wanted.retain(|id| !seen.contains(id));
        level = next;
    }
    Ok(wanted.into_iter().next())
}

/// The trees and everything in them, apart from what is in `except`.
async fn files<R: Repository>(
    repository: &R,
    trees: Vec<ObjectId>,
    except: HashSet<ObjectId>,
) -> Result<HashSet<ObjectId>, UploadError> {
    let mut found: HashSet<ObjectId> = HashSet::new();
    let mut level: Vec<ObjectId> = trees;
    level.retain(|id| !except.contains(id) && found.insert(*id));
    while !level.is_empty() {
        let mut next = Vec::new();
        for (_, _, named) in read(repository, &level).await? {
            for named in named {
                if !except.contains(&named.id) && found.insert(named.id) && named.kind == Kind::Tree {
                    next.push(named.id);
                }
            }
        }
        level = next;
    }
    Ok(found)
}

/// Reads objects and what they name.
async fn read<R: Repository>(
    repository: &R,
    ids: &[ObjectId],
) -> Result<Vec<(ObjectId, Kind, Vec<check::Named>)>, UploadError> {
    let mut read = Vec::with_capacity(ids.len());
    for object in repository.objects(ids).await? {
        let named = if object.kind == Kind::Blob {
            Vec::new()
        } else {
            check::object(object.kind, &object.content()?).map_err(|_| crate::DamagedObject(object.id))?
        };
        read.push((object.id, object.kind, named));
    }
    Ok(read)
}

#[cfg(test)]
mod tests {
    use super::super::sample::History as Sample;
    use super::*;

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
