//! Ids of rows.

use std::fmt;

use uuid::Uuid;

/// The id of an app, which survives renames.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AppId(Uuid);

impl AppId {
    /// The app with this id.
    pub fn from_uuid(id: Uuid) -> Self {
        Self(id)
    }

    /// The id as UUID.
    pub fn as_uuid(self) -> Uuid {
        self.0
    }

    /// A new id. Ids sort by time.
    pub fn random() -> Self {
        Self(Uuid::now_v7())
    }
}

/// The SHA-1 name of a git object.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Oid([u8; 20]);

impl Oid {
    /// The object with this name.
    pub fn new(bytes: [u8; 20]) -> Self {
        Self(bytes)
    }

    /// The bytes of the name.
    pub fn as_bytes(&self) -> &[u8; 20] {
        &self.0
    }

    /// Parses 40 hexadecimal digits.
    pub fn from_hex(hex: &str) -> Option<Self> {
        let mut bytes = [0; 20];
        if hex.len() != 40 || !hex.bytes().all(|digit| digit.is_ascii_hexdigit()) {
            return None;
        }
        for (byte, at) in bytes.iter_mut().zip((0..40).step_by(2)) {
            *byte = u8::from_str_radix(&hex[at..at + 2], 16).ok()?;
        }
        Some(Self(bytes))
    }
}

impl fmt::Display for Oid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Oid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The number of a deploy of an app: 1, 2, 3 and so on, never reused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DeployNumber(u64);

impl DeployNumber {
    /// The deploy with this number, starting at 1.
    pub fn new(number: u64) -> Option<Self> {
        (number > 0).then_some(Self(number))
    }

    /// The number.
    pub fn get(self) -> u64 {
        self.0
    }
}

impl fmt::Display for DeployNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The id of a namespace of state. Never reused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, sqlx::Type)]
#[sqlx(transparent)]
pub struct NamespaceId(i64);

impl NamespaceId {
    /// The namespace with this id.
    pub fn new(id: i64) -> Self {
        Self(id)
    }

    /// The number.
    pub fn get(self) -> i64 {
        self.0
    }
}

impl fmt::Display for NamespaceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The id of a commit of state.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct CommitId(Uuid);

impl CommitId {
    /// The commit with this id.
    pub fn from_uuid(id: Uuid) -> Self {
        Self(id)
    }

    /// The id as UUID.
    pub fn as_uuid(self) -> Uuid {
        self.0
    }

    /// A new id.
    pub fn random() -> Self {
        Self(Uuid::new_v4())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn oid_roundtrips_through_hex() {
        let hex = "3f2c1ab0000000000000000000000000000000ff";
        assert_eq!(Oid::from_hex(hex).unwrap().to_string(), hex);
        for bad in ["", "3f", &"g".repeat(40), &"+1".repeat(20), &"é".repeat(20)] {
            assert_eq!(Oid::from_hex(bad), None, "{bad}");
        }
    }
}
