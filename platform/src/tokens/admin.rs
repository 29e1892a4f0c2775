//! The admin token: it may everything, and needs no database. With it, all other tokens are made.

use std::fs;
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use subtle::ConstantTimeEq;

use super::secret;

/// The least characters of a token that the operator chose.
pub const TOKEN_MIN: usize = 32;

/// The longest token, in bytes; longer ones are refused before they are compared.
pub const TOKEN_MAX: usize = 512;

const FILE: &str = "admin-token";

/// The token that may do everything on this node. Never printed by `Debug`.
#[derive(Clone)]
pub struct AdminToken(String);

/// Where the admin token came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// The operator set it.
    Preset,
    /// It was kept in the data folder.
    Kept,
    /// It was made just now, and is to be shown once.
    Made,
}

/// Why there is no admin token.
#[derive(Debug, thiserror::Error)]
pub enum TokenError {
    /// The operator's token is too short, too long or not printable.
    #[error("the admin token must be {TOKEN_MIN} to {TOKEN_MAX} printable ASCII characters without spaces")]
    Rule,
    /// The file cannot be read or written.
    #[error("cannot keep the admin token in {}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What went wrong.
        source: io::Error,
    },
    /// The system gave no random bytes.
    #[error("the system gives no random bytes: {0}")]
    Random(getrandom::Error),
}

impl AdminToken {
    /// The operator's token if one is set, else the one kept in `folder`, else a new one that is kept there.
    ///
    /// # Errors
    /// The preset breaks the rule, or the file cannot be read or written.
    pub fn obtain(preset: Option<&str>, folder: &Path) -> Result<(Self, Origin), TokenError> {
        if let Some(preset) = preset {
            return Ok((Self::new(preset)?, Origin::Preset));
        }
        let path = folder.join(FILE);
        match fs::read_to_string(&path) {
            Ok(kept) => Ok((Self::new(kept.trim_end())?, Origin::Kept)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let token = Self(secret::random().map_err(TokenError::Random)?);
                keep(&path, &token.0).map_err(|source| TokenError::File { path, source })?;
                Ok((token, Origin::Made))
            }
            Err(source) => Err(TokenError::File { path, source }),
        }
    }

    /// Whether `offered` is this token, in a time that depends neither on where they differ nor on how long it is.
    pub fn is(&self, offered: &str) -> bool {
        secret::hash(&self.0).ct_eq(&secret::hash(offered)).into()
    }

    /// The token itself, to be shown to the one who may see it.
    pub fn reveal(&self) -> &str {
        &self.0
    }

    fn new(token: &str) -> Result<Self, TokenError> {
        let printable = token.bytes().all(|byte| byte.is_ascii_graphic());
        let length = (TOKEN_MIN..=TOKEN_MAX).contains(&token.len());
        if printable && length { Ok(Self(token.to_owned())) } else { Err(TokenError::Rule) }
    }
}

/// Writes a token or keys whole or not at all, readable by the owner only.
pub(crate) fn keep(path: &Path, text: &str) -> io::Result<()> {
    fs::rename(write_partial(path, text)?, path)
}

/// Writes the same next to `path`, and returns where: renamed to `path`, it is kept.
pub(crate) fn write_partial(path: &Path, text: &str) -> io::Result<PathBuf> {
    let partial = path.with_extension("partial");
    let _ = fs::remove_file(&partial);
    let mut file = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&partial)?;
    writeln!(file, "{text}")?;
    file.sync_all()?;
    Ok(partial)
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
    fn a_made_token_is_kept_for_the_owner_alone_and_found_again() {
        let folder = tempfile::tempdir().unwrap();
        let (made, origin) = AdminToken::obtain(None, folder.path()).unwrap();
        assert_eq!(origin, Origin::Made);
        assert!(made.reveal().starts_with("pcl_"));
        let mode = fs::metadata(folder.path().join(FILE)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        let (kept, origin) = AdminToken::obtain(None, folder.path()).unwrap();
        assert_eq!((origin, kept.is(made.reveal())), (Origin::Kept, true));
    }

    #[test]
    fn a_preset_must_be_long_and_printable() {
        let folder = tempfile::tempdir().unwrap();
        assert!(AdminToken::obtain(Some("short"), folder.path()).is_err());
        assert!(AdminToken::obtain(Some(&format!("{} x", "a".repeat(40))), folder.path()).is_err());
        let preset = "b".repeat(32);
        let (token, origin) = AdminToken::obtain(Some(&preset), folder.path()).unwrap();
        assert_eq!(origin, Origin::Preset);
        assert!(token.is(&preset) && !token.is("") && !token.is(&"c".repeat(32)));
        assert!(!folder.path().join(FILE).exists());
    }

    #[test]
    fn a_token_is_not_shown_by_debug() {
        let folder = tempfile::tempdir().unwrap();
        let (token, _) = AdminToken::obtain(None, folder.path()).unwrap();
        assert!(!format!("{token:?}").contains(token.reveal()));
    }
}
