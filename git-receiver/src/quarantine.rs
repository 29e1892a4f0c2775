//! Reads the files of a commit: from the objects of a push laid over the repository, as if the push were stored.

use std::collections::{HashMap, HashSet};

use gix_hash::ObjectId;
use gix_object::Kind;
use gix_object::bstr::ByteSlice as _;

use crate::check::{Mode, next_entry};
use crate::memory::Reservation;
use crate::{CorruptObjectError, OutOfMemoryError, Pack, Repository, RepositoryError, content, links};

/// The longest subject and author that are kept, in characters.
const SUMMARY_MAX: usize = 200;

/// How many objects are read at once.
const AT_ONCE: usize = 256;

/// How much of a path that is too long is shown, in bytes.
const PATH_SHOWN_MAX: usize = 80;

/// The objects of a push over a repository.
#[derive(Clone, Debug)]
pub struct QuarantineView<'a, R> {
    repository: &'a R,
    pushed: &'a Pack,
}

/// What a commit says of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CommitSummary {
    /// Its tree.
    pub tree: ObjectId,
    /// The first line of its message.
    pub subject: String,
    /// The name of who wrote it.
    pub author: String,
}

/// What stands at a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FileKind {
    /// A file.
    Regular,
    /// A file that may be run.
    Executable,
    /// A symbolic link; its content is the target.
    Symlink,
    /// A commit of another repository.
    Submodule,
}

/// A path of a commit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TreeFile {
    /// The path, `/` between its parts. What is not UTF-8 is replaced.
    pub path: String,
    /// Its content's name.
    pub id: ObjectId,
    /// What it is.
    pub kind: FileKind,
}

/// The most of everything that one tree may hold. A small pack can describe a vast tree, since folders can be shared.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TreeLimits {
    /// How many files.
    pub files: usize,
    /// How deep folders stand in folders.
    pub depth: usize,
    /// How long a path is, in bytes.
    pub path_bytes: usize,
}

impl Default for TreeLimits {
    fn default() -> Self {
        Self { files: 20_000, depth: 64, path_bytes: 1024 }
    }
}

