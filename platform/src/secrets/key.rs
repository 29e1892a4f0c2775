//! The encryption keys of secrets, in a file outside of the database.
//!
//! Each line is a key of 64 hexadecimal digits. The first one encrypts; the others only decrypt older
//! secrets. Empty lines and lines that begin with `#` are ignored. The file is read for every operation, or when it
//! has changed ([`super::key_cache`]), so that a new key needs no restart.

use std::fmt;
use std::fs;
use std::io;
use std::path::PathBuf;

use sha2::{Digest as _, Sha256};

use crate::tokens::admin::{write_atomically, write_temporary};

/// The name of the file in the data folder, and of the systemd credential.
pub const FILE_NAME: &str = "secret-key";

/// The size of a key in bytes.
const KEY_BYTES: usize = 32;

/// The size of a key's id in bytes.
const ID_BYTES: usize = 8;

/// The maximum number of keys in a file.
const KEYS_MAX: usize = 100;

/// The location of the keys.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KeyFile {
    /// A file named by the operator, or a systemd credential. It is never written.
    External(PathBuf),
    /// A file in the data folder, created with the first secret.
    Managed(PathBuf),
}

/// A key. Never printed by `Debug`.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Key(pub(super) [u8; KEY_BYTES]);

/// The keys of a file, the encrypting one first.
#[derive(Clone, Debug)]
pub(super) struct Keys(Vec<Key>);

/// A new key prepended to the others, in a temporary file.
#[derive(Debug)]
pub(super) struct PreparedKey {
    /// The id of the key.
    pub(super) id: String,
    temporary: PathBuf,
    path: PathBuf,
}

/// Why keys are not available.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// The file does not exist or has no key.
    #[error("there is no secret key in {}; {}", .0.path().display(), .0.hint())]
    Missing(KeyFile),
    /// The file is not managed by the node, so no key can be added.
    #[error(
        "cannot write {}, the file of --secret-key-file or a systemd credential; prepend the output of \
         `openssl rand -hex 32` to it yourself", .0.display()
    )]
    External(PathBuf),
    /// The file has the maximum number of keys.
    #[error("{} has {KEYS_MAX} keys, the maximum; remove those that no secret needs", .0.display())]
    Full(PathBuf),
    /// The file cannot be read or written.
    #[error("cannot use the secret key in {}: {source}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What went wrong.
        source: io::Error,
    },
    /// The file is malformed.
    #[error(
        "line {line} of {} is not a secret key: a key is 64 hexadecimal digits, for example from `openssl rand -hex 32`", path.display()
    )]
    Form {
        /// The file.
        path: PathBuf,
        /// The line number, from 1; its content is not shown.
        line: usize,
    },
    /// The OS provides no random bytes.
    #[error("cannot get random bytes from the OS: {0}")]
    Random(getrandom::Error),
}

impl KeyFile {
    pub(super) fn path(&self) -> &PathBuf {
        let (Self::External(path) | Self::Managed(path)) = self;
        path
    }

    /// The hint for a missing key.
    fn hint(&self) -> &'static str {
        match self {
            Self::External(_) => {
                "restore the key, or write a new one (`openssl rand -hex 32`) and set the lost secrets again"
            }
            Self::Managed(_) => {
                "restore the key, or create a new one (`picloud secrets new-key`) and set the lost secrets again"
            }
        }
    }

    /// Reads the keys.
    pub(super) fn read(&self) -> Result<Keys, KeyError> {
        let path = self.path();
        let text = fs::read_to_string(path).map_err(|source| match source.kind() {
            io::ErrorKind::NotFound => KeyError::Missing(self.clone()),
            _ => KeyError::File { path: path.clone(), source },
        })?;
        let lines = text.lines().map(str::trim).enumerate();
        let written = lines.filter(|(_, line)| !line.is_empty() && !line.starts_with('#')).take(KEYS_MAX);
        let read = |(at, line): (usize, &str)| {
            key(line).ok_or_else(|| KeyError::Form { path: path.clone(), line: at + 1 })
        };
        let keys = written.map(read).collect::<Result<Vec<_>, _>>()?;
        if keys.is_empty() { Err(KeyError::Missing(self.clone())) } else { Ok(Keys(keys)) }
    }

    /// Creates the first key if the file is managed by the node.
    pub(super) fn create(&self) -> Result<Keys, KeyError> {
        let Self::Managed(path) = self else { return Err(KeyError::Missing(self.clone())) };
        let key = Key::random()?;
        write_atomically(path, &key.digits())
            .map_err(|source| KeyError::File { path: path.clone(), source })?;
        Ok(Keys(vec![key]))
    }

    /// Writes a temporary file with a new key prepended to the others.
    pub(super) fn prepare_new(&self) -> Result<PreparedKey, KeyError> {
        let path = match self {
            Self::Managed(path) => path.clone(),
            Self::External(path) => return Err(KeyError::External(path.clone())),
        };
        match self.read() {
            Ok(keys) if keys.0.len() >= KEYS_MAX => return Err(KeyError::Full(path)),
            Ok(_) | Err(KeyError::Missing(_)) => {}
            Err(error) => return Err(error),
        }
        let failed = |source| KeyError::File { path: path.clone(), source };
        let before = match fs::read_to_string(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => String::new(),
            read => read.map_err(failed)?,
        };
        let key = Key::random()?;
        let text = format!("{}\n{before}", key.digits());
        let temporary = write_temporary(&path, text.trim_end()).map_err(failed)?;
        Ok(PreparedKey { id: key.id(), temporary, path })
    }
}

