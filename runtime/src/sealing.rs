//! The keys of `crypto::seal`: derived from a key of the node, the app and the environment (HKDF, RFC 5869), so that
//! neither another app nor a preview can open what production sealed.

use std::fmt;

use ring::hmac::{self, HMAC_SHA256, Tag};
use uuid::Uuid;

/// The size of a key in bytes.
const KEY_BYTES: usize = 32;

/// The id of the node's key, which sealed texts contain.
pub type SealingKeyId = [u8; 8];

/// The key of an app and an environment. Never printed by `Debug`.
#[derive(Clone, PartialEq, Eq)]
pub struct SealingKey {
    id: SealingKeyId,
    is_newest: bool,
    cipher: [u8; KEY_BYTES],
    nonce: [u8; KEY_BYTES],
}

impl SealingKey {
    /// Derives the key of an app and an environment from a key of the node. Only the newest key seals.
    pub fn derive(
        node_key: &[u8; KEY_BYTES],
        (id, is_newest): (SealingKeyId, bool),
        app: Uuid,
        environment: &str,
    ) -> Self {
        let salt = hmac::Key::new(HMAC_SHA256, b"PiCloud sealing key 1");
        let extracted = hmac::Key::new(HMAC_SHA256, hmac::sign(&salt, node_key).as_ref());
        let expand = |purpose: &[u8]| {
            let info = [purpose, b"\0", app.as_bytes(), environment.as_bytes(), &[1]].concat();
            key_bytes(&hmac::sign(&extracted, &info))
        };
        Self { id, is_newest, cipher: expand(b"cipher"), nonce: expand(b"nonce") }
    }

    /// The key of an app in development. Everybody can derive it.
    pub fn for_development(app: Uuid) -> Self {
        Self::derive(b"not secret: PiCloud development!", (*b"dev\0\0\0\0\0", true), app, "development")
    }

    /// The id of the node's key.
    pub fn id(&self) -> SealingKeyId {
        self.id
    }

    /// Whether it seals; another one only opens.
    pub(crate) fn is_newest(&self) -> bool {
        self.is_newest
    }

    pub(crate) fn cipher(&self) -> &[u8; KEY_BYTES] {
        &self.cipher
    }

    /// The key from which nonces are derived.
    pub(crate) fn nonce_key(&self) -> hmac::Key {
        hmac::Key::new(HMAC_SHA256, &self.nonce)
    }
}

fn key_bytes(tag: &Tag) -> [u8; KEY_BYTES] {
    let mut bytes = [0; KEY_BYTES];
    bytes.iter_mut().zip(tag.as_ref()).for_each(|(byte, of_tag)| *byte = *of_tag);
    bytes
}

impl fmt::Debug for SealingKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SealingKey").field("is_newest", &self.is_newest).finish_non_exhaustive()
    }
}
