//! What a token is written as: `pcl_`, 40 random letters, and a checksum that tells a slip of the pen from a wrong token
//! without asking anybody.

use sha2::{Digest as _, Sha256};

const PREFIX: &str = "pcl_";

/// 40 letters of 32: 200 bits.
const RANDOM: usize = 40;

/// The first 35 bits of the SHA-256 of what stands before.
const CHECK: usize = 7;

/// Without those that are taken for each other.
const ALPHABET: &[u8; 32] = b"abcdefghijkmnpqrstuvwxyz23456789";

/// A new token.
///
/// # Errors
/// The system gives no random bytes.
pub(super) fn random() -> Result<String, getrandom::Error> {
    let mut bytes = [0u8; RANDOM];
    getrandom::fill(&mut bytes)?;
    let letters = bytes.iter().map(|byte| letter(u64::from(*byte)));
    let token: String = PREFIX.chars().chain(letters).collect();
    let check = check(&token);
    Ok(format!("{token}{check}"))
}

/// Whether `token` is written as tokens are. Whether it is one is for the store to say.
pub(super) fn is_well_formed(token: &str) -> bool {
    let Some(letters) = token.strip_prefix(PREFIX) else { return false };
    letters.len() == RANDOM + CHECK
        && letters.bytes().all(|byte| ALPHABET.contains(&byte))
        && token.ends_with(&check(&token[..PREFIX.len() + RANDOM]))
}

/// Whether something that is written as tokens are stands in `text`.
pub(super) fn stands_in(text: &str) -> bool {
    const LENGTH: usize = PREFIX.len() + RANDOM + CHECK;
    let token = |(at, _)| text.get(at..at + LENGTH);
    text.match_indices(PREFIX).filter_map(token).any(is_well_formed)
}

/// What is kept of a token. With 200 random bits in it, nobody finds the token from this by trying.
pub(super) fn hash(token: &str) -> [u8; 32] {
    Sha256::digest(token.as_bytes()).into()
}

fn check(token: &str) -> String {
    let number = hash(token).iter().take(5).fold(0u64, |number, byte| number << 8 | u64::from(*byte));
    (0..CHECK).map(|at| letter(number >> (35 - 5 * at))).collect()
}

fn letter(number: u64) -> char {
    char::from(ALPHABET[(number % 32) as usize])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_new_token_is_well_formed_and_no_two_are_alike() {
        let (one, other) = (random().unwrap(), random().unwrap());
        assert!(is_well_formed(&one) && is_well_formed(&other) && one != other, "{one} {other}");
        assert_eq!(one.len(), 51);
    }

    #[test]
    fn a_slip_of_the_pen_is_noticed() {
        let token = random().unwrap();
        for at in 0..token.len() {
            for wrong in ['a', 'b', 'z', '9', 'é'] {
                let slip: String =
                    token.char_indices().map(|(here, was)| if here == at { wrong } else { was }).collect();
                assert!(slip == token || !is_well_formed(&slip), "{token} {slip}");
            }
        }
        assert!(!is_well_formed("") && !is_well_formed("pcl_") && !is_well_formed(&token[..50]));
    }
}
