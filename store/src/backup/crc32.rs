//! CRC-32 as in zlib and Ethernet (polynomial 0x04C11DB7, reflected).

/// The initial value.
pub(super) const START: u32 = !0;

const TABLE: [u32; 256] = {
    let mut table = [0; 256];
    let mut byte = 0;
    while byte < 256 {
        let mut sum = byte as u32;
        let mut bit = 0;
        while bit < 8 {
            sum = if sum & 1 == 1 { sum >> 1 ^ 0xedb8_8320 } else { sum >> 1 };
            bit += 1;
        }
        table[byte] = sum;
        byte += 1;
    }
    table
};

/// Adds bytes.
pub(super) fn update(sum: u32, bytes: &[u8]) -> u32 {
    bytes.iter().fold(sum, |sum, byte| sum >> 8 ^ TABLE[usize::from(sum as u8 ^ byte)])
}

/// Finishes the checksum.
pub(super) fn end(sum: u32) -> u32 {
    !sum
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn checksum_matches_standard() {
        assert_eq!(end(update(update(START, b"1234"), b"56789")), 0xcbf4_3926);
    }
}
