//! `kv`: the state of the app, as keys with values.
//!
//! A read that is checked makes the execution run again if what it read changes before its changes are stored. An
//! operation is blind if it needs no value of the state: it is applied to whatever the key has by then.

use std::ops::RangeInclusive;
use std::time::Duration;

use bytes::Bytes;
use manifest_schema::sdk::SdkVersion;
use rhai::{Blob, Dynamic, ImmutableString, Map};

use super::call::{Call, Outcome, quoted};
use super::output::Items;
use super::signature::{Accepts, Function, Kinds, OptionKey, Parameter, SdkModule};
use crate::host::{Host, HostCall};
use crate::json::{self, JsonError};
use crate::kv::{KvChange, KvError, KvKey, KvList, KvNumber, KvReadMode, KvValue, LIST_MAX, VALUE_BYTES_MAX};
use crate::memory::OfHost;
use crate::run_context;
use crate::type_name::type_name;

/// The number of entries of a list without `limit`.
const LIST_DEFAULT: u32 = 100;

/// The maximum number of items that `append` keeps; with more, not even small ones fit into a value.
const KEEP_MAX: i64 = 1_000_000;

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// How long a key can exist: from a second to ten years.
const TTL: RangeInclusive<Duration> = Duration::from_secs(1)..=DAY.saturating_mul(3650);

const KEY: Parameter = Parameter { name: "key", kinds: Kinds::TEXT, accepts: Accepts::Keys };
const PREFIX: Parameter = Parameter { name: "prefix", kinds: Kinds::TEXT, accepts: Accepts::Prefixes };
const VALUE: Parameter = Parameter { name: "value", kinds: Kinds::ANY, accepts: Accepts::Stored };
const NUMBER: Parameter = Parameter::new("number", Kinds::NUMBER);

const TTL_SET: OptionKey =
    OptionKey::duration_within("ttl", TTL, "How long the key exists; without it until it is deleted.");
const TTL_CHANGED: OptionKey = OptionKey::duration_within(
    "ttl",
    TTL,
    "How long the key exists from now on; without it, its time stays as it is.",
);

const LIST_OPTIONS: &[OptionKey] = &[
    OptionKey::integer("limit", 1..=LIST_MAX as i64, "The maximum number of keys; by default 100."),
    OptionKey::new("after", Kinds::TEXT, "Only keys above this one, which begins with the prefix too."),
    OptionKey::new("before", Kinds::TEXT, "Only keys below this one, which begins with the prefix too."),
    OptionKey::new("reverse", Kinds::BOOL, "From the highest key down."),
];

const READ_KEYS_ERROR: &str = "an execution reads at most … keys";
const READ_BYTES_ERROR: &str = "an execution reads at most … bytes of state";
const READ_ERRORS: &[&str] = &[READ_KEYS_ERROR, READ_BYTES_ERROR];
const GET_MANY_ERRORS: &[&str] = &[KEYS_ERROR, READ_KEYS_ERROR, READ_BYTES_ERROR];
const KEYS_ERROR: &str = "item … of `keys` is …, not a string";
const LIST_ERRORS: &[&str] = &[BOUND_ERROR, READ_KEYS_ERROR, READ_BYTES_ERROR];
const BOUND_ERROR: &str = "`…` must begin with the prefix \"…\", as all keys of the list do, not \"…\"";
const WRITES_ERROR: &str = "an execution makes at most … changes of state";
const WRITE_BYTES_ERROR: &str = "an execution writes at most … bytes of state";
const TOO_LARGE_ERROR: &str = "the value of `…` would have … bytes; at most … are stored";
const LENGTH_ERROR: &str = "a value has at most … bytes, as JSON or as a blob";
const NESTED_BLOB_ERROR: &str = "a blob is only stored as a whole value, not within an array or a map";
const NUMBER_ERROR: &str = "`number` must be finite, not …";
const NO_NUMBER_ERROR: &str = "`…` holds no number";
const OVERFLOW_ERROR: &str = "the sum at `…` does not fit into 64 bits";
const NO_ARRAY_ERROR: &str = "`…` holds no array";
const SET_ERRORS: &[&str] = &[LENGTH_ERROR, NESTED_BLOB_ERROR, WRITES_ERROR, WRITE_BYTES_ERROR];
const INSERT_ERRORS: &[&str] =
    &[LENGTH_ERROR, NESTED_BLOB_ERROR, READ_KEYS_ERROR, READ_BYTES_ERROR, WRITES_ERROR, WRITE_BYTES_ERROR];
