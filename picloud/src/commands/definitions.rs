//! `picloud definitions`: the functions of the SDK in files for editors.

use std::fs;
use std::path::Path;

use manifest_schema::sdk::SdkVersion;

use super::error::{CommandError, IoError};
use super::output::print;
use crate::render::printable;

/// The folder of the definitions in the folder of an app.
pub(super) const FOLDER: &str = "definitions";

/// Writes the files, which replace those of an earlier version.
pub(crate) fn definitions(folder: &Path, sdk: SdkVersion) -> Result<(), CommandError> {
    let files = write(folder, sdk)?;
    let shown = printable(&folder.display().to_string());
    print(format!("wrote {} for SDK {sdk} to {shown}\n", counted(files)))
}

/// Writes the files, and returns their number.
pub(super) fn write(folder: &Path, sdk: SdkVersion) -> Result<usize, IoError> {
    let failed = |path: &Path| {
        let path = path.to_owned();
        |source| IoError::Write { path, source }
    };
    fs::create_dir_all(folder).map_err(failed(folder))?;
    let files = runtime::definitions(sdk);
    for file in &files {
        let path = folder.join(&file.name);
        fs::write(&path, &file.text).map_err(failed(&path))?;
    }
    Ok(files.len())
}

fn counted(files: usize) -> String {
    if files == 1 { "1 file".to_owned() } else { format!("{files} files") }
}
