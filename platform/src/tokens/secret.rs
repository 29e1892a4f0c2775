//! The format of tokens: `pcl_`, 40 random characters, and a checksum that detects typos without a lookup.

use sha2::{Digest as _, Sha256};

const PREFIX: &str = "pcl_";

/// 40 characters of 5 bits: 200 bits.
const RANDOM_CHARS: usize = 40;

/// The first 35 bits of the SHA-256 of the preceding characters.
const CHECKSUM_CHARS: usize = 7;

/// Without characters that look alike.
const ALPHABET: &[u8; 32] = b"abcdefghijkmnpqrstuvwxyz23456789";

/// Creates a token.
///
/// # Errors
/// The OS provides no random bytes.
pub(super) fn random() -> Result<String, getrandom::Error> {
    let mut bytes = [0u8; RANDOM_CHARS];
    getrandom::fill(&mut bytes)?;
    let letters = bytes.iter().map(|byte| letter(u64::from(*byte)));
    let token: String = PREFIX.chars().chain(letters).collect();
    let checksum = checksum(&token);
    Ok(format!("{token}{checksum}"))
}

/// Whether `token` has the format of tokens. The store decides whether it exists.
pub(super) fn is_well_formed(token: &str) -> bool {
    let Some(letters) = token.strip_prefix(PREFIX) else { return false };
    letters.len() == RANDOM_CHARS + CHECKSUM_CHARS
        && letters.bytes().all(|byte| ALPHABET.contains(&byte))
        && token.ends_with(&checksum(&token[..PREFIX.len() + RANDOM_CHARS]))
}

/// Whether `text` contains anything in the format of tokens.
pub(super) fn is_contained_in(text: &str) -> bool {
    const LENGTH: usize = PREFIX.len() + RANDOM_CHARS + CHECKSUM_CHARS;
    let token = |(at, _)| text.get(at..at + LENGTH);
    text.match_indices(PREFIX).filter_map(token).any(is_well_formed)
}

/// The stored hash of a token. With 200 random bits, a token cannot be found by brute force.
pub(super) fn hash(token: &str) -> [u8; 32] {
    Sha256::digest(token.as_bytes()).into()
}

fn checksum(token: &str) -> String {
    let number = hash(token).iter().take(5).fold(0u64, |number, byte| number << 8 | u64::from(*byte));
    (0..CHECKSUM_CHARS).map(|at| letter(number >> (35 - 5 * at))).collect()
}

fn letter(number: u64) -> char {
    char::from(ALPHABET[(number % 32) as usize])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn new_tokens_are_well_formed_and_unique() {
        let (one, other) = (random().unwrap(), random().unwrap());
        assert!(is_well_formed(&one) && is_well_formed(&other) && one != other, "{one} {other}");
        assert_eq!(one.len(), 51);
    }

    #[test]
    fn typo_is_detected() {
        let token = random().unwrap();
        for at in 0..token.len() {
            for wrong in ['a', 'b', 'z', '9', 'é'] {
                let typo: String =
                    token.char_indices().map(|(here, was)| if here == at { wrong } else { was }).collect();
                assert!(typo == token || !is_well_formed(&typo), "{token} {typo}");
            }
        }
        assert!(!is_well_formed("") && !is_well_formed("pcl_") && !is_well_formed(&token[..50]));
    }
}