const ADD_ERRORS: &[&str] = &[NUMBER_ERROR, NO_NUMBER_ERROR, OVERFLOW_ERROR, WRITES_ERROR, WRITE_BYTES_ERROR];
const INCR_ERRORS: &[&str] = &[
    NUMBER_ERROR,
    NO_NUMBER_ERROR,
    OVERFLOW_ERROR,
    READ_KEYS_ERROR,
    READ_BYTES_ERROR,
    WRITES_ERROR,
    WRITE_BYTES_ERROR,
];
const APPEND_ERRORS: &[&str] =
    &[NO_ARRAY_ERROR, TOO_LARGE_ERROR, LENGTH_ERROR, NESTED_BLOB_ERROR, WRITES_ERROR, WRITE_BYTES_ERROR];

/// The module `kv`.
pub(super) const MODULE: SdkModule = SdkModule {
    name: "kv",
    since: SdkVersion::V1_3,
    summary: "The state of the app: keys with values, which are stored when the execution has ended well.",
    functions: &[
        Function {
            name: "get",
            parameters: &[KEY],
            required: 1,
            returns: "value or ()",
            summary: "A copy of the value of a key; `()` if there is none.",
            errors: READ_ERRORS,
            run: |call| get(call, KvReadMode::Checked),
        },
        Function {
            name: "get_many",
            parameters: &[Parameter::new("keys", Kinds::ARRAY)],
            required: 1,
            returns: "map",
            summary: "The values of those keys that exist, by key.",
            errors: GET_MANY_ERRORS,
            run: get_many,
        },
        Function {
            name: "has",
            parameters: &[KEY],
            required: 1,
            returns: "bool",
            summary: "Whether a key exists.",
            errors: READ_ERRORS,
            run: |call| with_value(call, KvReadMode::Checked, |value| Ok(value.is_some().into())),
        },
        Function {
            name: "peek",
            parameters: &[KEY],
            required: 1,
            returns: "value or ()",
            summary: "As `kv::get`, but the value can change before the execution ends, and it does not run again.",
            errors: READ_ERRORS,
            run: |call| get(call, KvReadMode::Unchecked),
        },
        Function {
            name: "set",
            parameters: &[KEY, VALUE, Parameter::options(&[TTL_SET])],
            required: 2,
            returns: "()",
            summary: "Stores a value; the one before and its time end.",
            errors: SET_ERRORS,
            run: set,
        },
        Function {
            name: "insert",
            parameters: &[KEY, VALUE, Parameter::options(&[TTL_SET])],
            required: 2,
            returns: "bool",
            summary: "Stores a value unless the key exists; `false` if it does.",
            errors: INSERT_ERRORS,
            run: insert,
        },
        Function {
            name: "delete",
            parameters: &[KEY],
            required: 1,
            returns: "()",
            summary: "Deletes a key, if it exists.",
            errors: &[WRITES_ERROR, WRITE_BYTES_ERROR],
            run: |call| change(call, || KvChange::Delete).map(Dynamic::from),
        },
        Function {
            name: "list",
            parameters: &[PREFIX, Parameter::options(LIST_OPTIONS)],
            required: 1,
            returns: "array",
            summary: "The keys that begin with a prefix, sorted, with their values: `[#{ key, value }]`.",
            errors: LIST_ERRORS,
            run: |call| list(call, entry),
        },
        Function {
            name: "keys",
            parameters: &[PREFIX, Parameter::options(LIST_OPTIONS)],
            required: 1,
            returns: "array",
            summary: "The keys that begin with a prefix, sorted.",
            errors: LIST_ERRORS,
            run: |call| list(call, |_, key, _| Ok(key.as_str().into())),
        },
        Function {
            name: "add",
            parameters: &[KEY, NUMBER, Parameter::options(&[TTL_CHANGED])],
            required: 2,
            returns: "()",
            summary: "Adds to the number of a key, which counts as 0 if it does not exist, without reading it.",
            errors: ADD_ERRORS,
            run: add,
        },
        Function {
            name: "incr",
            parameters: &[KEY, NUMBER],
            required: 1,
            returns: "number",
            summary: "Adds to the number of a key, by default 1, and gives the sum. The time of the key stays as it is.",
            errors: INCR_ERRORS,
            run: incr,
        },
        Function {
            name: "append",
            parameters: &[
                KEY,
                Parameter::new("item", Kinds::ANY),
                Parameter::options(&[
                    OptionKey::integer(
                        "keep",
                        1..=KEEP_MAX,
                        "How many items remain, the newest ones; without it all.",
                    ),
                    TTL_CHANGED,
                ]),
            ],
            required: 2,
            returns: "()",
            summary: "Appends an item to the array of a key, which is empty if the key does not exist, without reading it.",
            errors: APPEND_ERRORS,
            run: append,
        },
    ],
};

