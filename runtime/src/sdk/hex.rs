//! `hex`: bytes as hexadecimal digits (RFC 4648 section 8).

use manifest_schema::sdk::SdkVersion;
use rhai::Dynamic;

use super::call::{Call, Outcome};
use super::signature::{Function, Kinds, Parameter, SdkModule};

/// The module `hex`.
pub(super) const MODULE: SdkModule = SdkModule {
    name: "hex",
    since: SdkVersion::V1_3,
    summary: "Bytes as hexadecimal digits.",
    functions: &[
        Function {
            name: "encode",
            parameters: &[Parameter::new("data", Kinds::DATA)],
            required: 1,
            returns: "text",
            summary: "Bytes as hexadecimal digits in lower case.",
            errors: &[],
            run: encode,
        },
        Function {
            name: "decode",
            parameters: &[Parameter::new("text", Kinds::TEXT)],
            required: 1,
            returns: "blob or ()",
            summary: "The bytes of hexadecimal digits in any case; `()` if the text has others.",
            errors: &[],
            run: decode,
        },
    ],
};

/// Bytes as digits in lower case.
pub(super) fn digits(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let mut digits = String::with_capacity(bytes.len() * 2);
    for byte in bytes {
        digits.push(char::from(DIGITS[usize::from(byte >> 4)]));
        digits.push(char::from(DIGITS[usize::from(byte & 15)]));
    }
    digits
}

/// The bytes of digits.
pub(super) fn bytes(digits: &[u8]) -> Option<Vec<u8>> {
    let value = |digit: u8| char::from(digit).to_digit(16).and_then(|value| u8::try_from(value).ok());
    let (pairs, []) = digits.as_chunks::<2>() else { return None };
    pairs.iter().map(|[high, low]| Some(value(*high)? << 4 | value(*low)?)).collect()
}

fn encode(call: &Call<'_, '_>) -> Outcome<Dynamic> {
    call.with_bytes(0, |bytes| {
        call.limit_text(bytes.len() * 2)?;
        call.charge_bytes(bytes.len() * 16)?;
        call.reserve(bytes.len() * 2)?;
        Ok(digits(bytes).into())
    })
}

fn decode(call: &Call<'_, '_>) -> Outcome<Dynamic> {
    let text = call.text(0);
    call.charge_bytes(text.len() * 8)?;
    call.reserve(text.len() / 2)?;
    Ok(bytes(text.as_bytes()).map_or(Dynamic::UNIT, Dynamic::from_blob))
}
