//! `base64`: bytes as text (RFC 4648 sections 4 and 5).

use base64::Engine as _;
use base64::alphabet::{STANDARD, URL_SAFE};
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use manifest_schema::sdk::SdkVersion;
use rhai::Dynamic;

use super::call::{Call, Outcome};
use super::signature::{Function, Kinds, Parameter, SdkModule};

/// Both decode texts with and without padding.
const LENIENT: GeneralPurposeConfig =
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent);
pub(super) const PADDED: GeneralPurpose = GeneralPurpose::new(&STANDARD, LENIENT);
pub(super) const URL: GeneralPurpose = GeneralPurpose::new(&URL_SAFE, LENIENT.with_encode_padding(false));

const DATA: Parameter = Parameter::new("data", Kinds::DATA);

/// The module `base64`.
pub(super) const MODULE: SdkModule = SdkModule {
    name: "base64",
    since: SdkVersion::V1_3,
    summary: "Bytes as text in base64.",
    functions: &[
        Function {
            name: "encode",
            parameters: &[DATA],
            required: 1,
            returns: "text",
            summary: "Bytes in base64, with padding.",
            errors: &[],
            run: |call| encode(call, &PADDED),
        },
        Function {
            name: "encode_url",
            parameters: &[DATA],
            required: 1,
            returns: "text",
            summary: "Bytes in base64url, without padding: safe in URLs and file names.",
            errors: &[],
            run: |call| encode(call, &URL),
        },
        Function {
            name: "decode",
            parameters: &[Parameter::new("text", Kinds::TEXT)],
            required: 1,
            returns: "blob or ()",
            summary: "The bytes of a text in base64 or base64url; `()` if it is neither.",
            errors: &[],
            run: decode,
        },
    ],
};

fn encode(call: &Call<'_, '_>, alphabet: &GeneralPurpose) -> Outcome<Dynamic> {
    call.with_bytes(0, |bytes| {
        let length = bytes.len().div_ceil(3) * 4;
        call.limit_text(length)?;
        call.charge_bytes(length)?;
        call.reserve(length)?;
        Ok(alphabet.encode(bytes).into())
    })
}

fn decode(call: &Call<'_, '_>) -> Outcome<Dynamic> {
    let text = call.text(0);
    call.charge_bytes(text.len())?;
    call.reserve(text.len())?;
    let decoded = PADDED.decode(text.as_bytes()).or_else(|_| URL.decode(text.as_bytes()));
    Ok(decoded.map_or(Dynamic::UNIT, Dynamic::from_blob))
}
