//! The files of a commit that matter: the manifest and the scripts.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use bytes::Bytes;
use git_receiver::{
    FileKind, ObjectId, QuarantineView, ReadError, Repository, TreeFile, TreeLimitError, TreeLimits,
};
use manifest_schema::manifest;
use manifest_schema::parse::MANIFEST_MAX;
use runtime::SOURCE_MAX;

use crate::memory::{Account, OutOfMemory, Purpose, Reservation};

/// The most bytes of manifest and scripts together: what one revision may weigh in memory.
pub(super) const SNAPSHOT_MAX: u64 = 32 * 1024 * 1024;

/// How many files are read at once.
const FILES_AT_ONCE: usize = 16;

/// The largest manifest or script that is read, in bytes.
pub const FILE_MAX: u64 = if SOURCE_MAX > MANIFEST_MAX { SOURCE_MAX as u64 } else { MANIFEST_MAX as u64 };

/// What stands at a path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum File {
    /// A file and its bytes, which files with the same share.
    Bytes(Bytes),
    /// A symbolic link, which is never followed.
    Symlink,
    /// A link to a commit of another repository, which is never followed.
    Submodule,
    /// A file beyond [`FILE_MAX`].
    TooLarge,
}

/// How pointers begin (the specification of Git LFS).
const LFS_POINTER: &[u8] = b"version https://git-lfs.github.com/spec/";

impl File {
    /// Whether the file is a pointer of Git LFS, which stands in a commit for a file that is kept elsewhere.
    pub fn is_lfs_pointer(&self) -> bool {
        matches!(self, Self::Bytes(bytes) if bytes.starts_with(LFS_POINTER))
    }
}

/// The manifest and the scripts of a working tree or a commit.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Snapshot {
    /// How many files there are in all.
    pub files: usize,
    /// What stands at `picloud.toml`, if anything.
    pub manifest: Option<File>,
    /// Everything whose path ends in `.rhai`.
    pub scripts: BTreeMap<String, File>,
}

impl Snapshot {
    /// The bytes that were read.
    pub fn bytes(&self) -> u64 {
        self.manifest
            .iter()
            .chain(self.scripts.values())
            .map(|file| if let File::Bytes(bytes) = file { bytes.len() as u64 } else { 0 })
            .sum()
    }

    /// Puts `file` where its path says it belongs; other files are only counted.
    pub fn add(&mut self, path: &str, file: impl FnOnce() -> File) {
        self.files += 1;
        if path == manifest::FILE_NAME {
            self.manifest = Some(file());
        } else if is_script(path) {
            self.scripts.insert(path.to_owned(), file());
        }
    }

    /// What stands at `path`, if it is read into a snapshot.
    pub fn get(&self, path: &str) -> Option<&File> {
        if path == manifest::FILE_NAME { self.manifest.as_ref() } else { self.scripts.get(path) }
    }

    /// Whether a file at `path` is read into a snapshot.
    pub fn wants(path: &str) -> bool {
        path == manifest::FILE_NAME || is_script(path)
    }
}

fn is_script(path: &str) -> bool {
    path.ends_with(".rhai")
}

/// Reads the snapshot of `commit`, up to more than [`SNAPSHOT_MAX`], and holds memory of the account for it.
///
/// # Errors
/// The tree is beyond its limits, an object is missing, the repository cannot be read, or there is no room.
pub(super) async fn of_commit<R: Repository>(
    quarantine: &QuarantineView<'_, R>,
    commit: ObjectId,
    limits: &TreeLimits,
    account: &Account,
) -> Result<(Snapshot, Reservation), SnapshotError> {
    let tree = match quarantine.files(commit, limits).await {
        Err(ReadError::Limit(limit)) => return Err(SnapshotError::Refused(limit)),
        tree => tree?,
    };
    let (wanted, others): (Vec<_>, Vec<_>) = tree.into_iter().partition(|file| Snapshot::wants(&file.path));
    let mut snapshot = Snapshot { files: others.len(), ..Snapshot::default() };
    let mut held = account.try_reserve(Purpose::Pushes, 0)?;
    // Many files can be one blob: each is read and held once.
    let mut blobs: HashMap<ObjectId, Option<Bytes>> = HashMap::new();
    for files in wanted.chunks(FILES_AT_ONCE) {
        let is_file = |file: &&TreeFile| matches!(file.kind, FileKind::Regular | FileKind::Executable);
        let new = files.iter().filter(is_file).map(|file| file.id).filter(|id| !blobs.contains_key(id));
        let new: Vec<ObjectId> = new.collect::<BTreeSet<_>>().into_iter().collect();
        held.try_grow(new.len() as u64 * FILE_MAX)?;
        let mut read = quarantine.blobs(&new, FILE_MAX).await?;
        blobs.extend(new.into_iter().map(|id| (id, read.remove(&id).map(Bytes::from))));
        held.shrink_to(blobs.values().flatten().map(|blob| blob.len() as u64).sum());
        for file in files {
            let found = match file.kind {
                FileKind::Symlink => File::Symlink,
                FileKind::Submodule => File::Submodule,
                FileKind::Regular | FileKind::Executable => match blobs.get(&file.id) {
                    Some(Some(bytes)) => File::Bytes(bytes.clone()),
                    _ => File::TooLarge,
                },
            };
            snapshot.add(&file.path, || found);
        }
        if snapshot.bytes() > SNAPSHOT_MAX {
            break;
        }
    }
    Ok((snapshot, held))
}

/// Why the files of a commit cannot be read.
#[derive(Debug, thiserror::Error)]
pub(super) enum SnapshotError {
    /// The commit is beyond a limit: its author's matter.
    #[error(transparent)]
    Refused(TreeLimitError),
    #[error(transparent)]
    Read(#[from] ReadError),
    #[error(transparent)]
    NoMemory(#[from] OutOfMemory),
}
