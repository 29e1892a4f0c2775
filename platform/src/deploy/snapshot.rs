//! The manifest, the scripts and the templates of a commit.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use bytes::Bytes;
use git_receiver::{
    FileKind, ObjectId, QuarantineView, ReadError, Repository, TreeFile, TreeLimitError, TreeLimits,
};
use manifest_schema::limits::Ceiling;
use manifest_schema::manifest;
use manifest_schema::parse::{MANIFEST_MAX, ParseContext, parse};
use manifest_schema::sdk::SdkVersion;
use runtime::{SOURCE_MAX, TEMPLATE_FOLDER, TEMPLATES_MAX};

use crate::memory::{Account, OutOfMemory, Purpose, Reservation};

/// The maximum size of manifest and scripts together: what one revision can take in memory.
pub(super) const SNAPSHOT_BYTES_MAX: u64 = 32 * 1024 * 1024;

/// How many files are read per query.
const FILES_PER_QUERY: usize = 16;

/// The maximum size of a manifest or script, in bytes.
pub const FILE_BYTES_MAX: u64 =
    if SOURCE_MAX > MANIFEST_MAX { SOURCE_MAX as u64 } else { MANIFEST_MAX as u64 };

/// The content of a path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum File {
    /// A file; files with the same content share their bytes.
    Bytes(Bytes),
    /// A symbolic link, which is not followed.
    Symlink,
    /// A submodule, which is not followed.
    Submodule,
    /// A file larger than [`FILE_BYTES_MAX`].
    TooLarge,
}

/// The first line of a pointer, see the Git LFS specification.
const LFS_POINTER: &[u8] = b"version https://git-lfs.github.com/spec/";

impl File {
    fn len(&self) -> u64 {
        if let Self::Bytes(bytes) = self { bytes.len() as u64 } else { 0 }
    }

    /// Whether the file is a Git LFS pointer to content outside of the repository.
    pub fn is_lfs_pointer(&self) -> bool {
        matches!(self, Self::Bytes(bytes) if bytes.starts_with(LFS_POINTER))
    }
}

/// The manifest, the scripts and the templates of a working tree or a commit.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Snapshot {
    /// The number of files.
    pub files: usize,
    /// `picloud.toml`, if it exists.
    pub manifest: Option<File>,
    /// The files whose paths end in `.rhai`.
    pub scripts: BTreeMap<String, File>,
    /// The files in the folder `templates`, by path. Pushes read them only for manifests whose SDK has templates.
    pub templates: BTreeMap<String, File>,
}

impl Snapshot {
    /// The text of the manifest.
    pub fn manifest_text(&self) -> Option<Bytes> {
        match &self.manifest {
            Some(File::Bytes(text)) => Some(text.clone()),
            _ => None,
        }
    }

    /// The size of manifest and scripts, without templates.
    pub fn bytes(&self) -> u64 {
        self.manifest.iter().chain(self.scripts.values()).map(File::len).sum()
    }

    /// The size of the templates.
    pub(super) fn template_bytes(&self) -> u64 {
        self.templates.values().map(File::len).sum()
    }

    /// Whether the SDK of the manifest has templates.
    fn has_templates(&self) -> bool {
        let Some(File::Bytes(manifest)) = &self.manifest else { return false };
        let scripts = self.scripts.keys().cloned().collect();
        let context = ParseContext::new(&Ceiling::UNBOUNDED, &scripts);
        let sdk = match parse(manifest, context) {
            Ok(parsed) => Some(parsed.manifest.sdk),
            Err(error) => error.sdk,
        };
        sdk.is_some_and(|sdk| sdk >= TEMPLATES_SINCE)
    }

    /// Adds a manifest, script or template; other files are only counted.
    pub fn add(&mut self, path: &str, file: impl FnOnce() -> File) {
        self.files += 1;
        if path == manifest::FILE_NAME {
            self.manifest = Some(file());
        } else if is_template(path) {
            self.templates.insert(path.to_owned(), file());
        } else if is_script(path) {
            self.scripts.insert(path.to_owned(), file());
        }
    }

