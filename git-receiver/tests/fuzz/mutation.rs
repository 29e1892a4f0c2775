//! Deterministic mutations of an input.

/// A deterministic random number generator.
pub(crate) struct Numbers(u64);

impl Numbers {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed | 1)
    }

    /// A number below `end`, which must not be zero.
    pub(crate) fn below(&mut self, end: usize) -> usize {
        // xorshift64 (Marsaglia).
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 >> 11).unwrap_or_default() % end
    }
}

/// Changes `input` in one to three places; `other` is another input of the same corpus to copy from.
pub(crate) fn mutated(numbers: &mut Numbers, input: &[u8], other: &[u8], words: &[Vec<u8>]) -> Vec<u8> {
    let mut bytes = input.to_vec();
    for _ in 0..=numbers.below(3) {
        let at = numbers.below(bytes.len() + 1);
        let length = (1 + numbers.below(16)).min(bytes.len() - at);
        match numbers.below(8) {
            0 if at < bytes.len() => bytes[at] ^= 1 << numbers.below(8),
            1 if at < bytes.len() => bytes[at] = b"\0\n /.@{}~\x7f\xff09"[numbers.below(13)],
            2 => drop(bytes.drain(at..at + length)),
            3 => {
                let piece = bytes[at..at + length].to_vec();
                bytes.splice(at..at, piece);
            }
            4 => {
                let from = numbers.below(other.len() + 1);
                let piece = &other[from..(from + 2 * length).min(other.len())];
                bytes.splice(at..at + length, piece.iter().copied());
            }
            5 | 6 => {
                let word = &words[numbers.below(words.len())];
                let end = if numbers.below(2) == 0 { at } else { (at + word.len()).min(bytes.len()) };
                bytes.splice(at..end, word.iter().copied());
            }
            _ => bytes.truncate(bytes.len() - length.min(4)),
        }
    }
    bytes
}
