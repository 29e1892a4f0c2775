//! The admin token, which grants everything, needs no database, and creates all other tokens.

use std::fs;
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use subtle::ConstantTimeEq;

use super::secret;

/// The minimum length of a configured token.
pub const TOKEN_MIN: usize = 32;

/// The maximum length of a token in bytes; longer ones are rejected without a comparison.
pub const TOKEN_MAX: usize = 512;

const FILE_NAME: &str = "admin-token";

/// The token that grants everything on this node. Never printed by `Debug`.
#[derive(Clone)]
pub struct AdminToken(String);

/// The origin of the admin token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// The operator configured it.
    Configured,
    /// It was read from the data folder.
    Stored,
    /// It was created now, and has to be shown once.
    Created,
}

/// Why the admin token is not available.
#[derive(Debug, thiserror::Error)]
pub enum TokenError {
    /// The configured token is too short, too long or not printable.
    #[error("the admin token must be {TOKEN_MIN} to {TOKEN_MAX} printable ASCII characters without spaces")]
    Format,
    /// The file cannot be read or written.
    #[error("cannot use the admin token in {}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What went wrong.
        source: io::Error,
    },
    /// The OS provides no random bytes.
    #[error("cannot get random bytes from the OS: {0}")]
    Random(getrandom::Error),
}

impl AdminToken {
    /// Returns the configured token, else the one stored in `folder`, else creates one there.
    ///
    /// # Errors
    /// The configured token is invalid, or the file cannot be read or written.
    pub fn load_or_create(configured: Option<&str>, folder: &Path) -> Result<(Self, Origin), TokenError> {
        if let Some(configured) = configured {
            return Ok((Self::new(configured)?, Origin::Configured));
        }
        let path = folder.join(FILE_NAME);
        match fs::read_to_string(&path) {
            Ok(stored) => Ok((Self::new(stored.trim_end())?, Origin::Stored)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let token = Self(secret::random().map_err(TokenError::Random)?);
                write_atomically(&path, &token.0).map_err(|source| TokenError::File { path, source })?;
                Ok((token, Origin::Created))
            }
            Err(source) => Err(TokenError::File { path, source }),
        }
    }

    /// Compares `offered` with this token in constant time.
    pub fn matches(&self, offered: &str) -> bool {
        secret::hash(&self.0).ct_eq(&secret::hash(offered)).into()
    }

    /// The token itself, to be shown once.
    pub fn expose(&self) -> &str {
        &self.0
    }

    fn new(token: &str) -> Result<Self, TokenError> {
        let printable = token.bytes().all(|byte| byte.is_ascii_graphic());
        let length = (TOKEN_MIN..=TOKEN_MAX).contains(&token.len());
        if printable && length { Ok(Self(token.to_owned())) } else { Err(TokenError::Format) }
    }
}

/// Writes a token or keys atomically, only readable by the owner.
pub(crate) fn write_atomically(path: &Path, text: &str) -> io::Result<()> {
    fs::rename(write_temporary(path, text)?, path)
}

/// Writes a temporary file next to `path` and returns its path, to be renamed to `path`.
pub(crate) fn write_temporary(path: &Path, text: &str) -> io::Result<PathBuf> {
    let temporary = path.with_extension("partial");
    let _ = fs::remove_file(&temporary);
    let mut file = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&temporary)?;
    writeln!(file, "{text}")?;
    file.sync_all()?;
    Ok(temporary)
}

impl std::fmt::Debug for AdminToken {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("AdminToken(…)")
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn created_token_is_stored_for_owner_only_and_read_again() {
        let folder = tempfile::tempdir().unwrap();
        let (created, origin) = AdminToken::load_or_create(None, folder.path()).unwrap();
        assert_eq!(origin, Origin::Created);
        assert!(created.expose().starts_with("pcl_"));
        let mode = fs::metadata(folder.path().join(FILE_NAME)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        let (stored, origin) = AdminToken::load_or_create(None, folder.path()).unwrap();
        assert_eq!((origin, stored.matches(created.expose())), (Origin::Stored, true));
    }

    #[test]
    fn configured_token_must_be_long_and_printable() {
        let folder = tempfile::tempdir().unwrap();
        assert!(AdminToken::load_or_create(Some("short"), folder.path()).is_err());
        assert!(AdminToken::load_or_create(Some(&format!("{} x", "a".repeat(40))), folder.path()).is_err());
        let configured = "b".repeat(32);
        let (token, origin) = AdminToken::load_or_create(Some(&configured), folder.path()).unwrap();
        assert_eq!(origin, Origin::Configured);
        assert!(token.matches(&configured) && !token.matches("") && !token.matches(&"c".repeat(32)));
        assert!(!folder.path().join(FILE_NAME).exists());
    }

    #[test]
    fn token_is_not_shown_by_debug() {
        let folder = tempfile::tempdir().unwrap();
        let (token, _) = AdminToken::load_or_create(None, folder.path()).unwrap();
        assert!(!format!("{token:?}").contains(token.expose()));
    }
}
