//! The folder in which a node keeps its token, its key and its database: nobody else can look into it.

use std::borrow::Cow;
use std::fs::{self, DirBuilder, Permissions};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use crate::hint::Hint;

const PRIVATE: u32 = 0o700;

/// What the mode of a folder lets its group do, and everybody else.
const GROUP: u32 = 0o070;
const OTHERS: u32 = 0o007;

/// What only a folder of a node has.
const OWN_FILES: [&str; 3] = ["picloud.db", "admin-token", "secret-key"];

/// Why a folder is not used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DataFolderError {
    #[error("cannot make the data folder {}", path.display())]
    Make { path: PathBuf, source: io::Error },
    #[error("cannot look at the data folder {}", path.display())]
    Look { path: PathBuf, source: io::Error },
    #[error("other users of this machine can look into the data folder {}, and its mode cannot be changed", path.display())]
    Change { path: PathBuf, source: io::Error },
    #[error("other users of this machine can look into {}, which holds other things than those of a node", path.display())]
    Shared { path: PathBuf },
}

impl Hint for DataFolderError {
    fn hint(&self) -> Option<Cow<'static, str>> {
        let hint = match self {
            Self::Make { .. } | Self::Look { .. } => "name another folder with --data-dir",
            Self::Change { .. } => {
                "have its owner run  chmod 700  on it, or name another folder with --data-dir"
            }
            Self::Shared { .. } => {
                "name a folder of its own with --data-dir, or run  chmod 700  on this one if nobody else needs it"
            }
        };
        Some(hint.into())
    }
}

/// Makes the folder where it is not there.
///
/// # Errors
/// It cannot be made.
pub(crate) fn make(path: &Path) -> Result<(), DataFolderError> {
    let make = DirBuilder::new().recursive(true).mode(PRIVATE).create(path);
    make.map_err(|source| DataFolderError::Make { path: path.to_owned(), source })
}

/// Makes the folder where it is not there, and takes it from others where they can look into it.
///
/// # Errors
/// They still can, or the folder cannot be made.
pub(crate) fn make_private(path: &Path) -> Result<(), DataFolderError> {
    make(path)?;
    let looked = |source| DataFolderError::Look { path: path.to_owned(), source };
    let mode = fs::metadata(path).map_err(looked)?.permissions().mode();
    if mode & (GROUP | OTHERS) == 0 {
        return Ok(());
    }
    // What others work with is not taken from them: that might be a home, or /tmp.
    let names: io::Result<Vec<_>> =
        fs::read_dir(path).map_err(looked)?.map(|entry| Ok(entry?.file_name())).collect();
    let names = names.map_err(looked)?;
    let holds_own = names.iter().any(|name| OWN_FILES.iter().any(|own| name == *own));
    let is_own = holds_own || names.is_empty();
    match is_own.then(|| fs::set_permissions(path, Permissions::from_mode(PRIVATE))) {
        Some(Ok(())) if holds_own => {
            eprintln!(
                "warning: other users of this machine could look into the data folder {}; its mode is 0700 now",
                path.display()
            );
            Ok(())
        }
        Some(Ok(())) => Ok(()),
        // Who has it handed over with a group, as containers do, has chosen the group.
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
    fn folder_of_a_node_is_taken_from_others() {
        for (found, files) in
            [(0o755, &[][..]), (0o777, &["picloud.db", "x"]), (0o750, &["admin-token"]), (0o701, &[])]
        {
            let folder = folder(found, files);
            make_private(folder.path()).unwrap();
            assert_eq!(mode(&folder), 0o700, "{found:o}");
        }
        let made = tempfile::tempdir().unwrap();
        let inner = made.path().join("a/b");
        make_private(&inner).unwrap();
        assert_eq!(fs::metadata(&inner).unwrap().permissions().mode() & 0o777, 0o700);
    }

    #[test]
    fn folder_with_other_things_stays_as_it_is_and_is_not_used() {
        let home = folder(0o755, &["Documents"]);
        let refused = make_private(home.path());
        assert!(matches!(refused, Err(DataFolderError::Shared { .. })), "{refused:?}");
        assert_eq!(mode(&home), 0o755);
        let private = folder(0o700, &["Documents"]);
        make_private(private.path()).unwrap();
        // A group is let in by who sets the folder up.
        let group = folder(0o2770, &["Documents"]);
        make_private(group.path()).unwrap();
        assert_eq!(mode(&group), 0o2770);
    }
}
