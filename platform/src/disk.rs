//! How full the disk of a node is.

use std::path::Path;

use store::cluster::Disk;

/// The file system with this folder; `None` where the system does not say.
pub async fn of(folder: &Path) -> Option<Disk> {
    let folder = folder.to_owned();
    // One that comes over a network may not answer.
    let asked = tokio::task::spawn_blocking(move || rustix::fs::statvfs(&folder));
    let found = asked.await.ok()?.ok()?;
    let bytes = |blocks: u64| blocks.saturating_mul(found.f_frsize);
    // What only root may write is not free.
    Some(Disk { free_bytes: bytes(found.f_bavail), size_bytes: bytes(found.f_blocks) })
}
