//! Everything in the trees of commits. Trees are read some at a time: while they are opened, the next ones are read.

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;

use gix_hash::ObjectId;
use gix_hashtable::HashSet;
use gix_object::Kind;

use super::UploadError;
use super::trees::Trees;
use crate::memory::Reservation;
use crate::{CorruptObjectError, MemoryPool, Object, OutOfMemoryError, Repository, content, links};

/// How many bytes of trees are kept from when they are read to when they are sent.
const READ_BYTES_MAX: usize = 8 * 1024 * 1024;

/// How much room must be left for more trees to be kept.
const ROOM_LEFT: u64 = 8 * 1024 * 1024;

/// What an object takes here.
const FILE_BYTES: u64 = 100;

/// Objects, each once.
pub(super) struct Files {
    pub(super) seen: HashSet,
    /// In the order in which they were come to: what stands together in a repository is asked for together.
    pub(super) order: Vec<ObjectId>,
    /// Trees as they are stored, as far as there is room: they need not be read again to be sent.
    pub(super) read: Vec<Object>,
    read_bytes: usize,
    /// What is held for them.
    pub(super) held: Reservation,
}

impl Files {
    /// None yet, to be held of `memory`.
    fn of(memory: &Arc<dyn MemoryPool>) -> Self {
        let (seen, order, read) = Default::default();
        Self { seen, order, read, read_bytes: 0, held: Reservation::new(memory) }
    }

    /// Adds an object; `false` where it was there.
    fn add(&mut self, id: ObjectId) -> Result<bool, OutOfMemoryError> {
        let new = self.seen.insert(id);
        if new {
            self.held.try_grow(FILE_BYTES)?;
            self.order.push(id);
        }
        Ok(new)
    }

    /// Adds all that is in `trees`, apart from what is in `except`, and returns the trees among it. `objects` are the trees
    /// and what they are built on. Blocking.
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
        content::build(&objects, memory, |object, content| {
            if !wanted.contains(&object.id) {
                return Ok::<_, UploadError>(());
            }
            left -= 1;
            links::tree(object.id, content, |id, kind| {
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
        if self.read_bytes + bytes <= READ_BYTES_MAX && memory.has_capacity(ROOM_LEFT) {
            self.read_bytes += bytes;
            self.read.extend(objects.into_iter().filter(|object| wanted.contains(&object.id)));
        }
        Ok(below)
    }
}

/// The trees and everything in them, apart from what is in `except`. While some trees are opened, the next ones are read.
pub(super) async fn files<R: Repository>(
    source: &Trees<'_, R>,
    trees: Vec<ObjectId>,
    except: &Arc<HashSet>,
) -> Result<Files, UploadError> {
    let memory = source.memory();
    let mut files = Files::of(&memory);
    let mut first = Vec::new();
    for id in trees {
        if !except.contains(&id) && files.add(id)? {
            first.push(id);
        }
    }
    let mut trees = first;
    while !trees.is_empty() {
        let mut below = Vec::new();
        let mut waiting: VecDeque<ObjectId> = trees.into();
        let mut portion = source.next(&mut waiting).await?;
        while !portion.trees.is_empty() {
            let (except, memory) = (Arc::clone(except), Arc::clone(&memory));
            let opening = tokio::task::spawn_blocking(move || {
                let opened = files.open(&portion.trees, portion.objects, &except, &memory);
                opened.map(|below| (files, below))
            });
            let (opened, next) = tokio::join!(opening, source.next(&mut waiting));
            let opened = opened.map_err(io::Error::other)??;
            files = opened.0;
            below.extend(opened.1);
            portion = next?;
        }
        trees = below;
    }
    Ok(files)
}
