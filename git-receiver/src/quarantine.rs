//! Reads commits and files through the quarantine of a push: its objects are looked up first, then the repository's, as if
//! the push were stored already.

use std::collections::{HashMap, HashSet};

use gix_hash::ObjectId;
use gix_object::Kind;
use gix_object::bstr::ByteSlice as _;

use crate::fsck::{Mode, next_entry};
use crate::memory::Reservation;
use crate::{CorruptObjectError, OutOfMemoryError, Pack, Repository, RepositoryError, content, parse};

/// The longest subject and author of a summary, in characters.
const SUMMARY_MAX: usize = 200;

/// How many objects are read at once.
const AT_ONCE: usize = 256;

/// How much of a long path is shown in messages, in bytes.
const PATH_SHOWN_MAX: usize = 80;

/// A repository together with the quarantined objects of a push, which are not stored yet.
#[derive(Clone, Debug)]
pub struct QuarantineView<'a, R> {
    repository: &'a R,
    pushed: &'a Pack,
}

/// Author and subject of a commit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CommitSummary {
    /// The root tree.
    pub tree: ObjectId,
    /// The first line of the commit message.
    pub subject: String,
    /// The author's name.
    pub author: String,
}

/// The type of a tree entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FileKind {
    /// A regular file.
    Regular,
    /// An executable file.
    Executable,
    /// A symbolic link; its content is the target.
    Symlink,
    /// A submodule (gitlink).
    Submodule,
}

/// A file of a commit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TreeFile {
    /// The path, with `/` as separator. Invalid UTF-8 is replaced.
    pub path: String,
    /// The object id of the content.
    pub id: ObjectId,
    /// The file type.
    pub kind: FileKind,
}

