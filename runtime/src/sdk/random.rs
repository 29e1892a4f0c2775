//! `random`: random numbers from ChaCha20 with the seed of the execution, so that every pass gets the same.

use manifest_schema::sdk::SdkVersion;
use rand::seq::SliceRandom as _;
use rand::{Rng as _, RngExt as _};
use rhai::{Array, Dynamic};
use uuid::{Builder, Uuid};

use super::call::{Call, Outcome};
use super::signature::{Function, Kinds, Parameter, SdkModule};
use crate::run_context;

/// The maximum length of a token, in characters, and of random bytes.
const LENGTH_MAX: i64 = 64 * 1024;

/// The characters of a token: safe in URLs, file names and identifiers.
const TOKEN_CHARACTERS: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

/// The module `random`.
pub(super) const MODULE: SdkModule = SdkModule {
    name: "random",
    since: SdkVersion::V1_3,
    summary: "Random numbers that nobody can predict.",
    functions: &[
        Function {
            name: "int",
            parameters: &[Parameter::new("low", Kinds::INTEGER), Parameter::new("high", Kinds::INTEGER)],
            required: 2,
            returns: "integer",
            summary: "A random integer between `low` and `high`, both included.",
            errors: &["`low` must not be greater than `high`, but … is greater than …"],
            run: int,
        },
        Function {
            name: "float",
            parameters: &[],
            required: 0,
            returns: "float",
            summary: "A random float from 0 up to, but not including, 1.",
            errors: &[],
            run: |_| Ok(run_context::with_random(|random| random.random::<f64>()).into()),
        },
        Function {
            name: "token",
            parameters: &[Parameter::new("length", Kinds::INTEGER)],
            required: 1,
            returns: "text",
            summary: "A random text of letters and digits; 22 characters have 130 bits.",
            errors: &["`length` must be between 0 and 65536, not …"],
            run: token,
        },
        Function {
            name: "bytes",
            parameters: &[Parameter::new("length", Kinds::INTEGER)],
            required: 1,
            returns: "blob",
            summary: "Random bytes.",
            errors: &["`length` must be between 0 and 65536, not …"],
            run: bytes,
        },
        Function {
            name: "uuid",
            parameters: &[],
            required: 0,
            returns: "text",
            summary: "A random UUID (version 4).",
            errors: &[],
            run: |_| Ok(text(run_context::with_random(|random| Builder::from_random_bytes(random.random())))),
        },
        Function {
            name: "uuid7",
            parameters: &[],
            required: 0,
            returns: "text",
            summary: "A UUID that begins with the time (version 7), so that later ones sort behind earlier ones.",
            errors: &[],
            run: uuid7,
        },
        Function {
            name: "pick",
            parameters: &[Parameter::new("array", Kinds::ARRAY)],
            required: 1,
            returns: "value or ()",
            summary: "A random item of an array; `()` if it is empty.",
            errors: &[],
            run: pick,
        },
        Function {
            name: "shuffle",
            parameters: &[Parameter::new("array", Kinds::ARRAY)],
            required: 1,
            returns: "array",
            summary: "A copy of an array in random order.",
            errors: &[],
            run: shuffle,
        },
    ],
};

fn int(call: &Call<'_, '_>) -> Outcome<Dynamic> {
    let (low, high) = (call.integer(0), call.integer(1));
    if low > high {
        return call.fail(format!("`low` must not be greater than `high`, but {low} is greater than {high}"));
    }
    Ok(run_context::with_random(|random| random.random_range(low..=high)).into())
}

/// The length of a token or of bytes.
fn length(call: &Call<'_, '_>) -> Outcome<usize> {
    match call.integer(0) {
        // The range ends far below the maximum of `usize`.
        length @ 0..=LENGTH_MAX => Ok(length as usize),
        length => call.fail(format!("`length` must be between 0 and {LENGTH_MAX}, not {length}")),
    }
}

fn token(call: &Call<'_, '_>) -> Outcome<Dynamic> {
    let length = length(call)?;
    call.charge(length)?;
    let token: String = run_context::with_random(|random| {
        (0..length)
            .map(|_| char::from(TOKEN_CHARACTERS[random.random_range(0..TOKEN_CHARACTERS.len())]))
            .collect()
    });
    Ok(token.into())
}

fn bytes(call: &Call<'_, '_>) -> Outcome<Dynamic> {
    let mut bytes = vec![0; length(call)?];
    call.charge_bytes(bytes.len())?;
    run_context::with_random(|random| random.fill_bytes(&mut bytes));
    Ok(Dynamic::from_blob(bytes))
}

fn uuid7(_: &Call<'_, '_>) -> Outcome<Dynamic> {
    let now = u64::try_from(run_context::now_ms()).unwrap_or(0);
    Ok(text(run_context::with_random(|random| Builder::from_unix_timestamp_millis(now, &random.random()))))
}

fn text(uuid: Builder) -> Dynamic {
    let mut buffer = Uuid::encode_buffer();
    let text: &str = uuid.into_uuid().hyphenated().encode_lower(&mut buffer);
    text.into()
}

fn pick(call: &Call<'_, '_>) -> Outcome<Dynamic> {
    call.with_array(0, |array| match array.len() {
        0 => Ok(Dynamic::UNIT),
        length => {
            let index = run_context::with_random(|random| random.random_range(0..length));
            Ok(array[index].flatten_clone())
        }
    })
}

fn shuffle(call: &Call<'_, '_>) -> Outcome<Dynamic> {
    call.with_array(0, |array| {
        call.charge(array.len())?;
        call.reserve(std::mem::size_of_val(array))?;
        let mut shuffled: Array = array.to_vec();
        run_context::with_random(|random| shuffled.shuffle(random));
        Ok(shuffled.into())
    })
}
