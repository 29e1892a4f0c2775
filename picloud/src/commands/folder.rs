//! Reads the working tree of an app into a snapshot.

use std::borrow::Cow;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use manifest_schema::name::AppName;
use platform::deploy::{FILE_BYTES_MAX, File, Snapshot};
use platform::script_tests::{TEST_SUFFIX, TestFiles};

use crate::hint::Hint;

/// The maximum number of files and folders. The default of servers is the same.
const ENTRIES_MAX: usize = 20_000;

/// The name of an app whose folder has no valid name.
const DEFAULT_NAME: &str = "app";

/// Why a folder cannot be read.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ReadError {
    #[error("cannot read {}", path.display())]
    Read { path: PathBuf, source: io::Error },
    #[error("{} contains more than {ENTRIES_MAX} files", .0.display())]
    TooMany(PathBuf),
}

impl Hint for ReadError {
    fn hint(&self) -> Option<Cow<'static, str>> {
        Some("pass the folder with picloud.toml, or create a starter app with  picloud init".into())
    }
}

/// The contents of a folder.
#[derive(Debug)]
pub(crate) struct Tree {
    pub(crate) snapshot: Snapshot,
    /// The files of tests, which are no part of the app.
    pub(crate) tests: TestFiles,
    /// All folders that were read, including the root.
    pub(crate) folders: Vec<PathBuf>,
    /// Folders whose files a commit does not contain.
    pub(crate) skipped: Vec<(String, SkipReason)>,
}

/// Why a commit does not contain the files of a folder.
#[derive(Clone, Copy, Debug, thiserror::Error)]
pub(crate) enum SkipReason {
    #[error("the folder is a separate repository (a submodule): a push does not send its files")]
    Submodule,
    #[error("the folder is a symbolic link: a push does not send its files")]
    Symlink,
}

/// Reads `folder`, without the folders with the names `excluded` and the paths `ignored`. Files that disappear meanwhile are
/// skipped.
pub(crate) fn read(folder: &Path, excluded: &[&str], ignored: &[String]) -> Result<Tree, ReadError> {
    let mut tree = Tree {
        snapshot: Snapshot::default(),
        tests: TestFiles::new(),
        folders: Vec::new(),
        skipped: Vec::new(),
    };
    let mut folders = vec![PathBuf::new()];
    while let Some(inside) = folders.pop() {
        let here = if inside.as_os_str().is_empty() { folder.to_owned() } else { folder.join(&inside) };
        let failed = |source| ReadError::Read { path: here.clone(), source };
        let entries = match fs::read_dir(&here) {
            Err(error) if error.kind() == io::ErrorKind::NotFound && here != folder => continue,
            entries => entries.map_err(failed)?,
        };
        for entry in entries {
            let entry = entry.map_err(failed)?;
            let path = inside.join(entry.file_name());
            let kind = match entry.file_type() {
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                kind => kind.map_err(failed)?,
            };
            if kind.is_dir() {
                if excluded.iter().any(|name| entry.file_name() == *name)
                    || ignored.iter().any(|ignored| path == Path::new(ignored))
                {
                    continue;
                }
                if entry.path().join(".git").exists() {
                    tree.skipped.push((path.to_string_lossy().into_owned(), SkipReason::Submodule));
                } else {
                    folders.push(path);
                }
                continue;
            }
            // git does not store pipes, sockets and devices.
            if !kind.is_file() && !kind.is_symlink() {
                continue;
            }
            // The manifest and scripts have UTF-8 names.
            let name = path.to_string_lossy();
            if kind.is_symlink() && entry.path().is_dir() {
                tree.skipped.push((name.clone().into_owned(), SkipReason::Symlink));
            }
            let is_test = name.ends_with(TEST_SUFFIX);
            let file = if !is_test && !Snapshot::includes(&name) {
                None
            } else if kind.is_symlink() {
                Some(File::Symlink)
            } else {
                match contents(&entry.path()) {
                    Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                    read => Some(read.map_err(|source| ReadError::Read { path: entry.path(), source })?),
                }
            };
            if let Some(file) = file.as_ref().filter(|_| is_test) {
                tree.tests.insert(name.clone().into_owned(), file.clone());
            }
            tree.snapshot.add(&name, || file.unwrap_or(File::Symlink));
            if tree.snapshot.files + folders.len() + tree.folders.len() > ENTRIES_MAX {
                return Err(ReadError::TooMany(folder.to_owned()));
            }
        }
        tree.folders.push(here);
    }
    Ok(tree)
}

fn contents(path: &Path) -> io::Result<File> {
    if fs::metadata(path)?.len() > FILE_BYTES_MAX {
        return Ok(File::TooLarge);
    }
    fs::read(path).map(|bytes| File::Bytes(bytes.into()))
}

/// The default app name for a folder.
pub(crate) fn app_name(folder: &Path) -> AppName {
    let name = folder.file_name().map(|name| name.to_string_lossy().to_ascii_lowercase()).unwrap_or_default();
    let name: String =
        name.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '-' }).take(40).collect();
    let name = name.trim_start_matches(|c: char| !c.is_ascii_lowercase()).trim_end_matches('-');
    AppName::new(name).unwrap_or_else(|_| AppName::new(DEFAULT_NAME).expect("a valid name"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn app_is_named_after_its_folder() {
        for (folder, name) in [
            ("/home/ada/hello", "hello"),
            ("/srv/My App", "my-app"),
            ("/srv/2024-photos_", "photos"),
            ("/srv/Grüße", "gr--e"),
            ("/", "app"),
            ("/srv/42", "app"),
        ] {
            assert_eq!(app_name(Path::new(folder)).as_str(), name, "{folder}");
        }
        assert!(app_name(Path::new(&format!("/{}", "a-".repeat(40)))).as_str().len() <= 40);
    }
}
