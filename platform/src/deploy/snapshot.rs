//! The files of a commit that matter: the manifest and the scripts.

use std::collections::BTreeMap;

use git_receiver::{FileKind, ObjectId, ReadError, Repository, Staged, TreeLimits};
use manifest_schema::manifest;
use manifest_schema::parse::MANIFEST_MAX;
use runtime::SOURCE_MAX;

/// The largest manifest or script that is read, in bytes.
pub const FILE_MAX: u64 = if SOURCE_MAX > MANIFEST_MAX { SOURCE_MAX as u64 } else { MANIFEST_MAX as u64 };

/// What stands at a path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum File {
    /// A file and its bytes.
    Bytes(Vec<u8>),
    /// A symbolic link, which is never followed.
    Symlink,
    /// A link to a commit of another repository, which is never followed.
    Submodule,
    /// A file beyond [`FILE_MAX`].
    TooLarge,
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

    /// Whether a file at `path` is read into a snapshot.
    pub fn wants(path: &str) -> bool {
        path == manifest::FILE_NAME || is_script(path)
    }
}

fn is_script(path: &str) -> bool {
    path.ends_with(".rhai")
}

/// Reads the snapshot of `commit`.
///
/// # Errors
/// The tree is beyond its limits, an object is missing, or the repository cannot be read.
pub(super) async fn of_commit<R: Repository>(
    staged: &Staged<'_, R>,
    commit: ObjectId,
    limits: &TreeLimits,
) -> Result<Snapshot, SnapshotError> {
    let tree = match staged.files(commit, limits).await {
        Err(error @ ReadError::Limit(_)) => return Err(SnapshotError::Refused(error.to_string())),
        tree => tree?,
    };
    let wanted: Vec<_> = tree.iter().filter(|file| Snapshot::wants(&file.path)).collect();
    let ids: Vec<ObjectId> = wanted
        .iter()
        .filter(|file| matches!(file.kind, FileKind::Regular | FileKind::Executable))
        .map(|file| file.id)
        .collect();
    let blobs = staged.blobs(&ids, FILE_MAX).await?;
    let mut snapshot = Snapshot { files: tree.len() - wanted.len(), ..Snapshot::default() };
    for file in wanted {
        let found = match file.kind {
            FileKind::Symlink => File::Symlink,
            FileKind::Submodule => File::Submodule,
            FileKind::Regular | FileKind::Executable => match blobs.get(&file.id) {
                Some(bytes) => File::Bytes(bytes.clone()),
                None => File::TooLarge,
            },
        };
        snapshot.add(&file.path, || found);
    }
    Ok(snapshot)
}

/// Why the files of a commit cannot be read.
#[derive(Debug, thiserror::Error)]
pub(super) enum SnapshotError {
    /// The commit is beyond a limit: its author's matter.
    #[error("{0}")]
    Refused(String),
    #[error(transparent)]
    Read(#[from] ReadError),
}
