//! Collects all objects in the trees of commits. While one batch of trees is parsed, the next one is read.

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;

use gix_hash::ObjectId;
use gix_hashtable::HashSet;
use gix_object::Kind;

use super::UploadError;
use super::tree_reader::TreeReader;
use crate::memory::Reservation;
use crate::{CorruptObjectError, MemoryPool, Object, OutOfMemoryError, Repository, content, parse};

/// How many bytes of trees are kept for sending.
const CACHED_TREE_BYTES_MAX: usize = 8 * 1024 * 1024;

/// How much memory must remain available to keep more trees.
const FREE_BYTES_MIN: u64 = 8 * 1024 * 1024;

/// The memory of an object in this set.
const OBJECT_BYTES: u64 = 100;

/// A set of objects.
pub(super) struct TreeContents {
    pub(super) seen: HashSet,
    /// In the order of discovery: objects that are stored together are then requested together.
    pub(super) order: Vec<ObjectId>,
    /// Trees in stored form, up to a limit, so that they are not read again for sending.
    pub(super) read: Vec<Object>,
    read_bytes: usize,
    /// Reserved for the objects.
    pub(super) reservation: Reservation,
}

impl TreeContents {
    /// An empty set with a reservation in `memory`.
    fn of(memory: &Arc<dyn MemoryPool>) -> Self {
        let (seen, order, read) = Default::default();
        Self { seen, order, read, read_bytes: 0, reservation: Reservation::new(memory) }
    }

    /// Adds an object; `false` if it was present.
    fn add(&mut self, id: ObjectId) -> Result<bool, OutOfMemoryError> {
        let new = self.seen.insert(id);
        if new {
            self.reservation.try_grow(OBJECT_BYTES)?;
            self.order.push(id);
        }
        Ok(new)
    }

    /// Adds all entries of `trees` that are not in `except`, and returns the trees among them. `objects` are the trees and
    /// their delta bases. Blocking.
    fn open(
        &mut self,
        trees: &[ObjectId],
        objects: Vec<Object>,
        except: &HashSet,
        memory: &Arc<dyn MemoryPool>,
    ) -> Result<Vec<ObjectId>, UploadError> {
        let mut below = Vec::new();
        let mut full = Ok(());
        let wanted: HashSet = trees.iter().copied().collect();
        let mut left = wanted.len();
        content::reconstruct(&objects, memory, |object, content| {
            if !wanted.contains(&object.id) {
                return Ok::<_, UploadError>(());
            }
            left -= 1;
            parse::tree(object.id, content, |id, kind| {
                if full.is_ok() && !except.contains(&id) {
                    full = self.add(id).map(|new| {
                        if new && kind == Kind::Tree {
                            below.push(id);
                        }
                    });
                }
            })?;
            Ok(std::mem::replace(&mut full, Ok(()))?)
        })?;
        if left > 0 {
            return Err(CorruptObjectError(trees[0]).into());
        }
        let bytes: usize = objects.iter().map(|object| object.zlib.len()).sum();
        if self.read_bytes + bytes <= CACHED_TREE_BYTES_MAX && memory.has_capacity(FREE_BYTES_MIN) {
            self.read_bytes += bytes;
            self.read.extend(objects.into_iter().filter(|object| wanted.contains(&object.id)));
        }
        Ok(below)
    }
}

/// The trees and everything in them that is not in `except`. While one batch of trees is parsed, the next one is read.
pub(super) async fn tree_contents<R: Repository>(
    source: &TreeReader<'_, R>,
    trees: Vec<ObjectId>,
    except: &Arc<HashSet>,
) -> Result<TreeContents, UploadError> {
    let memory = source.memory();
    let mut contents = TreeContents::of(&memory);
    let mut first = Vec::new();
    for id in trees {
        if !except.contains(&id) && contents.add(id)? {
            first.push(id);
        }
    }
    let mut trees = first;
    while !trees.is_empty() {
        let mut below = Vec::new();
        let mut waiting: VecDeque<ObjectId> = trees.into();
        let mut batch = source.next(&mut waiting).await?;
        while !batch.trees.is_empty() {
            let (except, memory) = (Arc::clone(except), Arc::clone(&memory));
            let opening = tokio::task::spawn_blocking(move || {
                let opened = contents.open(&batch.trees, batch.objects, &except, &memory);
                opened.map(|below| (contents, below))
            });
            let (opened, next) = tokio::join!(opening, source.next(&mut waiting));
            let opened = opened.map_err(io::Error::other)??;
            contents = opened.0;
            below.extend(opened.1);
            batch = next?;
        }
        trees = below;
    }
    Ok(contents)
}