/// Calls the host, and fails the script with the host's error.
fn host_call<T>(
    call: &Call<'_, '_>,
    with: impl FnMut(&dyn Host) -> HostCall<Result<T, KvError>>,
) -> Outcome<OfHost<T>> {
    match run_context::host_call(with) {
        Ok(Ok(value)) => Ok(OfHost::from_host(value)),
        Ok(Err(error)) => {
            let error = OfHost::from_host(error);
            match &*error {
                KvError::Unavailable(_) => call.fail_shared(error.to_string()),
                error => call.fail(error.to_string()),
            }
        }
        Err(_) => call.terminated(),
    }
}

/// A key that the host can keep. The call has checked it.
fn key_of(call: &Call<'_, '_>, text: &str) -> Outcome<OfHost<KvKey>> {
    call.charge_bytes(text.len())?;
    match OfHost::new(|| KvKey::new(text)).transpose() {
        Ok(key) => Ok(key),
        Err(error) => call.fail_shared(error.to_string()),
    }
}

/// Reads the value of the key and passes it to `read`.
fn with_value<T>(
    call: &Call<'_, '_>,
    mode: KvReadMode,
    read: impl FnOnce(Option<&KvValue>) -> Outcome<T>,
) -> Outcome<T> {
    let key = key_of(call, &call.text(0))?;
    let values = host_call(call, |host| host.kv_get(std::slice::from_ref(&*key), mode))?;
    read(values.first().and_then(Option::as_ref))
}

fn get(call: &Call<'_, '_>, mode: KvReadMode) -> Outcome<Dynamic> {
    with_value(call, mode, |value| value.map_or(Ok(Dynamic::UNIT), |value| to_script(call, value)))
}

fn get_many(call: &Call<'_, '_>) -> Outcome<Dynamic> {
    let keys = call.with_array(0, |items| {
        let mut bytes = 0;
        for (index, item) in items.iter().enumerate() {
            let Some(text) = item.read_lock::<ImmutableString>() else {
                return call.fail(format!("item {index} of `keys` is {}, not a string", type_name(item)));
            };
            call.charge(1)?;
            bytes += text.len() + size_of::<KvKey>() + size_of::<Option<KvValue>>();
        }
        call.charge_bytes(bytes)?;
        call.reserve(bytes)?;
        let texts = items.iter().filter_map(|item| item.read_lock::<ImmutableString>());
        let keys = OfHost::new(|| texts.map(|text| KvKey::new(&text)).collect::<Result<Vec<_>, _>>());
        keys.transpose().or_else(|error| call.fail_shared(error.to_string()))
    })?;
    let values = host_call(call, |host| host.kv_get(&keys, KvReadMode::Checked))?;
    let mut found = Map::new();
    for (key, value) in keys.iter().zip(values.iter()) {
        if let Some(value) = value {
            call.charge_bytes(key.as_str().len())?;
            found.insert(key.as_str().into(), to_script(call, value)?);
        }
    }
    Ok(found.into())
}

