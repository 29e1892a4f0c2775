//! `picloud init`: writes the starter app, which is `examples/hello`.

use std::fs;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use super::error::CommandError;
use crate::hint::Hint;

/// The files of the starter app.
pub(crate) const STARTER: [(&str, &str); 4] = [
    ("picloud.toml", include_str!("../../../examples/hello/picloud.toml")),
    ("greet.rhai", include_str!("../../../examples/hello/greet.rhai")),
    ("tick.rhai", include_str!("../../../examples/hello/tick.rhai")),
    ("README.md", include_str!("../../../examples/hello/README.md")),
];

/// Why no starter app was written.
#[derive(Debug, thiserror::Error)]
pub(crate) enum InitError {
    #[error("{} is there already; nothing was written", .0.display())]
    Exists(PathBuf),
    #[error("cannot write {}", path.display())]
    Write { path: PathBuf, source: io::Error },
}

impl Hint for InitError {
    fn hint(&self) -> Option<&'static str> {
        Some("name another folder")
    }
}

pub(crate) fn init(folder: &Path) -> Result<(), CommandError> {
    write(folder, &STARTER)?;
    println!("wrote {} files to {}", STARTER.len(), folder.display());
    println!("next:");
    if folder != Path::new(".") {
        println!("  cd {}", folder.display());
    }
    println!("  picloud dev   # serve it here while you change it, until Ctrl-C");
    println!("  git init -b main && git add . && git commit -m first");
    println!("  git remote add picloud http://127.0.0.1:8080/hello.git");
    println!("  git push picloud main");
    Ok(())
}

/// Writes `files` to `folder`, none of them over a file that is there.
pub(crate) fn write(folder: &Path, files: &[(&str, &str)]) -> Result<(), InitError> {
    if let Some(there) = files.iter().map(|(name, _)| folder.join(name)).find(|path| path.exists()) {
        return Err(InitError::Exists(there));
    }
    fs::create_dir_all(folder).map_err(|source| InitError::Write { path: folder.to_owned(), source })?;
    for (name, text) in files {
        let path = folder.join(name);
        fs::File::create_new(&path)
            .and_then(|mut file| file.write_all(text.as_bytes()))
            .map_err(|source| InitError::Write { path, source })?;
    }
    Ok(())
}
