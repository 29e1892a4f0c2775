//! The keys that secrets are encrypted with, kept in a file outside the database.
//!
//! Each line is a key: 64 hexadecimal digits. The first one encrypts; the others only decrypt what was encrypted before the
//! first one came. Empty lines and those that begin with `#` are passed over. The file is read at every act, so that a new
//! key needs no new start.

use std::fmt;
use std::fs;
use std::io;
use std::path::PathBuf;

use sha2::{Digest as _, Sha256};

use crate::tokens::admin::{keep, write_partial};

/// The name of the file, in the data folder and among systemd's credentials.
pub const FILE: &str = "secret-key";

/// The bytes of a key.
const KEY: usize = 32;

/// The most keys of a file.
const KEYS_MAX: usize = 100;

/// Where the keys are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KeyFile {
    /// A file that the operator named, or a credential of systemd. It is never written.
    Given(PathBuf),
    /// In the data folder, where one is made with the first secret.
    Own(PathBuf),
}

/// One key. Never printed by `Debug`.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Key(pub(super) [u8; KEY]);

/// The keys of a file, the one that encrypts first.
#[derive(Clone, Debug)]
pub(super) struct Keys(Vec<Key>);

/// A new key on top of a node's others, in a file that is not in use yet.
#[derive(Debug)]
pub(super) struct PreparedKey {
    /// What the key is known by.
    pub(super) id: String,
    partial: PathBuf,
    path: PathBuf,
}

/// Why there are no keys.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// The file is not there, or holds no key.
    #[error("there is no secret key in {}; {}", .0.path().display(), .0.way_out())]
    Missing(KeyFile),
    /// A new key was to be put into a file that is not the node's own.
    #[error(
        "the secret key is in {}, which --secret-key-file or a credential of systemd names, and which PiCloud never \
         writes; put a line of `openssl rand -hex 32` on top of that file yourself", .0.display()
    )]
    Given(PathBuf),
    /// There is no room for a new key.
    #[error("{} holds {KEYS_MAX} keys, the most that are read; take out those that no secret needs", .0.display())]
    Full(PathBuf),
    /// The file cannot be read or written.
    #[error("cannot use the secret key in {}: {source}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What went wrong.
        source: io::Error,
    },
    /// The file holds something else.
    #[error(
        "line {line} of {} is no secret key: a key is 64 hexadecimal digits, as `openssl rand -hex 32` prints them", path.display()
    )]
    Form {
        /// The file.
        path: PathBuf,
        /// The line, counted from 1; what it holds is not told.
        line: usize,
    },
    /// The system gave no random bytes.
    #[error("the system gives no random bytes: {0}")]
    Random(getrandom::Error),
}

impl KeyFile {
    fn path(&self) -> &PathBuf {
        let (Self::Given(path) | Self::Own(path)) = self;
        path
    }

