//! Secrets: from the environment, from files that settings name, or from the credentials of the service manager. Never from
//! flags, which every user of the machine can read.

use std::fs::File;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use crate::settings::Secret;

/// The folder in which a service manager puts credentials (systemd.exec(5), LoadCredential=).
const CREDENTIALS: &str = "CREDENTIALS_DIRECTORY";

/// The largest file that holds a secret, in bytes.
const SECRET_MAX: u64 = 16 * 1024;

/// What holds a secret cannot be read.
#[derive(Debug, thiserror::Error)]
#[error("cannot read {what} from {}", path.display())]
pub(crate) struct SecretError {
    what: &'static str,
    path: PathBuf,
    source: io::Error,
}

/// The preset admin token, if there is one.
pub(super) fn admin_token(file: Option<&Path>) -> Result<Option<Secret>, SecretError> {
    secret("the admin token", "PICLOUD_ADMIN_TOKEN", file, "admin-token")
}

/// The database's URL, if one is set.
pub(super) fn database_url(file: Option<&Path>) -> Result<Option<Secret>, SecretError> {
    secret("the database's URL", "DATABASE_URL", file, "database-url")
}

/// The first there is of a variable, a named file, and a credential.
fn secret(
    what: &'static str,
    variable: &str,
    file: Option<&Path>,
    credential: &str,
) -> Result<Option<Secret>, SecretError> {
    // Line ends around it are those of the program that has printed it.
    let value = std::env::var(variable).unwrap_or_default();
    if !value.trim().is_empty() {
        return Ok(Some(Secret { value: value.trim().to_owned(), from: variable.to_owned() }));
    }
    if let Some(path) = file {
        let value = content(path).map_err(|source| SecretError { what, path: path.to_owned(), source })?;
        return Ok(Some(Secret { value, from: path.display().to_string() }));
    }
    let Some(folder) = std::env::var_os(CREDENTIALS).filter(|folder| !folder.is_empty()) else {
        return Ok(None);
    };
    let path = Path::new(&folder).join(credential);
    match content(&path) {
        Ok(value) => Ok(Some(Secret { value, from: format!("the credential {credential}") })),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(SecretError { what, path, source }),
    }
}

/// What a file holds, without blanks and line ends around it.
fn content(path: &Path) -> io::Result<String> {
    let mut text = String::new();
    File::open(path)?.take(SECRET_MAX).read_to_string(&mut text)?;
    let text = text.trim();
    if text.is_empty() {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "the file is empty"));
    }
    Ok(text.to_owned())
}
