//! Secrets: from the environment, from files, or from systemd credentials. Never from flags, which every user of the machine
//! can read.

use std::fs::File;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use crate::settings::Secret;

/// The variable with the folder of systemd credentials (systemd.exec(5), LoadCredential=).
const CREDENTIALS_VARIABLE: &str = "CREDENTIALS_DIRECTORY";

/// The number of bytes of a file that are read.
const FILE_MAX: u64 = 16 * 1024;

/// A secret cannot be read.
#[derive(Debug, thiserror::Error)]
#[error("cannot read {what} from {}", path.display())]
pub(crate) struct SecretError {
    what: &'static str,
    path: PathBuf,
    source: io::Error,
}

/// The admin token, if it is set.
pub(super) fn admin_token(file: Option<&Path>) -> Result<Option<Secret>, SecretError> {
    secret("the admin token", "PICLOUD_ADMIN_TOKEN", file, "admin-token")
}

/// The URL of the database, if it is set.
pub(super) fn database_url(file: Option<&Path>) -> Result<Option<Secret>, SecretError> {
    secret("the database URL", "DATABASE_URL", file, "database-url")
}

/// Reads a secret from the first source that has it: the variable, the file, the credential.
fn secret(
    what: &'static str,
    variable: &str,
    file: Option<&Path>,
    credential: &str,
) -> Result<Option<Secret>, SecretError> {
    // Programs that print the value add a line end.
    let value = std::env::var(variable).unwrap_or_default();
    if !value.trim().is_empty() {
        return Ok(Some(Secret { value: value.trim().to_owned(), source: variable.to_owned() }));
    }
    if let Some(path) = file {
        let value =
            read_trimmed(path).map_err(|source| SecretError { what, path: path.to_owned(), source })?;
        return Ok(Some(Secret { value, source: path.display().to_string() }));
    }
    let Some(folder) = std::env::var_os(CREDENTIALS_VARIABLE).filter(|folder| !folder.is_empty()) else {
        return Ok(None);
    };
    let path = Path::new(&folder).join(credential);
    match read_trimmed(&path) {
        Ok(value) => Ok(Some(Secret { value, source: format!("the credential {credential}") })),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(SecretError { what, path, source }),
    }
}

/// Reads a file, without surrounding whitespace.
fn read_trimmed(path: &Path) -> io::Result<String> {
    let mut text = String::new();
    File::open(path)?.take(FILE_MAX).read_to_string(&mut text)?;
    let text = text.trim();
    if text.is_empty() {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "the file is empty"));
    }
    Ok(text.to_owned())
}
