//! The trace context of a request (W3C Trace Context, `traceparent`).

use uuid::Uuid;

/// The parent of a span.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Parent {
    pub(super) trace: u128,
    /// 0 for the root of a trace.
    pub(super) span: u64,
    pub(super) sampled: bool,
}

impl Parent {
    /// The parent of a root span.
    pub(super) fn root() -> Self {
        Self { trace: random(), span: 0, sampled: true }
    }

    /// Parses `00-<trace>-<span>-<flags>`; later versions can have more fields. Returns `None` if it is invalid.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let mut parts = text.trim().split('-');
        let version = parse_hex(parts.next()?, 2)?;
        let (trace, span) = (parse_hex(parts.next()?, 32)?, parse_hex(parts.next()?, 16)?);
        let flags = parse_hex(parts.next()?, 2)?;
        let is_valid = version != 0xff && (version != 0 || parts.next().is_none()) && trace != 0 && span != 0;
        is_valid.then_some(Self { trace, span: u64::try_from(span).ok()?, sampled: flags & 1 == 1 })
    }
}

/// Parses a fixed number of lowercase hexadecimal digits.
fn parse_hex(text: &str, digits: usize) -> Option<u128> {
    let is_valid = text.len() == digits && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    is_valid.then(|| u128::from_str_radix(text, 16).ok())?
}

/// A new span id, which is not 0.
pub(super) fn new_id() -> u64 {
    // The lower half of a UUID v4 has fewer fixed bits than the upper half.
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
    fn traceparent_is_parsed_and_an_invalid_one_is_ignored() {
        let text = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
        let parsed = Parent::parse(text).unwrap();
        assert_eq!(
            (parsed.trace, parsed.span),
            (0x4bf9_2f35_77b3_4da6_a3ce_929d_0e0e_4736, 0x00f0_67aa_0ba9_02b7)
        );
        assert!(parsed.sampled && !Parent::parse(&text.replace("-01", "-00")).unwrap().sampled);
        assert!(Parent::parse(&format!("01{}-more", &text[2..])).is_some());
        for wrong in [
            "".to_owned(),
            text.to_ascii_uppercase(),
            format!("{text}-more"),
            format!("ff{}", &text[2..]),
            text.replace("00f067aa0ba902b7", "0000000000000000"),
            text.replace("4bf92f3577b34da6a3ce929d0e0e4736", "00000000000000000000000000000000"),
            text[..50].to_owned(),
        ] {
            assert_eq!(Parent::parse(&wrong), None, "{wrong}");
        }
    }
}
