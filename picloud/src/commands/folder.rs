//! Reads the working tree of an app, as a commit of it would be.

use std::borrow::Cow;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use manifest_schema::name::AppName;
use platform::deploy::{FILE_BYTES_MAX, File, Snapshot};

use crate::hint::Hint;

/// The most files and folders that are looked at; a server takes no more files either.
const ENTRIES_MAX: usize = 20_000;

/// The name of an app whose folder has none that could be.
const NAMELESS: &str = "app";

/// Why a folder cannot be read.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ReadError {
    #[error("cannot read {}", path.display())]
    Read { path: PathBuf, source: io::Error },
    #[error("{} holds more than {ENTRIES_MAX} files", .0.display())]
    TooMany(PathBuf),
}

impl Hint for ReadError {
    fn hint(&self) -> Option<Cow<'static, str>> {
        Some("name the folder that holds picloud.toml, or write a starter app with  picloud init".into())
    }
}

/// What stands in a folder.
#[derive(Debug)]
pub(crate) struct Tree {
    pub(crate) snapshot: Snapshot,
    /// Every folder that was read, the first one included.
    pub(crate) folders: Vec<PathBuf>,
    /// Folders of which a commit holds no file, and why not.
    pub(crate) passed_by: Vec<(String, PassedBy)>,
}

/// Why a commit holds no file of a folder.
#[derive(Clone, Copy, Debug, thiserror::Error)]
pub(crate) enum PassedBy {
    #[error("the folder is a repository of its own (a submodule): a push sends none of its files")]
    Submodule,
    #[error("the folder is a symbolic link, which is never followed: a push sends none of its files")]
    Symlink,
}

/// Reads `folder`, apart from the folders within it that bear one of the names `passed_over` or are at one of the paths `ignored`. What goes
/// away meanwhile was not there.
pub(crate) fn read(folder: &Path, passed_over: &[&str], ignored: &[String]) -> Result<Tree, ReadError> {
    let mut tree = Tree { snapshot: Snapshot::default(), folders: Vec::new(), passed_by: Vec::new() };
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
                if passed_over.iter().any(|name| entry.file_name() == *name)
                    || ignored.iter().any(|ignored| path == Path::new(ignored))
                {
                    continue;
                }
                if entry.path().join(".git").exists() {
                    tree.passed_by.push((path.to_string_lossy().into_owned(), PassedBy::Submodule));
                } else {
                    folders.push(path);
                }
                continue;
            }
            // git keeps no pipes, sockets and devices.
            if !kind.is_file() && !kind.is_symlink() {
                continue;
            }
            // A name that is not UTF-8 can be neither the manifest nor a script.
            let name = path.to_string_lossy();
            if kind.is_symlink() && entry.path().is_dir() {
                tree.passed_by.push((name.clone().into_owned(), PassedBy::Symlink));
            }
            let file = if !Snapshot::includes(&name) {
                None
            } else if kind.is_symlink() {
                Some(File::Symlink)
            } else {
                match contents(&entry.path()) {
                    Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                    read => Some(read.map_err(|source| ReadError::Read { path: entry.path(), source })?),
                }
            };
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

/// The app that a folder of this name would be pushed as.
pub(crate) fn app_name(folder: &Path) -> AppName {
    let name = folder.file_name().map(|name| name.to_string_lossy().to_ascii_lowercase()).unwrap_or_default();
    let name: String =
        name.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '-' }).take(40).collect();
    let name = name.trim_start_matches(|c: char| !c.is_ascii_lowercase()).trim_end_matches('-');
    AppName::new(name).unwrap_or_else(|_| AppName::new(NAMELESS).expect("a name that is right"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_app_is_named_after_its_folder() {
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
