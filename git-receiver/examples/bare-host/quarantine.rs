//! The quarantine of a push: its objects are written to a separate directory, and moved into the repository once they are
//! accepted.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use git_receiver::{Kind, ObjectId, Pack, QuarantineView};
use tempfile::TempDir;

use crate::BoxError;
use crate::repository::DiskRepository;

/// How many objects are reconstructed at once.
const OBJECTS_AT_ONCE: usize = 1000;

/// How many files are synced at once.
const SYNCS_AT_ONCE: usize = 32;

/// Loose objects that are not yet in the repository. They are deleted on drop.
pub(crate) struct QuarantineDir {
    dir: TempDir,
    /// The paths of the objects, relative to the quarantine and later to the repository's `objects`.
    paths: Vec<PathBuf>,
}

impl QuarantineDir {
    /// Writes the objects of `pack` that are new to `repository` into a directory below its `objects`, with a name that `git
    /// gc` recognizes. Blocking.
    pub(crate) fn write(repository: &DiskRepository, pack: &Pack) -> Result<Self, BoxError> {
        let objects = repository.git_dir.join("objects");
        let dir = tempfile::Builder::new().prefix("tmp_objdir-incoming-").tempdir_in(objects)?;
        let view = QuarantineView::new(repository, pack);
        let new: Vec<ObjectId> = pack.ids().filter(|id| !repository.has(*id)).collect();
        let (mut paths, mut written) = (Vec::with_capacity(new.len()), Ok(()));
        for some in new.chunks(OBJECTS_AT_ONCE) {
            let each = view.each(some, |id, kind, content| {
                let name = id.to_string();
                let path = Path::new(&name[..2]).join(&name[2..]);
                if written.is_ok() {
                    written = write_loose(&dir.path().join(&path), kind, content);
                }
                paths.push(path);
            });
            tokio::runtime::Handle::current().block_on(each)?;
        }
        written?;
        sync(dir.path(), &paths)?;
        Ok(Self { dir, paths })
    }

    pub(crate) fn path(&self) -> &Path {
        self.dir.path()
    }

    /// Moves the objects into the repository. Each object is completely on disk before it gets its name.
    pub(crate) fn migrate(self, objects: &Path) -> io::Result<()> {
        let mut dirs = std::collections::BTreeSet::new();
        for path in &self.paths {
            let target = objects.join(path);
            let dir = target.parent().unwrap_or(objects);
            fs::create_dir_all(dir)?;
            fs::rename(self.dir.path().join(path), &target)?;
            dirs.insert(dir.to_owned());
        }
        dirs.insert(objects.to_owned());
        dirs.iter().try_for_each(|dir| File::open(dir)?.sync_all())
    }
}

/// Syncs all files to disk, in parallel, so that they share the disk's flushes.
fn sync(dir: &Path, paths: &[PathBuf]) -> io::Result<()> {
    let share = paths.len().div_ceil(SYNCS_AT_ONCE).max(1);
    std::thread::scope(|scope| {
        let sync = |path: &PathBuf| File::open(dir.join(path))?.sync_all();
        let syncing: Vec<_> =
            paths.chunks(share).map(|some| scope.spawn(move || some.iter().try_for_each(sync))).collect();
        let died = |_| Err(io::Error::other("syncing died"));
        syncing.into_iter().try_for_each(|syncing| syncing.join().unwrap_or_else(died))
    })
}

fn write_loose(path: &Path, kind: Kind, content: &[u8]) -> io::Result<()> {
    let mut encoder = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::fast());
    write!(encoder, "{kind} {}\0", content.len())?;
    encoder.write_all(content)?;
    path.parent().map_or(Ok(()), fs::create_dir_all)?;
    let mut file = File::create_new(path)?;
    file.write_all(&encoder.finish()?)?;
    let mut permissions = file.metadata()?.permissions();
    permissions.set_readonly(true);
    file.set_permissions(permissions)
}
