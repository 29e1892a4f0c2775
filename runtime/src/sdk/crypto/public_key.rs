//! Public keys in PEM (RFC 7468): `SubjectPublicKeyInfo` (RFC 5280), and RSA keys of PKCS #1.

use base64::Engine as _;

use crate::sdk::base64::PADDED;

/// The maximum length of a key in PEM, in bytes: four times an RSA key of 8192 bits.
const PEM_MAX: usize = 8 * 1024;

pub(super) const NO_KEY: &str =
    "`key` must be a public key in PEM, which begins with -----BEGIN PUBLIC KEY-----";
pub(super) const BROKEN_KEY: &str =
    "`key` is not a valid public key: its PEM must hold an RSA key, an EC key on P-256 or an Ed25519 key";
pub(super) const CERTIFICATE: &str = "`key` is a certificate; take its key by `openssl x509 -pubkey -noout`";
pub(super) const PRIVATE_KEY: &str =
    "`key` is a private key, which does not belong here; take its public key by `openssl pkey -pubout`";

/// The algorithm of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum KeyKind {
    Rsa,
    P256,
    Ed25519,
}

impl KeyKind {
    /// The kind in messages.
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Rsa => "an RSA key",
            Self::P256 => "an EC key on P-256",
            Self::Ed25519 => "an Ed25519 key",
        }
    }
}

/// A public key, as ring takes it.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct PublicKey {
    pub(super) kind: KeyKind,
    pub(super) bytes: Vec<u8>,
}

/// Whether a text is a key of any kind in PEM or of SSH, and so no secret to share.
pub(super) fn is_asymmetric(key: &[u8]) -> bool {
    let key = key.trim_ascii_start();
    key.starts_with(b"-----BEGIN ")
        || key.starts_with(b"ssh-")
        || key.starts_with(b"ecdsa-sha2-")
        || spki(key).is_some()
}

impl PublicKey {
    /// Reads a key.
    ///
    /// # Errors
    /// What is wrong with it.
    pub(super) fn from_pem(pem: &[u8]) -> Result<Self, &'static str> {
        let text = std::str::from_utf8(pem).ok().filter(|text| text.len() <= PEM_MAX).ok_or(NO_KEY)?;
        let (label, rest) = text
            .trim_start()
            .strip_prefix("-----BEGIN ")
            .and_then(|rest| rest.split_once("-----"))
            .ok_or(NO_KEY)?;
        let (encoded, _) = rest.split_once("-----END ").ok_or(BROKEN_KEY)?;
        let encoded: String = encoded.split_ascii_whitespace().collect();
        let der = PADDED.decode(encoded).map_err(|_| BROKEN_KEY)?;
        match label {
            "PUBLIC KEY" => spki(&der).ok_or(BROKEN_KEY),
            "RSA PUBLIC KEY" => Ok(Self { kind: KeyKind::Rsa, bytes: der }),
            "CERTIFICATE" => Err(CERTIFICATE),
            label if label.ends_with("PRIVATE KEY") => Err(PRIVATE_KEY),
            _ => Err(NO_KEY),
        }
    }
}

const RSA: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, 1];
const EC: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 2, 1];
const P256: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 3, 1, 7];
const ED25519: &[u8] = &[0x2b, 0x65, 0x70];

const SEQUENCE: u8 = 0x30;
const OBJECT_IDENTIFIER: u8 = 0x06;
const BIT_STRING: u8 = 0x03;

/// Reads a `SubjectPublicKeyInfo`.
fn spki(der: &[u8]) -> Option<PublicKey> {
    let (info, []) = element(SEQUENCE, der)? else { return None };
    let (algorithm, rest) = element(SEQUENCE, info)?;
    let (bits, []) = element(BIT_STRING, rest)? else { return None };
    let (0, bytes) = bits.split_first().map(|(unused, bytes)| (*unused, bytes))? else { return None };
    let (identifier, parameters) = element(OBJECT_IDENTIFIER, algorithm)?;
    let kind = match identifier {
        RSA => KeyKind::Rsa,
        ED25519 => KeyKind::Ed25519,
        EC if element(OBJECT_IDENTIFIER, parameters)?.0 == P256 => KeyKind::P256,
        _ => return None,
    };
    Some(PublicKey { kind, bytes: bytes.to_vec() })
}

/// The content of an element in DER with this tag, and what follows.
fn element(tag: u8, der: &[u8]) -> Option<(&[u8], &[u8])> {
    let (found, rest) = der.split_first()?;
    let (first, rest) = rest.split_first()?;
    let (length, rest) = match *first {
        short @ ..=0x7f => (usize::from(short), rest),
        0x81 => rest.split_first().map(|(length, rest)| (usize::from(*length), rest))?,
        0x82 => rest
            .split_first_chunk::<2>()
            .map(|(length, rest)| (usize::from(u16::from_be_bytes(*length)), rest))?,
        _ => return None,
    };
    if *found == tag { rest.split_at_checked(length) } else { None }
}
