//! JSON Web Tokens (RFC 7519) in the compact form of JWS (RFC 7515). The caller names the algorithm; what the token
//! says about it must be the same.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use rhai::{Array, Dynamic, ImmutableString, Map};
use ring::{hmac, signature};
use subtle::ConstantTimeEq as _;

use super::public_key::{BROKEN_KEY, CERTIFICATE, KeyKind, NO_KEY, PRIVATE_KEY, PublicKey, is_asymmetric};
use crate::json::{self, JsonError};
use crate::meter::STEPS_PER_POLL;
use crate::run_context;
use crate::sdk::call::{Call, Outcome, quoted};
use crate::sdk::signature::{Kinds, OptionKey};

/// The maximum length of a token, in bytes; servers accept no longer headers.
const TOKEN_MAX: usize = 16 * 1024;

/// The maximum length of a secret, in bytes.
const SECRET_MAX: usize = 16 * 1024;

/// How far the clocks of two servers can differ, in seconds.
const LEEWAY_SECONDS: f64 = 60.0;

pub(super) const SIGN_OPTIONS: &[OptionKey] =
    &[OptionKey::one_of("alg", &["HS256", "HS384", "HS512"], "The algorithm; by default `HS256`.")];

pub(super) const VERIFY_OPTIONS: &[OptionKey] = &[
    OptionKey::one_of(
        "alg",
        &["HS256", "HS384", "HS512", "RS256", "ES256", "EdDSA"],
        "The algorithm that the token must have; by default `HS256`.",
    ),
    OptionKey::new("aud", Kinds::TEXT, "The audience that the token must name, by itself or among others."),
    OptionKey::new("iss", Kinds::TEXT, "The issuer that the token must name."),
];

const EMPTY_KEY: &str = "`key` is empty";
const LONG_KEY: &str = "`key` is longer than … bytes";
const ASYMMETRIC_KEY: &str = "`key` is a public or private key, but … takes a secret; …";

pub(super) const SIGN_ERRORS: &[&str] = &[EMPTY_KEY, LONG_KEY, ASYMMETRIC_KEY];

pub(super) const VERIFY_ERRORS: &[&str] = &[
    EMPTY_KEY,
    LONG_KEY,
    ASYMMETRIC_KEY,
    "`key` is …, but … takes …",
    NO_KEY,
    BROKEN_KEY,
    CERTIFICATE,
    PRIVATE_KEY,
    "the token names an audience (…); give the option `aud`",
];

/// An algorithm.
#[derive(Clone, Copy)]
enum Algorithm {
    Hmac(hmac::Algorithm),
    PublicKey(KeyKind),
}

/// The algorithm of the option `alg` with its name.
fn algorithm(call: &Call<'_, '_>) -> (ImmutableString, Algorithm) {
    let name = call.options().text("alg").unwrap_or_else(|| "HS256".into());
    let algorithm = match name.as_str() {
        "HS384" => Algorithm::Hmac(hmac::HMAC_SHA384),
        "HS512" => Algorithm::Hmac(hmac::HMAC_SHA512),
        "RS256" => Algorithm::PublicKey(KeyKind::Rsa),
        "ES256" => Algorithm::PublicKey(KeyKind::P256),
        "EdDSA" => Algorithm::PublicKey(KeyKind::Ed25519),
        _ => Algorithm::Hmac(hmac::HMAC_SHA256),
    };
    (name, algorithm)
}

/// Whether a signature is that of a message.
type SignatureCheck = Box<dyn Fn(&[u8], &[u8]) -> bool>;

/// The key of an HMAC. A public key is none: everyone who knows it could sign.
fn secret(call: &Call<'_, '_>, algorithm: hmac::Algorithm, name: &str) -> Outcome<hmac::Key> {
    call.with_bytes(1, |key| {
        if key.is_empty() {
            return call.fail("`key` is empty");
        }
        if key.len() > SECRET_MAX {
            return call.fail(format!("`key` is longer than {SECRET_MAX} bytes"));
        }
        if is_asymmetric(key) {
            return call.fail(format!(
                "`key` is a public or private key, but {name} takes a secret; `crypto::jwt_verify` takes public keys \
                 with `alg: \"RS256\"`, `\"ES256\"` or `\"EdDSA\"`"
            ));
        }
        Ok(hmac::Key::new(algorithm, key))
    })
}

