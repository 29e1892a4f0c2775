//! The values that pass between a script and the state of its app: keys, values, reads and writes.
//!
//! The functions of the module `kv` check their arguments and call the host with these types; the host keeps what an
//! execution has read and written, and stores it when the execution has ended well.

use std::borrow::Borrow;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

/// The maximum length of a key, in bytes.
pub const KEY_BYTES_MAX: usize = 512;

/// The maximum length of a value, in bytes: of its JSON, or of the blob.
pub const VALUE_BYTES_MAX: usize = 1024 * 1024;

/// The maximum number of entries of one list.
pub const LIST_MAX: u32 = 1000;

/// A key: 1 to [`KEY_BYTES_MAX`] bytes without NUL. Sorted by bytes.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KvKey(Arc<str>);

/// Why a text is no key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KvKeyError {
    /// It has no characters.
    #[error("a key must not be empty")]
    Empty,
    /// It is too long.
    #[error("a key has at most {KEY_BYTES_MAX} bytes, not {0}")]
    TooLong(usize),
    /// It contains NUL, which databases cannot store in a text.
    #[error("a key must not contain NUL")]
    Nul,
}

impl KvKey {
    /// Parses a key.
    ///
    /// # Errors
    /// It is empty, too long, or contains NUL.
    pub fn new(text: &str) -> Result<Self, KvKeyError> {
        match text.len() {
            0 => Err(KvKeyError::Empty),
            length if length > KEY_BYTES_MAX => Err(KvKeyError::TooLong(length)),
            _ if text.contains('\0') => Err(KvKeyError::Nul),
            _ => Ok(Self(text.into())),
        }
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Keys sort and hash as their texts.
impl Borrow<str> for KvKey {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for KvKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A stored value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KvValue {
    /// A JSON document.
    Json(Bytes),
    /// Bytes.
    Blob(Bytes),
}

impl KvValue {
    /// The JSON, or the bytes.
    pub fn bytes(&self) -> &Bytes {
        match self {
            Self::Json(bytes) | Self::Blob(bytes) => bytes,
        }
    }
}

/// How a read is remembered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KvReadMode {
    /// If what was read changes before the execution is stored, it runs again.
    Checked,
    /// The read is not checked again (`kv::peek`).
    Unchecked,
}

/// The keys of a list: those that begin with `prefix`, are above `after` and below `before`, at most `limit`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct KvList {
    /// What the keys begin with; may be empty.
    pub prefix: String,
    /// Only keys above this text.
    pub after: Option<String>,
    /// Only keys below this text.
    pub before: Option<String>,
    /// The maximum number of entries, from 1 to [`LIST_MAX`].
    pub limit: u32,
    /// From the highest key down.
    pub reverse: bool,
}

/// A number that is added to a value.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum KvNumber {
    /// An integer. The sum of two is one; beyond 64 bits it fails.
    Integer(i64),
    /// A float, which is finite.
    Float(f64),
}

/// A change of one key.
#[derive(Clone, Debug, PartialEq)]
pub enum KvChange {
    /// Stores a value, for a time if `ttl` is given; a time from before ends.
    Set {
        /// The value.
        value: KvValue,
        /// How long the key exists.
        ttl: Option<Duration>,
    },
    /// Stores a value as it was exported.
    Restore {
        /// The value.
        value: KvValue,
        /// When the key ends, in milliseconds since 1970.
        expires_at_ms: Option<i64>,
    },
    /// Deletes the key, if it exists.
    Delete,
    /// Adds to the stored number; an absent key counts as 0. Without `ttl`, the time of the key stays.
    Add {
        /// What to add.
        number: KvNumber,
        /// How long the key exists from now on.
        ttl: Option<Duration>,
    },
    /// Appends to the stored array; an absent key counts as an empty one. Without `ttl`, the time of the key stays.
    Append {
        /// The item, as JSON.
        item: Bytes,
        /// The number of items that remain, the newest ones.
        keep: Option<u32>,
        /// How long the key exists from now on.
        ttl: Option<Duration>,
    },
}

/// Why a call of `kv` failed; the message is for the author of the script.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KvError {
    /// The execution read too many keys.
    #[error("an execution reads at most {0} keys")]
    ReadKeys(u64),
    /// The execution read too much.
    #[error("an execution reads at most {0} bytes of state")]
    ReadBytes(u64),
    /// The execution made too many changes.
    #[error("an execution makes at most {0} changes of state")]
    Writes(u64),
    /// The execution wrote too much.
    #[error("an execution writes at most {0} bytes of state")]
    WriteBytes(u64),
    /// The value that results is too large.
    #[error("the value of `{key}` would have {bytes} bytes; at most {VALUE_BYTES_MAX} are stored")]
    TooLarge {
        /// The key.
        key: KvKey,
        /// The length of the value.
        bytes: usize,
    },
    /// `add` to a value that is no number.
    #[error("`{0}` holds no number")]
    NoNumber(KvKey),
    /// `add` beyond the range of numbers.
    #[error("the sum at `{0}` does not fit into 64 bits")]
    Overflow(KvKey),
    /// `append` to a value that is no array.
    #[error("`{0}` holds no array")]
    NoArray(KvKey),
    /// The state cannot be read now. The script fails; the message is for the operator.
    #[error("the state of the app cannot be read: {0}")]
    Unavailable(String),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_bounded_and_sorted_by_bytes() {
        assert_eq!(KvKey::new(""), Err(KvKeyError::Empty));
        assert_eq!(KvKey::new("a\0b"), Err(KvKeyError::Nul));
        assert_eq!(KvKey::new(&"x".repeat(513)), Err(KvKeyError::TooLong(513)));
        assert!(KvKey::new(&"x".repeat(512)).is_ok());
        assert!(KvKey::new("Z").unwrap() < KvKey::new("a").unwrap());
        assert!(KvKey::new("z").unwrap() < KvKey::new("é").unwrap());
    }
}
