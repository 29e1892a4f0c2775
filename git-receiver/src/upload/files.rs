//! Everything in the trees of commits. Trees are read some at a time: while they are opened, the next ones are read.

use std::io;
use std::sync::Arc;

use gix_hash::ObjectId;
use gix_hashtable::HashSet;
use gix_object::Kind;

use super::UploadError;
use crate::{DamagedObject, Object, Repository, RepositoryError, content, links};

/// How many bytes of trees are kept from when they are read to when they are sent.
const READ_BYTES_MAX: usize = 16 * 1024 * 1024;

/// How many trees are read at once.
const TREES_AT_ONCE: usize = 4000;

/// Objects, each once.
#[derive(Default)]
pub(super) struct Files {
    pub(super) seen: HashSet,
    /// In the order in which they were come to: what stands together in a repository is asked for together.
    pub(super) order: Vec<ObjectId>,
    /// Trees as they are stored, as far as there is room: they need not be read again to be sent.
    pub(super) read: Vec<Object>,
    read_bytes: usize,
}

impl Files {
    /// Adds an object; `false` where it was there.
    fn add(&mut self, id: ObjectId) -> bool {
        let new = self.seen.insert(id);
        if new {
            self.order.push(id);
        }
        new
    }

    /// Adds all that is in `trees`, apart from what is in `except`, and returns the trees among it. `objects` are the trees
    /// and what they are built on. Blocking.
    fn open(
        &mut self,
        trees: &[ObjectId],
        objects: Vec<Object>,
        except: &HashSet,
    ) -> Result<Vec<ObjectId>, DamagedObject> {
        let mut below = Vec::new();
        let wanted: HashSet = trees.iter().copied().collect();
        let mut left = wanted.len();
        content::build(&objects, |object, content| {
            if !wanted.contains(&object.id) {
                return Ok(());
            }
            left -= 1;
            links::tree(object.id, content, |id, kind| {
                if !except.contains(&id) && self.add(id) && kind == Kind::Tree {
                    below.push(id);
                }
            })
        })?;
        if left > 0 {
            return Err(DamagedObject(trees[0]));
        }
        let bytes: usize = objects.iter().map(|object| object.zlib.len()).sum();
        if self.read_bytes + bytes <= READ_BYTES_MAX {
            self.read_bytes += bytes;
            self.read.extend(objects.into_iter().filter(|object| wanted.contains(&object.id)));
        }
        Ok(below)
    }
}

/// The trees and everything in them, apart from what is in `except`. While some trees are opened, the next ones are read.
pub(super) async fn files<R: Repository>(
    repository: &R,
    mut trees: Vec<ObjectId>,
    except: &Arc<HashSet>,
) -> Result<Files, UploadError> {
    let mut files = Files::default();
    trees.retain(|id| !except.contains(id) && files.add(*id));
    while !trees.is_empty() {
        let mut below = Vec::new();
        let mut portions = trees.chunks(TREES_AT_ONCE).map(<[ObjectId]>::to_vec);
        let mut now = portions.next().unwrap_or_default();
        let mut objects = read(repository, &now).await?;
        while !now.is_empty() {
            let except = Arc::clone(except);
            let opening = tokio::task::spawn_blocking(move || {
                let opened = files.open(&now, objects, &except);
                opened.map(|below| (files, below))
            });
            let next = portions.next().unwrap_or_default();
            let (opened, read) = tokio::join!(opening, read(repository, &next));
            let opened = opened.map_err(io::Error::other)??;
            files = opened.0;
            below.extend(opened.1);
            (now, objects) = (next, read?);
        }
        trees = below;
    }
    Ok(files)
}

/// Reads trees and what they are built on, one half beside the other: nothing else is done until they are there.
async fn read<R: Repository>(repository: &R, trees: &[ObjectId]) -> Result<Vec<Object>, RepositoryError> {
    if trees.len() < TREES_AT_ONCE / 2 {
        return if trees.is_empty() { Ok(Vec::new()) } else { repository.objects_and_bases(trees).await };
    }
    let (first, second) = trees.split_at(trees.len() / 2);
    let (first, second) =
        tokio::try_join!(repository.objects_and_bases(first), repository.objects_and_bases(second))?;
    Ok([first, second].concat())
}
