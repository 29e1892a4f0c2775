//! Sealed values: XChaCha20-Poly1305 over JSON. A sealed text is base64url of
//!
//! | bytes | |
//! | --- | --- |
//! | 1 | the version, 1 |
//! | 8 | the id of the node's key |
//! | 6 | when it was sealed, in milliseconds since 1970 |
//! | 24 | the nonce |
//! | | the ciphertext, with a tag of 16 bytes |
//!
//! The nonce is an HMAC of the execution's seed, the number of the call, the time and the plaintext: a second pass
//! gives the same text, and equal nonces only occur with equal plaintexts.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chacha20poly1305::aead::{Aead as _, KeyInit as _, Payload};
use chacha20poly1305::{XChaCha20Poly1305, XNonce};
use rhai::Dynamic;
use ring::hmac;

use crate::json::{self, JsonError};
use crate::run_context;
use crate::sdk::call::{Call, Outcome};
use crate::sealing::{SealingKey, SealingKeyId};

const VERSION: u8 = 1;

/// The size of version, key id and time.
const HEAD_BYTES: usize = 1 + 8 + TIME_BYTES;
const TIME_BYTES: usize = 6;
const NONCE_BYTES: usize = 24;
const TAG_BYTES: usize = 16;

/// The maximum length of a value as JSON, in bytes.
const JSON_MAX: usize = 64 * 1024;

/// How long texts open that were sealed with a key that is no longer the newest, in milliseconds.
const OLD_KEY_MS: i64 = 30 * 24 * 60 * 60 * 1000;

/// The maximum length of a sealed text.
const TEXT_MAX: usize = (HEAD_BYTES + NONCE_BYTES + JSON_MAX + TAG_BYTES).div_ceil(3) * 4;

/// The key with this id, or the newest.
fn key(call: &Call<'_, '_>, id: Option<SealingKeyId>) -> Outcome<Option<SealingKey>> {
    match run_context::host_call(|host| host.sealing_key(id)) {
        Ok(Ok(key)) => Ok(key),
        Ok(Err(message)) => call.fail_shared(message),
        Err(_) => call.terminated(),
    }
}

pub(super) fn seal(call: &Call<'_, '_>) -> Outcome<Dynamic> {
    let json = match json::write(call.value(0), JSON_MAX) {
        Ok(json) => json,
        Err(JsonError::LimitReached) => return call.terminated(),
        Err(error) => return call.fail_shared(error.to_string()),
    };
    let Some(key) = key(call, None)? else { return call.fail_shared("this server has no key to seal with") };
    call.charge_bytes(json.len() * 8)?;
    let time = u64::try_from(run_context::now_ms()).unwrap_or(0).to_be_bytes();
    let (seed, number) = run_context::next_sealing();
    let mut context = hmac::Context::with_key(&key.nonce_key());
    for part in [&seed.0[..], &number.to_be_bytes(), &time, &json] {
        context.update(part);
    }
    let mut nonce = [0; NONCE_BYTES];
    nonce.iter_mut().zip(context.sign().as_ref()).for_each(|(byte, of_tag)| *byte = *of_tag);
    let mut sealed = Vec::with_capacity(HEAD_BYTES + NONCE_BYTES + json.len() + TAG_BYTES);
    sealed.push(VERSION);
    sealed.extend(key.id());
    sealed.extend(time.iter().skip(time.len() - TIME_BYTES));
    let payload = Payload { msg: &json, aad: &sealed };
    // Only fails for values far beyond the maximum length.
    let Ok(ciphertext) = XChaCha20Poly1305::new(key.cipher().into()).encrypt(&XNonce::from(nonce), payload)
    else {
        return call.fail_shared("the value is too long");
    };
    sealed.extend(nonce);
    sealed.extend(ciphertext);
    Ok(URL_SAFE_NO_PAD.encode(sealed).into())
}

pub(super) fn open(call: &Call<'_, '_>) -> Outcome<Dynamic> {
    let text = call.text(0);
    if text.len() > TEXT_MAX {
        return Ok(Dynamic::UNIT);
    }
    call.charge_bytes(text.len() * 8)?;
    let Ok(sealed) = URL_SAFE_NO_PAD.decode(text.as_bytes()) else { return Ok(Dynamic::UNIT) };
    let Some(parts) = Parts::of(&sealed) else { return Ok(Dynamic::UNIT) };
    let Some(key) = key(call, Some(parts.key))? else { return Ok(Dynamic::UNIT) };
    if !key.is_newest() && run_context::now_ms().saturating_sub(parts.time_ms) >= OLD_KEY_MS {
        return Ok(Dynamic::UNIT);
    }
    let payload = Payload { msg: parts.ciphertext, aad: parts.head };
    let opened = XChaCha20Poly1305::new(key.cipher().into()).decrypt(&XNonce::from(parts.nonce), payload);
    Ok(opened.ok().and_then(|json| json::read(&json).ok()).unwrap_or_default())
}

/// The parts of a sealed text.
struct Parts<'s> {
    head: &'s [u8],
    key: SealingKeyId,
    time_ms: i64,
    nonce: [u8; NONCE_BYTES],
    ciphertext: &'s [u8],
}

impl<'s> Parts<'s> {
    fn of(sealed: &'s [u8]) -> Option<Self> {
        let (head, rest) = sealed.split_at_checked(HEAD_BYTES)?;
        let (nonce, ciphertext) = rest.split_first_chunk::<NONCE_BYTES>()?;
        let (version, rest) = head.split_first()?;
        let (key, time) = rest.split_first_chunk::<8>()?;
        let time_ms = time.iter().fold(0, |time, byte| time << 8 | i64::from(*byte));
        (*version == VERSION).then_some(Self { head, key: *key, time_ms, nonce: *nonce, ciphertext })
    }
}
