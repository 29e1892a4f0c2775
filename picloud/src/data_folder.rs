//! The data folder of a node, with its token, key and database. Other users must not have access.

use std::borrow::Cow;
use std::fs::{self, DirBuilder, Permissions};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use crate::hint::Hint;

const PRIVATE: u32 = 0o700;

/// The permission bits of the group and of others.
const GROUP: u32 = 0o070;
const OTHERS: u32 = 0o007;

/// Files by which a data folder is recognized.
const MARKER_FILES: [&str; 3] = ["picloud.db", "admin-token", "secret-key"];

/// Why a data folder cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DataFolderError {
    #[error("cannot create the data folder {}", path.display())]
    Create { path: PathBuf, source: io::Error },
    #[error("cannot read the data folder {}", path.display())]
    Read { path: PathBuf, source: io::Error },
    #[error("the data folder {} is accessible to other users, and its mode cannot be changed", path.display())]
    Change { path: PathBuf, source: io::Error },
    #[error("{} is accessible to other users and is not a data folder", path.display())]
    Shared { path: PathBuf },
}

impl Hint for DataFolderError {
    fn hint(&self) -> Option<Cow<'static, str>> {
        let hint = match self {
            Self::Create { .. } | Self::Read { .. } => "choose another folder with --data-dir",
            Self::Change { .. } => "have its owner run  chmod 700 , or choose another folder with --data-dir",
            Self::Shared { .. } => {
                "choose a separate folder with --data-dir, or run  chmod 700  on this one if no other user needs it"
            }
        };
        Some(hint.into())
    }
}

/// Creates the folder if it does not exist.
///
/// # Errors
/// It cannot be created.
pub(crate) fn create(path: &Path) -> Result<(), DataFolderError> {
    let created = DirBuilder::new().recursive(true).mode(PRIVATE).create(path);
    created.map_err(|source| DataFolderError::Create { path: path.to_owned(), source })
}

/// Creates the folder if it does not exist, and removes access of other users.
///
/// # Errors
/// The folder cannot be created, or other users still have access.
pub(crate) fn create_private(path: &Path) -> Result<(), DataFolderError> {
    create(path)?;
    let read_error = |source| DataFolderError::Read { path: path.to_owned(), source };
    let mode = fs::metadata(path).map_err(read_error)?.permissions().mode();
    if mode & (GROUP | OTHERS) == 0 {
        return Ok(());
    }
    // Folders of other programs are not changed: this could be a home folder or /tmp.
    let names: io::Result<Vec<_>> =
        fs::read_dir(path).map_err(read_error)?.map(|entry| Ok(entry?.file_name())).collect();
    let names = names.map_err(read_error)?;
    let has_marker = names.iter().any(|name| MARKER_FILES.iter().any(|marker| name == *marker));
    let is_data_folder = has_marker || names.is_empty();
    match is_data_folder.then(|| fs::set_permissions(path, Permissions::from_mode(PRIVATE))) {
        Some(Ok(())) if has_marker => {
            eprintln!(
                "warning: the data folder {} was accessible to other users; changed its mode to 0700",
                path.display()
            );
            Ok(())
        }
        Some(Ok(())) => Ok(()),
        // Access of a group is intended, as with volumes of containers.
        _ if mode & OTHERS == 0 => Ok(()),
        Some(Err(source)) => Err(DataFolderError::Change { path: path.to_owned(), source }),
        None => Err(DataFolderError::Shared { path: path.to_owned() }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder(mode: u32, files: &[&str]) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        for file in files {
            fs::write(folder.path().join(file), "").unwrap();
        }
        fs::set_permissions(folder.path(), Permissions::from_mode(mode)).unwrap();
        folder
    }

    fn mode(folder: &tempfile::TempDir) -> u32 {
        fs::metadata(folder.path()).unwrap().permissions().mode() & 0o7777
    }

    #[test]
    fn data_folder_becomes_private() {
        for (found, files) in
            [(0o755, &[][..]), (0o777, &["picloud.db", "x"]), (0o750, &["admin-token"]), (0o701, &[])]
        {
            let folder = folder(found, files);
            create_private(folder.path()).unwrap();
            assert_eq!(mode(&folder), 0o700, "{found:o}");
        }
        let parent = tempfile::tempdir().unwrap();
        let inner = parent.path().join("a/b");
        create_private(&inner).unwrap();
        assert_eq!(fs::metadata(&inner).unwrap().permissions().mode() & 0o777, 0o700);
    }

    #[test]
    fn other_folder_is_rejected_and_unchanged() {
        let home = folder(0o755, &["Documents"]);
        let result = create_private(home.path());
        assert!(matches!(result, Err(DataFolderError::Shared { .. })), "{result:?}");
        assert_eq!(mode(&home), 0o755);
        let private = folder(0o700, &["Documents"]);
        create_private(private.path()).unwrap();
        // Access of a group is allowed.
        let group = folder(0o2770, &["Documents"]);
        create_private(group.path()).unwrap();
        assert_eq!(mode(&group), 0o2770);
    }
}