/// A fresh value, which the script can change without an effect on the state.
fn to_script(call: &Call<'_, '_>, value: &KvValue) -> Outcome<Dynamic> {
    call.charge_bytes(value.bytes().len())?;
    call.reserve(value.bytes().len())?;
    match value {
        KvValue::Blob(bytes) => Ok(Dynamic::from_blob(bytes.to_vec())),
        KvValue::Json(json) => json::read(json).or_else(|error| {
            // A reached limit.
            call.charge(0)?;
            call.fail_shared(format!("the value is no JSON that a script can read: {error}"))
        }),
    }
}

fn list(
    call: &Call<'_, '_>,
    of_entry: fn(&Call<'_, '_>, &KvKey, &KvValue) -> Outcome<Dynamic>,
) -> Outcome<Dynamic> {
    let (prefix, options) = (call.text(0), call.options());
    let bound = |name: &str| match options.text(name) {
        Some(bound) if !bound.starts_with(prefix.as_str()) => call.fail(format!(
            "`{name}` must begin with the prefix \"{}\", as all keys of the list do, not \"{}\"",
            quoted(&prefix),
            quoted(&bound)
        )),
        bound => Ok(bound),
    };
    let (after, before) = (bound("after")?, bound("before")?);
    let limit = options.integer("limit").and_then(|limit| u32::try_from(limit).ok());
    let asked = OfHost::new(|| KvList {
        prefix: prefix.to_string(),
        after: after.map(Into::into),
        before: before.map(Into::into),
        limit: limit.unwrap_or(LIST_DEFAULT),
        reverse: options.flag("reverse").unwrap_or(false),
    });
    let entries = host_call(call, |host| host.kv_list(&asked))?;
    let mut listed = Items::new(call);
    for (key, value) in entries.iter() {
        call.charge_bytes(key.as_str().len())?;
        call.reserve(key.as_str().len())?;
        listed.push(of_entry(call, key, value)?)?;
    }
    Ok(listed.finish())
}

fn entry(call: &Call<'_, '_>, key: &KvKey, value: &KvValue) -> Outcome<Dynamic> {
    let value = to_script(call, value)?;
    Ok(Map::from([("key".into(), key.as_str().into()), ("value".into(), value)]).into())
}

/// Makes a change, which the host can keep.
fn change(call: &Call<'_, '_>, of: impl Fn() -> KvChange) -> Outcome<()> {
    let key = key_of(call, &call.text(0))?;
    host_call(call, |host| host.kv_change(&key, of())).map(drop)
}

fn set(call: &Call<'_, '_>) -> Outcome<Dynamic> {
    let (value, ttl) = (to_store(call)?, call.options().duration("ttl"));
    change(call, || KvChange::Set { value: value.copy(), ttl }).map(Dynamic::from)
}

fn insert(call: &Call<'_, '_>) -> Outcome<Dynamic> {
    // What cannot be stored fails in any case.
    let (value, ttl) = (to_store(call)?, call.options().duration("ttl"));
    if with_value(call, KvReadMode::Checked, |value| Ok(value.is_some()))? {
        return Ok(false.into());
    }
    change(call, || KvChange::Set { value: value.copy(), ttl })?;
    Ok(true.into())
}

/// A value in the form in which it is stored.
enum Stored {
    Json(Vec<u8>),
    Blob(Vec<u8>),
}

impl Stored {
    /// For the host, which can keep it.
    fn copy(&self) -> KvValue {
        match self {
            Self::Json(json) => KvValue::Json(Bytes::copy_from_slice(json)),
            Self::Blob(blob) => KvValue::Blob(Bytes::copy_from_slice(blob)),
        }
    }
}

