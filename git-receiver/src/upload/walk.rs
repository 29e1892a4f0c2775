//! Finds what to send: everything the wants reach, less what the client has. Objects are read a level of the graph at a
//! time.

use std::collections::{HashMap, HashSet};

use gix_hash::ObjectId;
use gix_object::Kind;

use super::{UploadError, Wishes, depth};
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

/// Finds what to send.
pub(super) async fn select<R: Repository>(repository: &R, wishes: &Wishes) -> Result<Selection, UploadError> {
    let mut selected = Vec::new();
    let mut roots = Roots::default();
    let mut level = wishes.wants.clone();
    // Tags of tags end in a commit, a tree or a blob.
    for _ in 0..PEEL_MAX {
        let mut next = Vec::new();
        for (id, kind, named) in read(repository, &level).await? {
            match kind {
                Kind::Commit => roots.commits.push(id),
                Kind::Tree => roots.trees.push(id),
                Kind::Blob => selected.push(id),
                Kind::Tag => {
                    selected.push(id);
                    next.extend(named.iter().map(|named| named.id));
                }
            }
        }
        level = next;
        if level.is_empty() {
            break;
        }
    }
    let history = History::walk(repository, &roots.commits, wishes).await?;
    let mut commits = history.new.clone();
    let mut objects = Vec::with_capacity(commits.len() * 3);
    objects.append(&mut commits);
    let had = files(repository, history.had_trees, HashSet::new()).await?;
    roots.trees.extend(history.new_trees);
    objects.append(&mut selected);
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

#[derive(Default)]
struct Roots {
    commits: Vec<ObjectId>,
    trees: Vec<ObjectId>,
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

#[derive(Default)]
struct Commit {
    tree: Option<ObjectId>,
    parents: Vec<ObjectId>,
}

impl History {
    /// Walks back from the wants, and from what the client has as far, until the first walk has ended.
    async fn walk<R: Repository>(
        repository: &R,
        wants: &[ObjectId],
        wishes: &Wishes,
    ) -> Result<Self, UploadError> {
        let ends = depth::ends(repository, wants, wishes).await?;
        let server_shallow: HashSet<ObjectId> = repository.shallow().await?.into_iter().collect();
        let client_shallow: HashSet<ObjectId> = wishes.client_shallow.iter().copied().collect();
        let mut known: HashMap<ObjectId, Commit> = HashMap::new();
        let mut had: HashSet<ObjectId> = wishes.common.iter().copied().collect();
        let mut reached: HashSet<ObjectId> = wants.iter().copied().collect();
        let mut order = Vec::new();
        let mut history = Self::default();
        let (mut ours, mut theirs) = (wants.to_vec(), wishes.common.clone());
        while !ours.is_empty() {
            let unknown: HashSet<ObjectId> =
                ours.iter().chain(&theirs).filter(|id| !known.contains_key(*id)).copied().collect();
            for (id, kind, named) in read(repository, &unknown.into_iter().collect::<Vec<_>>()).await? {
                if kind == Kind::Commit {
                    let tree = named.iter().find(|named| !named.parent).map(|named| named.id);
                    let parents = named.iter().filter(|named| named.parent).map(|named| named.id).collect();
                    known.insert(id, Commit { tree, parents });
                }
            }
            let parents =
                |id: &ObjectId| known.get(id).map(|commit| commit.parents.clone()).unwrap_or_default();
            let mut next = Vec::new();
            for id in &ours {
                // Who asks for no more depth wants nothing below where its history ends.
                let ends_here = wishes.depth.is_none() && client_shallow.contains(id);
                let parents = if ends_here || server_shallow.contains(id) { Vec::new() } else { parents(id) };
                // The history that this repository has itself may end here; then the client's does too.
                if server_shallow.contains(id) && !client_shallow.contains(id) && !had.contains(id) {
                    history.boundary.shallow.push(*id);
                }
                order.push(*id);
                if ends.contains(id) {
                    if !client_shallow.contains(id) {
                        history.boundary.shallow.push(*id);
                    }
                    continue;
                }
                if wishes.depth.is_some() && client_shallow.contains(id) && !server_shallow.contains(id) {
                    history.boundary.unshallow.push(*id);
                }
                // Where the client's history ends shallow and is to be deepened, the walk goes on below what it has.
                let goes_on = |parent: &ObjectId| wishes.depth.is_some() || !had.contains(parent);
                next.extend(parents.into_iter().filter(goes_on).filter(|parent| reached.insert(*parent)));
            }
            ours = next;
            let below: Vec<ObjectId> =
                theirs.iter().filter(|id| !client_shallow.contains(*id)).flat_map(parents).collect();
            theirs = below.into_iter().filter(|id| had.insert(*id)).collect();
        }
        for id in order {
            let Some(commit) = known.get(&id) else { continue };
            if had.contains(&id) {
                history.had_trees.extend(commit.tree);
            } else {
                history.new.push(id);
                history.new_trees.extend(commit.tree);
            }
        }
        let border = wishes.common.iter().filter_map(|id| known.get(id)?.tree);
        history.had_trees.extend(border);
        Ok(history)
    }
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
        assert!(!sent(select(&history, &wishes).await.unwrap()).contains(&ids[2]));
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

    #[test]
    fn a_boundary_is_told_without_line_breaks() {
        let id = ObjectId::null(gix_hash::Kind::Sha1);
        let mut out = Vec::new();
        Boundary { shallow: vec![id], unshallow: vec![id] }.write_lines(&mut out);
        assert_eq!(String::from_utf8(out).unwrap(), format!("0034shallow {id}0036unshallow {id}"));
    }
}
