//! Disk usage of a node.

use std::path::Path;

use store::cluster::Disk;

/// The usage of the file system with this folder; `None` if the system does not report it.
pub async fn usage(folder: &Path) -> Option<Disk> {
    let folder = folder.to_owned();
    // A network file system can hang.
    let statvfs = tokio::task::spawn_blocking(move || rustix::fs::statvfs(&folder));
    let found = statvfs.await.ok()?.ok()?;
    let bytes = |blocks: u64| blocks.saturating_mul(found.f_frsize);
    // Blocks reserved for root do not count as free.
    Some(Disk { free_bytes: bytes(found.f_bavail), size_bytes: bytes(found.f_blocks) })
}