fn to_store(call: &Call<'_, '_>) -> Outcome<Stored> {
    match call.value(1).read_lock::<Blob>() {
        Some(blob) if blob.len() > VALUE_BYTES_MAX => too_long(call),
        Some(blob) => {
            call.charge_bytes(2 * blob.len())?;
            call.reserve(blob.len())?;
            Ok(Stored::Blob(blob.clone()))
        }
        None => Ok(Stored::Json(to_json(call, 0)?)),
    }
}

fn too_long<T>(call: &Call<'_, '_>) -> Outcome<T> {
    call.fail(format!("a value has at most {VALUE_BYTES_MAX} bytes, as JSON or as a blob"))
}

/// The JSON of the value, which is nested `depth` levels deep.
fn to_json(call: &Call<'_, '_>, depth: usize) -> Outcome<Vec<u8>> {
    match json::write_nested(call.value(1), VALUE_BYTES_MAX, depth) {
        Ok(json) => {
            // The copy for the host.
            call.charge_bytes(json.len())?;
            Ok(json)
        }
        Err(JsonError::LimitReached) => call.terminated(),
        Err(JsonError::Length(_)) => too_long(call),
        Err(JsonError::Type("a blob")) => call.fail(NESTED_BLOB_ERROR),
        Err(error) => call.fail_shared(error.to_string()),
    }
}

/// The number of a call, by default 1.
fn number(call: &Call<'_, '_>) -> Outcome<KvNumber> {
    if !call.has(1) {
        return Ok(KvNumber::Integer(1));
    }
    match (call.value(1).as_int(), call.value(1).as_float()) {
        (Ok(integer), _) => Ok(KvNumber::Integer(integer)),
        (_, Ok(float)) if float.is_finite() => Ok(KvNumber::Float(float)),
        (_, float) => call.fail(format!("`number` must be finite, not {}", float.unwrap_or(f64::NAN))),
    }
}

fn add(call: &Call<'_, '_>) -> Outcome<Dynamic> {
    let (number, ttl) = (number(call)?, call.options().duration("ttl"));
    change(call, || KvChange::Add { number, ttl }).map(Dynamic::from)
}

fn incr(call: &Call<'_, '_>) -> Outcome<Dynamic> {
    let number = number(call)?;
    let key = call.text(0);
    let failed = |error: fn(KvKey) -> KvError| {
        let key = key_of(call, &key)?;
        call.fail(error(key.clone()).to_string())
    };
    let before = with_value(call, KvReadMode::Checked, |value| match value {
        None => Ok(Dynamic::from(0_i64)),
        Some(KvValue::Blob(_)) => failed(KvError::NoNumber),
        Some(value) => to_script(call, value),
    })?;
    let sum: Dynamic = match (before.as_int(), before.as_float(), number) {
        (Ok(before), _, KvNumber::Integer(number)) => match before.checked_add(number) {
            Some(sum) => sum.into(),
            None => return failed(KvError::Overflow),
        },
        (Ok(before), _, KvNumber::Float(number)) => (before as f64 + number).into(),
        (_, Ok(before), KvNumber::Integer(number)) => (before + number as f64).into(),
        (_, Ok(before), KvNumber::Float(number)) => (before + number).into(),
        _ => return failed(KvError::NoNumber),
    };
    if sum.as_float().is_ok_and(|sum| !sum.is_finite()) {
        return failed(KvError::Overflow);
    }
    change(call, || KvChange::Add { number, ttl: None })?;
    Ok(sum)
}

fn append(call: &Call<'_, '_>) -> Outcome<Dynamic> {
    // Within the array.
    let (item, options) = (to_json(call, 1)?, call.options());
    let keep = options.integer("keep").and_then(|keep| u32::try_from(keep).ok());
    let ttl = options.duration("ttl");
    change(call, || KvChange::Append { item: Bytes::copy_from_slice(&item), keep, ttl }).map(Dynamic::from)
}
