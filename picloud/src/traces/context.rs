//! The trace that a request belongs to (W3C Trace Context, `traceparent`).

use uuid::Uuid;

/// What a span begins within.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Parent {
    pub(super) trace: u128,
    /// 0 where the trace begins here.
    pub(super) span: u64,
    pub(super) sampled: bool,
}

impl Parent {
    /// A trace that begins here.
    pub(super) fn none() -> Self {
        Self { trace: random(), span: 0, sampled: true }
    }

    /// Reads `00-<trace>-<span>-<flags>`; a later version may have more behind it. What is malformed is as if it were not there.
    pub(super) fn read(text: &str) -> Option<Self> {
        let mut parts = text.trim().split('-');
        let version = hexadecimal(parts.next()?, 2)?;
        let (trace, span) = (hexadecimal(parts.next()?, 32)?, hexadecimal(parts.next()?, 16)?);
        let flags = hexadecimal(parts.next()?, 2)?;
        let right = version != 0xff && (version != 0 || parts.next().is_none()) && trace != 0 && span != 0;
        right.then_some(Self { trace, span: u64::try_from(span).ok()?, sampled: flags & 1 == 1 })
    }
}

/// Digits, of which there are to be so many, in lower case.
fn hexadecimal(text: &str, digits: usize) -> Option<u128> {
    let right = text.len() == digits && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    right.then(|| u128::from_str_radix(text, 16).ok())?
}

/// A new span's id, which is not 0.
pub(super) fn new_id() -> u64 {
    // The upper half of a random UUID has some bits that never change; the lower one has fewer and is never 0.
    (random() as u64).max(1)
}

/// Random bits.
fn random() -> u128 {
    Uuid::new_v4().as_u128()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_traceparent_is_read_and_a_malformed_one_is_none() {
        let text = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
        let read = Parent::read(text).unwrap();
        assert_eq!(
            (read.trace, read.span),
            (0x4bf9_2f35_77b3_4da6_a3ce_929d_0e0e_4736, 0x00f0_67aa_0ba9_02b7)
        );
        assert!(read.sampled && !Parent::read(&text.replace("-01", "-00")).unwrap().sampled);
        assert!(Parent::read(&format!("01{}-more", &text[2..])).is_some());
        for wrong in [
            "".to_owned(),
            text.to_ascii_uppercase(),
            format!("{text}-more"),
            format!("ff{}", &text[2..]),
            text.replace("00f067aa0ba902b7", "0000000000000000"),
            text.replace("4bf92f3577b34da6a3ce929d0e0e4736", "00000000000000000000000000000000"),
            text[..50].to_owned(),
        ] {
            assert_eq!(Parent::read(&wrong), None, "{wrong}");
        }
    }
}