/// The limits of one tree. A small pack can describe a huge tree, because subtrees can be shared.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TreeLimits {
    /// Number of files.
    pub files: usize,
    /// Depth of nested directories.
    pub depth: usize,
    /// Length of a path, in bytes.
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
    /// An object is missing or has another kind.
    #[error("object {0} is missing")]
    Missing(ObjectId),
    /// An object is corrupt.
    #[error(transparent)]
    Corrupt(#[from] CorruptObjectError),
    /// The received pack cannot be read back.
    #[error("cannot read back the pushed pack: {0}")]
    Pack(#[source] std::io::Error),
    /// The tree exceeds a limit.
    #[error(transparent)]
    Limit(#[from] TreeLimitError),
}

/// The limit that a tree exceeds.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TreeLimitError {
    /// The length of a path.
    #[error("the tree has a path of more than {limit} bytes: {path}...")]
    Path {
        /// The start of the path.
        path: String,
        /// The limit in bytes.
        limit: usize,
    },
    /// The number of files.
    #[error("the tree has more than {limit} files")]
    Files {
        /// The limit.
        limit: usize,
    },
    /// The depth of nested directories.
    #[error("the tree has directories nested more than {limit} deep: {path}")]
    Depth {
        /// One of the directories.
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

/// Truncates a path for messages.
fn truncated(path: &str) -> String {
    path[..path.floor_char_boundary(PATH_SHOWN_MAX.min(path.len()))].to_owned()
}

/// The entry names of a tree, up to the first malformed entry.
pub fn tree_entry_names(tree: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = tree;
    std::iter::from_fn(move || Some(next_entry(&mut rest).ok()??.name))
}

impl<'a, R: Repository> QuarantineView<'a, R> {
    /// A view of `repository` with the objects of `pushed`.
    pub fn new(repository: &'a R, pushed: &'a Pack) -> Self {
        Self { repository, pushed }
    }

    /// Author, subject and tree of a commit.
    ///
    /// # Errors
    /// The commit is missing or corrupt, or the repository cannot be read.
    pub async fn commit(&self, id: ObjectId) -> Result<CommitSummary, ReadError> {
        let (commits, _reservation) = self.contents(&[id], Kind::Commit).await?;
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

    /// Whether `earlier` is `later` or one of its ancestors. The walk ends at shallow commits and after `most` commits; then
    /// the answer is `false`.
    ///
    /// # Errors
    /// The repository cannot be read, or an object is corrupt.
    pub async fn descends(&self, later: ObjectId, earlier: ObjectId, most: usize) -> Result<bool, ReadError> {
        let mut seen = HashSet::from([later]);
        let mut generation = vec![later];
        while !generation.is_empty() && !seen.contains(&earlier) && seen.len() <= most {
            let mut damaged = None;
            let mut next = Vec::new();
            self.each(&generation, |id, _, content| match parse::commit(id, content) {
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

    /// All files of a commit, recursively, sorted by path within each directory level.
    ///
    /// # Errors
    /// An object is missing, the tree exceeds `limits`, or the repository cannot be read.
    pub async fn files(&self, commit: ObjectId, limits: &TreeLimits) -> Result<Vec<TreeFile>, ReadError> {
        let mut files = Vec::new();
        let mut level = vec![(String::new(), self.commit(commit).await?.tree)];
        for _ in 0..=limits.depth {
            if level.is_empty() {
                return Ok(files);
            }
            let ids: Vec<ObjectId> = level.iter().map(|(_, id)| *id).collect();
            let (trees, _reservation) = self.contents(&ids, Kind::Tree).await?;
            let mut below = Vec::new();
            for (dir, id) in level {
                let mut content = trees.get(&id).ok_or(ReadError::Missing(id))?.as_slice();
                while let Some(entry) = next_entry(&mut content).map_err(|_| CorruptObjectError(id))? {
                    let path = format!("{dir}{}", entry.name.to_str_lossy());
                    if path.len() > limits.path_bytes {
                        return Err(TreeLimitError::Path {
                            path: truncated(&path),
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
        let path = level.first().map(|(dir, _)| truncated(dir)).unwrap_or_default();
        Err(TreeLimitError::Depth { path, limit: limits.depth }.into())
    }

    /// The contents of those of `ids` that are blobs of at most `max_each` bytes.
    ///
    /// # Errors
    /// The repository cannot be read, or an object is corrupt.
    pub async fn blobs(
        &self,
        ids: &[ObjectId],
        max_each: u64,
    ) -> Result<HashMap<ObjectId, Vec<u8>>, ReadError> {
        let mut blobs = HashMap::new();
        self.each(ids, |id, kind, content| {
            // Larger blobs are dropped at once: together they could exhaust the memory.
            if kind == Kind::Blob && content.len() as u64 <= max_each {
                blobs.insert(id, content.to_vec());
            }
        })
        .await?;
        Ok(blobs)
    }

    /// The contents of those of `ids` that have `kind`, and their memory reservation.
    async fn contents(
        &self,
        ids: &[ObjectId],
        kind: Kind,
    ) -> Result<(HashMap<ObjectId, Vec<u8>>, Reservation), ReadError> {
        let (mut contents, mut reservation) = (HashMap::new(), Reservation::new(&self.repository.memory()));
        let mut full = Ok(());
        self.each(ids, |id, found, content| {
            if found == kind && full.is_ok() {
                full = reservation
                    .try_grow(content.len() as u64)
                    .map(|()| drop(contents.insert(id, content.to_vec())));
            }
        })
        .await?;
        full?;
        Ok((contents, reservation))
    }

    /// Passes kind and content of each of `ids` to `take`, in any order; missing objects are skipped.
    ///
    /// # Errors
    /// The repository cannot be read, or an object is corrupt.
    pub async fn each(
        &self,
        ids: &[ObjectId],
        mut take: impl FnMut(ObjectId, Kind, &[u8]),
    ) -> Result<(), ReadError> {
        let memory = self.repository.memory();
        for chunk in ids.chunks(AT_ONCE) {
            let mut reservation = Reservation::new(&memory);
            let (mut objects, outside) = self.pushed.objects_and_bases(chunk, &mut reservation)?;
            if !outside.is_empty() {
                objects.extend(self.repository.objects_and_bases(&outside).await?);
            }
            let wanted: HashSet<&ObjectId> = chunk.iter().collect();
            content::reconstruct(&objects, &memory, |object, content| {
                if wanted.contains(&object.id) {
                    take(object.id, object.kind, content);
                }
                Ok::<_, ReadError>(())
            })?;
        }
        Ok(())
    }
}
