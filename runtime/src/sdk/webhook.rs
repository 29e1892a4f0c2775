//! `webhook`: the signatures of requests that other services send.

use base64::Engine as _;
use manifest_schema::sdk::SdkVersion;
use rhai::Dynamic;
use ring::hmac;
use subtle::ConstantTimeEq as _;

use super::base64::PADDED;
use super::call::{Call, Outcome};
use super::crypto::hash::{hmac_key, hmac_of};
use super::hex;
use super::signature::{Function, Kinds, Parameter, SdkModule};
use crate::invocation::HttpRequest;
use crate::run_context;

/// How old a signature can be, or how far in the future, in seconds; as the documents of Stripe and of Standard
/// Webhooks recommend.
const TOLERANCE_SECONDS: u64 = 300;

/// The maximum number of signatures in a header; a sender gives one for each of its keys.
const SIGNATURES_MAX: usize = 16;

/// The module `webhook`.
pub(super) const MODULE: SdkModule = SdkModule {
    name: "webhook",
    since: SdkVersion::V1_3,
    summary: "Requests that other services send.",
    functions: &[Function {
        name: "verify",
        parameters: &[
            Parameter::one_of("scheme", &["github", "stripe", "standard"]),
            Parameter::new("secret", Kinds::TEXT),
        ],
        required: 2,
        returns: "bool",
        summary: "Whether this request was signed with the secret; where the scheme has a time, at most 300 s ago.",
        errors: &[
            "there is no request to verify; a function or a schedule has none",
            "`secret` is empty",
            "`secret` must be `whsec_` and base64, as the sender shows it",
        ],
        run: verify,
    }],
};

fn verify(call: &Call<'_, '_>) -> Outcome<Dynamic> {
    let Some(request) = run_context::request() else {
        return call.fail("there is no request to verify; a function or a schedule has none");
    };
    let secret = call.text(1);
    if secret.is_empty() {
        return call.fail("`secret` is empty");
    }
    let verified = match call.text(0).as_str() {
        "github" => github(call, &request, &secret)?,
        "stripe" => stripe(call, &request, &secret)?,
        _ => standard(call, &request, &secret)?,
    };
    Ok(verified.into())
}

fn header<'r>(request: &'r HttpRequest, name: &str) -> Option<&'r str> {
    std::str::from_utf8(request.headers.get(name)?).ok()
}

/// <https://docs.github.com/en/webhooks/using-webhooks/validating-webhook-deliveries>
fn github(call: &Call<'_, '_>, request: &HttpRequest, secret: &str) -> Outcome<bool> {
    let sent = header(request, "x-hub-signature-256").and_then(|value| value.strip_prefix("sha256="));
    let Some(signature) = sent.and_then(|digits| hex::bytes(digits.as_bytes())) else { return Ok(false) };
    let tag = hmac_of(call, &hmac_key(call, secret.as_bytes())?, &[&request.body])?;
    Ok(matches(&tag, &signature))
}

/// <https://docs.stripe.com/webhooks#verify-manually>
fn stripe(call: &Call<'_, '_>, request: &HttpRequest, secret: &str) -> Outcome<bool> {
    let Some(header) = header(request, "stripe-signature") else { return Ok(false) };
    let pairs = || header.split(',').filter_map(|pair| pair.trim().split_once('='));
    let time = pairs().find(|(name, _)| *name == "t").map(|(_, time)| time).filter(|time| is_recent(time));
    let Some(time) = time else { return Ok(false) };
    let signatures = pairs().filter(|(name, _)| *name == "v1");
    let signatures: Vec<_> =
        signatures.filter_map(|(_, digits)| hex::bytes(digits.as_bytes())).take(SIGNATURES_MAX).collect();
    if signatures.is_empty() {
        return Ok(false);
    }
    let key = hmac_key(call, secret.as_bytes())?;
    let tag = hmac_of(call, &key, &[time.as_bytes(), b".", &request.body])?;
    Ok(signatures.iter().any(|signature| matches(&tag, signature)))
}

/// <https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md>
fn standard(call: &Call<'_, '_>, request: &HttpRequest, secret: &str) -> Outcome<bool> {
    let key = match PADDED.decode(secret.strip_prefix("whsec_").unwrap_or(secret)) {
        Ok(key) if !key.is_empty() => key,
        _ => return call.fail("`secret` must be `whsec_` and base64, as the sender shows it"),
    };
    let of = |name| header(request, name);
    let (Some(id), Some(time), Some(sent)) =
        (of("webhook-id"), of("webhook-timestamp"), of("webhook-signature"))
    else {
        return Ok(false);
    };
    let signatures = sent.split(' ').filter_map(|signature| signature.strip_prefix("v1,"));
    let signatures: Vec<_> =
        signatures.filter_map(|signature| PADDED.decode(signature).ok()).take(SIGNATURES_MAX).collect();
    if signatures.is_empty() || !is_recent(time) {
        return Ok(false);
    }
    let parts = [id.as_bytes(), b".", time.as_bytes(), b".", &request.body];
    let tag = hmac_of(call, &hmac_key(call, &key)?, &parts)?;
    Ok(signatures.iter().any(|signature| matches(&tag, signature)))
}

/// Whether a time in seconds since 1970 is close to the start of the execution.
fn is_recent(seconds: &str) -> bool {
    let is_number = !seconds.is_empty() && seconds.bytes().all(|byte| byte.is_ascii_digit());
    let time = if is_number { seconds.parse::<i64>().ok() } else { None };
    time.is_some_and(|time| time.abs_diff(run_context::now_ms() / 1000) <= TOLERANCE_SECONDS)
}

fn matches(tag: &hmac::Tag, signature: &[u8]) -> bool {
    tag.as_ref().ct_eq(signature).into()
}