    /// What helps where there is no key.
    fn way_out(&self) -> &'static str {
        match self {
            Self::Given(_) => {
                "put the key back, or a new one (`openssl rand -hex 32`), and then set the lost secrets again"
            }
            Self::Own(_) => {
                "put the key back, or begin with a new one (`picloud secrets new-key`) and then set the lost secrets again"
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

    /// Makes a first key, where that is this node's to do.
    pub(super) fn make(&self) -> Result<Keys, KeyError> {
        let Self::Own(path) = self else { return Err(KeyError::Missing(self.clone())) };
        let key = Key::random()?;
        keep(path, &key.digits()).map_err(|source| KeyError::File { path: path.clone(), source })?;
        Ok(Keys(vec![key]))
    }

    /// Writes this node's file with a new key on top, next to the file.
    pub(super) fn prepare_new(&self) -> Result<PreparedKey, KeyError> {
        let path = match self {
            Self::Own(path) => path.clone(),
            Self::Given(path) => return Err(KeyError::Given(path.clone())),
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
        let partial = write_partial(&path, text.trim_end()).map_err(failed)?;
        Ok(PreparedKey { id: key.id(), partial, path })
    }
}

impl PreparedKey {
    /// Puts the file in the place of the one that was there. Returns where that is.
    pub(super) fn put(self) -> Result<PathBuf, KeyError> {
        match fs::rename(&self.partial, &self.path) {
            Ok(()) => Ok(self.path),
            Err(source) => Err(KeyError::File { path: self.path, source }),
        }
    }
}

impl Keys {
    /// The one that encrypts.
    pub(super) fn first(&self) -> &Key {
        &self.0[0]
    }

    /// The one of that name.
    pub(super) fn named(&self, id: &str) -> Option<&Key> {
        self.0.iter().find(|key| key.id() == id)
    }
}

impl Key {
    fn random() -> Result<Self, KeyError> {
        let mut bytes = [0; KEY];
        getrandom::fill(&mut bytes).map_err(KeyError::Random)?;
        Ok(Self(bytes))
    }

    /// As the file has it.
    fn digits(&self) -> String {
        self.0.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    /// What the key is known by, which tells nothing of it.
    pub(super) fn id(&self) -> String {
        let mut hash = Sha256::new();
        hash.update(b"the name of a PiCloud secret key\0");
        hash.update(self.0);
        hash.finalize().iter().take(8).map(|byte| format!("{byte:02x}")).collect()
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Key({})", self.id())
    }
}

fn key(digits: &str) -> Option<Key> {
    if digits.len() != 2 * KEY || !digits.bytes().all(|digit| digit.is_ascii_hexdigit()) {
        return None;
    }
    let mut bytes = [0; KEY];
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
    fn a_key_is_made_once_for_the_owner_alone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(FILE);
        let file = KeyFile::Own(path.clone());
        assert!(matches!(file.read(), Err(KeyError::Missing(_))));
        let made = file.make().unwrap();
        assert_eq!(file.read().unwrap().first(), made.first());
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert!(matches!(KeyFile::Given(folder.path().join("other")).make(), Err(KeyError::Missing(_))));
    }

    #[test]
    fn new_key_goes_on_top_of_the_others_once_it_is_put() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(FILE);
        let file = KeyFile::Own(path.clone());
        file.prepare_new().unwrap().put().unwrap();
        let first = file.read().unwrap().first().id();
        fs::write(&path, format!("# of this year\n{}", fs::read_to_string(&path).unwrap())).unwrap();
        let prepared = file.prepare_new().unwrap();
        let second = prepared.id.clone();
        assert_eq!(file.read().unwrap().first().id(), first);
        assert_eq!(prepared.put().unwrap(), path);
        let keys = file.read().unwrap();
        assert_eq!(keys.first().id(), second);
        assert!(keys.named(&first).is_some() && keys.0.len() == 2);
        assert!(fs::read_to_string(&path).unwrap().contains("\n# of this year\n"));
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        fs::write(&path, format!("{}\n", "ab".repeat(32)).repeat(KEYS_MAX)).unwrap();
        assert!(matches!(file.prepare_new(), Err(KeyError::Full(_))));
        fs::write(&path, "no key").unwrap();
        assert!(matches!(file.prepare_new(), Err(KeyError::Form { .. })));
        assert!(matches!(KeyFile::Given(path).prepare_new(), Err(KeyError::Given(_))));
    }

    #[test]
    fn the_first_key_encrypts_and_the_others_are_found_by_name() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(FILE);
        fs::write(&path, format!("# new\n{}\n\n{}\n", "0A".repeat(32), "ff".repeat(32))).unwrap();
        let keys = KeyFile::Given(path.clone()).read().unwrap();
        assert_eq!(keys.first(), &Key([10; 32]));
        assert_eq!(keys.named(&Key([255; 32]).id()), Some(&Key([255; 32])));
        assert_eq!(keys.named("0000000000000000"), None);
        for wrong in ["", "# nothing", "ff", &"zz".repeat(32), &"é".repeat(32)] {
            fs::write(&path, wrong).unwrap();
            assert!(KeyFile::Given(path.clone()).read().is_err(), "{wrong}");
        }
    }
}