    /// The file at `path`, if it is part of the snapshot.
    pub fn get(&self, path: &str) -> Option<&File> {
        if path == manifest::FILE_NAME {
            self.manifest.as_ref()
        } else {
            self.scripts.get(path).or_else(|| self.templates.get(path))
        }
    }

    /// Whether a file at `path` is part of a snapshot.
    pub fn includes(path: &str) -> bool {
        path == manifest::FILE_NAME || is_script(path) || is_template(path)
    }
}

/// The SDK version that introduced templates.
pub(crate) const TEMPLATES_SINCE: SdkVersion = SdkVersion::V1_3;

/// The end of the names of definitions for editors, which `picloud definitions` writes.
const DEFINITIONS_SUFFIX: &str = ".d.rhai";

/// Whether the file is a template, and not a script.
pub(crate) fn is_template(path: &str) -> bool {
    path.starts_with(TEMPLATE_FOLDER) && !path.ends_with(".rhai")
}

/// Files of tests and definitions for editors are no scripts of the app.
fn is_script(path: &str) -> bool {
    path.ends_with(".rhai")
        && ![manifest::TEST_SUFFIX, DEFINITIONS_SUFFIX].iter().any(|end| path.ends_with(end))
}

/// Reads the snapshot of `commit`, stopping after [`SNAPSHOT_BYTES_MAX`], and reserves memory of the account.
///
/// # Errors
/// The tree exceeds its limits, an object is missing, the repository cannot be read, or memory is short.
pub(super) async fn read_snapshot<R: Repository>(
    quarantine: &QuarantineView<'_, R>,
    commit: ObjectId,
    limits: &TreeLimits,
    account: &Account,
) -> Result<(Snapshot, Reservation), SnapshotError> {
    let tree = match quarantine.files(commit, limits).await {
        Err(ReadError::Limit(limit)) => return Err(SnapshotError::Rejected(limit)),
        tree => tree?,
    };
    let count = tree.len();
    let included = tree.into_iter().filter(|file| Snapshot::includes(&file.path));
    let (mut templates, files): (Vec<_>, Vec<_>) = included.partition(|file| is_template(&file.path));
    // One more, which the check reports.
    templates.truncate(TEMPLATES_MAX + 1);
    let mut snapshot = Snapshot::default();
    let mut held = account.try_reserve(Purpose::Pushes, 0)?;
    // Files can share blobs: each blob is read and stored once.
    let mut blobs: HashMap<ObjectId, Option<Bytes>> = HashMap::new();
    read_files(quarantine, &files, &mut snapshot, &mut blobs, &mut held).await?;
    if !templates.is_empty() && snapshot.has_templates() {
        read_files(quarantine, &templates, &mut snapshot, &mut blobs, &mut held).await?;
    }
    snapshot.files = count;
    Ok((snapshot, held))
}

/// Reads files into the snapshot, with their blobs.
async fn read_files<R: Repository>(
    quarantine: &QuarantineView<'_, R>,
    files: &[TreeFile],
    snapshot: &mut Snapshot,
    blobs: &mut HashMap<ObjectId, Option<Bytes>>,
    held: &mut Reservation,
) -> Result<(), SnapshotError> {
    for files in files.chunks(FILES_PER_QUERY) {
        let is_file = |file: &&TreeFile| matches!(file.kind, FileKind::Regular | FileKind::Executable);
        let new = files.iter().filter(is_file).map(|file| file.id).filter(|id| !blobs.contains_key(id));
        let new: Vec<ObjectId> = new.collect::<BTreeSet<_>>().into_iter().collect();
        held.try_grow(new.len() as u64 * FILE_BYTES_MAX)?;
        let mut read = quarantine.blobs(&new, FILE_BYTES_MAX).await?;
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
        if snapshot.bytes() + snapshot.template_bytes() > SNAPSHOT_BYTES_MAX {
            break;
        }
    }
    Ok(())
}

/// Why a snapshot was not read.
#[derive(Debug, thiserror::Error)]
pub(super) enum SnapshotError {
    /// The commit exceeds a limit of trees.
    #[error(transparent)]
    Rejected(TreeLimitError),
    #[error(transparent)]
    Read(#[from] ReadError),
    #[error(transparent)]
    NoMemory(#[from] OutOfMemory),
}
