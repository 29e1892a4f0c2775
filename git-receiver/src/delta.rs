//! Deltas (gitformat-pack, "Deltified representation").

/// A malformed delta, or one that does not match its base.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("corrupt delta")]
pub(crate) struct CorruptDeltaError;

/// The sizes of base and result that a delta declares.
pub(crate) fn sizes(delta: &[u8]) -> Result<(u64, u64), CorruptDeltaError> {
    let mut rest = delta;
    Ok((size(&mut rest)?, size(&mut rest)?))
}

/// Applies `delta` to `base`.
pub(crate) fn apply(base: &[u8], delta: &[u8]) -> Result<Vec<u8>, CorruptDeltaError> {
    let mut rest = delta;
    let (base_size, result_size) = (size(&mut rest)?, size(&mut rest)?);
    if base_size != base.len() as u64 {
        return Err(CorruptDeltaError);
    }
    let result_size = usize::try_from(result_size).map_err(|_| CorruptDeltaError)?;
    let mut result = Vec::with_capacity(result_size);
    while let Some(&instruction) = rest.first() {
        rest = &rest[1..];
        let piece = if instruction & 0x80 != 0 {
            let mut number = |bits: std::ops::Range<u32>| -> Result<usize, CorruptDeltaError> {
                let mut value = 0;
                for (place, bit) in bits.enumerate() {
                    if instruction & 1 << bit != 0 {
                        value |= usize::from(byte(&mut rest)?) << (8 * place);
                    }
                }
                Ok(value)
            };
            let offset = number(0..4)?;
            let length = match number(4..7)? {
                0 => 0x10000,
                length => length,
            };
            base.get(offset..offset.checked_add(length).ok_or(CorruptDeltaError)?)
        } else if instruction > 0 {
            let piece = rest.get(..usize::from(instruction));
            rest = rest.get(usize::from(instruction)..).unwrap_or_default();
            piece
        } else {
            None
        };
        let piece = piece.ok_or(CorruptDeltaError)?;
        if result.len() + piece.len() > result_size {
            return Err(CorruptDeltaError);
        }
        result.extend_from_slice(piece);
    }
    if result.len() == result_size { Ok(result) } else { Err(CorruptDeltaError) }
}

fn size(rest: &mut &[u8]) -> Result<u64, CorruptDeltaError> {
    let mut value = 0u64;
    for shift in (0..63).step_by(7) {
        let byte = byte(rest)?;
        value |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Ok(value);
        }
    }
    Err(CorruptDeltaError)
}

fn byte(rest: &mut &[u8]) -> Result<u8, CorruptDeltaError> {
    let (first, others) = rest.split_first().ok_or(CorruptDeltaError)?;
    *rest = others;
    Ok(*first)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn copies_and_inserts_build_the_result() {
        // Base of 6, result of 8: copy 3 from offset 1, insert "XY", copy 3 from offset 3.
        let delta = [6, 8, 0x91, 1, 3, 2, b'X', b'Y', 0x91, 3, 3];
        assert_eq!(apply(b"abcdef", &delta).unwrap(), b"bcdXYdef");
        assert_eq!(sizes(&delta), Ok((6, 8)));
    }

    #[test]
    fn mismatched_deltas_are_rejected() {
        for bad in [
            &[][..],
            &[6],
            &[5, 1, 0x90, 1],
            &[6, 1, 0],
            &[6, 1, 0x91, 9, 1],
            &[6, 1, 2, b'X'],
            &[6, 2, 1, b'X'],
            &[6, 1, 2, b'X', b'Y'],
        ] {
            assert_eq!(apply(b"abcdef", bad), Err(CorruptDeltaError), "{bad:?}");
        }
        assert!(sizes(&[0xff; 20]).is_err());
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_do_not_panic(base in prop::collection::vec(any::<u8>(), 0..64), delta in prop::collection::vec(any::<u8>(), 0..64)) {
            // Allocating a declared size is safe only after the caller has checked it.
            if sizes(&delta).is_ok_and(|(_, result)| result < 1 << 20) {
                let _ = apply(&base, &delta);
            }
        }
    }
}
