//! Hashes and HMACs.

use base64::Engine as _;
use rhai::Dynamic;
use ring::digest;
use ring::hmac;
use subtle::ConstantTimeEq as _;

use crate::sdk::call::{Call, Outcome};
use crate::sdk::{base64 as encodings, hex};

/// The hash of the first argument in the form of the second.
pub(super) fn digest(call: &Call<'_, '_>, algorithm: &'static digest::Algorithm) -> Outcome<Dynamic> {
    let mut context = digest::Context::new(algorithm);
    call.with_bytes(0, |data| call.in_chunks(data, |chunk| context.update(chunk)))?;
    Ok(in_form(context.finish().as_ref(), call, 1))
}

pub(super) fn hmac(call: &Call<'_, '_>) -> Outcome<Dynamic> {
    let key = call.with_bytes(0, |key| hmac_key(call, key))?;
    let tag = call.with_bytes(1, |data| hmac_of(call, &key, &[data]))?;
    Ok(in_form(tag.as_ref(), call, 2))
}

/// The key of an HMAC with SHA-256. A long one is hashed (RFC 2104), in parts that are charged.
pub(in crate::sdk) fn hmac_key(call: &Call<'_, '_>, key: &[u8]) -> Outcome<hmac::Key> {
    if key.len() <= digest::SHA256.block_len() {
        return Ok(hmac::Key::new(hmac::HMAC_SHA256, key));
    }
    let mut context = digest::Context::new(&digest::SHA256);
    call.in_chunks(key, |chunk| context.update(chunk))?;
    Ok(hmac::Key::new(hmac::HMAC_SHA256, context.finish().as_ref()))
}

/// The HMAC of parts in sequence.
pub(in crate::sdk) fn hmac_of(call: &Call<'_, '_>, key: &hmac::Key, parts: &[&[u8]]) -> Outcome<hmac::Tag> {
    let mut context = hmac::Context::with_key(key);
    for part in parts {
        call.in_chunks(part, |chunk| context.update(chunk))?;
    }
    Ok(context.sign())
}

fn in_form(bytes: &[u8], call: &Call<'_, '_>, index: usize) -> Dynamic {
    match call.optional_text(index).as_deref() {
        Some("base64") => encodings::PADDED.encode(bytes).into(),
        Some("blob") => Dynamic::from_blob(bytes.to_vec()),
        _ => hex::digits(bytes).into(),
    }
}

pub(super) fn equal(call: &Call<'_, '_>) -> Outcome<Dynamic> {
    call.with_bytes(0, |a| {
        call.with_bytes(1, |b| {
            call.charge_bytes(a.len().min(b.len()) * 16)?;
            Ok(bool::from(a.ct_eq(b)).into())
        })
    })
}