/// Why a commit cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The repository cannot be read.
    #[error(transparent)]
    Repository(#[from] RepositoryError),
    /// An object is not there or of another kind.
    #[error("object {0} is missing")]
    Missing(ObjectId),
    /// An object's bytes are not what they should be.
    #[error(transparent)]
    Corrupt(#[from] CorruptObjectError),
    /// What was received cannot be read back.
    #[error("the push cannot be read back: {0}")]
    Pack(#[source] std::io::Error),
    /// The tree is beyond its limits.
    #[error(transparent)]
    LimitKind(#[from] TreeLimitError),
}

/// What a tree has too much of.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TreeLimitError {
    /// A path, of which the beginning is kept.
    #[error("the tree has a path of more than {limit} bytes: {path}...")]
    Path {
        /// How it begins.
        path: String,
        /// The limit in bytes.
        limit: usize,
    },
    /// Files.
    #[error("the tree has more than {limit} files")]
    Files {
        /// The limit.
        limit: usize,
    },
    /// Folders in folders.
    #[error("the tree has folders more than {limit} deep: {path}")]
    Depth {
        /// One of them.
        path: String,
        /// The limit.
        limit: usize,
    },
}

impl From<OutOfMemoryError> for ReadError {
    fn from(error: OutOfMemoryError) -> Self {
        Self::Repository(error.into())
    }
}

/// As much of a path as is shown.
fn beginning(path: &str) -> String {
    path[..path.floor_char_boundary(PATH_SHOWN_MAX.min(path.len()))].to_owned()
}

/// The names in a tree, as far as it can be read.
pub fn tree_entry_names(tree: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = tree;
    std::iter::from_fn(move || Some(next_entry(&mut rest).ok()??.name))
}

impl<'a, R: Repository> QuarantineView<'a, R> {
    /// `pushed` over `repository`.
    pub fn new(repository: &'a R, pushed: &'a Pack) -> Self {
        Self { repository, pushed }
    }

    /// What a commit says of itself.
    ///
    /// # Errors
    /// It is missing, or the repository cannot be read.
    pub async fn commit(&self, id: ObjectId) -> Result<CommitSummary, ReadError> {
        let (commits, _held) = self.contents(&[id], Kind::Commit).await?;
        let content = commits.get(&id).ok_or(ReadError::Missing(id))?;
        let (header, message) = content.split_once_str("\n\n").unwrap_or((content, b""));
        let line = |name: &str| header.lines().find_map(|line| line.strip_prefix(name.as_bytes()));
        let tree =
            line("tree ").and_then(|hex| ObjectId::from_hex(hex).ok()).ok_or(CorruptObjectError(id))?;
        let author = line("author ").unwrap_or_default();
        let author = author.split_once_str(" <").map_or(author, |(name, _)| name);
        let short = |text: &[u8]| text.to_str_lossy().trim().chars().take(SUMMARY_MAX).collect();
        Ok(CommitSummary {
            tree,
            subject: short(message.lines().next().unwrap_or_default()),
            author: short(author),
        })
    }

    /// Whether the commit `later` is `earlier` or has it among its ancestors. One of which that cannot be told within `most`
    /// commits, or behind a shallow one, has it not.
    ///
    /// # Errors
    /// The repository cannot be read, or holds a damaged object.
    pub async fn descends(&self, later: ObjectId, earlier: ObjectId, most: usize) -> Result<bool, ReadError> {
        let mut seen = HashSet::from([later]);
        let mut generation = vec![later];
        while !generation.is_empty() && !seen.contains(&earlier) && seen.len() <= most {
            let mut damaged = None;
            let mut next = Vec::new();
            self.each(&generation, |id, _, content| match links::commit(id, content) {
                Ok(commit) => next.extend(commit.parents.into_iter().filter(|parent| seen.insert(*parent))),
                Err(error) => damaged = Some(error),
            })
            .await?;
            if let Some(error) = damaged {
                return Err(error.into());
            }
            generation = next;
        }
        Ok(seen.contains(&earlier))
    }

    /// Every file of a commit, folders opened, in order of their paths within each depth.
    ///
    /// # Errors
    /// An object is missing, the tree is beyond `limits`, or the repository cannot be read.
    pub async fn files(&self, commit: ObjectId, limits: &TreeLimits) -> Result<Vec<TreeFile>, ReadError> {
        let mut files = Vec::new();
        let mut level = vec![(String::new(), self.commit(commit).await?.tree)];
        for _ in 0..=limits.depth {
            if level.is_empty() {
                return Ok(files);
            }
            let ids: Vec<ObjectId> = level.iter().map(|(_, id)| *id).collect();
            let (trees, _held) = self.contents(&ids, Kind::Tree).await?;
            let mut below = Vec::new();
            for (folder, id) in level {
                let mut content = trees.get(&id).ok_or(ReadError::Missing(id))?.as_slice();
                while let Some(entry) = next_entry(&mut content).map_err(|_| CorruptObjectError(id))? {
                    let path = format!("{folder}{}", entry.name.to_str_lossy());
                    if path.len() > limits.path_bytes {
                        return Err(TreeLimitError::Path {
                            path: beginning(&path),
                            limit: limits.path_bytes,
                        }
                        .into());
                    }
                    let mut file = |kind| files.push(TreeFile { path: path.clone(), id: entry.id, kind });
                    match entry.mode {
                        Mode::Tree => below.push((path + "/", entry.id)),
                        Mode::Regular => file(FileKind::Regular),
                        Mode::Executable => file(FileKind::Executable),
                        Mode::Symlink => file(FileKind::Symlink),
                        Mode::Submodule => file(FileKind::Submodule),
                    }
                    if files.len() + below.len() > limits.files {
                        return Err(TreeLimitError::Files { limit: limits.files }.into());
                    }
                }
            }
            level = below;
        }
        let path = level.first().map(|(folder, _)| beginning(folder)).unwrap_or_default();
        Err(TreeLimitError::Depth { path, limit: limits.depth }.into())
    }

    /// The content of those of `ids` that are blobs of at most `max_each` bytes; larger ones are left out.
    ///
    /// # Errors
    /// The repository cannot be read, or holds a damaged object.
    pub async fn blobs(
        &self,
        ids: &[ObjectId],
        max_each: u64,
    ) -> Result<HashMap<ObjectId, Vec<u8>>, ReadError> {
        let mut blobs = HashMap::new();
        self.each(ids, |id, kind, content| {
            // A large one is built and let go: together they could fill the memory.
            if kind == Kind::Blob && content.len() as u64 <= max_each {
                blobs.insert(id, content.to_vec());
            }
        })
        .await?;
        Ok(blobs)
    }

    /// The contents of those of `ids` that are of that kind, and what is held for them.
    async fn contents(
        &self,
        ids: &[ObjectId],
        kind: Kind,
    ) -> Result<(HashMap<ObjectId, Vec<u8>>, Reservation), ReadError> {
        let (mut contents, mut held) = (HashMap::new(), Reservation::new(&self.repository.memory()));
        let mut full = Ok(());
        self.each(ids, |id, found, content| {
            if found == kind && full.is_ok() {
                full =
                    held.try_grow(content.len() as u64).map(|()| drop(contents.insert(id, content.to_vec())));
            }
        })
        .await?;
        full?;
        Ok((contents, held))
    }

    /// Hands the kind and the content of each of `ids` to `take`, in any order; what is missing is left out.
    ///
    /// # Errors
    /// The repository cannot be read, or holds a damaged object.
    pub async fn each(
        &self,
        ids: &[ObjectId],
        mut take: impl FnMut(ObjectId, Kind, &[u8]),
    ) -> Result<(), ReadError> {
        let memory = self.repository.memory();
        for some in ids.chunks(AT_ONCE) {
            let mut held = Reservation::new(&memory);
            let (mut objects, elsewhere) = self.pushed.objects_and_bases(some, &mut held)?;
            if !elsewhere.is_empty() {
                objects.extend(self.repository.objects_and_bases(&elsewhere).await?);
            }
            let wanted: HashSet<&ObjectId> = some.iter().collect();
            content::build(&objects, &memory, |object, content| {
                if wanted.contains(&object.id) {
                    take(object.id, object.kind, content);
                }
                Ok::<_, ReadError>(())
            })?;
        }
        Ok(())
    }
}