impl PreparedKey {
    /// Replaces the key file with the temporary one. Returns its path.
    pub(super) fn commit(self) -> Result<PathBuf, KeyError> {
        match fs::rename(&self.temporary, &self.path) {
            Ok(()) => Ok(self.path),
            Err(source) => Err(KeyError::File { path: self.path, source }),
        }
    }
}

impl Keys {
    /// The encrypting key.
    pub(super) fn first(&self) -> &Key {
        &self.0[0]
    }

    /// The key with this id.
    pub(super) fn find(&self, id: &str) -> Option<&Key> {
        self.0.iter().find(|key| key.id() == id)
    }

    /// The same by the bytes of the id.
    pub(super) fn find_by_bytes(&self, id: [u8; ID_BYTES]) -> Option<&Key> {
        self.0.iter().find(|key| key.id_bytes() == id)
    }
}

impl Key {
    fn random() -> Result<Self, KeyError> {
        let mut bytes = [0; KEY_BYTES];
        getrandom::fill(&mut bytes).map_err(KeyError::Random)?;
        Ok(Self(bytes))
    }

    /// The line in the file.
    fn digits(&self) -> String {
        self.0.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    /// The id of the key, which does not reveal it.
    pub(super) fn id(&self) -> String {
        self.id_bytes().iter().map(|byte| format!("{byte:02x}")).collect()
    }

    /// The same as bytes.
    pub(super) fn id_bytes(&self) -> [u8; ID_BYTES] {
        let mut hash = Sha256::new();
        hash.update(b"the name of a PiCloud secret key\0");
        hash.update(self.0);
        let mut id = [0; ID_BYTES];
        id.iter_mut().zip(hash.finalize()).for_each(|(byte, hashed)| *byte = hashed);
        id
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Key({})", self.id())
    }
}

fn key(digits: &str) -> Option<Key> {
    if digits.len() != 2 * KEY_BYTES || !digits.bytes().all(|digit| digit.is_ascii_hexdigit()) {
        return None;
    }
    let mut bytes = [0; KEY_BYTES];
    for (byte, at) in bytes.iter_mut().zip((0..).step_by(2)) {
        *byte = u8::from_str_radix(digits.get(at..at + 2)?, 16).ok()?;
    }
    Some(Key(bytes))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn key_is_created_once_and_only_readable_by_owner() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(FILE_NAME);
        let file = KeyFile::Managed(path.clone());
        assert!(matches!(file.read(), Err(KeyError::Missing(_))));
        let made = file.create().unwrap();
        assert_eq!(file.read().unwrap().first(), made.first());
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert!(matches!(KeyFile::External(folder.path().join("other")).create(), Err(KeyError::Missing(_))));
    }

    #[test]
    fn new_key_is_prepended_on_commit() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(FILE_NAME);
        let file = KeyFile::Managed(path.clone());
        file.prepare_new().unwrap().commit().unwrap();
        let first = file.read().unwrap().first().id();
        fs::write(&path, format!("# of this year\n{}", fs::read_to_string(&path).unwrap())).unwrap();
        let prepared = file.prepare_new().unwrap();
        let second = prepared.id.clone();
        assert_eq!(file.read().unwrap().first().id(), first);
        assert_eq!(prepared.commit().unwrap(), path);
        let keys = file.read().unwrap();
        assert_eq!(keys.first().id(), second);
        assert!(keys.find(&first).is_some() && keys.0.len() == 2);
        assert!(fs::read_to_string(&path).unwrap().contains("\n# of this year\n"));
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        fs::write(&path, format!("{}\n", "ab".repeat(32)).repeat(KEYS_MAX)).unwrap();
        assert!(matches!(file.prepare_new(), Err(KeyError::Full(_))));
        fs::write(&path, "no key").unwrap();
        assert!(matches!(file.prepare_new(), Err(KeyError::Form { .. })));
        assert!(matches!(KeyFile::External(path).prepare_new(), Err(KeyError::External(_))));
    }

    #[test]
    fn first_key_encrypts_and_others_are_found_by_id() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(FILE_NAME);
        fs::write(&path, format!("# new\n{}\n\n{}\n", "0A".repeat(32), "ff".repeat(32))).unwrap();
        let keys = KeyFile::External(path.clone()).read().unwrap();
        assert_eq!(keys.first(), &Key([10; 32]));
        assert_eq!(keys.find(&Key([255; 32]).id()), Some(&Key([255; 32])));
        assert_eq!(keys.find("0000000000000000"), None);
        for wrong in ["", "# nothing", "ff", &"zz".repeat(32), &"é".repeat(32)] {
            fs::write(&path, wrong).unwrap();
            assert!(KeyFile::External(path.clone()).read().is_err(), "{wrong}");
        }
    }
}