pub(super) fn sign(call: &Call<'_, '_>) -> Outcome<Dynamic> {
    let (name, algorithm) = algorithm(call);
    let Algorithm::Hmac(algorithm) = algorithm else {
        return call.fail_shared(format!("{name} cannot sign"));
    };
    let key = secret(call, algorithm, &name)?;
    let header = format!(r#"{{"alg":"{name}","typ":"JWT"}}"#);
    let claims = match json::write(call.value(0), TOKEN_MAX / 2) {
        Ok(claims) => claims,
        Err(JsonError::LimitReached) => return call.terminated(),
        Err(error) => return call.fail_shared(error.to_string()),
    };
    let mut token = URL_SAFE_NO_PAD.encode(header);
    token.push('.');
    URL_SAFE_NO_PAD.encode_string(claims, &mut token);
    let tag = hmac::sign(&key, token.as_bytes());
    token.push('.');
    URL_SAFE_NO_PAD.encode_string(tag, &mut token);
    Ok(token.into())
}

pub(super) fn verify(call: &Call<'_, '_>) -> Outcome<Dynamic> {
    let (name, algorithm) = algorithm(call);
    // Wrong keys are errors whatever the token is, so that they are found at the first test.
    let check: SignatureCheck = match algorithm {
        Algorithm::Hmac(algorithm) => {
            let key = secret(call, algorithm, &name)?;
            Box::new(move |signed, signature| hmac::sign(&key, signed).as_ref().ct_eq(signature).into())
        }
        Algorithm::PublicKey(kind) => {
            let key = public_key(call, kind, &name)?;
            Box::new(move |signed, signature| {
                signature::UnparsedPublicKey::new(verification(kind), &key.bytes)
                    .verify(signed, signature)
                    .is_ok()
            })
        }
    };
    let token = call.text(0);
    // Polls the clock: a signature takes up to some tenths of a millisecond.
    call.charge(STEPS_PER_POLL)?;
    let claims = if token.len() > TOKEN_MAX { None } else { verified_claims(&token, &name, check) };
    let Some(claims) = claims else { return Ok(Dynamic::UNIT) };
    if claims_apply(call, &claims)? { Ok(claims.into()) } else { Ok(Dynamic::UNIT) }
}

fn public_key(call: &Call<'_, '_>, kind: KeyKind, name: &str) -> Outcome<PublicKey> {
    match call.with_bytes(1, PublicKey::from_pem) {
        Ok(key) if key.kind == kind => Ok(key),
        Ok(key) => call.fail(format!("`key` is {}, but {name} takes {}", key.kind.as_str(), kind.as_str())),
        Err(message) => call.fail(message),
    }
}

fn verification(kind: KeyKind) -> &'static dyn signature::VerificationAlgorithm {
    match kind {
        KeyKind::Rsa => &signature::RSA_PKCS1_2048_8192_SHA256,
        KeyKind::P256 => &signature::ECDSA_P256_SHA256_FIXED,
        KeyKind::Ed25519 => &signature::ED25519,
    }
}

/// The claims of a token whose signature is right.
fn verified_claims(token: &str, algorithm: &str, check: impl Fn(&[u8], &[u8]) -> bool) -> Option<Map> {
    let (signed, signature) = token.rsplit_once('.')?;
    let (header, claims) = signed.split_once('.')?;
    let decoded = |part: &str| URL_SAFE_NO_PAD.decode(part).ok();
    let object = |part: &str| json::read(&decoded(part)?).ok()?.try_cast::<Map>();
    let header = object(header)?;
    let names_it = header.get("alg")?.read_lock::<ImmutableString>().is_some_and(|alg| *alg == algorithm);
    // RFC 7515 section 4.1.11: what `crit` names must be understood, and nothing is.
    if !names_it || header.contains_key("crit") || !check(signed.as_bytes(), &decoded(signature)?) {
        return None;
    }
    object(claims)
}

/// Whether the token counts now and for the caller.
fn claims_apply(call: &Call<'_, '_>, claims: &Map) -> Outcome<bool> {
    let now = run_context::now_ms() as f64 / 1000.0;
    let number =
        |value: &Dynamic| value.as_float().or_else(|_| value.as_int().map(|integer| integer as f64)).ok();
    let is_over = |exp: &Dynamic| number(exp).is_none_or(|exp| now >= exp + LEEWAY_SECONDS);
    let is_early = |nbf: &Dynamic| number(nbf).is_none_or(|nbf| now < nbf - LEEWAY_SECONDS);
    if claims.get("exp").is_some_and(is_over) || claims.get("nbf").is_some_and(is_early) {
        return Ok(false);
    }
    let is_text = |value: &Dynamic, text: &str| {
        value.read_lock::<ImmutableString>().is_some_and(|value| *value == text)
    };
    let options = call.options();
    if let Some(issuer) = options.text("iss")
        && !claims.get("iss").is_some_and(|value| is_text(value, &issuer))
    {
        return Ok(false);
    }
    match (options.text("aud"), claims.get("aud")) {
        (Some(audience), Some(named)) => Ok(match named.read_lock::<Array>() {
            Some(all) => all.iter().any(|one| is_text(one, &audience)),
            None => is_text(named, &audience),
        }),
        (Some(_), None) => Ok(false),
        // RFC 7519 section 4.1.3: a token for others must be refused, so the caller has to say who it is.
        (None, Some(named)) => {
            let named = named
                .read_lock::<ImmutableString>()
                .map_or_else(|| "others".to_owned(), |named| quoted(&named));
            call.fail(format!("the token names an audience ({named}); give the option `aud`"))
        }
        (None, None) => Ok(true),
    }
}
