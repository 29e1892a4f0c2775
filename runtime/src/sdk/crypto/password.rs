//! Hashes of passwords: Argon2id (RFC 9106) in the PHC string format.

use std::time::Duration;

use argon2::{Algorithm, Argon2, Params, Version};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use rand::Rng as _;
use rhai::Dynamic;
use subtle::ConstantTimeEq as _;

use crate::journal::Question;
use crate::meter::STEPS_PER_POLL;
use crate::run_context;
use crate::sdk::call::{Call, Outcome};

/// The parameters of new hashes: those that OWASP recommends.
const MEMORY_KIB: u32 = 19 * 1024;
const PASSES: u32 = 2;
const LANES: u32 = 1;

const SALT_BYTES: usize = 16;
const HASH_BYTES: usize = 32;

/// The maximum memory of a hash times its passes, in KiB. It takes about a tenth of a second, in which the execution
/// cannot be stopped.
const WORK_MAX_KIB: u64 = 64 * 1024;

const LANES_MAX: u32 = 16;

/// The maximum length of a password, in bytes.
const PASSWORD_MAX: usize = 4096;

/// The maximum length of a hash in the PHC format, in bytes.
const TEXT_MAX: usize = 256;

/// The parts of a hash.
struct PasswordHash {
    params: Params,
    salt: Vec<u8>,
    hash: Vec<u8>,
}

pub(super) fn hash_password(call: &Call<'_, '_>) -> Outcome<Dynamic> {
    let password = call.text(0);
    if password.len() > PASSWORD_MAX {
        return call.fail(format!("`text` is longer than {PASSWORD_MAX} bytes"));
    }
    let Ok(params) = Params::new(MEMORY_KIB, PASSES, LANES, Some(HASH_BYTES)) else {
        return call.fail_shared("the parameters are invalid");
    };
    let mut salt = [0; SALT_BYTES];
    run_context::with_random(|random| random.fill_bytes(&mut salt));
    let hash = argon2id(call, params, &password, &salt, HASH_BYTES)?;
    Ok(format!(
        "$argon2id$v=19$m={MEMORY_KIB},t={PASSES},p={LANES}${}${}",
        STANDARD_NO_PAD.encode(salt),
        STANDARD_NO_PAD.encode(hash)
    )
    .into())
}

pub(super) fn check_password(call: &Call<'_, '_>) -> Outcome<Dynamic> {
    let (password, text) = (call.text(0), call.text(1));
    let Some(of) = parse(&text) else {
        return call.fail("`hash` is not a hash of `crypto::hash_password`: it begins with $argon2id$v=19$");
    };
    let work = u64::from(of.params.m_cost()) * u64::from(of.params.t_cost());
    if work > WORK_MAX_KIB || of.params.p_cost() > LANES_MAX {
        return call.fail(format!(
            "`hash` takes too much work: m={},t={},p={}; its memory times its passes must be at most \
             {WORK_MAX_KIB}, and p at most {LANES_MAX}",
            of.params.m_cost(),
            of.params.t_cost(),
            of.params.p_cost()
        ));
    }
    // No hash of a longer one was made.
    if password.len() > PASSWORD_MAX {
        return Ok(false.into());
    }
    let hash = argon2id(call, of.params, &password, &of.salt, of.hash.len())?;
    Ok(bool::from(hash.ct_eq(&of.hash)).into())
}

/// The hash of a password, which an earlier pass may have computed.
fn argon2id(
    call: &Call<'_, '_>,
    params: Params,
    password: &str,
    salt: &[u8],
    length: usize,
) -> Outcome<Vec<u8>> {
    let numbers = [params.m_cost(), params.t_cost(), params.p_cost()].map(u32::to_le_bytes);
    let parts = [numbers.as_flattened(), password.as_bytes(), salt, &length.to_le_bytes()];
    let hash = run_context::journaled(Question::new("argon2id", &parts), || {
        compute(call, params, password, salt, length)
    })?;
    call.charge(STEPS_PER_POLL)?;
    Ok(hash)
}

/// Computes a hash, after the meter has granted its thread, its memory and its time.
fn compute(
    call: &Call<'_, '_>,
    params: Params,
    password: &str,
    salt: &[u8],
    length: usize,
) -> Outcome<Vec<u8>> {
    call.require_own_thread()?;
    let memory_kib = u64::from(params.m_cost());
    // On slow machines a mebibyte takes two milliseconds in a pass.
    call.require_time(Duration::from_micros(2 * memory_kib * u64::from(params.t_cost())))?;
    call.reserve(usize::try_from(memory_kib * 1024).unwrap_or(usize::MAX))?;
    let argon2 = Argon2::new(Algorithm::Argon2id, Version::V0x13, params);
    let mut hash = vec![0; length];
    match argon2.hash_password_into(password.as_bytes(), salt, &mut hash) {
        Ok(()) => Ok(hash),
        Err(error) => call.fail_shared(error.to_string()),
    }
}

/// `$argon2id$v=19$m=19456,t=2,p=1$<salt>$<hash>`
fn parse(text: &str) -> Option<PasswordHash> {
    if text.len() > TEXT_MAX {
        return None;
    }
    let mut parts = text.strip_prefix("$argon2id$v=19$")?.split('$');
    let (params, salt, hash) = (parts.next()?, parts.next()?, parts.next()?);
    let mut numbers = params.split(',');
    let mut number = |prefix: &str| {
        let digits = numbers.next()?.strip_prefix(prefix)?;
        digits.bytes().all(|digit| digit.is_ascii_digit()).then(|| digits.parse::<u32>().ok())?
    };
    let (memory, passes, lanes) = (number("m=")?, number("t=")?, number("p=")?);
    if numbers.next().is_some() || parts.next().is_some() {
        return None;
    }
    let bytes = |part: &str| STANDARD_NO_PAD.decode(part).ok();
    let (salt, hash) = (bytes(salt)?, bytes(hash)?);
    let valid_lengths = salt.len() >= 8 && hash.len() >= 16;
    let params = Params::new(memory, passes, lanes, Some(hash.len())).ok().filter(|_| valid_lengths)?;
    Some(PasswordHash { params, salt, hash })
}
